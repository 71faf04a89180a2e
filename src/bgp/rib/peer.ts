/**
 * A neighbour in the RIB: what it says goes into its AdjIns, what it is told comes from its Members. Restarts are
 * here too: which families' paths stay when the session is lost (RFC 4724, RFC 8538), until when, and what
 * then (RFC 9494).
 *
 * Invariants
 *  * Members are there while the session is up, one for each family agreed on, and none otherwise.
 *  * `#until` has a time for each family with stale paths, and for no other.
 */
import type { IpText } from '../../addr/ip.ts';
import { LIMITS } from '../limits.ts';
import type { Neighbour, NeighbourFamily, Speaker } from '../neighbour.ts';
import type { Agreed } from '../wire/agree.ts';
import { FAMILY_NAMES, type FamilyName, isFamily } from '../wire/family-names.ts';
import type { Notification } from '../wire/notification.ts';
import type { Open } from '../wire/open.ts';
import type { RouteRefresh } from '../wire/refresh.ts';
import type { Update } from '../wire/update.ts';
import { AdjIn, type InContext } from './adj-in.ts';
import type { Nlri, Outgoing, RibPeer } from './contract.ts';
import type { Group, Slot } from './group.ts';
import { Member, type MemberPeer } from './member.ts';
import { Memberships } from './memberships.ts';
import { type Interner, idNumber } from './said.ts';
import { forEachPath, type Path, Source, type Table } from './table.ts';
import { selfOf, type ViewOptions, viewKey } from './view.ts';

/** What a peer needs of the RIB it is in. */
export interface PeerHome {
  readonly speaker: Speaker;
  readonly interner: Interner;
  table(family: FamilyName): Table;
  /** The group of peers with this view; each who asks lets it go again. */
  join(view: ViewOptions): Group;
  part(group: Group): void;
  /** There is something for the peer. */
  ready(peer: Peer): void;
}

/** Memberships first: other routes wait for the peer's, and its for ours. */
const IN_ORDER: readonly FamilyName[] = [
  'rtc',
  ...FAMILY_NAMES.filter((family) => family !== 'rtc'),
];
/** Families whose routes carry route targets. */
const CONSTRAINED: ReadonlySet<FamilyName> = new Set(['vpnv4', 'vpnv6', 'evpn']);
const DEFAULT_SEND_PATHS = 8;

export class Peer implements RibPeer, MemberPeer {
  neighbour: Neighbour;
  readonly #home: PeerHome;
  readonly #ins = new Map<FamilyName, AdjIn>();
  readonly #members = new Map<FamilyName, Member>();
  readonly #memberships = new Memberships();
  readonly #asks: RouteRefresh[] = [];
  readonly #contexts = new Map<FamilyName, InContext>();
  readonly #disabled = new Set<FamilyName>();
  /** When stale paths of a family are to go, or to be stale for long. */
  readonly #until = new Map<FamilyName, number>();
  /** What the peer that is away said of long-lived staleness, in seconds. */
  #longLived = new Map<FamilyName, number>();
  #agreed: Agreed | undefined;
  #peer: Open | undefined;
  #local: IpText;
  /** When VPN routes are told whatever memberships there are by then. */
  #membershipsUntil: number | undefined;
  #seenMemberships = 0;
  readonly ended = new Set<FamilyName>();
  /** `next` has said that there is nothing. */
  idle = true;

  constructor(home: PeerHome, neighbour: Neighbour) {
    this.#home = home;
    this.neighbour = neighbour;
    this.#local = neighbour.localAddress ?? home.speaker.id;
  }

  get enhancedRefresh(): boolean {
    return this.#agreed?.enhancedRefresh === true;
  }

  sourceOf(family: FamilyName): Source {
    return this.#in(family).source;
  }

  constraintOf(family: FamilyName): Memberships | undefined {
    return CONSTRAINED.has(family) && this.#members.has('rtc') ? this.#memberships : undefined;
  }

  wake(): void {
    if (this.idle) this.#home.ready(this);
  }

  // --- the session

  up(agreed: Agreed, peer: Open, now: number, local?: IpText): void {
    this.#agreed = agreed;
    this.#peer = peer;
    this.#local = local ?? this.neighbour.localAddress ?? this.#home.speaker.id;
    this.#disabled.clear();
    this.#contexts.clear();
    this.ended.clear();
    this.#asks.length = 0;
    this.#identify(idNumber(peer.id));
    for (const [family, into] of this.#ins) this.#receiveBack(family, into, now);
    if (agreed.send.families.has('rtc')) {
      // Who does not restart gracefully need not say where his memberships end (RFC 4724 §2).
      const ends = peer.capabilities.some(({ kind }) => kind === 'graceful-restart');
      const wait = ends ? LIMITS.membershipWaitMs : LIMITS.endlessMembershipWaitMs;
      this.#membershipsUntil = now + wait;
    }
    for (const family of IN_ORDER) {
      if (!agreed.send.families.has(family)) continue;
      const group = this.#home.join(this.#view(family, agreed));
      const member = new Member(group, this);
      this.#members.set(family, member);
      this.tryStart(family);
    }
    this.wake();
  }

  /** RFC 4724 §4.2: what its forwarding has not kept, or its session does not carry any more, goes at once. */
  #receiveBack(family: FamilyName, into: AdjIn, now: number): void {
    const { source } = into;
    if (source.stale === undefined) return;
    const agreed = this.#agreed as Agreed;
    const restart = agreed.gracefulRestart?.families ?? [];
    const longLived = agreed.longLivedRestart?.families ?? [];
    const kept = [...restart, ...longLived].some((each) => {
      return each.family === family && each.forwarding;
    });
    if (!agreed.receive.families.has(family) || !kept) {
      into.clear();
      this.#until.delete(family);
    } else if (source.stale === 'short') {
      this.#until.set(family, now + (this.neighbour.restartTime ?? 0) * 1000);
    }
  }

  /** Whose paths these are in the order and in reflection. */
  #identify(routerId: number): void {
    for (const { source } of this.#ins.values()) this.#name(source, routerId);
  }

  #name(source: Source, routerId: number): void {
    const external = this.#agreed?.receive.external ?? source.external;
    const client = this.neighbour.client && !external;
    const same =
      source.routerId === routerId && source.external === external && source.client === client;
    if (same) return;
    Object.assign(source, { routerId, external, client });
    for (const { view } of source.table.groups.values()) view.forget(source);
    forEachPath(source, ({ entry }) => {
      entry.touched = true;
      source.table.markDirty(entry);
    });
  }

  down(graceful: boolean, now: number): void {
    const agreed = this.#agreed;
    for (const member of this.#members.values()) this.#leave(member);
    this.#members.clear();
    this.#asks.length = 0;
    this.#membershipsUntil = undefined;
    this.#agreed = undefined;
    this.#contexts.clear();
    this.idle = true;
    if (agreed === undefined) return;
    const { restartTime, longLivedTime } = this.neighbour;
    const restart = restartTime === undefined ? undefined : agreed.gracefulRestart;
    this.#longLived = new Map();
    for (const { family, seconds } of agreed.longLivedRestart?.families ?? []) {
      if (longLivedTime === undefined || !isFamily(family)) continue;
      this.#longLived.set(family, Math.min(seconds, longLivedTime));
    }
    for (const [family, into] of this.#ins) {
      const listed = restart?.families.some((each) => each.family === family) === true;
      if (!graceful || !listed || this.#disabled.has(family)) {
        into.clear();
        this.#until.delete(family);
        continue;
      }
      into.becomeStale();
      const seconds = Math.min(restart?.seconds ?? 0, restartTime ?? 0);
      this.#until.set(family, now + seconds * 1000);
    }
    this.tick(now);
    this.#heed();
  }

  take(update: Update): Notification | undefined {
    if (this.#agreed === undefined) return undefined;
    for (const { family, nlri } of update.withdrawn) {
      if (!this.#disabled.has(family)) this.#in(family).withdraw(nlri as readonly Nlri[]);
    }
    for (const { family, nlri, nextHop } of update.announced) {
      if (this.#disabled.has(family)) continue;
      const context = this.#context(family, this.#agreed);
      const into = this.#in(family);
      const { attributes } = update;
      const wrong = into.announce(nlri as readonly Nlri[], attributes, nextHop, context);
      if (wrong !== undefined) return wrong;
    }
    if (update.endOfRib !== undefined) this.#endOfRib(update.endOfRib);
    this.#heed();
    return undefined;
  }

  #endOfRib(family: FamilyName): void {
    this.ended.add(family);
    const into = this.#ins.get(family);
    if (into?.source.stale !== undefined) {
      into.endStale();
      this.#until.delete(family);
    }
    if (family === 'rtc') this.#hearsAll();
  }

  refresh({ family, kind }: RouteRefresh): void {
    if (this.#agreed === undefined || !isFamily(family)) return;
    if (kind === 'request') this.#members.get(family)?.refresh();
    if (!this.#agreed.receive.families.has(family) || this.#disabled.has(family)) return;
    if (kind === 'begin') this.#in(family).beginRefresh();
    if (kind === 'end') this.#in(family).endRefresh();
    this.#heed();
  }

  disable(family: FamilyName): void {
    if (this.#agreed === undefined) return;
    this.#disabled.add(family);
    this.#ins.get(family)?.clear();
    this.#until.delete(family);
    const member = this.#members.get(family);
    if (member !== undefined) this.#leave(member);
    this.#members.delete(family);
    if (family === 'rtc') this.#hearsAll();
    this.#heed();
  }

  next(): Outgoing | undefined {
    const refresh = this.#asks.shift();
    if (refresh !== undefined) return { kind: 'route-refresh', refresh };
    let later = false;
    for (const member of this.#members.values()) {
      const told = member.next();
      if (told === 'later') later = true;
      else if (told !== undefined) return told;
    }
    this.idle = true;
    if (later) this.wake();
    return undefined;
  }

  // --- RT constraint

  /** VPN routes do not wait for memberships any more: the peer has said all, or had the time to. */
  #hearsAll(): void {
    this.#membershipsUntil = undefined;
    for (const family of this.#members.keys()) this.tryStart(family);
  }

  /** A group may be built more than once, and the peer may have waited for memberships longer than for that. */
  tryStart(family: FamilyName): void {
    const member = this.#members.get(family);
    if (member === undefined || !member.group.built) return;
    if (CONSTRAINED.has(family) && this.#membershipsUntil !== undefined) return;
    member.start();
  }

  /** What the peer wants has changed: what it is told is looked at again. */
  #heed(): void {
    const { version } = this.#memberships;
    if (version === this.#seenMemberships) return;
    this.#seenMemberships = version;
    for (const [family, member] of this.#members) if (CONSTRAINED.has(family)) member.walk();
  }

  // --- time

  get due(): number | undefined {
    const all = [...this.#until.values()];
    if (this.#membershipsUntil !== undefined) all.push(this.#membershipsUntil);
    return all.length === 0 ? undefined : Math.min(...all);
  }

  tick(now: number): void {
    if (this.#membershipsUntil !== undefined && now >= this.#membershipsUntil) this.#hearsAll();
    for (const [family, until] of [...this.#until]) {
      if (now < until) continue;
      const into = this.#in(family);
      const seconds = this.#longLived.get(family) ?? 0;
      const away = this.#agreed === undefined;
      if (away && into.source.stale === 'short' && seconds > 0) {
        into.becomeLongStale();
        this.#until.set(family, until + seconds * 1000);
        continue;
      }
      into.endStale();
      this.#until.delete(family);
    }
    this.#heed();
  }

  // --- configuration

  reconfigure(neighbour: Neighbour): void {
    this.neighbour = neighbour;
    this.#contexts.clear();
    const agreed = this.#agreed;
    for (const [family, into] of this.#ins) {
      this.#name(into.source, into.source.routerId);
      if (this.#peer === undefined) continue;
      into.judgeAgain(this.#context(family, agreed));
      if (agreed?.refresh === true && into.refused > 0 && agreed.receive.families.has(family)) {
        this.#asks.push({ family, kind: 'request' });
      }
    }
    if (agreed !== undefined) for (const family of this.#members.keys()) this.#regroup(family);
    this.#heed();
    if (this.#asks.length > 0) this.wake();
  }

  /** Into the group whose view is the peer's now; until that is worked out it is told by the old one. */
  #regroup(family: FamilyName): void {
    const view = this.#view(family, this.#agreed as Agreed);
    const group = this.#home.join(view);
    group.whenBuilt(() => {
      const old = this.#members.get(family);
      // Another change, or the session's end, has come in between.
      const late = old === undefined || !this.#wants(family, group);
      if (late || old.group === group) {
        this.#home.part(group);
        return;
      }
      const member = new Member(group, this);
      this.#members.set(family, member);
      member.takeOver(old);
      this.#home.part(old.group);
      this.tryStart(family);
    });
  }

  #wants(family: FamilyName, group: Group): boolean {
    const agreed = this.#agreed;
    return agreed !== undefined && viewKey(this.#view(family, agreed)) === group.key;
  }

  remove(): void {
    this.down(false, 0);
    for (const into of this.#ins.values()) into.clear();
    this.#until.clear();
  }

  #leave(member: Member): void {
    member.leave();
    this.#home.part(member.group);
  }

  #in(family: FamilyName): AdjIn {
    const known = this.#ins.get(family);
    if (known !== undefined) return known;
    const { name, address } = this.neighbour;
    const source = new Source(this.#home.table(family), name, address);
    if (family === 'rtc') source.memberships = this.#memberships;
    const into = new AdjIn(source, this.#home.interner);
    this.#ins.set(family, into);
    this.#name(source, this.#peer === undefined ? 0 : idNumber(this.#peer.id));
    return into;
  }

  #familyOf(family: FamilyName): NeighbourFamily | undefined {
    return this.neighbour.families.find((each) => each.family === family);
  }

  /** Made once for a session and configuration: some send an update a route. */
  #context(family: FamilyName, agreed: Agreed | undefined): InContext {
    const known = this.#contexts.get(family);
    if (known !== undefined) return known;
    const context = this.#newContext(family, agreed);
    this.#contexts.set(family, context);
    return context;
  }

  #newContext(family: FamilyName, agreed: Agreed | undefined): InContext {
    const { speaker } = this.#home;
    const { as, id, clusterId = id } = speaker;
    const { allowAsIn, localAddress } = this.neighbour;
    const ours = [id, this.#local, ...(localAddress === undefined ? [] : [localAddress])];
    return {
      ...{ as, id, clusterId, allowAsIn, ours: new Set(ours) },
      external: this.sourceOf(family).external,
      peerAs: this.#peer?.as ?? 0,
      policy: this.neighbour.import,
      maxRoutes: this.#familyOf(family)?.maxRoutes,
      canAsk: agreed?.refresh === true,
    };
  }

  #view(family: FamilyName, { send, extendedNextHop, longLivedRestart }: Agreed): ViewOptions {
    const { as, id, clusterId = id } = this.#home.speaker;
    const { client, nextHop, export: policy } = this.neighbour;
    const { external } = send;
    const configured = this.#familyOf(family);
    return {
      ...{ family, as, id, clusterId, external, policy },
      client: client && !external,
      self: selfOf(family, external, nextHop, this.#local),
      extendedNextHop: extendedNextHop.has(family),
      longLived: longLivedRestart !== undefined,
      sendPaths: send.addPath.has(family) ? (configured?.sendPaths ?? DEFAULT_SEND_PATHS) : 0,
      defaultRoute: family === 'rtc' && configured?.defaultRoute === true,
      peerAs: family === 'rtc' && external ? (this.#peer?.as ?? 0) : 0,
    };
  }

  // --- what can be asked

  received(family: FamilyName): Path[] {
    const paths: Path[] = [];
    const into = this.#ins.get(family);
    if (into !== undefined) forEachPath(into.source, (path) => paths.push(path));
    return paths;
  }

  advertised(family: FamilyName): Iterable<Slot> {
    return this.#members.get(family)?.advertised() ?? [];
  }

  counts(): Map<FamilyName, { received: number; accepted: number; advertised: number }> {
    const counts = new Map<
      FamilyName,
      { received: number; accepted: number; advertised: number }
    >();
    for (const family of FAMILY_NAMES) {
      const [into, member] = [this.#ins.get(family), this.#members.get(family)];
      if (into === undefined && member === undefined) continue;
      const { received = 0, source } = into ?? {};
      counts.set(family, {
        received,
        accepted: source?.count ?? 0,
        advertised: member?.told ?? 0,
      });
    }
    return counts;
  }
}
