import { describe, expect, test } from 'vitest';
import type { Label, NextHopId } from '../../../src/agent/ids.ts';
import { hashFields, type ResolverView, resolveHops } from '../../../src/agent/resolver.ts';
import { Underlay } from '../../../src/agent/underlay.ts';
import type { Route } from '../../../src/rib/route.ts';
import { hop, route } from '../../support/routes.ts';

const ME = '10.169.25.20';
const FAR = '10.169.25.21';
const underlay = (encaps?: ('gre' | 'udp' | 'vxlan')[]) =>
  new Underlay({
    port: 0,
    mac: '02:00:00:00:00:20',
    ipv4: ME,
    ipv6: 'fd00::20',
    neighbours: { [FAR]: '02:00:00:00:00:21', 'fd00::/64': '02:00:00:00:00:fe' },
    ...(encaps && { encaps }),
  });

function view(encaps?: ('gre' | 'udp' | 'vxlan')[]): ResolverView {
  const u = underlay(encaps);
  const members = new Map([
    [17, [{ label: 17 as Label, nextHop: 5 as NextHopId }]],
    [30, [17, 18].map((label) => ({ label: label as Label, nextHop: (label - 12) as NextHopId }))],
  ]);
  return {
    isOwnAddress: (a) => u.isOwnAddress(a),
    local: (label) => members.get(label),
    tunnel: (h, e) => u.tunnel(h, e),
    sends: (e) => u.sends(e),
  };
}

const resolve = (r: Route, encaps?: ('gre' | 'udp' | 'vxlan')[]) => {
  const unusable: string[] = [];
  const hops = resolveHops(r, view(encaps), (_, why) => unusable.push(why));
  return { hops, unusable };
};
const P = '10.0.0.1/32';

test('our own address: what the label stands for', () => {
  const { hops } = resolve(route('a', P, [hop(ME, 17)]));
  expect(hops).toMatchObject([{ kind: 'local', nextHop: 5, label: 17, identity: `${ME} 17` }]);
});

test('a shared label of ours: its members, once, each for itself', () => {
  const { hops } = resolve(route('a', P, [hop(ME, 17), hop(ME, 30, { weight: 2 })]));
  expect(hops.map((h) => [h.identity, h.weight])).toEqual([
    [`${ME} 17`, 1],
    [`${ME} 18`, 1],
  ]);
});

test('elsewhere: a tunnel with the label', () => {
  const { hops } = resolve(route('a', P, [hop(FAR, 42, { weight: 3, member: 9 })]));
  expect(hops).toMatchObject([
    {
      kind: 'tunnel',
      label: 42,
      weight: 3,
      given: 9,
      spec: {
        op: 'nh_tunnel_set',
        vrf: 0,
        vif: 0,
        encap: 2,
        source: ME,
        destination: FAR,
        destinationMac: '02:00:00:00:00:21',
        sourceMac: '02:00:00:00:00:20',
        l3VxlanMac: '',
      },
    },
  ]);
});

describe('encapsulation: the first of theirs that is ours', () => {
  test.each([
    [['gre', 'udp'], undefined, 1],
    [['udp', 'gre'], undefined, 2],
    [['gre', 'udp'], ['udp'], 2],
    [['vxlan', 'udp'], ['udp', 'gre', 'vxlan'], 3],
  ] as const)('%j with ours %j', (theirs, ours, encap) => {
    const { hops } = resolve(route('a', P, [hop(FAR, 42, { encaps: theirs })]), ours && [...ours]);
    expect(hops).toMatchObject([{ spec: { encap } }]);
  });

  test('a VNI too large for a label is not sent as one', () => {
    const far = hop(FAR, 1 << 21, { encaps: ['udp', 'vxlan'] });
    expect(resolve(route('a', P, [far])).hops).toMatchObject([{ spec: { encap: 3 } }]);
    expect(resolve(route('a', P, [far]), ['udp']).hops).toEqual([]);
  });

  test('routed VXLAN carries the router MAC of the far end', () => {
    const far = hop(FAR, 5000, { encaps: ['vxlan'], mac: '02:00:00:00:00:99' });
    expect(resolve(route('a', P, [far])).hops).toMatchObject([
      { spec: { l3VxlanMac: '02:00:00:00:00:99' } },
    ]);
  });
});

describe('what cannot be used is left out, with the reason', () => {
  test.each([
    [hop(ME, 99), 'no such label'],
    [hop('10.169.25.99', 42), 'does not know the way'],
    [hop(FAR, 42, { encaps: ['vxlan'] }), 'sends none of vxlan'],
  ])('%j', (bad, why) => {
    const { hops, unusable } = resolve(route('a', P, [bad, hop(FAR, 17)]), ['udp', 'gre']);
    expect(hops.map((h) => h.label)).toEqual([17]);
    expect(unusable.join()).toContain(why);
  });

  test('more members than a set holds', () => {
    const hops = Array.from({ length: 300 }, (_, i) => hop(FAR, 16 + i));
    const result = resolve(route('a', P, hops));
    expect(result.hops).toHaveLength(256);
    expect(result.unusable.join()).toContain('44 of 300');
  });
});

test('IPv6 underlay, behind a gateway given as a prefix', () => {
  expect(resolve(route('a', P, [hop('fd00::21', 42)])).hops).toMatchObject([
    { spec: { source: 'fd00::20', destination: 'fd00::21', destinationMac: '02:00:00:00:00:fe' } },
  ]);
});

test('equal routes give equal members, in whatever order hops come', () => {
  const hops = [hop(FAR, 9), hop(ME, 17), hop(FAR, 10), hop('fd00::21', 1)];
  expect(resolve(route('a', P, [...hops].reverse()))).toEqual(resolve(route('a', P, hops)));
});

test('hash fields are the bits of the ancestor', () => {
  expect(hashFields(undefined)).toBe(0);
  expect(hashFields(['source', 'destination'])).toBe(0xa);
  expect(hashFields(['source', 'destination', 'source-port', 'destination-port', 'protocol'])).toBe(
    0x1f,
  );
});
