import { describe, expect, test } from 'vitest';
import {
  canonicalPrefix,
  comparePrefix,
  contains,
  formatPrefix,
  hostPrefix,
  isPrefix,
  maskBytes,
  parseAddressInNetwork,
  parsePrefix,
} from '../../../src/addr/prefix.ts';
import { ParseError } from '../../../src/errors.ts';

test.each([
  ['0.0.0.0/0', '0.0.0.0/0'],
  ['10.32.0.0/12', '10.32.0.0/12'],
  ['128.0.0.0/1', '128.0.0.0/1'],
  ['FD00:0::/64', 'fd00::/64'],
  ['::/0', '::/0'],
])('%s', (text, canonical) => expect(canonicalPrefix(text)).toBe(canonical));

test.each([
  '10.0.0.0',
  '10.0.0.0/',
  '10.0.0.0/33',
  '10.0.0.0/08',
  '10.0.0.0/-1',
  '10.0.0.0/8/8',
  'fd00::/129',
  '/8',
  '10.0.0.0/8 ',
])('%j is refused', (text) => {
  expect(() => parsePrefix(text)).toThrow(ParseError);
  expect(isPrefix(text)).toBe(false);
});

test('bits past the length are refused, and what was meant is said', () => {
  expect(() => parsePrefix('10.47.255.236/12')).toThrow('10.32.0.0/12 would be one');
});

describe('contains', () => {
  const holds = (outer: string, inner: string) => contains(parsePrefix(outer), parsePrefix(inner));
  test.each([
    ['0.0.0.0/0', '10.0.0.0/8', true],
    ['10.32.0.0/12', '10.47.255.236/32', true],
    ['10.32.0.0/12', '10.48.0.0/16', false],
    ['10.0.0.0/8', '10.0.0.0/8', true],
    ['10.0.0.0/9', '10.0.0.0/8', false],
    ['0.0.0.0/0', '::/0', false],
    ['fd00::/63', 'fd00:0:0:1::/64', true],
    ['fd00::/64', 'fd00:0:0:1::/64', false],
  ])('%s %s: %s', (outer, inner, expected) => expect(holds(outer, inner)).toBe(expected));
});

test('host prefixes, masks, order', () => {
  expect(hostPrefix('10.0.0.1')).toBe('10.0.0.1/32');
  expect(hostPrefix('FD00::1')).toBe('fd00::1/128');
  expect(maskBytes(new Uint8Array([255, 255, 255, 255]), 17)).toEqual(
    new Uint8Array([255, 255, 128, 0]),
  );
  const sorted = ['fd00::/8', '10.0.0.0/16', '10.0.0.0/8', '9.0.0.0/8']
    .map(parsePrefix)
    .sort(comparePrefix)
    .map(formatPrefix);
  expect(sorted).toEqual(['9.0.0.0/8', '10.0.0.0/8', '10.0.0.0/16', 'fd00::/8']);
});

test('an address on an interface keeps its bits past the length', () => {
  expect(formatPrefix(parseAddressInNetwork('10.47.255.236/12'))).toBe('10.47.255.236/12');
  expect(formatPrefix(parseAddressInNetwork('fd00::1/64'))).toBe('fd00::1/64');
  for (const text of ['10.0.0.1', '10.0.0.1/33', '10.0.0.1/', '/8', 'fd00::1/129', '10.0.0.1/8/8'])
    expect(() => parseAddressInNetwork(text), text).toThrow(ParseError);
});
