/**
 * Who says what to whom around the RIB. Sessions (session/) say what peers send and ask what to send them; the
 * house (control/) says its own routes and hears what is best. The RIB has no socket and no clock: it is called.
 *
 * Invariants
 *  * What a peer has been sent, once `next` has answered undefined, is a function of the routes that are there, the
 *    policies and the peer's memberships, not of the order of calls.
 *  * A peer that does not read costs keys, not messages: what waits for it is told as it is by then.
 *  * Times are milliseconds of the caller's clock.
 *  * Nothing is delivered inside a call: `onReady` and `onChanges` come later, from `schedule`.
 */

import type { IpText } from '../../addr/ip.ts';
import type { Neighbour } from '../neighbour.ts';
import type { Agreed } from '../wire/agree.ts';
import type { Attributes } from '../wire/attributes.ts';
import type { NextHop, NlriOf } from '../wire/family.ts';
import type { FamilyName } from '../wire/family-names.ts';
import type { Notification } from '../wire/notification.ts';
import type { Open } from '../wire/open.ts';
import type { RouteRefresh } from '../wire/refresh.ts';
import type { Update } from '../wire/update.ts';

export type Nlri = NlriOf[FamilyName];

/** One way to a route. Attributes are shared by all paths that have the same, and never changed. */
export interface BgpPath {
  readonly family: FamilyName;
  readonly nlri: Nlri;
  readonly attributes: Attributes;
  readonly nextHop: NextHop;
  /** Name of the neighbour; undefined: ours. */
  readonly from?: string | undefined;
  /** Its peer is away and may come back (RFC 4724); `long`: for a long time (RFC 9494). */
  readonly stale?: 'short' | 'long' | undefined;
}

/** The best paths of a route have changed. */
export interface BestChange {
  readonly family: FamilyName;
  /** `nlriKey` without a path id. */
  readonly key: string;
  /** Best first, then those that are as good (multipath); empty: there is none any more. */
  readonly paths: readonly BgpPath[];
}

/** To send, in order. End-of-RIB and the marks of an enhanced refresh are among them. */
export type Outgoing =
  | { readonly kind: 'update'; readonly update: Update }
  | { readonly kind: 'route-refresh'; readonly refresh: RouteRefresh };

/** The session's view of a neighbour in the RIB. */
export interface RibPeer {
  readonly neighbour: Neighbour;
  /** Families of which it has said all, in this session (end-of-RIB). */
  readonly ended?: ReadonlySet<FamilyName>;
  /**
   * The session is up: from now on there is something to send. `peer`: its OPEN. `local`: our address of this
   * connection, which is what `self` means; without it `localAddress`, or our identifier.
   */
  up(agreed: Agreed, peer: Open, now: number, local?: IpText): void;
  /** An update that was read. Returns what the session must end with, if anything (too many routes). */
  take(update: Update): Notification | undefined;
  refresh(refresh: RouteRefresh): void;
  /** What RFC 7606 calls AFI/SAFI disable: its routes go, and until the session ends no more are heard or told. */
  disable(family: FamilyName): void;
  /** `graceful`: the peer's routes are kept, marked, until it is back and done, or until `tick` says it is late. */
  down(graceful: boolean, now: number): void;
  /**
   * The next message for the peer. Undefined: nothing before `onReady`. Peers that are told the same are given one
   * and the same Update, so its bytes may be kept with it (a weak map) and written once.
   */
  next(): Outgoing | undefined;
}

export interface RibOptions {
  /** Must call `run` later, not at once. */
  readonly schedule: (run: () => void) => void;
  /** There is something for the peer, that had nothing before. */
  readonly onReady: (peer: RibPeer) => void;
  readonly onChanges?: (changes: readonly BestChange[]) => void;
  /** Paths that are used side by side, at most; 1: none. Default 64. */
  readonly multipath?: number;
  /** MEDs count between paths of different neighbour ASes too. */
  readonly alwaysCompareMed?: boolean;
}

export interface BgpRib {
  /** Routes of ours: said once, replaced by being said again. */
  originate(path: Omit<BgpPath, 'from' | 'stale'>): void;
  withdraw(family: FamilyName, nlri: Nlri): void;
  /** Route targets that somebody here wants: one RT membership each to peers that speak `rtc`, and what is kept of them. */
  want(targets: ReadonlySet<string>): void;
  addPeer(neighbour: Neighbour): RibPeer;
  /** With all it has said. */
  removePeer(peer: RibPeer): void;
  /** The neighbour's policies are others now: routes are judged again (by route refresh where what was refused was not kept). */
  changePolicies(peer: RibPeer, neighbour: Neighbour): void;
  readonly due: number | undefined;
  tick(now: number): void;
  flush(): void;
  // --- what can be asked, in order of key
  routes(
    family: FamilyName,
  ): Iterable<{ readonly key: string; readonly paths: readonly BgpPath[]; readonly best: number }>;
  /** The row of the order by which `path` is behind `best`, of one route; undefined: it is used beside it. */
  lostBy(best: BgpPath, path: BgpPath): string | undefined;
  received(peer: RibPeer, family: FamilyName): Iterable<BgpPath>;
  advertised(peer: RibPeer, family: FamilyName): Iterable<BgpPath>;
  counts(
    peer: RibPeer,
  ): ReadonlyMap<
    FamilyName,
    { readonly received: number; readonly accepted: number; readonly advertised: number }
  >;
}
