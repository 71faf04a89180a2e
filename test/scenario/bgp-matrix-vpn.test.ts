/**
 * VPNv4 and VPNv6 both ways between our speaker and each peer: what we say is seen there as it was said, what it
 * says is seen here, and what is taken back is gone at both ends.
 */
import { describe, test } from 'vitest';
import { BIRD_COMMANDS, Bird } from '../support/bgp-peers/bird.ts';
import { EXABGP_COMMANDS, Exabgp } from '../support/bgp-peers/exabgp.ts';
import { FRR_COMMANDS, Frr } from '../support/bgp-peers/frr.ts';
import { GOBGP_COMMANDS, Gobgp } from '../support/bgp-peers/gobgp.ts';
import { type Host, meet, sees, whyNoPeers, within, withLab } from '../support/bgp-peers/lab.ts';
import { Ours } from '../support/bgp-peers/ours.ts';
import { type BgpPeer, type PeerConfig, seenOf, type VpnRoute } from '../support/bgp-peers/peer.ts';

const AS = 65000;
const FAMILIES = ['vpnv4', 'vpnv6'] as const;

interface Row {
  readonly name: string;
  readonly commands: readonly string[];
  readonly start: (host: Host, config: PeerConfig) => Promise<BgpPeer>;
}

const PEERS: readonly Row[] = [
  { name: 'FRR', commands: FRR_COMMANDS, start: Frr.start },
  { name: 'gobgpd', commands: GOBGP_COMMANDS, start: Gobgp.start },
  { name: 'BIRD', commands: BIRD_COMMANDS, start: Bird.start },
  { name: 'exabgp', commands: EXABGP_COMMANDS, start: Exabgp.start },
];

const TARGETS = { targets: [`${AS}:101`, `10.99.0.1:7`] };
const COMMUNITIES = { communities: [`${AS}:1`, `${AS}:65535`] };

/** `hop`: last part of next hops that nobody has a session with. */
function routesOf(n: number, hop: number): VpnRoute[] {
  const rd = `${AS}:${n}01`;
  return [
    {
      ...{ family: 'vpnv4', rd, prefix: `10.${n}.1.0/24`, label: n * 1000 + 16 },
      ...{ nextHop: `10.99.0.${hop}`, ...TARGETS, ...COMMUNITIES },
    },
    // Another RD of the same prefix is another route, and here one with other attributes.
    {
      ...{ family: 'vpnv4', rd: `10.99.0.${n}:2`, prefix: `10.${n}.1.0/24`, label: n * 1000 + 17 },
      ...{ nextHop: `10.99.0.${hop + 1}`, targets: [`${AS}:102`] },
    },
    {
      ...{ family: 'vpnv6', rd, prefix: `2001:db8:${n}::/48`, label: n * 1000 + 18 },
      ...{ nextHop: `fd99::${hop}`, ...TARGETS, ...COMMUNITIES },
    },
  ];
}

/** Over an IPv4 core: the next hop is written as an IPv6 address. */
const overIpv4: VpnRoute = {
  ...{ family: 'vpnv6', rd: `${AS}:101`, prefix: '2001:db8:44::/48', label: 0xfffff },
  ...{ nextHop: '10.99.0.77', targets: [`${AS}:101`] },
};

describe.each(PEERS)('with $name', ({ commands, start }) => {
  const why = whyNoPeers(commands);
  test.skipIf(why !== undefined)('VPNv4 and VPNv6 both ways', () =>
    withLab(async (lab) => {
      const [ourHost, itsHost] = [await lab.host('ours'), await lab.host('its')];
      const ours = await Ours.start(ourHost, within(AS, FAMILIES, [itsHost]));
      const its = await start(itsHost, within(AS, FAMILIES, [ourHost]));
      await meet(ours, its);

      const ourRoutes = [...routesOf(1, 70), overIpv4];
      const itsRoutes = routesOf(2, 80);
      await ours.announce(...ourRoutes);
      for (const route of itsRoutes) await its.announce(route);
      const ofFamily = (routes: readonly VpnRoute[], from: string, family: string) =>
        routes.filter((route) => route.family === family).map((route) => seenOf(route, from));
      for (const family of FAMILIES) {
        await sees(its, family, ofFamily(ourRoutes, ourHost.address, family));
        await sees(ours, family, ofFamily(itsRoutes, itsHost.address, family));
      }

      // One of each family goes, the others stay.
      const isLast = (at: number) => at > 0;
      await ours.withdraw(...ourRoutes.filter((_, at) => isLast(at)));
      for (const route of itsRoutes.filter((_, at) => isLast(at))) await its.withdraw(route);
      for (const family of FAMILIES) {
        await sees(its, family, ofFamily(ourRoutes.slice(0, 1), ourHost.address, family));
        await sees(ours, family, ofFamily(itsRoutes.slice(0, 1), itsHost.address, family));
      }
      // Said again with another label: replaced, not added.
      const changed = { ...(ourRoutes[0] as VpnRoute), label: 99 };
      await ours.announce(changed);
      await sees(its, 'vpnv4', [seenOf(changed, ourHost.address)]);
    }),
  );
});
