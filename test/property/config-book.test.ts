/**
 * Objects that come, change and go one by one, against the same objects given at once to an empty book; and tenants that
 * never see each other's objects, whatever is given.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ConfigBook, type Objects } from '../../src/control/config-book.ts';
import {
  type GroupRule,
  KINDS,
  type List,
  type RuleEnd,
  type Specs,
  uuidOf,
} from '../../src/control/config-objects.ts';
import { ConfigTables } from '../../src/control/config-tables.ts';
import { VRouterError } from '../../src/errors.ts';
import { type ConfigChange, ConfigGraph } from '../../src/ifmap/graph.ts';

/** All of a graph, as one value. */
function contents(graph: ConfigGraph): unknown {
  return graph
    .nodes()
    .map((node) => [
      node,
      graph.links(node).map(({ link, to }) => [link.metadata, to.type, to.name]),
    ]);
}

const NAMES = ['a', 'b', 'c'];
const name = fc.constantFrom(...NAMES);
const some = fc.uniqueArray(name, { maxLength: 3 });
const end: fc.Arbitrary<RuleEnd> = fc.oneof(
  fc.constant({}),
  fc.record({ group: name }),
  fc.record({ network: name }),
  fc.constant({ prefix: '10.0.0.0/8' }),
);
const rules: fc.Arbitrary<GroupRule[]> = fc.array(
  fc.record({ protocol: fc.constantFrom('tcp', 'any', 17), remote: end }),
  { maxLength: 2 },
);
type AnySpec = Specs[List];
const OBJECTS: { readonly [L in List]: fc.Arbitrary<AnySpec> } = {
  networks: fc.record({
    name,
    id: fc.nat(3),
    policy: fc.option(name, { nil: undefined }),
    subnets: fc.constantFrom([], [{ prefix: '10.0.0.0/24' }], [{ prefix: '10.0.0.0/8' }]),
  }),
  security_groups: fc.record({ name, id: fc.integer({ min: 1, max: 4 }), ingress: rules }),
  policies: fc.record({
    name,
    rules: fc.array(fc.record({ source: end, destination: end }), { maxLength: 2 }),
  }),
  ports: fc.record({
    name,
    virtual_machine: name,
    network: name,
    mac: fc.constantFrom('02:00:00:00:00:01', '02:00:00:00:00:02'),
    addresses: fc.constantFrom([], ['10.0.0.1'], ['10.1.0.1', 'fd00::1']),
    security_groups: some,
  }),
  floating_ips: fc.record({ name, network: name, address: fc.constant('192.0.2.1'), ports: some }),
  virtual_routers: fc.record({ name, virtual_machines: some }),
};
const LISTS = Object.keys(KINDS) as List[];
const given: fc.Arbitrary<Objects> = fc
  .constantFrom(...LISTS)
  .chain((list) =>
    fc.array(OBJECTS[list], { minLength: 1, maxLength: 3 }).map((all) => ({ [list]: all })),
  );
type Step = { readonly put: Objects } | { readonly remove: readonly [List, string] };
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 5, arbitrary: given.map((put): Step => ({ put })) },
  fc.tuple(fc.constantFrom(...LISTS), name).map((remove): Step => ({ remove })),
);

/** Everything that others name, so that little is refused. */
const START: Objects = {
  networks: NAMES.map((of) => ({ name: of })),
  security_groups: NAMES.map((of, i) => ({ name: of, id: 10 + i })),
  policies: [{ name: 'a', rules: [] }],
  ports: NAMES.map((of) => ({
    name: of,
    virtual_machine: of,
    network: of,
    mac: '02:00:00:00:00:09',
  })),
};

test('one by one is as at once, each change tells no more than differs, and nothing is left behind', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 25 }), (steps) => {
      const book = new ConfigBook();
      const graph = new ConfigGraph();
      const held = new Map<string, { list: List; spec: unknown }>();
      const take = (changes: readonly ConfigChange[]) => {
        for (const change of changes) {
          if (change.kind === 'node' && change.remove !== true) {
            const { type, name: of } = change.node;
            expect(graph.node(type, of), 'told as it was').not.toEqual(change.node);
          }
          if (change.kind === 'link') expect(graph.has(change.link)).toBe(change.remove === true);
          graph.apply(change);
        }
      };
      for (const one of [{ put: START } as Step, ...steps]) {
        if ('remove' in one) {
          const [list, of] = one.remove;
          try {
            book.remove(list, of, take);
            held.delete(`${list} ${of}`);
          } catch (error) {
            expect(['NOT_FOUND', 'IN_USE']).toContain((error as VRouterError).code);
          }
        } else if (book.problems(one.put).length === 0) {
          book.put(one.put, take);
          for (const list of LISTS) {
            for (const spec of one.put[list] ?? [])
              held.set(`${list} ${spec.name}`, { list, spec });
          }
        }
      }
      const atOnce: Partial<Record<List, unknown[]>> = {};
      for (const { list, spec } of held.values()) {
        atOnce[list] = [...(atOnce[list] ?? []), spec];
      }
      const fresh = new ConfigBook();
      const wanted = new ConfigGraph();
      expect(fresh.problems(atOnce as Objects)).toEqual([]);
      fresh.put(atOnce as Objects, (changes) => {
        for (const change of changes) wanted.apply(change);
      });
      expect(contents(graph)).toEqual(contents(wanted));
      expect(book.counts()).toEqual(fresh.counts());
      // And away with all of it, those first that nobody names.
      for (let left = held.size; left > 0; ) {
        const before = left;
        for (const [text, { list, spec }] of held) {
          try {
            book.remove(list, (spec as { name: string }).name, take);
            held.delete(text);
            left--;
          } catch (error) {
            expect((error as VRouterError).code).toBe('IN_USE');
          }
        }
        if (left === before) return; // two groups that name each other
      }
      expect([graph.size, graph.linkCount]).toEqual([0, 0]);
    }),
    { numRuns: 150 },
  );
});

describe('a book', () => {
  const nothing = () => undefined;

  test('says everything that is wrong, each with its path', () => {
    const book = new ConfigBook();
    book.put(
      {
        networks: [{ name: 'net', subnets: [{ prefix: '10.0.0.0/24' }] }],
        security_groups: [{ name: 'one', id: 1 }],
        virtual_routers: [{ name: 'r1', virtual_machines: ['m'] }],
        ports: [
          { name: 'p', virtual_machine: 'm', network: 'net', mac: 'x', addresses: ['10.0.0.9'] },
        ],
      },
      nothing,
    );
    expect(
      book
        .problems({
          networks: [{ name: 'net', subnets: [{ prefix: '10.1.0.0/24' }], policy: 'none' }],
          security_groups: [
            { name: 'two', id: 1, egress: [{ remote: { group: 'three' } }] },
            { name: 'two', id: 3 },
          ],
          virtual_routers: [{ name: 'r2', virtual_machines: ['m'] }],
          ports: [
            { name: 'q', virtual_machine: 'm', network: 'net', mac: 'x', addresses: ['10.2.0.1'] },
          ],
        })
        .map(({ path, message }) => `${path.join('.')}: ${message}`),
    ).toEqual([
      'security_groups.1.name: "two" is there already',
      'networks.0.policy: there is no policy "none"',
      'security_groups.0.egress.0.remote.group: there is no security group "three"',
      'virtual_routers.0.virtual_machines.0: "m" is on virtual router "r1" already',
      'security_groups.0.id: 1 is security group "one" already',
      'networks.0.subnets: port "p" has 10.0.0.9, which would be in none of them',
      'ports.0.addresses.0: in no subnet of network "net"',
    ]);
    expect(
      book.problems({
        virtual_routers: [
          { name: 'r2', virtual_machines: ['m'] },
          { name: 'r1', virtual_machines: [] },
        ],
      }),
      'a move is none',
    ).toEqual([]);
  });

  test('takes nothing when the graph does not', () => {
    const book = new ConfigBook();
    const full = () => {
      throw new VRouterError('TABLE_FULL', 'full');
    };
    expect(() => book.put({ networks: [{ name: 'n' }] }, full)).toThrow('full');
    expect(book.counts().networks).toBe(0);
    const tables = new ConfigTables();
    book.put({ networks: [{ name: 'n' }] }, (changes) => tables.apply(changes));
    expect(tables.graph.size).toBe(4);
    expect(() => book.remove('networks', 'n', full)).toThrow('full');
    expect(book.counts().networks).toBe(1);
  });

  test('two objects that make the same thing differently are refused', () => {
    const book = new ConfigBook();
    book.put({ security_groups: [{ name: 'g', id: 1 }] }, nothing);
    expect(() =>
      book.put({ policies: [{ name: 'g:ingress-access-control-list', rules: [{}] }] }, nothing),
    ).toThrow(/make different ones of access-control-list g:ingress/);
    expect(book.counts().policies).toBe(0);
  });

  test("a group's id that changes changes the rules that name it", () => {
    const book = new ConfigBook();
    const tables = new ConfigTables();
    const put = (objects: Objects) => book.put(objects, (changes) => tables.apply(changes));
    put({
      security_groups: [{ name: 'g', id: 1 }],
      policies: [{ name: 'p', rules: [{ source: { group: 'g' } }] }],
    });
    put({ security_groups: [{ name: 'g', id: 2 }] });
    const list = tables.graph.node('access-control-list', 'p');
    expect(list?.properties.entries?.rules?.[0]?.match?.source).toEqual({ securityGroup: '2' });
  });

  test('ids are those in names, or made of them', () => {
    const uuid = '2d308482-c7b3-4e05-af14-e732b7b50117';
    expect(uuidOf('virtual-machine', `default:${uuid}`)).toBe(uuid);
    const made = uuidOf('virtual-machine', 'web-1');
    expect(made).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(uuidOf('virtual-machine', 'web-1')).toBe(made);
    expect(uuidOf('virtual-network', 'web-1')).not.toBe(made);
  });
});

describe('tenants', () => {
  const TENANTS = ['red', 'blue', 'green'];
  const own = (tenant: string, i: number) => `${tenant}:${i}`;

  /** Whose an object is, by the names in its own; nobody's are all tenants'. */
  const ownersOf = (text: string) => TENANTS.filter((tenant) => text.includes(tenant));

  const tenant: fc.Arbitrary<(t: string) => Objects> = fc
    .record({
      ports: fc.array(fc.record({ vm: fc.nat(2), network: fc.nat(1), group: fc.nat(1) }), {
        maxLength: 4,
      }),
      floating: fc.array(fc.record({ network: fc.nat(1), port: fc.nat(3) }), { maxLength: 3 }),
    })
    .map(
      ({ ports, floating }) =>
        (t: string): Objects => ({
          networks: [0, 1].map((i) => ({ name: own(t, i), policy: own(t, 0) })),
          policies: [{ name: own(t, 0), rules: [{ source: { network: own(t, 1) } }] }],
          security_groups: [0, 1].map((i) => ({
            name: own(t, i),
            id: 1 + i + 10 * TENANTS.indexOf(t),
            ingress: [{ remote: { group: own(t, 1 - i) } }],
          })),
          ports: ports.map(({ vm, network, group }, i) => ({
            name: own(t, i),
            virtual_machine: own(t, vm),
            network: own(t, network),
            mac: '02:00:00:00:00:01',
            addresses: ['10.0.0.1'], // the same for all
            security_groups: [own(t, group)],
          })),
          floating_ips: floating.map(({ network, port }, i) => ({
            name: own(t, i),
            network: own(t, network),
            address: '192.0.2.1',
            ports: ports[port] === undefined ? [] : [own(t, port)],
          })),
        }),
    );
  const placement = fc.array(fc.nat(2), { minLength: 9, maxLength: 9 });

  test('whose virtual machines a router has none of, of them its agent hears nothing', () => {
    fc.assert(
      fc.property(fc.tuple(tenant, tenant, tenant), placement, placement, (make, first, then) => {
        const book = new ConfigBook();
        const tables = new ConfigTables();
        const put = (objects: Objects) => {
          expect(book.problems(objects)).toEqual([]);
          book.put(objects, (changes) => tables.apply(changes));
        };
        const machines = TENANTS.flatMap((t) => [0, 1, 2].map((i) => own(t, i)));
        const readers = [0, 1, 2].map((i) => {
          const heard: string[] = [];
          const reader = tables.attach(`r${i}`, {
            blocked: () => false,
            send: (body) => void heard.push(Buffer.from(body).toString()),
          });
          const root = {
            type: 'virtual-router',
            name: `default-global-system-config:r${i}`,
          } as const;
          tables.subscribe(reader, root);
          // It asks for all of them, as one might that is curious.
          for (const machine of machines) {
            tables.subscribe(reader, { type: 'virtual-machine', name: machine });
          }
          return { heard, i };
        });
        const place = (where: readonly number[]) =>
          put({
            virtual_routers: [0, 1, 2].map((i) => ({
              name: `r${i}`,
              virtual_machines: machines.filter((_, k) => where[k] === i),
            })),
          });
        const check = (allowed: readonly (readonly number[])[]) => {
          for (const { heard, i } of readers) {
            const here = machines.filter((_, k) => allowed.some((where) => where[k] === i));
            const may = new Set(here.flatMap(ownersOf));
            const seen = new Set(ownersOf(heard.join('\n')));
            for (const t of seen) expect(may, `r${i} hears of ${t}`).toContain(t);
          }
        };
        place(first);
        for (const [k, t] of TENANTS.entries()) put((make[k] as (t: string) => Objects)(t));
        tables.flush();
        check([first]);
        place(then);
        tables.flush();
        check([first, then]);
      }),
      { numRuns: 60 },
    );
  });
});
