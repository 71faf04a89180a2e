/** Nodes of the clusterip scenario on recording data planes and one exchange, flushed by hand. */
import { Agent, type AgentOptions } from '../../../src/agent/agent.ts';
import type { VifIntent } from '../../../src/agent/intents.ts';
import { RouteExchange } from '../../../src/control/exchange.ts';
import type { Dataplane, DumpTable, FullOp } from '../../../src/dataplane/api.ts';
import { openDataplane } from '../../../src/dataplane/dataplane.ts';
import { RecordingDataplane } from '../../support/recording-dataplane.ts';

/** The tables' twin, which refuses dangling references, and the real core with ports to bind to. */
export const DATAPLANES: [string, () => Dataplane][] = [
  ['recording', () => new RecordingDataplane()],
  [
    'core',
    () => {
      const dataplane = openDataplane({ flowEntries: 1024, buffers: 256 });
      for (let i = 0; i < 64; i++) dataplane.addPort({ kind: 'memory' });
      return dataplane;
    },
  ],
];

export const POD = 'k8s-default-pod-network';
export const SERVICE = 'k8s-default-service-network';
export const VIP = '10.105.139.153';
const ADDRESSES: Record<string, string> = {
  cent111: '10.169.25.19',
  cent222: '10.169.25.20',
  cent333: '10.169.25.21',
};

export function macOf(node: string): string {
  return `02:00:00:00:00:${ADDRESSES[node]?.split('.')[3]?.padStart(2, '0')}`;
}

type Row<N extends FullOp['op']> = Extract<FullOp, { op: N }>;

/** A node and what is in its tables. */
export class Node {
  readonly agent: Agent;
  readonly dataplane: Dataplane;

  constructor(agent: Agent, dataplane: Dataplane) {
    this.agent = agent;
    this.dataplane = dataplane;
  }

  rows<N extends FullOp['op']>(table: DumpTable, op: N): Row<N>[] {
    return this.dataplane.dump(table).filter((row): row is Row<N> => row.op === op);
  }

  vrf(name: string): number {
    return this.agent.vrfId(name) as number;
  }

  route(vrf: string, prefix: string): Row<'route_set'> | undefined {
    const id = this.vrf(vrf);
    return this.rows('routes', 'route_set').find((r) => r.vrf === id && r.prefix === prefix);
  }

  mac(vrf: string, mac: string): Row<'mac_set'> | undefined {
    const id = this.vrf(vrf);
    return this.rows('macs', 'mac_set').find((r) => r.vrf === id && r.mac === mac);
  }

  nextHop(id: number | undefined): FullOp | undefined {
    return this.dataplane.dump('next_hops').find((row) => 'nextHop' in row && row.nextHop === id);
  }

  /** The members of a route's ECMP set: `0:local web-1`, `1:10.169.25.21 label 17`. */
  members(vrf: string, prefix: string): string[] {
    const set = this.nextHop(this.route(vrf, prefix)?.nextHop);
    if (set?.op !== 'nh_ecmp_set') return [];
    return set.members.map(
      ({ member, nextHop, label }) => `${member}:${this.#shown(nextHop, label)}`,
    );
  }

  #shown(id: number, label: number): string {
    const target = this.nextHop(id);
    if (target?.op === 'nh_tunnel_set') return `${target.destination} label ${label}`;
    if (target?.op !== 'nh_interface_set') return `${target?.op}`;
    return `local ${this.rows('vifs', 'vif_set').find((vif) => vif.vif === target.vif)?.name}`;
  }
}

export class Cluster {
  readonly exchange = new RouteExchange();
  readonly nodes: Node[] = [];

  constructor() {
    for (const name of [POD, SERVICE]) this.exchange.createInstance({ name });
    this.exchange.connect(POD, SERVICE);
  }

  node<D extends Dataplane>(
    name: string,
    dataplane: D,
    more: Partial<AgentOptions> = {},
  ): Node & { dataplane: D } {
    const neighbours = Object.fromEntries(
      Object.entries(ADDRESSES)
        .filter(([other]) => other !== name)
        .map(([other, address]) => [address, macOf(other)]),
    );
    const agent = new Agent({
      name,
      dataplane,
      routes: this.exchange.attach(name),
      underlay: { port: 0, mac: macOf(name), ipv4: ADDRESSES[name] as string, neighbours },
      ...more,
    });
    const node = new Node(agent, dataplane);
    this.nodes.push(node);
    return node as Node & { dataplane: D };
  }

  /** Until nobody has anything to say. */
  settle(): void {
    for (let quiet = false; !quiet; ) {
      for (const { agent } of this.nodes) if (agent.pending) agent.flush();
      quiet = this.exchange.flush() === 0 && !this.nodes.some(({ agent }) => agent.pending);
    }
  }

  close(): void {
    for (const { dataplane } of this.nodes) dataplane.close();
  }
}

export function pod(name: string, last: number, more: Partial<VifIntent> = {}): VifIntent {
  return {
    name,
    port: last - 200,
    vrf: POD,
    tenantMac: `02:e7:03:ea:67:${(last % 256).toString(16).padStart(2, '0')}`,
    ipv4: `10.47.255.${last}`,
    gateway4: '10.47.255.254',
    ...more,
  };
}

export const SERVICE_IP = {
  address: VIP,
  vrf: SERVICE,
  direction: 'ingress',
  ports: [{ protocol: 'tcp', port: 8888, toPort: 80 }],
} as const;
