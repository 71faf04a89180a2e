/**
 * RouteSource over a stream: one JSON object a line, so that agent processes share one exchange over a
 * Unix socket.
 *
 *   agent -> exchange   {"type":"hello","version":1,"name":…}            first, once; "restart":ms if wanted
 *                       {"type":"subscribe","instance":…,"id":…}  {"type":"unsubscribe","instance":…}
 *                       {"type":"publish","route":{…}}            {"type":"withdraw","key":{…}}
 *   exchange -> agent   {"type":"welcome","version":1}                   answers hello
 *                       {"type":"updates","updates":[…]}
 *   both                {"type":"error","code":…,"message":…}            last, then the stream ends
 *
 * Anything else ends the session with an error that names what is wrong; the other sessions go on.
 * This file is the codec: lines <-> typed messages. Sessions are in serve.ts and connect.ts.
 */
import { ParseError } from '../errors.ts';
import { checkKey, checkName, checkRoute, checkUpdate, fieldsOf } from './check.ts';
import type { Route, RouteKey, RouteUpdate } from './route.ts';

export const WIRE_VERSION = 1;
/** A line holds at most one route of MAX_HOPS hops, or a batch of updates cut below this. */
export const MAX_LINE_BYTES = 1 << 20;
const BATCH_CHARACTERS = 1 << 16;
const MAX_BATCH = 4096;
/** RFC 4724 gives the restart time 12 bits of seconds; what is here runs on one machine. */
const MAX_RESTART_MS = 600_000;
const MAX_INSTANCE_ID = 0xffffffff;

export type AgentMessage =
  | {
      readonly type: 'hello';
      readonly version: number;
      readonly name: string;
      /**
       * The agent's packets go on without it: when its stream is lost, what it has published stays so many
       * ms for it to come back, and as long again for it to publish it again (after RFC 4724).
       */
      readonly restart?: number;
    }
  | { readonly type: 'subscribe'; readonly instance: string; readonly id: number }
  | { readonly type: 'unsubscribe'; readonly instance: string }
  | { readonly type: 'publish'; readonly route: Route }
  | { readonly type: 'withdraw'; readonly key: RouteKey };

export type ErrorMessage = {
  readonly type: 'error';
  readonly code: string;
  readonly message: string;
};

export type ExchangeMessage =
  | { readonly type: 'welcome'; readonly version: number }
  | { readonly type: 'updates'; readonly updates: readonly RouteUpdate[] };

export function encodeLine(message: AgentMessage | ExchangeMessage | ErrorMessage): string {
  return `${JSON.stringify(message)}\n`;
}

/** Lines for any number of updates, none near the limit unless a single route is. */
export function* encodeUpdates(updates: readonly RouteUpdate[]): Generator<string> {
  let batch: string[] = [];
  let size = 0;
  const line = () => `{"type":"updates","updates":[${batch.join(',')}]}\n`;
  for (const update of updates) {
    const text = JSON.stringify(update);
    if (batch.length > 0 && (size + text.length > BATCH_CHARACTERS || batch.length === MAX_BATCH)) {
      yield line();
      batch = [];
      size = 0;
    }
    batch.push(text);
    size += text.length;
  }
  if (batch.length > 0) yield line();
}

function parseLine(line: string): { readonly type: string; readonly value: unknown } {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    throw new ParseError('line: not JSON');
  }
  if (typeof value !== 'object' || value === null) throw new ParseError('line: not an object');
  const type = (value as { type?: unknown }).type;
  if (typeof type !== 'string') throw new ParseError('type: not a text');
  return { type, value };
}

function unknownType(type: string): never {
  throw new ParseError(`type: no message is called ${JSON.stringify(type.slice(0, 64))}`);
}

function number(value: unknown, at: string): number {
  if (
    typeof value !== 'number' ||
    !Number.isInteger(value) ||
    value < 0 ||
    value > MAX_INSTANCE_ID
  ) {
    throw new ParseError(`${at}: must be a whole number from 0 to ${MAX_INSTANCE_ID}`);
  }
  return value;
}

function decodeError(value: unknown): ErrorMessage {
  const fields = fieldsOf(value, 'error', ['type', 'code', 'message']);
  if (typeof fields.code !== 'string' || typeof fields.message !== 'string') {
    throw new ParseError('error: code and message must be texts');
  }
  return { type: 'error', code: fields.code.slice(0, 64), message: fields.message.slice(0, 1024) };
}

export function decodeAgentLine(line: string): AgentMessage | ErrorMessage {
  const { type, value } = parseLine(line);
  switch (type) {
    case 'hello': {
      const fields = fieldsOf(value, type, ['type', 'version', 'name', 'restart']);
      const restart =
        fields.restart === undefined ? undefined : number(fields.restart, 'hello.restart');
      return {
        type,
        version: number(fields.version, 'hello.version'),
        name: checkName(fields.name, 'hello.name'),
        ...(restart === undefined ? {} : { restart: Math.min(restart, MAX_RESTART_MS) }),
      };
    }
    case 'subscribe': {
      const fields = fieldsOf(value, type, ['type', 'instance', 'id']);
      return {
        type,
        instance: checkName(fields.instance, 'subscribe.instance'),
        id: number(fields.id, 'subscribe.id'),
      };
    }
    case 'unsubscribe': {
      const fields = fieldsOf(value, type, ['type', 'instance']);
      return { type, instance: checkName(fields.instance, 'unsubscribe.instance') };
    }
    case 'publish':
      return {
        type,
        route: checkRoute(fieldsOf(value, type, ['type', 'route']).route, 'publish.route'),
      };
    case 'withdraw':
      return { type, key: checkKey(fieldsOf(value, type, ['type', 'key']).key, 'withdraw.key') };
    case 'error':
      return decodeError(value);
    default:
      return unknownType(type);
  }
}

export function decodeExchangeLine(line: string): ExchangeMessage | ErrorMessage {
  const { type, value } = parseLine(line);
  switch (type) {
    case 'welcome': {
      const fields = fieldsOf(value, type, ['type', 'version']);
      return { type, version: number(fields.version, 'welcome.version') };
    }
    case 'updates': {
      const { updates } = fieldsOf(value, type, ['type', 'updates']);
      if (!Array.isArray(updates)) throw new ParseError('updates: not a list');
      if (updates.length > MAX_BATCH)
        throw new ParseError(`updates: more than ${MAX_BATCH} entries`);
      return { type, updates: updates.map((u, i) => checkUpdate(u, `updates[${i}]`)) };
    }
    case 'error':
      return decodeError(value);
    default:
      return unknownType(type);
  }
}
