/**
 * The RIB: a table a family, peers that say and are told, routes of our own. What is said marks entries; `flush`, or
 * a slice of it at a time from `schedule`, puts their paths in order, tells who wants to know of best paths, and lets
 * every group work out what its peers are told.
 * Invariant: with nothing left to flush, tables, groups and members are a function of what has been said.
 */
import { parseRouteTarget } from '../../addr/route-target.ts';
import { LIMITS } from '../limits.ts';
import type { Neighbour, Speaker } from '../neighbour.ts';
import { hexOf } from '../wire/bytes.ts';
import type { FamilyName } from '../wire/family-names.ts';
import type { RtcNlri } from '../wire/nlri.ts';
import { lostBy, type OrderOptions, order } from './best-path.ts';
import type { BestChange, BgpPath, BgpRib, Nlri, RibOptions, RibPeer } from './contract.ts';
import { Group } from './group.ts';
import { Peer, type PeerHome } from './peer.ts';
import { Interner } from './said.ts';
import { type Entry, type Path, pathsOf, Source, Table } from './table.ts';
import { View, type ViewOptions, viewKey } from './view.ts';

const DEFAULT_MULTIPATH = 64;
const WHOLE_TARGET = 96;

export function createRib(speaker: Speaker, options: RibOptions): Rib {
  return new Rib(speaker, options);
}

export class Rib implements BgpRib, PeerHome {
  readonly speaker: Speaker;
  readonly interner = new Interner();
  readonly #options: RibOptions;
  readonly #order: OrderOptions;
  readonly #tables = new Map<FamilyName, Table>();
  readonly #ours = new Map<FamilyName, Source>();
  readonly #peers = new Set<Peer>();
  readonly #building = new Set<Group>();
  #ready = new Set<Peer>();
  #wanted: ReadonlySet<string> = new Set();
  #scheduled = false;

  constructor(speaker: Speaker, options: RibOptions) {
    this.speaker = speaker;
    this.#options = options;
    this.#order = {
      multipath: Math.max(1, options.multipath ?? DEFAULT_MULTIPATH),
      alwaysCompareMed: options.alwaysCompareMed ?? false,
    };
  }

  // --- what is said

  originate(path: Omit<BgpPath, 'from' | 'stale'>): void {
    const source = this.#source(path.family);
    const said = this.interner.find(path.attributes, path.nextHop);
    source.table.put(source, path.nlri, said, said);
  }

  withdraw(family: FamilyName, nlri: Nlri): void {
    const source = this.#source(family);
    const path = source.table.find(source, nlri);
    if (path !== undefined) source.table.drop(path);
  }

  want(targets: ReadonlySet<string>): void {
    for (const target of this.#wanted) {
      if (!targets.has(target)) this.withdraw('rtc', this.#membership(target));
    }
    for (const target of targets) {
      if (!this.#wanted.has(target)) this.#originateMembership(this.#membership(target));
    }
    this.#wanted = new Set(targets);
  }

  #membership(target: string): RtcNlri {
    const bytes = hexOf(parseRouteTarget(target));
    return { bits: WHOLE_TARGET, originAs: this.speaker.as, target: bytes };
  }

  #originateMembership(nlri: RtcNlri): void {
    const nextHop = { address: this.speaker.id };
    this.originate({ family: 'rtc', nlri, attributes: { origin: 'igp', asPath: [] }, nextHop });
  }

  /** There as long as some peer is to be told it. */
  #settleDefault(): void {
    const nlri: RtcNlri = { bits: 0, originAs: 0, target: '00'.repeat(8) };
    const asked = [...this.#peers].some(({ neighbour }) => {
      return neighbour.families.some((each) => each.defaultRoute === true);
    });
    if (asked) this.#originateMembership(nlri);
    else this.withdraw('rtc', nlri);
  }

  addPeer(neighbour: Neighbour): Peer {
    const peer = new Peer(this, neighbour);
    this.#peers.add(peer);
    this.#settleDefault();
    return peer;
  }

  removePeer(peer: RibPeer): void {
    const mine = this.#mine(peer);
    mine.remove();
    this.#peers.delete(mine);
    this.#ready.delete(mine);
    this.#settleDefault();
  }

  changePolicies(peer: RibPeer, neighbour: Neighbour): void {
    const mine = this.#mine(peer);
    mine.reconfigure(neighbour);
    this.#settleDefault();
  }

  get due(): number | undefined {
    let due: number | undefined;
    for (const peer of this.#peers) {
      if (peer.due !== undefined && (due === undefined || peer.due < due)) due = peer.due;
    }
    return due;
  }

  tick(now: number): void {
    for (const peer of this.#peers) peer.tick(now);
  }

  // --- PeerHome

  table(family: FamilyName): Table {
    let table = this.#tables.get(family);
    if (table === undefined) {
      table = new Table(family, this.interner, () => this.#schedule());
      this.#tables.set(family, table);
    }
    return table;
  }

  join(options: ViewOptions): Group {
    const table = this.table(options.family);
    const key = viewKey(options);
    let group = table.groups.get(key);
    if (group === undefined) {
      group = new Group(key, table, new View(options, this.interner), this.interner);
      table.groups.set(key, group);
      this.#building.add(group);
      this.#schedule();
    }
    if (group.welcome()) {
      this.#building.add(group);
      this.#schedule();
    }
    return group;
  }

  part(group: Group): void {
    if (--group.users > 0) return;
    group.table.groups.delete(group.key);
    this.#building.delete(group);
    group.close();
  }

  ready(peer: Peer): void {
    this.#ready.add(peer);
    this.#schedule();
  }

  // --- from said to told

  flush(): void {
    while (this.#slice(Number.POSITIVE_INFINITY)) {
      // Who hears of best paths may say something at once.
    }
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#options.schedule(() => {
      this.#scheduled = false;
      if (this.#slice(LIMITS.routesInSlice)) this.#schedule();
    });
  }

  /** Returns whether there is more. */
  #slice(limit: number): boolean {
    const changes: BestChange[] = [];
    let left = limit;
    let more = false;
    for (const table of this.#tables.values()) {
      const { dirty } = table;
      if (dirty.length === 0) continue;
      const now = dirty.length <= left ? dirty : dirty.slice(0, left);
      table.dirty = dirty.length <= left ? [] : dirty.slice(left);
      for (const entry of now) this.#settle(table, entry, changes);
      left -= now.length;
      if (table.dirty.length > 0) more = true;
    }
    for (const group of this.#building) {
      group.build(limit);
      if (group.built) this.#building.delete(group);
      else more = true;
    }
    for (const { groups } of this.#tables.values())
      for (const group of groups.values()) group.stir();
    if (changes.length > 0) this.#options.onChanges?.(changes);
    const ready = this.#ready;
    this.#ready = new Set();
    for (const peer of ready) {
      if (!peer.idle || !this.#peers.has(peer)) continue;
      peer.idle = false;
      this.#options.onReady(peer);
    }
    return (
      more || this.#building.size > 0 || [...this.#tables.values()].some((t) => t.dirty.length > 0)
    );
  }

  #settle(table: Table, entry: Entry, changes: BestChange[]): void {
    entry.dirty = false;
    const changed = this.#putInOrder(entry);
    if (changed && this.#options.onChanges !== undefined) {
      const paths = pathsOf(entry).slice(0, entry.used);
      changes.push({ family: table.family, key: entry.key, paths });
    }
    for (const group of table.groups.values()) group.settle(entry);
    table.tidy(entry);
  }

  /** Returns whether those that are used are others than before. */
  #putInOrder(entry: Entry): boolean {
    const { paths, used, touched } = entry;
    entry.touched = false;
    if (!Array.isArray(paths)) {
      entry.used = paths === undefined ? 0 : 1;
      return touched || entry.used !== used;
    }
    const before = touched ? [] : paths.slice(0, used);
    entry.used = order(paths, this.#order);
    return touched || entry.used !== used || before.some((path, at) => path !== paths[at]);
  }

  #source(family: FamilyName): Source {
    let source = this.#ours.get(family);
    if (source === undefined) {
      source = new Source(this.table(family), undefined, '0.0.0.0');
      this.#ours.set(family, source);
    }
    return source;
  }

  #mine(peer: RibPeer): Peer {
    if (!(peer instanceof Peer) || !this.#peers.has(peer)) throw new RangeError('no peer of ours');
    return peer;
  }

  // --- what can be asked

  *routes(family: FamilyName): Iterable<{
    readonly key: string;
    readonly paths: readonly BgpPath[];
    readonly best: number;
  }> {
    const entries = this.#tables.get(family)?.entries ?? new Map<string, Entry>();
    for (const key of [...entries.keys()].sort()) {
      const entry = entries.get(key);
      if (entry?.paths === undefined) continue;
      yield { key, paths: [...pathsOf(entry)], best: entry.used };
    }
  }

  lostBy(best: BgpPath, path: BgpPath): string | undefined {
    return lostBy(best, path, this.#order);
  }

  received(peer: RibPeer, family: FamilyName): Iterable<BgpPath> {
    return this.#mine(peer).received(family).sort(byKey);
  }

  advertised(peer: RibPeer, family: FamilyName): Iterable<BgpPath> {
    const slots = [...this.#mine(peer).advertised(family)].sort(
      (a, b) => byText(a.entry.key, b.entry.key) || a.id - b.id,
    );
    return slots.flatMap((slot) => {
      if (slot.out === undefined) return [];
      const { attributes, nextHop } = slot.out;
      return [{ family, nlri: slot.nlri, attributes, nextHop, from: slot.source.from }];
    });
  }

  counts(peer: RibPeer): ReturnType<BgpRib['counts']> {
    return this.#mine(peer).counts();
  }

  /** What is held, of which nothing is left when nobody says anything: for tests and figures. */
  get held(): { readonly said: number; readonly entries: number; readonly slots: number } {
    let [entries, slots] = [0, 0];
    for (const table of this.#tables.values()) {
      entries += table.entries.size;
      for (const group of table.groups.values()) slots += group.size;
    }
    return { said: this.interner.size, entries, slots };
  }
}

const byText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

function byKey(a: Path, b: Path): number {
  return byText(a.entry.key, b.entry.key) || (a.pathId ?? 0) - (b.pathId ?? 0);
}
