/**
 * Packets of a running vRouter as they come: `capture.start`, then asking again and again until it is enough
 * (so many, so long, Ctrl-C), then `capture.stop`. What had been caught by then is still handed over.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from './client.ts';
import type { CapturedView, CaptureRequest, CaptureView, Count } from './views.ts';

/** Between two questions when there was nothing. */
const IDLE_MS = 50;
/** A whole ring, for the last question. */
const LAST_BYTES = 16 << 20;

export interface LiveOptions {
  readonly count?: number;
  readonly seconds?: number;
  /** From now on packets are caught. */
  readonly started?: () => void;
}

export interface LiveTotals {
  readonly handed: number;
  readonly matched: Count;
  readonly lost: Count;
  /** By the other side, because it was not asked in time. */
  readonly ended: boolean;
}

/** `take` may wait (for a pipe that is full); packets are lost meanwhile, and counted. */
export async function live(
  client: Client,
  request: CaptureRequest,
  options: LiveOptions,
  take: (packet: CapturedView) => void | Promise<void>,
): Promise<LiveTotals> {
  const stopping = new AbortController();
  const stop = () => stopping.abort();
  process.once('SIGINT', stop);
  process.once('SIGTERM', stop);
  const { id } = await client.call<{ id: number }>('capture.start', request);
  options.started?.();
  const timer =
    options.seconds === undefined ? undefined : setTimeout(stop, options.seconds * 1000);
  const limit = options.count ?? Number.POSITIVE_INFINITY;
  let handed = 0;
  let last: CaptureView | undefined;
  try {
    for (let done = limit === 0; !done; ) {
      done = stopping.signal.aborted;
      const params = done ? { id, bytes: LAST_BYTES } : { id };
      last = await client.call<CaptureView>('capture.read', params);
      for (const packet of last.packets.slice(0, limit - handed)) {
        handed++;
        await take(packet);
      }
      done ||= handed >= limit || last.ended;
      if (!done && last.packets.length === 0) {
        await sleep(IDLE_MS, undefined, { signal: stopping.signal }).catch(() => {});
      }
    }
    return {
      handed,
      matched: last?.matched ?? 0,
      lost: last?.lost ?? 0,
      ended: last?.ended ?? false,
    };
  } finally {
    clearTimeout(timer);
    process.off('SIGINT', stop);
    process.off('SIGTERM', stop);
    // A vrouter that is gone has stopped it already.
    await client.call('capture.stop', { id }).catch(() => {});
  }
}

export function liveSummary(totals: LiveTotals, what: string): string {
  const lost = totals.lost === 0 ? '' : `, ${totals.lost} lost`;
  const ended = totals.ended ? '; ended by the vrouter, which nobody asked in time' : '';
  return `${totals.handed} packets ${what} of ${totals.matched} that matched${lost}${ended}\n`;
}

/** RFC 3339 with nine digits. */
export function timeText(timeNs: string): string {
  const ns = BigInt(timeNs);
  const seconds = new Date(Number(ns / 1_000_000n)).toISOString().slice(0, 19);
  return `${seconds}.${(ns % 1_000_000_000n).toString().padStart(9, '0')}Z`;
}

/**
 * Asks again and again until it is enough (so many, so long, Ctrl-C). `ask` is told how many more are wanted and says
 * how many there were.
 */
export async function polled(
  options: { readonly count?: number; readonly seconds?: number },
  ask: (room: number) => Promise<number>,
): Promise<void> {
  const stopping = new AbortController();
  const stop = () => stopping.abort();
  process.once('SIGINT', stop);
  process.once('SIGTERM', stop);
  const timer =
    options.seconds === undefined ? undefined : setTimeout(stop, options.seconds * 1000);
  try {
    let room = options.count ?? Number.POSITIVE_INFINITY;
    while (room > 0) {
      const last = stopping.signal.aborted; // what there was by then is still handed over
      room -= await ask(room);
      if (last) return;
      await sleep(IDLE_MS, undefined, { signal: stopping.signal }).catch(() => {});
    }
  } finally {
    clearTimeout(timer);
    process.off('SIGINT', stop);
    process.off('SIGTERM', stop);
  }
}
