/**
 * A cluster in one process, or several that are federated by BGP: vRouters with their agents, the control nodes they have,
 * the fabric between them and the tenants behind them. Same data plane, agent, control node, XMPP and BGP sessions as in
 * real processes; only ports, streams, clock and scheduling are simulated.
 *
 * Invariants
 *  * Nothing runs by itself. `settle()` moves frames and routes until nothing moves any more; `advance()`
 *    lets time pass. The same calls give the same run, bit for bit.
 *  * Frames and routes move in turns: in each round every frame gets one hop further, and one thing happens to routes: an
 *    agent commits and says what it has to, a stream delivers one message, a control node tells what has changed. So
 *    frames meet each state that a change of routes passes through, on each node, and not only those before and after it.
 *  * Time stands still for messages, and passes for frames. Timers (keepalive, hold time, back-off) go off in `advance()`,
 *    each at its own time, with everything settled in between.
 *  * No frame is lost outside a data plane: a full port, or a frame to nobody, is an error.
 */
import { Agent } from '../agent/agent.ts';
import type { FloatingIpIntent } from '../agent/intents.ts';
import type { InstanceSpec } from '../control/exchange.ts';
import type { Dataplane } from '../dataplane/api.ts';
import { openDataplane } from '../dataplane/dataplane.ts';
import type { RouteSource, RouteUpdate } from '../rib/route.ts';
import { ControlNodes } from '../xmpp/control-nodes.ts';
import type { Clock } from '../xmpp/transport/byte-stream.ts';
import { BgpNetwork } from './bgp-network.ts';
import { VirtualClock } from './clock.ts';
import { type ControlOptions, type SeenMessage, SimulatedControl } from './control.ts';
import { Fabric } from './fabric.ts';
import { randomOf } from './random.ts';
import { Tenant, type TenantOptions } from './tenant.ts';

/** More rounds than this without an end: frames go in circles, or routes do. A message takes one. */
const MAX_ROUNDS = 100_000;
/** How long a frame takes for a hop. */
const HOP_NS = 10_000n;
const DEFAULT_CONTROL: ControlOptions = { name: 'control', ipv4: '10.169.25.19' };

export interface NodeOptions {
  readonly name: string;
  readonly ipv4: string;
  readonly mac: string;
  /** Names of its control nodes, in the order in which it prefers them. Default: all. */
  readonly controls?: readonly string[];
}

export interface SimulatedNode {
  readonly name: string;
  readonly ipv4: string;
  readonly mac: string;
  readonly dataplane: Dataplane;
  readonly agent: Agent;
  /** Where its agent has routes from. */
  readonly source: ControlNodes;
  readonly uplink: number; // port
  /** Frames put on its ports so far. */
  entered: number;
}

export interface PlacedTenant {
  readonly tenant: Tenant;
  readonly node: SimulatedNode;
  readonly port: number;
  readonly vif: string; // name, as its agent knows it
}

export interface PlaceOptions extends TenantOptions {
  readonly node: string;
  readonly vrf: string;
  readonly floatingIps?: readonly FloatingIpIntent[];
  readonly networkPolicies?: readonly string[];
}

/** A frame on a wire. */
export interface SeenFrame {
  readonly timeNs: bigint;
  /** `fabric`, or the name of a tenant: the wire between it and its node. */
  readonly wire: string;
  /** Names of nodes and tenants; `to` is '' where nobody on the fabric has the MAC. */
  readonly from: string;
  readonly to: string;
  readonly frame: Buffer;
}

export const FABRIC_WIRE = 'fabric';

/** What an agent hears from its control nodes, as it hears it. */
export interface HeardRoutes {
  readonly node: string;
  readonly updates: readonly RouteUpdate[];
}

export interface ClusterOptions {
  readonly seed: bigint;
  readonly flowEntries?: number;
  /** In the order in which agents prefer them. */
  readonly controls?: readonly ControlOptions[];
}

export class SimulatedCluster {
  readonly controls = new Map<string, SimulatedControl>();
  /** What control nodes reach each other by. */
  readonly bgp = new BgpNetwork();
  readonly nodes = new Map<string, SimulatedNode>();
  readonly tenants = new Map<string, PlacedTenant>();
  readonly #fabric = new Fabric();
  readonly #seed: bigint;
  readonly #flowEntries: number;
  readonly #taps = new Set<(seen: SeenFrame) => void>();
  readonly #messageTaps = new Set<(seen: SeenMessage) => void>();
  readonly #routeTaps = new Set<(heard: HeardRoutes) => void>();
  /** Streams, sessions and control nodes run on it. */
  readonly #clock = new VirtualClock();
  readonly #agents: Agent[] = [];
  /** Whose turn it is to move routes. */
  #turn = 0;

  constructor({ seed, flowEntries = 65_536, controls = [DEFAULT_CONTROL] }: ClusterOptions) {
    this.#seed = seed;
    this.#flowEntries = flowEntries;
    const show = (seen: SeenMessage) => {
      for (const listener of this.#messageTaps) listener(seen);
    };
    for (const [index, options] of controls.entries()) {
      const surroundings = { clock: this.#clock, bgp: this.bgp, seed: seedOf(~seed, index), show };
      this.controls.set(options.name, new SimulatedControl(surroundings, options));
    }
  }

  /** For what else is to happen in this cluster's time. */
  get clock(): Clock {
    return this.#clock;
  }

  get nowNs(): bigint {
    return this.#clock.nowNs;
  }

  /** Configured on all control nodes. */
  createInstance(spec: InstanceSpec): void {
    for (const control of this.controls.values()) control.createInstance(spec);
  }

  /** Policy between two networks, on all control nodes. */
  connectInstances(a: string, b: string): void {
    for (const control of this.controls.values()) control.connectInstances(a, b);
  }

  /** All nodes at once: each must know the MACs of the others. */
  addNodes(all: readonly NodeOptions[]): void {
    for (const [index, options] of all.entries()) {
      const seed = seedOf(this.#seed, index);
      const dataplane = openDataplane({ flowEntries: this.#flowEntries, seed });
      const uplink = dataplane.addPort({ kind: 'memory' });
      this.#fabric.attach(options.name, options.mac);
      const source = this.#controlNodes(options, seed);
      const agent = new Agent({
        name: options.name,
        dataplane,
        routes: overheard(source, (updates) => {
          for (const listener of this.#routeTaps) listener({ node: options.name, updates });
        }),
        oneHop: true, // as in `vrouter node` with control nodes
        underlay: {
          port: uplink,
          mac: options.mac,
          ipv4: options.ipv4,
          neighbours: Object.fromEntries(
            all.filter((n) => n.name !== options.name).map((n) => [n.ipv4, n.mac]),
          ),
        },
      });
      source.start();
      this.#agents.push(agent);
      this.nodes.set(options.name, { ...options, dataplane, agent, source, uplink, entered: 0 });
    }
  }

  #controlNodes({ name, ipv4, controls }: NodeOptions, seed: bigint): ControlNodes {
    const clock = this.#clock;
    const own = controls?.map((control) => this.control(control)) ?? this.controls.values();
    return new ControlNodes({
      name,
      ownAddresses: [ipv4],
      nodes: [...own].map((control) => ({
        name: control.name,
        connect: control.connector(ipv4),
      })),
      clock,
      random: randomOf(seed),
      schedule: (run) => clock.after(0, run),
    });
  }

  control(name: string): SimulatedControl {
    const control = this.controls.get(name);
    if (control === undefined) throw new Error(`no control node ${name}`);
    return control;
  }

  node(name: string): SimulatedNode {
    const node = this.nodes.get(name);
    if (node === undefined) throw new Error(`no node ${name}`);
    return node;
  }

  placed(name: string): PlacedTenant {
    const placed = this.tenants.get(name);
    if (placed === undefined) throw new Error(`no tenant ${name}`);
    return placed;
  }

  place(options: PlaceOptions): PlacedTenant {
    const node = this.node(options.node);
    const tenant = new Tenant(options);
    const port = node.dataplane.addPort({ kind: 'memory' });
    const vif = `tap-${options.name}`;
    node.agent.addVif({
      name: vif,
      port,
      vrf: options.vrf,
      tenantMac: options.mac,
      ipv4: options.ipv4,
      gateway4: options.gateway,
      ...(options.floatingIps ? { floatingIps: options.floatingIps } : {}),
      ...(options.networkPolicies ? { networkPolicies: options.networkPolicies } : {}),
    });
    const placed = { tenant, node, port, vif };
    this.tenants.set(options.name, placed);
    return placed;
  }

  /** Interface and tenant go at once; the others learn of it by their routes. */
  remove(name: string): void {
    const placed = this.placed(name);
    placed.node.agent.removeVif(placed.vif);
    placed.node.agent.flush();
    placed.node.dataplane.removePort(placed.port);
    this.tenants.delete(name);
  }

  /** Called for every frame that goes onto a wire, before it arrives. Returns how to stop. */
  tap(listener: (seen: SeenFrame) => void): () => void {
    this.#taps.add(listener);
    return () => this.#taps.delete(listener);
  }

  /** Called for all that agents and control nodes write to each other, when it is written. Returns how to stop. */
  tapMessages(listener: (seen: SeenMessage) => void): () => void {
    this.#messageTaps.add(listener);
    return () => this.#messageTaps.delete(listener);
  }

  /** Called for what each agent hears of routes. Returns how to stop. */
  tapRoutes(listener: (heard: HeardRoutes) => void): () => void {
    this.#routeTaps.add(listener);
    return () => this.#routeTaps.delete(listener);
  }

  /**
   * Routes and frames move until nothing does; `meanwhile` is called in each round in which routes have moved, for a
   * change takes more rounds than a frame. Returns frames moved.
   */
  settle(meanwhile?: () => void): number {
    let moved = 0;
    for (let round = 0; round < MAX_ROUNDS; round += 1) {
      const routes = this.#moveRoutes();
      if (routes) meanwhile?.();
      const frames = this.#moveFrames();
      moved += frames;
      if (frames > 0) this.#clock.advanceTo(this.nowNs + HOP_NS);
      else if (!routes) return moved;
    }
    throw new Error(`the cluster did not settle in ${MAX_ROUNDS} rounds`);
  }

  /** Time passes; what is due meanwhile happens at its time. Then everything settles. */
  advance(milliseconds: number): void {
    const end = this.nowNs + BigInt(Math.round(milliseconds * 1_000_000));
    for (let due = this.#clock.dueNs; due !== undefined && due < end; due = this.#clock.dueNs) {
      this.#clock.advanceTo(due);
      this.settle();
    }
    this.#clock.advanceTo(end);
    this.settle();
  }

  close(): void {
    for (const node of this.nodes.values()) {
      node.agent.close();
      node.dataplane.close();
    }
  }

  /** One agent, or the first thing that is due on the clock. Returns whether there was anything to do. */
  #moveRoutes(): boolean {
    const turns = this.#agents.length + 1;
    for (let i = 0; i < turns; i += 1) {
      const turn = (this.#turn + i) % turns;
      if (!this.#takeTurn(this.#agents[turn])) continue;
      this.#turn = (turn + 1) % turns;
      return true;
    }
    return false;
  }

  #takeTurn(agent: Agent | undefined): boolean {
    if (agent === undefined) return this.#clock.runOne();
    if (!agent.pending) return false;
    agent.flush();
    return true;
  }

  #moveFrames(): number {
    let moved = 0;
    for (const { tenant, node, port } of this.tenants.values()) {
      const frames = tenant.take();
      for (const frame of frames) this.#show(tenant.name, tenant.name, node.name, frame);
      moved += inject(node, port, frames);
    }
    for (const node of this.nodes.values()) {
      moved += inject(node, node.uplink, this.#fabric.take(node.name));
    }
    for (const node of this.nodes.values()) {
      // A breath takes one burst from each port.
      while (node.dataplane.step(this.nowNs) > 0);
      for (const frame of collect(node, node.uplink)) {
        const to = this.#fabric.send(frame);
        this.#show(FABRIC_WIRE, node.name, to ?? '', frame);
        moved += 1;
      }
    }
    for (const { tenant, node, port } of this.tenants.values()) {
      for (const frame of collect(node, port)) {
        this.#show(tenant.name, node.name, tenant.name, frame);
        tenant.deliver(frame);
        moved += 1;
      }
    }
    return moved;
  }

  #show(wire: string, from: string, to: string, frame: Buffer): void {
    if (this.#taps.size === 0) return;
    const seen = { timeNs: this.nowNs, wire, from, to, frame };
    for (const listener of this.#taps) listener(seen);
  }
}

const seedOf = (seed: bigint, index: number): bigint =>
  BigInt.asUintN(64, seed * 0x9e3779b97f4a7c15n + BigInt(index));

function overheard(
  source: RouteSource,
  hear: (updates: readonly RouteUpdate[]) => void,
): RouteSource {
  return {
    name: source.name,
    onUpdates: (listener) =>
      source.onUpdates((updates) => {
        hear(updates);
        listener(updates);
      }),
    subscribe: (instance, id) => source.subscribe(instance, id),
    unsubscribe: (instance) => source.unsubscribe(instance),
    publish: (route) => source.publish(route),
    withdraw: (key) => source.withdraw(key),
    close: () => source.close(),
  };
}

function inject(node: SimulatedNode, port: number, frames: readonly Buffer[]): number {
  if (frames.length === 0) return 0;
  const taken = node.dataplane.inject(port, frames);
  if (taken !== frames.length) {
    throw new Error(`${node.name}: port ${port} took ${taken} of ${frames.length} frames`);
  }
  node.entered += taken;
  return taken;
}

function collect(node: SimulatedNode, port: number): Buffer[] {
  return node.dataplane
    .collect(port)
    .map((frame) => Buffer.from(frame.buffer, frame.byteOffset, frame.byteLength));
}
