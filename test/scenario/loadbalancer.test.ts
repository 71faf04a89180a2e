/**
 * A service with an external IP behind a gateway that has its routes by BGP, in the simulator: real agents, data planes,
 * sessions and tunnels on the virtual clock. What is expected is read off wires, tenants and tables.
 */
import { afterEach, describe, expect, test } from 'vitest';
import { LOADBALANCER_SABOTAGE, runLoadbalancer } from '../../src/program/demo-loadbalancer.ts';
import { reportJson } from '../../src/program/demo-report.ts';
import {
  type LoadbalancerOptions,
  LoadbalancerStage,
  tunnelsUsed,
} from '../../src/sim/loadbalancer.ts';
import {
  BACKENDS,
  CONTROL,
  EXTERNAL_TARGET,
  GATEWAY,
  INTERNET,
  INTERNET_HOST,
  NODES,
  SERVICE,
  SERVICE_PREFIX,
  UPSTREAM,
} from '../../src/sim/loadbalancer-plan.ts';
import type { Connection } from '../../src/sim/tenant.ts';

const [web1, web2] = BACKENDS;
const TO_FIRST = `${GATEWAY.ipv4} -> ${NODES.first.ipv4}`;
const TO_SECOND = `${GATEWAY.ipv4} -> ${NODES.second.ipv4}`;
const KEPT_SECONDS = 120;
const GRE = ['gre', 'udp'] as const;

const stages: LoadbalancerStage[] = [];
afterEach(() => {
  for (const stage of stages.splice(0)) stage.cluster.close();
});

function running(
  options: Partial<LoadbalancerOptions> = {},
  backends = BACKENDS as readonly (typeof web1)[],
) {
  const stage = new LoadbalancerStage({ seed: 1n, encaps: { gateway: GRE }, ...options });
  stages.push(stage);
  for (const pod of backends) stage.addBackend(pod);
  stage.meet();
  return stage;
}

const gatewayOf = (stage: LoadbalancerStage) => stage.cluster.node(GATEWAY.name);
const key = { instance: INTERNET, family: 'inet', prefix: SERVICE_PREFIX } as const;
const hopsAt = (stage: LoadbalancerStage) =>
  gatewayOf(stage)
    .agent.paths(key)
    .flatMap(({ route }) => route.hops);
/** Outward bound, by tunnel. */
const outward = (stage: LoadbalancerStage, run: () => void) =>
  [...tunnelsUsed(stage.cluster, run)].filter(([tunnel]) => tunnel.includes(`${GATEWAY.ipv4} ->`));
const servedBy = (all: readonly Connection[]) => all.map(({ answers }) => answers.at(-1)?.backend);
const counted = (names: readonly (string | undefined)[]) =>
  Object.fromEntries(
    [...new Set(names)].sort().map((n) => [n, names.filter((m) => m === n).length]),
  );

function noneLost(stage: LoadbalancerStage): void {
  for (const { name, dataplane } of stage.cluster.nodes.values()) {
    const drops = [...dataplane.readCounters().drops].filter(([, n]) => n > 0n);
    expect(drops, name).toEqual([]);
  }
  for (const { tenant } of stage.cluster.tenants.values()) {
    expect([tenant.bad, tenant.resets], tenant.name).toEqual([0, 0]);
  }
}

describe('the external IP at the gateway', () => {
  test('is learned with the compute nodes as next hops, their labels, target and encapsulations', () => {
    const stage = running();
    const { speaker } = gatewayOf(stage).gateway ?? {};
    const routes = [...(speaker?.rib.routes('vpnv4') ?? [])].filter(({ key: of }) =>
      of.endsWith(SERVICE_PREFIX),
    );
    const said = routes.map(({ key: of, paths: [path] }) => ({
      route: of,
      nextHop: path?.nextHop.address,
      label: (path?.nlri as { label: number } | undefined)?.label,
      from: path?.from,
      communities: (path?.attributes.extendedCommunities ?? []).flatMap<string | number>((each) =>
        each.kind === 'route-target'
          ? [each.target]
          : each.kind === 'encapsulation'
            ? [each.tunnel]
            : [],
      ),
    }));
    const labelOf = (node: string) =>
      stage.cluster
        .node(node)
        .agent.published()
        .find(({ prefix }) => prefix === SERVICE_PREFIX)?.hops[0]?.label;
    const expected = (node: { readonly name: string; readonly ipv4: string }) => ({
      route: expect.stringMatching(`^${node.ipv4}:\\d+ ${SERVICE_PREFIX}$`),
      ...{ nextHop: node.ipv4, label: labelOf(node.name), from: CONTROL.ipv4 },
      communities: [EXTERNAL_TARGET, 13, 2, 11],
    });
    expect(said).toEqual([expected(NODES.first), expected(NODES.second)]);
  });

  test('and the default route is at the compute nodes, with the gateway as next hop', () => {
    const stage = running();
    const { exchange } = stage.cluster.control(CONTROL.name);
    const route = exchange.routes('vn-ns-default').find(({ prefix }) => prefix === UPSTREAM.prefix);
    expect(route).toMatchObject({
      hops: [{ address: GATEWAY.ipv4, encaps: ['gre', 'udp'] }],
      routeTargets: [EXTERNAL_TARGET],
    });
  });
});

describe('the Internet host', () => {
  test('is served over both tunnels; its address reaches the pods, the service answers', () => {
    const stage = running();
    let all: Connection[] = [];
    const used = outward(stage, () => {
      all = stage.open(200);
      stage.close(all);
    });
    expect(used.map(([tunnel]) => tunnel)).toEqual([`gre ${TO_FIRST}`, `gre ${TO_SECOND}`]);
    const spread = counted(servedBy(all));
    for (const { name } of BACKENDS) expect(spread[name]).toBeGreaterThan(60);
    expect(all.every(({ state }) => state === 'closed')).toBe(true);
    for (const { name } of BACKENDS)
      expect([...stage.cluster.placed(name).tenant.callers]).toEqual([INTERNET_HOST.ipv4]);
    expect([...stage.internet.heard]).toEqual([`${SERVICE.ipv4}:${SERVICE.port}`]);
    noneLost(stage);
  });

  test('is served over one tunnel only where there is no multipath, always the same', () => {
    for (const seed of [1n, 2n]) {
      const stage = running({ seed, maximumPaths: 1 });
      let all: Connection[] = [];
      const used = outward(stage, () => {
        all = stage.open(100);
      });
      expect(used.map(([tunnel]) => tunnel)).toEqual([`gre ${TO_FIRST}`]);
      expect(counted(servedBy(all))).toEqual({ 'web-1': 100 });
      // The one that is left takes its place.
      stage.removeBackend(web1);
      stage.cluster.settle();
      expect(counted(servedBy(stage.open(20)))).toEqual({ 'web-2': 20 });
    }
  });

  test('is served by both where one takes GRE only, and the other UDP only', () => {
    const stage = running({ encaps: { gateway: GRE, first: ['gre'], second: ['udp'] } });
    let all: Connection[] = [];
    const used = outward(stage, () => {
      all = stage.open(100);
    });
    expect(used.map(([tunnel]) => tunnel)).toEqual([`gre ${TO_FIRST}`, `udp ${TO_SECOND}`]);
    expect(Object.keys(counted(servedBy(all)))).toEqual(['web-1', 'web-2']);
    noneLost(stage);
  });

  test('is reached by the gateway in the encapsulation that the gateway prefers', () => {
    const stage = running({ encaps: { gateway: ['udp', 'gre'] } });
    const used = outward(stage, () => stage.open(50));
    expect(used.map(([tunnel]) => tunnel)).toEqual([`udp ${TO_FIRST}`, `udp ${TO_SECOND}`]);
  });
});

describe('backends come and go', () => {
  test('a second one takes new connections, and none of the open ones', () => {
    const stage = running({}, [web1]);
    const before = stage.open(100);
    stage.addBackend(web2);
    stage.cluster.settle();
    expect(hopsAt(stage)).toHaveLength(2);
    for (let i = 0; i < 3; i++) stage.ask(before);
    expect(counted(servedBy(before))).toEqual({ 'web-1': 100 });
    expect(before.every(({ answers, requests }) => answers.length === requests)).toBe(true);
    expect(Object.keys(counted(servedBy(stage.open(50))))).toEqual(['web-1', 'web-2']);
    noneLost(stage);
  });

  test('one that is removed leaves with its route; connections of the other stay', () => {
    const stage = running();
    const open = stage.open(100);
    const kept = open.filter(({ answers }) => answers[0]?.backend === web1.name);
    expect(kept.length).toBeGreaterThan(20);
    stage.removeBackend(web2);
    stage.cluster.settle();
    expect(hopsAt(stage).map(({ address }) => address)).toEqual([NODES.first.ipv4]);
    for (let i = 0; i < 3; i++) stage.ask(kept);
    expect(kept.every(({ answers }) => answers.length === 4)).toBe(true);
    expect(counted(servedBy(kept))).toEqual({ [web1.name]: kept.length });
    const used = outward(stage, () => stage.open(50));
    expect(used.map(([tunnel]) => tunnel)).toEqual([`gre ${TO_FIRST}`]);
    stage.removeBackend(web1);
    stage.cluster.settle();
    expect(hopsAt(stage)).toEqual([]);
  });
});

describe('the session with the control node is lost', () => {
  const session = { graceful_restart_seconds: KEPT_SECONDS };
  const control = (stage: LoadbalancerStage) => stage.cluster.control(CONTROL.name);
  const staleAt = (stage: LoadbalancerStage) => {
    const { speaker } = gatewayOf(stage).gateway ?? {};
    return [...(speaker?.rib.routes('vpnv4') ?? [])]
      .flatMap(({ paths }) => paths)
      .filter(({ from }) => from !== undefined)
      .map(({ stale }) => stale);
  };

  test('with graceful restart its routes stay, and every connection; back again, nothing has changed', () => {
    const stage = running({ session });
    const { bgp } = stage.cluster;
    const open = stage.open(50);
    const { generation } = gatewayOf(stage).dataplane.info();
    bgp.mayConnect = () => false;
    for (const { bytes } of bgp.connections) bytes.cut();
    stage.cluster.advance(30_000);
    expect(staleAt(stage)).toEqual(['short', 'short']);
    stage.ask(open);
    expect(open.every(({ answers }) => answers.length === 2)).toBe(true);
    expect(Object.keys(counted(servedBy(stage.open(50))))).toEqual(['web-1', 'web-2']);
    bgp.mayConnect = () => true;
    stage.cluster.advance(60_000);
    expect(staleAt(stage)).toEqual([undefined, undefined]);
    stage.ask(open);
    expect(open.every(({ answers }) => answers.length === 3)).toBe(true);
    expect(gatewayOf(stage).dataplane.info().generation, 'no commit').toBe(generation);
    noneLost(stage);
  });

  test('with graceful restart a control node that is killed is not missed', () => {
    const stage = running({ session });
    control(stage).kill();
    stage.cluster.advance(5000);
    expect(staleAt(stage)).toEqual(['short', 'short']);
    expect(Object.keys(counted(servedBy(stage.open(50))))).toEqual(['web-1', 'web-2']);
    control(stage).start();
    stage.cluster.advance(60_000);
    expect(staleAt(stage)).toEqual([undefined, undefined]);
    expect(Object.keys(counted(servedBy(stage.open(50))))).toEqual(['web-1', 'web-2']);
  });

  test('for longer than it may be, they go', () => {
    const stage = running({ session });
    control(stage).kill();
    stage.cluster.advance((KEPT_SECONDS - 5) * 1000);
    expect(hopsAt(stage)).toHaveLength(2);
    stage.cluster.advance(10_000);
    expect(hopsAt(stage)).toEqual([]);
  });

  test('without graceful restart they go at once', () => {
    const stage = running();
    control(stage).kill();
    stage.cluster.advance(1000);
    expect(hopsAt(stage)).toEqual([]);
    expect(servedBy(stage.open(3))).toEqual([undefined, undefined, undefined]);
  });
});

describe('vrouter demo loadbalancer', () => {
  const report = (seed: bigint, sabotage?: string) =>
    runLoadbalancer({ seed, connections: 100, sabotage });

  test('is as expected in everything, and the same for the same seed', () => {
    const first = report(1n);
    expect(first.failed).toEqual([]);
    expect(first.ok).toBe(true);
    expect(first.expectations.map(({ id }) => id)).toEqual([
      ...['bgp-routes', 'tunnels', 'both-tunnels', 'served', 'caller', 'answers', 'stale'],
      ...['not-missed', 'back', 'withdrawn', 'survivors', 'tunnel-left', 'served-on'],
      ...['accounted-cent222', 'accounted-cent333', 'accounted-gateway'],
      ...['one-tunnel', 'one-served'],
    ]);
    expect(reportJson(report(1n))).toBe(reportJson(first));
    expect(report(7n).failed).toEqual([]);
  });

  test.each([
    ['no-target', ['bgp-routes', 'tunnels', 'served', 'one-served']],
    ['one-path', ['tunnels', 'both-tunnels', 'served']],
    ['no-grace', ['stale', 'not-missed']],
    ['other-tunnel', ['tunnels', 'both-tunnels', 'one-tunnel']],
  ])('turns with %s', (name, failed) => {
    const found = report(1n, name);
    expect(found.ok).toBe(false);
    expect(found.failed).toEqual(expect.arrayContaining(failed));
  });

  test('each sabotage is tried above; others are refused', () => {
    expect(Object.keys(LOADBALANCER_SABOTAGE)).toHaveLength(4);
    expect(() => report(1n, 'no-targt')).toThrow(/did you mean "no-target"/);
  });
});
