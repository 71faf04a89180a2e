/**
 * The `clusterip` scenario's stage: the plan's nodes, networks and pods as a simulated cluster, and the few
 * things that are done on it. What is observed is in clusterip-traffic.ts; what should be observed is said
 * elsewhere.
 */
import type { FloatingIpIntent } from '../agent/intents.ts';
import { type PlacedTenant, SimulatedCluster, type SimulatedNode } from './cluster.ts';
import {
  CLIENT,
  CONTROLS,
  MULTI_PORT,
  NODES,
  POD_GATEWAY,
  POD_NETWORK,
  type PodPlan,
  SERVICE_NETWORK,
  type ServicePlan,
  WEB,
} from './clusterip-plan.ts';
import { Clients } from './connections.ts';
import type { Connection, Tenant } from './tenant.ts';

export const MAX_CONNECTIONS = 20_000;

const NODE_MACS = { client: '52:54:00:00:02:22', remote: '52:54:00:00:03:33' } as const;

export interface StageOptions {
  readonly seed: bigint;
  /** Policy between pods and services: without it neither network knows the other's routes. */
  readonly connectNetworks: boolean;
}

export class Stage {
  readonly cluster: SimulatedCluster;
  readonly clients: Clients;

  constructor({ seed, connectNetworks }: StageOptions) {
    // Two entries for each connection, open or just closed, on each node.
    const cluster = new SimulatedCluster({ seed, flowEntries: 131_072, controls: CONTROLS });
    this.cluster = cluster;
    this.clients = new Clients(cluster);
    cluster.addNodes([
      { ...NODES.client, mac: NODE_MACS.client },
      { ...NODES.remote, mac: NODE_MACS.remote },
    ]);
    for (const name of [POD_NETWORK, SERVICE_NETWORK]) {
      cluster.createInstance({ name });
      for (const node of cluster.nodes.values()) node.agent.addVrf({ name });
    }
    if (connectNetworks) cluster.connectInstances(POD_NETWORK, SERVICE_NETWORK);
  }

  get clientNode(): SimulatedNode {
    return this.cluster.node(NODES.client.name);
  }

  get remoteNode(): SimulatedNode {
    return this.cluster.node(NODES.remote.name);
  }

  get client(): Tenant {
    return this.cluster.placed(CLIENT.name).tenant;
  }

  /** Backends there are now, by name. */
  get backends(): Tenant[] {
    return [...this.cluster.tenants.values()]
      .map(({ tenant }) => tenant)
      .filter((tenant) => tenant.name !== CLIENT.name);
  }

  addClient(): PlacedTenant {
    return this.#place(CLIENT, {});
  }

  /** A pod behind both services, on all their ports. */
  addBackend(pod: PodPlan): PlacedTenant {
    const services = [WEB, MULTI_PORT];
    const ports = services.flatMap((service) => service.ports.map(({ toPort }) => toPort));
    return this.#place(pod, { listen: ports, floatingIps: services.map(floatingIp) });
  }

  removeBackend(pod: PodPlan): void {
    this.cluster.remove(pod.name);
  }

  /** From a port not used before by that tenant. */
  connect(from: Tenant, service: ServicePlan, port: number): Connection {
    return this.clients.connect(from, { ipv4: service.ipv4, port });
  }

  #place(
    pod: PodPlan,
    more: { readonly listen?: number[]; readonly floatingIps?: FloatingIpIntent[] },
  ): PlacedTenant {
    return this.cluster.place({ ...pod, ...more, vrf: POD_NETWORK, gateway: POD_GATEWAY });
  }
}

/** A service address is a floating IP of every backend, in the service network, with a port map. */
function floatingIp(service: ServicePlan): FloatingIpIntent {
  return {
    address: service.ipv4,
    vrf: SERVICE_NETWORK,
    ports: service.ports.map((port) => ({ protocol: 'tcp', ...port })),
  };
}
