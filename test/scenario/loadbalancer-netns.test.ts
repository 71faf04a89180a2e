/**
 * The `loadbalancer` scenario on this machine's kernel, as root: `vrouter control` and `vrouter node` as processes, curl
 * as the Internet, and between control node and gateway a BGP router that is not ours: FRR, then gobgpd. What the router
 * has is read in its own JSON.
 */
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, type TestContext, test } from 'vitest';
import type { BgpNeighboursView, BgpRouteView } from '../../src/cli/bgp-views.ts';
import type { NextHopView, RouteView } from '../../src/cli/views.ts';
import type { Route } from '../../src/rib/route.ts';
import {
  AS,
  BACKENDS,
  CONTROL,
  EXTERNAL_NETWORK,
  EXTERNAL_TARGET,
  GATEWAY,
  NODES,
  SERVICE_PREFIX,
} from '../../src/sim/loadbalancer-plan.ts';
import { FRR_COMMANDS, Frr } from '../support/bgp-peers/frr.ts';
import { Gobgp } from '../support/bgp-peers/gobgp.ts';
import type { PeerConfig } from '../support/bgp-peers/peer.ts';
import { callAt, whyNot } from '../support/lab.ts';
import { LoadbalancerLab, OUTSIDE, type Page, ROUTER } from '../support/loadbalancer-lab.ts';

const MINUTE = 60_000;
const PATIENCE_MS = 20_000;
const PAGES = 40;
const [internet, single] = OUTSIDE;
const [web1, web2] = BACKENDS;
const TO_FIRST = `gre ${GATEWAY.ipv4} -> ${NODES.first.ipv4}`;
const TO_SECOND = `gre ${GATEWAY.ipv4} -> ${NODES.second.ipv4}`;

const built = existsSync(resolve(import.meta.dirname, '../../dist/cli/main.js'));
const missing =
  whyNot('curl', 'ethtool', 'nft', 'gobgpd', 'gobgp', ...FRR_COMMANDS) ??
  (built ? undefined : 'dist is not built');

/** Encapsulations of a route at the router, by its own words. */
interface Router {
  readonly start: (lab: LoadbalancerLab, config: PeerConfig) => Promise<Frr | Gobgp>;
  readonly encapsulations: (router: Frr | Gobgp, rd: string) => Promise<unknown>;
  /** All that a compute node takes, as this router says it. */
  readonly expected: unknown;
}

const ROUTERS: Readonly<Record<string, Router>> = {
  FRR: {
    start: (lab, config) => Frr.start(lab.routerHost(), config),
    async encapsulations(router, rd) {
      type Detail = Record<string, { paths: { extendedCommunity?: { string: string } }[] }>;
      const shown = await (router as Frr).show<Detail>(`show bgp ipv4 vpn ${SERVICE_PREFIX} json`);
      const text = shown[rd]?.paths[0]?.extendedCommunity?.string ?? '';
      return [...text.matchAll(/\bET:(\d+)/g)]
        .map(([, type]) => Number(type))
        .sort((a, b) => a - b);
    },
    expected: [2, 11, 13],
  },
  gobgpd: {
    start: (lab, config) => Gobgp.start(lab.routerHost(), config),
    encapsulations: async (router, rd) =>
      (router as Gobgp).encapsulations('vpnv4', `${rd} ${SERVICE_PREFIX}`),
    expected: [2, 11, 13],
  },
};

const servedBy = (pages: readonly (Page | undefined)[]) =>
  [...new Set(pages.map((page) => page?.backend ?? 'nobody'))].sort();
const callers = (pages: readonly (Page | undefined)[]) => [
  ...new Set(pages.map((page) => page?.caller)),
];

describe.each(Object.entries(ROUTERS))('with %s between control node and gateway', (_, kind) => {
  let lab: LoadbalancerLab;
  let router: Frr | Gobgp;
  const needed = ({ skip }: TestContext) => skip(missing !== undefined, missing);

  beforeAll(async () => {
    if (missing !== undefined) return;
    lab = new LoadbalancerLab();
    await lab.addFabric();
    const neighbours = [CONTROL, GATEWAY].map(({ ipv4 }) => ({
      ...{ address: ipv4, as: AS, families: ['vpnv4' as const], client: true },
    }));
    router = await kind.start(lab, { as: AS, neighbours, restartTime: 120 });
    await lab.startControl();
    await lab.startNode(NODES.first);
    await lab.startNode(NODES.second);
    await lab.startGateway();
    for (const pod of BACKENDS) await lab.addBackend(pod);
    await learned(2);
  }, 2 * MINUTE);

  afterAll(() => lab?.close(), MINUTE);

  const received = () =>
    lab.vrouter<BgpRouteView[]>(
      ...[GATEWAY.name, 'bgp', 'received', ROUTER.ipv4, SERVICE_PREFIX, '--family'],
      'vpnv4',
    );
  const learned = (count: number) =>
    lab.lab.until(
      `${count} routes at the gateway`,
      async () => ((await received()).length === count ? true : undefined),
      PATIENCE_MS,
    );

  /** The service's next hop in a VRF of the gateway, with what it is composed of. */
  async function nextHops(vrfName: string): Promise<NextHopView[]> {
    const vrfs = await callAt<{ vrf: number; name: string }[]>(
      lab.socket(GATEWAY.name),
      'vrfstats.dump',
    );
    const vrf = vrfs.find(({ name }) => name === vrfName)?.vrf ?? 0;
    const { routes } = await lab.vrouter<{ routes: RouteView[] }>(
      ...([GATEWAY.name, 'rt', '--dump', `${vrf}`] as const),
    );
    const route = routes.find(({ prefix }) => prefix === SERVICE_PREFIX);
    if (route === undefined) return [];
    return callAt(lab.socket(GATEWAY.name), 'nh.get', { id: route.nextHop });
  }

  test('the router has a route for each compute node: next hop, label, target, encapsulations', async (ctx) => {
    needed(ctx);
    const seen = (await router.routes('vpnv4')).filter(({ key }) => key.endsWith(SERVICE_PREFIX));
    const told = await callAt<Route[]>(lab.socket(CONTROL.name), 'instance.routes', {
      instance: EXTERNAL_NETWORK,
    });
    const hops = told.find(({ prefix }) => prefix === SERVICE_PREFIX)?.hops ?? [];
    expect(hops.map(({ address }) => address)).toEqual([NODES.first.ipv4, NODES.second.ipv4]);
    for (const { address, label } of hops) {
      const route = seen.find(({ nextHop }) => nextHop === address);
      expect(route).toMatchObject({ label, targets: [EXTERNAL_TARGET], from: CONTROL.ipv4 });
      const [rd = ''] = route?.key.split(' ') ?? [];
      expect(rd).toMatch(new RegExp(`^${address}:\\d+$`));
      expect(await kind.encapsulations(router, rd)).toEqual(kind.expected);
    }
    expect(seen).toHaveLength(2);
  });

  test('the gateway shows its neighbour, and what it has heard and said', async (ctx) => {
    needed(ctx);
    const view = await lab.vrouter<BgpNeighboursView>(GATEWAY.name, 'bgp', 'neighbors');
    expect(view.neighbours).toMatchObject([{ name: ROUTER.ipv4, state: 'established' }]);
    const heard = (await received()).flatMap(({ paths }) => paths);
    expect(heard.map(({ nextHop }) => nextHop).sort()).toEqual([
      NODES.first.ipv4,
      NODES.second.ipv4,
    ]);
    for (const path of heard) {
      expect(path.routeTargets).toEqual([EXTERNAL_TARGET]);
      expect(path.encapsulations).toHaveLength(3);
    }
    const words = ['bgp', 'advertised', ROUTER.ipv4, '--family', 'vpnv4'];
    const said = await lab.vrouter<BgpRouteView[]>(GATEWAY.name, ...words);
    const prefixes = said.map(({ route }) => route.split(' ')[1]).sort();
    for (const { prefix } of OUTSIDE) expect(prefixes).toContain(prefix);
    expect(
      said.flatMap(({ paths }) => paths).every(({ nextHop }) => nextHop === GATEWAY.ipv4),
    ).toBe(true);
    expect(await lab.status(GATEWAY.name)).toMatchObject({ unresolved: 0, problems: [] });
  });

  test(
    'the Internet is served over both tunnels, and the pods see its address',
    async (ctx) => {
      needed(ctx);
      const [set, ...members] = await nextHops(internet.vrf);
      expect(set).toMatchObject({ type: 'ecmp' });
      expect(members.map(({ destination }) => destination).sort()).toEqual([
        NODES.first.ipv4,
        NODES.second.ipv4,
      ]);
      let pages: (Page | undefined)[] = [];
      const used = await lab.tunnels(async () => {
        pages = await lab.fetch(internet, PAGES);
      });
      expect(servedBy(pages)).toEqual([web1.name, web2.name]);
      expect(callers(pages)).toEqual([internet.ipv4]);
      const outward = [...used.keys()].filter((tunnel) => tunnel.includes(`${GATEWAY.ipv4} ->`));
      expect(outward).toEqual([TO_FIRST, TO_SECOND]);
    },
    MINUTE,
  );

  test(
    'a VRF without multipath uses one tunnel',
    async (ctx) => {
      needed(ctx);
      const found = await nextHops(single.vrf);
      expect(
        found.filter(({ type }) => type === 'tunnel').map(({ destination }) => destination),
      ).toEqual([NODES.first.ipv4]);
      let pages: (Page | undefined)[] = [];
      const used = await lab.tunnels(async () => {
        pages = await lab.fetch(single, PAGES);
      });
      expect(servedBy(pages)).toEqual([web1.name]);
      expect(callers(pages)).toEqual([single.ipv4]);
      expect([...used.keys()].filter((tunnel) => tunnel.includes(`${GATEWAY.ipv4} ->`))).toEqual([
        TO_FIRST,
      ]);
    },
    MINUTE,
  );

  test(
    'a backend that is removed leaves, here and at the router',
    async (ctx) => {
      needed(ctx);
      await lab.removeBackend(web1);
      await learned(1);
      const seen = (await router.routes('vpnv4')).filter(({ key }) => key.endsWith(SERVICE_PREFIX));
      expect(seen.map(({ nextHop }) => nextHop)).toEqual([NODES.second.ipv4]);
      expect(servedBy(await lab.fetch(internet, 16))).toEqual([web2.name]);
      expect(servedBy(await lab.fetch(single, 8))).toEqual([web2.name]);
    },
    MINUTE,
  );

  test(
    'the router is killed, and its routes are kept',
    async (ctx) => {
      needed(ctx);
      await router.kill();
      const stale = async () => {
        const paths = (await received()).flatMap((route) => route.paths);
        return paths.length === 1 && paths[0]?.stale === 'short' ? true : undefined;
      };
      await lab.lab.until('stale routes at the gateway', stale, PATIENCE_MS);
      const { problems } = await lab.status(GATEWAY.name);
      expect(problems).toEqual([`no BGP session with ${ROUTER.ipv4}`]);
      expect(servedBy(await lab.fetch(internet, 16))).toEqual([web2.name]);
    },
    MINUTE,
  );
});
