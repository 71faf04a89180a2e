/** RT constraint (RFC 4684): who is told of which VPN routes, and whose memberships go where. */
import { expect, test } from 'vitest';
import { LIMITS } from '../../../../src/bgp/limits.ts';
import type { RtcNlri } from '../../../../src/bgp/wire/nlri.ts';
import {
  type Far,
  type FarOptions,
  membership,
  RibLab,
  restart,
  targets,
  vpn,
} from '../../../support/rib-lab.ts';

const families = ['rtc', 'vpnv4'] as const;
const one = membership('65000:1');
const ROUTE = vpn('10.1.0.0/16');
const KEY = '65000:1 10.1.0.0/16';

function lab(...options: Partial<FarOptions>[]): [RibLab, ...Far[]] {
  const made = new RibLab();
  const fars = options.map((each, at) => {
    const far = { name: `p${at}`, address: `10.0.0.${at + 2}`, families, ...each };
    return made.far(far).up();
  });
  return [made.settle(), ...fars];
}

test('§6: routes wait until the neighbour has said all its memberships', () => {
  const [made, a, b] = lab({ families: ['vpnv4'], client: true }, {}) as [RibLab, Far, Far];
  a.announce('vpnv4', ROUTE, targets('65000:1'));
  b.announce('rtc', one);
  made.settle();
  expect([b.keys('vpnv4'), b.endsOfRib]).toEqual([[], ['rtc']]);
  b.say({ endOfRib: 'rtc' });
  made.settle();
  expect([b.keys('vpnv4'), b.endsOfRib]).toEqual([[KEY], ['rtc', 'vpnv4']]);
});

test.each<[string, Partial<FarOptions>, number]>([
  [
    'for a minute, where it says when it has said them all',
    { capabilities: restart(families, 60) },
    LIMITS.membershipWaitMs,
  ],
  ['for a second, where it may never say so', {}, LIMITS.endlessMembershipWaitMs],
])('§6: or %s', (_, far, waitMs) => {
  const [made, a, b] = lab({ families: ['vpnv4'], client: true }, far) as [RibLab, Far, Far];
  a.announce('vpnv4', ROUTE, targets('65000:1'));
  b.announce('rtc', one);
  made.pass(waitMs - 1);
  expect(b.endsOfRib).toEqual(['rtc']);
  made.pass(1);
  expect([b.keys('vpnv4'), b.endsOfRib]).toEqual([[KEY], ['rtc', 'vpnv4']]);
  expect(made.rib.due).toBeUndefined();
});

test('who has said all while a newcomer makes its group look at all routes again is told with it', () => {
  const inside = { client: true };
  const [made, a, b] = lab(inside, inside) as [RibLab, Far, Far];
  const own = vpn('10.2.0.0/16');
  a.announce('rtc', one);
  a.announce('vpnv4', own, targets('65000:1'));
  b.down();
  made.settle();
  b.up();
  a.say({ endOfRib: 'rtc' });
  b.announce('vpnv4', ROUTE, targets('65000:1'));
  made.settle();
  expect([a.keys('vpnv4'), a.endsOfRib]).toEqual([[KEY], ['rtc', 'vpnv4']]);
});

test.each<[string, RtcNlri, boolean]>([
  ['the same target', one, true],
  ['whoever wants it', membership('65000:1', 65001), true],
  ['another target', membership('65000:2'), false],
  ['§4: the default', { bits: 0, originAs: 0, target: '00'.repeat(8) }, true],
  ['all of an origin AS', { bits: 32, originAs: 65000, target: '00'.repeat(8) }, true],
  ['a prefix of it', { bits: 95, originAs: 65000, target: '0002fde800000000' }, true],
  ['not a prefix of it', { bits: 95, originAs: 65000, target: '0002fde800000002' }, false],
  ['a prefix within a byte', { bits: 33 + 14, originAs: 65000, target: '0002000000000000' }, true],
])('a route goes to who wants %s', (_, nlri, told) => {
  const [made, a, b] = lab({ families: ['vpnv4'], client: true }, {}) as [RibLab, Far, Far];
  a.announce('vpnv4', ROUTE, targets('65000:1'));
  b.announce('rtc', nlri);
  b.say({ endOfRib: 'rtc' });
  made.settle();
  expect(b.keys('vpnv4')).toEqual(told ? [KEY] : []);
  b.withdraw('rtc', nlri);
  made.settle();
  expect(b.keys('vpnv4')).toEqual([]);
});

test('RFC 7432 §7.6: the import target of a segment is one', () => {
  const both = ['rtc', 'evpn'] as const;
  const [made, a, b] = lab({ families: ['evpn'], client: true }, { families: both }) as [
    RibLab,
    Far,
    Far,
  ];
  const nlri = { type: 'ethernet-segment', rd: '1:1', esi: '00'.repeat(10), originator: '1.1.1.1' };
  a.announce('evpn', nlri as never, {
    extendedCommunities: [{ kind: 'es-import', mac: '02:00:00:00:00:01' as never }],
  });
  b.announce('rtc', { bits: 96, originAs: 65000, target: '0602020000000001' });
  b.say({ endOfRib: 'rtc' });
  made.settle();
  expect(b.keys('evpn').length).toBe(1);
});

test('a route without targets, and one of an unknown EVPN type, go to who wants everything', () => {
  const both = ['rtc', 'evpn'] as const;
  const [made, a, b, c] = lab(
    { families: ['evpn'], client: true },
    { families: both },
    { families: ['evpn'] },
  ) as [RibLab, Far, Far, Far];
  a.announce('evpn', { type: 'unknown', code: 9, body: 'abcd' });
  b.announce('rtc', one);
  b.say({ endOfRib: 'rtc' });
  made.settle();
  expect([b.keys('evpn'), c.keys('evpn')]).toEqual([[], ['9 abcd']]);
});

test('two paths ask for one target: it is wanted until both are gone', () => {
  const [made, a, b] = lab({ families: ['vpnv4'], client: true }, {}) as [RibLab, Far, Far];
  a.announce('vpnv4', ROUTE, targets('65000:1'));
  b.announce('rtc', [one, membership('65000:1', 65001)]);
  b.say({ endOfRib: 'rtc' });
  b.withdraw('rtc', one);
  made.settle();
  expect(b.keys('vpnv4')).toEqual([KEY]);
});

test('what we want is said, and unsaid', () => {
  const [made, a] = lab({}) as [RibLab, Far];
  made.rib.want(new Set(['65000:1', '65000:2']));
  made.settle();
  expect(a.keys('rtc').length).toBe(2);
  made.rib.want(new Set(['65000:2', '65000:3']));
  made.settle();
  expect([...a.of('rtc').values()].map(({ nlri }) => nlri)).toEqual([
    membership('65000:2'),
    membership('65000:3'),
  ]);
});

test('the default membership goes to whom it is to be said, and nobody else, whoever says it', () => {
  const nlri = { bits: 0, originAs: 0, target: '00'.repeat(8) };
  const asked = [{ family: 'rtc', defaultRoute: true }, 'vpnv4'] as const;
  const [made, a, b, c] = lab({ client: true }, { client: true }, { families: asked }) as [
    RibLab,
    Far,
    Far,
    Far,
  ];
  a.announce('rtc', nlri);
  made.settle();
  expect([a.keys('rtc'), b.keys('rtc'), c.keys('rtc').length]).toEqual([[], [], 1]);
  made.rib.removePeer(c.peer);
  a.withdraw('rtc', nlri);
  made.settle();
  expect([...made.rib.routes('rtc')]).toEqual([]);
});

test('§3.2: a client hears of what it wants itself, as if it were ours', () => {
  const [made, a] = lab({ client: true }) as [RibLab, Far];
  a.announce('rtc', one);
  made.settle();
  const [held] = a.of('rtc').values();
  expect(held).toMatchObject({
    nextHop: { address: '10.0.0.1' },
    attributes: { originatorId: '10.0.0.1', clusterList: ['10.0.0.1'] },
  });
});

test('§3.2: others hear that a client wants it, though the best path is from one of them', () => {
  const [made, a, b, c] = lab({ client: true, id: '9.9.9.9' }, { id: '1.1.1.1' }, {}) as [
    RibLab,
    Far,
    Far,
    Far,
  ];
  b.announce('rtc', one);
  made.settle();
  expect(c.keys('rtc')).toEqual([]);
  a.announce('rtc', one);
  made.settle();
  expect([...made.rib.routes('rtc')][0]?.paths[0]?.from).toBe('p1');
  for (const far of [b, c]) {
    expect([...far.of('rtc').values()][0]?.attributes.originatorId).toBe('9.9.9.9');
  }
});
