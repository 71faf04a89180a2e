/**
 * Two nodes whose hosts keep their addresses: tunnels beside the host's stack, far ends by the kernel's
 * neighbours, through a gateway, and after a far NIC got another MAC.
 */
import { writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { Lab, type Service } from '../../src/program/lab.ts';
import { connectVeth, type NetworkNamespace } from '../../src/program/netns.ts';
import { answers, whyNot } from '../support/lab.ts';

const MAIN = resolve(import.meta.dirname, '../../dist/cli/main.js');
type Id = 1 | 2;
const IDS: readonly Id[] = [1, 2];
const nodeMac = (id: Id) => `02:00:0a:09:00:0${id}`;

const why = whyNot('tc', 'tcpdump', 'ping');

describe.skipIf(why !== undefined)('an uplink shared with the host', () => {
  let lab: Lab;
  let router: NetworkNamespace;
  const nodes = new Map<Id, NetworkNamespace>();
  const pods = new Map<Id, NetworkNamespace>();
  const services = new Map<Id, Service>();
  const inPod = (id: Id, ...argv: string[]) => lab.run(argv, { namespace: pods.get(id) });
  const inNode = (id: Id, ...argv: string[]) => lab.run(argv, { namespace: nodes.get(id) });

  async function start(id: Id): Promise<void> {
    const argv = [process.execPath, MAIN, 'node', '--config', lab.path(`${id}.yaml`)];
    services.set(id, lab.start(`node${id}`, argv, { namespace: nodes.get(id), mayEnd: true }));
    await answers(lab, `node${id}`, lab.path(`${id}.sock`));
  }

  beforeAll(async () => {
    lab = new Lab();
    router = await lab.namespace('router');
    await router.set('net/ipv4/ip_forward', '1');
    for (const id of IDS) {
      const node = await lab.namespace(`node${id}`);
      const pod = await lab.namespace(`pod${id}`);
      nodes.set(id, node);
      pods.set(id, pod);
      await connectVeth(
        { namespace: node, name: 'up0', mac: nodeMac(id) },
        { namespace: router, name: `to${id}`, mac: `02:00:0a:09:00:f${id}` },
      );
      await node.ip('link', 'set', 'up0', 'up');
      await router.ip('link', 'set', `to${id}`, 'up');
      await node.ip('addr', 'add', `10.9.${id}.1/24`, 'dev', 'up0');
      await router.ip('addr', 'add', `10.9.${id}.254/24`, 'dev', `to${id}`);
      await node.ip('route', 'add', 'default', 'via', `10.9.${id}.254`);
    }
    for (const id of IDS) {
      const far = id === 1 ? 2 : 1;
      const pod = pods.get(id) as NetworkNamespace;
      const file = {
        name: `node${id}`,
        socket: lab.path(`${id}.sock`),
        forwarder: { socket: lab.path(`${id}.fwd`), flow_file: lab.path(`${id}.flows`) },
        underlay: {
          port: { kind: 'tap', name: 'uplink', offloads: 'uplink', mtu: 1500 },
          shared: { interface: 'up0' },
          mac: nodeMac(id),
          ipv4: `10.9.${id}.1`,
        },
        vrfs: [{ name: 'red' }],
        routes: [
          {
            instance: 'red',
            prefix: `10.8.1.${far}`,
            hops: [{ address: `10.9.${far}.1`, label: 16, encaps: ['udp'] }],
          },
        ],
        vifs: [
          {
            name: 'pod',
            port: { kind: 'tap', name: 'eth0', netns: pod.name, mtu: 1450 },
            vrf: 'red',
            tenant_mac: `02:00:00:00:00:0${id}`,
            ipv4: `10.8.1.${id}`,
            gateway4: '10.8.1.254',
            mtu: 1450,
          },
        ],
      };
      writeFileSync(lab.path(`${id}.yaml`), stringify(file));
      await start(id);
      await pod.ip('link', 'set', 'eth0', 'address', `02:00:00:00:00:0${id}`);
      await pod.ip('link', 'set', 'eth0', 'up');
      await pod.ip('addr', 'add', `10.8.1.${id}/32`, 'dev', 'eth0');
      await pod.ip('route', 'add', '10.8.1.254', 'dev', 'eth0');
      await pod.ip('route', 'add', 'default', 'via', '10.8.1.254');
    }
  });
  afterAll(() => lab.close());

  const reached = () =>
    lab.poll(
      async () =>
        (await inPod(1, 'ping', '-c', '1', '-W', '1', '10.8.1.2')).status === 0 ? true : undefined,
      10_000,
    );

  it('finds far ends through the gateway by itself, and disturbs nobody', async () => {
    const capture = lab.start('tcpdump', ['tcpdump', '-ln', '-i', 'to1', 'icmp'], {
      namespace: router,
      mayEnd: true,
    });
    await lab.until(
      'tcpdump',
      async () => (capture.err().includes('listening') ? true : undefined),
      10_000,
    );
    expect(await reached()).toBe(true);
    const ping = await inPod(1, 'ping', '-c', '20', '-i', '0.05', '-W', '1', '10.8.1.2');
    expect(ping.out).toContain(' 0% packet loss');
    expect(
      (await inNode(1, 'ping', '-c', '3', '-i', '0.1', '-W', '1', '10.9.2.1')).out,
      'host to host',
    ).toContain(' 0% packet loss');
    const { out } = await capture.stop();
    expect(out).toContain('echo request');
    expect(out, 'nobody says port unreachable').not.toContain('unreachable');
  });

  it('follows a neighbour that gets another MAC', async () => {
    await router.ip('link', 'set', 'to1', 'address', '02:00:0a:09:00:ee');
    await inNode(1, 'ip', 'neigh', 'flush', 'dev', 'up0');
    await inNode(1, 'ping', '-c', '1', '-W', '1', '10.9.1.254');
    expect(await reached()).toBe(true);
    const neighbours = await inNode(1, 'ip', 'neigh', 'show', 'dev', 'up0');
    expect(neighbours.out).toContain('02:00:0a:09:00:ee');
    expect((await inPod(1, 'ping', '-c', '10', '-i', '0.05', '-W', '1', '10.8.1.2')).out).toContain(
      ' 0% packet loss',
    );
  });

  it('loses nothing when an agent is killed and the next one takes over', async () => {
    // Counted, not interrupted: what is still under way when it is told to end would count as lost.
    const argv = ['ping', '-q', '-i', '0.002', '-c', '4500', '-W', '2', '10.8.1.2'];
    const ping = lab.start('ping', argv, { namespace: pods.get(1), mayEnd: true });
    await lab.poll(async () => undefined, 500);
    const killed = services.get(1) as Service;
    process.kill(killed.pid, 'SIGKILL');
    await lab.poll(async () => undefined, 500);
    await start(1);
    // Long enough for what the next agent compares and repairs.
    const { out } = await ping.ended;
    expect(out).toMatch(
      /4500 packets transmitted, 4500 received, 0% packet loss, time (8|9|\d\d)\d{3}ms/,
    );
  }, 60_000);

  it('takes its filters away when it stops, and no others', async () => {
    const other = [
      'filter',
      'add',
      'dev',
      'up0',
      'ingress',
      'pref',
      '7',
      'protocol',
      'ip',
      'u32',
      'match',
      'ip',
      'dport',
      '9',
      '0xffff',
      'action',
      'ok',
    ];
    const added = await inNode(1, 'tc', ...other);
    const before = await inNode(1, 'tc', 'filter', 'show', 'dev', 'up0', 'ingress');
    expect(before.out).toContain('pref 4980');
    await services.get(1)?.stop();
    const after = await inNode(1, 'tc', 'filter', 'show', 'dev', 'up0', 'ingress');
    expect(after.out).not.toContain('pref 4980');
    if (added.status === 0) expect(after.out).toContain('pref 7');
  });
});
