/** Numbers of intents held against what the data plane takes, so that a bad one is refused at once. */
import { VRouterError } from '../errors.ts';

export function checkNumber(
  value: number | undefined,
  min: number,
  max: number,
  what: string,
): void {
  if (value === undefined || (Number.isInteger(value) && value >= min && value <= max)) return;
  throw new VRouterError(
    'BAD_VALUE',
    `${what}: ${value} is not a whole number from ${min} to ${max}`,
  );
}

export function checkCount(list: readonly unknown[] | undefined, max: number, what: string): void {
  if (list === undefined || list.length <= max) return;
  throw new VRouterError('BAD_VALUE', `${what}: ${list.length} are more than ${max}`);
}

export const MAX_UINT32 = 0xffffffff;
