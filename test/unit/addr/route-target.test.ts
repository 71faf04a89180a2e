import { describe, expect, test } from 'vitest';
import { canonicalRd, formatRd, parseRd } from '../../../src/addr/rd.ts';
import {
  canonicalRouteTarget,
  formatRouteTarget,
  parseRouteTarget,
} from '../../../src/addr/route-target.ts';
import { ParseError } from '../../../src/errors.ts';

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');

describe('route targets (RFC 4360 §4, RFC 5668)', () => {
  // Bytes: the types' own layouts, written out by hand.
  test.each([
    ['64512:8000001', '0002fc00007a1201', '64512:8000001'],
    ['target:64512:8000001', '0002fc00007a1201', '64512:8000001'],
    ['10.0.0.1:7', '01020a0000010007', '10.0.0.1:7'],
    ['4200000000:7', '0202fa56ea000007', '4200000000:7'],
    ['64512L:7', '02020000fc000007', '64512L:7'],
    ['0:0', '0002000000000000', '0:0'],
  ])('%s', (text, bytes, canonical) => {
    expect(hex(parseRouteTarget(text))).toBe(bytes);
    expect(canonicalRouteTarget(text)).toBe(canonical);
  });

  test.each([
    '',
    '1',
    ':1',
    '1:',
    'a:1',
    '4294967296:1',
    '4200000000:65536',
    '10.0.0.1:65536',
    '10.0.0:1',
    '64512:4294967296',
    '1:2:3',
  ])('%j is refused', (text) => expect(() => parseRouteTarget(text)).toThrow(ParseError));

  test('bytes that are none are refused', () => {
    expect(() => formatRouteTarget(Buffer.from('0003fc00007a1201', 'hex'))).toThrow(ParseError);
    expect(() => formatRouteTarget(Buffer.from('0302fc00007a1201', 'hex'))).toThrow(ParseError);
    expect(() => formatRouteTarget(new Uint8Array(7))).toThrow(ParseError);
  });
});

describe('route distinguishers (RFC 4364 §4.2)', () => {
  test.each([
    ['64512:1', '0000fc0000000001'],
    ['10.0.0.1:7', '00010a0000010007'],
    ['4200000000:7', '0002fa56ea000007'],
  ])('%s', (text, bytes) => {
    expect(hex(parseRd(text))).toBe(bytes);
    expect(formatRd(Buffer.from(bytes, 'hex'))).toBe(text);
    expect(canonicalRd(text)).toBe(text);
  });

  test('bytes that are none are refused', () => {
    expect(() => formatRd(Buffer.from('0003fc0000000001', 'hex'))).toThrow(ParseError);
    expect(() => parseRd('x')).toThrow(ParseError);
  });
});
