/** Paths become routes, go over the wire, and are paths again. */
import { describe, expect, test } from 'vitest';
import type { RouteTarget } from '../../../src/addr/route-target.ts';
import type { BgpPath } from '../../../src/bgp/rib/contract.ts';
import type { Attributes as BgpAttributes } from '../../../src/bgp/wire/attributes.ts';
import { bytesOf, hexOf, type NetWriter, written } from '../../../src/bgp/wire/bytes.ts';
import {
  type ExtendedCommunity,
  readExtended,
  writeExtended,
} from '../../../src/bgp/wire/communities.ts';
import { nlriKey } from '../../../src/bgp/wire/family.ts';
import { FAMILY_NAMES } from '../../../src/bgp/wire/family-names.ts';
import { type AnnouncedRoutes, readUpdate, writeUpdates } from '../../../src/bgp/wire/update.ts';
import { asPathText, type Sender, saidOfBgp } from '../../../src/control/bgp-paths.ts';
import { type Naming, rdOf, type VpnRoute, vpnRouteOf } from '../../../src/control/bgp-routes.ts';
import type { Attributes, Hop, Path, Said } from '../../../src/control/path.ts';

const NAMES = ['', 'dom:proj:red'];
const NAMING: Naming = {
  as: 64512,
  indexOf: (name) => (NAMES.includes(name) ? NAMES.indexOf(name) : undefined),
  networkOf: (index) => NAMES[index],
};
const INTERNAL: Sender = { external: false, id: '192.0.2.250' };
const TARGETS = ['64512:1', '64512:2'] as RouteTarget[];
const AGENT = '192.0.2.11';
const WIRE = {
  as4: true,
  external: false,
  families: new Set(FAMILY_NAMES),
  addPath: new Set<never>(),
  maxMessage: 4096,
};

function path(
  family: Said['family'],
  prefix: string,
  hop: Partial<Hop> = {},
  attributes: Attributes = {},
): Path {
  const hops = [{ address: AGENT, label: 25, encaps: ['udp', 'gre'], ...hop }];
  const said = { family, prefix, rd: `${AGENT}:7`, hops, attributes };
  const where = { peer: 'compute-1', address: AGENT, instance: 'red', waits: true, stale: false };
  return { ...said, ...where, originVn: 'dom:proj:red' };
}

function routeOf(from: Path): VpnRoute {
  const made = vpnRouteOf(from, TARGETS, NAMING);
  if (typeof made === 'string') throw new Error(made);
  return made;
}

/** Over the wire, as a neighbour's. */
function heard({ family, nlri, nextHop, attributes }: VpnRoute): BgpPath {
  const announced = [{ family, nlri: [nlri], nextHop } as unknown as AnnouncedRoutes];
  const bodies = writeUpdates({ withdrawn: [], announced, attributes }, WIRE, 4077);
  expect(bodies).toHaveLength(1);
  const { update, findings } = readUpdate(bodies[0] as Uint8Array, WIRE);
  expect(findings).toEqual([]);
  const [routes] = update.announced as [AnnouncedRoutes];
  return {
    family: routes.family,
    nlri: routes.nlri[0] as BgpPath['nlri'],
    nextHop: routes.nextHop,
    attributes: update.attributes,
    from: 'far',
  };
}

function said(of: BgpPath, sender = INTERNAL, naming = NAMING): Said | undefined {
  const key = `${of.family} ${nlriKey(of.family, of.nlri as never)}`;
  return saidOfBgp(key, [of], () => sender, naming);
}

const back = (from: Path) => said(heard(routeOf(from)));

const kinds = ({ attributes }: { readonly attributes: BgpAttributes }, kind: string) =>
  (attributes.extendedCommunities ?? []).filter((each) => each.kind === kind);

describe('over the wire and back', () => {
  const cases: readonly [string, Path, Partial<Hop>?][] = [
    ['IPv4', path('inet', '10.0.0.1/32')],
    ['IPv6', path('inet6', 'fd00::1/128')],
    ['a MAC in MPLS', path('evpn', '02:00:00:00:00:01')],
    ['a MAC with its address', path('evpn', '02:00:00:00:00:01,10.0.0.1/32')],
    ['a MAC with an IPv6 address', path('evpn', '02:00:00:00:00:01,fd00::1/128')],
    ['the broadcast in MPLS', path('evpn', 'ff:ff:ff:ff:ff:ff')],
    [
      'a MAC in VXLAN, tag and VNI',
      path(
        'evpn',
        '02:00:00:00:00:01',
        { label: 70000, vni: 70000, encaps: ['vxlan'] },
        { ethernetTag: 70000 },
      ),
    ],
    [
      'the broadcast in VXLAN, a VNI of 24 bits',
      path(
        'evpn',
        'ff:ff:ff:ff:ff:ff',
        { label: 0xfffffe, vni: 0xfffffe, encaps: ['vxlan'] },
        { ethernetTag: 0xfffffe },
      ),
    ],
    [
      'a prefix in VXLAN',
      path('inet', '10.9.0.0/16', {
        label: 5000,
        vni: 5000,
        encaps: ['vxlan'],
        mac: '02:00:00:00:ff:05',
      }),
    ],
  ];
  test.each(cases)('%s', (_name, from) => {
    const came = back(from);
    expect(came).toMatchObject({
      family: from.family,
      prefix: from.prefix,
      rd: from.rd,
      hops: from.hops,
    });
    expect(came?.infeasible).toBeUndefined();
    expect(came?.attributes.ethernetTag).toBe(from.attributes.ethernetTag);
    expect(came?.attributes.routeTargets).toEqual(TARGETS);
    expect(came?.learned?.router).toBe('192.0.2.250');
  });

  test('attributes of an agent', () => {
    const attributes: Attributes = {
      localPreference: 200,
      med: 17,
      sequence: 3,
      sticky: true,
      securityGroups: [5, 8000001],
      communities: ['no-export', '64512:99', 'a word that BGP has none for'],
      hashFields: ['l3-source-address', 'l4-destination-port'],
      hashDecision: 'source-bias',
    };
    const came = back(path('inet', '10.0.0.1/32', {}, attributes));
    expect(came?.attributes).toEqual({
      ...attributes,
      communities: ['no-export', '64512:99'],
      originVn: 'dom:proj:red',
      routeTargets: TARGETS,
    });
  });

  test('MED and preference are said where the agent said none, so that all rank alike', () => {
    const { attributes } = routeOf(path('inet', '10.0.0.1/32'));
    expect(attributes).toMatchObject({ origin: 'igp', asPath: [], localPref: 100, med: 200 });
  });

  test('a security group of another AS counts if it is of all', () => {
    const route = heard(routeOf(path('inet', '10.0.0.1/32', {}, { securityGroups: [5, 8000001] })));
    expect(said(route, INTERNAL, { as: 65001 })?.attributes.securityGroups).toEqual([5]);
  });
});

describe('out', () => {
  test('the next hop is the compute node, encapsulations are in its order', () => {
    const route = routeOf(path('inet', '10.0.0.1/32', { encaps: ['gre', 'udp', 'nvgre'] }));
    expect(route.nextHop).toEqual({ address: AGENT });
    expect(
      kinds(route, 'encapsulation').map((c) => c.kind === 'encapsulation' && c.tunnel),
    ).toEqual([2, 11, 13]);
    expect(route.nlri).toEqual({ rd: `${AGENT}:7`, prefix: '10.0.0.1/32', label: 25 });
  });

  test('a label is not offered as a VNI', () => {
    const route = routeOf(path('inet', '10.0.0.1/32', { encaps: ['udp', 'vxlan'], vni: 9 }));
    expect(kinds(route, 'encapsulation')).toEqual([{ kind: 'encapsulation', tunnel: 13 }]);
  });

  test('the first of several hops', () => {
    const one = path('inet', '10.0.0.1/32');
    const two = { ...one, hops: [...one.hops, { address: AGENT, label: 99, encaps: ['udp'] }] };
    expect(routeOf(two)).toEqual(routeOf(one));
  });

  test.each([
    ['no-hop', { ...path('inet', '10.0.0.1/32'), hops: [] }],
    ['no-tunnel-encap', path('inet', '10.0.0.1/32', { encaps: ['nvgre'] })],
    ['no-label', path('inet', '10.0.0.1/32', { label: 0 })],
    ['no-router-mac', path('inet', '10.0.0.1/32', { encaps: ['vxlan'] })],
    ['no-host-route', path('evpn', '02:00:00:00:00:01,10.0.0.0/24')],
    ['prefix-in-evpn', path('evpn', '00:00:00:00:00:00,10.0.0.0/24')],
  ] as const)('left out: %s', (why, from) => {
    expect(vpnRouteOf(from, TARGETS, NAMING)).toBe(why);
  });

  test('who has no IPv4 address has an RD all the same, always the same', () => {
    expect(rdOf({ rd: '192.0.2.1:7' })).toBe('192.0.2.1:7');
    for (const rd of ['compute-1:7', 'fd00::1:7', 'a b c:7']) {
      expect(rdOf({ rd })).toMatch(/^\d+\.\d+\.\d+\.\d+:7$/);
      expect(rdOf({ rd })).toBe(rdOf({ rd }));
    }
    expect(rdOf({ rd: 'compute-1:7' })).not.toBe(rdOf({ rd: 'compute-2:7' }));
  });
});

describe('in', () => {
  const TARGET: ExtendedCommunity = { kind: 'route-target', target: '64512:1' as RouteTarget };
  const vpn = (more: Partial<BgpPath> = {}, communities: readonly ExtendedCommunity[] = []) =>
    ({
      family: 'vpnv4',
      nlri: { rd: '65000:1', prefix: '10.1.0.0/16', label: 100 },
      nextHop: { address: '198.51.100.1' },
      from: 'far',
      ...more,
      attributes: {
        origin: 'igp',
        asPath: [],
        ...more.attributes,
        extendedCommunities: [TARGET, ...communities],
      },
    }) as BgpPath;
  const encap = (tunnel: number): ExtendedCommunity => ({ kind: 'encapsulation', tunnel });

  test('who says no tunnel is sent what its neighbour is configured to take, or the default', () => {
    expect(said(vpn())?.hops[0]?.encaps).toEqual(['gre', 'udp']);
    expect(said(vpn(), { ...INTERNAL, encapsulation: ['udp'] })?.hops[0]?.encaps).toEqual(['udp']);
    expect(said(vpn({}, [encap(13), encap(2)]))?.hops[0]?.encaps).toEqual(['udp', 'gre']);
  });

  test('the tunnel attribute counts before communities, with its own end', () => {
    const tunnels = [
      { type: 13, endpoint: '198.51.100.9', udpPort: 6635 },
      { type: 2, endpoint: '198.51.100.8' },
    ];
    const attributes = { tunnels } as BgpAttributes;
    expect(said(vpn({ attributes }, [encap(8)]))?.hops).toEqual([
      { address: '198.51.100.9', label: 100, encaps: ['udp'] },
    ]);
    const elsewhere = {
      tunnels: [{ type: 13, endpoint: 'next-hop', udpPort: 1 }],
    } as BgpAttributes;
    expect(said(vpn({ attributes: elsewhere }))?.infeasible).toBe('no-tunnel-encap');
  });

  test.each([
    ['no-tunnel-encap', vpn({}, [encap(19)])],
    ['no-next-hop', vpn({ nextHop: { address: '0.0.0.0' } as BgpPath['nextHop'] })],
    ['no-next-hop', vpn({ nextHop: { address: '127.0.0.1' } as BgpPath['nextHop'] })],
    ['no-next-hop', vpn({ nextHop: { address: 'fe80::1' } as BgpPath['nextHop'] })],
    [
      'no-label',
      vpn({ nlri: { rd: '65000:1', prefix: '10.1.0.0/16', label: 3 } as BgpPath['nlri'] }),
    ],
    ['too-many-targets', vpn({}, many(257))],
  ])('kept, and not used: %s', (why, route) => {
    expect(said(route)).toMatchObject({ prefix: '10.1.0.0/16', infeasible: why });
  });

  function many(count: number): ExtendedCommunity[] {
    return Array.from({ length: count }, (_, i) => ({
      kind: 'route-target',
      target: `64512:${i + 10}` as RouteTarget,
    }));
  }

  test('a MAC that would be taken for the broadcast is no route', () => {
    for (const mac of ['ff:ff:ff:ff:ff:ff', '01:00:5e:00:00:01', '00:00:00:00:00:00']) {
      const nlri = { type: 'mac-ip', rd: '65000:1', esi: '0'.repeat(20), tag: 0, mac, label: 5 };
      expect(said(vpn({ family: 'evpn', nlri: nlri as BgpPath['nlri'] }))).toBeUndefined();
    }
  });

  test('how it came: AS path, origin, long staleness, who brought it', () => {
    const attributes = {
      origin: 'incomplete',
      asPath: [
        { kind: 'sequence', asns: [65001, 65002] },
        { kind: 'set', asns: [65003, 65004] },
      ],
      communities: [0xffff0006, 0xfc000001],
      originatorId: '203.0.113.1',
    } as unknown as BgpAttributes;
    expect(said(vpn({ attributes }))).toMatchObject({
      attributes: {
        asPath: '65001 65002 {65003 65004}',
        asPathLength: 3,
        bgpOrigin: 'incomplete',
        longLivedStale: true,
        communities: ['64512:1'],
      },
      learned: { router: '203.0.113.1', external: false },
    });
    expect(said(vpn({ stale: 'long' }))?.attributes.longLivedStale).toBe(true);
    expect(said(vpn({ stale: 'short' }))?.attributes.longLivedStale).toBeUndefined();
    expect(asPathText([{ kind: 'confedSet', asns: [1, 2] }])).toBe('({1 2})');
  });

  test('several best paths are hops of one path, each once', () => {
    const other = vpn({ nextHop: { address: '198.51.100.2' } as BgpPath['nextHop'] });
    const bad = vpn({ nextHop: { address: '0.0.0.0' } as BgpPath['nextHop'] });
    const came = saidOfBgp('k', [vpn(), bad, other, vpn()], () => INTERNAL, NAMING);
    expect(came?.hops.map((hop) => hop.address)).toEqual(['198.51.100.1', '198.51.100.2']);
    expect(came?.infeasible).toBeUndefined();
  });
});

describe("Contrail's communities, byte by byte", () => {
  const bytes: readonly [string, ExtendedCommunity][] = [
    ['8004fc00007a1201', { kind: 'security-group', as: 64512, id: 8000001 }],
    ['8071fc0000000007', { kind: 'origin-vn', as: 64512, index: 7 }],
    [
      '03aa880000800000',
      {
        kind: 'load-balance',
        fields: ['l3-source-address', 'l4-destination-port'],
        sourceBias: true,
      },
    ],
  ];
  test.each(bytes)('%s', (hex, community) => {
    expect(readExtended(bytesOf(hex))).toEqual(community);
    expect(hexOf(written((writer: NetWriter) => writeExtended(writer, community)))).toBe(hex);
  });
});
