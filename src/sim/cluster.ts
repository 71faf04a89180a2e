/**
 * A cluster in one process: vRouters with their agents, the route exchange they share, the fabric between
 * them and the tenants behind them. Same data plane and agent as on a compute node; only ports, clock and
 * scheduling are simulated.
 *
 * Deterministic: nothing runs by itself. `settle()` moves frames and routes until nothing moves any more, at
 * one instant of virtual time; `advance()` lets time pass. The same calls give the same run, bit for bit.
 */
import { Agent } from '../agent/agent.ts';
import type { FloatingIpIntent } from '../agent/intents.ts';
import type { Dataplane } from '../dataplane/api.ts';
import { openDataplane } from '../dataplane/dataplane.ts';
import { RouteExchange } from '../rib/exchange.ts';
import { Fabric } from './fabric.ts';
import { Tenant, type TenantOptions } from './tenant.ts';

/** More rounds than this at one instant: frames go in circles. */
const MAX_ROUNDS = 10_000;

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

export class SimulatedCluster {
  readonly exchange = new RouteExchange();
  readonly fabric = new Fabric();
  readonly nodes = new Map<string, SimulatedNode>();
  readonly tenants = new Map<string, PlacedTenant>();
  readonly #seed: bigint;
  #nowNs = 0n;

  constructor(seed: bigint) {
    this.#seed = seed;
  }

  get nowNs(): bigint {
    return this.#nowNs;
  }

  /** All nodes at once: each must know the MACs of the others. */
  addNodes(all: readonly NodeOptions[]): void {
    for (const [index, options] of all.entries()) {
      const dataplane = openDataplane({
        flowEntries: 65_536,
        seed: this.#seed + BigInt(index),
      });
      const uplink = dataplane.addPort({ kind: 'memory' });
      this.fabric.attach(options.name, options.mac);
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
      this.nodes.set(options.name, { ...options, dataplane, agent, uplink });
    }
  }

  node(name: string): SimulatedNode {
    const node = this.nodes.get(name);
    if (node === undefined) throw new Error(`no node ${name}`);
    return node;
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

  remove(name: string): void {
    const placed = this.tenants.get(name);
    if (placed === undefined) throw new Error(`no tenant ${name}`);
    placed.node.agent.removeVif(placed.vif);
    this.tenants.delete(name);
    this.settle();
    placed.node.dataplane.removePort(placed.port);
  }

  /** Routes and frames move until nothing does. Time stands still. Returns frames moved. */
  settle(): number {
    let moved = 0;
    for (let round = 0; round < MAX_ROUNDS; round += 1) {
      const routes = this.#moveRoutes();
      const frames = this.#moveFrames();
      moved += frames;
      if (routes === 0 && frames === 0) return moved;
    }
    throw new Error(`the cluster did not settle in ${MAX_ROUNDS} rounds`);
  }

  advance(milliseconds: number): void {
    this.#nowNs += BigInt(Math.round(milliseconds * 1_000_000));
    this.settle();
  }

  close(): void {
    for (const node of this.nodes.values()) node.dataplane.close();
  }

  #moveRoutes(): number {
    const before = [...this.nodes.values()].map((n) => n.dataplane.info().generation);
    for (const node of this.nodes.values()) node.agent.flush();
    const delivered = this.exchange.flush();
    for (const node of this.nodes.values()) node.agent.flush();
    const after = [...this.nodes.values()].map((n) => n.dataplane.info().generation);
    return delivered + after.filter((g, i) => g !== before[i]).length;
  }

  #moveFrames(): number {
    let moved = 0;
    for (const { tenant, node, port } of this.tenants.values()) {
      const frames = tenant.take();
      moved += node.dataplane.inject(port, frames);
    }
    for (const node of this.nodes.values()) {
      moved += node.dataplane.inject(node.uplink, this.fabric.take(node.name));
      // A breath takes one burst a port; more may wait.
      while (node.dataplane.step(this.#nowNs) > 0);
      for (const frame of node.dataplane.collect(node.uplink)) {
        this.fabric.send(node.name, Buffer.from(frame), this.#nowNs);
        moved += 1;
      }
    }
    for (const { tenant, node, port } of this.tenants.values()) {
      for (const frame of node.dataplane.collect(port)) {
        tenant.deliver(Buffer.from(frame));
        moved += 1;
      }
    }
    return moved;
  }
}
