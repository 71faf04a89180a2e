/**
 * The `anycast` scenario's stage: the plan's three clusters in one simulation, federated by BGP, and the few things that
 * are done on them. What is observed is in program/anycast-observed.ts; what should be observed is said elsewhere.
 */
import {
  type AnycastPlan,
  anycastPlan,
  bgpOf,
  type ClusterPlan,
  INGRESS_NETWORK,
  PATCHED,
  type Peering,
  type PodPlan,
  SERVICE,
} from './anycast-plan.ts';
import { type PlacedTenant, SimulatedCluster, type SimulatedNode } from './cluster.ts';
import { Clients } from './connections.ts';
import type { SimulatedControl } from './control.ts';
import type { Tenant } from './tenant.ts';

/** Sessions come up in it, with what they have to say. */
const START_MS = 60_000;

export class AnycastStage {
  readonly plan: AnycastPlan;
  readonly cluster: SimulatedCluster;
  readonly clients: Clients;

  constructor(seed: bigint, peering: Peering) {
    this.plan = anycastPlan(peering, 'full');
    const { clusters } = this.plan;
    this.cluster = new SimulatedCluster({
      seed,
      // Two entries for each connection, open or just closed, on each node.
      flowEntries: 131_072,
      controls: clusters.flatMap(({ controls }) =>
        controls.map((control) => ({ ...control, bgp: bgpOf(this.plan, control) })),
      ),
    });
    this.clients = new Clients(this.cluster);
    for (const home of clusters) {
      for (const { name } of home.controls) {
        for (const spec of home.instances) this.cluster.control(name).createInstance(spec);
      }
    }
    this.cluster.addNodes(
      clusters.flatMap(({ nodes, controls }) =>
        nodes.map((node) => ({ ...node, controls: controls.map(({ name }) => name) })),
      ),
    );
    for (const home of clusters) {
      for (const node of this.nodesOf(home)) {
        for (const { name } of home.instances) node.agent.addVrf({ name });
      }
      for (const pod of home.pods) this.place(pod);
    }
    this.cluster.advance(START_MS);
  }

  nodesOf({ nodes }: ClusterPlan): SimulatedNode[] {
    return nodes.map(({ name }) => this.cluster.node(name));
  }

  controlsOf({ controls }: ClusterPlan): SimulatedControl[] {
    return controls.map(({ name }) => this.cluster.control(name));
  }

  /** The service's clients, one on each node of cluster 3. */
  get callers(): Tenant[] {
    const [, , home] = this.plan.clusters;
    return home.pods
      .filter(({ vrf }) => vrf === PATCHED.name)
      .map(({ name }) => this.cluster.placed(name).tenant);
  }

  place(pod: PodPlan): PlacedTenant {
    const floatingIps = [
      {
        address: SERVICE.ipv4,
        vrf: INGRESS_NETWORK,
        ports: [{ protocol: 'tcp' as const, port: SERVICE.port, toPort: SERVICE.toPort }],
      },
    ];
    return this.cluster.place({ ...pod, ...(pod.backend ? { floatingIps } : {}) });
  }

  /** Over each control node's API: cluster 3's pods are of the service's network from now on. */
  patch(): void {
    const [, , home] = this.plan.clusters;
    for (const control of this.controlsOf(home)) control.updateInstance(PATCHED);
  }

  close(): void {
    this.cluster.close();
  }
}
