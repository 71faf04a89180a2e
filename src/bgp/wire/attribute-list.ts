/**
 * The path attributes of one UPDATE, as a list of codes and values (RFC 4271 §4.3, RFC 7606): what each says, and findings.
 * Those beside the MP ones are looked up by their bytes first, as they are the same in message after message;
 * the answer is the same object then, so that who keeps attributes once need not compare them.
 * Invariant: what is looked up had no finding when it was read.
 */

import type { VRouterError } from '../../errors.ts';
import { AS_TRANS, mergeAs4Path } from './as-path.ts';
import {
  ATTRIBUTES,
  type AttributeName,
  type Attributes,
  attributeOf,
  FIXED_FLAGS,
  FLAG,
  rowOf,
  type UnknownAttribute,
  type WireAttributes,
  type WireOptions,
} from './attributes.ts';
import { hexOf, latin1Of, NetReader } from './bytes.ts';
import { type Consequence, type Findings, isMalformed, Malformed } from './finding.ts';

/** Of the UPDATE error's subcodes (RFC 4271 §6.3). */
export const SUBCODE = {
  attributeList: 1,
  unrecognized: 2,
  flags: 4,
  optional: 9,
  network: 10,
} as const;
const MP_CODES: ReadonlySet<number> = new Set([ATTRIBUTES.mpReach.code, ATTRIBUTES.mpUnreach.code]);

/** Attributes but for the MP ones that were read before and had nothing wrong: kept with the session's options. */
interface KnownAttributes {
  readonly raw: Omit<RawAttributes, 'from'>;
  /** The same object for all routes, so that who interns them need not look. */
  attributes: Attributes | undefined;
}
const MAX_KNOWN = 1024;
const knownOf = new WeakMap<WireOptions, Map<string, KnownAttributes>>();

export interface RawAttributes {
  /** Where all but the MP ones come from. */
  readonly from?: KnownAttributes;
  readonly known: { -readonly [N in keyof WireAttributes]: WireAttributes[N] };
  readonly unknown: UnknownAttribute[];
  readonly partial: number[];
  /** Every code that was there, malformed or not. */
  readonly seen: Set<number>;
}

/** Many speakers send a message a route, each with the same attributes: those beside the MP ones are read once. */
export function readAttributes(
  reader: NetReader,
  options: WireOptions,
  findings: Findings,
): RawAttributes {
  const bytes = reader.rest('attributes');
  const cut = cutOutMp(bytes);
  let all = knownOf.get(options);
  if (all === undefined) {
    all = new Map();
    knownOf.set(options, all);
  }
  const from = cut === undefined ? undefined : all.get(cut.key);
  if (cut !== undefined && from !== undefined) {
    const { known, unknown, partial, seen } = from.raw;
    const raw = { known: { ...known }, unknown, partial, seen: new Set(seen), from };
    for (const part of cut.mp) readList(raw, new NetReader(part), options, findings);
    return raw;
  }
  const raw: RawAttributes = { known: {}, unknown: [], partial: [], seen: new Set() };
  readList(raw, new NetReader(bytes), options, findings);
  if (cut === undefined || findings.strongest !== undefined) return raw;
  const { mpReach: _, mpUnreach: __, ...known } = raw.known;
  const seen = new Set([...raw.seen].filter((code) => !MP_CODES.has(code)));
  if (all.size === MAX_KNOWN) all.clear();
  const kept = { raw: { ...raw, known, seen }, attributes: undefined };
  all.set(cut.key, kept);
  return { ...raw, from: kept };
}

/** The MP attributes, and all others' bytes as a key; undefined where this is no list of attributes. */
function cutOutMp(bytes: Uint8Array): { mp: Uint8Array[]; key: string } | undefined {
  const mp: Uint8Array[] = [];
  let [key, from] = ['', 0];
  for (let at = 0; at < bytes.length; ) {
    const long = ((bytes[at] as number) & FLAG.extended) !== 0;
    const head = long ? 4 : 3;
    if (at + head > bytes.length) return undefined;
    const [high, low] = [bytes[at + 2] as number, bytes[at + 3] as number];
    const end = at + head + (long ? (high << 8) | low : high);
    if (end > bytes.length) return undefined;
    if (MP_CODES.has(bytes[at + 1] as number)) {
      key += latin1Of(bytes.subarray(from, at));
      mp.push(bytes.subarray(at, end));
      from = end;
    }
    at = end;
  }
  return { mp, key: key + latin1Of(bytes.subarray(from)) };
}

function readList(
  raw: RawAttributes,
  reader: NetReader,
  options: WireOptions,
  findings: Findings,
): void {
  while (reader.left > 0) {
    let [flags, code, value]: [number, number, NetReader] = [0, 0, reader];
    try {
      flags = reader.u8('attribute flags');
      code = reader.u8('attribute code');
      const extended = (flags & FLAG.extended) !== 0;
      const length = extended ? reader.u16('attribute length') : reader.u8('attribute length');
      value = reader.part(length, `attribute ${code}`);
    } catch (error) {
      if (!isMalformed(error)) throw error;
      // RFC 7606 §4: where the routes begin is known all the same.
      findings.add({ consequence: 'treat-as-withdraw', message: error.message, attribute: code });
      return;
    }
    readAttribute(raw, flags, code, value, options, findings);
  }
}

function readAttribute(
  raw: RawAttributes,
  flags: number,
  code: number,
  value: NetReader,
  options: WireOptions,
  findings: Findings,
): void {
  const add = (consequence: Consequence, message: string) =>
    findings.add({ consequence, message: `attribute ${code}: ${message}`, attribute: code });
  if (raw.seen.has(code)) {
    // RFC 7606 §3 g: of two with routes nobody knows which counts.
    if (MP_CODES.has(code)) {
      findings.reset(SUBCODE.attributeList, `attribute ${code} twice`, undefined, code);
    } else add('attribute-discard', 'is there twice');
    return;
  }
  raw.seen.add(code);
  const name = attributeOf(code);
  if (name === undefined) {
    if ((flags & FLAG.optional) === 0) {
      const data = wholeAttribute(flags, code, value);
      findings.reset(SUBCODE.unrecognized, `attribute ${code} is well known elsewhere`, data, code);
    } else if ((flags & FLAG.transitive) !== 0) {
      raw.unknown.push({ code, value: hexOf(value.rest('value')) });
    }
    return;
  }
  const row = rowOf(name);
  if ((flags & FIXED_FLAGS) !== row.flags) {
    if (MP_CODES.has(code)) {
      const data = wholeAttribute(flags, code, value);
      findings.reset(SUBCODE.flags, `attribute ${code}: flags ${flags}`, data, code);
    } else add(row.wrongFlags ?? 'treat-as-withdraw', `flags ${flags}`);
    return;
  }
  if (row.internal === true && options.external) {
    add('attribute-discard', 'from an external peer');
    return;
  }
  try {
    const read = row.read(value, options);
    if (value.left > 0) throw new Malformed(`${value.left} bytes too many`);
    (raw.known as Record<AttributeName, unknown>)[name] = read;
    const keepsPartial = (row.flags & FIXED_FLAGS) === FIXED_FLAGS;
    if (keepsPartial && (flags & FLAG.partial) !== 0) raw.partial.push(code);
  } catch (error) {
    if (!isMalformed(error)) throw error;
    refuseValue(error, code, row.malformed, findings);
  }
}

function refuseValue(
  error: VRouterError,
  code: number,
  usual: Consequence,
  findings: Findings,
): void {
  const { consequence = usual, family } =
    error instanceof Malformed ? error : { family: undefined };
  const message = `attribute ${code}: ${error.message}`;
  if (consequence === 'session-reset') {
    findings.reset(SUBCODE.optional, message, undefined, code);
    return;
  }
  const named = family === undefined ? {} : { family };
  findings.add({ consequence, message, attribute: code, ...named });
}

/** As it was on the wire: what RFC 4271 §6.3 wants as a notification's data. */
function wholeAttribute(flags: number, code: number, value: NetReader): Uint8Array<ArrayBuffer> {
  const bytes = value.rest('value');
  const long = (flags & FLAG.extended) !== 0;
  const length = long ? [bytes.length >> 8, bytes.length & 0xff] : [bytes.length];
  return Uint8Array.from([flags, code, ...length, ...bytes]);
}

export function missing(code: number, raw: RawAttributes, findings: Findings): void {
  // One that was there and malformed has been told already.
  if (raw.seen.has(code)) return;
  const message = `attribute ${code} is missing`;
  findings.add({ consequence: 'treat-as-withdraw', message, attribute: code });
}

/** RFC 6793 §4.2.3: what an old speaker could not say in AS_PATH and AGGREGATOR. */
export function attributesOf(
  raw: RawAttributes,
  options: WireOptions,
  findings: Findings,
): Attributes {
  const { from } = raw;
  if (from?.attributes !== undefined) return from.attributes;
  const before = findings.count;
  const attributes = newAttributes(raw, options, findings);
  if (from !== undefined && findings.count === before) from.attributes = attributes;
  return attributes;
}

function newAttributes(raw: RawAttributes, options: WireOptions, findings: Findings): Attributes {
  const { mpReach, mpUnreach, nextHop, as4Path, as4Aggregator, ...known } = raw.known;
  const attributes: Attributes = {
    ...known,
    ...(raw.unknown.length === 0
      ? {}
      : { unknown: [...raw.unknown].sort((a, b) => a.code - b.code) }),
    ...(raw.partial.length === 0 ? {} : { partial: [...raw.partial].sort((a, b) => a - b) }),
  };
  if (options.as4) {
    for (const name of ['as4Path', 'as4Aggregator'] as const) {
      if (raw.known[name] === undefined) continue;
      const { code } = ATTRIBUTES[name];
      const message = `attribute ${code} from one who needs none`;
      findings.add({ consequence: 'attribute-discard', message, attribute: code });
    }
    return attributes;
  }
  const { aggregator, asPath } = attributes;
  // Somebody who knows two bytes only has aggregated: the long ones are of what was before.
  if (as4Aggregator !== undefined && aggregator !== undefined && aggregator.as !== AS_TRANS) {
    return attributes;
  }
  return {
    ...attributes,
    ...(as4Aggregator === undefined || aggregator === undefined
      ? {}
      : { aggregator: as4Aggregator }),
    ...(as4Path === undefined || asPath === undefined
      ? {}
      : { asPath: mergeAs4Path(asPath, as4Path) }),
  };
}
