/**
 * Connections between BGP speakers of this process: a transport for each address, over streams in memory.
 *
 * Invariants
 *  * Who connects hears what came of it LATENCY_MS later, on his own clock; nobody is told anything inside a call.
 *  * Passwords are looked at as TCP does: without the same one there is no connection, and nobody hears of it.
 */
import { type IpText, parseIp } from '../addr/ip.ts';
import { contains, parsePrefix } from '../addr/prefix.ts';
import type {
  Attempt,
  Endpoint,
  Key,
  Listener,
  PeerStream,
  Target,
  Transport,
} from '../bgp/session/transport.ts';
import type { Clock, StreamListener } from '../codec/byte-stream.ts';
import { type MemoryStream, streamPair } from './streams.ts';

const LATENCY_MS = 1;
const FIRST_PORT = 32_768;

export class MemoryPeerStream implements PeerStream {
  /** For whoever cuts it, or does not read it. */
  readonly bytes: MemoryStream;
  readonly local: Endpoint;
  readonly remote: Endpoint;

  constructor(bytes: MemoryStream, local: Endpoint, remote: Endpoint) {
    this.bytes = bytes;
    this.local = local;
    this.remote = remote;
  }

  get address(): string {
    return this.remote.address;
  }

  get waiting(): number {
    return this.bytes.waiting;
  }

  listen(listener: StreamListener): void {
    this.bytes.listen(listener);
  }

  write(parts: readonly (string | Uint8Array)[]): void {
    this.bytes.write(parts);
  }

  pause(): void {
    this.bytes.reading = false;
  }

  resume(): void {
    this.bytes.reading = true;
    this.bytes.wake();
  }

  end(): void {
    this.bytes.end();
  }

  destroy(): void {
    this.bytes.destroy();
  }
}

interface Place {
  readonly address: IpText;
  readonly clock: Clock;
  listener: Listener | undefined;
  keys: readonly Key[];
  plugged: boolean;
}

export class BgpNetwork {
  readonly #places = new Map<IpText, Place>();
  /** Those there are, and some that were: by the end that called. */
  readonly connections = new Set<MemoryPeerStream>();
  /** Nobody reaches anybody while it says so. */
  mayConnect: (from: IpText, to: IpText) => boolean = () => true;
  #port = FIRST_PORT;

  /** Of a process at `address`, whose time is `clock`. Who listens there last is called. */
  transport(address: IpText, clock: Clock): Transport {
    const plugged = this.#places.get(address)?.plugged ?? true;
    const place: Place = { address, clock, listener: undefined, keys: [], plugged };
    return {
      connect: (target, attempt) => this.#connect(place, target, attempt),
      listen: (listener) => {
        place.listener = listener;
        this.#places.set(address, place);
      },
      setKeys: (keys) => {
        place.keys = keys;
      },
      close: () => {
        place.listener = undefined;
      },
    };
  }

  /** As when the process at `address` is killed: it is called by nobody, and its connections are closed. */
  cut(address: IpText): void {
    const place = this.#places.get(address);
    if (place !== undefined) place.listener = undefined;
    for (const connection of this.#connectionsOf(address)) {
      connection.bytes.cut();
      this.connections.delete(connection);
    }
  }

  /** As its cable: nothing arrives, at either end, until it is plugged in again; then what was sent meanwhile does. */
  plug(address: IpText, plugged: boolean): void {
    const place = this.#places.get(address);
    if (place !== undefined) place.plugged = plugged;
    for (const { bytes } of this.#connectionsOf(address)) {
      for (const end of [bytes, bytes.far]) {
        end.reading = plugged;
        if (plugged) end.wake();
      }
    }
  }

  #connectionsOf(address: IpText): MemoryPeerStream[] {
    return [...this.connections].filter(({ local, remote }) =>
      [local.address, remote.address].includes(address),
    );
  }

  #connect(from: Place, target: Target, attempt: Attempt): () => void {
    return from.clock.after(LATENCY_MS, () => {
      const stream = this.#reach(from, target);
      if (stream === undefined) attempt.failed('connection refused');
      else attempt.connected(stream);
    });
  }

  #reach(from: Place, { remote, password }: Target): PeerStream | undefined {
    const to = this.#places.get(remote.address);
    const listener = to?.listener;
    if (to === undefined || listener === undefined) return undefined;
    if (!from.plugged || !to.plugged) return undefined;
    if (!this.mayConnect(from.address, to.address)) return undefined;
    if (keyOf(to, from.address) !== password) return undefined;
    const near: Endpoint = { address: from.address, port: this.#port++ };
    const [a, b] = streamPair(from.clock, [near.address, remote.address], to.clock);
    const ours = new MemoryPeerStream(a, near, remote);
    for (const old of this.connections) if (!old.bytes.open) this.connections.delete(old);
    this.connections.add(ours);
    to.clock.after(0, () => {
      const theirs = new MemoryPeerStream(b, remote, near);
      // It may have closed meanwhile, and the speaker too.
      if (to.listener?.admit(near, remote) === undefined) theirs.destroy();
      else to.listener.accept(theirs);
    });
    return ours;
  }
}

/** The longest prefix's. */
function keyOf({ keys }: Place, address: IpText): string | undefined {
  const { family, bytes } = parseIp(address);
  const host = { family, bytes, length: bytes.length * 8 };
  const fitting = keys
    .map(({ prefix, password }) => ({ prefix: parsePrefix(prefix), password }))
    .filter(({ prefix }) => contains(prefix, host))
    .sort((a, b) => b.prefix.length - a.prefix.length);
  return fitting[0]?.password;
}
