/**
 * Tables that say how a value is spelt as child elements: one row a member, read and written by it. What an
 * item has beyond its rows is skipped; a member that is missing or empty has its kind's `empty` value; every
 * member is written, lists only when there is something in them, as the ancestor's generated encoder does.
 * A value that is not what its row says is a ParseError naming the path: the item is refused, not the session.
 */
import { decimal, quoted } from '../addr/text.ts';
import { ParseError } from '../errors.ts';
import { childOf, element, type XmlElement } from './xml.ts';

export interface Kind<V> {
  readonly empty: V;
  /** Never given an empty text. */
  parse(text: string): V;
  format(value: V): string;
}

export interface Row<T> {
  read(from: XmlElement, into: T, at: string): void;
  write(value: T, into: XmlElement[]): void;
}

export type Rows<T> = readonly Row<T>[];

export function whole(max: number): Kind<number> {
  return {
    empty: 0,
    parse(text) {
      const value = decimal(text, max);
      if (value === undefined) {
        throw new ParseError(`${quoted(text)} is not a whole number up to ${max}`);
      }
      return value;
    },
    format: String,
  };
}

export function text(maxBytes: number): Kind<string> {
  return {
    empty: '',
    parse(given) {
      if (Buffer.byteLength(given) > maxBytes) throw new ParseError(`more than ${maxBytes} bytes`);
      return given;
    },
    format: (value) => value,
  };
}

export const flag: Kind<boolean> = {
  empty: false,
  parse(given) {
    if (given === 'true' || given === '1') return true;
    if (given === 'false' || given === '0') return false;
    throw new ParseError(`${quoted(given)} is neither true nor false`);
  },
  format: String,
};

/** `lo-hi`, or one number, which is both. */
export interface NumberRange {
  readonly low: number;
  readonly high: number;
}

export function range(max: number): Kind<NumberRange> {
  const one = whole(max);
  return {
    empty: { low: 0, high: 0 },
    parse(given) {
      const dash = given.indexOf('-');
      const low = one.parse(dash < 0 ? given : given.slice(0, dash));
      const high = dash < 0 ? low : one.parse(given.slice(dash + 1));
      if (high < low) throw new ParseError(`${quoted(given)} ends before it begins`);
      return { low, high };
    },
    format: ({ low, high }) => (low === high ? String(low) : `${low}-${high}`),
  };
}

/** The path, `at` and then `name`, is put together only if it is told. */
function parsed<V>(kind: Kind<V>, given: string, at: string, name: string, index?: number): V {
  const trimmed = given.trim();
  if (trimmed === '') return kind.empty;
  try {
    return kind.parse(trimmed);
  } catch (error) {
    if (!(error instanceof ParseError)) throw error;
    const where = index === undefined ? `${at}${name}` : `${at}${name}[${index}]`;
    throw new ParseError(`${where}: ${error.message}`);
  }
}

/** What a row of member `K` needs a value to have; a table's value has that and more. */
type With<K extends string, V> = { readonly [P in K]: V };

function set<K extends string, V>(into: With<K, V>, key: K, value: V): void {
  (into as Record<K, V>)[key] = value;
}

/** `<name>value</name>` */
export function scalar<K extends string, V>(name: string, key: K, kind: Kind<V>): Row<With<K, V>> {
  return {
    read: (from, into, at) =>
      set(into, key, parsed(kind, childOf(from, name)?.text ?? '', at, name)),
    write: (value, into) => {
      into.push(element(name, {}, kind.format(value[key])));
    },
  };
}

/** `<name a="…" b="…" />` */
export function attributes<K extends string, V>(
  name: string,
  key: K,
  kinds: { readonly [A in keyof V & string]: Kind<V[A]> },
): Row<With<K, V>> {
  const names = Object.keys(kinds) as (keyof V & string)[];
  return {
    read(from, into, at) {
      const given = childOf(from, name)?.attributes ?? {};
      const value = {} as V;
      for (const a of names) value[a] = parsed(kinds[a], given[a] ?? '', `${at}${name}@`, a);
      set(into, key, value);
    },
    write(value, into) {
      const texts = names.map((a) => [a, kinds[a].format(value[key][a])] as const);
      into.push(element(name, Object.fromEntries(texts)));
    },
  };
}

function entriesOf(
  from: XmlElement,
  name: string,
  entry: string,
  max: number,
  at: string,
): XmlElement[] {
  const found = (childOf(from, name)?.children ?? []).filter((child) => child.name === entry);
  if (found.length > max) throw new ParseError(`${at}${name}: more than ${max} entries`);
  return found;
}

/** `<name><entry>value</entry>…</name>`; empty entries are skipped. */
export function list<K extends string, V>(
  name: string,
  entry: string,
  key: K,
  kind: Kind<V>,
  max: number,
): Row<With<K, readonly V[]>> {
  return {
    read(from, into, at) {
      const found = entriesOf(from, name, entry, max, at).filter((e) => e.text.trim() !== '');
      set(
        into,
        key,
        found.map((e, i) => parsed(kind, e.text, at, name, i)),
      );
    },
    write(value, into) {
      const entries = value[key].map((v) => element(entry, {}, kind.format(v)));
      if (entries.length > 0) into.push(element(name, {}, entries));
    },
  };
}

/** `<name><entry>rows</entry>…</name>` */
export function listOf<K extends string, V>(
  name: string,
  entry: string,
  key: K,
  rows: Rows<V>,
  max: number,
): Row<With<K, readonly V[]>> {
  return {
    read(from, into, at) {
      const found = entriesOf(from, name, entry, max, at);
      set(
        into,
        key,
        found.map((e, i) => readRows(rows, e, `${at}${name}[${i}].`)),
      );
    },
    write(value, into) {
      const entries = value[key].map((v) => element(entry, {}, writeRows(rows, v)));
      if (entries.length > 0) into.push(element(name, {}, entries));
    },
  };
}

/** `<name>rows</name>` */
export function nested<K extends string, V>(name: string, key: K, rows: Rows<V>): Row<With<K, V>> {
  return {
    read: (from, into, at) =>
      set(into, key, readRows(rows, childOf(from, name) ?? element(name), `${at}${name}.`)),
    write: (value, into) => {
      into.push(element(name, {}, writeRows(rows, value[key])));
    },
  };
}

export function readRows<T>(rows: Rows<T>, from: XmlElement, at: string): T {
  const value = {} as T;
  for (const row of rows) row.read(from, value, at);
  return value;
}

export function writeRows<T>(rows: Rows<T>, value: T): XmlElement[] {
  const written: XmlElement[] = [];
  for (const row of rows) row.write(value, written);
  return written;
}
