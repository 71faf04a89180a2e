/**
 * `vrouter demo clusterip --netns`: the scenario with real processes, network namespaces, kernels, curl and
 * HTTP servers, judged by the same sentences as the simulated one and by tshark. Needs root.
 *
 * Invariants
 *  * All it makes is gone when it returns, throws, or is interrupted (lab.ts).
 *  * The verdict comes from what was observed: the clients, the nodes' own views over their sockets, the
 *    kernels' counters, a capture of the fabric.
 */
import { copyFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { UsageError } from '../cli/io.ts';
import {
  BACKENDS,
  CLIENT,
  CONTROLS,
  MULTI_PORT,
  NODES,
  POD_GATEWAY,
  POD_NETWORK,
  SERVICE_NETWORK,
  topology,
  UNMAPPED_PORT,
  WEB,
  WEB_PORT,
} from '../sim/clusterip-plan.ts';
import {
  fabricCarriedSessions,
  killedControlCostsNothing,
  publishedLabel,
  routesCameOverXmpp,
} from './clusterip-control-expectations.ts';
import {
  type CurlLoad,
  curls,
  curlUnmapped,
  type Held,
  holdRemote,
  ping,
} from './clusterip-curls.ts';
import {
  addressesSeen,
  compositeOfTwo,
  fabricIsSound,
  firstIsServed,
  flowsOfConnection,
  gatewayAnswers,
  portsAreServed,
  vifShowsPod,
} from './clusterip-expectations.ts';
import {
  backendsOf,
  floatingIp,
  NODE_PLANS,
  serviceMembers,
  stagedPod,
  stagePlan,
} from './clusterip-netns.ts';
import {
  captureIsTheirs,
  curlsAreServed,
  echoesReturn,
  thirdComesAndGoes,
  tsharkAgrees,
  unmappedFails,
} from './clusterip-netns-expectations.ts';
import { accountsOf, auditOf, killControl, sessionsOf } from './clusterip-netns-observed.ts';
import { type ClusteripOptions, findSabotage } from './demo-clusterip.ts';
import { DemoRecorder, type DemoReport } from './demo-report.ts';
import { flowTable, labelTable, nextHopTable, routeTable, vifTable } from './demo-tables.ts';
import type { Lab } from './lab.ts';
import { inLab, thisProgram } from './netns-needs.ts';
import type { NetnsControl, NetnsNode } from './netns-processes.ts';
import { NetnsStage, type PlacedPod } from './netns-stage.ts';
import { askTshark } from './tshark.ts';

export interface ClusteripNetnsOptions extends Omit<ClusteripOptions, 'connections'> {
  /** curls to the service, and to each port of the service of two ports. Default 200. */
  readonly connections?: number | undefined;
  /** Command line of this program, which is started again for each process. */
  readonly program?: readonly string[] | undefined;
}

const CURLS = 200;
/** With fewer, chance may leave a backend without any. */
const MIN_CURLS = 20;
const MAX_CURLS = 20_000;
const FEW_CURLS = 40;
const CURLS_AROUND_KILL = 60;
const UNMAPPED_TRIES = 4;
const PINGS = 5;
const ROUTES_MS = 10_000;

/** Faults that can be put into real processes, by the ways an operator has. */
const POSSIBLE_SABOTAGE: readonly string[] = ['drop-nat', 'no-policy'];

export async function runClusteripNetns(options: ClusteripNetnsOptions): Promise<DemoReport> {
  const { sabotage, connections = CURLS } = options;
  if (!Number.isInteger(connections) || connections < MIN_CURLS || connections > MAX_CURLS) {
    const range = `${MIN_CURLS} to ${MAX_CURLS}`;
    throw new UsageError(
      `demo clusterip: --connections: ${range} with --netns, not ${connections}`,
    );
  }
  if (sabotage !== undefined) {
    findSabotage(sabotage);
    if (!POSSIBLE_SABOTAGE.includes(sabotage)) {
      throw new UsageError(
        `demo clusterip: --sabotage ${sabotage}: on simulated nodes only; with --netns: ${POSSIBLE_SABOTAGE.join(', ')}`,
      );
    }
  }
  return inLab('clusterip', (lab) => new ClusteripNetnsDemo(options, connections, lab).run());
}

class ClusteripNetnsDemo {
  readonly #options: ClusteripNetnsOptions;
  readonly #connections: number;
  readonly #recorder: DemoRecorder;
  readonly #stage: NetnsStage;
  readonly #heard = new Set<string>();
  readonly #callers = new Set<string>();
  #patienceMs = ROUTES_MS;

  constructor(options: ClusteripNetnsOptions, connections: number, lab: Lab) {
    this.#options = options;
    this.#connections = connections;
    this.#recorder = new DemoRecorder({
      demo: 'clusterip',
      setting: 'netns',
      options: {
        seed: options.seed.toString(),
        connections,
        sabotage: options.sabotage ?? null,
      },
      topology: topology(),
      narrate: options.narrate,
      colour: options.colour,
    });
    this.#stage = new NetnsStage({
      lab,
      program: options.program ?? thisProgram('clusterip'),
      seed: options.seed,
      plan: stagePlan(options.sabotage !== 'no-policy'),
    });
  }

  async run(): Promise<DemoReport> {
    try {
      await this.#start();
      await this.#setUp();
      await this.#gateway();
      await this.#firstConnection();
      await this.#manyCurls();
      await this.#ports();
      const [first, last] = [...this.#stage.controls.values()] as [NetnsControl, NetnsControl];
      await this.#controlKilled(first);
      await this.#thirdBackend();
      await this.#controlKilled(last);
      await this.#wires();
      return this.#recorder.finish();
    } finally {
      this.#stage.closeClients();
    }
  }

  // --- steps -----------------------------------------------------------------------------------

  async #start(): Promise<void> {
    const [web1, web2] = BACKENDS;
    const stage = this.#stage;
    const { client, remote } = NODES;
    const say = (line: string) => this.#recorder.say(line);
    this.#recorder.step('Network namespaces and processes');
    await stage.addFabric();
    const capture = await stage.startCapture();
    say(`fabric: a bridge; dumpcap, process ${capture.pid}`);
    for (const control of stage.controls.values()) {
      const { pid } = await stage.startControl(control);
      say(`${control.name}: vrouter control, process ${pid}, namespace ${control.namespace.name}`);
    }
    const near = await stage.startNode(client.name, [CLIENT, web1].map(stagedPod));
    const far = await stage.startNode(remote.name, [stagedPod(web2)]);
    for (const [name, { pid }] of [
      [client.name, near],
      [remote.name, far],
    ] as const) {
      say(`${name}: vrouter node, process ${pid}, namespace ${stage.node(name).namespace.name}`);
    }
    for (const pod of backendsOf(stage)) {
      await stage.startServer(pod);
      const pid = pod.server?.pid;
      say(`${pod.plan.name}: HTTP server, process ${pid}, namespace ${pod.namespace.name}`);
    }
  }

  async #setUp(): Promise<void> {
    const [web1] = BACKENDS;
    const stage = this.#stage;
    this.#recorder.step('Networks, pods and services; routes travel');
    const near = stage.node(NODES.client.name);
    const [service] = await serviceMembers(stage, near, 2, ROUTES_MS);
    // What did not come at first is not waited for again.
    if (service === undefined) this.#patienceMs = 0;
    for (const { plan, node, vif } of stage.pods.values()) {
      const id = (await node.vif(vif))?.id ?? -1;
      this.#recorder.say(
        `${node.name}: vif0/${id} ${vif}, ${plan.ipv4}, label ${await node.labelOf(id)}`,
      );
    }
    await this.#sabotage();
    const vrf = await near.vrf(POD_NETWORK);
    const [control] = stage.controls.values();
    const routes = (await control?.routes(SERVICE_NETWORK)) ?? [];
    const remoteLabel = publishedLabel(routes, WEB, NODES.remote.ipv4);
    const local = await near.vif(stage.pod(web1.name).vif);
    this.#recorder.expect(
      routesCameOverXmpp(await sessionsOf(this.#stage)),
      vifShowsPod(await near.vif(stage.pod(CLIENT.name).vif), vrf, CLIENT),
      compositeOfTwo(await near.nextHopsTo(vrf, WEB.ipv4), remoteLabel, local?.id),
    );
  }

  async #sabotage(): Promise<void> {
    const { sabotage } = this.#options;
    if (sabotage === undefined) return;
    this.#recorder.say(`SABOTAGE: ${findSabotage(sabotage).what}`);
    if (sabotage !== 'drop-nat') return;
    const { node, vif } = this.#stage.pod(BACKENDS[1].name);
    const { address, vrf } = floatingIp(WEB);
    await node.call('fip.remove', { vif, address, vrf });
    await node.call('fip.add', { vif, address, vrf, ports: [] });
    const near = this.#stage.node(NODES.client.name);
    await serviceMembers(this.#stage, near, 2, this.#patienceMs);
  }

  async #gateway(): Promise<void> {
    const web2 = BACKENDS[1];
    this.#recorder.step('ping: the gateway, then a pod on the other node');
    const gateway = await ping(this.#stage, POD_GATEWAY, PINGS);
    this.#recorder.say(`${POD_GATEWAY}: ${gateway.received} of ${gateway.sent} answered`);
    const pod = await ping(this.#stage, web2.ipv4, PINGS);
    this.#recorder.say(`${web2.ipv4}: ${pod.received} of ${pod.sent} answered`);
    const mac = await this.#stage.pod(CLIENT.name).namespace.neighbour(POD_GATEWAY);
    this.#recorder.expect(
      gatewayAnswers(mac),
      echoesReturn('ping-gateway', `the vRouter answers for ${POD_GATEWAY}`, gateway),
      echoesReturn('ping-pod', `${web2.name} on ${web2.node} answers, through the tunnel`, pod),
    );
  }

  async #firstConnection(): Promise<void> {
    const stage = this.#stage;
    const near = stage.node(NODES.client.name);
    const far = stage.node(NODES.remote.name);
    const backend = BACKENDS[1];
    this.#recorder.step(`A connection to ${WEB.ipv4}:${WEB_PORT} that leaves the node, held open`);
    const held = await holdRemote(stage);
    this.#sayHeld(held);
    const flows = async (node: NetnsNode) =>
      held === undefined ? [] : (await node.flows(matchOf(held))).flows;
    this.#recorder.expect(
      firstIsServed(held?.page.backend),
      ...flowsOfConnection(await flows(near), await flows(far), backend),
    );
    this.#recorder.step('The tables of both nodes, while that connection is open');
    await this.#tables(stage.pod(CLIENT.name), POD_NETWORK, held, true);
    await this.#tables(stage.pod(backend.name), SERVICE_NETWORK, held, false);
    await held?.curl.stop();
  }

  async #manyCurls(): Promise<void> {
    const [web1, web2] = BACKENDS;
    this.#recorder.step(`${this.#connections} curls, each two requests on a connection of its own`);
    const done = await this.#curls(WEB, WEB_PORT, this.#connections);
    for (const [name, n] of done.perBackend) this.#recorder.say(`${name} served ${n} connections`);
    this.#recorder.say(`${done.answers} pages of ${done.requests} came whole`);
    this.#recorder.expect(...curlsAreServed(done, [web1, web2]));
  }

  async #ports(): Promise<void> {
    this.#recorder.step(`${MULTI_PORT.ipv4}, a service of two ports; and a port without a mapping`);
    const loads = [];
    for (const { port, toPort } of MULTI_PORT.ports) {
      const done = await this.#curls(MULTI_PORT, port, this.#connections);
      loads.push({ ...done, port, toPort });
      this.#recorder.say(
        `port ${port}: ${done.closed} of ${done.connections} curls, served on port ${done.servedOn.join(', ') || '-'}`,
      );
    }
    const refused = await curlUnmapped(this.#stage, UNMAPPED_PORT, UNMAPPED_TRIES);
    this.#recorder.say(
      `port ${UNMAPPED_PORT} of ${WEB.ipv4}: ${refused.tries} curls, ${refused.answered} answered, ` +
        `${refused.refused.length} refused by name`,
    );
    this.#recorder.expect(...portsAreServed(loads), unmappedFails(refused));
  }

  async #controlKilled(control: NetnsControl): Promise<void> {
    const count = CURLS_AROUND_KILL;
    this.#recorder.step(`${count} curls, and ${control.name} is killed meanwhile`);
    const curls = (onEnd: (ended: number) => void) => this.#curls(WEB, WEB_PORT, count, onEnd);
    const seen = await killControl(this.#stage, control, { count, curls });
    this.#recorder.say(
      `killed after ${seen.doneBefore} curls; ${seen.load.closed} of ${count} served`,
    );
    this.#recorder.expect(killedControlCostsNothing(seen));
  }

  async #thirdBackend(): Promise<void> {
    const pod = BACKENDS[2];
    const stage = this.#stage;
    // All backends of a node are behind one label: how many there are, that node knows.
    const far = stage.node(NODES.remote.name);
    this.#recorder.step(`${pod.name} joins on ${pod.node} while all runs, and leaves again`);
    const members = async (count: number) => {
      const [top] = await serviceMembers(stage, far, count, this.#patienceMs);
      return top?.slots?.filter((slot) => slot !== null).length ?? 0;
    };
    await stage.addPod(stagedPod(pod));
    const membersWith = await members(3);
    const before = await this.#curls(WEB, WEB_PORT, FEW_CURLS);
    await stage.removePod(pod.name);
    const membersAfter = await members(2);
    const after = await this.#curls(WEB, WEB_PORT, FEW_CURLS);
    for (const [what, load] of [
      [`with ${pod.name}`, before],
      [`without ${pod.name}`, after],
    ] as const) {
      const went = [...load.perBackend].map(([name, n]) => `${n} to ${name}`).join(', ');
      this.#recorder.say(
        `${what}: ${load.closed} of ${load.connections} curls: ${went || 'to nobody'}`,
      );
    }
    this.#recorder.expect(
      thirdComesAndGoes({ pod, membersWith, membersAfter, with: before, after }),
    );
  }

  async #wires(): Promise<void> {
    this.#recorder.step('The wires, and where every packet went');
    const nodes = [...this.#stage.nodes.values()];
    const accounts = await accountsOf(this.#stage);
    let sent = 0;
    for (const node of nodes) sent += Number((await node.vif('fabric'))?.tx.packets ?? 0);
    await this.#stage.stopCapture();
    const { audit, control, fromNodes } = auditOf(this.#stage);
    const http = [WEB, MULTI_PORT].flatMap(({ ports }) => ports.map(({ port }) => port));
    const { lab, capture } = this.#stage;
    const opinion = await askTshark((argv) => lab.run(argv), capture, [...new Set(http)]);
    this.#recorder.say(
      `${audit.frames} frames crossed the fabric, ${audit.sourcePorts.size} UDP source ports`,
    );
    for (const label of [...audit.labels].sort()) this.#recorder.say(`to ${label}`);
    this.#recorder.say(`${control.xmpp} frames of XMPP sessions, ${control.arp} of ARP`);
    const ends = NODE_PLANS.flatMap((node) =>
      CONTROLS.map(({ ipv4 }) => ({ node: node.ipv4, control: ipv4 })),
    );
    this.#recorder.expect(
      ...addressesSeen(this.#heard, this.#callers),
      ...fabricIsSound(audit, ', beside XMPP and ARP,'),
      fabricCarriedSessions(control, ends),
      tsharkAgrees(opinion),
      captureIsTheirs({ captured: fromNodes, sent }),
      ...accounts,
    );
    const { pcap } = this.#options;
    if (pcap === undefined) return;
    mkdirSync(pcap, { recursive: true });
    copyFileSync(capture, join(pcap, 'fabric.pcap'));
    this.#recorder.say(`written: fabric.pcap, ${audit.frames} frames`);
  }

  // --- what is observed and shown --------------------------------------------------------------

  async #curls(
    service: typeof WEB,
    port: number,
    count: number,
    onEnd?: (ended: number) => void,
  ): Promise<CurlLoad> {
    const done = await curls(this.#stage, service, port, count, onEnd);
    for (const end of done.heard) this.#heard.add(end);
    for (const caller of done.callers) this.#callers.add(caller);
    return done;
  }

  #sayHeld(held: Held | undefined): void {
    if (held === undefined) {
      this.#recorder.say('no connection was answered from the other node');
      return;
    }
    const { page, tries } = held;
    this.#recorder.say(
      tries === 1
        ? 'the first connection does'
        : `connection ${tries} does; those before it were served on ${NODES.client.name} itself`,
    );
    this.#recorder.say(
      `${page.backend} answers on port ${page.port}, called by ${page.caller}:${page.callerPort}`,
    );
  }

  async #tables(
    { node, vif }: PlacedPod,
    network: string,
    held: Held | undefined,
    legend: boolean,
  ): Promise<void> {
    const vrf = await node.vrf(network);
    const view = await node.vif(vif);
    const show = this.#recorder.table.bind(this.#recorder);
    if (view !== undefined) show(vifTable(node.name, view, legend));
    show(routeTable(node.name, await node.routes(vrf)));
    const tree = await node.nextHopsTo(vrf, WEB.ipv4);
    if (tree.length > 0) show(nextHopTable(node.name, tree));
    show(labelTable(node.name, await node.labels()));
    if (held === undefined) return;
    const match = matchOf(held);
    show(flowTable(node.name, match, await node.flows(match)));
  }
}

/** The client's end: the service's node and the backend's both know it under that. */
const matchOf = ({ page }: Held) => `${CLIENT.ipv4}:${page.callerPort} & proto tcp`;
