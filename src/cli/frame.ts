/**
 * One frame from the few fields a person thinks in: `--src`, `--dst`, `--proto`, ports, flags. For
 * `vrouter explain`; checksums are right, so that the packet is judged for what it says.
 */
import { parseIp } from '../addr/ip.ts';
import { parseMac } from '../addr/mac.ts';
import { checksum } from '../codec/checksum.ts';
import { ParseError } from '../errors.ts';

export interface FrameFields {
  readonly sourceMac: string;
  readonly destinationMac: string;
  readonly source: string;
  readonly destination: string;
  readonly protocol: string;
  readonly sourcePort: number;
  readonly destinationPort: number;
  /** TCP, scapy's letters: F S R P A U E C. */
  readonly flags: string;
  readonly ttl: number;
  readonly payload: Uint8Array;
  /** ICMP: an echo reply. */
  readonly reply?: boolean;
}

export const FRAME_PROTOCOLS = ['tcp', 'udp', 'icmp', 'icmp6', 'sctp'] as const;
const NUMBERS: Readonly<Record<string, number>> = {
  tcp: 6,
  udp: 17,
  icmp: 1,
  icmp6: 58,
  sctp: 132,
};
const TCP_FLAGS = 'FSRPAUEC';

function tcpFlags(letters: string): number {
  let bits = 0;
  for (const letter of letters.toUpperCase()) {
    const bit = TCP_FLAGS.indexOf(letter);
    if (bit < 0) throw new ParseError(`--flags: "${letter}" is none of ${TCP_FLAGS}`);
    bits |= 1 << bit;
  }
  return bits;
}

const CRC32C = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0x82f63b78 : value >>> 1;
  return value;
});

/** SCTP's checksum (RFC 9260 appendix A), as it stands on the wire. */
function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = (CRC32C[(crc ^ byte) & 0xff] as number) ^ (crc >>> 8);
  return ~crc >>> 0;
}

/** Header and payload of the transport; where its checksum stands, -1 for none of RFC 1071's. */
function transport(fields: FrameFields): { bytes: Uint8Array; checksumAt: number } {
  const { sourcePort, destinationPort, payload } = fields;
  const sizes: Readonly<Record<string, number>> = { tcp: 20, udp: 8, icmp: 8, icmp6: 8, sctp: 12 };
  const size = sizes[fields.protocol] as number;
  const bytes = new Uint8Array(size + payload.length);
  const view = new DataView(bytes.buffer);
  bytes.set(payload, size);
  if (fields.protocol === 'icmp' || fields.protocol === 'icmp6') {
    // Echo; the ports' place is taken by identifier and sequence.
    const [request, reply] = fields.protocol === 'icmp' ? [8, 0] : [128, 129];
    view.setUint8(0, fields.reply === true ? reply : request);
    view.setUint16(4, sourcePort);
    view.setUint16(6, destinationPort);
    return { bytes, checksumAt: 2 };
  }
  view.setUint16(0, sourcePort);
  view.setUint16(2, destinationPort);
  if (fields.protocol === 'udp') {
    view.setUint16(4, bytes.length);
    return { bytes, checksumAt: 6 };
  }
  if (fields.protocol === 'sctp') {
    view.setUint32(8, crc32c(bytes), true);
    return { bytes, checksumAt: -1 };
  }
  view.setUint32(4, 1);
  view.setUint8(12, 5 << 4);
  view.setUint8(13, tcpFlags(fields.flags));
  view.setUint16(14, 65535);
  return { bytes, checksumAt: 16 };
}

export function buildFrame(fields: FrameFields): Uint8Array {
  const source = parseIp(fields.source);
  const destination = parseIp(fields.destination);
  if (source.family !== destination.family) {
    throw new ParseError('--src and --dst are of different families');
  }
  const four = source.family === 4;
  if ((fields.protocol === 'icmp') !== four && fields.protocol.startsWith('icmp')) {
    throw new ParseError(`--proto: ${fields.protocol} does not go with these addresses`);
  }
  const protocol = NUMBERS[fields.protocol];
  if (protocol === undefined) {
    throw new ParseError(`--proto: one of ${FRAME_PROTOCOLS.join(', ')} is needed`);
  }
  const { bytes: body, checksumAt } = transport(fields);
  if (checksumAt >= 0) {
    const pseudo = new Uint8Array(four ? 12 : 40);
    const view = new DataView(pseudo.buffer);
    pseudo.set(source.bytes, 0);
    pseudo.set(destination.bytes, four ? 4 : 16);
    if (four) {
      view.setUint8(9, protocol);
      view.setUint16(10, body.length);
    } else {
      view.setUint32(32, body.length);
      view.setUint8(39, protocol);
    }
    // ICMP alone has no pseudo-header.
    const sum = fields.protocol === 'icmp' ? checksum(body) : checksum(pseudo, body);
    new DataView(body.buffer).setUint16(checksumAt, sum === 0 && protocol === 17 ? 0xffff : sum);
  }
  const head = new Uint8Array(14 + (four ? 20 : 40));
  const view = new DataView(head.buffer);
  head.set(parseMac(fields.destinationMac), 0);
  head.set(parseMac(fields.sourceMac), 6);
  view.setUint16(12, four ? 0x0800 : 0x86dd);
  if (four) {
    head.set([0x45, 0], 14);
    view.setUint16(16, 20 + body.length);
    view.setUint16(20, 0x4000);
    head.set([fields.ttl, protocol], 22);
    head.set(source.bytes, 26);
    head.set(destination.bytes, 30);
    view.setUint16(24, checksum(head.subarray(14)));
  } else {
    view.setUint32(14, 0x60000000);
    view.setUint16(18, body.length);
    head.set([protocol, fields.ttl], 20);
    head.set(source.bytes, 22);
    head.set(destination.bytes, 38);
  }
  const frame = new Uint8Array(head.length + body.length);
  frame.set(head);
  frame.set(body, head.length);
  return frame;
}
