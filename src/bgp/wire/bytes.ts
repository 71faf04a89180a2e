/**
 * BGP's integers are big-endian: the codec's cursors with those added. Bytes we carry and do not read are
 * hex texts (`Hex`), so that values compare as values and hold on to no buffer.
 */
import { Reader } from '../../codec/reader.ts';
import { Writer } from '../../codec/writer.ts';

/** Lower-case hex digits, two a byte. */
export type Hex = string;

export function hexOf(bytes: Uint8Array): Hex {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('hex');
}

/** A character a byte: for keys of maps, as short as can be. */
export function latin1Of(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');
}

export function bytesOf(hex: Hex): Uint8Array {
  if (!/^(?:[0-9a-f]{2})*$/.test(hex)) throw new RangeError(`"${hex.slice(0, 64)}" is not hex`);
  return Buffer.from(hex, 'hex');
}

export class NetReader extends Reader {
  u16(what: string): number {
    return this.view.getUint16(this.claim(2, what));
  }

  u24(what: string): number {
    const at = this.claim(3, what);
    return (this.view.getUint16(at) << 8) | this.view.getUint8(at + 2);
  }

  u32(what: string): number {
    return this.view.getUint32(this.claim(4, what));
  }

  /** The next `length` bytes as a reader of their own. */
  part(length: number, what: string): NetReader {
    return new NetReader(this.take(length, what));
  }

  rest(what: string): Uint8Array {
    return this.take(this.left, what);
  }
}

export class NetWriter extends Writer {
  u16(value: number): void {
    this.u8(value >>> 8);
    this.u8(value);
  }

  u24(value: number): void {
    this.u8(value >>> 16);
    this.u16(value);
  }

  u32(value: number): void {
    this.u16(Math.floor(value / 0x1_0000));
    this.u16(value);
  }

  /** Overwrites two bytes written before: lengths known only afterwards. */
  patchU16(at: number, value: number): void {
    if (at < 0 || at + 2 > this.length) throw new RangeError(`nothing was written at ${at}`);
    const bytes = this.bytes();
    bytes[at] = value >>> 8;
    bytes[at + 1] = value & 0xff;
  }
}

/** Writers in use by `written`, one inside the other; their buffers have grown and are used again. */
const writers: NetWriter[] = [];
let depth = 0;

/** What `write` writes, in a buffer of its own. */
export function written(write: (writer: NetWriter) => void): Uint8Array {
  let writer = writers[depth];
  if (writer === undefined) {
    writer = new NetWriter();
    writers.push(writer);
  }
  depth += 1;
  try {
    writer.reset();
    write(writer);
    return writer.bytes().slice();
  } finally {
    depth -= 1;
  }
}
