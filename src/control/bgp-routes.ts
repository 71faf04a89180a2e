/**
 * Paths -> VPN and EVPN routes: what an agent said, under its own RD, with the compute node as next hop, never us. Pure.
 *
 * What a route cannot say is left out, by name.
 * Lost on the way: all hops of a path but the first, tags, member ids and weights, E-tree leaves, replicators.
 */
import { hash } from 'node:crypto';
import { formatIp, parseIp } from '../addr/ip.ts';
import { MAC_ZERO, type MacText } from '../addr/mac.ts';
import { hostPrefix, type PrefixText } from '../addr/prefix.ts';
import { canonicalRd, type RouteDistinguisher } from '../addr/rd.ts';
import type { RouteTarget } from '../addr/route-target.ts';
import type { BgpPath } from '../bgp/rib/contract.ts';
import type { Attributes as BgpAttributes } from '../bgp/wire/attributes.ts';
import { COMMUNITIES, type ExtendedCommunity, TUNNEL_TYPES } from '../bgp/wire/communities.ts';
import type { FamilyName } from '../bgp/wire/family-names.ts';
import type { VpnNlri } from '../bgp/wire/nlri.ts';
import {
  type EvpnNlri,
  fieldOfLabel,
  type IpPrefixRoute,
  type MacIp,
  NO_ESI,
} from '../bgp/wire/nlri-evpn.ts';
import { PMSI_TYPES } from '../bgp/wire/tunnel.ts';
import { ParseError } from '../errors.ts';
import { parseEvpnPrefix } from '../rib/check.ts';
import { isBroadcast } from './entry.ts';
import { Kept } from './kept.ts';
import { type Hop, localPreference, med, type Path, type Said } from './path.ts';
import { HASH_FIELDS } from './routes.ts';

/** What numbers in communities mean here. */
export interface Naming {
  readonly as: number;
  /** Networks by number, where the configuration gives them one. */
  readonly indexOf?: (network: string) => number | undefined;
  readonly networkOf?: (index: number) => string | undefined;
}

export type VpnRoute = Omit<BgpPath, 'from' | 'stale'>;

/** Why a path is not told: it has not what a route of its kind needs. */
export type LeftOut =
  | 'no-hop'
  | 'no-tunnel-encap'
  | 'no-label'
  | 'no-router-mac'
  | 'no-host-route'
  | 'prefix-in-evpn';

export type Encap = 'gre' | 'udp' | 'vxlan';

/** Of the encapsulation community, written for each; the ancestor's `gre` is MPLS in GRE, and read as either. */
const TUNNELS: Readonly<Record<Encap, readonly number[]>> = {
  udp: [TUNNEL_TYPES.mplsInUdp],
  gre: [TUNNEL_TYPES.gre, TUNNEL_TYPES.mplsInGre],
  vxlan: [TUNNEL_TYPES.vxlan],
};
export const ENCAP_OF = new Map(
  (Object.keys(TUNNELS) as Encap[]).flatMap((encap) =>
    TUNNELS[encap].map((tunnel): [number, Encap] => [tunnel, encap]),
  ),
);
const MPLS_UDP_PORT = 6635;
const VXLAN_UDP_PORT = 4789;
export const PORT_OF: Readonly<Partial<Record<Encap, number>>> = {
  udp: MPLS_UDP_PORT,
  vxlan: VXLAN_UDP_PORT,
};

/** Labels below are special (RFC 3032 §2.1), and the last one says "none" in the data plane. */
const FIRST_LABEL = 16;
const LAST_LABEL = (1 << 20) - 2;
/** Ids below are of all ASes, others of one's own. */
export const FIRST_OWN_ID = 8_000_000;
const AS_TRANS = 23456;
export const SOURCE_BIAS = 'source-bias';

export const as16 = (as: number): number => (as > 0xffff ? AS_TRANS : as);

// --- route distinguishers ----------------------------------------------------------------------------

const rds = new Kept<RouteDistinguisher>();

/**
 * The agent's, `address:instance id`. Where that is none (an agent of this house has a name, one on IPv6 a long
 * address): four bytes that stand for whoever it is, and the id.
 */
export function rdOf({ rd }: Pick<Said, 'rd'>): RouteDistinguisher {
  return rds.get(rd, (text) => {
    try {
      return canonicalRd(text);
    } catch (error) {
      if (!(error instanceof ParseError)) throw error;
      const colon = text.lastIndexOf(':');
      const id = Number(text.slice(colon + 1)) & 0xffff;
      const who = hash('sha1', text.slice(0, colon), 'buffer').subarray(0, 4);
      return canonicalRd(`${formatIp(4, who)}:${id}`);
    }
  });
}

// --- out ---------------------------------------------------------------------------------------------

const isEncap = (name: string): name is Encap => Object.hasOwn(TUNNELS, name);

/** The label field's number, and the tunnels that it is for: one number cannot be a label and a VNI. */
function reachable(hop: Hop): { encaps: readonly Encap[]; number: number; vxlan: boolean } {
  const named = hop.encaps.length === 0 ? ['gre'] : hop.encaps;
  const encaps = named.filter(isEncap);
  const vni = hop.vni ?? hop.label;
  if (encaps.length > 0 && encaps.every((name) => name === 'vxlan')) {
    return { encaps, number: vni, vxlan: true };
  }
  return { encaps: encaps.filter((name) => name !== 'vxlan'), number: hop.label, vxlan: false };
}

export const isLabel = (label: number): boolean => label >= FIRST_LABEL && label <= LAST_LABEL;

export function vpnRouteOf(
  path: Path,
  targets: readonly RouteTarget[],
  naming: Naming,
): VpnRoute | LeftOut {
  const hop = path.hops[0];
  if (hop === undefined) return 'no-hop';
  const { encaps, number, vxlan } = reachable(hop);
  if (encaps.length === 0) return 'no-tunnel-encap';
  if (vxlan ? number === 0 : !isLabel(number)) return 'no-label';
  const field = vxlan ? number : fieldOfLabel(number);
  const address = parseIp(hop.address);
  const nextHop = { address: formatIp(address.family, address.bytes) };
  const made = (
    family: FamilyName,
    nlri: VpnNlri | EvpnNlri,
    more: BgpAttributes = {},
    routerMac?: MacText,
  ): VpnRoute => ({
    family,
    nlri,
    nextHop,
    attributes: { ...attributesOf(path, targets, encaps, naming, routerMac), ...more },
  });
  const rd = rdOf(path);
  if (path.family !== 'evpn') {
    const prefix = path.prefix as PrefixText;
    if (!vxlan)
      return made(path.family === 'inet' ? 'vpnv4' : 'vpnv6', { rd, prefix, label: number });
    if (hop.mac === undefined) return 'no-router-mac';
    const route: IpPrefixRoute = {
      type: 'ip-prefix',
      rd,
      esi: NO_ESI,
      tag: 0,
      prefix,
      label: field,
    };
    return made('evpn', route, {}, hop.mac as MacText);
  }
  const given = path.attributes.ethernetTag ?? 0;
  const tag = given === number ? 0 : given;
  if (isBroadcast({ key: `${path.family} ${path.prefix}` })) {
    const type = PMSI_TYPES.ingressReplication;
    const pmsi = { flags: 0, type, label: field, endpoint: nextHop.address };
    return made('evpn', { type: 'multicast', rd, tag, originator: nextHop.address }, { pmsi });
  }
  const { mac, ip } = parseEvpnPrefix(path.prefix);
  if (mac === MAC_ZERO) return 'prefix-in-evpn';
  const host = ip?.slice(0, ip.indexOf('/'));
  if (host !== undefined && hostPrefix(host) !== ip) return 'no-host-route';
  return made('evpn', {
    ...{ type: 'mac-ip', rd, esi: NO_ESI, tag, mac: mac as MacText, label: field },
    ...(host !== undefined && { ip: host as MacIp['ip'] & string }),
  });
}

function attributesOf(
  path: Path,
  targets: readonly RouteTarget[],
  encaps: readonly Encap[],
  { as, indexOf }: Naming,
  routerMac: MacText | undefined,
): BgpAttributes {
  const { attributes: a, originVn } = path;
  const extended: ExtendedCommunity[] = [
    ...targets.map((target) => ({ kind: 'route-target' as const, target })),
    ...encaps.flatMap((encap) =>
      TUNNELS[encap].map((tunnel) => ({ kind: 'encapsulation' as const, tunnel })),
    ),
    ...(a.securityGroups ?? []).map((id) => ({
      kind: 'security-group' as const,
      as: as16(as),
      id,
    })),
  ];
  const index = indexOf?.(originVn);
  if (index !== undefined) extended.push({ kind: 'origin-vn', as: as16(as), index });
  if (a.sequence !== undefined || a.sticky === true) {
    const sticky = a.sticky === true;
    extended.push({ kind: 'mac-mobility', sticky, sequence: a.sequence ?? 0 });
  }
  const sourceBias = a.hashDecision === SOURCE_BIAS;
  if (a.hashFields !== undefined || sourceBias) {
    const words = HASH_FIELDS.map(([word]) => word).filter(isHashField);
    const chosen = a.hashFields ?? words;
    const fields = words.filter((word) => chosen.includes(word));
    extended.push({ kind: 'load-balance', fields, sourceBias });
  }
  if (routerMac !== undefined) extended.push({ kind: 'router-mac', mac: routerMac });
  const communities = (a.communities ?? []).flatMap((text) => communityOf(text) ?? []);
  return {
    origin: 'igp',
    asPath: [],
    localPref: localPreference(path),
    med: med(path),
    extendedCommunities: extended,
    ...(communities.length > 0 && { communities }),
  };
}

type HashField = (ExtendedCommunity & { readonly kind: 'load-balance' })['fields'][number];
const isHashField = (word: string): word is HashField =>
  HASH_FIELDS.some(([known]) => known === word);

/** As agents spell them. */
export const COMMUNITY_NAMES: readonly (readonly [string, number])[] = [
  ['no-export', COMMUNITIES.noExport],
  ['no-advertise', COMMUNITIES.noAdvertise],
  ['no-export-subconfed', COMMUNITIES.noExportSubconfed],
  ['accept-own', COMMUNITIES.acceptOwn],
  ['llgr-stale', COMMUNITIES.llgrStale],
  ['no-llgr', COMMUNITIES.noLlgr],
];
const numberOfName = new Map(COMMUNITY_NAMES);
const COMMUNITY = /^(\d{1,5}):(\d{1,5})$/;

/** Undefined: a word that BGP has none for. */
function communityOf(text: string): number | undefined {
  const named = numberOfName.get(text);
  if (named !== undefined) return named;
  const [, high, low] = COMMUNITY.exec(text) ?? [];
  if (high === undefined || Number(high) > 0xffff || Number(low) > 0xffff) return undefined;
  return Number(high) * 0x10000 + Number(low);
}
