/**
 * NLRI with a length in bits in front: unicast (RFC 4271 §4.3), VPN (RFC 4364 §4.3.4, RFC 8277) and route
 * target membership (RFC 4684). Bits past a prefix's length do not count and are cleared.
 * A family's codec reads one NLRI, without its path id, and throws `Malformed` or TRUNCATED.
 */
import { formatIp, type IpFamily } from '../../addr/ip.ts';
import { addressBits, maskBytes, type PrefixText, parsePrefix } from '../../addr/prefix.ts';
import { formatRd, parseRd, type RouteDistinguisher } from '../../addr/rd.ts';
import { bytesOf, type Hex, hexOf, type NetReader, type NetWriter } from './bytes.ts';
import { Malformed } from './finding.ts';

export interface NlriCodec<T> {
  read(reader: NetReader, withdrawn: boolean): T;
  write(writer: NetWriter, nlri: T, withdrawn: boolean): void;
  /** What a withdrawal is matched by; labels, for one, are not in it. */
  key(nlri: T): string;
  /** A route that can be read and cannot be used: why; it is treated as withdrawn. */
  unfit?(nlri: T): string | undefined;
}

/** RFC 7911: told apart by it, where add-path was agreed on. */
export interface WithPathId {
  readonly pathId?: number;
}

export interface UnicastNlri extends WithPathId {
  readonly prefix: PrefixText;
}

/** A type of distinguisher that we cannot spell is `0x` and its eight bytes: it is compared, never read. */
export type WireRd = RouteDistinguisher | `0x${string}`;

export interface VpnNlri extends WithPathId {
  readonly rd: WireRd;
  readonly prefix: PrefixText;
  /** 20 bits. Not in a withdrawal, where it means nothing. */
  readonly label?: number;
}

/** Length 0 is the default: every route. */
export interface RtcNlri extends WithPathId {
  /** Bits of origin AS and route target that count: 0, or 32..96. */
  readonly bits: number;
  readonly originAs: number;
  /** Eight bytes, those past `bits` zero. */
  readonly target: Hex;
}

const RD_BYTES = 8;
const LABEL_BITS = 24;
/** RFC 8277 §2.4: the label of a withdrawal. */
const WITHDRAWN_LABEL = 0x800000;
const BOTTOM = 1;

/** Texts of distinguishers that were read, for routes come by the thousand with the same one. */
const rdTexts = new Map<number, WireRd>();
const MAX_RD_TEXTS = 4096;
/** Types 0 to 2, which we can spell. */
const LAST_KNOWN_RD = 0x0002ffff;

export function readRd(reader: NetReader): WireRd {
  if (reader.left < RD_BYTES) reader.take(RD_BYTES, 'route distinguisher');
  const high = reader.u32('route distinguisher');
  const low = reader.u32('route distinguisher');
  if (high > LAST_KNOWN_RD) return `0x${hexOf(rdBytes(high, low))}`;
  // 50 bits: a number has room for them.
  const number = high * 0x1_0000_0000 + low;
  let text = rdTexts.get(number);
  if (text === undefined) {
    text = formatRd(rdBytes(high, low));
    if (rdTexts.size === MAX_RD_TEXTS) rdTexts.clear();
    rdTexts.set(number, text);
  }
  return text;
}

function rdBytes(high: number, low: number): Uint8Array {
  const bytes = new Uint8Array(RD_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, high);
  view.setUint32(4, low);
  return bytes;
}

export function writeRd(writer: NetWriter, rd: WireRd): void {
  writer.put(rd.startsWith('0x') ? bytesOf(rd.slice(2)) : parseRd(rd));
}

export function readPrefix(reader: NetReader, family: IpFamily, bits: number): PrefixText {
  if (bits < 0 || bits > addressBits(family)) {
    throw new Malformed(`an IPv${family} prefix of ${bits} bits`);
  }
  const field = reader.take((bits + 7) >> 3, 'prefix');
  if (family === 4) return ipv4Prefix(field, bits);
  const bytes = new Uint8Array(16);
  bytes.set(field);
  return `${formatIp(family, maskBytes(bytes, bits))}/${bits}` as PrefixText;
}

/** The many: no copy is made of their bytes. */
function ipv4Prefix(field: Uint8Array, bits: number): PrefixText {
  const last = field.length - 1;
  const spare = (8 - (bits & 7)) & 7;
  const at = (index: number): number => {
    const byte = field[index] ?? 0;
    return index === last ? (byte >> spare) << spare : byte;
  };
  return `${at(0)}.${at(1)}.${at(2)}.${at(3)}/${bits}` as PrefixText;
}

function prefixBytes(text: PrefixText, family: IpFamily): { bits: number; bytes: Uint8Array } {
  const prefix = parsePrefix(text);
  if (prefix.family !== family) throw new RangeError(`${text} is not an IPv${family} prefix`);
  return { bits: prefix.length, bytes: prefix.bytes.subarray(0, (prefix.length + 7) >> 3) };
}

export function unicast(family: IpFamily): NlriCodec<UnicastNlri> {
  return {
    read: (reader) => ({ prefix: readPrefix(reader, family, reader.u8('prefix length')) }),
    write(writer, { prefix }) {
      const { bits, bytes } = prefixBytes(prefix, family);
      writer.u8(bits);
      writer.put(bytes);
    },
    key: ({ prefix }) => prefix,
  };
}

/** One label: more are for those who agreed on capability 8 (RFC 8277 §2.1), which we do not offer. */
export function vpn(family: IpFamily): NlriCodec<VpnNlri> {
  const before = LABEL_BITS + RD_BYTES * 8;
  return {
    read(reader, withdrawn) {
      const bits = reader.u8('NLRI length');
      if (bits < before) throw new Malformed(`${bits} bits are no label, distinguisher and prefix`);
      const label = reader.u24('label') >>> 4;
      const rd = readRd(reader);
      const prefix = readPrefix(reader, family, bits - before);
      return withdrawn ? { rd, prefix } : { rd, prefix, label };
    },
    write(writer, { rd, prefix, label }, withdrawn) {
      const { bits, bytes } = prefixBytes(prefix, family);
      if (!withdrawn && label === undefined) throw new RangeError(`${rd} ${prefix} has no label`);
      writer.u8(before + bits);
      writer.u24(withdrawn ? WITHDRAWN_LABEL : ((label as number) << 4) | BOTTOM);
      writeRd(writer, rd);
      writer.put(bytes);
    },
    key: ({ rd, prefix }) => `${rd} ${prefix}`,
  };
}

const RTC_BYTES = 12;
const RTC_MIN_BITS = 32;

export const rtc: NlriCodec<RtcNlri> = {
  read(reader) {
    const bits = reader.u8('NLRI length');
    if (bits !== 0 && (bits < RTC_MIN_BITS || bits > RTC_BYTES * 8)) {
      throw new Malformed(`a route target membership of ${bits} bits`);
    }
    const bytes = new Uint8Array(RTC_BYTES);
    bytes.set(reader.take((bits + 7) >> 3, 'route target membership'));
    const masked = maskBytes(bytes, bits);
    const originAs = new DataView(masked.buffer).getUint32(0);
    return { bits, originAs, target: hexOf(masked.subarray(4)) };
  },
  write(writer, { bits, originAs, target }) {
    if (bits !== 0 && (bits < RTC_MIN_BITS || bits > RTC_BYTES * 8)) {
      throw new RangeError(`a route target membership of ${bits} bits`);
    }
    const bytes = new Uint8Array(RTC_BYTES);
    new DataView(bytes.buffer).setUint32(0, originAs);
    bytes.set(bytesOf(target), 4);
    writer.u8(bits);
    writer.put(maskBytes(bytes, bits).subarray(0, (bits + 7) >> 3));
  },
  key: ({ bits, originAs, target }) => `${originAs} ${target}/${bits}`,
};
