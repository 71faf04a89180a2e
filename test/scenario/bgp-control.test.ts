/**
 * Two `vrouter control` with BGP between them over TCP, and what an operator does and sees: neighbours and policies
 * that come at run time, routes in every view, metrics, and how sessions end.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import type { BgpNeighboursView, BgpNeighbourView, BgpRouteView } from '../../src/cli/bgp-views.ts';
import { Client } from '../../src/cli/client.ts';
import type { ControlRouteView } from '../../src/cli/control-views.ts';
import { run } from '../../src/cli/main.ts';
import { ConfigError } from '../../src/errors.ts';
import { type RunningControl, startControl } from '../../src/program/control.ts';
import { ScriptedAgent } from '../support/scripted-agent.ts';

const VIP = '10.96.0.10/32';
const TARGET = '64512:900';
const ADDRESS = { east: '127.0.0.11', west: '127.0.0.12' } as const;
type Name = keyof typeof ADDRESS;

let directory: string;
let controls: Record<string, RunningControl>;
const open: ScriptedAgent[] = [];
const socketOf = (name: Name) => join(directory, `${name}.cli`);

function configure(name: Name, bgp: object): string {
  const file = join(directory, `${name}.yaml`);
  const text = stringify({
    name,
    socket: join(directory, `${name}.exchange`),
    cli: socketOf(name),
    xmpp: { listen: '127.0.0.1:0' },
    metrics: { port: 0 },
    log: { level: 'silent' },
    bgp: { as: 64512, router_id: ADDRESS[name], listen: [`${ADDRESS[name]}:0`], ...bgp },
    instances: [{ name: 'red', import: [TARGET], export: [TARGET] }],
  });
  writeFileSync(file, text);
  return file;
}

const start = async (name: Name, bgp: object) => {
  controls[name] = await startControl(configure(name, bgp));
};

async function cli(name: Name, ...argv: string[]): Promise<string> {
  let out = '';
  const say = (text: string) => {
    out += text;
  };
  const io = { out: say, err: say, env: {}, fail: () => {} };
  await run(['control', 'bgp', ...argv, '--sock', socketOf(name)], io);
  return out;
}

async function ask<T>(name: Name, method: string, params: object = {}): Promise<T> {
  const client = await Client.connect(socketOf(name));
  try {
    return await client.call<T>(method, params);
  } finally {
    client.close();
  }
}

async function until<T>(read: () => Promise<T>, good: (value: T) => boolean): Promise<T> {
  const end = Date.now() + 10_000;
  for (;;) {
    const value = await read();
    if (good(value)) return value;
    if (Date.now() > end) throw new Error(`not so after 10 s: ${JSON.stringify(value)}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

const neighbour = (name: Name) => async (): Promise<BgpNeighbourView | undefined> =>
  (await ask<BgpNeighboursView>(name, 'bgp.neighbors')).neighbours[0];

const state = (name: Name, wanted: string) =>
  until(neighbour(name), (view) => view?.state === wanted);

/** Who is used for the prefix in an instance: peers. */
const used = (name: Name, wanted: string) =>
  until(
    async () => {
      const { items } = await ask<{ items: ControlRouteView[] }>(name, 'table.routes', {
        instance: 'red',
      });
      const row = items.find(({ prefix }) => prefix === VIP);
      return (row?.paths ?? [])
        .filter((path) => path.used)
        .map((path) => path.peer)
        .join();
    },
    (peers) => peers === wanted,
  );

async function agent(name: Name): Promise<ScriptedAgent> {
  const session = await ScriptedAgent.connect(
    `compute-${name}`,
    controls[name]?.xmppPort as number,
  );
  open.push(session);
  session.subscribe('red', 7);
  return session;
}

/** East waits to be called; west calls once it is told to. */
async function federated(more: object = {}): Promise<void> {
  await start('east', {
    neighbors: [
      { address: ADDRESS.west, as: 64512, passive: true, description: 'the other one', ...more },
    ],
    policies: [{ name: 'nothing', terms: [{ name: 'all', action: 'reject' }] }],
  });
  await start('west', {});
  const port = controls.east?.bgpPorts?.[0];
  const said = await cli(
    'west',
    'neighbor',
    'add',
    ADDRESS.east,
    `port=${port}`,
    'as=64512',
    `local_address=${ADDRESS.west}`,
  );
  expect(said).toBe(`${ADDRESS.east} added\n`);
  await state('west', 'established');
  await state('east', 'established');
}

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'vrouter-bgp-'));
  controls = {};
});

afterEach(async () => {
  for (const session of open.splice(0)) session.destroy();
  for (const control of Object.values(controls)) await control.stop();
  rmSync(directory, { recursive: true, force: true });
});

describe('routes', () => {
  test('from an agent here to an instance there, in every view, and away again', async () => {
    await federated();
    const compute = await agent('east');
    compute.inet('red', { address: VIP, label: 25 });
    await used('west', 'bgp');
    const routes = await cli('west', 'routes', VIP);
    expect(routes).toMatch(
      new RegExp(
        `^vpnv4 127\\.0\\.0\\.1:7 ${VIP}\\n {2}\\* best +${ADDRESS.east} next-hop \\S+ label 25 `,
      ),
    );
    expect(routes).toContain(`rt ${TARGET}`);
    expect(await cli('east', 'routes', '--family', 'vpnv4')).toContain(
      'best                 local',
    );
    expect(await cli('east', 'advertised', ADDRESS.west, VIP)).toContain('* advertised');
    expect(await cli('west', 'received', ADDRESS.east, '10.96.0.10')).toContain('* received');
    expect(await cli('west', 'received', ADDRESS.east, '10.96.0.99')).toBe('no route\n');
    const all = JSON.parse(
      await cli('west', 'routes', '--family', 'rtc', '--json'),
    ) as BgpRouteView[];
    expect(all).toHaveLength(1);
    compute.destroy();
    await used('west', '');
  });

  test('a policy that is set at run time, and taken back, without the session noticing', async () => {
    await federated();
    const compute = await agent('east');
    compute.inet('red', { address: VIP, label: 25 });
    await used('west', 'bgp');
    const policy = {
      name: 'no-vip',
      terms: [{ name: 't', match: { prefixes: [{ prefix: VIP }] }, action: 'reject' }],
    };
    await ask('west', 'bgp.policy.set', policy);
    const port = controls.east?.bgpPorts?.[0];
    const settings = [`port=${port}`, 'as=64512', `local_address=${ADDRESS.west}`];
    await cli('west', 'neighbor', 'update', ADDRESS.east, ...settings, 'import=no-vip');
    await used('west', '');
    expect(await cli('west', 'policies')).toBe(
      `no-vip  import of ${ADDRESS.east}  export of -\n  t: prefix ${VIP} -> reject\n`,
    );
    await expect(ask('west', 'bgp.policy.remove', { name: 'no-vip' })).rejects.toThrow(
      'is used by',
    );
    await ask('west', 'bgp.policy.set', { name: 'no-vip', terms: [] });
    await used('west', 'bgp');
    expect((await neighbour('west')())?.flaps).toBe(0);
  });
});

describe('sessions', () => {
  test('disabled with a word for the other side, enabled, cleared, removed', async () => {
    await federated();
    await cli('west', 'neighbor', 'disable', ADDRESS.east, '--text', 'new cables');
    const view = await until(neighbour('east'), (each) => each?.state !== 'established');
    expect(view?.lastErrorIn?.text).toMatch(/shutdown.*new cables/i);
    expect(await cli('west', 'neighbors')).toMatch(/127\.0\.0\.11 +64512 +disabled /);
    await cli('west', 'neighbor', 'enable', ADDRESS.east);
    await state('east', 'established');
    expect(await cli('west', 'neighbor', 'clear', ADDRESS.east, '--in')).toContain('cleared');
    await cli('west', 'neighbor', 'clear', ADDRESS.east);
    const flapped = await until(
      neighbour('east'),
      (each) => each?.state === 'established' && each.flaps === 2,
    );
    expect(flapped?.messagesIn['route-refresh']).toBeGreaterThan(0);
    await cli('west', 'neighbor', 'remove', ADDRESS.east);
    expect(await cli('west', 'neighbors')).toContain('no neighbour');
    expect(await cli('west', 'neighbor', 'remove', ADDRESS.east)).toContain(
      "no neighbour '127.0.0.11'",
    );
    const gone = await until(neighbour('east'), (each) => each?.state !== 'established');
    expect(gone?.lastErrorIn?.text).toMatch(/deconfigured|de-configured/i);
  });

  test('a control node that is stopped says so', async () => {
    await federated();
    const compute = await agent('west');
    compute.inet('red', { address: VIP, label: 25 });
    await used('east', 'bgp');
    await controls.west?.stop();
    delete controls.west;
    await used('east', '');
    expect((await neighbour('east')())?.lastErrorIn?.text).toMatch(/shutdown.*stopped/i);
  });

  test('one that is to be back keeps its routes with those who wait for it', async () => {
    await start('east', {
      settle_seconds: 0,
      neighbors: [
        { address: ADDRESS.west, as: 64512, passive: true, graceful_restart_seconds: 60 },
      ],
    });
    const port = controls.east?.bgpPorts?.[0];
    const bgp = {
      neighbors: [
        {
          address: ADDRESS.east,
          port,
          as: 64512,
          local_address: ADDRESS.west,
          graceful_restart_seconds: 60,
        },
      ],
    };
    await start('west', { settle_seconds: 0, ...bgp });
    await state('east', 'established');
    (await agent('west')).inet('red', { address: VIP, label: 25 });
    await used('east', 'bgp');
    await controls.west?.stop();
    delete controls.west;
    await until(neighbour('east'), (each) => each?.state !== 'established');
    expect(await cli('east', 'routes', VIP)).toMatch(/\* best .* stale\n/);
    await start('west', { settle_seconds: 1, ...bgp });
    expect(await cli('west', 'neighbors'), 'its agents first').toContain('no neighbour');
    const back = await agent('west');
    setTimeout(() => back.inet('red', { address: VIP, label: 25 }), 500);
    const seen: string[] = [];
    await until(
      async () => {
        const text = await cli('east', 'routes', VIP);
        seen.push(text);
        return text;
      },
      (text) => text.includes('best') && !text.includes('stale'),
    );
    expect(seen.length).toBeGreaterThan(10);
    expect(
      seen.filter((text) => !text.includes('best')),
      'it was there all the time',
    ).toEqual([]);
  });

  test('what is refused at run time is refused whole, with the key', async () => {
    await federated();
    expect(await cli('west', 'neighbor', 'add', '127.0.0.13', 'hold_seconds=2')).toContain(
      'hold_seconds: must be 0, or at least 3',
    );
    expect(await cli('west', 'neighbor', 'add', '127.0.0.13', 'asn=2')).toContain(
      'did you mean "as"?',
    );
    expect(await cli('west', 'neighbor', 'add', '127.0.0.13', 'as')).toContain('is not key=value');
    expect(await cli('west', 'neighbor', 'add', ADDRESS.east)).toContain('is there already');
    expect(await cli('west', 'neighbor', 'update', '127.0.0.13')).toContain(
      "no neighbour '127.0.0.13'",
    );
    expect(await cli('west', 'routes', '--family', 'vpn4')).toContain('did you mean "vpnv4"?');
    expect((await ask<BgpNeighboursView>('west', 'bgp.neighbors')).neighbours).toHaveLength(1);
  });
});

test('all of one neighbour, and its metrics', async () => {
  await federated();
  (await agent('east')).inet('red', { address: VIP, label: 25 });
  await used('west', 'bgp');
  const text = await cli('east', 'neighbors', ADDRESS.west);
  for (const line of [
    /^127\.0\.0\.12\n/,
    /Description +the other one\n/,
    /State +established for 00:00:\d\d, flaps 0\n/,
    /Hold, keepalive +90 s, 30 s\n/,
    /vpnv4 +agreed +0 +0 +1 +-\n/,
    /rtc +agreed +1 +1 +1 +-\n/,
  ]) {
    expect(text).toMatch(line);
  }
  const page = await (await fetch(`http://127.0.0.1:${controls.west?.metricsPort}/metrics`)).text();
  const sample = (name: string, labels: string) =>
    new RegExp(`^vrouter_control_bgp_${name}\\{${labels}[^}]*\\} (\\S+)$`, 'm').exec(page)?.[1];
  const of = `neighbour="${ADDRESS.east}"`;
  expect(sample('up', of)).toBe('1');
  expect(sample('state', of)).toBe('5');
  expect(sample('routes', `${of},family="vpnv4",what="accepted"`)).toBe('1');
  expect(sample('errors_total', `${of},consequence="treat-as-withdraw"`)).toBe('0');
  expect(sample('sessions_total', 'state="up"')).toBe('1');
  expect(sample('bridged_routes', 'what="learned"')).toBe('1');
});

test('an agent with the name of our own peer is turned away, and takes nobody along', async () => {
  await federated();
  const session = await ScriptedAgent.connect('bgp', controls.east?.xmppPort as number).catch(
    (error: unknown) => error,
  );
  if (session instanceof ScriptedAgent) {
    open.push(session);
    await session.until(() => session.closed, 'its end');
  }
  (await agent('east')).inet('red', { address: VIP, label: 25 });
  await used('west', 'bgp');
});

describe('a file that cannot be', () => {
  test('a password that is not there is named at its line', async () => {
    const file = configure('east', {
      neighbors: [{ address: ADDRESS.west, password_file: join(directory, 'none') }],
    });
    await expect(startControl(file)).rejects.toThrow(ConfigError);
    await expect(startControl(file)).rejects.toThrow('bgp.neighbors[0].password_file: ENOENT');
  });

  test('without BGP its methods say so', async () => {
    const file = join(directory, 'east.yaml');
    writeFileSync(
      file,
      stringify({
        ...{ name: 'east', socket: join(directory, 'e'), cli: socketOf('east'), instances: [] },
        log: { level: 'silent' },
      }),
    );
    controls.east = await startControl(file);
    expect(await cli('east', 'neighbors')).toContain('there is no BGP here');
  });
});
