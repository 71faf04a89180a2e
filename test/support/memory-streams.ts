/**
 * Streams and a clock of this process, for sessions without sockets: what is written arrives when the clock is
 * moved, never during a call, and a far end that does not read fills up.
 */
import type { ByteStream, Clock, StreamListener } from '../../src/xmpp/transport/byte-stream.ts';

export class VirtualClock implements Clock {
  #now = 0;
  #order = 0;
  readonly #timers = new Map<number, { at: number; run: () => void }>();

  now(): number {
    return this.#now;
  }

  after(ms: number, run: () => void): () => void {
    const id = this.#order++;
    this.#timers.set(id, { at: this.#now + ms, run });
    return () => this.#timers.delete(id);
  }

  /** What is due now, and promises that are settled. */
  async settle(): Promise<void> {
    for (let idle = 0; idle < 3; ) {
      await Promise.resolve();
      const due = this.#next(this.#now);
      if (due === undefined) {
        idle++;
        continue;
      }
      idle = 0;
      this.#timers.delete(due.id);
      due.run();
    }
  }

  async pass(ms: number): Promise<void> {
    const end = this.#now + ms;
    await this.settle();
    for (;;) {
      const next = this.#next(end);
      if (next === undefined) break;
      this.#now = next.at;
      await this.settle();
    }
    this.#now = end;
    await this.settle();
  }

  #next(until: number) {
    let found: { id: number; at: number; run: () => void } | undefined;
    for (const [id, { at, run }] of this.#timers) {
      if (at <= until && (found === undefined || at < found.at)) found = { id, at, run };
    }
    return found;
  }
}

export class MemoryStream implements ByteStream {
  readonly address: string;
  readonly #clock: Clock;
  far!: MemoryStream;
  reading = true;
  open = true;
  #listener: StreamListener | undefined;
  #arrived: Uint8Array[] = [];
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
    return this.#arrived.reduce((sum, { length }) => sum + length, 0);
  }

  listen(listener: StreamListener): void {
    this.#listener = listener;
    this.wake();
  }

  write(parts: readonly (string | Uint8Array)[]): void {
    if (!this.open) return;
    for (const part of parts) this.far.#arrived.push(Buffer.from(part as string));
    this.far.wake();
  }

  end(): void {
    this.#listener = undefined;
    this.#close('closed by this side', 'closed by the far end');
  }

  destroy(): void {
    this.end();
  }

  /** As a cable that is cut. */
  cut(): void {
    this.#close('cut', 'cut');
  }

  #close(here: string, there: string): void {
    if (!this.open) return;
    this.open = false;
    this.#why = here;
    this.wake();
    if (this.far.open) {
      this.far.open = false;
      this.far.#why = there;
      this.far.wake();
    }
  }

  secure(): Promise<ByteStream> {
    return Promise.reject(new Error('no TLS in memory'));
  }

  wake(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#clock.after(0, () => {
      this.#scheduled = false;
      this.#give();
    });
  }

  #give(): void {
    if (!this.reading || this.#listener === undefined) return;
    const listener = this.#listener;
    const arrived = this.#arrived;
    this.#arrived = [];
    for (const bytes of arrived) this.#listener?.data(bytes);
    if (arrived.length > 0) this.far.#listener?.drained();
    if (this.open) return;
    this.#listener = undefined;
    listener.closed(this.#why);
  }
}

/** Ours first; `addresses` are what each is seen as by the other. */
export function streamPair(
  clock: Clock,
  addresses: readonly [string, string] = ['192.0.2.11', '192.0.2.1'],
): [MemoryStream, MemoryStream] {
  const near = new MemoryStream(clock, addresses[1]);
  const far = new MemoryStream(clock, addresses[0]);
  near.far = far;
  far.far = near;
  return [near, far];
}
