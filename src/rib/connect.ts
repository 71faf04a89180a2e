/**
 * The agent's end of wire.ts: a RouteSource over a Unix socket that comes back by itself.
 *
 * Invariant: what the agent wants (subscriptions, published routes) is kept here and said again on
 * every new stream. While there is no stream the agent keeps the routes it learned: on loss each
 * subscribed instance is reported `stale`, and the end-of-rib of the next stream sweeps what the
 * exchange no longer has.
 */
import { connect as connectSocket, type Socket } from 'node:net';
import { LineFramer } from '../codec/line-framer.ts';
import { ParseError, VRouterError } from '../errors.ts';
import { checkKey, checkName, checkRoute } from './check.ts';
import {
  keyOf,
  type Route,
  type RouteKey,
  type RouteSource,
  type RouteUpdate,
  routeKeyText,
} from './route.ts';
import { instanceOf } from './static-source.ts';
import {
  type AgentMessage,
  decodeExchangeLine,
  encodeLine,
  MAX_LINE_BYTES,
  WIRE_VERSION,
} from './wire.ts';

export interface ConnectOptions {
  readonly path: string;
  readonly name: string;
  /** First wait before trying again; doubles up to maxRetryMs. Default 100 and 5,000. */
  readonly retryMs?: number;
  readonly maxRetryMs?: number;
  /** What we published stays so long when the stream is lost without a close(); wire.ts, hello. */
  readonly restartMs?: number;
  /** Asked by close(): what was published stays, for a successor. */
  readonly leaveRoutes?: () => boolean;
  readonly onState?: (state: 'connected' | 'lost') => void;
  /** Why a stream ended, or could not be had. */
  readonly onError?: (error: Error) => void;
}

export function connectExchange(options: ConnectOptions): RouteSource {
  return new ExchangeClient(options);
}

class ExchangeClient implements RouteSource {
  readonly name: string;
  readonly #options: ConnectOptions;
  readonly #subscribed = new Map<string, number>();
  readonly #published = new Map<string, Route>();
  #listener: ((updates: readonly RouteUpdate[]) => void) | undefined;
  #socket: Socket | undefined;
  /** Greeted: messages may be sent. */
  #welcome = false;
  #retryMs: number;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(options: ConnectOptions) {
    this.name = checkName(options.name, 'name');
    this.#options = options;
    this.#retryMs = options.retryMs ?? 100;
    this.#open();
  }

  onUpdates(listener: (updates: readonly RouteUpdate[]) => void): void {
    this.#listener = listener;
  }

  subscribe(instance: string, instanceId: number): void {
    this.#checkOpen();
    checkName(instance, 'instance');
    if (this.#subscribed.has(instance)) {
      throw new VRouterError('CONFLICT', `'${this.name}' is subscribed to '${instance}' already`);
    }
    this.#subscribed.set(instance, instanceId);
    this.#send({ type: 'subscribe', instance, id: instanceId });
  }

  unsubscribe(instance: string): void {
    this.#checkOpen();
    if (this.#subscribed.delete(instance)) this.#send({ type: 'unsubscribe', instance });
  }

  publish(given: Route): void {
    this.#checkOpen();
    const route = checkRoute(given);
    this.#published.set(routeKeyText(route), route);
    this.#send({ type: 'publish', route });
  }

  withdraw(given: RouteKey): void {
    this.#checkOpen();
    const key = checkKey(keyOf(given));
    if (this.#published.delete(routeKeyText(key))) this.#send({ type: 'withdraw', key });
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#timer);
    // The exchange cannot tell an end from a loss, and would keep them.
    if (this.#options.restartMs !== undefined && this.#options.leaveRoutes?.() !== true) {
      for (const route of this.#published.values()) {
        this.#send({ type: 'withdraw', key: keyOf(route) });
      }
    }
    this.#socket?.end();
    this.#socket = undefined;
  }

  #checkOpen(): void {
    if (this.#closed) throw new VRouterError('BUSY', `route source '${this.name}' is closed`);
  }

  #send(message: AgentMessage): void {
    if (this.#welcome) this.#socket?.write(encodeLine(message));
  }

  #open(): void {
    const socket = connectSocket(this.#options.path);
    const framer = new LineFramer(MAX_LINE_BYTES);
    this.#socket = socket;
    const { restartMs } = this.#options;
    const restart = restartMs === undefined ? {} : { restart: restartMs };
    socket.on('connect', () =>
      socket.write(
        encodeLine({ type: 'hello', version: WIRE_VERSION, name: this.name, ...restart }),
      ),
    );
    socket.on('data', (bytes) => {
      if (this.#socket !== socket) return;
      try {
        for (const line of framer.push(bytes)) this.#take(line);
      } catch (error) {
        if (!(error instanceof ParseError)) throw error;
        if (socket.writable) {
          socket.write(encodeLine({ type: 'error', code: error.code, message: error.message }));
        }
        this.#options.onError?.(error);
        socket.destroySoon();
      }
    });
    socket.on('error', (error) => {
      if (!this.#closed) this.#options.onError?.(error);
    });
    socket.on('close', () => {
      if (this.#socket === socket) this.#lost();
    });
  }

  #take(line: string): void {
    const message = decodeExchangeLine(line);
    switch (message.type) {
      case 'welcome':
        if (message.version !== WIRE_VERSION) {
          throw new ParseError(`welcome.version: ${message.version} is not spoken here`);
        }
        this.#greet();
        break;
      case 'updates': {
        // Those of an instance left meanwhile are on their way for a while.
        const wanted = message.updates.filter((u) => this.#subscribed.has(instanceOf(u)));
        if (wanted.length > 0) this.#listener?.(wanted);
        break;
      }
      case 'error':
        this.#options.onError?.(new VRouterError(message.code, message.message));
        break;
    }
  }

  #greet(): void {
    this.#welcome = true;
    this.#retryMs = this.#options.retryMs ?? 100;
    // Whose id is in the route distinguishers of what is published in it.
    for (const [instance, id] of this.#subscribed) this.#send({ type: 'subscribe', instance, id });
    for (const route of this.#published.values()) this.#send({ type: 'publish', route });
    this.#options.onState?.('connected');
  }

  #lost(): void {
    this.#socket = undefined;
    const was = this.#welcome;
    this.#welcome = false;
    if (this.#closed) return;
    this.#timer = setTimeout(() => this.#open(), this.#retryMs);
    this.#retryMs = Math.min(this.#retryMs * 2, this.#options.maxRetryMs ?? 5000);
    if (!was) return;
    const stale = [...this.#subscribed.keys()].map(
      (instance): RouteUpdate => ({ type: 'stale', instance }),
    );
    if (stale.length > 0) this.#listener?.(stale);
    this.#options.onState?.('lost');
  }
}
