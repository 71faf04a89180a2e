import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Reader } from '../../../src/codec/reader.ts';
import { Writer } from '../../../src/codec/writer.ts';

type Piece =
  | { kind: 'u8'; value: number }
  | { kind: 'u16'; value: number }
  | { kind: 'u32'; value: number }
  | { kind: 'u64'; value: bigint }
  | { kind: 'bytes'; value: Uint8Array };

const pieces: fc.Arbitrary<Piece[]> = fc.array(
  fc.oneof<fc.Arbitrary<Piece>[]>(
    fc.record({ kind: fc.constant('u8' as const), value: fc.integer({ min: 0, max: 0xff }) }),
    fc.record({ kind: fc.constant('u16' as const), value: fc.integer({ min: 0, max: 0xffff }) }),
    fc.record({
      kind: fc.constant('u32' as const),
      value: fc.integer({ min: 0, max: 0xffffffff }),
    }),
    fc.record({
      kind: fc.constant('u64' as const),
      value: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
    }),
    fc.record({ kind: fc.constant('bytes' as const), value: fc.uint8Array({ maxLength: 40 }) }),
  ),
);

function write(out: Writer, piece: Piece): void {
  if (piece.kind === 'u8') out.u8(piece.value);
  else if (piece.kind === 'u16') out.u16le(piece.value);
  else if (piece.kind === 'u32') out.u32le(piece.value);
  else if (piece.kind === 'u64') out.u64le(piece.value);
  else out.put(piece.value);
}

/** Little-endian by hand. */
function naive(piece: Piece): number[] {
  if (piece.kind === 'bytes') return [...piece.value];
  const size = { u8: 1, u16: 2, u32: 4, u64: 8 }[piece.kind];
  return Array.from({ length: size }, (_, i) =>
    Number((BigInt(piece.value) >> BigInt(8 * i)) & 0xffn),
  );
}

describe('Writer', () => {
  it('writes what the naive encoder writes, whatever its first capacity', () => {
    fc.assert(
      fc.property(pieces, fc.integer({ min: 0, max: 20 }), (list, capacity) => {
        const out = new Writer(capacity);
        for (const piece of list) write(out, piece);
        expect([...out.bytes()]).toEqual(list.flatMap(naive));
      }),
    );
  });

  it('pads over bytes that an earlier message left behind', () => {
    const out = new Writer(8);
    out.put(new Uint8Array(8).fill(0xa5));
    out.reset();
    out.putPadded(Uint8Array.of(1, 2), 6);
    expect([...out.bytes()]).toEqual([1, 2, 0, 0, 0, 0]);
  });

  it('patches only what has been written', () => {
    const out = new Writer();
    out.u32le(0);
    out.u8(7);
    out.patchU32le(0, 0x01020304);
    expect([...out.bytes()]).toEqual([4, 3, 2, 1, 7]);
    expect(() => out.patchU32le(2, 0)).toThrow(RangeError);
    expect(() => out.patchU32le(-1, 0)).toThrow(RangeError);
  });
});

describe('Reader', () => {
  it('reads back what was written, from bytes that stand in a larger buffer', () => {
    fc.assert(
      fc.property(pieces, fc.nat({ max: 9 }), (list, shift) => {
        const out = new Writer();
        for (const piece of list) write(out, piece);
        const around = new Uint8Array(shift + out.length + 3).fill(0xa5);
        around.set(out.bytes(), shift);
        const from = new Reader(around.subarray(shift, shift + out.length));
        for (const piece of list) {
          if (piece.kind === 'u8') expect(from.u8('')).toBe(piece.value);
          else if (piece.kind === 'u16') expect(from.u16le('')).toBe(piece.value);
          else if (piece.kind === 'u32') expect(from.u32le('')).toBe(piece.value);
          else if (piece.kind === 'u64') expect(from.u64le('')).toBe(piece.value);
          else expect(from.take(piece.value.length, '')).toEqual(piece.value);
        }
        expect(from.left).toBe(0);
      }),
    );
  });

  it('throws TRUNCATED, names what was missing, and does not move', () => {
    const from = new Reader(Uint8Array.of(1, 2, 3));
    expect(from.u16le('code')).toBe(0x0201);
    for (const read of ['u16le', 'u32le', 'u64le'] as const) {
      expect(() => from[read]('length')).toThrow(
        /^length: . bytes are needed at offset 2, 1 are left/,
      );
    }
    expect(() => from.take(2, 'body')).toThrow(expect.objectContaining({ code: 'TRUNCATED' }));
    expect(from.offset).toBe(2);
    expect(from.u8('last')).toBe(3);
  });
});
