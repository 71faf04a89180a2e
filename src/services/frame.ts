/**
 * Frames of a tenant's link as the services see them: Ethernet, IPv4 or IPv6, and what is in it. Big-endian
 * throughout; nothing behind an IP packet (padding) is seen.
 * Invariant: what parseFrame() answers has been checked: lengths, the IPv4 header's checksum, and for UDP,
 * TCP, ICMP and ICMPv6 their own. Anything else is a VRouterError BAD_PACKET that says what is wrong.
 */
import { formatIp, type IpFamily, type IpText, parseIp } from '../addr/ip.ts';
import { formatMac, type MacText, parseMac } from '../addr/mac.ts';
import { checksum, folded, sum } from '../codec/checksum.ts';
import { VRouterError } from '../errors.ts';

export const PROTOCOL = { icmp: 1, tcp: 6, udp: 17, icmp6: 58 } as const;
export const ETHER_HEADER = 14;
const TYPE_IPV4 = 0x0800;
const TYPE_IPV6 = 0x86dd;
const IPV4_HEADER = 20;
const IPV6_HEADER = 40;
const UDP_HEADER = 8;
const FRAGMENT_BITS = 0x3fff; // more fragments, and the offset
/** Least length of what has a checksum of its own. */
const LEAST: Readonly<Record<number, number>> = { 1: 8, 6: 20, 17: UDP_HEADER, 58: 4 };

export interface Packet {
  readonly sourceMac: MacText;
  readonly destinationMac: MacText;
  readonly family: IpFamily;
  readonly source: IpText;
  readonly destination: IpText;
  readonly protocol: number;
  readonly hopLimit: number;
  /** What the IP header is in front of: a view. */
  readonly payload: Uint8Array;
}

/** Addresses and ports of a datagram, and what is in it. */
export interface Datagram extends Packet {
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly data: Uint8Array;
}

export function bad(what: string): never {
  throw new VRouterError('BAD_PACKET', what);
}

export function view(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** With the pseudo header of RFC 768, 9293 and 8200; ICMP over IPv4 has none. */
function transportChecksum(
  protocol: number,
  source: Uint8Array,
  destination: Uint8Array,
  payload: Uint8Array,
): number {
  if (protocol === PROTOCOL.icmp) return checksum(payload);
  const addresses = sum(destination, sum(source));
  return folded(sum(payload, addresses + protocol + payload.length));
}

export function parseFrame(frame: Uint8Array): Packet {
  if (frame.length < ETHER_HEADER) bad(`a frame of ${frame.length} bytes`);
  const type = view(frame).getUint16(12);
  const macs = {
    destinationMac: formatMac(frame.subarray(0, 6)),
    sourceMac: formatMac(frame.subarray(6, 12)),
  };
  const packet = frame.subarray(ETHER_HEADER);
  if (type === TYPE_IPV4) return checked({ ...macs, ...parseIpv4(packet) });
  if (type === TYPE_IPV6) return checked({ ...macs, ...parseIpv6(packet) });
  return bad(`ethertype 0x${type.toString(16)}`);
}

type IpPart = Omit<Packet, 'sourceMac' | 'destinationMac'>;

function parseIpv4(packet: Uint8Array): IpPart {
  if (packet.length < IPV4_HEADER) bad(`an IPv4 packet of ${packet.length} bytes`);
  const at = view(packet);
  const header = ((packet[0] as number) & 0xf) * 4;
  const total = at.getUint16(2);
  if ((packet[0] as number) >> 4 !== 4 || header < IPV4_HEADER) bad('no IPv4 header');
  if (total < header || total > packet.length) {
    bad(`IPv4: ${total} bytes with a header of ${header}, in ${packet.length}`);
  }
  if (checksum(packet.subarray(0, header)) !== 0) bad('the checksum of the IPv4 header');
  if ((at.getUint16(6) & FRAGMENT_BITS) !== 0) bad('a fragment');
  return {
    family: 4,
    hopLimit: packet[8] as number,
    protocol: packet[9] as number,
    source: formatIp(4, packet.subarray(12, 16)),
    destination: formatIp(4, packet.subarray(16, 20)),
    payload: packet.subarray(header, total),
  };
}

/** Extension headers are none of a service's business: what has them is refused by its protocol. */
function parseIpv6(packet: Uint8Array): IpPart {
  if (packet.length < IPV6_HEADER) bad(`an IPv6 packet of ${packet.length} bytes`);
  const length = view(packet).getUint16(4);
  if ((packet[0] as number) >> 4 !== 6) bad('no IPv6 header');
  if (IPV6_HEADER + length > packet.length) bad(`IPv6: a payload of ${length} bytes is not there`);
  return {
    family: 6,
    protocol: packet[6] as number,
    hopLimit: packet[7] as number,
    source: formatIp(6, packet.subarray(8, 24)),
    destination: formatIp(6, packet.subarray(24, 40)),
    payload: packet.subarray(IPV6_HEADER, IPV6_HEADER + length),
  };
}

function checked(packet: Packet): Packet {
  const { family, protocol, payload } = packet;
  const least = LEAST[protocol];
  if (least === undefined) return packet;
  if (payload.length < least) bad(`protocol ${protocol}: ${payload.length} bytes`);
  // Over IPv4 a UDP checksum of 0 is none (RFC 768); IPv6 does not have that (RFC 8200 §8.1).
  if (protocol === PROTOCOL.udp && family === 4 && view(payload).getUint16(6) === 0) return packet;
  const [source, destination] = [parseIp(packet.source).bytes, parseIp(packet.destination).bytes];
  const covered = protocol === PROTOCOL.udp ? udpBytes(payload) : payload;
  if (transportChecksum(protocol, source, destination, covered) !== 0) bad('the checksum');
  return packet;
}

/** A datagram may be shorter than the packet it is in, never longer. */
function udpBytes(payload: Uint8Array): Uint8Array {
  const length = view(payload).getUint16(4);
  if (length < UDP_HEADER || length > payload.length) bad(`UDP: a length of ${length}`);
  return payload.subarray(0, length);
}

/** Of a packet whose protocol is UDP. */
export function parseDatagram(packet: Packet): Datagram {
  if (packet.protocol !== PROTOCOL.udp) bad(`protocol ${packet.protocol} is not UDP`);
  const bytes = udpBytes(packet.payload);
  const at = view(bytes);
  return {
    ...packet,
    sourcePort: at.getUint16(0),
    destinationPort: at.getUint16(2),
    data: bytes.subarray(UDP_HEADER),
  };
}

export interface Addresses {
  readonly sourceMac: string;
  readonly destinationMac: string;
  readonly source: string;
  readonly destination: string;
  /** Default 64. */
  readonly hopLimit?: number;
}

/** A frame around a transport header and data whose checksum field, at `sumAt`, is written here. */
export function buildFrame(
  addresses: Addresses,
  protocol: number,
  payload: Uint8Array,
  sumAt: number,
): Uint8Array {
  const source = parseIp(addresses.source);
  const destination = parseIp(addresses.destination);
  if (source.family !== destination.family) bad('addresses of two families');
  const v4 = source.family === 4;
  const header = v4 ? IPV4_HEADER : IPV6_HEADER;
  const frame = new Uint8Array(ETHER_HEADER + header + payload.length);
  const at = view(frame);
  frame.set(parseMac(addresses.destinationMac), 0);
  frame.set(parseMac(addresses.sourceMac), 6);
  at.setUint16(12, v4 ? TYPE_IPV4 : TYPE_IPV6);
  const ip = frame.subarray(ETHER_HEADER);
  const hopLimit = addresses.hopLimit ?? 64;
  if (v4) {
    ip[0] = 0x45;
    view(ip).setUint16(2, header + payload.length);
    ip[8] = hopLimit;
    ip[9] = protocol;
    ip.set(source.bytes, 12);
    ip.set(destination.bytes, 16);
    view(ip).setUint16(10, checksum(ip.subarray(0, header)));
  } else {
    ip[0] = 0x60;
    view(ip).setUint16(4, payload.length);
    ip[6] = protocol;
    ip[7] = hopLimit;
    ip.set(source.bytes, 8);
    ip.set(destination.bytes, 24);
  }
  const body = ip.subarray(header);
  body.set(payload);
  view(body).setUint16(sumAt, 0);
  const value = transportChecksum(protocol, source.bytes, destination.bytes, body);
  // 0 would say that there is none.
  view(body).setUint16(sumAt, value === 0 && protocol === PROTOCOL.udp ? 0xffff : value);
  return frame;
}

export function buildDatagram(
  addresses: Addresses & { readonly sourcePort: number; readonly destinationPort: number },
  data: Uint8Array,
): Uint8Array {
  const payload = new Uint8Array(UDP_HEADER + data.length);
  const at = view(payload);
  at.setUint16(0, addresses.sourcePort);
  at.setUint16(2, addresses.destinationPort);
  at.setUint16(4, payload.length);
  payload.set(data, UDP_HEADER);
  return buildFrame(addresses, PROTOCOL.udp, payload, 6);
}
