/**
 * The agents of a control node: one a name. A second session under a name meets the first (xmpp/duplicate.ts);
 * one that is lost may be waited for, and what its agent has said counts on (graceful restart helper). Pure: time
 * is an argument, and whoever drives says `tick` when `due` has come.
 *
 *   up ─lost─▶ awaited (restartMs) ─up again─▶ swept after its end of rib, or endOfRibMs later
 *   up ─offence, restartMs 0─▶ gone with its routes
 */
import { judgeDuplicate } from '../xmpp/duplicate.ts';
import { xmppFault } from '../xmpp/faults.ts';
import type { RefusedItem, Stanza } from '../xmpp/stanza.ts';
import { Agent, type AgentLink } from './agent.ts';
import type { ConfigTables } from './config-tables.ts';
import type { RouteTables } from './tables.ts';

export interface ControlNodeOptions {
  /** Ours, on the wire. */
  readonly name: string;
  /** How long routes of a lost agent stay; 0: not at all. */
  readonly restartMs?: number;
  /** How long one that is back has to say what it had. */
  readonly endOfRibMs?: number;
  /** Without: no configuration channel. */
  readonly config?: ConfigTables;
  readonly onRefused?: (agent: string, instance: string, refused: RefusedItem) => void;
}

export const END_OF_RIB_MS = 300_000;

interface Place {
  readonly agent: Agent;
  /** Awaited: when it is given up. Back: when it is swept. */
  until: number | undefined;
}

export class ControlNode {
  readonly #tables: RouteTables;
  readonly #options: ControlNodeOptions;
  readonly #places = new Map<string, Place>();

  constructor(tables: RouteTables, options: ControlNodeOptions) {
    this.#tables = tables;
    this.#options = options;
  }

  agents(): Agent[] {
    return [...this.#places.values()].map(({ agent }) => agent);
  }

  /** A session is up; a fault says why it may not be. */
  up(name: string, link: AgentLink, now: number): Agent {
    const old = this.#places.get(name);
    if (old === undefined) {
      const { onRefused, config } = this.#options;
      const agent = new Agent(
        this.#tables,
        {
          name,
          control: this.#options.name,
          ...(config !== undefined && { config }),
          ...(onRefused !== undefined && {
            onRefused: (instance, refused) => onRefused(name, instance, refused),
          }),
        },
        link,
      );
      this.#places.set(agent.name, { agent, until: undefined });
      return agent;
    }
    const verdict = judgeDuplicate({
      sameAddress: old.agent.address === link.address,
      helper: this.#restartMs > 0,
      old: old.agent.link === undefined ? 'awaited' : 'ready',
    });
    const error = xmppFault('XMPP_DUPLICATE_NAME', `${name}, also from ${link.address}`);
    // Its driver hears of it and says `down`.
    if (verdict.old !== 'keep') old.agent.link?.close(error);
    if (verdict.new === 'close') throw error;
    old.agent.resume(link);
    old.until = now + (this.#options.endOfRibMs ?? END_OF_RIB_MS);
    return old.agent;
  }

  /** A stanza of the agent. A fault that is thrown is its session's end. */
  take(agent: Agent, stanza: Stanza): void {
    const place = this.#places.get(agent.name);
    if (!agent.take(stanza)) return;
    if (place !== undefined) place.until = undefined;
    agent.sweep();
  }

  /** Its session is over. `lost`: not by its own fault, nor by our will. */
  down(agent: Agent, link: AgentLink, lost: boolean, now: number): void {
    const place = this.#places.get(agent.name);
    if (place?.agent !== agent || agent.link !== link) return; // a newer session has its place
    if (lost && this.#restartMs > 0 && agent.peer.paths > 0) {
      agent.await();
      place.until = now + this.#restartMs;
      return;
    }
    this.#places.delete(agent.name);
    agent.leave();
  }

  get #restartMs(): number {
    return this.#options.restartMs ?? 0;
  }

  get due(): number | undefined {
    let due: number | undefined;
    for (const { until } of this.#places.values()) {
      if (until !== undefined && (due === undefined || until < due)) due = until;
    }
    return due;
  }

  tick(now: number): void {
    for (const [name, place] of [...this.#places]) {
      if (place.until === undefined || now < place.until) continue;
      place.until = undefined;
      if (place.agent.link === undefined) {
        this.#places.delete(name);
        place.agent.leave();
      } else {
        place.agent.sweep();
      }
    }
  }
}
