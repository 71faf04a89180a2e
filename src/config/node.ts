/**
 * node.yaml: one compute node of `vrouter node`: its ports, underlay, instances and tenants, and where
 * its routes come from. The vocabulary is that of agent/intents.ts, in snake_case. What is here at start
 * can also come later over the socket (`vif.add`, `floating_ip.add`, …), checked by the same schemas.
 */
import { z } from 'zod';
import { isGroupMac, isMac, parseMac } from '../addr/mac.ts';
import { bgpSchema } from './bgp.ts';
import {
  addressInNetwork,
  bridgedMac,
  choice,
  flagList,
  interfaceName,
  ip,
  ipv4,
  ipv6,
  mac,
  mapping,
  metricsSchema,
  name,
  oneOf,
  portNumber,
  portRange,
  prefix,
  prefixOrAddress,
  protocol,
  routeTarget,
  tlsFiles,
  whole,
} from './fields.ts';

export const ENCAP_NAMES = ['udp', 'gre', 'vxlan'] as const;

const path = z.string().min(1).max(4096);
/** sun_path is 108 bytes with its NUL. */
const socketPath = z
  .string()
  .min(1)
  .max(107, { error: 'a socket path is at most 107 bytes' })
  .describe('Path of a Unix socket');
const mtu = whole(68, 65535);

export const portSchema = oneOf(
  'kind',
  [
    mapping({ kind: z.literal('memory'), mtu: mtu.optional() }),
    mapping({ kind: z.literal('pcap'), read: path.optional(), write: path.optional() }),
    mapping({
      kind: z.literal('tap'),
      name: interfaceName,
      netns: z.string().min(1).max(255).optional(),
      mtu: mtu.optional(),
      offloads: choice(['none', 'tenant', 'uplink']).optional(),
      coalesce: z.boolean().optional(),
      joined: interfaceName
        .optional()
        .describe(
          "An uplink's NIC, in the node's own namespace, where tc joins this TAP with one: by it what the kernel " +
            'tier forwards goes directly. Default the interface of `shared`',
        ),
    }),
    mapping({
      kind: z.literal('af_packet'),
      interface: interfaceName,
      offloads: choice(['none', 'tenant']).optional(),
      coalesce: z.boolean().optional(),
    }),
  ],
  ['memory', 'pcap', 'tap', 'af_packet'],
);

/** As many as an ECMP set has members (kMaxEcmpMembers). */
const maximumPaths = whole(1, 256);

/** There are no agents to wait for, nor is it another process. */
const { settle_seconds: _, speaker: __, ...bgpShape } = bgpSchema.shape;

/** `bgp:` of a node file: that of a control file, and what becomes of its routes here. */
const nodeBgpSchema = mapping({
  ...bgpShape,
  maximum_paths: maximumPaths
    .optional()
    .describe('Side by side, of routes that come by BGP; 1: the best one only. Default 256'),
}).describe('A gateway: its VRFs have their routes by BGP, from control nodes or routers');

export const vrfSchema = mapping({
  name,
  vni: whole(0, (1 << 24) - 1).optional(),
  flow_quota: whole(0, 1 << 24).optional(),
  network: name.optional().describe('Whose routes they are said to be; default its name'),
  import: z
    .array(routeTarget)
    .max(256)
    .optional()
    .describe('With bgp: routes that carry one of these route targets are taken in'),
  export: z
    .array(routeTarget)
    .max(256)
    .optional()
    .describe('With bgp: route targets that its own routes carry; without: nobody is told'),
  maximum_paths: maximumPaths
    .optional()
    .describe('Side by side, of routes that come by BGP; default that of bgp'),
});

export const floatingIpSchema = mapping({
  address: ip,
  vrf: name.describe('Instance it is reachable in'),
  direction: choice(['both', 'ingress', 'egress']).optional(),
  ports: z
    .array(
      mapping({ protocol: choice(['tcp', 'udp', 'sctp']), port: portNumber, to_port: portNumber }),
    )
    .max(1024)
    .optional(),
  shared_label: z
    .boolean()
    .optional()
    .describe('Local interfaces with this address are published behind one label'),
  leak_to: z.array(name).max(64).optional().describe('Instances it is also published into'),
});

const label = z
  .string()
  .regex(/^[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?$/, {
    error: 'a host name is 1 to 63 letters, digits and -, and does not begin or end with -',
  })
  .describe('Host name, without a domain');
const domain = z
  .string()
  .max(253)
  .regex(
    /^(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*$/,
    {
      error: 'a domain is host names joined by dots',
    },
  )
  .describe('DNS domain');

/** Goes into headers of HTTP as it is. */
const identity = z
  .string()
  .regex(/^[A-Za-z0-9._:@-]{1,128}$/, {
    error: 'an identity is 1 to 128 of letters, digits, . _ : @ -',
  })
  .describe('Identity');

export const healthCheckSchema = oneOf(
  'type',
  [
    mapping({ type: z.literal('ping'), ...healthCheckTimes() }),
    mapping({ type: z.literal('tcp'), port: whole(1, 65535), ...healthCheckTimes() }),
    mapping({
      type: z.literal('http'),
      port: whole(1, 65535),
      path: z
        .string()
        .max(1024)
        .regex(/^\/[!-~]*$/, { error: 'a path begins with / and has no blanks' })
        .optional()
        .describe('Well is who answers 200 to 399; default /'),
      ...healthCheckTimes(),
    }),
  ],
  ['ping', 'tcp', 'http'],
);

function healthCheckTimes() {
  return {
    interval_ms: whole(200, 3_600_000).optional().describe('Default 5000'),
    timeout_ms: whole(50, 60_000).optional().describe('Default 1000'),
    failures: whole(1, 100).optional().describe('In a row until it is ill; default 3'),
    successes: whole(1, 100).optional().describe('In a row until it is well again; default 2'),
  };
}

export const vifSchema = mapping({
  name,
  port: portSchema,
  vrf: name,
  tenant_mac: mac.describe("The tenant's own MAC"),
  ipv4: ipv4.optional(),
  ipv6: ipv6.optional(),
  gateway4: ipv4.optional(),
  gateway6: ipv6.optional(),
  prefixes: z
    .array(prefix)
    .max(4096)
    .optional()
    .describe('What is behind the tenant: led to it, and published like its own addresses'),
  mtu: mtu.optional(),
  policy: z.boolean().optional().describe('Flow table for its packets; default true'),
  flow_quota: whole(0, 1 << 24).optional(),
  hostname: label.optional().describe('What DHCP and DNS call it; default: from its name'),
  dhcp: z.boolean().optional().describe('Served by services.dhcp, if there is one; default true'),
  health_checks: z
    .array(healthCheckSchema)
    .max(4)
    .optional()
    .describe('From its gateway; while one fails the floating IPs are withdrawn'),
  instance_id: identity.optional().describe('Who it is to the metadata server; default its name'),
  tenant_id: identity.optional().describe('Whose it is; default its instance (vrf)'),
  floating_ips: z.array(floatingIpSchema).max(64).optional(),
  network_policies: z.array(name).max(16).optional(),
  ingress_groups: z.array(name).max(16).optional(),
  egress_groups: z.array(name).max(16).optional(),
  security_group_ids: z
    .array(whole(1, 0xffffffff))
    .max(64)
    .optional()
    .describe('Said with its routes, for rules of other nodes'),
});

/** A port that is plugged in at run time: its name is said beside it. */
export const pluggedVifSchema = mapping(
  Object.fromEntries(Object.entries(vifSchema.shape).filter(([key]) => key !== 'name')) as Omit<
    typeof vifSchema.shape,
    'name'
  >,
);

/** A configuration's name for an object: fully qualified, or a UUID. */
const objectName = z
  .string()
  .min(1)
  .max(512)
  .regex(/^[^\p{Cc}\p{Cs}]+$/u, { error: 'holds a control character' })
  .describe('Name of an object of the configuration, or its UUID');

/** A port of which a control node's configuration says what it is: this is only what the host knows of it. */
export const configuredPortSchema = mapping({
  port: portSchema,
  vmi: objectName.describe('Its virtual-machine-interface, by name or UUID'),
  vm: objectName
    .optional()
    .describe('Its virtual-machine: asked for before it is linked to this node'),
  mtu: vifSchema.shape.mtu,
  flow_quota: vifSchema.shape.flow_quota,
  hostname: vifSchema.shape.hostname,
  dhcp: vifSchema.shape.dhcp,
  health_checks: vifSchema.shape.health_checks,
  instance_id: vifSchema.shape.instance_id,
  tenant_id: vifSchema.shape.tenant_id,
});

/** What can be plugged in. */
export const pluggedSchema = z.union([pluggedVifSchema, configuredPortSchema]);

export const policySchema = mapping({
  name,
  rules: z
    .array(
      mapping({
        action: choice(['pass', 'deny']),
        protocol: protocol.optional(),
        source: prefixOrAddress.optional(),
        destination: prefixOrAddress.optional(),
        source_ports: portRange.optional(),
        destination_ports: portRange.optional(),
      }),
    )
    .max(4096),
});

export const sourceNatSchema = mapping({
  name,
  vrf: name,
  to_vrf: name,
  source: prefix.optional(),
  address: ip,
  ports: portRange,
});

export const hopSchema = mapping({
  address: ip.describe('Underlay address of the vRouter that has it'),
  label: whole(0, (1 << 24) - 1),
  encaps: flagList(ENCAP_NAMES).min(1).optional().describe('Default: udp, gre'),
  mac: mac.optional().describe("Routed VXLAN: the far router's MAC, of the inner frame"),
  member: whole(0, 65534).optional(),
  weight: whole(0, 65535).optional(),
});

/** What a route is for: routed by prefix, or bridged by MAC. */
const routeKeyShape = {
  instance: name,
  prefix: prefixOrAddress.optional().describe('Routed: where to'),
  mac: bridgedMac
    .optional()
    .describe(
      'Bridged, instead of prefix: a far MAC; ff:ff:ff:ff:ff:ff = broadcast, a copy for each hop',
    ),
  address: ip
    .optional()
    .describe(
      'Beside mac: its address; where that is routed, too, ARP and ND are answered with the MAC',
    ),
};

interface WrittenRouteKey {
  readonly instance: string;
  readonly prefix?: string | undefined;
  readonly mac?: string | undefined;
  readonly address?: string | undefined;
}

function oneWay({ prefix, mac, address }: WrittenRouteKey, context: z.RefinementCtx): void {
  const fail = (key: keyof WrittenRouteKey, message: string) =>
    context.addIssue({ code: 'custom', path: [key], message });
  if (prefix === undefined && mac === undefined) fail('prefix', 'missing (or mac)');
  if (prefix !== undefined && mac !== undefined) fail('mac', 'prefix or mac, not both');
  if (address !== undefined && mac === undefined) fail('address', 'goes with mac');
  if (address !== undefined && mac !== undefined && isMac(mac) && isGroupMac(parseMac(mac)))
    fail('address', 'broadcasts have none');
}

export const routeKeySchema = mapping(routeKeyShape).superRefine(oneWay);

export const routeSchema = mapping({
  ...routeKeyShape,
  hops: z.array(hopSchema).min(1).max(256),
}).superRefine(oneWay);

const dhcpSchema = mapping({
  lease_seconds: whole(60, 0xffffffff).optional().describe('Default 86400'),
  subnets: z
    .array(prefix)
    .max(256)
    .optional()
    .describe('The mask of a tenant is that of the subnet its address is in; default /32'),
  dns: z
    .array(ip)
    .max(8)
    .optional()
    .describe("Name servers; default the tenant's gateway where services.dns is on, else none"),
  ntp: z.array(ipv4).max(8).optional(),
  domain: domain.optional(),
  mtu: whole(576, 65535).optional().describe('Default: what the tunnels carry without fragments'),
  routes: z
    .array(mapping({ prefix, gateway: ipv4.optional().describe("Default the tenant's gateway") }))
    .max(16)
    .optional()
    .describe('Besides the default route (option 121)'),
});

const servicesSchema = mapping({
  dhcp: dhcpSchema
    .optional()
    .describe('DHCP for tenants that have an address and a gateway; {} for the defaults'),
  dns: mapping({
    resolvers: z
      .array(ip)
      .min(1)
      .max(8)
      .optional()
      .describe("Asked in this order; default the host's own"),
    timeout_ms: whole(100, 30_000).optional().describe('Of one attempt of three; default 2000'),
    domain: domain
      .optional()
      .describe(
        'Tenants of a network find each other by name in it; default: services.dhcp.domain',
      ),
  })
    .optional()
    .describe("Names are asked of the tenant's gateway; {} for the defaults"),
  ra: mapping({
    router_lifetime_seconds: whole(30, 9000).optional().describe('Default 1800'),
  })
    .optional()
    .describe('Router advertisements for tenants that have ipv6 and gateway6'),
  metadata: mapping({
    url: z
      .string()
      .max(1024)
      .regex(/^http:\/\/[^/?#@\s]+\/?$/, { error: 'http://host:port is needed, without a path' })
      .optional()
      .describe('The metadata server'),
    socket: socketPath.optional(),
    shared_secret: z
      .string()
      .min(1)
      .max(1024)
      .optional()
      .describe('Key of X-Instance-ID-Signature, an HMAC-SHA256 of the instance'),
  })
    .superRefine(({ url, socket }, context) => {
      if ((url === undefined) === (socket === undefined))
        context.addIssue({ code: 'custom', path: ['url'], message: 'url or socket, one of them' });
    })
    .optional()
    .describe('http://169.254.169.254/ for tenants that have ipv4'),
  link_local: z
    .array(
      mapping({
        name,
        address: ipv4.describe('Where tenants find it, in 169.254.0.0/16'),
        port: portNumber,
        to: mapping({ address: ip, port: portNumber }).describe('Where it is for this host'),
      }),
    )
    .max(64)
    .optional()
    .describe('TCP services for tenants that have ipv4; what they are connected to is the node'),
  host: mapping({
    interface: interfaceName.optional().describe('Default vrsvc0'),
    network: prefix
      .optional()
      .describe(
        'IPv4, /18 or larger, known to this host only: vifs have addresses in it. Default 169.254.64.0/18',
      ),
  })
    .optional()
    .describe(
      'The interface by which metadata, link_local and health checks by HTTP meet this host; made for the first two anyway',
    ),
});

/** As many as a tunnel has legs (kMaxTunnelLegs). */
const MAX_UPLINKS = 3;

const uplinkShape = {
  port: portSchema,
  mac,
  name: name.optional().describe("The uplink's vif; default fabric, fabric-2, fabric-3"),
  shared: mapping({
    interface: interfaceName.describe('Where frames to and from the host pass'),
  })
    .optional()
    .describe('Beside the host stack: tc joins the uplink TAP to it, its neighbours are followed'),
  neighbours: z
    .record(prefixOrAddress, mac)
    .optional()
    .describe('MAC in the fabric by underlay address; a prefix stands for all in it'),
};
const uplinkSchema = mapping(uplinkShape);
export type UplinkFile = z.infer<typeof uplinkSchema>;

type WrittenUnderlay = { readonly [K in keyof UplinkFile]?: UplinkFile[K] | undefined } & {
  readonly uplinks?: readonly UplinkFile[] | undefined;
};

/** tc joins an uplink with one device: two keys may say which, not differently. */
function joinedTwice({ port, shared }: Pick<WrittenUnderlay, 'port' | 'shared'>): boolean {
  const joined = port?.kind === 'tap' ? port.joined : undefined;
  return joined !== undefined && shared !== undefined && joined !== shared.interface;
}

const JOINED_TWICE = 'joined is the interface of shared, or left out';

function oneOrSeveral(underlay: WrittenUnderlay, context: z.RefinementCtx): void {
  const fail = (key: string, message: string) =>
    context.addIssue({ code: 'custom', path: [key], message });
  if (underlay.uplinks === undefined) {
    for (const key of ['port', 'mac'] as const)
      if (underlay[key] === undefined) fail(key, 'missing (or uplinks)');
    if (joinedTwice(underlay)) fail('port', JOINED_TWICE);
    return;
  }
  for (const key of ['port', 'mac', 'name', 'shared', 'neighbours'] as const)
    if (underlay[key] !== undefined) fail(key, 'each of uplinks has its own');
  const shared = underlay.uplinks.filter((uplink) => uplink.shared !== undefined);
  if (shared.length > 0 && shared.length < underlay.uplinks.length)
    fail('uplinks', 'all are shared with the host, or none');
  const names = underlay.uplinks.flatMap((uplink) => uplink.name ?? []);
  if (new Set(names).size < names.length) fail('uplinks', 'two have one name');
  if (underlay.uplinks.some(joinedTwice)) fail('uplinks', JOINED_TWICE);
}

/** However they were written: the first is vif0/0. */
export function uplinksOf(underlay: NodeFile['underlay']): UplinkFile[] {
  if (underlay.uplinks !== undefined) return underlay.uplinks;
  const { port, mac: own, name: vif, shared, neighbours } = underlay;
  if (port === undefined || own === undefined) return [];
  return [
    {
      port,
      mac: own,
      ...(vif === undefined ? {} : { name: vif }),
      ...(shared === undefined ? {} : { shared }),
      ...(neighbours === undefined ? {} : { neighbours }),
    },
  ];
}

/** Two are active at once; the ancestor lists no more than a few. */
const MAX_CONTROL_NODES = 16;

const controlNodesSchema = mapping({
  xmpp: z
    .array(mapping({ address: ip, port: whole(1, 65535).optional().describe('Default 5269') }))
    .min(1)
    .max(MAX_CONTROL_NODES)
    .describe('The first two are used; the others take the place of one that cannot be had'),
  source: ip
    .optional()
    .describe("Where sessions come from, which is who we are; default the underlay's address"),
  hold_seconds: whole(1, 90).optional().describe('Without a word one is lost; default 90'),
  sub_cluster: name.optional(),
  tls: tlsFiles.optional().describe('STARTTLS is demanded, with a certificate on both sides'),
  end_of_rib_seconds: whole(1, 4095)
    .optional()
    .describe('One that says no end of rib is taken to have said it after; default 60'),
  settle_seconds: whole(1, 4095)
    .optional()
    .describe('One that is back is given so long for other agents to be back, too; default 40'),
  configuration: mapping({
    quiet_seconds: whole(1, 900)
      .optional()
      .describe(
        'Without end of snapshot it is at its end after so long without a word; default 15',
      ),
    silent_seconds: whole(1, 900)
      .optional()
      .describe('The same where nothing has come at all; default 100'),
    longest_seconds: whole(1, 3600).optional().describe('And in any case; default 900'),
  })
    .optional()
    .describe('Ports with `vmi` are what control nodes say they are; {} for the defaults'),
}).superRefine(({ xmpp }, context) => {
  const names = xmpp.map(controlNodeName);
  names.forEach((text, i) => {
    if (names.indexOf(text) < i)
      context.addIssue({ code: 'custom', path: ['xmpp', i, 'address'], message: `${text} twice` });
  });
});

export type NodeBgpFile = z.infer<typeof nodeBgpSchema>;
export type ControlNodesFile = z.infer<typeof controlNodesSchema>;

/** As it is called in what is shown. */
export function controlNodeName(node: {
  readonly address: string;
  readonly port?: number | undefined;
}): string {
  const host = node.address.includes(':') ? `[${node.address}]` : node.address;
  return `${host}:${node.port ?? XMPP_PORT}`;
}

export const XMPP_PORT = 5269;

export const nodeSchema = mapping({
  name,
  socket: socketPath.optional().describe('Default /run/vrouter/<name>.sock'),
  log: mapping({
    level: choice(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']),
  }).optional(),
  dataplane: mapping({
    flow_entries: whole(1024, 1 << 24).optional(),
    buffers: whole(256, 1 << 20)
      .optional()
      .describe('Packet buffers of each worker'),
    buffer_bytes: whole(512, 66_560).optional(),
    workers: whole(1, 16).optional().describe('Threads that forward; default 1'),
    kernel_tier: z
      .boolean()
      .optional()
      .describe(
        'Established flows are handed to tc BPF programs, which forward their packets in the kernel; all others ' +
          'go by the workers. Needs Linux 6.6 and CAP_BPF; where it cannot be had, the workers forward all. ' +
          'Default false',
      ),
    look_us: whole(0, 1_000_000)
      .optional()
      .describe('How long an idle worker looks for frames before it sleeps; default 100'),
    seed: whole(0, Number.MAX_SAFE_INTEGER).optional(),
  }).optional(),
  forwarder: mapping({
    socket: socketPath.optional().describe('Default /run/vrouter/<name>.forwarder'),
    flow_file: path
      .optional()
      .describe('Flows outlive the forwarder in it; on a tmpfs. Default /run/vrouter/<name>.flows'),
    cpu: whole(0, 1023)
      .optional()
      .describe('CPU the first worker is bound to; further ones to those behind it'),
    command: z
      .array(z.string().min(1))
      .min(1)
      .max(64)
      .optional()
      .describe('What starts a forwarder, instead of ours; its options are appended'),
  })
    .optional()
    .describe('The data plane as a process of its own; absent: in the process of the node'),
  underlay: mapping({
    ...uplinkShape,
    port: portSchema.optional(),
    mac: mac.optional(),
    ipv4: ipv4.optional(),
    ipv6: ipv6.optional(),
    mtu: mtu
      .optional()
      .describe("IP bytes, at most; default the interface's where the uplink has one, else 1500"),
    uplinks: z
      .array(mapping(uplinkShape))
      .min(1)
      .max(MAX_UPLINKS)
      .optional()
      .describe('Instead of one port and mac: far ends are reached by each that is up'),
    encaps: flagList(ENCAP_NAMES).min(1).optional(),
  }).superRefine(oneOrSeveral),
  host: mapping({
    name: name.optional(),
    port: portSchema,
    mac: mac.optional(),
    addresses: z
      .array(addressInNetwork)
      .max(64)
      .optional()
      .describe('Given to the interface; the underlay address among them, with its length'),
    gateway4: ipv4.optional().describe('Default route of the host, by that interface'),
    gateway6: ipv6.optional(),
  })
    .optional()
    .describe("The host's own stack; with an af_packet underlay its frames pass through here"),
  exchange: mapping({ socket: socketPath }).optional().describe('Where `vrouter control` listens'),
  control: controlNodesSchema
    .optional()
    .describe('Control nodes, over XMPP; instead of an exchange'),
  bgp: nodeBgpSchema.optional(),
  plug: mapping({
    socket: socketPath.optional().describe('Default /run/vrouter/<name>.plug'),
    state_dir: path.optional().describe('Default /var/lib/vrouter/<name>/ports'),
  })
    .optional()
    .describe('The plug API (docs/plug-api.md)'),
  metrics: metricsSchema.optional(),
  services: servicesSchema.optional().describe('What the node answers its tenants itself'),
  routes: z.array(routeSchema).max(65536).optional().describe('Static routes'),
  vrfs: z.array(vrfSchema).max(65536).optional(),
  policies: z.array(policySchema).max(65536).optional(),
  vifs: z.array(vifSchema).max(4355).optional(),
  ports: z
    .array(mapping({ name, ...configuredPortSchema.shape }))
    .max(4352)
    .optional()
    .describe('Ports whose configuration comes from control nodes (control.configuration)'),
  source_nats: z.array(sourceNatSchema).max(65536).optional(),
})
  .superRefine(({ exchange, control, bgp }, context) => {
    const sources = Object.entries({ exchange, control, bgp }).flatMap(([key, given]) =>
      given === undefined ? [] : [key],
    );
    if (sources.length < 2) return;
    context.addIssue({
      code: 'custom',
      path: [sources[1] as string],
      message: `${sources.join(' or ')}, not ${sources.length === 2 ? 'both' : 'several'}`,
    });
  })
  .meta({ title: 'vrouter node file', description: 'One compute node' });

export type NodeFile = z.infer<typeof nodeSchema>;
export type PortFile = z.infer<typeof portSchema>;
export type HealthCheckFile = z.infer<typeof healthCheckSchema>;
export type LinkLocalFile = NonNullable<ServicesFile['link_local']>[number];
export type ServicesFile = z.infer<typeof servicesSchema>;
export type DhcpFile = z.infer<typeof dhcpSchema>;
export type ConfiguredPortFile = z.infer<typeof configuredPortSchema>;
export type PluggedVif = z.infer<typeof pluggedVifSchema>;
export type VifFile = z.infer<typeof vifSchema>;
export type VrfFile = z.infer<typeof vrfSchema>;
export type PolicyFile = z.infer<typeof policySchema>;
export type SourceNatFile = z.infer<typeof sourceNatSchema>;
export type FloatingIpFile = z.infer<typeof floatingIpSchema>;
export type RouteFile = z.infer<typeof routeSchema>;
export type RouteKeyFile = z.infer<typeof routeKeySchema>;
