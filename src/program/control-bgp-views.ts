/** What `vrouter control bgp` shows: neighbours, routes and what of them crosses each session; a page at a time. */

import type { BgpPath, BgpRib, RibPeer } from '../bgp/rib/contract.ts';
import { TUNNEL_TYPES } from '../bgp/wire/communities.ts';
import { nlriKey } from '../bgp/wire/family.ts';
import type { FamilyName } from '../bgp/wire/family-names.ts';
import type { BgpNeighboursView, BgpPathView, BgpRouteView } from '../cli/bgp-views.ts';
import type { Page } from '../cli/protocol.ts';
import { communityText } from '../config/bgp-policies.ts';
import { asPathText } from '../control/bgp-paths.ts';
import type { ServedBgp } from './control-bgp.ts';

/** Routes an answer. */
const PAGE = 2048;

const TUNNEL_NAMES = new Map<number, string>(
  Object.entries(TUNNEL_TYPES).map(([name, type]) => [type, name]),
);

export function neighboursView({
  speaker,
  neighbours,
  federation,
  own,
}: ServedBgp): BgpNeighboursView {
  const { neighbours: all, refused, refusedByLimit } = speaker.status();
  const { originated, learned, infeasible, leftOut } = federation.counts();
  return {
    as: own.as,
    routerId: own.id,
    neighbours: all.map((status) => {
      const description = neighbours.description(status.name);
      return { ...status, ...(description !== undefined && { description }) };
    }),
    ...{ refused, refusedByLimit, originated, learned, infeasible },
    leftOut: Object.fromEntries([...leftOut].filter(([, count]) => count > 0)),
  };
}

function pathView(path: BgpPath, used: boolean, why: string): BgpPathView {
  const { attributes, nextHop, from, stale } = path;
  const { origin = 'incomplete', asPath = [], localPref, med, communities = [] } = attributes;
  const extended = attributes.extendedCommunities ?? [];
  const { label } = path.nlri as { readonly label?: number };
  return {
    ...{ used, why, from: from ?? 'local', nextHop: nextHop.address },
    ...(label !== undefined && { label }),
    ...{ origin, asPath: asPathText(asPath) },
    ...(localPref !== undefined && { localPreference: localPref }),
    ...(med !== undefined && { med }),
    ...(stale !== undefined && { stale }),
    routeTargets: extended.flatMap((each) => (each.kind === 'route-target' ? [each.target] : [])),
    encapsulations: extended.flatMap((each) =>
      each.kind === 'encapsulation' ? [TUNNEL_NAMES.get(each.tunnel) ?? String(each.tunnel)] : [],
    ),
    communities: communities.map(communityText),
    attributes: plain(attributes),
  };
}

/** JSON has no big numbers. */
function plain(value: object): unknown {
  return JSON.parse(
    JSON.stringify(value, (_key, each) => (typeof each === 'bigint' ? String(each) : each)),
  );
}

const keyOf = ({ family, nlri }: BgpPath): string => nlriKey(family, nlri as never);

/** A whole route, or a prefix or an address in one. */
function fits(key: string, wanted: string | undefined): boolean {
  if (wanted === undefined || key === wanted) return true;
  return key.split(' ').some((part) => part === wanted || part.startsWith(`${wanted}/`));
}

function page<T>(
  all: Iterable<T>,
  from: number,
  wanted: (each: T) => boolean,
  view: (each: T) => BgpRouteView,
) {
  const items: BgpRouteView[] = [];
  let at = 0;
  for (const each of all) {
    if (!wanted(each) || at++ < from) continue;
    if (items.length === PAGE) return { items, next: from + PAGE };
    items.push(view(each));
  }
  return { items, next: null };
}

/** All of `families`, one after the other. */
function* of<T>(families: readonly FamilyName[], routes: (family: FamilyName) => Iterable<T>) {
  for (const family of families) for (const each of routes(family)) yield { family, each };
}

export function ribPage(
  rib: BgpRib,
  families: readonly FamilyName[],
  wanted: string | undefined,
  after = 0,
): Page<BgpRouteView> {
  return page(
    of(families, (family) => rib.routes(family)),
    after,
    ({ each }) => fits(each.key, wanted),
    ({ family, each: { key, paths, best } }) => ({
      family,
      route: key,
      paths: paths.map((path, at) => {
        if (at === 0) return pathView(path, best > 0, best > 0 ? 'best' : 'unused');
        if (at < best) return pathView(path, true, 'multipath');
        return pathView(path, false, rib.lostBy(paths[0] as BgpPath, path) ?? 'multipath-limit');
      }),
    }),
  );
}

/** What a neighbour has said, or has been told. */
export function peerPage(
  rib: BgpRib,
  peer: RibPeer,
  which: 'received' | 'advertised',
  families: readonly FamilyName[],
  wanted: string | undefined,
  after = 0,
): Page<BgpRouteView> {
  return page(
    of(families, (family) => rib[which](peer, family)),
    after,
    ({ each }) => fits(keyOf(each), wanted),
    ({ family, each }) => ({ family, route: keyOf(each), paths: [pathView(each, true, which)] }),
  );
}
