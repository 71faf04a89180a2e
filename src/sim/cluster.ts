/**
 * A cluster in one process: vRouters with their agents, the route exchange they share, the fabric between
 * them and the tenants behind them. Same data plane and agent as on a compute node; only ports, clock and
 * scheduling are simulated.
 *
 * Invariants
 *  * Nothing runs by itself. `settle()` moves frames and routes until nothing moves any more; `advance()`
 *    lets time pass. The same calls give the same run, bit for bit.
 *  * Frames and routes move in turns: in each round every frame gets one hop further, and one of the agents
 *    and the exchange brings its routes forward. So frames meet each state that a change of routes passes
 *    through, on each node, and not only the states before and after it.
 *  * No frame is lost outside a data plane: a full port, or a frame to nobody, is an error.
 */
import { Agent } from '../agent/agent.ts';
import type { FloatingIpIntent } from '../agent/intents.ts';
import { RouteExchange } from '../control/exchange.ts';
import type { Dataplane } from '../dataplane/api.ts';
import { openDataplane } from '../dataplane/dataplane.ts';
import { Fabric } from './fabric.ts';
import { Tenant, type TenantOptions } from './tenant.ts';

/** More rounds than this without an end: frames go in circles. */
const MAX_ROUNDS = 10_000;
/** How long a frame takes for a hop. */
const HOP_NS = 10_000n;

export interface NodeOptions {
  readonly name: string;
  readonly ipv4: string;
  readonly mac: string;
}

export interface SimulatedNode {
  readonly name: string;
  readonly ipv4: string;
  readonly mac: string;
  readonly dataplane: Dataplane;
  readonly agent: Agent;
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

export class SimulatedCluster {
  readonly exchange = new RouteExchange();
  readonly nodes = new Map<string, SimulatedNode>();
  readonly tenants = new Map<string, PlacedTenant>();
  readonly #fabric = new Fabric();
  readonly #seed: bigint;
  readonly #flowEntries: number;
  readonly #taps = new Set<(seen: SeenFrame) => void>();
  /** Whose turn it is to move routes. */
  #turn = 0;
  #nowNs = 0n;

  constructor(options: { readonly seed: bigint; readonly flowEntries?: number }) {
    this.#seed = options.seed;
    this.#flowEntries = options.flowEntries ?? 65_536;
  }

  get nowNs(): bigint {
    return this.#nowNs;
  }

  /** All nodes at once: each must know the MACs of the others. */
  addNodes(all: readonly NodeOptions[]): void {
    for (const [index, options] of all.entries()) {
      const seed = BigInt.asUintN(64, this.#seed * 0x9e3779b97f4a7c15n + BigInt(index));
      const dataplane = openDataplane({ flowEntries: this.#flowEntries, seed });
      const uplink = dataplane.addPort({ kind: 'memory' });
      this.#fabric.attach(options.name, options.mac);
      const agent = new Agent({
        name: options.name,
        dataplane,
        routes: this.exchange.attach(options.name),
        underlay: {
          port: uplink,
          mac: options.mac,
          ipv4: options.ipv4,
          neighbours: Object.fromEntries(
            all.filter((n) => n.name !== options.name).map((n) => [n.ipv4, n.mac]),
          ),
        },
      });
      this.nodes.set(options.name, { ...options, dataplane, agent, uplink, entered: 0 });
    }
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

  /** Routes and frames move until nothing does. Returns frames moved. */
  settle(): number {
    let moved = 0;
    let quiet = 0;
    for (let round = 0; round < MAX_ROUNDS; round += 1) {
      const routes = this.#moveRoutes();
      const frames = this.#moveFrames();
      moved += frames;
      if (frames > 0) this.#nowNs += HOP_NS;
      quiet = routes || frames > 0 ? 0 : quiet + 1;
      // Everyone has had a turn and found nothing to do.
      if (quiet > this.nodes.size) return moved;
    }
    throw new Error(`the cluster did not settle in ${MAX_ROUNDS} rounds`);
  }

  /** Time passes, then everything settles. */
  advance(milliseconds: number): void {
    this.#nowNs += BigInt(Math.round(milliseconds * 1_000_000));
    this.settle();
  }

  close(): void {
    for (const node of this.nodes.values()) {
      node.agent.close();
      node.dataplane.close();
    }
  }

  /** One of the nodes, or the exchange. Returns whether there was something to do. */
  #moveRoutes(): boolean {
    const nodes = [...this.nodes.values()];
    const turn = this.#turn;
    this.#turn = (turn + 1) % (nodes.length + 1);
    const node = nodes[turn];
    if (node === undefined) return this.exchange.flush() > 0;
    if (!node.agent.pending) return false;
    node.agent.flush();
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
      while (node.dataplane.step(this.#nowNs) > 0);
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
    const seen = { timeNs: this.#nowNs, wire, from, to, frame };
    for (const listener of this.#taps) listener(seen);
  }
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
