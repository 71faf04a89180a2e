/** Faults put into a simulated `anycast` on purpose, to prove that its verdict is computed: each must turn it. */
import type { AnycastStage } from './anycast.ts';
import { HUB_TARGET, PATCHED, SPOKE_NETWORKS, SPOKE_TARGET } from './anycast-plan.ts';
import { tamper, tamperTunnelMembers } from './sabotage.ts';

export interface AnycastSabotage {
  readonly what: string;
  readonly withoutPatch?: boolean;
  /** When all is set up and patched. */
  readonly atStart?: (stage: AnycastStage) => void;
  /** Just before all backends of a cluster die. */
  readonly beforeLoss?: (stage: AnycastStage) => void;
  /** When they have. */
  readonly afterLoss?: (stage: AnycastStage) => void;
}

const clientNodes = (stage: AnycastStage) => stage.nodesOf(stage.plan.clusters[2]);

export const ANYCAST_SABOTAGE: Readonly<Record<string, AnycastSabotage>> = {
  'no-patch': {
    what: "cluster 3's pod network is not given the target",
    withoutPatch: true,
  },
  'other-target': {
    what: "cluster 3's pod network is told what others say, and does not say its own",
    atStart: (stage) => {
      for (const control of stage.controlsOf(stage.plan.clusters[2])) {
        control.updateInstance({ ...PATCHED, export: PATCHED.export.slice(0, 1) });
      }
      stage.cluster.settle();
    },
  },
  'skew-weight': {
    what: "clients' nodes weigh the nodes of cluster 1 three times as much",
    atStart: (stage) => {
      const nodes = stage.nodesOf(stage.plan.clusters[0]);
      for (const node of clientNodes(stage)) {
        const near = node.dataplane
          .dump('next_hops')
          .flatMap((op) =>
            op.op === 'nh_tunnel_set' && nodes.some(({ ipv4 }) => ipv4 === op.destination)
              ? [op.nextHop]
              : [],
          );
        tamperTunnelMembers(node, (member) =>
          near.includes(member.nextHop) ? { ...member, weight: 3 } : member,
        );
      }
    },
  },
  unheard: {
    what: "cluster 3's control nodes are cut off before the backends die",
    beforeLoss: (stage) => {
      for (const control of stage.controlsOf(stage.plan.clusters[2])) control.unplug();
    },
  },
  'renumber-members': {
    what: 'the members of the ECMP set get new ids when a cluster is lost',
    afterLoss: (stage) => {
      for (const node of clientNodes(stage)) {
        tamper(node, 'next_hops', 'nh_ecmp_set', (op) => ({
          ...op,
          members: op.members.map((m, i) => ({
            ...m,
            member: 200 + ((i + 1) % op.members.length),
          })),
        }));
      }
    },
  },
  'leaky-spoke': {
    what: `${SPOKE_NETWORKS.slice(1).join(' and ')} also take in what spokes export`,
    atStart: (stage) => {
      for (const control of stage.controlsOf(stage.plan.clusters[2])) {
        for (const name of SPOKE_NETWORKS.slice(1)) {
          const both = [HUB_TARGET, SPOKE_TARGET];
          control.updateInstance({ name, import: both, export: [SPOKE_TARGET] });
        }
      }
      stage.cluster.settle();
    },
  },
};

export const ANYCAST_SABOTAGE_NAMES: readonly string[] = Object.keys(ANYCAST_SABOTAGE);
