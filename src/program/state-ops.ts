/**
 * A state file compiled to the ops of one Program: names become ids, defaults are filled in, flag words
 * become bits. Nothing here talks to a data plane; what the tables alone can judge (a tunnel end of the
 * wrong family, …) is left to the commit.
 *
 * Ids: an object may carry its own; the others get the lowest free ones in file order, VRFs from 1 (0 is
 * the fabric's and has to be said), vifs from 0, next hops from 1 (0 is discard, always there), the rest
 * from 1. So equal files give equal ids.
 * A name that nothing has is a ConfigError at its place in the file, with the nearest name there is.
 */
import { canonicalIp, isIpv4 } from '../addr/ip.ts';
import { canonicalMac, MAC_GATEWAY } from '../addr/mac.ts';
import { canonicalPrefix, hostPrefix } from '../addr/prefix.ts';
import type { ConfigText, Path, Problem } from '../config/document.ts';
import { protocolNumber } from '../config/fields.ts';
import type { Loaded } from '../config/load.ts';
import { suggestion } from '../config/nearest.ts';
import {
  ENCAPS,
  type HASH_FIELDS,
  type NEXT_HOP_FLAGS,
  REPLICATE_KINDS,
  type ROUTE_FLAGS,
  type StateFile,
  type VIF_FLAGS,
  VIF_TYPES,
} from '../config/state.ts';
import type { Op } from '../dataplane/api.ts';

export const NO_LABEL = 0xfffff;

export const VIF_FLAG_BITS: Readonly<Record<(typeof VIF_FLAGS)[number], number>> = {
  policy: 0x1,
  l3: 0x40,
  l2: 0x80,
  dhcp_trap: 0x100,
  no_proxy: 0x1000,
  unknown_flood: 0x10000,
  drop_new_flows: 0x40000,
  proxy: 0x100000,
  service: 0x20000000,
  gateway_trap: 0x40000000,
};
export const NEXT_HOP_FLAG_BITS: Readonly<Record<(typeof NEXT_HOP_FLAGS)[number], number>> = {
  policy: 0x2,
  unicast_flood: 0x10000,
  validate_source: 0x8000000,
  bridge: 0x10000000,
};
export const ROUTE_FLAG_BITS: Readonly<Record<(typeof ROUTE_FLAGS)[number], number>> = {
  proxy: 0x2,
  trap: 0x4,
  flood: 0x8,
};
export const HASH_FIELD_BITS: Readonly<Record<(typeof HASH_FIELDS)[number], number>> = {
  protocol: 0x1,
  source: 0x2,
  source_port: 0x4,
  destination: 0x8,
  destination_port: 0x10,
};
const ROUTER_FLAG_BITS = { unconditional_rst: 0x1, no_mss_clamp: 0x2 } as const;
const MAC_FLAG_BITS = { dhcp_flood: 0x4 } as const;
const TIMEOUT_STATES = ['new', 'established', 'closing'] as const;
const DIRECTIONS = ['both', 'ingress', 'egress'] as const;
const DEFAULT_ICMP_ERRORS = 100;
const DISCARD = 0;
const NONE = 0xffffffff;

function bits<T extends string>(
  words: readonly T[] | undefined,
  table: Readonly<Record<T, number>>,
) {
  let value = 0;
  for (const word of words ?? []) value |= table[word];
  return value >>> 0;
}

function prefixText(text: string): string {
  return text.includes('/') ? canonicalPrefix(text) : hostPrefix(text);
}

interface Named {
  readonly name?: string | undefined;
  readonly id?: number | undefined;
}

/** Ids of one kind of object, by name. */
class Ids {
  readonly #what: string;
  readonly #problems: Problem[];
  readonly #byName = new Map<string, number>();
  readonly #used = new Map<number, string>();
  readonly ids: number[] = [];

  constructor(
    what: string,
    key: string,
    list: readonly Named[],
    first: number,
    problems: Problem[],
  ) {
    this.#what = what;
    this.#problems = problems;
    const label = (object: Named, i: number) => object.name ?? `${key}[${i}]`;
    list.forEach((object, i) => {
      if (object.id === undefined) return;
      const other = this.#used.get(object.id);
      if (other !== undefined) {
        problems.push({ path: [key, i, 'id'], message: `${other} has id ${object.id} already` });
      }
      this.#used.set(object.id, label(object, i));
    });
    let next = first;
    list.forEach((object, i) => {
      while (object.id === undefined && this.#used.has(next)) next++;
      const id = object.id ?? next;
      if (object.id === undefined) this.#used.set(id, label(object, i));
      this.ids.push(id);
      if (object.name === undefined) return;
      if (this.#byName.has(object.name)) {
        problems.push({ path: [key, i, 'name'], message: `"${object.name}" is a name twice` });
      }
      this.#byName.set(object.name, id);
    });
  }

  /** For names that are always there. */
  add(name: string, id: number): void {
    if (!this.#byName.has(name)) this.#byName.set(name, id);
    if (!this.#used.has(id)) this.#used.set(id, name);
  }

  find(reference: string | number, path: Path): number {
    if (typeof reference === 'number') {
      if (!this.#used.has(reference)) {
        this.#problems.push({ path, message: `no ${this.#what} has id ${reference}` });
      }
      return reference;
    }
    const id = this.#byName.get(reference);
    if (id !== undefined) return id;
    const near = suggestion(reference, [...this.#byName.keys()]);
    this.#problems.push({ path, message: `no ${this.#what} is called "${reference}"${near}` });
    return DISCARD;
  }
}

export interface CompiledVif {
  readonly id: number;
  readonly name: string;
  readonly mtu: number;
  readonly mac: string;
}

export interface CompiledState {
  readonly ops: readonly Op[];
  readonly vifs: readonly CompiledVif[];
}

type NextHopFile = NonNullable<StateFile['next_hops']>[number];

class Compiler {
  readonly #state: StateFile;
  readonly #portOf: (vif: string) => number;
  readonly #problems: Problem[] = [];
  readonly #vrfs: Ids;
  readonly #vifs: Ids;
  readonly #nextHops: Ids;
  readonly #policies: Ids;
  readonly #vifIndex = new Map<number, number>();
  /** The first plain interface next hop to a vif: the scope of its flows unless the file says otherwise. */
  readonly #ownNextHop = new Map<number, number>();
  readonly ops: Op[] = [];

  constructor(state: StateFile, portOf: (vif: string) => number) {
    this.#state = state;
    this.#portOf = portOf;
    const ids = (what: string, key: string, list: readonly Named[] | undefined, first: number) =>
      new Ids(what, key, list ?? [], first, this.#problems);
    this.#vrfs = ids('VRF', 'vrfs', state.vrfs, 1);
    this.#vifs = ids('vif', 'vifs', state.vifs, 0);
    this.#nextHops = ids('next hop', 'next_hops', state.next_hops, 1);
    this.#nextHops.add('discard', DISCARD);
    this.#policies = ids('policy', 'policies', state.policies, 1);
    this.#vifs.ids.forEach((id, i) => {
      this.#vifIndex.set(id, i);
    });
  }

  run(text: ConfigText): CompiledState {
    this.#router();
    this.#vrfOps();
    this.#policyOps();
    this.#state.next_hops?.forEach((nextHop, i) => {
      this.#nextHop(nextHop, i);
    });
    const vifs = this.#vifOps();
    this.#tables();
    this.#nat();
    if (this.#problems.length > 0) text.refuse(this.#problems);
    return { ops: this.ops, vifs };
  }

  #router(): void {
    const { router } = this.#state;
    this.ops.push({
      op: 'router_set',
      ipv4: router?.ipv4 ?? '',
      ipv6: router?.ipv6 === undefined ? '' : canonicalIp(router.ipv6),
      icmpErrorsPerSecond: router?.icmp_errors_per_second ?? DEFAULT_ICMP_ERRORS,
      flags: bits(router?.flags, ROUTER_FLAG_BITS),
      timeouts: (router?.timeouts ?? []).map((timeout) => ({
        protocol: protocolNumber(timeout.protocol),
        state: TIMEOUT_STATES.indexOf(timeout.state),
        seconds: timeout.seconds,
      })),
    });
  }

  #vrfOps(): void {
    this.#state.vrfs?.forEach((vrf, i) => {
      const id = this.#vrfs.ids[i] as number;
      this.ops.push({ op: 'vrf_set', vrf: id, name: vrf.name, flowQuota: vrf.flow_quota ?? 0 });
    });
  }

  #policyOps(): void {
    this.#state.policies?.forEach((policy, i) => {
      const rules = policy.rules.map((rule) => ({
        action: rule.action === 'pass' ? 1 : 0,
        protocol: protocolNumber(rule.protocol ?? 'any'),
        source: rule.source === undefined ? '' : prefixText(rule.source),
        sourcePortLow: rule.source_ports?.[0] ?? 0,
        sourcePortHigh: rule.source_ports?.[1] ?? 0xffff,
        destination: rule.destination === undefined ? '' : prefixText(rule.destination),
        destinationPortLow: rule.destination_ports?.[0] ?? 0,
        destinationPortHigh: rule.destination_ports?.[1] ?? 0xffff,
      }));
      const id = this.#policies.ids[i] as number;
      this.ops.push({ op: 'policy_set', policy: id, name: policy.name, rules });
    });
  }

  #vifMac(id: number): string {
    const mac = this.#state.vifs?.[this.#vifIndex.get(id) ?? -1]?.mac;
    return mac === undefined ? MAC_GATEWAY : canonicalMac(mac);
  }

  #nextHop(spec: NextHopFile, i: number): void {
    const nextHop = this.#nextHops.ids[i] as number;
    const at = (...rest: Path): Path => ['next_hops', i, ...rest];
    const vrf = (reference: string | number) => this.#vrfs.find(reference, at('vrf'));
    const flags = 'flags' in spec ? bits(spec.flags, NEXT_HOP_FLAG_BITS) : 0;
    switch (spec.type) {
      case 'discard':
        this.ops.push({ op: 'nh_discard_set', nextHop });
        return;
      case 'receive': {
        const vif = spec.vif === undefined ? NONE : this.#vifs.find(spec.vif, at('vif'));
        this.ops.push({ op: 'nh_receive_set', nextHop, vrf: vrf(spec.vrf), vif, flags });
        return;
      }
      case 'l2_receive':
        this.ops.push({ op: 'nh_l2_receive_set', nextHop, vrf: vrf(spec.vrf) });
        return;
      case 'interface': {
        const vif = this.#vifs.find(spec.vif, at('vif'));
        const plain = spec.flags?.includes('bridge') !== true;
        if (plain && !this.#ownNextHop.has(vif)) this.#ownNextHop.set(vif, nextHop);
        this.ops.push({
          op: 'nh_interface_set',
          nextHop,
          vrf: vrf(spec.vrf),
          vif,
          flags,
          destinationMac: canonicalMac(spec.destination_mac),
          sourceMac: spec.source_mac ? canonicalMac(spec.source_mac) : this.#vifMac(vif),
        });
        return;
      }
      case 'tunnel':
        this.#tunnel(spec, nextHop, flags, at);
        return;
      case 'ecmp':
        this.ops.push({
          op: 'nh_ecmp_set',
          nextHop,
          vrf: vrf(spec.vrf),
          flags,
          hashFields: bits(spec.hash_fields, HASH_FIELD_BITS),
          members: spec.members.map((member, m) => ({
            member: member.id,
            nextHop: this.#nextHops.find(member.next_hop, at('members', m, 'next_hop')),
            label: member.label ?? NO_LABEL,
            weight: member.weight ?? 1,
          })),
        });
        return;
      case 'replicate':
        this.ops.push({
          op: 'nh_replicate_set',
          nextHop,
          vrf: vrf(spec.vrf),
          flags,
          kind: REPLICATE_KINDS.indexOf(spec.kind),
          replicas: spec.replicas.map((replica, r) => ({
            nextHop: this.#nextHops.find(replica.next_hop, at('replicas', r, 'next_hop')),
            label: replica.label ?? NO_LABEL,
          })),
        });
        return;
      case 'vrf_translate':
        this.ops.push({ op: 'nh_vrf_translate_set', nextHop, vrf: vrf(spec.vrf), flags });
    }
  }

  #tunnel(
    spec: Extract<NextHopFile, { type: 'tunnel' }>,
    nextHop: number,
    flags: number,
    at: (...rest: Path) => Path,
  ): void {
    const vif = this.#vifs.find(spec.vif, at('vif'));
    const four = isIpv4(spec.destination);
    const own = four ? this.#state.router?.ipv4 : this.#state.router?.ipv6;
    const source = spec.source ?? own;
    if (source === undefined) {
      const key = four ? 'router.ipv4' : 'router.ipv6';
      this.#problems.push({ path: at(), message: `no source, and ${key} is not set either` });
    }
    this.ops.push({
      op: 'nh_tunnel_set',
      nextHop,
      vrf: spec.vrf === undefined ? 0 : this.#vrfs.find(spec.vrf, at('vrf')),
      vif,
      flags,
      encap: ENCAPS.indexOf(spec.encap) + 1,
      source: canonicalIp(source ?? spec.destination),
      destination: canonicalIp(spec.destination),
      destinationMac: canonicalMac(spec.destination_mac),
      sourceMac: spec.source_mac ? canonicalMac(spec.source_mac) : this.#vifMac(vif),
      l3VxlanMac: spec.l3_vxlan_mac === undefined ? '' : canonicalMac(spec.l3_vxlan_mac),
    });
  }

  #vifOps(): CompiledVif[] {
    return (this.#state.vifs ?? []).map((vif, i): CompiledVif => {
      const id = this.#vifs.ids[i] as number;
      const at = (...rest: Path): Path => ['vifs', i, ...rest];
      const refs = (key: 'network_policies' | 'ingress_groups' | 'egress_groups') =>
        (vif[key] ?? []).map((reference, p) => ({
          policy: this.#policies.find(reference, at(key, p)),
        }));
      const mtu = vif.mtu ?? 1500;
      this.ops.push({
        op: 'vif_set',
        vif: id,
        name: vif.name,
        type: VIF_TYPES.indexOf(vif.type),
        port: this.#portOf(vif.name),
        mac: this.#vifMac(id),
        vrf: this.#vrfs.find(vif.vrf, at('vrf')),
        flags: bits(vif.flags, VIF_FLAG_BITS),
        mtu,
        nextHop:
          vif.next_hop === undefined
            ? (this.#ownNextHop.get(id) ?? DISCARD)
            : this.#nextHops.find(vif.next_hop, at('next_hop')),
        ipv4: vif.ipv4 ?? '',
        ipv6: vif.ipv6 === undefined ? '' : canonicalIp(vif.ipv6),
        gateway4: vif.gateway4 ?? '',
        gateway6: vif.gateway6 === undefined ? '' : canonicalIp(vif.gateway6),
        flowQuota: vif.flow_quota ?? 0,
        networkPolicies: refs('network_policies'),
        ingressGroups: refs('ingress_groups'),
        egressGroups: refs('egress_groups'),
      });
      return { id, name: vif.name, mtu, mac: this.#vifMac(id) };
    });
  }

  #tables(): void {
    const { routes, macs, labels, vnis } = this.#state;
    routes?.forEach((route, i) => {
      this.ops.push({
        op: 'route_set',
        vrf: this.#vrfs.find(route.vrf, ['routes', i, 'vrf']),
        prefix: prefixText(route.prefix),
        nextHop: this.#nextHops.find(route.next_hop, ['routes', i, 'next_hop']),
        label: route.label ?? NO_LABEL,
        flags: bits(route.flags, ROUTE_FLAG_BITS),
        hashFields: bits(route.hash_fields, HASH_FIELD_BITS),
        mac: route.mac === undefined ? '' : canonicalMac(route.mac),
      });
    });
    macs?.forEach((entry, i) => {
      this.ops.push({
        op: 'mac_set',
        vrf: this.#vrfs.find(entry.vrf, ['macs', i, 'vrf']),
        mac: canonicalMac(entry.mac),
        nextHop: this.#nextHops.find(entry.next_hop, ['macs', i, 'next_hop']),
        label: entry.label ?? NO_LABEL,
        flags: bits(entry.flags, MAC_FLAG_BITS),
      });
    });
    labels?.forEach(({ label, next_hop }, i) => {
      const nextHop = this.#nextHops.find(next_hop, ['labels', i, 'next_hop']);
      this.ops.push({ op: 'label_set', label, nextHop });
    });
    vnis?.forEach(({ vni, next_hop }, i) => {
      const nextHop = this.#nextHops.find(next_hop, ['vnis', i, 'next_hop']);
      this.ops.push({ op: 'vni_set', vni, nextHop });
    });
  }

  #nat(): void {
    const { floating_ips = [], source_nats = [] } = this.#state;
    const floatingIds = new Ids('floating IP', 'floating_ips', floating_ips, 1, this.#problems);
    floating_ips.forEach((entry, i) => {
      const vif = this.#vifs.find(entry.vif, ['floating_ips', i, 'vif']);
      const owner = this.#state.vifs?.[this.#vifIndex.get(vif) ?? -1];
      const four = isIpv4(entry.address);
      const fixed = entry.fixed ?? (four ? owner?.ipv4 : owner?.ipv6);
      if (fixed === undefined) {
        const key = four ? 'ipv4' : 'ipv6';
        const message = `no fixed address, and vif "${entry.vif}" has no ${key}`;
        this.#problems.push({ path: ['floating_ips', i], message });
      }
      this.ops.push({
        op: 'floating_ip_set',
        floatingIp: floatingIds.ids[i] as number,
        vif,
        vrf: this.#vrfs.find(entry.vrf, ['floating_ips', i, 'vrf']),
        address: canonicalIp(entry.address),
        fixed: canonicalIp(fixed ?? entry.address),
        direction: DIRECTIONS.indexOf(entry.direction ?? 'both'),
        portMap: entry.ports === undefined ? 0 : 1,
        ports: (entry.ports ?? []).map((map) => ({
          protocol: protocolNumber(map.protocol),
          port: map.port,
          toPort: map.to_port,
        })),
      });
    });
    const natIds = new Ids('source NAT', 'source_nats', source_nats, 1, this.#problems);
    source_nats.forEach((entry, i) => {
      this.ops.push({
        op: 'source_nat_set',
        sourceNat: natIds.ids[i] as number,
        vrf: this.#vrfs.find(entry.vrf, ['source_nats', i, 'vrf']),
        toVrf: this.#vrfs.find(entry.to_vrf, ['source_nats', i, 'to_vrf']),
        source: entry.source === undefined ? '' : canonicalPrefix(entry.source),
        address: canonicalIp(entry.address),
        portLow: entry.ports[0],
        portHigh: entry.ports[1],
      });
    });
  }
}

/** `portOf`: the data plane port of each vif; ~0 for none. */
export function compileState(
  loaded: Loaded<StateFile>,
  portOf: (vif: string) => number,
): CompiledState {
  return new Compiler(loaded.value, portOf).run(loaded.text);
}
