/**
 * `objects:` of control.yaml, and what `vrouter control config apply` takes: virtual networks, ports and what belongs to
 * them, by name. What objects say of each other is checked by the control node, which may have others already
 * (control/config-book.ts).
 */
import { z } from 'zod';
import {
  choice,
  ip,
  mac,
  mapping,
  name,
  portNumber,
  portRange,
  prefix,
  protocol,
  routeTarget,
  whole,
} from './fields.ts';

const targets = z.array(routeTarget).max(256);

const subnet = mapping({
  prefix,
  gateway: ip.optional(),
  dns: ip.optional().describe('Default: the gateway'),
  dhcp: z.boolean().optional().describe('Default true'),
}).superRefine(({ prefix: text, gateway, dns }, context) => {
  for (const [key, address] of Object.entries({ gateway, dns })) {
    if (address === undefined || familyOf(address) === familyOf(text)) continue;
    context.addIssue({ code: 'custom', path: [key], message: `not of the family of ${text}` });
  }
});

const familyOf = (text: string) => (text.includes(':') ? 6 : 4);

const networkSchema = mapping({
  name: name.describe('Fully qualified, e.g. default-domain:k8s:pods'),
  id: whole(1, 0xffffffff).optional().describe('Of the network; agents of the ancestor want one'),
  vni: whole(1, 0xffffff).optional(),
  forwarding: choice(['l2', 'l3', 'l2_l3']).optional().describe('Default l2_l3'),
  rpf: z.boolean().optional().describe('Sources are checked; default true'),
  flood_unknown_unicast: z.boolean().optional(),
  subnets: z.array(subnet).max(256).optional(),
  policy: name.optional().describe('A policy of `policies`'),
  import: targets
    .optional()
    .describe('Of its routing instance; without import and export: one target of its own'),
  export: targets.optional(),
});

const portSchema = mapping({
  name: name.describe('Of the interface'),
  virtual_machine: name.describe('Or pod: what a virtual router hosts'),
  network: name,
  mac,
  addresses: z.array(ip).max(64).optional(),
  security_groups: z.array(name).max(64).optional(),
  enable: z.boolean().optional().describe('Default true'),
});

const portMapping = mapping({
  protocol: choice(['tcp', 'udp', 'sctp']),
  from: portNumber.describe("The floating IP's"),
  to: portNumber.describe("The port's own"),
});

const floatingIpSchema = mapping({
  name,
  network: name.describe('Where it is announced'),
  address: ip,
  ports: z.array(name).max(4096).describe('Names of `ports`; a service has several'),
  direction: choice(['both', 'ingress', 'egress']).optional().describe('Default both'),
  fixed_address: ip.optional().describe('Which of the addresses it stands for; default the first'),
  port_mappings: z
    .array(portMapping)
    .max(1024)
    .optional()
    .describe('Others than these ports are not passed'),
});

const end = mapping({
  prefix: prefix.optional(),
  network: name.optional(),
  group: name.optional().describe('A security group'),
}).refine((given) => Object.values(given).filter((value) => value !== undefined).length <= 1, {
  error: 'one of prefix, network, group is needed, or none for any',
});

const groupRule = mapping({
  protocol: protocol.optional(),
  ports: portRange.optional().describe('Destination ports; default any'),
  remote: end.optional().describe('The other end; default any'),
});

const securityGroupSchema = mapping({
  name,
  id: whole(1, 0xffffffff).describe('As routes carry it; the ancestor begins at 8000000'),
  ingress: z.array(groupRule).max(4096).optional().describe('Without: nothing may come in'),
  egress: z.array(groupRule).max(4096).optional().describe('Without: nothing may go out'),
});

const policyRule = mapping({
  action: choice(['pass', 'deny']).optional().describe('Default pass'),
  protocol: protocol.optional(),
  source: end.optional(),
  source_ports: portRange.optional(),
  destination: end.optional(),
  destination_ports: portRange.optional(),
});

const policySchema = mapping({
  name,
  rules: z.array(policyRule).max(4096).describe('In order; what none says is denied'),
});

const virtualRouterSchema = mapping({
  name: name.describe("Its agent's"),
  address: ip.optional(),
  virtual_machines: z.array(name).max(65536).describe('Whose ports it has'),
});

export const objectsSchema = mapping({
  networks: z.array(networkSchema).max(65536).optional(),
  security_groups: z.array(securityGroupSchema).max(65536).optional(),
  policies: z.array(policySchema).max(65536).optional(),
  ports: z.array(portSchema).max(262_144).optional(),
  floating_ips: z.array(floatingIpSchema).max(65536).optional(),
  virtual_routers: z.array(virtualRouterSchema).max(65536).optional(),
}).describe('Configuration that agents are told');

/** One object, as commands call its kind. */
export const OBJECT_KINDS = {
  network: 'networks',
  'security-group': 'security_groups',
  policy: 'policies',
  port: 'ports',
  'floating-ip': 'floating_ips',
  'virtual-router': 'virtual_routers',
} as const satisfies Readonly<Record<string, keyof z.infer<typeof objectsSchema>>>;

export type ObjectKind = keyof typeof OBJECT_KINDS;
export const objectKind = choice(
  Object.keys(OBJECT_KINDS) as unknown as readonly [ObjectKind, ...ObjectKind[]],
);

export type ObjectsFile = z.infer<typeof objectsSchema>;
