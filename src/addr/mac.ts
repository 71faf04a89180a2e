/** MAC addresses: six pairs of hex digits joined by `:` (or `-`); printed in lower case with `:`. */
import { refuse } from './text.ts';

declare const macText: unique symbol;
/** A MAC address in its canonical spelling. */
export type MacText = string & { readonly [macText]: true };

export const MAC_BROADCAST = 'ff:ff:ff:ff:ff:ff' as MacText;
export const MAC_ZERO = '00:00:00:00:00:00' as MacText;
/** The gateway's MAC on every tenant interface: VRRP's, as in the ancestor. */
export const MAC_GATEWAY = '00:00:5e:00:01:00' as MacText;

const COLONS = /^[0-9a-fA-F]{2}(?::[0-9a-fA-F]{2}){5}$/;
const DASHES = /^[0-9a-fA-F]{2}(?:-[0-9a-fA-F]{2}){5}$/;

export function isMac(text: string): boolean {
  return COLONS.test(text) || DASHES.test(text);
}

export function parseMac(text: string): Uint8Array {
  if (!isMac(text)) refuse('a MAC address', text, 'six pairs of hex digits joined by : are needed');
  const bytes = new Uint8Array(6);
  for (let i = 0; i < 6; i++) bytes[i] = Number.parseInt(text.slice(i * 3, i * 3 + 2), 16);
  return bytes;
}

export function formatMac(bytes: Uint8Array): MacText {
  if (bytes.length !== 6) throw new RangeError(`a MAC address has 6 bytes, not ${bytes.length}`);
  return Array.from(bytes, (b) => b.toString(16).padStart(2, '0')).join(':') as MacText;
}

export function canonicalMac(text: string): MacText {
  return formatMac(parseMac(text));
}

/** Broadcast and multicast addresses cannot be a station's own. */
export function isGroupMac(bytes: Uint8Array): boolean {
  return ((bytes[0] as number) & 1) !== 0;
}
