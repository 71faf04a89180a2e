/**
 * EVPN routes of types 2, 3 and 5 both ways, with FRR and gobgpd. FRR makes those of types 2 and 3 of what its kernel
 * has, with its own RD and targets; so its own table says what we must see.
 */
import { expect, test } from 'vitest';
import { FRR_COMMANDS, Frr } from '../support/bgp-peers/frr.ts';
import { GOBGP_COMMANDS, Gobgp } from '../support/bgp-peers/gobgp.ts';
import { eventually, meet, sees, whyNoPeers, within, withLab } from '../support/bgp-peers/lab.ts';
import { Ours } from '../support/bgp-peers/ours.ts';
import {
  type MacRoute,
  type MulticastRoute,
  type PeerRoute,
  type PrefixRoute,
  seenOf,
} from '../support/bgp-peers/peer.ts';

const AS = 65000;

function routesOf(n: number, vtep: string): [MacRoute, MacRoute, MulticastRoute, PrefixRoute] {
  const l2 = { family: 'evpn', rd: `${vtep}:2`, nextHop: vtep, targets: [`${AS}:1000`] } as const;
  return [
    { ...l2, type: 'mac-ip', mac: `02:bb:00:00:0${n}:01`, vni: 1000 },
    { ...l2, type: 'mac-ip', mac: `02:bb:00:00:0${n}:02`, ip: `10.77.${n}.52`, vni: 1000 },
    { ...l2, type: 'multicast', originator: vtep, vni: 1000 },
    {
      ...{ ...l2, type: 'ip-prefix', rd: `${vtep}:5`, prefix: `10.5${n}.0.0/24`, vni: 5000 },
      ...{ targets: [`${AS}:5000`], routerMac: `02:00:00:00:ff:0${n}` },
    },
  ];
}

test.skipIf(whyNoPeers(GOBGP_COMMANDS) !== undefined)('with gobgpd', () =>
  withLab(async (lab) => {
    const [ourHost, itsHost] = [await lab.host('ours'), await lab.host('gobgp')];
    const ours = await Ours.start(ourHost, within(AS, ['evpn'], [itsHost]));
    const its = await Gobgp.start(itsHost, within(AS, ['evpn'], [ourHost]));
    await meet(ours, its);
    const ourRoutes = routesOf(1, ourHost.address);
    const itsRoutes = routesOf(2, itsHost.address).filter(
      // It has no word for a MAC without an address.
      (route) => route.type !== 'mac-ip' || route.ip !== undefined,
    );
    await ours.announce(...ourRoutes);
    for (const route of itsRoutes) await its.announce(route);
    const seen = (routes: readonly PeerRoute[], from: string) =>
      routes.map((route) => seenOf(route, from));
    await sees(its, 'evpn', seen(ourRoutes, ourHost.address));
    await sees(ours, 'evpn', seen(itsRoutes, itsHost.address));

    await ours.withdraw(...ourRoutes.slice(1));
    for (const route of itsRoutes.slice(1)) await its.withdraw(route);
    await sees(its, 'evpn', seen(ourRoutes.slice(0, 1), ourHost.address));
    await sees(ours, 'evpn', seen(itsRoutes.slice(0, 1), itsHost.address));
  }),
);

test.skipIf(whyNoPeers(FRR_COMMANDS) !== undefined)('with FRR', () =>
  withLab(async (lab) => {
    const [ourHost, itsHost] = [await lab.host('ours'), await lab.host('frr')];
    const ours = await Ours.start(ourHost, within(AS, ['evpn'], [itsHost]));
    const its = await Frr.start(itsHost, within(AS, ['evpn'], [ourHost]));
    await meet(ours, its);
    const ourRoutes = routesOf(1, ourHost.address);
    const itsRoutes = routesOf(2, itsHost.address);
    await ours.announce(...ourRoutes);
    for (const route of itsRoutes) await its.announce(route);
    await sees(
      its,
      'evpn',
      ourRoutes.map((route) => seenOf(route, ourHost.address)),
    );
    // A MAC, a MAC and its address (with the MAC alone beside it), the multicast route, the prefix.
    const own = await eventually(
      its,
      'routes of its own',
      async () => (await its.routes('evpn')).filter(({ from }) => from === undefined),
      (all) => all.length === 5,
    );
    expect(own.map(({ key }) => key[0]).toSorted()).toEqual(['2', '2', '2', '3', '5']);
    await sees(
      ours,
      'evpn',
      own.map((route) => ({
        ...{ ...route, from: itsHost.address },
        // A static prefix is sent without the targets of its policy, and from its IPv6 address where it has one.
        ...(route.key.startsWith('5') ? { nextHop: itsHost.address6, targets: [] } : {}),
        // The label of the tunnel is not shown for a route of its own.
        ...(route.key.startsWith('3') ? { label: 1000 } : {}),
      })),
    );

    await ours.withdraw(...ourRoutes.slice(1));
    await its.withdraw(itsRoutes[0]);
    await its.withdraw(itsRoutes[1]);
    await sees(its, 'evpn', [seenOf(ourRoutes[0], ourHost.address)]);
    await eventually(
      ours,
      'the multicast route and the prefix are left',
      async () => (await ours.routes('evpn')).filter(({ from }) => from !== undefined),
      (all) =>
        all
          .map(({ key }) => key[0])
          .toSorted()
          .join() === '3,5',
    );
  }),
);
