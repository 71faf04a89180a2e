/**
 * Routes on the link: each path is an UPDATE as BGP has it (wire/update.ts), so that what is checked of a stranger's
 * routes is checked here, by the same code.
 *   routes:  [length (4), UPDATE]…                     said by a control node: announced or withdrawn
 *   changes: [family (1), key (2 + text), paths (1), [stale (1), from (2 + text), length (4), UPDATE]…]…
 * Invariant: a batch is read whole or refused whole; what is read gives the same bytes when it is written.
 */
import { ParseError, VRouterError } from '../../errors.ts';
import type { BestChange, BgpPath, Nlri } from '../rib/contract.ts';
import type { WireOptions } from '../wire/attributes.ts';
import { NetReader, NetWriter } from '../wire/bytes.ts';
import { type Routes, routeKey } from '../wire/family.ts';
import { FAMILY_NAMES, type FamilyName } from '../wire/family-names.ts';
import { isMalformed } from '../wire/finding.ts';
import { readUpdate, type Update, writeUpdates } from '../wire/update.ts';

export type Route = Omit<BgpPath, 'from' | 'stale'>;

/** What a control node says of one route. */
export type SaidRoute =
  | { readonly kind: 'announced'; readonly route: Route }
  | { readonly kind: 'withdrawn'; readonly family: FamilyName; readonly nlri: Nlri };

const OPTIONS: WireOptions = {
  as4: true,
  external: false,
  families: new Set(FAMILY_NAMES),
  addPath: new Set(),
  maxMessage: 65535,
};
const MAX_KEY_BYTES = 1024;
const MAX_NAME_BYTES = 1024;
const MAX_PATHS = 64;
const STALE: readonly BgpPath['stale'][] = [undefined, 'short', 'long'];

// --- one route ---------------------------------------------------------------------------------------

const routesOf = (family: FamilyName, nlri: Nlri): Routes =>
  ({ family, nlri: [nlri] }) as unknown as Routes;

/** A route that fits into no UPDATE: too long, or with a value that BGP cannot write. */
export const isUnsayable = (error: unknown): boolean =>
  error instanceof RangeError || (error instanceof VRouterError && error.code === 'BGP_TOO_LONG');

/** Throws what is unsayable. */
function updateOf({ family, nlri, nextHop, attributes }: Route): Uint8Array {
  const announced = [{ ...routesOf(family, nlri), nextHop }];
  const whole = { origin: 'igp' as const, asPath: [], ...attributes };
  return only({ withdrawn: [], announced, attributes: whole });
}

function only(update: Update): Uint8Array {
  return writeUpdates(update, OPTIONS, OPTIONS.maxMessage)[0] as Uint8Array;
}

/** All the routes of an UPDATE in which nothing is wrong. */
function saidIn(bytes: Uint8Array): SaidRoute[] {
  const { update, findings } = readUpdate(bytes, OPTIONS);
  const [wrong] = findings;
  if (wrong !== undefined) throw new ParseError(`routes: ${wrong.message}`);
  if (update.endOfRib !== undefined) throw new ParseError('routes: an update without routes');
  const { attributes } = update;
  return [
    ...update.withdrawn.flatMap(({ family, nlri }) =>
      nlri.map((each): SaidRoute => ({ kind: 'withdrawn', family, nlri: each })),
    ),
    ...update.announced.flatMap(({ family, nlri, nextHop }) =>
      nlri.map(
        (each): SaidRoute => ({
          kind: 'announced',
          route: { family, nlri: each, nextHop, attributes },
        }),
      ),
    ),
  ];
}

function putUpdate(writer: NetWriter, bytes: Uint8Array): void {
  writer.u32(bytes.length);
  writer.put(bytes);
}

const takeUpdate = (reader: NetReader): Uint8Array =>
  reader.take(reader.u32('length of an update'), 'update');

// --- texts -------------------------------------------------------------------------------------------

const decoder = new TextDecoder('utf-8', { fatal: true });

function putText(writer: NetWriter, text: string): void {
  const bytes = Buffer.from(text);
  writer.u16(bytes.length);
  writer.put(bytes);
}

function takeText(reader: NetReader, what: string, most: number): string {
  const length = reader.u16(`length of the ${what}`);
  if (length > most) throw new ParseError(`${what}: ${length} bytes, ${most} at most`);
  try {
    return decoder.decode(reader.take(length, what));
  } catch (error) {
    if (error instanceof VRouterError) throw error;
    throw new ParseError(`${what}: not UTF-8`);
  }
}

// --- batches -----------------------------------------------------------------------------------------

export class RouteBatch {
  readonly #writer = new NetWriter(4096);

  get length(): number {
    return this.#writer.length;
  }

  announce(route: Route): void {
    putUpdate(this.#writer, updateOf(route));
  }

  withdraw(family: FamilyName, nlri: Nlri): void {
    const withdrawn = [routesOf(family, nlri)];
    putUpdate(this.#writer, only({ withdrawn, announced: [], attributes: {} }));
  }

  bytes(): Uint8Array {
    return this.#writer.bytes();
  }
}

export class ChangeBatch {
  readonly #writer = new NetWriter(4096);

  get length(): number {
    return this.#writer.length;
  }

  add({ family, key, paths }: BestChange): void {
    // Nothing is written before all of it is known to fit.
    const updates = paths.slice(0, MAX_PATHS).map(updateOf);
    this.#writer.u8(FAMILY_NAMES.indexOf(family));
    putText(this.#writer, key);
    this.#writer.u8(updates.length);
    for (const [at, update] of updates.entries()) {
      const { stale, from = '' } = paths[at] as BgpPath;
      this.#writer.u8(STALE.indexOf(stale));
      putText(this.#writer, from);
      putUpdate(this.#writer, update);
    }
  }

  bytes(): Uint8Array {
    return this.#writer.bytes();
  }
}

/** Cut short, or what has no shape of ours: one kind of error for both. */
function read<T>(body: Uint8Array, one: (reader: NetReader) => T): T[] {
  const reader = new NetReader(body);
  const all: T[] = [];
  try {
    while (reader.left > 0) all.push(one(reader));
  } catch (error) {
    const short = error instanceof VRouterError && error.code === 'TRUNCATED';
    if (short || isMalformed(error)) throw new ParseError(`routes: ${(error as Error).message}`);
    throw error;
  }
  return all;
}

export const readRouteBatch = (body: Uint8Array): SaidRoute[] =>
  read(body, (reader) => saidIn(takeUpdate(reader))).flat();

export const readChangeBatch = (body: Uint8Array): BestChange[] => read(body, readChange);

function readChange(reader: NetReader): BestChange {
  const number = reader.u8('family');
  const family = FAMILY_NAMES[number];
  if (family === undefined) throw new ParseError(`change: no family has number ${number}`);
  const key = takeText(reader, 'key', MAX_KEY_BYTES);
  const count = reader.u8('number of paths');
  if (count > MAX_PATHS) throw new ParseError(`change: ${count} paths, ${MAX_PATHS} at most`);
  const paths = Array.from({ length: count }, () => readPath(reader, family, key));
  return { family, key, paths };
}

function readPath(reader: NetReader, family: FamilyName, key: string): BgpPath {
  const mark = reader.u8('stale');
  if (mark >= STALE.length) throw new ParseError(`path: ${mark} is no mark of staleness`);
  const from = takeText(reader, 'neighbour', MAX_NAME_BYTES);
  const [said, more] = saidIn(takeUpdate(reader));
  if (said?.kind !== 'announced' || more !== undefined) {
    throw new ParseError(`path of ${key}: one route is needed`);
  }
  const { route } = said;
  if (route.family !== family || routeKey(family, route.nlri) !== key) {
    throw new ParseError(`path of ${key}: its route is another`);
  }
  const stale = STALE[mark];
  return { ...route, ...(from !== '' && { from }), ...(stale !== undefined && { stale }) };
}
