/**
 * BGP messages (RFC 4271 §4.1 and 6.1): one row each. A connection's bytes are cut by `messageLength`, which
 * refuses a bad head before the rest of the message is there. Errors of head, OPEN and ROUTE-REFRESH are
 * NotificationError; an UPDATE answers findings (finding.ts).
 */

import type { WireOptions } from './attributes.ts';
import { NetReader, type NetWriter, written } from './bytes.ts';
import {
  NOTIFICATIONS,
  type Notification,
  NotificationError,
  readNotification,
  writeNotification,
} from './notification.ts';
import { type Open, readOpen, writeOpen } from './open.ts';
import { type RouteRefresh, readRefresh, writeRefresh } from './refresh.ts';
import { type ReadUpdate, readUpdate, type Update, writeUpdates } from './update.ts';

export const HEADER_BYTES = 19;
export const MAX_MESSAGE = 4096;
/** RFC 8654, where both sides say so. */
export const MAX_EXTENDED_MESSAGE = 65_535;

const MARKER_BYTES = 16;
const MARKER = new Uint8Array(MARKER_BYTES).fill(0xff);

export type Message =
  | { readonly kind: 'open'; readonly open: Open }
  | { readonly kind: 'update'; readonly read: ReadUpdate }
  | { readonly kind: 'notification'; readonly notification: Notification }
  | { readonly kind: 'keepalive' }
  | { readonly kind: 'route-refresh'; readonly refresh: RouteRefresh };
export type MessageKind = Message['kind'];

interface MessageRow {
  readonly type: number;
  /** With the header. */
  readonly min: number;
  /** Also where longer messages were agreed on. */
  readonly max?: number;
  read(body: Uint8Array, options: WireOptions): Message;
}

const MESSAGES: { readonly [K in MessageKind]: MessageRow } = {
  open: {
    type: 1,
    min: 29,
    max: MAX_MESSAGE,
    read: (body) => ({ kind: 'open', open: readOpen(new NetReader(body)) }),
  },
  update: {
    type: 2,
    min: 23,
    read: (body, options) => ({ kind: 'update', read: readUpdate(body, options) }),
  },
  notification: {
    type: 3,
    min: 21,
    read: (body) => ({
      kind: 'notification',
      notification: readNotification(new NetReader(body)),
    }),
  },
  keepalive: { type: 4, min: HEADER_BYTES, max: HEADER_BYTES, read: () => ({ kind: 'keepalive' }) },
  'route-refresh': {
    type: 5,
    min: 23,
    read: (body) => ({ kind: 'route-refresh', refresh: readRefresh(new NetReader(body)) }),
  },
};

const BY_TYPE = new Map<number, MessageRow>(
  Object.values(MESSAGES).map((row): [number, MessageRow] => [row.type, row]),
);
const SUBCODE = { marker: 1, length: 2, type: 3 } as const;

function refuse(subcode: number, message: string, ...data: number[]): never {
  const { code } = NOTIFICATIONS.header;
  throw new NotificationError(code, subcode, message, Uint8Array.from(data));
}

/** Of the message that `bytes` begin with; undefined while its header is not all there. */
export function messageLength(bytes: Uint8Array, maxMessage: number): number | undefined {
  if (bytes.length < HEADER_BYTES) return undefined;
  if (!MARKER.every((byte, at) => bytes[at] === byte)) refuse(SUBCODE.marker, 'no marker');
  const [high, low, type] = bytes.subarray(MARKER_BYTES) as unknown as [number, number, number];
  const length = (high << 8) | low;
  if (length < HEADER_BYTES || length > maxMessage) refuse(SUBCODE.length, `${length}`, high, low);
  const row = BY_TYPE.get(type);
  if (row === undefined) refuse(SUBCODE.type, `${type}`, type);
  if (length < row.min || length > (row.max ?? maxMessage)) {
    refuse(SUBCODE.length, `${length} of a message of type ${type}`, high, low);
  }
  return length;
}

/** Exactly one message, header and all. */
export function readMessage(bytes: Uint8Array, options: WireOptions): Message {
  const length = messageLength(bytes, options.maxMessage);
  if (length === undefined || length !== bytes.length) {
    throw new RangeError(`${bytes.length} bytes are not one message of ${length ?? '?'}`);
  }
  const row = BY_TYPE.get(bytes[HEADER_BYTES - 1] as number) as MessageRow;
  return row.read(bytes.subarray(HEADER_BYTES), options);
}

function framed(kind: MessageKind, write: (writer: NetWriter) => void): Uint8Array {
  return written((writer) => {
    writer.put(MARKER);
    writer.u16(0);
    writer.u8(MESSAGES[kind].type);
    write(writer);
    writer.patchU16(MARKER_BYTES, writer.length);
  });
}

export const openMessage = (open: Open): Uint8Array =>
  framed('open', (writer) => writeOpen(writer, open));

export const notificationMessage = (notification: Notification): Uint8Array =>
  framed('notification', (writer) => writeNotification(writer, notification));

export const keepaliveMessage = (): Uint8Array => framed('keepalive', () => undefined);

export const refreshMessage = (refresh: RouteRefresh): Uint8Array =>
  framed('route-refresh', (writer) => writeRefresh(writer, refresh));

/** As many messages as the routes take. */
export function updateMessages(update: Update, options: WireOptions): Uint8Array[] {
  const bodies = writeUpdates(update, options, options.maxMessage - HEADER_BYTES);
  return bodies.map((body) => framed('update', (writer) => writer.put(body)));
}
