/** Small pieces of strict text parsing shared by the address types: no signs, no blanks, no leading zeros. */
import { ParseError } from '../errors.ts';

/** The text as it goes into an error message: quoted, bounded, control characters visible. */
export function quoted(text: string): string {
  return JSON.stringify(text.length > 64 ? `${text.slice(0, 61)}...` : text);
}

/** Decimal integer of at most `max`, or undefined when the text is not exactly one. */
export function decimal(text: string, max: number): number | undefined {
  if (text.length === 0 || text.length > 10) return undefined;
  if (text.length > 1 && text.charCodeAt(0) === 0x30) return undefined;
  let value = 0;
  for (let i = 0; i < text.length; i++) {
    const digit = text.charCodeAt(i) - 0x30;
    if (digit < 0 || digit > 9) return undefined;
    value = value * 10 + digit;
  }
  return value <= max ? value : undefined;
}

export function refuse(what: string, text: string, why: string): never {
  throw new ParseError(`${quoted(text)} is not ${what}: ${why}`);
}
