/**
 * What is observed of `anycast` in the simulator: sessions as control nodes see them, next hops of clients' nodes, and what
 * becomes of connections when a control node, or all backends of a cluster, are lost. The twin of
 * anycast-netns-observed.ts; judging is not done here.
 */
import type { AnycastStage } from '../sim/anycast.ts';
import {
  type ClusterPlan,
  HUB_NETWORK,
  HUB_PORT,
  POD_NETWORK,
  SERVICE,
  SPOKE_NETWORKS,
} from '../sim/anycast-plan.ts';
import type { SimulatedNode } from '../sim/cluster.ts';
import {
  BATCH,
  HeldConnections,
  type Load,
  loadFrom,
  loadOf,
  PERIOD,
  removedOf,
} from '../sim/connections.ts';
import type { SimulatedControl } from '../sim/control.ts';
import type { Connection } from '../sim/tenant.ts';
import {
  type Attempted,
  type BgpEnd,
  type ClusterLost,
  type ControlLost,
  leadsTo,
  type Way,
  waysOf,
} from './anycast-expectations.ts';
import * as views from './views.ts';

const CONNECTIONS_AROUND_KILL = 2 * BATCH;
const HELD = 200;
const OPENED = 100;
const HELD_TICKS = 50;

export function bgpEnds({ cluster }: AnycastStage): BgpEnd[] {
  return [...cluster.controls.values()].flatMap((control) =>
    control.neighbours().map(({ name, state, families }) => ({
      control: control.name,
      neighbour: name,
      state,
      received: families.reduce((n, family) => n + family.received, 0),
    })),
  );
}

export function serviceTree({ agent, dataplane }: SimulatedNode) {
  const routes = views.routes(dataplane, agent.vrfId(POD_NETWORK) ?? 0, 4);
  const route = routes.find(({ prefix }) => prefix === `${SERVICE.ipv4}/32`);
  return route === undefined ? [] : views.nextHopTree(dataplane, route.nextHop);
}

export function waysOfClients(stage: AnycastStage): { node: string; ways: Way[] }[] {
  const [, , home] = stage.plan.clusters;
  return stage.nodesOf(home).map((node) => ({ node: node.name, ways: waysOf(serviceTree(node)) }));
}

export function load(stage: AnycastStage, count: number, onBatch?: (ended: number) => void): Load {
  const { clients, callers } = stage;
  return loadFrom(clients, { from: callers, to: SERVICE, count, ...(onBatch && { onBatch }) });
}

// --- a control node is killed ------------------------------------------------------------------

export function killControl(stage: AnycastStage, control: SimulatedControl): ControlLost {
  const nodes = [...stage.cluster.nodes.values()];
  const generations = () => nodes.map(({ dataplane }) => dataplane.info().generation);
  const before = generations();
  let doneBefore = 0;
  const done = load(stage, CONNECTIONS_AROUND_KILL, (ended) => {
    if (ended === 0) return;
    doneBefore = ended;
    control.kill();
  });
  const after = generations();
  const byXmpp = nodes.flatMap(({ name, source }) =>
    source
      .view()
      .filter((view) => view.name === control.name)
      .map(({ state }) => ({ who: name, state })),
  );
  const byBgp = bgpEnds(stage)
    .filter(({ neighbour }) => neighbour === control.name)
    .map(({ control: who, state }) => ({ who, state }));
  return {
    control: control.name,
    load: done,
    doneBefore,
    commits: nodes.map(({ name }, i) => ({
      node: name,
      commits: (after[i] ?? 0) - (before[i] ?? 0),
    })),
    noticed: [...byXmpp, ...byBgp],
  };
}

// --- all backends of a cluster die -------------------------------------------------------------

/** Connections are held, all backends of `lost` die at once, connections are opened, and they come back. */
export function loseCluster(
  stage: AnycastStage,
  lost: ClusterPlan,
  survivor: ClusterPlan,
  { afterLoss = () => {} }: { readonly afterLoss?: () => void } = {},
): ClusterLost & { readonly back: Load } {
  const { cluster, clients, callers } = stage;
  const held = new HeldConnections(clients, callers, SERVICE);
  held.open(HELD);
  held.run(HELD_TICKS);
  const servedBy = new Map(held.all.map((c) => [c, c.answers[0]?.backend]));
  const ofCluster = ({ pods }: ClusterPlan, c: Connection) =>
    pods.some(({ name }) => name === servedBy.get(c));
  const start = cluster.nowNs;
  let end: bigint | undefined;
  const look = () => {
    if (end !== undefined) return;
    if (waysOfClients(stage).every(({ ways }) => !leadsTo(ways, lost))) end = cluster.nowNs;
  };
  const backends = lost.pods.filter(({ backend }) => backend);
  held.runThrough(() => {
    for (const pod of backends) cluster.remove(pod.name);
  }, look);
  look();
  afterLoss();
  held.run(2 * PERIOD);
  const removed = removedOf(held.all.filter((c) => ofCluster(lost, c)));
  const opened = loadOf(held.open(OPENED));
  held.run(2 * PERIOD);
  held.runThrough(() => {
    for (const pod of backends) stage.place(pod);
  });
  const back = loadOf(held.open(OPENED));
  held.run(2 * PERIOD);
  const surviving = held.all.filter((c) => ofCluster(survivor, c));
  const open = surviving.filter(({ state }) => state === 'open').length;
  for (const connection of held.all) clients.close(connection);
  cluster.settle();
  return {
    cluster: lost.name,
    survivor: survivor.name,
    withdrawnMs: end === undefined ? undefined : Number(end - start) / 1e6,
    surviving: { ...loadOf(surviving), open },
    removed,
    opened,
    back,
  };
}

// --- hub and spokes ----------------------------------------------------------------------------

/** Each of them connects to each other one. */
export function meetEachOther(stage: AnycastStage): Attempted[] {
  const { cluster, clients } = stage;
  const networks: readonly string[] = [HUB_NETWORK, ...SPOKE_NETWORKS];
  const members = stage.plan.clusters
    .flatMap(({ pods }) => pods)
    .filter(({ vrf }) => networks.includes(vrf))
    .map(({ name }) => cluster.placed(name).tenant);
  return members.flatMap((from) =>
    members
      .filter((to) => to !== from)
      .map((to) => {
        const before = to.segments + to.bad;
        const connection = clients.connect(from, { ipv4: to.ipv4, port: HUB_PORT });
        cluster.settle();
        clients.request(connection);
        cluster.settle();
        clients.close(connection);
        cluster.settle();
        return {
          from: from.name,
          to: to.name,
          reached: connection.answers[0]?.backend === to.name,
          delivered: to.segments + to.bad - before,
        };
      }),
  );
}
