/**
 * Netlink as bytes: messages (RFC 3549 §2.3.2, linux/netlink.h) and the attributes in them, both ways. Knows
 * no object of the kernel's; rtnetlink.ts does.
 *
 * Invariants
 *  * Bytes come from the kernel and are still checked: a length that is too short or too long throws
 *    BAD_NETLINK or TRUNCATED and names what was read; nothing is read past the end.
 *  * Integers are little-endian: the order of every machine the addon is built for.
 */
import { Reader } from '../codec/reader.ts';
import { Writer } from '../codec/writer.ts';
import { VRouterError } from '../errors.ts';

export const NLMSG_ERROR = 2;
export const NLMSG_DONE = 3;
/** The dump was made while the table changed: some of it may be missing. */
export const NLM_F_DUMP_INTR = 0x10;
export const NLM_F_REQUEST = 0x1;
export const NLM_F_MULTI = 0x2;
export const NLM_F_ACK = 0x4;
export const NLM_F_REPLACE = 0x100;
export const NLM_F_EXCL = 0x200;
export const NLM_F_DUMP = 0x300;
export const NLM_F_CREATE = 0x400;

const HEADER = 16;
const ATTRIBUTE_HEADER = 4;
/** The two high bits say `nested` and `network order`; both follow from the type. */
const TYPE_MASK = 0x3fff;
const MAX_ATTRIBUTE = 0xffff;

export interface NetlinkMessage {
  readonly type: number;
  readonly flags: number;
  readonly sequence: number;
  readonly portId: number;
  readonly payload: Uint8Array;
}

export interface Attribute {
  readonly type: number;
  readonly value: Uint8Array;
}

export function badNetlink(what: string): VRouterError {
  return new VRouterError('BAD_NETLINK', `netlink: ${what}`);
}

const aligned = (length: number) => (length + 3) & ~3;

/** The bytes to the next multiple of four, as far as there are any. */
function skipPadding(reader: Reader, length: number): void {
  reader.take(Math.min(aligned(length) - length, reader.left), 'padding');
}

/** All messages of one datagram. Payloads are views. */
export function readMessages(bytes: Uint8Array): NetlinkMessage[] {
  const reader = new Reader(bytes);
  const messages: NetlinkMessage[] = [];
  while (reader.left > 0) {
    const length = reader.u32le('message length');
    const type = reader.u16le('message type');
    const flags = reader.u16le('message flags');
    const sequence = reader.u32le('message sequence');
    const portId = reader.u32le('message port');
    if (length < HEADER) throw badNetlink(`a message of ${length} bytes`);
    const payload = reader.take(length - HEADER, 'message');
    messages.push({ type, flags, sequence, portId, payload });
    skipPadding(reader, length);
  }
  return messages;
}

export function writeMessage(message: Omit<NetlinkMessage, 'portId'>): Uint8Array {
  const writer = new Writer(HEADER + message.payload.length);
  writer.u32le(HEADER + message.payload.length);
  writer.u16le(message.type);
  writer.u16le(message.flags);
  writer.u32le(message.sequence);
  writer.u32le(0); // the kernel fills in ours
  writer.put(message.payload);
  return writer.bytes();
}

export function readAttributes(bytes: Uint8Array): Attribute[] {
  const reader = new Reader(bytes);
  const attributes: Attribute[] = [];
  while (reader.left > 0) {
    const length = reader.u16le('attribute length');
    const type = reader.u16le('attribute type') & TYPE_MASK;
    if (length < ATTRIBUTE_HEADER) throw badNetlink(`attribute ${type} of ${length} bytes`);
    attributes.push({ type, value: reader.take(length - ATTRIBUTE_HEADER, `attribute ${type}`) });
    skipPadding(reader, length);
  }
  return attributes;
}

export function writeAttributes(writer: Writer, attributes: readonly Attribute[]): void {
  for (const { type, value } of attributes) {
    const length = ATTRIBUTE_HEADER + value.length;
    if (length > MAX_ATTRIBUTE) throw badNetlink(`attribute ${type} of ${length} bytes`);
    writer.u16le(length);
    writer.u16le(type);
    writer.putPadded(value, aligned(value.length));
  }
}

/** The error number in an NLMSG_ERROR; 0: it is an acknowledgement. */
export function errorOf(message: NetlinkMessage): number {
  return -(new Reader(message.payload).u32le('error') | 0) + 0;
}
