/**
 * The little of Ethernet, ARP, IPv4, TCP and MPLS over UDP that simulated tenants and the fabric's audit
 * speak. Bytes are network order; decoders give undefined for what is not whole and sound, as a stack
 * would drop it. Not derived from the data plane's own headers: this is what it is judged by.
 * Sources: RFC 826, RFC 791, RFC 768, RFC 9293, RFC 3032, RFC 7510.
 */
import { checksum, folded, sum } from '../codec/checksum.ts';

export const ETHERTYPE = { ipv4: 0x0800, arp: 0x0806 } as const;
export const PROTOCOL = { icmp: 1, tcp: 6, udp: 17 } as const;
export const TCP = { fin: 0x01, syn: 0x02, rst: 0x04, psh: 0x08, ack: 0x10 } as const;
export const MPLS_UDP_PORT = 6635;

const IPV4_HEADER = 20;
const TCP_HEADER = 20;
const UDP_HEADER = 8;
const OPTION_END = 0;
const OPTION_NOP = 1;
const OPTION_MSS = 2;

export interface Frame {
  readonly destination: Buffer; // MAC
  readonly source: Buffer;
  readonly etherType: number;
  readonly payload: Buffer;
}

export interface Ipv4Packet {
  readonly source: number;
  readonly destination: number;
  readonly protocol: number;
  readonly ttl: number;
  readonly payload: Buffer;
}

export interface Segment {
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly sequence: number;
  readonly acknowledgement: number;
  readonly flags: number;
  /** Maximum segment size; on a SYN only. */
  readonly mss?: number | undefined;
  readonly data: Buffer;
}

export interface ArpMessage {
  readonly operation: 1 | 2;
  readonly senderMac: Buffer;
  readonly senderIp: number;
  readonly targetMac: Buffer;
  readonly targetIp: number;
}

/** One label, for nothing here stacks them. */
export interface MplsOverUdp {
  readonly outer: Ipv4Packet;
  readonly sourcePort: number;
  readonly label: number;
  readonly ttl: number;
  readonly inner: Ipv4Packet;
}

function pseudoSum(source: number, destination: number, protocol: number, length: number): number {
  return (
    (source >>> 16) +
    (source & 0xffff) +
    (destination >>> 16) +
    (destination & 0xffff) +
    protocol +
    length
  );
}

export function encodeFrame(frame: Frame): Buffer {
  const bytes = Buffer.allocUnsafe(14 + frame.payload.length);
  frame.destination.copy(bytes, 0);
  frame.source.copy(bytes, 6);
  bytes.writeUInt16BE(frame.etherType, 12);
  frame.payload.copy(bytes, 14);
  return bytes;
}

export function decodeFrame(bytes: Buffer): Frame | undefined {
  if (bytes.length < 14) return undefined;
  return {
    destination: bytes.subarray(0, 6),
    source: bytes.subarray(6, 12),
    etherType: bytes.readUInt16BE(12),
    payload: bytes.subarray(14),
  };
}

export function encodeIpv4(packet: Ipv4Packet): Buffer {
  const bytes = Buffer.alloc(IPV4_HEADER + packet.payload.length);
  bytes[0] = 0x45;
  bytes.writeUInt16BE(bytes.length, 2);
  bytes.writeUInt16BE(0x4000, 6); // DF, as today's hosts set it
  bytes[8] = packet.ttl;
  bytes[9] = packet.protocol;
  bytes.writeUInt32BE(packet.source, 12);
  bytes.writeUInt32BE(packet.destination, 16);
  bytes.writeUInt16BE(checksum(bytes.subarray(0, IPV4_HEADER)), 10);
  packet.payload.copy(bytes, IPV4_HEADER);
  return bytes;
}

/** Padding after the packet is allowed and left out. */
export function decodeIpv4(bytes: Buffer): Ipv4Packet | undefined {
  if (bytes.length < IPV4_HEADER || (bytes[0] as number) >> 4 !== 4) return undefined;
  const header = ((bytes[0] as number) & 15) * 4;
  const total = bytes.readUInt16BE(2);
  if (header < IPV4_HEADER || total < header || total > bytes.length) return undefined;
  if (checksum(bytes.subarray(0, header)) !== 0) return undefined;
  return {
    source: bytes.readUInt32BE(12),
    destination: bytes.readUInt32BE(16),
    protocol: bytes[9] as number,
    ttl: bytes[8] as number,
    payload: bytes.subarray(header, total),
  };
}

export function encodeSegment(source: number, destination: number, segment: Segment): Buffer {
  const header = segment.mss === undefined ? TCP_HEADER : TCP_HEADER + 4;
  const bytes = Buffer.alloc(header + segment.data.length);
  bytes.writeUInt16BE(segment.sourcePort, 0);
  bytes.writeUInt16BE(segment.destinationPort, 2);
  bytes.writeUInt32BE(segment.sequence >>> 0, 4);
  bytes.writeUInt32BE(segment.acknowledgement >>> 0, 8);
  bytes[12] = (header / 4) << 4;
  bytes[13] = segment.flags;
  bytes.writeUInt16BE(0xffff, 14);
  if (segment.mss !== undefined) {
    bytes[TCP_HEADER] = OPTION_MSS;
    bytes[TCP_HEADER + 1] = 4;
    bytes.writeUInt16BE(segment.mss, TCP_HEADER + 2);
  }
  segment.data.copy(bytes, header);
  const pseudo = pseudoSum(source, destination, PROTOCOL.tcp, bytes.length);
  bytes.writeUInt16BE(folded(sum(bytes, pseudo)), 16);
  return bytes;
}

function mssOf(options: Buffer): number | undefined {
  for (let at = 0; at < options.length; ) {
    const kind = options[at] as number;
    if (kind === OPTION_END) return undefined;
    if (kind === OPTION_NOP) {
      at += 1;
      continue;
    }
    const length = options[at + 1] ?? 0;
    if (length < 2 || at + length > options.length) return undefined;
    if (kind === OPTION_MSS && length === 4) return options.readUInt16BE(at + 2);
    at += length;
  }
  return undefined;
}

export function decodeSegment(packet: Ipv4Packet): Segment | undefined {
  const bytes = packet.payload;
  if (packet.protocol !== PROTOCOL.tcp || bytes.length < TCP_HEADER) return undefined;
  const header = ((bytes[12] as number) >> 4) * 4;
  if (header < TCP_HEADER || header > bytes.length) return undefined;
  const pseudo = pseudoSum(packet.source, packet.destination, PROTOCOL.tcp, bytes.length);
  if (folded(sum(bytes, pseudo)) !== 0) return undefined;
  return {
    sourcePort: bytes.readUInt16BE(0),
    destinationPort: bytes.readUInt16BE(2),
    sequence: bytes.readUInt32BE(4),
    acknowledgement: bytes.readUInt32BE(8),
    flags: bytes[13] as number,
    mss: header === TCP_HEADER ? undefined : mssOf(bytes.subarray(TCP_HEADER, header)),
    data: bytes.subarray(header),
  };
}

/** A packet of the fabric; a text says what is wrong with it. */
export function decodeMplsOverUdp(bytes: Buffer): MplsOverUdp | string {
  const frame = decodeFrame(bytes);
  if (frame?.etherType !== ETHERTYPE.ipv4) return 'not IPv4';
  const outer = decodeIpv4(frame.payload);
  if (outer === undefined) return 'outer IPv4 header: length or checksum';
  if (outer.protocol !== PROTOCOL.udp || outer.payload.length < UDP_HEADER) return 'not UDP';
  const udp = outer.payload;
  if (udp.readUInt16BE(2) !== MPLS_UDP_PORT) return `UDP port ${udp.readUInt16BE(2)}`;
  if (udp.readUInt16BE(4) !== udp.length) return 'UDP length';
  // Zero: none was computed, which RFC 7510 allows on IPv4.
  const pseudo = pseudoSum(outer.source, outer.destination, PROTOCOL.udp, udp.length);
  if (udp.readUInt16BE(6) !== 0 && folded(sum(udp, pseudo)) !== 0) return 'UDP checksum';
  if (udp.length < UDP_HEADER + 4) return 'no MPLS label';
  const entry = udp.readUInt32BE(UDP_HEADER);
  if ((entry & 0x100) === 0) return 'more than one MPLS label';
  if ((entry & 0xff) === 0) return 'MPLS TTL 0';
  const payload = udp.subarray(UDP_HEADER + 4);
  const inner = decodeIpv4(payload);
  if (inner === undefined) return 'inner IPv4 header: length or checksum';
  if (inner.ttl === 0) return 'inner TTL 0';
  if (payload.readUInt16BE(2) !== payload.length) return 'inner length';
  return {
    outer,
    sourcePort: udp.readUInt16BE(0),
    label: entry >>> 12,
    ttl: entry & 0xff,
    inner,
  };
}

export function encodeArp(message: ArpMessage): Buffer {
  const b = Buffer.alloc(28);
  b.writeUInt16BE(1, 0);
  b.writeUInt16BE(ETHERTYPE.ipv4, 2);
  b[4] = 6;
  b[5] = 4;
  b.writeUInt16BE(message.operation, 6);
  message.senderMac.copy(b, 8);
  b.writeUInt32BE(message.senderIp, 14);
  message.targetMac.copy(b, 18);
  b.writeUInt32BE(message.targetIp, 24);
  return b;
}

export function decodeArp(b: Buffer): ArpMessage | undefined {
  if (b.length < 28) return undefined;
  const operation = b.readUInt16BE(6);
  if (operation !== 1 && operation !== 2) return undefined;
  return {
    operation,
    senderMac: b.subarray(8, 14),
    senderIp: b.readUInt32BE(14),
    targetMac: b.subarray(18, 24),
    targetIp: b.readUInt32BE(24),
  };
}

export function ipv4Number(text: string): number {
  return text.split('.').reduce((n, part) => n * 256 + Number(part), 0);
}

export function ipv4Text(n: number): string {
  return `${n >>> 24}.${(n >>> 16) & 255}.${(n >>> 8) & 255}.${n & 255}`;
}

export function macBytes(text: string): Buffer {
  return Buffer.from(text.replaceAll(':', ''), 'hex');
}
