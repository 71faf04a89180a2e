/**
 * Agent and forwarder as processes of their own, on real kernels: two nodes, a pod on each behind a TAP, a
 * veth between the nodes. While one pod sends the other datagrams at a steady rate and a TCP transfer goes
 * on, the processes of the first node are killed, one and then the other.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import type { Page } from '../../src/cli/protocol.ts';
import type { FlowView, StatusView } from '../../src/cli/views.ts';
import { openRemote } from '../../src/dataplane/remote.ts';
import { Lab, type Service } from '../../src/program/lab.ts';
import { connectVeth, type NetworkNamespace } from '../../src/program/netns.ts';
import { STREAM_PORT, startStream } from '../support/datagrams.ts';
import { callAt, whyNot } from '../support/lab.ts';

const MAIN = resolve(import.meta.dirname, '../../dist/cli/main.js');
const PACKETS_A_SECOND = 10_000;
const START_MS = 20_000;
const NODES = ['cent222', 'cent333'] as const;
type NodeName = (typeof NODES)[number];
const LAST: Readonly<Record<NodeName, number>> = { cent222: 20, cent333: 21 };
const POD: Readonly<Record<NodeName, string>> = { cent222: '10.1.0.1', cent333: '10.1.0.2' };
const podMac = (name: NodeName) => `02:ed:00:00:00:${LAST[name]}`;
const nodeMac = (name: NodeName) => `02:00:00:00:00:${LAST[name]}`;

const CHUNK = 32_768;
const CHUNKS = 250;
const TCP_SERVER = `
import socket, hashlib
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(('', 8080)); s.listen()
print('ready', flush=True)
c, _ = s.accept()
h, n = hashlib.sha256(), 0
while True:
    b = c.recv(65536)
    if not b: break
    h.update(b); n += len(b)
print(n, h.hexdigest(), flush=True)
`;
/** So slow that it lasts over everything that is done meanwhile. */
const TCP_CLIENT = `
import socket, sys, hashlib, random, time
c = socket.create_connection((sys.argv[1], 8080))
r, h, n = random.Random(1), hashlib.sha256(), 0
for _ in range(${CHUNKS}):
    b = r.randbytes(${CHUNK})
    c.sendall(b); h.update(b); n += len(b)
    time.sleep(0.015)
c.close()
print(n, h.hexdigest(), flush=True)
`;

const why = whyNot('python3');

describe.skipIf(why !== undefined)('agent and forwarder as processes', () => {
  let lab: Lab;
  const nodes = new Map<NodeName, NetworkNamespace>();
  const pods = new Map<NodeName, NetworkNamespace>();
  const agents = new Map<NodeName, Service>();

  const socketOf = (name: string) => lab.path(`${name}.sock`);
  const forwarderOf = (name: string) => lab.path(`${name}.forwarder`);

  const call = <T>(name: string, method: string, params: unknown = {}) =>
    callAt<T>(socketOf(name), method, params);

  function forwarderPid(name: string): number {
    const remote = openRemote({ path: forwarderOf(name) });
    const { pid } = remote.attach();
    remote.close();
    return pid;
  }

  function write(name: string, file: unknown): string {
    writeFileSync(lab.path(name), stringify(file));
    return lab.path(name);
  }

  async function startAgent(name: NodeName): Promise<Service> {
    const agent = lab.start(
      name,
      [process.execPath, MAIN, 'node', '--config', lab.path(`${name}.yaml`)],
      { namespace: nodes.get(name), mayEnd: true },
    );
    agents.set(name, agent);
    await lab.until(
      `${name} is there`,
      async () => {
        const status = await call<StatusView>(name, 'status');
        return status.exchange === 'connected' ? true : undefined;
      },
      START_MS,
    );
    return agent;
  }

  async function ready(service: Service): Promise<Service> {
    await lab.until(
      service.name,
      async () => (service.out().includes('ready') ? true : undefined),
      START_MS,
    );
    return service;
  }

  function inPod(pod: NodeName, script: string, ...args: string[]): Service {
    const namespace = pods.get(pod);
    return lab.start('script', ['python3', '-u', '-c', script, ...args], {
      namespace,
      mayEnd: true,
    });
  }

  /** All that must not change: where flows are. */
  async function flowPlaces(name: NodeName): Promise<string[]> {
    const { items } = await call<Page<FlowView>>(name, 'flow.list');
    return items
      .filter((f) => [STREAM_PORT, 8080].includes(f.destinationPort) && f.initiator)
      .map((f) => `${f.index}<=>${f.reverse} ${f.protocol} ${f.source}:${f.sourcePort}`)
      .toSorted();
  }

  function tapIndex(name: NodeName): string {
    return execFileSync('ip', ['-n', pods.get(name)!.name, '-o', 'link', 'show', 'eth0'], {
      encoding: 'utf8',
    }).split(':')[0] as string;
  }

  const stream = () =>
    startStream(lab, {
      from: pods.get('cent222')!,
      to: pods.get('cent333')!,
      address: POD.cent333,
      packetsPerSecond: PACKETS_A_SECOND,
    });

  beforeAll(async () => {
    if (!existsSync(MAIN)) throw new Error('dist/cli/main.js is not built: node scripts/setup.mjs');
    lab = new Lab();
    const [a, b] = NODES;
    for (const name of NODES) {
      nodes.set(name, await lab.namespace(name));
      pods.set(name, await lab.namespace(`pod-${name}`));
    }
    await connectVeth(
      { namespace: nodes.get(a)!, name: 'eth1', mac: nodeMac(a) },
      { namespace: nodes.get(b)!, name: 'eth1', mac: nodeMac(b) },
    );
    const control = write('control.yaml', {
      name: 'cent111',
      socket: lab.path('exchange'),
      cli: lab.path('cent111.sock'),
      instances: [{ name: 'pods' }],
    });
    lab.start('control', [process.execPath, MAIN, 'control', '--config', control]);
    for (const name of NODES) {
      const peer = name === a ? b : a;
      await nodes.get(name)!.ip('link', 'set', 'eth1', 'up');
      write(`${name}.yaml`, {
        name,
        socket: socketOf(name),
        // TAPs hand over super-packets whole.
        dataplane: { flow_entries: 65_536, buffers: 2048, buffer_bytes: 65_536 },
        forwarder: { socket: forwarderOf(name), flow_file: lab.path(`${name}.flows`) },
        underlay: {
          port: { kind: 'af_packet', interface: 'eth1' },
          mac: nodeMac(name),
          ipv4: `10.169.25.${LAST[name]}`,
          neighbours: { [`10.169.25.${LAST[peer]}`]: nodeMac(peer) },
        },
        exchange: { socket: lab.path('exchange') },
        vrfs: [{ name: 'pods' }],
        vifs: [
          {
            name: `pod-${name}`,
            port: { kind: 'tap', name: 'eth0', netns: pods.get(name)!.name, mtu: 1400 },
            vrf: 'pods',
            tenant_mac: podMac(name),
            ipv4: POD[name],
            gateway4: '10.1.0.254',
          },
        ],
      });
      await startAgent(name);
      const pod = pods.get(name)!;
      await pod.ip('link', 'set', 'eth0', 'address', podMac(name));
      await pod.ip('link', 'set', 'eth0', 'up');
      await pod.ip('addr', 'add', `${POD[name]}/32`, 'dev', 'eth0');
      await pod.ip('route', 'add', '10.1.0.254/32', 'dev', 'eth0');
      await pod.ip('route', 'add', 'default', 'via', '10.1.0.254');
    }
    await lab.until(
      'the pods reach each other',
      async () => {
        const ping = ['ping', '-c', '1', '-W', '1', POD.cent333];
        const { status } = await lab.run(ping, { namespace: pods.get('cent222')! });
        return status === 0 ? true : undefined;
      },
      START_MS,
    );
  });

  afterAll(async () => {
    const left = NODES.flatMap((name) => {
      try {
        return [forwarderPid(name)];
      } catch {
        return [];
      }
    });
    for (const agent of agents.values()) await agent.stop();
    for (const pid of left) spawnSync('kill', ['-9', `${pid}`]); // none, unless a test failed
    await lab?.close();
  });

  it('lose nothing when the agent is killed, and the next agent changes nothing', async () => {
    const agent = agents.get('cent222')!;
    const datagrams = await stream();
    const pid = forwarderPid('cent222');
    const places = await flowPlaces('cent222');
    const generation = (await call<StatusView>('cent222', 'status')).generation;
    expect(places).toHaveLength(1);
    process.kill(agent.pid, 'SIGKILL');
    await sleep(300);
    expect(forwarderPid('cent222')).toBe(pid);
    const second = await startAgent('cent222');
    await lab.until(
      'the next agent has compared',
      async () => (second.err().includes('"resumed"') ? true : undefined),
      START_MS,
    );
    await sleep(300);
    const { sent, received, silenceMs } = await datagrams.end();
    console.log(`agent killed: ${sent} sent, ${received} received, silent ${silenceMs} ms at most`);
    expect(sent).toBeGreaterThan(1000);
    expect(received).toBe(sent);
    expect(forwarderPid('cent222')).toBe(pid);
    expect(await flowPlaces('cent222')).toEqual(places);
    expect(second.err()).toMatch(/"ops":0,"closed":0,"complete":true/);
    expect((await call<StatusView>('cent222', 'status')).generation).toBe(generation);
  });

  it('forward again in under a second when the forwarder is killed; flows and TAPs stay', async () => {
    const server = await ready(inPod('cent333', TCP_SERVER));
    const client = inPod('cent222', TCP_CLIENT, POD.cent333);
    const datagrams = await stream();
    const tap = tapIndex('cent222');
    const places = await flowPlaces('cent222');
    expect(places).toHaveLength(2);
    const pid = forwarderPid('cent222');
    process.kill(pid, 'SIGKILL');
    await lab.until(
      'another forwarder',
      async () => (forwarderPid('cent222') !== pid ? true : undefined),
      START_MS,
    );
    await sleep(1000);
    const { sent, received, silenceMs } = await datagrams.end();
    console.log(`forwarder killed: ${sent} sent, ${received} received, silent ${silenceMs} ms`);
    expect(silenceMs).toBeLessThan(1000);
    expect(received).toBeGreaterThan(sent / 2);
    expect(tapIndex('cent222')).toBe(tap);
    expect(await flowPlaces('cent222')).toEqual(places);
    expect(agents.get('cent222')!.err()).toMatch(/"entries":[1-9]\d*,"dropped":0/);
    const [sentBytes, gotBytes] = [(await client.ended).out, (await server.ended).out];
    expect(gotBytes.replace('ready\n', '')).toBe(sentBytes);
    expect(sentBytes).toMatch(new RegExp(`^${CHUNK * CHUNKS} [0-9a-f]{64}\n$`));
  });

  it('end together when the agent is told to end, and leave no socket', async () => {
    const pid = forwarderPid('cent222');
    const { status } = await agents.get('cent222')!.stop();
    expect(status).toBe(0);
    await lab.until(
      'the forwarder ends',
      async () => (existsSync(`/proc/${pid}`) ? undefined : true),
      START_MS,
    );
    expect(existsSync(forwarderOf('cent222'))).toBe(false);
    expect(existsSync(socketOf('cent222'))).toBe(false);
  });
});
