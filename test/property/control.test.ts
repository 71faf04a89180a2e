/**
 * The control node against a model that answers every question from all that is published
 * (support/route-model.ts): any history of subscriptions, routes, instances, targets, links and lost sessions ends
 * in the tables the model has, at every agent, and at agents that do not read for a while, too. What agents hear is
 * read back from the messages that were sent.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Agent, AgentLink } from '../../src/control/agent.ts';
import { ControlNode } from '../../src/control/node.ts';
import { RouteTables } from '../../src/control/tables.ts';
import { VRouterError } from '../../src/errors.ts';
import type { Item } from '../../src/xmpp/families.ts';
import { toItem } from '../../src/xmpp/routes.ts';
import { readStanza, writePublish, writeSubscription } from '../../src/xmpp/stanza.ts';
import { type ModelPath, modelBest } from '../support/route-model.ts';
import { hop, route } from '../support/routes.ts';
import { tree, trees } from '../unit/xmpp/messages.ts';

const INSTANCES = ['red', 'blue', 'green'] as const;
const AGENTS = ['n1', 'n2', 'n3'] as const;
const PREFIXES = [
  '10.0.0.1/32',
  '10.0.0.2/32',
  'fd00::1/128',
  '02:00:00:00:00:01,10.0.0.1/32',
] as const;
const BROADCAST = 'ff:ff:ff:ff:ff:ff';

type Name = (typeof AGENTS)[number];
type Instance = (typeof INSTANCES)[number];

type Step =
  | { do: 'subscribe' | 'unsubscribe' | 'join' | 'leave'; agent: Name; instance: Instance }
  | {
      do: 'publish' | 'withdraw';
      agent: Name;
      instance: Instance;
      prefix: string;
      label: number;
      localPreference?: number | undefined;
      sequence?: number | undefined;
      med?: number | undefined;
    }
  | { do: 'create' | 'delete'; instance: Instance }
  | { do: 'targets'; instance: Instance; import: string[]; export: string[] }
  | { do: 'connect' | 'disconnect'; pair: [Instance, Instance] }
  | { do: 'block' | 'unblock' | 'lose' | 'end-of-rib'; agent: Name }
  | { do: 'flush' };

const agent = fc.constantFrom(...AGENTS);
const instance = fc.constantFrom(...INSTANCES);
const targets = fc.uniqueArray(fc.constantFrom('1:1', '1:2', '1:3'), { maxLength: 2 });
const optional = (...values: number[]) =>
  fc.option(fc.constantFrom(...values), { nil: undefined, freq: 2 });
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({
      do: fc.constant('publish' as const),
      agent,
      instance,
      prefix: fc.constantFrom(...PREFIXES),
      label: fc.integer({ min: 16, max: 18 }),
      localPreference: optional(100, 200, 50),
      sequence: optional(1),
      med: optional(200, 5),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('withdraw' as const),
      agent,
      instance,
      prefix: fc.constantFrom(...PREFIXES),
      label: fc.constant(16),
    }),
  },
  { weight: 6, arbitrary: fc.record({ do: fc.constant('subscribe' as const), agent, instance }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('unsubscribe' as const), agent, instance }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constantFrom('join' as const, 'leave' as const),
      agent,
      instance,
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('delete' as const), instance }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('create' as const), instance }) },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('targets' as const),
      instance,
      import: targets,
      export: targets,
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constantFrom('connect' as const, 'disconnect' as const),
      pair: fc.constantFrom<[Instance, Instance][]>(
        ['red', 'blue'],
        ['blue', 'green'],
        ['red', 'green'],
      ),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constantFrom('block' as const, 'unblock' as const), agent }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constantFrom('lose' as const, 'end-of-rib' as const), agent }),
  },
  { weight: 6, arbitrary: fc.constant({ do: 'flush' as const }) },
);

const addressOf = (name: Name): string => `192.0.2.${AGENTS.indexOf(name) + 1}`;

/** An agent as it sees itself: what it has heard, by instance and item. */
class Far implements AgentLink {
  readonly address: string;
  readonly name: Name;
  readonly #tables: RouteTables;
  heard = new Map<string, Map<string, string[]>>();
  agent: Agent | undefined;
  isBlocked = false;
  endsOfRib = 0;

  constructor(tables: RouteTables, name: Name) {
    this.#tables = tables;
    this.name = name;
    this.address = addressOf(name);
  }

  send(head: string, body: Uint8Array): void {
    const [stanza] = trees(head + Buffer.from(body).toString());
    const { head: to, content } = readStanza(stanza as NonNullable<typeof stanza>);
    expect(to.to).toBe(`${this.name}/bgp-peer`);
    if (content.type === 'end-of-rib') {
      this.endsOfRib++;
      return;
    }
    if (content.type !== 'items') throw new Error(`sent ${content.type}`);
    expect(content.refused).toEqual([]);
    const table = this.heard.get(content.instance);
    expect(table, 'told of an instance that it did not ask for').toBeDefined();
    for (const id of content.retracts) table?.delete(id);
    for (const { id, item } of content.items) table?.set(id, hopsOf(item));
  }

  blocked(): boolean {
    return this.isBlocked;
  }

  close(): void {}

  unblock(): void {
    this.isBlocked = false;
    if (this.agent !== undefined) this.#tables.resume(this.agent.peer);
  }
}

function hopsOf(item: Item): string[] {
  const { entry } = item;
  const all = item.family === 'evpn' && item.entry.olist.length > 0 ? item.entry.olist : entry.hops;
  return all.map((h) => `${h.address} ${typeof h.label === 'number' ? h.label : h.label.low}`);
}

class Run {
  readonly tables = new RouteTables();
  readonly node = new ControlNode(this.tables, { name: 'c', restartMs: 1000 });
  readonly fars = new Map(AGENTS.map((name) => [name, new Far(this.tables, name)]));
  /** The model: */
  readonly created = new Map<string, { import: string[]; export: string[] }>();
  readonly links = new Set<string>();
  readonly subscribed = new Map<Name, Set<string>>(AGENTS.map((name) => [name, new Set()]));
  readonly published = new Map<
    string,
    ModelPath & { agent: Name; label: number; stale: boolean }
  >();

  constructor() {
    for (const far of this.fars.values()) far.agent = this.node.up(far.name, far, 0);
  }

  #say(name: Name, text: string): void {
    const agent = this.fars.get(name)?.agent as Agent;
    for (const stanza of trees(text)) this.node.take(agent, readStanza(stanza));
  }

  #publish(s: Extract<Step, { do: 'publish' | 'withdraw' }>, add: boolean): void {
    if (this.subscribed.get(s.agent)?.has(s.instance) !== true) {
      const say = () => this.#say(s.agent, this.#text(s, add));
      if (add) expect(say).toThrow(VRouterError);
      return;
    }
    this.#say(s.agent, this.#text(s, add));
    const key = `${s.agent} ${s.instance} ${s.prefix}`;
    if (add) this.published.set(key, { ...s, stale: false });
    else this.published.delete(key);
  }

  #text(s: Extract<Step, { do: 'publish' | 'withdraw' }>, add: boolean): string {
    const made = route(s.instance, s.prefix, [hop(addressOf(s.agent), s.label)], {
      ...(s.localPreference !== undefined && { localPreference: s.localPreference }),
      ...(s.sequence !== undefined && { sequence: s.sequence }),
      ...(s.med !== undefined && { med: s.med }),
    });
    const head = { from: s.agent, to: 'c/bgp-peer' };
    return writePublish(
      head,
      { publish: 'p', collection: 'c' },
      s.instance,
      toItem(made, 'publish'),
      add,
    );
  }

  #subscription(name: Name, node: string, type: 'subscribe' | 'unsubscribe'): void {
    const head = { from: name, to: 'c/bgp-peer' };
    this.#say(name, writeSubscription(head, 's', { type, node, instanceId: 1, noRibout: false }));
  }

  take(s: Step): void {
    const set = 'agent' in s ? (this.subscribed.get(s.agent) as Set<string>) : new Set<string>();
    const far = 'agent' in s ? (this.fars.get(s.agent) as Far) : undefined;
    switch (s.do) {
      case 'subscribe':
        if (set.has(s.instance)) {
          expect(() => this.#subscription(s.agent, s.instance, 'subscribe')).toThrow(
            'subscribed already',
          );
          return;
        }
        set.add(s.instance);
        far?.heard.set(s.instance, new Map());
        this.#subscription(s.agent, s.instance, 'subscribe');
        return;
      case 'unsubscribe':
        if (!set.delete(s.instance)) {
          expect(() => this.#subscription(s.agent, s.instance, 'unsubscribe')).toThrow(
            'not subscribed',
          );
          return;
        }
        far?.heard.delete(s.instance);
        for (const [key, path] of this.published) {
          if (path.agent === s.agent && path.instance === s.instance) this.published.delete(key);
        }
        this.#subscription(s.agent, s.instance, 'unsubscribe');
        return;
      case 'publish':
      case 'withdraw':
        this.#publish(s, s.do === 'publish');
        return;
      case 'join':
      case 'leave': {
        const { agent, instance } = s;
        const prefix = BROADCAST;
        this.#publish({ do: 'publish', agent, instance, prefix, label: 20 }, s.do === 'join');
        return;
      }
      case 'create':
        if (this.created.has(s.instance)) return;
        this.created.set(s.instance, { import: ['1:1'], export: ['1:2'] });
        this.tables.createInstance({ name: s.instance, import: ['1:1'], export: ['1:2'] });
        return;
      case 'delete':
        if (!this.created.delete(s.instance)) return;
        for (const link of [...this.links])
          if (link.split(' ').includes(s.instance)) this.links.delete(link);
        this.tables.deleteInstance(s.instance);
        return;
      case 'targets':
        if (!this.created.has(s.instance)) return;
        this.created.set(s.instance, s);
        this.tables.updateInstance({ name: s.instance, import: s.import, export: s.export });
        return;
      case 'connect':
        if (!s.pair.every((name) => this.created.has(name))) return;
        this.links.add(s.pair.join(' '));
        this.tables.connect(...s.pair);
        return;
      case 'disconnect':
        if (this.links.delete(s.pair.join(' '))) this.tables.disconnect(...s.pair);
        return;
      case 'block':
        if (far !== undefined) far.isBlocked = true;
        return;
      case 'unblock':
        far?.unblock();
        return;
      case 'lose':
        this.#lose(far as Far);
        return;
      case 'end-of-rib':
        this.#endOfRib(s.agent);
        return;
      case 'flush':
        this.tables.flush();
    }
  }

  /** Lost, and back at once. One that had published is waited for, and subscribes again; else it is a new agent. */
  #lose(far: Far): void {
    const own = [...this.published.values()].filter((path) => path.agent === far.name);
    const before = own.length === 0 ? [] : [...(this.subscribed.get(far.name) ?? [])];
    this.node.down(far.agent as Agent, far, true, 0);
    this.subscribed.get(far.name)?.clear();
    far.heard.clear();
    far.isBlocked = false;
    for (const path of own) path.stale = true;
    far.agent = this.node.up(far.name, far, 0);
    for (const name of before) {
      this.take({ do: 'subscribe', agent: far.name, instance: name as Instance });
    }
  }

  #endOfRib(name: Name): void {
    this.#say(
      name,
      `<iq from="${name}" to="c/bgp-peer"><pubsub><publish node="0/0/EndOfRib"/></pubsub></iq>` +
        `<iq from="${name}" to="c/bgp-peer"><pubsub><collection node="0/0/EndOfRib"><associate node="0/0/EndOfRib"/></collection></pubsub></iq>`,
    );
    for (const [key, path] of this.published) {
      if (path.agent === name && path.stale) this.published.delete(key);
    }
  }

  check(): void {
    for (const far of this.fars.values()) far.unblock();
    this.tables.flush();
    const instances = new Map(
      [...this.created].map(([name, { import: imports, export: exports }]) => [
        name,
        {
          import: imports,
          export: exports,
          links: INSTANCES.filter(
            (o) => this.links.has(`${name} ${o}`) || this.links.has(`${o} ${name}`),
          ),
        },
      ]),
    );
    // Where there is no instance, nothing counts.
    const paths = [...this.published.values()].filter((path) => this.created.has(path.instance));
    for (const [name, names] of this.subscribed) {
      const far = this.fars.get(name) as Far;
      for (const one of names) {
        const expected = new Map<string, string[]>();
        if (this.created.has(one)) {
          for (const prefix of PREFIXES) {
            const hops = new Set(
              modelBest(paths, instances, one, prefix).map(
                (p) => `${addressOf(p.agent)} ${p.label}`,
              ),
            );
            if (hops.size > 0) expected.set(prefix, [...hops].sort());
          }
          const ends = paths.filter(
            (p) =>
              p.prefix === BROADCAST && (p.instance === one || reaches(instances, p.instance, one)),
          );
          const others = new Set(
            ends.filter((p) => p.agent !== name).map((p) => `${addressOf(p.agent)} ${p.label}`),
          );
          const takesPart = ends.some((p) => p.agent === name && p.instance === one);
          if (takesPart && others.size > 0)
            expected.set(`${BROADCAST},0.0.0.0/32`, [...others].sort());
        }
        expect(sorted(far.heard.get(one)), `${name} of ${one}`).toEqual(sorted(expected));
      }
    }
  }
}

function reaches(
  instances: ReadonlyMap<
    string,
    { import: readonly string[]; export: readonly string[]; links: readonly string[] }
  >,
  from: string,
  to: string,
): boolean {
  const imports = instances.get(to);
  const wanted = [
    ...(imports?.import ?? []),
    ...(imports?.links ?? []).flatMap((link) => instances.get(link)?.export ?? []),
  ];
  return instances.get(from)?.export.some((target) => wanted.includes(target)) === true;
}

function sorted(table: ReadonlyMap<string, string[]> | undefined): [string, string[]][] {
  return [...(table ?? [])].sort(([a], [b]) => (a < b ? -1 : 1));
}

test('any history ends in the tables of the model, at every agent', () => {
  let told = 0;
  fc.assert(
    fc.property(fc.array(step, { minLength: 20, maxLength: 120 }), (steps) => {
      const run = new Run();
      for (const name of INSTANCES.slice(0, 2)) run.take({ do: 'create', instance: name });
      for (const name of AGENTS) run.take({ do: 'subscribe', agent: name, instance: 'red' });
      for (const s of steps) run.take(s);
      run.check();
      told += [...run.fars.values()].reduce(
        (n, f) => n + [...f.heard.values()].reduce((m, t) => m + t.size, 0),
        0,
      );
    }),
    { numRuns: 200 },
  );
  expect(told, 'and these are not histories of nothing').toBeGreaterThan(1000);
});

test('every order of the same things ends in the same tables', () => {
  const things: Step[] = [
    { do: 'create', instance: 'green' },
    { do: 'targets', instance: 'red', import: ['1:2'], export: ['1:1'] },
    { do: 'subscribe', agent: 'n1', instance: 'green' },
    { do: 'subscribe', agent: 'n2', instance: 'blue' },
    { do: 'connect', pair: ['red', 'blue'] },
    { do: 'publish', agent: 'n3', instance: 'red', prefix: '10.0.0.1/32', label: 17 },
    { do: 'publish', agent: 'n1', instance: 'red', prefix: '10.0.0.1/32', label: 18 },
    { do: 'join', agent: 'n1', instance: 'red' },
    { do: 'join', agent: 'n3', instance: 'red' },
    { do: 'flush' },
    { do: 'flush' },
  ];
  fc.assert(
    fc.property(fc.shuffledSubarray(things, { minLength: things.length }), (steps) => {
      const run = new Run();
      for (const name of INSTANCES.slice(0, 2)) run.take({ do: 'create', instance: name });
      for (const name of AGENTS) run.take({ do: 'subscribe', agent: name, instance: 'red' });
      for (const s of steps) run.take(s);
      run.check();
    }),
    { numRuns: 100 },
  );
  expect(tree('<a/>').name).toBe('a');
});
