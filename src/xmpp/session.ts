/**
 * One XMPP session as a state machine: connect, open, maybe secure, established; hold and keepalive; back-off.
 * Pure: time (ms, any monotonic clock) and randomness are arguments, what is to be done is returned.
 *
 *   agent    idle ─start─▶ connecting ─connected─▶ opening ─header─▶ established
 *                 ▲            │                    │  ▲ features      │
 *                 │            ▼ failed             ▼  │ secured       ▼ closed, hold time over, fault
 *                 └──────── waiting ◀──── securing, handshake ◀─────────┘
 *   control  opening (connected to) ─header─▶ established, or securing ─starttls─▶ handshake ─▶ opening again
 *            anything that ends it: ended
 *
 * From `proceed` to the end of the handshake nothing may be read: text that somebody slipped in before TLS would
 * count as the peer's.
 *
 * Invariants: at most one timer, `state.due`; the one who drives says `tick` when it has come, earlier or
 * later does no harm. `up` and `down` alternate, `up` first. Whatever ends a session closes its stream once.
 *
 * TLS is as the control node says: it offers and then requires it, or does not. An agent set to `off` does not
 * take an offer, and stays down; one set to `offered` goes without if none comes within OFFER_MS, as the
 * ancestor does; `required` stays down then, for whom a stranger in the middle could take the offer away.
 */
import { VRouterError } from '../errors.ts';
import { xmppFault } from './faults.ts';
import { KEEPALIVE } from './reader.ts';
import {
  FEATURES_TLS,
  type Negotiation,
  PROCEED,
  START_TLS,
  STREAM_END,
  type StreamHeader,
  writeClientHeader,
  writeServerHeader,
} from './stream.ts';

export const HOLD_MS = 90_000;
/** Connect, open and secure, each. */
export const OPEN_MS = 15_000;
/** How long an agent that would like TLS waits for the offer, which comes with the header or not at all. */
export const OFFER_MS = 1_000;
export const MAX_BACKOFF_MS = 30_000;
/** Attempts in a row that failed, after which an agent should try another control node. */
export const GIVE_WAY_AFTER = 4;

export type TlsWish = 'off' | 'offered' | 'required';

export interface SessionOptions {
  /** `from` and `to` of our header; a control node answers `to` whoever came. */
  readonly name: string;
  readonly peer?: string;
  readonly subCluster?: string;
  readonly tls: TlsWish;
  /** 1 s to 90 s; the keepalive is a third of it. */
  readonly holdMs?: number;
}

export type Phase =
  | 'idle'
  | 'connecting'
  | 'opening'
  | 'securing'
  | 'handshake'
  | 'established'
  | 'waiting'
  | 'ended';

export interface SessionState {
  readonly role: 'agent' | 'control';
  readonly options: SessionOptions;
  readonly phase: Phase;
  readonly secure: boolean;
  /** Opening: the peer has shown itself, and we wait whether it offers TLS. */
  readonly header?: StreamHeader;
  /** Attempts in a row that came to nothing, or to a session that did not last to its first keepalive. */
  readonly failures: number;
  /** When to connect again, give up opening, or give up holding; established: the earlier of the two. */
  readonly due?: number;
  readonly holdUntil: number;
  readonly keepaliveAt: number;
}

export type SessionEvent =
  | { readonly type: 'start' }
  | { readonly type: 'stop' }
  | { readonly type: 'tick' }
  | { readonly type: 'connected' }
  /** The transport failed or ended, before or after it was there. */
  | { readonly type: 'disconnected'; readonly why: string }
  /** Any bytes; before what is in them. */
  | { readonly type: 'received' }
  | { readonly type: 'header'; readonly header: StreamHeader }
  | { readonly type: 'negotiation'; readonly negotiation: Negotiation }
  /** A stanza of a channel: not for us, but nothing that may come before the session is up. */
  | { readonly type: 'stanza' }
  | { readonly type: 'stream-end' }
  /** TLS is up; a new reader reads what follows. */
  | { readonly type: 'secured' }
  | { readonly type: 'fault'; readonly error: VRouterError };

export type SessionAction =
  | { readonly type: 'connect' }
  | { readonly type: 'send'; readonly text: string }
  | { readonly type: 'start-tls' }
  | { readonly type: 'up'; readonly header: StreamHeader; readonly secure: boolean }
  | { readonly type: 'down'; readonly error: VRouterError }
  /** Close the transport; what has been sent may go out first. */
  | { readonly type: 'close'; readonly error: VRouterError }
  /** Four in a row: whoever has another control node should try that one. */
  | { readonly type: 'give-way' };

export interface Surroundings {
  readonly now: number;
  /** 0 up to, not including, 1. */
  readonly random: () => number;
  /** For the header of the side that is connected to. */
  readonly streamId?: string;
}

export type Step = readonly [SessionState, readonly SessionAction[]];

export function agentSession(options: SessionOptions): SessionState {
  return initial('agent', options, 'idle');
}

/** Of a control node, for a connection that has been accepted. */
export function controlSession(options: SessionOptions, now: number): SessionState {
  return { ...initial('control', options, 'opening'), due: now + OPEN_MS };
}

function initial(role: SessionState['role'], options: SessionOptions, phase: Phase): SessionState {
  const times = { holdUntil: 0, keepaliveAt: 0 };
  return { role, options, phase, secure: false, failures: 0, ...times };
}

const send = (text: string): SessionAction => ({ type: 'send', text });

export function holdMs({ holdMs = HOLD_MS }: SessionOptions): number {
  return Math.min(Math.max(holdMs, 1_000), HOLD_MS);
}

/**
 * 1, 2, 4, … 30 s before the attempt after `failures`, less up to a quarter, so that agents that lost one
 * control node together do not come back together.
 */
export function backoffMs(failures: number, random: () => number): number {
  const whole = Math.min(1_000 * 2 ** Math.min(Math.max(failures - 1, 0), 16), MAX_BACKOFF_MS);
  return Math.round(whole * (1 - random() / 4));
}

/** `state` without what belongs to a phase, in another one. */
function enter(state: SessionState, phase: Phase, due?: number): SessionState {
  const { header: _header, due: _due, ...kept } = state;
  return { ...kept, phase, ...(due !== undefined && { due }) };
}

const isConnected = ({ phase }: SessionState): boolean =>
  ['opening', 'securing', 'handshake', 'established'].includes(phase);

/** In a handshake the transport is TLS's, who has no use for our text. */
function closing(state: SessionState, error: VRouterError): SessionAction[] {
  const close: SessionAction = { type: 'close', error };
  if (state.phase === 'connecting' || state.phase === 'handshake') return [close];
  return isConnected(state) ? [send(STREAM_END), close] : [];
}

/** The end of a session or of an attempt at one; `state.phase` says of which. */
function end(state: SessionState, error: VRouterError, { now, random }: Surroundings): Step {
  const actions: SessionAction[] = [];
  if (state.phase === 'established') actions.push({ type: 'down', error });
  actions.push(...closing(state, error));
  if (state.role === 'control') return [enter(state, 'ended'), actions];
  const failures = state.failures + 1;
  if (failures === GIVE_WAY_AFTER) actions.push({ type: 'give-way' });
  const waiting = enter(state, 'waiting', now + backoffMs(failures, random));
  return [{ ...waiting, failures, secure: false }, actions];
}

function lost(state: SessionState, why: string, around: Surroundings): Step {
  const [next, actions] = end(state, xmppFault('XMPP_LOST', why), around);
  // There is nobody to send to and nothing to close.
  return [next, actions.filter(({ type }) => type !== 'send' && type !== 'close')];
}

function stop(state: SessionState): Step {
  const error = new VRouterError('CLOSED', 'session stopped');
  const actions: SessionAction[] = [];
  if (state.phase === 'established') actions.push({ type: 'down', error });
  actions.push(...closing(state, error));
  return [enter(state, 'ended'), actions];
}

function connect(state: SessionState, { now }: Surroundings): Step {
  return [enter(state, 'connecting', now + OPEN_MS), [{ type: 'connect' }]];
}

function open(state: SessionState, { now }: Surroundings): Step {
  const { name, peer = '', subCluster } = state.options;
  const header = writeClientHeader({
    from: name,
    to: peer,
    ...(subCluster !== undefined && { subCluster }),
  });
  return [enter(state, 'opening', now + OPEN_MS), [send(header)]];
}

function establish(state: SessionState, header: StreamHeader, { now }: Surroundings): Step {
  const hold = holdMs(state.options);
  const holdUntil = now + hold;
  const keepaliveAt = now + hold / 3;
  const next = enter(state, 'established', Math.min(holdUntil, keepaliveAt));
  return [{ ...next, holdUntil, keepaliveAt }, [{ type: 'up', header, secure: state.secure }]];
}

function headerAtAgent(state: SessionState, header: StreamHeader, around: Surroundings): Step {
  if (state.secure || state.options.tls === 'off') return establish(state, header, around);
  return [{ ...enter(state, 'opening', around.now + OFFER_MS), header }, []];
}

function headerAtControl(state: SessionState, header: StreamHeader, around: Surroundings): Step {
  const { name, subCluster, tls } = state.options;
  if (subCluster !== undefined && header.subCluster !== subCluster) {
    const theirs = JSON.stringify(header.subCluster ?? '');
    const error = xmppFault('XMPP_OTHER_CLUSTER', theirs);
    return end(state, error, around);
  }
  const answer = send(
    writeServerHeader({
      from: name,
      to: header.from,
      id: around.streamId ?? '',
      ...(subCluster !== undefined && { subCluster }),
    }),
  );
  // To offer is to require: the server's setting wins.
  if (tls !== 'off' && !state.secure) {
    return [enter(state, 'securing', around.now + OPEN_MS), [answer, send(FEATURES_TLS)]];
  }
  const [next, actions] = establish(state, header, around);
  return [next, [answer, ...actions]];
}

function unexpected(state: SessionState, what: string, around: Surroundings): Step {
  return end(state, xmppFault('XMPP_BAD_STANZA', `${what} while ${state.phase}`), around);
}

function negotiate(state: SessionState, negotiation: Negotiation, around: Surroundings): Step {
  const { role, phase, options, secure } = state;
  const { type } = negotiation;
  if (role === 'control') {
    if (type !== 'starttls' || phase !== 'securing') return unexpected(state, type, around);
    return [
      enter(state, 'handshake', around.now + OPEN_MS),
      [send(PROCEED), { type: 'start-tls' }],
    ];
  }
  if (type === 'proceed' && phase === 'securing') {
    return [enter(state, 'handshake', around.now + OPEN_MS), [{ type: 'start-tls' }]];
  }
  if (type !== 'features') return unexpected(state, type, around);
  const offered = negotiation.startTls && !secure;
  // Features without it, and those of a stream that is secure already, change nothing.
  if (!offered) {
    return state.header === undefined ? [state, []] : withoutTls(state, state.header, around);
  }
  if (options.tls === 'off' || state.header === undefined) {
    return end(state, xmppFault('XMPP_TLS_WANTED', 'by the control node'), around);
  }
  return [enter(state, 'securing', around.now + OPEN_MS), [send(START_TLS)]];
}

/** No offer came. */
function withoutTls(state: SessionState, header: StreamHeader, around: Surroundings): Step {
  if (state.options.tls !== 'required') return establish(state, header, around);
  return end(state, xmppFault('XMPP_TLS_NOT_OFFERED', 'by the control node'), around);
}

function tick(state: SessionState, around: Surroundings): Step {
  const { now } = around;
  if (state.due === undefined || now < state.due) return [state, []];
  switch (state.phase) {
    case 'waiting':
      return connect(state, around);
    case 'established': {
      if (now >= state.holdUntil) {
        const seconds = holdMs(state.options) / 1000;
        return end(state, xmppFault('XMPP_HOLD_TIME', `nothing for ${seconds} s`), around);
      }
      const keepaliveAt = now + holdMs(state.options) / 3;
      const due = Math.min(state.holdUntil, keepaliveAt);
      return [{ ...state, failures: 0, keepaliveAt, due }, [send(KEEPALIVE)]];
    }
    default:
      if (state.header !== undefined) return withoutTls(state, state.header, around);
      return end(state, xmppFault('XMPP_OPEN_TIME', state.phase), around);
  }
}

function received(state: SessionState, { now }: Surroundings): Step {
  if (state.phase !== 'established') return [state, []];
  const holdUntil = now + holdMs(state.options);
  return [{ ...state, holdUntil, due: Math.min(holdUntil, state.keepaliveAt) }, []];
}

export function stepSession(state: SessionState, event: SessionEvent, around: Surroundings): Step {
  if (state.phase === 'ended') return [state, []];
  switch (event.type) {
    case 'start':
      return state.phase === 'idle' ? connect(state, around) : [state, []];
    case 'stop':
      return stop(state);
    case 'tick':
      return tick(state, around);
    case 'connected':
      return state.phase === 'connecting' ? open(state, around) : [state, []];
    case 'disconnected':
      if (state.phase === 'idle' || state.phase === 'waiting') return [state, []];
      return lost(state, event.why, around);
    default:
      // A late event of a connection that is closed.
      return isConnected(state) ? stepConnected(state, event, around) : [state, []];
  }
}

type ConnectedEvent = Exclude<
  SessionEvent,
  { type: 'start' | 'stop' | 'tick' | 'connected' | 'disconnected' }
>;

function stepConnected(state: SessionState, event: ConnectedEvent, around: Surroundings): Step {
  switch (event.type) {
    case 'received':
      return received(state, around);
    case 'header':
      if (state.phase !== 'opening') return unexpected(state, 'a header', around);
      return state.role === 'agent'
        ? headerAtAgent(state, event.header, around)
        : headerAtControl(state, event.header, around);
    case 'negotiation':
      return negotiate(state, event.negotiation, around);
    case 'stanza':
      if (state.phase === 'established') return [state, []];
      // A control node that sends routes offers no TLS any more.
      if (state.header === undefined) return unexpected(state, 'a stanza', around);
      return withoutTls(state, state.header, around);
    case 'stream-end':
      return end(state, xmppFault('XMPP_LOST', 'the peer ended the stream'), around);
    case 'secured': {
      if (state.phase !== 'handshake') return unexpected(state, 'TLS', around);
      const secure = { ...state, secure: true };
      if (state.role === 'agent') return open(secure, around);
      return [enter(secure, 'opening', around.now + OPEN_MS), []];
    }
    case 'fault':
      return end(state, event.error, around);
  }
}
