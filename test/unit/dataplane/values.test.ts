import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { NativeDataplane } from '../../../src/dataplane/binding.ts';
import { loadAddon } from '../../../src/dataplane/binding.ts';
import {
  decodeAnswer,
  encodeRequest,
  METHODS,
  type Served,
  serve,
} from '../../../src/dataplane/protocol.ts';
import { decodeValue, encodeValue, type Value } from '../../../src/dataplane/values.ts';
import { VRouterError } from '../../../src/errors.ts';

const { value: anyValue } = fc.letrec<{ value: Value }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small', maxDepth: 4 },
    fc.constant(undefined),
    fc.boolean(),
    fc.double({ noNaN: false }),
    fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
    fc.string({ unit: 'binary' }),
    fc.uint8Array(),
    fc.uint32Array(),
    fc.array(tie('value'), { maxLength: 5 }),
    fc.dictionary(fc.oneof(fc.string(), fc.constant('__proto__')), tie('value'), { maxKeys: 5 }),
  ),
})) as { value: fc.Arbitrary<Value> };

describe('values', () => {
  it('come back as they were', () => {
    fc.assert(
      fc.property(anyValue, (value) => {
        // Objects of both sides have the same prototype, whatever a key is called.
        expect(decodeValue(encodeValue(value))).toEqual(value);
      }),
    );
  });

  it('of whatever bytes are a value or a refusal, and never a prototype', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        try {
          decodeValue(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(VRouterError);
        }
      }),
      { numRuns: 2000 },
    );
    const sneaky = decodeValue(
      encodeValue(Object.fromEntries([['__proto__', { polluted: true }]]) as Value),
    );
    expect((sneaky as { polluted?: boolean }).polluted).toBeUndefined();
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
  });

  it('cut anywhere, or with bytes behind, are refused', () => {
    fc.assert(
      fc.property(anyValue, fc.nat(), (value, at) => {
        const bytes = encodeValue(value).slice();
        expect(() => decodeValue(bytes.subarray(0, at % bytes.length))).toThrow(VRouterError);
        expect(() => decodeValue(new Uint8Array([...bytes, 0]))).toThrow(VRouterError);
      }),
    );
  });

  it('that say they are huge are refused before anything of that size is made', () => {
    for (const tag of [5, 6, 7, 8, 9]) {
      const bytes = new Uint8Array([tag, 0xff, 0xff, 0xff, 0xff]);
      expect(() => decodeValue(bytes), `tag ${tag}`).toThrow(VRouterError);
    }
    const deep = new Uint8Array(5 * 100);
    for (let i = 0; i < 100; i++) deep.set([8, 1, 0, 0, 0], i * 5);
    expect(() => decodeValue(deep)).toThrow('too deep');
  });

  it('that cannot be sent are refused by name', () => {
    for (const value of [null, () => 1, Symbol('x'), -1n, 1n << 64n]) {
      expect(() => encodeValue(value as never)).toThrow(
        expect.objectContaining({ code: 'BAD_ARGUMENT' }),
      );
    }
  });
});

describe('serve', () => {
  function served(): Served & { readonly native: NativeDataplane } {
    const { addon, path } = loadAddon();
    const native = new addon.Dataplane({ flowEntries: 1024, buffers: 256 });
    return { native, addonPath: path, ports: new Map(), running: false, quit: () => {} };
  }

  it('answers whatever bytes with a value or a coded error, and goes on', () => {
    const one = served();
    const closed: number[] = [];
    fc.assert(
      fc.property(
        fc.nat(30),
        fc.oneof(fc.uint8Array({ maxLength: 60 }), fc.array(anyValue, { maxLength: 4 })),
        (method, rest) => {
          // quit and pcap files of whatever name are not for noise.
          if (Object.keys(METHODS)[method] === 'quit') return;
          const body = Array.isArray(rest) ? encodeValue(rest) : (rest as Uint8Array);
          const request = new Uint8Array([method, ...body]);
          const { bytes, fds } = serve(one, request, [1000], (fd) => closed.push(fd));
          expect(fds).toEqual([]);
          try {
            decodeAnswer(bytes);
          } catch (error) {
            expect(error).toBeInstanceOf(VRouterError);
            expect((error as VRouterError).code).not.toBe('INTERNAL');
          }
        },
      ),
      { numRuns: 1000 },
    );
    one.native.stop();
    const { bytes } = serve(one, encodeRequest('info', []), [], () => {});
    expect(decodeAnswer(bytes)).toMatchObject({ flowEntries: 1024 });
    expect(closed.length).toBeGreaterThan(100);
    expect(new Set(closed)).toEqual(new Set([1000]));
    one.native.close();
  });

  it('passes an op index and a field on', () => {
    const one = served();
    const { bytes } = serve(one, encodeRequest('step', [1]), [], () => {});
    expect(() => decodeAnswer(bytes)).toThrow(
      expect.objectContaining({ code: 'BAD_ARGUMENT', field: 'nowNs' }),
    );
    one.native.close();
  });
});
