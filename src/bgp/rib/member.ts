/**
 * A peer in a group: which of the group's slots it has been told, and how far it has read the group's log of slots
 * that have changed. What waits are slots, never messages: words are looked up when a message is made. A walk over all
 * slots is the first dump, a refresh, and what follows when the peer wants other targets than before.
 *
 * Invariants
 *  * A slot that the peer should be told otherwise than it has been is ahead in the log or the walk, or in `#todo`,
 *    `#gone` or `#packs`. So what those say is true when they are emptied, or somebody else will say it again.
 *  * A bit that is set is counted in the slot's `holders`.
 */
import { LIMITS } from '../limits.ts';
import type { FamilyName } from '../wire/family-names.ts';
import type { Update } from '../wire/update.ts';
import type { Outgoing } from './contract.ts';
import type { Group, Slot } from './group.ts';
import type { Memberships } from './memberships.ts';
import type { Said } from './said.ts';
import { type Source, sameRest } from './table.ts';

/** The peer, as its members know it. */
export interface MemberPeer {
  sourceOf(family: FamilyName): Source;
  /** What it wants; undefined: everything. */
  constraintOf(family: FamilyName): Memberships | undefined;
  readonly enhancedRefresh: boolean;
  /** The family's group has all its slots: the member starts, if the peer waits for nothing else. */
  tryStart(family: FamilyName): void;
  /** There is something to tell. */
  wake(): void;
}

class Bits {
  #words = new Uint32Array(4);

  has(at: number): boolean {
    return (((this.#words[at >>> 5] ?? 0) >>> (at & 31)) & 1) === 1;
  }

  set(at: number): void {
    const word = at >>> 5;
    if (word >= this.#words.length) {
      const words = new Uint32Array(Math.max(word + 1, this.#words.length * 2));
      words.set(this.#words);
      this.#words = words;
    }
    this.#words[word] = (this.#words[word] as number) | (1 << (at & 31));
  }

  clear(at: number): void {
    this.#words[at >>> 5] = (this.#words[at >>> 5] as number) & ~(1 << (at & 31));
  }
}

interface Pack {
  readonly out: Said;
  readonly slots: Slot[];
}

export class Member {
  readonly group: Group;
  /** What the peer has said itself. */
  readonly source: Source;
  told = 0;
  readonly #peer: MemberPeer;
  readonly #bits = new Bits();
  /** As far as the group's log has been read. */
  cursor = 0;
  /** Slots to be looked at that are not in the log. */
  #todo: Slot[] = [];
  #gone: Slot[] = [];
  #packs: Pack[] = [];
  /** The log and the walk take turns. */
  #walks = false;
  /** Where the walk is, how far the slots it walks over go, and how many it has to go: in all, */
  #at = 0;
  #end = 0;
  #left = 0;
  /** of the first dump, */
  #first = 0;
  /** and of a refresh, which are told again whatever was told before. */
  #again = 0;
  #started = false;
  #endOfRib: 'due' | 'said' = 'due';
  #refresh: 'none' | 'asked' | 'running' = 'none';
  #refreshNext = false;

  constructor(group: Group, peer: MemberPeer) {
    this.group = group;
    this.#peer = peer;
    this.source = peer.sourceOf(group.table.family);
    group.members.add(this);
  }

  get started(): boolean {
    return this.#started;
  }

  built(): void {
    if (!this.#started) this.#peer.tryStart(this.group.table.family);
  }

  /** From now on the peer is told. */
  start(): void {
    if (this.#started) return;
    this.#started = true;
    this.cursor = this.group.log.length;
    this.#end = this.group.slots.length;
    this.#left = this.#end;
    this.#first = this.#end;
    this.#peer.wake();
  }

  /** What the peer may hear is another: all are looked at. */
  walk(): void {
    if (!this.#started) return;
    this.#stretch();
    this.#left = this.#end;
    this.#peer.wake();
  }

  /** The peer asks for all of it again (RFC 2918, RFC 7313). */
  refresh(): void {
    if (this.#refresh === 'running') this.#refreshNext = true;
    else this.#refresh = 'asked';
    this.#peer.wake();
  }

  /** Slots have come to the end: walks that are to go round go over them, too. */
  #stretch(): void {
    const more = this.group.slots.length - this.#end;
    const ahead = this.#end - this.#at;
    if (this.#first > ahead) this.#first += more;
    if (this.#again > ahead) this.#again += more;
    this.#end += more;
  }

  allows(slot: Slot): boolean {
    const { out } = slot;
    if (out === undefined) return false;
    const { view, table } = this.group;
    if (slot.source === this.source && !view.toSender) return false;
    const wanted = this.#peer.constraintOf(table.family);
    return wanted === undefined || wanted.wants(out.facts.targets);
  }

  /** The group's log has grown. */
  stir(): void {
    if (this.#started && this.cursor < this.group.log.length) this.#peer.wake();
  }

  /** `later`: so much was looked at that it is time to give way. */
  next(): Outgoing | 'later' | undefined {
    if (!this.#started) return undefined;
    let looks: number = LIMITS.looksInCall;
    for (;;) {
      const update = this.#withdrawals() ?? this.#packed();
      if (update !== undefined) return { kind: 'update', update };
      const mark = this.#mark();
      if (mark !== undefined) return mark;
      const reads = this.#todo.length > 0 || this.cursor < this.group.log.length;
      if (this.#left === 0 && !reads) return undefined;
      if (looks <= 0) return 'later';
      this.#walks = this.#left > 0 && (!this.#walks || !reads);
      looks -= this.#walks ? this.#walkOn(looks) : this.#read();
    }
  }

  #withdrawals(): Update | undefined {
    while (this.#gone.length > 0) {
      const slots = this.#gone
        .splice(0, LIMITS.routesInUpdate)
        .filter((slot) => slot.ordinal >= 0 && this.#bits.has(slot.ordinal) && !this.allows(slot));
      for (const slot of slots) this.#forget(slot);
      if (slots.length > 0) return this.group.updateOf(slots, undefined);
    }
    return undefined;
  }

  /** The next pack, of slots that are still what they were when it was made: others are in the log again. */
  #packed(): Update | undefined {
    for (;;) {
      const pack = this.#packs.shift();
      if (pack === undefined) return undefined;
      const slots: Slot[] = [];
      for (const slot of pack.slots) {
        if (slot.ordinal < 0 || slot.out !== pack.out || !this.allows(slot)) continue;
        slots.push(slot);
        if (this.#bits.has(slot.ordinal)) continue;
        this.#bits.set(slot.ordinal);
        slot.holders++;
        this.told++;
      }
      if (slots.length > 0) return this.group.updateOf(slots, pack.out);
    }
  }

  #mark(): Outgoing | undefined {
    const { family } = this.group.table;
    const refresh = (kind: 'begin' | 'end'): Outgoing | undefined =>
      this.#peer.enhancedRefresh ? { kind: 'route-refresh', refresh: { family, kind } } : undefined;
    if (this.#first === 0 && this.#endOfRib === 'due') {
      this.#endOfRib = 'said';
      const update: Update = { withdrawn: [], announced: [], attributes: {}, endOfRib: family };
      return { kind: 'update', update };
    }
    if (this.#refresh === 'asked' && this.#endOfRib === 'said') {
      this.#refresh = 'running';
      this.#stretch();
      this.#left = this.#end;
      this.#again = this.#end;
      const begin = refresh('begin');
      if (begin !== undefined) return begin;
    }
    if (this.#refresh === 'running' && this.#again === 0) {
      this.#refresh = this.#refreshNext ? 'asked' : 'none';
      this.#refreshNext = false;
      return refresh('end') ?? this.#mark();
    }
    return undefined;
  }

  /** Goes on in the log. Returns how much of it. */
  #read(): number {
    const packs = new Map<Said, Slot[]>();
    const { log } = this.group;
    const todo = this.#todo.splice(0, LIMITS.routesInUpdate);
    for (const slot of todo) if (slot.ordinal >= 0) this.#judge(slot, true, packs);
    if (todo.length === 0) {
      const end = Math.min(log.length, this.cursor + LIMITS.routesInUpdate);
      const from = this.cursor;
      for (; this.cursor < end; this.cursor++) {
        const slot = log[this.cursor];
        if (slot !== undefined) this.#judge(slot, slot.changed, packs);
      }
      todo.length = end - from;
    }
    for (const [out, slots] of packs) this.#packs.push({ out, slots });
    return todo.length;
  }

  #walkOn(limit: number): number {
    const packs = new Map<Said, Slot[]>();
    let [looked, found] = [0, 0];
    while (this.#left > 0 && looked < limit && found < LIMITS.routesInUpdate) {
      looked++;
      if (this.#at === this.#end) this.#at = 0;
      const slot = this.group.slots[this.#at++];
      const again = this.#again > 0;
      this.#left--;
      if (again) this.#again--;
      if (this.#first > 0) this.#first--;
      if (slot !== undefined && this.#judge(slot, again, packs)) found++;
    }
    for (const [out, slots] of packs) this.#packs.push({ out, slots });
    return looked;
  }

  /** Whether there is something to tell of it: it has `changed`, or is allowed and was not, or the reverse. */
  #judge(slot: Slot, changed: boolean, packs: Map<Said, Slot[]>): boolean {
    const told = this.#bits.has(slot.ordinal);
    const allowed = this.allows(slot);
    if (told ? allowed && !changed : !allowed) return false;
    if (!allowed) this.#gone.push(slot);
    else {
      const list = packs.get(slot.out as Said);
      if (list === undefined) packs.set(slot.out as Said, [slot]);
      else list.push(slot);
    }
    return true;
  }

  #forget(slot: Slot): void {
    this.#bits.clear(slot.ordinal);
    this.told--;
    slot.holders--;
    this.group.tidy(slot);
  }

  /** What the peer has been told, and is in words of now. */
  *advertised(): Iterable<Slot> {
    for (const slot of this.group.slots) {
      if (slot?.out !== undefined && this.#bits.has(slot.ordinal)) yield slot;
    }
  }

  /** The peer is down, or in another group: nothing has been told any more. */
  leave(): void {
    this.group.members.delete(this);
    for (const slot of [...this.group.slots]) {
      if (slot !== undefined && this.#bits.has(slot.ordinal)) this.#forget(slot);
    }
    this.#todo = [];
    this.#gone = [];
    this.#packs = [];
  }

  /** Takes over what `old`, of another group of the same family and peer, has told; what differs is told. */
  takeOver(old: Member): void {
    this.#started = old.#started;
    this.cursor = this.group.log.length;
    this.#endOfRib = old.#endOfRib;
    this.#refresh = old.#refresh === 'running' ? 'asked' : old.#refresh;
    const { log, slots } = old.group;
    const unread = log.slice(old.cursor).filter((slot) => slot !== undefined);
    const packed = old.#packs.flatMap((pack) => pack.slots);
    const waiting = new Set([...old.#todo, ...old.#gone, ...packed, ...unread]);
    for (const slot of slots) {
      if (slot === undefined || !old.#bits.has(slot.ordinal)) continue;
      const mine = this.group.adopt(slot);
      this.#bits.set(mine.ordinal);
      mine.holders++;
      this.told++;
      const same = mine.out === slot.out && sameRest(mine.rest, slot.rest) && !waiting.has(slot);
      if (!same || !this.allows(mine)) this.#todo.push(mine);
    }
    this.#end = this.group.slots.length;
    this.#left = this.#end;
    this.#first = old.#endOfRib === 'due' ? this.#end : 0;
    old.leave();
    this.#peer.wake();
  }
}
