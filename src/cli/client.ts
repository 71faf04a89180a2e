/**
 * Client: a running vRouter's socket, as calls. Used by every command that shows or changes something in
 * a running process, and by the demonstrations.
 */
import { readdirSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { LineFramer } from '../codec/line-framer.ts';
import {
  type Answer,
  DEFAULT_DIRECTORY,
  decodeAnswer,
  encodeLine,
  MAX_ANSWER_BYTES,
  type Page,
  RpcError,
} from './protocol.ts';

interface Waiting {
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: Error) => void;
  readonly timer: NodeJS.Timeout;
}

const DEFAULT_TIMEOUT_MS = 30_000;

export class Client {
  readonly path: string;
  readonly #socket: Socket;
  readonly #waiting = new Map<number, Waiting>();
  readonly #lines = new LineFramer(MAX_ANSWER_BYTES);
  #nextId = 1;
  #closed: Error | undefined;

  private constructor(path: string, socket: Socket) {
    this.path = path;
    this.#socket = socket;
    socket.on('data', (chunk) => {
      try {
        for (const line of this.#lines.push(chunk)) this.#answer(decodeAnswer(line));
      } catch (error) {
        this.#end(new RpcError('BAD_ANSWER', `${path}: ${(error as Error).message}`));
      }
    });
    socket.on('error', (error) => this.#end(new RpcError('LOST', `${path}: ${error.message}`)));
    socket.on('close', () => this.#end(new RpcError('LOST', `${path}: the other side closed`)));
  }

  static connect(path: string): Promise<Client> {
    return new Promise((resolve, reject) => {
      const socket = connect(path);
      socket.once('error', (error: NodeJS.ErrnoException) => {
        const why: Record<string, string> = {
          ENOENT: 'there is no such socket; is `vrouter node` running?',
          ECONNREFUSED: 'no one listens; the vrouter that made it is gone',
          EACCES: 'permission denied',
        };
        reject(new RpcError('NO_CONNECTION', `${path}: ${why[error.code ?? ''] ?? error.message}`));
      });
      socket.once('connect', () => {
        socket.removeAllListeners('error');
        resolve(new Client(path, socket));
      });
    });
  }

  /** `T` is what the method answers (views.ts); both ends are of one build. */
  call<T>(method: string, params: unknown = {}, timeoutMs = DEFAULT_TIMEOUT_MS): Promise<T> {
    if (this.#closed !== undefined) return Promise.reject(this.#closed);
    const id = this.#nextId++;
    return new Promise<T>((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(id);
        reject(new RpcError('TIMEOUT', `${this.path}: no answer to ${method} in ${timeoutMs} ms`));
      }, timeoutMs);
      this.#waiting.set(id, { resolve: (result) => resolve(result as T), reject, timer });
      this.#socket.write(encodeLine({ id, method, params }));
    });
  }

  /** All pages of a list. */
  async all<T>(method: string, params: Record<string, unknown> = {}): Promise<T[]> {
    const items: T[] = [];
    for (let after: number | null = 0; after !== null; ) {
      const page: Page<T> = await this.call<Page<T>>(method, { ...params, after });
      for (const item of page.items) items.push(item);
      after = page.next;
    }
    return items;
  }

  close(): void {
    this.#end(new RpcError('LOST', `${this.path}: closed`));
  }

  #answer(answer: Answer): void {
    const waiting = answer.id === null ? undefined : this.#waiting.get(answer.id);
    if (waiting === undefined) {
      // Not an answer to one request: the other side refuses the connection as a whole.
      if ('error' in answer) this.#end(new RpcError(answer.error.code, answer.error.message));
      return;
    }
    this.#waiting.delete(answer.id as number);
    clearTimeout(waiting.timer);
    if ('error' in answer) waiting.reject(new RpcError(answer.error.code, answer.error.message));
    else waiting.resolve(answer.result);
  }

  #end(error: Error): void {
    if (this.#closed !== undefined) return;
    this.#closed = error;
    this.#socket.destroy();
    for (const { reject, timer } of this.#waiting.values()) {
      clearTimeout(timer);
      reject(error);
    }
    this.#waiting.clear();
  }
}

/** Of an environment variable; '' is as good as none. */
const saidBy = (env: NodeJS.ProcessEnv) => env['VROUTER_SOCK'] || undefined;

function socketNames(directory: string): string[] {
  try {
    return readdirSync(directory)
      .filter((entry) => entry.endsWith('.sock'))
      .sort();
  } catch {
    return []; // no directory: no vrouter has run here
  }
}

/** Those that are named, else VROUTER_SOCK, else every socket there is in the usual place. */
export function findSockets(
  option: readonly string[] | undefined,
  env: NodeJS.ProcessEnv,
  directory = DEFAULT_DIRECTORY,
): string[] {
  if (option !== undefined && option.length > 0) return [...option];
  const said = saidBy(env);
  if (said !== undefined) return [said];
  const names = socketNames(directory);
  if (names.length === 0)
    throw new RpcError('NO_CONNECTION', `${directory} has no socket; name one with --sock`);
  return names.map((entry) => `${directory}/${entry}`);
}

/** `--sock`, else VROUTER_SOCK, else the one socket there is in the usual place. */
export function findSocket(
  option: string | undefined,
  env: NodeJS.ProcessEnv,
  directory = DEFAULT_DIRECTORY,
): string {
  const said = option || saidBy(env);
  if (said !== undefined) return said;
  const names = socketNames(directory);
  const [only] = names;
  if (only !== undefined && names.length === 1) return `${directory}/${only}`;
  const found = names.length === 0 ? 'has no socket' : `has several: ${names.join(', ')}`;
  throw new RpcError(
    'NO_CONNECTION',
    `which vrouter? ${directory} ${found}; name one with --sock or VROUTER_SOCK`,
  );
}
