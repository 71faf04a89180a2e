import { expect, test } from 'vitest';
import {
  type Attributes,
  comparePaths,
  comparePreference,
  lostBy,
  med,
  type Path,
} from '../../../src/control/path.ts';

function path(attributes: Attributes = {}, more: Partial<Path> = {}): Path {
  return {
    family: 'inet',
    prefix: '10.0.0.1/32',
    rd: '192.0.2.1:1',
    hops: [],
    attributes,
    peer: 'a',
    address: '192.0.2.1',
    instance: 'blue',
    originVn: 'blue',
    waits: true,
    stale: false,
    ...more,
  };
}

/** The better one first; each row loses every row above it, too. */
const ROWS: readonly [string, Path, Path][] = [
  [
    'feasible',
    path({ localPreference: 1 }),
    path({ localPreference: 300, sequence: 9, sticky: true }, { infeasible: 'x' }),
  ],
  [
    'local-preference',
    path({ localPreference: 200, etreeLeaf: true }),
    path({ sequence: 9, sticky: true }),
  ],
  ['etree-root', path({}), path({ etreeLeaf: true, sticky: true, sequence: 9, med: 1 })],
  ['sticky', path({ sticky: true }), path({ sequence: 9, med: 1 })],
  ['sequence', path({ sequence: 2, med: 500 }), path({ sequence: 1, med: 1 })],
  ['med', path({ med: 5 }, { address: '192.0.2.9' }), path({})],
];

test.each(ROWS)('%s', (row, better, worse) => {
  expect(comparePreference(better, worse)).toBeLessThan(0);
  expect(comparePreference(worse, better)).toBeGreaterThan(0);
  expect(comparePaths(better, worse)).toBeLessThan(0);
  expect(lostBy(better, worse)).toBe(row);
});

test('equal so far is ECMP; whose attributes count is decided by address, peer, instance, RD', () => {
  const order = [
    path({}, { address: '', peer: 'z' }),
    path({}, { address: '192.0.2.9' }),
    path({}, { address: '192.0.2.10' }),
    path({}, { address: '192.0.2.10', peer: 'b' }),
    path({}, { address: '192.0.2.10', peer: 'b', instance: 'red' }),
    path({}, { address: '192.0.2.10', peer: 'b', instance: 'red', rd: '192.0.2.1:2' }),
  ];
  for (let i = 0; i + 1 < order.length; i++) {
    const [a, b] = [order[i] as Path, order[i + 1] as Path];
    expect(comparePreference(a, b)).toBe(0);
    expect(lostBy(a, b)).toBeUndefined();
    expect(comparePaths(a, b)).toBeLessThan(0);
    expect(comparePaths(b, a)).toBeGreaterThan(0);
  }
  expect(comparePaths(path(), path())).toBe(0);
});

test('a MED that is not given follows from the local preference', () => {
  const given = (localPreference?: number, explicit?: number) =>
    med(
      path({
        ...(localPreference !== undefined && { localPreference }),
        ...(explicit !== undefined && { med: explicit }),
      }),
    );
  expect([
    given(),
    given(100),
    given(200),
    given(150),
    given(0),
    given(200, 7),
    given(200, 0),
  ]).toEqual([200, 200, 100, 0xffffffff - 150, 0xffffffff, 7, 100]);
});
