/**
 * RouteTables: best IP routes -> route_set, with the next hops they need.
 *
 * Invariants
 *  * A route holds each next hop it names, itself or through its ECMP set, once; new ones are taken
 *    before old ones are given back.
 *  * A route has an ECMP set when it leads several ways, or when it says how to balance: a service with
 *    one backend has one already, so that its flows are pinned to a member before there is a second.
 *  * Fixed routes (own addresses, gateways, translation to another VRF) stand before learned ones.
 * Written by the agent's flush; nothing here reads a protocol.
 */
import { parsePrefix } from '../addr/prefix.ts';
import { getOrCreate } from '../rib/map-entry.ts';
import { keyOf, type PathHop, type Route, type RouteKey, routeKeyText } from '../rib/route.ts';
import { type Books, ROUTE_PROXY, type Vrf } from './books.ts';
import { MemberIds, type NextHopId, NO_LABEL } from './ids.ts';
import { hashFields, type ResolvedHop, type ResolverView, resolveHops } from './resolver.ts';

interface Entry {
  readonly key: RouteKey;
  readonly vrf: Vrf;
  holds: NextHopId[];
  ownLabels: ReadonlySet<number>;
  members: MemberIds | undefined;
  /** Hops that cannot be used now, with the reason. */
  unusable: readonly string[];
}

interface Fixed {
  readonly nextHop: NextHopId;
  readonly owners: Set<string>;
}

export interface Unresolved {
  readonly key: RouteKey;
  readonly reasons: readonly string[];
}

/** MAC to answer ARP and ND with; '' = the router's. */
export type StitchedMac = (instance: string, prefix: string) => string;

export class RouteTables {
  readonly #books: Books;
  readonly #view: ResolverView;
  readonly #stitchedMac: StitchedMac;
  /** Members found in the data plane, by route; see adopt.ts. */
  readonly #knownMembers: ReadonlyMap<string, ReadonlyMap<string, number>>;
  readonly #entries = new Map<string, Entry>();
  readonly #byLabel = new Map<number, Set<string>>();
  readonly #fixed = new Map<string, Fixed>();
  readonly #dirty = new Map<string, RouteKey>();

  constructor(
    books: Books,
    view: ResolverView,
    stitchedMac: StitchedMac,
    knownMembers: ReadonlyMap<string, ReadonlyMap<string, number>>,
  ) {
    this.#books = books;
    this.#view = view;
    this.#stitchedMac = stitchedMac;
    this.#knownMembers = knownMembers;
  }

  mark(key: RouteKey): void {
    this.#dirty.set(routeKeyText(key), keyOf(key));
  }

  /** Routes that lead to a label of ours look at it again. */
  markLabel(label: number): void {
    for (const text of this.#byLabel.get(label) ?? []) {
      const entry = this.#entries.get(text);
      if (entry !== undefined) this.#dirty.set(text, entry.key);
    }
  }

  /** Every route, and those of the Rib that lead nowhere yet. */
  markAll(): void {
    for (const name of this.#books.vrfs.keys()) {
      for (const key of this.#books.rib.keys(name)) if (key.family !== 'evpn') this.mark(key);
    }
    for (const { key } of this.#entries.values()) this.mark(key);
  }

  get dirty(): boolean {
    return this.#dirty.size > 0;
  }

  /** One owner's wish for a fixed route; wishes of several must agree, which the caller has checked. */
  fix(vrf: Vrf, prefix: string, nextHop: NextHopId, owner: string): void {
    const key = ipKey(vrf.name, prefix);
    const text = routeKeyText(key);
    const fixed = this.#fixed.get(text);
    const owners = fixed?.owners ?? new Set<string>();
    owners.add(owner);
    this.#fixed.set(text, { nextHop, owners });
    this.mark(key);
  }

  unfix(vrf: Vrf, prefix: string, owner: string): void {
    const key = ipKey(vrf.name, prefix);
    const text = routeKeyText(key);
    const fixed = this.#fixed.get(text);
    if (fixed === undefined) return;
    fixed.owners.delete(owner);
    if (fixed.owners.size === 0) this.#fixed.delete(text);
    this.mark(key);
  }

  /** What a prefix is fixed to, if it is. */
  fixedTo(vrf: Vrf, prefix: string): NextHopId | undefined {
    return this.#fixed.get(routeKeyText(ipKey(vrf.name, prefix)))?.nextHop;
  }

  update(): void {
    for (const [text, key] of this.#dirty) {
      this.#dirty.delete(text);
      this.#updateOne(text, key);
    }
  }

  dropVrf(vrf: Vrf): void {
    for (const [text, entry] of [...this.#entries]) {
      if (entry.vrf === vrf) this.#remove(text, entry);
    }
    for (const [text, key] of [...this.#dirty])
      if (key.instance === vrf.name) this.#dirty.delete(text);
  }

  /** Routes with hops that cannot be used, and why. */
  unresolved(): Unresolved[] {
    return [...this.#entries.values()]
      .filter((entry) => entry.unusable.length > 0)
      .map((entry) => ({ key: entry.key, reasons: entry.unusable }));
  }

  get size(): number {
    return this.#entries.size;
  }

  #updateOne(text: string, key: RouteKey): void {
    const vrf = this.#books.vrfs.get(key.instance);
    if (vrf === undefined) return;
    const fixed = this.#fixed.get(text);
    const route = this.#books.rib.best(key);
    if (fixed === undefined && route === undefined) {
      const entry = this.#entries.get(text);
      if (entry !== undefined) this.#remove(text, entry);
      return;
    }
    const entry = this.#entry(text, key, vrf);
    if (fixed !== undefined) this.#programFixed(entry, fixed);
    else if (route !== undefined) this.#program(entry, route);
  }

  #entry(text: string, key: RouteKey, vrf: Vrf): Entry {
    let entry = this.#entries.get(text);
    if (entry === undefined) {
      entry = { key, vrf, holds: [], ownLabels: new Set(), members: undefined, unusable: [] };
      this.#entries.set(text, entry);
    }
    return entry;
  }

  #programFixed(entry: Entry, fixed: Fixed): void {
    this.#hold(entry, [this.#books.nextHops.hold(fixed.nextHop)]);
    this.#watchLabels(entry, []);
    entry.unusable = [];
    this.#put(entry, { nextHop: fixed.nextHop, label: NO_LABEL, flags: 0, hashFields: 0, mac: '' });
    this.#dropSet(entry);
  }

  #program(entry: Entry, route: Route): void {
    const unusable: string[] = [];
    const hops = resolveHops(route, this.#view, (hop, why) =>
      unusable.push(`${hop.address} label ${hop.label}: ${why}`),
    );
    entry.unusable = unusable;
    this.#watchLabels(
      entry,
      route.hops.filter((hop) => this.#view.isOwnAddress(hop.address)),
    );
    const owner = ownerOf(entry.key);
    const nextHops = hops.map((hop) =>
      hop.kind === 'local'
        ? this.#books.nextHops.hold(hop.nextHop)
        : this.#books.nextHops.intern(hop.spec, owner),
    );
    const [first] = hops;
    const [firstNextHop] = nextHops;
    if (first === undefined || firstNextHop === undefined) {
      this.#unprogram(entry);
    } else {
      const isHost = isHostPrefix(entry.key.prefix);
      const shown = {
        flags: isHost ? ROUTE_PROXY : 0,
        hashFields: 0,
        mac: isHost ? this.#stitchedMac(entry.key.instance, entry.key.prefix) : '',
      };
      if (hops.length > 1 || route.loadBalance !== undefined) {
        const nextHop = this.#putSet(entry, route, hops, nextHops);
        this.#put(entry, { ...shown, nextHop, label: NO_LABEL });
      } else {
        const label = first.kind === 'local' ? NO_LABEL : first.label;
        this.#put(entry, { ...shown, nextHop: firstNextHop, label });
        this.#dropSet(entry);
      }
    }
    this.#hold(entry, nextHops);
  }

  #putSet(
    entry: Entry,
    route: Route,
    hops: readonly ResolvedHop[],
    nextHops: readonly NextHopId[],
  ): NextHopId {
    entry.members ??= new MemberIds(this.#knownMembers.get(setKey(entry)));
    const ids = entry.members.assign(hops);
    return this.#books.nextHops.own(
      setKey(entry),
      {
        op: 'nh_ecmp_set',
        vrf: entry.vrf.id,
        flags: 0,
        hashFields: hashFields(route.loadBalance),
        members: hops.map((hop, i) => ({
          member: ids[i] as number,
          nextHop: nextHops[i] as NextHopId,
          label: hop.label,
          weight: hop.weight,
        })),
      },
      ownerOf(entry.key),
    );
  }

  #put(
    entry: Entry,
    fields: {
      readonly nextHop: NextHopId;
      readonly label: number;
      readonly flags: number;
      readonly hashFields: number;
      readonly mac: string;
    },
  ): void {
    this.#books.tables.put(
      { op: 'route_set', vrf: entry.vrf.id, prefix: entry.key.prefix, ...fields },
      ownerOf(entry.key),
    );
  }

  #dropSet(entry: Entry): void {
    if (entry.members === undefined) return;
    entry.members = undefined;
    this.#books.nextHops.disown(setKey(entry));
  }

  #unprogram(entry: Entry): void {
    this.#books.tables.drop(`route ${entry.vrf.id} ${entry.key.prefix}`);
    this.#dropSet(entry);
  }

  #remove(text: string, entry: Entry): void {
    this.#unprogram(entry);
    this.#watchLabels(entry, []);
    this.#hold(entry, []);
    this.#entries.delete(text);
  }

  /** The entry holds these (taken already) and no others. */
  #hold(entry: Entry, nextHops: NextHopId[]): void {
    const before = entry.holds;
    entry.holds = nextHops;
    for (const id of before) this.#books.nextHops.release(id);
  }

  #watchLabels(entry: Entry, hops: readonly PathHop[]): void {
    const text = routeKeyText(entry.key);
    const now = new Set(hops.map((hop) => hop.label));
    for (const label of entry.ownLabels) {
      if (now.has(label)) continue;
      const watchers = this.#byLabel.get(label);
      watchers?.delete(text);
      if (watchers?.size === 0) this.#byLabel.delete(label);
    }
    for (const label of now) {
      const watchers = getOrCreate(this.#byLabel, label, () => new Set());
      watchers.add(text);
    }
    entry.ownLabels = now;
  }
}

export function ipKey(instance: string, prefix: string): RouteKey {
  return { instance, family: prefix.includes(':') ? 'inet6' : 'inet', prefix };
}

/** Name of a route's own ECMP set among next hops. */
export function setKeyOf(vrf: number, prefix: string): string {
  return `ecmp ${vrf} ${prefix}`;
}

function setKey(entry: Entry): string {
  return setKeyOf(entry.vrf.id, entry.key.prefix);
}

function ownerOf(key: RouteKey): string {
  return `route ${key.prefix} of '${key.instance}'`;
}

function isHostPrefix(prefix: string): boolean {
  const { family, length } = parsePrefix(prefix);
  return length === (family === 4 ? 32 : 128);
}
