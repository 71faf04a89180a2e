/**
 * What a table has of one prefix: the paths that are used, and what they make together when it is told to
 * subscribers. Hops are in order of address and label, whatever order paths came in; attributes that cannot
 * be merged are those of the first path; security groups are everybody's.
 */
import type { RouteFamily } from '../rib/route.ts';
import type { Instance } from './instances.ts';
import { type Attributes, type Hop, hopsOf, type Path } from './path.ts';

/** A prefix in whatever instance: everything that is said of it, and where it is told. */
export interface Prefix {
  readonly key: string;
  readonly family: RouteFamily;
  readonly prefix: string;
  paths: readonly Path[];
  /** One for each instance that has it. */
  entries: readonly Entry[];
}

export interface Entry {
  readonly prefix: Prefix;
  readonly instance: Instance;
  /** Those that are used, best first; never empty. */
  readonly paths: readonly Path[];
  /** Route targets it carries, joined. */
  readonly targets: string;
}

/** Changes of one family in one instance, for all its subscribers: what is made of it is made once. */
export interface TableChange {
  readonly instance: Instance;
  readonly family: RouteFamily;
  readonly announced: readonly { readonly entry: Entry; readonly before: Entry | undefined }[];
  readonly withdrawn: readonly Entry[];
  /** Nothing but their targets has changed, which XMPP does not carry. */
  readonly retargeted: readonly Entry[];
}

export interface Shown {
  readonly hops: readonly { readonly hop: Hop; readonly path: Path }[];
  readonly attributes: Attributes;
  readonly originVn: string;
  readonly securityGroups: readonly number[];
}

export function shown({ paths }: Entry): Shown {
  const best = paths[0] as Path;
  const { attributes } = best;
  const groups =
    paths.length === 1
      ? (attributes.securityGroups ?? [])
      : [...new Set(paths.flatMap((p) => p.attributes.securityGroups ?? []))].sort((a, b) => a - b);
  return { hops: hopsOf(paths), attributes, originVn: best.originVn, securityGroups: groups };
}

/** Everything that a subscriber could see of it, but its targets. What only BGP has, nobody is told. */
export function shownText(entry: Entry): string {
  const { hops, attributes, originVn, securityGroups } = shown(entry);
  const { routeTargets, asPath, asPathLength, bgpOrigin, longLivedStale, ...rest } = attributes;
  return JSON.stringify([
    hops.map(({ hop, path }) => [hop, path.originVn]),
    rest,
    originVn,
    securityGroups,
  ]);
}

const BROADCAST_KEY = 'evpn ff:ff:ff:ff:ff:ff';

/** EVPN type 3: no path is better than another, all are ends that a broadcast goes to. */
export function isBroadcast({ key }: { readonly key: string }): boolean {
  return key === BROADCAST_KEY;
}
