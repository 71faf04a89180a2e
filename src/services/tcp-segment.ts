/**
 * TCP headers (RFC 9293 §3.1) for who asks whether a port is open and for who says that none is: no options,
 * no data, no connection. Checksums are those of frame.ts.
 */
import { type Addresses, bad, buildFrame, type Packet, PROTOCOL, view } from './frame.ts';

export const TCP_FLAG = { fin: 1, syn: 2, rst: 4, ack: 16 } as const;
const HEADER = 20;
const CHECKSUM_AT = 16;

export interface Segment {
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly sequence: number;
  readonly acknowledged: number;
  readonly flags: number;
}

export function parseSegment({ protocol, payload }: Packet): Segment {
  if (protocol !== PROTOCOL.tcp) bad(`protocol ${protocol} is not TCP`);
  const at = view(payload);
  const header = (at.getUint8(12) >> 4) * 4;
  if (header < HEADER || header > payload.length) bad(`TCP: a header of ${header} bytes`);
  return {
    sourcePort: at.getUint16(0),
    destinationPort: at.getUint16(2),
    sequence: at.getUint32(4),
    acknowledged: at.getUint32(8),
    flags: at.getUint8(13),
  };
}

export function buildSegment(addresses: Addresses, segment: Segment): Uint8Array {
  const bytes = new Uint8Array(HEADER);
  const at = view(bytes);
  at.setUint16(0, segment.sourcePort);
  at.setUint16(2, segment.destinationPort);
  at.setUint32(4, segment.sequence);
  at.setUint32(8, segment.acknowledged);
  at.setUint8(12, (HEADER / 4) << 4);
  at.setUint8(13, segment.flags);
  at.setUint16(14, 0xffff);
  return buildFrame(addresses, PROTOCOL.tcp, bytes, CHECKSUM_AT);
}
