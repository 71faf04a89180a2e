/**
 * `vrouter control` as it is shipped, between an agent and two routers: what the agent publishes is seen by FRR and
 * gobgpd, what they say and the instance imports is heard by the agent, and gone when it is taken back.
 */
import { existsSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { expect, test } from 'vitest';
import { stringify } from 'yaml';
import { connectExchange } from '../../src/rib/connect.ts';
import type { Route, RouteUpdate } from '../../src/rib/route.ts';
import { FRR_COMMANDS, Frr } from '../support/bgp-peers/frr.ts';
import { GOBGP_COMMANDS, Gobgp } from '../support/bgp-peers/gobgp.ts';
import { eventually, PATIENCE_MS, whyNoPeers, within, withLab } from '../support/bgp-peers/lab.ts';
import type { BgpPeer, VpnRoute } from '../support/bgp-peers/peer.ts';
import { answers } from '../support/lab.ts';

const MAIN = resolve(import.meta.dirname, '../../dist/cli/main.js');
const AS = 64512;
const [RED, BLUE] = [`${AS}:900`, `${AS}:901`];
const POD = '10.47.1.5/32';

const route = (n: number, target: string): VpnRoute => ({
  ...{ family: 'vpnv4', rd: `${AS}:${n}`, prefix: `203.0.${n}.0/24`, label: 3000 + n },
  ...{ nextHop: `10.99.0.${80 + n}`, targets: [target] },
});

const why = whyNoPeers(FRR_COMMANDS, GOBGP_COMMANDS);
test.skipIf(why !== undefined)('an agent, our control node, FRR and gobgpd', () =>
  withLab(async (made) => {
    const { lab } = made;
    const host = (name: string) => made.host(name);
    expect(existsSync(MAIN)).toBe(true);
    const controlHost = await host('control');
    const [frrHost, gobgpHost] = [await host('frr'), await host('gobgp')];
    const [exchange, cli] = [lab.path('exchange'), lab.path('cli')];
    writeFileSync(
      lab.path('control.yaml'),
      stringify({
        ...{ name: 'control', socket: exchange, cli, log: { level: 'info' } },
        bgp: {
          ...{ as: AS, router_id: controlHost.address, settle_seconds: 0 },
          listen: [`${controlHost.address}:179`],
          neighbors: [
            { address: frrHost.address, as: AS, families: ['vpnv4', 'evpn'] },
            { address: gobgpHost.address, as: AS, families: ['vpnv4', 'evpn', 'rtc'] },
          ],
        },
        instances: [{ name: 'red', import: [RED], export: [RED] }],
      }),
    );
    const argv = [process.execPath, MAIN, 'control', '--config', lab.path('control.yaml')];
    const control = lab.start('control', argv, { namespace: controlHost.namespace });
    await answers(lab, 'the control node answers', cli);
    const frr = await Frr.start(frrHost, within(AS, ['vpnv4', 'evpn'], [controlHost]));
    const gobgp = await Gobgp.start(gobgpHost, within(AS, ['vpnv4', 'evpn', 'rtc'], [controlHost]));
    const peers: readonly BgpPeer[] = [frr, gobgp];
    for (const peer of peers) {
      await eventually(
        peer,
        `a session: ${control.out()}`,
        () => peer.established(),
        (up) => up.length === 1,
      );
    }

    const heard = new Map<string, Route>();
    const agent = connectExchange({ path: exchange, name: 'compute' });
    agent.onUpdates((updates: readonly RouteUpdate[]) => {
      for (const update of updates) {
        if (update.type === 'announce') heard.set(update.route.prefix, update.route);
        if (update.type === 'withdraw') heard.delete(update.key.prefix);
      }
    });
    try {
      agent.subscribe('red', 7);
      const hop = { address: '10.99.0.50', label: 25, encaps: ['udp', 'gre'] } as const;
      agent.publish({ instance: 'red', family: 'inet', prefix: POD, hops: [hop] });
      // gobgpd asks for what it wants: without a VRF for nothing.
      const its = await eventually(
        frr,
        'the pod',
        () => frr.routes('vpnv4'),
        (all) => all.length === 1,
      );
      expect(its).toMatchObject([
        { nextHop: hop.address, label: hop.label, targets: [RED], from: controlHost.address },
      ]);
      expect(its[0]?.key).toMatch(new RegExp(`:7 ${POD}$`));

      const said = [route(1, RED), route(2, RED), route(3, BLUE)] as const;
      await frr.announce(said[0]);
      await gobgp.announce(said[1]);
      await gobgp.announce(said[2]);
      const hears = (what: string, ...prefixes: string[]) =>
        lab.until(
          `${what}; it has ${[...heard.keys()]}; ${control.out().slice(-2000)}`,
          async () => ([...heard.keys()].toSorted().join() === prefixes.join() ? true : undefined),
          PATIENCE_MS,
        );
      await hears('the agent hears what red imports', POD, said[0].prefix, said[1].prefix);
      for (const one of said.slice(0, 2)) {
        expect(heard.get(one.prefix)?.hops).toMatchObject([
          { address: one.nextHop, label: one.label },
        ]);
      }
      // The third has not even been sent.
      expect((await gobgp.advertised(controlHost.address, 'vpnv4')).length).toBe(1);

      await frr.withdraw(said[0]);
      await gobgp.withdraw(said[1]);
      agent.withdraw({ instance: 'red', family: 'inet', prefix: POD });
      await hears('the agent hears that it is gone');
      await eventually(
        frr,
        'nothing of others',
        () => frr.routes('vpnv4'),
        (all) => all.length === 0,
      );
    } finally {
      agent.close();
    }
  }),
);
