import { describe, expect, test } from 'vitest';
import {
  canonicalIp,
  compareIp,
  formatIp,
  isIp,
  isIpv4,
  isIpv6,
  parseIp,
} from '../../../src/addr/ip.ts';
import { ParseError } from '../../../src/errors.ts';

describe('RFC 5952 output', () => {
  const cases: [string, string][] = [
    ['0.0.0.0', '0.0.0.0'],
    ['255.255.255.255', '255.255.255.255'],
    ['::', '::'],
    ['::1', '::1'],
    ['1::', '1::'],
    ['2001:0DB8::0001', '2001:db8::1'],
    ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'], // the first of two equal runs
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'], // one group alone is not shortened
    ['1:0:0:2:0:0:0:3', '1:0:0:2::3'], // the longer run
    ['0:0:1:2:3:4:5:6', '::1:2:3:4:5:6'],
    ['1:2:3:4:5:6:0:0', '1:2:3:4:5:6::'],
    ['::ffff:10.0.0.1', '::ffff:10.0.0.1'],
    ['::ffff:a00:1', '::ffff:10.0.0.1'],
    ['1:2:3:4:5:6:1.2.3.4', '1:2:3:4:5:6:102:304'],
    ['1:2:3:4:5:6:7::', '1:2:3:4:5:6:7:0'],
    ['fe80::1', 'fe80::1'],
  ];
  test.each(cases)('%s -> %s', (text, canonical) => {
    expect(canonicalIp(text)).toBe(canonical);
    expect(canonicalIp(canonical)).toBe(canonical);
  });
});

describe('refused, with the text at fault in the message', () => {
  test.each([
    '',
    ' 1.2.3.4',
    '1.2.3',
    '1.2.3.4.5',
    '01.2.3.4',
    '1.2.3.256',
    '1.2.3.-1',
    '+1.2.3.4',
    '0x1.2.3.4',
    ':',
    ':::',
    '1:::2',
    '1::2::3',
    '1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:8:9',
    '1:2:3:4:5:6:7:8::',
    ':1::',
    '::1:',
    '12345::',
    'g::',
    '::1%eth0',
    '1.2.3.4::',
    '1:2:3:4:5:6:7:1.2.3.4',
    '::1.2.3',
    `${'0'.repeat(60)}::`,
  ])('%j', (text) => {
    expect(() => parseIp(text)).toThrow(ParseError);
    expect(isIp(text)).toBe(false);
    if (text.length < 40) expect(() => parseIp(text)).toThrow(JSON.stringify(text));
  });

  test('a message is bounded whatever the text', () => {
    let message = '';
    try {
      parseIp('9'.repeat(10_000));
    } catch (error) {
      message = (error as Error).message;
    }
    expect(message.length).toBeGreaterThan(10);
    expect(message.length).toBeLessThan(300);
  });
});

test('families are told apart', () => {
  expect([isIpv4('10.0.0.1'), isIpv6('10.0.0.1')]).toEqual([true, false]);
  expect([isIpv4('fd00::1'), isIpv6('fd00::1')]).toEqual([false, true]);
  expect(parseIp('10.0.0.1')).toEqual({ family: 4, bytes: new Uint8Array([10, 0, 0, 1]) });
});

test('bytes of the wrong length are a programming error', () => {
  expect(() => formatIp(4, new Uint8Array(16))).toThrow(RangeError);
  expect(() => formatIp(6, new Uint8Array(4))).toThrow(RangeError);
});

test('order: family, then number', () => {
  const sorted = ['10.0.0.2', '9.0.0.1', '10.0.0.10', '::1', '1::']
    .map(parseIp)
    .sort(compareIp)
    .map(({ family, bytes }) => formatIp(family, bytes));
  expect(sorted).toEqual(['9.0.0.1', '10.0.0.2', '10.0.0.10', '::1', '1::']);
});
