/**
 * The state file: one router's whole state, declared. `vrouter replay` and `vrouter explain` start from
 * it; docs/state-file.md tells it in prose. Objects name each other; ids are optional and given by the
 * compiler (program/state-ops.ts) in file order. Limits are those of native/base/limits.h.
 */
import { z } from 'zod';
import {
  choice,
  flagList,
  ip,
  ipv4,
  ipv6,
  mac,
  mapping,
  name,
  oneOf,
  portNumber,
  portRange,
  prefix,
  prefixOrAddress,
  protocol,
  reference,
  whole,
} from './fields.ts';

export const VIF_FLAGS = [
  'policy',
  'l3',
  'l2',
  'dhcp_trap',
  'no_proxy',
  'unknown_flood',
  'drop_new_flows',
  'proxy',
  'service',
  'gateway_trap',
] as const;
export const VIF_TYPES = ['host', 'agent', 'physical', 'virtual'] as const;
export const NEXT_HOP_FLAGS = ['policy', 'bridge', 'unicast_flood', 'validate_source'] as const;
export const ROUTE_FLAGS = ['proxy', 'trap', 'flood'] as const;
export const HASH_FIELDS = [
  'protocol',
  'source',
  'source_port',
  'destination',
  'destination_port',
] as const;
export const ENCAPS = ['mpls_over_gre', 'mpls_over_udp', 'vxlan'] as const;
export const REPLICATE_KINDS = ['root', 'encap', 'fabric', 'evpn', 'tor'] as const;
export const NEXT_HOP_TYPES = [
  'discard',
  'receive',
  'l2_receive',
  'interface',
  'tunnel',
  'ecmp',
  'replicate',
  'vrf_translate',
] as const;

const id = (max: number) => whole(0, max).optional();
const label = whole(0, (1 << 24) - 1).describe('MPLS label, or VNI for a VXLAN tunnel');
const mtu = whole(68, 65535);
const flowQuota = whole(0, 1 << 24).describe('Flow entries at most; 0 = no quota');
const hashFields = flagList(HASH_FIELDS).describe('Absent or empty = all five');
const policyList = z.array(reference).max(16);

const timeout = mapping({
  protocol,
  state: choice(['new', 'established', 'closing']),
  seconds: whole(1, 0xffffffff),
});

const router = mapping({
  ipv4: ipv4.optional(),
  ipv6: ipv6.optional(),
  icmp_errors_per_second: whole(0, 0xffffffff).optional(),
  flags: flagList(['unconditional_rst', 'no_mss_clamp']).optional(),
  timeouts: z.array(timeout).max(1024).optional(),
});

const vrf = mapping({ name, id: id(65535), flow_quota: flowQuota.optional() });

const vif = mapping({
  name,
  id: id(4354),
  type: choice(VIF_TYPES),
  vrf: reference,
  mac: mac.optional().describe("The router's MAC on this vif; default 00:00:5e:00:01:00"),
  ipv4: ipv4.optional(),
  ipv6: ipv6.optional(),
  gateway4: ipv4.optional(),
  gateway6: ipv6.optional(),
  mtu: mtu.optional(),
  flags: flagList(VIF_FLAGS).optional(),
  next_hop: reference.optional().describe('Scope of its flows; default: its interface next hop'),
  flow_quota: flowQuota.optional(),
  network_policies: policyList.optional(),
  ingress_groups: policyList.optional(),
  egress_groups: policyList.optional(),
});

const nextHopBase = { name: name.optional(), id: id((1 << 19) - 1) };
const nextHopFlags = flagList(NEXT_HOP_FLAGS).optional();
const nextHop = oneOf(
  'type',
  [
    mapping({ ...nextHopBase, type: z.literal('discard') }),
    mapping({
      ...nextHopBase,
      type: z.literal('receive'),
      vrf: reference,
      vif: reference.optional().describe('The host vif; default: the router itself'),
      flags: nextHopFlags,
    }),
    mapping({ ...nextHopBase, type: z.literal('l2_receive'), vrf: reference }),
    mapping({
      ...nextHopBase,
      type: z.literal('interface'),
      vrf: reference,
      vif: reference,
      flags: nextHopFlags,
      destination_mac: mac,
      source_mac: mac.optional().describe("Default: the vif's mac"),
    }),
    mapping({
      ...nextHopBase,
      type: z.literal('tunnel'),
      vrf: reference.optional().describe('Default 0, the fabric'),
      vif: reference.describe('A physical vif'),
      encap: choice(ENCAPS),
      source: ip.optional().describe("Default: the router's address of that family"),
      destination: ip,
      destination_mac: mac.describe('Of the next hop in the fabric'),
      source_mac: mac.optional().describe("Default: the vif's mac"),
      l3_vxlan_mac: mac.optional(),
      flags: nextHopFlags,
    }),
    mapping({
      ...nextHopBase,
      type: z.literal('ecmp'),
      vrf: reference,
      flags: nextHopFlags,
      hash_fields: hashFields.optional(),
      members: z
        .array(
          mapping({
            id: whole(0, 65534).describe('Stable: flows are pinned to it'),
            next_hop: reference,
            label: label.optional(),
            weight: whole(0, 65535).optional().describe('Default 1; 0 = draining'),
          }),
        )
        .max(256),
    }),
    mapping({
      ...nextHopBase,
      type: z.literal('replicate'),
      vrf: reference,
      kind: choice(REPLICATE_KINDS),
      flags: nextHopFlags,
      replicas: z.array(mapping({ next_hop: reference, label: label.optional() })).max(1024),
    }),
    mapping({
      ...nextHopBase,
      type: z.literal('vrf_translate'),
      vrf: reference,
      flags: nextHopFlags,
    }),
  ],
  NEXT_HOP_TYPES,
);

const route = mapping({
  vrf: reference,
  prefix: prefixOrAddress,
  next_hop: reference,
  label: label.optional(),
  flags: flagList(ROUTE_FLAGS).optional(),
  hash_fields: hashFields.optional(),
  mac: mac.optional().describe('Stitched MAC for proxy ARP / ND'),
});

const macEntry = mapping({
  vrf: reference,
  mac,
  next_hop: reference,
  label: label.optional(),
  flags: flagList(['dhcp_flood']).optional(),
});

const floatingIp = mapping({
  id: id((1 << 20) - 1),
  vif: reference,
  vrf: reference.describe('Where it is reachable'),
  address: ip,
  fixed: ip.optional().describe("Default: the vif's address of that family"),
  direction: choice(['both', 'ingress', 'egress']).optional(),
  ports: z
    .array(
      mapping({ protocol: choice(['tcp', 'udp', 'sctp']), port: portNumber, to_port: portNumber }),
    )
    .max(1024)
    .optional()
    .describe('Present: only these ports, translated'),
});

const sourceNat = mapping({
  id: id(65535),
  vrf: reference,
  to_vrf: reference,
  source: prefix.optional().describe('Default: all'),
  address: ip,
  ports: portRange,
});

const policyRule = mapping({
  action: choice(['pass', 'deny']),
  protocol: protocol.optional(),
  source: prefixOrAddress.optional(),
  source_ports: portRange.optional(),
  destination: prefixOrAddress.optional(),
  destination_ports: portRange.optional(),
});

const policy = mapping({ name, id: id(65535), rules: z.array(policyRule).max(4096) });

export const stateSchema = mapping({
  router: router.optional(),
  vrfs: z.array(vrf).max(65536).optional(),
  vifs: z.array(vif).max(4355).optional(),
  next_hops: z
    .array(nextHop)
    .max(1 << 19)
    .optional(),
  routes: z
    .array(route)
    .max(1 << 22)
    .optional(),
  macs: z
    .array(macEntry)
    .max(1 << 19)
    .optional(),
  labels: z.array(mapping({ label: whole(0, (1 << 20) - 1), next_hop: reference })).optional(),
  vnis: z.array(mapping({ vni: whole(0, (1 << 24) - 1), next_hop: reference })).optional(),
  floating_ips: z
    .array(floatingIp)
    .max(1 << 20)
    .optional(),
  source_nats: z.array(sourceNat).max(65536).optional(),
  policies: z.array(policy).max(65536).optional(),
}).meta({ title: 'vrouter state file', description: "One router's whole state" });

export type StateFile = z.infer<typeof stateSchema>;
