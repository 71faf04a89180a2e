/**
 * Agents of a control node over XMPP: sessions (xmpp/transport) meet the agents of a ControlNode. One owner a
 * session; what a stanza brings about ends at most that session. Streams and clock are given: those of a process
 * (program/control-listener.ts), or the simulator's.
 */
import { VRouterError } from '../errors.ts';
import { MAX_TRACES, TRACE_SILENCE_MS } from '../xmpp/limits.ts';
import type { SessionOptions } from '../xmpp/session.ts';
import type { RefusedItem, Stanza } from '../xmpp/stanza.ts';
import { CONTROL_NAME, type StreamHeader } from '../xmpp/stream.ts';
import { type ByteStream, type Clock, systemClock } from '../xmpp/transport/byte-stream.ts';
import type { SessionDriver, SessionOwner } from '../xmpp/transport/driver.ts';
import { MessageTrace, type TracedMessage } from '../xmpp/transport/message-trace.ts';
import { XmppServer } from '../xmpp/transport/server.ts';
import type { Agent, AgentCounters, AgentLink } from './agent.ts';
import type { ConfigTables } from './config-tables.ts';
import { ControlNode } from './node.ts';
import type { RouteTables } from './tables.ts';

/** What an agent is waited for after: its network or its process went away, not what it said. */
const LOST: ReadonlySet<string> = new Set([
  'XMPP_LOST',
  'XMPP_HOLD_TIME',
  'XMPP_TOO_SLOW',
  'XMPP_DUPLICATE_NAME',
]);

export interface ControlAgentsOptions {
  readonly session?: Partial<SessionOptions>;
  readonly restartMs?: number;
  readonly endOfRibMs?: number;
  readonly clock?: Clock;
  /** Without: no configuration channel. */
  readonly config?: ConfigTables;
  readonly onSession?: (
    agent: string,
    address: string,
    state: 'up' | 'down',
    why?: VRouterError,
  ) => void;
  /** A stream that ended before it was anybody's. */
  readonly onStranger?: (address: string, why: VRouterError) => void;
  readonly onRefused?: (agent: string, instance: string, refused: RefusedItem) => void;
}

/** An agent, as somebody who looks at it wants to know. */
export interface AgentStatus {
  readonly name: string;
  readonly address: string;
  /** `awaited`: lost, and its routes are kept for it to come back. */
  readonly state: 'established' | 'awaited';
  readonly secure: boolean;
  readonly upSeconds: number;
  readonly routes: number;
  /** Sent and not taken by it yet. */
  readonly waitingBytes: number;
  readonly subscriptions: ReturnType<Agent['subscriptions']>;
  readonly counters: AgentCounters;
}

export class ControlAgents {
  readonly server: XmppServer;
  readonly #node: ControlNode;
  readonly #options: ControlAgentsOptions;
  readonly #clock: Clock;
  readonly #sessions = new Map<Agent, AgentSession>();
  /** By agent: what somebody looks at. */
  readonly #traces = new Map<string, Tracing>();
  #cancelTimer: () => void = () => {};

  constructor(tables: RouteTables, options: ControlAgentsOptions = {}) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    const { restartMs, endOfRibMs, onRefused, config } = options;
    this.#node = new ControlNode(tables, {
      name: CONTROL_NAME,
      ...(restartMs !== undefined && { restartMs }),
      ...(endOfRibMs !== undefined && { endOfRibMs }),
      ...(onRefused !== undefined && { onRefused }),
      ...(config !== undefined && { config }),
    });
    this.server = new XmppServer({
      session: { name: CONTROL_NAME, tls: 'off', ...options.session },
      clock: this.#clock,
      onStream: (driver, address) => new AgentSession(this.#calls, driver, address),
    });
  }

  accept(stream: ByteStream): void {
    this.server.accept(stream);
  }

  close(): void {
    this.#cancelTimer();
    for (const agent of [...this.#traces.keys()]) this.#endTrace(agent);
    this.server.close();
    for (const agent of this.#node.agents()) agent.leave();
  }

  sessions(): AgentStatus[] {
    return this.#node
      .agents()
      .map((agent) => {
        const session = this.#sessions.get(agent);
        return {
          name: agent.name,
          address: agent.address,
          state: agent.link === undefined ? ('awaited' as const) : ('established' as const),
          secure: session?.secure ?? false,
          upSeconds:
            session === undefined ? 0 : Math.floor((this.#clock.now() - session.since) / 1000),
          routes: agent.peer.paths,
          waitingBytes: session?.waiting ?? 0,
          subscriptions: agent.subscriptions(),
          counters: { ...agent.counters },
        };
      })
      .sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /**
   * Messages of an agent behind number `after`, from the first time on that this is asked; sessions that come later
   * are traced, too. Ends when nobody has asked for TRACE_SILENCE_MS.
   */
  trace(agent: string, after = 0): readonly TracedMessage[] {
    let tracing = this.#traces.get(agent);
    if (tracing === undefined) {
      const found = this.#node.agents().find(({ name }) => name === agent);
      if (found === undefined) throw new VRouterError('NOT_FOUND', `no agent '${agent}'`);
      if (this.#traces.size >= MAX_TRACES) {
        throw new VRouterError('BUSY', `${MAX_TRACES} agents are traced already`);
      }
      tracing = { trace: new MessageTrace(), cancel: () => {} };
      this.#traces.set(agent, tracing);
      this.#sessions.get(found)?.trace(tracing.trace);
    }
    tracing.cancel();
    tracing.cancel = this.#clock.after(TRACE_SILENCE_MS, () => this.#endTrace(agent));
    return tracing.trace.after(after);
  }

  #endTrace(agent: string): void {
    this.#traces.get(agent)?.cancel();
    this.#traces.delete(agent);
    for (const [of, session] of this.#sessions) if (of.name === agent) session.trace(undefined);
  }

  readonly #calls: SessionCalls = {
    up: (session, header) => {
      const agent = this.#node.up(header.from, session, this.#clock.now());
      this.#sessions.set(agent, session);
      session.trace(this.#traces.get(agent.name)?.trace);
      this.#options.onSession?.(agent.name, agent.address, 'up');
      this.#arm();
      return agent;
    },
    take: (agent, stanza) => this.#node.take(agent, stanza),
    drained: (agent) => agent.drained(),
    down: (session, agent, error) => {
      if (this.#sessions.get(agent) === session) this.#sessions.delete(agent);
      this.#node.down(agent, session, LOST.has(error.code), this.#clock.now());
      this.#options.onSession?.(agent.name, agent.address, 'down', error);
      this.#arm();
    },
    stranger: (address, error) => this.#options.onStranger?.(address, error),
    now: () => this.#clock.now(),
  };

  #arm(): void {
    this.#cancelTimer();
    const { due } = this.#node;
    if (due === undefined) return;
    this.#cancelTimer = this.#clock.after(Math.max(1, Math.ceil(due - this.#clock.now())), () => {
      this.#node.tick(this.#clock.now());
      this.#arm();
    });
  }
}

interface Tracing {
  readonly trace: MessageTrace;
  cancel: () => void;
}

interface SessionCalls {
  up(session: AgentSession, header: StreamHeader): Agent;
  take(agent: Agent, stanza: Stanza): void;
  drained(agent: Agent): void;
  down(session: AgentSession, agent: Agent, error: VRouterError): void;
  stranger(address: string, error: VRouterError): void;
  now(): number;
}

class AgentSession implements SessionOwner, AgentLink {
  readonly address: string;
  secure = false;
  since = 0;
  readonly #calls: SessionCalls;
  readonly #driver: SessionDriver;
  #agent: Agent | undefined;
  #wasUp = false;

  constructor(calls: SessionCalls, driver: SessionDriver, address: string) {
    this.#calls = calls;
    this.#driver = driver;
    this.address = address;
  }

  get waiting(): number {
    return this.#driver.waiting;
  }

  trace(trace: MessageTrace | undefined): void {
    this.#driver.trace = trace;
  }

  up(header: StreamHeader, secure: boolean): void {
    this.secure = secure;
    this.since = this.#calls.now();
    try {
      this.#agent = this.#calls.up(this, header);
      this.#wasUp = true;
    } catch (error) {
      if (!(error instanceof VRouterError)) throw error;
      this.#driver.fail(error);
    }
  }

  stanza(stanza: Stanza): void {
    if (this.#agent !== undefined) this.#calls.take(this.#agent, stanza);
  }

  drained(): void {
    if (this.#agent !== undefined) this.#calls.drained(this.#agent);
  }

  down(error: VRouterError): void {
    const agent = this.#agent;
    this.#agent = undefined;
    if (agent !== undefined) this.#calls.down(this, agent, error);
  }

  closed(error: VRouterError): void {
    if (!this.#wasUp) this.#calls.stranger(this.address, error);
  }

  send(head: string, body: Uint8Array): void {
    this.#driver.send(head, body);
  }

  blocked(): boolean {
    return this.#driver.blocked();
  }

  close(error: VRouterError): void {
    this.#driver.fail(error);
  }
}
