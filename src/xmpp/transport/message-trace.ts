/**
 * MessageTrace: what a peer's streams have carried lately, both ways, as it was on the wire (inside TLS). Made for
 * somebody who looks; without one a session keeps nothing.
 *
 * Invariant: at most MAX_TRACED_BYTES of text are held; the oldest go first, and how many went is told.
 */
import { MAX_TRACED_BYTES, MAX_TRACED_MESSAGE } from '../limits.ts';

export type TraceWay = 'in' | 'out';

export interface TracedMessage {
  /** From 1, of this trace. */
  readonly number: number;
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly way: TraceWay;
  /** What arrived at once, which may be a part of a stanza or several; or what was sent. */
  readonly text: string;
}

const utf8 = new TextDecoder();

export class MessageTrace {
  readonly #now: () => number;
  readonly #messages: TracedMessage[] = [];
  #bytes = 0;
  #number = 0;

  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  add(way: TraceWay, parts: readonly (string | Uint8Array)[]): void {
    const whole = parts
      .map((part) => (typeof part === 'string' ? part : utf8.decode(part)))
      .join('');
    const cut = whole.length - MAX_TRACED_MESSAGE;
    const text = cut > 0 ? `${whole.slice(0, MAX_TRACED_MESSAGE)}... and ${cut} more` : whole;
    this.#messages.push({ number: ++this.#number, at: this.#now(), way, text });
    this.#bytes += text.length;
    while (this.#bytes > MAX_TRACED_BYTES) {
      this.#bytes -= (this.#messages.shift() as TracedMessage).text.length;
    }
  }

  /** Those behind number `after`. Numbers that are missing were too many to be kept. */
  after(after: number): readonly TracedMessage[] {
    return this.#messages.filter(({ number }) => number > after);
  }
}
