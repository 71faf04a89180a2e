/**
 * Reader: a cursor over bytes. Reading past the end throws TRUNCATED and names what was being read;
 * it never returns less than was asked for. Little-endian integers end in `le`.
 */
import { VRouterError } from '../errors.ts';

export class Reader {
  readonly #bytes: Uint8Array;
  protected readonly view: DataView;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get offset(): number {
    return this.#at;
  }

  get left(): number {
    return this.#bytes.length - this.#at;
  }

  u8(what: string): number {
    return this.view.getUint8(this.claim(1, what));
  }

  u16le(what: string): number {
    return this.view.getUint16(this.claim(2, what), true);
  }

  u32le(what: string): number {
    return this.view.getUint32(this.claim(4, what), true);
  }

  u64le(what: string): bigint {
    return this.view.getBigUint64(this.claim(8, what), true);
  }

  /** A view of the next bytes, not a copy. */
  take(length: number, what: string): Uint8Array {
    const at = this.claim(length, what);
    return this.#bytes.subarray(at, at + length);
  }

  protected claim(bytes: number, what: string): number {
    const at = this.#at;
    if (bytes > this.left) {
      throw new VRouterError(
        'TRUNCATED',
        `${what}: ${bytes} bytes are needed at offset ${at}, ${this.left} are left`,
      );
    }
    this.#at = at + bytes;
    return at;
  }
}
