/**
 * How properties of configuration objects are spelt, as data: kinds of values (text <-> value) and forms of elements
 * (one, repeated, with elements inside). The types of properties follow from the tables made of these (objects.ts);
 * XML is read and written by whoever knows XML (xmpp/config-message.ts).
 *
 * Every property may be missing. A value is kept as it was written where two spellings mean the same (protocols, 64-bit
 * numbers), so that what was read can be told on unchanged.
 */
import { isIp } from '../addr/ip.ts';
import { isMac } from '../addr/mac.ts';
import { decimal, quoted, refuse } from '../addr/text.ts';
import { ParseError } from '../errors.ts';

export interface Kind<V> {
  /** What an empty element says; without: nothing. */
  readonly empty?: V;
  /** Throws ParseError. Never given an empty text. */
  parse(text: string): V;
  format(value: V): string;
}

export interface Leaf<V> {
  readonly form: 'leaf';
  readonly element: string;
  readonly kind: Kind<V>;
}
/** The element repeated. */
export interface Leaves<V> {
  readonly form: 'leaves';
  readonly element: string;
  readonly kind: Kind<V>;
  readonly max: number;
}
export interface Group<F extends Fields> {
  readonly form: 'group';
  readonly element: string;
  readonly fields: F;
}
export interface Groups<F extends Fields> {
  readonly form: 'groups';
  readonly element: string;
  readonly fields: F;
  readonly max: number;
}
// biome-ignore lint/suspicious/noExplicitAny: values of all kinds stand in one table
export type Field = Leaf<any> | Leaves<any> | Group<any> | Groups<any>;
export type Fields = { readonly [key: string]: Field };

export type ValueOf<F> =
  F extends Leaf<infer V>
    ? V
    : F extends Leaves<infer V>
      ? readonly V[]
      : F extends Group<infer G>
        ? ValuesOf<G>
        : F extends Groups<infer G>
          ? readonly ValuesOf<G>[]
          : never;
export type ValuesOf<F> = { readonly [K in keyof F]?: ValueOf<F[K]> };

export const leaf = <V>(element: string, kind: Kind<V>): Leaf<V> => ({
  form: 'leaf',
  element,
  kind,
});
export const leaves = <V>(element: string, kind: Kind<V>, max: number): Leaves<V> => ({
  form: 'leaves',
  element,
  kind,
  max,
});
export const group = <const F extends Fields>(element: string, fields: F): Group<F> => ({
  form: 'group',
  element,
  fields,
});
export const groups = <const F extends Fields>(
  element: string,
  fields: F,
  max: number,
): Groups<F> => ({ form: 'groups', element, fields, max });

/** A text that is kept as it is, if it is one. */
function kept(what: string, is: (given: string) => boolean): Kind<string> {
  return {
    parse(given) {
      if (!is(given)) throw new ParseError(`${quoted(given)} is not ${what}`);
      return given;
    },
    format: (value) => value,
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

export function whole(max: number): Kind<number> {
  return {
    parse: (given) =>
      decimal(given, max) ?? refuse(`a whole number up to ${max}`, given, 'digits are needed'),
    format: String,
  };
}

/** The schema has -1 for "any". */
export const port: Kind<number> = {
  parse: (given) => (given === '-1' ? -1 : whole(65535).parse(given)),
  format: String,
};

export const flag: Kind<boolean> = {
  parse(given) {
    if (given === 'true' || given === '1') return true;
    if (given === 'false' || given === '0') return false;
    throw new ParseError(`${quoted(given)} is neither true nor false`);
  },
  format: String,
};

export const ip = kept('an IP address', isIp);
export const mac = kept('a MAC address', isMac);

/** Larger than a number of this language can be; its decimal digits. */
export const long = kept(
  'a whole number of 64 bits',
  (given) => /^(0|[1-9]\d{0,19})$/.test(given) && BigInt(given) < 1n << 64n,
);

export function choice<const W extends string>(words: readonly W[]): Kind<W> {
  return kept(`one of ${words.join(', ')}`, (given) =>
    words.includes(given as W),
  ) as unknown as Kind<W>;
}

const PROTOCOLS: Readonly<Record<string, number>> = {
  icmp: 1,
  tcp: 6,
  udp: 17,
  icmp6: 58,
  sctp: 132,
};

/** A protocol's number; undefined: any. Throws ParseError. */
export function protocolNumber(given: string): number | undefined {
  const name = given.toLowerCase();
  if (name === 'any') return undefined;
  if (Object.hasOwn(PROTOCOLS, name)) return PROTOCOLS[name];
  return decimal(name, 255) ?? refuse('a protocol', given, 'a name or a number up to 255');
}

export const protocol: Kind<string> = {
  parse(given) {
    protocolNumber(given);
    return given;
  },
  format: (value) => value,
};
