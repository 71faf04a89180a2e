/**
 * Runs a policy: the first term that matches a route, and what attributes are under it. Pure; a policy is made
 * ready once (prefixes as bytes) and kept with its value.
 */
import { contains, parsePrefix } from '../../addr/prefix.ts';
import type { Attributes } from '../wire/attributes.ts';
import type { NlriOf } from '../wire/family.ts';
import type { FamilyName } from '../wire/family-names.ts';
import type { EvpnNlri } from '../wire/nlri-evpn.ts';
import type { Policy, Term } from './policy.ts';

type Nlri = NlriOf[FamilyName];
type Matches = (family: FamilyName, nlri: Nlri, attributes: Attributes) => boolean;

export interface ReadyPolicy {
  /** Whether the answer depends on the route itself and not on its family and attributes alone. */
  readonly byRoute: boolean;
  decide(family: FamilyName, nlri: Nlri, attributes: Attributes): Term | undefined;
}

/** What of a route a prefix is compared with. Originators are routers, not what is routed. */
function addressed(family: FamilyName, nlri: Nlri): string | undefined {
  if (family === 'rtc') return undefined;
  if (family !== 'evpn') return (nlri as NlriOf['vpnv4']).prefix;
  const route = nlri as EvpnNlri;
  if (route.type === 'ip-prefix') return route.prefix;
  if (route.type !== 'mac-ip' || route.ip === undefined) return undefined;
  return `${route.ip}/${route.ip.includes(':') ? 128 : 32}`;
}

function some<T>(wanted: readonly T[], there: readonly T[] | undefined): boolean {
  return there !== undefined && wanted.some((each) => there.includes(each));
}

/** One row a condition; those that are not given are left out. */
const CONDITIONS: {
  readonly [K in keyof Term['match']]-?: (given: NonNullable<Term['match'][K]>) => Matches;
} = {
  families: (families) => (family) => families.includes(family),
  prefixes(prefixes) {
    const ranges = prefixes.map(({ prefix, orLonger }) => ({
      range: parsePrefix(prefix),
      orLonger,
    }));
    return (family, nlri) => {
      const text = addressed(family, nlri);
      if (text === undefined) return false;
      const route = parsePrefix(text);
      return ranges.some(({ range, orLonger }) => {
        return contains(range, route) && (orLonger || route.length === range.length);
      });
    };
  },
  communities: (wanted) => (_family, _nlri, attributes) => some(wanted, attributes.communities),
  routeTargets: (wanted) => (_family, _nlri, attributes) =>
    (attributes.extendedCommunities ?? []).some(
      (each) => each.kind === 'route-target' && wanted.includes(each.target),
    ),
};

function readyTerm({ match }: Term): Matches {
  const conditions = (Object.keys(CONDITIONS) as (keyof typeof CONDITIONS)[]).flatMap((name) => {
    const given = match[name];
    return given === undefined ? [] : [(CONDITIONS[name] as (given: unknown) => Matches)(given)];
  });
  return (family, nlri, attributes) =>
    conditions.every((matches) => matches(family, nlri, attributes));
}

const READY = new WeakMap<Policy, ReadyPolicy>();

export function readyPolicy(policy: Policy): ReadyPolicy {
  const known = READY.get(policy);
  if (known !== undefined) return known;
  const terms = policy.terms.map((term) => ({ term, matches: readyTerm(term) }));
  const ready: ReadyPolicy = {
    byRoute: policy.terms.some(({ match }) => match.prefixes !== undefined),
    decide: (family, nlri, attributes) =>
      terms.find(({ matches }) => matches(family, nlri, attributes))?.term,
  };
  READY.set(policy, ready);
  return ready;
}

/** What an accepted route has from there on; `attributes` itself where nothing changes. */
export function applySet(set: Term['set'], attributes: Attributes): Attributes {
  if (set === undefined) return attributes;
  const { localPref, med, addCommunities = [], removeCommunities = [] } = set;
  const kept = (attributes.communities ?? []).filter((each) => !removeCommunities.includes(each));
  const added = addCommunities.filter((each, at) => {
    return !kept.includes(each) && addCommunities.indexOf(each) === at;
  });
  const { communities: _, ...others } = attributes;
  const communities = [...kept, ...added];
  return {
    ...others,
    ...(communities.length === 0 ? {} : { communities }),
    ...(localPref === undefined ? {} : { localPref }),
    ...(med === undefined ? {} : { med }),
  };
}
