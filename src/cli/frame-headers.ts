/**
 * The addresses and ports of a frame, and what is inside a tunnel: what `vrouter why` follows a packet by.
 * Every length is checked; undefined: it is not whole, or nothing known here.
 */
import { formatIp } from '../addr/ip.ts';
import { formatMac } from '../addr/mac.ts';

export interface FrameHeaders {
  readonly destinationMac: string;
  readonly sourceMac: string;
  readonly source: string;
  readonly destination: string;
  readonly protocol: number;
  /** 0 where the protocol has none; ICMP echo: identifier and sequence. */
  readonly sourcePort: number;
  readonly destinationPort: number;
  /** ICMP's type and code, type in the upper byte; of other protocols 0. */
  readonly icmp: number;
  /** Where the transport header begins. */
  readonly transportAt: number;
}

const ETHERNET = 14;
const MPLS_UDP = new Set([6635, 51234]);
const VXLAN = 4789;
const UDP = 17;
const GRE = 47;
const WITH_PORTS = new Set([6, UDP, 132]);
const ICMP = new Set([1, 58]);

const u16 = (bytes: Uint8Array, at: number) =>
  ((bytes[at] as number) << 8) | (bytes[at + 1] as number);

/** Of the outermost IP packet; first fragments and whole packets only. */
export function headersOf(frame: Uint8Array): FrameHeaders | undefined {
  if (frame.length < ETHERNET + 20) return undefined;
  const version = (frame[ETHERNET] as number) >> 4;
  const four = version === 4;
  if (!four && (version !== 6 || frame.length < ETHERNET + 40)) return undefined;
  if (four && (u16(frame, ETHERNET + 6) & 0x1fff) !== 0) return undefined;
  const transportAt = ETHERNET + (four ? ((frame[ETHERNET] as number) & 15) * 4 : 40);
  const protocol = frame[ETHERNET + (four ? 9 : 6)] as number;
  const needed = WITH_PORTS.has(protocol) ? 4 : ICMP.has(protocol) ? 8 : 0;
  if (frame.length < transportAt + needed) return undefined;
  const address = (at: number) =>
    formatIp(four ? 4 : 6, frame.subarray(ETHERNET + at, ETHERNET + at + (four ? 4 : 16)));
  const portsAt = transportAt + (ICMP.has(protocol) ? 4 : 0);
  return {
    destinationMac: formatMac(frame.subarray(0, 6)),
    sourceMac: formatMac(frame.subarray(6, 12)),
    source: address(four ? 12 : 8),
    destination: address(four ? 16 : 24),
    protocol,
    sourcePort: needed === 0 ? 0 : u16(frame, portsAt),
    destinationPort: needed === 0 ? 0 : u16(frame, portsAt + 2),
    icmp: ICMP.has(protocol) ? u16(frame, transportAt) : 0,
    transportAt,
  };
}

/** The packet inside MPLS over UDP or GRE, or VXLAN, with an Ethernet header (of zeros for bare IP). */
function inside(frame: Uint8Array, outer: FrameHeaders): Uint8Array | undefined {
  let at = outer.transportAt;
  if (outer.protocol === UDP && outer.destinationPort === VXLAN) {
    return frame.length > at + 16 ? frame.subarray(at + 16) : undefined;
  }
  if (outer.protocol === UDP && MPLS_UDP.has(outer.destinationPort)) at += 8;
  else if (outer.protocol === GRE && frame.length > at + 4 && u16(frame, at + 2) === 0x8847)
    at += 4;
  else return undefined;
  while (at + 4 <= frame.length && ((frame[at + 2] as number) & 1) === 0) at += 4;
  const inner = frame.subarray(at + 4);
  const version = (inner[0] ?? 0) >> 4;
  if (version !== 4 && version !== 6) return inner;
  const whole = new Uint8Array(ETHERNET + inner.length);
  whole.set(version === 4 ? [0x08, 0x00] : [0x86, 0xdd], 12);
  whole.set(inner, ETHERNET);
  return whole;
}

/** Of the innermost IP packet. */
export function innermostHeaders(frame: Uint8Array): FrameHeaders | undefined {
  let headers = headersOf(frame);
  let at: Uint8Array | undefined = frame;
  while (headers !== undefined && at !== undefined) {
    at = inside(at, headers);
    const next = at === undefined ? undefined : headersOf(at);
    if (next === undefined) return headers;
    headers = next;
  }
  return headers;
}
