/**
 * `loadbalancer`: who is where and under which address. Those of the published walk-through of a Kubernetes service with
 * an external IP, so that its readers find themselves at home; what is beyond the gateway has addresses for documentation.
 */

export const AS = 64512;
export const NODES = {
  first: { name: 'cent222', ipv4: '10.169.25.20' },
  second: { name: 'cent333', ipv4: '10.169.25.21' },
} as const;
export const CONTROL = { name: 'cent111', ipv4: '10.169.25.19' } as const;
export const GATEWAY = { name: 'gateway', ipv4: '192.168.0.204' } as const;

export const POD_NETWORK = 'k8s-default-pod-network';
/** Of the external IPs: the network whose floating-IP pool is `pool-ns-default`. */
export const EXTERNAL_NETWORK = 'vn-ns-default';
export const EXTERNAL_SUBNET = '101.101.101.0/24';
/** What EXTERNAL_NETWORK and the gateway's VRF import and export both. */
export const EXTERNAL_TARGET = `${AS}:10101`;
/** The gateway's VRF. */
export const INTERNET = 'internet';
export const POD_SUBNET = '10.32.0.0/12';
export const POD_GATEWAY = '10.47.255.254';

export const SERVICE = { ipv4: '101.101.101.252', port: 8888, toPort: 80 } as const;
export const SERVICE_PREFIX = `${SERVICE.ipv4}/32`;

export interface BackendPlan {
  readonly name: string;
  readonly node: string;
  readonly ipv4: string;
  readonly mac: string;
}

export const BACKENDS: readonly [BackendPlan, BackendPlan] = [
  { name: 'web-1', node: NODES.first.name, ipv4: '10.47.255.236', mac: '02:ed:00:00:02:36' },
  { name: 'web-2', node: NODES.second.name, ipv4: '10.47.255.238', mac: '02:ed:00:00:02:38' },
];

/** Beyond the router that the gateway's interface leads to, with all else that is not ours. */
export const INTERNET_HOST = {
  name: 'internet-host',
  ipv4: '198.51.100.7',
  mac: '02:ed:00:00:99:07',
} as const;
export const UPSTREAM = {
  /** The router's, on the link. */
  ipv4: '203.0.113.1',
  /** The gateway's. */
  gateway: '203.0.113.254',
  prefix: '0.0.0.0/0',
} as const;

/** The picture at the top of the report. */
export function topology(): string {
  const [web1, web2] = BACKENDS;
  const { first, second } = NODES;
  return [
    `  ${INTERNET_HOST.name} ${INTERNET_HOST.ipv4}`,
    '        |',
    `  router ${UPSTREAM.ipv4} -- ${GATEWAY.name} ${GATEWAY.ipv4} -- BGP -- ${CONTROL.name} ${CONTROL.ipv4}`,
    '                            |   MPLS over GRE            | XMPP',
    '                            +====== fabric ==============+',
    `                            |                            |`,
    `                  ${first.name} ${first.ipv4}    ${second.name} ${second.ipv4}`,
    `                  ${web1.name} ${web1.ipv4}     ${web2.name} ${web2.ipv4}`,
    '',
    `  ${EXTERNAL_NETWORK} ${EXTERNAL_SUBNET}, route target ${EXTERNAL_TARGET}, imported by the gateway`,
    `  service ${SERVICE.ipv4}:${SERVICE.port} -> ${SERVICE.toPort}, a floating IP of both pods`,
  ].join('\n');
}
