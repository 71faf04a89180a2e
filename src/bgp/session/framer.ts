/**
 * Cuts a connection's bytes into messages. What is held is what has not been taken, and a message that is longer than was
 * agreed on is refused by its head.
 *
 * Invariant: a message given is a view that is good until the next `push`.
 */
import { HEADER_BYTES, messageLength } from '../wire/message.ts';

const TYPE_AT = HEADER_BYTES - 1;
const EMPTY = new Uint8Array(0);

export class Framer {
  /** What has not been taken is from `#start` to `#end`. */
  #bytes: Uint8Array = EMPTY;
  #start = 0;
  #end = 0;
  /** `#bytes` is ours to write to, and not a chunk of somebody else's. */
  #own = false;

  /** Bytes that have not been taken. */
  get held(): number {
    return this.#end - this.#start;
  }

  push(chunk: Uint8Array): void {
    const { held } = this;
    if (held === 0) {
      this.#use(chunk, chunk.length, false);
      return;
    }
    const room = this.#own ? this.#bytes.length - this.#end : 0;
    if (room < chunk.length) {
      // Twice, so that a message that drips in is not copied for each byte.
      const grown = new Uint8Array(Math.max(2 * held, held + chunk.length));
      grown.set(this.#bytes.subarray(this.#start, this.#end));
      this.#use(grown, held, true);
    }
    this.#bytes.set(chunk, this.#end);
    this.#end += chunk.length;
  }

  /** Type of the message that would be next; undefined while its head is not there. */
  get nextType(): number | undefined {
    return this.held < HEADER_BYTES ? undefined : this.#bytes[this.#start + TYPE_AT];
  }

  /** Undefined: it is not all there. Throws NotificationError. */
  next(maxMessage: number): Uint8Array | undefined {
    const rest = this.#bytes.subarray(this.#start, this.#end);
    const length = messageLength(rest, maxMessage);
    if (length === undefined || length > rest.length) return undefined;
    this.#start += length;
    return rest.subarray(0, length);
  }

  #use(bytes: Uint8Array, end: number, own: boolean): void {
    this.#bytes = bytes;
    this.#start = 0;
    this.#end = end;
    this.#own = own;
  }
}
