/** Route distinguishers (RFC 4364 §4.2): eight bytes, text `64512:1`, `10.0.0.1:7`, `4200000000:7`. */
import { ParseError } from '../errors.ts';
import { formatAdministered, parseAdministered } from './administered.ts';

declare const rdText: unique symbol;
export type RouteDistinguisher = string & { readonly [rdText]: true };

export function parseRd(text: string): Uint8Array {
  const { type, value } = parseAdministered('a route distinguisher', text);
  const bytes = new Uint8Array(8);
  bytes[1] = type;
  bytes.set(value, 2);
  return bytes;
}

export function formatRd(bytes: Uint8Array): RouteDistinguisher {
  const type = bytes[1];
  if (bytes.length !== 8 || bytes[0] !== 0 || (type !== 0 && type !== 1 && type !== 2)) {
    throw new ParseError('these bytes are not a route distinguisher');
  }
  return formatAdministered({ type, value: bytes.subarray(2) }) as RouteDistinguisher;
}

export function canonicalRd(text: string): RouteDistinguisher {
  return formatRd(parseRd(text));
}
