/**
 * Objects as people write them -> nodes and links of the configuration graph, a row a kind. Pure: what an object makes
 * follows from itself, and from the ids of security groups that it names.
 *
 * Names of what an object brings along are made as the ancestor makes them, where its agents look at names: routing
 * instances are `network:last-part`, access lists of a group `group:ingress-access-control-list`. Objects that several
 * bring along (a virtual machine, a network's pool) are the same from each, byte for byte.
 */
import { createHash } from 'node:crypto';
import { parsePrefix } from '../addr/prefix.ts';
import type { ConfigLink, ConfigNode, ObjectKey } from '../ifmap/graph.ts';
import {
  type LinkType,
  linkObjectName,
  type ObjectType,
  type PropertiesOf,
} from '../ifmap/objects.ts';
import { VIRTUAL_ROUTERS } from './config-agent.ts';

type Optional<T> = { readonly [K in keyof T]?: T[K] | undefined };

export type NetworkSpec = { readonly name: string } & Optional<{
  id: number;
  vni: number;
  forwarding: 'l2' | 'l3' | 'l2_l3';
  rpf: boolean;
  flood_unknown_unicast: boolean;
  subnets: readonly ({ readonly prefix: string } & Optional<{
    gateway: string;
    dns: string;
    dhcp: boolean;
  }>)[];
  policy: string;
  import: readonly string[];
  export: readonly string[];
}>;

export type PortSpec = {
  readonly name: string;
  readonly virtual_machine: string;
  readonly network: string;
  readonly mac: string;
} & Optional<{
  addresses: readonly string[];
  security_groups: readonly string[];
  enable: boolean;
}>;

export type FloatingIpSpec = {
  readonly name: string;
  readonly network: string;
  readonly address: string;
  readonly ports: readonly string[];
} & Optional<{
  direction: 'both' | 'ingress' | 'egress';
  fixed_address: string;
  port_mappings: readonly {
    readonly protocol: string;
    readonly from: number;
    readonly to: number;
  }[];
}>;

type Protocol = string | number;
type Ports = readonly [number, number];
export type RuleEnd = Optional<{ prefix: string; network: string; group: string }>;

export type SecurityGroupSpec = { readonly name: string; readonly id: number } & Optional<
  Record<'ingress' | 'egress', readonly GroupRule[]>
>;
export type GroupRule = Optional<{ protocol: Protocol; ports: Ports; remote: RuleEnd }>;

export type PolicyRule = Optional<{
  action: 'pass' | 'deny';
  protocol: Protocol;
  source: RuleEnd;
  source_ports: Ports;
  destination: RuleEnd;
  destination_ports: Ports;
}>;
export type PolicySpec = { readonly name: string; readonly rules: readonly PolicyRule[] };

export type VirtualRouterSpec = {
  readonly name: string;
  readonly virtual_machines: readonly string[];
} & Optional<{ address: string }>;

/** By list, as in the file. */
export interface Specs {
  readonly networks: NetworkSpec;
  readonly security_groups: SecurityGroupSpec;
  readonly policies: PolicySpec;
  readonly ports: PortSpec;
  readonly floating_ips: FloatingIpSpec;
  readonly virtual_routers: VirtualRouterSpec;
}
export type List = keyof Specs;

/** A name in an object that another object must have. */
export interface Reference {
  readonly path: readonly (string | number)[];
  readonly list: List;
  readonly name: string;
}

export interface Made {
  readonly nodes: ConfigNode[];
  readonly links: ConfigLink[];
}

/** Ids of security groups by name; all there are that an object refers to. */
export type GroupIds = (name: string) => number | undefined;

interface Kind<S> {
  references(spec: S): Reference[];
  make(spec: S, groupIds: GroupIds): Made;
}

// Names and ids.

export function instanceName(network: string): string {
  return `${network}:${network.slice(network.lastIndexOf(':') + 1)}`;
}

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** An object whose name ends in a UUID has that one, else one made of its name (RFC 9562 version 5), always the same. */
export function uuidOf(of: string, name: string): string {
  const last = name.slice(name.lastIndexOf(':') + 1);
  if (UUID.test(last)) return last.toLowerCase();
  const hash = createHash('sha1').update(`vrouter ${of}:${name}`).digest();
  hash[6] = ((hash[6] as number) & 0x0f) | 0x50;
  hash[8] = ((hash[8] as number) & 0x3f) | 0x80;
  return hash.toString('hex', 0, 16).replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}

function idPerms(type: ObjectType, name: string, enable = true) {
  const hex = uuidOf(type, name).replaceAll('-', '');
  const half = (from: number) => String(BigInt(`0x${hex.slice(from, from + 16)}`));
  return { uuid: { high: half(0), low: half(16) }, enable };
}

// Parts.

function make(): Made & {
  node<T extends ObjectType>(type: T, name: string, properties: PropertiesOf<T>): ObjectKey;
  link(metadata: LinkType, a: ObjectKey, b: ObjectKey): void;
} {
  const nodes: ConfigNode[] = [];
  const links: ConfigLink[] = [];
  return {
    nodes,
    links,
    node(type, name, properties) {
      nodes.push({ type, name, properties } as ConfigNode);
      return { type, name };
    },
    link: (metadata, a, b) => void links.push({ metadata, ends: [a, b] }),
  };
}

const key = (type: ObjectType, name: string): ObjectKey => ({ type, name });

function subnetOf(text: string): { prefix: string; length: number } {
  return { prefix: text.slice(0, text.indexOf('/')), length: parsePrefix(text).length };
}

const ANY = { virtualNetwork: 'any' };
const ANY_PORT: Ports = [0, 65535];

function endOf({ prefix, network, group }: RuleEnd, groupIds: GroupIds) {
  if (prefix !== undefined) return { subnet: subnetOf(prefix) };
  if (network !== undefined) return { virtualNetwork: network };
  if (group !== undefined) return { securityGroup: String(groupIds(group)) };
  return ANY;
}

const PROTOCOLS: Readonly<Record<string, number>> = {
  icmp: 1,
  tcp: 6,
  udp: 17,
  icmp6: 58,
  sctp: 132,
};

/** A number, as the ancestor's access lists have it. */
function protocolText(given: Protocol = 'any'): string {
  if (given === 'any' || given === 0) return 'any';
  return String(typeof given === 'number' ? given : PROTOCOLS[given]);
}

const ports = ([start, end]: Ports = ANY_PORT) => ({ start, end });

function accessList(
  into: ReturnType<typeof make>,
  name: string,
  rules: readonly {
    readonly action: 'pass' | 'deny';
    readonly protocol: Protocol | undefined;
    readonly source: object;
    readonly sourcePorts: Ports | undefined;
    readonly destination: object;
    readonly destinationPorts: Ports | undefined;
  }[],
): ObjectKey {
  return into.node('access-control-list', name, {
    entries: {
      dynamic: false,
      rules: rules.map((rule, i) => ({
        match: {
          protocol: protocolText(rule.protocol),
          source: rule.source,
          sourcePort: ports(rule.sourcePorts),
          destination: rule.destination,
          destinationPort: ports(rule.destinationPorts),
        },
        action: { simple: rule.action },
        uuid: uuidOf('rule', `${name}/${i}`),
      })),
    },
    idPerms: idPerms('access-control-list', name),
  });
}

function endReferences(path: readonly (string | number)[], end: RuleEnd = {}): Reference[] {
  const found: Reference[] = [];
  if (end.network !== undefined) {
    found.push({ path: [...path, 'network'], list: 'networks', name: end.network });
  }
  if (end.group !== undefined) {
    found.push({ path: [...path, 'group'], list: 'security_groups', name: end.group });
  }
  return found;
}

const virtualMachine = (into: ReturnType<typeof make>, name: string): ObjectKey =>
  into.node('virtual-machine', name, { idPerms: idPerms('virtual-machine', name) });

/** Of all networks: it says nothing that one has and another has not. */
const IPAM = 'default-domain:default-project:default-network-ipam';

// The kinds.

const networks: Kind<NetworkSpec> = {
  references: ({ policy }) =>
    policy === undefined ? [] : [{ path: ['policy'], list: 'policies', name: policy }],
  make(spec) {
    const into = make();
    const { name, id, vni } = spec;
    const network = into.node('virtual-network', name, {
      ...(id !== undefined && { networkId: id }),
      properties: {
        ...(vni !== undefined && { vni }),
        forwardingMode: spec.forwarding ?? 'l2_l3',
        rpf: spec.rpf === false ? 'disable' : 'enable',
      },
      ...(spec.flood_unknown_unicast !== undefined && {
        floodUnknownUnicast: spec.flood_unknown_unicast,
      }),
      idPerms: idPerms('virtual-network', name),
    });
    const instance = into.node('routing-instance', instanceName(name), {
      isDefault: false,
      idPerms: idPerms('routing-instance', instanceName(name)),
    });
    into.link('virtual-network-routing-instance', network, instance);
    const ipam = into.node('network-ipam', IPAM, { idPerms: idPerms('network-ipam', IPAM) });
    const attribute = into.node('virtual-network-network-ipam', linkObjectName(IPAM, name), {
      value: {
        subnets: (spec.subnets ?? []).map(({ prefix, gateway, dns = gateway, dhcp = true }) => ({
          subnet: subnetOf(prefix),
          ...(gateway !== undefined && { gateway }),
          ...(dns !== undefined && { dnsServer: dns }),
          uuid: uuidOf('subnet', `${name}/${prefix}`),
          dhcp,
        })),
      },
    });
    into.link('virtual-network-network-ipam', network, attribute);
    into.link('virtual-network-network-ipam', attribute, ipam);
    if (spec.policy !== undefined) {
      const list = key('access-control-list', spec.policy);
      into.link('virtual-network-access-control-list', network, list);
    }
    return into;
  },
};

const portKind: Kind<PortSpec> = {
  references: ({ network, security_groups = [] }) => [
    { path: ['network'], list: 'networks', name: network },
    ...security_groups.map(
      (name, i): Reference => ({ path: ['security_groups', i], list: 'security_groups', name }),
    ),
  ],
  make(spec) {
    const into = make();
    const { name, addresses = [], security_groups = [], enable = true } = spec;
    const port = into.node('virtual-machine-interface', name, {
      macs: { addresses: [spec.mac] },
      idPerms: idPerms('virtual-machine-interface', name, enable),
    });
    const network = key('virtual-network', spec.network);
    into.link(
      'virtual-machine-interface-virtual-machine',
      port,
      virtualMachine(into, spec.virtual_machine),
    );
    into.link('virtual-machine-interface-virtual-network', port, network);
    const instance = key('routing-instance', instanceName(spec.network));
    const attribute = into.node(
      'virtual-machine-interface-routing-instance',
      linkObjectName(name, instance.name),
      { value: { direction: 'both' } },
    );
    into.link('virtual-machine-interface-routing-instance', port, attribute);
    into.link('virtual-machine-interface-routing-instance', attribute, instance);
    for (const group of security_groups) {
      into.link('virtual-machine-interface-security-group', port, key('security-group', group));
    }
    for (const address of addresses) {
      const ip = into.node('instance-ip', `${name}:${address}`, {
        address,
        family: address.includes(':') ? 'v6' : 'v4',
        idPerms: idPerms('instance-ip', `${name}:${address}`),
      });
      into.link('instance-ip-virtual-machine-interface', ip, port);
      into.link('instance-ip-virtual-network', ip, network);
    }
    return into;
  },
};

const floatingIps: Kind<FloatingIpSpec> = {
  references: ({ network, ports: of }) => [
    { path: ['network'], list: 'networks', name: network },
    ...of.map((name, i): Reference => ({ path: ['ports', i], list: 'ports', name })),
  ],
  make(spec) {
    const into = make();
    const { name, port_mappings: mappings } = spec;
    const pool = into.node('floating-ip-pool', `${spec.network}:floating-ips`, {
      idPerms: idPerms('floating-ip-pool', `${spec.network}:floating-ips`),
    });
    into.link('virtual-network-floating-ip-pool', key('virtual-network', spec.network), pool);
    const address = into.node('floating-ip', name, {
      address: spec.address,
      ...(spec.fixed_address !== undefined && { fixedAddress: spec.fixed_address }),
      direction: spec.direction ?? 'both',
      portMappingsEnabled: mappings !== undefined,
      ...(mappings !== undefined && {
        portMappings: {
          mappings: mappings.map(({ protocol, from, to }) => ({
            protocol: protocol.toUpperCase(),
            from,
            to,
          })),
        },
      }),
      idPerms: idPerms('floating-ip', name),
    });
    into.link('floating-ip-pool-floating-ip', pool, address);
    for (const port of spec.ports) {
      const of = key('virtual-machine-interface', port);
      into.link('floating-ip-virtual-machine-interface', address, of);
    }
    return into;
  },
};

const WAYS = ['ingress', 'egress'] as const;

const securityGroups: Kind<SecurityGroupSpec> = {
  references: (spec) =>
    WAYS.flatMap((way) =>
      (spec[way] ?? []).flatMap(({ remote }, i) => endReferences([way, i, 'remote'], remote)),
    ),
  make(spec, groupIds) {
    const into = make();
    const group = into.node('security-group', spec.name, {
      id: spec.id,
      idPerms: idPerms('security-group', spec.name),
    });
    for (const way of WAYS) {
      const rules = (spec[way] ?? []).map(({ protocol, ports: of, remote = {} }) => {
        const far = endOf(remote, groupIds);
        return {
          action: 'pass' as const,
          protocol,
          source: way === 'ingress' ? far : {},
          sourcePorts: undefined,
          destination: way === 'ingress' ? {} : far,
          destinationPorts: of,
        };
      });
      const list = accessList(into, `${spec.name}:${way}-access-control-list`, rules);
      into.link('security-group-access-control-list', group, list);
    }
    return into;
  },
};

const policies: Kind<PolicySpec> = {
  references: ({ rules }) =>
    rules.flatMap(({ source, destination }, i) => [
      ...endReferences(['rules', i, 'source'], source),
      ...endReferences(['rules', i, 'destination'], destination),
    ]),
  make({ name, rules }, groupIds) {
    const into = make();
    accessList(
      into,
      name,
      rules.map((rule) => ({
        action: rule.action ?? 'pass',
        protocol: rule.protocol,
        source: endOf(rule.source ?? {}, groupIds),
        sourcePorts: rule.source_ports,
        destination: endOf(rule.destination ?? {}, groupIds),
        destinationPorts: rule.destination_ports,
      })),
    );
    return into;
  },
};

const virtualRouters: Kind<VirtualRouterSpec> = {
  references: () => [],
  make({ name, address, virtual_machines: machines }) {
    const into = make();
    const full = `${VIRTUAL_ROUTERS}${name}`;
    const router = into.node('virtual-router', full, {
      ...(address !== undefined && { address }),
      idPerms: idPerms('virtual-router', full),
    });
    for (const machine of machines) {
      into.link('virtual-router-virtual-machine', router, virtualMachine(into, machine));
    }
    return into;
  },
};

export const KINDS: { readonly [L in List]: Kind<Specs[L]> } = {
  networks,
  security_groups: securityGroups,
  policies,
  ports: portKind,
  floating_ips: floatingIps,
  virtual_routers: virtualRouters,
};
