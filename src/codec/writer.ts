/**
 * Writer: bytes of a message, in order, into one growing buffer. Little-endian integers end in `le`.
 * Range checks belong to the caller, who knows the field's name; out-of-range numbers wrap here.
 * Invariant: `bytes()` is a view of what has been written; it dies with the next write or `reset()`.
 */
export class Writer {
  #buffer: Uint8Array<ArrayBuffer>;
  #view: DataView<ArrayBuffer>;
  #length = 0;

  constructor(capacity = 1024) {
    this.#buffer = new Uint8Array(capacity);
    this.#view = new DataView(this.#buffer.buffer);
  }

  get length(): number {
    return this.#length;
  }

  /** Forgets what has been written and keeps the buffer. */
  reset(): void {
    this.#length = 0;
  }

  bytes(): Uint8Array<ArrayBuffer> {
    return this.#buffer.subarray(0, this.#length);
  }

  u8(value: number): void {
    const at = this.#claim(1);
    this.#buffer[at] = value;
  }

  u16le(value: number): void {
    const at = this.#claim(2);
    this.#view.setUint16(at, value, true);
  }

  u32le(value: number): void {
    const at = this.#claim(4);
    this.#view.setUint32(at, value, true);
  }

  u64le(value: bigint): void {
    const at = this.#claim(8);
    this.#view.setBigUint64(at, value, true);
  }

  put(bytes: Uint8Array): void {
    const at = this.#claim(bytes.length);
    this.#buffer.set(bytes, at);
  }

  /** `bytes`, or the first `count` of them, then zeros up to `width`. */
  putPadded(bytes: Uint8Array, width: number, count = bytes.length): void {
    const at = this.#claim(width);
    const buffer = this.#buffer;
    // As few as these are, a loop is faster than set().
    for (let i = 0; i < count; i++) buffer[at + i] = bytes[i] as number;
    for (let i = count; i < width; i++) buffer[at + i] = 0;
  }

  /** Overwrites 4 bytes written before: lengths and counts known only afterwards. */
  patchU32le(at: number, value: number): void {
    if (at < 0 || at + 4 > this.#length) throw new RangeError(`nothing was written at ${at}`);
    this.#view.setUint32(at, value, true);
  }

  #claim(bytes: number): number {
    const at = this.#length;
    const end = at + bytes;
    if (end > this.#buffer.length) this.#grow(end);
    this.#length = end;
    return at;
  }

  #grow(needed: number): void {
    const buffer = new Uint8Array(Math.max(needed, this.#buffer.length * 2));
    buffer.set(this.#buffer.subarray(0, this.#length));
    this.#buffer = buffer;
    this.#view = new DataView(buffer.buffer);
  }
}
