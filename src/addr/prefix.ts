/**
 * IP prefixes: strict parsing (bits past the length must be zero), RFC 5952 output, containment.
 * A `PrefixText` has been through `canonicalPrefix`, compares as a value and serves as a map key.
 */
import { compareBytes, formatIp, type IpFamily, ipBytes, parseIp, readIp } from './ip.ts';
import { decimal, refuse } from './text.ts';

export interface Prefix {
  readonly family: IpFamily;
  readonly bytes: Uint8Array;
  readonly length: number;
}

declare const prefixText: unique symbol;
/** A prefix in its canonical spelling. */
export type PrefixText = string & { readonly [prefixText]: true };

export function addressBits(family: IpFamily): number {
  return family === 4 ? 32 : 128;
}

/** `bytes` with everything past the first `length` bits cleared. */
export function maskBytes(bytes: Uint8Array, length: number): Uint8Array {
  const out = bytes.slice();
  const whole = length >> 3;
  if (whole < out.length) {
    out[whole] = (out[whole] as number) & (0xff00 >> (length & 7)) & 0xff;
    out.fill(0, whole + 1);
  }
  return out;
}

function bitsPast(bytes: Uint8Array, end: number, length: number): boolean {
  let at = length >> 3;
  if (at >= end) return false;
  let bits = (bytes[at] as number) & (0xff >> (length & 7));
  while (++at < end) bits |= bytes[at] as number;
  return bits !== 0;
}

/** The address into the first 4 or 16 bytes of `out`, which has 16. Throws ParseError. */
export function readPrefix(
  text: string,
  out: Uint8Array,
): { readonly family: IpFamily; readonly length: number } {
  const slash = text.indexOf('/');
  if (slash < 0) refuse('a prefix', text, 'an address, / and a length are needed');
  const family = readIp(text.slice(0, slash), out);
  const length = decimal(text.slice(slash + 1), addressBits(family));
  if (length === undefined) {
    refuse('a prefix', text, `the length must be 0 to ${addressBits(family)}`);
  }
  const end = ipBytes(family);
  if (bitsPast(out, end, length)) {
    const bytes = maskBytes(out.subarray(0, end), length);
    const meant = formatPrefix({ family, bytes, length });
    refuse('a prefix', text, `bits are set past its length, ${meant} would be one`);
  }
  return { family, length };
}

const scratch = new Uint8Array(16);

export function parsePrefix(text: string): Prefix {
  const { family, length } = readPrefix(text, scratch);
  return { family, bytes: scratch.slice(0, ipBytes(family)), length };
}

/** An interface's address: with the length of its network, whose other bits say which one it is. */
export function parseAddressInNetwork(text: string): Prefix {
  const slash = text.indexOf('/');
  if (slash < 0) refuse('an address in a network', text, 'an address, / and a length are needed');
  const { family, bytes } = parseIp(text.slice(0, slash));
  const length = decimal(text.slice(slash + 1), addressBits(family));
  if (length === undefined) {
    const why = `the length must be 0 to ${addressBits(family)}`;
    refuse('an address in a network', text, why);
  }
  return { family, bytes, length };
}

export function isPrefix(text: string): boolean {
  try {
    parsePrefix(text);
    return true;
  } catch {
    return false;
  }
}

export function formatPrefix(prefix: Prefix): PrefixText {
  return `${formatIp(prefix.family, prefix.bytes)}/${prefix.length}` as PrefixText;
}

export function canonicalPrefix(text: string): PrefixText {
  return formatPrefix(parsePrefix(text));
}

/** The /32 or /128 of an address. */
export function hostPrefix(address: string): PrefixText {
  const { family, bytes } = parseIp(address);
  return formatPrefix({ family, bytes, length: addressBits(family) });
}

/** True if every address of `inner` (a prefix, or an address by its full length) lies in `outer`. */
export function contains(outer: Prefix, inner: Prefix): boolean {
  if (outer.family !== inner.family || inner.length < outer.length) return false;
  const whole = outer.length >> 3;
  for (let i = 0; i < whole; i++) if (outer.bytes[i] !== inner.bytes[i]) return false;
  const rest = outer.length & 7;
  if (rest === 0) return true;
  const mask = (0xff00 >> rest) & 0xff;
  return (((outer.bytes[whole] as number) ^ (inner.bytes[whole] as number)) & mask) === 0;
}

/** Family, then address, then length: the order tables are printed in. */
export function comparePrefix(a: Prefix, b: Prefix): number {
  if (a.family !== b.family) return a.family - b.family;
  return compareBytes(a.bytes, b.bytes) || a.length - b.length;
}
