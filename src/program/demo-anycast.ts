/**
 * `vrouter demo anycast`, simulated: the scenario step by step, with a report; within one AS, and again between three.
 * Stage and traffic are sim/'s, sentences and verdict anycast-expectations.ts's; here is only the order of things and
 * what is shown of them. A function of its options: same seed, same report.
 */
import { UsageError } from '../cli/io.ts';
import { AnycastStage } from '../sim/anycast.ts';
import {
  anycastPlan,
  clusterOf,
  HUB_NETWORK,
  HUB_TARGET,
  INGRESS_TARGET,
  PEERINGS,
  type Peering,
  POD_NETWORK,
  SERVICE,
  SPOKE_TARGET,
  topology,
} from '../sim/anycast-plan.ts';
import { ANYCAST_SABOTAGE, type AnycastSabotage } from '../sim/anycast-sabotage.ts';
import type { Load } from '../sim/connections.ts';
import { FabricAudit } from '../sim/fabric-audit.ts';
import {
  addressesOfService,
  byCluster,
  everythingTunnelled,
  federationIsUp,
  hubAndSpokes,
  lostClusterIsLeft,
  lostControlCostsNothing,
  spreadOverClusters,
  unreachableBefore,
  waysAre,
} from './anycast-expectations.ts';
import {
  bgpEnds,
  killControl,
  load,
  loseCluster,
  meetEachOther,
  serviceTree,
  waysOfClients,
} from './anycast-observed.ts';
import {
  countsText,
  everyPacketAccounted,
  loadIsServed,
  tenantsAreContent,
} from './clusterip-expectations.ts';
import { DemoRecorder, type DemoReport, type Expectation } from './demo-report.ts';
import { sabotageOf } from './demo-sabotage.ts';
import { nextHopTable } from './demo-tables.ts';
import * as views from './views.ts';

export const MAX_CONNECTIONS = 20_000;
const MIN_CONNECTIONS = 100;
const BEFORE_PATCH = 20;
/** Of a control node: agents and neighbours have come back to it by then, and believe it. */
const BACK_MS = 60_000;

export interface AnycastOptions {
  readonly seed: bigint;
  readonly connections: number;
  /** Both, one after the other, if it is not said. */
  readonly peering?: Peering | undefined;
  readonly sabotage?: string | undefined;
  /** Takes the report's text as things happen. */
  readonly narrate?: ((text: string) => void) | undefined;
  readonly colour?: boolean | undefined;
}

export const findAnycastSabotage = (name: string): AnycastSabotage =>
  sabotageOf('anycast', ANYCAST_SABOTAGE, name);

export function checkConnections(connections: number, least: number): void {
  if (Number.isInteger(connections) && connections >= least && connections <= MAX_CONNECTIONS) {
    return;
  }
  const range = `${least} to ${MAX_CONNECTIONS}`;
  throw new UsageError(`demo anycast: --connections: ${range}, not ${connections}`);
}

/** Ids of expectations say which round they are of. */
export const ofRound = (peering: Peering, all: readonly Expectation[]): Expectation[] =>
  all.map((each) => ({ ...each, id: `${peering}-${each.id}` }));

export function runAnycast(options: AnycastOptions): DemoReport {
  const { seed, connections, peering, sabotage: fault } = options;
  checkConnections(connections, MIN_CONNECTIONS);
  const sabotage = fault === undefined ? undefined : findAnycastSabotage(fault);
  const peerings = peering === undefined ? PEERINGS : [peering];
  const recorder = new DemoRecorder({
    demo: 'anycast',
    setting: 'simulated',
    options: {
      seed: seed.toString(),
      connections,
      peering: peering ?? PEERINGS.join(', '),
      sabotage: fault ?? null,
    },
    topology: topology(anycastPlan(peerings[0] ?? 'ibgp', 'full')),
    narrate: options.narrate,
    colour: options.colour,
  });
  for (const each of peerings) {
    const round = new Round(recorder, each, options, sabotage);
    try {
      round.run();
    } finally {
      round.close();
    }
  }
  return recorder.finish();
}

class Round {
  readonly #recorder: DemoRecorder;
  readonly #peering: Peering;
  readonly #connections: number;
  readonly #sabotage: AnycastSabotage | undefined;
  readonly #stage: AnycastStage;
  readonly #audit = new FabricAudit();
  /** Of pods that go: what they could not use, who called them. */
  readonly #bad = new Map<string, number>();
  readonly #callers = new Set<string>();

  constructor(
    recorder: DemoRecorder,
    peering: Peering,
    { seed, connections }: AnycastOptions,
    sabotage: AnycastSabotage | undefined,
  ) {
    this.#recorder = recorder;
    this.#peering = peering;
    this.#connections = connections;
    this.#sabotage = sabotage;
    this.#stage = new AnycastStage(seed, peering);
    this.#stage.cluster.tap((seen) => this.#audit.see(seen));
  }

  run(): void {
    this.#start();
    this.#patch();
    this.#spread();
    this.#controlNodes();
    this.#clusterLost();
    this.#hubAndSpokes();
    this.#wires();
  }

  close(): void {
    this.#stage.close();
  }

  #step(title: string): void {
    this.#recorder.step(`${this.#peering}: ${title}`);
  }

  #expect(...all: readonly Expectation[]): void {
    this.#recorder.expect(...ofRound(this.#peering, all));
  }

  // --- steps -----------------------------------------------------------------------------------

  #start(): void {
    const stage = this.#stage;
    const { plan, cluster } = stage;
    const between = plan.clusters.map(({ name, as }) => `${name} AS ${as}`).join(', ');
    this.#step(`three clusters: ${between}`);
    const ends = bgpEnds(stage);
    for (const { name } of cluster.controls.values()) {
      const own = ends.filter(({ control }) => control === name);
      const up = own.filter(({ state }) => state === 'established').length;
      const heard = own.reduce((n, { received }) => n + received, 0);
      this.#recorder.say(`${name}: ${up} BGP sessions, ${heard} routes heard`);
    }
    const before = load(stage, BEFORE_PATCH);
    this.#recorder.say(
      `${BEFORE_PATCH} connections to ${SERVICE.ipv4}:${SERVICE.port}: ${before.answers} answers`,
    );
    this.#expect(
      federationIsUp(ends, plan),
      waysAre('before', plan, [], waysOfClients(stage)),
      unreachableBefore(before),
    );
  }

  #patch(): void {
    const stage = this.#stage;
    const { plan, cluster } = stage;
    const [one, two, three] = plan.clusters;
    this.#step(`${POD_NETWORK} of ${three.name} gets ${INGRESS_TARGET} while it runs`);
    if (this.#sabotage !== undefined) this.#recorder.say(`SABOTAGE: ${this.#sabotage.what}`);
    if (this.#sabotage?.withoutPatch !== true) stage.patch();
    cluster.settle();
    this.#sabotage?.atStart?.(stage);
    this.#expect(waysAre('patched', plan, [one.name, two.name], waysOfClients(stage)));
    for (const node of stage.nodesOf(three)) {
      const tree = serviceTree(node);
      if (tree.length > 0) this.#recorder.table(nextHopTable(node.name, tree));
    }
  }

  #spread(): void {
    const { plan } = this.#stage;
    const [one, two] = plan.clusters;
    this.#step(`${this.#connections} connections: request, pause, request, end`);
    const done = load(this.#stage, this.#connections);
    this.#sayLoad(done);
    this.#expect(spreadOverClusters(done, plan, [one.name, two.name]), ...loadIsServed(done));
  }

  #controlNodes(): void {
    const stage = this.#stage;
    const pairs = stage.plan.clusters.filter(({ controls }) => controls.length > 1);
    for (const { name, controls } of pairs) {
      const [first] = controls;
      if (first === undefined) continue;
      const control = stage.cluster.control(first.name);
      this.#step(
        `connections, and ${control.name}, one of the two of ${name}, is killed meanwhile`,
      );
      const seen = killControl(stage, control);
      this.#recorder.say(
        `killed after ${seen.doneBefore} connections; ${seen.load.closed} of ${seen.load.connections} served`,
      );
      this.#expect(lostControlCostsNothing(seen));
      control.start();
      stage.cluster.advance(BACK_MS);
      const up = bgpEnds(stage).filter((end) => end.control === control.name);
      const established = up.filter(({ state }) => state === 'established').length;
      this.#recorder.say(
        `${BACK_MS / 1000} s later it is back: ${established} of ${up.length} BGP sessions`,
      );
    }
    this.#expect({ ...federationIsUp(bgpEnds(stage), stage.plan), id: 'bgp-again' });
  }

  #clusterLost(): void {
    const stage = this.#stage;
    const { plan } = stage;
    const [one, two] = plan.clusters;
    this.#step(`all backends of ${one.name} die under load, and come back`);
    this.#noteTenants();
    this.#sabotage?.beforeLoss?.(stage);
    const seen = loseCluster(stage, one, two, {
      afterLoss: () => this.#sabotage?.afterLoss?.(stage),
    });
    const { withdrawnMs, opened, back, removed, surviving } = seen;
    this.#recorder.say(
      withdrawnMs === undefined
        ? 'the next hop of the last client did not change'
        : `${withdrawnMs.toFixed(3)} ms of the simulation to the next hop of the last client`,
    );
    this.#recorder.say(
      `${surviving.connections} connections to ${two.name}, ${removed.connections} to ${one.name} were open`,
    );
    const went = (some: Load) => countsText(byCluster(plan, some.perBackend));
    this.#recorder.say(`new connections: ${went(opened)}; with ${one.name} back: ${went(back)}`);
    this.#expect(...lostClusterIsLeft(seen, plan), {
      ...spreadOverClusters(back, plan, [one.name, two.name]),
      id: 'spread-again',
    });
  }

  #hubAndSpokes(): void {
    const { plan } = this.#stage;
    this.#step(`hub and spokes: ${HUB_NETWORK} exports ${HUB_TARGET}, spokes ${SPOKE_TARGET}`);
    const attempted = meetEachOther(this.#stage);
    for (const { from, to, reached, delivered } of attempted) {
      const where = `${from} (${clusterOf(plan, from)}) -> ${to} (${clusterOf(plan, to)})`;
      this.#recorder.say(
        `${where.padEnd(46)}${reached ? 'reached' : 'not reached'}, ${delivered} packets delivered`,
      );
    }
    this.#expect(...hubAndSpokes('hub', attempted));
  }

  #wires(): void {
    const stage = this.#stage;
    const { plan, cluster, callers } = stage;
    this.#step('the wires, and where every packet went');
    this.#noteTenants();
    this.#recorder.say(`${this.#audit.frames} frames crossed the fabric`);
    for (const [direction, n] of [...this.#audit.directions].sort()) {
      this.#recorder.say(`${direction}  ${n}`);
    }
    const [backend] = plan.clusters[0].pods;
    const mss = cluster.placed(backend?.name ?? '').tenant.peerMss;
    const heard = new Set(callers.flatMap((client) => [...client.heard]));
    const ownAddresses = callers.map(({ ipv4 }) => ipv4);
    this.#expect(
      addressesOfService(heard, this.#callers, ownAddresses),
      everythingTunnelled(this.#audit, plan),
      ...tenantsAreContent(this.#bad, mss),
    );
    for (const node of cluster.nodes.values()) {
      const totals = views.totals(node.dataplane);
      const dropped = views.drops(node.dataplane).filter(({ packets }) => packets !== 0);
      this.#expect(
        everyPacketAccounted({ node: node.name, entered: node.entered, totals, dropped }),
      );
    }
  }

  #sayLoad(done: Load): void {
    for (const [name, n] of done.perBackend) {
      const cluster = clusterOf(this.#stage.plan, name);
      this.#recorder.say(`${name} of ${cluster} served ${n} connections`);
    }
    this.#recorder.say(
      `${done.answers} answers to ${done.requests} requests, ${done.closed} closed`,
    );
  }

  /** What pods counted, before some of them go. */
  #noteTenants(): void {
    const backends = this.#stage.plan.clusters.flatMap(({ pods }) => pods.filter((p) => p.backend));
    for (const { tenant } of this.#stage.cluster.tenants.values()) {
      this.#bad.set(tenant.name, Math.max(this.#bad.get(tenant.name) ?? 0, tenant.bad));
      if (!backends.some(({ name }) => name === tenant.name)) continue;
      for (const caller of tenant.callers) this.#callers.add(caller);
    }
  }
}
