/**
 * The RIB against its naive twin: any history of neighbours that come, restart and go, of routes, memberships,
 * policies, slow readers and time ends with every neighbour holding what the twin says it must.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { KINDS } from '../support/rib-cast.ts';
import { History, type Step } from '../support/rib-history.ts';

/** For a history that was seen to fail; else another each time. */
const SEED = process.env['VROUTER_SEED'];

const far = fc.nat({ max: KINDS.length - 1 });
const traits = fc.oneof(
  fc.constant([]),
  fc.constant([16]),
  fc.array(fc.nat({ max: 21 }), { maxLength: 2 }),
);
const route = { family: fc.nat({ max: 5 }), route: fc.nat({ max: 19 }), traits };
const one = <const D extends string>(...names: D[]) => fc.constantFrom(...names);
const said = (what: 'announce' | 'withdraw') =>
  fc.record({
    ...{ do: fc.constant(what), far, ...route },
    ...{ pathId: fc.nat({ max: 2 }), hop: fc.nat({ max: 6 }) },
  });

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 20, arbitrary: said('announce') },
  { weight: 7, arbitrary: said('withdraw') },
  { weight: 4, arbitrary: fc.record({ do: one('originate', 'retract'), ...route }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('want' as const),
      targets: fc.subarray(['65000:1', '65000:2', '65000:5']),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ do: one('import', 'export'), far, policy: fc.nat({ max: 9 }) }),
  },
  { weight: 7, arbitrary: fc.record({ do: one('up', 'up', 'up', 'forgetful'), far }) },
  { weight: 4, arbitrary: fc.record({ do: one('down', 'lose', 'lose', 'bounce', 'bounce'), far }) },
  { weight: 6, arbitrary: fc.record({ do: one('end', 'end', 'block', 'ask', 'again'), far }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('pass' as const),
      seconds: fc.constantFrom(1, 25, 61, 400, 700),
    }),
  },
  { weight: 6, arbitrary: fc.constant({ do: 'flush' as const }) },
);

test('whatever happens, everyone holds what they must', () => {
  let held = 0;
  fc.assert(
    fc.property(fc.array(step, { minLength: 30, maxLength: 250, size: 'max' }), (steps) => {
      const history = new History();
      for (let at = 0; at < KINDS.length; at++)
        if (at % 4 !== 3) history.run({ do: 'up', far: at });
      for (const each of steps) history.run(each);
      held += history.check();
      history.end();
    }),
    { numRuns: 250, ...(SEED === undefined ? {} : { seed: Number(SEED) }) },
  );
  // Histories that leave nothing behind would prove nothing.
  expect(held).toBeGreaterThan(1000);
}, 120_000);

test('a stale route that is refused, and accepted again, still goes with its peer', () => {
  const history = new History();
  const outside = { far: KINDS.findIndex(({ name }) => name === 'outside') };
  const route = { ...outside, family: 0, route: 0, traits: [], pathId: 0, hop: 0 };
  const steps: Step[] = [
    { do: 'announce', ...route },
    { do: 'up', ...outside },
    { do: 'lose', ...outside },
    { do: 'import', ...outside, policy: 1 },
    { do: 'import', ...outside, policy: 0 },
  ];
  for (const each of steps) history.run(each);
  history.check();
  history.end();
});
