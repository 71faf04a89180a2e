/** Why we end sessions (RFC 4486, 8538, 9003, 9687), and what notifications say in full. */
import type { Agreed } from '../wire/agree.ts';
import { bytesOf, hexOf } from '../wire/bytes.ts';
import {
  NOTIFICATIONS,
  type Notification,
  notificationText,
  shutdownData,
  shutdownText,
} from '../wire/notification.ts';

const { cease, sendHold } = NOTIFICATIONS;

export const CEASE = {
  tooManyRoutes: 1,
  shutdown: 2,
  deconfigured: 3,
  reset: 4,
  configurationChange: 6,
  outOfResources: 8,
  hardReset: 9,
} as const;

/** `text` goes with shutdown and reset only. */
export function ceased(subcode: number, text?: string): Notification {
  return { code: cease.code, subcode, data: text === undefined ? '' : shutdownData(text) };
}

export const SEND_HOLD_EXPIRED: Notification = { code: sendHold.code, subcode: 0, data: '' };

/** After these the session does not come back by itself, or somebody wants it gone with all it has said. */
const HARD: ReadonlySet<number> = new Set([
  CEASE.tooManyRoutes,
  CEASE.shutdown,
  CEASE.deconfigured,
  CEASE.reset,
]);

/** RFC 8538 §3: a peer that keeps routes over notifications is told not to. */
export function hardened(reason: Notification, agreed: Agreed | undefined): Notification {
  const { code, subcode, data } = reason;
  const hard = code === cease.code && HARD.has(subcode);
  if (!hard || agreed?.notificationRestart !== true) return reason;
  const inner = hexOf(Uint8Array.of(code, subcode));
  return { code: cease.code, subcode: CEASE.hardReset, data: `${inner}${data}` };
}

/** With what is inside a hard reset, and what an operator had to say. */
export function fullText(notification: Notification): string {
  const { code, subcode, data } = notification;
  const text = notificationText(notification);
  if (code === cease.code && subcode === CEASE.hardReset && data.length >= 4) {
    const [innerCode, innerSubcode] = bytesOf(data) as unknown as [number, number];
    const inner = { code: innerCode, subcode: innerSubcode, data: data.slice(4) };
    return `${text}: ${plainText(inner)}`;
  }
  return plainText(notification);
}

function plainText(notification: Notification): string {
  const said = shutdownText(notification);
  const text = notificationText(notification);
  return said === undefined ? text : `${text}: ${JSON.stringify(said)}`;
}
