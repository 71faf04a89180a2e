/**
 * XmppServer: sessions of a control node, one a stream. It listens on TCP, or is given streams (`accept`), which is
 * how the simulator runs it. What a session means is its owner's business (SessionOwner), made for each.
 * Bounded: MAX_SESSIONS streams, opened or not; those that do not open are closed by the session machine.
 */
import { createServer, type Server } from 'node:net';
import { VRouterError } from '../../errors.ts';
import { MAX_SESSIONS } from '../limits.ts';
import { controlSession, type SessionOptions } from '../session.ts';
import { type ByteStream, type Clock, systemClock } from './byte-stream.ts';
import { SessionDriver, type SessionOwner } from './driver.ts';
import { AcceptedStreams, type TlsMaterial } from './sockets.ts';

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
  #tcp: Server | undefined;
  /** Streams that were turned away, there being enough, or could not be accepted. */
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

  /** Resolves with the port it got. */
  listen(at: {
    readonly host: string;
    readonly port: number;
    readonly tls?: TlsMaterial;
  }): Promise<number> {
    const streams = new AcceptedStreams(at.tls);
    const tcp = createServer({ pauseOnConnect: true }, (socket) =>
      this.accept(streams.accept(socket)),
    );
    this.#tcp = tcp;
    return new Promise((resolve, reject) => {
      tcp.once('error', (error) =>
        reject(new VRouterError('PORT_FAILED', `${at.host}:${at.port}: ${error.message}`)),
      );
      tcp.listen(at.port, at.host, () => {
        tcp.removeAllListeners('error');
        // One that could not be accepted, for want of descriptors: the others go on.
        tcp.on('error', () => this.refused++);
        const address = tcp.address();
        resolve(typeof address === 'object' && address !== null ? address.port : at.port);
      });
    });
  }

  close(): Promise<void> {
    for (const driver of [...this.#drivers]) driver.stop();
    const tcp = this.#tcp;
    if (tcp === undefined) return Promise.resolve();
    return new Promise((resolve) => tcp.close(() => resolve()));
  }
}
