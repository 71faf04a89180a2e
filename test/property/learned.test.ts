/** What control nodes have said, over any history: against a reading of it that keeps no state but the history's. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { prefixKeyText, type Route } from '../../src/rib/route.ts';
import { LearnedPaths } from '../../src/xmpp/learned.ts';
import { hop, route } from '../support/routes.ts';

const NAMES = ['a', 'b', 'c'] as const;
const PREFIXES = ['10.0.0.1/32', '10.0.0.2/32', 'fd00::1/128'];

type Op =
  | { readonly op: 'up'; readonly name: string }
  | { readonly op: 'lost'; readonly name: string }
  | { readonly op: 'settle'; readonly name: string }
  | { readonly op: 'announce'; readonly name: string; readonly route: Route }
  | { readonly op: 'withdraw'; readonly name: string; readonly prefix: string };

const name = fc.constantFrom(...NAMES);
const prefix = fc.constantFrom(...PREFIXES);
const routes = fc
  .record({
    prefix,
    hops: fc.uniqueArray(fc.constantFrom(1, 2, 3, 4), { minLength: 1, maxLength: 4 }),
    lp: fc.constantFrom(100, 200),
  })
  .map(({ prefix: p, hops, lp }) =>
    route(
      'pods',
      p,
      hops.map((n) => hop(`192.0.2.${n}`, 16 + n)),
      { localPreference: lp },
    ),
  );
const ops: fc.Arbitrary<Op> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ op: fc.constantFrom('up', 'lost', 'settle'), name }) },
  {
    weight: 5,
    arbitrary: fc.record({ op: fc.constant('announce' as const), name, route: routes }),
  },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('withdraw' as const), name, prefix }) },
) as fc.Arbitrary<Op>;

const addresses = (r: Route | undefined) => r?.hops.map(({ address }) => address) ?? [];

test('live before lost, settled before live; nothing goes with a session', () => {
  fc.assert(
    fc.property(fc.array(ops, { maxLength: 60 }), (history) => {
      const learned = new LearnedPaths(NAMES, { isOwn: () => false, published: () => [] });
      /** By control node and prefix, what it says in its session. */
      const live = new Map<string, Map<string, Route>>(NAMES.map((n) => [n, new Map()]));
      const standing = new Map<string, string>(NAMES.map((n) => [n, 'lost']));
      const told = new Map<string, Route>();
      for (const step of history) {
        const before = standing.get(step.name);
        if (step.op === 'up' ? before !== 'lost' : before === 'lost') continue;
        if (step.op === 'settle' && before !== 'learning') continue;
        const had = new Set(told.keys());
        if (step.op === 'up') learned.up(step.name);
        else if (step.op === 'lost') {
          learned.lost(step.name);
          live.get(step.name)?.clear();
        } else if (step.op === 'settle') {
          learned.settle(step.name);
          learned.cover('pods', () => {});
        } else if (step.op === 'announce') {
          learned.announce(step.name, step.route);
          live.get(step.name)?.set(step.route.prefix, step.route);
        } else if (step.op === 'withdraw') {
          learned.withdraw(step.name, route('pods', step.prefix, []));
          live.get(step.name)?.delete(step.prefix);
        }
        if (['up', 'lost', 'settle'].includes(step.op)) {
          const now = { up: 'learning', lost: 'lost', settle: 'settled' } as Record<string, string>;
          standing.set(step.name, now[step.op] as string);
        }
        const seen = new Set<string>();
        for (const update of learned.take()) {
          if (update.type !== 'announce' && update.type !== 'withdraw')
            throw new Error(update.type);
          const key = update.type === 'announce' ? update.route : update.key;
          expect(seen.has(prefixKeyText(key)), 'each key once').toBe(false);
          seen.add(prefixKeyText(key));
          if (update.type === 'announce') told.set(key.prefix, update.route);
          else told.delete(key.prefix);
        }
        if (step.op === 'up' || step.op === 'lost') expect(new Set(told.keys())).toEqual(had);

        for (const p of PREFIXES) {
          const of = (which: string) =>
            NAMES.filter((n) => standing.get(n) === which).flatMap(
              (n) => live.get(n)?.get(p) ?? [],
            );
          const best = (all: Route[]) =>
            all.reduce<Route | undefined>(
              (a, b) => (a === undefined || lp(b) > lp(a) ? b : a),
              undefined,
            );
          const settled = best(of('settled'));
          const learning = best(of('learning'));
          const mine = told.get(p);
          if (settled !== undefined) {
            expect(addresses(mine)).toEqual(addresses(settled).sort());
          } else if (learning !== undefined) {
            // All it names, its preference; more only while nobody is settled.
            for (const address of addresses(learning)) expect(addresses(mine)).toContain(address);
            expect(mine?.localPreference).toBe(learning.localPreference);
            if ([...standing.values()].includes('settled')) {
              expect(addresses(mine)).toEqual(addresses(learning).sort());
            }
          }
        }
      }
      // Once someone has said all, only what is live is left.
      if (standing.get('a') === 'lost') learned.up('a');
      learned.settle('a');
      learned.cover('pods', () => {});
      for (const update of learned.take()) {
        if (update.type === 'withdraw') told.delete(update.key.prefix);
        if (update.type === 'announce') told.set(update.route.prefix, update.route);
      }
      const left = new Set([...live.values()].flatMap((routesOf) => [...routesOf.keys()]));
      expect(new Set(told.keys())).toEqual(left);
      expect(learned.hasOld()).toBe(false);
    }),
    { numRuns: 2000 },
  );
});

function lp({ localPreference = 100 }: Route): number {
  return localPreference;
}
