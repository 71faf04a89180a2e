/**
 * Streams of this process, for sessions without sockets.
 *
 * Invariants
 *  * What is written arrives when the reader's clock is run, never during a call; one call of write arrives at a time.
 *  * Nothing is lost and nothing is out of order; a far end that does not read fills up.
 *  * What arrived before the stream was closed is read first.
 */
import type { ByteStream, Clock, StreamListener } from '../xmpp/transport/byte-stream.ts';

export class MemoryStream implements ByteStream {
  readonly address: string;
  far!: MemoryStream;
  reading = true;
  open = true;
  /** Somebody looks at what goes onto the wire. */
  onWrite: ((bytes: Uint8Array) => void) | undefined;
  readonly #clock: Clock;
  readonly #arrived: Uint8Array[] = [];
  #unread = 0;
  #listener: StreamListener | undefined;
  #scheduled = false;
  #why = '';

  constructor(clock: Clock, address: string) {
    this.#clock = clock;
    this.address = address;
  }

  get waiting(): number {
    return this.far.unread;
  }

  get unread(): number {
    return this.#unread;
  }

  listen(listener: StreamListener): void {
    this.#listener = listener;
    this.wake();
  }

  write(parts: readonly (string | Uint8Array)[]): void {
    if (!this.open) return;
    const bytes = Buffer.concat(parts.map((part) => Buffer.from(part as string)));
    this.onWrite?.(bytes);
    this.far.#arrive(bytes);
  }

  end(): void {
    this.#listener = undefined;
    this.#close('closed by this side', 'closed by the far end');
  }

  destroy(): void {
    this.end();
  }

  /** As when a process is killed, or a cable is cut. */
  cut(): void {
    this.#close('cut', 'cut');
  }

  secure(): Promise<ByteStream> {
    return Promise.reject(new Error('no TLS in memory'));
  }

  /** After `reading` was set again. */
  wake(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#clock.after(0, () => {
      this.#scheduled = false;
      this.#give();
    });
  }

  #arrive(bytes: Uint8Array): void {
    this.#arrived.push(bytes);
    this.#unread += bytes.length;
    this.wake();
  }

  #close(here: string, there: string): void {
    if (!this.open) return;
    this.open = false;
    this.#why = here;
    this.wake();
    if (!this.far.open) return;
    this.far.open = false;
    this.far.#why = there;
    this.far.wake();
  }

  #give(): void {
    const listener = this.#listener;
    if (!this.reading || listener === undefined) return;
    const bytes = this.#arrived.shift();
    if (bytes === undefined) {
      if (this.open) return;
      this.#listener = undefined;
      listener.closed(this.#why);
      return;
    }
    this.#unread -= bytes.length;
    listener.data(bytes);
    if (this.#unread === 0) this.far.#listener?.drained();
    if (this.#arrived.length > 0 || !this.open) this.wake();
  }
}

/** Ours first; `addresses` are what each is seen as by the other, `clocks` those of the processes they are in. */
export function streamPair(
  clock: Clock,
  addresses: readonly [string, string] = ['192.0.2.11', '192.0.2.1'],
  farClock: Clock = clock,
): [MemoryStream, MemoryStream] {
  const near = new MemoryStream(clock, addresses[1]);
  const far = new MemoryStream(farClock, addresses[0]);
  near.far = far;
  far.far = near;
  return [near, far];
}
