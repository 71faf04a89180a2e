/** Readers of option values; what is wrong is said with the option's name by commander. */
import { InvalidArgumentError } from 'commander';
import { decimal } from '../addr/text.ts';

export function wholeNumber(max: number): (text: string) => number {
  return (text) => {
    const value = decimal(text, max);
    if (value === undefined)
      throw new InvalidArgumentError(`A whole number from 0 to ${max} is needed.`);
    return value;
  };
}

export const id32 = wholeNumber(0xffffffff);
export const vrfId = wholeNumber(65535);

export function seed(text: string): bigint {
  if (!/^[0-9]{1,20}$/.test(text) || BigInt(text) >= 1n << 64n) {
    throw new InvalidArgumentError('A whole number from 0 to 2^64 - 1 is needed.');
  }
  return BigInt(text);
}
