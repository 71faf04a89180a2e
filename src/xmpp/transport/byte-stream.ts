/** A stream that TLS can be put over, and how one is had. Sockets are in sockets.ts; the simulator has its own. */
import type { ByteStream as PlainStream } from '../../codec/byte-stream.ts';

export { type Clock, type StreamListener, systemClock } from '../../codec/byte-stream.ts';

export interface ByteStream extends PlainStream {
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
