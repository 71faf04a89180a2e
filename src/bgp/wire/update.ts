/**
 * UPDATE (RFC 4271 §4.3 and 6.3, RFC 4760, RFC 7606). Read: routes by family, their attributes, and findings whose
 * consequences are already in the result: a route treated as withdrawn stands among the withdrawn ones, one of a
 * family that is to be disabled stands nowhere, and nothing is left of an update that resets the session.
 * Written: one kind of routes a message, MP attributes first (RFC 7606 §5.1), the others by code; the same value
 * gives the same bytes.
 */
import { VRouterError } from '../../errors.ts';
import { AS_TRANS, MAX_AS16, needsAs4, withoutConfeds } from './as-path.ts';
import {
  attributesOf,
  missing,
  type RawAttributes,
  readAttributes,
  SUBCODE,
} from './attribute-list.ts';
import {
  ATTRIBUTE_NAMES,
  ATTRIBUTES,
  type Attributes,
  FIXED_FLAGS,
  FLAG,
  rowOf,
  type WireAttributes,
  type WireOptions,
  writeAttribute,
} from './attributes.ts';
import { bytesOf, NetReader, NetWriter, written } from './bytes.ts';
import {
  type NextHop,
  type NlriOf,
  type Routes,
  readRoutes,
  unfitNlri,
  writeNextHop,
  writeNlri,
} from './family.ts';
import { type FamilyName, familyNumbers } from './family-names.ts';
import { type Consequence, type Finding, Findings, isMalformed } from './finding.ts';
import type { Notification } from './notification.ts';

export type AnnouncedRoutes = Routes & { readonly nextHop: NextHop };

export interface Update {
  readonly withdrawn: readonly Routes[];
  readonly announced: readonly AnnouncedRoutes[];
  /** Of all that is announced. */
  readonly attributes: Attributes;
  /** All routes of this family have been sent (RFC 4724 §2). */
  readonly endOfRib?: FamilyName;
}

export interface ReadUpdate {
  readonly update: Update;
  /** At most MAX_FINDINGS. */
  readonly findings: readonly Finding[];
  /** The strongest one. */
  readonly consequence?: Consequence;
  /** To be sent: the consequence is session-reset. */
  readonly notification?: Notification;
}

const NOTHING: Update = { withdrawn: [], announced: [], attributes: {} };
const CLASSIC: FamilyName = 'ipv4-unicast';

export function readUpdate(body: Uint8Array, options: WireOptions): ReadUpdate {
  const findings = new Findings();
  const update = readBody(new NetReader(body), options, findings);
  const { list, strongest, notification } = findings;
  return {
    update: strongest === 'session-reset' ? NOTHING : update,
    findings: list,
    ...(strongest === undefined ? {} : { consequence: strongest }),
    ...(notification === undefined ? {} : { notification }),
  };
}

function readBody(reader: NetReader, options: WireOptions, findings: Findings): Update {
  if (reader.left < 4) {
    findings.reset(SUBCODE.attributeList, `an update of ${reader.left} bytes`);
    return NOTHING;
  }
  const withdrawnLength = reader.u16('withdrawn length');
  if (withdrawnLength + 2 > reader.left) {
    findings.reset(SUBCODE.attributeList, `${withdrawnLength} bytes of withdrawn routes`);
    return NOTHING;
  }
  const withdrawn = readClassic(reader.part(withdrawnLength, 'withdrawn'), true, options, findings);
  const attributesLength = reader.u16('attributes length');
  if (attributesLength > reader.left) {
    findings.reset(SUBCODE.attributeList, `${attributesLength} bytes of attributes`);
    return NOTHING;
  }
  const raw = readAttributes(reader.part(attributesLength, 'attributes'), options, findings);
  const empty = withdrawnLength + attributesLength + reader.left === 0;
  if (empty) return { ...NOTHING, endOfRib: CLASSIC };
  const announced = readClassic(reader, false, options, findings);
  if (findings.strongest === 'session-reset') return NOTHING;
  return assemble({ withdrawn, announced, raw }, options, findings);
}

/** The fields of RFC 4271; undefined where they are empty. Routes in them that cannot be read end the session. */
function readClassic(
  reader: NetReader,
  withdrawn: boolean,
  options: WireOptions,
  findings: Findings,
): Routes | undefined {
  if (reader.left === 0) return undefined;
  if (!options.families.has(CLASSIC)) {
    const message = `${CLASSIC} was not agreed on`;
    findings.add({ consequence: 'afi-safi-disable', message, family: CLASSIC });
    return undefined;
  }
  try {
    return readRoutes(reader, CLASSIC, withdrawn, options.addPath.has(CLASSIC));
  } catch (error) {
    if (!isMalformed(error)) throw error;
    const field = withdrawn ? 'withdrawn routes' : 'routes';
    findings.reset(SUBCODE.network, `${field}: ${error.message}`);
    return undefined;
  }
}

interface Parts {
  readonly withdrawn: Routes | undefined;
  readonly announced: Routes | undefined;
  readonly raw: RawAttributes;
}

function assemble(parts: Parts, options: WireOptions, findings: Findings): Update {
  const { raw } = parts;
  const { mpReach, mpUnreach, nextHop } = raw.known;
  const announced: AnnouncedRoutes[] = [];
  if (mpReach !== undefined) announced.push({ ...mpReach.routes, nextHop: mpReach.nextHop });
  if (parts.announced !== undefined) {
    if (nextHop !== undefined)
      announced.push({ ...parts.announced, nextHop: { address: nextHop } });
    else missing(ATTRIBUTES.nextHop.code, raw, findings);
  }
  const reaches = parts.announced !== undefined || raw.seen.has(ATTRIBUTES.mpReach.code);
  if (reaches) {
    if (raw.known.origin === undefined) missing(ATTRIBUTES.origin.code, raw, findings);
    if (raw.known.asPath === undefined) missing(ATTRIBUTES.asPath.code, raw, findings);
  }
  const attributes = attributesOf(raw, options, findings);
  // RFC 7606 §5.2: perhaps there were routes, and nobody can tell which to withdraw.
  if (!reaches && findings.has('treat-as-withdraw')) {
    findings.reset(SUBCODE.attributeList, 'attributes in error, and no routes to withdraw');
    return NOTHING;
  }
  const withdrawn = [parts.withdrawn, mpUnreach].filter((routes) => routes !== undefined);
  const only =
    raw.seen.size === 1 && parts.withdrawn === undefined && parts.announced === undefined;
  if (only && mpUnreach?.nlri.length === 0) return { ...NOTHING, endOfRib: mpUnreach.family };
  const held = withdrawn.filter((routes) => routes.nlri.length > 0);
  // A family that is disabled is the stronger finding, and does not save the routes of the others.
  if (findings.has('treat-as-withdraw')) {
    const lost: Routes[] = announced.map(({ family, nlri }) => ({ family, nlri }) as Routes);
    if (parts.announced !== undefined && nextHop === undefined) lost.push(parts.announced);
    return { ...NOTHING, withdrawn: [...held, ...lost.filter(({ nlri }) => nlri.length > 0)] };
  }
  const fit = announced.map((routes) => withoutUnfit(routes, held, findings));
  const left = fit.filter(({ nlri }) => nlri.length > 0);
  return { withdrawn: held, announced: left, attributes: left.length > 0 ? attributes : {} };
}

/** Routes that cannot be used leave the announced ones for the withdrawn ones. */
function withoutUnfit(
  routes: AnnouncedRoutes,
  withdrawn: Routes[],
  findings: Findings,
): AnnouncedRoutes {
  const { family } = routes;
  const all = routes.nlri as readonly NlriOf[FamilyName][];
  const unfit = all.filter((nlri) => {
    const why = unfitNlri(family, nlri);
    if (why === undefined) return false;
    findings.add({ consequence: 'treat-as-withdraw', message: `a route of ${family}: ${why}` });
    return true;
  });
  if (unfit.length === 0) return routes;
  withdrawn.push({ family, nlri: unfit } as unknown as Routes);
  const gone = new Set(unfit);
  return { ...routes, nlri: all.filter((nlri) => !gone.has(nlri)) } as AnnouncedRoutes;
}

/** Bodies, without headers, in the order they are to be sent: withdrawals, then announcements. */
export function writeUpdates(update: Update, options: WireOptions, room: number): Uint8Array[] {
  const { endOfRib } = update;
  const bodies: Uint8Array[] = [];
  for (const routes of update.withdrawn) {
    const classic = routes.family === CLASSIC;
    const head = classic ? new Uint8Array(0) : written((w) => writeFamily(w, routes.family));
    // Two length fields; the head of an MP attribute.
    const taken = 4 + (classic ? 0 : 4 + head.length);
    for (const nlri of packed(routes, true, options, room - taken)) {
      bodies.push(
        classic
          ? body(nlri, EMPTY, EMPTY)
          : body(EMPTY, mpAttribute(ATTRIBUTES.mpUnreach.code, head, nlri), EMPTY),
      );
    }
  }
  for (const routes of update.announced) {
    const { family, nextHop } = routes;
    const classic = family === CLASSIC && !nextHop.address.includes(':');
    const wire: WireAttributes = classic ? { nextHop: nextHop.address } : {};
    const attributes = attributeBytes({ ...update.attributes, ...wire }, options);
    const head = classic ? EMPTY : written((w) => writeReachHead(w, family, nextHop));
    const taken = 4 + attributes.length + (classic ? 0 : 4 + head.length);
    for (const nlri of packed(routes, false, options, room - taken)) {
      const mp = classic ? EMPTY : mpAttribute(ATTRIBUTES.mpReach.code, head, nlri);
      bodies.push(body(EMPTY, Buffer.concat([mp, attributes]), classic ? nlri : EMPTY));
    }
  }
  if (endOfRib !== undefined) {
    const head = written((w) => writeFamily(w, endOfRib));
    bodies.push(
      endOfRib === CLASSIC
        ? body(EMPTY, EMPTY, EMPTY)
        : body(EMPTY, mpAttribute(ATTRIBUTES.mpUnreach.code, head, EMPTY), EMPTY),
    );
  }
  return bodies;
}

const EMPTY = new Uint8Array(0);

function body(withdrawn: Uint8Array, attributes: Uint8Array, nlri: Uint8Array): Uint8Array {
  return written((writer) => {
    writer.u16(withdrawn.length);
    writer.put(withdrawn);
    writer.u16(attributes.length);
    writer.put(attributes);
    writer.put(nlri);
  });
}

function writeFamily(writer: NetWriter, family: FamilyName): void {
  const [afi, safi] = familyNumbers(family);
  writer.u16(afi);
  writer.u8(safi);
}

function writeReachHead(writer: NetWriter, family: FamilyName, nextHop: NextHop): void {
  writeFamily(writer, family);
  writeNextHop(writer, family, nextHop);
  writer.u8(0);
}

function mpAttribute(code: number, head: Uint8Array, nlri: Uint8Array): Uint8Array {
  const value = Buffer.concat([head, nlri]);
  return written((writer) => writeAttribute(writer, code, FLAG.optional, value));
}

/** Of `packed`, which nothing calls while it runs. */
const PIECE = new NetWriter();
const ONE = new NetWriter(64);

/** The routes in pieces of at most `room` bytes. */
function packed(
  routes: Routes,
  withdrawn: boolean,
  options: WireOptions,
  room: number,
): Uint8Array[] {
  const { family } = routes;
  const addPath = options.addPath.has(family);
  const pieces: Uint8Array[] = [];
  const [piece, one] = [PIECE, ONE];
  piece.reset();
  for (const nlri of routes.nlri as readonly NlriOf[FamilyName][]) {
    one.reset();
    writeNlri(one, family, nlri, withdrawn, addPath);
    if (one.length > room) {
      const why = `${family}: a route and its attributes do not fit into ${options.maxMessage} bytes`;
      throw new VRouterError('BGP_TOO_LONG', why);
    }
    if (piece.length + one.length > room) {
      pieces.push(piece.bytes().slice());
      piece.reset();
    }
    piece.put(one.bytes());
  }
  if (piece.length > 0) pieces.push(piece.bytes().slice());
  return pieces;
}

/** By code, known and unknown ones; none that is empty and may not be. */
function attributeBytes(attributes: Attributes & WireAttributes, options: WireOptions): Uint8Array {
  const values: WireAttributes = options.as4
    ? attributes
    : { ...attributes, ...shortened(attributes) };
  const partial = new Set(attributes.partial ?? []);
  const entries: { code: number; flags: number; value: Uint8Array }[] = [];
  for (const name of ATTRIBUTE_NAMES) {
    const given = values[name];
    if (given === undefined) continue;
    const row = rowOf(name);
    const value = written((writer) => row.write(writer, given, options));
    if (value.length === 0 && row.mayBeEmpty !== true) continue;
    const flags = row.flags | (partial.has(row.code) ? FLAG.partial : 0);
    entries.push({ code: row.code, flags, value });
  }
  for (const { code, value } of attributes.unknown ?? []) {
    const flags = FIXED_FLAGS | FLAG.partial;
    entries.push({ code, flags, value: bytesOf(value) });
  }
  entries.sort((a, b) => a.code - b.code);
  return written((writer) => {
    for (const { code, flags, value } of entries) writeAttribute(writer, code, flags, value);
  });
}

/** For one who knows two bytes of an AS number: AS_TRANS, and what was meant beside it. */
function shortened({ asPath, aggregator }: Attributes): WireAttributes {
  return {
    ...(asPath !== undefined && needsAs4(asPath) ? { as4Path: withoutConfeds(asPath) } : {}),
    ...(aggregator !== undefined && aggregator.as > MAX_AS16
      ? { aggregator: { ...aggregator, as: AS_TRANS }, as4Aggregator: aggregator }
      : {}),
  };
}
