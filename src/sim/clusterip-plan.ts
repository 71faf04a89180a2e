/**
 * `clusterip`: who is where and under which address. Those of the published Kubernetes-over-Tungsten Fabric
 * walk-through, so that its readers find themselves at home. Simulated or real, the plan is the same.
 */

export const NODES = {
  client: { name: 'cent222', ipv4: '10.169.25.20' },
  remote: { name: 'cent333', ipv4: '10.169.25.21' },
} as const;

/** Each node has sessions with both. The walk-through has the first one only. */
export const CONTROLS = [
  { name: 'cent111', ipv4: '10.169.25.19' },
  { name: 'cent112', ipv4: '10.169.25.18' },
] as const;

export const POD_NETWORK = 'k8s-default-pod-network';
export const SERVICE_NETWORK = 'k8s-default-service-network';
export const POD_SUBNET = '10.32.0.0/12';
export const SERVICE_SUBNET = '10.96.0.0/12';
/** Of the pod network; the vRouter itself answers for it, everywhere. */
export const POD_GATEWAY = '10.47.255.254';

export interface PodPlan {
  readonly name: string;
  readonly node: string;
  readonly ipv4: string;
  readonly mac: string;
}

export const CLIENT: PodPlan = {
  name: 'client',
  node: NODES.client.name,
  ipv4: '10.47.255.237',
  mac: '02:ed:00:00:02:37',
};

/** In order of names; the first two are there from the start, the third comes when the service grows. */
export const BACKENDS: readonly [PodPlan, PodPlan, PodPlan] = [
  { name: 'web-1', node: NODES.client.name, ipv4: '10.47.255.236', mac: '02:ed:00:00:02:36' },
  { name: 'web-2', node: NODES.remote.name, ipv4: '10.47.255.238', mac: '02:ed:00:00:02:38' },
  { name: 'web-3', node: NODES.remote.name, ipv4: '10.47.255.235', mac: '02:ed:00:00:02:35' },
];

export interface ServicePlan {
  readonly name: string;
  readonly ipv4: string;
  readonly ports: readonly { readonly port: number; readonly toPort: number }[];
}

export const WEB: ServicePlan = {
  name: 'service-web-clusterip',
  ipv4: '10.105.139.153',
  ports: [{ port: 8888, toPort: 80 }],
};
export const MULTI_PORT: ServicePlan = {
  name: 'service-web-clusterip-mp',
  ipv4: '10.101.102.27',
  ports: [
    { port: 8888, toPort: 80 },
    { port: 9999, toPort: 90 },
  ],
};
export const WEB_PORT = 8888;
/** A port that the service has no mapping for. */
export const UNMAPPED_PORT = 1234;

function portsText(service: ServicePlan): string {
  return service.ports.map(({ port, toPort }) => `${port} -> ${toPort}`).join(', ');
}

/** The picture at the top of the report. */
export function topology(): string {
  const [web1, web2, web3] = BACKENDS;
  const { client, remote } = NODES;
  const controls = CONTROLS.map(({ name, ipv4 }) => `${name} ${ipv4}`).join(', ');
  const box = (text: string) => `|${` ${text}`.padEnd(30)}|`;
  const bar = `+${'-'.repeat(30)}+`;
  const row = (left: string, right: string, between = '') =>
    `  ${left}${between.padEnd(16)}${right}`.trimEnd();
  const pod = ({ name, ipv4 }: PodPlan, note = '') => box(`${name.padEnd(9)}${ipv4}${note}`);
  const service = ({ name, ipv4, ports }: ServicePlan) =>
    `  ${name.padEnd(26)}${ipv4.padEnd(16)}tcp ${portsText({ name, ipv4, ports })}`;
  return [
    `        control nodes: ${controls}`,
    '                          :        XMPP          :',
    row(bar, bar),
    row(box(`${client.name}  ${client.ipv4}`), box(`${remote.name}  ${remote.ipv4}`)),
    row(bar, bar),
    row(pod(CLIENT), pod(web2), '  MPLS over UDP '),
    row(pod(web1), pod(web3, ' later'), ' ============== '),
    row(bar, bar, '   port 6635'),
    '',
    `  ${POD_NETWORK.padEnd(30)}${POD_SUBNET}, gateway ${POD_GATEWAY}`,
    `  ${SERVICE_NETWORK.padEnd(30)}${SERVICE_SUBNET}, policy between the two`,
    service(WEB),
    service(MULTI_PORT),
  ].join('\n');
}
