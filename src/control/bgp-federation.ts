/**
 * Federation: the bridge between the control node's tables and the BGP RIB. What agents say and their instances
 * export is a route of ours there; what neighbours say is paths of one peer of the tables, `bgp`.
 *
 * Invariants
 *  * After a flush of the tables the RIB has of ours exactly what `vpnRouteOf` makes of what is passed on, one route
 *    for each RD of a prefix; after a flush of the RIB the tables have of `bgp` exactly what its best paths say.
 *  * What came from BGP never goes back: the tables do not pass it on.
 *  * A route that we say ourselves is not heard from others: they have it from us or from the same agent.
 * Written by both sides' flushes, neither of which calls it inside a call of its own.
 */
import type { RouteTarget } from '../addr/route-target.ts';
import type { BestChange, BgpPath, BgpRib } from '../bgp/rib/contract.ts';
import { nlriKey } from '../bgp/wire/family.ts';
import type { FamilyName } from '../bgp/wire/family-names.ts';
import { MASTER_INSTANCE } from '../xmpp/stanza.ts';
import { type KnownAttributes, type Sender, saidOfBgp } from './bgp-paths.ts';
import { type LeftOut, type Naming, rdOf, type VpnRoute, vpnRouteOf } from './bgp-routes.ts';
import type { Prefix } from './entry.ts';
import { type Path, type Said, sameSaid } from './path.ts';
import { ownTargets } from './reach.ts';
import type { Peer, PeerSink, RouteTables, Watcher } from './tables.ts';

/** Where routes of BGP are looked at. No agent subscribes to it: it is no network's. */
export const BGP_INSTANCE = `${MASTER_INSTANCE}:bgp`;
export const BGP_PEER = 'bgp';
export const FEDERATED: ReadonlySet<FamilyName> = new Set(['vpnv4', 'vpnv6', 'evpn']);

/** Of a RIB, here or in another process, what the bridge says to it. */
export type FederatedRib = Pick<BgpRib, 'originate' | 'withdraw' | 'want'>;

export interface FederationOptions extends Naming {
  /** By name, as it is in paths. */
  readonly sender: (neighbour: string) => Sender | undefined;
}

export interface FederationCounts {
  readonly originated: number;
  /** Paths with targets that no route can be made of. */
  readonly leftOut: ReadonlyMap<LeftOut, number>;
  readonly learned: number;
  readonly infeasible: number;
}

interface Origination {
  readonly path: Path;
  readonly exports: ReadonlySet<RouteTarget>;
  readonly made: VpnRoute | LeftOut;
}

type Learnt = Pick<Said, 'family' | 'prefix' | 'rd' | 'learned' | 'infeasible'>;

/** It hears nothing: it subscribes to nothing. */
const DEAF: PeerSink = { blocked: () => false, change() {}, complete() {}, flushed: () => 0 };
const UNKNOWN: Sender = { external: false, id: '' };

export class Federation implements Watcher {
  readonly #tables: RouteTables;
  readonly #options: FederationOptions;
  readonly #peer: Peer;
  #rib: FederatedRib | undefined;
  /** By prefix, then by RD. */
  readonly #out = new Map<string, ReadonlyMap<string, Origination>>();
  /** By the route's key in BGP. */
  readonly #in = new Map<string, Learnt>();
  /** Of these, told by a speaker that is away. */
  #stale = new Set<string>();
  #known: KnownAttributes = new WeakMap();
  #originated = 0;
  #infeasible = 0;
  readonly #leftOut = new Map<LeftOut, number>();

  constructor(tables: RouteTables, options: FederationOptions) {
    this.#tables = tables;
    this.#options = options;
    this.#peer = tables.attach({ name: BGP_PEER, waits: false }, DEAF);
  }

  /** The RIB whose `onChanges` is `changed`. */
  connect(rib: FederatedRib): void {
    this.#rib = rib;
    this.#tables.watch(this);
  }

  counts(): FederationCounts {
    return {
      originated: this.#originated,
      leftOut: this.#leftOut,
      learned: this.#in.size,
      infeasible: this.#infeasible,
    };
  }

  // --- out -------------------------------------------------------------------------------------------

  passedOn(
    prefix: Prefix,
    paths: readonly { readonly path: Path; readonly exports: ReadonlySet<RouteTarget> }[],
  ): void {
    const before = this.#out.get(prefix.key);
    const after = new Map<string, Origination>();
    for (const { path, exports } of paths) {
      const rd = rdOf(path);
      if (after.has(rd)) continue; // two under one name: the better one has it
      if (exports.size + ownTargets(path).length === 0) continue;
      after.set(rd, this.#origination(path, exports, before?.get(rd)));
    }
    for (const [rd, { made }] of before ?? []) {
      const next = after.get(rd)?.made;
      if (next !== made) this.#count(made, -1);
      if (typeof made !== 'string' && !sameRoute(made, next)) {
        this.#rib?.withdraw(made.family, made.nlri);
      }
    }
    for (const [rd, { made }] of after) {
      if (before?.get(rd)?.made === made) continue;
      this.#count(made, 1);
      if (typeof made !== 'string') this.#rib?.originate(made);
    }
    if (after.size > 0) this.#out.set(prefix.key, after);
    else this.#out.delete(prefix.key);
  }

  #origination(
    path: Path,
    exports: ReadonlySet<RouteTarget>,
    before: Origination | undefined,
  ): Origination {
    if (before !== undefined && before.exports === exports) {
      if (before.path === path) return before;
      // Its agent is away, or back: the route is the same.
      if (before.path.originVn === path.originVn && sameSaid(before.path, path)) {
        return { path, exports, made: before.made };
      }
    }
    const targets = [...new Set([...exports, ...ownTargets(path)])].sort();
    return { path, exports, made: vpnRouteOf(path, targets, this.#options) };
  }

  #count(made: VpnRoute | LeftOut, by: number): void {
    if (typeof made !== 'string') this.#originated += by;
    else this.#leftOut.set(made, (this.#leftOut.get(made) ?? 0) + by);
  }

  wanted(targets: ReadonlySet<RouteTarget>): void {
    this.#rib?.want(targets);
  }

  // --- in --------------------------------------------------------------------------------------------

  /** `onChanges` of the RIB. */
  changed(changes: readonly Pick<BestChange, 'family' | 'key' | 'paths'>[]): void {
    for (const { family, key, paths } of changes) {
      if (FEDERATED.has(family)) this.#learn(`${family} ${key}`, paths);
    }
  }

  /** What neighbours say is read anew: they, or what it is read by, are others now. */
  readAgain(all: Iterable<BestChange>): void {
    this.#known = new WeakMap();
    this.changed([...all]);
  }

  /** Who tells of best paths is away: what was told stays in use, marked, until it is told again or swept. */
  lost(): void {
    this.#tables.markStale(this.#peer);
    this.#stale = new Set(this.#in.keys());
  }

  /** What has not been told again goes. */
  sweep(): number {
    const gone = this.#stale;
    this.#stale = new Set();
    for (const key of gone) this.#learn(key, []);
    return gone.size;
  }

  #learn(key: string, paths: readonly BgpPath[]): void {
    const before = this.#in.get(key);
    this.#stale.delete(key);
    const ours = paths.length === 0 || paths.some(({ from }) => from === undefined);
    const said = ours
      ? undefined
      : saidOfBgp(key, paths, this.#senderOf, this.#options, this.#known);
    this.#infeasible += Number(said?.infeasible !== undefined);
    this.#infeasible -= Number(before?.infeasible !== undefined);
    if (said !== undefined) {
      this.#tables.publish(this.#peer, BGP_INSTANCE, said);
      const { family, prefix, rd, learned, infeasible } = said;
      this.#in.set(key, {
        ...{ family, prefix, rd },
        ...(learned !== undefined && { learned }),
        ...(infeasible !== undefined && { infeasible }),
      });
    } else if (before !== undefined) {
      this.#tables.withdraw(this.#peer, BGP_INSTANCE, before);
      this.#in.delete(key);
    }
  }

  readonly #senderOf = ({ from }: BgpPath): Sender =>
    (from === undefined ? undefined : this.#options.sender(from)) ?? UNKNOWN;
}

/** Under the same name in BGP, so that saying the one replaces the other. */
function sameRoute(a: VpnRoute, b: VpnRoute | LeftOut | undefined): boolean {
  if (b === undefined || typeof b === 'string') return false;
  return a.family === b.family && nlriKey(a.family, a.nlri) === nlriKey(b.family, b.nlri);
}

/** Of every route what is used of it: for one who has been told nothing, or who reads it anew (another encapsulation). */
export function* bestOf(rib: Pick<BgpRib, 'routes'>): Generator<BestChange> {
  for (const family of FEDERATED) {
    for (const { key, paths, best } of rib.routes(family)) {
      yield { family, key, paths: paths.slice(0, best) };
    }
  }
}
