/**
 * What sessions run on: streams to and from addresses. `tcp.ts` has sockets; the simulator has memory. Nothing is told
 * inside a call: whoever gives streams says later what happened.
 */
import type { IpText } from '../../addr/ip.ts';
import type { PrefixText } from '../../addr/prefix.ts';
import type { ByteStream } from '../../codec/byte-stream.ts';

export interface Endpoint {
  readonly address: IpText;
  /** Of a link-local address: on which one. */
  readonly interface?: string;
  readonly port: number;
}

export interface PeerStream extends ByteStream {
  readonly local: Endpoint;
  readonly remote: Endpoint;
  /** No more is read from the peer than what is on its way already. */
  pause(): void;
  resume(): void;
}

/** How far packets of a connection go, and how far those may have come that are heard. */
export interface Hops {
  /** Undefined: as the system has it. */
  readonly ttl?: number;
  /** RFC 5082: what arrives with less is not heard. */
  readonly minTtl?: number;
}

export interface Target extends Hops {
  readonly remote: Endpoint;
  readonly localAddress?: IpText;
  /** TCP MD5 signature (RFC 2385). */
  readonly password?: string;
}

/** One of these, once, and later. */
export interface Attempt {
  connected(stream: PeerStream): void;
  failed(why: string): void;
}

/** Whoever calls from these addresses must sign with it. */
export interface Key {
  readonly prefix: PrefixText;
  readonly password: string;
}

export interface Listener {
  /** Undefined: it is turned away. */
  admit(remote: Endpoint, local: Endpoint): Hops | undefined;
  accept(stream: PeerStream): void;
}

export interface Transport {
  /** The answer gives the attempt up: nothing is told any more. */
  connect(target: Target, attempt: Attempt): () => void;
  /** Connections to us, from now on. */
  listen(listener: Listener): void;
  /** Of those who call: all that there are. Throws VRouterError where there can be none. */
  setKeys(keys: readonly Key[]): void;
  /** No new ones. */
  close(): void;
}
