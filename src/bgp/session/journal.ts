/** The last that was said and found about a neighbour, with its time: for people. Bounded, texts too. */
import type { Clock } from '../../codec/byte-stream.ts';
import { KEPT_FINDINGS, MAX_FINDING_TEXT } from '../limits.ts';
import type { Consequence } from '../wire/finding.ts';
import type { Said, SaidFinding } from './status.ts';

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
    this.lastErrorIn = this.#said(text);
  }

  sent(text: string): void {
    this.lastErrorOut = this.#said(text);
  }

  ended(text: string): void {
    this.lastEnd = this.#said(text);
  }

  found(consequence: Consequence, text: string): void {
    this.findings.push({ ...this.#said(text), consequence });
    if (this.findings.length > KEPT_FINDINGS) this.findings.shift();
  }

  #said(text: string): Said {
    return { at: this.#clock.now(), text: text.slice(0, MAX_FINDING_TEXT) };
  }
}
