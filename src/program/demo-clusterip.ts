/**
 * `vrouter demo clusterip`, simulated: the scenario step by step, with a report. Stage and traffic are
 * sim/'s, sentences and verdict clusterip-expectations.ts's; here is only the order of things and what is
 * shown of them. A function of its options: same seed, same report.
 */
import { frameLine } from '../cli/frame-text.ts';
import { UsageError } from '../cli/io.ts';
import type { ExplainView, FlowView, NextHopView, RouteDump } from '../cli/views.ts';
import { Capture } from '../sim/capture.ts';
import {
  FABRIC_WIRE,
  type PlacedTenant,
  type SeenFrame,
  type SimulatedNode,
} from '../sim/cluster.ts';
import { MAX_CONNECTIONS, Stage } from '../sim/clusterip.ts';
import {
  BACKENDS,
  CLIENT,
  MULTI_PORT,
  POD_NETWORK,
  SERVICE_NETWORK,
  topology,
  UNMAPPED_PORT,
  WEB,
  WEB_PORT,
} from '../sim/clusterip-plan.ts';
import {
  flowsOf,
  hairpin,
  load,
  multiPort,
  scale,
  type Trace,
  traceRemote,
  unmapped,
} from '../sim/clusterip-traffic.ts';
import { FabricAudit } from '../sim/fabric-audit.ts';
import { SABOTAGE, type Sabotage } from '../sim/sabotage.ts';
import {
  killedControlCostsNothing,
  publishedLabel,
  routesCameOverXmpp,
} from './clusterip-control-expectations.ts';
import {
  addressesSeen,
  compositeOfTwo,
  everyPacketAccounted,
  fabricIsSound,
  firstIsServed,
  flowsOfConnection,
  gatewayAnswers,
  hairpinWorks,
  loadIsServed,
  loadIsSpread,
  portsAreServed,
  scalingWorks,
  tenantsAreContent,
  unmappedIsRefused,
  vifShowsPod,
} from './clusterip-expectations.ts';
import { killControl, sessionsOf } from './clusterip-observed.ts';
import { DemoRecorder, type DemoReport } from './demo-report.ts';
import { sabotageOf } from './demo-sabotage.ts';
import {
  explainTable,
  flowTable,
  labelTable,
  nextHopTable,
  routeTable,
  vifTable,
} from './demo-tables.ts';
import * as views from './views.ts';

export interface ClusteripOptions {
  readonly seed: bigint;
  readonly connections: number;
  readonly sabotage?: string | undefined;
  /** Directory for a pcap file of every wire. */
  readonly pcap?: string | undefined;
  /** Takes the report's text as things happen. */
  readonly narrate?: ((text: string) => void) | undefined;
  readonly colour?: boolean | undefined;
}

export const findSabotage = (name: string): Sabotage => sabotageOf('clusterip', SABOTAGE, name);

export function runClusterip(options: ClusteripOptions): DemoReport {
  const { connections } = options;
  if (!Number.isInteger(connections) || connections < 1 || connections > MAX_CONNECTIONS) {
    throw new UsageError(
      `demo clusterip: --connections: 1 to ${MAX_CONNECTIONS}, not ${connections}`,
    );
  }
  const sabotage = options.sabotage === undefined ? undefined : findSabotage(options.sabotage);
  const demo = new ClusteripDemo(options, sabotage);
  try {
    return demo.run();
  } finally {
    demo.close();
  }
}

/** Of a control node: agents have come back to it by then, and believe it. */
const BACK_MS = 60_000;

class ClusteripDemo {
  readonly #options: ClusteripOptions;
  readonly #sabotage: Sabotage | undefined;
  readonly #recorder: DemoRecorder;
  readonly #stage: Stage;
  readonly #audit = new FabricAudit();
  readonly #capture = new Capture();
  /** Frames that pods could not use; kept when a pod goes. */
  readonly #bad = new Map<string, number>();
  readonly #callers = new Set<string>();

  constructor(options: ClusteripOptions, sabotage: Sabotage | undefined) {
    this.#options = options;
    this.#sabotage = sabotage;
    this.#recorder = new DemoRecorder({
      demo: 'clusterip',
      setting: 'simulated',
      options: {
        seed: options.seed.toString(),
        connections: options.connections,
        sabotage: options.sabotage ?? null,
      },
      topology: topology(),
      narrate: options.narrate,
      colour: options.colour,
    });
    this.#stage = new Stage({
      seed: options.seed,
      connectNetworks: sabotage?.withoutPolicy !== true,
    });
    this.#stage.cluster.tap((seen) => this.#audit.see(seen));
    if (options.pcap !== undefined) this.#stage.cluster.tap((seen) => this.#capture.see(seen));
  }

  run(): DemoReport {
    this.#setUp();
    this.#firstConnection();
    this.#manyConnections();
    this.#ports();
    this.#hairpin();
    this.#controlNodesKilled();
    this.#scale();
    this.#wires();
    return this.#recorder.finish();
  }

  close(): void {
    this.#stage.cluster.close();
  }

  // --- steps -----------------------------------------------------------------------------------

  #setUp(): void {
    const [web1, web2] = BACKENDS;
    const { cluster } = this.#stage;
    const say = (line: string) => this.#recorder.say(line);
    this.#recorder.step('Networks, pods and services; routes travel');
    const client = this.#stage.addClient();
    const local = this.#stage.addBackend(web1);
    this.#stage.addBackend(web2);
    cluster.settle();
    for (const { node, tenant, vif } of cluster.tenants.values()) {
      const id = node.agent.vifId(vif);
      say(`${node.name}: vif0/${id} ${vif}, ${tenant.ipv4}, label ${node.agent.vifLabel(vif)}`);
    }
    const sessions = sessionsOf(cluster);
    for (const { node, control, atNode, atControl } of sessions) {
      const messages = `${atControl?.counters.messages ?? 0} messages`;
      say(
        `${node} - ${control}: XMPP, ${atNode?.state}, ${atNode?.published} routes published, ` +
          `${atNode?.received} heard in ${messages}`,
      );
    }
    const [control] = cluster.controls.values();
    const exchange = control?.exchange;
    for (const { name, connected } of exchange?.instances() ?? []) {
      const routes = exchange?.routes(name) ?? [];
      const policy = connected.length === 0 ? 'no policy' : `policy with ${connected.join(', ')}`;
      say(`${control?.name}: ${name}, ${policy}, ${routes.length} routes`);
      for (const route of routes) {
        const hops = route.hops.map((hop) => `${hop.address} label ${hop.label}`).join(' or ');
        say(`  ${route.prefix.padEnd(20)}${hops}`);
      }
    }
    if (this.#sabotage !== undefined) {
      say(`SABOTAGE: ${this.#sabotage.what}`);
      this.#sabotage.atStart?.(this.#stage);
    }
    const vrf = client.node.agent.vrfId(POD_NETWORK) ?? 0;
    const vif = views.vifs(client.node.dataplane).find(({ name }) => name === client.vif);
    const remoteLabel = publishedLabel(
      exchange?.routes(SERVICE_NETWORK) ?? [],
      WEB,
      this.#stage.remoteNode.ipv4,
    );
    const tree = this.#serviceNextHop(client.node, vrf);
    this.#recorder.expect(
      routesCameOverXmpp(sessions),
      vifShowsPod(vif, vrf, CLIENT),
      compositeOfTwo(tree, remoteLabel, local.node.agent.vifId(local.vif)),
    );
  }

  #firstConnection(): void {
    const { clientNode, remoteNode, client, cluster } = this.#stage;
    const backend = BACKENDS[1];
    this.#recorder.step(`The first connection to ${WEB.ipv4}:${WEB_PORT} that leaves the node`);
    const explained = new Map<SimulatedNode, ExplainView>();
    const trace = traceRemote(this.#stage, (seen) => this.#explainFirst(seen, explained));
    this.#sayTrace(trace);
    const flows = (node: SimulatedNode): FlowView[] =>
      trace === undefined ? [] : flowsOf(node, trace.connection).map(views.flowView);
    this.#recorder.expect(
      gatewayAnswers(client.gatewayMac),
      firstIsServed(trace?.connection.answers[0]?.backend),
      ...flowsOfConnection(flows(clientNode), flows(remoteNode), backend),
    );
    this.#recorder.step('The tables of both nodes, while that connection is open');
    this.#tables(cluster.placed(CLIENT.name), POD_NETWORK, trace, true);
    this.#tables(cluster.placed(backend.name), SERVICE_NETWORK, trace, false);
    const what = {
      [clientNode.name]: "the client's SYN",
      [remoteNode.name]: 'the same SYN, out of the tunnel',
    };
    for (const [node, view] of explained) {
      this.#recorder.table(explainTable(node.name, what[node.name] ?? '', view));
    }
    if (trace !== undefined) client.close(trace.connection);
    cluster.settle();
  }

  #manyConnections(): void {
    const { connections } = this.#options;
    this.#recorder.step(`${connections} connections: request, pause, request, end`);
    const done = load(this.#stage, WEB, WEB_PORT, connections);
    for (const [name, n] of done.perBackend) this.#recorder.say(`${name} served ${n} connections`);
    this.#recorder.say(
      `${done.answers} answers to ${done.requests} requests, ${done.closed} closed`,
    );
    this.#recorder.expect(loadIsSpread(done, 2), ...loadIsServed(done));
  }

  #ports(): void {
    this.#recorder.step(`${MULTI_PORT.ipv4}, a service of two ports; and a port without a mapping`);
    const loads = multiPort(this.#stage);
    for (const { port, connections, answers, servedOn } of loads) {
      this.#recorder.say(
        `port ${port}: ${connections} connections, ${answers} answers from port ${servedOn.join(', ') || '-'}`,
      );
    }
    const refused = unmapped(this.#stage);
    this.#recorder.say(
      `port ${UNMAPPED_PORT} of ${WEB.ipv4}: ${refused.tries} tries, ${refused.refused.length} refused by name`,
    );
    for (const node of this.#stage.cluster.nodes.values()) {
      const n = refused.refused.filter((r) => r.node === node.name).length;
      if (n > 0) this.#recorder.say(`${node.name}: ${n} flows ${refused.refused[0]?.action}`);
    }
    this.#recorder.expect(...portsAreServed(loads), unmappedIsRefused(refused, UNMAPPED_PORT));
  }

  #hairpin(): void {
    const [web1] = BACKENDS;
    this.#recorder.step(`${web1.name} connects to its own service until it meets itself`);
    const seen = hairpin(this.#stage, web1);
    this.#recorder.say(
      seen.reached
        ? `connection ${seen.tries}: served by ${web1.name} itself, which saw it come from ${seen.seenFrom.join(', ')}`
        : `${web1.name} did not meet itself in ${seen.tries} connections`,
    );
    this.#recorder.expect(hairpinWorks(seen));
  }

  #controlNodesKilled(): void {
    const { cluster } = this.#stage;
    const controls = [...cluster.controls.values()];
    const names = controls.map(({ name }) => name).join(', then ');
    this.#recorder.step(`Connections, and ${names} is killed meanwhile; both come back`);
    for (const control of controls) {
      const seen = killControl(this.#stage, control);
      const { doneBefore, load: done } = seen;
      this.#recorder.say(
        `${control.name} killed after ${doneBefore} connections; ${done.closed} of ${done.connections} served`,
      );
      this.#recorder.expect(killedControlCostsNothing(seen));
    }
    for (const control of controls) control.start();
    cluster.advance(BACK_MS);
    for (const { node, control, atNode } of sessionsOf(cluster)) {
      this.#recorder.say(
        `${BACK_MS / 1000} s later: ${node} - ${control}: ${atNode?.state}, ${atNode?.standing}, ` +
          `${atNode?.received} routes`,
      );
    }
  }

  #scale(): void {
    const [web1, web2, web3] = BACKENDS;
    this.#recorder.step(
      'The service scales 1 -> 2 -> 3 -> 1, connections stay open and ask every 10 ms',
    );
    this.#noteTenants();
    this.#stage.removeBackend(web1);
    this.#stage.cluster.settle();
    const seen = scale(this.#stage, {
      survivor: web2,
      others: [web1, web3],
      afterScaling: () => {
        this.#noteTenants();
        this.#sabotage?.afterScaling?.(this.#stage);
      },
      onPhase: ({ backends, opened }) => {
        const went = [...opened].map(([name, n]) => `${n} to ${name}`).join(', ');
        this.#recorder.say(`${backends.join(', ')}: new connections ${went || 'to nobody'}`);
      },
    });
    const { surviving, removed } = seen;
    this.#recorder.say(
      `${surviving.connections} connections on ${web2.name}: ${surviving.answers} answers to ${surviving.requests} requests`,
    );
    this.#recorder.say(
      `${removed.connections} connections on ${web1.name} and ${web3.name}: ${removed.reset} reset, ${removed.silent} unanswered`,
    );
    this.#recorder.expect(...scalingWorks(seen));
  }

  #wires(): void {
    this.#recorder.step('The wires, and where every packet went');
    this.#noteTenants();
    const { cluster, client } = this.#stage;
    const audit = this.#audit;
    this.#recorder.say(
      `${audit.frames} frames crossed the fabric, ${audit.sourcePorts.size} UDP source ports`,
    );
    for (const label of [...audit.labels].sort()) this.#recorder.say(`to ${label}`);
    const mss = cluster.placed(BACKENDS[1].name).tenant.peerMss;
    this.#recorder.expect(
      ...addressesSeen(client.heard, this.#callers),
      ...fabricIsSound(audit),
      ...tenantsAreContent(this.#bad, mss),
    );
    for (const node of cluster.nodes.values()) {
      const totals = views.totals(node.dataplane);
      const dropped = views.drops(node.dataplane).filter(({ packets }) => packets !== 0);
      this.#recorder.expect(
        everyPacketAccounted({ node: node.name, entered: node.entered, totals, dropped }),
      );
    }
    if (this.#options.pcap === undefined) return;
    for (const { file, frames } of this.#capture.write(this.#options.pcap)) {
      this.#recorder.say(`written: ${file}, ${frames} frames`);
    }
  }

  // --- what is shown ---------------------------------------------------------------------------

  /** On each node, what would become of the first packet; asked before it gets there. */
  #explainFirst(seen: SeenFrame, explained: Map<SimulatedNode, ExplainView>): void {
    const { clientNode, remoteNode, cluster } = this.#stage;
    const client = cluster.placed(CLIENT.name);
    const fromClient = seen.wire === CLIENT.name && seen.from === CLIENT.name;
    const toRemote = seen.wire === FABRIC_WIRE && seen.to === remoteNode.name;
    if (fromClient && !explained.has(remoteNode) && frameLine(seen.frame).includes(' tcp S ')) {
      const told = clientNode.dataplane.explain(
        seen.frame,
        client.node.agent.vifId(client.vif) ?? 0,
      );
      explained.set(clientNode, views.explainView(told));
    }
    if (toRemote && !explained.has(remoteNode)) {
      const uplink = views.vifId(remoteNode.dataplane, 'fabric');
      explained.set(
        remoteNode,
        views.explainView(remoteNode.dataplane.explain(seen.frame, uplink)),
      );
    }
  }

  #sayTrace(trace: Trace | undefined): void {
    if (trace === undefined) {
      this.#recorder.say('no connection left the node');
      return;
    }
    this.#recorder.say(
      trace.tries === 1
        ? 'connection 1'
        : `connection ${trace.tries}; those before it were served on ${this.#stage.clientNode.name} itself`,
    );
    const start = trace.frames[0]?.timeNs ?? 0n;
    for (const { timeNs, from, to, frame } of trace.frames) {
      const time = `${Number(timeNs - start) / 1000} us`;
      // What is in a tunnel goes on a line of its own.
      const [line, ...inside] = frameLine(frame).split(/(?=\{ )/);
      this.#recorder.say(
        `${time.padStart(7)}  ${`${from} -> ${to}`.padEnd(19)}  ${line?.trimEnd()}`,
      );
      for (const inner of inside) this.#recorder.say(`${' '.repeat(32)}${inner}`);
    }
  }

  #serviceNextHop(node: SimulatedNode, vrf: number): NextHopView[] {
    const prefix = `${WEB.ipv4}/32`;
    const route = views.routes(node.dataplane, vrf, 4).find((r) => r.prefix === prefix);
    return route === undefined ? [] : views.nextHopTree(node.dataplane, route.nextHop);
  }

  #tables(pod: PlacedTenant, network: string, trace: Trace | undefined, legend: boolean): void {
    const { node, vif } = pod;
    const { dataplane, agent } = node;
    const vrf = agent.vrfId(network) ?? 0;
    const routes: RouteDump = { vrf, family: 'inet', routes: views.routes(dataplane, vrf, 4) };
    const show = this.#recorder.table.bind(this.#recorder);
    show(vifTable(node.name, views.vif(dataplane, agent.vifId(vif) ?? 0), legend));
    show(routeTable(node.name, routes));
    const tree = this.#serviceNextHop(node, vrf);
    if (tree.length > 0) show(nextHopTable(node.name, tree));
    show(labelTable(node.name, views.labels(dataplane)));
    if (trace === undefined) return;
    const flows = flowsOf(node, trace.connection).map(views.flowView);
    const listing = { table: views.flowTable(dataplane.info()), flows };
    show(flowTable(node.name, `${CLIENT.ipv4}:${trace.connection.localPort} & proto tcp`, listing));
  }

  /** What pods counted, before one of them goes. */
  #noteTenants(): void {
    for (const { tenant } of this.#stage.cluster.tenants.values()) {
      this.#bad.set(tenant.name, Math.max(this.#bad.get(tenant.name) ?? 0, tenant.bad));
      for (const caller of tenant.callers) this.#callers.add(caller);
    }
  }
}
