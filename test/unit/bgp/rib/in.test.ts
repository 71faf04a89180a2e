/** What comes in: checks, limits, policies, refreshes. */
import { expect, test } from 'vitest';
import type { IpText } from '../../../../src/addr/ip.ts';
import type { Policy } from '../../../../src/bgp/rib/policy.ts';
import type { Attributes } from '../../../../src/bgp/wire/attributes.ts';
import {
  ENHANCED,
  type Far,
  inet,
  neighbourOf,
  path,
  RibLab,
  vpn,
} from '../../../support/rib-lab.ts';

const NET = inet('10.1.0.0/16');
const counts = (far: Far) => far.lab.rib.counts(far.peer).get('ipv4-unicast');
const reject: Policy = { name: 'p', terms: [{ name: 't', match: {}, action: 'reject' }] };

test.each<[string, number, Attributes, string | undefined, boolean]>([
  ['RFC 4271 §9.1.2: our AS is in the path', 65001, path(65001, 65000), undefined, false],
  ['RFC 4271 §6.3: the first AS is not the peer', 65001, path(65002), undefined, false],
  ['RFC 4271 §6.3: an external peer says no AS', 65001, path(), undefined, false],
  [
    'RFC 4271 §6.3: an external peer begins with a set',
    65001,
    { asPath: [{ kind: 'set', asns: [65001] }] },
    undefined,
    false,
  ],
  ['a path from outside', 65001, path(65001, 65002), undefined, true],
  ['a path from inside', 65000, path(65002), undefined, true],
  [
    'RFC 4456 §8: we are its originator',
    65000,
    { originatorId: '10.0.0.1' as IpText },
    undefined,
    false,
  ],
  [
    'RFC 4456 §8: our cluster is in the list',
    65000,
    { clusterList: ['1.1.1.1', '10.0.0.1'] as IpText[] },
    undefined,
    false,
  ],
  ['another cluster', 65000, { clusterList: ['1.1.1.1'] as IpText[] }, undefined, true],
  ['RFC 4271 §5.1.3: we are the next hop', 65000, {}, '10.0.0.1', false],
])('%s', (_, as, attributes, hop, accepted) => {
  const lab = new RibLab();
  const far = lab.far({ name: 'a', as }).up();
  far.announce('ipv4-unicast', NET, attributes, hop);
  lab.settle();
  expect([...lab.rib.routes('ipv4-unicast')].length).toBe(accepted ? 1 : 0);
  expect(counts(far)).toMatchObject({ received: 1, accepted: accepted ? 1 : 0 });
});

test('our AS as often as is allowed', () => {
  const lab = new RibLab();
  const far = lab.far({ name: 'a', as: 65001, neighbour: { allowAsIn: 1 } }).up();
  far.announce('ipv4-unicast', NET, path(65001, 65000));
  far.announce('ipv4-unicast', inet('10.2.0.0/16'), path(65001, 65000, 65000));
  expect(counts(far)).toMatchObject({ received: 2, accepted: 1 });
});

test('a route that is refused takes the place of the one before', () => {
  const lab = new RibLab();
  const far = lab.far({ name: 'a', as: 65001 }).up();
  far.announce('ipv4-unicast', NET, path(65001));
  far.announce('ipv4-unicast', NET, path(65001, 65000));
  lab.settle();
  expect([...lab.rib.routes('ipv4-unicast')]).toEqual([]);
  expect(counts(far)).toMatchObject({ received: 1, accepted: 0 });
  far.withdraw('ipv4-unicast', NET);
  expect(counts(far)).toMatchObject({ received: 0 });
});

test('RFC 4486 §4: more routes than may be end the session, and say how many', () => {
  const lab = new RibLab();
  const families = [{ family: 'vpnv4', maxRoutes: 2 }] as const;
  const far = lab.far({ name: 'a', families }).up();
  expect(far.announce('vpnv4', [vpn('10.1.0.0/16'), vpn('10.2.0.0/16')])).toBeUndefined();
  // Said again it is no other.
  expect(far.announce('vpnv4', vpn('10.2.0.0/16', 7))).toBeUndefined();
  expect(far.announce('vpnv4', vpn('10.3.0.0/16'))).toEqual({
    ...{ code: 6, subcode: 1 },
    data: '00018000000002',
  });
});

test('routes that are refused count to the limit', () => {
  const lab = new RibLab();
  const families = [{ family: 'ipv4-unicast', maxRoutes: 1 }] as const;
  const far = lab.far({ name: 'a', families, neighbour: { import: reject } }).up();
  expect(far.announce('ipv4-unicast', NET)).toBeUndefined();
  expect(far.announce('ipv4-unicast', inet('10.2.0.0/16'))?.subcode).toBe(1);
});

test('the policy is another: who can be asked says all again', () => {
  const lab = new RibLab();
  const options = { name: 'a', capabilities: ENHANCED };
  const far = lab.far({ ...options, neighbour: { import: reject } }).up();
  far.announce('ipv4-unicast', NET);
  lab.settle();
  lab.rib.changePolicies(far.peer, neighbourOf(options));
  lab.settle();
  expect(far.refreshes).toEqual([{ family: 'ipv4-unicast', kind: 'request' }]);
  expect(counts(far)).toMatchObject({ received: 1, accepted: 0 });
  far.announce('ipv4-unicast', NET);
  expect(counts(far)).toMatchObject({ received: 1, accepted: 1 });
});

test('the policy is another: what one said who cannot be asked was kept', () => {
  const lab = new RibLab();
  const far = lab.far({ name: 'a', neighbour: { import: reject } }).up();
  far.announce('ipv4-unicast', NET, { med: 9 });
  lab.rib.changePolicies(far.peer, neighbourOf({ name: 'a' }));
  lab.settle();
  expect(far.refreshes).toEqual([]);
  expect([...lab.rib.received(far.peer, 'ipv4-unicast')][0]?.attributes.med).toBe(9);
  lab.rib.changePolicies(far.peer, neighbourOf({ name: 'a', neighbour: { import: reject } }));
  lab.settle();
  expect(counts(far)).toMatchObject({ received: 1, accepted: 0 });
  far.down();
  lab.settle();
  expect(lab.rib.held.said).toBe(0);
});

test('RFC 7313 §4: what is not said again between the marks goes', () => {
  const lab = new RibLab();
  const far = lab.far({ name: 'a', capabilities: ENHANCED }).up();
  const nets = ['10.1.0.0/16', '10.2.0.0/16', '10.3.0.0/16'].map(inet);
  far.announce('ipv4-unicast', nets);
  far.peer.refresh({ family: 'ipv4-unicast', kind: 'begin' });
  far.announce('ipv4-unicast', nets.slice(1));
  lab.settle();
  expect([...lab.rib.routes('ipv4-unicast')].length).toBe(3);
  far.peer.refresh({ family: 'ipv4-unicast', kind: 'end' });
  lab.settle();
  expect([...lab.rib.routes('ipv4-unicast')].map(({ key }) => key)).toEqual([
    '10.2.0.0/16',
    '10.3.0.0/16',
  ]);
});

test('RFC 7606 §2: a family that is disabled has no routes, neither way', () => {
  const lab = new RibLab();
  const [a, b] = [
    lab.far({ name: 'a', as: 65001 }).up(),
    lab.far({ name: 'b', address: '10.0.0.3' }).up(),
  ];
  a.announce('ipv4-unicast', NET);
  b.announce('ipv4-unicast', inet('10.2.0.0/16'));
  lab.settle();
  a.peer.disable('ipv4-unicast');
  a.announce('ipv4-unicast', NET);
  lab.settle();
  expect(b.keys('ipv4-unicast')).toEqual([]);
  b.announce('ipv4-unicast', inet('10.3.0.0/16'));
  lab.settle();
  expect(a.keys('ipv4-unicast')).toEqual(['10.2.0.0/16']);
});

test('what is said by a thousand routes is there once', () => {
  const lab = new RibLab();
  const far = lab.far({ name: 'a' }).up();
  for (let at = 0; at < 1000; at++)
    far.announce('ipv4-unicast', inet(`10.1.${at >> 8}.${at & 255}/32`));
  expect(lab.rib.held).toMatchObject({ said: 1, entries: 1000 });
});
