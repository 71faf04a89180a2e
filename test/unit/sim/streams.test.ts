/** The simulator's clock and streams: order, moments, and that nothing happens by itself. */
import { describe, expect, test } from 'vitest';
import { ProcessClock, VirtualClock } from '../../../src/sim/clock.ts';
import { randomOf } from '../../../src/sim/random.ts';
import { type MemoryStream, streamPair } from '../../../src/sim/streams.ts';

const MS = 1_000_000n;
const runAll = (clock: VirtualClock) => {
  let runs = 0;
  while (clock.runOne()) runs++;
  return runs;
};

describe('the clock', () => {
  test('runs what is due, the earliest first, and of one moment in the order in which it was asked', () => {
    const clock = new VirtualClock();
    const log: string[] = [];
    const note = (text: string) => () => log.push(`${text} ${clock.now()}`);
    clock.after(5, note('late'));
    clock.after(1, note('a'));
    clock.after(1, note('b'));
    clock.after(1, note('c'))();
    clock.after(0, () => clock.after(0, note('next')));
    expect(runAll(clock)).toBe(2);
    expect(clock.dueNs).toBe(MS);
    clock.advanceTo(2n * MS);
    clock.advanceTo(MS); // not back
    expect(log).toEqual(['next 0']);
    runAll(clock);
    expect(log).toEqual(['next 0', 'a 2', 'b 2']);
    expect(clock.dueNs).toBe(5n * MS);
  });

  test('nothing goes off early, whatever part of a millisecond it was', () => {
    const clock = new VirtualClock();
    clock.advanceTo(10_001n);
    let at = -1;
    clock.after(0.1, () => {
      at = clock.now();
    });
    clock.advanceTo((clock.dueNs as bigint) - 1n);
    expect(clock.runOne()).toBe(false);
    clock.advanceTo(clock.dueNs as bigint);
    expect(clock.runOne()).toBe(true);
    expect(at).toBeCloseTo(0.110001, 9);
  });

  test('what a killed process meant to do does not happen', () => {
    const clock = new VirtualClock();
    const process = new ProcessClock(clock);
    const log: string[] = [];
    process.after(0, () => log.push('done'));
    runAll(clock);
    process.after(0, () => log.push('not this'));
    process.kill();
    process.after(0, () => log.push('nor this'));
    expect(runAll(clock)).toBe(0);
    expect(log).toEqual(['done']);
  });
});

describe('a stream', () => {
  function listened(stream: MemoryStream) {
    const log: string[] = [];
    stream.listen({
      data: (bytes) => log.push(Buffer.from(bytes).toString()),
      drained: () => log.push('drained'),
      closed: (why) => log.push(`closed: ${why}`),
    });
    return log;
  }

  test('gives what was written at once, one turn each, in order', () => {
    const clock = new VirtualClock();
    const [near, far] = streamPair(clock);
    const [sender, reader] = [listened(near), listened(far)];
    runAll(clock);
    near.write(['a', Buffer.from('b')]);
    near.write(['c']);
    expect([reader, near.waiting]).toEqual([[], 3]);
    clock.runOne();
    expect([reader, near.waiting, sender]).toEqual([['ab'], 1, []]);
    clock.runOne();
    expect([reader, near.waiting, sender]).toEqual([['ab', 'c'], 0, ['drained']]);
    expect(runAll(clock)).toBe(0);
  });

  test('is read to its end before it is closed', () => {
    const clock = new VirtualClock();
    const [near, far] = streamPair(clock);
    const [sender, reader] = [listened(near), listened(far)];
    near.write(['a']);
    near.write(['b']);
    near.cut();
    near.write(['never']);
    runAll(clock);
    expect(reader).toEqual(['a', 'b', 'closed: cut']);
    expect(sender.at(-1)).toBe('closed: cut');
  });

  test('keeps for one that does not read, and tells nothing to one that has ended it', () => {
    const clock = new VirtualClock();
    const [near, far] = streamPair(clock);
    const [sender, reader] = [listened(near), listened(far)];
    far.reading = false;
    near.write(['kept']);
    near.end();
    runAll(clock);
    expect(reader).toEqual([]);
    far.reading = true;
    far.wake();
    runAll(clock);
    expect(reader).toEqual(['kept', 'closed: closed by the far end']);
    expect(sender).toEqual([]);
  });
});

test('chance is a function of its seed', () => {
  const some = (seed: bigint) => Array.from({ length: 1000 }, randomOf(seed));
  expect(some(1n)).toEqual(some(1n));
  expect(some(2n)).not.toEqual(some(1n));
  for (const n of some(3n)) expect(n >= 0 && n < 1).toBe(true);
  const mean = some(4n).reduce((a, b) => a + b, 0) / 1000;
  expect(Math.abs(mean - 0.5)).toBeLessThan(0.05);
});
