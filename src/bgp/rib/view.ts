/**
 * A view: what peers of one kind may be told of a route, and in which words. Peers with equal `key`s have one view
 * and so one group. What only one peer's own (split horizon, its memberships) is not here but in member.ts.
 * Invariant: `out` is a function of the path and the view; it is kept with the path's attributes as long as these are.
 */
import type { IpText } from '../../addr/ip.ts';
import { type AsPath, withoutConfeds } from '../wire/as-path.ts';
import type { Attributes } from '../wire/attributes.ts';
import { extendedHex } from '../wire/communities.ts';
import type { NextHop } from '../wire/family.ts';
import type { FamilyName } from '../wire/family-names.ts';
import type { RtcNlri } from '../wire/nlri.ts';
import type { Policy, Term } from './policy.ts';
import { applySet, readyPolicy } from './policy-apply.ts';
import { DEFAULT_LOCAL_PREF, type Interner, type Said } from './said.ts';
import { bestOf, type Entry, type Path, pathsOf, type Source } from './table.ts';

export interface ViewOptions {
  readonly family: FamilyName;
  readonly as: number;
  readonly id: IpText;
  readonly clusterId: IpText;
  readonly external: boolean;
  /** We reflect to them. */
  readonly client: boolean;
  /** `self`: this address, where the route carries no label of somebody else's. */
  readonly self: IpText | undefined;
  /** IPv4 routes may have IPv6 next hops. */
  readonly extendedNextHop: boolean;
  /** They know what long-lived stale routes are. */
  readonly longLived: boolean;
  /** Paths of a route, with ids; 0: one, without. */
  readonly sendPaths: number;
  /** `rtc`: the default membership. */
  readonly defaultRoute: boolean;
  /** `rtc`, external: who would take a path with this AS for a loop. */
  readonly peerAs: number;
  readonly policy: Policy | undefined;
}

const UNICAST: ReadonlySet<FamilyName> = new Set(['ipv4-unicast', 'ipv6-unicast']);
const IPV4_HOPS: ReadonlySet<FamilyName> = new Set(['ipv4-unicast', 'vpnv4']);

/** A route of ours in another AS's hands is `self` by default only where it is no label or VNI of another's. */
export function selfOf(
  family: FamilyName,
  external: boolean,
  asked: 'self' | 'unchanged' | undefined,
  local: IpText,
): IpText | undefined {
  if (family === 'rtc') return local; // RFC 4684 §3.2
  if (!UNICAST.has(family)) return undefined;
  const self = asked === undefined ? external : asked === 'self';
  return self ? local : undefined;
}

export function viewKey(options: ViewOptions): string {
  return JSON.stringify(options);
}

export class View {
  readonly options: ViewOptions;
  /** Routes go back to who said them: a client must hear that others want what it wants (RFC 4684 §3.2). */
  readonly toSender: boolean;
  readonly #interner: Interner;
  #known = new WeakMap<Source, WeakMap<Said, Said>>();
  readonly #terms = new WeakMap<Said, Map<Term['set'], Said>>();
  // Routes come in runs of one peer's with the same attributes.
  #lastSource: Source | undefined;
  #lastSaid: Said | undefined;
  #lastOut: Said | undefined;

  constructor(options: ViewOptions, interner: Interner) {
    this.options = options;
    this.toSender = options.family === 'rtc' && options.client;
    this.#interner = interner;
  }

  /** The path that is told, where only one is. */
  pick(entry: Entry): Path | undefined {
    if (this.options.family !== 'rtc') {
      const best = bestOf(entry);
      return best !== undefined && this.#mayTell(best) ? best : undefined;
    }
    // RFC 4684 §3.2: if the best may not be told, another who wants the same may.
    return pathsOf(entry).find((path) => this.#mayTell(path));
  }

  /** The paths that are told, where several are, in order; their words with them. */
  pickAll(entry: Entry): { readonly path: Path; readonly out: Said }[] {
    const picked: { path: Path; out: Said }[] = [];
    for (const path of pathsOf(entry)) {
      if (picked.length === this.options.sendPaths) break;
      const out = this.#mayTell(path) ? this.out(path) : undefined;
      if (out !== undefined) picked.push({ path, out });
    }
    return picked;
  }

  /** In which words; undefined: the policy refuses it. Held by nobody yet. */
  out(path: Path): Said | undefined {
    const { policy, family } = this.options;
    const told = this.#told(path);
    if (policy === undefined) return told;
    const term = readyPolicy(policy).decide(family, path.nlri, told.attributes);
    if (term === undefined) return told;
    if (term.action === 'reject') return undefined;
    if (term.set === undefined) return told;
    const terms = this.#terms.get(told) ?? new Map<Term['set'], Said>();
    let out = terms.get(term.set);
    if (out === undefined) {
      out = this.#interner.find(applySet(term.set, told.attributes), told.nextHop);
      this.#terms.set(told, terms.set(term.set, out));
    }
    return out;
  }

  #mayTell(path: Path): boolean {
    const { options } = this;
    const { source, said } = path;
    const { facts, nextHop, attributes } = said;
    if (facts.noAdvertise || (facts.noExport && options.external)) return false; // RFC 1997
    if (facts.llgrStale && !options.longLived) return false; // RFC 9494 §4.3
    if (options.family === 'rtc') {
      // RFC 4684 §3.2: the default is said to whom it is to be said, by us.
      if ((path.nlri as RtcNlri).bits === 0)
        return options.defaultRoute && source.from === undefined;
      if (options.external && passes(attributes.asPath, options.peerAs)) return false;
    }
    // RFC 4271 §9.2, RFC 4456 §6: from within to within by way of a client only.
    const inside = source.from !== undefined && !source.external;
    if (inside && !options.external && !source.client && !options.client) return false;
    const hop = this.#nextHop(source, nextHop).address;
    const fits = options.extendedNextHop || !IPV4_HOPS.has(options.family) || !hop.includes(':');
    return fits;
  }

  #nextHop(source: Source, nextHop: NextHop): NextHop {
    const { self, family, external } = this.options;
    if (self === undefined) return nextHop;
    // RFC 4456 §10: what is reflected stays as it is; whose membership it is nobody asks.
    const reflected = source.from !== undefined && !source.external && !external;
    return reflected && family !== 'rtc' ? nextHop : { address: self };
  }

  #told({ source, said }: Path): Said {
    if (source === this.#lastSource && said === this.#lastSaid) return this.#lastOut as Said;
    let known = this.#known.get(source);
    if (known === undefined) {
      known = new WeakMap();
      this.#known.set(source, known);
    }
    let out = known.get(said);
    if (out === undefined) {
      const nextHop = this.#nextHop(source, said.nextHop);
      out = this.#interner.find(this.#attributes(source, said.attributes), nextHop);
      known.set(said, out);
    }
    this.#lastSource = source;
    this.#lastSaid = said;
    this.#lastOut = out;
    return out;
  }

  /** A peer's identifier or kind is another: what was worked out of its paths is not true any more. */
  forget(source: Source): void {
    this.#known.delete(source);
    this.#lastSource = undefined;
  }

  #attributes(source: Source, given: Attributes): Attributes {
    const { external } = this.options;
    const attributes = { ...given, origin: given.origin ?? 'igp', asPath: given.asPath ?? [] };
    if (external) return this.#outside(source, attributes);
    const reflected = source.from !== undefined && !source.external;
    const localPref = attributes.localPref ?? DEFAULT_LOCAL_PREF;
    return { ...attributes, localPref, ...(reflected ? this.#reflected(source, attributes) : {}) };
  }

  /** RFC 4456 §8. RFC 4684 §3.2: to a client memberships are as if they were ours, lest it take its own for a loop. */
  #reflected(source: Source, attributes: Attributes): Partial<Attributes> {
    const { family, client, id, clusterId } = this.options;
    const originatorId =
      family === 'rtc' && client ? id : (attributes.originatorId ?? idText(source.routerId));
    return { originatorId, clusterList: [clusterId, ...(attributes.clusterList ?? [])] };
  }

  /** RFC 4271 §5.1: what is of one AS only stays there; MED is for the neighbour, if it is ours. */
  #outside(source: Source, attributes: Attributes): Attributes {
    const { localPref, originatorId, clusterList, med, aigp, extendedCommunities, ...rest } =
      attributes;
    const ours = source.from === undefined;
    const kept = extendedCommunities?.filter((each) => !isInternal(extendedHex(each)));
    return {
      ...rest,
      asPath: prepended(this.options.as, attributes.asPath ?? []),
      ...(ours && med !== undefined ? { med } : {}),
      ...(kept === undefined || kept.length === 0 ? {} : { extendedCommunities: kept }),
    };
  }
}

/** RFC 4360 §3: not across ASes. */
const isInternal = (hex: string): boolean => (Number.parseInt(hex.slice(0, 2), 16) & 0x40) !== 0;

const passes = (path: AsPath | undefined, as: number): boolean =>
  (path ?? []).some(({ asns }) => asns.includes(as));

function prepended(as: number, path: AsPath): AsPath {
  const [first, ...rest] = withoutConfeds(path);
  if (first === undefined) return [{ kind: 'sequence', asns: [as] }];
  if (first.kind !== 'sequence') return [{ kind: 'sequence', asns: [as] }, first, ...rest];
  return [{ kind: 'sequence', asns: [as, ...first.asns] }, ...rest];
}

function idText(id: number): IpText {
  return `${id >>> 24}.${(id >>> 16) & 255}.${(id >>> 8) & 255}.${id & 255}` as IpText;
}
