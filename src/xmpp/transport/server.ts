/**
 * XmppServer: sessions of a control node, one a stream. Streams are given to it: those of a listening socket
 * (sockets.ts), or the simulator's. What a session means is its owner's business (SessionOwner), made for each.
 * Bounded: MAX_SESSIONS streams, opened or not; those that do not open are closed by the session machine.
 */
import { MAX_SESSIONS } from '../limits.ts';
import { controlSession, type SessionOptions } from '../session.ts';
import { type ByteStream, type Clock, systemClock } from './byte-stream.ts';
import { SessionDriver, type SessionOwner } from './driver.ts';

export interface XmppServerOptions {
  readonly session: SessionOptions;
  readonly clock?: Clock;
  readonly maxSessions?: number;
  /** The owner of a new session. */
  readonly onStream: (driver: SessionDriver, address: string) => SessionOwner;
}

export class XmppServer {
  readonly #options: XmppServerOptions;
  readonly #clock: Clock;
  readonly #drivers = new Set<SessionDriver>();
  #streams = 0;
  /** Streams that were turned away, there being enough. */
  refused = 0;

  constructor(options: XmppServerOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
  }

  get sessions(): number {
    return this.#drivers.size;
  }

  accept(stream: ByteStream): void {
    if (this.#drivers.size >= (this.#options.maxSessions ?? MAX_SESSIONS)) {
      this.refused++;
      stream.destroy();
      return;
    }
    // The driver wants its owner and the owner its driver.
    let owner: SessionOwner | undefined;
    const driver: SessionDriver = new SessionDriver(
      controlSession(this.#options.session, this.#clock.now()),
      {
        up: (header, secure) => owner?.up(header, secure),
        stanza: (stanza) => owner?.stanza(stanza),
        down: (error) => owner?.down(error),
        drained: () => owner?.drained(),
        closed: (error) => {
          this.#drivers.delete(driver);
          owner?.closed?.(error);
        },
      },
      { clock: this.#clock, random: () => 0, streamId: `++${++this.#streams}` },
    );
    owner = this.#options.onStream(driver, stream.address);
    this.#drivers.add(driver);
    driver.accept(stream);
  }

  close(): void {
    for (const driver of [...this.#drivers]) driver.stop();
  }
}
