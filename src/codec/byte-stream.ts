/**
 * What a session runs on: a stream of bytes and a clock, both given. Each protocol has sockets of its own under it; the
 * simulator and tests have memory.
 */

export interface StreamListener {
  data(bytes: Uint8Array): void;
  /** What waited has been taken. */
  drained(): void;
  /** Once, whoever closed it. */
  closed(why: string): void;
}

export interface ByteStream {
  /** The peer's, without port. */
  readonly address: string;
  /** What has been written and not been taken by the peer, in bytes. */
  readonly waiting: number;
  /** From now on; nothing is lost before, and nothing is told while there is no listener. */
  listen(listener: StreamListener): void;
  write(parts: readonly (string | Uint8Array)[]): void;
  /** After what has been written; the other side's closing is not waited for. */
  end(): void;
  destroy(): void;
}

export interface Clock {
  /** ms, monotonic. */
  now(): number;
  /** Calls `run` once, `ms` later; the answer takes it back. */
  after(ms: number, run: () => void): () => void;
}

export const systemClock: Clock = {
  now: () => performance.now(),
  after(ms, run) {
    const timer = setTimeout(run, Math.min(ms, 0x7fffffff));
    timer.unref();
    return () => clearTimeout(timer);
  },
};
