/**
 * A family's routes: an entry a key, in it the paths of all who said one. Adj-RIB-In is here too: a peer's paths
 * hang on its `Source` as a list, so that it goes in the time its own paths take, and no key is held twice.
 *
 * Invariants
 *  * Paths are never changed: what is said anew is another object, but for its place in the list and `generation`.
 *  * `entry.paths` is in order, and `entry.used` true, once the entry is settled; it is `dirty` until then.
 *  * An entry is there while it has a path, or a slot: something a peer was told and may still hold.
 * Written by adj-in.ts and rib.ts, read by views.
 */
import type { PrefixText } from '../../addr/prefix.ts';
import type { Attributes } from '../wire/attributes.ts';
import { type NextHop, routeKey } from '../wire/family.ts';
import type { FamilyName } from '../wire/family-names.ts';
import type { RtcNlri, VpnNlri, WireRd } from '../wire/nlri.ts';
import type { BgpPath, Nlri } from './contract.ts';
import type { Group, Slot } from './group.ts';
import type { Memberships } from './memberships.ts';
import type { Interner, Said } from './said.ts';

/** Who says paths of one family: a peer, or ourselves. */
export class Source {
  readonly table: Table;
  /** Undefined: ours. */
  readonly from: string | undefined;
  readonly address: string;
  external = false;
  client = false;
  /** The peer's identifier, as a number. */
  routerId = 0;
  count = 0;
  /** Counts what the peer begins anew; a path has that of when it was last said. */
  generation = 0;
  /** Paths of generations before this one are stale, and `kind` of it. */
  staleBefore = 0;
  stale: 'short' | 'long' | undefined;
  /** Paths of generations before this one go at the end of the refresh that is under way. */
  refreshBefore = 0;
  first: Path | undefined;
  /** `rtc`: what the peer wants, of all its paths here. */
  memberships: Memberships | undefined;

  constructor(table: Table, from: string | undefined, address: string) {
    this.table = table;
    this.from = from;
    this.address = address;
  }
}

/**
 * What of a route its key does not say: nothing of a prefix, the label of a VPN route; the route itself where there
 * is more. A table of a million routes is mostly made of this.
 */
export type Rest = number | Nlri;

const UNICAST_REST = 0;

export function restOf(family: FamilyName, nlri: Nlri): Rest {
  if (nlri.pathId !== undefined) return nlri;
  if (family === 'ipv4-unicast' || family === 'ipv6-unicast') return UNICAST_REST;
  if (family === 'vpnv4' || family === 'vpnv6') return (nlri as VpnNlri).label ?? nlri;
  return nlri;
}

export function nlriOf(family: FamilyName, key: string, rest: Rest): Nlri {
  if (typeof rest !== 'number') return rest;
  if (family !== 'vpnv4' && family !== 'vpnv6') return { prefix: key as PrefixText };
  const space = key.indexOf(' ');
  const [rd, prefix] = [key.slice(0, space) as WireRd, key.slice(space + 1) as PrefixText];
  return { rd, prefix, label: rest };
}

const pathIdOf = (rest: Rest): number | undefined =>
  typeof rest === 'number' ? undefined : rest.pathId;

export class Path implements BgpPath {
  readonly rest: Rest;
  /** As it came, before our policy. */
  readonly raw: Said;
  readonly said: Said;
  readonly source: Source;
  readonly entry: Entry;
  generation: number;
  before: Path | undefined = undefined;
  after: Path | undefined = undefined;

  constructor(rest: Rest, raw: Said, said: Said, source: Source, entry: Entry) {
    this.rest = rest;
    this.raw = raw;
    this.said = said;
    this.source = source;
    this.entry = entry;
    this.generation = source.generation;
  }

  /** RFC 7911, as it came. */
  get pathId(): number | undefined {
    return pathIdOf(this.rest);
  }

  get nlri(): Nlri {
    return nlriOf(this.family, this.entry.key, this.rest);
  }

  get family(): FamilyName {
    return this.source.table.family;
  }

  get attributes(): Attributes {
    return this.said.attributes;
  }

  get nextHop(): NextHop {
    return this.said.nextHop;
  }

  get from(): string | undefined {
    return this.source.from;
  }

  get stale(): 'short' | 'long' | undefined {
    return this.generation < this.source.staleBefore ? this.source.stale : undefined;
  }
}

export class Entry {
  readonly key: string;
  /** One alone is not in a list: most are. */
  paths: Path | Path[] | undefined = undefined;
  /** How many of the first are used. */
  used = 0;
  dirty = false;
  /** One of those that were used is gone or another. */
  touched = false;
  slots: Slot | Slot[] | undefined = undefined;

  constructor(key: string) {
    this.key = key;
  }
}

export const pathsOf = ({ paths }: Entry): readonly Path[] =>
  paths === undefined ? [] : Array.isArray(paths) ? paths : [paths];

export const bestOf = ({ paths }: Entry): Path | undefined =>
  Array.isArray(paths) ? paths[0] : paths;

export const slotsOf = ({ slots }: Entry): readonly Slot[] =>
  slots === undefined ? [] : Array.isArray(slots) ? slots : [slots];

/** Whether two routes of one key say the same: labels, gateways and segments are no part of it. */
export function sameRest(a: Rest, b: Rest): boolean {
  if (a === b) return true;
  if (typeof a === 'number' || typeof b === 'number') return false;
  return textOf(a) === textOf(b);
}

const textOf = (nlri: Nlri): string => JSON.stringify({ ...nlri, pathId: undefined });

export class Table {
  readonly family: FamilyName;
  readonly entries = new Map<string, Entry>();
  readonly groups = new Map<string, Group>();
  dirty: Entry[] = [];
  readonly #interner: Interner;
  readonly #onDirty: () => void;

  constructor(family: FamilyName, interner: Interner, onDirty: () => void) {
    this.family = family;
    this.#interner = interner;
    this.#onDirty = onDirty;
  }

  find(source: Source, nlri: Nlri): Path | undefined {
    const entry = this.entries.get(routeKey(this.family, nlri));
    return entry === undefined ? undefined : pathOf(entry, source, nlri.pathId);
  }

  /** Returns the path that was put, or undefined where nothing is new. */
  put(source: Source, nlri: Nlri, raw: Said, said: Said): Path | undefined {
    const key = routeKey(this.family, nlri);
    let entry = this.entries.get(key);
    if (entry === undefined) {
      entry = new Entry(key);
      this.entries.set(key, entry);
    }
    const known = entry.paths === undefined ? undefined : pathOf(entry, source, nlri.pathId);
    const rest = restOf(this.family, nlri);
    if (known !== undefined && known.said === said && known.raw === raw) {
      if (sameRest(known.rest, rest)) {
        known.generation = source.generation;
        return undefined;
      }
    }
    const path = new Path(rest, this.#interner.hold(raw), this.#interner.hold(said), source, entry);
    if (known === undefined) {
      addTo(entry, path);
      source.memberships?.add(nlri as RtcNlri, 1);
    } else {
      replaceIn(entry, known, path);
      this.#unlink(known);
    }
    path.after = source.first;
    if (source.first !== undefined) source.first.before = path;
    source.first = path;
    source.count++;
    this.markDirty(entry);
    return path;
  }

  drop(path: Path): void {
    removeFrom(path.entry, path);
    path.source.memberships?.add(path.nlri as RtcNlri, -1);
    this.#unlink(path);
    this.markDirty(path.entry);
  }

  markDirty(entry: Entry): void {
    if (entry.dirty) return;
    entry.dirty = true;
    if (this.dirty.push(entry) === 1) this.#onDirty();
  }

  /** Nothing keeps it any more. */
  tidy(entry: Entry): void {
    if (entry.paths === undefined && entry.slots === undefined && !entry.dirty) {
      this.entries.delete(entry.key);
    }
  }

  #unlink(path: Path): void {
    const { before, after, source } = path;
    if (before === undefined) source.first = after;
    else before.after = after;
    if (after !== undefined) after.before = before;
    path.before = undefined;
    path.after = undefined;
    source.count--;
    this.#interner.release(path.raw);
    this.#interner.release(path.said);
  }
}

function pathOf({ paths }: Entry, source: Source, id: number | undefined): Path | undefined {
  if (paths === undefined) return undefined;
  if (!Array.isArray(paths)) {
    return paths.source === source && paths.pathId === id ? paths : undefined;
  }
  return paths.find((path) => path.source === source && path.pathId === id);
}

function addTo(entry: Entry, path: Path): void {
  const { paths } = entry;
  if (paths === undefined) entry.paths = path;
  else if (Array.isArray(paths)) paths.push(path);
  else entry.paths = [paths, path];
}

function replaceIn(entry: Entry, old: Path, path: Path): void {
  const { paths } = entry;
  const at = Array.isArray(paths) ? paths.indexOf(old) : 0;
  if (at < entry.used) entry.touched = true;
  if (Array.isArray(paths)) paths[at] = path;
  else entry.paths = path;
}

function removeFrom(entry: Entry, path: Path): void {
  const { paths } = entry;
  if (!Array.isArray(paths)) {
    if (entry.used > 0) entry.touched = true;
    entry.paths = undefined;
    entry.used = 0;
    return;
  }
  const at = paths.indexOf(path);
  if (at < entry.used) {
    entry.touched = true;
    entry.used--;
  }
  paths.splice(at, 1);
  if (paths.length === 1) entry.paths = paths[0];
}

/** In the order they were said in, the latest first; `use` may drop the one it is given. */
export function forEachPath(source: Source, use: (path: Path) => void): void {
  let path = source.first;
  while (path !== undefined) {
    const next: Path | undefined = path.after;
    use(path);
    path = next;
  }
}
