/**
 * The `clusterip` scenario on real kernels: its plan as a stage (netns-stage.ts) has it, with HTTP servers as backends;
 * the client is curl. The order of things and the verdict are demo-netns.ts's.
 */
import type { NextHopView } from '../cli/views.ts';
import {
  CLIENT,
  CONTROLS,
  MULTI_PORT,
  NODES,
  POD_GATEWAY,
  POD_NETWORK,
  POD_SUBNET,
  type PodPlan,
  SERVICE_NETWORK,
  type ServicePlan,
  WEB,
} from '../sim/clusterip-plan.ts';
import type { NetnsNode } from './netns-processes.ts';
import type { NetnsStage, PlacedPod, StagedPod, StagePlan } from './netns-stage.ts';

const NODE_MACS: Readonly<Record<string, string>> = {
  [NODES.client.name]: '52:54:00:00:02:22',
  [NODES.remote.name]: '52:54:00:00:03:33',
};
export const NODE_PLANS = [NODES.client, NODES.remote] as const;
const FABRIC_LENGTH = 24;

/**
 * A backend: says who it is on the first line, then fills the page, so that it takes several full
 * segments. `/hold` is answered with that line only and stays open.
 */
export const PAGE_FILLER = 8191;
const SERVER = `
const { createServer } = require('node:http');
const [backend, ...ports] = process.argv.slice(1);
let listening = 0;
for (const port of ports.map(Number)) {
  createServer((request, response) => {
    const { remoteAddress: caller, remotePort: callerPort } = request.socket;
    response.setHeader('content-type', 'text/plain');
    response.write(JSON.stringify({ backend, port, caller, callerPort }) + '\\n');
    if (request.url !== '/hold') response.end('.'.repeat(${PAGE_FILLER}) + '\\n');
  }).listen(port, '0.0.0.0', () => {
    listening += 1;
    if (listening === ports.length) console.log('ready');
  });
}
`;

export function stagePlan(connectNetworks: boolean): StagePlan {
  return {
    fabricLength: FABRIC_LENGTH,
    controls: CONTROLS.map((control) => ({
      ...control,
      settings: {
        instances: [{ name: POD_NETWORK }, { name: SERVICE_NETWORK }],
        ...(connectNetworks ? { connect: [{ between: [POD_NETWORK, SERVICE_NETWORK] }] } : {}),
      },
    })),
    nodes: NODE_PLANS.map((node) => ({
      ...node,
      mac: NODE_MACS[node.name] as string,
      controls: CONTROLS.map(({ ipv4 }) => ipv4),
      vrfs: [POD_NETWORK, SERVICE_NETWORK],
    })),
  };
}

export function stagedPod(plan: PodPlan): StagedPod {
  const pod = {
    ...plan,
    vrf: POD_NETWORK,
    gateway: POD_GATEWAY,
    prefixLength: Number(POD_SUBNET.split('/')[1]),
  };
  if (plan.name === CLIENT.name) return pod;
  const services = [WEB, MULTI_PORT];
  const ports = services.flatMap((service) => service.ports.map((p) => `${p.toPort}`));
  return {
    ...pod,
    floatingIps: services.map(floatingIp),
    server: [process.execPath, '-e', SERVER, plan.name, ...new Set(ports)],
  };
}

export const backendsOf = ({ pods }: NetnsStage): PlacedPod[] =>
  [...pods.values()].filter(({ plan }) => plan.name !== CLIENT.name);

/** The service's next hop on a node, when it has so many members; what there is when it does not come. */
export async function serviceMembers(
  { lab }: NetnsStage,
  node: NetnsNode,
  members: number,
  patienceMs: number,
): Promise<NextHopView[]> {
  const vrf = await node.vrf(POD_NETWORK);
  const ask = () => node.nextHopsTo(vrf, WEB.ipv4);
  const settled = await lab.poll(async () => {
    const tree = await ask();
    const [top] = tree;
    const count = top === undefined ? 0 : (top.slots?.filter((s) => s !== null).length ?? 1);
    return count === members ? tree : undefined;
  }, patienceMs);
  return settled ?? ask();
}

/** A service address is a floating IP of every backend, in the service network, with a port map. */
export function floatingIp(service: ServicePlan) {
  return {
    address: service.ipv4,
    vrf: SERVICE_NETWORK,
    ports: service.ports.map(({ port, toPort }) => ({
      protocol: 'tcp' as const,
      port,
      to_port: toPort,
    })),
  };
}
