/**
 * Route target memberships with gobgpd: only what is wanted is sent, either way, and what is no longer wanted is taken
 * back. The default membership would kill it: it is never said.
 */
import { expect, test } from 'vitest';
import { command } from '../../src/program/netns.ts';
import { GOBGP_COMMANDS, Gobgp } from '../support/bgp-peers/gobgp.ts';
import { eventually, meet, sees, whyNoPeers, within, withLab } from '../support/bgp-peers/lab.ts';
import { Ours } from '../support/bgp-peers/ours.ts';
import { seenOf, type VpnRoute } from '../support/bgp-peers/peer.ts';

const AS = 65000;
const FAMILIES = ['vpnv4', 'vpnv6', 'rtc'] as const;

const route = (n: number, target: number, nextHop: string): VpnRoute => ({
  ...{ family: 'vpnv4', rd: `${AS}:${n}`, prefix: `10.${n}.0.0/24`, label: 100 + n, nextHop },
  targets: [`${AS}:${target}`],
});

test.skipIf(whyNoPeers(GOBGP_COMMANDS) !== undefined)('with gobgpd', () =>
  withLab(async (lab) => {
    const [ourHost, itsHost] = [await lab.host('ours'), await lab.host('gobgp')];
    const config = { ...within(AS, FAMILIES, [itsHost]), want: [`${AS}:101`] };
    const ours = await Ours.start(ourHost, config);
    const its = await Gobgp.start(itsHost, within(AS, FAMILIES, [ourHost]));
    const { pid } = its;
    await meet(ours, its);
    const theirs = [101, 102, 103].map((target, at) => route(at + 1, target, itsHost.address));
    for (const one of theirs) await its.announce(one);
    const has = (...indexes: number[]) =>
      sees(
        ours,
        'vpnv4',
        indexes.map((at) => seenOf(theirs[at] as VpnRoute, itsHost.address)),
      );
    await has(0);
    // What it has sent, not only what we have kept.
    expect((await its.advertised(ourHost.address, 'vpnv4')).length).toBe(1);

    await ours.want([`${AS}:101`, `${AS}:102`]);
    await has(0, 1);
    await ours.want([`${AS}:102`]);
    await has(1);
    await ours.want([]);
    await has();
    await ours.want([`${AS}:103`]);
    await has(2);

    // The other way: it wants what its VRFs import.
    const own = [201, 202].map((target, at) => route(at + 11, target, ourHost.address));
    await ours.announce(...own);
    await new Promise((resolve) => setTimeout(resolve, 1500));
    await sees(its, 'vpnv4', [], 1);
    const gobgp = (...words: string[]) => command(itsHost.namespace.enter(['gobgp', ...words]));
    await gobgp('vrf', 'add', 'red', 'rd', `${AS}:9`, 'rt', 'both', `${AS}:201`);
    await sees(its, 'vpnv4', [seenOf(own[0] as VpnRoute, ourHost.address)]);
    expect((await ours.advertised(itsHost.address, 'vpnv4')).length).toBe(1);
    await gobgp('vrf', 'del', 'red');
    await sees(its, 'vpnv4', []);

    const memberships = await eventually(
      its,
      'one membership of ours',
      async () => JSON.parse(await gobgp('global', 'rib', '-a', 'rtc', '-j')) as object,
      (all) => Object.keys(all).length === 1,
    );
    expect(Object.keys(memberships)).toEqual([`${AS}:${AS}:103`]);
    // It has been the same process all the time.
    expect(its.pid).toBe(pid);
    expect(await its.established()).toEqual([ourHost.address]);
  }),
);
