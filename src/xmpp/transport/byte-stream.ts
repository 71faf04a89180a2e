/**
 * What a session runs on: a stream of bytes and a clock, both given. Sockets are in sockets.ts; the simulator and
 * tests have their own.
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
  /**
   * TLS over it, with both sides' certificates verified; this stream is not to be used any more. `first` is written
   * before it, in the clear. Rejects if the handshake fails.
   */
  secure(first: string): Promise<ByteStream>;
}

/** How an attempt to connect ends: one of these, once. */
export interface Attempt {
  connected(stream: ByteStream): void;
  failed(why: string): void;
}

/** Tries to reach a peer. Not a promise: who drives the streams says when something happens, and in which order. */
export type Connect = (attempt: Attempt) => void;

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
