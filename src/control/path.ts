/**
 * What the control node knows of one way to a prefix, and which of several is better. A path is said once,
 * by one peer in one instance, and never changed: what is said again is another path.
 *
 * The order is a table, so that `why` can name the row by which a path lost. Rows up to `med` decide who is
 * used at all: paths that are equal so far are the ECMP set. Rows after it only say whose attributes an
 * announce carries.
 */
import { compareIp, parseIp } from '../addr/ip.ts';
import { byText } from '../rib/best-path.ts';
import type { RouteFamily } from '../rib/route.ts';
import { UNRESOLVED_VN } from '../xmpp/routes.ts';

export interface Hop {
  /** Tunnel end, the agent's own address; labels are opaque here. */
  readonly address: string;
  readonly label: number;
  /** Known ones, as they were named; none: whatever the receiver takes for granted. */
  readonly encaps: readonly string[];
  readonly mac?: string;
  readonly vni?: number;
  readonly l3Label?: number;
  readonly tags?: readonly number[];
  readonly localSequence?: number;
  readonly member?: number;
  readonly weight?: number;
}

/** Absent: not said. */
export interface Attributes {
  readonly localPreference?: number;
  readonly med?: number;
  readonly sequence?: number;
  readonly sticky?: boolean;
  readonly securityGroups?: readonly number[];
  readonly communities?: readonly string[];
  /** In the wire's words; absent: all five. */
  readonly hashFields?: readonly string[];
  readonly hashDecision?: string;
  readonly subProtocol?: string;
  readonly originVn?: string;
  /** Beside those its instance exports. */
  readonly routeTargets?: readonly string[];
  readonly ethernetTag?: number;
  readonly etreeLeaf?: boolean;
  readonly noEdgeReplication?: boolean;
  readonly assistedReplication?: boolean;
  readonly replicator?: string;
  /** Of routes from BGP: as it is read, and as it is counted. */
  readonly asPath?: string;
  readonly asPathLength?: number;
  /** Absent: igp, as agents' are. */
  readonly bgpOrigin?: 'egp' | 'incomplete';
  /** RFC 9494: its speaker is away for long. */
  readonly longLivedStale?: boolean;
}

/** What a path has that came by BGP. */
export interface Learned {
  /** The route there: paths of one prefix are told apart by it. */
  readonly key: string;
  /** From another AS. */
  readonly external: boolean;
  /** Id of who brought it into the AS. */
  readonly router: string;
}

/** What a peer says of a prefix. */
export interface Said {
  readonly family: RouteFamily;
  readonly prefix: string;
  /** Route distinguisher, agent's address : instance-id. */
  readonly rd: string;
  readonly hops: readonly Hop[];
  readonly attributes: Attributes;
  /** Kept and shown, never used. */
  readonly infeasible?: string;
  /** Told apart from the peer's others of this prefix and instance by its RD (the master instance). */
  readonly apart?: boolean;
  /**
   * It came by BGP. Its RD and targets say what it belongs to, not where it was said: it goes wherever its own
   * targets lead, competes in no instance of its own, and is not passed on to BGP. How it came is no part of what it
   * says: two control nodes have the same route by different ways.
   */
  readonly learned?: Learned;
}

export interface Path extends Said {
  readonly peer: string;
  /** The peer's or the BGP speaker's, for the order; empty if it has none. */
  readonly address: string;
  /** Where it was said. */
  readonly instance: string;
  /** The network it comes from: as it was said, or its instance's. */
  readonly originVn: string;
  /** Counts only while its instance is configured. */
  readonly waits: boolean;
  /** Its peer is away and may come back. */
  readonly stale: boolean;
}

export type SaidKey = Pick<Said, 'family' | 'prefix' | 'rd' | 'apart' | 'learned'>;

/** What another path of its peer, in its instance, replaces it by. `key`: of the prefix. */
export function slotOf(key: string, { apart, rd, learned }: SaidKey): string {
  if (learned !== undefined) return `${key} ${learned.key}`;
  return apart === true ? `${key} ${rd}` : key;
}

/** `prefix`: the text that all paths of it share. What comes by BGP is of whichever network it names. */
export function pathOf(
  said: Said,
  prefix: string,
  peer: { readonly name: string; readonly address?: string; readonly waits: boolean },
  instance: { readonly name: string; readonly originVn: string },
): Path {
  const { attributes, infeasible, apart, learned } = said;
  const home = learned === undefined ? instance.originVn : UNRESOLVED_VN;
  return {
    family: said.family,
    prefix,
    rd: said.rd,
    hops: said.hops,
    attributes,
    ...(infeasible !== undefined && { infeasible }),
    ...(apart === true && { apart: true }),
    ...(learned !== undefined && { learned }),
    peer: peer.name,
    address: learned?.router ?? peer.address ?? '',
    instance: instance.name,
    originVn: attributes.originVn ?? home,
    waits: peer.waits,
    stale: false,
  };
}

const DEFAULT_LOCAL_PREFERENCE = 100;

export function localPreference({ attributes }: Said): number {
  return attributes.localPreference ?? DEFAULT_LOCAL_PREFERENCE;
}

/** A peer that gives none has one that follows from its local preference, for BGP speakers that strip that. */
export function med(said: Said): number {
  const given = said.attributes.med;
  if (given !== undefined && given !== 0) return given;
  const preference = localPreference(said);
  if (preference === 100) return 200;
  return preference === 200 ? 100 : 0xffffffff - preference;
}

interface Row {
  readonly name: string;
  /** Negative: `a` is better. */
  compare(a: Path, b: Path): number;
}

const yes = (value: boolean | undefined): number => (value === true ? 1 : 0);

const originRank = ({ attributes: { bgpOrigin } }: Path): number =>
  bgpOrigin === undefined ? 0 : bgpOrigin === 'egp' ? 1 : 2;

const USED: readonly Row[] = [
  {
    name: 'feasible',
    compare: (a, b) => yes(a.infeasible !== undefined) - yes(b.infeasible !== undefined),
  },
  { name: 'local-preference', compare: (a, b) => localPreference(b) - localPreference(a) },
  {
    name: 'etree-root',
    compare: (a, b) => yes(a.attributes.etreeLeaf) - yes(b.attributes.etreeLeaf),
  },
  { name: 'sticky', compare: (a, b) => yes(b.attributes.sticky) - yes(a.attributes.sticky) },
  {
    name: 'sequence',
    compare: (a, b) => (b.attributes.sequence ?? 0) - (a.attributes.sequence ?? 0),
  },
  {
    name: 'long-lived-stale',
    compare: (a, b) => yes(a.attributes.longLivedStale) - yes(b.attributes.longLivedStale),
  },
  {
    name: 'as-path',
    compare: (a, b) => (a.attributes.asPathLength ?? 0) - (b.attributes.asPathLength ?? 0),
  },
  { name: 'origin', compare: (a, b) => originRank(a) - originRank(b) },
  // Of whatever AS: were it compared within one only, the order would be none.
  { name: 'med', compare: (a, b) => med(a) - med(b) },
];

const FIRST: readonly Row[] = [
  {
    name: 'xmpp-before-bgp',
    compare: (a, b) => yes(a.learned !== undefined) - yes(b.learned !== undefined),
  },
  {
    name: 'external-before-internal',
    compare: (a, b) => yes(b.learned?.external) - yes(a.learned?.external),
  },
  { name: 'router-id', compare: (a, b) => compareAddresses(a.address, b.address) },
  { name: 'peer', compare: (a, b) => byText(a.peer, b.peer) },
  { name: 'instance', compare: (a, b) => byText(a.instance, b.instance) },
  { name: 'rd', compare: (a, b) => byText(a.rd, b.rd) },
  {
    name: 'route',
    compare: (a, b) => byText(a.learned?.key ?? '', b.learned?.key ?? ''),
  },
];

function compareAddresses(a: string, b: string): number {
  if (a === b) return 0;
  if (a === '' || b === '') return a === '' ? -1 : 1;
  return compareIp(parseIp(a), parseIp(b));
}

function firstDifference(rows: readonly Row[], a: Path, b: Path): [Row, number] | undefined {
  for (const row of rows) {
    const order = row.compare(a, b);
    if (order !== 0) return [row, order];
  }
  return undefined;
}

/** Zero: of one ECMP set. */
export function comparePreference(a: Path, b: Path): number {
  return firstDifference(USED, a, b)?.[1] ?? 0;
}

/** The whole order; zero for one and the same path only. */
export function comparePaths(a: Path, b: Path): number {
  return comparePreference(a, b) || (firstDifference(FIRST, a, b)?.[1] ?? 0);
}

/** The row by which `path` is behind `best`, or undefined where it is used beside it. */
export function lostBy(best: Path, path: Path): string | undefined {
  return firstDifference(USED, best, path)?.[0].name;
}

/** Whose address comes first, whatever order paths came in; labels in the second place. */
export function hopsOf(paths: readonly Path[]): { readonly hop: Hop; readonly path: Path }[] {
  const all = paths.flatMap((path) => path.hops.map((hop) => ({ hop, path })));
  if (all.length < 2) return all;
  const seen = new Set<string>();
  const sorted = all
    .filter(({ hop }) => {
      const id = `${hop.address} ${hop.label}`;
      return !seen.has(id) && seen.add(id);
    })
    .map((each) => ({ each, address: parseIp(each.hop.address) }))
    .sort((a, b) => compareIp(a.address, b.address) || a.each.hop.label - b.each.hop.label);
  return sorted.map(({ each }) => each);
}

/** Whether a peer that says `b` after `a` says nothing new. */
export function sameSaid(a: Said, b: Said): boolean {
  // Most that is said again has another label; texts are made for the rest.
  if (a.hops.length !== b.hops.length || labelSum(a) !== labelSum(b)) return false;
  if (a.learned?.external !== b.learned?.external || a.learned?.router !== b.learned?.router)
    return false;
  return saidText(a) === saidText(b);
}

/** Differs where hops do, nearly always; the same whatever order they are in. */
export function labelSum({ hops }: Said): number {
  let sum = 0;
  for (const { label } of hops) sum += label;
  return sum;
}

/** All of what is said but of what. */
export function saidText({ hops, attributes, infeasible }: Said): string {
  const hop = (h: Hop) => [
    h.address,
    h.label,
    h.encaps,
    h.mac,
    h.vni,
    h.l3Label,
    h.tags,
    h.localSequence,
    h.member,
    h.weight,
  ];
  const a = attributes;
  return JSON.stringify([
    hops.map(hop),
    a.localPreference,
    a.med,
    a.sequence,
    a.sticky,
    a.securityGroups,
    a.communities,
    a.hashFields,
    a.hashDecision,
    a.subProtocol,
    a.originVn,
    a.routeTargets,
    a.ethernetTag,
    a.etreeLeaf,
    a.noEdgeReplication,
    a.assistedReplication,
    a.replicator,
    a.asPath,
    a.bgpOrigin,
    a.longLivedStale,
    infeasible,
  ]);
}
