import { describe, expect, it } from 'vitest';
import { perSecond, watched } from '../../../src/cli/watch.ts';

describe('watched', () => {
  const looks = async (options: { watch?: number; count?: number }) => {
    const seen: [number, number | undefined][] = [];
    let n = 0;
    await watched(
      options,
      async () => ++n,
      (now, before) => {
        seen.push([now, before?.value]);
        if (before !== undefined) expect(before.seconds).toBeGreaterThan(0);
      },
    );
    return seen;
  };

  it('looks once, or so often, with the last look at hand', async () => {
    expect(await looks({})).toEqual([[1, undefined]]);
    expect(await looks({ watch: 0.001, count: 3 })).toEqual([
      [1, undefined],
      [2, 1],
      [3, 2],
    ]);
  });

  it('measures the time between looks instead of believing it', async () => {
    let seconds = 0;
    let slow = 0;
    await watched(
      { watch: 0.01, count: 2 },
      async () => {
        // The second answer takes its time.
        const end = performance.now() + slow;
        while (performance.now() < end);
        slow = 100;
      },
      (_, before) => {
        seconds = before?.seconds ?? 0;
      },
    );
    expect(seconds).toBeGreaterThan(0.1);
  });

  it.each([0, -1, Number.NaN])('refuses --watch %d before it looks', async (watch) => {
    await expect(looks({ watch })).rejects.toThrow('--watch takes a number of seconds above 0');
  });

  it('refuses --count alone', async () => {
    await expect(looks({ count: 2 })).rejects.toThrow('--count needs --watch');
  });
});

it('rates are differences a second, of counters past 2^53 too, and of those that began anew', () => {
  expect(perSecond(100, 350, 2.5)).toBe(100);
  expect(perSecond('9007199254740993', '9007199254741993', 1)).toBe(1000);
  expect(perSecond(500, 20, 2)).toBe(10);
  expect(perSecond(undefined, 20, 2)).toBe(10);
});
