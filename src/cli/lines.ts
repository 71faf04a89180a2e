/**
 * Bytes of a stream to complete lines. Invariant: holds at most `limit` bytes of an unfinished line; a
 * longer one is refused, for then the stream cannot be followed any further.
 */
import { ParseError } from '../errors.ts';

export class Lines {
  readonly #limit: number;
  #parts: Buffer[] = [];
  #held = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  push(chunk: Buffer): string[] {
    const lines: string[] = [];
    let from = 0;
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, from)) {
      this.#keep(chunk.subarray(from, end));
      lines.push(Buffer.concat(this.#parts).toString('utf8'));
      this.#parts = [];
      this.#held = 0;
      from = end + 1;
    }
    if (from < chunk.length) this.#keep(chunk.subarray(from));
    return lines;
  }

  #keep(part: Buffer): void {
    this.#held += part.length;
    if (this.#held > this.#limit)
      throw new ParseError(`a line is longer than ${this.#limit} bytes`);
    this.#parts.push(part);
  }
}
