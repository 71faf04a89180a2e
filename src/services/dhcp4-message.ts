/**
 * DHCP messages (RFC 2131 §2): the fixed part, the options behind the magic cookie, and those that a client
 * has put into `file` and `sname` (option overload). BOOTP without options is refused.
 */
import { formatIp, parseIp } from '../addr/ip.ts';
import { formatMac, parseMac } from '../addr/mac.ts';
import {
  collectOptions,
  type Dhcp4Options,
  decodeOptions,
  encodeOption,
  type OptionName,
} from './dhcp4-options.ts';
import { bad, view } from './frame.ts';

export const MESSAGE_TYPE = {
  discover: 1,
  offer: 2,
  request: 3,
  decline: 4,
  ack: 5,
  nak: 6,
  release: 7,
  inform: 8,
} as const;
export const BOOT_REQUEST = 1;
export const BOOT_REPLY = 2;
const ETHERNET = 1;
const BROADCAST = 0x8000;
const COOKIE = 0x63825363;
const FIXED = 236;
const HEADER = FIXED + 4;
const END = 255;
/** Some clients refuse what is shorter than BOOTP was (RFC 1542 §2.1). */
const LEAST = 300;
/** A client takes that much unless it says otherwise: an IP datagram of 576 bytes (RFC 2131 §2). */
export const DEFAULT_MESSAGE_SIZE = 576 - 28;

export interface Dhcp4Message {
  readonly op: number;
  readonly hops: number;
  readonly xid: number;
  readonly secs: number;
  readonly broadcast: boolean;
  readonly ciaddr: string;
  readonly yiaddr: string;
  readonly siaddr: string;
  readonly giaddr: string;
  readonly chaddr: string;
  readonly options: Dhcp4Options;
}

export function decodeDhcp4(bytes: Uint8Array): Dhcp4Message {
  if (bytes.length < HEADER) bad(`DHCP: ${bytes.length} bytes`);
  const at = view(bytes);
  const op = bytes[0] as number;
  if (op !== BOOT_REQUEST && op !== BOOT_REPLY) bad(`DHCP: op ${op}`);
  if (bytes[1] !== ETHERNET || bytes[2] !== 6) bad(`DHCP: hardware type ${bytes[1]}/${bytes[2]}`);
  if (at.getUint32(FIXED) !== COOKIE) bad('DHCP: no options: BOOTP');
  const found = new Map<number, Uint8Array[]>();
  collectOptions(bytes.subarray(HEADER), found);
  const overload = decodeOptions(new Map([...found].filter(([code]) => code === 52))).overload ?? 0;
  // `file` before `sname` (RFC 2131 §4.1).
  if ((overload & 1) !== 0) collectOptions(bytes.subarray(108, 236), found);
  if ((overload & 2) !== 0) collectOptions(bytes.subarray(44, 108), found);
  const options = decodeOptions(found);
  if (options.messageType === undefined) bad('DHCP: no message type');
  const ip = (offset: number) => formatIp(4, bytes.subarray(offset, offset + 4));
  return {
    op,
    hops: bytes[3] as number,
    xid: at.getUint32(4),
    secs: at.getUint16(8),
    broadcast: (at.getUint16(10) & BROADCAST) !== 0,
    ciaddr: ip(12),
    yiaddr: ip(16),
    siaddr: ip(20),
    giaddr: ip(24),
    chaddr: formatMac(bytes.subarray(28, 34)),
    options,
  };
}

/** Options in the order they are in; those at the end that would make it longer than `most` are left out. */
export function encodeDhcp4(message: Dhcp4Message, most = DEFAULT_MESSAGE_SIZE): Uint8Array {
  const fixed = new Uint8Array(HEADER);
  const at = view(fixed);
  fixed[0] = message.op;
  fixed[1] = ETHERNET;
  fixed[2] = 6;
  fixed[3] = message.hops;
  at.setUint32(4, message.xid);
  at.setUint16(8, message.secs);
  at.setUint16(10, message.broadcast ? BROADCAST : 0);
  for (const [offset, address] of [
    [12, message.ciaddr],
    [16, message.yiaddr],
    [20, message.siaddr],
    [24, message.giaddr],
  ] as const) {
    fixed.set(parseIp(address).bytes, offset);
  }
  fixed.set(parseMac(message.chaddr), 28);
  at.setUint32(FIXED, COOKIE);
  const parts: Uint8Array[] = [fixed];
  let length = HEADER + 1;
  for (const [name, value] of Object.entries(message.options)) {
    if (value === undefined) continue;
    const option = encodeOption(name as OptionName, value);
    if (length + option.length > most) continue;
    parts.push(option);
    length += option.length;
  }
  parts.push(Uint8Array.of(END));
  if (length < LEAST) parts.push(new Uint8Array(LEAST - length));
  return Buffer.concat(parts);
}
