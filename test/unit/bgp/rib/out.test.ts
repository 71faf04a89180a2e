/** What neighbours are told, in which words and how packed. */
import { expect, test } from 'vitest';
import type { IpText } from '../../../../src/addr/ip.ts';
import { LIMITS } from '../../../../src/bgp/limits.ts';
import type { Policy } from '../../../../src/bgp/rib/policy.ts';
import { COMMUNITIES } from '../../../../src/bgp/wire/communities.ts';
import type { Update } from '../../../../src/bgp/wire/update.ts';
import {
  ENHANCED,
  type Far,
  type FarOptions,
  inet,
  neighbourOf,
  path,
  REFRESH,
  RibLab,
  vpn,
} from '../../../support/rib-lab.ts';

const NET = inet('10.1.0.0/16');
const KEY = '10.1.0.0/16';

function two(a: Partial<FarOptions>, b: Partial<FarOptions>): [RibLab, Far, Far] {
  const lab = new RibLab();
  const one = lab.far({ name: 'a', address: '10.0.0.2', ...a }).up();
  const other = lab.far({ name: 'b', address: '10.0.0.3', ...b }).up();
  return [lab.settle(), one, other];
}

const announcements = (updates: readonly Update[]): readonly Update[] =>
  updates.filter(({ announced }) => announced.length > 0);

test.each<[string, Partial<FarOptions>, Partial<FarOptions>, boolean]>([
  ['RFC 4271 §9.2: from inside to inside', {}, {}, false],
  ['RFC 4456 §6: from a client to others', { client: true }, {}, true],
  ['RFC 4456 §6: from others to a client', {}, { client: true }, true],
  ['from outside to inside', { as: 65001 }, {}, true],
  ['from inside to outside', {}, { as: 65001 }, true],
])('%s: %s', (_, a, b, told) => {
  const [lab, one, other] = two(a, b);
  one.announce('ipv4-unicast', NET);
  lab.settle();
  expect(other.keys('ipv4-unicast')).toEqual(told ? [KEY] : []);
  // Never back to whom it is from.
  expect(one.keys('ipv4-unicast')).toEqual([]);
});

test('RFC 4456 §8: a reflected route has its originator and our cluster, and is otherwise as it was', () => {
  const [lab, one, other] = two({ client: true }, { neighbour: { nextHop: 'self' } });
  one.announce('ipv4-unicast', NET, { med: 5, localPref: 70 }, '10.9.0.1');
  lab.settle();
  expect(other.of('ipv4-unicast').get(KEY)).toEqual({
    nlri: NET,
    attributes: {
      ...{ origin: 'igp', asPath: [], med: 5, localPref: 70 },
      ...{ originatorId: '10.0.0.2', clusterList: ['10.0.0.1'] },
    },
    nextHop: { address: '10.9.0.1' },
  });
});

test('RFC 4456 §8: an originator stays, and our cluster goes in front', () => {
  const [lab, one, other] = two({ client: true }, {});
  const had = { originatorId: '7.7.7.7' as IpText, clusterList: ['8.8.8.8' as IpText] };
  one.announce('ipv4-unicast', NET, had);
  lab.settle();
  expect(other.of('ipv4-unicast').get(KEY)?.attributes).toMatchObject({
    ...{ originatorId: '7.7.7.7', clusterList: ['10.0.0.1', '8.8.8.8'] },
  });
});

test('RFC 4271 §5.1: to another AS, with ours in front and without what is of ours only', () => {
  const [lab, one, other] = two({ client: true }, { as: 65009 });
  const had = { clusterList: ['8.8.8.8' as IpText], localPref: 7, med: 5, ...path(65002) };
  one.announce('ipv4-unicast', NET, {
    ...had,
    extendedCommunities: [
      { kind: 'link-bandwidth', transitive: false, as: 65000, bytesPerSecond: 1 },
      { kind: 'encapsulation', tunnel: 13 },
    ],
  });
  lab.settle();
  expect(other.of('ipv4-unicast').get(KEY)).toEqual({
    nlri: NET,
    attributes: {
      ...{ origin: 'igp', ...path(65000, 65002) },
      extendedCommunities: [{ kind: 'encapsulation', tunnel: 13 }],
    },
    nextHop: { address: '10.0.0.1' },
  });
});

test('RFC 4271 §5.1.4: MED to another AS of our own routes only', () => {
  const [lab, , other] = two({}, { as: 65009 });
  const nextHop = { address: '10.9.0.1' as IpText };
  lab.rib.originate({ family: 'ipv4-unicast', nlri: NET, attributes: { med: 5 }, nextHop });
  lab.settle();
  expect(other.of('ipv4-unicast').get(KEY)?.attributes.med).toBe(5);
});

test('RFC 5065: what was within confederations is not told outside', () => {
  const [lab, one, other] = two({}, { as: 65009 });
  const asPath = [
    { kind: 'confedSequence', asns: [64900] },
    { kind: 'set', asns: [5, 6] },
  ] as const;
  one.announce('ipv4-unicast', NET, { asPath });
  lab.settle();
  expect(other.of('ipv4-unicast').get(KEY)?.attributes.asPath).toEqual([
    { kind: 'sequence', asns: [65000] },
    { kind: 'set', asns: [5, 6] },
  ]);
});

test.each<[string, FarOptions['neighbour'], number | undefined, string, string]>([
  ['to another AS: ourselves, but not for labels', {}, 65009, '10.0.0.1', '10.9.0.1'],
  ['unchanged, where that is asked for', { nextHop: 'unchanged' }, 65009, '10.9.0.1', '10.9.0.1'],
  ['self never for labels', { nextHop: 'self' }, 65009, '10.0.0.1', '10.9.0.1'],
  ['within: unchanged', {}, undefined, '10.9.0.1', '10.9.0.1'],
  [
    'within: self, of what came from outside',
    { nextHop: 'self' },
    undefined,
    '10.0.0.1',
    '10.9.0.1',
  ],
])('next hop %s', (_, neighbour, as, unicast, labelled) => {
  const to = {
    ...(neighbour === undefined ? {} : { neighbour }),
    ...(as === undefined ? {} : { as }),
  };
  const [lab, one, other] = two({ as: 65001 }, to);
  one.announce('ipv4-unicast', NET, {}, '10.9.0.1');
  one.announce('vpnv4', vpn('10.1.0.0/16'), {}, '10.9.0.1');
  lab.settle();
  expect(other.of('ipv4-unicast').get(KEY)?.nextHop.address).toBe(unicast);
  expect([...other.of('vpnv4').values()][0]?.nextHop.address).toBe(labelled);
});

test('RFC 8950: an IPv6 next hop of an IPv4 route only to whom can read it', () => {
  const [lab, one, other] = two({ as: 65001 }, {});
  one.announce('ipv4-unicast', NET, {}, 'fd00::1');
  lab.settle();
  expect(other.keys('ipv4-unicast')).toEqual([]);
});

test.each<[string, number, number | undefined, boolean]>([
  ['no-export, within', COMMUNITIES.noExport, undefined, true],
  ['no-export, outside', COMMUNITIES.noExport, 65009, false],
  ['no-export-subconfed, outside', COMMUNITIES.noExportSubconfed, 65009, false],
  ['no-advertise', COMMUNITIES.noAdvertise, undefined, false],
])('RFC 1997: %s', (_, community, as, told) => {
  const [lab, one, other] = two({ as: 65001 }, as === undefined ? {} : { as });
  one.announce('ipv4-unicast', NET, { communities: [community] });
  lab.settle();
  expect(other.keys('ipv4-unicast')).toEqual(told ? [KEY] : []);
});

test('equal attributes go together, once, withdrawals before announcements, End-of-RIB behind', () => {
  const [lab, one, other] = two({ as: 65001 }, {});
  expect(other.endsOfRib).toEqual(['ipv4-unicast', 'vpnv4']);
  for (let at = 0; at < 100; at++) {
    one.announce('ipv4-unicast', inet(`10.1.${at}.0/24`), { med: at % 2 });
  }
  lab.settle();
  expect(announcements(other.updates).map(({ announced }) => announced[0]?.nlri.length)).toEqual([
    50, 50,
  ]);
  const before = other.updates.length;
  one.withdraw('ipv4-unicast', [inet('10.1.1.0/24'), inet('10.1.2.0/24')]);
  one.announce('ipv4-unicast', inet('10.1.3.0/24'), { med: 9 });
  lab.settle();
  const [gone, come, ...more] = other.updates.slice(before);
  expect([gone?.withdrawn[0]?.nlri.length, come?.announced.length, more.length]).toEqual([2, 1, 0]);
});

test('a late neighbour gets what is there, and then End-of-RIB, whatever goes on', () => {
  const lab = new RibLab();
  const one = lab.far({ name: 'a', as: 65001 }).up();
  one.announce('ipv4-unicast', NET);
  lab.settle();
  const late = lab.far({ name: 'b', address: '10.0.0.3' }).up();
  lab.run();
  // Something changes before each message.
  for (let at = 0; at < 10 && late.endsOfRib.length === 0; at++) {
    one.announce('ipv4-unicast', inet(`10.2.${at}.0/24`));
    lab.run();
    late.read(1);
  }
  expect(late.endsOfRib).toEqual(['ipv4-unicast']);
  expect(late.keys('ipv4-unicast')).toContain(KEY);
});

test('a neighbour that does not read costs no messages, and is told what is by then', () => {
  const [lab, one, other] = two({ as: 65001 }, {});
  for (let round = 0; round < 2000; round++) {
    one.announce('ipv4-unicast', inet(`10.1.${round % 10}.0/24`), { med: round });
    lab.run();
  }
  one.withdraw('ipv4-unicast', inet('10.1.0.0/24'));
  lab.settle([one]);
  const before = other.updates.length;
  lab.settle();
  expect(other.updates.length - before).toBe(9);
  expect(other.keys('ipv4-unicast').length).toBe(9);
});

test('peers that are told the same are given the same Update, and others their own', () => {
  const lab = new RibLab();
  const one = lab.far({ name: 'a', as: 65001 }).up();
  const others = ['b', 'c', 'd'].map((name, at) =>
    lab.far({ name, address: `10.0.0.${at + 3}`, ...(name === 'd' ? { as: 65002 } : {}) }).up(),
  );
  lab.settle();
  one.announce('ipv4-unicast', [NET, inet('10.2.0.0/16')]);
  lab.settle();
  one.withdraw('ipv4-unicast', NET);
  lab.settle();
  const [b, c, d] = others.map(({ updates }) => updates.slice(-2));
  expect(b?.[0]).toBe(c?.[0]);
  expect(b?.[1]).toBe(c?.[1]);
  expect(b?.[0]).not.toBe(d?.[0]);
});

test('a label that changes is told to all, though the attributes are the same', () => {
  const lab = new RibLab();
  const one = lab.far({ name: 'a', as: 65001 }).up();
  const b = lab.far({ name: 'b', address: '10.0.0.3' }).up();
  const c = lab.far({ name: 'c', address: '10.0.0.4' }).up();
  for (const label of [5, 6, 7]) {
    one.announce('vpnv4', vpn('10.1.0.0/16', label));
    lab.settle();
    for (const far of [b, c])
      expect([...far.of('vpnv4').values()][0]?.nlri).toMatchObject({ label });
  }
});

test('onReady once, until the neighbour has read all', () => {
  const [lab, one, other] = two({ as: 65001 }, {});
  const before = other.ready;
  one.announce('ipv4-unicast', NET);
  lab.run();
  one.announce('ipv4-unicast', inet('10.2.0.0/16'));
  lab.run();
  expect(other.ready).toBe(before + 1);
  other.read();
  expect(one.ready).toBe(1);
});

test('RFC 2918, RFC 7313 §4: all again on request, between marks where they are known', () => {
  for (const capabilities of [REFRESH, ENHANCED]) {
    const [lab, one, other] = two({ as: 65001 }, { capabilities });
    one.announce('ipv4-unicast', [NET, inet('10.2.0.0/16')]);
    lab.settle();
    other.of('ipv4-unicast').clear();
    other.peer.refresh({ family: 'ipv4-unicast', kind: 'request' });
    lab.settle();
    expect(other.keys('ipv4-unicast').length).toBe(2);
    expect(other.refreshes.map(({ kind }) => kind)).toEqual(
      capabilities === ENHANCED ? ['begin', 'end'] : [],
    );
  }
});

/** More routes than one call looks at, so that there is something between two. */
test('a walk goes round all of what has come meanwhile', () => {
  const many = LIMITS.routesInUpdate * 3;
  const nets = Array.from({ length: many * 2 }, (_, at) => inet(`10.${at >> 8}.${at & 255}.0/24`));
  const [lab, one, other] = two({ as: 65001 }, { capabilities: ENHANCED });
  one.announce('ipv4-unicast', nets.slice(0, many));
  lab.settle();
  // Half way through one refresh routes come, and another refresh is asked for.
  for (let round = 0; round < 2; round++) {
    other.peer.refresh({ family: 'ipv4-unicast', kind: 'request' });
    lab.run();
    other.read(2);
    if (round === 0) one.announce('ipv4-unicast', nets.slice(many));
    lab.run();
  }
  other.peer.refresh({ family: 'ipv4-unicast', kind: 'request' });
  lab.settle();
  expect(other.refreshes.map(({ kind }) => kind)).toEqual(['begin', 'end', 'begin', 'end']);
  expect(other.of('ipv4-unicast').size).toBe(nets.length);
});

test('another export policy: only what differs is told', () => {
  const options = { name: 'b', address: '10.0.0.3' };
  const [lab, one, other] = two({ as: 65001 }, options);
  one.announce('ipv4-unicast', [NET, inet('10.2.0.0/16'), inet('10.3.0.0/16')]);
  lab.settle();
  const before = other.updates.length;
  const policy: Policy = {
    name: 'p',
    terms: [
      {
        name: 't',
        match: { prefixes: [{ prefix: '10.1.0.0/16' as never, orLonger: false }] },
        action: 'reject',
      },
      {
        name: 'u',
        match: { prefixes: [{ prefix: '10.2.0.0/16' as never, orLonger: true }] },
        action: 'accept',
        set: { med: 3, addCommunities: [7] },
      },
    ],
  };
  lab.rib.changePolicies(other.peer, neighbourOf({ ...options, neighbour: { export: policy } }));
  lab.settle();
  const told = other.updates.slice(before);
  expect(told.map(({ withdrawn, announced }) => [withdrawn.length, announced.length])).toEqual([
    [1, 0],
    [0, 1],
  ]);
  expect(other.of('ipv4-unicast').get('10.2.0.0/16')?.attributes).toMatchObject({
    ...{ med: 3, communities: [7] },
  });
  expect(other.keys('ipv4-unicast')).toEqual(['10.2.0.0/16', '10.3.0.0/16']);
});

test('a neighbour that comes back as another router: routes say so', () => {
  const lab = new RibLab();
  const one = lab.far({ name: 'a', client: true, id: '1.1.1.1' }).up();
  const other = lab.far({ name: 'b', address: '10.0.0.3' }).up();
  const originator = () => {
    one.announce('ipv4-unicast', NET);
    lab.settle();
    return other.of('ipv4-unicast').get(KEY)?.attributes.originatorId;
  };
  expect(originator()).toBe('1.1.1.1');
  one.down();
  lab.settle();
  Object.assign(one.options, { id: '2.2.2.2' });
  one.up();
  expect(originator()).toBe('2.2.2.2');
});

test('what can be asked: by key, and what is told as it is told', () => {
  const [lab, one, other] = two({ as: 65001 }, {});
  one.announce('ipv4-unicast', [inet('10.2.0.0/16'), NET], { med: 4 });
  lab.settle();
  const { rib } = lab;
  const keys = (paths: Iterable<{ nlri: object }>) => [...paths].map(({ nlri }) => nlri);
  expect(keys(rib.received(one.peer, 'ipv4-unicast'))).toEqual([NET, inet('10.2.0.0/16')]);
  expect(keys(rib.advertised(other.peer, 'ipv4-unicast'))).toEqual([NET, inet('10.2.0.0/16')]);
  const [told] = rib.advertised(other.peer, 'ipv4-unicast');
  expect(told).toMatchObject({ from: 'a', attributes: { localPref: 100 } });
  expect(rib.counts(other.peer).get('ipv4-unicast')).toMatchObject({ advertised: 2 });
  rib.removePeer(one.peer);
  expect(() => rib.counts(one.peer)).toThrow(RangeError);
});
