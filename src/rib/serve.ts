/**
 * The exchange's end of wire.ts: a server whose sessions are attached to a route exchange (control/exchange.ts).
 * Invariant: a session that ends, for whatever reason, takes its routes with it, unless its agent has said
 * that its packets go on without it (hello.restart): then they stay until it is back and has published
 * again, or the time is up. A second session under a name ends the first (an agent that came back before
 * its old stream was known to be dead).
 */
import { unlink } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { LineFramer } from '../codec/line-framer.ts';
import { ParseError, VRouterError } from '../errors.ts';
import { keyOf, type RouteKey, type RouteSource, routeKeyText } from './route.ts';
import {
  type AgentMessage,
  decodeAgentLine,
  encodeLine,
  encodeUpdates,
  MAX_LINE_BYTES,
  WIRE_VERSION,
} from './wire.ts';

/** Updates a session has not read yet; more and it is ended, for it will not catch up. */
const MAX_UNREAD_BYTES = 64 << 20;
const MAX_SESSIONS = 1024;

/** Where sessions attach, by name. */
export interface Attaches {
  attach(name: string): RouteSource;
}

export interface ServeOptions {
  /** Path of the Unix socket. */
  readonly path: string;
  /** Sessions that ended with an error; `name` is empty before hello. */
  readonly onError?: (name: string, error: Error) => void;
  readonly onSession?: (name: string, state: 'open' | 'closed') => void;
  readonly maxUnreadBytes?: number;
}

export interface ExchangeServer {
  readonly path: string;
  sessions(): string[];
  close(): Promise<void>;
}

export async function serveExchange(
  exchange: Attaches,
  options: ServeOptions,
): Promise<ExchangeServer> {
  const sessions = new Set<Session>();
  const left = new Map<string, Left>();
  const byName = new Map<string, Session>();
  const server: Server = createServer((socket) => {
    if (sessions.size >= MAX_SESSIONS) {
      socket.destroy();
      return;
    }
    const session = new Session(socket, exchange, options, { byName, left }, () =>
      sessions.delete(session),
    );
    sessions.add(session);
  });
  try {
    await listen(server, options.path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE' || (await answers(options.path))) {
      throw error;
    }
    await unlink(options.path); // left behind by a process that was killed
    await listen(server, options.path);
  }
  return {
    path: options.path,
    sessions: () => [...byName.keys()].sort(),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const session of [...sessions]) session.end();
        for (const { source, timer } of left.values()) {
          clearTimeout(timer);
          source.close();
        }
        left.clear();
      }),
  };
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

/** Whether someone listens on a socket file. */
function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path, () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });
}

/** What an agent has left that is to come back (hello.restart): its place, and what it published. */
interface Left {
  readonly source: RouteSource;
  readonly published: Map<string, RouteKey>;
  readonly timer: NodeJS.Timeout;
}

interface Names {
  readonly byName: Map<string, Session>;
  readonly left: Map<string, Left>;
}

class Session {
  name = '';
  readonly #socket: Socket;
  readonly #exchange: Attaches;
  readonly #options: ServeOptions;
  readonly #byName: Map<string, Session>;
  readonly #left: Map<string, Left>;
  readonly #onEnd: () => void;
  readonly #framer = new LineFramer(MAX_LINE_BYTES);
  #source: RouteSource | undefined;
  #ended = false;
  #restartMs = 0;
  readonly #subscribed = new Set<string>();
  #published = new Map<string, RouteKey>();
  /** Of the session before, and not published again yet. */
  #stale = new Set<string>();
  #sweep: NodeJS.Timeout | undefined;

  constructor(
    socket: Socket,
    exchange: Attaches,
    options: ServeOptions,
    names: Names,
    onEnd: () => void,
  ) {
    this.#socket = socket;
    this.#exchange = exchange;
    this.#options = options;
    this.#byName = names.byName;
    this.#left = names.left;
    this.#onEnd = onEnd;
    socket.on('data', (bytes) => this.#receive(bytes));
    socket.on('error', (error) => this.fail(error));
    socket.on('close', () => this.end());
  }

  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    if (this.#byName.get(this.name) === this) this.#byName.delete(this.name);
    clearTimeout(this.#sweep);
    this.#leave();
    this.#socket.end();
    this.#socket.destroySoon();
    this.#onEnd();
    if (this.name !== '') this.#options.onSession?.(this.name, 'closed');
  }

  #leave(): void {
    const source = this.#source;
    if (source === undefined) return;
    if (this.#restartMs === 0 || this.#published.size === 0) {
      source.close();
      return;
    }
    for (const instance of this.#subscribed) source.unsubscribe(instance);
    const timer = setTimeout(() => {
      this.#left.delete(this.name);
      source.close();
    }, this.#restartMs);
    timer.unref();
    this.#left.set(this.name, { source, published: this.#published, timer });
  }

  /** The place of the session before, with what it published, or a new one. */
  #place(name: string): RouteSource {
    const left = this.#left.get(name);
    if (left === undefined) return this.#exchange.attach(name);
    this.#left.delete(name);
    clearTimeout(left.timer);
    this.#published = left.published;
    this.#stale = new Set(left.published.keys());
    // One that does not say how long it is gone gets no time to come back to what it had.
    this.#sweep = setTimeout(() => this.#sweepStale(left.source), this.#restartMs);
    this.#sweep.unref();
    return left.source;
  }

  #sweepStale(source: RouteSource): void {
    for (const text of this.#stale) {
      const key = this.#published.get(text);
      this.#published.delete(text);
      if (key !== undefined) source.withdraw(key);
    }
    this.#stale.clear();
  }

  /** Tells the other end why, then ends. */
  fail(error: Error): void {
    if (this.#ended) return;
    const code = error instanceof VRouterError || error instanceof ParseError ? error.code : 'LOST';
    if (this.#socket.writable) {
      this.#socket.write(encodeLine({ type: 'error', code, message: error.message }));
    }
    this.end();
    this.#options.onError?.(this.name, error);
  }

  #receive(bytes: Uint8Array): void {
    if (this.#ended) return;
    try {
      for (const line of this.#framer.push(bytes)) {
        this.#take(line);
        if (this.#ended) return;
      }
    } catch (error) {
      // What the peer sent is at fault, or what it asked for was refused: its session ends, no other.
      if (!(error instanceof ParseError || error instanceof VRouterError)) throw error;
      this.fail(error);
    }
  }

  #take(line: string): void {
    const message = decodeAgentLine(line);
    if (message.type === 'error') {
      this.end();
      this.#options.onError?.(this.name, new VRouterError(message.code, message.message));
      return;
    }
    if (message.type === 'hello') {
      this.#hello(message);
      return;
    }
    const source = this.#source;
    if (source === undefined) throw new ParseError(`${message.type}: hello must come first`);
    switch (message.type) {
      case 'subscribe':
        source.subscribe(message.instance, message.id);
        this.#subscribed.add(message.instance);
        break;
      case 'unsubscribe':
        source.unsubscribe(message.instance);
        this.#subscribed.delete(message.instance);
        break;
      case 'publish':
        source.publish(message.route);
        this.#stale.delete(routeKeyText(message.route));
        this.#published.set(routeKeyText(message.route), keyOf(message.route));
        break;
      case 'withdraw':
        source.withdraw(message.key);
        this.#stale.delete(routeKeyText(message.key));
        this.#published.delete(routeKeyText(message.key));
        break;
    }
  }

  #hello(message: Extract<AgentMessage, { type: 'hello' }>): void {
    if (this.#source !== undefined) throw new ParseError('hello: said already');
    if (message.version !== WIRE_VERSION) {
      throw new ParseError(
        `hello.version: ${message.version} is not spoken here, ${WIRE_VERSION} is`,
      );
    }
    this.#byName
      .get(message.name)
      ?.fail(new VRouterError('CONFLICT', `a newer session took the name '${message.name}'`));
    this.#restartMs = message.restart ?? 0;
    const source = this.#place(message.name);
    this.name = message.name;
    this.#source = source;
    this.#byName.set(message.name, this);
    this.#socket.write(encodeLine({ type: 'welcome', version: WIRE_VERSION }));
    source.onUpdates((updates) => {
      for (const line of encodeUpdates(updates)) this.#socket.write(line);
      if (this.#socket.writableLength > (this.#options.maxUnreadBytes ?? MAX_UNREAD_BYTES)) {
        this.fail(new VRouterError('BUSY', `'${this.name}' does not read its updates`));
      }
    });
    this.#options.onSession?.(this.name, 'open');
  }
}
