/**
 * The session with one neighbour as a machine (RFC 4271 §8): events and a time go in, actions come out. It has no
 * socket, no clock and no randomness of its own; whoever drives it owns these and calls `tick` at `deadline`.
 *
 * One machine has up to two connections, the one it opened and the one it was offered; each runs through OpenSent,
 * OpenConfirm, Established by itself, and `resolve` keeps one of them (§6.8, RFC 6286 where identifiers are equal).
 * Invariant: at most one connection is Established, and `established` and `down` alternate.
 *
 * A connection is not Established while one that would win over it is under way: else one side might have that and
 * the other side this one, both right by the letter of §6.8, and lose both. For the same reason the rule holds for
 * Established ones too: a peer that calls again either has not come that far, or has forgotten.
 *
 * Not as in §8: DelayOpen is not there; a peer that fails is tried again after a second or a few, since those who
 * restart refuse connections for that long, and minutes of ConnectRetryTime would be an outage.
 */
import { compareBytes, parseIp } from '../addr/ip.ts';
import { type Agreed, agree } from './wire/agree.ts';
import type { Message } from './wire/message.ts';
import { NOTIFICATIONS, type Notification, notificationText } from './wire/notification.ts';
import type { Open } from './wire/open.ts';
import type { RouteRefresh } from './wire/refresh.ts';
import type { ReadUpdate } from './wire/update.ts';

export type SessionState =
  | 'idle'
  | 'connect'
  | 'active'
  | 'open-sent'
  | 'open-confirm'
  | 'established';

/** Given by the driver, one a TCP connection, never used again. */
export type ConnectionId = number;

export interface SessionConfig {
  /** What we say of ourselves. */
  readonly open: Open;
  /** Undefined: any (dynamic neighbours). */
  readonly peerAs?: number;
  /** Waits to be called. */
  readonly passive: boolean;
  /** For the peer's OPEN; default OPEN_HOLD_MS. */
  readonly openHoldMs?: number;
}

export type SessionEvent =
  | { readonly kind: 'start' }
  | { readonly kind: 'stop'; readonly notification?: Notification }
  | { readonly kind: 'connected'; readonly connection: ConnectionId }
  | { readonly kind: 'connect-failed' }
  | { readonly kind: 'accepted'; readonly connection: ConnectionId }
  | { readonly kind: 'closed'; readonly connection: ConnectionId }
  | { readonly kind: 'message'; readonly connection: ConnectionId; readonly message: Message }
  /** What came could not be read: a NotificationError's. */
  | {
      readonly kind: 'unreadable';
      readonly connection: ConnectionId;
      readonly notification: Notification;
    };

export type SessionAction =
  | { readonly kind: 'connect' }
  | { readonly kind: 'abort-connect' }
  | { readonly kind: 'send-open'; readonly connection: ConnectionId; readonly open: Open }
  | { readonly kind: 'send-keepalive'; readonly connection: ConnectionId }
  /** Is followed by `close`: what was written before must still go out. */
  | {
      readonly kind: 'send-notification';
      readonly connection: ConnectionId;
      readonly notification: Notification;
    }
  | { readonly kind: 'close'; readonly connection: ConnectionId; readonly why: string }
  | {
      readonly kind: 'established';
      readonly connection: ConnectionId;
      readonly peer: Open;
      readonly agreed: Agreed;
    }
  | {
      readonly kind: 'down';
      readonly connection: ConnectionId;
      readonly why: string;
      readonly graceful: boolean;
    }
  | { readonly kind: 'update'; readonly read: ReadUpdate }
  | { readonly kind: 'refresh'; readonly refresh: RouteRefresh };

/** RFC 4271 §8.2.2: before anything was agreed on. */
export const OPEN_HOLD_MS = 240_000;
/** A SYN that nobody answers. */
export const CONNECT_MS = 20_000;
/** For a better connection that is there and on which the peer has yet to say a word. */
export const SETTLE_MS = 5_000;
export const RETRY_MS = 1_000;
export const MAX_RETRY_MS = 8_000;

interface Connection {
  readonly id: ConnectionId;
  readonly ours: boolean;
  state: 'open-sent' | 'open-confirm' | 'established';
  holdMs: number;
  holdAt: number;
  keepaliveAt: number;
  /** The peer has confirmed, and the connection waits for a better one to be taken or lost; until when. */
  settleAt: number;
  peer: Open | undefined;
  agreed: Agreed | undefined;
}

const STATES = ['open-sent', 'open-confirm', 'established'] as const;
const NEVER = Number.POSITIVE_INFINITY;
const FSM_SUBCODE = { 'open-sent': 1, 'open-confirm': 2, established: 3 } as const;
const { fsm, open: openError, cease, holdTimer } = NOTIFICATIONS;

const notification = (code: number, subcode: number): Notification => ({ code, subcode, data: '' });
const COLLISION = notification(cease.code, 7);

/** RFC 8538: where both say so, a restart may follow a notification too, unless it is a hard reset. */
function survives({ agreed }: Connection, { code, subcode }: Notification): boolean {
  const hard = code === cease.code && (subcode === HARD_RESET || subcode === SHUTDOWN);
  return agreed?.notificationRestart === true && !hard;
}

const SHUTDOWN = 2;
const HARD_RESET = 9;

export class Session {
  readonly #config: SessionConfig;
  /** 0 to 1, for timers not to beat in time with each other (RFC 4271 §10). */
  readonly #random: () => number;
  readonly #connections = new Map<ConnectionId, Connection>();
  #running = false;
  /** When the SYN under way is given up. */
  #connectUntil = NEVER;
  #retryAt = NEVER;
  #failures = 0;
  #actions: SessionAction[] = [];

  constructor(config: SessionConfig, random: () => number) {
    this.#config = config;
    this.#random = random;
  }

  get state(): SessionState {
    if (!this.#running) return 'idle';
    const reached = [...this.#connections.values()].map(({ state }) => STATES.indexOf(state));
    if (reached.length > 0) return STATES[Math.max(...reached)] as SessionState;
    if (this.#connectUntil !== NEVER) return 'connect';
    return 'active';
  }

  /** When `tick` has something to do; undefined: not before the next event. */
  get deadline(): number | undefined {
    let at = Math.min(this.#connectUntil, this.#retryAt);
    for (const { holdAt, keepaliveAt, settleAt } of this.#connections.values()) {
      at = Math.min(at, holdAt, keepaliveAt, settleAt);
    }
    return at === NEVER ? undefined : at;
  }

  handle(event: SessionEvent, now: number): readonly SessionAction[] {
    this.#actions = [];
    switch (event.kind) {
      case 'start':
        if (!this.#running) {
          this.#running = true;
          this.#failures = 0;
          if (!this.#config.passive) this.#connect(now);
        }
        break;
      case 'stop':
        this.#stop(event.notification ?? notification(cease.code, 2));
        break;
      case 'connected':
        this.#connected(event.connection, now);
        break;
      case 'accepted':
        this.#begin(event.connection, false, now);
        break;
      case 'connect-failed':
        this.#connectUntil = NEVER;
        this.#retryLater(now);
        break;
      default: {
        // One that was closed here may have said something before it knew.
        const connection = this.#connections.get(event.connection);
        if (connection === undefined) break;
        if (event.kind === 'closed') this.#drop(connection, 'the peer closed it', true);
        else if (event.kind === 'message') this.#receive(connection, event.message, now);
        else this.#refuse(connection, event.notification);
        this.#settle();
        this.#retryLater(now);
      }
    }
    return this.#actions;
  }

  tick(now: number): readonly SessionAction[] {
    this.#actions = [];
    if (now >= this.#connectUntil) {
      this.#connectUntil = NEVER;
      this.#do({ kind: 'abort-connect' });
      this.#retryLater(now);
    }
    for (const connection of [...this.#connections.values()]) {
      if (now >= connection.holdAt) this.#refuse(connection, notification(holdTimer.code, 0));
      else if (now >= connection.settleAt) this.#establish(connection);
      else if (now >= connection.keepaliveAt) this.#keepalive(connection, now);
    }
    this.#settle();
    if (now >= this.#retryAt) {
      this.#retryAt = NEVER;
      if (this.#connections.size === 0) this.#connect(now);
    }
    this.#retryLater(now);
    return this.#actions;
  }

  #do(action: SessionAction): void {
    this.#actions.push(action);
  }

  #connect(now: number): void {
    this.#retryAt = NEVER;
    this.#connectUntil = now + CONNECT_MS;
    this.#do({ kind: 'connect' });
  }

  /** If there is nothing left to wait for. */
  #retryLater(now: number): void {
    const busy = this.#connections.size > 0 || this.#connectUntil !== NEVER;
    if (!this.#running || this.#config.passive || busy || this.#retryAt !== NEVER) return;
    const delay = Math.min(RETRY_MS * 2 ** Math.min(this.#failures, 16), MAX_RETRY_MS);
    this.#failures += 1;
    this.#retryAt = now + this.#jittered(delay);
  }

  /** Three quarters to all of it. */
  #jittered(ms: number): number {
    return Math.round(ms * (0.75 + this.#random() / 4));
  }

  #stop(reason: Notification): void {
    for (const connection of [...this.#connections.values()]) this.#refuse(connection, reason);
    if (this.#connectUntil !== NEVER) this.#do({ kind: 'abort-connect' });
    this.#running = false;
    this.#connectUntil = NEVER;
    this.#retryAt = NEVER;
  }

  /** One that was given up in the meantime is nobody's. */
  #connected(id: ConnectionId, now: number): void {
    if (this.#running && this.#connectUntil === NEVER) {
      this.#do({ kind: 'close', connection: id, why: 'it was not waited for any more' });
      return;
    }
    this.#connectUntil = NEVER;
    this.#begin(id, true, now);
  }

  #begin(id: ConnectionId, ours: boolean, now: number): void {
    if (!this.#running) {
      this.#do({ kind: 'close', connection: id, why: 'the session is not started' });
      return;
    }
    this.#retryAt = NEVER;
    // The peer has called again: what it called before is dead at its end, or soon will be.
    for (const other of [...this.#connections.values()]) {
      if (other.ours === ours && other.state !== 'established') this.#refuse(other, COLLISION);
    }
    const holdMs = this.#config.openHoldMs ?? OPEN_HOLD_MS;
    this.#connections.set(id, {
      ...{ id, ours, state: 'open-sent', holdMs, holdAt: now + holdMs },
      ...{ keepaliveAt: NEVER, settleAt: NEVER, peer: undefined, agreed: undefined },
    });
    this.#do({ kind: 'send-open', connection: id, open: this.#config.open });
  }

  #receive(connection: Connection, message: Message, now: number): void {
    if (message.kind === 'notification') {
      const why = `the peer says: ${notificationText(message.notification)}`;
      this.#do({ kind: 'close', connection: connection.id, why });
      this.#drop(connection, why, survives(connection, message.notification));
      return;
    }
    const { state } = connection;
    if (state === 'open-sent' && message.kind === 'open') {
      this.#opened(connection, message.open, now);
      return;
    }
    if (state === 'open-confirm' && message.kind === 'keepalive') {
      this.#hold(connection, now);
      connection.settleAt = Math.min(connection.settleAt, now + SETTLE_MS);
      return;
    }
    if (state !== 'established' || message.kind === 'open') {
      this.#refuse(connection, notification(fsm.code, FSM_SUBCODE[state]));
      return;
    }
    this.#hold(connection, now);
    if (message.kind === 'route-refresh') this.#do({ kind: 'refresh', refresh: message.refresh });
    if (message.kind !== 'update') return;
    const { read } = message;
    if (read.notification === undefined) this.#do({ kind: 'update', read });
    else this.#refuse(connection, read.notification, read.findings[0]?.message);
  }

  #opened(connection: Connection, peer: Open, now: number): void {
    const { open, peerAs } = this.#config;
    if (peerAs !== undefined && peer.as !== peerAs) {
      this.#refuse(connection, notification(openError.code, 2), `AS ${peer.as}, not ${peerAs}`);
      return;
    }
    // RFC 6286 §2.2: within an AS they tell speakers apart.
    if (peer.as === open.as && peer.id === open.id) {
      this.#refuse(connection, notification(openError.code, 3), `${peer.id} is ours`);
      return;
    }
    if (!this.#resolve(connection, peer)) return;
    connection.peer = peer;
    connection.agreed = agree(open, peer);
    connection.state = 'open-confirm';
    connection.holdMs = connection.agreed.holdTime * 1000;
    this.#hold(connection, now);
    this.#keepalive(connection, now);
  }

  /** Of two connections with one peer the one opened by the greater identifier stays. False: not this one. */
  #resolve(connection: Connection, peer: Open): boolean {
    for (const other of [...this.#connections.values()]) {
      if (other === connection || other.state === 'open-sent') continue;
      // RFC 4724 §5: who restarted does not know of the old one any more.
      const restarted =
        other.state === 'established' && other.agreed?.gracefulRestart !== undefined;
      if (restarted) {
        this.#do({ kind: 'close', connection: other.id, why: 'the peer has restarted' });
        this.#drop(other, 'the peer has restarted', true);
        continue;
      }
      if (connection.ours !== this.#oursStays(peer)) {
        this.#refuse(connection, COLLISION);
        return false;
      }
      this.#refuse(other, COLLISION);
    }
    return true;
  }

  #oursStays(peer: Open): boolean {
    const { open } = this.#config;
    const order = compareBytes(parseIp(open.id).bytes, parseIp(peer.id).bytes);
    return order === 0 ? open.as > peer.as : order > 0;
  }

  /** Confirmed connections that no better one stands in the way of. */
  #settle(): void {
    for (const connection of [...this.#connections.values()]) {
      const { peer, settleAt, ours } = connection;
      if (peer === undefined || settleAt === NEVER) continue;
      const wins = ours === this.#oursStays(peer);
      const rival = [...this.#connections.values()].some((other) => other.ours !== ours);
      if (wins || !rival) this.#establish(connection);
    }
  }

  #establish(connection: Connection): void {
    const { id, peer, agreed } = connection;
    if (peer === undefined || agreed === undefined) throw new Error('established without an OPEN');
    // Whatever else there is has lost.
    for (const other of [...this.#connections.values()]) {
      if (other !== connection) this.#refuse(other, COLLISION);
    }
    if (this.#connectUntil !== NEVER) {
      this.#connectUntil = NEVER;
      this.#do({ kind: 'abort-connect' });
    }
    connection.state = 'established';
    connection.settleAt = NEVER;
    this.#failures = 0;
    this.#do({ kind: 'established', connection: id, peer, agreed });
  }

  #hold(connection: Connection, now: number): void {
    connection.holdAt = connection.holdMs === 0 ? NEVER : now + connection.holdMs;
  }

  #keepalive(connection: Connection, now: number): void {
    const { holdMs } = connection;
    connection.keepaliveAt = holdMs === 0 ? NEVER : now + this.#jittered(holdMs / 3);
    this.#do({ kind: 'send-keepalive', connection: connection.id });
  }

  #refuse(connection: Connection, reason: Notification, detail?: string): void {
    const text = notificationText(reason);
    const why = detail === undefined ? text : `${text}: ${detail}`;
    const { id } = connection;
    this.#do({ kind: 'send-notification', connection: id, notification: reason });
    this.#do({ kind: 'close', connection: id, why });
    this.#drop(connection, why, survives(connection, reason));
  }

  /** `graceful`: nobody said that it was over, so a restarting peer's routes may be kept (RFC 4724 §4.2). */
  #drop(connection: Connection, why: string, graceful: boolean): void {
    const { id, state, agreed } = connection;
    this.#connections.delete(id);
    if (state !== 'established') return;
    const kept = graceful && agreed?.gracefulRestart !== undefined;
    this.#do({ kind: 'down', connection: id, why, graceful: kept });
  }
}
