/**
 * BridgeTables: layer 2 of each VRF. MAC table from local vifs and learned evpn routes, the flood tree
 * under ff:ff:ff:ff:ff:ff (root -> local vifs, root -> far ends), and the MACs that proxy ARP and ND
 * answer with.
 *
 * Invariants
 *  * A MAC leads to the local vif that has it, unless the best evpn route for it leads elsewhere only
 *    (it moved away).
 *  * Flood sets are owned next hops: their ids stay while a VRF has anyone to flood to.
 * Written by the agent's flush and by Vifs (local stations).
 */
import { MAC_BROADCAST, MAC_ZERO } from '../addr/mac.ts';
import { layout } from '../dataplane/layout.ts';
import { byText, comparePreference } from '../rib/best-path.ts';
import { parseEvpnPrefix } from '../rib/check.ts';
import { getOrCreate } from '../rib/map-entry.ts';
import type { PathHop, Route, RouteKey } from '../rib/route.ts';
import { type Books, REPLICATE_ENCAP, REPLICATE_EVPN, REPLICATE_ROOT, type Vrf } from './books.ts';
import { type NextHopId, NO_LABEL } from './ids.ts';
import { encapOf, type ResolverView } from './resolver.ts';
import { ipKey } from './routes.ts';

/** A local vif at layer 2; the vif holds the next hop. */
export interface Station {
  readonly mac: string;
  readonly nextHop: NextHopId;
  /** Its own addresses, as host prefixes. */
  readonly prefixes: readonly string[];
}

interface Segment {
  readonly vrf: Vrf;
  readonly stations: Map<string, Station>;
  /** Owners of the stations with an address: the index of Station.prefixes. */
  readonly ownersOfPrefix: Map<string, Set<string>>;
  /** evpn prefixes known for a MAC. */
  readonly keysOfMac: Map<string, Set<string>>;
  /** MACs evpn routes name for an address. */
  readonly macsOfPrefix: Map<string, Set<string>>;
  /** Next hops held for a MAC entry, and for the flood tree. */
  readonly holds: Map<string, NextHopId[]>;
}

interface Leaf {
  readonly nextHop: NextHopId;
  readonly label: number;
}

const FLOOD = 'flood';

export class BridgeTables {
  readonly #books: Books;
  readonly #view: ResolverView;
  readonly #onAddress: (key: RouteKey) => void;
  readonly #onFloodRoot: (vrf: Vrf, root: NextHopId | undefined, stations: number) => void;
  readonly #segments = new Map<string, Segment>();
  readonly #dirtyMacs = new Map<string, Set<string>>();
  readonly #dirtyFloods = new Set<string>();

  /**
   * onAddress: the MAC behind an address may have changed. onFloodRoot: where broadcasts of a VRF go,
   * and how many local vifs are among them.
   */
  constructor(
    books: Books,
    view: ResolverView,
    onAddress: (key: RouteKey) => void,
    onFloodRoot: (vrf: Vrf, root: NextHopId | undefined, stations: number) => void,
  ) {
    this.#books = books;
    this.#view = view;
    this.#onAddress = onAddress;
    this.#onFloodRoot = onFloodRoot;
  }

  addVrf(vrf: Vrf): void {
    this.#segments.set(vrf.name, {
      vrf,
      stations: new Map(),
      ownersOfPrefix: new Map(),
      keysOfMac: new Map(),
      macsOfPrefix: new Map(),
      holds: new Map(),
    });
  }

  dropVrf(vrf: Vrf): void {
    const segment = this.#segments.get(vrf.name);
    if (segment === undefined) return;
    for (const mac of [...segment.holds.keys()]) {
      if (mac === FLOOD) this.#dropFlood(segment);
      else this.#dropMac(segment, mac);
    }
    this.#segments.delete(vrf.name);
    this.#dirtyMacs.delete(vrf.name);
    this.#dirtyFloods.delete(vrf.name);
  }

  setStation(vrf: Vrf, owner: string, station: Station | undefined): void {
    const segment = this.#segments.get(vrf.name);
    if (segment === undefined) return;
    const before = segment.stations.get(owner);
    if (station === undefined) segment.stations.delete(owner);
    else segment.stations.set(owner, station);
    for (const prefix of before?.prefixes ?? [])
      index(segment.ownersOfPrefix, prefix, owner, false);
    for (const prefix of station?.prefixes ?? [])
      index(segment.ownersOfPrefix, prefix, owner, true);
    for (const s of [before, station]) {
      if (s === undefined) continue;
      this.#markMac(vrf.name, s.mac);
      for (const prefix of s.prefixes) this.#onAddress(ipKey(vrf.name, prefix));
    }
    this.#dirtyFloods.add(vrf.name);
  }

  /** The best evpn route of this key changed. */
  mark(key: RouteKey): void {
    const segment = this.#segments.get(key.instance);
    if (segment === undefined) return;
    const { mac, ip } = parseEvpnPrefix(key.prefix);
    if (mac === MAC_BROADCAST) {
      this.#dirtyFloods.add(key.instance);
      return;
    }
    if (mac === MAC_ZERO) return; // type 5: an IP prefix, not a station
    const known = this.#books.rib.best(key) !== undefined;
    index(segment.keysOfMac, mac, key.prefix, known);
    if (ip !== undefined) {
      index(segment.macsOfPrefix, ip, mac, known);
      this.#onAddress(ipKey(key.instance, ip));
    }
    this.#markMac(key.instance, mac);
  }

  /** Every learned evpn route again (the underlay changed). */
  markAll(): void {
    for (const [name, segment] of this.#segments) {
      for (const mac of segment.keysOfMac.keys()) this.#markMac(name, mac);
      this.#dirtyFloods.add(name);
    }
  }

  get dirty(): boolean {
    return this.#dirtyMacs.size > 0 || this.#dirtyFloods.size > 0;
  }

  update(): void {
    for (const [name, macs] of this.#dirtyMacs) {
      this.#dirtyMacs.delete(name);
      const segment = this.#segments.get(name);
      if (segment !== undefined) for (const mac of macs) this.#updateMac(segment, mac);
    }
    for (const name of this.#dirtyFloods) {
      this.#dirtyFloods.delete(name);
      const segment = this.#segments.get(name);
      if (segment !== undefined) this.#updateFlood(segment);
    }
  }

  /** What proxy ARP and ND answer for an address; '' = the router's own MAC. */
  stitchedMac(instance: string, prefix: string): string {
    const segment = this.#segments.get(instance);
    if (segment === undefined) return '';
    const [owner] = [...(segment.ownersOfPrefix.get(prefix) ?? [])].sort(byText);
    if (owner !== undefined) return segment.stations.get(owner)?.mac ?? '';
    const macs = [...(segment.macsOfPrefix.get(prefix) ?? [])].sort(byText);
    const routes = macs.map((mac) => ({ mac, route: this.#best(segment, `${mac},${prefix}`) }));
    routes.sort((a, b) => compareRoutes(a.route, b.route));
    return routes[0]?.mac ?? '';
  }

  // --- MAC table ---------------------------------------------------------------------------------

  #markMac(instance: string, mac: string): void {
    const macs = getOrCreate(this.#dirtyMacs, instance, () => new Set());
    macs.add(mac);
  }

  #best(segment: Segment, prefix: string): Route | undefined {
    return this.#books.rib.best({ instance: segment.vrf.name, family: 'evpn', prefix });
  }

  #updateMac(segment: Segment, mac: string): void {
    const leaf = this.#leafOf(segment, mac);
    if (leaf === undefined) {
      this.#dropMac(segment, mac);
      return;
    }
    this.#books.tables.put(
      {
        op: 'mac_set',
        vrf: segment.vrf.id,
        mac,
        nextHop: leaf.nextHop,
        label: leaf.label,
        flags: 0,
      },
      `MAC ${mac} of '${segment.vrf.name}'`,
    );
    this.#hold(segment, mac, [leaf.nextHop]);
  }

  /** Where a MAC is, held once for the caller. */
  #leafOf(segment: Segment, mac: string): Leaf | undefined {
    const routes = [...(segment.keysOfMac.get(mac) ?? [])]
      .sort(byText)
      .flatMap((prefix) => this.#best(segment, prefix) ?? []);
    routes.sort(compareRoutes);
    const hops = routes[0]?.hops ?? [];
    const local = [...segment.stations.keys()]
      .sort(byText)
      .flatMap((owner) => segment.stations.get(owner) as Station)
      .find((station) => station.mac === mac);
    if (
      local !== undefined &&
      (hops.length === 0 || hops.some((h) => this.#view.isOwnAddress(h.address)))
    ) {
      return { nextHop: this.#books.nextHops.hold(local.nextHop), label: NO_LABEL };
    }
    for (const hop of hops) {
      const leaf = this.#tunnel(segment, hop);
      if (leaf !== undefined) return leaf;
    }
    return undefined;
  }

  #tunnel(segment: Segment, hop: PathHop): Leaf | undefined {
    if (this.#view.isOwnAddress(hop.address)) return undefined;
    const encap = encapOf(hop, this.#view);
    if (encap === undefined) return undefined;
    const { mac: _, ...bridged } = hop; // a router MAC is for routed packets
    const spec = this.#view.tunnel(bridged, encap);
    if (spec === undefined) return undefined;
    const nextHop = this.#books.nextHops.intern(spec, `bridging of '${segment.vrf.name}'`);
    return { nextHop, label: hop.label };
  }

  #dropMac(segment: Segment, mac: string): void {
    this.#books.tables.drop(`mac ${segment.vrf.id} ${mac}`);
    this.#hold(segment, mac, []);
  }

  #hold(segment: Segment, what: string, nextHops: NextHopId[]): void {
    const before = segment.holds.get(what) ?? [];
    if (nextHops.length > 0) segment.holds.set(what, nextHops);
    else segment.holds.delete(what);
    for (const id of before) this.#books.nextHops.release(id);
  }

  // --- flood tree --------------------------------------------------------------------------------

  #updateFlood(segment: Segment): void {
    const { nextHops } = this.#books;
    const local = [...segment.stations.values()]
      .map((station) => ({ nextHop: station.nextHop, label: NO_LABEL }))
      .sort((a, b) => a.nextHop - b.nextHop);
    for (const leaf of local) nextHops.hold(leaf.nextHop);
    const farHops = this.#best(segment, MAC_BROADCAST)?.hops ?? [];
    const far = farHops
      .slice(0, layout.limits.maxReplicas)
      .flatMap((hop) => this.#tunnel(segment, hop) ?? []);
    if (local.length + far.length === 0) {
      this.#dropFlood(segment);
      return;
    }
    const branches = [
      this.#branch(segment, 'local', REPLICATE_ENCAP, local),
      this.#branch(segment, 'far', REPLICATE_EVPN, far),
    ].flatMap((id) => (id === undefined ? [] : [{ nextHop: id, label: NO_LABEL }]));
    const { vrf } = segment;
    const owner = `flooding of '${vrf.name}'`;
    const root = nextHops.own(
      floodKey(vrf.id, 'root'),
      { op: 'nh_replicate_set', vrf: vrf.id, flags: 0, kind: REPLICATE_ROOT, replicas: branches },
      owner,
    );
    this.#books.tables.put(
      { op: 'mac_set', vrf: vrf.id, mac: MAC_BROADCAST, nextHop: root, label: NO_LABEL, flags: 0 },
      owner,
    );
    this.#hold(
      segment,
      FLOOD,
      [...local, ...far].map((leaf) => leaf.nextHop),
    );
    this.#onFloodRoot(vrf, root, local.length);
  }

  #branch(segment: Segment, name: string, kind: number, leaves: Leaf[]): NextHopId | undefined {
    const { nextHops } = this.#books;
    const { id, name: vrfName } = segment.vrf;
    if (leaves.length === 0) {
      nextHops.disown(floodKey(id, name));
      return undefined;
    }
    return nextHops.own(
      floodKey(id, name),
      { op: 'nh_replicate_set', vrf: id, flags: 0, kind, replicas: leaves },
      `flooding of '${vrfName}'`,
    );
  }

  #dropFlood(segment: Segment): void {
    const { id } = segment.vrf;
    for (const name of ['root', 'local', 'far']) this.#books.nextHops.disown(floodKey(id, name));
    this.#books.tables.drop(`mac ${id} ${MAC_BROADCAST}`);
    this.#hold(segment, FLOOD, []);
    this.#onFloodRoot(segment.vrf, undefined, 0);
  }
}

/** Name of a VRF's flood sets among next hops: `root`, `local`, `far`. */
export function floodKey(vrf: number, name: string): string {
  return `flood ${vrf} ${name}`;
}

function compareRoutes(a: Route | undefined, b: Route | undefined): number {
  if (a === undefined || b === undefined) return Number(a === undefined) - Number(b === undefined);
  return comparePreference(a, b) || byText(a.prefix, b.prefix);
}

function index(map: Map<string, Set<string>>, key: string, value: string, present: boolean): void {
  const values = map.get(key) ?? new Set<string>();
  if (present) values.add(value);
  else values.delete(value);
  if (values.size > 0) map.set(key, values);
  else map.delete(key);
}
