/**
 * How peers are told: those that keep up are given changes, the same object all; for those that do not, what has
 * changed is kept by key, with what they had been told before, and told as it is once they take more. A table is told
 * to a new subscriber in the same way, in slices if it is large.
 */
import type { RouteTarget } from '../addr/route-target.ts';
import { byText } from '../rib/best-path.ts';
import { getOrCreate } from '../rib/map-entry.ts';
import type { RouteFamily } from '../rib/route.ts';
import type { Entry, Prefix, TableChange } from './entry.ts';
import type { Instance } from './instances.ts';
import type { Path } from './path.ts';

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

export interface Table {
  readonly instance: Instance;
  readonly entries: Map<string, Entry>;
  /** Prefixes with paths that were said here, and how many. */
  readonly published: Map<Prefix, number>;
  readonly subscriptions: Map<Peer, Subscription>;
  /** Of its paths and entries, so far: whoever has added them up knows whether to do so again. */
  changes: number;
}

export interface Subscription {
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

/** Who takes to others what leaves its instance: BGP. Called in a flush. */
export interface Watcher {
  /** What is passed on of a prefix now, best first, with what is exported where it was said. */
  passedOn(
    prefix: Prefix,
    paths: readonly { readonly path: Path; readonly exports: ReadonlySet<RouteTarget> }[],
  ): void;
  /** All targets that are imported here. */
  wanted(targets: ReadonlySet<RouteTarget>): void;
}

/** A table up to this size is told in one change, which all who subscribe at once share. */
const SHARED_TABLE = 4096;
/** Of a larger one, so much before the sink is asked again. */
const SLICE = 1024;

/** What a TableChange is made of. */
export type FamilyChanges = {
  -readonly [K in 'announced' | 'withdrawn' | 'retargeted']: TableChange[K][number][];
};

export const noChanges = (): FamilyChanges => ({ announced: [], withdrawn: [], retargeted: [] });

export const isBehind = ({ rest, pending }: Subscription): boolean =>
  rest !== undefined || pending.size > 0;

export function keepFirst(
  pending: Subscription['pending'],
  prefix: Prefix,
  before: Entry | undefined,
): void {
  if (!pending.has(prefix)) pending.set(prefix, before);
}

export function postpone({ pending }: Subscription, change: TableChange): void {
  for (const { entry, before } of change.announced) keepFirst(pending, entry.prefix, before);
  for (const entry of change.withdrawn) keepFirst(pending, entry.prefix, entry);
  for (const entry of change.retargeted) keepFirst(pending, entry.prefix, entry);
}

/** What has changed meanwhile, as it is now. */
export function tellPending({ peer, table, pending, active }: Subscription): void {
  while (pending.size > 0 && !peer.sink.blocked()) {
    const families = new Map<RouteFamily, FamilyChanges>();
    let left = SLICE;
    for (const [prefix, before] of pending) {
      if (left-- === 0) break;
      pending.delete(prefix);
      const lists = getOrCreate(families, prefix.family, noChanges);
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
export function tellRest(subscription: Subscription, whole: Map<Table, TableChange[]>): void {
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
  const families = new Map<RouteFamily, FamilyChanges>();
  for (const entry of entries) {
    const lists = getOrCreate(families, entry.prefix.family, noChanges);
    lists.announced.push({ entry, before: undefined });
  }
  return [...families].map(([family, lists]) => ({ instance, family, ...lists }));
}

/** One sink's error does not keep the others from what is theirs: `errors` are thrown when all have been told. */
export function attempt(errors: unknown[], tell: () => void): void {
  try {
    tell();
  } catch (error) {
    errors.push(error);
  }
}

export function finish(heard: ReadonlySet<Peer>, errors: unknown[]): number {
  let told = 0;
  for (const peer of heard) {
    if (!peer.attached) continue;
    attempt(errors, () => {
      told += peer.sink.flushed();
    });
  }
  if (errors.length > 0) throw errors[0];
  return told;
}
