/**
 * The `loadbalancer` scenario's stage: two compute nodes with a backend each, their control node, and a gateway that has
 * its routes from it by BGP and the Internet behind it, as a simulated cluster; and the few things that are done on it.
 */
import type { NeighbourFile } from '../config/bgp.ts';
import type { EncapName } from '../rib/route.ts';
import { FABRIC_WIRE, type PlacedTenant, type SeenFrame, SimulatedCluster } from './cluster.ts';
import {
  AS,
  type BackendPlan,
  CONTROL,
  EXTERNAL_NETWORK,
  EXTERNAL_TARGET,
  GATEWAY,
  INTERNET,
  INTERNET_HOST,
  NODES,
  POD_GATEWAY,
  POD_NETWORK,
  SERVICE,
  UPSTREAM,
} from './loadbalancer-plan.ts';
import type { Connection, Tenant } from './tenant.ts';
import { decodeFrame, decodeIpv4, ipv4Text, PROTOCOL } from './wire.ts';

const MACS = {
  first: '52:54:00:00:02:22',
  second: '52:54:00:00:03:33',
  gateway: '52:54:00:00:02:04',
} as const;
/** Past those that connections.ts takes. */
const FIRST_PORT = 61_000;
/** A session, and the first retry of one that was refused. */
const SESSION_MS = 10_000;
const GRE = 47;

export interface LoadbalancerOptions {
  readonly seed: bigint;
  /** Of the gateway. */
  readonly maximumPaths?: number;
  /** What each sends and takes. */
  readonly encaps?: {
    readonly [K in 'first' | 'second' | 'gateway']?: readonly EncapName[];
  };
  /** What the gateway's VRF imports and exports; default: what the network of the external IPs does. */
  readonly gatewayTarget?: string;
  /** Of both ends of the BGP session. */
  readonly session?: Partial<Omit<NeighbourFile, 'address'>>;
}

export class LoadbalancerStage {
  readonly cluster: SimulatedCluster;
  #nextPort = FIRST_PORT;

  constructor(options: LoadbalancerOptions) {
    const { seed, maximumPaths, encaps = {}, session = {}, gatewayTarget } = options;
    const neighbour = (address: string): NeighbourFile => ({ ...session, address, as: AS });
    const cluster = new SimulatedCluster({
      seed,
      controls: [
        {
          ...CONTROL,
          bgp: { as: AS, router_id: CONTROL.ipv4, neighbors: [neighbour(GATEWAY.ipv4)] },
        },
      ],
    });
    this.cluster = cluster;
    const node = (of: 'first' | 'second' | 'gateway') => ({
      mac: MACS[of],
      ...(encaps[of] && { encaps: encaps[of] }),
    });
    cluster.addNodes([
      { ...NODES.first, ...node('first') },
      { ...NODES.second, ...node('second') },
      {
        ...GATEWAY,
        ...node('gateway'),
        bgp: {
          ...{ as: AS, router_id: GATEWAY.ipv4, neighbors: [neighbour(CONTROL.ipv4)] },
          maximum_paths: maximumPaths,
        },
      },
    ]);
    cluster.createInstance({ name: POD_NETWORK });
    const targets = { import: [EXTERNAL_TARGET], export: [EXTERNAL_TARGET] };
    cluster.createInstance({ name: EXTERNAL_NETWORK, ...targets });
    for (const { agent, gateway } of cluster.nodes.values()) {
      const its = [gatewayTarget ?? EXTERNAL_TARGET];
      gateway?.addVrf({ name: INTERNET, import: its, export: its });
      const vrfs = gateway === undefined ? [POD_NETWORK, EXTERNAL_NETWORK] : [INTERNET];
      for (const name of vrfs) agent.addVrf({ name });
    }
    cluster.place({
      ...{ ...INTERNET_HOST, node: GATEWAY.name, vrf: INTERNET },
      ...{ gateway: UPSTREAM.gateway, router: UPSTREAM.ipv4, prefixes: [UPSTREAM.prefix] },
    });
  }

  get internet(): Tenant {
    return this.cluster.placed(INTERNET_HOST.name).tenant;
  }

  /** Until sessions are up, and what they have to say has been said. */
  meet(): void {
    this.cluster.settle();
    this.cluster.advance(SESSION_MS);
  }

  addBackend(pod: BackendPlan): PlacedTenant {
    return this.cluster.place({
      ...{ ...pod, vrf: POD_NETWORK, gateway: POD_GATEWAY, listen: [SERVICE.toPort] },
      floatingIps: [
        {
          ...{ address: SERVICE.ipv4, vrf: EXTERNAL_NETWORK },
          ports: [{ protocol: 'tcp', port: SERVICE.port, toPort: SERVICE.toPort }],
        },
      ],
    });
  }

  removeBackend(pod: BackendPlan): void {
    this.cluster.remove(pod.name);
  }

  /** So many at once, from ports not used before, each with one answer. */
  open(count: number): Connection[] {
    const { internet, cluster } = this;
    const all = Array.from({ length: count }, () =>
      internet.connect(SERVICE.ipv4, SERVICE.port, this.#nextPort++),
    );
    cluster.settle();
    this.ask(all);
    return all;
  }

  ask(all: readonly Connection[]): void {
    for (const connection of all) this.internet.request(connection);
    this.cluster.settle();
  }

  close(all: readonly Connection[]): void {
    for (const connection of all) this.internet.close(connection);
    this.cluster.settle();
  }
}

export type TunnelKind = 'gre' | 'udp' | 'other';

/** `gre 192.168.0.204 -> 10.169.25.20`: a frame's tunnel, by its outer header. */
export function tunnelOf({ wire, frame }: SeenFrame): string | undefined {
  if (wire !== FABRIC_WIRE) return undefined;
  const outer = decodeIpv4(decodeFrame(frame)?.payload ?? Buffer.alloc(0));
  if (outer === undefined) return undefined;
  const kinds: Readonly<Record<number, TunnelKind>> = { [GRE]: 'gre', [PROTOCOL.udp]: 'udp' };
  const kind = kinds[outer.protocol] ?? 'other';
  return `${kind} ${ipv4Text(outer.source)} -> ${ipv4Text(outer.destination)}`;
}

/** Frames by tunnel, while `run` runs. */
export function tunnelsUsed(cluster: SimulatedCluster, run: () => void): Map<string, number> {
  const used = new Map<string, number>();
  const stop = cluster.tap((seen) => {
    const tunnel = tunnelOf(seen);
    if (tunnel !== undefined) used.set(tunnel, (used.get(tunnel) ?? 0) + 1);
  });
  run();
  stop();
  return new Map([...used].sort(([a], [b]) => (a < b ? -1 : 1)));
}
