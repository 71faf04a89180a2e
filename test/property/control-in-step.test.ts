/**
 * Two control nodes that the same agents speak to: whatever the agents say, in whatever order it arrives at either,
 * and whichever sessions are lost and had again meanwhile, both end with the same digests, and these are different
 * where anything is.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Agent, AgentLink } from '../../src/control/agent.ts';
import { digestText, tableDigests, wholeDigest } from '../../src/control/digest.ts';
import { ControlNode } from '../../src/control/node.ts';
import { RouteTables } from '../../src/control/tables.ts';
import { tableViews } from '../../src/program/control-views.ts';
import { toItem } from '../../src/xmpp/routes.ts';
import { readStanza, writePublish, writeSubscription } from '../../src/xmpp/stanza.ts';
import { hop, route } from '../support/routes.ts';
import { trees } from '../unit/xmpp/messages.ts';

const AGENTS = ['n1', 'n2', 'n3'] as const;
const INSTANCES = ['red', 'blue', 'green'] as const;
const PREFIXES = ['10.0.0.1/32', '10.0.0.2/32', 'fd00::1/128', '02:00:00:00:00:01,10.0.0.1/32'];
type Name = (typeof AGENTS)[number];

interface Route {
  readonly instance: string;
  readonly prefix: string;
  readonly label: number;
  readonly localPreference: number;
}

const addressOf = (name: Name): string => `192.0.2.${AGENTS.indexOf(name) + 1}`;
const keyOf = ({ instance, prefix }: Route): string => `${instance} ${prefix}`;

function textOf(name: Name, { instance, prefix, label, localPreference }: Route, add: boolean) {
  const made = route(instance, prefix, [hop(addressOf(name), label)], { localPreference });
  return writePublish(
    { from: name, to: 'c/bgp-peer' },
    { publish: 'p', collection: 'c' },
    instance,
    toItem(made, 'publish'),
    add,
  );
}

/** One control node, and what agents have not been able to tell it yet. */
class Side {
  readonly tables = new RouteTables();
  readonly #node: ControlNode;
  readonly #agents = new Map<Name, Agent>();
  readonly #waiting = new Map<Name, string[]>();

  constructor(order: readonly string[], restartMs: number) {
    this.#node = new ControlNode(this.tables, { name: 'c', restartMs });
    // Automatic targets are numbers in order of making, which need not be the same.
    for (const name of order) this.tables.createInstance({ name });
    this.tables.connect('red', 'blue');
  }

  readonly #link = (name: Name): AgentLink => ({
    address: addressOf(name),
    send() {},
    blocked: () => false,
    close() {},
  });

  say(name: Name, text: string): void {
    const waiting = this.#waiting.get(name) ?? [];
    this.#waiting.set(name, [...waiting, text]);
  }

  /** So many of what is under way arrive. */
  deliver(name: Name, count = Number.POSITIVE_INFINITY): void {
    const agent = this.#agents.get(name);
    const waiting = this.#waiting.get(name) ?? [];
    if (agent === undefined) return;
    for (const text of waiting.splice(0, count)) {
      for (const stanza of trees(text)) this.#node.take(agent, readStanza(stanza));
    }
  }

  /** What was under way is lost with the session; it is said again from the beginning. */
  connect(name: Name, own: Iterable<Route>): void {
    if (this.#agents.has(name)) return;
    this.#agents.set(name, this.#node.up(name, this.#link(name), 0));
    const said: string[] = [];
    const head = { from: name, to: 'c/bgp-peer' };
    INSTANCES.forEach((node, i) => {
      const subscription = { type: 'subscribe' as const, node, instanceId: i + 1, noRibout: false };
      said.push(writeSubscription(head, 's', subscription));
    });
    for (const one of own) said.push(textOf(name, one, true));
    const end = `<iq from="${name}" to="c/bgp-peer"><pubsub>`;
    said.push(
      `${end}<publish node="0/0/EndOfRib"/></pubsub></iq>${end}<collection node="0/0/EndOfRib"><associate node="0/0/EndOfRib"/></collection></pubsub></iq>`,
    );
    this.#waiting.set(name, said);
  }

  lose(name: Name): void {
    const agent = this.#agents.get(name);
    this.#agents.delete(name);
    this.#waiting.delete(name);
    if (agent?.link !== undefined) this.#node.down(agent, agent.link, true, 0);
  }

  up(name: Name): boolean {
    return this.#agents.has(name);
  }
}

type Step =
  | ({ do: 'publish' | 'withdraw'; agent: Name } & Route)
  | { do: 'deliver'; side: 0 | 1; agent: Name; count: number }
  | { do: 'lose' | 'connect'; side: 0 | 1; agent: Name }
  | { do: 'flush'; side: 0 | 1 };

const agent = fc.constantFrom(...AGENTS);
const side = fc.constantFrom(0 as const, 1 as const);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constantFrom('publish' as const, 'publish' as const, 'withdraw' as const),
      agent,
      instance: fc.constantFrom(...INSTANCES),
      prefix: fc.constantFrom(...PREFIXES),
      label: fc.integer({ min: 16, max: 18 }),
      localPreference: fc.constantFrom(100, 200),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('deliver' as const),
      side,
      agent,
      count: fc.integer({ min: 1, max: 5 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constantFrom('lose' as const, 'connect' as const, 'connect' as const),
      side,
      agent,
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('flush' as const), side }) },
);

const digestsOf = ({ tables }: Side) =>
  [...tableDigests(tables)].map(([{ name }, digest]) => `${name} ${digestText(digest)}`).sort();

test('any history ends with equal digests', () => {
  let differed = 0;
  let paths = 0;
  fc.assert(
    fc.property(
      fc.array(step, { minLength: 20, maxLength: 100 }),
      fc.shuffledSubarray([...INSTANCES], { minLength: INSTANCES.length }),
      fc.constantFrom(0, 1000),
      (steps, order, restartMs) => {
        const sides = [new Side(INSTANCES, restartMs), new Side(order, restartMs)] as const;
        const own = new Map(AGENTS.map((name) => [name, new Map<string, Route>()]));
        for (const one of sides) for (const name of AGENTS) one.connect(name, []);
        for (const s of steps) {
          switch (s.do) {
            case 'publish':
            case 'withdraw': {
              const said = own.get(s.agent) as Map<string, Route>;
              if (s.do === 'publish') said.set(keyOf(s), s);
              else if (!said.delete(keyOf(s))) break;
              const text = textOf(s.agent, s, s.do === 'publish');
              for (const one of sides) if (one.up(s.agent)) one.say(s.agent, text);
              break;
            }
            case 'deliver':
              sides[s.side].deliver(s.agent, s.count);
              break;
            case 'lose':
              sides[s.side].lose(s.agent);
              break;
            case 'connect':
              sides[s.side].connect(s.agent, own.get(s.agent)?.values() ?? []);
              break;
            case 'flush':
              sides[s.side].tables.flush();
          }
        }
        for (const one of sides) one.tables.flush();
        if (digestsOf(sides[0]).join() !== digestsOf(sides[1]).join()) differed++;
        for (const one of sides) {
          for (const name of AGENTS) {
            one.connect(name, own.get(name)?.values() ?? []);
            one.deliver(name);
          }
          one.tables.flush();
        }
        expect(digestsOf(sides[0])).toEqual(digestsOf(sides[1]));
        expect(wholeDigest(sides[0].tables)).toBe(wholeDigest(sides[1].tables));
        const published = [...own.values()].reduce((sum, said) => sum + said.size, 0);
        const sizes = (one: Side) => tableViews(one.tables).map((view) => view.published);
        expect(sizes(sides[0])).toEqual(sizes(sides[1]));
        expect(sizes(sides[0]).reduce((a, b) => a + b, 0)).toBe(published);
        paths += published;
      },
    ),
    { numRuns: 200 },
  );
  expect(differed, 'and on the way they were not equal all the time').toBeGreaterThan(50);
  expect(paths).toBeGreaterThan(500);
});

/** Both with the same paths; then one thing is other at the second. */
const ONE: Route = { instance: 'red', prefix: '10.0.0.1/32', label: 16, localPreference: 100 };
const changes: [string, (at: Side) => void][] = [
  ['another label', (at) => at.say('n1', textOf('n1', { ...ONE, label: 17 }, true))],
  ['another preference', (at) => at.say('n1', textOf('n1', { ...ONE, localPreference: 50 }, true))],
  ['a path less', (at) => at.say('n1', textOf('n1', ONE, false))],
  [
    'a path more, in another table',
    (at) => at.say('n1', textOf('n1', { ...ONE, instance: 'blue' }, true)),
  ],
  ['the same of another agent', (at) => at.say('n2', textOf('n2', ONE, true))],
  ['a lost session', (at) => at.lose('n1')],
  ['an instance more', (at) => at.tables.createInstance({ name: 'grey' })],
  ['a target', (at) => at.tables.updateInstance({ name: 'green', import: ['1:1'], export: [] })],
  ['a link', (at) => at.tables.connect('red', 'green')],
  ['a link less', (at) => at.tables.disconnect('red', 'blue')],
  ['an instance less', (at) => at.tables.deleteInstance('green')],
];

function twoAlike(): [Side, Side] {
  const sides: [Side, Side] = [new Side(INSTANCES, 0), new Side(INSTANCES, 0)];
  for (const each of sides) {
    each.connect('n1', [ONE]);
    each.connect('n2', []);
    for (const name of ['n1', 'n2'] as const) each.deliver(name);
    each.tables.flush();
  }
  return sides;
}

test.each(changes)('%s at one of them is another digest', (_what, change) => {
  const [a, b] = twoAlike();
  expect(wholeDigest(a.tables)).toBe(wholeDigest(b.tables));
  change(b);
  for (const name of ['n1', 'n2'] as const) b.deliver(name);
  b.tables.flush();
  expect(wholeDigest(a.tables)).not.toBe(wholeDigest(b.tables));
});

test('an agent that is awaited has said what it has said', () => {
  const sides = [new Side(INSTANCES, 1000), new Side(INSTANCES, 1000)] as const;
  for (const each of sides) {
    each.connect('n1', [ONE]);
    each.deliver('n1');
  }
  sides[1].lose('n1');
  for (const each of sides) each.tables.flush();
  expect(wholeDigest(sides[0].tables)).toBe(wholeDigest(sides[1].tables));
});
