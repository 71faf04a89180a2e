/**
 * What is sent in the `clusterip` scenario, and what was observed of it: connections in bulk, ports with and
 * without a mapping, a pod that meets itself, backends that come and go under traffic. Observations are
 * plain values taken from outside (tenants, wires) or from the tables; judging them is not done here.
 */
import type { FlowRecord } from '../dataplane/api.ts';
import { FABRIC_WIRE, type SeenFrame, type SimulatedNode } from './cluster.ts';
import type { Stage } from './clusterip.ts';
import {
  CLIENT,
  MULTI_PORT,
  type PodPlan,
  type ServicePlan,
  UNMAPPED_PORT,
  WEB,
  WEB_PORT,
} from './clusterip-plan.ts';
import {
  HeldConnections,
  type Load,
  loadFrom,
  loadOf,
  PERIOD,
  type Removed,
  removedOf,
  spread,
} from './connections.ts';
import type { Connection } from './tenant.ts';

const TRACE_TRIES = 32;
const HAIRPIN_TRIES = 32;
export const UNMAPPED_TRIES = 8;
const MULTI_PORT_CONNECTIONS = 20;

// --- the first connection ----------------------------------------------------------------------

export interface Trace {
  readonly connection: Connection;
  /** Connections it took until one led to the other node. */
  readonly tries: number;
  /** Frames of this connection, on all wires, in order of time. */
  readonly frames: readonly SeenFrame[];
}

/**
 * Connects until a backend on another node answers; that connection stays open. `first` sees each frame
 * before it arrives anywhere.
 */
export function traceRemote(stage: Stage, first: (seen: SeenFrame) => void): Trace | undefined {
  const remote = new Set(
    [...stage.cluster.tenants.values()]
      .filter(({ node }) => node === stage.remoteNode)
      .map(({ tenant }) => tenant.name),
  );
  for (let tries = 1; tries <= TRACE_TRIES; tries += 1) {
    const frames: SeenFrame[] = [];
    const stop = stage.cluster.tap((seen) => {
      frames.push(seen);
      first(seen);
    });
    const connection = stage.connect(stage.client, WEB, WEB_PORT);
    stage.cluster.settle();
    stage.client.request(connection);
    stage.cluster.settle();
    stop();
    const crossed = frames.some((seen) => seen.wire === FABRIC_WIRE);
    if (remote.has(connection.answers[0]?.backend ?? '') || crossed) {
      return { connection, tries, frames };
    }
    stage.client.close(connection);
    stage.cluster.settle();
  }
  return undefined;
}

/** A node's flows of a connection of the client, the initiator's half first. */
export function flowsOf(node: SimulatedNode, connection: Connection): FlowRecord[] {
  const { localPort } = connection;
  return node.dataplane
    .flows()
    .filter(
      (flow) =>
        (flow.source === CLIENT.ipv4 && flow.sourcePort === localPort) ||
        (flow.destination === CLIENT.ipv4 && flow.destinationPort === localPort),
    )
    .sort((a, b) => Number(b.initiator) - Number(a.initiator) || a.index - b.index);
}

// --- many connections --------------------------------------------------------------------------

export function load(
  stage: Stage,
  service: ServicePlan,
  port: number,
  count: number,
  onBatch: (ended: number) => void = () => {},
): Load {
  const { clients, client } = stage;
  return loadFrom(clients, { from: [client], to: { ipv4: service.ipv4, port }, count, onBatch });
}

export interface PortLoad extends Load {
  readonly port: number;
  readonly toPort: number;
}

export function multiPort(stage: Stage): PortLoad[] {
  return MULTI_PORT.ports.map(({ port, toPort }) => ({
    ...load(stage, MULTI_PORT, port, MULTI_PORT_CONNECTIONS),
    port,
    toPort,
  }));
}

// --- a port without a mapping ------------------------------------------------------------------

export interface Unmapped {
  readonly tries: number;
  /** Flows of these tries that a node refuses, as the CLI prints their action. */
  readonly refused: readonly { readonly node: string; readonly action: string }[];
  /** Packets counted as Flow Action Drop meanwhile, both nodes. */
  readonly dropped: number;
  /** Segments that reached a backend meanwhile. */
  readonly delivered: number;
  readonly answered: number;
}

function flowActionDrops(stage: Stage): number {
  let sum = 0;
  for (const { dataplane } of stage.cluster.nodes.values()) {
    sum += Number(dataplane.readCounters().drops.get('Flow Action Drop') ?? 0n);
  }
  return sum;
}

export function unmapped(stage: Stage): Unmapped {
  const { client, cluster } = stage;
  const segments = () => stage.backends.reduce((n, { segments, bad }) => n + segments + bad, 0);
  const before = { drops: flowActionDrops(stage), segments: segments() };
  const connections = Array.from({ length: UNMAPPED_TRIES }, () =>
    stage.connect(client, WEB, UNMAPPED_PORT),
  );
  cluster.settle();
  const refused = connections.flatMap((connection) =>
    [...cluster.nodes.values()].flatMap((node) =>
      flowsOf(node, connection)
        .filter((flow) => flow.action === 'D' && flow.initiator)
        .map((flow) => ({ node: node.name, action: `D(${flow.drop})` })),
    ),
  );
  return {
    tries: connections.length,
    refused,
    dropped: flowActionDrops(stage) - before.drops,
    delivered: segments() - before.segments,
    answered: connections.filter((c) => c.state !== 'syn-sent').length,
  };
}

// --- a pod that meets itself -------------------------------------------------------------------

export interface Hairpin {
  readonly backend: string;
  readonly tries: number;
  /** A connection of the pod was served by the pod itself. */
  readonly reached: boolean;
  /** The pod saw its own connection come from here. */
  readonly seenFrom: readonly string[];
  readonly requests: number;
  readonly answers: number;
}

export function hairpin(stage: Stage, pod: PodPlan): Hairpin {
  const { tenant } = stage.cluster.placed(pod.name);
  const { cluster } = stage;
  const connections: Connection[] = [];
  let seenFrom: string[] = [];
  const reached = (c: Connection) => c.answers.some(({ backend }) => backend === pod.name);
  while (connections.length < HAIRPIN_TRIES) {
    const before = new Set(tenant.callers);
    const connection = stage.connect(tenant, WEB, WEB_PORT);
    connections.push(connection);
    cluster.settle();
    tenant.request(connection);
    cluster.settle();
    tenant.close(connection);
    cluster.settle();
    seenFrom = [...tenant.callers].filter((caller) => !before.has(caller));
    if (reached(connection)) break;
  }
  return {
    backend: pod.name,
    tries: connections.length,
    reached: connections.some(reached),
    seenFrom,
    requests: connections.length,
    answers: connections.reduce((n, c) => n + c.answers.length, 0),
  };
}

// --- backends come and go ----------------------------------------------------------------------

export interface ScalePhase {
  readonly backends: readonly string[];
  /** Where the connections opened in this phase went. */
  readonly opened: ReadonlyMap<string, number>;
}

export interface Scale {
  readonly phases: readonly ScalePhase[];
  readonly survivor: string;
  /** Connections on the backend that was there all the time. */
  readonly surviving: Load & { readonly open: number };
  /** Connections on backends that were taken away. */
  readonly removed: Removed;
  readonly neverServed: number;
}

const HELD_A_PHASE = 100;
const PHASE_TICKS = 100;

export interface ScaleOptions {
  /** There all the time. */
  readonly survivor: PodPlan;
  readonly others: readonly [PodPlan, PodPlan];
  readonly afterScaling: () => void;
  readonly onPhase: (phase: ScalePhase) => void;
}

/** 1 -> 2 -> 3 -> 1. At the start only the survivor is there. */
export function scale(stage: Stage, options: ScaleOptions): Scale {
  const to = { ipv4: WEB.ipv4, port: WEB_PORT };
  const held = new HeldConnections(stage.clients, [stage.client], to);
  const phases: ScalePhase[] = [];
  const phase = (): void => {
    options.afterScaling();
    const before = stage.backends.map(({ name }) => name).sort();
    held.run(PHASE_TICKS);
    const opened = spread(held.open(HELD_A_PHASE));
    held.run(PHASE_TICKS);
    const done = { backends: before, opened };
    phases.push(done);
    options.onPhase(done);
  };
  phase();
  for (const pod of options.others) {
    held.runThrough(() => stage.addBackend(pod));
    phase();
  }
  const beforeRemoval = new Map(held.all.map((c) => [c, c.answers.at(-1)?.backend]));
  held.runThrough(() => {
    for (const pod of options.others) stage.removeBackend(pod);
  });
  // Each asks twice more: what still lives must show it.
  held.run(2 * PERIOD);
  const servedElsewhere = (c: Connection) =>
    ![undefined, options.survivor.name].includes(beforeRemoval.get(c));
  const removed = removedOf(held.all.filter(servedElsewhere));
  phase();
  return settleAccounts(stage, held.all, phases, beforeRemoval, removed, options.survivor.name);
}

function settleAccounts(
  stage: Stage,
  all: readonly Connection[],
  phases: readonly ScalePhase[],
  servedBy: ReadonlyMap<Connection, string | undefined>,
  removed: Scale['removed'],
  survivor: string,
): Scale {
  // By the first answer, or those that moved away would not be counted as lost.
  const surviving = all.filter(
    (c) => c.answers[0]?.backend === survivor || (servedBy.get(c) ?? survivor) === survivor,
  );
  const open = surviving.filter((c) => c.state === 'open').length;
  for (const connection of surviving) stage.client.close(connection);
  stage.cluster.settle();
  return {
    phases,
    survivor,
    surviving: { ...loadOf(surviving), open },
    removed,
    neverServed: all.filter((c) => c.answers.length === 0).length,
  };
}
