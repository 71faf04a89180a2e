/**
 * Faults put into a simulated cluster on purpose, to prove that a demonstration's verdict is computed: each
 * must turn it. They change the data plane behind the agent's back, as a defect or a bit flip would.
 */
import type { DumpTable, FullOp, Op } from '../dataplane/api.ts';
import type { SimulatedNode } from './cluster.ts';
import type { Stage } from './clusterip.ts';
import { BACKENDS, UNMAPPED_PORT, WEB } from './clusterip-plan.ts';

export interface Sabotage {
  readonly what: string;
  /** When all is set up and nothing has been sent. */
  readonly atStart?: (stage: Stage) => void;
  /** After each change of the number of backends. */
  readonly afterScaling?: (stage: Stage) => void;
  readonly withoutPolicy?: boolean;
}

type OpOf<N extends FullOp['op']> = Extract<FullOp, { op: N }>;

/** Writes changed copies of the ops that `change` does not refuse; at least one must be there. */
export function tamper<N extends FullOp['op']>(
  node: SimulatedNode,
  table: DumpTable,
  name: N,
  change: (op: OpOf<N>) => OpOf<N> | undefined,
): void {
  const changed = node.dataplane
    .dump(table)
    .filter((op): op is OpOf<N> => op.op === name)
    .map(change)
    .filter((op) => op !== undefined);
  if (changed.length === 0) throw new Error(`${node.name}: nothing to sabotage among ${table}`);
  node.dataplane.commit(changed as Op[]);
}

/** Members of all ECMP sets that leave by a tunnel. */
export function tamperTunnelMembers(
  node: SimulatedNode,
  change: (member: OpOf<'nh_ecmp_set'>['members'][number]) => typeof member,
): void {
  const tunnels = new Set(
    node.dataplane
      .dump('next_hops')
      .filter((op) => op.op === 'nh_tunnel_set')
      .map((op) => op.nextHop),
  );
  tamper(node, 'next_hops', 'nh_ecmp_set', (op) => {
    if (!op.members.some((m) => tunnels.has(m.nextHop))) return undefined;
    const members = op.members.map((m) => (tunnels.has(m.nextHop) ? change(m) : m));
    return { ...op, members };
  });
}

const [, remoteBackend] = BACKENDS;

export const SABOTAGE: Readonly<Record<string, Sabotage>> = {
  'drop-nat': {
    what: `the port map of ${WEB.name} is gone from ${remoteBackend.name} on ${remoteBackend.node}`,
    atStart: ({ remoteNode }) =>
      tamper(remoteNode, 'floating_ips', 'floating_ip_set', (op) =>
        op.address === WEB.ipv4 ? { ...op, ports: [] } : undefined,
      ),
  },
  'swap-label': {
    what: 'the client node sends to the other node with a wrong label',
    atStart: ({ clientNode }) =>
      tamperTunnelMembers(clientNode, (member) => ({ ...member, label: member.label + 1000 })),
  },
  'wrong-mac': {
    what: `${remoteBackend.node} writes a wrong MAC on frames to ${remoteBackend.name}`,
    atStart: ({ remoteNode }) =>
      tamper(remoteNode, 'next_hops', 'nh_interface_set', (op) =>
        op.destinationMac === remoteBackend.mac
          ? { ...op, destinationMac: '02:ed:00:00:09:99' }
          : undefined,
      ),
  },
  'no-policy': {
    what: 'there is no policy between the pod network and the service network',
    withoutPolicy: true,
  },
  'skew-weight': {
    what: 'the client node weighs the other node three times as much as itself',
    atStart: ({ clientNode }) =>
      tamperTunnelMembers(clientNode, (member) => ({ ...member, weight: 3 })),
  },
  'open-port': {
    what: `${remoteBackend.name} also takes port ${UNMAPPED_PORT} of the service, which nobody mapped`,
    atStart: ({ remoteNode }) =>
      tamper(remoteNode, 'floating_ips', 'floating_ip_set', (op) =>
        op.address === WEB.ipv4
          ? { ...op, ports: [...op.ports, { protocol: 6, port: UNMAPPED_PORT, toPort: 80 }] }
          : undefined,
      ),
  },
  'renumber-members': {
    what: 'the members of the ECMP set get new ids when the service grows or shrinks',
    afterScaling: ({ clientNode, backends }) => {
      if (backends.length < 2) return; // one is no set
      tamper(clientNode, 'next_hops', 'nh_ecmp_set', (op) => ({
        ...op,
        members: op.members.map((m, i) => ({ ...m, member: 200 + ((i + 1) % op.members.length) })),
      }));
    },
  },
};

export const SABOTAGE_NAMES: readonly string[] = Object.keys(SABOTAGE);
