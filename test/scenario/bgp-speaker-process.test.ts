/**
 * Two `vrouter control` with BGP between them, one with its speaker as a process of its own: control nodes and speakers are
 * killed and come back. What the other control node sees of it is its session's age, its routes, and the UPDATEs it is sent.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { frameOf } from '../../src/bgp/link/frame.ts';
import { messageFrame } from '../../src/bgp/link/messages.ts';
import type { BgpNeighboursView, BgpRouteView } from '../../src/cli/bgp-views.ts';
import { Client } from '../../src/cli/client.ts';
import { ScriptedAgent } from '../support/scripted-agent.ts';

const MAIN = resolve(import.meta.dirname, '../../dist/cli/main.js');
const TARGET = '64512:900';
const AS = { east: 64512, west: 64513 } as const;
type Name = keyof typeof AS;
const ADDRESS: Record<Name, string> = { east: '127.0.0.21', west: '127.0.0.22' };
const SETTLE_SECONDS = 2;

let directory: string;
let ports: Record<Name, { bgp: number; xmpp: number }>;
const processes = new Map<string, ChildProcess>();
const logs = new Map<string, string>();
const agents: ScriptedAgent[] = [];

async function freePort(host: string): Promise<number> {
  const server = createServer();
  await new Promise<void>((done) => server.listen(0, host, done));
  const address = server.address();
  await new Promise((done) => server.close(done));
  return typeof address === 'object' && address !== null ? address.port : 0;
}

const other = (name: Name): Name => (name === 'east' ? 'west' : 'east');
const path = (file: string) => join(directory, file);

interface Setting {
  readonly speaker?: object;
  readonly neighbor?: object;
}

function configure(name: Name, { speaker, neighbor }: Setting = {}): void {
  const far = other(name);
  const bgp = {
    as: AS[name],
    router_id: `192.0.2.${AS[name] - 64500}`,
    listen: [`${ADDRESS[name]}:${ports[name].bgp}`],
    settle_seconds: SETTLE_SECONDS,
    neighbors: [
      {
        ...{ name: far, address: ADDRESS[far], port: ports[far].bgp, local_address: ADDRESS[name] },
        ...{ as: AS[far], multihop: 2, description: 'the other one', ...neighbor },
      },
    ],
    ...(speaker && { speaker: { socket: path(`${name}.speaker`), ...speaker } }),
  };
  const text = stringify({
    ...{ name, socket: path(`${name}.exchange`), cli: path(`${name}.cli`) },
    xmpp: { listen: `127.0.0.1:${ports[name].xmpp}` },
    bgp,
    instances: [{ name: 'red', import: [TARGET], export: [TARGET] }],
  });
  writeFileSync(path(`${name}.yaml`), text);
}

function run(called: string, argv: readonly string[]): ChildProcess {
  const child = spawn(process.execPath, [MAIN, ...argv], { stdio: ['ignore', 'ignore', 'pipe'] });
  child.stderr?.setEncoding('utf8');
  child.stderr?.on('data', (text) => logs.set(called, (logs.get(called) ?? '') + text));
  processes.set(called, child);
  return child;
}

const control = (name: Name) => run(name, ['control', '--config', path(`${name}.yaml`)]);

async function end(called: string, signal: NodeJS.Signals): Promise<void> {
  const child = processes.get(called) as ChildProcess;
  processes.delete(called);
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((done) => child.once('exit', done));
  child.kill(signal);
  await ended;
}

async function call<T>(name: Name, method: string, params: object = {}): Promise<T> {
  const client = await Client.connect(path(`${name}.cli`));
  try {
    return await client.call<T>(method, params);
  } finally {
    client.close();
  }
}

async function until<T>(
  what: string,
  read: () => Promise<T>,
  good: (value: T) => boolean,
  ms = 20_000,
): Promise<T> {
  const late = Date.now() + ms;
  let last: unknown;
  for (;;) {
    const value = await read().catch((error: Error) => {
      last = error.message;
      return undefined;
    });
    if (value !== undefined) {
      last = value;
      if (good(value)) return value;
    }
    if (Date.now() > late) {
      const said = [...logs].map(([name, text]) => `${name}:\n${text.slice(-3000)}`).join('\n');
      throw new Error(`never: ${what}; last: ${JSON.stringify(last)}\n${said}`);
    }
    await sleep(20);
  }
}

const view = (name: Name) => call<BgpNeighboursView>(name, 'bgp.neighbors');

/** What `name` knows of its one neighbour. */
async function neighbour(name: Name) {
  const [only] = (await view(name)).neighbours;
  if (only === undefined) throw new Error('no neighbour');
  return only;
}

/** Prefixes that `name` has from its neighbour. */
async function heard(name: Name): Promise<string[]> {
  const { items } = await call<{ items: BgpRouteView[] }>(name, 'bgp.received', {
    neighbor: other(name),
    family: 'vpnv4',
  });
  return items.map(({ route, paths }) => `${route.split(' ')[1]} ${paths[0]?.nextHop}`).sort();
}

/** Prefixes of BGP that agents of `name` are told. */
async function told(name: Name): Promise<string[]> {
  const { items } = await call<{
    items: { prefix: string; paths: { peer: string; used: boolean; stale?: boolean }[] }[];
  }>(name, 'table.routes', { instance: 'red' });
  return items
    .filter(({ paths }) => paths.some(({ peer, used }) => peer === 'bgp' && used))
    .map(({ prefix }) => prefix)
    .sort();
}

/** Its routes are told from `address`; it has the same name whenever it comes. */
async function agent(name: Name): Promise<ScriptedAgent> {
  // Before it listens, who calls that port again and again may meet himself there.
  await until(
    `${name} is there`,
    () => view(name),
    () => true,
  );
  const made = await ScriptedAgent.connect(`compute-${name}`, ports[name].xmpp);
  agents.push(made);
  made.subscribe('red', 1);
  return made;
}

const say = (of: ScriptedAgent, prefixes: readonly string[]) => {
  for (const address of prefixes) of.inet('red', { address, label: 25 });
};

const unsay = (of: ScriptedAgent, prefixes: readonly string[]) => {
  for (const address of prefixes) of.inet('red', { address, label: 25 }, false);
};

const established = (name: Name) =>
  until(
    `${name} is established`,
    () => neighbour(name),
    ({ state }) => state === 'established',
  );

const hears = (name: Name, prefixes: readonly string[]) =>
  until(
    `${name} hears ${prefixes}`,
    () => heard(name),
    (all) => all.join() === prefixes.map((prefix) => `${prefix} 192.0.2.11`).join(),
  );

const tells = (name: Name, prefixes: readonly string[]) =>
  until(
    `${name} tells ${prefixes}`,
    () => told(name),
    (all) => all.join() === prefixes.join(),
  );

/** Looks again and again; what was missing at any time, when it is stopped. */
function watch(read: () => Promise<string[]>, wanted: readonly string[]) {
  const missing = new Set<string>();
  let [looks, stopped] = [0, false];
  const done = (async () => {
    while (!stopped) {
      const all = await read().catch(() => undefined);
      if (all !== undefined) {
        looks++;
        for (const each of wanted) if (!all.some((one) => one.startsWith(each))) missing.add(each);
      }
      await sleep(10);
    }
  })();
  return async () => {
    stopped = true;
    await done;
    return { looked: looks > 20, missing: [...missing] };
  };
}

/** Of the last speaker that east has found. */
function speakerPid(): number {
  const all = [...(logs.get('east') ?? '').matchAll(/"pid":(\d+),[^\n]*"BGP speaker attached"/g)];
  const lines = (logs.get('east') ?? '').split('\n').filter((l) => l.includes('speaker attached'));
  expect(all.length).toBeGreaterThan(0);
  // The logger's own pid comes first; the speaker's is the last of its line.
  return Number([...(lines.at(-1) ?? '').matchAll(/"pid":(\d+)/g)].at(-1)?.[1]);
}

/** What the speaker of `east` answers to these bytes before it hangs up. */
async function answer(...frames: readonly Uint8Array[]): Promise<string> {
  const socket = connect(path('east.speaker'));
  let text = '';
  socket.on('data', (bytes) => {
    text += bytes.toString('latin1');
  });
  const closed = new Promise<void>((done, fail) => {
    socket.once('close', () => done());
    socket.once('error', fail);
  });
  for (const frame of frames) socket.write(frame);
  await closed;
  return text;
}

const gone = (file: string) =>
  until(
    `${file} is gone`,
    async () => existsSync(path(file)),
    (there) => !there,
  );

const ROUTES = ['10.1.0.1/32', '10.1.0.2/32', '10.1.0.3/32'];
const FAR = ['10.2.0.1/32'];

/** East with a speaker of its own, west without, an agent at each. */
async function federated(setting: Setting = { speaker: {} }): Promise<Record<Name, ScriptedAgent>> {
  const { speaker, ...rest } = setting;
  configure('east', { ...rest, speaker: { ...speaker } });
  configure('west');
  control('east');
  control('west');
  const [east, west] = [await agent('east'), await agent('west')];
  say(east, ROUTES);
  say(west, FAR);
  await established('west');
  await hears('west', ROUTES);
  await tells('east', FAR);
  return { east, west };
}

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'vrouter-speaker-'));
  const both = async (name: Name) => ({
    bgp: await freePort(ADDRESS[name]),
    xmpp: await freePort('127.0.0.1'),
  });
  ports = { east: await both('east'), west: await both('west') };
});

afterEach(async () => {
  for (const session of agents.splice(0)) session.destroy();
  for (const called of [...processes.keys()]) await end(called, 'SIGKILL');
  if (existsSync(path('east.speaker'))) {
    await until(
      'the speaker ends',
      () => answer(messageFrame({ type: 'quit' })),
      (text) => !text.includes('BUSY'),
    ).catch(() => {});
    await gone('east.speaker');
  }
  logs.clear();
  rmSync(directory, { recursive: true, force: true });
});

describe('a control node that is killed', { timeout: 60_000 }, () => {
  test('and says the same again: no session, no route and no UPDATE', async () => {
    await federated();
    const before = await neighbour('west');
    const stop = watch(() => heard('west'), ROUTES);
    await end('east', 'SIGKILL');
    await sleep(500);
    expect((await neighbour('west')).state).toBe('established');
    control('east');
    say(await agent('east'), ROUTES);
    await tells('east', FAR);
    await until(
      'east has its own',
      () => call<BgpNeighboursView>('east', 'bgp.neighbors'),
      ({ originated }) => originated === ROUTES.length,
    );
    // Past its end-of-rib.
    await sleep(SETTLE_SECONDS * 1000 + 500);
    const after = await neighbour('west');
    expect(await stop()).toEqual({ looked: true, missing: [] });
    expect(after.flaps).toBe(0);
    expect(after.ageMs).toBeGreaterThan(before.ageMs + SETTLE_SECONDS * 1000);
    expect(after.messagesIn.update, 'UPDATEs to the peer').toBe(before.messagesIn.update);
    expect(after.messagesIn['route-refresh']).toBe(before.messagesIn['route-refresh']);
    const mine = await neighbour('east');
    expect(mine.flaps).toBe(0);
    expect(mine.ageMs).toBeGreaterThan(before.ageMs);
    expect(await heard('west')).toHaveLength(ROUTES.length);
  });

  test('what changes while it is away, and what it does not say again', async () => {
    const { west } = await federated();
    const [one, two, three] = ROUTES as [string, string, string];
    const stop = watch(() => heard('west'), [one, two]);
    await end('east', 'SIGKILL');
    unsay(west, FAR);
    say(west, ['10.2.0.2/32', '10.2.0.3/32']);
    await sleep(300);
    const before = await neighbour('west');
    control('east');
    const again = await agent('east');
    say(again, [one, two, '10.1.0.4/32']);
    await hears('west', [one, two, three, '10.1.0.4/32']);
    await tells('east', ['10.2.0.2/32', '10.2.0.3/32']);
    await hears('west', [one, two, '10.1.0.4/32']);
    const after = await neighbour('west');
    expect(after.messagesIn.update, 'one new, one gone').toBe(before.messagesIn.update + 2);
    expect(after.flaps).toBe(0);
    expect(await stop()).toEqual({ looked: true, missing: [] });
  });

  test('and does not come back: its routes are withdrawn in the end, its session is not', async () => {
    await federated({ speaker: { keep_seconds: 1 } });
    await end('east', 'SIGKILL');
    await sleep(400);
    expect(await heard('west')).toHaveLength(ROUTES.length);
    await hears('west', []);
    const far = await neighbour('west');
    expect([far.state, far.flaps]).toEqual(['established', 0]);
    control('east');
    say(await agent('east'), ROUTES);
    await hears('west', ROUTES);
    expect((await neighbour('west')).flaps).toBe(0);
  });
});

describe('a speaker that is killed', { timeout: 60_000 }, () => {
  test('what it has told stays in use, another is started, and all is as before', async () => {
    const { west } = await federated();
    const stop = watch(() => told('east'), FAR);
    process.kill(speakerPid(), 'SIGKILL');
    await until(
      'west has lost it',
      () => neighbour('west'),
      ({ flaps }) => flaps > 0,
    );
    say(west, ['10.2.0.2/32']);
    await established('west');
    await hears('west', ROUTES);
    await tells('east', [...FAR, '10.2.0.2/32']);
    expect(await stop()).toEqual({ looked: true, missing: [] });
    expect((await view('east')).originated).toBe(ROUTES.length);
  });

  test('what nobody tells again goes after a while', async () => {
    const { west } = await federated({ speaker: { stale_seconds: 5 } });
    process.kill(speakerPid(), 'SIGKILL');
    unsay(west, FAR);
    say(west, ['10.2.0.2/32']);
    await tells('east', [...FAR, '10.2.0.2/32']);
    await tells('east', ['10.2.0.2/32']);
  });
});

describe('an operator', { timeout: 60_000 }, () => {
  test('ends a control node with its speaker, or without', async () => {
    await federated();
    const pid = speakerPid();
    await end('east', 'SIGTERM');
    await gone('east.speaker');
    await until(
      'its process has ended',
      async () => existsSync(`/proc/${pid}`),
      (there) => !there,
      10_000,
    );
    expect((await neighbour('west')).lastErrorIn?.text).toContain('stopped');
    run('east', ['control', '--config', path('east.yaml'), '--leave-speaker']);
    say(await agent('east'), ROUTES);
    await hears('west', ROUTES);
    const { flaps } = await neighbour('west');
    await end('east', 'SIGTERM');
    await sleep(300);
    expect(await heard('west')).toHaveLength(ROUTES.length);
    expect((await neighbour('west')).flaps).toBe(flaps);
  });

  test('changes the file: what is the same is not touched, what is not is as it says', async () => {
    const { east } = await federated();
    // Of run time, and in no file: stays with the speaker.
    await call('east', 'bgp.policy.set', { name: 'idle', terms: [] });
    await end('east', 'SIGKILL');
    east.destroy();
    configure('east', {
      speaker: {},
      neighbor: { description: 'with another word' },
    });
    control('east');
    await until(
      'its description',
      () => neighbour('east'),
      ({ description }) => description === 'with another word',
    );
    expect((await neighbour('west')).flaps).toBe(0);
    expect(await call('east', 'bgp.policies')).toMatchObject([{ policy: { name: 'idle' } }]);
    await end('east', 'SIGKILL');
    configure('east', {
      speaker: {},
      neighbor: { hold_seconds: 30 },
    });
    control('east');
    const far = await until(
      'another session',
      () => neighbour('west'),
      ({ flaps, state }) => flaps === 1 && state === 'established',
    );
    expect(far.holdTime).toBe(30);
  });

  test('gives it another identity: the speaker is replaced', async () => {
    await federated();
    const before = speakerPid();
    await end('east', 'SIGKILL');
    const file = path('east.yaml');
    writeFileSync(
      file,
      readFileSync(file, 'utf8').replace('router_id: 192.0.2.12', 'router_id: 192.0.2.99'),
    );
    control('east');
    const far = await until(
      'another identifier',
      () => neighbour('west'),
      ({ peer, state }) => peer?.id === '192.0.2.99' && state === 'established',
    );
    expect(far.flaps).toBe(1);
    expect(speakerPid()).not.toBe(before);
  });
});

describe('at the socket of a speaker', { timeout: 60_000 }, () => {
  test('a second control node, and nonsense, are refused by name; nothing happens to the first', async () => {
    await federated();
    expect(statSync(path('east.speaker')).mode & 0o777).toBe(0o600);
    const hello = {
      type: 'hello',
      version: 1,
      name: 'x',
      pid: 1,
      keepSeconds: 0,
      bgp: {},
    } as const;
    expect(await answer(messageFrame(hello))).toContain('"code":"BUSY"');
    expect(await answer(messageFrame({ type: 'quit' }))).toContain('"code":"BUSY"');
    expect(await answer(messageFrame({ type: 'end-of-rib' }))).toContain('before hello');
    expect(await answer(messageFrame({ ...hello, version: 2 }))).toContain('"code":"BAD_VERSION"');
    expect(await answer(frameOf(0, Buffer.from('{')))).toContain('not JSON');
    expect(await answer(frameOf(1, Buffer.from('xx')))).toContain('frame: 1 is not expected');
    expect(await answer(Buffer.from('ffffffff00', 'hex'))).toContain('frame: 4294967295 bytes');
    const far = await neighbour('west');
    expect([far.state, far.flaps]).toEqual(['established', 0]);
    expect(await heard('west')).toHaveLength(ROUTES.length);
    expect(await told('east')).toEqual(FAR);
  });

  test('one whose first words are nonsense changes nothing of what is kept', async () => {
    await federated();
    await end('east', 'SIGKILL');
    const before = await neighbour('west');
    const hello = { type: 'hello', version: 1, name: 'x', pid: 1, keepSeconds: 0 } as const;
    expect(await answer(messageFrame({ ...hello, bgp: { as: 0 } }))).toContain('BAD_CONFIG');
    const bgp = { as: 64512, router_id: '192.0.2.99' };
    expect(await answer(messageFrame({ ...hello, bgp }))).toContain('OTHER_SPEAKER');
    const far = await neighbour('west');
    expect([far.state, far.flaps]).toEqual(['established', 0]);
    expect(far.messagesIn.update).toBe(before.messagesIn.update);
    expect(await heard('west')).toHaveLength(ROUTES.length);
  });
});
