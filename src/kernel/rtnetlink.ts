/**
 * What rtnetlink(7) says of links, addresses, routes and neighbours: one table of attributes for each, from
 * which both directions follow. An attribute that no table names is kept as it came (`others`), so what
 * was read can be written again whole.
 *
 * Invariants
 *  * Decoding throws BAD_NETLINK or TRUNCATED for whatever is not what the tables say, and never gives a
 *    part of an object.
 *  * Addresses and MACs are canonical text (addr/), and so compare as values.
 */
import { canonicalIp, formatIp, parseIp } from '../addr/ip.ts';
import { formatMac, parseMac } from '../addr/mac.ts';
import { Reader } from '../codec/reader.ts';
import { Writer } from '../codec/writer.ts';
import { type Attribute, badNetlink, readAttributes, writeAttributes } from './netlink.ts';

export const RTM = {
  newLink: 16,
  deleteLink: 17,
  getLink: 18,
  newAddress: 20,
  deleteAddress: 21,
  getAddress: 22,
  newRoute: 24,
  deleteRoute: 25,
  getRoute: 26,
  newNeighbour: 28,
  deleteNeighbour: 29,
  getNeighbour: 30,
  newRule: 32,
  deleteRule: 33,
  newNextHop: 104,
  deleteNextHop: 105,
} as const;

export const AF_UNSPEC = 0;
export const AF_INET = 2;
export const AF_INET6 = 10;

export const IFF_UP = 0x1;
export const IFF_RUNNING = 0x40;
export const IFF_ALLMULTI = 0x200;
export const IFF_LOWER_UP = 0x10000;

export const IFA_F_NODAD = 0x2;
export const RT_SCOPE_UNIVERSE = 0;
export const RT_SCOPE_LINK = 253;

export const RTN_UNICAST = 1;
export const RTN_LOCAL = 2;
export const RTPROT_KERNEL = 2;
export const RTPROT_STATIC = 4;
export const RTNH_F_DEAD = 0x1;
export const RTNH_F_ONLINK = 0x4;
export const RTNH_F_LINKDOWN = 0x10;
export const RTM_F_CLONED = 0x200;
export const RTM_F_FIB_MATCH = 0x2000;

export const NUD_NONE = 0;
export const NUD_INCOMPLETE = 0x1;
export const NUD_REACHABLE = 0x2;
export const NUD_STALE = 0x4;
export const NUD_DELAY = 0x8;
export const NUD_PROBE = 0x10;
export const NUD_FAILED = 0x20;
export const NUD_NOARP = 0x40;
export const NUD_PERMANENT = 0x80;
export const NTF_USE = 0x1;

/** Nested deeper than the kernel nests them: somebody else's bytes. */
const MAX_NEXT_HOPS = 1024;

// --- tables of attributes ----------------------------------------------------------------------

interface Kind<V> {
  read(bytes: Uint8Array, what: string): V;
  write(value: V): Uint8Array;
}

interface Field<V> extends Kind<V> {
  readonly type: number;
}

function sized(bytes: Uint8Array, length: number, what: string): Reader {
  if (bytes.length !== length) throw badNetlink(`${what} of ${bytes.length} bytes, not ${length}`);
  return new Reader(bytes);
}

function written(write: (writer: Writer) => void): Uint8Array {
  const writer = new Writer(64);
  write(writer);
  return writer.bytes();
}

const u8: Kind<number> = {
  read: (bytes, what) => sized(bytes, 1, what).u8(what),
  write: (value) => Uint8Array.of(value),
};
const u32: Kind<number> = {
  read: (bytes, what) => sized(bytes, 4, what).u32le(what),
  write: (value) => written((writer) => writer.u32le(value)),
};
const text: Kind<string> = {
  read: (bytes, what) => {
    const end = bytes.indexOf(0);
    if (end !== bytes.length - 1) throw badNetlink(`${what} does not end with its only NUL`);
    return new TextDecoder().decode(bytes.subarray(0, end));
  },
  write: (value) => new TextEncoder().encode(`${value}\0`),
};
const address: Kind<string> = {
  read: (bytes, what) => {
    if (bytes.length !== 4 && bytes.length !== 16) {
      throw badNetlink(`${what} of ${bytes.length} bytes is no address`);
    }
    return formatIp(bytes.length === 4 ? 4 : 6, bytes);
  },
  write: (value) => parseIp(value).bytes,
};
/** Of links that have none like Ethernet's ('' for those), and of tunnels, it has other lengths. */
const linkAddress: Kind<string> = {
  read: (bytes) => (bytes.length === 6 ? formatMac(bytes) : Buffer.from(bytes).toString('hex')),
  write: (value) =>
    value.includes(':') ? parseMac(value) : Uint8Array.from(Buffer.from(value, 'hex')),
};
/** An address of the other family: RTA_VIA. */
const via: Kind<string> = {
  read: (bytes, what) => {
    const reader = new Reader(bytes);
    const family = reader.u16le(what);
    const length = family === AF_INET6 ? 16 : 4;
    if (family !== AF_INET && family !== AF_INET6) throw badNetlink(`${what} of family ${family}`);
    return address.read(sized(bytes.subarray(2), length, what).take(length, what), what);
  },
  write: (value) =>
    written((writer) => {
      const { family, bytes } = parseIp(value);
      writer.u16le(family === 6 ? AF_INET6 : AF_INET);
      writer.put(bytes);
    }),
};

const field = <V>(type: number, kind: Kind<V>): Field<V> => ({ type, ...kind });

type Table = Readonly<Record<string, Field<unknown>>>;
type Values<T> = { readonly [K in keyof T]?: T[K] extends Field<infer V> ? V : never };

function decodeTable<T extends Table>(
  table: T,
  what: string,
  bytes: Uint8Array,
): Values<T> & { readonly others: readonly Attribute[] } {
  const values: Record<string, unknown> = {};
  const others: Attribute[] = [];
  const names = new Map(Object.entries(table).map(([name, { type }]) => [type, name]));
  for (const attribute of readAttributes(bytes)) {
    const name = names.get(attribute.type);
    const known = name === undefined ? undefined : table[name];
    if (name === undefined || known === undefined) {
      // A copy: what it is a view of is read into again.
      others.push({ type: attribute.type, value: attribute.value.slice() });
    } else {
      values[name] = known.read(attribute.value, `${name} of a ${what}`);
    }
  }
  return { ...(values as Values<T>), others };
}

function encodeTable<T extends Table>(
  writer: Writer,
  table: T,
  values: Values<T> & { readonly others?: readonly Attribute[] },
): void {
  const attributes: Attribute[] = [];
  for (const [name, known] of Object.entries(table)) {
    const value = values[name as keyof T];
    if (value !== undefined) attributes.push({ type: known.type, value: known.write(value) });
  }
  writeAttributes(writer, [...attributes, ...(values.others ?? [])]);
}

// --- links -------------------------------------------------------------------------------------

const LINK = {
  mac: field(1, linkAddress),
  name: field(3, text),
  mtu: field(4, u32),
  operState: field(16, u8),
  carrier: field(33, u8),
} as const;

export interface LinkMessage extends Values<typeof LINK> {
  readonly index: number;
  /** ARPHRD_*: 1 is Ethernet. */
  readonly kind?: number;
  /** IFF_* */
  readonly flags: number;
  /** Which flags a request changes. */
  readonly change?: number;
  readonly others?: readonly Attribute[];
}

export function decodeLink(payload: Uint8Array): LinkMessage {
  const reader = new Reader(payload);
  reader.take(2, 'family of a link');
  const kind = reader.u16le('kind of a link');
  const index = reader.u32le('index of a link');
  const flags = reader.u32le('flags of a link');
  const change = reader.u32le('change of a link');
  const rest = reader.take(reader.left, 'attributes of a link');
  return { index, kind, flags, change, ...decodeTable(LINK, 'link', rest) };
}

export function encodeLink(link: LinkMessage): Uint8Array {
  return written((writer) => {
    writer.u16le(AF_UNSPEC);
    writer.u16le(link.kind ?? 0);
    writer.u32le(link.index);
    writer.u32le(link.flags);
    writer.u32le(link.change ?? 0);
    encodeTable(writer, LINK, link);
  });
}

// --- addresses ---------------------------------------------------------------------------------

const ADDRESS = {
  /** Of a point-to-point link the far end's; else as `local`. */
  address: field(1, address),
  local: field(2, address),
  label: field(3, text),
  broadcast: field(4, address),
  extraFlags: field(8, u32),
  priority: field(9, u32),
} as const;

export interface AddressMessage extends Values<typeof ADDRESS> {
  readonly family: number;
  readonly prefixLength: number;
  /** The low eight of IFA_F_*; all are in `extraFlags`. */
  readonly flags: number;
  readonly scope: number;
  readonly index: number;
  readonly others?: readonly Attribute[];
}

export function decodeAddress(payload: Uint8Array): AddressMessage {
  const reader = new Reader(payload);
  const family = reader.u8('family of an address');
  const prefixLength = reader.u8('prefix length of an address');
  const flags = reader.u8('flags of an address');
  const scope = reader.u8('scope of an address');
  const index = reader.u32le('link of an address');
  const rest = reader.take(reader.left, 'attributes of an address');
  return { family, prefixLength, flags, scope, index, ...decodeTable(ADDRESS, 'address', rest) };
}

export function encodeAddress(message: AddressMessage): Uint8Array {
  return written((writer) => {
    writer.u8(message.family);
    writer.u8(message.prefixLength);
    writer.u8(message.flags);
    writer.u8(message.scope);
    writer.u32le(message.index);
    encodeTable(writer, ADDRESS, message);
  });
}

// --- routes ------------------------------------------------------------------------------------

export interface RouteNextHop {
  readonly index: number;
  /** RTNH_F_* */
  readonly flags: number;
  /** Weight less one. */
  readonly hops: number;
  readonly gateway?: string;
  readonly via?: string;
  readonly others?: readonly Attribute[];
}

const NEXT_HOP = { gateway: field(5, address), via: field(18, via) } as const;
const NEXT_HOP_HEADER = 8;

const nextHops: Kind<readonly RouteNextHop[]> = {
  read: (bytes, what) => {
    const found: RouteNextHop[] = [];
    const reader = new Reader(bytes);
    while (reader.left > 0) {
      if (found.length === MAX_NEXT_HOPS) throw badNetlink(`${what}: more than ${MAX_NEXT_HOPS}`);
      const length = reader.u16le(what);
      const flags = reader.u8(what);
      const hops = reader.u8(what);
      const index = reader.u32le(what);
      if (length < NEXT_HOP_HEADER) throw badNetlink(`${what}: one of ${length} bytes`);
      const attributes = reader.take(length - NEXT_HOP_HEADER, what);
      found.push({ index, flags, hops, ...decodeTable(NEXT_HOP, 'next hop', attributes) });
      reader.take(Math.min(-length & 3, reader.left), 'padding');
    }
    return found;
  },
  write: (value) =>
    written((writer) => {
      for (const nextHop of value) {
        const attributes = written((inner) => encodeTable(inner, NEXT_HOP, nextHop));
        writer.u16le(NEXT_HOP_HEADER + attributes.length);
        writer.u8(nextHop.flags);
        writer.u8(nextHop.hops);
        writer.u32le(nextHop.index);
        writer.put(attributes);
      }
    }),
};

const ROUTE = {
  destination: field(1, address),
  source: field(2, address),
  output: field(4, u32),
  gateway: field(5, address),
  priority: field(6, u32),
  preferredSource: field(7, address),
  nextHops: field(9, nextHops),
  table: field(15, u32),
  via: field(18, via),
  nextHopId: field(30, u32),
} as const;
/** What a dump says of a route, and no request may (RTA_CACHEINFO). */
export const RTA_CACHEINFO = 12;

export interface RouteMessage extends Values<typeof ROUTE> {
  readonly family: number;
  readonly destinationLength: number;
  readonly sourceLength: number;
  readonly tos: number;
  /** `table` where that is above 255. */
  readonly shortTable: number;
  readonly protocol: number;
  readonly scope: number;
  /** RTN_* */
  readonly kind: number;
  /** RTNH_F_* and RTM_F_* */
  readonly flags: number;
  readonly others?: readonly Attribute[];
}

export function decodeRoute(payload: Uint8Array): RouteMessage {
  const reader = new Reader(payload);
  const byte = (what: string) => reader.u8(`${what} of a route`);
  const header = {
    family: byte('family'),
    destinationLength: byte('prefix length'),
    sourceLength: byte('source prefix length'),
    tos: byte('TOS'),
    shortTable: byte('table'),
    protocol: byte('protocol'),
    scope: byte('scope'),
    kind: byte('kind'),
    flags: reader.u32le('flags of a route'),
  };
  const rest = reader.take(reader.left, 'attributes of a route');
  return { ...header, ...decodeTable(ROUTE, 'route', rest) };
}

export function encodeRoute(route: RouteMessage): Uint8Array {
  return written((writer) => {
    for (const byte of [
      route.family,
      route.destinationLength,
      route.sourceLength,
      route.tos,
      route.shortTable,
      route.protocol,
      route.scope,
      route.kind,
    ]) {
      writer.u8(byte);
    }
    writer.u32le(route.flags);
    encodeTable(writer, ROUTE, route);
  });
}

/** The ways of a route, of one or of several, each with its gateway or ''. */
export function nextHopsOf(route: RouteMessage): (RouteNextHop & { readonly to: string })[] {
  const all = route.nextHops ?? [
    {
      index: route.output ?? 0,
      flags: route.flags & 0xff,
      hops: 0,
      ...(route.gateway === undefined ? {} : { gateway: route.gateway }),
      ...(route.via === undefined ? {} : { via: route.via }),
    },
  ];
  return all.map((nextHop) => ({ ...nextHop, to: nextHop.gateway ?? nextHop.via ?? '' }));
}

// --- neighbours --------------------------------------------------------------------------------

const NEIGHBOUR = {
  address: field(1, address),
  mac: field(2, linkAddress),
} as const;

export interface NeighbourMessage extends Values<typeof NEIGHBOUR> {
  readonly family: number;
  readonly index: number;
  /** NUD_* */
  readonly state: number;
  /** NTF_* */
  readonly flags: number;
  /** RTN_* */
  readonly kind: number;
  readonly others?: readonly Attribute[];
}

export function decodeNeighbour(payload: Uint8Array): NeighbourMessage {
  const reader = new Reader(payload);
  const family = reader.u8('family of a neighbour');
  reader.take(3, 'padding of a neighbour');
  const index = reader.u32le('link of a neighbour');
  const state = reader.u16le('state of a neighbour');
  const flags = reader.u8('flags of a neighbour');
  const kind = reader.u8('kind of a neighbour');
  const rest = reader.take(reader.left, 'attributes of a neighbour');
  // A bridge's table is told in the same messages, and has no addresses in this place.
  if (family !== AF_INET && family !== AF_INET6) return { family, index, state, flags, kind };
  return { family, index, state, flags, kind, ...decodeTable(NEIGHBOUR, 'neighbour', rest) };
}

export function encodeNeighbour(neighbour: NeighbourMessage): Uint8Array {
  return written((writer) => {
    writer.u8(neighbour.family);
    writer.putPadded(new Uint8Array(), 3);
    writer.u32le(neighbour.index);
    writer.u16le(neighbour.state);
    writer.u8(neighbour.flags);
    writer.u8(neighbour.kind);
    encodeTable(writer, NEIGHBOUR, neighbour);
  });
}

export function familyOf(ip: string): number {
  return canonicalIp(ip).includes(':') ? AF_INET6 : AF_INET;
}
