/**
 * Frames as text and back: hex digits in, one line out. The line names what a person looks for first
 * (addresses, ports, flags, the label or VNI and what is inside); it is no dissector.
 * Every length is checked: what is cut short is printed as far as it goes.
 */
import { formatIp } from '../addr/ip.ts';
import { formatMac } from '../addr/mac.ts';
import { ParseError } from '../errors.ts';

export function frameOfHex(hex: string): Uint8Array {
  const digits = hex.replace(/[\s:]/g, '').replace(/^0x/, '');
  if (!/^(?:[0-9a-fA-F]{2})+$/.test(digits)) {
    throw new ParseError('packet: pairs of hex digits are needed');
  }
  return Uint8Array.from(Buffer.from(digits, 'hex'));
}

const MPLS_UDP_PORTS = new Set([6635, 51234]);
const VXLAN_PORT = 4789;
/** Tunnels in tunnels are printed so deep. */
const MAX_DEPTH = 4;
const CUT = '[cut short]';

const u16 = (bytes: Uint8Array, at: number) =>
  ((bytes[at] as number) << 8) | (bytes[at + 1] as number);

function tcpLine(bytes: Uint8Array, ends: (source: number, destination: number) => string): string {
  if (bytes.length < 20) return `tcp ${CUT}`;
  const bits = bytes[13] as number;
  const flags = [...'FSRPAUEC'].filter((_, i) => bits & (1 << i)).join('');
  const size = ((bytes[12] as number) >> 4) << 2;
  return `${ends(u16(bytes, 0), u16(bytes, 2))} tcp ${flags || '-'} len ${Math.max(0, bytes.length - size)}`;
}

function mplsLine(bytes: Uint8Array, depth: number): string {
  let text = '';
  for (let at = 0; at + 4 <= bytes.length; at += 4) {
    const label = (u16(bytes, at) << 4) | ((bytes[at + 2] as number) >> 4);
    text += `mpls ${label} `;
    if (((bytes[at + 2] as number) & 1) === 0) continue;
    const inner = bytes.subarray(at + 4);
    const version = (inner[0] ?? 0) >> 4;
    const rest =
      version === 4 || version === 6 ? ipLine(inner, depth + 1) : etherLine(inner, depth + 1);
    return `${text}{ ${rest} }`;
  }
  return `${text}${CUT}`;
}

function udpLine(
  bytes: Uint8Array,
  ends: (source: number, destination: number) => string,
  depth: number,
): string {
  if (bytes.length < 8) return `udp ${CUT}`;
  const destination = u16(bytes, 2);
  const head = `${ends(u16(bytes, 0), destination)} udp`;
  const payload = bytes.subarray(8);
  if (depth < MAX_DEPTH && MPLS_UDP_PORTS.has(destination))
    return `${head} ${mplsLine(payload, depth)}`;
  if (depth < MAX_DEPTH && destination === VXLAN_PORT && payload.length >= 8) {
    const vni = (u16(payload, 4) << 8) | (payload[6] as number);
    return `${head} vxlan ${vni} { ${etherLine(payload.subarray(8), depth + 1)} }`;
  }
  return `${head} len ${payload.length}`;
}

function transportLine(
  protocol: number,
  bytes: Uint8Array,
  source: string,
  destination: string,
  depth: number,
): string {
  const wrap = (address: string) => (address.includes(':') ? `[${address}]` : address);
  const ends = (from: number, to: number) => `${wrap(source)}:${from} > ${wrap(destination)}:${to}`;
  if (protocol === 6) return tcpLine(bytes, ends);
  if (protocol === 17) return udpLine(bytes, ends, depth);
  if (protocol === 132 && bytes.length >= 4) return `${ends(u16(bytes, 0), u16(bytes, 2))} sctp`;
  const plain = `${source} > ${destination}`;
  if (protocol === 1 || protocol === 58) {
    const name = protocol === 1 ? 'icmp' : 'icmp6';
    return bytes.length < 2
      ? `${plain} ${name} ${CUT}`
      : `${plain} ${name} type ${bytes[0]} code ${bytes[1]}`;
  }
  if (protocol === 47 && bytes.length >= 4 && u16(bytes, 0) === 0 && depth < MAX_DEPTH) {
    if (u16(bytes, 2) === 0x8847) return `${plain} gre ${mplsLine(bytes.subarray(4), depth)}`;
  }
  return `${plain} protocol ${protocol} len ${bytes.length}`;
}

function ipLine(bytes: Uint8Array, depth: number): string {
  const version = (bytes[0] ?? 0) >> 4;
  if (version === 4) {
    const header = ((bytes[0] as number) & 15) * 4;
    if (bytes.length < Math.max(20, header) || header < 20) return `ip ${CUT}`;
    const source = formatIp(4, bytes.subarray(12, 16));
    const destination = formatIp(4, bytes.subarray(16, 20));
    const offset = (u16(bytes, 6) & 0x1fff) * 8;
    const body = bytes.subarray(header, Math.max(header, u16(bytes, 2)));
    if (offset > 0) return `${source} > ${destination} fragment at ${offset} len ${body.length}`;
    return transportLine(bytes[9] as number, body, source, destination, depth);
  }
  if (version !== 6 || bytes.length < 40) return `ip ${CUT}`;
  const source = formatIp(6, bytes.subarray(8, 24));
  const destination = formatIp(6, bytes.subarray(24, 40));
  return transportLine(bytes[6] as number, bytes.subarray(40), source, destination, depth);
}

function etherLine(frame: Uint8Array, depth: number): string {
  if (frame.length < 14) return `frame of ${frame.length} bytes ${CUT}`;
  const type = u16(frame, 12);
  const payload = frame.subarray(14);
  if (type === 0x0800 || type === 0x86dd) return ipLine(payload, depth);
  const from = formatMac(frame.subarray(6, 12));
  const to = formatMac(frame.subarray(0, 6));
  if (type === 0x0806 && payload.length >= 28) {
    const sender = formatIp(4, payload.subarray(14, 18));
    const target = formatIp(4, payload.subarray(24, 28));
    const asks = u16(payload, 6) === 1;
    return asks
      ? `arp who has ${target}? tell ${sender} (${from})`
      : `arp ${sender} is at ${formatMac(payload.subarray(8, 14))}`;
  }
  return `${from} > ${to} ethertype 0x${type.toString(16).padStart(4, '0')} len ${payload.length}`;
}

export function frameLine(frame: Uint8Array): string {
  return etherLine(frame, 0);
}
