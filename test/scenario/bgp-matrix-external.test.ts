/**
 * Between ASes of four bytes: with FRR over IPv4, over IPv6 carrying VPN routes of an IPv4 core, and between link-local
 * addresses (unnumbered); with gobgpd in an
 * AS of two bytes. The AS path grows by the sender's, and the next hop of a VPN route stays.
 */
import { expect, test } from 'vitest';
import type { FamilyName } from '../../src/bgp/wire/family-names.ts';
import { FRR_COMMANDS, Frr } from '../support/bgp-peers/frr.ts';
import { GOBGP_COMMANDS, Gobgp } from '../support/bgp-peers/gobgp.ts';
import { type Host, meet, sees, whyNoPeers, withLab } from '../support/bgp-peers/lab.ts';
import { Ours } from '../support/bgp-peers/ours.ts';
import {
  type BgpPeer,
  type MacRoute,
  type PeerConfig,
  type PeerRoute,
  seenOf,
  type VpnRoute,
} from '../support/bgp-peers/peer.ts';

const OUR_AS = 4_200_000_001;
const ITS_AS = 4_200_000_002;
const SHORT_AS = 65_001;
const FAMILIES = ['vpnv4', 'vpnv6', 'evpn'] as const;

type AddressOf = (host: Host) => string;
const over4: AddressOf = ({ address }) => address;
const over6: AddressOf = ({ address6 }) => address6;
const overLink: AddressOf = ({ linkLocal }) => linkLocal;

const config = (as: number, peerAs: number, address: string): PeerConfig => ({
  as,
  neighbours: [
    {
      ...{ address, as: peerAs, families: FAMILIES },
      ...(address.startsWith('fe80:') && { interface: 'eth0' }),
    },
  ],
});

function routesOf(n: number): { vpnv4: VpnRoute; vpnv6: VpnRoute; evpn: MacRoute } {
  const shared = { rd: `${n}:${n}`, targets: [`${OUR_AS}:101`, `65000:${n}`] };
  return {
    vpnv4: {
      ...{ ...shared, family: 'vpnv4', prefix: `10.${n}.0.0/24`, label: 100 + n },
      nextHop: `10.99.0.${70 + n}`,
    },
    vpnv6: {
      ...{ ...shared, family: 'vpnv6', prefix: `2001:db8:${n}::/48`, label: 200 + n },
      nextHop: `fd99::${70 + n}`,
    },
    evpn: {
      ...{ ...shared, family: 'evpn', type: 'mac-ip', mac: `02:bb:00:00:00:0${n}`, vni: 1000 },
      ...{ ip: `10.77.0.${n}`, nextHop: `10.99.0.${70 + n}` },
    },
  };
}

async function exchange(
  ours: Ours,
  its: BgpPeer,
  addressOf: AddressOf,
  itsRoutes: readonly PeerRoute[],
  heard: readonly PeerRoute[] = itsRoutes,
): Promise<void> {
  await meet(ours, its);
  const ourRoutes = Object.values(routesOf(1));
  await ours.announce(...ourRoutes);
  for (const route of itsRoutes) await its.announce(route);
  for (const family of FAMILIES) {
    const of = (routes: readonly PeerRoute[], from: string) =>
      routes.filter((route) => route.family === family).map((route) => seenOf(route, from));
    await sees(its, family, of(ourRoutes, addressOf(ours.host)));
    await sees(ours, family, of(heard, addressOf(its.host)));
  }
}

interface Detail {
  readonly [rd: string]: { readonly paths: readonly { readonly aspath: { string: string } }[] };
}

test.skipIf(whyNoPeers(FRR_COMMANDS) !== undefined).each([
  ['IPv4', over4],
  ['IPv6', over6],
  ['a link without addresses', overLink],
] as const)('with FRR, over %s', (_, addressOf) =>
  withLab(async (lab) => {
    const [ourHost, itsHost] = [await lab.host('ours'), await lab.host('frr')];
    const ours = await Ours.start(ourHost, config(OUR_AS, ITS_AS, addressOf(itsHost)));
    const its = await Frr.start(itsHost, config(ITS_AS, OUR_AS, addressOf(ourHost)));
    const { vpnv4, vpnv6 } = routesOf(2);
    // Of the other family than the session's it puts itself in place of the next hop; over a bare link, of either.
    const heard = [
      addressOf === over4 ? vpnv4 : { ...vpnv4, nextHop: itsHost.address },
      addressOf === over6 ? vpnv6 : { ...vpnv6, nextHop: itsHost.address6 },
    ];
    await exchange(ours, its, addressOf, [vpnv4, vpnv6], heard);
    const { rd, prefix } = routesOf(1).vpnv4;
    const detail = await its.show<Detail>(`show bgp ipv4 vpn ${prefix} json`);
    expect(detail[rd]?.paths.map(({ aspath }) => aspath.string)).toEqual([`${OUR_AS}`]);
    expect(await ours.asPaths('vpnv4')).toEqual([[], [ITS_AS]]);
  }),
);

test.skipIf(whyNoPeers(GOBGP_COMMANDS) !== undefined)('with gobgpd', () =>
  withLab(async (lab) => {
    const [ourHost, itsHost] = [await lab.host('ours'), await lab.host('gobgp')];
    const ours = await Ours.start(ourHost, config(OUR_AS, SHORT_AS, itsHost.address));
    const its = await Gobgp.start(itsHost, config(SHORT_AS, OUR_AS, ourHost.address));
    await exchange(ours, its, over4, Object.values(routesOf(2)));
    expect(await ours.asPaths('evpn')).toEqual([[], [SHORT_AS]]);
  }),
);

test.skipIf(whyNoPeers(FRR_COMMANDS, GOBGP_COMMANDS) !== undefined)('between two others', () =>
  withLab(async (lab) => {
    const [ourHost, frrHost] = [await lab.host('ours'), await lab.host('frr')];
    const gobgpHost = await lab.host('gobgp');
    const families: readonly FamilyName[] = ['vpnv4'];
    const ours = await Ours.start(ourHost, {
      as: OUR_AS,
      neighbours: [
        { address: frrHost.address, as: ITS_AS, families },
        { address: gobgpHost.address, as: SHORT_AS, families },
      ],
    });
    const frr = await Frr.start(frrHost, config(ITS_AS, OUR_AS, ourHost.address));
    const gobgp = await Gobgp.start(gobgpHost, config(SHORT_AS, OUR_AS, ourHost.address));
    await meet(ours, frr);
    await meet(ours, gobgp);
    const { vpnv4 } = routesOf(2);
    await frr.announce(vpnv4);
    await sees(gobgp, 'vpnv4', [seenOf(vpnv4, ourHost.address)]);
    expect(await gobgp.asPaths('vpnv4')).toEqual([[OUR_AS, ITS_AS]]);
  }),
);
