/**
 * An agent's control nodes that are lost and come back, on a virtual clock: our control node in memory, several agents,
 * and what the first agent hears. `heard` is everything since it was last looked at.
 */
import { beforeEach, describe, expect, test } from 'vitest';
import { ControlAgents } from '../../../src/control/agents.ts';
import { RouteExchange } from '../../../src/control/exchange.ts';
import { keyOf, type Route, type RouteUpdate } from '../../../src/rib/route.ts';
import { type MemoryStream, streamPair } from '../../../src/sim/streams.ts';
import {
  ControlNodes,
  type ControlNodesOptions,
  END_OF_RIB_MS,
  LAG_MS,
  SETTLE_MS,
} from '../../../src/xmpp/control-nodes.ts';
import type { Attempt } from '../../../src/xmpp/transport/byte-stream.ts';
import { hop, route } from '../../support/routes.ts';
import { PatientClock } from '../../support/virtual-time.ts';

const VIP = '10.96.0.10/32';

class Control {
  agents: ControlAgents | undefined;
  exchange!: RouteExchange;
  readonly #clock: PatientClock;
  #streams: MemoryStream[] = [];

  constructor(clock: PatientClock) {
    this.#clock = clock;
    this.start();
  }

  start(): void {
    const clock = this.#clock;
    this.exchange = new RouteExchange({ schedule: (run) => clock.after(0, run) });
    this.exchange.createInstance({ name: 'pods' });
    this.agents = new ControlAgents(this.exchange.tables, { clock });
  }

  connect = (address: string, attempt: Attempt): void => {
    if (this.agents === undefined) {
      attempt.failed('connection refused');
      return;
    }
    const [near, far] = streamPair(this.#clock, [address, '192.0.2.1']);
    this.#streams.push(near);
    this.agents.accept(far);
    attempt.connected(near);
  };

  /** The control node's end of the session that came last. */
  get far(): MemoryStream {
    return (this.#streams.at(-1) as MemoryStream).far;
  }

  /** As kill -9. */
  kill(): void {
    this.agents = undefined;
    for (const stream of this.#streams.splice(0)) stream.cut();
  }
}

let clock: PatientClock;
let controls: Control[];

function agent(last: number, more: Partial<ControlNodesOptions> = {}) {
  const address = `192.0.2.${last}`;
  const heard: string[] = [];
  const known = new Map<string, Route>();
  const source = new ControlNodes({
    name: `compute-${last}`,
    ownAddresses: [address],
    clock,
    random: () => 0,
    nodes: controls.map(({ connect }, i) => ({
      name: `c${i}`,
      connect: (attempt) => connect(address, attempt),
    })),
    ...more,
  });
  source.onUpdates((updates: readonly RouteUpdate[]) => {
    for (const update of updates) {
      if (update.type === 'announce') {
        known.set(update.route.prefix, update.route);
        heard.push(`+${update.route.prefix} ${hops(update.route)}`);
      } else if (update.type === 'withdraw') {
        known.delete(update.key.prefix);
        heard.push(`-${update.key.prefix}`);
      } else heard.push(`${update.type} ${update.instance}`);
    }
  });
  source.subscribe('pods', last);
  source.start();
  return {
    source,
    address,
    known,
    heard: () => heard.splice(0),
    publish: (prefix: string, label: number) =>
      source.publish(route('pods', prefix, [hop(address, label)])),
    withdraw: (prefix: string) => source.withdraw(keyOf(route('pods', prefix, []))),
    view: (i: number) => source.view()[i],
  };
}

const hops = (of: Route | undefined) =>
  of?.hops.map(({ address, label }) => `${address.split('.').at(-1)}:${label}`).join(' ');

describe('two control nodes, three agents', () => {
  let me: ReturnType<typeof agent>;
  let b: ReturnType<typeof agent>;
  let c: ReturnType<typeof agent>;

  beforeEach(async () => {
    clock = new PatientClock();
    controls = [new Control(clock), new Control(clock)];
    [me, b, c] = [agent(11), agent(12), agent(13)];
    me.publish(VIP, 20);
    b.publish(VIP, 30);
    c.publish(VIP, 40);
    b.publish('10.0.0.2/32', 31);
    c.publish('fd00::3/128', 41);
    c.publish('02:00:00:00:00:03,10.0.0.3/32', 42);
    for (const each of [me, b, c]) each.publish('ff:ff:ff:ff:ff:ff', 50);
    await clock.pass(SETTLE_MS);
    expect(me.known.size).toBe(5);
    expect(hops(me.known.get(VIP))).toBe('11:20 12:30 13:40');
    expect(hops(me.known.get('ff:ff:ff:ff:ff:ff'))).toBe('12:50 13:50');
    expect(me.source.view()).toMatchObject([
      { name: 'c0', state: 'established', standing: 'settled', received: 5, published: 2 },
      { name: 'c1', state: 'established', standing: 'settled', received: 5, published: 2 },
    ]);
    me.heard();
  });

  test('an end of rib is heard once', async () => {
    const late = agent(14);
    await clock.pass(SETTLE_MS);
    expect(late.heard().filter((text) => text.startsWith('end-of-rib'))).toEqual([
      'end-of-rib pods',
    ]);
  });

  test('one is killed, and comes back: nothing is heard', async () => {
    controls[0]?.kill();
    await clock.pass(120_000);
    expect(me.heard()).toEqual([]);
    expect(me.view(0)).toMatchObject({ standing: 'lost', received: 0, stale: 0, swept: 5 });
    controls[0]?.start();
    await clock.pass(120_000);
    expect(me.heard()).toEqual([]);
    expect(me.view(0)).toMatchObject({ standing: 'settled', received: 5, stale: 0 });
  });

  test('a live one takes back what a lost one still has', async () => {
    controls[0]?.kill();
    b.withdraw('10.0.0.2/32');
    b.withdraw(VIP);
    await clock.settle();
    expect(me.heard().sort()).toEqual(['+10.96.0.10/32 11:20 13:40', '-10.0.0.2/32']);
  });

  test('what only the lost one had goes after the lag, not at once', async () => {
    controls[0]?.exchange.attach('odd').publish(route('pods', '10.0.0.7/32', [hop('1.1.1.1', 9)]));
    await clock.settle();
    expect(me.heard()).toEqual(['+10.0.0.7/32 1:9']);
    controls[0]?.kill();
    await clock.pass(LAG_MS - 1);
    expect(me.heard()).toEqual([]);
    await clock.pass(1);
    expect(me.heard()).toEqual(['-10.0.0.7/32']);
  });

  test('both are killed: headless; one comes back, agents one by one: swept without a flap', async () => {
    for (const control of controls) control.kill();
    await clock.pass(3_600_000);
    expect(me.heard()).toEqual([]);
    expect(me.source.view()).toMatchObject([{ stale: 5 }, { stale: 5 }]);
    c.source.close(); // one agent is gone for good
    controls[0]?.start();
    await clock.pass(30_000); // the longest wait between attempts
    expect(me.view(0)).toMatchObject({ standing: 'learning', state: 'established' });
    expect(me.heard(), 'with an end of rib, and too early to believe it').toEqual([]);
    await clock.pass(SETTLE_MS);
    expect(me.heard().sort()).toEqual([
      '+10.96.0.10/32 11:20 12:30',
      '+ff:ff:ff:ff:ff:ff 12:50',
      '-02:00:00:00:00:03,10.0.0.3/32',
      '-fd00::3/128',
    ]);
    expect(me.view(1)).toMatchObject({ standing: 'lost', stale: 0 });
    controls[1]?.start();
    await clock.pass(120_000);
    expect(me.heard()).toEqual([]);
  });

  test('back for a moment and lost again: still nothing is gone', async () => {
    for (const control of controls) control.kill();
    await clock.pass(10_000);
    b.source.close();
    for (let round = 0; round < 3; round++) {
      controls[round % 2]?.start();
      await clock.pass(31_000);
      controls[round % 2]?.kill();
      await clock.pass(1_000);
    }
    expect(me.heard()).toEqual([]);
  });

  test('a member that has come back and then leaves is gone at once', async () => {
    for (const control of controls) control.kill();
    await clock.pass(1_000);
    controls[0]?.start();
    await clock.pass(30_000);
    expect(me.heard()).toEqual([]);
    b.withdraw(VIP);
    await clock.settle();
    expect(me.heard()).toEqual(['+10.96.0.10/32 11:20 13:40']);
  });

  test('an address that has moved meanwhile moves at once', async () => {
    for (const control of controls) control.kill();
    await clock.pass(1_000);
    b.withdraw('10.0.0.2/32');
    c.publish('10.0.0.2/32', 44);
    controls[0]?.start();
    await clock.pass(31_000);
    expect(me.heard()).toEqual(['+10.0.0.2/32 13:44']);
  });

  test('headless, what is of this node is as it is now', async () => {
    for (const control of controls) control.kill();
    await clock.pass(1_000);
    me.publish(VIP, 21);
    await clock.settle();
    expect(me.heard()).toEqual(['+10.96.0.10/32 11:21 12:30 13:40']);
    me.withdraw(VIP);
    await clock.settle();
    expect(me.heard()).toEqual(['+10.96.0.10/32 12:30 13:40']);
  });

  test('headless, what another instance has from this node is as it is now, too', async () => {
    for (const { exchange } of controls) {
      exchange.createInstance({ name: 'services' });
      exchange.connect('pods', 'services');
    }
    const services = (prefix: string, label: number) =>
      route('services', prefix, [hop(me.address, label)]);
    me.source.publish(services('10.97.0.1/32', 60));
    me.source.publish(services('10.97.0.2/32', 61));
    await clock.settle();
    expect(hops(me.known.get('10.97.0.1/32'))).toBe('11:60');
    me.heard();
    for (const control of controls) control.kill();
    await clock.pass(600_000);
    expect(me.heard()).toEqual([]);
    me.source.publish(services('10.97.0.1/32', 62));
    me.source.withdraw(keyOf(services('10.97.0.2/32', 61)));
    await clock.settle();
    expect(me.heard().sort()).toEqual(['+10.97.0.1/32 11:62', '-10.97.0.2/32']);
    // In both: this instance's own word counts, then the other's.
    me.publish('10.97.0.1/32', 63);
    await clock.settle();
    expect(me.heard()).toEqual(['+10.97.0.1/32 11:63']);
    me.withdraw('10.97.0.1/32');
    await clock.settle();
    expect(me.heard()).toEqual(['+10.97.0.1/32 11:62']);
  });

  test('everything is said again in a new session, and goes with an orderly end', async () => {
    controls[0]?.kill();
    controls[0]?.start();
    await clock.pass(SETTLE_MS);
    const seen = () => controls[0]?.exchange.routes('pods').map(({ prefix }) => prefix);
    expect(seen()).toContain('fd00::3/128');
    expect(controls[0]?.agents?.sessions()).toMatchObject([
      { name: 'compute-11', subscriptions: [{ instance: 'pods', instanceId: 11 }] },
      { name: 'compute-12' },
      { name: 'compute-13' },
    ]);
    c.source.close();
    await clock.settle();
    expect(seen()).not.toContain('fd00::3/128');
  });

  test('subscribing anew in one breath starts afresh', async () => {
    me.source.unsubscribe('pods');
    me.source.subscribe('pods', 99);
    await clock.settle();
    const heard = me.heard();
    // The service's address may come without this node's own next hop first: it is being published again.
    expect(new Set(heard.map((text) => text.split(' ')[0]))).toEqual(
      new Set(['end-of-rib', ...[...me.known.keys()].map((prefix) => `+${prefix}`)]),
    );
    expect(me.known.size).toBe(5);
    expect(heard.filter((text) => text === 'end-of-rib pods')).toHaveLength(1);
    expect(hops(me.known.get(VIP))).toBe('11:20 12:30 13:40');
    expect(b.heard().filter((text) => text.startsWith('-'))).toEqual([]);
  });

  test('a route that cannot be carried is refused by name, and the session stays', async () => {
    const refused: string[] = [];
    const d = agent(14, {
      onRefused: (_, __, { name, reason }) => refused.push(`${name} ${reason}`),
    });
    d.source.publish(route('pods', '10.0.0.9/32', [hop('192.0.2.14', 1), hop('192.0.2.14', 2)]));
    d.publish('10.0.0.8/32', 5);
    await clock.settle();
    expect(refused[0]).toContain('10.0.0.9/32');
    expect(refused[0]).toContain('2 next hops');
    expect(me.heard()).toEqual(['+10.0.0.8/32 14:5']);
    expect(d.view(0)).toMatchObject({ state: 'established', refused: 1, published: 1 });
  });
});

test('one that does not read is not sent everything at once, and gets it when it does', async () => {
  clock = new PatientClock();
  controls = [new Control(clock)];
  const me = agent(11);
  await clock.settle();
  const { far } = controls[0] as Control;
  far.reading = false;
  for (let i = 0; i < 3000; i++) me.publish(`10.${i >> 8}.${i & 255}.0/24`, 100 + i);
  await clock.settle();
  const waiting = far.unread;
  expect(waiting).toBeGreaterThan(1 << 20);
  expect(waiting).toBeLessThan((1 << 20) + 8192);
  me.withdraw('10.11.0.0/24'); // before it has been said
  far.reading = true;
  far.wake();
  await clock.settle();
  expect(controls[0]?.exchange.routes('pods')).toHaveLength(2999);
  expect(me.view(0)).toMatchObject({ published: 2999, received: 2999 });
});

test('why there is no session is said', async () => {
  clock = new PatientClock();
  controls = [new Control(clock)];
  controls[0]?.kill();
  const me = agent(11);
  await clock.settle();
  expect(me.view(0)).toMatchObject({ state: 'waiting', lastError: 'connection refused' });
});

test('a spare takes the place of one that cannot be had', async () => {
  clock = new PatientClock();
  controls = [new Control(clock), new Control(clock), new Control(clock)];
  controls[1]?.kill();
  const me = agent(11);
  await clock.settle();
  expect(me.source.view().map(({ state }) => state)).toEqual(['established', 'waiting', 'spare']);
  await clock.pass(10_000);
  expect(me.source.view().map(({ state }) => state)).toEqual([
    'established',
    'spare',
    'established',
  ]);
});

test('one that never says end of rib counts after the fallback', async () => {
  clock = new PatientClock();
  controls = [new Control(clock)];
  const control = controls[0] as Control;
  const me = agent(11, { endOfRibMs: END_OF_RIB_MS });
  control.exchange.attach('b').publish(route('pods', '10.0.0.2/32', [hop('192.0.2.12', 31)]));
  await clock.settle();
  control.kill();
  control.start();
  control.exchange.deleteInstance('pods'); // nothing to tell: its end of rib does not come
  me.source.subscribe('unknown', 5);
  me.heard();
  control.agents = mute(control.agents as ControlAgents);
  await clock.pass(END_OF_RIB_MS);
  expect(me.heard()).toEqual([]);
  await clock.pass(2_000);
  expect(me.heard().sort()).toEqual(['-10.0.0.2/32', 'end-of-rib unknown']);
});

/** Its sessions open, and nothing is ever said in them. */
function mute(agents: ControlAgents): ControlAgents {
  return {
    accept: (stream: MemoryStream) =>
      agents.accept(
        new Proxy(stream, {
          get(target, name) {
            if (name === 'write') {
              return (parts: readonly (string | Uint8Array)[]) => {
                const text = parts.map((part) => Buffer.from(part as string).toString()).join('');
                if (!text.includes('<message')) target.write(parts);
              };
            }
            const value = Reflect.get(target, name, target);
            return typeof value === 'function' ? value.bind(target) : value;
          },
        }),
      ),
  } as unknown as ControlAgents;
}
