/** Rib, RouteExchange and the stream codec against plain models, over random histories. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { LineFramer } from '../../src/codec/line-framer.ts';
import { RouteExchange } from '../../src/control/exchange.ts';
import { checkUpdate } from '../../src/rib/check.ts';
import { Rib } from '../../src/rib/rib.ts';
import { keyOf, type Route, type RouteUpdate, routeKeyText } from '../../src/rib/route.ts';
import { decodeAgentLine, decodeExchangeLine, encodeUpdates } from '../../src/rib/wire.ts';
import { modelBest } from '../support/route-model.ts';
import { hop, route } from '../support/routes.ts';

const instance = fc.constantFrom('red', 'blue', 'green');
const prefix = fc.constantFrom('10.0.0.1/32', '10.0.0.2/32', '10.0.0.0/8', 'fd00::1/128');
const anyRoute: fc.Arbitrary<Route> = fc
  .tuple(
    instance,
    prefix,
    fc.uniqueArray(fc.tuple(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 16, max: 18 })), {
      minLength: 1,
      maxLength: 3,
      selector: ([a, l]) => `${a} ${l}`,
    }),
    fc.constantFrom<Partial<Route>>({}, { localPreference: 200 }, { sequence: 1 }, { med: 5 }),
  )
  .map(([i, p, hops, more]) =>
    route(
      i,
      p,
      hops.map(([a, l]) => hop(`10.9.0.${a}`, l)),
      more,
    ),
  );
const anyUpdate: fc.Arbitrary<RouteUpdate> = fc.oneof(
  { arbitrary: anyRoute.map((r): RouteUpdate => ({ type: 'announce', route: r })), weight: 4 },
  { arbitrary: anyRoute.map((r): RouteUpdate => ({ type: 'withdraw', key: keyOf(r) })), weight: 2 },
  instance.map((i): RouteUpdate => ({ type: 'stale', instance: i })),
  instance.map((i): RouteUpdate => ({ type: 'end-of-rib', instance: i })),
);

test('Rib: reported changes add up to what is best, and batches do not matter', () => {
  const batch = fc.record({
    source: fc.constantFrom('a', 'b', 'local'),
    updates: fc.array(anyUpdate, { maxLength: 6 }),
  });
  fc.assert(
    fc.property(fc.array(batch, { maxLength: 15 }), (batches) => {
      const ranks = new Map([['local', 1]]);
      const [whole, single] = [new Rib(ranks), new Rib(ranks)];
      const table = new Map<string, Route>();
      for (const { source, updates } of batches) {
        const changes = whole.apply(source, updates);
        expect(new Set(changes.map((c) => routeKeyText(c.key))).size).toBe(changes.length);
        for (const { key, before, after } of changes) {
          expect(table.get(routeKeyText(key))).toEqual(before);
          if (after === undefined) table.delete(routeKeyText(key));
          else table.set(routeKeyText(key), after);
        }
        for (const update of updates) single.apply(source, [update]);
      }
      const keys = whole.instances().flatMap((i) => whole.keys(i));
      expect(keys.map(routeKeyText).sort()).toEqual([...table.keys()].sort());
      for (const key of keys) {
        expect(whole.best(key)).toEqual(table.get(routeKeyText(key)));
        expect(single.paths(key)).toEqual(whole.paths(key));
      }
      expect(single.instances()).toEqual(whole.instances());
    }),
    { numRuns: 500 },
  );
});

describe('RouteExchange', () => {
  type Step =
    | { do: 'publish'; agent: string; route: Route }
    | { do: 'withdraw'; agent: string; route: Route }
    | { do: 'connect' | 'disconnect'; pair: [string, string] }
    | { do: 'targets'; instance: string; import: string[]; export: string[] }
    | { do: 'subscribe' | 'unsubscribe'; agent: string; instance: string }
    | { do: 'flush' };
  const agent = fc.constantFrom('n1', 'n2', 'n3');
  const targets = fc.uniqueArray(fc.constantFrom('1:1', '1:2', '1:3'), { maxLength: 2 });
  const step: fc.Arbitrary<Step> = fc.oneof(
    {
      arbitrary: fc.record({ do: fc.constant('publish' as const), agent, route: anyRoute }),
      weight: 4,
    },
    {
      arbitrary: fc.record({ do: fc.constant('withdraw' as const), agent, route: anyRoute }),
      weight: 2,
    },
    fc.record({
      do: fc.constantFrom('connect' as const, 'disconnect' as const),
      pair: fc.constantFrom<[string, string][]>(
        ['red', 'blue'],
        ['blue', 'green'],
        ['red', 'green'],
      ),
    }),
    fc.record({ do: fc.constant('targets' as const), instance, import: targets, export: targets }),
    fc.record({
      do: fc.constantFrom('subscribe' as const, 'unsubscribe' as const),
      agent,
      instance,
    }),
    fc.constant({ do: 'flush' as const }),
  );

  test('what subscribers heard is what a plain model says, whatever the history', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const exchange = new RouteExchange();
        const names = ['red', 'blue', 'green'];
        const spec = new Map<string, { import: string[]; export: string[] }>();
        for (const name of names) {
          spec.set(name, { import: [], export: [] });
          exchange.createInstance({ name, import: [], export: [] });
        }
        const links = new Set<string>();
        const published = new Map<string, Route>();
        const heard = new Map<string, Map<string, Route>>();
        const sources = new Map(
          ['n1', 'n2', 'n3'].map((name) => {
            const source = exchange.attach(name);
            source.onUpdates((updates) => {
              for (const u of updates) {
                if (u.type === 'announce') {
                  heard.get(`${name} ${u.route.instance}`)?.set(`${u.route.prefix}`, u.route);
                } else if (u.type === 'withdraw') {
                  const table = heard.get(`${name} ${u.key.instance}`);
                  // A withdrawal of what was never announced would be noise.
                  if (table !== undefined) expect(table.delete(u.key.prefix)).toBe(true);
                }
              }
            });
            return [name, source] as const;
          }),
        );
        for (const s of steps) {
          switch (s.do) {
            case 'publish':
              sources.get(s.agent)?.publish(s.route);
              published.set(`${s.agent}\n${routeKeyText(s.route)}`, s.route);
              break;
            case 'withdraw':
              sources.get(s.agent)?.withdraw(keyOf(s.route));
              published.delete(`${s.agent}\n${routeKeyText(s.route)}`);
              break;
            case 'connect':
              exchange.connect(...s.pair);
              links.add(s.pair.join());
              break;
            case 'disconnect':
              if (links.delete(s.pair.join())) exchange.disconnect(...s.pair);
              break;
            case 'targets':
              spec.set(s.instance, s);
              exchange.updateInstance({ name: s.instance, import: s.import, export: s.export });
              break;
            case 'subscribe':
              if (heard.has(`${s.agent} ${s.instance}`)) break;
              heard.set(`${s.agent} ${s.instance}`, new Map());
              sources.get(s.agent)?.subscribe(s.instance, 1);
              break;
            case 'unsubscribe':
              heard.delete(`${s.agent} ${s.instance}`);
              sources.get(s.agent)?.unsubscribe(s.instance);
              break;
            case 'flush':
              exchange.flush();
              break;
          }
        }
        exchange.flush();
        for (const [who, table] of heard) {
          const [, name] = who.split(' ') as [string, string];
          const instances = new Map(
            names.map((of) => [
              of,
              {
                import: spec.get(of)?.import ?? [],
                export: spec.get(of)?.export ?? [],
                links: names.filter((o) => links.has(`${of},${o}`) || links.has(`${o},${of}`)),
              },
            ]),
          );
          const paths = [...published.values()].map((r) => ({ ...r, agent: '' }));
          expect(published.size === 0 ? table.size : 0).toBe(0);
          for (const p of new Set(paths.map((r) => r.prefix))) {
            const hops = new Set(
              modelBest(paths, instances, name, p).flatMap((r) =>
                r.hops.map((h) => `${h.address} ${h.label}`),
              ),
            );
            const found = table.get(p)?.hops.map((h) => `${h.address} ${h.label}`) ?? [];
            expect(found).toEqual([...hops].sort());
          }
        }
      }),
      { numRuns: 300 },
    );
  });
});

describe('the stream codec', () => {
  test('updates come back as they went, in whatever pieces the stream cuts them', () => {
    fc.assert(
      fc.property(
        fc.array(anyUpdate, { maxLength: 20 }),
        fc.infiniteStream(fc.integer({ min: 1, max: 40 })),
        (updates, cuts) => {
          const bytes = Buffer.from([...encodeUpdates(updates)].join(''));
          const framer = new LineFramer(1 << 20);
          const back: RouteUpdate[] = [];
          for (let at = 0; at < bytes.length; ) {
            const size = cuts.next().value as number;
            for (const line of framer.push(bytes.subarray(at, at + size))) {
              const message = decodeExchangeLine(line);
              if (message.type === 'updates') back.push(...message.updates);
            }
            at += size;
          }
          expect(back).toEqual(updates);
        },
      ),
    );
  });

  test('damaged lines are refused with a ParseError, or still make a sound message', () => {
    const line = JSON.stringify({
      type: 'publish',
      route: route('red', '10.0.0.1/32', [hop('1.1.1.1', 17)]),
    });
    fc.assert(
      fc.property(
        fc.nat(line.length - 1),
        fc.string({ maxLength: 3 }),
        fc.nat(3),
        (at, junk, cut) => {
          const damaged = line.slice(0, at) + junk + line.slice(at + cut);
          try {
            const message = decodeAgentLine(damaged);
            if (message.type === 'publish') checkUpdate({ type: 'announce', route: message.route });
          } catch (error) {
            expect((error as Error).name).toBe('ParseError');
          }
        },
      ),
      { numRuns: 2000 },
    );
  });

  test('values of any shape are refused with a ParseError, or are sound', () => {
    fc.assert(
      fc.property(fc.object({ maxDepth: 3 }), (value) => {
        for (const type of ['publish', 'withdraw', 'subscribe', 'hello']) {
          try {
            decodeAgentLine(JSON.stringify({ ...value, type }));
          } catch (error) {
            expect((error as Error).name).toBe('ParseError');
          }
        }
      }),
    );
  });
});
