/**
 * Path attributes: one row each, with its flags, its codec and what follows when it is malformed (RFC 7606 §7
 * and the attribute's own RFC). A codec reads all of the value or throws; an optional transitive attribute without
 * a row is kept as it came, marked partial (RFC 4271 §9).
 * Rows named in `Carried` are how an UPDATE says something else (routes, next hop, long AS numbers); update.ts takes
 * them apart, and they are not in `Attributes`.
 */
import { formatIp, type IpText, parseIp } from '../../addr/ip.ts';
import { type AsPath, hasConfeds, readAsPath, writeAsPath } from './as-path.ts';
import { bytesOf, type Hex, hexOf, type NetReader, type NetWriter } from './bytes.ts';
import {
  type ExtendedCommunity,
  type LargeCommunity,
  readExtended,
  readLarge,
  writeExtended,
  writeLarge,
} from './communities.ts';
import { type NextHop, type Routes, readNextHop, readRoutes } from './family.ts';
import { type FamilyName, familyText, isFamily } from './family-names.ts';
import { type Consequence, isMalformed, Malformed } from './finding.ts';
import {
  type PmsiTunnel,
  readPmsi,
  readTunnels,
  type Tunnel,
  writePmsi,
  writeTunnels,
} from './tunnel.ts';

/** What both sides agreed on, for one direction. */
export interface WireOptions {
  /** AS numbers have four bytes (RFC 6793). */
  readonly as4: boolean;
  /** The peer is in another AS. */
  readonly external: boolean;
  readonly families: ReadonlySet<FamilyName>;
  /** Families whose routes have path ids in this direction (RFC 7911). */
  readonly addPath: ReadonlySet<FamilyName>;
  /** 4096, or 65535 (RFC 8654). */
  readonly maxMessage: number;
}

/** Bits of an attribute's first byte. */
export const FLAG = { optional: 0x80, transitive: 0x40, partial: 0x20, extended: 0x10 } as const;
/** Those that an attribute's definition fixes. */
export const FIXED_FLAGS = FLAG.optional | FLAG.transitive;

const WELL_KNOWN = FLAG.transitive;
const NON_TRANSITIVE = FLAG.optional;
const TRANSITIVE = FLAG.optional | FLAG.transitive;

export interface AttributeRow<T> {
  readonly code: number;
  readonly flags: number;
  /** What a value that is malformed leads to, unless the codec says otherwise. */
  readonly malformed: Consequence;
  /** What flags other than these lead to; default: treat-as-withdraw (RFC 7606 §3 c). */
  readonly wrongFlags?: Consequence;
  /** From an external peer it is discarded. */
  readonly internal?: true;
  read(reader: NetReader, options: WireOptions): T;
  /** Writing nothing leaves the attribute out, unless it may be empty. */
  write(writer: NetWriter, value: T, options: WireOptions): void;
  readonly mayBeEmpty?: true;
}

export type Origin = 'igp' | 'egp' | 'incomplete';
const ORIGINS: readonly Origin[] = ['igp', 'egp', 'incomplete'];

export interface Aggregator {
  readonly as: number;
  readonly address: IpText;
}

export interface MpReach {
  readonly routes: Routes;
  readonly nextHop: NextHop;
}

function row<T>(definition: AttributeRow<T>): AttributeRow<T> {
  return definition;
}

function u32Row(
  head: Pick<AttributeRow<number>, 'code' | 'flags' | 'malformed' | 'internal'>,
): AttributeRow<number> {
  return {
    ...head,
    read: (reader) => reader.u32('value'),
    write: (writer, value) => writer.u32(value),
  };
}

function readIpv4(reader: NetReader): IpText {
  return formatIp(4, reader.take(4, 'address'));
}

function writeIpv4(writer: NetWriter, address: IpText): void {
  const { family, bytes } = parseIp(address);
  if (family !== 4) throw new RangeError(`${address} is not an IPv4 address`);
  writer.put(bytes);
}

/** One or more members of the same size; none is malformed. */
function list<T>(
  head: Pick<AttributeRow<readonly T[]>, 'code' | 'flags' | 'malformed' | 'internal'>,
  readMember: (reader: NetReader) => T,
  writeMember: (writer: NetWriter, member: T) => void,
): AttributeRow<readonly T[]> {
  return {
    ...head,
    read(reader) {
      const members: T[] = [];
      do members.push(readMember(reader));
      while (reader.left > 0);
      return members;
    },
    write(writer, members) {
      for (const member of members) writeMember(writer, member);
    },
  };
}

/** What we carry and do not read: some bytes, in units of `unit`. */
function opaque(
  head: Pick<AttributeRow<Hex>, 'code' | 'flags' | 'malformed' | 'internal'>,
  unit = 1,
): AttributeRow<Hex> {
  return {
    ...head,
    read(reader) {
      if (reader.left === 0 || reader.left % unit !== 0) {
        throw new Malformed(`${reader.left} bytes, ${unit} or a multiple are needed`);
      }
      return hexOf(reader.rest('value'));
    },
    write: (writer, value) => writer.put(bytesOf(value)),
  };
}

function asPathRow(
  head: Pick<AttributeRow<AsPath>, 'code' | 'flags' | 'malformed' | 'mayBeEmpty'>,
  as4: (options: WireOptions) => boolean,
): AttributeRow<AsPath> {
  return {
    ...head,
    read(reader, options) {
      const path = readAsPath(reader, as4(options));
      // RFC 5065 §5: confederations are not told outside.
      if (options.external && hasConfeds(path)) throw new Malformed('a confederation segment');
      return path;
    },
    write: (writer, path, options) => writeAsPath(writer, path, as4(options)),
  };
}

function aggregatorRow(
  head: Pick<AttributeRow<Aggregator>, 'code' | 'flags' | 'malformed'>,
  as4: (options: WireOptions) => boolean,
): AttributeRow<Aggregator> {
  return {
    ...head,
    read(reader, options) {
      const as = as4(options) ? reader.u32('AS') : reader.u16('AS');
      if (as === 0) throw new Malformed('AS 0 aggregates'); // RFC 7607
      return { as, address: readIpv4(reader) };
    },
    write(writer, { as, address }, options) {
      if (as4(options)) writer.u32(as);
      else writer.u16(as);
      writeIpv4(writer, address);
    },
  };
}

/** RFC 4760 §3, RFC 7606 §5.3 and 7.11: routes that cannot be read end their family, for who knows which they are. */
function inFamily<T>(afi: number, safi: number, read: (family: FamilyName) => T): T {
  const family = familyText(afi, safi);
  if (!isFamily(family)) {
    throw new Malformed(`family ${family} is not known`, 'afi-safi-disable', family);
  }
  try {
    return read(family);
  } catch (error) {
    if (!isMalformed(error)) throw error;
    throw new Malformed(`${family}: ${error.message}`, 'afi-safi-disable', family);
  }
}

function refuseUnagreed(family: FamilyName, options: WireOptions): void {
  if (!options.families.has(family)) throw new Malformed('was not agreed on');
}

const NEVER_WRITTEN = (): never => {
  throw new RangeError('routes are written by update.ts');
};

const AIGP_TLV = 1;
const AIGP_LENGTH = 11;

export const ATTRIBUTES = {
  origin: row<Origin>({
    code: 1,
    flags: WELL_KNOWN,
    malformed: 'treat-as-withdraw',
    read(reader) {
      const code = reader.u8('origin');
      const origin = ORIGINS[code];
      if (origin === undefined) throw new Malformed(`origin ${code}`);
      return origin;
    },
    write: (writer, origin) => writer.u8(ORIGINS.indexOf(origin)),
  }),
  asPath: asPathRow(
    { code: 2, flags: WELL_KNOWN, malformed: 'treat-as-withdraw', mayBeEmpty: true },
    ({ as4 }) => as4,
  ),
  nextHop: row<IpText>({
    code: 3,
    flags: WELL_KNOWN,
    malformed: 'treat-as-withdraw',
    read(reader) {
      const address = readIpv4(reader);
      const first = Number(address.slice(0, address.indexOf('.')));
      if (first === 0 || first >= 224) throw new Malformed(`${address} is no host`);
      return address;
    },
    write: writeIpv4,
  }),
  med: u32Row({ code: 4, flags: NON_TRANSITIVE, malformed: 'treat-as-withdraw' }),
  localPref: u32Row({
    code: 5,
    flags: WELL_KNOWN,
    malformed: 'treat-as-withdraw',
    internal: true,
  }),
  atomicAggregate: row<true>({
    code: 6,
    flags: WELL_KNOWN,
    malformed: 'attribute-discard',
    read: () => true,
    write: () => undefined,
    mayBeEmpty: true,
  }),
  aggregator: aggregatorRow(
    { code: 7, flags: TRANSITIVE, malformed: 'attribute-discard' },
    ({ as4 }) => as4,
  ),
  communities: list<number>(
    { code: 8, flags: TRANSITIVE, malformed: 'treat-as-withdraw' },
    (reader) => reader.u32('community'),
    (writer, community) => writer.u32(community),
  ),
  originatorId: row<IpText>({
    code: 9,
    flags: NON_TRANSITIVE,
    malformed: 'treat-as-withdraw',
    internal: true,
    read: readIpv4,
    write: writeIpv4,
  }),
  clusterList: list<IpText>(
    { code: 10, flags: NON_TRANSITIVE, malformed: 'treat-as-withdraw', internal: true },
    readIpv4,
    writeIpv4,
  ),
  mpReach: row<MpReach>({
    code: 14,
    flags: NON_TRANSITIVE,
    malformed: 'session-reset',
    read(reader, options) {
      return inFamily(reader.u16('AFI'), reader.u8('SAFI'), (family) => {
        refuseUnagreed(family, options);
        const hop = reader.take(reader.u8('next hop length'), 'next hop');
        const nextHop = readNextHop(family, hop);
        reader.u8('reserved');
        const routes = readRoutes(reader, family, false, options.addPath.has(family));
        return { routes, nextHop };
      });
    },
    write: NEVER_WRITTEN,
  }),
  mpUnreach: row<Routes>({
    code: 15,
    flags: NON_TRANSITIVE,
    malformed: 'session-reset',
    read(reader, options) {
      return inFamily(reader.u16('AFI'), reader.u8('SAFI'), (family) => {
        refuseUnagreed(family, options);
        return readRoutes(reader, family, true, options.addPath.has(family));
      });
    },
    write: NEVER_WRITTEN,
  }),
  extendedCommunities: list<ExtendedCommunity>(
    { code: 16, flags: TRANSITIVE, malformed: 'treat-as-withdraw' },
    (reader) => readExtended(reader.take(8, 'community')),
    writeExtended,
  ),
  as4Path: asPathRow(
    { code: 17, flags: TRANSITIVE, malformed: 'attribute-discard' }, // RFC 6793 §6
    () => true,
  ),
  as4Aggregator: aggregatorRow(
    { code: 18, flags: TRANSITIVE, malformed: 'attribute-discard' }, // RFC 6793 §6
    () => true,
  ),
  pmsi: row<PmsiTunnel>({
    code: 22,
    flags: TRANSITIVE,
    malformed: 'treat-as-withdraw', // RFC 6514 §5
    read: readPmsi,
    write: writePmsi,
  }),
  tunnels: row<readonly Tunnel[]>({
    code: 23,
    flags: TRANSITIVE,
    malformed: 'treat-as-withdraw', // RFC 9012 §13
    wrongFlags: 'attribute-discard',
    read: readTunnels,
    write: writeTunnels,
  }),
  /** IPv6-address-specific extended communities (RFC 5701), twenty bytes each. */
  ipv6Communities: opaque({ code: 25, flags: TRANSITIVE, malformed: 'treat-as-withdraw' }, 20),
  /** The accumulated IGP metric (RFC 7311). */
  aigp: row<bigint>({
    code: 26,
    flags: NON_TRANSITIVE,
    malformed: 'attribute-discard',
    read(reader) {
      let metric: bigint | undefined;
      while (reader.left > 0) {
        const type = reader.u8('TLV type');
        const length = reader.u16('TLV length');
        if (length < 3) throw new Malformed(`a TLV of ${length} bytes`);
        const value = reader.part(length - 3, `TLV ${type}`);
        if (type !== AIGP_TLV || metric !== undefined) continue;
        if (length !== AIGP_LENGTH) throw new Malformed(`a metric of ${length} bytes`);
        metric = (BigInt(value.u32('metric')) << 32n) | BigInt(value.u32('metric'));
      }
      if (metric === undefined) throw new Malformed('no metric');
      return metric;
    },
    write(writer, metric) {
      writer.u8(AIGP_TLV);
      writer.u16(AIGP_LENGTH);
      writer.u32(Number(metric >> 32n));
      writer.u32(Number(metric & 0xffffffffn));
    },
  }),
  largeCommunities: list<LargeCommunity>(
    { code: 32, flags: TRANSITIVE, malformed: 'treat-as-withdraw' }, // RFC 8092 §6
    readLarge,
    writeLarge,
  ),
  /** Segment routing (RFC 8669): carried, not read. */
  prefixSid: opaque({ code: 40, flags: TRANSITIVE, malformed: 'attribute-discard' }),
} as const;

type Rows = typeof ATTRIBUTES;
export type AttributeName = keyof Rows;
export const ATTRIBUTE_NAMES = Object.keys(ATTRIBUTES) as readonly AttributeName[];
/** As the wire has them. */
export type WireAttributes = {
  readonly [N in AttributeName]?: Rows[N] extends AttributeRow<infer T> ? T : never;
};

type Carried = 'nextHop' | 'mpReach' | 'mpUnreach' | 'as4Path' | 'as4Aggregator';

export interface UnknownAttribute {
  readonly code: number;
  readonly value: Hex;
}

/** What a route has beside its next hop. */
export interface Attributes extends Omit<WireAttributes, Carried> {
  /** Optional and transitive, of which we know no more; sent on with the partial bit. */
  readonly unknown?: readonly UnknownAttribute[];
  /** Codes of known attributes that someone before us did not know: the partial bit stays. */
  readonly partial?: readonly number[];
}

const BY_CODE = new Map<number, AttributeName>(
  ATTRIBUTE_NAMES.map((name): [number, AttributeName] => [ATTRIBUTES[name].code, name]),
);

export function attributeOf(code: number): AttributeName | undefined {
  return BY_CODE.get(code);
}

export function rowOf(name: AttributeName): AttributeRow<unknown> {
  return ATTRIBUTES[name] as AttributeRow<unknown>;
}

/** One attribute with its head; nothing where there is nothing to say. */
export function writeAttribute(
  writer: NetWriter,
  code: number,
  flags: number,
  value: Uint8Array,
): void {
  const long = value.length > 0xff;
  writer.u8(flags | (long ? FLAG.extended : 0));
  writer.u8(code);
  if (long) writer.u16(value.length);
  else writer.u8(value.length);
  writer.put(value);
}
