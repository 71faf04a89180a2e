/**
 * Bytes of a stream -> complete lines of text. A line that is not there yet is not an error; one that
 * is too long, or not UTF-8, is.
 * Invariant: holds at most `maxBytes` of an unfinished line.
 */
import { ParseError } from '../errors.ts';

const NEWLINE = 0x0a;

export class LineFramer {
  readonly #maxBytes: number;
  readonly #decoder = new TextDecoder('utf-8', { fatal: true });
  #parts: Uint8Array[] = [];
  #held = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  push(bytes: Uint8Array): string[] {
    const lines: string[] = [];
    let from = 0;
    for (;;) {
      const end = bytes.indexOf(NEWLINE, from);
      const part = bytes.subarray(from, end < 0 ? bytes.length : end);
      if (this.#held + part.length > this.#maxBytes) {
        throw new ParseError(`line: longer than ${this.#maxBytes} bytes`);
      }
      if (end < 0) {
        if (part.length > 0) this.#hold(part);
        return lines;
      }
      lines.push(this.#finish(part));
      from = end + 1;
    }
  }

  #hold(part: Uint8Array): void {
    this.#parts.push(part.slice());
    this.#held += part.length;
  }

  #finish(last: Uint8Array): string {
    const whole = this.#parts.length === 0 ? last : Buffer.concat([...this.#parts, last]);
    this.#parts = [];
    this.#held = 0;
    try {
      return this.#decoder.decode(whole);
    } catch {
      throw new ParseError('line: not UTF-8');
    }
  }
}
