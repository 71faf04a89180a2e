/** An agent's session with one control node: over TCP, or over whatever `connect` makes. */
import { agentSession, type SessionOptions } from '../session.ts';
import { type Clock, type Connect, systemClock } from './byte-stream.ts';
import { SessionDriver, type SessionOwner } from './driver.ts';

export interface XmppClientOptions {
  readonly session: SessionOptions;
  readonly connect: Connect;
  readonly clock?: Clock;
  readonly random?: () => number;
}

/** Not started yet. */
export function xmppClient(options: XmppClientOptions, owner: SessionOwner): SessionDriver {
  return new SessionDriver(agentSession(options.session), owner, {
    clock: options.clock ?? systemClock,
    random: options.random ?? Math.random,
    connect: options.connect,
  });
}
