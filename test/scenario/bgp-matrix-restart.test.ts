/**
 * Graceful restart (RFC 4724), both ways: our speaker is killed and its routes stay with gobgpd and FRR, marked, until
 * it is back; gobgpd is killed and its routes stay with us, until it is back or late.
 * Nothing is lost: while somebody is away, those who keep his routes are asked all the time.
 */
import { describe, expect, test } from 'vitest';
import { FRR_COMMANDS, Frr } from '../support/bgp-peers/frr.ts';
import { GOBGP_COMMANDS, Gobgp } from '../support/bgp-peers/gobgp.ts';
import {
  eventually,
  type Host,
  meet,
  sees,
  whyNoPeers,
  within,
  withLab,
} from '../support/bgp-peers/lab.ts';
import { Ours } from '../support/bgp-peers/ours.ts';
import { type BgpPeer, type SeenRoute, seenOf, type VpnRoute } from '../support/bgp-peers/peer.ts';

const AS = 65000;
const RESTART = { restartTime: 60 };

const route = (n: number, nextHop: string): VpnRoute => ({
  ...{ family: 'vpnv4', rd: `${AS}:${n}`, prefix: `10.${n}.0.0/24`, label: 100 + n, nextHop },
  targets: [`${AS}:101`],
});
const said = (routes: readonly VpnRoute[], { address }: Host, stale = false): SeenRoute[] =>
  routes.map((one) => ({ ...seenOf(one, address), stale }));

/** Asks all the time until `work` is over; answers the fewest routes of others that it ever had. */
async function fewestWhile(peer: BgpPeer, work: () => Promise<void>): Promise<number> {
  let over = false;
  let fewest = Number.POSITIVE_INFINITY;
  const asking = (async () => {
    while (!over) {
      const all = await peer.routes('vpnv4');
      fewest = Math.min(fewest, all.filter(({ from }) => from !== undefined).length);
    }
  })();
  try {
    await work();
  } finally {
    over = true;
    await asking;
  }
  return fewest;
}

const PEERS = [
  { name: 'gobgpd', commands: GOBGP_COMMANDS, start: Gobgp.start },
  { name: 'FRR', commands: FRR_COMMANDS, start: Frr.start },
] as const;

describe.each(PEERS)('with $name', ({ commands, start }) => {
  const skipped = whyNoPeers(commands) !== undefined;
  test.skipIf(skipped)('we are killed, and it keeps our routes', () =>
    withLab(async (lab) => {
      const [ourHost, itsHost] = [await lab.host('ours'), await lab.host('its')];
      const config = { ...within(AS, ['vpnv4'], [itsHost]), ...RESTART };
      const before = await Ours.start(ourHost, config);
      const its = await start(itsHost, { ...within(AS, ['vpnv4'], [ourHost]), ...RESTART });
      await meet(before, its);
      const routes = [1, 2, 3].map((n) => route(n, ourHost.address));
      await before.announce(...routes);
      await sees(its, 'vpnv4', said(routes, ourHost));

      const fewest = await fewestWhile(its, async () => {
        await before.kill();
        await sees(its, 'vpnv4', said(routes, ourHost, true));
        const after = await Ours.start(ourHost, { ...config, restarted: true, announce: routes });
        await meet(after, its);
        await sees(its, 'vpnv4', said(routes, ourHost));
      });
      expect(fewest).toBe(3);
    }),
  );
});

const noGobgp = whyNoPeers(GOBGP_COMMANDS) !== undefined;

test.skipIf(noGobgp)(
  'we come back with less: what is not said again goes with the end of the RIB',
  () =>
    withLab(async (lab) => {
      const [ourHost, itsHost] = [await lab.host('ours'), await lab.host('gobgp')];
      const config = { ...within(AS, ['vpnv4'], [itsHost]), ...RESTART };
      const before = await Ours.start(ourHost, config);
      const its = await Gobgp.start(itsHost, { ...within(AS, ['vpnv4'], [ourHost]), ...RESTART });
      await meet(before, its);
      const routes = [1, 2, 3].map((n) => route(n, ourHost.address));
      await before.announce(...routes);
      await sees(its, 'vpnv4', said(routes, ourHost));
      await before.kill();
      const left = routes.slice(0, 2);
      await Ours.start(ourHost, { ...config, restarted: true, announce: left });
      await sees(its, 'vpnv4', said(left, ourHost));
    }),
);

test.skipIf(noGobgp)(
  'gobgpd is killed: its routes stay with us, marked, and are swept when it is back',
  () =>
    withLab(async (lab) => {
      const [ourHost, itsHost] = [await lab.host('ours'), await lab.host('gobgp')];
      const ours = await Ours.start(ourHost, { ...within(AS, ['vpnv4'], [itsHost]), ...RESTART });
      const config = { ...within(AS, ['vpnv4'], [ourHost]), ...RESTART };
      const before = await Gobgp.start(itsHost, config);
      await meet(ours, before);
      const routes = [1, 2].map((n) => route(n, itsHost.address));
      for (const one of routes) await before.announce(one);
      await sees(ours, 'vpnv4', said(routes, itsHost));

      await before.kill();
      await sees(ours, 'vpnv4', said(routes, itsHost, true));
      // It says End-of-RIB for what it has by then, so it must have it before it is let in.
      const after = await Gobgp.start(itsHost, { ...config, restarted: true });
      await after.announce(routes[0] as VpnRoute);
      await sees(ours, 'vpnv4', said(routes.slice(0, 1), itsHost));
    }),
);

test.skipIf(noGobgp)(
  'gobgpd is killed and does not come back: its routes go when its time is over',
  () =>
    withLab(async (lab) => {
      const [ourHost, itsHost] = [await lab.host('ours'), await lab.host('gobgp')];
      const short = { restartTime: 4 };
      const ours = await Ours.start(ourHost, { ...within(AS, ['vpnv4'], [itsHost]), ...short });
      const its = await Gobgp.start(itsHost, { ...within(AS, ['vpnv4'], [ourHost]), ...short });
      await meet(ours, its);
      const routes = [1, 2].map((n) => route(n, itsHost.address));
      for (const one of routes) await its.announce(one);
      await sees(ours, 'vpnv4', said(routes, itsHost));
      await its.kill();
      const killed = Date.now();
      await sees(ours, 'vpnv4', said(routes, itsHost, true));
      await eventually(
        ours,
        'none of its routes',
        () => ours.routes('vpnv4'),
        (all) => all.length === 0,
      );
      expect(Date.now() - killed).toBeGreaterThan(3500);
    }),
);
