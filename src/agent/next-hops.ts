/**
 * Next hops the agent has programmed, of two kinds:
 *  * interned (interface, tunnel, receive, translate): what a spec says never changes; the same spec has
 *    the same id, counted by who holds it. Only a tunnel's legs do change, under the same id, and so flows
 *    do not notice: retunnel();
 *  * owned (ECMP, replicate): one per owner, whose members change under the same id, so that flows keep
 *    the next hop they know.
 *
 * Invariant: an id without holders, or whose owner gave it up, stays programmed until sweep(), so a next
 * hop released and taken again between two commits is not touched; after sweep() its deletion is planned
 * together with whatever stopped referring to it.
 */
import { byText } from '../rib/best-path.ts';
import type { Ids, NextHopId } from './ids.ts';
import type { DesiredTables, SetOp } from './tables.ts';
import type { Legs } from './underlay.ts';

type WithoutId<T> = T extends unknown ? Omit<T, 'nextHop'> : never;
type NextHopOp = Extract<SetOp, { op: `nh_${string}` }>;
export type NextHopSpec = WithoutId<NextHopOp>;
export type TunnelSpec = Extract<NextHopSpec, { op: 'nh_tunnel_set' }>;
export type EcmpSpec = Extract<NextHopSpec, { op: 'nh_ecmp_set' }>;

interface Interned {
  readonly id: NextHopId;
  readonly name: string;
  holders: number;
}

/** What says by which uplinks a tunnel goes, not where to. */
const LEG_FIELDS: readonly string[] = [
  'vif',
  'destinationMac',
  'sourceMac',
  'legsDown',
  'moreLegs',
];

/** What a spec is, in one text, whatever order its fields were written in; a tunnel's legs are left out. */
export function specText(spec: NextHopSpec): string {
  const fields = Object.keys(spec).sort(byText);
  const own = spec.op !== 'nh_tunnel_set' ? fields : fields.filter((f) => !LEG_FIELDS.includes(f));
  return JSON.stringify(spec, own);
}

export class NextHops {
  readonly #tables: DesiredTables;
  readonly #ids: Ids<NextHopId>;
  readonly #byName = new Map<string, Interned>();
  readonly #byId = new Map<NextHopId, Interned>();
  readonly #owned = new Map<string, NextHopId>();
  readonly #unheld = new Set<Interned>();
  readonly #givenUp = new Set<string>();

  constructor(tables: DesiredTables, ids: Ids<NextHopId>) {
    this.#tables = tables;
    this.#ids = ids;
  }

  /** The id of a spec, held once more. */
  intern(
    spec: Exclude<NextHopSpec, { op: 'nh_ecmp_set' | 'nh_replicate_set' }>,
    owner: string,
  ): NextHopId {
    const name = specText(spec);
    let entry = this.#byName.get(name);
    if (entry === undefined) {
      entry = { id: this.#ids.allocate(name), name, holders: 0 };
      this.#byName.set(name, entry);
      this.#byId.set(entry.id, entry);
      this.#tables.put({ ...spec, nextHop: entry.id } as SetOp, owner);
    }
    entry.holders++;
    this.#unheld.delete(entry);
    return entry.id;
  }

  /** Every tunnel by the legs it has now; undefined: none is known, it stays as it is. */
  retunnel(legsOf: (farEnd: string) => Legs | undefined): void {
    for (const { id } of this.#byId.values()) {
      const op = this.#tables.get(`nh ${id}`);
      if (op?.op !== 'nh_tunnel_set') continue;
      const legs = legsOf(op.destination);
      if (legs !== undefined) this.#tables.put({ ...op, ...legs }, `tunnel to ${op.destination}`);
    }
  }

  /** Held once more by someone who knows the id. */
  hold(id: NextHopId): NextHopId {
    const entry = this.#known(id);
    entry.holders++;
    this.#unheld.delete(entry);
    return id;
  }

  release(id: NextHopId): void {
    const entry = this.#known(id);
    if (--entry.holders === 0) this.#unheld.add(entry);
  }

  /** The owner's next hop is now this; its members are held by the owner. */
  own(
    ownerKey: string,
    spec: Extract<NextHopSpec, { op: 'nh_ecmp_set' | 'nh_replicate_set' }>,
    owner: string,
  ): NextHopId {
    let id = this.#owned.get(ownerKey);
    if (id === undefined) {
      id = this.#ids.allocate(ownerKey);
      this.#owned.set(ownerKey, id);
    }
    this.#givenUp.delete(ownerKey);
    this.#tables.put({ ...spec, nextHop: id } as SetOp, owner);
    return id;
  }

  disown(ownerKey: string): void {
    if (this.#owned.has(ownerKey)) this.#givenUp.add(ownerKey);
  }

  ownedId(ownerKey: string): NextHopId | undefined {
    return this.#owned.get(ownerKey);
  }

  /** Ends what nobody holds. */
  sweep(): void {
    for (const entry of this.#unheld) {
      this.#byName.delete(entry.name);
      this.#byId.delete(entry.id);
      this.#end(entry.id);
    }
    this.#unheld.clear();
    for (const ownerKey of this.#givenUp) {
      const id = this.#owned.get(ownerKey);
      this.#owned.delete(ownerKey);
      if (id !== undefined) this.#end(id);
    }
    this.#givenUp.clear();
  }

  holders(id: NextHopId): number {
    return this.#byId.get(id)?.holders ?? 0;
  }

  /** Next hops programmed or about to be. */
  get size(): number {
    return this.#byName.size + this.#owned.size;
  }

  #known(id: NextHopId): Interned {
    const entry = this.#byId.get(id);
    if (entry === undefined) throw new RangeError(`next hop ${id} is not interned`);
    return entry;
  }

  #end(id: NextHopId): void {
    this.#tables.drop(`nh ${id}`);
    this.#ids.release(id);
  }
}
