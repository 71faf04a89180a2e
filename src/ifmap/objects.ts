/**
 * The objects of the configuration channel, a row a type: its properties with their elements in the schema of the
 * ancestor's configuration, and the links there are between types. What has no row here is skipped by whoever reads.
 *
 * The order of a row is the order in which its elements are written, as the ancestor does.
 * Invariant: a type's properties are what an agent of this house has a use for, or must be told on unchanged.
 */
import {
  choice,
  type Fields,
  flag,
  group,
  groups,
  ip,
  leaf,
  leaves,
  long,
  mac,
  port,
  protocol,
  text,
  type ValuesOf,
  whole,
} from './fields.ts';

const MAX_TEXT_BYTES = 1024;
export const MAX_ACL_RULES = 4096;
export const MAX_PORT_MAPPINGS = 1024;
export const MAX_SUBNETS = 1024;
const MAX_ADDRESSES = 256;
const MAX_TARGETS = 256;
/** Subnets, groups of one rule's end. */
const MAX_RULE_SUBNETS = 64;

const words = text(MAX_TEXT_BYTES);
const u32 = whole(0xffffffff);

/** Of every object: `uuid` is what the ancestor's agents know many of them by, `enable` the administrator's word. */
const idPerms = group('id-perms', {
  permissions: group('permissions', {
    owner: leaf('owner', words),
    ownerAccess: leaf('owner-access', u32),
    group: leaf('group', words),
    groupAccess: leaf('group-access', u32),
    otherAccess: leaf('other-access', u32),
  }),
  uuid: group('uuid', { high: leaf('uuid-mslong', long), low: leaf('uuid-lslong', long) }),
  enable: leaf('enable', flag),
  created: leaf('created', words),
  lastModified: leaf('last-modified', words),
  description: leaf('description', words),
});

const subnet = (element: string) =>
  group(element, { prefix: leaf('ip-prefix', ip), length: leaf('ip-prefix-len', whole(128)) });

const hashFields = group('ecmp-hashing-include-fields', {
  configured: leaf('hashing-configured', flag),
  sourceIp: leaf('source-ip', flag),
  destinationIp: leaf('destination-ip', flag),
  protocol: leaf('ip-protocol', flag),
  sourcePort: leaf('source-port', flag),
  destinationPort: leaf('destination-port', flag),
});

const routeTargets = (element: string) =>
  group(element, { targets: leaves('route-target', words, MAX_TARGETS) });

const ruleEnd = (element: string) =>
  group(element, {
    subnet: subnet('subnet'),
    virtualNetwork: leaf('virtual-network', words),
    /** A group's id as text; -1: any. */
    securityGroup: leaf('security-group', words),
    networkPolicy: leaf('network-policy', words),
    subnets: groups(
      'subnet-list',
      { prefix: leaf('ip-prefix', ip), length: leaf('ip-prefix-len', whole(128)) },
      MAX_RULE_SUBNETS,
    ),
  });

const rulePorts = (element: string) =>
  group(element, { start: leaf('start-port', port), end: leaf('end-port', port) });

const TABLE = {
  'virtual-router': {
    address: leaf('virtual-router-ip-address', ip),
    idPerms,
    displayName: leaf('display-name', words),
  },
  'virtual-machine': { idPerms, displayName: leaf('display-name', words) },
  'virtual-machine-interface': {
    macs: group('virtual-machine-interface-mac-addresses', {
      addresses: leaves('mac-address', mac, MAX_ADDRESSES),
    }),
    deviceOwner: leaf('virtual-machine-interface-device-owner', words),
    disablePolicy: leaf('virtual-machine-interface-disable-policy', flag),
    portSecurity: leaf('port-security-enabled', flag),
    properties: group('virtual-machine-interface-properties', {
      localPreference: leaf('local-preference', u32),
      vlan: leaf('sub-interface-vlan-tag', whole(4095)),
    }),
    allowedAddressPairs: group('virtual-machine-interface-allowed-address-pairs', {
      pairs: groups(
        'allowed-address-pair',
        {
          ip: subnet('ip'),
          mac: leaf('mac', mac),
          mode: leaf('address-mode', choice(['active-active', 'active-standby'])),
        },
        MAX_ADDRESSES,
      ),
    }),
    hashFields,
    idPerms,
    displayName: leaf('display-name', words),
  },
  'virtual-network': {
    networkId: leaf('virtual-network-network-id', u32),
    properties: group('virtual-network-properties', {
      vni: leaf('vxlan-network-identifier', whole(0xffffff)),
      forwardingMode: leaf('forwarding-mode', choice(['l2', 'l3', 'l2_l3'])),
      rpf: leaf('rpf', choice(['enable', 'disable'])),
    }),
    routeTargets: routeTargets('route-target-list'),
    importTargets: routeTargets('import-route-target-list'),
    exportTargets: routeTargets('export-route-target-list'),
    external: leaf('router-external', flag),
    floodUnknownUnicast: leaf('flood-unknown-unicast', flag),
    hashFields,
    idPerms,
    displayName: leaf('display-name', words),
  },
  'network-ipam': {
    management: group('network-ipam-mgmt', {
      method: leaf('ipam-method', choice(['dhcp', 'fixed'])),
      dnsMethod: leaf(
        'ipam-dns-method',
        choice(['none', 'default-dns-server', 'tenant-dns-server', 'virtual-dns-server']),
      ),
      dnsServer: group('ipam-dns-server', {
        tenant: group('tenant-dns-server-address', {
          addresses: leaves('ip-address', ip, MAX_ADDRESSES),
        }),
        virtual: leaf('virtual-dns-server-name', words),
      }),
    }),
    idPerms,
    displayName: leaf('display-name', words),
  },
  'virtual-network-network-ipam': {
    value: group('value', {
      subnets: groups(
        'ipam-subnets',
        {
          subnet: subnet('subnet'),
          gateway: leaf('default-gateway', ip),
          dnsServer: leaf('dns-server-address', ip),
          uuid: leaf('subnet-uuid', words),
          dhcp: leaf('enable-dhcp', flag),
          name: leaf('subnet-name', words),
        },
        MAX_SUBNETS,
      ),
    }),
  },
  'routing-instance': {
    isDefault: leaf('routing-instance-is-default', flag),
    idPerms,
    displayName: leaf('display-name', words),
  },
  'virtual-machine-interface-routing-instance': {
    value: group('value', {
      direction: leaf('direction', choice(['both', 'ingress', 'egress'])),
      vlan: leaf('vlan-tag', whole(4095)),
      sourceMac: leaf('src-mac', mac),
      destinationMac: leaf('dst-mac', mac),
      serviceChainAddress: leaf('service-chain-address', ip),
      protocol: leaf('protocol', words),
    }),
  },
  'instance-ip': {
    address: leaf('instance-ip-address', ip),
    family: leaf('instance-ip-family', choice(['v4', 'v6'])),
    mode: leaf('instance-ip-mode', choice(['active-active', 'active-standby'])),
    secondary: leaf('instance-ip-secondary', flag),
    subnetUuid: leaf('subnet-uuid', words),
    idPerms,
    displayName: leaf('display-name', words),
  },
  'floating-ip-pool': { idPerms, displayName: leaf('display-name', words) },
  'floating-ip': {
    address: leaf('floating-ip-address', ip),
    fixedAddress: leaf('floating-ip-fixed-ip-address', ip),
    direction: leaf('floating-ip-traffic-direction', choice(['both', 'ingress', 'egress'])),
    portMappingsEnabled: leaf('floating-ip-port-mappings-enable', flag),
    portMappings: group('floating-ip-port-mappings', {
      mappings: groups(
        'port-mappings',
        {
          protocol: leaf('protocol', protocol),
          from: leaf('src-port', whole(65535)),
          to: leaf('dst-port', whole(65535)),
        },
        MAX_PORT_MAPPINGS,
      ),
    }),
    idPerms,
    displayName: leaf('display-name', words),
  },
  'security-group': {
    id: leaf('security-group-id', u32),
    idPerms,
    displayName: leaf('display-name', words),
  },
  'access-control-list': {
    entries: group('access-control-list-entries', {
      dynamic: leaf('dynamic', flag),
      rules: groups(
        'acl-rule',
        {
          match: group('match-condition', {
            ethertype: leaf('ethertype', choice(['IPv4', 'IPv6'])),
            protocol: leaf('protocol', protocol),
            source: ruleEnd('src-address'),
            sourcePort: rulePorts('src-port'),
            destination: ruleEnd('dst-address'),
            destinationPort: rulePorts('dst-port'),
          }),
          action: group('action-list', {
            simple: leaf('simple-action', choice(['pass', 'deny', 'reject'])),
            /** Where packets go instead: a rule that has one of these does not merely let them pass. */
            assignInstance: leaf('assign-routing-instance', words),
            applyService: leaves('apply-service', words, MAX_RULE_SUBNETS),
          }),
          uuid: leaf('rule-uuid', words),
          direction: leaf('direction', choice(['>', '<>'])),
        },
        MAX_ACL_RULES,
      ),
    }),
    idPerms,
    displayName: leaf('display-name', words),
  },
} as const satisfies Readonly<Record<string, Fields>>;

export type ObjectType = keyof typeof TABLE;
export type PropertiesOf<T extends ObjectType> = ValuesOf<(typeof TABLE)[T]>;

export const OBJECT_TYPES = Object.keys(TABLE) as readonly ObjectType[];

export function isObjectType(name: string): name is ObjectType {
  return Object.hasOwn(TABLE, name);
}

export function fieldsOf(type: ObjectType): Fields {
  return TABLE[type];
}

/** Which types a link's name (metadata) joins; one with an object of its own in its middle has two rows. */
export const LINKS = [
  ['virtual-router-virtual-machine', 'virtual-router', 'virtual-machine'],
  ['virtual-machine-interface-virtual-machine', 'virtual-machine-interface', 'virtual-machine'],
  ['virtual-machine-interface-virtual-network', 'virtual-machine-interface', 'virtual-network'],
  ['virtual-machine-interface-security-group', 'virtual-machine-interface', 'security-group'],
  [
    'virtual-machine-interface-routing-instance',
    'virtual-machine-interface',
    'virtual-machine-interface-routing-instance',
  ],
  [
    'virtual-machine-interface-routing-instance',
    'virtual-machine-interface-routing-instance',
    'routing-instance',
  ],
  ['virtual-network-routing-instance', 'virtual-network', 'routing-instance'],
  ['virtual-network-network-ipam', 'virtual-network', 'virtual-network-network-ipam'],
  ['virtual-network-network-ipam', 'virtual-network-network-ipam', 'network-ipam'],
  ['virtual-network-access-control-list', 'virtual-network', 'access-control-list'],
  ['virtual-network-floating-ip-pool', 'virtual-network', 'floating-ip-pool'],
  ['instance-ip-virtual-machine-interface', 'instance-ip', 'virtual-machine-interface'],
  ['instance-ip-virtual-network', 'instance-ip', 'virtual-network'],
  ['instance-ip-floating-ip', 'instance-ip', 'floating-ip'],
  ['floating-ip-pool-floating-ip', 'floating-ip-pool', 'floating-ip'],
  ['floating-ip-virtual-machine-interface', 'floating-ip', 'virtual-machine-interface'],
  ['security-group-access-control-list', 'security-group', 'access-control-list'],
] as const satisfies readonly (readonly [string, ObjectType, ObjectType])[];

export type LinkType = (typeof LINKS)[number][0];

const byEnds = new Map<string, Set<string>>();
for (const [metadata, a, b] of LINKS) {
  for (const ends of [`${a} ${b}`, `${b} ${a}`]) {
    byEnds.set(ends, (byEnds.get(ends) ?? new Set()).add(metadata));
  }
}

/** Whether a link of this name may join objects of these types, either way round. */
export function isLinkType(metadata: string, a: ObjectType, b: ObjectType): metadata is LinkType {
  return byEnds.get(`${a} ${b}`)?.has(metadata) ?? false;
}

/** The object in the middle of a link that has properties. */
export function linkObjectName(a: string, b: string): string {
  return a < b ? `attr(${a},${b})` : `attr(${b},${a})`;
}
