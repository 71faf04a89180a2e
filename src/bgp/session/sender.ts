/**
 * Sender: what the RIB has for a peer, written to its connection while that takes more, a turn at a time.
 *
 * Invariant: what is written and not taken is bounded. The RIB is asked for more only while less than MAX_WAITING_BYTES
 * wait; so a peer that does not read costs keys in the RIB.
 */
import type { Clock } from '../../codec/byte-stream.ts';
import { MAX_WAITING_BYTES, SEND_HOLD_MS, TURN_MS, WRITE_BYTES_A_TURN } from '../limits.ts';
import type { RibPeer } from '../rib/contract.ts';
import type { Agreed } from '../wire/agree.ts';
import type { Connection } from './connection.ts';
import { wireText, writtenOf } from './outgoing.ts';
import type { Tally } from './status.ts';

export interface SenderSetting {
  readonly clock: Clock;
  readonly soon: (run: () => void) => void;
  readonly tally: Tally;
  /** The peer does not take anything, from now on: there is a `deadline`. */
  readonly blocked: () => void;
  /** An error of ours. */
  readonly failed: (error: unknown) => void;
}

const NEVER = Number.POSITIVE_INFINITY;

export class Sender {
  readonly #connection: Connection;
  readonly #rib: RibPeer;
  readonly #agreed: Agreed;
  readonly #wire: string;
  readonly #setting: SenderSetting;
  #stopped = false;
  /** A turn has been asked for. */
  #turn = false;
  #blockedAt = NEVER;

  constructor(connection: Connection, rib: RibPeer, agreed: Agreed, setting: SenderSetting) {
    this.#connection = connection;
    this.#rib = rib;
    this.#agreed = agreed;
    this.#wire = wireText(agreed.send);
    this.#setting = setting;
  }

  /** When it is over with a peer that takes nothing. */
  get deadline(): number {
    return this.#blockedAt + Math.max(SEND_HOLD_MS, 2000 * this.#agreed.holdTime);
  }

  /** There may be something to send. */
  pump(): void {
    if (this.#stopped || this.#turn) return;
    try {
      this.#write();
    } catch (error) {
      this.stop();
      this.#setting.failed(error);
    }
  }

  /** Not at once: a peer that takes all that it is given would have the process to itself. */
  drained(): void {
    this.#blockedAt = NEVER;
    this.#pumpSoon();
  }

  stop(): void {
    this.#stopped = true;
    this.#blockedAt = NEVER;
  }

  #pumpSoon(): void {
    if (this.#turn) return;
    this.#turn = true;
    this.#setting.soon(() => {
      this.#turn = false;
      this.pump();
    });
  }

  #write(): void {
    const { clock, tally, blocked } = this.#setting;
    const { stream } = this.#connection;
    const until = clock.now() + TURN_MS;
    let bytes = 0;
    while (stream.waiting < MAX_WAITING_BYTES) {
      if (bytes >= WRITE_BYTES_A_TURN || (bytes > 0 && clock.now() >= until)) {
        this.#pumpSoon();
        return;
      }
      const outgoing = this.#rib.next();
      if (outgoing === undefined) return;
      const { messages, unsendable } = writtenOf(outgoing, this.#agreed.send, this.#wire);
      tally.unsendable += unsendable;
      this.#connection.write(outgoing.kind, ...messages);
      for (const { length } of messages) bytes += length;
    }
    if (this.#blockedAt !== NEVER) return;
    this.#blockedAt = clock.now();
    blocked();
  }
}
