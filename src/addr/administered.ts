/**
 * `administrator:number`, the text behind route distinguishers (RFC 4364 §4.2) and route targets
 * (RFC 4360 §4): six bytes whose split depends on a type.
 *   0  two-byte AS number : four-byte number      `64512:8000001`
 *   1  IPv4 address       : two-byte number       `10.0.0.1:7`
 *   2  four-byte AS number: two-byte number       `4200000000:7`, or `64512L:7` for a small AS number
 */
import { formatIp, isIpv4, parseIp } from './ip.ts';
import { decimal, refuse } from './text.ts';

export interface Administered {
  readonly type: 0 | 1 | 2;
  /** Six bytes after the type. */
  readonly value: Uint8Array;
}

export function parseAdministered(what: string, text: string): Administered {
  const colon = text.lastIndexOf(':');
  if (colon < 0) refuse(what, text, 'an AS number or IPv4 address, : and a number are needed');
  const left = text.slice(0, colon);
  const value = new Uint8Array(6);
  const view = new DataView(value.buffer);
  const number = (max: number): number =>
    decimal(text.slice(colon + 1), max) ??
    refuse(what, text, `the number after the colon must be 0 to ${max}`);
  if (left.includes('.')) {
    if (!isIpv4(left)) refuse(what, text, 'the part before the colon is not an IPv4 address');
    value.set(parseIp(left).bytes);
    view.setUint16(4, number(0xffff));
    return { type: 1, value };
  }
  const long = left.endsWith('L');
  const as = decimal(long ? left.slice(0, -1) : left, 0xffffffff);
  if (as === undefined) refuse(what, text, 'the AS number must be 0 to 4294967295');
  if (long || as > 0xffff) {
    view.setUint32(0, as);
    view.setUint16(4, number(0xffff));
    return { type: 2, value };
  }
  view.setUint16(0, as);
  view.setUint32(2, number(0xffffffff));
  return { type: 0, value };
}

export function formatAdministered({ type, value }: Administered): string {
  if (value.length !== 6) throw new RangeError(`six bytes are needed, not ${value.length}`);
  const view = new DataView(value.buffer, value.byteOffset, 6);
  if (type === 0) return `${view.getUint16(0)}:${view.getUint32(2)}`;
  if (type === 1) return `${formatIp(4, value.subarray(0, 4))}:${view.getUint16(4)}`;
  const as = view.getUint32(0);
  return `${as}${as > 0xffff ? '' : 'L'}:${view.getUint16(4)}`;
}
