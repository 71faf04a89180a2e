/**
 * The harness of real BGP peers, by itself: FRR, BIRD and exabgp around gobgpd as a reflector. Each announces a
 * VPNv4 route, and each one's view of the others' is the same.
 */
import { test } from 'vitest';
import { BIRD_COMMANDS, Bird } from '../support/bgp-peers/bird.ts';
import { EXABGP_COMMANDS, Exabgp } from '../support/bgp-peers/exabgp.ts';
import { FRR_COMMANDS, Frr } from '../support/bgp-peers/frr.ts';
import { GOBGP_COMMANDS, Gobgp } from '../support/bgp-peers/gobgp.ts';
import { type Host, meet, sees, whyNoPeers, within, withLab } from '../support/bgp-peers/lab.ts';
import type { BgpPeer, VpnRoute } from '../support/bgp-peers/peer.ts';
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

test.skipIf(why !== undefined)('peers tell each other, and we read the same of each', () =>
  withLab(async (lab) => {
    const reflectorHost = await lab.host('gobgp');
    const hosts = [await lab.host('frr'), await lab.host('bird'), await lab.host('exabgp')];
    const [frrHost, birdHost, exabgpHost] = hosts as [Host, Host, Host];
    const reflector = await Gobgp.start(reflectorHost, within(AS, ['vpnv4'], hosts, true));
    const client = within(AS, ['vpnv4'], [reflectorHost]);
    const clients: BgpPeer[] = await Promise.all([
      Frr.start(frrHost, client),
      Bird.start(birdHost, client),
      Exabgp.start(exabgpHost, client),
    ]);
    for (const peer of clients) await meet(reflector, peer);

    const said = clients.map((peer, at) => ({ peer, route: route(at + 2) }));
    for (const { peer, route: its } of said) await peer.announce(its);
    const all = said.map(({ peer, route: its }) => seenOf(its, peer.host.address));
    await sees(reflector, 'vpnv4', all);
    for (const peer of clients) {
      const others = all.filter(({ from }) => from !== peer.host.address);
      const reflected = others.map((seen) => ({ ...seen, from: reflectorHost.address }));
      await sees(peer, 'vpnv4', reflected);
    }

    for (const { peer, route: its } of said) await peer.withdraw(its);
    for (const peer of [reflector, ...clients]) await sees(peer, 'vpnv4', []);
  }),
);
