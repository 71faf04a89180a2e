/**
 * Communities: standard ones (RFC 1997) are numbers, large ones (RFC 8092) texts `as:a:b`, extended ones
 * (RFC 4360 and those who use it) values by a table, one row each. One that is not in the table stays eight bytes.
 * Invariant: a community goes out as it came in. Where bits that we do not read were set, `raw` has them.
 */
import { formatAdministered, parseAdministered } from '../../addr/administered.ts';
import { formatMac, type MacText, parseMac } from '../../addr/mac.ts';
import { formatRouteTarget, parseRouteTarget, type RouteTarget } from '../../addr/route-target.ts';
import { bytesOf, type Hex, hexOf, NetReader, type NetWriter, written } from './bytes.ts';

/** IANA, well known. */
export const COMMUNITIES = {
  gracefulShutdown: 0xffff0000, // RFC 8326
  acceptOwn: 0xffff0001, // RFC 7611
  llgrStale: 0xffff0006, // RFC 9494
  noLlgr: 0xffff0007, // RFC 9494
  blackhole: 0xffff029a, // RFC 7999
  noExport: 0xffffff01, // RFC 1997
  noAdvertise: 0xffffff02, // RFC 1997
  noExportSubconfed: 0xffffff03, // RFC 1997
  noPeer: 0xffffff04, // RFC 3765
} as const;

/** IANA, BGP tunnel encapsulation types: of the community, and of the attribute. */
export const TUNNEL_TYPES = {
  gre: 2,
  vxlan: 8,
  nvgre: 9,
  mpls: 10,
  mplsInGre: 11,
  vxlanGpe: 12,
  mplsInUdp: 13,
  geneve: 19,
} as const;

/** Three numbers of 32 bits. */
export type LargeCommunity = `${number}:${number}:${number}`;

/** In the order of their bits, from the highest. */
export const HASH_FIELDS = [
  'l3-source-address',
  'l3-destination-address',
  'l4-protocol',
  'l4-source-port',
  'l4-destination-port',
] as const;
export type HashField = (typeof HASH_FIELDS)[number];

interface Kinds {
  'route-target': { readonly target: RouteTarget };
  /** In the spelling of a route target. */
  'site-of-origin': { readonly origin: string };
  encapsulation: { readonly tunnel: number };
  color: { readonly flags: number; readonly color: number };
  'default-gateway': object;
  'mac-mobility': { readonly sticky: boolean; readonly sequence: number };
  'esi-label': { readonly singleActive: boolean; readonly label: number };
  'es-import': { readonly mac: MacText };
  'router-mac': { readonly mac: MacText };
  'layer2-attributes': { readonly control: number; readonly mtu: number };
  'df-election': { readonly algorithm: number; readonly capabilities: number };
  'arp-nd': {
    readonly router: boolean;
    readonly override: boolean;
    readonly immutable: boolean;
  };
  'link-bandwidth': {
    readonly transitive: boolean;
    readonly as: number;
    readonly bytesPerSecond: number;
  };
  /** Contrail's: of the sender's AS, or of all if its id is below 8,000,000. */
  'security-group': { readonly as: number; readonly id: number };
  /** Contrail's: the network a route comes from, by number. */
  'origin-vn': { readonly as: number; readonly index: number };
  /** Contrail's: what flows are spread by; absent fields are left out of the hash. */
  'load-balance': { readonly fields: readonly HashField[]; readonly sourceBias: boolean };
  unknown: { readonly bytes: Hex };
}
type Kind = keyof Kinds;

export type ExtendedCommunity = {
  [K in Kind]: { readonly kind: K } & Kinds[K] & { readonly raw?: Hex };
}[Kind];

interface KindRow<K extends Kind> {
  /** Type and subtype as one number; more than one where the split of the value depends on it. */
  readonly types: readonly number[];
  /** Of the six bytes after them. */
  read(reader: NetReader, type: number): Kinds[K];
  /** All eight bytes. */
  write(writer: NetWriter, value: Kinds[K]): void;
}

const VALUE_BYTES = 6;
const MEMBER_BYTES = 8;

const administered = (reader: NetReader, type: number) => ({
  type: (type >> 8) as 0 | 1 | 2,
  value: reader.take(VALUE_BYTES, 'community'),
});

function mac(code: number): Omit<KindRow<'router-mac'>, 'kind'> {
  return {
    types: [code],
    read: (reader) => ({ mac: formatMac(reader.take(6, 'MAC')) }),
    write(writer, value) {
      writer.u16(code);
      writer.put(parseMac(value.mac));
    },
  };
}

const LINK_BANDWIDTH = [0x0004, 0x4004] as const;

const ROWS: { readonly [K in Exclude<Kind, 'unknown'>]: KindRow<K> } = {
  // RFC 4360 §4, RFC 5668
  'route-target': {
    types: [0x0002, 0x0102, 0x0202],
    read(reader, type) {
      const head = Uint8Array.of(type >> 8, type & 0xff);
      return { target: formatRouteTarget(Buffer.concat([head, reader.take(6, 'target')])) };
    },
    write: (writer, { target }) => writer.put(parseRouteTarget(target)),
  },
  // RFC 4360 §5
  'site-of-origin': {
    types: [0x0003, 0x0103, 0x0203],
    read: (reader, type) => ({ origin: formatAdministered(administered(reader, type)) }),
    write(writer, { origin }) {
      const { type, value } = parseAdministered('a site of origin', origin);
      writer.u16((type << 8) | 0x03);
      writer.put(value);
    },
  },
  // RFC 9012 §4.1
  encapsulation: {
    types: [0x030c],
    read(reader) {
      reader.take(4, 'reserved');
      return { tunnel: reader.u16('tunnel type') };
    },
    write(writer, { tunnel }) {
      writer.u16(0x030c);
      writer.u32(0);
      writer.u16(tunnel);
    },
  },
  // RFC 9012 §4.3
  color: {
    types: [0x030b],
    read: (reader) => ({ flags: reader.u16('flags'), color: reader.u32('color') }),
    write(writer, { flags, color }) {
      writer.u16(0x030b);
      writer.u16(flags);
      writer.u32(color);
    },
  },
  // RFC 7432 §7.8
  'default-gateway': {
    types: [0x030d],
    read(reader) {
      reader.take(VALUE_BYTES, 'reserved');
      return {};
    },
    write(writer) {
      writer.u16(0x030d);
      writer.putPadded(new Uint8Array(0), VALUE_BYTES);
    },
  },
  // RFC 7432 §7.7
  'mac-mobility': {
    types: [0x0600],
    read(reader) {
      const sticky = (reader.u8('flags') & 1) !== 0;
      reader.u8('reserved');
      return { sticky, sequence: reader.u32('sequence') };
    },
    write(writer, { sticky, sequence }) {
      writer.u16(0x0600);
      writer.u16(sticky ? 0x0100 : 0);
      writer.u32(sequence);
    },
  },
  // RFC 7432 §7.5
  'esi-label': {
    types: [0x0601],
    read(reader) {
      const singleActive = (reader.u8('flags') & 1) !== 0;
      reader.u16('reserved');
      return { singleActive, label: reader.u24('label') };
    },
    write(writer, { singleActive, label }) {
      writer.u16(0x0601);
      writer.u8(singleActive ? 1 : 0);
      writer.u16(0);
      writer.u24(label);
    },
  },
  // RFC 7432 §7.6
  'es-import': mac(0x0602),
  // RFC 9135 §8.1
  'router-mac': mac(0x0603),
  // RFC 8214 §3.1
  'layer2-attributes': {
    types: [0x0604],
    read(reader) {
      const value = { control: reader.u16('control'), mtu: reader.u16('MTU') };
      reader.u16('reserved');
      return value;
    },
    write(writer, { control, mtu }) {
      writer.u16(0x0604);
      writer.u16(control);
      writer.u16(mtu);
      writer.u16(0);
    },
  },
  // RFC 8584 §2.2
  'df-election': {
    types: [0x0606],
    read(reader) {
      const algorithm = reader.u8('algorithm') & 0x1f;
      const capabilities = reader.u16('capabilities');
      reader.u24('reserved');
      return { algorithm, capabilities };
    },
    write(writer, { algorithm, capabilities }) {
      writer.u16(0x0606);
      writer.u8(algorithm & 0x1f);
      writer.u16(capabilities);
      writer.u24(0);
    },
  },
  // RFC 9047 §2
  'arp-nd': {
    types: [0x0608],
    read(reader) {
      const flags = reader.u8('flags');
      reader.take(5, 'reserved');
      return {
        router: (flags & 1) !== 0,
        override: (flags & 2) !== 0,
        immutable: (flags & 8) !== 0,
      };
    },
    write(writer, { router, override, immutable }) {
      writer.u16(0x0608);
      writer.u8((router ? 1 : 0) | (override ? 2 : 0) | (immutable ? 8 : 0));
      writer.putPadded(new Uint8Array(0), 5);
    },
  },
  // draft-ietf-idr-link-bandwidth
  'link-bandwidth': {
    types: LINK_BANDWIDTH,
    read(reader, type) {
      const as = reader.u16('AS');
      const field = reader.take(4, 'bandwidth');
      const bytesPerSecond = new DataView(field.buffer, field.byteOffset, 4).getFloat32(0);
      return { transitive: type === LINK_BANDWIDTH[0], as, bytesPerSecond };
    },
    write(writer, { transitive, as, bytesPerSecond }) {
      const field = new Uint8Array(4);
      new DataView(field.buffer).setFloat32(0, bytesPerSecond);
      writer.u16(LINK_BANDWIDTH[transitive ? 0 : 1]);
      writer.u16(as);
      writer.put(field);
    },
  },
  // Contrail, experimental: security_group.cc
  'security-group': {
    types: [0x8004],
    read: (reader) => ({ as: reader.u16('AS'), id: reader.u32('security group') }),
    write(writer, { as, id }) {
      writer.u16(0x8004);
      writer.u16(as);
      writer.u32(id);
    },
  },
  // Contrail, experimental: origin_vn.cc
  'origin-vn': {
    types: [0x8071],
    read: (reader) => ({ as: reader.u16('AS'), index: reader.u32('network') }),
    write(writer, { as, index }) {
      writer.u16(0x8071);
      writer.u16(as);
      writer.u32(index);
    },
  },
  // Contrail, opaque: load_balance.h
  'load-balance': {
    types: [0x03aa],
    read(reader) {
      const bits = reader.u8('fields');
      reader.u16('reserved');
      const sourceBias = (reader.u8('bias') & 0x80) !== 0;
      reader.u16('reserved');
      return { fields: HASH_FIELDS.filter((_, at) => (bits & (0x80 >> at)) !== 0), sourceBias };
    },
    write(writer, { fields, sourceBias }) {
      writer.u16(0x03aa);
      writer.u8(HASH_FIELDS.reduce((b, f, at) => b | (fields.includes(f) ? 0x80 >> at : 0), 0));
      writer.u16(0);
      writer.u8(sourceBias ? 0x80 : 0);
      writer.u16(0);
    },
  },
};

type KnownKind = keyof typeof ROWS;
const BY_TYPE = new Map<number, KnownKind>(
  (Object.keys(ROWS) as KnownKind[]).flatMap((kind) =>
    ROWS[kind].types.map((type): [number, KnownKind] => [type, kind]),
  ),
);
const rowOf = (kind: KnownKind): KindRow<Kind> => ROWS[kind] as unknown as KindRow<Kind>;

export function readExtended(bytes: Uint8Array): ExtendedCommunity {
  const raw = hexOf(bytes);
  const value = readValue(bytes);
  return valueHex(value) === raw ? value : { ...value, raw };
}

function readValue(bytes: Uint8Array): ExtendedCommunity {
  const reader = new NetReader(bytes);
  const type = reader.u16('type');
  const kind = BY_TYPE.get(type);
  if (kind === undefined) return { kind: 'unknown', bytes: hexOf(bytes) };
  return { kind, ...rowOf(kind).read(reader, type) } as ExtendedCommunity;
}

/** As we would write it. */
function valueHex(community: ExtendedCommunity): Hex {
  if (community.kind === 'unknown') return community.bytes;
  const { kind } = community;
  return hexOf(written((writer) => rowOf(kind).write(writer, community)));
}

export function extendedHex(community: ExtendedCommunity): Hex {
  const { raw } = community;
  const hex = valueHex(community);
  // A value that was changed since is not what those bytes say any more.
  return raw !== undefined && valueHex(readValue(bytesOf(raw))) === hex ? raw : hex;
}

export function writeExtended(writer: NetWriter, community: ExtendedCommunity): void {
  const bytes = bytesOf(extendedHex(community));
  if (bytes.length !== MEMBER_BYTES) throw new RangeError(`a community of ${bytes.length} bytes`);
  writer.put(bytes);
}

export function readLarge(reader: NetReader): LargeCommunity {
  const [as, a, b] = [reader.u32('AS'), reader.u32('first'), reader.u32('second')];
  return `${as}:${a}:${b}`;
}

export function writeLarge(writer: NetWriter, community: LargeCommunity): void {
  const parts = community.split(':').map(Number);
  if (parts.length !== 3 || !parts.every((part) => part >= 0 && part <= 0xffffffff)) {
    throw new RangeError(`"${community}" is not a large community`);
  }
  for (const part of parts) writer.u32(part);
}
