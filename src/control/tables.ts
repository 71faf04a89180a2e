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
import { type Entry, isBroadcast, type Prefix, shownText, type TableChange } from './entry.ts';
import { type Instance, type InstanceSpec, Instances, type InstanceView } from './instances.ts';
import { comparePaths, comparePreference, type Path, type Said, sameSaid } from './path.ts';

/** What a peer hears. Calls come in flush() only. */
export interface PeerSink {
  /** Does not take more for now; says `resume` to the tables when it does again. */
  blocked(): boolean;
  change(change: TableChange): void;
  /** All that there is in this instance has been told; nothing, if it is not there yet. */
  complete(instance: Instance): void;
  /** The last call of a flush in which there was any; how many routes it took. */
  flushed(): number;
}

export interface PeerSpec {
  readonly name: string;
  /** Where it is, if it is anywhere. */
  readonly address?: string;
  readonly waits: boolean;
}

interface Table {
  readonly instance: Instance;
  readonly entries: Map<string, Entry>;
  /** Prefixes with paths that were said here, and how many. */
  readonly published: Map<Prefix, number>;
  readonly subscriptions: Map<Peer, Subscription>;
}

interface Subscription {
  readonly peer: Peer;
  readonly table: Table;
  readonly instanceId: number;
  /** False while its instance is not configured and its peer waits. */
  active: boolean;
  settled: boolean;
  /** What is still to be told of the table. */
  rest: Iterator<Entry> | undefined;
  /** What has changed while the peer was blocked, and what it had been told before. */
  readonly pending: Map<Prefix, Entry | undefined>;
}

export interface Peer {
  readonly spec: PeerSpec;
  readonly sink: PeerSink;
  /** By table, then by the path's slot. */
  readonly published: Map<Table, Map<string, Path>>;
  readonly subscriptions: Map<string, Subscription>;
  /** How many it has published. */
  paths: number;
  attached: boolean;
}

export interface TablesOptions {
  /** Called once when there is something to deliver; must call `run` later, not at once. */
  readonly schedule?: (run: () => void) => void;
  /** Of automatic route targets, `AS:8000001` on. Default 64512. */
  readonly autonomousSystem?: number;
}

/** A table up to this size is told in one change, which all who subscribe at once share. */
const SHARED_TABLE = 4096;
/** Of a larger one, so much before the sink is asked again. */
const SLICE = 1024;

type FamilyChanges = {
  -readonly [K in 'announced' | 'withdrawn' | 'retargeted']: TableChange[K][number][];
};

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
    const path: Path = {
      family: said.family,
      prefix: prefix.prefix,
      rd: said.rd,
      hops: said.hops,
      attributes: said.attributes,
      ...(said.infeasible !== undefined && { infeasible: said.infeasible }),
      ...(said.apart === true && { apart: true }),
      peer: peer.spec.name,
      address: peer.spec.address ?? '',
      instance: table.instance.name,
      originVn: said.attributes.originVn ?? table.instance.originVn,
      waits: peer.spec.waits,
      stale: false,
    };
    slots.set(slot, path);
    if (before === undefined) peer.paths++;
    this.#replace(table, prefix, before, path);
  }

  withdraw(peer: Peer, name: string, said: Pick<Said, 'family' | 'prefix' | 'rd' | 'apart'>): void {
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
    return (instance && this.#reach(prefix).get(instance)) ?? [];
  }

  tables(): {
    readonly instance: Instance;
    readonly entries: ReadonlyMap<string, Entry>;
    readonly paths: number;
    readonly subscribers: number;
  }[] {
    return [...this.#tables.values()]
      .sort((a, b) => byText(a.instance.name, b.instance.name))
      .map(({ instance, entries, published, subscriptions }) => ({
        instance,
        entries,
        paths: [...published.values()].reduce((sum, count) => sum + count, 0),
        subscribers: subscriptions.size,
      }));
  }

  // --- what changes reach ----------------------------------------------------------------------------

  #table(instance: Instance): Table {
    return getOrCreate(this.#tables, instance, () => ({
      instance,
      entries: new Map(),
      published: new Map(),
      subscriptions: new Map(),
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
  }

  #replace(table: Table, prefix: Prefix, before: Path | undefined, after: Path | undefined): void {
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

  // --- who has what ----------------------------------------------------------------------------------

  /**
   * Where a prefix is, and all its paths there, best first. Those that are equally good go together, from the
   * best down: what has reached an instance by then is better than what is said there now, which stays at home.
   */
  #reach(prefix: Prefix): Map<Instance, Path[]> {
    const reached = new Map<Instance, Path[]>();
    const paths = prefix.paths.filter((path) => !path.waits || this.#instanceOf(path).created);
    if (paths.length > 1) paths.sort(comparePaths);
    const all = isBroadcast(prefix);
    for (let from = 0; from < paths.length; ) {
      const first = paths[from] as Path;
      let to = from + 1;
      while (to < paths.length && (all || comparePreference(first, paths[to] as Path) === 0)) to++;
      const equal = paths.slice(from, to);
      const passedOn = equal.filter(
        (path) => path.infeasible === undefined && !reached.has(this.#instanceOf(path)),
      );
      for (const path of equal) push(reached, this.#instanceOf(path), path);
      for (const path of passedOn) this.#replicate(path, reached);
      from = to;
    }
    for (const found of reached.values()) if (found.length > 1) found.sort(comparePaths);
    return reached;
  }

  #instanceOf(path: Path): Instance {
    return this.#instances.named(path.instance);
  }

  #replicate(path: Path, reached: Map<Instance, Path[]>): void {
    const own = this.#instanceOf(path);
    const to = new Set<Instance>();
    for (const target of own.exports)
      for (const i of this.#instances.importersOf(target)) to.add(i);
    for (const target of ownTargets(path)) {
      for (const i of this.#instances.importersOf(target)) to.add(i);
    }
    to.delete(own);
    for (const instance of to) push(reached, instance, path);
  }

  /** What subscribers are told of a prefix in an instance: nothing if no path is feasible. */
  #entry(prefix: Prefix, instance: Instance, paths: readonly Path[]): Entry | undefined {
    const best = paths[0];
    if (best === undefined || best.infeasible !== undefined) return undefined;
    const used = paths.filter((path) =>
      isBroadcast(prefix) ? path.infeasible === undefined : comparePreference(best, path) === 0,
    );
    return { prefix, instance, paths: used, targets: this.#targetsText(used) };
  }

  #targetsText(paths: readonly Path[]): string {
    const targets = new Set<string>();
    for (const path of paths) {
      for (const target of this.#instanceOf(path).exports) targets.add(target);
      for (const target of ownTargets(path)) targets.add(target);
    }
    return [...targets].sort(byText).join(' ');
  }

  // --- delivery --------------------------------------------------------------------------------------

  /** Delivers what is waiting; returns how many routes it told. */
  flush(): number {
    if (this.#flushing) return 0;
    this.#flushing = true;
    try {
      const heard = new Set<Peer>();
      this.#tellChanges(heard);
      this.#settle(heard);
      return finish(heard);
    } finally {
      this.#flushing = false;
      if (this.#dirty.size + this.#unsettled.size > 0) this.#wake();
    }
  }

  #tellChanges(heard: Set<Peer>): void {
    for (const [table, changes] of this.#recompute()) {
      for (const subscription of table.subscriptions.values()) {
        if (!subscription.active) continue;
        const { peer } = subscription;
        if (!isBehind(subscription) && !peer.sink.blocked()) {
          heard.add(peer);
          for (const change of changes) peer.sink.change(change);
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
        () => ({
          announced: [],
          withdrawn: [],
          retargeted: [],
        }),
      );
    const entries: Entry[] = [];
    for (const [instance, paths] of this.#reach(prefix)) {
      const entry = this.#entry(prefix, instance, paths);
      if (entry === undefined) continue;
      const table = this.#table(instance);
      const before = table.entries.get(prefix.key);
      const change = before === undefined ? 'shown' : difference(before, entry);
      const kept = change === 'none' ? (before as Entry) : entry;
      entries.push(kept);
      table.entries.set(prefix.key, kept);
      if (change === 'shown') listsOf(table).announced.push({ entry, before });
      else if (change === 'targets') listsOf(table).retargeted.push(entry);
    }
    for (const entry of prefix.entries) {
      if (entries.some(({ instance }) => instance === entry.instance)) continue;
      const table = this.#table(entry.instance);
      table.entries.delete(prefix.key);
      listsOf(table).withdrawn.push(entry);
    }
    prefix.entries = entries;
    if (prefix.paths.length === 0) this.#prefixes.delete(prefix.key);
  }

  #settle(heard: Set<Peer>): void {
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
      if (first && !active) peer.sink.complete(table.instance);
      tellPending(subscription);
      if (subscription.rest !== undefined) tellRest(subscription, whole);
    }
  }
}

function slotOf(key: string, { apart, rd }: Pick<Said, 'apart' | 'rd'>): string {
  return apart === true ? `${key} ${rd}` : key;
}

function ownTargets({ attributes }: Path): readonly RouteTarget[] {
  return (attributes.routeTargets ?? []) as readonly RouteTarget[];
}

function meets(a: ReadonlySet<RouteTarget>, b: Iterable<RouteTarget>): boolean {
  for (const target of b) if (a.has(target)) return true;
  return false;
}

function push<K, V>(lists: Map<K, V[]>, key: K, value: V): void {
  const list = lists.get(key);
  if (list === undefined) lists.set(key, [value]);
  else list.push(value);
}

/** `silent`: other paths, the same to whoever is told. */
function difference(before: Entry, after: Entry): 'none' | 'silent' | 'targets' | 'shown' {
  const same =
    before.paths.length === after.paths.length &&
    before.paths.every((path, i) => path === after.paths[i]);
  if (!same && shownText(before) !== shownText(after)) return 'shown';
  if (before.targets !== after.targets) return 'targets';
  return same ? 'none' : 'silent';
}

const isBehind = ({ rest, pending }: Subscription): boolean =>
  rest !== undefined || pending.size > 0;

function keepFirst(
  pending: Subscription['pending'],
  prefix: Prefix,
  before: Entry | undefined,
): void {
  if (!pending.has(prefix)) pending.set(prefix, before);
}

function postpone({ pending }: Subscription, change: TableChange): void {
  for (const { entry, before } of change.announced) keepFirst(pending, entry.prefix, before);
  for (const entry of change.withdrawn) keepFirst(pending, entry.prefix, entry);
  for (const entry of change.retargeted) keepFirst(pending, entry.prefix, entry);
}

/** What has changed meanwhile, as it is now. */
function tellPending({ peer, table, pending, active }: Subscription): void {
  while (pending.size > 0 && !peer.sink.blocked()) {
    const families = new Map<RouteFamily, FamilyChanges>();
    let left = SLICE;
    for (const [prefix, before] of pending) {
      if (left-- === 0) break;
      pending.delete(prefix);
      const lists = getOrCreate(families, prefix.family, () => ({
        announced: [],
        withdrawn: [],
        retargeted: [],
      }));
      const entry = active ? table.entries.get(prefix.key) : undefined;
      if (entry !== undefined) lists.announced.push({ entry, before });
      else if (before !== undefined) lists.withdrawn.push(before);
    }
    for (const [family, lists] of families) {
      peer.sink.change({ instance: table.instance, family, ...lists });
    }
  }
}

/** The table itself, all of it at once if it is small, and then that this was all. */
function tellRest(subscription: Subscription, whole: Map<Table, TableChange[]>): void {
  const { peer, table } = subscription;
  if (table.entries.size <= SHARED_TABLE) {
    if (peer.sink.blocked()) return;
    const changes = getOrCreate(whole, table, () => {
      const entries = [...table.entries.values()];
      return announcing(
        table.instance,
        entries.sort((a, b) => byText(a.prefix.key, b.prefix.key)),
      );
    });
    for (const change of changes) peer.sink.change(change);
    subscription.rest = undefined;
  }
  while (subscription.rest !== undefined && !peer.sink.blocked()) {
    const slice: Entry[] = [];
    while (slice.length < SLICE) {
      const next = subscription.rest.next();
      if (next.done === true) {
        subscription.rest = undefined;
        break;
      }
      slice.push(next.value);
    }
    for (const change of announcing(table.instance, slice)) peer.sink.change(change);
  }
  if (subscription.rest === undefined) peer.sink.complete(table.instance);
}

function announcing(instance: Instance, entries: Iterable<Entry>): TableChange[] {
  const families = new Map<RouteFamily, { entry: Entry; before: undefined }[]>();
  for (const entry of entries) push(families, entry.prefix.family, { entry, before: undefined });
  return [...families].map(([family, announced]) => ({
    instance,
    family,
    announced,
    withdrawn: [],
    retargeted: [],
  }));
}

/** One sink's error does not keep the others' from what is theirs. */
function finish(heard: ReadonlySet<Peer>): number {
  let told = 0;
  const errors: unknown[] = [];
  for (const peer of heard) {
    if (!peer.attached) continue;
    try {
      told += peer.sink.flushed();
    } catch (error) {
      errors.push(error);
    }
  }
  if (errors.length > 0) throw errors[0];
  return told;
}
