import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  difference,
  median,
  pairedDifference,
  rowValue,
  rowValues,
  scaled,
  summary,
  verdict,
} from '../../../scripts/bench/statistics.mjs';

const of = (...values: number[]) => summary(values);

describe('median', () => {
  test.each([
    [[7], 7],
    [[3, 1, 2], 2],
    [[4, 1, 3, 2], 2.5],
    [[10, 9, 100], 10], // by value, not by text
  ])('of %j is %d', (values, expected) => {
    expect(median(values)).toBe(expected);
  });

  test('of nothing is an error, and the values stay as they are', () => {
    expect(() => median([])).toThrow(RangeError);
    const values = [3, 1, 2];
    median(values);
    expect(values).toEqual([3, 1, 2]);
  });

  test('has as many values below it as above', () => {
    fc.assert(
      fc.property(fc.array(fc.integer(), { minLength: 1 }), (values) => {
        const middle = median(values);
        const below = values.filter((value) => value < middle).length;
        const above = values.filter((value) => value > middle).length;
        expect(Math.max(below, above)).toBeLessThanOrEqual(values.length / 2);
      }),
    );
  });
});

describe('verdict', () => {
  const less = { less: true, floor: 180, target: 100 };
  const more = { less: false, floor: 1.8, target: 1.95 };

  test.each([
    [less, of(90, 95, 99), 'target met', true],
    [less, of(90, 100, 101), 'target met', false], // on the line is met; one trial is not
    [less, of(101, 150, 180), 'floor met', true],
    [less, of(99, 150, 170), 'floor met', false], // one trial meets the target
    [less, of(150, 170, 181), 'floor met', false],
    [less, of(181, 190, 200), 'not met', true],
    [less, of(179, 190, 200), 'not met', false],
    [less, of(60, 90, 95), 'target met', true],
    [more, of(1.95, 1.96, 1.99), 'target met', true],
    [more, of(1.8, 1.9, 1.94), 'floor met', true],
    [more, of(1.7, 1.75, 1.79), 'not met', true],
    [{ less: false, floor: 20 }, of(30, 31, 32), 'floor met', true],
    [{ less: false, floor: 20 }, of(10, 11, 21), 'not met', false],
    [{ less: false, target: 100 }, of(40, 50, 60), 'not met', true],
    [{ less: true }, of(1, 2, 3), '', true], // nothing is asked
  ])('%j of %j: %s, sure: %s', (row, figure, word, sure) => {
    expect(verdict(row, figure)).toEqual({ word, sure });
  });
});

describe('difference', () => {
  const row = { less: true };

  test('is noise where the runs have a value in common', () => {
    expect(difference(row, of(95, 100, 110), of(105, 115, 120))).toMatchObject({ word: 'same' });
    expect(difference(row, of(100, 100, 100), of(100, 100, 100))).toEqual({
      ratio: 1,
      low: 1,
      high: 1,
      word: 'same',
    });
  });

  test('is more than noise where they have none, and what is better depends on the row', () => {
    const [low, high] = [of(90, 95, 99), of(100, 105, 110)];
    expect(difference(row, low, high).word).toBe('better');
    expect(difference(row, high, low).word).toBe('worse');
    expect(difference({ less: false }, low, high).word).toBe('worse');
    expect(difference({ less: false }, high, low).word).toBe('better');
  });

  test('goes from the least over the most to the most over the least', () => {
    expect(difference(row, of(10, 12, 20), of(4, 5, 8))).toEqual({
      ratio: 2.4,
      low: 1.25,
      high: 5,
      word: 'worse',
    });
  });

  test('has the ratio of medians between the ratios of extremes', () => {
    const values = fc.array(fc.double({ min: 1, max: 1e6, noNaN: true }), { minLength: 3 });
    fc.assert(
      fc.property(values, values, (a, b) => {
        const { ratio, low, high } = difference(row, summary(a), summary(b));
        expect(low).toBeLessThanOrEqual(ratio);
        expect(ratio).toBeLessThanOrEqual(high);
      }),
    );
  });

  test('is not judged by a trial or two', () => {
    expect(difference(row, of(1, 2), of(8, 9, 10)).word).toBe('too few trials');
    expect(difference(row, of(1, 2, 3), of(9)).word).toBe('too few trials');
  });
});

describe('two builds that took turns', () => {
  const row = { of: 'a', less: true };
  const trials = (...values: number[]) => values.map((a) => ({ a }));

  test('differ if every trial says so, however much the trials differ', () => {
    const found = pairedDifference(row, trials(110, 220, 1100), trials(100, 200, 1000));
    expect(found).toMatchObject({ before: 200, now: 220, word: 'worse' });
    expect(found?.ratio).toBeCloseTo(1.1);
    expect(pairedDifference(row, trials(9, 99, 199), trials(10, 100, 200))?.word).toBe('better');
    expect(pairedDifference(row, trials(9, 101, 199), trials(10, 100, 200))?.word).toBe('same');
    const more = { ...row, less: false };
    expect(pairedDifference(more, trials(9, 99, 199), trials(10, 100, 200))?.word).toBe('worse');
  });

  test('are compared in trials that have both', () => {
    const found = pairedDifference(row, [{ a: 1 }, {}, { a: 4 }], [{ a: 2 }, { a: 9 }, {}]);
    expect(found).toEqual({
      before: 2,
      now: 1,
      ratio: 0.5,
      low: 0.5,
      high: 0.5,
      word: 'too few trials',
    });
    expect(pairedDifference(row, [{}], [{ a: 1 }])).toBeUndefined();
  });
});

describe('values of a row', () => {
  const trials: Record<string, number>[] = [{ a: 6, b: 3 }, { a: 8, b: 2 }, { b: 5 }];

  test('a figure, scaled', () => {
    expect(rowValue({ of: 'a', scale: 10 }, trials[0])).toBe(60);
    expect(rowValue({ of: 'c' }, trials[0])).toBeUndefined();
  });

  test('a ratio is taken within each trial, not of medians', () => {
    expect(rowValues({ of: ['a', 'b'] }, trials)).toEqual([2, 4]);
    expect(rowValue({ of: ['b', 'a'] }, trials[2])).toBeUndefined();
  });
});

test('clocks of another machine are scaled by what a cycle is here and there', () => {
  // There a TSC clock is a cycle; here the core does two in it: the same cycles take half the clocks.
  expect(scaled(400, 0.5, 1)).toBe(200);
  expect(scaled(400, 0.8, 0.8)).toBe(400);
});
