import { expect, test } from 'vitest';
import {
  canonicalMac,
  formatMac,
  isGroupMac,
  isMac,
  MAC_BROADCAST,
  MAC_GATEWAY,
  parseMac,
} from '../../../src/addr/mac.ts';
import { ParseError } from '../../../src/errors.ts';

test.each([
  ['00:00:5e:00:01:00', '00:00:5e:00:01:00'],
  ['00-00-5E-00-01-00', '00:00:5e:00:01:00'],
  ['FF:ff:FF:ff:FF:ff', MAC_BROADCAST],
])('%s', (text, canonical) => expect(canonicalMac(text)).toBe(canonical));

test.each([
  '',
  '0:0:5e:0:1:0',
  '00:00:5e:00:01',
  '00:00:5e:00:01:00:00',
  '00:00-5e:00:01:00',
  'gg:00:00:00:00:00',
])('%j is refused', (text) => {
  expect(() => parseMac(text)).toThrow(ParseError);
  expect(isMac(text)).toBe(false);
});

test('bytes and group bit', () => {
  expect(parseMac(MAC_GATEWAY)).toEqual(new Uint8Array([0, 0, 0x5e, 0, 1, 0]));
  expect(() => formatMac(new Uint8Array(5))).toThrow(RangeError);
  expect(isGroupMac(parseMac(MAC_BROADCAST))).toBe(true);
  expect(isGroupMac(parseMac('02:00:00:00:00:01'))).toBe(false);
});
