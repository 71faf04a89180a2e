/**
 * Values on the way between agent and forwarder: what the addon's methods take and give (numbers, text,
 * bytes, bigints, arrays of them, plain objects), each under one byte that says what it is. Native binding
 * checks what a value means; here it is only taken apart, and no bytes whatever make it do more than
 * throw: lengths are checked before they are used, depth and count have limits.
 */
import { Reader } from '../codec/reader.ts';
import { Writer } from '../codec/writer.ts';
import { VRouterError } from '../errors.ts';

export type Value =
  | undefined
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | Uint32Array
  | readonly Value[]
  | { readonly [key: string]: Value };

/** Arguments are two deep, answers three. */
const MAX_DEPTH = 8;
/** Items of one list or object; longer things are bytes. */
const MAX_ITEMS = 65_536;

/** The byte in front of each value. */
const TAG = {
  undefined: 0,
  false: 1,
  true: 2,
  number: 3,
  bigint: 4,
  text: 5,
  bytes: 6,
  words: 7,
  list: 8,
  object: 9,
} as const;

const text = new TextEncoder();
const textOf = new TextDecoder('utf-8', { fatal: true });

export function encodeValue(value: Value): Uint8Array {
  const writer = new Writer();
  put(writer, value, 0);
  return writer.bytes();
}

function putText(writer: Writer, value: string): void {
  const bytes = text.encode(value);
  writer.u32le(bytes.length);
  writer.put(bytes);
}

function put(writer: Writer, value: Value, depth: number): void {
  if (depth > MAX_DEPTH) throw new VRouterError('BAD_ARGUMENT', 'a value is nested too deep');
  switch (typeof value) {
    case 'undefined':
      writer.u8(TAG.undefined);
      return;
    case 'boolean':
      writer.u8(value ? TAG.true : TAG.false);
      return;
    case 'number': {
      writer.u8(TAG.number);
      const bytes = new Uint8Array(8);
      new DataView(bytes.buffer).setFloat64(0, value, true);
      writer.put(bytes);
      return;
    }
    case 'bigint':
      if (value < 0n || value >= 1n << 64n) {
        throw new VRouterError('BAD_ARGUMENT', 'a BigInt must be from 0 to 2^64 - 1');
      }
      writer.u8(TAG.bigint);
      writer.u64le(value);
      return;
    case 'string':
      writer.u8(TAG.text);
      putText(writer, value);
      return;
    case 'object':
      putObject(writer, value as Exclude<Value, undefined>, depth);
      return;
    default:
      throw new VRouterError('BAD_ARGUMENT', `a ${typeof value} cannot be sent`);
  }
}

function putObject(writer: Writer, value: unknown, depth: number): void {
  if (value === null) throw new VRouterError('BAD_ARGUMENT', 'null cannot be sent');
  if (value instanceof Uint8Array) {
    writer.u8(TAG.bytes);
    writer.u32le(value.length);
    writer.put(value);
    return;
  }
  if (value instanceof Uint32Array) {
    writer.u8(TAG.words);
    writer.u32le(value.length);
    for (const word of value) writer.u32le(word);
    return;
  }
  const items = Array.isArray(value) ? value : Object.entries(value as object);
  if (items.length > MAX_ITEMS)
    throw new VRouterError('TOO_LARGE', 'a list is too long to be sent');
  writer.u8(Array.isArray(value) ? TAG.list : TAG.object);
  writer.u32le(items.length);
  if (Array.isArray(value)) {
    for (const item of value) put(writer, item as Value, depth + 1);
    return;
  }
  for (const [key, item] of Object.entries(value as { [key: string]: Value })) {
    putText(writer, key);
    put(writer, item, depth + 1);
  }
}

/** Throws TRUNCATED or BAD_MESSAGE. Bytes in the result are views of `bytes`. */
export function decodeValue(bytes: Uint8Array): Value {
  const reader = new Reader(bytes);
  const value = take(reader, 0);
  if (reader.left > 0) throw new VRouterError('BAD_MESSAGE', `${reader.left} bytes after a value`);
  return value;
}

function takeText(reader: Reader): string {
  const bytes = reader.take(reader.u32le('length of text'), 'text');
  try {
    return textOf.decode(bytes);
  } catch {
    throw new VRouterError('BAD_MESSAGE', 'text is not UTF-8');
  }
}

function takeCount(reader: Reader): number {
  const count = reader.u32le('count');
  if (count > MAX_ITEMS) throw new VRouterError('BAD_MESSAGE', `${count} items are too many`);
  return count;
}

function take(reader: Reader, depth: number): Value {
  if (depth > MAX_DEPTH) throw new VRouterError('BAD_MESSAGE', 'a value is nested too deep');
  const tag = reader.u8('tag');
  switch (tag) {
    case TAG.undefined:
      return undefined;
    case TAG.false:
      return false;
    case TAG.true:
      return true;
    case TAG.number: {
      const bytes = reader.take(8, 'number');
      return new DataView(bytes.buffer, bytes.byteOffset, 8).getFloat64(0, true);
    }
    case TAG.bigint:
      return reader.u64le('bigint');
    case TAG.text:
      return takeText(reader);
    case TAG.bytes:
      return reader.take(reader.u32le('length of bytes'), 'bytes');
    case TAG.words:
      return takeWords(reader);
    case TAG.list:
      return Array.from({ length: takeCount(reader) }, () => take(reader, depth + 1));
    case TAG.object:
      // fromEntries defines properties: a key `__proto__` is a key like any other.
      return Object.fromEntries(
        Array.from({ length: takeCount(reader) }, () => [
          takeText(reader),
          take(reader, depth + 1),
        ]),
      ) as { [key: string]: Value };
    default:
      throw new VRouterError('BAD_MESSAGE', `there is no value with tag ${tag}`);
  }
}

function takeWords(reader: Reader): Uint32Array {
  const count = reader.u32le('count of words');
  const bytes = reader.take(count * 4, 'words');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return Uint32Array.from({ length: count }, (_, i) => view.getUint32(i * 4, true));
}
