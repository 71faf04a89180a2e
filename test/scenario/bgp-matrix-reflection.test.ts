/**
 * Route reflection (RFC 4456): we reflect between two FRRs, and gobgpd reflects between us and an FRR. What a
 * reflector may not touch is as it was said: next hop, label, communities; what it adds is there.
 */
import { expect, test } from 'vitest';
import { FRR_COMMANDS, Frr } from '../support/bgp-peers/frr.ts';
import { GOBGP_COMMANDS, Gobgp } from '../support/bgp-peers/gobgp.ts';
import { eventually, meet, sees, whyNoPeers, within, withLab } from '../support/bgp-peers/lab.ts';
import { Ours } from '../support/bgp-peers/ours.ts';
import { seenOf, type VpnRoute } from '../support/bgp-peers/peer.ts';

const AS = 65000;
const FAMILIES = ['vpnv4', 'vpnv6', 'evpn'] as const;

const route = (n: number, nextHop: string): VpnRoute => ({
  ...{ family: 'vpnv4', rd: `${AS}:${n}`, prefix: `10.${n}.0.0/24`, label: 100 + n, nextHop },
  ...{ targets: [`${AS}:101`], communities: [`${AS}:${n}`] },
});
const route6 = (n: number, nextHop: string): VpnRoute => ({
  ...{ ...route(n, nextHop), family: 'vpnv6', prefix: `2001:db8:${n}::/48` },
});

interface Detail {
  readonly [rd: string]: {
    readonly paths: readonly {
      readonly originatorId?: string;
      readonly clusterList?: { readonly list: readonly string[] };
    }[];
  };
}

async function reflection(frr: Frr, { rd, prefix }: VpnRoute) {
  const detail = await frr.show<Detail>(`show bgp ipv4 vpn ${prefix} json`);
  const path = detail[rd]?.paths[0];
  return { originator: path?.originatorId, clusters: path?.clusterList?.list };
}

test.skipIf(whyNoPeers(FRR_COMMANDS) !== undefined)('we reflect between two FRRs', () =>
  withLab(async (lab) => {
    const ourHost = await lab.host('ours');
    const [oneHost, otherHost] = [await lab.host('one'), await lab.host('other')];
    const ours = await Ours.start(ourHost, within(AS, FAMILIES, [oneHost, otherHost], true));
    const client = within(AS, FAMILIES, [ourHost]);
    const one = await Frr.start(oneHost, client);
    const other = await Frr.start(otherHost, client);
    await meet(ours, one);
    await meet(ours, other);

    const [first, second] = [route(1, '10.99.0.71'), route(2, '10.99.0.72')];
    const sixth = route6(6, 'fd99::71');
    await one.announce(first);
    await one.announce(sixth);
    await other.announce(second);
    await sees(other, 'vpnv4', [seenOf(first, ourHost.address)]);
    await sees(other, 'vpnv6', [seenOf(sixth, ourHost.address)]);
    await sees(one, 'vpnv4', [seenOf(second, ourHost.address)]);
    expect(await reflection(other, first)).toEqual({
      originator: oneHost.address,
      clusters: [ourHost.address],
    });

    // EVPN, of one's kernel.
    const l2 = { family: 'evpn', type: 'mac-ip', rd: '', targets: [], vni: 1000 } as const;
    const mac = { ...l2, mac: '02:bb:00:00:00:01', nextHop: oneHost.address };
    await one.announce(mac);
    const own = await eventually(
      one,
      'routes of its own',
      async () => (await one.routes('evpn')).filter(({ from }) => from === undefined),
      (all) => all.length === 2,
    );
    await sees(
      other,
      'evpn',
      own.map((its) => ({
        ...{ ...its, from: ourHost.address },
        ...(its.key.startsWith('3') ? { label: 1000 } : {}),
      })),
    );
    await one.withdraw(mac);
    await eventually(
      other,
      'the MAC is gone',
      () => other.routes('evpn'),
      (all) => all.every(({ key }) => key.startsWith('3')),
    );

    // What is gone at a client is gone with the others, also when it dies.
    await one.withdraw(first);
    await sees(other, 'vpnv4', []);
    await one.stop();
    await sees(other, 'vpnv6', []);
    await sees(other, 'evpn', []);
    await sees(ours, 'vpnv4', [seenOf(second, otherHost.address)]);
  }),
);

const why = whyNoPeers(FRR_COMMANDS, GOBGP_COMMANDS);
test.skipIf(why !== undefined)('gobgpd reflects for us', () =>
  withLab(async (lab) => {
    const middleHost = await lab.host('gobgp');
    const [ourHost, frrHost] = [await lab.host('ours'), await lab.host('frr')];
    const [secondHost] = [await lab.host('second')];
    const clients = [ourHost, frrHost, secondHost];
    const families = ['vpnv4', 'evpn'] as const;
    const middle = await Gobgp.start(middleHost, within(AS, families, clients, true));
    const client = within(AS, families, [middleHost]);
    const ours = await Ours.start(ourHost, client);
    const second = await Ours.start(secondHost, client);
    const frr = await Frr.start(frrHost, client);
    for (const peer of [ours, second, frr]) await meet(middle, peer);

    const [mine, its] = [route(1, ourHost.address), route(2, '10.99.0.72')];
    await ours.announce(mine);
    await frr.announce(its);
    const reflected = (of: VpnRoute) => seenOf(of, middleHost.address);
    await sees(frr, 'vpnv4', [reflected(mine)]);
    await sees(ours, 'vpnv4', [reflected(its)]);
    await sees(second, 'vpnv4', [reflected(mine), reflected(its)]);
    expect(await reflection(frr, mine)).toEqual({
      originator: ourHost.address,
      clusters: [middleHost.address],
    });
    await ours.stop();
    await sees(second, 'vpnv4', [reflected(its)]);
    await sees(frr, 'vpnv4', []);
  }),
);
