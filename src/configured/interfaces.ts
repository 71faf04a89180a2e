/**
 * Virtual machine interfaces of a configuration as vifs of the node file: what an interface has, or the first thing that
 * it lacks. Pure.
 */
import { canonicalIp, isIpv4, isIpv6 } from '../addr/ip.ts';
import { type FloatingIpFile, vifSchema } from '../config/node.ts';
import { protocolNumber } from '../ifmap/fields.ts';
import type { ConfigGraph, ConfigNode } from '../ifmap/graph.ts';
import { type AccessList, groupsOf } from './access-lists.ts';
import { type ConfiguredVif, type Note, policyName } from './desired.ts';
import { gatewayOf, type Instances, type Network, subnetsOf } from './networks.ts';

export type Interface = ConfigNode<'virtual-machine-interface'>;
type FloatingIp = ConfigNode<'floating-ip'>;
type PortMap = NonNullable<FloatingIpFile['ports']>[number];

/** kMaxFloatingIpsPerVif, less what the node itself may need of them (agent/link-local.ts). */
const MAX_FLOATING_IPS = 60;
/** kMaxVifPolicies. */
const MAX_POLICIES = 16;

/** As the node file takes them; the ancestor's routes, too, carry no more than a few. */
const MAX_GROUP_IDS = 64;

/** What is used on the way: VRFs by networks, lists that become policies. */
export interface Used {
  readonly graph: ConfigGraph;
  readonly instances: Instances;
  /** By policy name: a list, and for whom, if it is about groups. */
  readonly lists: Map<string, { readonly list: AccessList; readonly instance: string | undefined }>;
  /** By policy name: groups that have no list for a direction. */
  readonly closed: Set<string>;
  readonly notes: Note[];
}

export type Described = { readonly vif: ConfiguredVif } | { readonly lacks: string };

/** The interface of this name, or whose UUID this is. */
export function interfacesByName(graph: ConfigGraph): (vmi: string) => Interface | undefined {
  const byUuid = new Map<string, Interface>();
  for (const node of graph.nodes()) {
    if (node.type !== 'virtual-machine-interface') continue;
    for (const uuid of [uuidOf(node), node.name.split(':').at(-1) ?? '']) {
      const key = uuid.toLowerCase();
      if (key !== '' && !byUuid.has(key)) byUuid.set(key, node);
    }
  }
  return (vmi) => graph.node('virtual-machine-interface', vmi) ?? byUuid.get(vmi.toLowerCase());
}

function uuidOf({ properties: { idPerms } }: Interface): string {
  const { high, low } = idPerms?.uuid ?? {};
  if (high === undefined || low === undefined) return '';
  const digits = [high, low].map((half) => BigInt(half).toString(16).padStart(16, '0')).join('');
  return digits.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

export function describeInterface(used: Used, port: string, vmi: Interface): Described {
  const { graph, instances } = used;
  if (vmi.properties.idPerms?.enable === false) return { lacks: `${vmi.name} is disabled` };
  const [mac] = vmi.properties.macs?.addresses ?? [];
  if (mac === undefined) return { lacks: `${vmi.name} has no MAC address` };
  const [network] = graph.neighbours(vmi, 'virtual-network');
  if (network === undefined) return { lacks: `${vmi.name} has no virtual-network` };
  const instance = instanceFor(used, vmi, network);
  if ('lacks' in instance) return instance;
  const { ipv4, ipv6 } = addressesOf(used, vmi);
  if (ipv4 === undefined && ipv6 === undefined) return { lacks: `${vmi.name} has no instance-ip` };
  const subnets = subnetsOf(graph, network);
  const gateway4 = ipv4 === undefined ? undefined : gatewayOf(subnets, ipv4);
  const gateway6 = ipv6 === undefined ? undefined : gatewayOf(subnets, ipv6);
  const machine = vifSchema.shape.instance_id.safeParse(
    graph.neighbours(vmi, 'virtual-machine')[0]?.name,
  ).data;
  const floatingIps = floatingIpsOf(used, vmi, { ipv4, ipv6 });
  const policies =
    vmi.properties.disablePolicy === true ? {} : policiesOf(used, vmi, network, instance.vrf);
  instances.use(network);
  return {
    vif: {
      name: port,
      vrf: instance.vrf,
      tenant_mac: mac,
      ...(ipv4 !== undefined && { ipv4 }),
      ...(ipv6 !== undefined && { ipv6 }),
      ...(gateway4 !== undefined && { gateway4 }),
      ...(gateway6 !== undefined && { gateway6 }),
      ...(machine !== undefined && { instance_id: machine }),
      ...(floatingIps.length > 0 && { floating_ips: floatingIps }),
      ...policies,
    },
  };
}

function instanceFor({ instances }: Used, vmi: Interface, network: Network) {
  const found = instances.of(network);
  return 'lacks' in found ? { lacks: `${vmi.name}: ${found.lacks}` } : found;
}

/** The first of each family that is not a secondary one. */
function addressesOf({ graph, notes }: Used, vmi: Interface) {
  const all = graph
    .neighbours(vmi, 'instance-ip')
    .filter(({ properties }) => properties.address !== undefined);
  const primary = all.filter(({ properties }) => properties.secondary !== true);
  const [ipv4, ipv6] = [isIpv4, isIpv6].map(
    (is) => primary.find(({ properties }) => is(properties.address as string))?.properties.address,
  );
  for (const { name, properties } of all) {
    if (properties.address === ipv4 || properties.address === ipv6) continue;
    const what = `${properties.address} is not taken over: ${vmi.name} has another address`;
    notes.push({ object: `instance-ip ${name}`, what });
  }
  return { ipv4, ipv6 };
}

// --- floating IPs ----------------------------------------------------------------------------------

interface Fixed {
  readonly ipv4: string | undefined;
  readonly ipv6: string | undefined;
}

function floatingIpsOf(used: Used, vmi: Interface, fixed: Fixed): FloatingIpFile[] {
  const taken = new Map<string, FloatingIpFile>();
  for (const fip of used.graph.neighbours(vmi, 'floating-ip')) {
    const note = (what: string) => used.notes.push({ object: `floating-ip ${fip.name}`, what });
    const read = floatingIpOf(used, fip, fixed, note);
    if ('lacks' in read) {
      note(`not had by ${vmi.name}: ${read.lacks}`);
      continue;
    }
    const key = `${read.vrf} ${canonicalIp(read.address)}`;
    if (taken.has(key)) note(`not had by ${vmi.name}: another one is ${read.address}, too`);
    else if (taken.size === MAX_FLOATING_IPS)
      note(`not had by ${vmi.name}: it has ${MAX_FLOATING_IPS}`);
    else {
      taken.set(key, read);
      const network = networkOf(used.graph, fip);
      if (network !== undefined) used.instances.use(network);
    }
  }
  return [...taken.values()];
}

/** By its pool; one of a service is its instance-ip's. */
function networkOf(graph: ConfigGraph, fip: FloatingIp): Network | undefined {
  return (['floating-ip-pool', 'instance-ip'] as const)
    .flatMap((type) => graph.neighbours(fip, type))
    .flatMap((parent) => graph.neighbours(parent, 'virtual-network'))[0];
}

function floatingIpOf(
  { graph, instances }: Used,
  fip: FloatingIp,
  { ipv4, ipv6 }: Fixed,
  note: (what: string) => void,
): FloatingIpFile | { readonly lacks: string } {
  const { address, fixedAddress, direction, portMappingsEnabled } = fip.properties;
  if (address === undefined) return { lacks: 'it has no address' };
  const own = isIpv4(address) ? ipv4 : ipv6;
  if (own === undefined) return { lacks: 'the interface has no address of that family' };
  if (fixedAddress !== undefined && canonicalIp(fixedAddress) !== canonicalIp(own))
    return { lacks: `it is for ${fixedAddress}` };
  const network = networkOf(graph, fip);
  if (network === undefined) return { lacks: 'it has no network, by pool or by instance-ip' };
  const instance = instances.of(network);
  if ('lacks' in instance) return instance;
  return {
    address,
    vrf: instance.vrf,
    ...(direction !== undefined && { direction }),
    ...(portMappingsEnabled === true && { ports: portMapsOf(fip, note) }),
  };
}

const MAPPED: Readonly<Record<number, PortMap['protocol']>> = { 6: 'tcp', 17: 'udp', 132: 'sctp' };

/** What is not in here is not reachable: a mapping that cannot be had closes its port. */
function portMapsOf(fip: FloatingIp, note: (what: string) => void): PortMap[] {
  const maps = new Map<string, PortMap>();
  for (const [i, { protocol, from, to }] of (
    fip.properties.portMappings?.mappings ?? []
  ).entries()) {
    const mapped = protocol === undefined ? undefined : MAPPED[protocolNumber(protocol) ?? 0];
    if (mapped === undefined || !from || !to) {
      note(`port mapping ${i + 1} is none: ${protocol ?? 'no protocol'} ${from} to ${to}`);
      continue;
    }
    const key = `${mapped} ${from}`;
    if (maps.has(key)) note(`port mapping ${i + 1}: ${key} is mapped already`);
    else maps.set(key, { protocol: mapped, port: from, to_port: to });
  }
  return [...maps.values()];
}

// --- policies --------------------------------------------------------------------------------------

const DIRECTIONS = ['ingress', 'egress'] as const;

function policiesOf(used: Used, vmi: Interface, network: Network, vrf: string) {
  const { graph, lists, notes } = used;
  const some = (names: readonly string[], what: string) => {
    if (names.length > MAX_POLICIES) {
      const said = `${names.length} ${what}: only the first ${MAX_POLICIES} count`;
      notes.push({ object: `virtual-machine-interface ${vmi.name}`, what: said });
    }
    return names.slice(0, MAX_POLICIES);
  };
  const use = (list: AccessList) => {
    // Members are looked for where the interface is, so there it is a policy of its own.
    const instance = groupsOf(list).length > 0 ? vrf : undefined;
    const name = policyName(instance === undefined ? list.name : `${list.name} in ${instance}`);
    lists.set(name, { list, instance });
    return name;
  };
  /** Nothing is allowed by what says nothing. */
  const close = (object: string, what: string) => {
    const name = policyName(`${object} (${what})`);
    used.closed.add(name);
    notes.push({ object, what: `${what}: lets nothing pass` });
    return name;
  };
  const ofNetwork = [
    ...graph.neighbours(network, 'access-control-list').map(use),
    ...graph
      .absent(network, 'access-control-list')
      .map((name) => close(`access-control-list ${name}`, 'not there')),
  ];
  const secure = vmi.properties.portSecurity !== false;
  const groups = secure ? graph.neighbours(vmi, 'security-group') : [];
  const unknown = (secure ? graph.absent(vmi, 'security-group') : []).map((name) =>
    close(`security-group ${name}`, 'not there'),
  );
  const [ingress, egress] = DIRECTIONS.map((direction) => [
    ...groups.flatMap((group) => {
      const found = graph
        .neighbours(group, 'access-control-list')
        .filter(({ name }) => name.endsWith(`${direction}-access-control-list`));
      if (found.length > 0) return found.map(use);
      return [close(`security-group ${group.name}`, `no ${direction}-access-control-list`)];
    }),
    ...unknown,
  ]) as [string[], string[]];
  const ids = groups
    .flatMap(({ properties }) => properties.id ?? [])
    .filter((id) => id > 0)
    .slice(0, MAX_GROUP_IDS);
  return {
    ...(ids.length > 0 && { security_group_ids: [...new Set(ids)].sort((a, b) => a - b) }),
    ...(ofNetwork.length > 0 && { network_policies: some(ofNetwork, 'lists of its network') }),
    ...(ingress.length > 0 && { ingress_groups: some(ingress, 'ingress lists') }),
    ...(egress.length > 0 && { egress_groups: some(egress, 'egress lists') }),
  };
}
