/** A real forwarder process, without root: memory ports. */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Client } from '../../../src/cli/client.ts';
import type { StatusView } from '../../../src/cli/views.ts';
import { loadAddon } from '../../../src/dataplane/binding.ts';
import { encodeRequest } from '../../../src/dataplane/protocol.ts';
import { openRemote, type RemoteDataplane } from '../../../src/dataplane/remote.ts';
import { forwarderArguments, forwarderOptions } from '../../../src/program/forwarder-main.ts';
import { type RunningProcess, startNode } from '../../../src/program/node.ts';
import { sleepNow, spawnForwarder } from '../../support/forwarder.ts';
import { ether, filler, ipv4, packet, udp } from '../../support/packet.ts';

let directory: string;
const started: { pid?: number | undefined }[] = [];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'vrouter-forwarder-'));
});
afterEach(() => {
  for (const { pid } of started.splice(0)) {
    try {
      if (pid !== undefined) process.kill(pid, 'SIGKILL');
    } catch {
      // It has ended by itself.
    }
  }
  rmSync(directory, { recursive: true, force: true });
});

function open(path: string): RemoteDataplane {
  for (let i = 0; i < 1000; i++) {
    try {
      return openRemote({ path });
    } catch {
      sleepNow(5);
    }
  }
  throw new Error(`nobody serves ${path}`);
}

const FLOWS = () => ({ flowEntries: 1024, flowFile: join(directory, 'flows') });

describe('a forwarder', () => {
  function forwarder() {
    const one = spawnForwarder(directory, FLOWS());
    started.push(one.process);
    return { ...one, remote: open(one.socket) };
  }

  it('drains and exits 0 on SIGTERM, and when told to; its socket goes', async () => {
    for (const end of ['SIGTERM', 'quit'] as const) {
      const { process: child, remote, socket } = forwarder();
      const ended = new Promise<number | null>((done) => child.once('exit', (s) => done(s)));
      if (end === 'quit') remote.quit();
      else child.kill(end);
      expect(await ended).toBe(0);
      expect(existsSync(socket)).toBe(false);
      expect(() => remote.info()).toThrow(expect.objectContaining({ code: 'CLOSED' }));
      remote.close();
    }
  });

  it('is one at a socket, and takes the place of a dead one', async () => {
    const first = forwarder();
    const second = spawnForwarder(directory, FLOWS());
    const status = await new Promise((done) => second.process.once('exit', (s) => done(s)));
    expect(status).toBe(1);
    expect(second.log()).toContain('BUSY');
    const gone = new Promise((done) => first.process.once('exit', done));
    first.process.kill('SIGKILL');
    await gone;
    expect(forwarder().remote.info().generation).toBe(1);
  });

  it('lives on when a client talks nonsense or leaves in the middle of a word', () => {
    const { socket, remote, log } = forwarder();
    const { addon } = loadAddon();
    const bad = new addon.Channel(socket);
    expect(() => bad.call(new Uint8Array([255, 1, 2]), [], 1000)).not.toThrow();
    bad.close();
    for (let i = 0; i < 20; i++) {
      const left = new addon.Channel(socket);
      left.send(encodeRequest('info', []), [], 1000);
      left.close();
    }
    expect(remote.info().flowEntries).toBe(1024);
    expect(log()).not.toContain('Error');
  });

  it('keeps ports and their ids for the next agent, which asks for the like', () => {
    const { socket, remote } = forwarder();
    const ids = [1, 2, 3].map((i) => remote.addPort({ kind: 'memory', mtu: 1000 + i }));
    remote.removePort(ids[0]!);
    remote.close();
    const next = open(socket);
    next.learnPorts();
    expect(next.addPort({ kind: 'memory', mtu: 1003 })).toBe(ids[2]);
    expect(next.addPort({ kind: 'memory', mtu: 1003 })).toBe(ids[0]); // another one, at a free id
    expect(next.dropUnclaimedPorts()).toBe(1);
    expect(() => next.portInfo(ids[1]!)).toThrow(expect.objectContaining({ code: 'NOT_FOUND' }));
    next.close();
  });

  it('drops flows of an agent that is gone, whose ids mean nothing to the next', () => {
    const { remote } = forwarder();
    expect(remote.claimFlows(5n)).toBe(true);
    const port = remote.addPort({ kind: 'memory' });
    remote.commit([
      { op: 'vrf_set', vrf: 1, name: 'red' },
      {
        op: 'vif_set',
        vif: 3,
        name: 'tap',
        type: 3,
        port,
        mac: '00:00:5e:00:01:00',
        vrf: 1,
        flags: 0x41,
        nextHop: 10,
        ipv4: '10.1.0.1',
        gateway4: '10.1.0.254',
      },
      {
        op: 'nh_interface_set',
        nextHop: 10,
        vrf: 1,
        vif: 3,
        flags: 2,
        destinationMac: '02:00:00:00:00:01',
        sourceMac: '00:00:5e:00:01:00',
      },
      { op: 'route_set', vrf: 1, prefix: '10.1.0.1/32', nextHop: 10 },
      { op: 'route_set', vrf: 1, prefix: '10.1.0.2/32', nextHop: 10 },
    ]);
    const frame = packet(
      ether({ dst: '00:00:5e:00:01:00', src: '02:00:00:00:00:01' }),
      ipv4({ src: '10.1.0.1', dst: '10.1.0.2' }),
      udp({ sport: 1, dport: 53 }),
      filler(20),
    );
    remote.inject(port, [frame]);
    remote.step(1n);
    expect(remote.info().flowsUsed).toBe(2);
    expect(remote.claimFlows(5n)).toBe(true);
    expect(remote.info().flowsUsed).toBe(2);
    expect(remote.claimFlows(6n)).toBe(false);
    expect(remote.info().flowsUsed).toBe(0);
    remote.close();
  });
});

describe('the command line of a forwarder', () => {
  it('says what its options say', () => {
    const options = {
      socket: '/run/x',
      flowFile: '/dev/shm/x',
      flowEntries: 4096,
      buffers: 512,
      bufferBytes: 4096,
      seed: (1n << 64n) - 1n,
      workers: 2,
      kernelTier: true,
      cpu: 1,
    };
    expect(forwarderOptions(forwarderArguments(options))).toEqual(options);
    const without = { ...options, kernelTier: false };
    expect(forwarderArguments(without).join(' ')).not.toContain('tier');
    const wrong = { ...options, kernelTier: 1 } as unknown as typeof options;
    expect(() => forwarderArguments(wrong)).toThrow('kernelTier must be a boolean');
    expect(() => forwarderOptions([])).toThrow('--socket');
    expect(() => forwarderOptions(['--socket', 'x', '--seed', 'y'])).toThrow('--seed');
    expect(() => forwarderOptions(['--socket', 'x', '--nonsense', 'y'])).toThrow('--nonsense');
  });
});

describe('a node with a forwarder', () => {
  const config = () => join(directory, 'cent222.yaml');
  const socket = () => join(directory, 'cent222.sock');

  function write(): void {
    writeFileSync(
      config(),
      `name: cent222
socket: ${socket()}
log: {level: silent}
dataplane: {flow_entries: 1024}
forwarder: {socket: ${join(directory, 'fw')}, flow_file: ${join(directory, 'flows')}}
underlay:
  port: {kind: memory}
  mac: 02:00:00:00:00:20
  ipv4: 10.169.25.20
  neighbours: {10.169.25.21: 02:00:00:00:00:21}
vrfs: [{name: pods}]
routes:
  - {instance: pods, prefix: 10.99.0.0/16, hops: [{address: 10.169.25.21, label: 900}]}
vifs:
  - {name: web, port: {kind: memory, mtu: 1400}, vrf: pods, tenant_mac: 02:00:00:00:01:20, ipv4: 10.1.0.1}
`,
    );
  }

  async function call<T>(method: string, params: unknown = {}): Promise<T> {
    const client = await Client.connect(socket());
    try {
      return await client.call<T>(method, params);
    } finally {
      client.close();
    }
  }

  /** Another client's view of it; its pid is noted, so that it goes with the test. */
  function look<T>(run: (remote: RemoteDataplane) => T): T {
    // Not open(): waiting here would keep the node, which is in this process, from bringing it back.
    const remote = openRemote({ path: join(directory, 'fw') });
    const { pid } = remote.attach();
    if (!started.some((one) => one.pid === pid)) started.push({ pid });
    try {
      return run(remote);
    } finally {
      remote.close();
    }
  }

  const pidOf = () => look((remote) => remote.attach().pid);

  async function until(what: string, test: () => boolean): Promise<void> {
    for (let i = 0; i < 400; i++) {
      try {
        if (test()) return;
      } catch {
        // Not yet.
      }
      await sleep(10);
    }
    throw new Error(`never: ${what}`);
  }

  const extra = {
    name: 'late',
    port: { kind: 'memory', mtu: 1300 },
    vrf: 'pods',
    tenant_mac: '02:00:00:00:01:21',
    ipv4: '10.1.0.9',
  };

  it('has its tables and ports again after a kill, under their ids, and goes on from there', async () => {
    write();
    const node = await startNode(config());
    try {
      const { port } = await call<{ port: number }>('vif.add', extra);
      await call('vif.remove', { name: 'web' }); // ids with a gap
      const before = look((remote) => Buffer.from(remote.snapshot()).toString('hex'));
      const pid = pidOf();
      process.kill(pid, 'SIGKILL');
      await until('another forwarder', () => pidOf() !== pid && look((r) => r.running));
      expect(look((remote) => Buffer.from(remote.snapshot()).toString('hex'))).toBe(before);
      expect(look((remote) => remote.portInfo(port)).mtu).toBe(1300);
      await call('vif.add', {
        ...extra,
        name: 'later',
        ipv4: '10.1.0.10',
        tenant_mac: '02:00:00:00:01:22',
      });
      expect((await call<StatusView>('status')).vifs).toBe(2);
      const second = pidOf();
      process.kill(second, 'SIGKILL');
      await until('a third', () => pidOf() !== second && look((r) => r.running));
      await call('vif.remove', { name: 'later' });
    } finally {
      await node.stop();
    }
    await until('it ends with its agent', () => !existsSync(join(directory, 'fw')));
  });

  it('is left forwarding when told to, and the next agent commits the difference only', async () => {
    write();
    let node: RunningProcess = await startNode(config(), { leaveForwarder: true });
    await call('vif.add', extra);
    const before = look((remote) => remote.info().generation);
    const pid = pidOf();
    await node.stop();
    expect(look((remote) => remote.running)).toBe(true);
    node = await startNode(config());
    try {
      expect(pidOf()).toBe(pid);
      // What was added at run time is nobody's now: that is the difference.
      await until('compared', () => look((remote) => remote.info().generation) === before + 1);
      const vifs = look((remote) => remote.dump('vifs')).flatMap((op) =>
        op.op === 'vif_set' ? [op.name] : [],
      );
      expect(vifs).toContain('web');
      expect(vifs).not.toContain('late');
    } finally {
      await node.stop();
    }
  });

  it('leaves no forwarder when it cannot start', async () => {
    write();
    const text = `name: cent222
socket: ${socket()}
log: {level: silent}
forwarder: {socket: ${join(directory, 'fw')}, flow_file: ${join(directory, 'flows')}}
underlay: {port: {kind: af_packet, interface: nosuch0}, mac: 02:00:00:00:00:20, ipv4: 10.169.25.20, neighbours: {}}
`;
    writeFileSync(config(), text);
    await expect(startNode(config())).rejects.toThrow(/nosuch0/);
    await until('it ends', () => !existsSync(join(directory, 'fw')));
  });

  it('says when its forwarder does not start', async () => {
    write();
    const text = `name: cent222
socket: ${socket()}
log: {level: silent}
forwarder: {socket: ${join(directory, 'fw')}, flow_file: ${join(directory, 'flows')}, command: ['false']}
underlay: {port: {kind: memory}, mac: 02:00:00:00:00:20, ipv4: 10.169.25.20, neighbours: {}}
`;
    writeFileSync(config(), text);
    await expect(startNode(config())).rejects.toMatchObject({ code: 'NO_FORWARDER' });
  });
});
