/**
 * `vrouter demo anycast --netns`: the scenario with real processes, network namespaces, kernels, BGP on port 179 and TCP
 * connections, judged by the same sentences as the simulated one and by tshark. Needs root.
 *
 * Invariants
 *  * All it makes is gone when it returns, throws, or is interrupted (lab.ts).
 *  * The verdict comes from what was observed: the clients, the nodes' and control nodes' own views over their sockets,
 *    the kernels' counters, a capture of the fabric.
 */
import { readFileSync } from 'node:fs';
import { UsageError } from '../cli/io.ts';
import { readPcap } from '../codec/pcap.ts';
import {
  type AnycastPlan,
  anycastPlan,
  clusterOf,
  HUB_NETWORK,
  HUB_TARGET,
  INGRESS_TARGET,
  PATCHED,
  PEERINGS,
  type Peering,
  POD_NETWORK,
  SERVICE,
  SPOKE_TARGET,
  topology,
} from '../sim/anycast-plan.ts';
import {
  addressesOfService,
  byCluster,
  type ClusterLost,
  everythingTunnelled,
  federationIsUp,
  hubAndSpokes,
  lostClusterIsLeft,
  lostControlCostsNothing,
  spreadOverClusters,
  unreachableBefore,
  waysAre,
} from './anycast-expectations.ts';
import { stagedPod, stagePlan } from './anycast-netns.ts';
import { federationOnTheWire, tsharkKnows } from './anycast-netns-expectations.ts';
import {
  bgpEndsUp,
  type Kernels,
  killControl,
  load,
  loseCluster,
  meetEachOther,
  serviceTree,
  waysOfClients,
  waysWhen,
} from './anycast-netns-observed.ts';
import { withdrawalOf } from './anycast-withdrawal.ts';
import { fabricCarriedSessions } from './clusterip-control-expectations.ts';
import { countsText, loadIsServed } from './clusterip-expectations.ts';
import { accountsOf, auditOf } from './clusterip-netns-observed.ts';
import {
  type AnycastOptions,
  checkConnections,
  findAnycastSabotage,
  ofRound,
} from './demo-anycast.ts';
import { DemoRecorder, type DemoReport, type Expectation } from './demo-report.ts';
import { nextHopTable } from './demo-tables.ts';
import type { Lab } from './lab.ts';
import { inLab, thisProgram } from './netns-needs.ts';
import { NetnsStage } from './netns-stage.ts';
import type { TcpLoad } from './netns-tcp.ts';
import { askTshark } from './tshark.ts';

export interface AnycastNetnsOptions extends AnycastOptions {
  /** Command line of this program, which is started again for each process. */
  readonly program?: readonly string[] | undefined;
}

/** With fewer, chance may leave a backend without any. */
const MIN_CONNECTIONS = 100;
const BEFORE_PATCH = 8;
/** Faults that can be put into real processes, by the ways an operator has. */
const POSSIBLE_SABOTAGE: readonly string[] = ['no-patch'];

export async function runAnycastNetns(options: AnycastNetnsOptions): Promise<DemoReport> {
  const { connections, sabotage, peering } = options;
  checkConnections(connections, MIN_CONNECTIONS);
  if (sabotage !== undefined) {
    findAnycastSabotage(sabotage);
    if (!POSSIBLE_SABOTAGE.includes(sabotage)) {
      throw new UsageError(
        `demo anycast: --sabotage ${sabotage}: on simulated nodes only; with --netns: ${POSSIBLE_SABOTAGE.join(', ')}`,
      );
    }
  }
  const peerings = peering === undefined ? PEERINGS : [peering];
  const recorder = new DemoRecorder({
    demo: 'anycast',
    setting: 'netns',
    options: {
      seed: options.seed.toString(),
      connections,
      peering: peering ?? PEERINGS.join(', '),
      sabotage: sabotage ?? null,
    },
    topology: topology(anycastPlan(peerings[0] ?? 'ibgp', 'small')),
    narrate: options.narrate,
    colour: options.colour,
  });
  for (const each of peerings) {
    await inLab('anycast', (lab) => new Round(recorder, each, options, lab).run());
  }
  return recorder.finish();
}

class Round {
  readonly #recorder: DemoRecorder;
  readonly #options: AnycastNetnsOptions;
  readonly #plan: AnycastPlan;
  readonly #stage: NetnsStage;
  readonly #kernels: Kernels;
  readonly #heard = new Set<string>();
  readonly #callers = new Set<string>();
  #lost: Omit<ClusterLost, 'withdrawnMs'> | undefined;

  constructor(recorder: DemoRecorder, peering: Peering, options: AnycastNetnsOptions, lab: Lab) {
    this.#recorder = recorder;
    this.#options = options;
    this.#plan = anycastPlan(peering, 'small');
    this.#stage = new NetnsStage({
      lab,
      program: options.program ?? thisProgram('anycast'),
      seed: options.seed,
      plan: stagePlan(this.#plan),
    });
    this.#kernels = { stage: this.#stage, plan: this.#plan };
  }

  async run(): Promise<void> {
    try {
      await this.#start();
      await this.#federation();
      await this.#patch();
      await this.#spread();
      await this.#controlNode();
      await this.#hubAndSpokes();
      await this.#clusterLost();
      await this.#wires();
    } finally {
      this.#stage.closeClients();
    }
  }

  #step(title: string): void {
    this.#recorder.step(`${this.#plan.peering}: ${title}`);
  }

  #expect(...all: readonly Expectation[]): void {
    this.#recorder.expect(...ofRound(this.#plan.peering, all));
  }

  // --- steps -----------------------------------------------------------------------------------

  async #start(): Promise<void> {
    const stage = this.#stage;
    const say = (line: string) => this.#recorder.say(line);
    this.#step('network namespaces and processes');
    await stage.addFabric();
    const capture = await stage.startCapture();
    say(`fabric: a bridge; dumpcap, process ${capture.pid}`);
    await Promise.all(
      [...stage.controls.values()].map(async (control) => {
        const { pid } = await stage.startControl(control);
        say(`${control.name}: vrouter control, process ${pid}, ${control.namespace.name}`);
      }),
    );
    const pods = this.#plan.clusters.flatMap((cluster) => cluster.pods);
    await Promise.all(
      [...stage.nodes.values()].map(async ({ name, namespace }) => {
        const own = pods.filter(({ node }) => node === name).map(stagedPod);
        const { pid } = await stage.startNode(name, own);
        say(`${name}: vrouter node, process ${pid}, ${namespace.name}`);
      }),
    );
    await Promise.all([...stage.pods.values()].map((pod) => stage.startServer(pod)));
  }

  async #federation(): Promise<void> {
    const between = this.#plan.clusters.map(({ name, as }) => `${name} AS ${as}`).join(', ');
    this.#step(`three clusters: ${between}`);
    const ends = await bgpEndsUp(this.#kernels);
    for (const { name } of this.#stage.controls.values()) {
      const own = ends.filter(({ control }) => control === name);
      const up = own.filter(({ state }) => state === 'established').length;
      const heard = own.reduce((n, { received }) => n + received, 0);
      this.#recorder.say(`${name}: ${up} BGP sessions, ${heard} routes heard`);
    }
    const ways = await waysOfClients(this.#kernels);
    const before = await this.#load(BEFORE_PATCH);
    this.#recorder.say(
      `${BEFORE_PATCH} connections to ${SERVICE.ipv4}:${SERVICE.port}: ${before.answers} answers`,
    );
    this.#expect(
      federationIsUp(ends, this.#plan),
      waysAre('before', this.#plan, [], ways),
      unreachableBefore(before),
    );
  }

  async #patch(): Promise<void> {
    const [one, two, three] = this.#plan.clusters;
    const { sabotage } = this.#options;
    this.#step(`${POD_NETWORK} of ${three.name} gets ${INGRESS_TARGET} while it runs`);
    if (sabotage !== undefined) {
      this.#recorder.say(`SABOTAGE: ${findAnycastSabotage(sabotage).what}`);
    }
    if (sabotage !== 'no-patch') {
      for (const { name } of three.controls) {
        await this.#stage.controls.get(name)?.updateInstance(PATCHED);
      }
    }
    const ways = await waysWhen(this.#kernels, one.nodes.length + two.nodes.length);
    this.#expect(waysAre('patched', this.#plan, [one.name, two.name], ways));
    for (const { name } of three.nodes) {
      const node = this.#stage.node(name);
      const tree = await serviceTree(node);
      if (tree.length > 0) this.#recorder.table(nextHopTable(node.name, tree));
    }
  }

  async #spread(): Promise<void> {
    const [one, two] = this.#plan.clusters;
    const { connections } = this.#options;
    this.#step(`${connections} TCP connections: request, request, end`);
    const done = await this.#load(connections);
    for (const [name, n] of done.perBackend) {
      this.#recorder.say(`${name} of ${clusterOf(this.#plan, name)} served ${n} connections`);
    }
    this.#recorder.say(
      `${done.answers} answers to ${done.requests} requests, ${done.closed} closed`,
    );
    this.#expect(spreadOverClusters(done, this.#plan, [one.name, two.name]), ...loadIsServed(done));
  }

  async #controlNode(): Promise<void> {
    const [first] = this.#plan.clusters[0].controls;
    const control = this.#stage.controls.get(first?.name ?? '');
    if (control === undefined) return;
    this.#step(`connections, and ${control.name}, one of a pair, is killed meanwhile`);
    const seen = await killControl(this.#kernels, control);
    this.#recorder.say(
      `killed after ${seen.doneBefore} connections; ${seen.load.closed} of ${seen.load.connections} served`,
    );
    this.#expect(lostControlCostsNothing(seen));
  }

  async #hubAndSpokes(): Promise<void> {
    this.#step(`hub and spokes: ${HUB_NETWORK} exports ${HUB_TARGET}, spokes ${SPOKE_TARGET}`);
    const attempted = await meetEachOther(this.#kernels);
    for (const { from, to, reached } of attempted) {
      const where = `${from} (${clusterOf(this.#plan, from)}) -> ${to} (${clusterOf(this.#plan, to)})`;
      this.#recorder.say(`${where.padEnd(46)}${reached ? 'reached' : 'not reached'}`);
    }
    this.#expect(...hubAndSpokes('hub', attempted));
  }

  async #clusterLost(): Promise<void> {
    const [one, two] = this.#plan.clusters;
    this.#step(`all backends of ${one.name} die under load`);
    const seen = await loseCluster(this.#kernels, one, two);
    const { surviving, removed, opened } = seen;
    this.#recorder.say(
      `${surviving.connections} connections to ${two.name}, ${removed.connections} to ${one.name} were open`,
    );
    this.#recorder.say(`new connections: ${countsText(byCluster(this.#plan, opened.perBackend))}`);
    this.#lost = seen;
  }

  async #wires(): Promise<void> {
    this.#step('the wires, and where every packet went');
    const stage = this.#stage;
    const accounts = await accountsOf(stage);
    await stage.stopCapture();
    const { audit, control } = auditOf(stage);
    const [one] = this.#plan.clusters;
    const frames = readPcap('fabric.pcap', readFileSync(stage.capture));
    const withdrawnMs = withdrawalOf(frames, this.#plan, one);
    const opinion = await askTshark((argv) => stage.lab.run(argv), stage.capture, []);
    this.#recorder.say(`${audit.frames} frames of tenants crossed the fabric`);
    this.#recorder.say(
      `${control.xmpp} of XMPP sessions, ${control.bgp} of BGP sessions, ${control.arp} of ARP`,
    );
    const ends = this.#plan.clusters.flatMap(({ nodes, controls }) =>
      nodes.flatMap((node) => controls.map((each) => ({ node: node.ipv4, control: each.ipv4 }))),
    );
    const clients = this.#plan.clusters[2].pods
      .filter(({ vrf }) => vrf === POD_NETWORK)
      .map(({ ipv4 }) => ipv4);
    if (this.#lost !== undefined) {
      this.#expect(...lostClusterIsLeft({ ...this.#lost, withdrawnMs }, this.#plan));
    }
    this.#expect(
      addressesOfService(this.#heard, this.#callers, clients),
      everythingTunnelled(audit, this.#plan, ', beside XMPP, BGP and ARP,'),
      fabricCarriedSessions(control, ends),
      federationOnTheWire(control, this.#plan),
      tsharkKnows(opinion),
      ...accounts,
    );
  }

  async #load(count: number): Promise<TcpLoad> {
    const done = await load(this.#kernels, count);
    for (const end of done.heard) this.#heard.add(end);
    for (const caller of done.callers) this.#callers.add(caller);
    return done;
  }
}
