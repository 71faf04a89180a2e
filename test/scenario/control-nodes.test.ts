/**
 * Two `vrouter control` and two `vrouter node` as processes, XMPP over loopback, memory ports: a route travels; control
 * nodes are killed, one and both, and come back. The nodes' route monitors must have nothing to say meanwhile.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { Client } from '../../src/cli/client.ts';
import { run } from '../../src/cli/main.ts';
import type { RouteChangesView, RouteView, StatusView } from '../../src/cli/views.ts';

const MAIN = resolve(import.meta.dirname, '../../dist/cli/main.js');
const PODS = 'default-domain:k8s-default:pods:pods';
const VIP = '10.96.0.10';
const SETTLE_SECONDS = 6;
const NODES = { one: 20, two: 21 } as const;
type NodeName = keyof typeof NODES;

let directory: string;
const ports: number[] = [];
const processes = new Map<string, ChildProcess>();
const logs = new Map<string, string>();

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const address = server.address();
  await new Promise((done) => server.close(done));
  return typeof address === 'object' && address !== null ? address.port : 0;
}

function start(name: string, command: 'control' | 'node'): void {
  const child = spawn(process.execPath, [MAIN, command, '--config', join(directory, name)], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  child.stderr?.setEncoding('utf8');
  child.stderr?.on('data', (text) => logs.set(name, (logs.get(name) ?? '') + text));
  processes.set(name, child);
}

async function kill(name: string): Promise<void> {
  const child = processes.get(name) as ChildProcess;
  processes.delete(name);
  if (child.exitCode !== null) return;
  const ended = new Promise((done) => child.once('exit', done));
  child.kill('SIGKILL');
  await ended;
}

async function call<T>(name: string, method: string, params: unknown = {}): Promise<T> {
  const client = await Client.connect(join(directory, `${name}.sock`));
  try {
    return await client.call<T>(method, params);
  } finally {
    client.close();
  }
}

async function until(what: string, holds: () => Promise<boolean>, ms = 20_000): Promise<void> {
  const end = Date.now() + ms;
  for (;;) {
    if (await holds().catch(() => false)) return;
    if (Date.now() > end) {
      throw new Error(`never: ${what}\n${[...logs].map(([n, t]) => `${n}:\n${t}`).join('\n')}`);
    }
    await sleep(25);
  }
}

async function vrouter(argv: string[]) {
  let out = '';
  const io = {
    out: (text: string) => {
      out += text;
    },
    err: () => {},
    env: {},
    fail: () => {},
  };
  await run(argv, io);
  return { out };
}

const controlNodes = async (name: NodeName) =>
  (await call<StatusView>(name, 'status')).control ?? [];
const standings = async (name: NodeName) =>
  (await controlNodes(name)).map((c) => c.standing).join();

/** Whether the data plane has a route of its own for the prefix. */
async function routesOf(name: NodeName, prefix: string): Promise<number> {
  const vrf = 1; // the first tenant's
  const { items } = await call<{ items: RouteView[] }>(name, 'rt.dump', { vrf });
  return items.filter((item) => item.prefix === prefix).length;
}

async function lastChange(name: NodeName): Promise<number> {
  return (await call<RouteChangesView>(name, 'rt.changes')).last;
}

async function changesAfter(name: NodeName, after: number): Promise<string[]> {
  const { changes, lost } = await call<RouteChangesView>(name, 'rt.changes', { after });
  expect(lost).toBe(0);
  return changes.map(({ operation, address }) => `${operation} ${address}`);
}

function vif(name: NodeName, last: number) {
  return {
    name: `pod-${last}`,
    port: { kind: 'memory' },
    vrf: PODS,
    tenant_mac: `02:00:00:00:${NODES[name]}:0${last}`,
    ipv4: `10.32.0.${last}`,
    floating_ips: [{ address: VIP, vrf: PODS, direction: 'ingress' }],
  };
}

function writeNode(name: NodeName, last: number): void {
  const mac = (n: number) => `02:00:00:00:00:${n}`;
  const other = name === 'one' ? NODES.two : NODES.one;
  writeFileSync(
    join(directory, name),
    stringify({
      name,
      socket: join(directory, `${name}.sock`),
      log: { level: 'info' },
      dataplane: { flow_entries: 1024, buffers: 256 },
      underlay: {
        port: { kind: 'memory' },
        mac: mac(NODES[name]),
        ipv4: `10.169.25.${NODES[name]}`,
        neighbours: { [`10.169.25.${other}`]: mac(other) },
      },
      control: {
        xmpp: ports.map((port) => ({ address: '127.0.0.1', port })),
        source: `127.0.0.${NODES[name]}`,
        settle_seconds: SETTLE_SECONDS,
      },
      vrfs: [{ name: PODS }],
      vifs: [vif(name, last)],
    }),
  );
}

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'vrouter-controls-'));
  for (const i of [0, 1]) {
    ports.push(await freePort());
    writeFileSync(
      join(directory, `control-${i}`),
      stringify({
        name: `control-${i}`,
        socket: join(directory, `control-${i}.exchange`),
        cli: join(directory, `control-${i}.sock`),
        xmpp: { listen: `127.0.0.1:${ports[i]}` },
        instances: [{ name: PODS }],
      }),
    );
    start(`control-${i}`, 'control');
  }
  writeNode('one', 1);
  writeNode('two', 2);
  start('one', 'node');
  start('two', 'node');
  for (const name of ['one', 'two'] as const) {
    await until(`${name} settled`, async () => (await standings(name)) === 'settled,settled');
  }
}, 60_000);

afterAll(async () => {
  for (const name of [...processes.keys()]) await kill(name);
  rmSync(directory, { recursive: true, force: true });
});

describe('control nodes as processes', () => {
  it('a route travels, by both', async () => {
    await until('pod 2 at one', async () => (await routesOf('one', '10.32.0.2/32')) === 1);
    await until('pod 1 at two', async () => (await routesOf('two', '10.32.0.1/32')) === 1);
    expect(await controlNodes('one')).toMatchObject([
      { name: `127.0.0.1:${ports[0]}`, state: 'established', received: 3, published: 2 },
      { name: `127.0.0.1:${ports[1]}`, state: 'established', received: 3, published: 2 },
    ]);
    expect((await call<StatusView>('one', 'status')).problems).toEqual([]);
  });

  it('two local backends of one address are published behind one label', async () => {
    await call('two', 'vif.add', vif('two', 3));
    await until('pod 3 at one', async () => (await routesOf('one', '10.32.0.3/32')) === 1);
    expect((await controlNodes('two'))[0]).toMatchObject({ refused: 0, published: 3 });
  });

  it('one killed, and back: nothing changes in either node', async () => {
    const last = { one: await lastChange('one'), two: await lastChange('two') };
    await kill('control-0');
    await until('lost', async () => (await standings('one')) === 'lost,settled');
    expect((await call<StatusView>('one', 'status')).problems).toEqual([
      `no session with control node 127.0.0.1:${ports[0]}`,
    ]);
    await sleep(1000);
    start('control-0', 'control');
    for (const name of ['one', 'two'] as const) {
      await until(`${name} settled`, async () => (await standings(name)) === 'settled,settled');
      expect(await changesAfter(name, last[name])).toEqual([]);
    }
  }, 60_000);

  it('both killed: headless, local ports come; both back: nothing else changes', async () => {
    const last = { one: await lastChange('one'), two: await lastChange('two') };
    await kill('control-0');
    await kill('control-1');
    await until('headless', async () => (await standings('one')) === 'lost,lost');
    const status = await call<StatusView>('one', 'status');
    expect(status.problems.join()).toContain('headless');
    expect(status.exchange).toBe('lost');
    const { out } = await vrouter(['status', '--sock', join(directory, 'one.sock')]);
    expect(out).toMatch(
      /^control:\n {2}name: +127\.0\.0\.1:\d+\n {2}state: +(waiting|connecting)$/m,
    );
    expect(out).toMatch(/^ {2}stale: +4$/m);
    await call('one', 'vif.add', vif('one', 4));
    expect(await routesOf('one', '10.32.0.4/32')).toBe(1);
    await sleep(1500);
    start('control-0', 'control');
    start('control-1', 'control');
    for (const name of ['one', 'two'] as const) {
      await until(`${name} settled`, async () => (await standings(name)) === 'settled,settled');
    }
    await until('pod 4 at two', async () => (await routesOf('two', '10.32.0.4/32')) === 1);
    expect(await changesAfter('one', last.one)).toEqual(['add 10.32.0.4']);
    expect(await changesAfter('two', last.two)).toEqual(['add 10.32.0.4']);
  }, 90_000);

  it('a node that ends in order takes its routes along', async () => {
    processes.get('one')?.kill('SIGTERM');
    await until('gone at two', async () => (await routesOf('two', '10.32.0.1/32')) === 0);
  });
});
