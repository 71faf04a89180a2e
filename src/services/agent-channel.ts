/**
 * AgentChannel: the control side's end of the agent vif's socket: packets of tenants in, answers out.
 *
 * Invariants
 *  * A turn of the event loop takes FRAMES_A_TURN at most, so what comes in never keeps everything else
 *    waiting; the core bounds how much comes (native/state/punt_limit.h), the socket how much waits.
 *  * Nothing blocks and nothing is retried: an answer that finds no room is counted and gone, and who asked
 *    will ask again. So it is while a forwarder is away.
 *  * A listener that throws has met a packet that is not what it should be: counted, and the next one.
 */
import type { Descriptor } from '../dataplane/descriptor.ts';
import { VRouterError } from '../errors.ts';
import { type AgentFrame, COMMAND, decodeAgentFrame, encodeAgentFrame } from './agent-header.ts';

export const FRAMES_A_TURN = 64;
/** Longest frame of the agent vif's port, with the header in front and a VLAN tag or two. */
export const MAX_AGENT_MTU = 9216;
const READ_BYTES = 16_384;

export interface ChannelCounters {
  received: number;
  /** Not understood, and refused. */
  malformed: number;
  sent: number;
  /** No room in the socket, or nobody there. */
  unsent: number;
}

export interface ChannelOptions {
  readonly onFrame: (frame: AgentFrame) => void;
  /** What is not the sender's fault. */
  readonly onError: (error: unknown) => void;
}

export class AgentChannel {
  readonly counters: ChannelCounters = { received: 0, malformed: 0, sent: 0, unsent: 0 };
  readonly #descriptor: Descriptor;
  readonly #options: ChannelOptions;
  readonly #into = new Uint8Array(READ_BYTES);
  #closed = false;

  /** Takes the descriptor over. */
  constructor(descriptor: Descriptor, options: ChannelOptions) {
    this.#descriptor = descriptor;
    this.#options = options;
    descriptor.onReadable(() => this.#readable());
  }

  /** Out of the vif as it is. False: it did not go. */
  send(vif: number, frame: Uint8Array): boolean {
    const bytes = encodeAgentFrame({ vif, vrf: 0, command: COMMAND.switch, frame });
    let went = false;
    try {
      went = !this.#closed && this.#descriptor.write(bytes) === bytes.length;
    } catch (error) {
      if (!(error instanceof VRouterError)) throw error;
    }
    this.counters[went ? 'sent' : 'unsent']++;
    return went;
  }

  close(): void {
    this.#closed = true;
    this.#descriptor.close();
  }

  #readable(): void {
    for (let i = 0; i < FRAMES_A_TURN && !this.#closed; i++) {
      const length = this.#read();
      if (length < 0) return;
      this.#take(this.#into.subarray(0, length));
    }
  }

  #read(): number {
    try {
      return this.#descriptor.read(this.#into);
    } catch (error) {
      this.#options.onError(error);
      return -1;
    }
  }

  #take(bytes: Uint8Array): void {
    this.counters.received++;
    try {
      this.#options.onFrame(decodeAgentFrame(bytes));
    } catch (error) {
      if (error instanceof VRouterError && error.code === 'BAD_PACKET') this.counters.malformed++;
      else this.#options.onError(error);
    }
  }
}
