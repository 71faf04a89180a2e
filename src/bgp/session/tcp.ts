/**
 * The transport of real sockets. TTL, its security and MD5 signatures are options that Node has no words for: they are set
 * on sockets made by `TcpOptionsSocket`, which Node then takes over by their descriptors, before they connect or listen. So
 * no segment leaves or is heard without them. Only what comes before `accept` on a connection to us is older than its TTLs.
 *
 * Without such sockets there is plain TCP: TTLs are the system's, and who demands more is refused.
 */
import { createServer, type Server, Socket } from 'node:net';
import { canonicalIp, type IpFamily, parseIp } from '../../addr/ip.ts';
import { hostPrefix, parsePrefix } from '../../addr/prefix.ts';
import type { StreamListener } from '../../codec/byte-stream.ts';
import { VRouterError } from '../../errors.ts';
import { LINGER_MS, MAX_LINGERING } from '../limits.ts';
import { MAX_TTL } from './hops.ts';
import type {
  Attempt,
  Endpoint,
  Hops,
  Key,
  Listener,
  PeerStream,
  Target,
  Transport,
} from './transport.ts';

/** Native: native/binding/tcp.h. All of them throw VRouterError. */
export interface TcpOptionsSocket {
  /** A socket to connect to the address, or, with a port, bound to both and to be listened on. The caller's to close. */
  openTcp(address: Uint8Array, port?: number): number;
  /** 0: left as it is. */
  setTcpHops(fd: number, ttl: number, minTtl: number): void;
  /** What addresses under the prefix must sign with; an empty key takes it back. */
  setTcpKey(fd: number, address: Uint8Array, length: number, key: Uint8Array): void;
}

/** `::ffff:` of a dual-stack socket says nothing. A zone is there for link-local addresses. */
function endpointOf(text = '', port = 0): Endpoint {
  const [plain = '', zone] = text.replace(/^::ffff:(?=\d+\.)/i, '').split('%');
  const address = canonicalIp(plain === '' ? '0.0.0.0' : plain);
  return { address, port, ...(zone !== undefined && { interface: zone }) };
}

const LINK_LOCAL = /^fe[89ab]/;

/** As sockets are told where to connect to. */
const hostOf = ({ address, interface: zone }: Endpoint): string =>
  zone === undefined ? address : `${address}%${zone}`;

/** Not in Node's documentation, and the only way to an accepted connection's descriptor. */
function descriptorOf(socket: Socket): number {
  return (socket as unknown as { _handle?: { fd?: number } | null })._handle?.fd ?? -1;
}

const KEEPALIVE_MS = 60_000;

class SocketStream implements PeerStream {
  static #lingering = 0;
  readonly local: Endpoint;
  readonly remote: Endpoint;
  readonly #socket: Socket;
  #listener: StreamListener | undefined;
  #why = 'the peer closed the connection';
  #corked = false;

  constructor(socket: Socket) {
    this.#socket = socket;
    const { localAddress, localPort, remoteAddress, remotePort } = socket;
    this.local = endpointOf(localAddress, localPort);
    this.remote = endpointOf(remoteAddress, remotePort);
    socket.setNoDelay(true);
    socket.setKeepAlive(true, KEEPALIVE_MS); // hold times may be 0
    socket.pause();
    socket.on('error', (error) => {
      this.#why = error.message;
    });
    socket.on('close', () => this.#closed());
    socket.on('data', (bytes) => this.#listener?.data(bytes));
    socket.on('drain', () => this.#listener?.drained());
    // Half open is of no use here.
    socket.on('end', () => socket.destroy());
    socket.pause(); // a listener of data has set it going
  }

  get address(): string {
    return this.remote.address;
  }

  get waiting(): number {
    return this.#socket.writableLength;
  }

  listen(listener: StreamListener): void {
    this.#listener = listener;
    this.#socket.resume();
    if (this.#socket.destroyed) setImmediate(() => this.#closed());
  }

  write(parts: readonly (string | Uint8Array)[]): void {
    const socket = this.#socket;
    if (!socket.writable) return;
    if (!this.#corked) {
      // Together with what else is written in this turn of the loop.
      this.#corked = true;
      socket.cork();
      process.nextTick(() => {
        this.#corked = false;
        socket.uncork();
      });
    }
    for (const part of parts) socket.write(part);
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  end(): void {
    this.#listener = undefined;
    const socket = this.#socket;
    if (socket.destroyed) return;
    socket.resume(); // unread bytes would make it a reset, and the last words be lost
    // For the same reason the peer's end is waited for, by so many at once.
    if (SocketStream.#lingering >= MAX_LINGERING) socket.end(() => socket.destroy());
    else socket.end();
    SocketStream.#lingering += 1;
    const timer = setTimeout(() => socket.destroy(), LINGER_MS);
    timer.unref();
    socket.once('close', () => {
      SocketStream.#lingering -= 1;
      clearTimeout(timer);
    });
  }

  destroy(): void {
    this.#listener = undefined;
    this.#socket.destroy();
  }

  #closed(): void {
    const listener = this.#listener;
    this.#listener = undefined;
    listener?.closed(this.#why);
  }
}

export interface TcpOptions {
  /** Where we are called; none: nobody calls. Port 0: any. */
  readonly listen: readonly Endpoint[];
  readonly sockets?: TcpOptionsSocket;
  /** A connection could not be accepted, for want of descriptors; the others go on. */
  readonly onError?: (error: Error) => void;
}

interface Listening {
  readonly server: Server;
  readonly family: IpFamily;
  /** -1: plain. */
  readonly fd: number;
}

const NEEDED = 'the addon is needed for TTL security and TCP MD5 signatures';

export class TcpTransport implements Transport {
  readonly #options: TcpOptions;
  readonly #listening: Listening[] = [];
  #listener: Listener | undefined;
  /** What the kernel has been told, by prefix. */
  #keys = new Map<string, string>();

  private constructor(options: TcpOptions) {
    this.#options = options;
  }

  /** Throws PORT_FAILED where an address cannot be listened on. */
  static async open(options: TcpOptions): Promise<TcpTransport> {
    const transport = new TcpTransport(options);
    try {
      for (const endpoint of options.listen) await transport.#listenOn(endpoint);
    } catch (error) {
      transport.close();
      throw error;
    }
    return transport;
  }

  /** Those it got, in the order of `listen`. */
  get ports(): readonly number[] {
    return this.#listening.map(({ server }) => (server.address() as { port: number }).port);
  }

  listen(listener: Listener): void {
    this.#listener = listener;
  }

  connect(target: Target, attempt: Attempt): () => void {
    let over = false;
    const end = (tell: () => void) => {
      if (over) return;
      over = true;
      tell();
    };
    let socket: Socket;
    try {
      socket = this.#socketFor(target);
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      setImmediate(() => end(() => attempt.failed(why)));
      return () => end(() => undefined);
    }
    const failed = (error: Error) => end(() => attempt.failed(error.message));
    socket.once('error', failed);
    socket.once('connect', () => {
      if (over) return;
      socket.off('error', failed);
      end(() => attempt.connected(new SocketStream(socket)));
    });
    const { remote, localAddress } = target;
    socket.connect({
      ...{ host: hostOf(remote), port: remote.port },
      ...(localAddress !== undefined && {
        localAddress: LINK_LOCAL.test(localAddress)
          ? hostOf({ ...remote, address: localAddress })
          : localAddress,
      }),
    });
    return () =>
      end(() => {
        socket.on('error', () => undefined);
        socket.destroy();
      });
  }

  setKeys(keys: readonly Key[]): void {
    const { sockets } = this.#options;
    const wanted = new Map<string, string>(keys.map(({ prefix, password }) => [prefix, password]));
    if (wanted.size > 0 && sockets === undefined) throw new VRouterError('NO_ADDON', NEEDED);
    for (const { fd, family } of this.#listening) {
      for (const prefix of new Set([...this.#keys.keys(), ...wanted.keys()])) {
        const password = wanted.get(prefix);
        const { family: its, bytes, length } = parsePrefix(prefix);
        if (its !== family || password === this.#keys.get(prefix)) continue;
        sockets?.setTcpKey(fd, bytes, length, Buffer.from(password ?? '', 'utf8'));
      }
    }
    this.#keys = wanted;
  }

  close(): void {
    for (const { server } of this.#listening.splice(0)) server.close();
  }

  #socketFor({ remote, password, ttl, minTtl }: Target): Socket {
    const { sockets } = this.#options;
    if (sockets === undefined) {
      if (password !== undefined || minTtl !== undefined)
        throw new VRouterError('NO_ADDON', NEEDED);
      return new Socket();
    }
    const fd = sockets.openTcp(parseIp(remote.address).bytes);
    // From here on it is Node's to close.
    const socket = new Socket({ fd });
    try {
      sockets.setTcpHops(fd, ttl ?? 0, minTtl ?? 0);
      if (password !== undefined) {
        const { bytes, length } = parsePrefix(hostPrefix(remote.address));
        sockets.setTcpKey(fd, bytes, length, Buffer.from(password, 'utf8'));
      }
    } catch (error) {
      socket.destroy();
      throw error;
    }
    return socket;
  }

  #listenOn({ address, port }: Endpoint): Promise<void> {
    const { sockets, onError } = this.#options;
    const { family, bytes } = parseIp(address);
    const server = createServer({ pauseOnConnect: true }, (socket) => this.#accept(socket));
    return new Promise((resolve, reject) => {
      const failed = (error: Error) =>
        reject(new VRouterError('PORT_FAILED', `${address} port ${port}: ${error.message}`));
      server.once('error', failed);
      let fd = -1;
      try {
        fd = sockets?.openTcp(bytes, port) ?? -1;
        // Its answers to those who call must be heard by those who hear only what is near.
        sockets?.setTcpHops(fd, MAX_TTL, 0);
      } catch (error) {
        failed(error as Error);
        return;
      }
      const listening = () => {
        server.removeAllListeners('error');
        server.on('error', (error) => onError?.(error));
        this.#listening.push({ server, family, fd });
        resolve();
      };
      if (fd >= 0) server.listen({ fd }, listening);
      else server.listen({ host: address, port, ipv6Only: true }, listening);
    });
  }

  #accept(socket: Socket): void {
    // It may have gone while it waited to be accepted, and then it has no address.
    const admitted = socket.remoteAddress === undefined ? undefined : this.#admitted(socket);
    if (admitted !== undefined) this.#listener?.accept(admitted);
    else {
      socket.on('error', () => undefined);
      socket.destroy();
    }
  }

  #admitted(socket: Socket): PeerStream | undefined {
    const stream = new SocketStream(socket);
    const hops = this.#listener?.admit(stream.remote, stream.local);
    return hops !== undefined && this.#limit(socket, hops) ? stream : undefined;
  }

  #limit(socket: Socket, { ttl, minTtl }: Hops): boolean {
    const { sockets } = this.#options;
    if (sockets === undefined) return minTtl === undefined;
    try {
      sockets.setTcpHops(descriptorOf(socket), ttl ?? 0, minTtl ?? 0);
      return true;
    } catch {
      return false; // it has gone
    }
  }
}
