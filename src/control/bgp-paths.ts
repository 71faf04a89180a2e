/**
 * VPN and EVPN routes -> paths: what neighbours said goes where its route targets lead. Pure.
 *
 * What comes and cannot be used is a path that says why (`infeasible`); what would stand under a wrong key is no path
 * at all.
 */
import { parseIp } from '../addr/ip.ts';
import { isGroupMac, MAC_BROADCAST, MAC_ZERO, type MacText, parseMac } from '../addr/mac.ts';
import { hostPrefix } from '../addr/prefix.ts';
import type { RouteTarget } from '../addr/route-target.ts';
import type { Neighbour } from '../bgp/neighbour.ts';
import type { BgpPath } from '../bgp/rib/contract.ts';
import { type AsPath, pathLength } from '../bgp/wire/as-path.ts';
import { COMMUNITIES } from '../bgp/wire/communities.ts';
import type { VpnNlri } from '../bgp/wire/nlri.ts';
import {
  type EvpnNlri,
  type InclusiveMulticast,
  type IpPrefixRoute,
  labelOfField,
  type MacIp,
  NO_ESI,
} from '../bgp/wire/nlri-evpn.ts';
import { PMSI_TYPES } from '../bgp/wire/tunnel.ts';
import { MAX_ROUTE_TARGETS, MAX_SECURITY_GROUPS } from '../rib/check.ts';
import {
  as16,
  COMMUNITY_NAMES,
  ENCAP_OF,
  type Encap,
  FIRST_OWN_ID,
  isLabel,
  type Naming,
  PORT_OF,
  SOURCE_BIAS,
} from './bgp-routes.ts';
import type { Attributes, Hop, Said } from './path.ts';
import { HASH_FIELDS } from './routes.ts';

/** What of a neighbour its routes are read by. */
export interface Sender {
  /** In another AS. */
  readonly external: boolean;
  readonly id: string;
  readonly encapsulation?: Neighbour['encapsulation'];
}

const nameOfNumber = new Map(COMMUNITY_NAMES.map(([name, number]) => [number, name]));

const communityText = (community: number): string =>
  nameOfNumber.get(community) ?? `${Math.floor(community / 0x10000)}:${community % 0x10000}`;

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
  known: KnownAttributes = new WeakMap(),
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
  const { attributes, tooMany } = knownAttributes(best, naming, known);
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
    attributes: ethernetTag === 0 ? attributes : { ...attributes, ethernetTag },
    ...(infeasible !== undefined && { infeasible }),
    learned: { key, external, router: best.attributes.originatorId ?? id },
  };
}

interface SaidAttributes {
  readonly attributes: Attributes;
  readonly tooMany?: string;
}

/** Routes that say the same share it: the RIB has one object for all of them. */
export type KnownAttributes = WeakMap<BgpPath['attributes'], SaidAttributes>;

function knownAttributes(path: BgpPath, naming: Naming, known: KnownAttributes): SaidAttributes {
  if (path.stale === 'long') return saidAttributes(path, naming);
  let said = known.get(path.attributes);
  if (said === undefined) {
    said = saidAttributes(path, naming);
    known.set(path.attributes, said);
  }
  return said;
}

function saidAttributes({ attributes, stale }: BgpPath, { as, networkOf }: Naming): SaidAttributes {
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
