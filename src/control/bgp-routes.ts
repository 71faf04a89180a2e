/**
 * Paths <-> VPN and EVPN routes. Pure. Out: what an agent said, under its own RD, with the compute node as next hop,
 * never us. In: what neighbours said becomes a path that goes where its route targets lead.
 *
 * What a route cannot say is left out, by name; what comes and cannot be used is a path that says why
 * (`infeasible`); what would stand under a wrong key is no path at all.
 * Lost on the way out: all hops of a path but the first, tags, member ids and weights, E-tree leaves, replicators.
 */
import { hash } from 'node:crypto';
import { formatIp, parseIp } from '../addr/ip.ts';
import { isGroupMac, MAC_BROADCAST, MAC_ZERO, type MacText, parseMac } from '../addr/mac.ts';
import { hostPrefix, type PrefixText } from '../addr/prefix.ts';
import { canonicalRd, type RouteDistinguisher } from '../addr/rd.ts';
import type { RouteTarget } from '../addr/route-target.ts';
import type { Neighbour } from '../bgp/neighbour.ts';
import type { BgpPath } from '../bgp/rib/contract.ts';
import { type AsPath, pathLength } from '../bgp/wire/as-path.ts';
import type { Attributes as BgpAttributes } from '../bgp/wire/attributes.ts';
import { COMMUNITIES, type ExtendedCommunity, TUNNEL_TYPES } from '../bgp/wire/communities.ts';
import type { FamilyName } from '../bgp/wire/family-names.ts';
import type { VpnNlri } from '../bgp/wire/nlri.ts';
import {
  type EvpnNlri,
  fieldOfLabel,
  type InclusiveMulticast,
  type IpPrefixRoute,
  labelOfField,
  type MacIp,
  NO_ESI,
} from '../bgp/wire/nlri-evpn.ts';
import { PMSI_TYPES } from '../bgp/wire/tunnel.ts';
import { ParseError } from '../errors.ts';
import { MAX_ROUTE_TARGETS, MAX_SECURITY_GROUPS, parseEvpnPrefix } from '../rib/check.ts';
import { isBroadcast } from './entry.ts';
import { Kept } from './kept.ts';
import { type Attributes, type Hop, localPreference, med, type Path, type Said } from './path.ts';
import { HASH_FIELDS } from './routes.ts';

/** What numbers in communities mean here. */
export interface Naming {
  readonly as: number;
  /** Networks by number, where the configuration gives them one. */
  readonly indexOf?: (network: string) => number | undefined;
  readonly networkOf?: (index: number) => string | undefined;
}

/** What of a neighbour its routes are read by. */
export interface Sender {
  /** In another AS. */
  readonly external: boolean;
  readonly id: string;
  readonly encapsulation?: Neighbour['encapsulation'];
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

type Encap = 'gre' | 'udp' | 'vxlan';

/** Of the encapsulation community, written for each; the ancestor's `gre` is MPLS in GRE, and read as either. */
const TUNNELS: Readonly<Record<Encap, readonly number[]>> = {
  udp: [TUNNEL_TYPES.mplsInUdp],
  gre: [TUNNEL_TYPES.gre, TUNNEL_TYPES.mplsInGre],
  vxlan: [TUNNEL_TYPES.vxlan],
};
const ENCAP_OF = new Map(
  (Object.keys(TUNNELS) as Encap[]).flatMap((encap) =>
    TUNNELS[encap].map((tunnel): [number, Encap] => [tunnel, encap]),
  ),
);
const MPLS_UDP_PORT = 6635;
const VXLAN_UDP_PORT = 4789;
const PORT_OF: Readonly<Partial<Record<Encap, number>>> = {
  udp: MPLS_UDP_PORT,
  vxlan: VXLAN_UDP_PORT,
};

/** Labels below are special (RFC 3032 §2.1), and the last one says "none" in the data plane. */
const FIRST_LABEL = 16;
const LAST_LABEL = (1 << 20) - 2;
/** Ids below are of all ASes, others of one's own. */
const FIRST_OWN_ID = 8_000_000;
const AS_TRANS = 23456;
const SOURCE_BIAS = 'source-bias';

const as16 = (as: number): number => (as > 0xffff ? AS_TRANS : as);

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

const isLabel = (label: number): boolean => label >= FIRST_LABEL && label <= LAST_LABEL;

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
const COMMUNITY_NAMES: readonly (readonly [string, number])[] = [
  ['no-export', COMMUNITIES.noExport],
  ['no-advertise', COMMUNITIES.noAdvertise],
  ['no-export-subconfed', COMMUNITIES.noExportSubconfed],
  ['accept-own', COMMUNITIES.acceptOwn],
  ['llgr-stale', COMMUNITIES.llgrStale],
  ['no-llgr', COMMUNITIES.noLlgr],
];
const numberOfName = new Map(COMMUNITY_NAMES);
const nameOfNumber = new Map(COMMUNITY_NAMES.map(([name, number]) => [number, name]));
const COMMUNITY = /^(\d{1,5}):(\d{1,5})$/;

/** Undefined: a word that BGP has none for. */
function communityOf(text: string): number | undefined {
  const named = numberOfName.get(text);
  if (named !== undefined) return named;
  const [, high, low] = COMMUNITY.exec(text) ?? [];
  if (high === undefined || Number(high) > 0xffff || Number(low) > 0xffff) return undefined;
  return Number(high) * 0x10000 + Number(low);
}

const communityText = (community: number): string =>
  nameOfNumber.get(community) ?? `${Math.floor(community / 0x10000)}:${community % 0x10000}`;

// --- in ----------------------------------------------------------------------------------------------

interface Tunnelled {
  readonly encaps: readonly Encap[];
  /** Where the tunnel ends, if not at the next hop. */
  readonly endpoint?: string;
}

/** What it says by the attribute counts before what it says by communities (RFC 9012 §12). */
function tunnelled({ family, attributes }: BgpPath, sender: Sender): Tunnelled {
  const { tunnels, extendedCommunities = [] } = attributes;
  if (tunnels !== undefined) {
    const usable = tunnels.flatMap(({ type, endpoint, udpPort }) => {
      const encap = ENCAP_OF.get(type);
      if (encap === undefined || endpoint === undefined) return [];
      return udpPort !== undefined && udpPort !== PORT_OF[encap] ? [] : [{ encap, endpoint }];
    });
    const end = usable[0]?.endpoint;
    const encaps = unique(usable.filter((t) => t.endpoint === end).map((t) => t.encap));
    return { encaps, ...(end !== undefined && end !== 'next-hop' && { endpoint: end }) };
  }
  const said = extendedCommunities.flatMap((c) => (c.kind === 'encapsulation' ? [c.tunnel] : []));
  if (said.length > 0) return { encaps: unique(said.flatMap((type) => ENCAP_OF.get(type) ?? [])) };
  return { encaps: sender.encapsulation ?? (family === 'evpn' ? ['vxlan'] : ['gre', 'udp']) };
}

const unique = <T>(all: readonly T[]): readonly T[] => [...new Set(all)];

/** What a tunnel can end at. */
function isHost(text: string): boolean {
  const { family, bytes } = parseIp(text);
  const first = bytes[0] as number;
  if (family === 4) return first > 0 && first < 224 && first !== 127;
  const rest = bytes.subarray(0, 15).some((byte) => byte !== 0);
  return first !== 0xff && rest && !(first === 0xfe && ((bytes[1] as number) & 0xc0) === 0x80);
}

type Found = { readonly hop: Hop } | { readonly infeasible: string };

/** `field`: 24 bits as on the wire; VPN routes have the label alone. */
function hopOf(path: BgpPath, field: number, sender: Sender, at?: string, mac?: MacText): Found {
  const { encaps, endpoint } = tunnelled(path, sender);
  const address = endpoint ?? at ?? path.nextHop.address;
  if (!isHost(address)) return { infeasible: 'no-next-hop' };
  const isEvpn = path.family === 'evpn';
  const vxlan = encaps.includes('vxlan') && (isEvpn || encaps.length === 1);
  const used =
    isEvpn && vxlan ? (['vxlan'] as const) : encaps.filter((e) => vxlan || e !== 'vxlan');
  if (used.length === 0) return { infeasible: 'no-tunnel-encap' };
  const label = isEvpn && !vxlan ? labelOfField(field) : field;
  if (vxlan ? label === 0 : !isLabel(label)) return { infeasible: 'no-label' };
  const router = mac === undefined ? {} : { mac };
  return { hop: { address, label, encaps: used, ...(vxlan && { vni: label }), ...router } };
}

interface Kind {
  readonly family: Said['family'];
  readonly prefix: string;
  readonly rd: string;
  readonly tag?: number;
  hop(path: BgpPath, sender: Sender): Found;
}

function macIpKind({ rd, tag, mac, ip }: MacIp): Kind | undefined {
  // It would be taken for the broadcast's entry, or for a prefix.
  if (isGroupMac(parseMac(mac)) || mac === MAC_ZERO) return undefined;
  return {
    family: 'evpn',
    prefix: ip === undefined ? mac : `${mac},${hostPrefix(ip)}`,
    rd,
    tag,
    hop: (path, sender) => hopOf(path, (path.nlri as MacIp).label, sender),
  };
}

const multicastKind = ({ rd, tag }: InclusiveMulticast): Kind => ({
  family: 'evpn',
  prefix: MAC_BROADCAST,
  rd,
  tag,
  hop(path, sender) {
    const { pmsi } = path.attributes;
    if (pmsi?.type !== PMSI_TYPES.ingressReplication) return { infeasible: 'no-pmsi-tunnel' };
    return hopOf(path, pmsi.label, sender, pmsi.endpoint);
  },
});

const prefixKind = ({ rd, prefix }: IpPrefixRoute): Kind => ({
  family: prefix.includes(':') ? 'inet6' : 'inet',
  prefix,
  rd,
  hop(path, sender) {
    const { esi, gateway, label } = path.nlri as IpPrefixRoute;
    if (esi !== NO_ESI || gateway !== undefined) return { infeasible: 'overlay-index' };
    const found = (path.attributes.extendedCommunities ?? []).find((c) => c.kind === 'router-mac');
    const made = hopOf(path, label, sender, undefined, found?.mac);
    const vxlan = 'hop' in made && made.hop.vni !== undefined;
    return vxlan && found === undefined ? { infeasible: 'no-router-mac' } : made;
  },
});

/** Undefined: a route of which the tables have no kind. */
function kindOf({ family, nlri }: BgpPath): Kind | undefined {
  if (family === 'vpnv4' || family === 'vpnv6') {
    const { rd, prefix } = nlri as VpnNlri;
    return {
      ...{ family: family === 'vpnv4' ? 'inet' : 'inet6', prefix, rd },
      hop: (path, sender) => hopOf(path, (path.nlri as VpnNlri).label ?? 0, sender),
    };
  }
  if (family !== 'evpn') return undefined;
  const route = nlri as EvpnNlri;
  if (route.type === 'mac-ip') return macIpKind(route);
  if (route.type === 'multicast') return multicastKind(route);
  return route.type === 'ip-prefix' ? prefixKind(route) : undefined;
}

/** What the best paths of a route say together: hops of all of them, attributes of the first. */
export function saidOfBgp(
  key: string,
  paths: readonly BgpPath[],
  senderOf: (path: BgpPath) => Sender,
  naming: Naming,
): Said | undefined {
  const best = paths[0] as BgpPath;
  const kind = kindOf(best);
  if (kind === undefined) return undefined;
  const found = paths.map((path) => kind.hop(path, senderOf(path)));
  const hops = new Map<string, Hop>();
  for (const each of found) {
    if ('hop' in each) hops.set(`${each.hop.address} ${each.hop.label}`, each.hop);
  }
  const { family, prefix, rd, tag = 0 } = kind;
  const { attributes, tooMany } = saidAttributes(best, naming);
  const first = hops.values().next().value;
  const ethernetTag = family === 'evpn' ? tag || (first?.vni ?? 0) : 0;
  const lost = found.find((each) => 'infeasible' in each)?.infeasible;
  const infeasible = tooMany ?? (first === undefined ? lost : undefined);
  const { external, id } = senderOf(best);
  return {
    family,
    prefix,
    rd,
    hops: [...hops.values()],
    attributes: { ...attributes, ...(ethernetTag !== 0 && { ethernetTag }) },
    ...(infeasible !== undefined && { infeasible }),
    learned: { key, external, router: best.attributes.originatorId ?? id },
  };
}

function saidAttributes(
  { attributes, stale }: BgpPath,
  { as, networkOf }: Naming,
): { readonly attributes: Attributes; readonly tooMany?: string } {
  const { asPath = [], origin, localPref, communities = [], extendedCommunities = [] } = attributes;
  const targets = new Set<RouteTarget>();
  const groups = new Set<number>();
  let more: Attributes = {};
  const ours = (id: number, of: number) => id < FIRST_OWN_ID || of === as16(as);
  for (const each of extendedCommunities) {
    if (each.kind === 'route-target') targets.add(each.target);
    else if (each.kind === 'security-group' && ours(each.id, each.as)) groups.add(each.id);
    else if (each.kind === 'origin-vn' && ours(each.index, each.as)) {
      const originVn = networkOf?.(each.index);
      if (originVn !== undefined) more = { ...more, originVn };
    } else if (each.kind === 'mac-mobility') {
      const { sequence, sticky } = each;
      more = { ...more, ...(sequence > 0 && { sequence }), ...(sticky && { sticky }) };
    } else if (each.kind === 'load-balance') {
      const all = each.fields.length === 0 || each.fields.length === HASH_FIELDS.length;
      more = {
        ...more,
        ...(!all && { hashFields: each.fields }),
        ...(each.sourceBias && { hashDecision: SOURCE_BIAS }),
      };
    }
  }
  const longLived = stale === 'long' || communities.includes(COMMUNITIES.llgrStale);
  const kept = communities.filter((community) => community !== COMMUNITIES.llgrStale);
  const said: Attributes = {
    ...more,
    // Said by some and meant by others: where it is not sent it is the same number.
    localPreference: localPref ?? 100,
    ...(attributes.med !== undefined && attributes.med !== 0 && { med: attributes.med }),
    ...(groups.size > 0 && { securityGroups: [...groups].sort((a, b) => a - b) }),
    ...(kept.length > 0 && { communities: kept.map(communityText) }),
    ...(targets.size > 0 && { routeTargets: [...targets] }),
    ...(asPath.length > 0 && { asPath: asPathText(asPath), asPathLength: pathLength(asPath) }),
    ...(origin !== undefined && origin !== 'igp' && { bgpOrigin: origin }),
    ...(longLived && { longLivedStale: true }),
  };
  // More than agents of this house take in a route.
  if (targets.size > MAX_ROUTE_TARGETS) return { attributes: said, tooMany: 'too-many-targets' };
  if (groups.size > MAX_SECURITY_GROUPS) return { attributes: said, tooMany: 'too-many-groups' };
  return { attributes: said };
}

/** `65001 65002 {65003 65004}`; confederations in round brackets. */
export function asPathText(path: AsPath): string {
  const BRACKETS = {
    sequence: ['', ''],
    set: ['{', '}'],
    confedSequence: ['(', ')'],
    confedSet: ['({', '})'],
  } as const;
  return path
    .map(({ kind, asns }) => `${BRACKETS[kind][0]}${asns.join(' ')}${BRACKETS[kind][1]}`)
    .join(' ');
}
