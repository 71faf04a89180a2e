/**
 * NOTIFICATION (RFC 4271 §4.5): why a session ends, as code and subcode; the names are for people.
 * `NotificationError` is the one error that header, OPEN and ROUTE-REFRESH decoding throws: it carries what
 * is to be sent before the connection is closed.
 */
import { VRouterError } from '../../errors.ts';
import { bytesOf, type Hex, hexOf, type NetReader, type NetWriter } from './bytes.ts';

export interface Notification {
  readonly code: number;
  readonly subcode: number;
  readonly data: Hex;
}

interface CodeRow {
  readonly code: number;
  readonly name: string;
  readonly subcodes: Readonly<Record<number, string>>;
}

/** RFC 4271 §4.5, 6608 (FSM), 4486 and 8538 and 9384 (Cease), 5492, 7313, 9234, 9687. */
export const NOTIFICATIONS = {
  header: {
    code: 1,
    name: 'message header error',
    subcodes: {
      1: 'connection not synchronized',
      2: 'bad message length',
      3: 'bad message type',
    },
  },
  open: {
    code: 2,
    name: 'OPEN message error',
    subcodes: {
      1: 'unsupported version number',
      2: 'bad peer AS',
      3: 'bad BGP identifier',
      4: 'unsupported optional parameter',
      6: 'unacceptable hold time',
      7: 'unsupported capability',
      11: 'role mismatch',
    },
  },
  update: {
    code: 3,
    name: 'UPDATE message error',
    subcodes: {
      1: 'malformed attribute list',
      2: 'unrecognized well-known attribute',
      3: 'missing well-known attribute',
      4: 'attribute flags error',
      5: 'attribute length error',
      6: 'invalid ORIGIN',
      8: 'invalid NEXT_HOP',
      9: 'optional attribute error',
      10: 'invalid network field',
      11: 'malformed AS_PATH',
    },
  },
  holdTimer: { code: 4, name: 'hold timer expired', subcodes: {} },
  fsm: {
    code: 5,
    name: 'finite state machine error',
    subcodes: {
      1: 'unexpected message in OpenSent',
      2: 'unexpected message in OpenConfirm',
      3: 'unexpected message in Established',
    },
  },
  cease: {
    code: 6,
    name: 'cease',
    subcodes: {
      1: 'maximum number of prefixes reached',
      2: 'administrative shutdown',
      3: 'peer de-configured',
      4: 'administrative reset',
      5: 'connection rejected',
      6: 'other configuration change',
      7: 'connection collision resolution',
      8: 'out of resources',
      9: 'hard reset',
      10: 'BFD down',
    },
  },
  routeRefresh: {
    code: 7,
    name: 'ROUTE-REFRESH message error',
    subcodes: { 1: 'invalid message length' },
  },
  sendHold: { code: 8, name: 'send hold timer expired', subcodes: {} },
} as const satisfies Record<string, CodeRow>;

const BY_CODE = new Map<number, CodeRow>(
  Object.values(NOTIFICATIONS).map((row): [number, CodeRow] => [row.code, row]),
);

/** `UPDATE message error: malformed AS_PATH (3/11)`; numbers alone for what is not known. */
export function notificationText({ code, subcode }: Notification): string {
  const row = BY_CODE.get(code);
  if (row === undefined) return `notification (${code}/${subcode})`;
  const detail = row.subcodes[subcode];
  return `${row.name}${detail === undefined ? '' : `: ${detail}`} (${code}/${subcode})`;
}

export class NotificationError extends VRouterError {
  readonly notification: Notification;

  constructor(code: number, subcode: number, message: string, data: Uint8Array = EMPTY) {
    const notification = { code, subcode, data: hexOf(data) };
    super('BGP_NOTIFICATION', `${notificationText(notification)}: ${message}`);
    this.notification = notification;
  }
}

const EMPTY = new Uint8Array(0);

export function readNotification(reader: NetReader): Notification {
  return {
    code: reader.u8('notification code'),
    subcode: reader.u8('notification subcode'),
    data: hexOf(reader.rest('notification data')),
  };
}

export function writeNotification(writer: NetWriter, { code, subcode, data }: Notification): void {
  writer.u8(code);
  writer.u8(subcode);
  writer.put(bytesOf(data));
}

/** RFC 9003: what the operator of the other side had to say, or undefined. */
export function shutdownText({ code, subcode, data }: Notification): string | undefined {
  if (code !== NOTIFICATIONS.cease.code || (subcode !== 2 && subcode !== 4)) return undefined;
  const bytes = bytesOf(data);
  const length = bytes[0];
  if (length === undefined || length === 0 || length > bytes.length - 1) return undefined;
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes.subarray(1, 1 + length));
  } catch {
    return undefined;
  }
}

/** Cut to 255 bytes, never inside a character. */
export function shutdownData(text: string): Hex {
  const bytes = Buffer.from(text, 'utf8');
  let length = Math.min(bytes.length, MAX_SHUTDOWN_TEXT);
  while (length > 0 && length < bytes.length && ((bytes[length] as number) & 0xc0) === 0x80) {
    length -= 1;
  }
  return hexOf(Buffer.concat([Uint8Array.of(length), bytes.subarray(0, length)]));
}

const MAX_SHUTDOWN_TEXT = 255;
