/**
 * ByteStreams over TCP, and TLS over those. Both sides show a certificate of the given authority; a name is not
 * looked for in it, as in the ancestor, whose agents name themselves in the stream.
 */
import { connect as connectTcp, createServer, type Socket } from 'node:net';
import {
  connect as connectTls,
  createSecureContext,
  createServer as createTlsServer,
  type SecureContext,
  type Server as TlsServer,
} from 'node:tls';
import { VRouterError } from '../../errors.ts';
import type { Attempt, ByteStream, StreamListener } from './byte-stream.ts';

export interface TlsMaterial {
  /** PEM. */
  readonly certificate: string;
  readonly key: string;
  readonly authority: string;
}

/** A dead peer is noticed by the kernel in about 20 s, before the hold time. */
const KEEPALIVE_MS = 5_000;
/** How long what has been written may take to go out once we have closed. */
const LINGER_MS = 2_000;

/** `::ffff:` of a dual-stack listener says nothing. */
function plainAddress(address: string | undefined): string {
  return (address ?? '').replace(/^::ffff:(?=\d+\.)/i, '');
}

type Upgrade = (socket: Socket, first: string) => Promise<Socket>;

class SocketStream implements ByteStream {
  readonly address: string;
  readonly #socket: Socket;
  readonly #upgrade: Upgrade;
  #listener: StreamListener | undefined;
  #why = 'connection closed';

  constructor(socket: Socket, address: string, upgrade: Upgrade) {
    this.#socket = socket;
    this.address = address;
    this.#upgrade = upgrade;
    socket.pause();
    socket.on('error', this.#onError);
    socket.on('close', this.#onClose);
  }

  readonly #onError = (error: Error): void => {
    this.#why = error.message;
  };
  readonly #onClose = (): void => this.#listener?.closed(this.#why);
  readonly #onData = (bytes: Uint8Array): void => this.#listener?.data(bytes);
  readonly #onDrain = (): void => this.#listener?.drained();
  /** Half open is of no use here. */
  readonly #onEnd = (): void => {
    this.#socket.destroy();
  };

  get waiting(): number {
    return this.#socket.writableLength;
  }

  listen(listener: StreamListener): void {
    this.#listener = listener;
    this.#socket.on('data', this.#onData);
    this.#socket.on('drain', this.#onDrain);
    this.#socket.on('end', this.#onEnd);
    this.#socket.resume();
    if (this.#socket.destroyed) setImmediate(() => listener.closed(this.#why));
  }

  write(parts: readonly (string | Uint8Array)[]): void {
    if (!this.#socket.writable) return;
    this.#socket.cork();
    for (const part of parts) this.#socket.write(part);
    // Together with what else is written in this turn of the loop.
    process.nextTick(() => this.#socket.uncork());
  }

  end(): void {
    this.#unlisten();
    const socket = this.#socket;
    socket.on('error', () => socket.destroy());
    socket.resume(); // unread bytes would make it a reset, and the last words be lost
    socket.end(() => socket.destroy());
    const timer = setTimeout(() => socket.destroy(), LINGER_MS);
    timer.unref();
    socket.once('close', () => clearTimeout(timer));
  }

  destroy(): void {
    this.#socket.destroy();
  }

  async secure(first: string): Promise<ByteStream> {
    // In the tick in which the machine says so: nothing is read in the clear any more.
    this.#socket.pause();
    this.#unlisten();
    const secure = await this.#upgrade(this.#socket, first);
    return new SocketStream(secure, this.address, () =>
      Promise.reject(new Error('is secure already')),
    );
  }

  #unlisten(): void {
    this.#listener = undefined;
    this.#socket.off('data', this.#onData);
    this.#socket.off('drain', this.#onDrain);
    this.#socket.off('end', this.#onEnd);
    this.#socket.off('close', this.#onClose);
  }
}

function tune(socket: Socket): void {
  socket.setNoDelay(true);
  socket.setKeepAlive(true, KEEPALIVE_MS);
}

/** The far end of each accepted connection is one we can name it by. */
function endOf(socket: Socket): string {
  return `${socket.remoteAddress} ${socket.remotePort} ${socket.localPort}`;
}

/** Accepted connections, and STARTTLS over them where there is material for it. */
class AcceptedStreams {
  readonly #tls: TlsServer | undefined;
  readonly #handshakes = new Map<
    string,
    { done(socket: Socket): void; failed(error: Error): void }
  >();

  constructor(material?: TlsMaterial) {
    if (material === undefined) return;
    const { certificate, key, authority } = material;
    // It never listens: it is given connections, and checks certificates as it does for its own.
    this.#tls = createTlsServer({
      cert: certificate,
      key,
      ca: authority,
      requestCert: true,
      rejectUnauthorized: true,
      minVersion: 'TLSv1.2',
    });
    this.#tls.on('secureConnection', (socket) => this.#handshakes.get(endOf(socket))?.done(socket));
    this.#tls.on('tlsClientError', (error, socket) => {
      this.#handshakes.get(endOf(socket))?.failed(error);
    });
  }

  accept(socket: Socket): ByteStream {
    tune(socket);
    return new SocketStream(socket, plainAddress(socket.remoteAddress), (plain, first) =>
      this.#handshake(plain, first),
    );
  }

  #handshake(plain: Socket, first: string): Promise<Socket> {
    const tls = this.#tls;
    if (tls === undefined) return Promise.reject(new Error('there is no certificate'));
    const end = endOf(plain);
    return new Promise<Socket>((resolve, reject) => {
      const failed = (error: Error) => {
        plain.destroy();
        reject(error);
      };
      plain.once('close', () => {
        this.#handshakes.delete(end);
        reject(new Error('connection closed in the handshake'));
      });
      this.#handshakes.set(end, { done: resolve, failed });
      plain.write(first, () => tls.emit('connection', plain));
    });
  }
}

export interface ConnectOptions {
  readonly host: string;
  readonly port: number;
  /** The address that routes have as next hop, which the control node takes for the agent's. */
  readonly localAddress?: string;
  readonly tls?: TlsMaterial;
}

/** An agent's side. */
export function connectStream(options: ConnectOptions, attempt: Attempt): void {
  const { host, port, localAddress, tls } = options;
  const failed = (error: Error) => attempt.failed(error.message);
  const socket = connectTcp({ host, port, ...(localAddress !== undefined && { localAddress }) });
  socket.once('error', failed);
  socket.once('connect', () => {
    socket.off('error', failed);
    tune(socket);
    attempt.connected(
      new SocketStream(socket, plainAddress(socket.remoteAddress), (plain) =>
        tls === undefined
          ? Promise.reject(new Error('there is no certificate'))
          : secureClient(plain, tls),
      ),
    );
  });
}

export interface ListenOptions {
  readonly host: string;
  readonly port: number;
  readonly tls?: TlsMaterial;
  readonly accept: (stream: ByteStream) => void;
  /** A connection could not be accepted, for want of descriptors; the others go on. */
  readonly onError?: (error: Error) => void;
}

export interface StreamListening {
  /** The one it got. */
  readonly port: number;
  /** No new ones from now on; resolves when there are no old ones any more. */
  close(): Promise<void>;
}

/** A control node's side. */
export function listenStreams(options: ListenOptions): Promise<StreamListening> {
  const { host, port, tls, accept, onError } = options;
  const streams = new AcceptedStreams(tls);
  const tcp = createServer({ pauseOnConnect: true }, (socket) => accept(streams.accept(socket)));
  return new Promise((resolve, reject) => {
    tcp.once('error', (error) =>
      reject(new VRouterError('PORT_FAILED', `${host}:${port}: ${error.message}`)),
    );
    tcp.listen(port, host, () => {
      tcp.removeAllListeners('error');
      tcp.on('error', (error) => onError?.(error));
      const address = tcp.address();
      resolve({
        port: typeof address === 'object' && address !== null ? address.port : port,
        close: () => new Promise((closed) => tcp.close(() => closed())),
      });
    });
  });
}

function secureClient(
  plain: Socket,
  { certificate, key, authority }: TlsMaterial,
): Promise<Socket> {
  const secureContext: SecureContext = createSecureContext({
    cert: certificate,
    key,
    ca: authority,
    minVersion: 'TLSv1.2',
  });
  return new Promise((resolve, reject) => {
    const socket = connectTls({
      socket: plain,
      secureContext,
      rejectUnauthorized: true,
      checkServerIdentity: () => undefined, // by authority alone, see above
    });
    socket.once('error', reject);
    socket.once('close', () => reject(new Error('connection closed in the handshake')));
    socket.once('secureConnect', () => {
      socket.off('error', reject);
      resolve(socket);
    });
  });
}
