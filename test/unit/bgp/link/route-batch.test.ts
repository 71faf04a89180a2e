import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  ChangeBatch,
  type Route,
  RouteBatch,
  readChangeBatch,
  readRouteBatch,
  type SaidRoute,
} from '../../../../src/bgp/link/route-batch.ts';
import type { BestChange, BgpPath } from '../../../../src/bgp/rib/contract.ts';
import { routeKey } from '../../../../src/bgp/wire/family.ts';
import { ParseError } from '../../../../src/errors.ts';
import { announcement } from '../../../support/bgp-arbitrary.ts';

/** Routes that BGP can say, of all families. */
const route: fc.Arbitrary<Route> = announcement.map(({ announced, attributes }) => {
  const [{ family, nlri, nextHop }] = announced as never as [
    { family: Route['family']; nlri: Route['nlri'][]; nextHop: Route['nextHop'] },
  ];
  return { family, nlri: nlri[0] as Route['nlri'], nextHop, attributes };
});

const path = fc
  .tuple(
    route,
    fc.string({ minLength: 1, maxLength: 40, unit: 'grapheme' }),
    fc.constantFrom(undefined, 'short', 'long'),
  )
  .map(
    ([made, from, stale]) => ({ ...made, from, ...(stale !== undefined && { stale }) }) as BgpPath,
  );

function batchOf(all: readonly SaidRoute[]): Uint8Array {
  const batch = new RouteBatch();
  for (const each of all) {
    if (each.kind === 'announced') batch.announce(each.route);
    else batch.withdraw(each.family, each.nlri);
  }
  return batch.bytes().slice();
}

const keys = (all: readonly SaidRoute[]) =>
  all.map((each) => {
    const { family, nlri } = each.kind === 'announced' ? each.route : each;
    return `${each.kind} ${family} ${routeKey(family, nlri)}`;
  });

const said = fc.oneof(
  route.map((made): SaidRoute => ({ kind: 'announced', route: made })),
  route.map(({ family, nlri }): SaidRoute => ({ kind: 'withdrawn', family, nlri })),
);

describe('routes that are said', () => {
  test('any of them, and what was read is written as the same bytes', () => {
    fc.assert(
      fc.property(fc.array(said, { maxLength: 5 }), (all) => {
        const bytes = batchOf(all);
        const read = readRouteBatch(bytes);
        expect(keys(read)).toEqual(keys(all));
        expect(batchOf(read)).toEqual(bytes);
      }),
    );
  });

  test('cut short, or with any byte changed: read, or refused as a whole with one kind of error', () => {
    fc.assert(
      fc.property(
        fc.array(said, { minLength: 1, maxLength: 3 }),
        fc.nat(),
        fc.nat(255),
        fc.boolean(),
        (all, at, by, cut) => {
          const bytes = batchOf(all);
          const place = at % bytes.length;
          const other = cut ? bytes.slice(0, place) : bytes.slice();
          if (!cut) other[place] = ((other[place] as number) ^ by) & 0xff;
          try {
            readRouteBatch(other);
          } catch (error) {
            expect(error).toBeInstanceOf(ParseError);
          }
        },
      ),
    );
  });

  test('what is no route, or no route that may be used, is refused by name', () => {
    const frame = (hex: string) =>
      Buffer.from(`${(hex.length / 2).toString(16).padStart(8, '0')}${hex}`, 'hex');
    expect(() => readRouteBatch(Buffer.from('0000', 'hex'))).toThrow('routes: length of an update');
    expect(() => readRouteBatch(Buffer.from('ffffffff', 'hex'))).toThrow('routes: update');
    expect(() => readRouteBatch(frame('0000'))).toThrow('routes: an update of 2 bytes');
    expect(() => readRouteBatch(frame('00000000')), 'an end of RIB').toThrow('without routes');
    // 10.0.0.0/8 with neither origin, AS path nor next hop.
    expect(() => readRouteBatch(frame('00000000080a'))).toThrow('attribute 3 is missing');
  });
});

describe('best paths that have changed', () => {
  const change = fc.array(path, { maxLength: 3 }).map((paths): BestChange => {
    const [first] = paths;
    if (first === undefined) return { family: 'evpn', key: 'gone', paths: [] };
    const { family, nlri } = first;
    return {
      ...{ family, key: routeKey(family, nlri) },
      paths: paths.map((each) => ({ ...first, ...each, family, nlri, nextHop: first.nextHop })),
    };
  });
  const bytesOf = (all: readonly BestChange[]) => {
    const batch = new ChangeBatch();
    for (const each of all) batch.add(each);
    return batch.bytes().slice();
  };

  test('any of them, with whom they are from and how stale they are', () => {
    fc.assert(
      fc.property(fc.array(change, { maxLength: 4 }), (all) => {
        const bytes = bytesOf(all);
        const read = readChangeBatch(bytes);
        const facts = ({ family, key, paths }: BestChange) => ({
          ...{ family, key },
          paths: paths.map(({ from, stale, nextHop }) => ({ from, stale, nextHop })),
        });
        expect(read.map(facts)).toEqual(all.map(facts));
        expect(bytesOf(read)).toEqual(bytes);
      }),
    );
  });

  const one: BgpPath = {
    ...{ family: 'ipv4-unicast', nlri: { prefix: '10.0.0.0/8' } as never, from: 'a' },
    ...{ nextHop: { address: '192.0.2.1' as never }, attributes: { origin: 'igp', asPath: [] } },
  };

  test('a route under a key that is not its own, and what is no change at all', () => {
    const good = bytesOf([{ family: 'ipv4-unicast', key: '10.0.0.0/8', paths: [one] }]);
    expect(readChangeBatch(good)).toHaveLength(1);
    const other = bytesOf([{ family: 'ipv4-unicast', key: '10.0.0.0/9', paths: [one] }]);
    expect(() => readChangeBatch(other)).toThrow('path of 10.0.0.0/9: its route is another');
    const changed = (at: number, by: number) => {
      const bytes = good.slice();
      bytes[at] = by;
      return () => readChangeBatch(bytes);
    };
    expect(changed(0, 99)).toThrow('change: no family has number 99');
    expect(changed(1, 0xff)).toThrow('key: 65290 bytes, 1024 at most');
    expect(changed(3, 0xff)).toThrow('key: not UTF-8');
    expect(changed(13, 65)).toThrow('change: 65 paths, 64 at most');
    expect(changed(14, 3)).toThrow('path: 3 is no mark of staleness');
    expect(() => readChangeBatch(good.slice(0, -1))).toThrow(ParseError);
  });

  test('attributes that do not fit into an update: nothing of the change is written', () => {
    const communities = Array.from({ length: 20_000 }, (_, at) => at);
    const long = { ...one, attributes: { ...one.attributes, communities } };
    const batch = new ChangeBatch();
    expect(() =>
      batch.add({ family: 'ipv4-unicast', key: '10.0.0.0/8', paths: [one, long] }),
    ).toThrow('do not fit into 65535 bytes');
    expect(batch.length).toBe(0);
  });
});
