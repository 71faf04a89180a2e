/**
 * What must be seen of `anycast`: from observations to expectations with a verdict each. Pure, and from plain values and
 * views only, so that a run on real kernels is judged by the same sentences.
 */
import type { NextHopView } from '../cli/views.ts';
import {
  type AnycastPlan,
  type ClusterPlan,
  clusterOf,
  FLOOR_MS,
  INGRESS_NETWORK,
  INGRESS_TARGET,
  POD_NETWORK,
  SERVICE,
} from '../sim/anycast-plan.ts';
import type { Load, Removed } from '../sim/connections.ts';
import type { FabricAudit } from '../sim/fabric-audit.ts';
import { countsText, tolerance } from './clusterip-expectations.ts';
import type { Expectation } from './demo-report.ts';

const PREFIX = `${SERVICE.ipv4}/32`;

// --- sessions ----------------------------------------------------------------------------------

/** One end of a BGP session. */
export interface BgpEnd {
  readonly control: string;
  readonly neighbour: string;
  readonly state: string;
  /** Routes that the neighbour has said, of all families. */
  readonly received: number;
}

export function federationIsUp(ends: readonly BgpEnd[], { clusters }: AnycastPlan): Expectation {
  const controls = clusters.reduce((n, cluster) => n + cluster.controls.length, 0);
  const wanted = controls * (controls - 1);
  const up = ends.filter(({ state }) => state === 'established');
  const others = ends.filter(({ state }) => state !== 'established');
  return {
    id: 'bgp',
    expected: `each of ${controls} control nodes has a BGP session with each other one: ${wanted} ends`,
    observed:
      `${up.length} established` +
      others.map((end) => `; ${end.control} - ${end.neighbour}: ${end.state}`).join(''),
    ok: up.length === wanted && others.length === 0,
  };
}

// --- the next hop ------------------------------------------------------------------------------

/** A way to the service: the node that it leads to. */
export interface Way {
  readonly encap: string;
  readonly destination: string;
  readonly label: number | null;
}

/** Of a route's next hop, as `nh --get` gives it; empty: no route, or none that leaves the node. */
export function waysOf(tree: readonly NextHopView[]): Way[] {
  const [top] = tree;
  const slots = top?.type === 'tunnel' ? [{ nextHop: top.id, label: null }] : (top?.slots ?? []);
  return slots.flatMap((slot) => {
    const nextHop = tree.find(({ id }) => id === slot?.nextHop);
    if (slot === null || nextHop?.type !== 'tunnel') return [];
    const encap = nextHop.flags.find((flag) => flag !== 'Valid') ?? 'tunnel';
    return [{ encap, destination: nextHop.destination ?? '', label: slot.label }];
  });
}

export const leadsTo = (ways: readonly Way[], { nodes }: ClusterPlan): boolean =>
  ways.some(({ destination }) => nodes.some(({ ipv4 }) => ipv4 === destination));

const wayText = ({ encap, destination, label }: Way) =>
  `${encap} to ${destination}${label === null ? '' : ` label ${label}`}`;

/** Nodes that stand for the service, by cluster: one way each. */
function servingNodes({ clusters }: AnycastPlan, among: readonly string[]): string[] {
  return clusters
    .filter(({ name }) => among.includes(name))
    .flatMap(({ nodes, pods }) =>
      nodes.filter(({ name }) => pods.some((pod) => pod.backend && pod.node === name)),
    )
    .map(({ ipv4 }) => ipv4)
    .sort();
}

export function waysAre(
  when: string,
  plan: AnycastPlan,
  among: readonly string[],
  seen: readonly { readonly node: string; readonly ways: readonly Way[] }[],
): Expectation {
  const wanted = servingNodes(plan, among);
  const right = (ways: readonly Way[]) =>
    [...ways.map(({ destination }) => destination)].sort().join() === wanted.join() &&
    ways.every(({ encap }) => encap === 'MPLSoUDP');
  return {
    id: `ways-${when}`,
    expected:
      wanted.length === 0
        ? `no client's node has a way to ${PREFIX}`
        : `every client's node reaches ${PREFIX} by MPLSoUDP to ${wanted.join(', ')}`,
    observed: seen
      .map(({ node, ways }) => `${node}: ${ways.map(wayText).join(', ') || 'no route'}`)
      .join('; '),
    ok: seen.length > 0 && seen.every(({ ways }) => right(ways)),
  };
}

export function unreachableBefore(load: Load): Expectation {
  return {
    id: 'before-patch',
    expected: `before ${POD_NETWORK} of cluster 3 has target ${INGRESS_TARGET}, its pods do not reach ${SERVICE.ipv4}`,
    observed: `${load.answers} answers to ${load.connections} connections`,
    ok: load.connections > 0 && load.answers === 0,
  };
}

// --- many connections --------------------------------------------------------------------------

export function byCluster(
  plan: AnycastPlan,
  perBackend: ReadonlyMap<string, number>,
): Map<string, number> {
  const counts = new Map<string, number>();
  for (const [backend, n] of perBackend) {
    const cluster = clusterOf(plan, backend) ?? 'nobody knows';
    counts.set(cluster, (counts.get(cluster) ?? 0) + n);
  }
  return counts;
}

const backendsOf = ({ clusters }: AnycastPlan, among: readonly string[]) =>
  clusters
    .filter(({ name }) => among.includes(name))
    .flatMap(({ pods }) => pods.filter(({ backend }) => backend).map(({ name }) => name));

export function spreadOverClusters(
  load: Load,
  plan: AnycastPlan,
  among: readonly string[],
): Expectation {
  const points = tolerance(load.connections);
  const [low, high] = [50 - points, 50 + points];
  const counts = byCluster(plan, load.perBackend);
  const percent = (n: number) => (100 * n) / Math.max(1, load.connections);
  const backends = backendsOf(plan, among);
  const shares = [...counts].map(([name, n]) => `${name} ${percent(n).toFixed(1)} %`);
  return {
    id: 'spread',
    expected:
      `each of ${among.join(' and ')} gets ${low.toFixed(0)} to ${high.toFixed(0)} % of ${load.connections} new ` +
      `connections, and all ${backends.length} backends have some`,
    observed: `${shares.join(', ') || 'no answer'} (${countsText(load.perBackend)})`,
    ok:
      counts.size === among.length &&
      among.every((name) => {
        const share = percent(counts.get(name) ?? 0);
        return share >= low && share <= high;
      }) &&
      load.perBackend.size === backends.length &&
      backends.every((name) => (load.perBackend.get(name) ?? 0) > 0),
  };
}

// --- a control node is killed ------------------------------------------------------------------

export interface ControlLost {
  readonly control: string;
  readonly load: Pick<Load, 'connections' | 'closed' | 'changed'>;
  /** Connections that had ended when it was killed. */
  readonly doneBefore: number;
  /** Of all nodes: changes of tables meanwhile. */
  readonly commits: readonly { readonly node: string; readonly commits: number }[];
  /** Who has seen that it is gone: its nodes by XMPP, other control nodes by BGP. */
  readonly noticed: readonly { readonly who: string; readonly state: string }[];
}

export function lostControlCostsNothing(seen: ControlLost): Expectation {
  const { control, load, doneBefore, commits, noticed } = seen;
  const changed = commits.filter((each) => each.commits !== 0);
  const unaware = noticed.filter(({ state }) => state === 'established');
  return {
    id: `killed-${control}`,
    expected: `${control}, one of a pair, is killed with -9 under load: no connection fails or moves, no table changes on any node`,
    observed:
      `${load.closed} of ${load.connections} served, ${doneBefore} of them before it, ${load.changed} moved; ` +
      `${changed.map((each) => `${each.node}: ${each.commits} commits`).join(', ') || 'no commits'}; ` +
      `${noticed.length - unaware.length} of ${noticed.length} sessions with it are over`,
    ok:
      doneBefore > 0 &&
      doneBefore < load.connections &&
      load.closed === load.connections &&
      load.changed === 0 &&
      commits.length > 0 &&
      changed.length === 0 &&
      noticed.length > 0 &&
      unaware.length === 0,
  };
}

// --- all backends of a cluster die -------------------------------------------------------------

export interface ClusterLost {
  readonly cluster: string;
  readonly survivor: string;
  /** From the moment its backends were gone to the last client's next hop; undefined: it did not change. */
  readonly withdrawnMs: number | undefined;
  /** Connections that the survivor's backends had answered before. */
  readonly surviving: Load & { readonly open: number };
  readonly removed: Removed;
  /** New ones, after the last next hop had changed. */
  readonly opened: Load;
}

export function lostClusterIsLeft(seen: ClusterLost, plan: AnycastPlan): Expectation[] {
  const { cluster, survivor, withdrawnMs, surviving, removed, opened } = seen;
  const counts = byCluster(plan, opened.perBackend);
  return [
    {
      id: 'withdrawn',
      expected: `all backends of ${cluster} die: the last client's next hop has left it in under ${FLOOR_MS} ms`,
      observed: withdrawnMs === undefined ? 'it has not' : `${withdrawnMs.toFixed(3)} ms`,
      ok: withdrawnMs !== undefined && withdrawnMs < FLOOR_MS,
    },
    {
      id: 'moved-on',
      expected: `every new connection goes to ${survivor}`,
      observed: `${opened.connections} connections: ${countsText(counts)}`,
      ok:
        opened.connections > 0 && counts.size === 1 && counts.get(survivor) === opened.connections,
    },
    {
      id: 'survivors',
      expected: `no packet of an established connection to ${survivor} is lost or moved`,
      observed:
        `${surviving.connections} connections, ${surviving.requests} requests, ${surviving.answers} answers, ` +
        `${surviving.changed} changed backend, ${surviving.open} open`,
      ok:
        surviving.connections > 0 &&
        surviving.answers === surviving.requests &&
        surviving.changed === 0 &&
        surviving.open === surviving.connections,
    },
    {
      id: 'removed',
      expected: `connections to ${cluster} end, and no other backend answers in their place`,
      observed:
        `${removed.connections} connections: ${removed.reset} reset, ${removed.silent} unanswered, ` +
        `${removed.alive} still served, ${removed.changed} answered by another backend`,
      ok:
        removed.connections > 0 &&
        removed.reset + removed.silent === removed.connections &&
        removed.changed === 0,
    },
  ];
}

// --- hub and spokes ----------------------------------------------------------------------------

export interface Attempted {
  readonly from: string;
  readonly to: string;
  readonly reached: boolean;
  /** Packets that came to it, answered or not. */
  readonly delivered: number;
}

export function hubAndSpokes(hub: string, all: readonly Attempted[]): Expectation[] {
  const way = ({ from, to }: Attempted) => `${from} -> ${to}`;
  const listed = (some: readonly Attempted[]) => some.map(way).join(', ') || 'none';
  const withHub = all.filter(({ from, to }) => from === hub || to === hub);
  const between = all.filter((each) => !withHub.includes(each));
  const failed = withHub.filter(({ reached }) => !reached);
  const leaked = between.filter(({ reached, delivered }) => reached || delivered > 0);
  return [
    {
      id: 'hub',
      expected: 'every spoke reaches the hub, and the hub every spoke',
      observed: `${withHub.length - failed.length} of ${withHub.length} ways; not: ${listed(failed)}`,
      ok: withHub.length > 0 && failed.length === 0,
    },
    {
      id: 'spokes',
      expected: 'no spoke reaches another one, in its cluster or in another: nothing is delivered',
      observed: `${between.length} ways tried; open: ${listed(leaked)}`,
      ok: between.length > 0 && leaked.length === 0,
    },
  ];
}

// --- the wires ---------------------------------------------------------------------------------

/** `beside`: what else may be there. */
export function everythingTunnelled(
  audit: Pick<FabricAudit, 'frames' | 'malformed' | 'faults' | 'directions'>,
  plan: AnycastPlan,
  beside = '',
): Expectation {
  const ends = plan.clusters.flatMap(({ nodes }) => nodes.map(({ ipv4 }) => ipv4));
  const strange = [...audit.directions.keys()].filter(
    (direction) => !direction.split(' -> ').every((end) => ends.includes(end)),
  );
  return {
    id: 'fabric',
    expected: `everything on the fabric${beside} is MPLS over UDP from node to node, across clusters without a hop between; nothing malformed`,
    observed:
      `${audit.frames} frames in ${audit.directions.size} directions, ${audit.malformed} malformed` +
      (audit.faults.size > 0 ? ` (${[...audit.faults].join(', ')})` : '') +
      (strange.length > 0 ? `; not nodes: ${strange.join(', ')}` : ''),
    ok: audit.frames > 0 && audit.malformed === 0 && strange.length === 0,
  };
}

export function addressesOfService(
  heard: ReadonlySet<string>,
  callers: ReadonlySet<string>,
  clients: readonly string[],
): Expectation {
  const own = `${SERVICE.ipv4}:${SERVICE.port}`;
  return {
    id: 'addresses',
    expected: `clients hear from ${own} of ${INGRESS_NETWORK} only; backends see the clients' own addresses`,
    observed: `heard from ${[...heard].sort().join(', ') || 'nobody'}; called by ${[...callers].sort().join(', ') || 'nobody'}`,
    ok:
      heard.size === 1 &&
      heard.has(own) &&
      callers.size === clients.length &&
      clients.every((client) => callers.has(client)),
  };
}
