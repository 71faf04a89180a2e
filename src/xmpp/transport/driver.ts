/**
 * SessionDriver: the session machine with a stream under it. It reads bytes into events, does what the machine
 * says, and keeps its one timer. A control node's session has one stream; an agent's gets a new one for every
 * attempt.
 *
 * Invariants
 *  * `up` and `down` alternate for the owner, `up` first; between them, and only there, stanzas are given and
 *    `send` sends.
 *  * Whatever a peer does ends at most its own session, with a code: what the owner throws out of `stanza`, a
 *    stanza that is not finished in time, and a peer that does not read are faults like those of the machine.
 *  * Bytes of a stream that has been left are not read.
 */
import { VRouterError } from '../../errors.ts';
import { xmppFault } from '../faults.ts';
import { BLOCKED_BYTES, MAX_WAITING_BYTES, STALLED_MS, STANZA_MS } from '../limits.ts';
import { XmlReader } from '../reader.ts';
import {
  type SessionAction,
  type SessionEvent,
  type SessionState,
  type Surroundings,
  stepSession,
} from '../session.ts';
import { readStanza, type Stanza } from '../stanza.ts';
import { PROCEED, readHeader, readNegotiation, type StreamHeader } from '../stream.ts';
import type { XmlElement } from '../xml.ts';
import type { ByteStream, Clock, Connect } from './byte-stream.ts';
import type { MessageTrace } from './message-trace.ts';

export interface SessionOwner {
  up(header: StreamHeader, secure: boolean): void;
  /** A VRouterError thrown here ends the session. */
  stanza(stanza: Stanza): void;
  down(error: VRouterError): void;
  /** `blocked` is over. */
  drained(): void;
  /** The stream is closed, whether the session was up or not; an agent's session goes on. */
  closed?(error: VRouterError): void;
  /** Of an agent: another control node should be tried. */
  giveWay?(): void;
}

export interface DriverSetting {
  readonly clock: Clock;
  readonly random: () => number;
  readonly streamId?: string;
  /** Of an agent. */
  readonly connect?: Connect;
}

export class SessionDriver {
  #state: SessionState;
  readonly #owner: SessionOwner;
  readonly #setting: DriverSetting;
  #stream: ByteStream | undefined;
  #reader: XmlReader | undefined;
  /** When the timer goes off, which may be before anything is due. */
  #timerAt = Number.POSITIVE_INFINITY;
  #cancelTimer: () => void = () => {};
  /** When a stanza under way must be finished. */
  #stanzaDue = Number.POSITIVE_INFINITY;
  #stanzas = 0;
  /** Somebody looks. */
  trace: MessageTrace | undefined;
  /** When a peer that is blocked must have caught up. */
  #stalledDue = Number.POSITIVE_INFINITY;

  constructor(state: SessionState, owner: SessionOwner, setting: DriverSetting) {
    this.#state = state;
    this.#owner = owner;
    this.#setting = setting;
  }

  get state(): SessionState {
    return this.#state;
  }

  get address(): string {
    return this.#stream?.address ?? '';
  }

  get waiting(): number {
    return this.#stream?.waiting ?? 0;
  }

  /** An agent's. */
  start(): void {
    this.#step({ type: 'start' });
  }

  /** A control node's: the stream that was accepted. */
  accept(stream: ByteStream): void {
    this.#use(stream);
    this.#arm();
  }

  stop(): void {
    this.#step({ type: 'stop' });
  }

  /** Ends the session for a reason of the owner's. */
  fail(error: VRouterError): void {
    this.#step({ type: 'fault', error });
  }

  blocked(): boolean {
    const blocked = this.waiting > BLOCKED_BYTES;
    if (blocked && this.#stalledDue === Number.POSITIVE_INFINITY) {
      this.#stalledDue = this.#setting.clock.now() + STALLED_MS;
      this.#arm();
    }
    return blocked;
  }

  send(...parts: readonly (string | Uint8Array)[]): void {
    if (this.#state.phase !== 'established') return;
    this.#write(parts);
    if (this.waiting <= MAX_WAITING_BYTES) return;
    this.fail(xmppFault('XMPP_TOO_SLOW', `more than ${MAX_WAITING_BYTES} bytes wait for it`));
  }

  #write(parts: readonly (string | Uint8Array)[]): void {
    this.trace?.add('out', parts);
    this.#stream?.write(parts);
  }

  #around(): Surroundings {
    const { clock, random, streamId } = this.#setting;
    return { now: clock.now(), random, ...(streamId !== undefined && { streamId }) };
  }

  #step(event: SessionEvent): void {
    const [state, actions] = stepSession(this.#state, event, this.#around());
    this.#state = state;
    for (const action of actions) this.#act(action);
    this.#arm();
  }

  #act(action: SessionAction): void {
    switch (action.type) {
      case 'connect':
        this.#connect();
        break;
      case 'send':
        // What goes before a handshake goes with it: nothing may be read in between.
        if (action.text !== PROCEED) this.#write([action.text]);
        break;
      case 'start-tls':
        this.#secure();
        break;
      case 'up':
        this.#owner.up(action.header, action.secure);
        break;
      case 'down':
        this.#owner.down(action.error);
        break;
      case 'close':
        this.#close(action.error);
        break;
      case 'give-way':
        this.#owner.giveWay?.();
        break;
    }
  }

  // --- the stream ------------------------------------------------------------------------------------

  #use(stream: ByteStream): void {
    this.#stream = stream;
    this.#reader = this.#read(stream);
    this.#stanzaDue = Number.POSITIVE_INFINITY;
    this.#stalledDue = Number.POSITIVE_INFINITY;
    stream.listen({
      data: (bytes) => this.#take(stream, bytes),
      drained: () => this.#drained(stream),
      closed: (why) => this.#lost(stream, why),
    });
  }

  #connect(): void {
    const { connect } = this.#setting;
    const wanted = this.#state; // an attempt that has timed out may still come to something
    connect?.({
      connected: (stream) => {
        if (this.#state !== wanted) {
          stream.destroy();
          return;
        }
        this.#use(stream);
        this.#step({ type: 'connected' });
      },
      failed: (why) => {
        if (this.#state === wanted) this.#step({ type: 'disconnected', why });
      },
    });
  }

  #secure(): void {
    const plain = this.#stream;
    if (plain === undefined) return;
    const first = this.#state.role === 'control' ? PROCEED : '';
    plain.secure(first).then(
      (stream) => {
        if (this.#stream !== plain || this.#state.phase !== 'handshake') {
          stream.destroy();
          return;
        }
        this.#use(stream);
        this.#step({ type: 'secured' });
      },
      (error: unknown) => {
        if (this.#stream !== plain) return;
        const why = error instanceof Error ? error.message : String(error);
        this.#step({ type: 'fault', error: xmppFault('XMPP_TLS_FAILED', why) });
      },
    );
  }

  #close(error: VRouterError): void {
    const stream = this.#leave();
    if (stream === undefined) return;
    stream.end();
    this.#owner.closed?.(error);
  }

  #lost(stream: ByteStream, why: string): void {
    if (this.#stream !== stream) return;
    this.#leave();
    this.#step({ type: 'disconnected', why });
    this.#owner.closed?.(xmppFault('XMPP_LOST', why));
  }

  #leave(): ByteStream | undefined {
    const stream = this.#stream;
    this.#stream = undefined;
    this.#reader = undefined;
    this.#stanzaDue = Number.POSITIVE_INFINITY;
    this.#stalledDue = Number.POSITIVE_INFINITY;
    return stream;
  }

  #drained(stream: ByteStream): void {
    if (this.#stream !== stream || this.#stalledDue === Number.POSITIVE_INFINITY) return;
    this.#stalledDue = Number.POSITIVE_INFINITY;
    if (this.#state.phase === 'established') this.#owner.drained();
  }

  // --- what is read ----------------------------------------------------------------------------------

  #read(stream: ByteStream): XmlReader {
    const current = () => this.#stream === stream;
    return new XmlReader({
      opened: (header) => {
        if (current()) this.#step({ type: 'header', header: readHeader(header) });
      },
      stanza: (stanza) => {
        this.#stanzas++;
        if (current()) this.#stanza(stanza);
      },
      closed: () => {
        if (current()) this.#step({ type: 'stream-end' });
      },
    });
  }

  #stanza(element: XmlElement): void {
    const negotiation = readNegotiation(element);
    if (negotiation !== undefined) {
      this.#step({ type: 'negotiation', negotiation });
      return;
    }
    this.#step({ type: 'stanza' });
    if (this.#state.phase === 'established') this.#owner.stanza(readStanza(element));
  }

  #take(stream: ByteStream, bytes: Uint8Array): void {
    const reader = this.#reader;
    if (this.#stream !== stream || reader === undefined) return;
    this.trace?.add('in', [bytes]);
    const before = this.#stanzas;
    try {
      this.#step({ type: 'received' });
      reader.push(bytes);
    } catch (error) {
      // Whatever a peer's bytes bring about ends its session; what is not a fault with a code is ours, and told.
      if (error instanceof VRouterError) this.#step({ type: 'fault', error });
      else {
        this.#step({ type: 'fault', error: new VRouterError('INTERNAL', String(error)) });
        throw error;
      }
      return;
    }
    if (!reader.unfinished) this.#stanzaDue = Number.POSITIVE_INFINITY;
    else if (this.#stanzas !== before || this.#stanzaDue === Number.POSITIVE_INFINITY) {
      this.#stanzaDue = this.#setting.clock.now() + STANZA_MS;
      this.#arm();
    }
  }

  // --- the timer -------------------------------------------------------------------------------------

  #due(): number {
    if (this.#state.phase !== 'established') return this.#state.due ?? Number.POSITIVE_INFINITY;
    const due = this.#state.due ?? Number.POSITIVE_INFINITY;
    return Math.min(due, this.#stanzaDue, this.#stalledDue);
  }

  /** A timer that goes off early is set again; so it is not touched for every byte that moves the hold time. */
  #arm(): void {
    const due = this.#due();
    if (due >= this.#timerAt && this.#state.phase !== 'ended') return;
    this.#cancelTimer();
    this.#cancelTimer = () => {};
    this.#timerAt = due;
    if (due === Number.POSITIVE_INFINITY) return;
    const { clock } = this.#setting;
    this.#cancelTimer = clock.after(Math.max(0, Math.ceil(due - clock.now())), () => this.#tick());
  }

  #tick(): void {
    this.#timerAt = Number.POSITIVE_INFINITY;
    this.#cancelTimer = () => {};
    const now = this.#setting.clock.now();
    if (this.#state.phase === 'established') {
      if (now >= this.#stanzaDue) {
        this.fail(xmppFault('XMPP_STANZA_TIME', `${STANZA_MS / 1000} s`));
      } else if (now >= this.#stalledDue) {
        this.fail(xmppFault('XMPP_TOO_SLOW', `behind for ${STALLED_MS / 1000} s`));
      }
    }
    this.#step({ type: 'tick' });
    this.#arm();
  }
}
