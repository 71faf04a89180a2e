/**
 * RouteSocket: an rtnetlink socket: requests with their answers, and, of the multicast groups asked for, what
 * the kernel says by itself.
 *
 * Requests wait for their answer, and may: the kernel has it ready when the call that asked returns, and a
 * dump goes on as it is read.
 *
 * Invariants
 *  * Whatever comes while an answer is waited for is delivered too, in the order in which the kernel queued it,
 *    through the same `onMessage`: who applies all of it in that order has the table as it is.
 *  * An overrun (the kernel had more to say than the socket held) is reported, never passed over: `onOverrun`.
 */
import { type Descriptor, openNetlink } from '../dataplane/descriptor.ts';
import { VRouterError } from '../errors.ts';
import {
  errorOf,
  type NetlinkMessage,
  NLM_F_ACK,
  NLM_F_DUMP,
  NLM_F_DUMP_INTR,
  NLM_F_REQUEST,
  NLMSG_DONE,
  NLMSG_ERROR,
  readMessages,
  writeMessage,
} from './netlink.ts';

const NETLINK_ROUTE = 0;
/** Above the 32 KiB of the kernel's largest part of a dump. */
const BUFFER = 1 << 17;
/** A table that changes all the time is taken as it is after so many tries. */
const DUMP_TRIES = 5;
/** Datagrams taken at one go, so that a flood does not hold the event loop. */
const READS = 256;
/** Ours begin here, away from the small numbers and the times that others count from. */
const FIRST_SEQUENCE = 0x7672_0000;

/** The kernel's refusal, by errno(3). */
export class NetlinkError extends VRouterError {
  readonly errno: number;

  constructor(what: string, errno: number) {
    super('NETLINK', `netlink: ${what}: error ${errno}`);
    this.errno = errno;
  }
}

export interface RouteSocketEvents {
  onMessage(message: NetlinkMessage): void;
  onOverrun(): void;
  /** What was readable has been delivered. */
  onQuiet(): void;
}

const isOverrun = (error: unknown) =>
  error instanceof VRouterError && error.message.startsWith('overrun');

export class RouteSocket {
  readonly #descriptor: Descriptor;
  readonly #events: RouteSocketEvents | undefined;
  readonly #buffer = new Uint8Array(BUFFER);
  #sequence = FIRST_SEQUENCE;
  /** The kernel's name for this socket: what it says by itself may carry the sequence of another's request. */
  #portId: number | undefined;

  /** groups: mask of RTMGRP_*. */
  constructor(groups = 0, events?: RouteSocketEvents) {
    this.#descriptor = openNetlink(NETLINK_ROUTE, groups);
    this.#events = events;
    if (events !== undefined) this.#descriptor.onReadable(() => this.#readable(events));
  }

  /** The one answer; undefined: none but its success. Throws NetlinkError. */
  request(
    what: string,
    type: number,
    flags: number,
    payload: Uint8Array,
  ): NetlinkMessage | undefined {
    let answer: NetlinkMessage | undefined;
    // Asked to acknowledge, the kernel does so after its answer: then there is no more to come.
    this.#exchange(what, type, flags | NLM_F_ACK, payload, (message) => {
      // A copy: what it is a view of is read into again.
      answer = { ...message, payload: message.payload.slice() };
    });
    return answer;
  }

  dump(
    what: string,
    type: number,
    payload: Uint8Array,
    take: (message: NetlinkMessage) => void,
  ): void {
    for (let tries = 1; ; tries++) {
      const found: NetlinkMessage[] = [];
      const whole = this.#exchange(what, type, NLM_F_DUMP, payload, (m) =>
        found.push({ ...m, payload: m.payload.slice() }),
      );
      if (!whole && tries < DUMP_TRIES) continue;
      for (const message of found) take(message);
      return;
    }
  }

  close(): void {
    this.#descriptor.close();
  }

  /** False: it was interrupted by a change. */
  #exchange(
    what: string,
    type: number,
    flags: number,
    payload: Uint8Array,
    take: (message: NetlinkMessage) => void,
  ): boolean {
    const sequence = ++this.#sequence >>> 0;
    const bytes = writeMessage({ type, flags: flags | NLM_F_REQUEST, sequence, payload });
    if (this.#descriptor.write(bytes) !== bytes.length) throw new NetlinkError(what, 0);
    let whole = true;
    for (;;) {
      const messages = this.#read();
      if (messages === undefined) throw new VRouterError('NETLINK', `netlink: ${what}: no answer`);
      for (const message of messages) {
        if (!this.#isAnswer(message, sequence)) {
          this.#events?.onMessage(message);
          continue;
        }
        if ((message.flags & NLM_F_DUMP_INTR) !== 0) whole = false;
        if (message.type === NLMSG_DONE) return whole;
        if (message.type !== NLMSG_ERROR) {
          take(message);
          continue;
        }
        const errno = errorOf(message);
        if (errno !== 0) throw new NetlinkError(what, errno);
        return whole;
      }
    }
  }

  #isAnswer(message: NetlinkMessage, sequence: number): boolean {
    if (message.sequence !== sequence) return false;
    this.#portId ??= message.portId;
    return message.portId === this.#portId;
  }

  #readable(events: RouteSocketEvents): void {
    try {
      for (let i = 0; i < READS; i++) {
        const messages = this.#read();
        if (messages === undefined) break;
        for (const message of messages) events.onMessage(message);
      }
    } catch (error) {
      // Nobody waits here who could be told: what was not understood is asked for again, whole.
      if (!(error instanceof VRouterError)) throw error;
      events.onOverrun();
    }
    events.onQuiet();
  }

  /** Undefined: nothing there now. */
  #read(): NetlinkMessage[] | undefined {
    for (;;) {
      try {
        const length = this.#descriptor.read(this.#buffer);
        return length <= 0 ? undefined : readMessages(this.#buffer.subarray(0, length));
      } catch (error) {
        if (!isOverrun(error)) throw error;
        this.#events?.onOverrun();
      }
    }
  }
}
