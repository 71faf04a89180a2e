/**
 * An update group: peers with one view of one family. For each route that the view tells it has a slot: the words
 * it is told in, worked out once for all members. Which of them has been told is a bit of the member's at the slot's
 * ordinal (member.ts), so a route costs a slot a group, and a peer a bit.
 *
 * Invariants
 *  * A slot is in its entry as long as it has words (`out`) or a member has been told (`holders`): so a route that
 *    comes back while a slow peer has yet to hear that it went is the same slot, and its path id the same number.
 *  * Path ids are an entry's: one path has one id in all groups, and two paths never the same.
 */
import { LIMITS } from '../limits.ts';
import type { Routes } from '../wire/family.ts';
import type { Update } from '../wire/update.ts';
import type { Nlri } from './contract.ts';
import type { Member } from './member.ts';
import type { Interner, Said } from './said.ts';
import {
  type Entry,
  nlriOf,
  type Path,
  type Rest,
  type Source,
  sameRest,
  slotsOf,
  type Table,
} from './table.ts';
import type { View } from './view.ts';

/** Shorter logs are not worth going through. */
const SHORTEST_LOG = 1024;

export class Slot {
  readonly entry: Entry;
  readonly group: Group;
  /** Path id it is told with; 0 where there are none. */
  readonly id: number;
  /** -1: it is gone. */
  ordinal: number;
  /** Whose path it is; with `sourceId`, which of them. */
  source: Source;
  sourceId: number | undefined;
  rest: Rest;
  out: Said | undefined = undefined;
  holders = 0;
  /** Where in the group's log; -1: all members have read that, or it never was there. */
  logged = -1;
  /** What the log says of it: the words are others, not only whose they are. */
  changed = false;

  constructor(entry: Entry, group: Group, id: number, ordinal: number, path: SlotOf) {
    this.entry = entry;
    this.group = group;
    this.id = id;
    this.ordinal = ordinal;
    this.source = path.source;
    this.sourceId = path.pathId;
    this.rest = path.rest;
  }

  get pathId(): number | undefined {
    return this.sourceId;
  }

  /** As it is told. */
  get nlri(): Nlri {
    if (this.id === 0 && this.sourceId === undefined) {
      return nlriOf(this.group.table.family, this.entry.key, this.rest);
    }
    const { pathId: _, ...nlri } = nlriOf(this.group.table.family, this.entry.key, this.rest);
    return (this.id === 0 ? nlri : { ...nlri, pathId: this.id }) as Nlri;
  }
}

type SlotOf = Pick<Path, 'source' | 'rest' | 'pathId'>;

interface Kept {
  readonly out: Said | undefined;
  readonly slots: readonly Slot[];
  readonly update: Update;
}

export class Group {
  /** The view's. */
  readonly key: string;
  readonly table: Table;
  readonly view: View;
  readonly members = new Set<Member>();
  readonly slots: (Slot | undefined)[] = [];
  /** Slots in the order they last changed in; a slot is in it once. Members have read as far as their cursors. */
  log: (Slot | undefined)[] = [];
  #shorten: number = SHORTEST_LOG;
  /** The log has grown since `stir`. */
  #stirred = false;
  /** Members, and those who are to be. */
  users = 0;
  readonly #interner: Interner;
  readonly #free: number[] = [];
  #building: Iterator<Entry> | undefined;
  /** Routes of the only member's own have no slots. */
  #skipped = false;
  #onBuilt: (() => void)[] = [];
  #kept: Kept[] = [];
  #keptRoutes = 0;

  constructor(key: string, table: Table, view: View, interner: Interner) {
    this.key = key;
    this.table = table;
    this.view = view;
    this.#interner = interner;
    this.#building = table.entries.values();
  }

  get built(): boolean {
    return this.#building === undefined;
  }

  whenBuilt(run: () => void): void {
    if (this.built) run();
    else this.#onBuilt.push(run);
  }

  /** Works out as many routes that were there before the group; entries that are dirty come by themselves. */
  build(limit: number): void {
    for (let done = 0; done < limit && this.#building !== undefined; done++) {
      const next = this.#building.next();
      if (next.done === true) {
        this.#building = undefined;
        const waiting = this.#onBuilt;
        this.#onBuilt = [];
        for (const run of waiting) run();
        for (const member of this.members) member.built();
      } else if (!next.value.dirty) this.settle(next.value);
    }
  }

  /** The entry is in order: slots become what the view says of it. */
  settle(entry: Entry): void {
    if (this.view.options.sendPaths > 0) {
      this.#settleAll(entry);
      return;
    }
    const path = this.view.pick(entry);
    const out = path === undefined ? undefined : this.view.out(path);
    const slot = entry.slots === undefined ? undefined : this.slotIn(entry, 0);
    if (path === undefined || out === undefined) {
      if (slot?.out !== undefined) this.#clear(slot);
      return;
    }
    if (slot === undefined && this.#isOwn(path)) this.#skipped = true;
    else this.#set(slot ?? this.#add(entry, 0, path), path, out);
  }

  /** The only one who could be told has said it. */
  #isOwn(path: Path): boolean {
    if (this.users !== 1 || this.members.size !== 1 || this.view.toSender) return false;
    const [only] = this.members;
    return only?.source === path.source;
  }

  /** Another user: what was left out for there was nobody to tell is worked out. Returns whether there is such. */
  welcome(): boolean {
    this.users++;
    if (!this.#skipped) return false;
    this.#skipped = false;
    this.#building = this.table.entries.values();
    return true;
  }

  #settleAll(entry: Entry): void {
    const picked = this.view.pickAll(entry);
    const mine = slotsOf(entry).filter(({ group }) => group === this);
    for (const slot of mine) {
      const stays = picked.some(({ path }) => isOf(slot, path));
      if (!stays && slot.out !== undefined) this.#clear(slot);
    }
    for (const { path, out } of picked) {
      const slot = mine.find((each) => each.ordinal >= 0 && isOf(each, path));
      this.#set(slot ?? this.#add(entry, pathId(entry, path), path), path, out);
    }
  }

  slotIn(entry: Entry, id: number): Slot | undefined {
    const { slots } = entry;
    if (slots === undefined) return undefined;
    if (!Array.isArray(slots)) return slots.group === this && slots.id === id ? slots : undefined;
    return slots.find((slot) => slot.group === this && slot.id === id);
  }

  /** For what a peer has been told by another group: without words, until the entry gives it some. */
  adopt(told: Slot): Slot {
    const { entry, id } = told;
    return this.slotIn(entry, id) ?? this.#add(entry, id, told);
  }

  #add(entry: Entry, id: number, path: SlotOf): Slot {
    const ordinal = this.#free.pop() ?? this.slots.length;
    const slot = new Slot(entry, this, id, ordinal, path);
    this.slots[ordinal] = slot;
    const { slots } = entry;
    if (slots === undefined) entry.slots = slot;
    else if (Array.isArray(slots)) slots.push(slot);
    else entry.slots = [slots, slot];
    return slot;
  }

  #set(slot: Slot, path: Path, words: Said): void {
    const out = this.#interner.hold(words);
    const changed = slot.out !== out || !sameRest(slot.rest, path.rest);
    if (slot.out !== undefined) this.#interner.release(slot.out);
    slot.out = out;
    if (!changed && slot.source === path.source) return;
    slot.source = path.source;
    slot.sourceId = path.pathId;
    if (changed && slot.rest !== path.rest) {
      slot.rest = path.rest;
      this.#kept = [];
      this.#keptRoutes = 0;
    }
    this.#note(slot, changed);
  }

  #note(slot: Slot, changed: boolean): void {
    const { logged } = slot;
    slot.changed = changed || (logged >= 0 && slot.changed);
    if (logged >= 0) this.log[logged] = undefined;
    if (this.log.length >= this.#shorten) this.#compact();
    slot.logged = this.log.push(slot) - 1;
    this.#stirred = true;
  }

  /** Without what all have read, and what has changed again since. */
  #compact(): void {
    const { log } = this;
    const started = [...this.members].filter((member) => member.started);
    const read = started.reduce((least, { cursor }) => Math.min(least, cursor), log.length);
    const kept: Slot[] = [];
    const before = new Uint32Array(log.length + 1);
    for (const [at, slot] of log.entries()) {
      if (slot !== undefined && at >= read) slot.logged = kept.push(slot) - 1;
      else if (slot !== undefined) slot.logged = -1;
      before[at + 1] = kept.length;
    }
    for (const member of started) member.cursor = before[member.cursor] as number;
    this.log = kept;
    this.#shorten = Math.max(SHORTEST_LOG, kept.length * 2);
  }

  /** Members that have something to read are told so. */
  stir(): void {
    if (!this.#stirred) return;
    this.#stirred = false;
    for (const member of this.members) member.stir();
  }

  #clear(slot: Slot): void {
    this.#interner.release(slot.out as Said);
    slot.out = undefined;
    if (slot.holders > 0) this.#note(slot, true);
    else this.tidy(slot);
  }

  /** Nobody holds it and there is nothing to tell: it goes. */
  tidy(slot: Slot): void {
    if (slot.out !== undefined || slot.holders > 0 || slot.ordinal < 0) return;
    const { entry } = slot;
    this.slots[slot.ordinal] = undefined;
    this.#free.push(slot.ordinal);
    slot.ordinal = -1;
    if (slot.logged >= 0) this.log[slot.logged] = undefined;
    const { slots } = entry;
    if (!Array.isArray(slots)) entry.slots = undefined;
    else {
      slots.splice(slots.indexOf(slot), 1);
      if (slots.length === 1) entry.slots = slots[0];
    }
    this.table.tidy(entry);
  }

  /** The last member has left. */
  close(): void {
    this.#building = undefined;
    for (const slot of this.slots) {
      if (slot === undefined) continue;
      if (slot.out !== undefined) this.#interner.release(slot.out);
      slot.out = undefined;
      slot.holders = 0;
      this.tidy(slot);
    }
  }

  /** The same object for all who are told the same; `out` undefined: they are withdrawn. */
  updateOf(slots: readonly Slot[], out: Said | undefined): Update {
    const kept = this.#kept.find((each) => each.out === out && sameList(each.slots, slots));
    if (kept !== undefined) return kept.update;
    const nlri = slots.map((slot) => slot.nlri);
    const routes = { family: this.table.family, nlri } as unknown as Routes;
    const update: Update =
      out === undefined
        ? { withdrawn: [routes], announced: [], attributes: {} }
        : {
            withdrawn: [],
            announced: [{ ...routes, nextHop: out.nextHop }],
            attributes: out.attributes,
          };
    // One member keeps nothing for others.
    if (this.members.size > 1) {
      this.#kept.push({ out, slots, update });
      this.#keptRoutes += slots.length;
      while (this.#keptRoutes > LIMITS.routesKept) {
        this.#keptRoutes -= this.#kept.shift()?.slots.length ?? 0;
      }
    }
    return update;
  }

  /** How many routes it tells; for tests. */
  get size(): number {
    return this.slots.length - this.#free.length;
  }
}

const isOf = (slot: Slot, path: Path): boolean =>
  slot.source === path.source && slot.sourceId === path.pathId;

/** The one this path has already, or the lowest that nobody has. */
function pathId(entry: Entry, path: Path): number {
  const all = slotsOf(entry).filter(({ id }) => id !== 0);
  const known = all.find((slot) => isOf(slot, path));
  if (known !== undefined) return known.id;
  let id = 1;
  while (all.some((slot) => slot.id === id)) id++;
  return id;
}

function sameList(a: readonly Slot[], b: readonly Slot[]): boolean {
  if (a.length !== b.length) return false;
  for (let at = 0; at < a.length; at++) if (a[at] !== b[at]) return false;
  return true;
}
