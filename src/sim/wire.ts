/**
 * The little of Ethernet, ARP, IPv4, TCP and ICMP that simulated tenants speak. Written for clarity, not
 * speed; bytes are network order. Sources: RFC 826, RFC 791, RFC 792, RFC 9293.
 */

export const ETHERTYPE = { ipv4: 0x0800, arp: 0x0806 } as const;
export const PROTOCOL = { icmp: 1, tcp: 6, udp: 17 } as const;
export const TCP = { fin: 0x01, syn: 0x02, rst: 0x04, psh: 0x08, ack: 0x10 } as const;

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
  readonly data: Buffer;
}

export interface ArpMessage {
  readonly operation: 1 | 2;
  readonly senderMac: Buffer;
  readonly senderIp: number;
  readonly targetMac: Buffer;
  readonly targetIp: number;
}

/** RFC 1071 over any number of pieces, each of even length but the last. */
export function checksum(...pieces: readonly Buffer[]): number {
  let sum = 0;
  for (const piece of pieces) {
    for (let i = 0; i + 1 < piece.length; i += 2) sum += piece.readUInt16BE(i);
    if (piece.length % 2 === 1) sum += (piece[piece.length - 1] ?? 0) << 8;
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x10000);
  return ~sum & 0xffff;
}

export function encodeFrame(frame: Frame): Buffer {
  const header = Buffer.alloc(14);
  frame.destination.copy(header, 0);
  frame.source.copy(header, 6);
  header.writeUInt16BE(frame.etherType, 12);
  return Buffer.concat([header, frame.payload]);
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
  const header = Buffer.alloc(20);
  header[0] = 0x45;
  header.writeUInt16BE(20 + packet.payload.length, 2);
  header.writeUInt16BE(0x4000, 6); // DF, as today's hosts set it
  header[8] = packet.ttl;
  header[9] = packet.protocol;
  header.writeUInt32BE(packet.source, 12);
  header.writeUInt32BE(packet.destination, 16);
  header.writeUInt16BE(checksum(header), 10);
  return Buffer.concat([header, packet.payload]);
}

/** undefined: not a whole, sound IPv4 packet. */
export function decodeIpv4(bytes: Buffer): Ipv4Packet | undefined {
  if (bytes.length < 20 || (bytes[0] ?? 0) >> 4 !== 4) return undefined;
  const header = ((bytes[0] ?? 0) & 15) * 4;
  const total = bytes.readUInt16BE(2);
  if (header < 20 || total < header || total > bytes.length) return undefined;
  if (checksum(bytes.subarray(0, header)) !== 0) return undefined;
  return {
    source: bytes.readUInt32BE(12),
    destination: bytes.readUInt32BE(16),
    protocol: bytes[9] ?? 0,
    ttl: bytes[8] ?? 0,
    payload: bytes.subarray(header, total),
  };
}

function pseudoHeader(source: number, destination: number, protocol: number, length: number): Buffer {
  const pseudo = Buffer.alloc(12);
  pseudo.writeUInt32BE(source, 0);
  pseudo.writeUInt32BE(destination, 4);
  pseudo[9] = protocol;
  pseudo.writeUInt16BE(length, 10);
  return pseudo;
}

export function encodeSegment(source: number, destination: number, segment: Segment): Buffer {
  const header = Buffer.alloc(20);
  header.writeUInt16BE(segment.sourcePort, 0);
  header.writeUInt16BE(segment.destinationPort, 2);
  header.writeUInt32BE(segment.sequence >>> 0, 4);
  header.writeUInt32BE(segment.acknowledgement >>> 0, 8);
  header[12] = 0x50;
  header[13] = segment.flags;
  header.writeUInt16BE(0xffff, 14);
  const length = 20 + segment.data.length;
  const pseudo = pseudoHeader(source, destination, PROTOCOL.tcp, length);
  header.writeUInt16BE(checksum(pseudo, header, segment.data), 16);
  return Buffer.concat([header, segment.data]);
}

/** undefined: malformed, or its checksum is wrong: a tenant's stack would drop it. */
export function decodeSegment(packet: Ipv4Packet): Segment | undefined {
  const p = packet.payload;
  if (packet.protocol !== PROTOCOL.tcp || p.length < 20) return undefined;
  const header = ((p[12] ?? 0) >> 4) * 4;
  if (header < 20 || header > p.length) return undefined;
  const pseudo = pseudoHeader(packet.source, packet.destination, PROTOCOL.tcp, p.length);
  if (checksum(pseudo, p) !== 0) return undefined;
  return {
    sourcePort: p.readUInt16BE(0),
    destinationPort: p.readUInt16BE(2),
    sequence: p.readUInt32BE(4),
    acknowledgement: p.readUInt32BE(8),
    flags: p[13] ?? 0,
    data: p.subarray(header),
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
  return [n >>> 24, (n >>> 16) & 255, (n >>> 8) & 255, n & 255].join('.');
}

export function macBytes(text: string): Buffer {
  return Buffer.from(text.replaceAll(':', ''), 'hex');
}
