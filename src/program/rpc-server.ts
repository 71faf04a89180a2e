/**
 * RpcServer: methods of a running process on a Unix socket, for several clients at once (cli/protocol.ts).
 *
 * Invariants
 *  * A request is answered once, with a result or an error; an error in one method ends no client, a
 *    client's nonsense ends only that client.
 *  * What a client may make us hold is bounded: one line of a request, and MAX_ANSWER_BYTES of answers it
 *    has not read.
 *  * The socket is only for the user who runs the process (mode 0600), and is removed when we close.
 */
import { chmodSync, mkdirSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { dirname } from 'node:path';
import {
  type Answer,
  decodeRequest,
  encodeLine,
  MAX_ANSWER_BYTES,
  MAX_REQUEST_BYTES,
  type RpcErrorBody,
} from '../cli/protocol.ts';
import { LineFramer } from '../codec/line-framer.ts';
import { suggestion } from '../config/nearest.ts';
import { ConfigError, ParseError, VRouterError } from '../errors.ts';

export type Method = (params: unknown) => unknown;
export type Methods = Readonly<Record<string, Method>>;

const MAX_CLIENTS = 64;

function errorBody(error: unknown): RpcErrorBody {
  if (
    error instanceof VRouterError ||
    error instanceof ConfigError ||
    error instanceof ParseError
  ) {
    const at = error instanceof VRouterError && error.opIndex !== undefined;
    return {
      code: error.code,
      message: at ? `op ${error.opIndex}: ${error.message}` : error.message,
    };
  }
  return { code: 'INTERNAL', message: error instanceof Error ? error.message : String(error) };
}

/** A socket left by a process that died is removed; one that answers is someone's. */
export async function clearStale(path: string): Promise<void> {
  const alive = await new Promise<boolean>((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNREFUSED') rmSync(path, { force: true });
      resolve(false);
    });
  });
  if (alive) throw new VRouterError('BUSY', `${path}: another process serves this socket`);
}

/** Tells why, then hangs up, whether the other side reads on or not. */
function refuse(socket: Socket, error: RpcErrorBody): void {
  socket.on('error', () => socket.destroy());
  socket.resume();
  socket.end(encodeLine({ id: null, error }));
  socket.once('finish', () => socket.destroy());
}

export class RpcServer {
  readonly #server: Server;
  readonly #clients = new Set<Socket>();
  readonly #methods: Methods;
  readonly #onFault: (method: string, error: unknown) => void;
  readonly path: string;

  private constructor(
    path: string,
    methods: Methods,
    onFault: (method: string, error: unknown) => void,
  ) {
    this.path = path;
    this.#methods = methods;
    this.#onFault = onFault;
    this.#server = createServer((socket) => this.#accept(socket));
  }

  /** `onFault` hears of errors that are ours, not the client's. */
  static async listen(
    path: string,
    methods: Methods,
    onFault: (method: string, error: unknown) => void,
  ): Promise<RpcServer> {
    mkdirSync(dirname(path), { recursive: true });
    await clearStale(path);
    const server = new RpcServer(path, methods, onFault);
    await new Promise<void>((resolve, reject) => {
      server.#server.once('error', (error) =>
        reject(new VRouterError('PORT_FAILED', `${path}: ${error.message}`)),
      );
      server.#server.listen(path, () => {
        server.#server.removeAllListeners('error');
        resolve();
      });
    });
    chmodSync(path, 0o600);
    return server;
  }

  close(): Promise<void> {
    for (const client of this.#clients) client.destroy();
    return new Promise((resolve) => {
      this.#server.close(() => resolve());
    });
  }

  #accept(socket: Socket): void {
    if (this.#clients.size >= MAX_CLIENTS) {
      refuse(socket, { code: 'BUSY', message: `${MAX_CLIENTS} clients are connected already` });
      return;
    }
    this.#clients.add(socket);
    const lines = new LineFramer(MAX_REQUEST_BYTES);
    socket.on('close', () => this.#clients.delete(socket));
    socket.on('error', () => socket.destroy());
    const take = (chunk: Buffer) => {
      try {
        for (const line of lines.push(chunk)) void this.#serve(socket, line);
      } catch (error) {
        socket.off('data', take);
        refuse(socket, errorBody(error));
      }
    };
    socket.on('data', take);
  }

  async #serve(socket: Socket, line: string): Promise<void> {
    let id: number | null = null;
    let method = '';
    try {
      const request = decodeRequest(line);
      ({ id, method } = request);
      const result = await this.#call(method, request.params);
      this.#answer(socket, { id: request.id, result: result ?? null });
    } catch (error) {
      const body = errorBody(error);
      if (body.code === 'INTERNAL') this.#onFault(method, error);
      this.#answer(socket, { id, error: body });
    }
  }

  #call(method: string, params: unknown): unknown {
    if (!Object.hasOwn(this.#methods, method)) {
      const near = suggestion(method, Object.keys(this.#methods));
      throw new VRouterError('UNKNOWN_METHOD', `unknown method "${method}"${near}`);
    }
    return (this.#methods[method] as Method)(params);
  }

  #answer(socket: Socket, answer: Answer): void {
    if (socket.destroyed) return;
    let line = encodeLine(answer);
    if (line.length > MAX_ANSWER_BYTES) {
      const message = `the answer is longer than ${MAX_ANSWER_BYTES} bytes; ask for less (limit)`;
      line = encodeLine({ id: answer.id, error: { code: 'TOO_LARGE', message } });
    }
    if (socket.writableLength + line.length > 2 * MAX_ANSWER_BYTES) {
      // It asks and does not read.
      socket.destroy();
      return;
    }
    socket.write(line);
  }
}
