/**
 * Tenant interfaces: vif_set, the two next hops that lead to a tenant (its packets, its frames), the
 * labels far nodes use, the routes to its addresses, its gateway.
 * Invariant: what a vif has in the tables follows from its intent alone: apply() checks everything first,
 * then replaces whatever the vif had before; ids and labels stay.
 */
import { canonicalIp, parseIp } from '../addr/ip.ts';
import { canonicalMac, isGroupMac, MAC_GATEWAY, parseMac } from '../addr/mac.ts';
import { canonicalPrefix, hostPrefix } from '../addr/prefix.ts';
import { layout } from '../dataplane/layout.ts';
import { ParseError, VRouterError } from '../errors.ts';
import { checkName, MAX_SECURITY_GROUPS } from '../rib/check.ts';
import type { Route } from '../rib/route.ts';
import { type Books, NEXT_HOP_BRIDGE, NEXT_HOP_POLICY, networkOf, type Vrf } from './books.ts';
import { checkCount, checkNumber, MAX_UINT32 } from './bounds.ts';
import type { BridgeTables } from './bridge.ts';
import type { CheckedFloatingIp, FloatingIps } from './floating-ips.ts';
import { type Label, type NextHopId, NONE, type VifId } from './ids.ts';
import type { FloatingIpIntent, VifIntent } from './intents.ts';
import { HOST_VRF, LINK_LOCAL_VRF, type LinkLocalNetwork } from './link-local.ts';
import type { Policies } from './policies.ts';
import { ipKey, type RouteTables } from './routes.ts';
import type { Vrfs } from './vrfs.ts';

const { limits } = layout;
const MIN_MTU = 576;
const MAX_MTU = 65535;
const VIF_TYPE_VIRTUAL = 3;
const VIF_POLICY = 0x1;
const VIF_L3 = 0x40;
const VIF_L2 = 0x80;
const VIF_DHCP_TRAP = 0x100;
const VIF_SERVICE = 0x20000000;
const VIF_GATEWAY_TRAP = 0x40000000;

interface Checked {
  readonly intent: VifIntent;
  readonly vrf: Vrf;
  readonly tenantMac: string;
  readonly ipv4: string;
  readonly ipv6: string;
  readonly gateway4: string;
  readonly gateway6: string;
  readonly behind: readonly string[];
  readonly policyNames: readonly string[];
  readonly floatingIps: readonly CheckedFloatingIp[];
}

interface Applied {
  readonly checked: Checked;
  /** L3 next hop, L2 next hop, and the gateways' if there are any. */
  readonly nextHops: readonly NextHopId[];
}

interface Vif {
  readonly id: VifId;
  readonly label: Label;
  l2Label: Label | undefined;
  intent: VifIntent;
  /** While it is not, it has no floating IPs. */
  healthy: boolean;
  applied: Applied | undefined;
}

export interface VifParts {
  readonly vrfs: Vrfs;
  readonly policies: Policies;
  readonly bridge: BridgeTables;
  readonly routes: RouteTables;
  readonly floatingIps: FloatingIps;
  readonly linkLocal: LinkLocalNetwork | undefined;
}

export class Vifs {
  readonly #books: Books;
  readonly #parts: VifParts;
  readonly #vifs = new Map<string, Vif>();
  readonly #byId = new Map<number, Vif>();

  constructor(books: Books, parts: VifParts) {
    this.#books = books;
    this.#parts = parts;
  }

  add(intent: VifIntent): void {
    const name = checkName(intent.name, 'vif');
    if (this.#vifs.has(name)) throw new VRouterError('CONFLICT', `vif '${name}' exists already`);
    const checked = this.#check(intent);
    const vif: Vif = {
      id: this.#books.vifIds.allocate(name),
      label: this.#books.labels.allocate(`l3 ${name}`),
      l2Label: undefined,
      intent,
      healthy: true,
      applied: undefined,
    };
    this.#vifs.set(name, vif);
    this.#byId.set(vif.id, vif);
    this.#apply(vif, checked);
  }

  update(intent: VifIntent): void {
    const vif = this.#known(intent.name);
    this.#apply(vif, this.#check(intent));
  }

  remove(name: string): void {
    const vif = this.#known(name);
    const { applied } = vif;
    if (applied !== undefined) {
      this.#parts.floatingIps.replace(this.#backend(vif, applied.checked, applied.nextHops), []);
      this.#leave(applied);
      for (const id of applied.nextHops) this.#books.nextHops.release(id);
    }
    this.#parts.policies.use([], ownerOf(name));
    this.#books.publications.replace(ownerOf(name), []);
    this.#books.tables.drop(`vif ${vif.id}`);
    this.#books.labels.release(vif.label);
    this.#dropL2Label(vif);
    this.#books.vifIds.release(vif.id);
    this.#vifs.delete(name);
    this.#byId.delete(vif.id);
  }

  setHealth(name: string, healthy: boolean): void {
    const vif = this.#known(name);
    if (vif.healthy === healthy || vif.applied === undefined) return;
    vif.healthy = healthy;
    const { checked, nextHops } = vif.applied;
    this.#putFloatingIps(vif, checked, nextHops);
  }

  addFloatingIp(name: string, added: FloatingIpIntent): void {
    const { intent } = this.#known(name);
    this.update({ ...intent, floatingIps: [...(intent.floatingIps ?? []), added] });
  }

  /** vrf: where the address is a floating IP in several. */
  removeFloatingIp(name: string, address: string, vrf?: string): void {
    const { intent } = this.#known(name);
    const canonical = canonicalIp(address);
    const floatingIps = intent.floatingIps ?? [];
    const kept = floatingIps.filter(
      (f) => canonicalIp(f.address) !== canonical || (vrf !== undefined && f.vrf !== vrf),
    );
    if (kept.length === floatingIps.length) {
      throw new VRouterError('NOT_FOUND', `vif '${name}' has no floating IP ${address}`);
    }
    this.update({ ...intent, floatingIps: kept });
  }

  id(name: string): VifId | undefined {
    return this.#vifs.get(name)?.id;
  }

  label(name: string): Label | undefined {
    return this.#vifs.get(name)?.label;
  }

  intent(name: string): VifIntent | undefined {
    return this.#vifs.get(name)?.intent;
  }

  intentOf(id: number): VifIntent | undefined {
    return this.#byId.get(id)?.intent;
  }

  names(): string[] {
    return [...this.#vifs.keys()];
  }

  // --- check: everything that can be refused, before anything changes --------------------------------

  #check(intent: VifIntent): Checked {
    const owner = ownerOf(intent.name);
    const ip = (text: string | undefined, family: 4 | 6, field: string): string => {
      if (text === undefined) return '';
      try {
        if (parseIp(text).family !== family) throw new ParseError(`not an IPv${family} address`);
        return canonicalIp(text);
      } catch (error) {
        throw error instanceof ParseError
          ? new ParseError(`${owner}: ${field}: ${error.message}`)
          : error;
      }
    };
    const ipv4 = ip(intent.ipv4, 4, 'ipv4');
    const ipv6 = ip(intent.ipv6, 6, 'ipv6');
    const policyNames = [
      ...(intent.networkPolicies ?? []),
      ...(intent.ingressGroups ?? []),
      ...(intent.egressGroups ?? []),
    ];
    this.#parts.policies.ids(policyNames, owner);
    checkNumber(intent.port, 0, limits.maxPorts - 1, `${owner}: port`);
    checkNumber(intent.mtu, MIN_MTU, MAX_MTU, `${owner}: mtu`);
    checkNumber(intent.flowQuota, 0, MAX_UINT32, `${owner}: flowQuota`);
    checkCount(intent.networkPolicies, limits.maxVifPolicies, `${owner}: networkPolicies`);
    checkCount(intent.ingressGroups, limits.maxVifPolicies, `${owner}: ingressGroups`);
    checkCount(intent.securityGroups, MAX_SECURITY_GROUPS, `${owner}: securityGroups`);
    for (const group of intent.securityGroups ?? []) {
      checkNumber(group, 0, MAX_UINT32, `${owner}: securityGroups`);
    }
    checkCount(intent.egressGroups, limits.maxVifPolicies, `${owner}: egressGroups`);
    const roles = intent.linkLocal ?? [];
    const all = [...(intent.floatingIps ?? []), ...roles];
    checkCount(all, limits.maxFloatingIpsPerVif, `${owner}: floatingIps`);
    if (roles.length > 0 && (ipv4 === '' || this.#parts.linkLocal === undefined)) {
      const lacks = ipv4 === '' ? 'it has no IPv4 address' : 'the node has no such network';
      throw new VRouterError('BAD_VALUE', `${owner}: linkLocal: ${lacks}`);
    }
    for (const role of roles) {
      this.#parts.vrfs.get(role === 'client' ? LINK_LOCAL_VRF : HOST_VRF, owner);
    }
    return {
      intent,
      vrf: this.#parts.vrfs.get(intent.vrf, owner),
      tenantMac: tenantMac(intent.tenantMac, owner),
      ipv4,
      ipv6,
      gateway4: ip(intent.gateway4, 4, 'gateway4'),
      gateway6: ip(intent.gateway6, 6, 'gateway6'),
      behind: behindTenant(intent, owner),
      policyNames,
      floatingIps: this.#parts.floatingIps.check(intent.floatingIps ?? [], {
        name: intent.name,
        ipv4,
        ipv6,
      }),
    };
  }

  // --- apply -------------------------------------------------------------------------------------------

  #apply(vif: Vif, checked: Checked): void {
    const { intent, vrf } = checked;
    const owner = ownerOf(intent.name);
    const { nextHops, labels, publications } = this.#books;
    const before = vif.applied;
    const held = this.#takeNextHops(vif, checked);
    const [l3, l2] = held as [NextHopId, NextHopId];
    if (before !== undefined) this.#leave(before);
    this.#parts.vrfs.use(vrf, owner);
    this.#parts.policies.use(checked.policyNames, owner);
    this.#putVif(vif, checked, l3);
    labels.set(vif.label, { nextHop: l3, members: [{ label: vif.label, nextHop: l3 }] }, owner);
    const prefixes = ownPrefixes(checked);
    this.#parts.bridge.setStation(vrf, owner, { mac: checked.tenantMac, nextHop: l2, prefixes });
    const receive = held[2];
    for (const gateway of gatewaysOf(checked)) {
      this.#parts.routes.fix(vrf, hostPrefix(gateway), receive as NextHopId, owner);
    }
    this.#putFloatingIps(vif, checked, held);
    publications.replace(owner, [
      ...this.#ipRoutes(vif, checked, [...prefixes, ...checked.behind]),
      ...this.#evpnRoutes(vif, checked, l2, prefixes),
    ]);
    if (vrf.intent.vni === undefined) this.#dropL2Label(vif);
    for (const id of before?.nextHops ?? []) nextHops.release(id);
    vif.intent = intent;
    vif.applied = { checked, nextHops: held };
  }

  /** What the vif had in its VRF, apart from next hops. */
  #leave({ checked }: Applied): void {
    const { vrf, intent } = checked;
    const owner = ownerOf(intent.name);
    for (const gateway of gatewaysOf(checked))
      this.#parts.routes.unfix(vrf, hostPrefix(gateway), owner);
    this.#parts.bridge.setStation(vrf, owner, undefined);
    this.#parts.vrfs.unuse(vrf, owner);
  }

  #takeNextHops(vif: Vif, { intent, vrf, tenantMac: mac, ...checked }: Checked): NextHopId[] {
    const { nextHops } = this.#books;
    const owner = ownerOf(intent.name);
    const policy = intent.policy === false ? 0 : NEXT_HOP_POLICY;
    const l3 = nextHops.intern(
      {
        op: 'nh_interface_set',
        vrf: vrf.id,
        vif: vif.id,
        flags: policy,
        destinationMac: mac,
        sourceMac: MAC_GATEWAY,
      },
      owner,
    );
    const l2 = nextHops.intern(
      {
        op: 'nh_interface_set',
        vrf: vrf.id,
        vif: vif.id,
        flags: policy | NEXT_HOP_BRIDGE,
        destinationMac: '',
        sourceMac: '',
      },
      owner,
    );
    if (checked.gateway4 === '' && checked.gateway6 === '') return [l3, l2];
    const receive = nextHops.intern(
      { op: 'nh_receive_set', vrf: vrf.id, vif: NONE, flags: 0 },
      `gateway of '${vrf.name}'`,
    );
    return [l3, l2, receive];
  }

  #putVif(vif: Vif, checked: Checked, nextHop: NextHopId): void {
    const { intent, vrf } = checked;
    const owner = ownerOf(intent.name);
    const { policies } = this.#parts;
    this.#books.tables.put(
      {
        op: 'vif_set',
        vif: vif.id,
        name: intent.name,
        type: VIF_TYPE_VIRTUAL,
        port: intent.port,
        mac: MAC_GATEWAY,
        vrf: vrf.id,
        flags: flagsOf(intent),
        mtu: intent.mtu ?? 1500,
        nextHop,
        ipv4: checked.ipv4,
        ipv6: checked.ipv6,
        gateway4: checked.gateway4,
        gateway6: checked.gateway6,
        flowQuota: intent.flowQuota ?? 0,
        networkPolicies: policies.ids(intent.networkPolicies, owner),
        ingressGroups: policies.ids(intent.ingressGroups, owner),
        egressGroups: policies.ids(intent.egressGroups, owner),
      },
      owner,
    );
  }

  #ipRoutes(vif: Vif, { intent, vrf }: Checked, prefixes: readonly string[]): Route[] {
    const { underlay } = this.#books;
    const hop = { address: underlay.address, label: vif.label, encaps: underlay.mplsEncaps };
    return prefixes.map((prefix) => ({
      ...ipKey(vrf.name, prefix),
      hops: [hop],
      originVn: networkOf(vrf),
      ...groupsOf(intent),
      ...(intent.sequence !== undefined && { sequence: intent.sequence }),
    }));
  }

  /** Only networks that are stretched over nodes (with a VNI) tell others of MACs. */
  #evpnRoutes(vif: Vif, checked: Checked, l2: NextHopId, prefixes: readonly string[]): Route[] {
    const { intent, vrf, tenantMac: mac } = checked;
    if (vrf.intent.vni === undefined) return [];
    const hop = this.#parts.vrfs.l2Hop(vrf, () => {
      vif.l2Label ??= this.#books.labels.allocate(`l2 ${intent.name}`);
      this.#books.labels.set(vif.l2Label, { nextHop: l2, members: [] }, ownerOf(intent.name));
      return vif.l2Label;
    });
    return [mac, ...prefixes.map((prefix) => `${mac},${prefix}`)].map((prefix) => ({
      instance: vrf.name,
      family: 'evpn',
      prefix,
      hops: [hop],
      originVn: networkOf(vrf),
      ...groupsOf(intent),
      ...(intent.sequence !== undefined && { sequence: intent.sequence }),
    }));
  }

  #putFloatingIps(vif: Vif, checked: Checked, nextHops: readonly NextHopId[]): void {
    const { floatingIps, linkLocal } = this.#parts;
    const own = (checked.intent.linkLocal ?? []).flatMap((role) =>
      linkLocal === undefined ? [] : [linkLocal.floatingIp(role, vif.id)],
    );
    const { intent, ipv4, ipv6 } = checked;
    floatingIps.replace(this.#backend(vif, checked, nextHops), [
      ...(vif.healthy ? checked.floatingIps : []),
      ...floatingIps.check(own, { name: intent.name, ipv4, ipv6 }),
    ]);
  }

  #backend(vif: Vif, checked: Checked, nextHops: readonly NextHopId[]) {
    return {
      name: checked.intent.name,
      id: vif.id,
      vrf: checked.vrf,
      nextHop: nextHops[0] as NextHopId,
      label: vif.label,
      ipv4: checked.ipv4,
      ipv6: checked.ipv6,
      securityGroups: checked.intent.securityGroups ?? [],
    };
  }

  #dropL2Label(vif: Vif): void {
    if (vif.l2Label === undefined) return;
    this.#books.labels.release(vif.l2Label);
    vif.l2Label = undefined;
  }

  #known(name: string): Vif {
    const vif = this.#vifs.get(name);
    if (vif === undefined) throw new VRouterError('NOT_FOUND', `no vif '${name}'`);
    return vif;
  }
}

function flagsOf({ policy, trapDhcp, trapGateway, service }: VifIntent): number {
  return (
    VIF_L3 |
    VIF_L2 |
    (policy === false ? 0 : VIF_POLICY) |
    (trapDhcp === true ? VIF_DHCP_TRAP : 0) |
    (service === true ? VIF_SERVICE : 0) |
    (trapGateway === true ? VIF_GATEWAY_TRAP : 0)
  );
}

function groupsOf({ securityGroups = [] }: VifIntent): Pick<Route, 'securityGroups'> {
  return securityGroups.length > 0 ? { securityGroups } : {};
}

function ownerOf(name: string): string {
  return `vif '${name}'`;
}

function gatewaysOf({ gateway4, gateway6 }: Checked): string[] {
  return [gateway4, gateway6].filter((g) => g !== '');
}

function ownPrefixes({ ipv4, ipv6 }: Pick<Checked, 'ipv4' | 'ipv6'>): string[] {
  return [ipv4, ipv6].filter((a) => a !== '').map(hostPrefix);
}

function behindTenant({ prefixes = [], ...own }: VifIntent, owner: string): string[] {
  const behind = prefixes.map(canonicalPrefix);
  const all = [...ownPrefixes({ ipv4: own.ipv4 ?? '', ipv6: own.ipv6 ?? '' }), ...behind];
  if (new Set(all).size === all.length) return behind;
  const twice = all.find((prefix, i) => all.indexOf(prefix) < i);
  throw new VRouterError('CONFLICT', `${owner}: prefixes: ${twice} is its own already`);
}

function tenantMac(text: string, owner: string): string {
  try {
    if (isGroupMac(parseMac(text))) throw new ParseError(`"${text}" is a group address`);
    return canonicalMac(text);
  } catch (error) {
    throw error instanceof ParseError
      ? new ParseError(`${owner}: tenantMac: ${error.message}`)
      : error;
  }
}
