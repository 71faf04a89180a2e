/**
 * Which routes for a prefix are best, and what several equally good ones make together.
 * Order (the part of the ancestor's that needs no BGP attributes): higher local preference, higher
 * mobility sequence, lower MED. Routes equal so far form the ECMP set.
 */
import { compareIp, parseIp } from '../addr/ip.ts';
import { keyOf, type PathHop, type Route, type RouteKey } from './route.ts';

export const DEFAULT_LOCAL_PREFERENCE = 100;

/** Negative: `a` is better. Zero: equally good. */
export function comparePreference(a: Route, b: Route): number {
  return (
    (b.localPreference ?? DEFAULT_LOCAL_PREFERENCE) -
      (a.localPreference ?? DEFAULT_LOCAL_PREFERENCE) ||
    (b.sequence ?? 0) - (a.sequence ?? 0) ||
    (a.med ?? 0) - (b.med ?? 0)
  );
}

/** By address, then label: whatever order hops come in, a list reads the same. */
export function compareHops(a: PathHop, b: PathHop): number {
  if (a.address !== b.address) return compareIp(parseIp(a.address), parseIp(b.address));
  return a.label - b.label;
}

/** Hops of all routes, one per (address, label); of equals the earlier route's is kept. */
export function mergeHops(routes: readonly Route[]): PathHop[] {
  const hops = new Map<string, PathHop>();
  for (const route of routes) {
    for (const hop of route.hops) {
      const id = `${hop.address} ${hop.label}`;
      if (!hops.has(id)) hops.set(id, hop);
    }
  }
  const sorted = [...hops.values()].sort(compareHops);
  return withoutClashes(sorted);
}

/** Member ids given by different publishers may clash; then the id is left to the receiver. */
function withoutClashes(hops: PathHop[]): PathHop[] {
  const seen = new Set<number>();
  return hops.map((hop) => {
    if (hop.member === undefined) return hop;
    if (!seen.has(hop.member)) {
      seen.add(hop.member);
      return hop;
    }
    const { member: _, ...rest } = hop;
    return rest;
  });
}

function union<T>(
  lists: readonly (readonly T[] | undefined)[],
  order: (a: T, b: T) => number,
): T[] {
  return [...new Set(lists.flatMap((l) => l ?? []))].sort(order);
}

/**
 * The route that the best of `routes` make together under `key`; undefined when there are none.
 * `routes` come in a fixed order (say by publisher): attributes that cannot be merged are the first's.
 */
export function mergeRoutes(key: RouteKey, routes: readonly Route[]): Route | undefined {
  const [first, ...others] = routes;
  if (first === undefined) return undefined;
  const best = others.reduce((a, b) => (comparePreference(b, a) < 0 ? b : a), first);
  const equal = routes.filter((route) => comparePreference(route, best) === 0);
  const targets = union(
    equal.map((r) => r.routeTargets),
    byText,
  );
  const groups = union(
    equal.map((r) => r.securityGroups),
    (a, b) => a - b,
  );
  const loadBalance = equal.find((r) => r.loadBalance !== undefined)?.loadBalance;
  return {
    ...keyOf(key),
    hops: mergeHops(equal),
    ...(best.localPreference !== undefined && { localPreference: best.localPreference }),
    ...(best.med !== undefined && { med: best.med }),
    ...(targets.length > 0 && { routeTargets: targets }),
    ...(best.originVn !== undefined && { originVn: best.originVn }),
    ...(groups.length > 0 && { securityGroups: groups }),
    ...(best.sequence !== undefined && { sequence: best.sequence }),
    ...(loadBalance !== undefined && { loadBalance }),
  };
}

/** Bytewise, so that the order does not depend on a locale. */
export function byText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Whether two routes say the same; both in canonical spelling. */
export function sameRoute(a: Route | undefined, b: Route | undefined): boolean {
  if (a === b) return true;
  if (a === undefined || b === undefined) return false;
  return routeText(a) === routeText(b);
}

/** All of a route in a fixed order of fields. */
function routeText(route: Route): string {
  return JSON.stringify([
    route.instance,
    route.family,
    route.prefix,
    route.hops.map((h) => [h.address, h.label, h.encaps, h.member, h.weight ?? 1, h.mac]),
    route.localPreference ?? DEFAULT_LOCAL_PREFERENCE,
    route.med ?? 0,
    route.routeTargets ?? [],
    route.originVn,
    route.securityGroups ?? [],
    route.sequence ?? 0,
    route.loadBalance ?? null,
  ]);
}
