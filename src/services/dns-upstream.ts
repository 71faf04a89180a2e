/**
 * Asks the resolvers there are, one after the other, over UDP.
 *
 * Invariants
 *  * Every attempt has a socket of its own, connected, and an id drawn anew: who wants to answer in a
 *    resolver's place has to guess a port of the kernel's choice and 16 bits, within one attempt.
 *  * Only an answer with that id and that question is one; anything else is as if it had not come.
 *  * MAX_ATTEMPTS and the timeout bound how long a question is under way, who asks bounds how many are.
 */
import { randomInt } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { answers, type DnsMessage, decodeDns, withId } from './dns-message.ts';

const MAX_ATTEMPTS = 3;
const PORT = 53;

export interface UpstreamOptions {
  readonly resolvers: readonly string[];
  readonly timeoutMs: number;
  /** For tests; default 53. */
  readonly port?: number;
}

export interface Upstream {
  /** The answer under the query's own id; undefined: nobody answered. */
  ask(query: Uint8Array, message: DnsMessage): Promise<Uint8Array | undefined>;
  close(): void;
}

export class UdpUpstream implements Upstream {
  readonly #options: UpstreamOptions;
  /** What ends each attempt that is under way. */
  readonly #ends = new Set<() => void>();
  #closed = false;

  constructor(options: UpstreamOptions) {
    this.#options = options;
  }

  async ask(query: Uint8Array, message: DnsMessage): Promise<Uint8Array | undefined> {
    const { resolvers } = this.#options;
    for (let attempt = 0; attempt < MAX_ATTEMPTS && !this.#closed; attempt++) {
      const resolver = resolvers[attempt % resolvers.length];
      if (resolver === undefined) return undefined;
      const answer = await this.#once(resolver, query, message);
      if (answer !== undefined) return withId(answer, message.id);
    }
    return undefined;
  }

  close(): void {
    this.#closed = true;
    for (const end of [...this.#ends]) end();
  }

  #once(resolver: string, query: Uint8Array, message: DnsMessage): Promise<Uint8Array | undefined> {
    const { timeoutMs, port = PORT } = this.#options;
    const id = randomInt(0x10000);
    const socket = createSocket(resolver.includes(':') ? 'udp6' : 'udp4');
    return new Promise((resolve) => {
      const done = (answer: Uint8Array | undefined) => {
        clearTimeout(timer);
        if (this.#ends.delete(nobody)) socket.close();
        resolve(answer);
      };
      const nobody = () => done(undefined);
      this.#ends.add(nobody);
      const timer = setTimeout(nobody, timeoutMs);
      timer.unref();
      socket.unref();
      // Refused, unreachable: at once the next one.
      socket.on('error', nobody);
      socket.on('message', (bytes) => {
        if (isAnswer(bytes, id, message)) done(bytes);
      });
      socket.once('connect', () => socket.send(withId(query, id)));
      socket.connect(port, resolver);
    });
  }
}

function isAnswer(bytes: Uint8Array, id: number, query: DnsMessage): boolean {
  try {
    const answer = decodeDns(bytes);
    return answer.id === id && answers(query, answer);
  } catch {
    return false; // not from a resolver
  }
}
