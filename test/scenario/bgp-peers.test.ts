/**
 * The harness of real BGP peers, by itself: FRR, BIRD and exabgp around gobgpd as a reflector. Each announces a
 * VPNv4 route, and each one's view of the others' is the same.
 */
import { test } from 'vitest';
import { BIRD_COMMANDS, Bird } from '../support/bgp-peers/bird.ts';
import { EXABGP_COMMANDS, Exabgp } from '../support/bgp-peers/exabgp.ts';
import { FRR_COMMANDS, Frr } from '../support/bgp-peers/frr.ts';
import { GOBGP_COMMANDS, Gobgp } from '../support/bgp-peers/gobgp.ts';
import { type Host, meet, PeerLab, sees, whyNoPeers } from '../support/bgp-peers/lab.ts';
import type { BgpPeer, PeerConfig, VpnRoute } from '../support/bgp-peers/peer.ts';
import { seenOf } from '../support/bgp-peers/peer.ts';

const why = whyNoPeers(FRR_COMMANDS, GOBGP_COMMANDS, BIRD_COMMANDS, EXABGP_COMMANDS);
const AS = 65000;

function route(n: number): VpnRoute {
  return {
    family: 'vpnv4',
    rd: `${AS}:${n}01`,
    prefix: `10.${n}.1.0/24`,
    label: n * 100 + 1,
    nextHop: `10.99.0.${100 + n}`,
    targets: [`${AS}:101`],
    communities: [`${AS}:${n}`],
  };
}

test.skipIf(why !== undefined)('peers tell each other, and we read the same of each', async () => {
  const lab = await PeerLab.make();
  try {
    const [gobgpHost, frrHost, birdHost, exabgpHost] = [
      await lab.host('gobgp'),
      await lab.host('frr'),
      await lab.host('bird'),
      await lab.host('exabgp'),
    ];
    const clients = [frrHost, birdHost, exabgpHost];
    const of = (neighbours: readonly Host[], client = false): PeerConfig => ({
      as: AS,
      neighbours: neighbours.map(({ address }) => ({
        ...{ address, as: AS, families: ['vpnv4'] as const, client },
      })),
    });
    const reflector = await Gobgp.start(gobgpHost, of(clients, true));
    const outer: BgpPeer[] = await Promise.all([
      Frr.start(frrHost, of([gobgpHost])),
      Bird.start(birdHost, of([gobgpHost])),
      Exabgp.start(exabgpHost, of([gobgpHost])),
    ]);
    for (const peer of outer) await meet(reflector, peer);

    const routes = outer.map((_, at) => route(at + 2));
    for (const [at, peer] of outer.entries()) await peer.announce(routes[at] as VpnRoute);
    const said = (at: number) => seenOf(routes[at] as VpnRoute, clients[at]?.address ?? '');
    await sees(reflector, 'vpnv4', [said(0), said(1), said(2)]);
    for (const [at, peer] of outer.entries()) {
      const others = [0, 1, 2].filter((other) => other !== at).map(said);
      await sees(
        peer,
        'vpnv4',
        others.map((seen) => ({ ...seen, from: gobgpHost.address })),
      );
    }

    for (const [at, peer] of outer.entries()) await peer.withdraw(routes[at] as VpnRoute);
    for (const peer of [reflector, ...outer]) await sees(peer, 'vpnv4', []);
  } finally {
    await lab.close();
  }
});
