/**
 * RouteTables: the control node's core. Peers attach by name, publish paths into instances and subscribe to
 * instances; a path is in its own instance and, while it is among the best there, in every instance that
 * imports one of its targets. Who a peer is (an agent over XMPP, one in this process) is its sink's business.
 *
 * Invariants
 *  * After a flush what an instance's subscribers have been told is a function of what is published and of
 *    the instances' targets, not of the order of calls.
 *  * Nothing is delivered inside a call: calls mark what is dirty, flush() computes and delivers. It is never
 *    re-entered: what sinks cause waits for the next.
 *  * A peer's own paths come back to it (the ancestor's echo).
 *  * A change is one object for all subscribers that take it at once, so that its text is made once.
 *  * What waits for a sink that is blocked is keys, not texts: at most a table, told as it is by then.
 * A peer that `waits` neither publishes nor hears in an instance that is not configured; both are kept.
 *
 * Paths are replicated from the instance they were said in and from nowhere else, so there are no loops. One
 * that has lost in its own instance, to one taken in, is not passed on, as in the ancestor: `reach`.
 */
import type { RouteTarget } from '../addr/route-target.ts';
import { VRouterError } from '../errors.ts';
import { byText } from '../rib/best-path.ts';
import { getOrCreate } from '../rib/map-entry.ts';
import type { RouteFamily } from '../rib/route.ts';
import type { Entry, Prefix, TableChange } from './entry.ts';
import { type Instance, type InstanceSpec, Instances, type InstanceView } from './instances.ts';
import { type Path, pathOf, type Said, type SaidKey, sameSaid, slotOf } from './path.ts';
import { difference, entryOf, ownTargets, reach } from './reach.ts';
import {
  attempt,
  type FamilyChanges,
  finish,
  isBehind,
  keepFirst,
  noChanges,
  type Peer,
  type PeerSink,
  type PeerSpec,
  postpone,
  type Subscription,
  type Table,
  tellPending,
  tellRest,
  type Watcher,
} from './telling.ts';

export type { Peer, PeerSink, PeerSpec, Watcher } from './telling.ts';

export interface TablesOptions {
  /** Called once when there is something to deliver; must call `run` later, not at once. */
  readonly schedule?: (run: () => void) => void;
  /** Of automatic route targets, `AS:8000001` on. Default 64512. */
  readonly autonomousSystem?: number;
}

export class RouteTables {
  readonly #schedule: TablesOptions['schedule'];
  readonly #instances: Instances;
  readonly #tables = new Map<Instance, Table>();
  readonly #peers = new Map<string, Peer>();
  readonly #prefixes = new Map<string, Prefix>();
  /** Paths that carry targets of their own. */
  readonly #targeted = new Set<Path>();
  #dirty = new Set<Prefix>();
  /** Subscriptions that are new, or whose instance came or went, or that have something to be told. */
  #unsettled = new Set<Subscription>();
  #scheduled = false;
  #flushing = false;
  #watcher: Watcher | undefined;
  #wantsChanged = false;

  constructor(options: TablesOptions = {}) {
    this.#schedule = options.schedule;
    this.#instances = new Instances(options.autonomousSystem ?? 64512, {
      created: (instance) => this.#created(instance),
      exports: (instance) => this.#exportsChanged(instance),
      imports: (_instance, targets) => this.#importsChanged(targets),
    });
  }

  createInstance(spec: InstanceSpec): void {
    this.#instances.create(spec);
  }

  /** Replaces the targets of an instance. */
  updateInstance(spec: InstanceSpec): void {
    this.#instances.update(spec);
  }

  /** What is published in it and who subscribes stays as it is, and counts for peers that do not wait. */
  deleteInstance(name: string): void {
    this.#tidy(this.#table(this.#instances.delete(name)));
  }

  connect(a: string, b: string): void {
    this.#instances.connect(a, b);
  }

  disconnect(a: string, b: string): void {
    this.#instances.disconnect(a, b);
  }

  instances(): InstanceView[] {
    return this.#instances.view();
  }

  /** It is told of everything that there is, too. */
  watch(watcher: Watcher): void {
    this.#watcher = watcher;
    this.#wantsChanged = true;
    for (const prefix of this.#prefixes.values()) this.#dirty.add(prefix);
    this.#wake();
  }

  // --- peers ---------------------------------------------------------------------------------------

  attach(spec: PeerSpec, sink: PeerSink): Peer {
    if (this.#peers.has(spec.name)) {
      throw new VRouterError('CONFLICT', `'${spec.name}' is attached already`);
    }
    const peer = {
      spec,
      sink,
      published: new Map(),
      subscriptions: new Map(),
      paths: 0,
      attached: true,
    };
    this.#peers.set(spec.name, peer);
    return peer;
  }

  /** With everything it has said. */
  detach(peer: Peer): void {
    if (!peer.attached) return;
    peer.attached = false;
    this.#peers.delete(peer.spec.name);
    for (const { table } of [...peer.subscriptions.values()])
      this.unsubscribe(peer, table.instance.name);
    for (const table of [...peer.published.keys()]) this.withdrawAll(peer, table.instance.name);
  }

  subscribe(peer: Peer, name: string, instanceId: number): void {
    const table = this.#table(this.#instances.named(name));
    if (table.subscriptions.has(peer)) {
      throw new VRouterError('CONFLICT', `'${peer.spec.name}' is subscribed to '${name}' already`);
    }
    const subscription: Subscription = {
      peer,
      table,
      instanceId,
      active: false,
      settled: false,
      rest: undefined,
      pending: new Map(),
    };
    table.subscriptions.set(peer, subscription);
    peer.subscriptions.set(name, subscription);
    this.#unsettle(subscription);
  }

  /** It hears no more of the instance; what it has published there stays. */
  unsubscribe(peer: Peer, name: string): void {
    const subscription = peer.subscriptions.get(name);
    if (subscription === undefined) return;
    peer.subscriptions.delete(name);
    subscription.table.subscriptions.delete(peer);
    this.#unsettled.delete(subscription);
    this.#tidy(subscription.table);
  }

  publish(peer: Peer, name: string, said: Said): void {
    const table = this.#table(this.#instances.named(name));
    const key = `${said.family} ${said.prefix}`;
    const prefix = getOrCreate(this.#prefixes, key, () => ({
      key,
      family: said.family,
      prefix: said.prefix,
      paths: [],
      entries: [],
    }));
    const slots = getOrCreate(peer.published, table, () => new Map<string, Path>());
    const slot = slotOf(prefix.key, said);
    const before = slots.get(slot);
    if (before !== undefined && !before.stale && sameSaid(before, said)) return;
    const path = pathOf(said, prefix.prefix, peer.spec, table.instance);
    slots.set(slot, path);
    if (before === undefined) peer.paths++;
    this.#replace(table, prefix, before, path);
  }

  withdraw(peer: Peer, name: string, said: SaidKey): void {
    const table = this.#findTable(name);
    const key = `${said.family} ${said.prefix}`;
    const slots = table && peer.published.get(table);
    if (table === undefined || slots === undefined) return;
    this.#forget(peer, table, slots, slotOf(key, said));
  }

  /** Everything that the peer has published in the instance, or what of it is stale. */
  withdrawAll(peer: Peer, name: string, which: 'all' | 'stale' = 'all'): number {
    const table = this.#findTable(name);
    const slots = table && peer.published.get(table);
    if (table === undefined || slots === undefined) return 0;
    const gone = [...slots].filter(([, path]) => which === 'all' || path.stale);
    for (const [slot] of gone) this.#forget(peer, table, slots, slot);
    return gone.length;
  }

  /** The peer is away: what it has said stays in use until it is said again or swept. */
  markStale(peer: Peer): void {
    for (const [table, slots] of peer.published) {
      for (const [slot, path] of slots) {
        if (path.stale) continue;
        const stale = { ...path, stale: true };
        slots.set(slot, stale);
        this.#replace(table, this.#prefixOf(path), path, stale);
      }
    }
  }

  /** A sink that was blocked takes more. */
  resume(peer: Peer): void {
    for (const subscription of peer.subscriptions.values()) {
      if (isBehind(subscription)) this.#unsettle(subscription);
    }
  }

  publishedIn(peer: Peer): { readonly instance: string; readonly paths: number }[] {
    return [...peer.published].map(([{ instance }, slots]) => ({
      instance: instance.name,
      paths: slots.size,
    }));
  }

  /** What each peer has said in each instance. */
  *said(): Generator<readonly [Instance, Iterable<Path>]> {
    for (const { published } of this.#peers.values()) {
      for (const [{ instance }, slots] of published) yield [instance, slots.values()];
    }
  }

  // --- what can be asked -----------------------------------------------------------------------------

  /** What subscribers of an instance have been told, in order of prefix text. */
  entries(name: string): Entry[] {
    const entries = this.#findTable(name)?.entries;
    if (entries === undefined) return [];
    return [...entries.keys()].sort(byText).map((key) => entries.get(key) as Entry);
  }

  /** What there is in an instance, told or not, in order of prefix text. */
  prefixes(
    name: string,
  ): { readonly prefix: Prefix; readonly entry: Entry | undefined }[] | undefined {
    const table = this.#findTable(name);
    if (table === undefined) return undefined;
    const all = new Set(table.published.keys());
    for (const { prefix } of table.entries.values()) all.add(prefix);
    return [...all]
      .sort((a, b) => byText(a.key, b.key))
      .map((prefix) => ({ prefix, entry: table.entries.get(prefix.key) }));
  }

  /** All paths of a prefix in an instance, used or not, best first. Those of an instance that waits are none. */
  paths(prefix: Prefix, name: string): readonly Path[] {
    const instance = this.#instances.find(name);
    return (instance && reach(prefix, this.#instances).reached.get(instance)) ?? [];
  }

  tables(): {
    readonly instance: Instance;
    readonly entries: ReadonlyMap<string, Entry>;
    readonly paths: number;
    readonly subscribers: number;
    readonly changes: number;
  }[] {
    return [...this.#tables.values()]
      .sort((a, b) => byText(a.instance.name, b.instance.name))
      .map(({ instance, entries, published, subscriptions, changes }) => ({
        instance,
        entries,
        paths: [...published.values()].reduce((sum, count) => sum + count, 0),
        subscribers: subscriptions.size,
        changes,
      }));
  }

  // --- what changes reach ----------------------------------------------------------------------------

  #table(instance: Instance): Table {
    return getOrCreate(this.#tables, instance, () => ({
      instance,
      entries: new Map(),
      published: new Map(),
      subscriptions: new Map(),
      changes: 0,
    }));
  }

  #findTable(name: string): Table | undefined {
    const instance = this.#instances.find(name);
    return instance && this.#tables.get(instance);
  }

  /** An instance that was only named is forgotten with the last that had to do with it. */
  #tidy(table: Table): void {
    const { instance, entries, published, subscriptions } = table;
    if (instance.created || entries.size + published.size + subscriptions.size > 0) return;
    this.#tables.delete(instance);
    this.#instances.forget(instance);
  }

  #prefixOf({ family, prefix }: Path): Prefix {
    return this.#prefixes.get(`${family} ${prefix}`) as Prefix;
  }

  #forget(peer: Peer, table: Table, slots: Map<string, Path>, slot: string): void {
    const path = slots.get(slot);
    if (path === undefined) return;
    slots.delete(slot);
    peer.paths--;
    if (slots.size === 0) peer.published.delete(table);
    this.#replace(table, this.#prefixOf(path), path, undefined);
    this.#tidy(table);
  }

  #replace(table: Table, prefix: Prefix, before: Path | undefined, after: Path | undefined): void {
    table.changes++;
    const kept = before === undefined ? prefix.paths : prefix.paths.filter((p) => p !== before);
    prefix.paths = after === undefined ? kept : [...kept, after];
    if (before !== undefined) this.#targeted.delete(before);
    if (after?.attributes.routeTargets !== undefined) this.#targeted.add(after);
    const count =
      (table.published.get(prefix) ?? 0) +
      Number(after !== undefined) -
      Number(before !== undefined);
    if (count === 0) table.published.delete(prefix);
    else table.published.set(prefix, count);
    this.#markDirty(prefix);
  }

  #created(instance: Instance): void {
    const table = this.#table(instance);
    for (const prefix of table.published.keys()) this.#markDirty(prefix);
    for (const subscription of table.subscriptions.values()) this.#unsettle(subscription);
  }

  #exportsChanged(instance: Instance): void {
    for (const prefix of this.#table(instance).published.keys()) this.#markDirty(prefix);
  }

  #importsChanged(targets: ReadonlySet<RouteTarget>): void {
    if (this.#watcher !== undefined) {
      this.#wantsChanged = true;
      this.#wake();
    }
    for (const { instance, published } of this.#tables.values()) {
      if (published.size === 0 || !meets(targets, instance.exports)) continue;
      for (const prefix of published.keys()) this.#markDirty(prefix);
    }
    for (const path of this.#targeted) {
      if (meets(targets, ownTargets(path))) this.#markDirty(this.#prefixOf(path));
    }
  }

  #markDirty(prefix: Prefix): void {
    this.#dirty.add(prefix);
    this.#wake();
  }

  #unsettle(subscription: Subscription): void {
    this.#unsettled.add(subscription);
    this.#wake();
  }

  #wake(): void {
    if (this.#flushing || this.#scheduled || this.#schedule === undefined) return;
    this.#scheduled = true;
    this.#schedule(() => {
      this.#scheduled = false;
      this.flush();
    });
  }

  // --- delivery --------------------------------------------------------------------------------------

  /** Delivers what is waiting; returns how many routes it told. */
  flush(): number {
    if (this.#flushing) return 0;
    this.#flushing = true;
    try {
      const heard = new Set<Peer>();
      const errors: unknown[] = [];
      this.#tellChanges(heard, errors);
      this.#settle(heard, errors);
      if (this.#wantsChanged) {
        this.#wantsChanged = false;
        attempt(errors, () => this.#watcher?.wanted(new Set(this.#instances.imported())));
      }
      return finish(heard, errors);
    } finally {
      this.#flushing = false;
      if (this.#dirty.size + this.#unsettled.size > 0) this.#wake();
    }
  }

  #tellChanges(heard: Set<Peer>, errors: unknown[]): void {
    for (const [table, changes] of this.#recompute()) {
      for (const subscription of table.subscriptions.values()) {
        if (!subscription.active) continue;
        const { peer } = subscription;
        if (!isBehind(subscription) && !peer.sink.blocked()) {
          heard.add(peer);
          attempt(errors, () => {
            for (const change of changes) peer.sink.change(change);
          });
          continue;
        }
        for (const change of changes) postpone(subscription, change);
      }
    }
  }

  #recompute(): Map<Table, TableChange[]> {
    const dirty = this.#dirty;
    this.#dirty = new Set();
    const changes = new Map<Table, Map<RouteFamily, FamilyChanges>>();
    for (const prefix of dirty) this.#recomputePrefix(prefix, changes);
    const result = new Map<Table, TableChange[]>();
    for (const [table, families] of changes) {
      const { instance } = table;
      result.set(
        table,
        [...families].map(([family, lists]) => ({ instance, family, ...lists })),
      );
      this.#tidy(table);
    }
    return result;
  }

  #recomputePrefix(prefix: Prefix, changes: Map<Table, Map<RouteFamily, FamilyChanges>>): void {
    const listsOf = (table: Table): FamilyChanges =>
      getOrCreate(
        getOrCreate(changes, table, () => new Map()),
        prefix.family,
        noChanges,
      );
    const entries: Entry[] = [];
    const { reached, passedOn } = reach(prefix, this.#instances);
    this.#watcher?.passedOn(
      prefix,
      passedOn
        .filter(({ learned }) => learned === undefined)
        .map((path) => ({ path, exports: this.#instances.named(path.instance).exports })),
    );
    for (const [instance, paths] of reached) {
      const entry = entryOf(prefix, instance, paths, this.#instances);
      if (entry === undefined) continue;
      const table = this.#table(instance);
      const before = table.entries.get(prefix.key);
      const change = before === undefined ? 'shown' : difference(before, entry);
      const kept = change === 'none' ? (before as Entry) : entry;
      entries.push(kept);
      if (kept !== before) table.changes++;
      table.entries.set(prefix.key, kept);
      if (change === 'shown') listsOf(table).announced.push({ entry, before });
      else if (change === 'targets') listsOf(table).retargeted.push(entry);
    }
    for (const entry of prefix.entries) {
      if (entries.some(({ instance }) => instance === entry.instance)) continue;
      const table = this.#table(entry.instance);
      table.entries.delete(prefix.key);
      table.changes++;
      listsOf(table).withdrawn.push(entry);
    }
    prefix.entries = entries;
    if (prefix.paths.length === 0) this.#prefixes.delete(prefix.key);
  }

  #settle(heard: Set<Peer>, errors: unknown[]): void {
    const unsettled = this.#unsettled;
    this.#unsettled = new Set();
    const whole = new Map<Table, TableChange[]>();
    for (const subscription of unsettled) {
      const { peer, table } = subscription;
      const active = table.instance.created || !peer.spec.waits;
      if (active && !subscription.active) subscription.rest = table.entries.values();
      if (!active && subscription.active) {
        subscription.rest = undefined;
        for (const entry of table.entries.values())
          keepFirst(subscription.pending, entry.prefix, entry);
      }
      subscription.active = active;
      const first = !subscription.settled;
      subscription.settled = true;
      if (!isBehind(subscription) && !first) continue;
      heard.add(peer);
      attempt(errors, () => {
        if (first && !active) peer.sink.complete(table.instance);
        tellPending(subscription);
        if (subscription.rest !== undefined) tellRest(subscription, whole);
      });
    }
  }
}

function meets(a: ReadonlySet<RouteTarget>, b: Iterable<RouteTarget>): boolean {
  for (const target of b) if (a.has(target)) return true;
  return false;
}
