/**
 * The `anycast` scenario on real kernels: its plan as a stage (netns-stage.ts) has it, with TCP servers as backends
 * (netns-tcp.ts). The order of things and the verdict are demo-anycast-netns.ts's.
 */
import {
  type AnycastPlan,
  bgpOf,
  FABRIC_LENGTH,
  INGRESS_NETWORK,
  type PodPlan,
  SERVICE,
} from '../sim/anycast-plan.ts';
import type { StagedPod, StagePlan } from './netns-stage.ts';
import { TCP_SERVER } from './netns-tcp.ts';

const POD_LENGTH = 16;

/** BGP on its own port: control nodes are in namespaces of their own. */
export function stagePlan(plan: AnycastPlan): StagePlan {
  return {
    fabricLength: FABRIC_LENGTH,
    controls: plan.clusters.flatMap(({ controls, instances }) =>
      controls.map((control) => ({
        ...control,
        settings: {
          instances: [...instances],
          bgp: { ...bgpOf(plan, control), listen: [`${control.ipv4}:179`] },
        },
      })),
    ),
    nodes: plan.clusters.flatMap(({ nodes, controls, instances }) =>
      nodes.map((node) => ({
        ...node,
        controls: controls.map(({ ipv4 }) => ipv4),
        vrfs: instances.map(({ name }) => name),
      })),
    ),
  };
}

export function stagedPod(plan: PodPlan): StagedPod {
  const { name, node, ipv4, mac, vrf, gateway } = plan;
  const pod = { name, node, ipv4, mac, vrf, gateway, prefixLength: POD_LENGTH };
  if (!plan.backend) return pod;
  const { port, toPort } = SERVICE;
  return {
    ...pod,
    floatingIps: [
      {
        address: SERVICE.ipv4,
        vrf: INGRESS_NETWORK,
        ports: [{ protocol: 'tcp', port, to_port: toPort }],
      },
    ],
    server: [process.execPath, '-e', TCP_SERVER, name, `${toPort}`],
  };
}
