/**
 * `anycast`: three clusters, who is where in them and under which address, and what each is configured to be. Simulated or
 * real, the plan is the same; a run on real kernels asks for fewer nodes. Pure.
 */

export const PEERINGS = ['ibgp', 'ebgp'] as const;
/** Between clusters: all in one AS, or each in its own. */
export type Peering = (typeof PEERINGS)[number];

export interface PlacedAt {
  readonly name: string;
  readonly ipv4: string;
}

export interface NodePlan extends PlacedAt {
  readonly mac: string;
}

export interface PodPlan extends PlacedAt {
  readonly node: string;
  readonly mac: string;
  /** Its instance, and the gateway it has there. */
  readonly vrf: string;
  readonly gateway: string;
  /** TCP ports it serves. */
  readonly listen: readonly number[];
  /** It stands for the service. */
  readonly backend: boolean;
}

export interface InstancePlan {
  readonly name: string;
  readonly import: string[];
  readonly export: string[];
}

export interface ClusterPlan {
  readonly name: string;
  readonly as: number;
  readonly controls: readonly PlacedAt[];
  readonly nodes: readonly NodePlan[];
  /** When it starts. */
  readonly instances: readonly InstancePlan[];
  readonly pods: readonly PodPlan[];
}

export interface AnycastPlan {
  readonly peering: Peering;
  /** The first two have the service, the third its clients. */
  readonly clusters: readonly [ClusterPlan, ClusterPlan, ClusterPlan];
}

/** Of one in each cluster; 16 bits of prefix join them all. */
export const FABRIC_LENGTH = 16;
/** How many there are in each cluster. */
const SIZES = {
  full: { controls: [2, 1, 2], nodes: [2, 2, 2] },
  /** As many processes as a machine with two cores starts in good time. */
  small: { controls: [2, 1, 1], nodes: [1, 1, 2] },
} as const;
const ONE_AS = 64512;

export const POD_NETWORK = 'k8s-default-pod-network';
export const INGRESS_NETWORK = 'ingressvn';
export const INGRESS_SUBNET = '203.0.113.0/24';
export const INGRESS_TARGET = '64512:500';
/** Of the same name, with the same external address, in two clusters. */
export const SERVICE = { name: 'web', ipv4: '203.0.113.2', port: 80, toPort: 8080 } as const;
const BACKENDS_EACH = 2;
/** From a backend's end to the last client's next hop. */
export const FLOOR_MS = 50;

/** Spokes take in what the hub exports, and the hub what they do. */
export const HUB_TARGET = '64512:601';
export const SPOKE_TARGET = '64512:602';
export const HUB_NETWORK = 'hubvn';
/** By cluster; two are in the third. */
export const SPOKE_NETWORKS = ['spokevn-2', 'spokevn-3a', 'spokevn-3b'] as const;
export const HUB_PORT = 7000;

const podTarget = (cluster: number): string => `64512:${400 + cluster}`;

/** The patch: what cluster 3's pod network becomes. */
export const PATCHED: InstancePlan = {
  name: POD_NETWORK,
  import: [podTarget(3), INGRESS_TARGET],
  export: [podTarget(3), INGRESS_TARGET],
};

const plain = (name: string, target: string): InstancePlan => ({
  name,
  import: [target],
  export: [target],
});
const HUB: InstancePlan = { name: HUB_NETWORK, import: [SPOKE_TARGET], export: [HUB_TARGET] };
const spoke = (name: string): InstancePlan => ({
  name,
  import: [HUB_TARGET],
  export: [SPOKE_TARGET],
});

const macOf = (...bytes: number[]): string =>
  ['02', 'ac', ...bytes.map((byte) => byte.toString(16).padStart(2, '0'))].join(':');

function backendsOf(cluster: number, nodes: readonly NodePlan[]): PodPlan[] {
  return Array.from({ length: BACKENDS_EACH }, (_, i) => ({
    name: `web-${cluster}${'ab'[i]}`,
    node: nodes[i % nodes.length]?.name ?? '',
    ipv4: `10.4${cluster}.0.${11 + i}`,
    mac: macOf(4, cluster, 0, 11 + i),
    vrf: POD_NETWORK,
    gateway: `10.4${cluster}.255.254`,
    listen: [SERVICE.toPort],
    backend: true,
  }));
}

function clientsOf(cluster: number, nodes: readonly NodePlan[]): PodPlan[] {
  return nodes.map((node, i) => ({
    name: `client-${cluster}${'ab'[i]}`,
    node: node.name,
    ipv4: `10.4${cluster}.0.${21 + i}`,
    mac: macOf(4, cluster, 0, 21 + i),
    vrf: POD_NETWORK,
    gateway: `10.4${cluster}.255.254`,
    listen: [],
    backend: false,
  }));
}

/** Of a network that is its own: the pod is named after it. */
function memberOf(network: string, third: number, node: NodePlan | undefined): PodPlan {
  return {
    name: network.replace('vn', ''),
    node: node?.name ?? '',
    ipv4: `10.6${third}.0.11`,
    mac: macOf(6, third, 0, 11),
    vrf: network,
    gateway: `10.6${third}.255.254`,
    listen: [HUB_PORT],
    backend: false,
  };
}

export function anycastPlan(peering: Peering, size: keyof typeof SIZES): AnycastPlan {
  const sizes = SIZES[size];
  const at = (cluster: number) => {
    const controls = Array.from({ length: sizes.controls[cluster - 1] ?? 1 }, (_, i) => ({
      name: `control-${cluster}${'ab'[i]}`,
      ipv4: `172.16.${cluster}.${11 + i}`,
    }));
    const nodes = Array.from({ length: sizes.nodes[cluster - 1] ?? 1 }, (_, i) => ({
      name: `node-${cluster}${'ab'[i]}`,
      ipv4: `172.16.${cluster}.${21 + i}`,
      mac: macOf(16, cluster, 0, 21 + i),
    }));
    const as = peering === 'ibgp' ? ONE_AS : ONE_AS + cluster;
    return { name: `cluster-${cluster}`, as, controls, nodes };
  };
  const [one, two, three] = [at(1), at(2), at(3)];
  const serving = (cluster: number) => [
    plain(POD_NETWORK, podTarget(cluster)),
    plain(INGRESS_NETWORK, INGRESS_TARGET),
  ];
  const [spoke2, spoke3a, spoke3b] = SPOKE_NETWORKS;
  return {
    peering,
    clusters: [
      {
        ...one,
        instances: [...serving(1), HUB],
        pods: [...backendsOf(1, one.nodes), memberOf(HUB_NETWORK, 0, one.nodes[0])],
      },
      {
        ...two,
        instances: [...serving(2), spoke(spoke2)],
        pods: [...backendsOf(2, two.nodes), memberOf(spoke2, 1, two.nodes[0])],
      },
      {
        ...three,
        instances: [plain(POD_NETWORK, podTarget(3)), spoke(spoke3a), spoke(spoke3b)],
        pods: [
          ...clientsOf(3, three.nodes),
          memberOf(spoke3a, 2, three.nodes[0]),
          memberOf(spoke3b, 3, three.nodes[1]),
        ],
      },
    ],
  };
}

/** `bgp:` of a control node: a session with every other one, whichever cluster it is in. */
export function bgpOf({ clusters }: AnycastPlan, own: PlacedAt) {
  const neighbors = clusters.flatMap(({ as, controls }) =>
    controls
      .filter(({ name }) => name !== own.name)
      .map(({ name, ipv4 }) => ({ name, address: ipv4, as })),
  );
  const home = clusters.find(({ controls }) => controls.includes(own));
  return { as: home?.as ?? 0, router_id: own.ipv4, neighbors };
}

export const clusterOf = ({ clusters }: AnycastPlan, pod: string): string | undefined =>
  clusters.find(({ pods }) => pods.some(({ name }) => name === pod))?.name;

// --- the picture at the top of the report ------------------------------------------------------

const WIDTH = 34;

export function topology(plan: AnycastPlan): string {
  const columns = plan.clusters.map(({ name, as, controls, nodes, pods }) => [
    `${name}, AS ${as}`,
    `control ${controls.map(({ ipv4 }) => ipv4).join(', ')}`,
    ...nodes.flatMap((node) => [
      `${node.name}  ${node.ipv4}`,
      ...pods
        .filter((pod) => pod.node === node.name)
        .map((pod) => `  ${pod.name.padEnd(10)}${pod.ipv4}`),
    ]),
  ]);
  const rows = Math.max(...columns.map((column) => column.length));
  const lines = Array.from({ length: rows }, (_, row) =>
    columns
      .map((column) => (column[row] ?? '').padEnd(WIDTH))
      .join('  ')
      .trimEnd(),
  );
  const between = plan.peering === 'ibgp' ? 'iBGP' : 'eBGP, iBGP within a cluster';
  return [
    ...lines.map((line) => `  ${line}`),
    '',
    `  BGP          ${between}: every control node with every other; XMPP between nodes and their own`,
    `  ${INGRESS_NETWORK}    ${INGRESS_SUBNET}, target ${INGRESS_TARGET}, in clusters 1 and 2`,
    `  ${SERVICE.name}          ${SERVICE.ipv4}, tcp ${SERVICE.port} -> ${SERVICE.toPort}, an address of all web pods`,
    `  hub, spokes  the hub exports ${HUB_TARGET} and imports ${SPOKE_TARGET}; a spoke the other way round`,
  ].join('\n');
}
