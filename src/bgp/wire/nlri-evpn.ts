/**
 * EVPN NLRI (RFC 7432 §7, RFC 9136): type, length, body. A type that is not in the table is kept as it came,
 * for a reflector passes it on; a body that does not fit its type refuses the family, since it has no key.
 * Label fields are 24 bits as they are on the wire: a VNI where the encapsulation is VXLAN, otherwise a label and
 * four bits more. Which it is stands in the attributes (RFC 8365 §5.1.3); `labelOfField` and `fieldOfLabel`.
 */
import { formatIp, type IpText, parseIp } from '../../addr/ip.ts';
import { formatMac, type MacText, parseMac } from '../../addr/mac.ts';
import { type PrefixText, parsePrefix } from '../../addr/prefix.ts';
import { bytesOf, type Hex, hexOf, NetReader, type NetWriter, written } from './bytes.ts';
import { Malformed } from './finding.ts';
import {
  type NlriCodec,
  readPrefix,
  readRd,
  type WireRd,
  type WithPathId,
  writeRd,
} from './nlri.ts';

/** Ten bytes. */
export type Esi = Hex;
export const NO_ESI: Esi = '00'.repeat(10);
/** The tag of a route about a whole Ethernet segment. */
export const MAX_TAG = 0xffffffff;

export interface EthernetAd {
  readonly type: 'ethernet-ad';
  readonly rd: WireRd;
  readonly esi: Esi;
  readonly tag: number;
  readonly label: number;
}

export interface MacIp {
  readonly type: 'mac-ip';
  readonly rd: WireRd;
  readonly esi: Esi;
  readonly tag: number;
  readonly mac: MacText;
  readonly ip?: IpText;
  /** Of the bridge domain. */
  readonly label: number;
  /** Of the routing instance: symmetric IRB (RFC 9135). */
  readonly label2?: number;
}

export interface InclusiveMulticast {
  readonly type: 'multicast';
  readonly rd: WireRd;
  readonly tag: number;
  readonly originator: IpText;
}

export interface EthernetSegment {
  readonly type: 'ethernet-segment';
  readonly rd: WireRd;
  readonly esi: Esi;
  readonly originator: IpText;
}

export interface IpPrefixRoute {
  readonly type: 'ip-prefix';
  readonly rd: WireRd;
  readonly esi: Esi;
  readonly tag: number;
  readonly prefix: PrefixText;
  readonly gateway?: IpText;
  readonly label: number;
}

export interface UnknownEvpn {
  readonly type: 'unknown';
  readonly code: number;
  readonly body: Hex;
}

type Known = EthernetAd | MacIp | InclusiveMulticast | EthernetSegment | IpPrefixRoute;
export type EvpnNlri = (Known | UnknownEvpn) & WithPathId;

export function labelOfField(field: number): number {
  return field >>> 4;
}

export function fieldOfLabel(label: number): number {
  return (label << 4) | 1;
}

const ESI_BYTES = 10;
const MAC_BITS = 48;

const readEsi = (reader: NetReader): Esi => hexOf(reader.take(ESI_BYTES, 'ESI'));

function writeEsi(writer: NetWriter, esi: Esi): void {
  const bytes = bytesOf(esi);
  if (bytes.length !== ESI_BYTES) throw new RangeError(`an ESI of ${bytes.length} bytes`);
  writer.put(bytes);
}

function readAddress(reader: NetReader, what: string): IpText | undefined {
  const bits = reader.u8(`${what} length`);
  if (bits === 0) return undefined;
  if (bits !== 32 && bits !== 128) throw new Malformed(`${what}: an address of ${bits} bits`);
  return formatIp(bits === 32 ? 4 : 6, reader.take(bits >> 3, what));
}

function readOriginator(reader: NetReader): IpText {
  const originator = readAddress(reader, 'originator');
  if (originator === undefined) throw new Malformed('the originator has no address');
  return originator;
}

function writeAddress(writer: NetWriter, address: IpText | undefined): void {
  const bytes = address === undefined ? new Uint8Array(0) : parseIp(address).bytes;
  writer.u8(bytes.length * 8);
  writer.put(bytes);
}

/** Bodies of type 5 (RFC 9136 §3.1): the length says which family it is. */
const PREFIX_BODY = { 34: 4, 58: 6 } as const;

interface TypeRow<T extends Known> {
  readonly code: number;
  /** Of the body's bytes, all of which must be read. */
  read(reader: NetReader): T;
  write(writer: NetWriter, nlri: T): void;
  key(nlri: T): string;
  unfit?(nlri: T): string | undefined;
}

const TYPES: { readonly [K in Known as K['type']]: TypeRow<K> } = {
  'ethernet-ad': {
    code: 1,
    read: (reader) => ({
      type: 'ethernet-ad',
      rd: readRd(reader),
      esi: readEsi(reader),
      tag: reader.u32('Ethernet tag'),
      label: reader.u24('label'),
    }),
    write(writer, { rd, esi, tag, label }) {
      writeRd(writer, rd);
      writeEsi(writer, esi);
      writer.u32(tag);
      writer.u24(label);
    },
    key: ({ rd, esi, tag }) => `${rd} ${esi} ${tag}`,
  },
  'mac-ip': {
    code: 2,
    read(reader) {
      const [rd, esi, tag] = [readRd(reader), readEsi(reader), reader.u32('Ethernet tag')];
      const bits = reader.u8('MAC length');
      if (bits !== MAC_BITS) throw new Malformed(`a MAC address of ${bits} bits`);
      const mac = formatMac(reader.take(6, 'MAC'));
      const ip = readAddress(reader, 'IP');
      const label = reader.u24('label');
      const label2 = reader.left === 0 ? undefined : reader.u24('second label');
      return {
        ...{ type: 'mac-ip', rd, esi, tag, mac, label },
        ...(ip === undefined ? {} : { ip }),
        ...(label2 === undefined ? {} : { label2 }),
      };
    },
    write(writer, { rd, esi, tag, mac, ip, label, label2 }) {
      writeRd(writer, rd);
      writeEsi(writer, esi);
      writer.u32(tag);
      writer.u8(MAC_BITS);
      writer.put(parseMac(mac));
      writeAddress(writer, ip);
      writer.u24(label);
      if (label2 !== undefined) writer.u24(label2);
    },
    key: ({ rd, tag, mac, ip }) => `${rd} ${tag} ${mac} ${ip ?? '-'}`,
  },
  multicast: {
    code: 3,
    read: (reader) => ({
      type: 'multicast',
      rd: readRd(reader),
      tag: reader.u32('Ethernet tag'),
      originator: readOriginator(reader),
    }),
    write(writer, { rd, tag, originator }) {
      writeRd(writer, rd);
      writer.u32(tag);
      writeAddress(writer, originator);
    },
    key: ({ rd, tag, originator }) => `${rd} ${tag} ${originator}`,
  },
  'ethernet-segment': {
    code: 4,
    read: (reader) => ({
      type: 'ethernet-segment',
      rd: readRd(reader),
      esi: readEsi(reader),
      originator: readOriginator(reader),
    }),
    write(writer, { rd, esi, originator }) {
      writeRd(writer, rd);
      writeEsi(writer, esi);
      writeAddress(writer, originator);
    },
    key: ({ rd, esi, originator }) => `${rd} ${esi} ${originator}`,
  },
  'ip-prefix': {
    code: 5,
    read(reader) {
      const family = (PREFIX_BODY as Record<number, 4 | 6>)[reader.left];
      if (family === undefined) throw new Malformed(`a prefix route of ${reader.left} bytes`);
      const size = family === 4 ? 4 : 16;
      const [rd, esi, tag] = [readRd(reader), readEsi(reader), reader.u32('Ethernet tag')];
      const bits = reader.u8('prefix length');
      // The field has room for a whole address, however short the prefix.
      const prefix = readPrefix(cut(reader.take(size, 'prefix'), bits), family, bits);
      const gateway = reader.take(size, 'gateway');
      const label = reader.u24('label');
      return {
        ...{ type: 'ip-prefix', rd, esi, tag, prefix, label },
        ...(gateway.every((byte) => byte === 0) ? {} : { gateway: formatIp(family, gateway) }),
      };
    },
    write(writer, { rd, esi, tag, prefix, gateway, label }) {
      const { family, bytes, length } = parsePrefix(prefix);
      const via = gateway === undefined ? undefined : parseIp(gateway);
      if (via !== undefined && via.family !== family) {
        throw new RangeError(`${prefix} by ${gateway}: two families in one route`);
      }
      writeRd(writer, rd);
      writeEsi(writer, esi);
      writer.u32(tag);
      writer.u8(length);
      writer.put(bytes);
      writer.putPadded(via?.bytes ?? new Uint8Array(0), bytes.length);
      writer.u24(label);
    },
    key: ({ rd, tag, prefix }) => `${rd} ${tag} ${prefix}`,
    // RFC 9136 §3.1, 3.2: an overlay index is one thing, and without one there must be a label.
    unfit({ esi, gateway, label }) {
      if (esi !== NO_ESI && gateway !== undefined) return 'it has both an ESI and a gateway';
      if (esi === NO_ESI && gateway === undefined && label === 0) return 'it has no label';
      return undefined;
    },
  },
};

/** As many bytes of an address field as its prefix takes; more than there are is `readPrefix`'s to refuse. */
function cut(field: Uint8Array, bits: number): NetReader {
  return new NetReader(field.subarray(0, (bits + 7) >> 3));
}

const BY_CODE = new Map<number, TypeRow<Known>>(
  Object.values(TYPES).map((row) => [row.code, row as unknown as TypeRow<Known>]),
);

function rowOf(nlri: Known): TypeRow<Known> {
  return TYPES[nlri.type] as unknown as TypeRow<Known>;
}

export const evpn: NlriCodec<EvpnNlri> = {
  read(reader) {
    const code = reader.u8('route type');
    const body = reader.part(reader.u8('route length'), `EVPN route of type ${code}`);
    const row = BY_CODE.get(code);
    if (row === undefined) return { type: 'unknown', code, body: hexOf(body.rest('body')) };
    const nlri = row.read(body);
    if (body.left > 0) throw new Malformed(`EVPN type ${code}: ${body.left} bytes too many`);
    return nlri;
  },
  write(writer, nlri) {
    const body =
      nlri.type === 'unknown'
        ? bytesOf(nlri.body)
        : written((inner) => rowOf(nlri).write(inner, nlri));
    writer.u8(nlri.type === 'unknown' ? nlri.code : rowOf(nlri).code);
    writer.u8(body.length);
    writer.put(body);
  },
  key: (nlri) =>
    nlri.type === 'unknown'
      ? `${nlri.code} ${nlri.body}`
      : `${rowOf(nlri).code} ${rowOf(nlri).key(nlri)}`,
  unfit: (nlri) => (nlri.type === 'unknown' ? undefined : rowOf(nlri).unfit?.(nlri)),
};
