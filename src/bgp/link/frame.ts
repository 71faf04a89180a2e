/**
 * Frames of the link between a control node and its BGP speaker: length (4 bytes, of what follows), kind (1), body.
 * A frame that is not there yet is not an error; one that is too long is, before anything of it is kept.
 * Invariant: what is held is at most one frame, and what came with its end.
 */
import { ParseError } from '../../errors.ts';
import { MAX_FRAME_BYTES } from '../limits.ts';

/** JSON; routes that are said; best paths that have changed. */
export const FRAME = { message: 0, routes: 1, changes: 2 } as const;

const LENGTH_BYTES = 4;

export interface Frame {
  readonly kind: number;
  readonly body: Uint8Array;
}

export function frameOf(kind: number, body: Uint8Array): Uint8Array {
  const length = body.length + 1;
  if (length > MAX_FRAME_BYTES) throw new RangeError(`a frame of ${length} bytes`);
  const frame = Buffer.allocUnsafe(LENGTH_BYTES + length);
  frame.writeUInt32BE(length, 0);
  frame[LENGTH_BYTES] = kind;
  frame.set(body, LENGTH_BYTES + 1);
  return frame;
}

export class FrameReader {
  #parts: Uint8Array[] = [];
  #held = 0;

  push(bytes: Uint8Array): Frame[] {
    const frames: Frame[] = [];
    this.#parts.push(bytes);
    this.#held += bytes.length;
    while (this.#held >= LENGTH_BYTES) {
      const length = this.#length();
      if (length < 1 || length > MAX_FRAME_BYTES) {
        throw new ParseError(`frame: ${length} bytes, 1 to ${MAX_FRAME_BYTES} are allowed`);
      }
      if (this.#held < LENGTH_BYTES + length) return frames;
      const whole = this.#whole();
      const end = LENGTH_BYTES + length;
      this.#parts = end < whole.length ? [whole.subarray(end)] : [];
      this.#held = whole.length - end;
      const body = whole.subarray(LENGTH_BYTES + 1, end);
      frames.push({ kind: whole[LENGTH_BYTES] as number, body });
    }
    return frames;
  }

  #length(): number {
    if ((this.#parts[0] as Uint8Array).length < LENGTH_BYTES) this.#parts = [this.#whole()];
    const first = this.#parts[0] as Uint8Array;
    return new DataView(first.buffer, first.byteOffset, LENGTH_BYTES).getUint32(0);
  }

  #whole(): Uint8Array {
    return this.#parts.length === 1 ? (this.#parts[0] as Uint8Array) : Buffer.concat(this.#parts);
  }
}
