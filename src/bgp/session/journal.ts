/** The last that was said and found about a neighbour, with its time: for people. Bounded, texts too. */
import type { Clock } from '../../codec/byte-stream.ts';
import { KEPT_FINDINGS, MAX_FINDING_TEXT } from '../limits.ts';
import type { Consequence } from '../wire/finding.ts';
import { NOTIFICATIONS, notificationText } from '../wire/notification.ts';
import type { Said, SaidFinding } from './status.ts';

const COLLISION = notificationText({ code: NOTIFICATIONS.cease.code, subcode: 7, data: '' });

/** Of two connections one goes: that is nothing that anybody has to know of. */
function isCollision(text: string): boolean {
  return text.endsWith(COLLISION);
}

export class Journal {
  /** Notifications. */
  lastErrorIn: Said | undefined;
  lastErrorOut: Said | undefined;
  /** Why the last connection ended, or did not come about. */
  lastEnd: Said | undefined;
  readonly findings: SaidFinding[] = [];
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  heard(text: string): void {
    if (!isCollision(text)) this.lastErrorIn = this.#said(text);
  }

  sent(text: string): void {
    if (!isCollision(text)) this.lastErrorOut = this.#said(text);
  }

  ended(text: string): void {
    if (!isCollision(text)) this.lastEnd = this.#said(text);
  }

  found(consequence: Consequence, text: string): void {
    this.findings.push({ ...this.#said(text), consequence });
    if (this.findings.length > KEPT_FINDINGS) this.findings.shift();
  }

  #said(text: string): Said {
    return { at: this.#clock.now(), text: text.slice(0, MAX_FINDING_TEXT) };
  }
}
