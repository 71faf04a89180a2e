/**
 * Tunnels in attributes: the tunnel encapsulation attribute (RFC 9012) and the PMSI tunnel (RFC 6514 §5).
 * Sub-TLVs that are not in the table are carried as they came. A TLV without a value is never written: some
 * speakers end the session over one.
 */
import { formatIp, type IpText, parseIp } from '../../addr/ip.ts';
import { bytesOf, type Hex, hexOf, NetReader, type NetWriter, written } from './bytes.ts';
import { Malformed } from './finding.ts';

export interface Tunnel {
  /** Of TUNNEL_TYPES, or one we do not know. */
  readonly type: number;
  /** Where it ends. `next-hop`: where the route's next hop is; undefined: nobody said, so it is not used. */
  readonly endpoint?: IpText | 'next-hop';
  readonly udpPort?: number;
  readonly color?: number;
  readonly others?: readonly SubTlv[];
}

export interface SubTlv {
  readonly type: number;
  readonly value: Hex;
}

const ENDPOINT = 6;
const UDP_PORT = 8;
const COLOR = 4;
/** Sub-TLVs from here on have lengths of two bytes (RFC 9012 §2). */
const LONG_FROM = 128;
const AFI = { none: 0, ipv4: 1, ipv6: 2 } as const;
const COLOR_COMMUNITY = 0x030b;

function readEndpoint(reader: NetReader): IpText | 'next-hop' | undefined {
  if (reader.left < 6) return undefined;
  reader.u32('reserved');
  const afi = reader.u16('address family');
  if (afi === AFI.none && reader.left === 0) return 'next-hop';
  if (afi === AFI.ipv4 && reader.left === 4) return formatIp(4, reader.rest('endpoint'));
  if (afi === AFI.ipv6 && reader.left === 16) return formatIp(6, reader.rest('endpoint'));
  return undefined;
}

function readColor(value: Uint8Array): number | undefined {
  if (value.length !== 8) return undefined;
  const reader = new NetReader(value);
  // Flags are reserved here: one that has some is carried as it came.
  if (reader.u16('type') !== COLOR_COMMUNITY || reader.u16('flags') !== 0) return undefined;
  return reader.u32('color');
}

/** The table: a sub-TLV that fits its row becomes a field, once; all others stay as they are. */
const SUB_TLVS = {
  [ENDPOINT]: (value: Uint8Array) => fieldOf('endpoint', readEndpoint(new NetReader(value))),
  [UDP_PORT]: (value: Uint8Array) =>
    fieldOf('udpPort', value.length === 2 ? new NetReader(value).u16('port') : undefined),
  [COLOR]: (value: Uint8Array) => fieldOf('color', readColor(value)),
} as const satisfies Record<number, (value: Uint8Array) => Partial<Tunnel> | undefined>;

function fieldOf<K extends keyof Tunnel>(name: K, value: Tunnel[K]): Partial<Tunnel> | undefined {
  return value === undefined ? undefined : { [name]: value };
}

function readTunnel(type: number, body: NetReader): Tunnel {
  let tunnel: Tunnel = { type };
  const others: SubTlv[] = [];
  while (body.left > 0) {
    const code = body.u8('sub-TLV type');
    const length = code < LONG_FROM ? body.u8('sub-TLV length') : body.u16('sub-TLV length');
    const value = body.take(length, `sub-TLV ${code}`);
    const field = (SUB_TLVS as Record<number, (typeof SUB_TLVS)[6]>)[code]?.(value);
    const name = field === undefined ? undefined : Object.keys(field)[0];
    if (name !== undefined && !(name in tunnel)) tunnel = { ...tunnel, ...field };
    else others.push({ type: code, value: hexOf(value) });
  }
  return others.length === 0 ? tunnel : { ...tunnel, others };
}

/** RFC 9012 §13: what cannot be cut into TLVs withdraws the route; no TLV with a value is as no attribute. */
export function readTunnels(reader: NetReader): Tunnel[] {
  const tunnels: Tunnel[] = [];
  while (reader.left > 0) {
    const type = reader.u16('tunnel type');
    const body = reader.part(reader.u16('tunnel length'), `tunnel of type ${type}`);
    if (body.left > 0) tunnels.push(readTunnel(type, body));
  }
  if (tunnels.length === 0) throw new Malformed('no tunnel has a value', 'attribute-discard');
  return tunnels;
}

function writeSubTlv(writer: NetWriter, type: number, value: Uint8Array): void {
  if (type < LONG_FROM && value.length > 0xff) {
    throw new RangeError(`sub-TLV ${type} has ${value.length} bytes, 255 is the most`);
  }
  writer.u8(type);
  if (type < LONG_FROM) writer.u8(value.length);
  else writer.u16(value.length);
  writer.put(value);
}

function writeEndpoint(writer: NetWriter, endpoint: IpText | 'next-hop'): void {
  writer.u32(0);
  if (endpoint === 'next-hop') {
    writer.u16(AFI.none);
    return;
  }
  const { family, bytes } = parseIp(endpoint);
  writer.u16(family === 4 ? AFI.ipv4 : AFI.ipv6);
  writer.put(bytes);
}

function writeTunnel(writer: NetWriter, { endpoint, udpPort, color, others }: Tunnel): void {
  if (endpoint !== undefined) {
    writeSubTlv(
      writer,
      ENDPOINT,
      written((inner) => writeEndpoint(inner, endpoint)),
    );
  }
  if (udpPort !== undefined) writeSubTlv(writer, UDP_PORT, Uint8Array.of(udpPort >> 8, udpPort));
  if (color !== undefined) {
    const value = written((inner) => {
      inner.u16(COLOR_COMMUNITY);
      inner.u16(0);
      inner.u32(color);
    });
    writeSubTlv(writer, COLOR, value);
  }
  for (const { type, value } of others ?? []) writeSubTlv(writer, type, bytesOf(value));
}

/** Tunnels that say nothing are left out; nothing written means that there is no attribute to send. */
export function writeTunnels(writer: NetWriter, tunnels: readonly Tunnel[]): void {
  for (const tunnel of tunnels) {
    const body = written((inner) => writeTunnel(inner, tunnel));
    if (body.length === 0) continue;
    writer.u16(tunnel.type);
    writer.u16(body.length);
    writer.put(body);
  }
}

/** IANA, PMSI tunnel types. */
export const PMSI_TYPES = { none: 0, ingressReplication: 6, assistedReplication: 10 } as const;

export interface PmsiTunnel {
  readonly flags: number;
  readonly type: number;
  /** 24 bits as on the wire, see the label fields of EVPN. */
  readonly label: number;
  /** Of ingress replication. */
  readonly endpoint?: IpText;
  /** Of any other type. */
  readonly tunnelId?: Hex;
}

export function readPmsi(reader: NetReader): PmsiTunnel {
  const flags = reader.u8('flags');
  const type = reader.u8('tunnel type');
  const label = reader.u24('label');
  const id = reader.rest('tunnel id');
  if (type === PMSI_TYPES.ingressReplication) {
    if (id.length !== 4 && id.length !== 16) {
      throw new Malformed(`ingress replication to an address of ${id.length} bytes`);
    }
    return { flags, type, label, endpoint: formatIp(id.length === 4 ? 4 : 6, id) };
  }
  if (type === PMSI_TYPES.none && id.length > 0) throw new Malformed('no tunnel, with an id');
  return id.length === 0 ? { flags, type, label } : { flags, type, label, tunnelId: hexOf(id) };
}

export function writePmsi(writer: NetWriter, pmsi: PmsiTunnel): void {
  const { flags, type, label, endpoint, tunnelId } = pmsi;
  writer.u8(flags);
  writer.u8(type);
  writer.u24(label);
  if (endpoint !== undefined) writer.put(parseIp(endpoint).bytes);
  else if (tunnelId !== undefined) writer.put(bytesOf(tunnelId));
}
