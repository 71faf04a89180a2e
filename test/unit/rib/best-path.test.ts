import { describe, expect, test } from 'vitest';
import { comparePreference, mergeRoutes, sameRoute } from '../../../src/rib/best-path.ts';
import { hop, route } from '../../support/routes.ts';

const P = '10.0.0.1/32';

describe('preference', () => {
  const plain = route('a', P, [hop('1.1.1.1', 17)]);
  test.each([
    ['higher local preference', { localPreference: 200 }, {}],
    ['absent local preference counts as 100', {}, { localPreference: 99 }],
    ['higher sequence', { sequence: 1 }, {}],
    ['lower MED', { med: 5 }, { med: 6 }],
    ['local preference before sequence', { localPreference: 101 }, { sequence: 9 }],
    ['sequence before MED', { sequence: 1, med: 9 }, { med: 1 }],
  ])('%s wins', (_, better, worse) => {
    expect(comparePreference({ ...plain, ...better }, { ...plain, ...worse })).toBeLessThan(0);
    expect(comparePreference({ ...plain, ...worse }, { ...plain, ...better })).toBeGreaterThan(0);
  });
  test('explicit defaults are equal to absent', () => {
    const spelt = { ...plain, localPreference: 100, sequence: 0, med: 0 };
    expect(comparePreference(spelt, plain)).toBe(0);
    expect(sameRoute(spelt, plain)).toBe(true);
  });
});

describe('merge', () => {
  const key = { instance: 'a', family: 'inet', prefix: P } as const;

  test('hops in order of address, then label, whatever order they come in', () => {
    const merged = mergeRoutes(key, [
      route('a', P, [hop('10.0.0.10', 17), hop('10.0.0.9', 30)]),
      route('a', P, [hop('10.0.0.9', 4), hop('fd00::1', 1)]),
    ]);
    expect(merged?.hops.map((h) => `${h.address} ${h.label}`)).toEqual([
      '10.0.0.9 4',
      '10.0.0.9 30',
      '10.0.0.10 17',
      'fd00::1 1',
    ]);
  });

  test('one (address, label) is one hop', () => {
    const same = route('a', P, [hop('1.1.1.1', 17)]);
    expect(mergeRoutes(key, [same, same])?.hops).toHaveLength(1);
  });

  test('only the equally best take part', () => {
    const merged = mergeRoutes(key, [
      route('a', P, [hop('1.1.1.1', 17)]),
      route('a', P, [hop('2.2.2.2', 18)], { sequence: 1 }),
    ]);
    expect(merged?.hops.map((h) => h.address)).toEqual(['2.2.2.2']);
    expect(merged?.sequence).toBe(1);
  });

  test('targets and groups are united and sorted', () => {
    const merged = mergeRoutes(key, [
      route('a', P, [hop('1.1.1.1', 17)], { routeTargets: ['1:2'], securityGroups: [9, 3] }),
      route('a', P, [hop('2.2.2.2', 18)], { routeTargets: ['1:1', '1:2'], securityGroups: [3] }),
    ]);
    expect(merged?.routeTargets).toEqual(['1:1', '1:2']);
    expect(merged?.securityGroups).toEqual([3, 9]);
  });

  test('member ids that clash are left to the receiver, but for the first', () => {
    const merged = mergeRoutes(key, [
      route('a', P, [hop('2.2.2.2', 18, { member: 4 })]),
      route('a', P, [hop('1.1.1.1', 17, { member: 4 })]),
    ]);
    expect(merged?.hops.map((h) => h.member)).toEqual([4, undefined]);
  });

  test('of nothing is nothing', () => expect(mergeRoutes(key, [])).toBeUndefined());
});
