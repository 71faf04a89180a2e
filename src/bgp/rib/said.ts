/**
 * Said: attributes and a next hop, as one object for all paths that have the same. Found by a text in which the
 * order attributes came in does not show; counted by whoever holds one, and gone with the last, so there are never
 * more than there are paths in and routes out.
 * Invariant: two Saids that are held are equal only if they are one. What the order and the views ask of it is
 * worked out once, when it is first asked for (`facts`).
 */
import { parseIp } from '../../addr/ip.ts';
import { pathLength } from '../wire/as-path.ts';
import { ATTRIBUTE_NAMES, type Attributes, type Origin } from '../wire/attributes.ts';
import type { Hex } from '../wire/bytes.ts';
import { COMMUNITIES, extendedHex } from '../wire/communities.ts';
import type { NextHop } from '../wire/family.ts';

export interface Facts {
  readonly localPref: number;
  readonly pathLength: number;
  /** Rank; the lowest is the best. */
  readonly origin: number;
  readonly med: number;
  /** The AS it was heard from; 0: from within ours. */
  readonly neighbourAs: number;
  readonly originatorId: number | undefined;
  readonly clusters: number;
  readonly sticky: boolean;
  readonly sequence: number;
  readonly llgrStale: boolean;
  readonly noLlgr: boolean;
  readonly noExport: boolean;
  readonly noAdvertise: boolean;
  /** Route targets, and ES-import ones, as RT constraint compares them: eight bytes. */
  readonly targets: readonly Hex[];
}

export const DEFAULT_LOCAL_PREF = 100;
const RANKS: Readonly<Record<Origin, number>> = { igp: 0, egp: 1, incomplete: 2 };
const NOT_OUTSIDE: readonly number[] = [COMMUNITIES.noExport, COMMUNITIES.noExportSubconfed];
const TARGET_KINDS: ReadonlySet<string> = new Set(['route-target', 'es-import']);

export function idNumber(id: string): number {
  const [a, b, c, d] = parseIp(id).bytes as unknown as [number, number, number, number];
  return ((a << 24) | (b << 16) | (c << 8) | d) >>> 0;
}

/** The AS that said it to ours: the first of a sequence; confederations are within. */
function neighbourAs({ asPath = [] }: Attributes): number {
  const first = asPath.find(({ kind }) => kind === 'sequence' || kind === 'set');
  return first?.kind === 'sequence' ? (first.asns[0] as number) : 0;
}

function factsOf(attributes: Attributes): Facts {
  const { communities = [], extendedCommunities = [], originatorId } = attributes;
  const mobility = extendedCommunities.find(({ kind }) => kind === 'mac-mobility');
  const moved = mobility?.kind === 'mac-mobility' ? mobility : undefined;
  return {
    localPref: attributes.localPref ?? DEFAULT_LOCAL_PREF,
    pathLength: pathLength(attributes.asPath ?? []),
    origin: RANKS[attributes.origin ?? 'igp'],
    med: attributes.med ?? 0,
    neighbourAs: neighbourAs(attributes),
    originatorId: originatorId === undefined ? undefined : idNumber(originatorId),
    clusters: attributes.clusterList?.length ?? 0,
    sticky: moved?.sticky ?? false,
    sequence: moved?.sequence ?? 0,
    llgrStale: communities.includes(COMMUNITIES.llgrStale),
    noLlgr: communities.includes(COMMUNITIES.noLlgr),
    noExport: communities.some((community) => NOT_OUTSIDE.includes(community)),
    noAdvertise: communities.includes(COMMUNITIES.noAdvertise),
    targets: extendedCommunities.filter(({ kind }) => TARGET_KINDS.has(kind)).map(extendedHex),
  };
}

export class Said {
  readonly attributes: Attributes;
  readonly nextHop: NextHop;
  readonly text: string;
  /** Whoever holds it, counted by the interner. */
  held = 0;
  #facts: Facts | undefined;

  constructor(attributes: Attributes, nextHop: NextHop, text: string) {
    this.attributes = attributes;
    this.nextHop = nextHop;
    this.text = text;
  }

  get facts(): Facts {
    this.#facts ??= factsOf(this.attributes);
    return this.#facts;
  }
}

const plain = (_: string, value: unknown): unknown =>
  typeof value === 'bigint' ? `${value}n` : value;

function textOf(attributes: Attributes, nextHop: NextHop): string {
  const parts: unknown[] = [nextHop.address, nextHop.linkLocal ?? ''];
  for (const name of ATTRIBUTE_NAMES) {
    const value = (attributes as Record<string, unknown>)[name];
    if (value !== undefined) parts.push(name, value);
  }
  if (attributes.unknown !== undefined) parts.push('unknown', attributes.unknown);
  if (attributes.partial !== undefined) parts.push('partial', attributes.partial);
  return JSON.stringify(parts, plain);
}

const sameHop = (a: NextHop, b: NextHop): boolean =>
  a === b || (a.address === b.address && a.linkLocal === b.linkLocal);

export class Interner {
  readonly #held = new Map<string, Said>();
  /** The last one for the very object: the codec gives one and the same for what is said again. */
  readonly #byAttributes = new WeakMap<Attributes, Said>();

  /** Different ones that somebody holds. */
  get size(): number {
    return this.#held.size;
  }

  /** The one that is held, or one that nobody holds yet. */
  find(attributes: Attributes, nextHop: NextHop): Said {
    const known = this.#byAttributes.get(attributes);
    if (known !== undefined && known.held > 0 && sameHop(known.nextHop, nextHop)) return known;
    const text = textOf(attributes, nextHop);
    const said = this.#held.get(text) ?? new Said(attributes, nextHop, text);
    this.#byAttributes.set(attributes, said);
    return said;
  }

  /** Returns the one to keep: another than `said`, where that had been let go and said anew since. */
  hold(said: Said): Said {
    if (said.held === 0) {
      const other = this.#held.get(said.text);
      if (other !== undefined && other !== said) return this.hold(other);
      this.#held.set(said.text, said);
    }
    said.held++;
    return said;
  }

  release(said: Said): void {
    if (--said.held === 0) this.#held.delete(said.text);
  }
}
