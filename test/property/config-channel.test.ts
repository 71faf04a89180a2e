/**
 * What agents have been told of the configuration, as they read it from messages, against a naive model of who may see
 * what: random graphs, changes, subscriptions and agents that do not read for a while.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { ConfigReader, ConfigSink } from '../../src/control/config-reader.ts';
import { ConfigTables } from '../../src/control/config-tables.ts';
import {
  type ConfigChange,
  ConfigGraph,
  type ConfigLink,
  type ConfigNode,
  keyText,
  linkText,
  type ObjectKey,
} from '../../src/ifmap/graph.ts';
import { LINKS, OBJECT_TYPES, type ObjectType } from '../../src/ifmap/objects.ts';
import { readConfig, writeConfigIq } from '../../src/xmpp/config-message.ts';
import { XmlReader } from '../../src/xmpp/reader.ts';
import { readStanza } from '../../src/xmpp/stanza.ts';
import { writeClientHeader } from '../../src/xmpp/stream.ts';

const HEAD = { from: 'control', to: 'default-global-system-config:a/config' };

/** An agent that takes messages at their word, and complains of what it could not make sense of. */
class Mirror implements ConfigSink {
  graph = new ConfigGraph();
  isBlocked = false;
  messages = 0;
  ends = 0;
  version = 0;
  readonly links = new Map<string, ConfigLink>();
  readonly #reader = new XmlReader({
    opened() {},
    closed() {},
    stanza: (stanza) => {
      const { content } = readStanza(stanza);
      if (content.type !== 'config') throw new Error(content.type);
      const message = readConfig(content.config);
      expect(message.refused).toEqual([]);
      expect(message.changes.length).toBeLessThanOrEqual(16);
      for (const change of message.changes) this.#apply(change);
      expect(message.version).toBeGreaterThanOrEqual(this.version);
      this.version = message.version as number;
      if (message.endOfSnapshot) this.ends++;
    },
  });

  constructor() {
    this.#reader.push(Buffer.from(writeClientHeader({ from: 'a', to: 'b' })));
  }

  blocked(): boolean {
    return this.isBlocked;
  }

  send(body: Uint8Array): void {
    this.messages++;
    this.#reader.push(Buffer.from(writeConfigIq(HEAD, '') + Buffer.from(body).toString()));
  }

  #apply(change: ConfigChange): void {
    if (change.kind === 'link') {
      const { link } = change;
      const text = linkText(link);
      expect(this.links.has(text), `${text} twice`).toBe(change.remove === true);
      if (change.remove === true) {
        this.links.delete(text);
      } else {
        for (const { type, name } of link.ends) {
          expect(this.graph.node(type, name), `${text} before its object`).toBeDefined();
        }
        this.links.set(text, link);
      }
    } else if (change.remove === true) {
      const { type, name } = change.key;
      expect(this.graph.node(type, name), 'something goes that was never told').toBeDefined();
      expect(this.graph.links(change.key), 'it goes before its links').toEqual([]);
    }
    this.graph.apply(change);
  }

  restart(): void {
    this.graph = new ConfigGraph();
    this.links.clear();
    this.version = 0;
  }
}

/** From, to: as the table of the ancestor's scoping has it; the links' names are not looked at. */
const ALLOWED: readonly (readonly [ObjectType, ObjectType])[] = [
  ['virtual-router', 'virtual-machine'],
  ['virtual-machine', 'virtual-machine-interface'],
  ['virtual-machine-interface', 'virtual-network'],
  ['virtual-machine-interface', 'security-group'],
  ['virtual-machine-interface', 'instance-ip'],
  ['virtual-machine-interface', 'floating-ip'],
  ['virtual-machine-interface', 'virtual-machine-interface-routing-instance'],
  ['virtual-machine-interface-routing-instance', 'routing-instance'],
  ['virtual-network', 'virtual-network-network-ipam'],
  ['virtual-network', 'access-control-list'],
  ['virtual-network', 'routing-instance'],
  ['virtual-network', 'floating-ip-pool'],
  ['virtual-network-network-ipam', 'network-ipam'],
  ['security-group', 'access-control-list'],
  ['floating-ip', 'floating-ip-pool'],
  ['floating-ip', 'instance-ip'],
  ['floating-ip-pool', 'virtual-network'],
  ['instance-ip', 'virtual-network'],
];

class Model {
  readonly nodes = new Map<string, ConfigNode>();
  readonly links = new Map<string, ConfigLink>();

  apply(change: ConfigChange): void {
    if (change.kind === 'node' && change.remove !== true) {
      this.nodes.set(keyText(change.node), change.node);
    } else if (change.kind === 'node') {
      this.nodes.delete(keyText(change.key));
      for (const [text, { ends }] of [...this.links]) {
        if (ends.some((end) => keyText(end) === keyText(change.key))) this.links.delete(text);
      }
    } else if (change.remove === true) {
      this.links.delete(linkText(change.link));
    } else if (!this.links.has(linkText(change.link))) {
      this.links.set(linkText(change.link), change.link);
    }
  }

  /** Until nothing more is reached. */
  seen(roots: readonly ObjectKey[]): { nodes: Set<ConfigNode>; links: Set<string> } {
    const own = roots.filter(({ type }) => type === 'virtual-router').map(keyText);
    const hostsOf = (vm: ObjectKey) =>
      [...this.links.values()]
        .filter(({ ends }) => ends.some((end) => keyText(end) === keyText(vm)))
        .flatMap(({ ends }) => ends.filter(({ type }) => type === 'virtual-router').map(keyText))
        .filter((host) => this.nodes.has(host));
    const open = roots.filter((root) => {
      if (root.type === 'virtual-router') return true;
      const hosts = hostsOf(root);
      return hosts.length === 0 || hosts.some((host) => own.includes(host));
    });
    const texts = new Set(open.map(keyText).filter((text) => this.nodes.has(text)));
    for (let size = -1; size !== texts.size; ) {
      size = texts.size;
      for (const { ends } of this.links.values()) {
        for (const [from, to] of [ends, [ends[1], ends[0]] as const]) {
          const may = ALLOWED.some(([a, b]) => a === from.type && b === to.type);
          if (may && texts.has(keyText(from)) && this.nodes.has(keyText(to)))
            texts.add(keyText(to));
        }
      }
    }
    const links = [...this.links].filter(([, { ends }]) =>
      ends.every((e) => texts.has(keyText(e))),
    );
    return {
      nodes: new Set([...texts].map((text) => this.nodes.get(text) as ConfigNode)),
      links: new Set(links.map(([text]) => text)),
    };
  }
}

const AGENTS = ['a', 'b'];
const key = fc.record({ type: fc.constantFrom(...OBJECT_TYPES), name: fc.constantFrom(...AGENTS) });
const link: fc.Arbitrary<ConfigLink> = fc
  .tuple(fc.constantFrom(...LINKS), fc.constantFrom(...AGENTS), fc.constantFrom(...AGENTS))
  .map(([[metadata, one, other], a, b]) => ({
    metadata,
    ends: [
      { type: one, name: a },
      { type: other, name: b },
    ],
  }));
/** Every object there may be, and some of the links: long ways are there from the start. */
const start: fc.Arbitrary<readonly ConfigChange[]> = fc
  .array(link, { minLength: 20, maxLength: 60 })
  .map((links) => [
    ...OBJECT_TYPES.flatMap((type) =>
      AGENTS.map(
        (name): ConfigChange => ({
          kind: 'node',
          node: { type, name, properties: {} } as ConfigNode,
        }),
      ),
    ),
    ...links.map((of): ConfigChange => ({ kind: 'link', link: of })),
  ]);
const change: fc.Arbitrary<ConfigChange> = fc.oneof(
  { weight: 4, arbitrary: link.map((of): ConfigChange => ({ kind: 'link', link: of })) },
  link.map((of): ConfigChange => ({ kind: 'link', remove: true, link: of })),
  {
    weight: 3,
    arbitrary: fc.tuple(key, fc.nat(3)).map(
      ([of, n]): ConfigChange => ({
        kind: 'node',
        node: {
          ...of,
          properties: of.type.startsWith('virtual-machine-interface-r')
            ? {}
            : of.type === 'virtual-network-network-ipam'
              ? {}
              : { displayName: `n${n}` },
        } as ConfigNode,
      }),
    ),
  },
  key.map((of): ConfigChange => ({ kind: 'node', remove: true, key: of })),
);

type Step =
  | { readonly do: 'apply'; readonly changes: readonly ConfigChange[] }
  | { readonly do: 'flush' }
  | { readonly do: 'subscribe' | 'unsubscribe'; readonly agent: number; readonly vm: string | null }
  | { readonly do: 'block'; readonly agent: number; readonly isBlocked: boolean };
const agent = fc.nat(AGENTS.length - 1);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc
      .array(change, { maxLength: 30 })
      .map((changes): Step => ({ do: 'apply', changes })),
  },
  { weight: 2, arbitrary: fc.constant<Step>({ do: 'flush' }) },
  fc.record({
    do: fc.constantFrom('subscribe' as const, 'unsubscribe' as const),
    agent,
    vm: fc.constantFrom(null, ...AGENTS),
  }),
  fc.record({ do: fc.constant('block' as const), agent, isBlocked: fc.boolean() }),
);

function run(steps: readonly Step[]): void {
  const tables = new ConfigTables({ version: 100 });
  const model = new Model();
  const places = AGENTS.map((name) => {
    const mirror = new Mirror();
    return {
      name,
      mirror,
      reader: tables.attach(name, mirror),
      roots: new Map<string, ObjectKey>(),
    };
  });
  const own = (name: string): ObjectKey => ({ type: 'virtual-router', name });
  const take: { [K in Step['do']]: (of: Extract<Step, { do: K }>) => void } = {
    apply: ({ changes }) => {
      for (const one of changes) model.apply(one);
      tables.apply(changes);
    },
    flush: () => void tables.flush(),
    subscribe: ({ agent: i, vm }) => {
      const place = places[i] as (typeof places)[number];
      const root: ObjectKey = vm === null ? own(place.name) : { type: 'virtual-machine', name: vm };
      place.roots.set(keyText(root), root);
      if (vm === null) place.mirror.restart();
      tables.subscribe(place.reader, root);
    },
    unsubscribe: ({ agent: i, vm }) => {
      const place = places[i] as (typeof places)[number];
      const root: ObjectKey = vm === null ? own(place.name) : { type: 'virtual-machine', name: vm };
      if (vm === null) {
        place.roots.clear();
        place.mirror.restart();
      } else place.roots.delete(keyText(root));
      tables.unsubscribe(place.reader, root);
    },
    block: ({ agent: i, isBlocked }) => {
      const { mirror, reader } = places[i] as (typeof places)[number];
      mirror.isBlocked = isBlocked;
      if (!isBlocked) tables.resume(reader);
    },
  };
  for (const one of steps) (take[one.do] as (of: Step) => void)(one);
  for (const { mirror, reader } of places) {
    mirror.isBlocked = false;
    tables.resume(reader);
  }
  tables.flush();
  for (const { mirror, roots } of places) {
    const seen = model.seen([...roots.values()]);
    expect(new Set(mirror.graph.nodes())).toEqual(seen.nodes);
    expect(new Set(mirror.links.keys())).toEqual(seen.links);
  }
  const before = places.map(({ mirror }) => mirror.messages);
  expect(tables.flush(), 'nothing is left to be told').toBe(0);
  expect(places.map(({ mirror }) => mirror.messages)).toEqual(before);
}

test('whatever changes, an agent has been told what the model says it may see', () => {
  fc.assert(
    fc.property(start, fc.array(step, { maxLength: 30 }), (first, steps) =>
      run([
        ...AGENTS.map((_, i): Step => ({ do: 'subscribe', agent: i, vm: null })),
        { do: 'apply', changes: first },
        ...steps,
      ]),
    ),
    { numRuns: 400 },
  );
});

describe('one at a time', () => {
  const vm = (name: string): ConfigNode => ({ type: 'virtual-machine', name, properties: {} });
  const router = (name: string): ConfigNode => ({ type: 'virtual-router', name, properties: {} });
  const hosts = (a: string, b: string, remove = false): ConfigChange => ({
    kind: 'link',
    remove,
    link: { metadata: 'virtual-router-virtual-machine', ends: [router(a), vm(b)] },
  });
  const nodes = (...all: ConfigNode[]) => all.map((node): ConfigChange => ({ kind: 'node', node }));

  function start(): { tables: ConfigTables; a: Mirror; reader: ConfigReader } {
    const tables = new ConfigTables();
    const a = new Mirror();
    return { tables, a, reader: tables.attach('a', a) };
  }

  test('a virtual machine that another router has is not told to who asks for it', () => {
    const { tables, a, reader } = start();
    tables.apply(nodes(vm('m'), router('b'), router('a')));
    tables.subscribe(reader, router('a'));
    tables.subscribe(reader, vm('m'));
    tables.flush();
    expect(a.graph.node('virtual-machine', 'm')).toBeDefined();
    tables.apply([hosts('b', 'm')]);
    tables.flush();
    expect(a.graph.node('virtual-machine', 'm')).toBeUndefined();
    tables.apply([hosts('b', 'm', true), hosts('a', 'm')]);
    tables.flush();
    expect(a.graph.node('virtual-machine', 'm')).toBeDefined();
  });

  test('its host gone, it is told again; and an object that links have waited for', () => {
    const { tables, a, reader } = start();
    tables.apply([...nodes(vm('m'), router('b'), router('a')), hosts('b', 'm'), hosts('a', 'n')]);
    tables.subscribe(reader, router('a'));
    tables.subscribe(reader, vm('m'));
    tables.flush();
    expect(a.graph.size).toBe(1);
    tables.apply([{ kind: 'node', remove: true, key: router('b') }]);
    tables.flush();
    expect(a.graph.node('virtual-machine', 'm')).toBeDefined();
    tables.apply(nodes(vm('n')));
    tables.flush();
    expect(a.graph.node('virtual-machine', 'n')).toBeDefined();
  });

  test('a large snapshot is told in slices, and a reader that is blocked holds no text', () => {
    const { tables, a, reader } = start();
    const all = Array.from({ length: 1000 }, (_, i) => vm(`m${i}`));
    tables.apply([...nodes(router('a'), ...all), ...all.map(({ name }) => hosts('a', name))]);
    const send = a.send.bind(a);
    a.send = (body) => {
      send(body);
      if (a.messages % 16 === 0) a.isBlocked = true;
    };
    tables.subscribe(reader, router('a'));
    for (let i = 1; reader.isBehind; i++) {
      a.isBlocked = false;
      tables.resume(reader);
      tables.flush();
      expect(a.messages).toBe(Math.min(i * 16, Math.ceil(2001 / 16)));
      expect(a.ends).toBe(reader.isBehind ? 0 : 1);
    }
    expect([a.version, reader.version]).toEqual([1, 1]);
    expect(a.links.size).toBe(1000);
  });

  test('changes that would pass a limit, or that XML cannot hold, are none', () => {
    const tables = new ConfigTables({ limits: { objects: 1, links: 1 } });
    expect(() => tables.apply(nodes(vm('m'), vm('n')))).toThrow(/more than 1 objects/);
    expect(() => tables.apply(nodes(vm('\0')))).toThrow(/cannot be sent/);
    expect([tables.graph.size, tables.version]).toEqual([0, 0]);
    tables.apply(nodes(vm('m'), vm('m')));
    expect([tables.graph.size, tables.version]).toEqual([1, 1]);
  });
});
