/**
 * Days of flaps, restarts and policy changes on a virtual clock: at every hour all that neighbours hold is what the
 * naive twin works out, and when they are gone nothing is left of a day: no path, no attributes, no memory.
 * VROUTER_SEED: another day.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, test } from 'vitest';
import { KINDS, TRAITS } from '../support/rib-cast.ts';
import { History, type Step } from '../support/rib-history.ts';

const SEED = Number(process.env.VROUTER_SEED ?? 6);
const HOURS = 24;
const HOUR_MS = 3_600_000;

/** Mulberry32. */
function random(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

type Draw = (below: number) => number;
const traits = (draw: Draw) => Array.from({ length: draw(3) }, () => draw(TRAITS.length));
const said = (what: 'announce' | 'withdraw') => (draw: Draw) => ({
  ...{ do: what, far: draw(KINDS.length), family: draw(4), route: draw(20) },
  ...{ pathId: draw(3), traits: traits(draw), hop: draw(7) },
});
const session =
  (what: 'up' | 'down' | 'lose' | 'bounce' | 'forgetful' | 'end' | 'ask' | 'again' | 'block') =>
  (draw: Draw): Step => ({ do: what, far: draw(KINDS.length) });

/** As often as they stand here. */
const MIX: readonly [number, (draw: Draw) => Step][] = [
  [30, said('announce')],
  [12, said('withdraw')],
  [3, (draw) => ({ do: 'originate', family: draw(3), route: draw(3), traits: traits(draw) })],
  [2, (draw) => ({ do: 'retract', family: draw(3), route: draw(3), traits: [] })],
  [2, (draw) => ({ do: 'want', targets: draw(2) === 0 ? ['65000:1'] : ['65000:2', '65000:5'] })],
  [
    3,
    (draw) => ({
      do: draw(2) === 0 ? 'import' : 'export',
      far: draw(KINDS.length),
      policy: draw(5),
    }),
  ],
  [12, session('up')],
  [1, session('forgetful')],
  [2, session('down')],
  [3, session('lose')],
  [4, session('bounce')],
  [10, session('end')],
  [2, session('ask')],
  [2, session('again')],
  [3, session('block')],
  [20, (draw) => ({ do: 'pass', seconds: draw(120) })],
  [5, () => ({ do: 'flush' })],
];
const ALL = MIX.flatMap(([times, make]) => Array.from({ length: times }, () => make));

function day(history: History, draw: Draw): number {
  history.begin();
  let steps = 0;
  for (let hour = 0; hour < HOURS; hour++) {
    const end = history.lab.now + HOUR_MS;
    while (history.lab.now < end) {
      history.run((ALL[draw(ALL.length)] as (draw: Draw) => Step)(draw));
      steps++;
    }
    history.check();
  }
  history.end();
  return steps;
}

function heap(): number {
  setFlagsFromString('--expose-gc');
  const gc = runInNewContext('gc') as () => void;
  for (let turn = 0; turn < 3; turn++) gc();
  return process.memoryUsage().heapUsed;
}

test('a day leaves everyone with what is true at every hour, and nothing behind', () => {
  const history = new History();
  history.end();
  const draw = random(SEED);
  // The first ones also bring the code into memory, and have it compiled.
  const steps = day(history, draw);
  day(history, draw);
  const before = heap();
  const after: number[] = [];
  for (let again = 0; again < 3; again++) {
    day(history, draw);
    after.push(heap());
  }
  expect(steps).toBeGreaterThan(3_000);
  // What is lost in a day is lost in each: compiled code comes and goes.
  expect(Math.min(...after) / before, 'heap after more days').toBeLessThan(1.05);
}, 120_000);
