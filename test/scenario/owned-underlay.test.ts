/**
 * Two nodes that own their NICs, each host's own stack behind vhost0: hosts reach each other and the world past a
 * gateway through the data plane, of both families, while tenants tunnel between the same addresses; far ends are
 * the kernel's neighbours on vhost0. A router with a bridge is the fabric; what crossed it is read by tshark.
 */
import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { Lab, type Service } from '../../src/program/lab.ts';
import { addBridge, connectVeth, type NetworkNamespace } from '../../src/program/netns.ts';
import { askTshark } from '../../src/program/tshark.ts';
import { answers, whyNot } from '../support/lab.ts';

const MAIN = resolve(import.meta.dirname, '../../dist/cli/main.js');
type Id = 1 | 2;
const IDS: readonly Id[] = [1, 2];
const nodeMac = (id: Id) => `02:00:0a:09:00:0${id}`;
const HOST = { 4: (id: Id) => `10.9.0.${id}`, 6: (id: Id) => `fd00:9::${id}` };
const WORLD = { 4: '192.0.2.1', 6: '2001:db8::1' };
const PAGE = 'x'.repeat(1_000_000);
const DIGEST = createHash('sha256').update(PAGE).digest('hex');
const HTTP = `require('node:http').createServer((_, r) => r.end('x'.repeat(${PAGE.length}))).listen(80, '::', () => console.log('ready'))`;

const why = whyNot('nft', 'ethtool', 'tcpdump', 'tshark', 'curl', 'ping');

describe.skipIf(why !== undefined)('an uplink of our own, the host behind it', () => {
  let lab: Lab;
  let router: NetworkNamespace;
  let capture: Service;
  const nodes = new Map<Id, NetworkNamespace>();
  const pods = new Map<Id, NetworkNamespace>();
  const services = new Map<Id, Service>();
  const inNode = (id: Id, ...argv: string[]) => lab.run(argv, { namespace: nodes.get(id) });
  const inPod = (id: Id, ...argv: string[]) => lab.run(argv, { namespace: pods.get(id) });
  const ping = (to: string, ...more: string[]) => [
    ...['ping', '-c', '5', '-i', '0.1', '-W', '2'],
    ...more,
    to,
  ];
  const ready = (service: Service, word = 'ready') =>
    lab.until(
      service.name,
      async () => (`${service.out()}${service.err()}`.includes(word) ? true : undefined),
      10_000,
    );

  async function start(id: Id): Promise<void> {
    const argv = [process.execPath, MAIN, 'node', '--config', lab.path(`${id}.yaml`)];
    services.set(id, lab.start(`node${id}`, argv, { namespace: nodes.get(id) }));
    const up = answers(lab, `node${id}`, lab.path(`${id}.sock`));
    await Promise.race([up, lab.broken]);
  }

  beforeAll(async () => {
    lab = new Lab();
    router = await lab.namespace('router');
    await addBridge(router, 'br0');
    await router.set('net/ipv6/conf/br0/disable_ipv6', '0');
    await router.set('net/ipv6/conf/lo/disable_ipv6', '0');
    await router.ip('addr', 'add', '10.9.0.254/24', 'dev', 'br0');
    await router.ip('addr', 'add', 'fd00:9::fe/64', 'dev', 'br0', 'nodad');
    await router.ip('addr', 'add', `${WORLD[4]}/32`, 'dev', 'lo');
    await router.ip('addr', 'add', `${WORLD[6]}/128`, 'dev', 'lo', 'nodad');
    for (const id of IDS) {
      const node = await lab.namespace(`node${id}`);
      nodes.set(id, node);
      pods.set(id, await lab.namespace(`pod${id}`));
      // As on any machine: every interface has IPv6, the NIC too.
      await node.set('net/ipv6/conf/default/disable_ipv6', '0');
      await connectVeth(
        { namespace: node, name: 'eth1', mac: nodeMac(id) },
        { namespace: router, name: `to${id}` },
      );
      await lab.run(['ethtool', '-K', `to${id}`, 'tx', 'off', 'tso', 'off', 'gso', 'off'], {
        namespace: router,
      });
      await inNode(id, 'ethtool', '-K', 'eth1', 'tx', 'off', 'tso', 'off', 'gso', 'off');
      await router.ip('link', 'set', `to${id}`, 'master', 'br0');
      await router.ip('link', 'set', `to${id}`, 'up');
      await node.ip('link', 'set', 'eth1', 'up');
    }
    // At once: what waits in its ring when it is told to end would be lost.
    capture = lab.start(
      'tcpdump',
      [
        'tcpdump',
        '-U',
        '--immediate-mode',
        '-s',
        '2048',
        '-B',
        '32768',
        '-i',
        'to1',
        '-w',
        lab.path('wire.pcap'),
      ],
      {
        namespace: router,
        mayEnd: true,
      },
    );
    await ready(capture, 'listening');
    for (const id of IDS) {
      const far = id === 1 ? 2 : 1;
      const pod = pods.get(id) as NetworkNamespace;
      const file = {
        name: `node${id}`,
        socket: lab.path(`${id}.sock`),
        log: { level: 'warn' },
        underlay: {
          port: { kind: 'af_packet', interface: 'eth1' },
          mac: nodeMac(id),
          ipv4: HOST[4](id),
          ipv6: HOST[6](id),
        },
        host: {
          port: { kind: 'tap', name: 'vhost0', mtu: 1500 },
          addresses: [`${HOST[4](id)}/24`, `${HOST[6](id)}/64`],
          gateway4: '10.9.0.254',
          gateway6: 'fd00:9::fe',
        },
        vrfs: [{ name: 'red' }],
        routes: [4, 6].map((family) => ({
          instance: 'red',
          prefix: `10.8.${family}.${far}`,
          hops: [{ address: HOST[family as 4 | 6](far), label: 16, encaps: ['udp'] }],
        })),
        vifs: [4, 6].map((family) => ({
          name: `pod${family}`,
          port: { kind: 'tap', name: `eth${family}`, netns: pod.name, mtu: 1430 },
          vrf: 'red',
          tenant_mac: `02:00:00:00:0${family}:0${id}`,
          ipv4: `10.8.${family}.${id}`,
          gateway4: `10.8.${family}.254`,
          mtu: 1430,
        })),
      };
      for (const route of file.routes.slice(1)) (route.hops[0] as { label: number }).label = 17;
      writeFileSync(lab.path(`${id}.yaml`), stringify(file));
      await start(id);
      for (const family of [4, 6]) {
        const device = `eth${family}`;
        const [own, gateway] = [`10.8.${family}.${id}`, `10.8.${family}.254`];
        await pod.ip('link', 'set', device, 'address', `02:00:00:00:0${family}:0${id}`);
        await pod.ip('link', 'set', device, 'up');
        await pod.ip('addr', 'add', `${own}/32`, 'dev', device);
        await pod.ip('route', 'add', gateway, 'dev', device);
        await pod.ip('route', 'add', `10.8.${family}.0/24`, 'via', gateway, 'src', own);
      }
    }
    // Duplicate address detection of the hosts' own stacks.
    await lab.until(
      'addresses',
      async () => {
        const all = await Promise.all(IDS.map((id) => inNode(id, 'ip', '-6', 'addr')));
        return all.some(({ out }) => out.includes('tentative')) ? undefined : true;
      },
      10_000,
    );
  });
  afterAll(() => lab?.close());

  it.each([4, 6] as const)('hosts and gateway by IPv%d: echo, none twice', async (family) => {
    for (const argv of [
      ping(HOST[family](2)),
      ping(WORLD[family]),
      ping(HOST[family](2), '-s', '4000'),
    ]) {
      const { out } = await inNode(1, ...argv);
      expect(out, argv.join(' ')).toContain(' 0% packet loss');
      expect(out).not.toContain('DUP');
    }
    const { out } = await lab.run(ping(HOST[family](1)), { namespace: router });
    expect(out).toContain(' 0% packet loss');
    expect(out).not.toContain('DUP');
  });

  it('the hosts’ stacks have found each other by ARP and neighbour discovery, on vhost0', async () => {
    for (const family of [4, 6] as const) {
      const { out } = await inNode(1, 'ip', 'neigh', 'show', 'dev', 'vhost0', HOST[family](2));
      expect(out).toContain(nodeMac(2));
    }
    const { out } = await inNode(1, 'ip', 'neigh', 'show', 'dev', 'eth1');
    expect(out).toBe('');
  });

  it('a page between hosts while tenants tunnel, over both families', async () => {
    const server = lab.start('http', [process.execPath, '-e', HTTP], {
      namespace: nodes.get(2) as NetworkNamespace,
      mayEnd: true,
    });
    await ready(server);
    const reached = (to: string) =>
      lab.poll(
        async () =>
          (await inPod(1, 'ping', '-c', '1', '-W', '1', to)).status === 0 ? true : undefined,
        10_000,
      );
    for (const family of [4, 6] as const) expect(await reached(`10.8.${family}.2`)).toBe(true);
    const tenants = [4, 6].map((family) =>
      inPod(1, 'ping', '-c', '40', '-i', '0.02', '-W', '2', `10.8.${family}.2`),
    );
    for (const host of [HOST[4](2), `[${HOST[6](2)}]`]) {
      const { out, err } = await inNode(
        1,
        'sh',
        '-c',
        `curl -sS -m 10 http://${host}/ | sha256sum`,
      );
      expect(`${err}${out}`).toBe(`${DIGEST}  -\n`);
    }
    for (const { out } of await Promise.all(tenants)) expect(out).toContain(' 0% packet loss');
    await server.stop();
  });

  it('the host hears of a neighbour that announces another MAC', async () => {
    await router.set('net/ipv4/conf/br0/arp_notify', '1');
    await router.ip('link', 'set', 'br0', 'address', '02:00:0a:09:00:ee');
    const heard = await lab.poll(async () => {
      const { out } = await inNode(1, 'ip', 'neigh', 'show', 'dev', 'vhost0', '10.9.0.254');
      return out.includes('02:00:0a:09:00:ee') ? true : undefined;
    }, 2000);
    expect(heard).toBe(true);
    expect((await inNode(1, ...ping(WORLD[4]))).out).toContain(' 0% packet loss');
  });

  it('nobody says that our ports are closed; tshark finds nothing wrong', async () => {
    await capture.stop();
    const pcap = lab.path('wire.pcap');
    const run: typeof lab.run = (argv, options) => lab.run(argv, options);
    const opinion = await askTshark(run, pcap, []);
    expect(opinion.malformed).toEqual([]);
    expect(opinion.mplsOverUdp).toBeGreaterThanOrEqual(80);
    const pages = [...opinion.others].filter(([kind]) => /:(ip|ipv6):tcp/.test(kind));
    expect(pages.length, 'pages of both families').toBeGreaterThanOrEqual(2);
    const unreachable = 'icmp.type == 3 || icmpv6.type == 1';
    const said = await lab.run(['tshark', '-n', '-r', pcap, '-Y', unreachable]);
    expect(said.out).toBe('');
  });

  it('stopped, it leaves the NIC to the kernel', async () => {
    expect((await inNode(1, 'nft', 'list', 'ruleset')).out).toContain('vrouter-eth1');
    await services.get(1)?.stop();
    expect((await inNode(1, 'nft', 'list', 'ruleset')).out).toBe('');
    expect((await inNode(1, 'ip', 'link', 'show', 'vhost0')).status).not.toBe(0);
  });

  it('refuses to start while the NIC has the address itself', async () => {
    await nodes.get(1)?.ip('addr', 'add', `${HOST[4](1)}/24`, 'dev', 'eth1');
    const argv = [process.execPath, MAIN, 'node', '--config', lab.path('1.yaml')];
    const { status, err } = await inNode(1, ...argv);
    expect(status).toBe(1);
    expect(err).toContain('eth1 has 10.9.0.1 itself: it is to be on vhost0');
    expect((await inNode(1, 'nft', 'list', 'ruleset')).out).toBe('');
  });
});
