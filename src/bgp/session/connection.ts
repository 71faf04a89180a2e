/**
 * One TCP connection of a session: bytes cut into messages and read with what was agreed on, messages written. It decides
 * nothing: what was read is told to its owner, one message at a time and in order.
 *
 * Invariants
 *  * After `end` or `drop` nothing is told any more; `closed` is told at most once, and not after those.
 *  * What is held of a peer is bounded: the socket is not read while more than MAX_UNREAD_BYTES wait for their turn. What a
 *    turn may take is bounded too, so a peer that floods costs the others a turn each and no more.
 *  * Updates are not told before `establish`: a peer that has confirmed may say them while its connection still waits for
 *    a better one. They wait, and what is behind them too.
 */
import type { Clock } from '../../codec/byte-stream.ts';
import { MAX_UNREAD_BYTES, READ_BYTES_A_TURN, TURN_MS } from '../limits.ts';
import type { Agreed } from '../wire/agree.ts';
import type { WireOptions } from '../wire/attributes.ts';
import { MAX_MESSAGE, type Message, type MessageKind, readMessage } from '../wire/message.ts';
import { type Notification, NotificationError } from '../wire/notification.ts';
import { Framer } from './framer.ts';
import type { Tally } from './status.ts';
import type { PeerStream } from './transport.ts';

export interface ConnectionOwner {
  message(message: Message): void;
  unreadable(notification: Notification): void;
  drained(): void;
  closed(why: string): void;
}

export interface ConnectionSetting {
  readonly clock: Clock;
  /** Runs it after what else is due has had its turn. */
  readonly soon: (run: () => void) => void;
  readonly tally: Tally;
}

/** Of OPEN, KEEPALIVE and NOTIFICATION nothing depends on it. */
const NOTHING_AGREED: WireOptions = {
  ...{ as4: false, external: true, families: new Set(), addPath: new Set() },
  maxMessage: MAX_MESSAGE,
};
const UPDATE = 2;
const REFRESH = 5;

export class Connection {
  readonly stream: PeerStream;
  readonly #owner: ConnectionOwner;
  readonly #setting: ConnectionSetting;
  readonly #framer = new Framer();
  #options = NOTHING_AGREED;
  #open = true;
  #paused = false;
  /** A turn of reading has been asked for. */
  #turn = false;
  /** The peer has said OPEN and KEEPALIVE, and `establish` has not come. */
  #confirmed = false;
  #established = false;

  constructor(stream: PeerStream, owner: ConnectionOwner, setting: ConnectionSetting) {
    this.stream = stream;
    this.#owner = owner;
    this.#setting = setting;
  }

  /** From now on it is read. */
  listen(): void {
    this.stream.listen({
      data: (bytes) => this.#data(bytes),
      drained: () => {
        if (this.#open) this.#owner.drained();
      },
      closed: (why) => this.#closed(why),
    });
  }

  establish(agreed: Agreed): void {
    this.#options = agreed.receive;
    this.#established = true;
    if (this.#framer.held > 0) this.#readSoon();
  }

  write(kind: MessageKind, ...messages: readonly Uint8Array[]): void {
    if (!this.#open || messages.length === 0) return;
    const { tally } = this.#setting;
    tally.messagesOut[kind] += messages.length;
    for (const { length } of messages) tally.bytesOut += length;
    this.stream.write(messages);
  }

  /** What was written still goes out. */
  end(): void {
    if (!this.#open) return;
    this.#open = false;
    if (this.#paused) this.stream.resume();
    this.stream.end();
  }

  drop(): void {
    this.#open = false;
    this.stream.destroy();
  }

  #closed(why: string): void {
    if (!this.#open) return;
    // What came before the end is heard before the end.
    this.#read(Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY);
    if (!this.#open) return;
    this.#open = false;
    this.#owner.closed(why);
  }

  #data(bytes: Uint8Array): void {
    if (!this.#open) return;
    this.#setting.tally.bytesIn += bytes.length;
    this.#framer.push(bytes);
    this.#readSoon();
    if (!this.#paused && this.#framer.held > MAX_UNREAD_BYTES) {
      this.#paused = true;
      this.stream.pause();
    }
  }

  #readSoon(): void {
    if (this.#turn) return;
    this.#turn = true;
    this.#setting.soon(() => {
      this.#turn = false;
      if (this.#open) this.#takeTurn();
    });
  }

  #takeTurn(): void {
    const more = this.#read(READ_BYTES_A_TURN, this.#setting.clock.now() + TURN_MS);
    if (!this.#open) return;
    if (more) this.#readSoon();
    if (this.#paused && this.#framer.held <= MAX_UNREAD_BYTES) {
      this.#paused = false;
      this.stream.resume();
    }
  }

  /** True: there is more, and the turn is over. */
  #read(bytes: number, until: number): boolean {
    const { clock } = this.#setting;
    const enough = this.#framer.held - bytes;
    while (this.#open) {
      if (!this.#readOne()) return false;
      if (this.#framer.held <= enough || clock.now() >= until) return this.#open;
    }
    return false;
  }

  /** False: there is none, or none whose time has come. */
  #readOne(): boolean {
    const type = this.#framer.nextType;
    if (this.#confirmed && !this.#established && (type === UPDATE || type === REFRESH))
      return false;
    let message: Message;
    try {
      const bytes = this.#framer.next(this.#options.maxMessage);
      if (bytes === undefined) return false;
      message = readMessage(bytes, this.#options);
    } catch (error) {
      if (!(error instanceof NotificationError)) throw error;
      this.#owner.unreadable(error.notification);
      return false;
    }
    this.#setting.tally.messagesIn[message.kind] += 1;
    if (message.kind === 'keepalive') this.#confirmed = true;
    this.#owner.message(message);
    return true;
  }
}
