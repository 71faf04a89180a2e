/**
 * A peer in a group: which of the group's slots it has been told, and what it is still to be told. What waits are
 * slots, never messages: words are looked up when a message is made. A walk over all slots is the first dump, a
 * refresh, and what follows when the peer wants other targets than before.
 *
 * Invariants, for a slot whose walk is behind it:
 *  * told and allowed, or neither; else it is in `#gone` or `#dirty`, or in `#packs` and on its way.
 *  * A bit that is set is counted in the slot's `holders`.
 */
import { LIMITS } from '../limits.ts';
import type { FamilyName } from '../wire/family-names.ts';
import type { Update } from '../wire/update.ts';
import type { Nlri, Outgoing } from './contract.ts';
import type { Group, Slot } from './group.ts';
import type { Memberships } from './memberships.ts';
import type { Said } from './said.ts';
import type { Source } from './table.ts';

/** The peer, as its members know it. */
export interface MemberPeer {
  sourceOf(family: FamilyName): Source;
  /** What it wants; undefined: everything. */
  constraintOf(family: FamilyName): Memberships | undefined;
  readonly enhancedRefresh: boolean;
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
  told = 0;
  readonly #peer: MemberPeer;
  readonly #source: Source;
  readonly #bits = new Bits();
  readonly #gone = new Set<Slot>();
  readonly #dirty = new Set<Slot>();
  #packs: Pack[] = [];
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
    this.#source = peer.sourceOf(group.table.family);
    group.members.add(this);
  }

  get started(): boolean {
    return this.#started;
  }

  /** From now on the peer is told. */
  start(): void {
    if (this.#started) return;
    this.#started = true;
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
    if (slot.source === this.#source && !view.toSender) return false;
    const wanted = this.#peer.constraintOf(table.family);
    return wanted === undefined || wanted.wants(out.facts.targets);
  }

  /** A slot has other words or another source, or `changed` not: the words are what they were. */
  onSlot(slot: Slot, changed: boolean): void {
    if (!this.#started) return;
    const told = this.#bits.has(slot.ordinal);
    const allowed = this.allows(slot);
    if (told ? allowed && !changed : !allowed) return;
    if (told && !allowed) this.#gone.add(slot);
    else this.#dirty.add(slot);
    this.#peer.wake();
  }

  withdrawals(): Update | undefined {
    if (this.#gone.size === 0) return undefined;
    const nlri: Nlri[] = [];
    for (const slot of this.#gone) {
      if (nlri.length === LIMITS.routesInUpdate) break;
      this.#gone.delete(slot);
      if (slot.ordinal < 0 || !this.#bits.has(slot.ordinal)) continue;
      if (this.allows(slot)) this.#dirty.add(slot);
      else {
        nlri.push(slot.nlri);
        this.#forget(slot);
      }
    }
    return nlri.length === 0 ? undefined : this.group.updateOf(nlri, undefined);
  }

  /** Announcements and marks; `later`: so much was looked at that it is time to give way. */
  rest(): Outgoing | 'later' | undefined {
    if (!this.#started) return undefined;
    let looks: number = LIMITS.looksInCall;
    for (;;) {
      const update = this.#packed();
      if (update !== undefined) return { kind: 'update', update };
      const mark = this.#mark();
      if (mark !== undefined) return mark;
      if (this.#left === 0 && this.#dirty.size === 0) return undefined;
      if (looks <= 0) return 'later';
      looks -= this.#fill(looks);
      const gone = this.withdrawals();
      if (gone !== undefined) return { kind: 'update', update: gone };
    }
  }

  /** The next pack, of slots that are still what they were when it was made: others are dirty again. */
  #packed(): Update | undefined {
    for (;;) {
      const pack = this.#packs.shift();
      if (pack === undefined) return undefined;
      const nlri: Nlri[] = [];
      for (const slot of pack.slots) {
        if (slot.ordinal < 0 || slot.out !== pack.out || !this.allows(slot)) continue;
        this.#dirty.delete(slot);
        this.#gone.delete(slot);
        nlri.push(slot.nlri);
        if (this.#bits.has(slot.ordinal)) continue;
        this.#bits.set(slot.ordinal);
        slot.holders++;
        this.told++;
      }
      if (nlri.length > 0) return this.group.updateOf(nlri, pack.out);
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

  /** Takes slots that wait, and goes on with the walk. Returns how many it looked at. */
  #fill(limit: number): number {
    const packs = new Map<Said, Slot[]>();
    let looked = 0;
    const add = (slot: Slot): void => {
      const list = packs.get(slot.out as Said);
      if (list === undefined) packs.set(slot.out as Said, [slot]);
      else list.push(slot);
    };
    for (const slot of this.#dirty) {
      if (looked === LIMITS.routesInUpdate) break;
      looked++;
      this.#dirty.delete(slot);
      if (slot.ordinal < 0) continue;
      if (this.allows(slot)) add(slot);
      else if (this.#bits.has(slot.ordinal)) this.#gone.add(slot);
    }
    let found = 0;
    while (this.#left > 0 && looked < limit && found < LIMITS.routesInUpdate) {
      looked++;
      if (this.#look(add)) found++;
    }
    for (const [out, slots] of packs) this.#packs.push({ out, slots });
    return looked;
  }

  #look(add: (slot: Slot) => void): boolean {
    if (this.#at === this.#end) this.#at = 0;
    const slot = this.group.slots[this.#at++];
    const again = this.#again > 0;
    this.#left--;
    if (again) this.#again--;
    if (this.#first > 0) this.#first--;
    if (slot === undefined) return false;
    const told = this.#bits.has(slot.ordinal);
    const allowed = this.allows(slot);
    if (told && !allowed) this.#gone.add(slot);
    if (!allowed || (told && !again)) return false;
    add(slot);
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
    this.#gone.clear();
    this.#dirty.clear();
    this.#packs = [];
  }

  /** Takes over what `old`, of another group of the same family and peer, has told; what differs is told. */
  takeOver(old: Member): void {
    this.#started = old.#started;
    this.#endOfRib = old.#endOfRib;
    this.#refresh = old.#refresh === 'running' ? 'asked' : old.#refresh;
    const onTheWay = new Set(old.#packs.flatMap(({ slots }) => slots));
    for (const slot of old.group.slots) {
      if (slot === undefined || !old.#bits.has(slot.ordinal)) continue;
      const mine = this.group.adopt(slot);
      this.#bits.set(mine.ordinal);
      mine.holders++;
      this.told++;
      const same = mine.out === slot.out && mine.nlri === slot.nlri;
      if (!this.allows(mine)) this.#gone.add(mine);
      else if (!same || old.#dirty.has(slot) || onTheWay.has(slot)) this.#dirty.add(mine);
    }
    this.#end = this.group.slots.length;
    this.#left = this.#end;
    this.#first = old.#endOfRib === 'due' ? this.#end : 0;
    old.leave();
    this.#peer.wake();
  }
}
