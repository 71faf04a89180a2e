/**
 * Ids the agent gives out: the lowest that is free, but one that was given back rests for a while, so
 * that what still refers to its old owner (a packet under way, a route at a far node) does not meet
 * the new one.
 * Invariant: an id is in exactly one place: taken, resting, free, or never given out (>= next).
 * Ids a restarted agent finds in the data plane are hints by name (adopt.ts): the same name gets the
 * same id again.
 */
import { VRouterError } from '../errors.ts';

declare const idOf: unique symbol;
type IdOf<Kind extends string> = number & { readonly [idOf]: Kind };
export type VrfId = IdOf<'vrf'>;
export type VifId = IdOf<'vif'>;
export type NextHopId = IdOf<'next hop'>;
export type Label = IdOf<'label'>;
export type PolicyId = IdOf<'policy'>;
export type FloatingIpId = IdOf<'floating ip'>;
export type SourceNatId = IdOf<'source nat'>;

export const NEXT_HOP_DISCARD = 0 as NextHopId;
export const VIF_PHYSICAL = 0 as VifId;
export const VIF_HOST = 1 as VifId;
export const VIF_AGENT = 2 as VifId;
export const VRF_FABRIC = 0 as VrfId;
/** kNoLabel: the route or member carries none. */
export const NO_LABEL = 0xfffff as Label;
/** A vif or port that is not there. */
export const NONE = 0xffffffff;

/** Ids given back later that have to pass before one is used again. */
const DEFAULT_REST = 64;

export interface IdRange {
  /** For the error when there are none left: "labels". */
  readonly what: string;
  readonly first: number;
  /** One past the last. */
  readonly limit: number;
  readonly rest?: number;
}

export class Ids<Id extends number> {
  readonly #range: IdRange;
  readonly #rest: number;
  readonly #hints: ReadonlyMap<string, number>;
  readonly #taken = new Set<number>();
  #next: number;
  /** Binary heap, least first; may hold ids that a hint has taken since. */
  readonly #free: number[] = [];
  /** Oldest first. */
  #resting: number[] = [];

  constructor(range: IdRange, hints: ReadonlyMap<string, number> = new Map()) {
    this.#range = range;
    this.#rest = range.rest ?? DEFAULT_REST;
    this.#hints = hints;
    this.#next = range.first;
    // Names not seen yet may still come for their ids: newcomers get others.
    for (const id of hints.values()) if (id >= this.#next) this.#skipTo(id + 1);
  }

  get taken(): number {
    return this.#taken.size;
  }

  /** `name`: what the id is for, unique among what is taken; finds a hint. */
  allocate(name?: string): Id {
    const hint = name === undefined ? undefined : this.#hints.get(name);
    if (hint !== undefined && this.#canTake(hint)) return this.#take(hint);
    for (;;) {
      const id = pop(this.#free);
      if (id === undefined) break;
      if (!this.#taken.has(id)) return this.#take(id);
    }
    if (this.#next < this.#range.limit) return this.#take(this.#next++);
    const oldest = this.#resting.shift();
    if (oldest === undefined) {
      throw new VRouterError('TABLE_FULL', `no ${this.#range.what} are left`);
    }
    return this.#take(oldest);
  }

  release(id: Id): void {
    if (!this.#taken.delete(id)) {
      throw new RangeError(`${id} of the ${this.#range.what} is not taken`);
    }
    this.#resting.push(id);
    if (this.#resting.length > this.#rest) push(this.#free, this.#resting.shift() as number);
  }

  #canTake(id: number): boolean {
    return id >= this.#range.first && id < this.#range.limit && !this.#taken.has(id);
  }

  #take(id: number): Id {
    this.#taken.add(id);
    const resting = this.#resting.indexOf(id);
    if (resting >= 0) this.#resting.splice(resting, 1);
    return id as Id;
  }

  #skipTo(next: number): void {
    const hinted = new Set(this.#hints.values());
    for (let id = this.#next; id < next; id++) if (!hinted.has(id)) push(this.#free, id);
    this.#next = next;
  }
}

function push(heap: number[], id: number): void {
  let at = heap.length;
  while (at > 0) {
    const parent = (at - 1) >> 1;
    const above = heap[parent] as number;
    if (above <= id) break;
    heap[at] = above;
    at = parent;
  }
  heap[at] = id;
}

function pop(heap: number[]): number | undefined {
  const least = heap[0];
  const last = heap.pop();
  if (least === undefined || last === undefined || heap.length === 0) return least;
  let at = 0;
  for (;;) {
    let child = at * 2 + 1;
    if (child >= heap.length) break;
    if (child + 1 < heap.length && (heap[child + 1] as number) < (heap[child] as number)) child++;
    const below = heap[child] as number;
    if (below >= last) break;
    heap[at] = below;
    at = child;
  }
  heap[at] = last;
  return least;
}

/**
 * Ids of the members of one ECMP set: by what identifies a member, kept while it is present. Given out
 * in turn, so that one is not used again soon.
 */
export class MemberIds {
  readonly #ids = new Map<string, number>();
  readonly #known: ReadonlyMap<string, number>;
  #next = 0;

  /** known: members found in the data plane; their ids wait for them. */
  constructor(known: ReadonlyMap<string, number> = new Map()) {
    this.#known = known;
    for (const id of known.values()) this.#next = Math.max(this.#next, (id + 1) % MEMBER_ID_LIMIT);
  }

  /**
   * The set is now these members; returns their ids in order. `given` ids are the source's choice and
   * come before ours.
   */
  assign(
    members: readonly { readonly identity: string; readonly given?: number | undefined }[],
  ): number[] {
    const given = new Set<number>();
    for (const member of members) if (member.given !== undefined) given.add(member.given);
    const present = new Set(members.map((member) => member.identity));
    for (const [identity, id] of this.#ids) {
      if (!present.has(identity) || given.has(id)) this.#ids.delete(identity);
    }
    const used = new Set([...given, ...this.#ids.values()]);
    for (const { identity, given: chosen } of members) {
      const id = this.#known.get(identity);
      if (id === undefined || chosen !== undefined || this.#ids.has(identity) || used.has(id))
        continue;
      this.#ids.set(identity, id);
      used.add(id);
    }
    for (const id of this.#known.values()) used.add(id);
    return members.map((member) => {
      if (member.given !== undefined) return member.given;
      let id = this.#ids.get(member.identity);
      if (id === undefined) {
        while (used.has(this.#next)) this.#next = (this.#next + 1) % MEMBER_ID_LIMIT;
        id = this.#next;
        this.#next = (this.#next + 1) % MEMBER_ID_LIMIT;
        used.add(id);
        this.#ids.set(member.identity, id);
      }
      return id;
    });
  }
}

/** Far above kMaxEcmpMembers (256), and small to read. */
const MEMBER_ID_LIMIT = 4096;
