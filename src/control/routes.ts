/** Paths <-> routes: what peers in this house say and hear. Everything a Route has is carried. */
import { keyOf, type PathHop, type Route, type RouteUpdate } from '../rib/route.ts';
import { pathHop } from '../xmpp/routes.ts';
import { type Entry, shown, type TableChange } from './entry.ts';
import type { Attributes, Hop, Said } from './path.ts';

/** A route's words for hash fields, and the wire's. */
type HashField = NonNullable<Route['loadBalance']>[number];
export const HASH_FIELDS: readonly (readonly [string, HashField])[] = [
  ['l3-source-address', 'source'],
  ['l3-destination-address', 'destination'],
  ['l4-protocol', 'protocol'],
  ['l4-source-port', 'source-port'],
  ['l4-destination-port', 'destination-port'],
];

const wordOf = new Map(HASH_FIELDS.map(([word, field]) => [field, word]));
const fieldOf = new Map(HASH_FIELDS);

function saidHop(hop: PathHop, vxlan: boolean): Hop {
  return { ...hop, ...(vxlan && { vni: hop.label }) };
}

const isVxlan = ({ encaps }: PathHop): boolean => encaps.every((name) => name === 'vxlan');

/** `route` has been through checkRoute. */
export function saidOf(route: Route, rd: string): Said {
  const { hops, loadBalance, sequence, securityGroups, routeTargets } = route;
  const vni = route.family === 'evpn' && hops.every(isVxlan) ? hops[0]?.label : undefined;
  const attributes: Attributes = {
    ...(route.localPreference !== undefined && { localPreference: route.localPreference }),
    ...(route.med !== undefined && { med: route.med }),
    ...(sequence !== undefined && sequence !== 0 && { sequence }),
    ...(securityGroups !== undefined && securityGroups.length > 0 && { securityGroups }),
    ...(loadBalance !== undefined &&
      loadBalance.length > 0 && { hashFields: loadBalance.map((f) => wordOf.get(f) as string) }),
    ...(route.originVn !== undefined && { originVn: route.originVn }),
    ...(routeTargets !== undefined && routeTargets.length > 0 && { routeTargets }),
    ...(vni !== undefined && { ethernetTag: vni }),
  };
  const { family, prefix } = route;
  return { family, prefix, rd, hops: hops.map((hop) => saidHop(hop, isVxlan(hop))), attributes };
}

/** The route that subscribers of this house are told, if they can use any hop of it. */
export function routeOf(entry: Entry): Route | undefined {
  const { hops, attributes, originVn, securityGroups } = shown(entry);
  const members = new Set<number>();
  const usable = hops.flatMap(({ hop }): PathHop[] => {
    const usable = pathHop(hop);
    if (usable === undefined) return [];
    const { member, weight } = hop;
    // Member ids given by different peers may clash; then the id is left to the receiver.
    const clashes = member !== undefined && members.has(member);
    if (member !== undefined) members.add(member);
    return [
      {
        ...usable,
        ...(member !== undefined && !clashes && { member }),
        ...(weight !== undefined && { weight }),
      },
    ];
  });
  if (usable.length === 0) return undefined;
  const fields = entry.paths.find((p) => p.attributes.hashFields !== undefined)?.attributes
    .hashFields;
  const loadBalance = fields?.flatMap((word) => fieldOf.get(word) ?? []);
  const { localPreference, med, sequence } = attributes;
  return {
    instance: entry.instance.name,
    family: entry.prefix.family,
    prefix: entry.prefix.prefix,
    hops: usable,
    ...(localPreference !== undefined && { localPreference }),
    ...(med !== undefined && { med }),
    ...(entry.targets !== '' && { routeTargets: entry.targets.split(' ') }),
    originVn,
    ...(securityGroups.length > 0 && { securityGroups }),
    ...(sequence !== undefined && { sequence }),
    ...(loadBalance !== undefined && loadBalance.length > 0 && { loadBalance }),
  };
}

const updates = new WeakMap<TableChange, readonly RouteUpdate[]>();

/** Made once for all who are told. */
export function updatesOf(change: TableChange): readonly RouteUpdate[] {
  let made = updates.get(change);
  if (made === undefined) {
    made = [
      ...change.withdrawn.flatMap(withdrawal),
      ...change.announced.flatMap(({ entry, before }) => announcement(entry, before)),
      ...change.retargeted.flatMap((entry) => announcement(entry, undefined)),
    ];
    updates.set(change, made);
  }
  return made;
}

function announcement(entry: Entry, before: Entry | undefined): RouteUpdate[] {
  const route = routeOf(entry);
  if (route !== undefined) return [{ type: 'announce', route }];
  return before === undefined ? [] : withdrawal(before);
}

function withdrawal(entry: Entry): RouteUpdate[] {
  const route = routeOf(entry); // one that nobody could use was never announced
  return route === undefined ? [] : [{ type: 'withdraw', key: keyOf(route) }];
}
