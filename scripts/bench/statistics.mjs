// The harness's arithmetic: what many trials come to, what a floor or a target makes of it, and how two runs differ.
// Pure functions, no input or output. Invariant: whatever is said of a figure follows from its trials alone.

/**
 * @typedef {{ median: number, min: number, max: number, trials: number }} Summary
 * @typedef {'target met' | 'floor met' | 'not met' | ''} Word
 * @typedef {{ word: Word, sure: boolean }} Verdict
 */

/** The middle value; of an even number, the mean of the two in the middle. */
export function median(/** @type {readonly number[]} */ values) {
  if (values.length === 0) throw new RangeError('no values');
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1
    ? /** @type {number} */ (sorted[middle])
    : /** @type {number} */ (sorted[middle - 1] + /** @type {number} */ (sorted[middle])) / 2;
}

/** @returns {Summary} */
export function summary(/** @type {readonly number[]} */ values) {
  return {
    median: median(values),
    min: Math.min(...values),
    max: Math.max(...values),
    trials: values.length,
  };
}

/** Whether `value` is at least as good as `line`. */
const reaches = (value, line, less) => (less ? value <= line : value >= line);

/**
 * By the median. Not sure: some trial is on the other side of a line that decided.
 * @param {{ less: boolean, floor?: number, target?: number }} row
 * @param {Summary} figure
 * @returns {Verdict}
 */
export function verdict({ less, floor, target }, { median, min, max }) {
  const lines = [target, floor].filter((line) => line !== undefined);
  if (lines.length === 0) return { word: '', sure: true };
  const sure = lines.every((line) => {
    const answer = reaches(median, line, less);
    // A line that a met target has left behind decides nothing.
    if (line === floor && target !== undefined && reaches(median, target, less)) return true;
    return reaches(min, line, less) === answer && reaches(max, line, less) === answer;
  });
  if (target !== undefined && reaches(median, target, less)) return { word: 'target met', sure };
  if (floor !== undefined && reaches(median, floor, less)) return { word: 'floor met', sure };
  return { word: 'not met', sure };
}

/**
 * A figure in TSC clocks of another machine, as it would be here if it were bound by the core alone: a TSC clock is
 * `clocksPerCycle` of a cycle, here and there.
 */
export const scaled = (clocks, clocksPerCycleHere, clocksPerCycleThere) =>
  (clocks * clocksPerCycleHere) / clocksPerCycleThere;

/** Fewer have no spread to speak of. */
export const FEWEST_TRIALS = 3;

/**
 * One figure in two runs. The ratio may lie anywhere from `low` to `high`; only where that leaves out 1, that is,
 * where the two runs have no value in common, do they differ by more than the noise of both.
 * @param {{ less: boolean }} row
 * @param {Summary} now
 * @param {Summary} before
 */
export function difference({ less }, now, before) {
  const ratio = now.median / before.median;
  const low = now.min / before.max;
  const high = now.max / before.min;
  return { ratio, low, high, word: judged(less, low, high, Math.min(now.trials, before.trials)) };
}

/** Of a ratio that lies between `low` and `high`, as far as so many trials can tell. */
function judged(less, low, high, trials) {
  if (trials < FEWEST_TRIALS) return 'too few trials';
  if (low <= 1 && high >= 1) return 'same';
  return low > 1 === less ? 'worse' : 'better';
}

/**
 * One figure of two builds that took turns: the ratio is taken within each trial, so what the machine did to both of
 * them is not in it. They differ if every trial says the same. Undefined: no trial has both.
 */
export function pairedDifference(row, trials, others) {
  const both = trials
    .map((figures, i) => [rowValue(row, figures), rowValue(row, others[i] ?? {})])
    .filter(([now, before]) => now !== undefined && before !== undefined);
  if (both.length === 0) return undefined;
  const ratios = summary(both.map(([now, before]) => now / before));
  return {
    before: median(both.map(([, before]) => before)),
    now: median(both.map(([now]) => now)),
    ratio: ratios.median,
    low: ratios.min,
    high: ratios.max,
    word: judged(row.less, ratios.min, ratios.max, ratios.trials),
  };
}

/** What a row is made of, in one trial: a figure, or one over another. Undefined: one is missing. */
export function rowValue({ of, scale = 1 }, figures) {
  const [above, below] = Array.isArray(of) ? of : [of];
  const value = figures[above];
  if (value === undefined) return undefined;
  if (below === undefined) return value * scale;
  return figures[below] === undefined ? undefined : (value / figures[below]) * scale;
}

/** @returns {number[]} of the trials that have it */
export const rowValues = (row, trials) =>
  trials.map((figures) => rowValue(row, figures)).filter((value) => value !== undefined);
