/** `--watch`: a view again and again, and what changed since the last look, a second. */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Command, Option } from 'commander';
import { wholeNumber } from './arguments.ts';
import { UsageError } from './io.ts';
import type { Count } from './views.ts';

export interface WatchOptions {
  readonly watch?: number;
  /** Looks; default: until the command is ended. */
  readonly count?: number;
}

export interface Before<T> {
  readonly value: T;
  /** From then until now, as measured. */
  readonly seconds: number;
}

export function watchOption(): Option {
  return new Option('--watch [seconds]', 'again and again, every so often')
    .argParser(Number)
    .preset(1);
}

export function watchOptions(command: Command): Command {
  return command
    .addOption(watchOption())
    .option('--count <n>', 'with --watch: stop after n looks', wholeNumber(0xffffffff));
}

/** Once, or every `watch` seconds; `show` also gets the last look. */
export async function watched<T>(
  options: WatchOptions,
  read: () => Promise<T>,
  show: (now: T, before: Before<T> | undefined) => void,
): Promise<void> {
  const { watch, count = Number.POSITIVE_INFINITY } = options;
  if (watch !== undefined && !(watch > 0))
    throw new UsageError('--watch takes a number of seconds above 0');
  if (watch === undefined && options.count !== undefined)
    throw new UsageError('--count needs --watch');
  let previous: { readonly value: T; readonly atMs: number } | undefined;
  for (let looks = 0; looks < (watch === undefined ? 1 : count); looks++) {
    if (watch !== undefined && looks > 0) await sleep(watch * 1000);
    const value = await read();
    const atMs = performance.now();
    const before =
      previous === undefined
        ? undefined
        : { value: previous.value, seconds: (atMs - previous.atMs) / 1000 };
    show(value, before);
    previous = { value, atMs };
  }
}

/** Of a counter that begins anew (cleared, another forwarder), what it has counted since. */
export function perSecond(before: Count | undefined, after: Count, seconds: number): number {
  const [from, to] = [BigInt(before ?? 0), BigInt(after)];
  return Math.round(Number(to < from ? to : to - from) / seconds);
}

/** Packets and bits a second. */
export interface Rate {
  readonly packets: number;
  readonly bits: number;
}

interface Counted {
  readonly packets: Count;
  readonly bytes: Count;
}

export function rateOf(before: Counted, after: Counted, seconds: number): Rate {
  return {
    packets: perSecond(before.packets, after.packets, seconds),
    bits: perSecond(before.bytes, after.bytes, seconds / 8),
  };
}
