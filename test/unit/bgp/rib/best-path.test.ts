/** The order of paths, row by row, and what is used side by side. */
import { describe, expect, test } from 'vitest';
import type { IpText } from '../../../../src/addr/ip.ts';
import type { MacText } from '../../../../src/addr/mac.ts';
import type { Attributes } from '../../../../src/bgp/wire/attributes.ts';
import { COMMUNITIES } from '../../../../src/bgp/wire/communities.ts';
import { NO_ESI } from '../../../../src/bgp/wire/nlri-evpn.ts';
import { inet, path, RibLab } from '../../../support/rib-lab.ts';

const NET = inet('10.1.0.0/16');

interface Side {
  readonly as?: number;
  readonly id?: string;
  readonly address?: string;
  readonly attributes?: Attributes;
}

function compare(
  better: Side,
  worse: Side,
  reversed: boolean,
): [string | undefined, string | undefined] {
  const lab = new RibLab();
  const sides = [
    { name: 'better', address: '10.0.0.3', ...better },
    { name: 'worse', address: '10.0.0.2', ...worse },
  ];
  for (const { attributes, ...side } of reversed ? sides.reverse() : sides) {
    const own = side.as === undefined ? {} : path(side.as);
    lab
      .far(side)
      .up()
      .announce('ipv4-unicast', NET, { ...own, ...attributes }, '10.9.0.1');
  }
  lab.settle();
  const [{ paths } = { paths: [] }] = lab.rib.routes('ipv4-unicast');
  return [paths[0]?.from, paths[0] && paths[1] && lab.rib.lostBy(paths[0], paths[1])];
}

const med = (value: number, ...asns: number[]): Attributes => ({ ...path(...asns), med: value });
const stale = { communities: [COMMUNITIES.llgrStale], localPref: 999 };
const clusters = (...list: string[]): Attributes => ({
  originatorId: '10.7.7.7' as IpText,
  clusterList: list as IpText[],
});

test.each<[string, string | undefined, Side, Side]>([
  ['RFC 9494 §4.3', 'llgr-stale', {}, { attributes: stale }],
  ['RFC 4271 §9.1.1', 'local-pref', { attributes: { localPref: 101 } }, {}],
  ['RFC 4271 §9.1.2.2 a', 'as-path', { attributes: path(1, 2) }, { attributes: path(1, 2, 3) }],
  [
    'RFC 4271 §9.1.2.2 a: a set is one',
    undefined,
    { attributes: { asPath: [{ kind: 'set', asns: [1, 2, 3] }] }, id: '10.0.0.1' },
    { attributes: path(5), id: '10.0.0.2' },
  ],
  [
    'RFC 4271 §9.1.2.2 b',
    'origin',
    { attributes: { origin: 'egp' } },
    { attributes: { origin: 'incomplete' } },
  ],
  ['RFC 4271 §9.1.2.2 c', 'med', { attributes: med(1, 7, 8) }, { attributes: med(2, 7, 9) }],
  [
    'RFC 4271 §9.1.2.2 c: no MED is the least',
    'med',
    { attributes: path(7) },
    { attributes: med(1, 7) },
  ],
  [
    'RFC 4271 §9.1.2.2 c: other ASes do not compare',
    undefined,
    { attributes: med(9, 7), id: '10.0.0.1' },
    { attributes: med(1, 8), id: '10.0.0.2' },
  ],
  ['RFC 4271 §9.1.2.2 d', 'external', { as: 65001 }, { attributes: path(65002) }],
  ['RFC 4271 §9.1.2.2 f', undefined, { id: '10.0.0.2' }, { id: '10.0.0.3' }],
  [
    'RFC 4456 §9: the originator is the router',
    undefined,
    { attributes: clusters('1.1.1.1'), id: '99.0.0.1' },
    { id: '99.0.0.1' },
  ],
])('%s', (_, row, better, worse) => {
  expect(compare(better, worse, false)).toEqual(['better', row]);
  expect(compare(better, worse, true)).toEqual(['better', row]);
});

/** Rows after those that decide who is used: without multipath they say who is. */
describe('of equals one is first', () => {
  const first = (a: Side, b: Side): [string | undefined, string | undefined] => {
    const lab = new RibLab({ multipath: 1 });
    for (const [name, { attributes = {}, ...side }] of Object.entries({ a, b })) {
      lab
        .far({ name, ...side })
        .up()
        .announce('ipv4-unicast', NET, attributes, '10.9.0.1');
    }
    lab.settle();
    const [{ paths } = { paths: [] }] = lab.rib.routes('ipv4-unicast');
    return [paths[0]?.from, paths[0] && paths[1] && lab.rib.lostBy(paths[0], paths[1])];
  };
  test.each<[string, string, Side, Side]>([
    ['RFC 4271 §9.1.2.2 f', 'router-id', { id: '9.0.0.1' }, { id: '10.0.0.1' }],
    [
      'RFC 4456 §9',
      'cluster-list',
      { attributes: clusters('1.1.1.1') },
      { attributes: clusters('1.1.1.1', '2.2.2.2') },
    ],
    [
      'RFC 4271 §9.1.2.2 g',
      'peer-address',
      { id: '1.1.1.1', address: '9.0.0.9' },
      { id: '1.1.1.1', address: '10.0.0.3' },
    ],
  ])('%s', (_, row, a, b) => expect(first(a, b)).toEqual(['a', row]));
});

test('ours before others', () => {
  const lab = new RibLab();
  lab.far({ name: 'a', as: 65001 }).up().announce('ipv4-unicast', NET);
  const nextHop = { address: '10.0.0.1' as IpText };
  lab.rib.originate({ family: 'ipv4-unicast', nlri: NET, attributes: path(1, 2, 3), nextHop });
  lab.settle();
  const [{ paths } = { paths: [] }] = lab.rib.routes('ipv4-unicast');
  expect(paths.map(({ from }) => from)).toEqual([undefined, 'a']);
});

test('MED between any, where that is set', () => {
  const lab = new RibLab({ alwaysCompareMed: true });
  lab.far({ name: 'a', address: '10.0.0.2' }).up().announce('ipv4-unicast', NET, med(9, 7));
  lab.far({ name: 'b', address: '10.0.0.3' }).up().announce('ipv4-unicast', NET, med(1, 8));
  lab.settle();
  const [{ paths } = { paths: [] }] = lab.rib.routes('ipv4-unicast');
  expect(paths.map(({ from }) => from)).toEqual(['b', 'a']);
});

test('MED is no order by itself: the answer is the same whoever came first', () => {
  // a beats c by MED, c beats b by identifier, b beats a by identifier.
  const sides: [string, string, Attributes][] = [
    ['a', '10.0.0.9', med(1, 7)],
    ['b', '10.0.0.8', med(5, 8)],
    ['c', '10.0.0.7', med(2, 7)],
  ];
  for (const order of [
    [0, 1, 2],
    [2, 1, 0],
    [1, 2, 0],
    [2, 0, 1],
  ]) {
    const lab = new RibLab({ multipath: 1 });
    for (const at of order) {
      const [name, address, attributes] = sides[at] as (typeof sides)[number];
      lab.far({ name, address }).up().announce('ipv4-unicast', NET, attributes);
    }
    lab.settle();
    const [{ paths } = { paths: [] }] = lab.rib.routes('ipv4-unicast');
    expect(paths.map(({ from }) => from)).toEqual(['b', 'a', 'c']);
    expect(lab.rib.lostBy(paths[0]!, paths[2]!)).toBe('med');
  }
});

test('RFC 7432 §7.7, 15.2: of a MAC the sticky one, then the highest sequence, whatever the preference', () => {
  const mac = {
    ...{ type: 'mac-ip' as const, rd: '1:1' as never, tag: 0, esi: NO_ESI, label: 5 },
    mac: '02:00:00:00:00:01' as MacText,
  };
  const moved = (sequence: number, sticky: boolean): Attributes => ({
    extendedCommunities: [{ kind: 'mac-mobility', sequence, sticky }],
  });
  const lab = new RibLab();
  const say = (name: string, attributes: Attributes) => {
    const address = `10.0.0.${name.charCodeAt(0)}`;
    lab
      .far({ name, address, families: ['evpn'] })
      .up()
      .announce('evpn', mac, attributes);
  };
  say('a', { localPref: 500 });
  say('b', { ...moved(7, false), localPref: 1 });
  say('c', moved(3, true));
  lab.settle();
  const [{ paths } = { paths: [] }] = lab.rib.routes('evpn');
  expect(paths.map(({ from }) => from)).toEqual(['c', 'b', 'a']);
  expect(lab.rib.lostBy(paths[0]!, paths[1]!)).toBe('sticky');
  expect(lab.rib.lostBy(paths[1]!, paths[2]!)).toBe('sequence');
});

test('equal ones are used together, as many as may be, and a change among them is told', () => {
  const lab = new RibLab({ multipath: 2 });
  const fars = ['a', 'b', 'c'].map((name, at) => {
    const far = lab.far({ name, address: `10.0.0.${at + 2}` }).up();
    far.announce('ipv4-unicast', NET);
    return far;
  });
  const used = () => {
    lab.settle();
    return lab.best.get('ipv4-unicast 10.1.0.0/16')?.paths.map(({ from }) => from);
  };
  expect(used()).toEqual(['a', 'b']);
  const before = lab.changes;
  fars[2]?.announce('ipv4-unicast', NET, { localPref: 1 });
  expect([used(), lab.changes]).toEqual([['a', 'b'], before]);
  fars[2]?.withdraw('ipv4-unicast', NET);
  fars[1]?.withdraw('ipv4-unicast', NET);
  expect(used()).toEqual(['a']);
  fars[0]?.down();
  expect(used()).toEqual([]);
});
