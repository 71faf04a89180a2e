/**
 * IPv4 and IPv6 addresses: strict parsing, RFC 5952 output.
 * Invariant: `canonicalIp(text)` is the one spelling of an address, so canonical texts compare as values
 * and serve as map keys; an `IpText` has been through it.
 */
import { ParseError } from '../errors.ts';
import { decimal, refuse } from './text.ts';

export type IpFamily = 4 | 6;

export interface IpAddress {
  readonly family: IpFamily;
  /** Network order; 4 or 16 bytes. */
  readonly bytes: Uint8Array;
}

declare const ipText: unique symbol;
/** An address in its canonical spelling. */
export type IpText = string & { readonly [ipText]: true };

const DOT = 0x2e;
const ZERO = 0x30;

/** Character by character and without a copy of any: routes come by the hundred thousand. False: it is none. */
function readDotted(text: string, out: Uint8Array, at: number): boolean {
  let i = 0;
  for (let part = 0; part < 4; part++) {
    const from = i;
    let value = 0;
    for (; i < text.length; i++) {
      const digit = text.charCodeAt(i) - ZERO;
      if (digit < 0 || digit > 9 || value > 25) break;
      value = value * 10 + digit;
    }
    const leadingZero = i - from > 1 && text.charCodeAt(from) === ZERO;
    if (i === from || value > 255 || leadingZero) return false;
    if (part < 3 && text.charCodeAt(i++) !== DOT) return false;
    out[at + part] = value;
  }
  return i === text.length;
}

function readIpv4(text: string, out: Uint8Array, at: number): string | undefined {
  if (readDotted(text, out, at)) return undefined;
  const parts = text.split('.', 5);
  if (parts.length !== 4) return 'four numbers joined by dots are needed';
  const wrong = parts.findIndex((part) => decimal(part, 255) === undefined);
  return `number ${wrong + 1} must be 0 to 255 without leading zeros`;
}

function readIpv6(text: string, out: Uint8Array): string | undefined {
  if (text.length > 45) return 'too long';
  const gapAt = text.indexOf('::');
  if (gapAt >= 0 && text.indexOf('::', gapAt + 1) >= 0) return 'more than one ::';
  const head = gapAt < 0 ? text : text.slice(0, gapAt);
  const tail = gapAt < 0 ? '' : text.slice(gapAt + 2);
  const groupsOf = (part: string) => (part === '' ? [] : part.split(':'));
  const before = groupsOf(head);
  const after = groupsOf(tail);
  const groups = [...before, ...after];
  const last = groups[groups.length - 1];
  let ipv4: Uint8Array | undefined;
  if (last?.includes('.') === true) {
    // The dotted tail must be the end of the text, not the end of what stands before a gap.
    if (gapAt >= 0 && after.length === 0) return 'a dotted part may only be the end';
    ipv4 = new Uint8Array(4);
    const problem = readIpv4(last, ipv4, 0);
    if (problem !== undefined) return problem;
    groups.pop();
  }
  const width = groups.length * 2 + (ipv4 ? 4 : 0);
  if (gapAt < 0 ? width !== 16 : width > 14) {
    return gapAt < 0 ? 'eight groups are needed' : ':: must stand for at least one group';
  }
  out.fill(0, 0, 16);
  let at = 0;
  for (let i = 0; i < groups.length; i++) {
    if (i === before.length) at += 16 - width;
    const group = groups[i] as string;
    if (!/^[0-9a-fA-F]{1,4}$/.test(group)) return `group ${i + 1} must be 1 to 4 hex digits`;
    const value = Number.parseInt(group, 16);
    out[at++] = value >> 8;
    out[at++] = value & 0xff;
  }
  if (ipv4) out.set(ipv4, 12);
  return undefined;
}

/** Into the first 4 or 16 bytes of `out`, which has 16. Throws ParseError. */
export function readIp(text: string, out: Uint8Array): IpFamily {
  const family = text.includes(':') ? 6 : 4;
  const problem = family === 6 ? readIpv6(text, out) : readIpv4(text, out, 0);
  if (problem !== undefined)
    refuse(family === 6 ? 'an IPv6 address' : 'an IP address', text, problem);
  return family;
}

export function ipBytes(family: IpFamily): 4 | 16 {
  return family === 4 ? 4 : 16;
}

const scratch = new Uint8Array(16);

export function parseIp(text: string): IpAddress {
  const family = readIp(text, scratch);
  return { family, bytes: scratch.slice(0, ipBytes(family)) };
}

function parses(text: string): IpFamily | undefined {
  try {
    return parseIp(text).family;
  } catch (error) {
    if (error instanceof ParseError) return undefined;
    throw error;
  }
}

export function isIp(text: string): boolean {
  return parses(text) !== undefined;
}

export function isIpv4(text: string): boolean {
  return parses(text) === 4;
}

export function isIpv6(text: string): boolean {
  return parses(text) === 6;
}

export function formatIp(family: IpFamily, bytes: Uint8Array): IpText {
  if (bytes.length !== (family === 4 ? 4 : 16)) {
    throw new RangeError(
      `an IPv${family} address has ${family === 4 ? 4 : 16} bytes, not ${bytes.length}`,
    );
  }
  return (family === 4 ? dotted(bytes, 0) : ipv6Text(bytes)) as IpText;
}

function dotted(bytes: Uint8Array, at: number): string {
  return `${bytes[at]}.${bytes[at + 1]}.${bytes[at + 2]}.${bytes[at + 3]}`;
}

/** RFC 5952: lower case, the first longest run of two or more zero groups shortened. */
function ipv6Text(bytes: Uint8Array): string {
  const groups: number[] = [];
  for (let i = 0; i < 16; i += 2)
    groups.push(((bytes[i] as number) << 8) | (bytes[i + 1] as number));
  // Section 5: IPv4-mapped addresses keep their dotted end.
  if (groups.slice(0, 5).every((g) => g === 0) && groups[5] === 0xffff) {
    return `::ffff:${dotted(bytes, 12)}`;
  }
  let gap = 0;
  let gapLength = 1;
  for (let i = 0; i < 8; ) {
    let end = i;
    while (end < 8 && groups[end] === 0) end++;
    if (end - i > gapLength) {
      gap = i;
      gapLength = end - i;
    }
    i = end + 1;
  }
  const hex = (part: number[]) => part.map((g) => g.toString(16)).join(':');
  if (gapLength < 2) return hex(groups);
  return `${hex(groups.slice(0, gap))}::${hex(groups.slice(gap + gapLength))}`;
}

export function canonicalIp(text: string): IpText {
  const { family, bytes } = parseIp(text);
  return formatIp(family, bytes);
}

/** Family first, then numeric. */
export function compareIp(a: IpAddress, b: IpAddress): number {
  if (a.family !== b.family) return a.family - b.family;
  return compareBytes(a.bytes, b.bytes);
}

export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const shared = Math.min(a.length, b.length);
  for (let i = 0; i < shared; i++) {
    const difference = (a[i] as number) - (b[i] as number);
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
}
