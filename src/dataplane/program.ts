/**
 * Programs: ops as objects <-> the bytes the native core takes (native/program/program.h).
 * One generic codec, driven by layout.ts and compiled once per op: no op is written out by hand here.
 *
 * Defaults: a field with a default in layout.ts may be left out. Numbers are then 0, except labels (0xfffff, no label),
 * `weight` 1, port ranges 0..65535 (source NAT 1024..65535), a vif's `port` 0xffffffff (none) and `mtu` 1500; texts
 * (addresses, prefixes, MACs, names) are '' = none, lists are empty. References and keys are never defaulted.
 *
 * Checked here: field present, type, range, text. Everything that needs the tables is the core's to check.
 */
import { formatIp, type IpFamily, ipBytes, readIp } from '../addr/ip.ts';
import { formatMac, MAC_ZERO, parseMac } from '../addr/mac.ts';
import { formatPrefix, readPrefix } from '../addr/prefix.ts';
import { Reader } from '../codec/reader.ts';
import { Writer } from '../codec/writer.ts';
import { ParseError, VRouterError } from '../errors.ts';
import type { FullOp, Op } from './api.ts';
import { layout, type OpName, type StructName } from './layout.ts';

const MAGIC = 0x31505256; // "VRP1"
const OP_HEADER = 8;
const MAX_NAME = layout.limits.maxNameLength;

interface FieldLayout {
  readonly name: string;
  readonly type?: string;
  readonly list?: string;
  readonly default?: number | string;
}

type Bag = Record<string, unknown>;

interface Field {
  readonly name: string;
  readonly key: string;
  readonly fallback: unknown;
  readonly encode: (out: Writer, value: unknown) => void;
  readonly decode: (from: Reader, what: string) => unknown;
}

/** A value that is not what its field takes; `path` grows from the inside out as it is thrown upwards. */
class FieldProblem extends Error {
  path: string;

  constructor(path: string, message: string) {
    super(message);
    this.path = path;
  }
}

function refuse(message: string): never {
  throw new FieldProblem('', message);
}

function shown(value: unknown): string {
  if (typeof value === 'bigint') return `${value}n`;
  const text = typeof value === 'string' ? JSON.stringify(value) : String(value);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}

function integer(
  max: number,
  write: (out: Writer, value: number) => void,
  read: (from: Reader, what: string) => number,
): Pick<Field, 'encode' | 'decode'> {
  return {
    encode(out, value) {
      if (typeof value !== 'number' || !(value >= 0 && value <= max) || !Number.isInteger(value)) {
        refuse(`must be an integer from 0 to ${max}, not ${shown(value)}`);
      }
      write(out, value);
    },
    decode: read,
  };
}

function text(value: unknown): string {
  if (typeof value !== 'string') refuse(`must be a string, not ${shown(value)}`);
  return value;
}

const utf8 = new TextEncoder();
const fromUtf8 = new TextDecoder('utf-8', { fatal: true });
const NO_MAC = new Uint8Array(6);
const NO_PREFIX = { family: 0, length: 0 } as const;
const scratch = new Uint8Array(16);

function familyOf(from: Reader, what: string): IpFamily | 0 {
  const family = from.u8(what);
  if (family !== 0 && family !== 4 && family !== 6) {
    throw new VRouterError('BAD_VALUE', `${what}: ${family} is no address family`);
  }
  return family;
}

const SCALARS: Readonly<Record<string, Pick<Field, 'encode' | 'decode'>>> = {
  u8: integer(
    0xff,
    (out, v) => out.u8(v),
    (from, what) => from.u8(what),
  ),
  u16: integer(
    0xffff,
    (out, v) => out.u16le(v),
    (from, what) => from.u16le(what),
  ),
  u32: integer(
    0xffffffff,
    (out, v) => out.u32le(v),
    (from, what) => from.u32le(what),
  ),
  u64: {
    encode(out, value) {
      if (typeof value !== 'bigint' || BigInt.asUintN(64, value) !== value) {
        refuse(`must be a bigint from 0 to 2^64 - 1, not ${shown(value)}`);
      }
      out.u64le(value);
    },
    decode: (from, what) => from.u64le(what),
  },
  mac: {
    encode(out, value) {
      out.put(value === '' ? NO_MAC : parseMac(text(value)));
    },
    decode(from, what) {
      const mac = formatMac(from.take(6, what));
      return mac === MAC_ZERO ? '' : mac;
    },
  },
  address: {
    encode(out, value) {
      const family = value === '' ? 0 : readIp(text(value), scratch);
      out.u8(family);
      out.putPadded(scratch, 16, family === 0 ? 0 : ipBytes(family));
    },
    decode(from, what) {
      const family = familyOf(from, what);
      const bytes = from.take(16, what);
      return family === 0 ? '' : formatIp(family, bytes.subarray(0, family === 4 ? 4 : 16));
    },
  },
  prefix: {
    encode(out, value) {
      const { family, length } = value === '' ? NO_PREFIX : readPrefix(text(value), scratch);
      out.u8(family);
      out.u8(length);
      out.putPadded(scratch, 16, family === 0 ? 0 : ipBytes(family));
    },
    decode(from, what) {
      const family = familyOf(from, what);
      const length = from.u8(what);
      const bytes = from.take(16, what);
      if (family === 0) return '';
      if (length > (family === 4 ? 32 : 128)) {
        throw new VRouterError(
          'BAD_VALUE',
          `${what}: a length of ${length} is beyond IPv${family}`,
        );
      }
      return formatPrefix({ family, length, bytes: bytes.subarray(0, family === 4 ? 4 : 16) });
    },
  },
  name: {
    encode(out, value) {
      const bytes = utf8.encode(text(value));
      if (bytes.length > MAX_NAME) refuse(`must be at most ${MAX_NAME} bytes of UTF-8`);
      out.u16le(bytes.length);
      out.put(bytes);
    },
    decode(from, what) {
      const bytes = from.take(from.u16le(what), what);
      try {
        return fromUtf8.decode(bytes);
      } catch {
        throw new VRouterError('BAD_VALUE', `${what}: not UTF-8`);
      }
    },
  },
};

function camel(name: string): string {
  return name.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase());
}

/** The fields of an op or a struct, ready to run. */
class Codec {
  readonly #fields: readonly Field[];
  readonly #keys: ReadonlySet<string>;

  constructor(fields: readonly FieldLayout[], extraKeys: readonly string[] = []) {
    this.#fields = fields.map((field) => {
      const way = field.list === undefined ? scalar(field.type) : list(field.list as StructName);
      const fallback = field.list === undefined ? field.default : [];
      return { name: field.name, key: camel(field.name), fallback, ...way };
    });
    this.#keys = new Set([...extraKeys, ...this.#fields.map((f) => f.key)]);
  }

  encode(out: Writer, value: unknown): void {
    if (typeof value !== 'object' || value === null)
      refuse(`must be an object, not ${shown(value)}`);
    const bag = value as Bag;
    let at = '';
    try {
      for (const field of this.#fields) {
        at = field.name;
        const given = bag[field.key] ?? field.fallback;
        if (given === undefined) refuse('is missing');
        field.encode(out, given);
      }
      for (const key in bag) {
        if (this.#keys.has(key)) continue;
        at = key;
        refuse('there is no such field');
      }
    } catch (error) {
      throw placed(error, at);
    }
  }

  decode(from: Reader, into: Bag, where: string): void {
    for (const field of this.#fields) into[field.key] = field.decode(from, `${where}${field.name}`);
  }
}

function placed(error: unknown, at: string): unknown {
  if (error instanceof ParseError) return new FieldProblem(at, error.message);
  if (error instanceof FieldProblem) {
    const joint = error.path === '' || error.path.startsWith('[') ? '' : '.';
    error.path = `${at}${joint}${error.path}`;
  }
  return error;
}

function scalar(type: string | undefined): Pick<Field, 'encode' | 'decode'> {
  const way = SCALARS[type ?? ''];
  if (way === undefined) throw new TypeError(`layout.ts has a field of unknown type ${type}`);
  return way;
}

function list(struct: StructName): Pick<Field, 'encode' | 'decode'> {
  const codec = new Codec(layout.structs[struct].fields);
  return {
    encode(out, value) {
      if (!Array.isArray(value)) refuse(`must be a list, not ${shown(value)}`);
      out.u32le(value.length);
      for (let i = 0; i < value.length; i++) {
        try {
          codec.encode(out, value[i]);
        } catch (error) {
          throw placed(error, `[${i}]`);
        }
      }
    },
    decode(from, what) {
      const count = from.u32le(what);
      const out: Bag[] = [];
      for (let i = 0; i < count; i++) {
        const element: Bag = {};
        codec.decode(from, element, `${what}[${i}].`);
        out.push(element);
      }
      return out;
    },
  };
}

interface OpCodec {
  readonly name: OpName;
  readonly code: number;
  readonly codec: Codec;
}

const byName = new Map<string, OpCodec>();
const byCode = new Map<number, OpCodec>();
for (const [name, { code, fields }] of Object.entries(layout.ops)) {
  const entry = { name: name as OpName, code, codec: new Codec(fields, ['op']) };
  byName.set(name, entry);
  byCode.set(code, entry);
}

export function isOpName(name: string): name is OpName {
  return byName.has(name);
}

function encodeOp(out: Writer, op: Op, index: number): void {
  const entry = byName.get(op?.op);
  if (entry === undefined) {
    throw new VRouterError(
      'UNKNOWN_OP',
      `op ${index}: there is no op ${shown(op?.op)}`,
      index,
      'op',
    );
  }
  out.u16le(entry.code);
  out.u16le(0);
  const lengthAt = out.length;
  out.u32le(0);
  try {
    entry.codec.encode(out, op);
  } catch (error) {
    if (!(error instanceof FieldProblem)) throw error;
    const { path, message } = error;
    throw new VRouterError('BAD_VALUE', `op ${index} (${op.op}): ${path}: ${message}`, index, path);
  }
  out.patchU32le(lengthAt, out.length - lengthAt - 4);
}

/** The bytes of a Program. Throws VRouterError with the op's index, its name and the field at fault. */
export function encodeProgram(ops: readonly Op[]): Uint8Array<ArrayBuffer> {
  const out = new Writer(16 + ops.length * 64);
  out.u32le(MAGIC);
  out.u32le(ops.length);
  for (let i = 0; i < ops.length; i++) encodeOp(out, ops[i] as Op, i);
  return out.bytes();
}

/** The Program of ops that are encoded already, each with its header, as dump() gives them. */
export function programOf(opBytes: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const out = new Writer(opBytes.reduce((sum, bytes) => sum + bytes.length, 8));
  out.u32le(MAGIC);
  out.u32le(opBytes.reduce((sum, bytes) => sum + countOps(bytes), 0));
  for (const bytes of opBytes) out.put(bytes);
  return out.bytes();
}

function countOps(bytes: Uint8Array): number {
  const from = new Reader(bytes);
  let count = 0;
  for (; from.left > 0; count++) {
    from.take(OP_HEADER - 4, 'op header');
    from.take(from.u32le('op length'), 'op');
  }
  return count;
}

function decodeOp(from: Reader, index: number): FullOp {
  const code = from.u16le(`op ${index}: code`);
  const zero = from.u16le(`op ${index}: zero`);
  const length = from.u32le(`op ${index}: length`);
  const body = from.take(length, `op ${index}: body`);
  const entry = byCode.get(code);
  if (entry === undefined || zero !== 0) {
    throw new VRouterError('UNKNOWN_OP', `op ${index}: no op has code ${code}`, index);
  }
  const out: Bag = { op: entry.name };
  const inner = new Reader(body);
  entry.codec.decode(inner, out, '');
  if (inner.left > 0) {
    throw new VRouterError('BAD_LENGTH', `${inner.left} bytes behind its last field`);
  }
  return out as unknown as FullOp;
}

/** Ops that follow one another to the end of the bytes, as dump() gives them. */
export function decodeOps(bytes: Uint8Array): FullOp[] {
  const from = new Reader(bytes);
  const ops: FullOp[] = [];
  while (from.left > 0) ops.push(decodeAt(from, ops.length));
  return ops;
}

function decodeAt(from: Reader, index: number): FullOp {
  try {
    return decodeOp(from, index);
  } catch (error) {
    if (!(error instanceof VRouterError) || error.opIndex !== undefined) throw error;
    throw new VRouterError(error.code, `op ${index}: ${error.message}`, index);
  }
}

/** The inverse of encodeProgram, every field present. */
export function decodeProgram(bytes: Uint8Array): FullOp[] {
  const from = new Reader(bytes);
  const magic = from.u32le('magic');
  if (magic !== MAGIC) throw new VRouterError('BAD_MAGIC', 'not a Program: wrong magic or version');
  const count = from.u32le('op count');
  const ops: FullOp[] = [];
  while (ops.length < count) ops.push(decodeAt(from, ops.length));
  if (from.left > 0) {
    throw new VRouterError('BAD_LENGTH', `${from.left} bytes behind the last op`, count);
  }
  return ops;
}
