import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { canonicalIp, formatIp, parseIp } from '../../src/addr/ip.ts';
import { formatMac, parseMac } from '../../src/addr/mac.ts';
import { contains, formatPrefix, maskBytes, parsePrefix } from '../../src/addr/prefix.ts';
import { formatRouteTarget, parseRouteTarget } from '../../src/addr/route-target.ts';

const bytes = (n: number) => fc.uint8Array({ minLength: n, maxLength: n });
// Mostly zero groups, so that runs to be shortened come up.
const sparse = fc
  .array(fc.oneof({ arbitrary: fc.constant(0), weight: 3 }, fc.integer({ min: 0, max: 65535 })), {
    minLength: 8,
    maxLength: 8,
  })
  .map((groups) => new Uint8Array(groups.flatMap((g) => [g >> 8, g & 0xff])));
const ipv6 = fc.oneof(bytes(16), sparse);

describe('what is printed is read back', () => {
  test('IPv4', () => {
    fc.assert(
      fc.property(bytes(4), (b) => {
        expect(parseIp(formatIp(4, b)).bytes).toEqual(b);
      }),
    );
  });
  test('IPv6, and every spelling of it has one canonical form', () => {
    fc.assert(
      fc.property(ipv6, fc.boolean(), (b, upper) => {
        const canonical = formatIp(6, b);
        expect(parseIp(canonical).bytes).toEqual(b);
        const groups = Array.from({ length: 8 }, (_, i) =>
          (((b[i * 2] as number) << 8) | (b[i * 2 + 1] as number)).toString(16).padStart(4, '0'),
        ).join(':');
        expect(canonicalIp(upper ? groups.toUpperCase() : groups)).toBe(canonical);
      }),
      { numRuns: 1000 },
    );
  });
  test('MACs and route targets', () => {
    fc.assert(
      fc.property(bytes(6), (b) => {
        expect(parseMac(formatMac(b))).toEqual(b);
      }),
    );
    fc.assert(
      fc.property(fc.constantFrom(0, 1, 2), bytes(6), (type, value) => {
        const target = new Uint8Array([type, 2, ...value]);
        const back = parseRouteTarget(formatRouteTarget(target));
        expect(back).toEqual(target);
      }),
    );
  });
});

test('RFC 5952: no shorter spelling, and no group twice shortened', () => {
  fc.assert(
    fc.property(sparse, (b) => {
      const text = formatIp(6, b);
      expect(text.split('::').length).toBeLessThanOrEqual(2);
      expect(text).toBe(text.toLowerCase());
      expect(text).not.toMatch(/(^|:)0[0-9a-f]/);
    }),
  );
});

test('text of any kind is read or refused, never something else', () => {
  const alphabet = fc.constantFrom(...'0123456789abcdefF:./%- ');
  fc.assert(
    fc.property(fc.string({ unit: alphabet, maxLength: 50 }), (text) => {
      let parsed: ReturnType<typeof parseIp>;
      try {
        parsed = parseIp(text);
      } catch (error) {
        expect((error as Error).name).toBe('ParseError');
        return;
      }
      expect(canonicalIp(formatIp(parsed.family, parsed.bytes))).toBe(canonicalIp(text));
    }),
    { numRuns: 2000 },
  );
});

test('contains, against numbers', () => {
  const value = (b: Uint8Array) => [...b].reduce((n, byte) => (n << 8n) | BigInt(byte), 0n);
  const prefix = fc
    .tuple(bytes(4), fc.integer({ min: 0, max: 32 }))
    .map(([b, length]) => ({ family: 4 as const, bytes: maskBytes(b, length), length }));
  fc.assert(
    fc.property(prefix, prefix, fc.boolean(), (a, other, inside) => {
      const b =
        inside && other.length >= a.length
          ? {
              ...other,
              bytes: other.bytes.map((byte, i) => byte | (a.bytes[i] as number)),
            }
          : other;
      const shift = BigInt(32 - a.length);
      const expected = b.length >= a.length && value(a.bytes) >> shift === value(b.bytes) >> shift;
      expect(contains(a, b)).toBe(expected);
      expect(parsePrefix(formatPrefix(a))).toEqual(a);
    }),
    { numRuns: 1000 },
  );
});
