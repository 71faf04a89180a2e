/**
 * What the CLI and a running vRouter say to each other over a Unix socket: one JSON value per line,
 * requests {id, method, params}, answers {id, result} or {id, error: {code, message}}. Answers may come in
 * any order; ids are the client's.
 * Lines are bounded both ways, so neither side can make the other hold more.
 */
import { ParseError } from '../errors.ts';

export const MAX_REQUEST_BYTES = 1 << 20;
/** A page of flows is the largest answer; lists are paged (`after`, `limit`) well below this. */
export const MAX_ANSWER_BYTES = 64 << 20;
export const PAGE = 50_000;

export const DEFAULT_DIRECTORY = '/run/vrouter';

export interface Request {
  readonly id: number;
  readonly method: string;
  readonly params: unknown;
}

export interface RpcErrorBody {
  readonly code: string;
  readonly message: string;
}

export type Answer =
  | { readonly id: number; readonly result: unknown }
  | { readonly id: number | null; readonly error: RpcErrorBody };

/** Part of a list: `next` is the `after` of the page that follows, null at the end. */
export interface Page<T> {
  readonly items: readonly T[];
  readonly next: number | null;
}

/** An error the other side answered with. */
export class RpcError extends Error {
  override readonly name = 'RpcError';
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

export function encodeLine(value: Request | Answer): string {
  return `${JSON.stringify(value)}\n`;
}

function parsed(line: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    throw new ParseError('not a JSON value');
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new ParseError('not a JSON object');
  }
  return value as Record<string, unknown>;
}

export function decodeRequest(line: string): Request {
  const { id, method, params, ...rest } = parsed(line);
  if (typeof id !== 'number' || !Number.isSafeInteger(id) || id < 0) {
    throw new ParseError('id: a whole number is needed');
  }
  if (typeof method !== 'string' || method.length > 128) {
    throw new ParseError('method: a name of at most 128 characters is needed');
  }
  const unknown = Object.keys(rest)[0];
  if (unknown !== undefined) {
    throw new ParseError(`unknown key "${unknown.slice(0, 64)}" (known: id, method, params)`);
  }
  return { id, method, params };
}

export function decodeAnswer(line: string): Answer {
  const { id, result, error } = parsed(line);
  if (error !== undefined) {
    const { code, message } = error as Record<string, unknown>;
    if (typeof code !== 'string' || typeof message !== 'string') {
      throw new ParseError('error: code and message are needed');
    }
    return { id: typeof id === 'number' ? id : null, error: { code, message } };
  }
  if (typeof id !== 'number') throw new ParseError('id: a number is needed');
  return { id, result };
}
