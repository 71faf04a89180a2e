/**
 * KernelTables: links, addresses and neighbours of this network namespace as the kernel has them, followed as
 * they change; its routes, asked for one by one; and the few things we ask it to do.
 *
 * Invariants
 *  * After open() the tables are whole; afterwards they follow, and what was lost in an overrun comes by a new
 *    dump: entries that the dump does not name are gone.
 *  * A listener hears of changes in batches, after the tables have them, and never from inside a call of ours.
 *  * Routes are not kept: a full table of the Internet may be there. That some route changed is told.
 * Writes nothing of the kernel's but what a caller names.
 */
import { VRouterError } from '../errors.ts';
import { type NetlinkMessage, NLM_F_CREATE, NLM_F_REPLACE } from './netlink.ts';
import {
  type AddressMessage,
  AF_INET,
  AF_UNSPEC,
  decodeAddress,
  decodeLink,
  decodeNeighbour,
  decodeRoute,
  encodeAddress,
  encodeLink,
  encodeNeighbour,
  encodeRoute,
  familyOf,
  IFF_ALLMULTI,
  IFF_LOWER_UP,
  IFF_RUNNING,
  IFF_UP,
  type LinkMessage,
  type NeighbourMessage,
  NTF_USE,
  NUD_DELAY,
  NUD_FAILED,
  NUD_NOARP,
  NUD_NONE,
  NUD_PERMANENT,
  NUD_PROBE,
  NUD_REACHABLE,
  NUD_STALE,
  type RouteMessage,
  RTM,
  RTM_F_FIB_MATCH,
  RTN_UNICAST,
} from './rtnetlink.ts';
import { NetlinkError, RouteSocket } from './socket.ts';

/** RTMGRP_*: links, neighbours, addresses, routes and rules of both families, next-hop objects. */
const GROUPS = (0x1 | 0x4 | 0x10 | 0x40 | 0x80 | 0x100 | 0x400 | 0x4_0000 | 0x8000_0000) >>> 0;
const RESYNC_MS = 20;

export interface Link {
  readonly index: number;
  readonly name: string;
  readonly mac: string;
  readonly mtu: number;
  /** Up, with a carrier: what is sent leaves. */
  readonly live: boolean;
  readonly allMulticast: boolean;
}

export interface Neighbour {
  readonly index: number;
  readonly address: string;
  /** '' while the kernel does not know it. */
  readonly mac: string;
  /** The kernel would send to it. */
  readonly valid: boolean;
  /** Asked, and did not answer. */
  readonly failed: boolean;
  /** Set by hand: the kernel neither asks for it nor ages it. */
  readonly fixed: boolean;
}

export interface KernelChange {
  readonly links: ReadonlySet<number>;
  /** Links whose addresses changed. */
  readonly addresses: ReadonlySet<number>;
  /** By neighbourKey(). */
  readonly neighbours: ReadonlySet<string>;
  /** Some route, rule or next-hop object: what was looked up before may be different. */
  readonly routes: boolean;
}

export interface LinkChange {
  readonly mtu?: number;
  readonly mac?: string;
  readonly up?: boolean;
  readonly allMulticast?: boolean;
}

export function neighbourKey(index: number, address: string): string {
  return `${index} ${address}`;
}

interface Stamped<T> {
  readonly value: T;
  /** Dump or change in which it was last seen. */
  epoch: number;
}

const VALID = NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE | NUD_NOARP | NUD_PERMANENT;

function linkOf(message: LinkMessage): Link {
  const { index, name = `${index}`, mac = '', mtu = 0, flags } = message;
  const needed = IFF_UP | IFF_RUNNING | IFF_LOWER_UP;
  return {
    index,
    name,
    mac,
    mtu,
    live: (flags & needed) === needed,
    allMulticast: (flags & IFF_ALLMULTI) !== 0,
  };
}

function neighbourOf(message: NeighbourMessage): Neighbour | undefined {
  const { index, address, mac = '', state } = message;
  if (address === undefined) return undefined;
  const fixed = (state & (NUD_PERMANENT | NUD_NOARP)) !== 0;
  const failed = (state & NUD_FAILED) !== 0;
  return { index, address, mac, valid: (state & VALID) !== 0 && mac !== '', failed, fixed };
}

function addressKey(message: AddressMessage): string {
  const { index, prefixLength, local, address } = message;
  return `${index} ${local ?? address}/${prefixLength} ${address}`;
}

/** Equal field by field: a message that says again what is known changes nothing. */
const same = (a: object | undefined, b: object) =>
  a !== undefined && Object.entries(b).every(([key, value]) => a[key as keyof typeof a] === value);

export class KernelTables {
  readonly #watching: RouteSocket;
  /** Has no groups, so that answers are all there is. */
  readonly #asking: RouteSocket;
  readonly #links = new Map<number, Stamped<Link>>();
  readonly #addresses = new Map<string, Stamped<AddressMessage>>();
  readonly #neighbours = new Map<string, Stamped<Neighbour>>();
  readonly #listeners: ((change: KernelChange) => void)[] = [];
  #changed = emptyChange();
  #epoch = 0;
  #resyncs = 0;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  /** Of the network namespace of the calling thread. Throws PORT_FAILED or NETLINK. */
  constructor() {
    this.#asking = new RouteSocket();
    this.#watching = new RouteSocket(GROUPS, {
      onMessage: (message) => this.#take(message),
      onOverrun: () => this.#resyncSoon(),
      onQuiet: () => this.#tell(),
    });
    this.#dumpAll();
    this.#changed = emptyChange();
  }

  /** How often the tables had to be read anew. */
  get resyncs(): number {
    return this.#resyncs;
  }

  link(index: number): Link | undefined {
    return this.#links.get(index)?.value;
  }

  linkByName(name: string): Link | undefined {
    for (const { value } of this.#links.values()) if (value.name === name) return value;
    return undefined;
  }

  addresses(index: number): AddressMessage[] {
    return [...this.#addresses.values()].map((a) => a.value).filter((a) => a.index === index);
  }

  neighbour(index: number, address: string): Neighbour | undefined {
    return this.#neighbours.get(neighbourKey(index, address))?.value;
  }

  get neighbourCount(): number {
    return this.#neighbours.size;
  }

  onChange(listener: (change: KernelChange) => void): void {
    this.#listeners.push(listener);
  }

  // --- asking ------------------------------------------------------------------------------------

  /** The route this host takes to an address, with all its next hops; undefined: none. */
  route(destination: string): RouteMessage | undefined {
    const family = familyOf(destination);
    const request = encodeRoute({
      family,
      destinationLength: family === AF_INET ? 32 : 128,
      sourceLength: 0,
      tos: 0,
      shortTable: 0,
      protocol: 0,
      scope: 0,
      kind: 0,
      flags: RTM_F_FIB_MATCH,
      destination,
    });
    try {
      const answer = this.#asking.request(`route to ${destination}`, RTM.getRoute, 0, request);
      return answer === undefined ? undefined : decodeRoute(answer.payload);
    } catch (error) {
      // Unreachable, prohibited, no such: all the same to who wants to send.
      if (error instanceof NetlinkError) return undefined;
      throw error;
    }
  }

  /** Routes that leave by a link, of all tables. */
  routesOf(index: number): RouteMessage[] {
    const routes: RouteMessage[] = [];
    const request = encodeRoute({ ...EMPTY_ROUTE, output: index });
    this.#asking.dump('routes', RTM.getRoute, request, ({ payload }) => {
      routes.push(decodeRoute(payload));
    });
    return routes.filter(
      (route) => route.output === index || route.nextHops?.some((hop) => hop.index === index),
    );
  }

  /**
   * Has the kernel find out a neighbour's MAC, or whether the one it has is still right; it does nothing where
   * it is sure, and what came of it is heard like any change. False: there is no such link, or none that asks.
   */
  solicit(index: number, address: string): boolean {
    // For the kernel, use makes an ordinary neighbour of one that was set by hand.
    if (this.neighbour(index, address)?.fixed === true) return true;
    const request = encodeNeighbour({
      family: familyOf(address),
      index,
      state: NUD_NONE,
      flags: NTF_USE,
      kind: RTN_UNICAST,
      address,
    });
    return this.#attempt(`neighbour ${address}`, RTM.newNeighbour, NLM_F_CREATE, request);
  }

  // --- doing -------------------------------------------------------------------------------------

  setLink(index: number, change: LinkChange): void {
    const flag = (on: boolean | undefined, bit: number) => (on === true ? bit : 0);
    const touched = (on: boolean | undefined, bit: number) => (on === undefined ? 0 : bit);
    const request = encodeLink({
      index,
      flags: flag(change.up, IFF_UP) | flag(change.allMulticast, IFF_ALLMULTI),
      change: touched(change.up, IFF_UP) | touched(change.allMulticast, IFF_ALLMULTI),
      ...(change.mtu === undefined ? {} : { mtu: change.mtu }),
      ...(change.mac === undefined ? {} : { mac: change.mac }),
    });
    this.#asking.request(`link ${index}`, RTM.newLink, 0, request);
  }

  addAddress(address: AddressMessage): void {
    const payload = encodeAddress(address);
    const flags = NLM_F_CREATE | NLM_F_REPLACE;
    this.#asking.request(`address ${addressKey(address)}`, RTM.newAddress, flags, payload);
  }

  /** One that is not there any more is no error. */
  removeAddress(address: AddressMessage): void {
    const { family, prefixLength, index, local, address: whole } = address;
    const key = {
      ...{ family, prefixLength, index, flags: 0, scope: 0 },
      ...(local === undefined ? {} : { local }),
      ...(whole === undefined ? {} : { address: whole }),
    };
    this.#attempt(`address ${addressKey(address)}`, RTM.deleteAddress, 0, encodeAddress(key));
  }

  /** False: the kernel does not want it. */
  addRoute(route: RouteMessage): boolean {
    const flags = NLM_F_CREATE | NLM_F_REPLACE;
    return this.#attempt('route', RTM.newRoute, flags, encodeRoute(route));
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#watching.close();
    this.#asking.close();
  }

  // --- inside ------------------------------------------------------------------------------------

  #attempt(what: string, type: number, flags: number, payload: Uint8Array): boolean {
    try {
      this.#asking.request(what, type, flags, payload);
      return true;
    } catch (error) {
      if (error instanceof NetlinkError) return false;
      throw error;
    }
  }

  #dumpAll(): void {
    const take = (message: NetlinkMessage) => this.#take(message);
    const links = encodeLink({ index: 0, flags: 0 });
    const none = { index: 0, flags: 0 };
    const addresses = encodeAddress({ family: AF_UNSPEC, prefixLength: 0, scope: 0, ...none });
    const neighbours = encodeNeighbour({ family: AF_UNSPEC, state: 0, kind: 0, ...none });
    this.#watching.dump('links', RTM.getLink, links, take);
    this.#watching.dump('addresses', RTM.getAddress, addresses, take);
    this.#watching.dump('neighbours', RTM.getNeighbour, neighbours, take);
  }

  #resyncSoon(): void {
    if (this.#closed || this.#timer !== undefined) return;
    // What overran us is often not over yet.
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#resync();
    }, RESYNC_MS);
    this.#timer.unref();
  }

  #resync(): void {
    this.#epoch++;
    this.#resyncs++;
    try {
      this.#dumpAll();
    } catch (error) {
      if (!(error instanceof VRouterError)) throw error;
      this.#resyncSoon();
      return;
    }
    // Another overrun came meanwhile: its dump decides what is gone.
    if (this.#timer !== undefined) return;
    for (const [key, { epoch }] of this.#links) if (epoch < this.#epoch) this.#dropLink(key);
    for (const [key, { epoch }] of this.#addresses) if (epoch < this.#epoch) this.#dropAddress(key);
    for (const [key, { epoch }] of this.#neighbours) {
      if (epoch < this.#epoch) this.#dropNeighbour(key);
    }
    this.#changed.routes = true;
    this.#tell();
  }

  #take(message: NetlinkMessage): void {
    const { payload } = message;
    switch (message.type) {
      case RTM.newLink:
        this.#putLink(linkOf(decodeLink(payload)));
        return;
      case RTM.deleteLink:
        this.#dropLink(decodeLink(payload).index);
        return;
      case RTM.newAddress:
        this.#putAddress(decodeAddress(payload));
        return;
      case RTM.deleteAddress:
        this.#dropAddress(addressKey(decodeAddress(payload)));
        return;
      case RTM.newNeighbour:
      case RTM.deleteNeighbour: {
        const neighbour = neighbourOf(decodeNeighbour(payload));
        if (neighbour === undefined) return;
        if (message.type === RTM.newNeighbour) this.#putNeighbour(neighbour);
        else this.#dropNeighbour(neighbourKey(neighbour.index, neighbour.address));
        return;
      }
      case RTM.newRoute:
      case RTM.deleteRoute:
      case RTM.newRule:
      case RTM.deleteRule:
      case RTM.newNextHop:
      case RTM.deleteNextHop:
        this.#changed.routes = true;
    }
  }

  #putLink(link: Link): void {
    if (!same(this.#links.get(link.index)?.value, link)) this.#changed.links.add(link.index);
    this.#links.set(link.index, { value: link, epoch: this.#epoch });
  }

  #dropLink(index: number): void {
    if (this.#links.delete(index)) this.#changed.links.add(index);
  }

  #putAddress(address: AddressMessage): void {
    const key = addressKey(address);
    if (!this.#addresses.has(key)) this.#changed.addresses.add(address.index);
    this.#addresses.set(key, { value: address, epoch: this.#epoch });
  }

  #dropAddress(key: string): void {
    const known = this.#addresses.get(key);
    if (known === undefined) return;
    this.#addresses.delete(key);
    this.#changed.addresses.add(known.value.index);
  }

  #putNeighbour(neighbour: Neighbour): void {
    const key = neighbourKey(neighbour.index, neighbour.address);
    if (!same(this.#neighbours.get(key)?.value, neighbour)) this.#changed.neighbours.add(key);
    this.#neighbours.set(key, { value: neighbour, epoch: this.#epoch });
  }

  #dropNeighbour(key: string): void {
    if (this.#neighbours.delete(key)) this.#changed.neighbours.add(key);
  }

  #tell(): void {
    const changed = this.#changed;
    const { links, addresses, neighbours, routes } = changed;
    if (!routes && links.size + addresses.size + neighbours.size === 0) return;
    this.#changed = emptyChange();
    for (const listener of this.#listeners) listener(changed);
  }
}

function emptyChange() {
  return {
    links: new Set<number>(),
    addresses: new Set<number>(),
    neighbours: new Set<string>(),
    routes: false,
  };
}

const EMPTY_ROUTE: RouteMessage = {
  family: AF_UNSPEC,
  destinationLength: 0,
  sourceLength: 0,
  tos: 0,
  shortTable: 0,
  protocol: 0,
  scope: 0,
  kind: 0,
  flags: 0,
};
