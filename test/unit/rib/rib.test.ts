import { describe, expect, test } from 'vitest';
import { Rib } from '../../../src/rib/rib.ts';
import { keyOf, type RouteUpdate } from '../../../src/rib/route.ts';
import { hop, route } from '../../support/routes.ts';

const one = route('pods', '10.0.0.1/32', [hop('1.1.1.1', 17)]);
const two = route('pods', '10.0.0.1/32', [hop('2.2.2.2', 18)]);
const other = route('pods', '10.0.0.2/32', [hop('2.2.2.2', 19)]);
const announce = (r: typeof one): RouteUpdate => ({ type: 'announce', route: r });
const withdraw = (r: typeof one): RouteUpdate => ({ type: 'withdraw', key: keyOf(r) });
const eor: RouteUpdate = { type: 'end-of-rib', instance: 'pods' };
const stale: RouteUpdate = { type: 'stale', instance: 'pods' };

describe('changes', () => {
  test('a key is reported once per batch, with what was before', () => {
    const rib = new Rib();
    rib.apply('x', [announce(one)]);
    const changes = rib.apply('x', [withdraw(one), announce(two), announce(other)]);
    expect(changes).toEqual([
      { key: keyOf(one), before: one, after: two },
      { key: keyOf(other), before: undefined, after: other },
    ]);
  });

  test('there and back is no change', () => {
    const rib = new Rib();
    rib.apply('x', [announce(one)]);
    expect(rib.apply('x', [announce(two), announce(one)])).toEqual([]);
    expect(rib.apply('x', [withdraw(other)])).toEqual([]);
  });

  test('instances do not mix', () => {
    const rib = new Rib();
    rib.apply('x', [announce(one), announce({ ...one, instance: 'other' })]);
    rib.dropInstance('pods');
    expect(rib.best(one)).toBeUndefined();
    expect(rib.instances()).toEqual(['other']);
    expect(rib.keys('other')).toHaveLength(1);
  });
});

describe('several sources', () => {
  test('better preference wins; equal ones by name; the next when the best goes', () => {
    const rib = new Rib();
    rib.apply('b', [announce(two)]);
    rib.apply('a', [announce(one)]);
    expect(rib.best(one)).toEqual(one);
    const better = { ...two, localPreference: 200 };
    expect(rib.apply('b', [announce(better)])[0]?.after).toEqual(better);
    expect(rib.apply('b', [withdraw(two)])[0]?.after).toEqual(one);
  });

  test('a lower rank wins whatever the routes say', () => {
    const rib = new Rib(new Map([['local', 1]]));
    rib.apply('local', [announce({ ...one, localPreference: 500 })]);
    expect(rib.apply('x', [announce(two)])[0]?.after).toEqual(two);
    expect(rib.paths(one).map((p) => p.source)).toEqual(['x', 'local']);
  });
});

describe('a lost source', () => {
  test('its routes stay; end-of-rib sweeps what did not come again', () => {
    const rib = new Rib();
    rib.apply('x', [announce(one), announce(other)]);
    expect(rib.apply('x', [stale])).toEqual([]);
    expect(rib.best(one)).toEqual(one);
    expect(rib.paths(one)[0]?.stale).toBe(true);
    expect(rib.apply('x', [announce(one)])).toEqual([]);
    expect(rib.apply('x', [eor])).toEqual([{ key: keyOf(other), before: other, after: undefined }]);
    expect(rib.paths(one)[0]?.stale).toBe(false);
  });

  test('live paths of other sources are preferred to stale ones', () => {
    const rib = new Rib();
    rib.apply('a', [announce(one)]);
    rib.apply('b', [announce(two)]);
    expect(rib.apply('a', [stale])).toEqual([{ key: keyOf(one), before: one, after: two }]);
  });

  test('end-of-rib without loss sweeps nothing, nor that of another source', () => {
    const rib = new Rib();
    rib.apply('a', [announce(one), eor]);
    expect(rib.best(one)).toEqual(one);
    rib.apply('a', [stale]);
    rib.apply('b', [eor]);
    expect(rib.best(one)).toEqual(one);
  });
});
