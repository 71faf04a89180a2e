/**
 * How two control nodes that should have the same are compared: a number for a path, and sums of them for a table, so
 * that no order counts. Two tables with the same sum have, for all practical purposes, the same paths: what was said
 * in them, and what of it and of others' is used there.
 *
 * Invariants
 *  * Only what agents and BGP say and what follows from it counts: not when, by which session or neighbour, or whether
 *    its agent is just away (`stale`).
 *  * A path's number is made once, when first asked for: paths are never changed (path.ts). A table is added up when
 *    it is asked for and has changed since. Nothing is worked out while routes travel.
 * Read by `control show tables`, `control compare` and metrics.
 */
import { hash } from 'node:crypto';
import type { Instance } from './instances.ts';
import { type Path, saidText } from './path.ts';
import type { RouteTables } from './tables.ts';

/** 48 bits: sums are exact in a number, and so is a metric's sample. */
const HEX = 12;
const SIZE = 2 ** (4 * HEX);

interface Numbers {
  /** As it was said. */
  readonly said: number;
  /** As one that is used, wherever that is. */
  readonly used: number;
}

const numbers = new WeakMap<Path, Numbers>();

const hashed = (text: string): string => hash('sha1', text, 'hex');
const numberAt = (hex: string, from: number): number =>
  Number.parseInt(hex.slice(from, from + HEX), 16);
const sum = (a: number, b: number): number => (a + b) % SIZE;

export function digestText(digest: number): string {
  return digest.toString(16).padStart(HEX, '0');
}

function numbersOf(path: Path): Numbers {
  const known = numbers.get(path);
  if (known !== undefined) return known;
  const { family, prefix, instance, peer, rd, originVn, apart, learned } = path;
  const where = [family, prefix, instance, peer, rd, originVn, apart === true, learned?.key];
  const hex = hashed(`${JSON.stringify(where)}${saidText(path)}`);
  const made = { said: numberAt(hex, 0), used: numberAt(hex, HEX) };
  numbers.set(path, made);
  return made;
}

export function pathDigest(path: Path): string {
  return digestText(numbersOf(path).said);
}

/** Of a table when it was last added up. */
const added = new WeakMap<Instance, { readonly changes: number; digest: number }>();

export function tableDigests(tables: RouteTables): Map<Instance, number> {
  const anew = new Map<Instance, { readonly changes: number; digest: number }>();
  const all = tables.tables();
  for (const { instance, entries, changes } of all) {
    if (added.get(instance)?.changes === changes) continue;
    const table = { changes, digest: 0 };
    for (const { paths } of entries.values())
      for (const path of paths) table.digest = sum(table.digest, numbersOf(path).used);
    anew.set(instance, table);
  }
  for (const [instance, paths] of tables.said()) {
    const table = anew.get(instance);
    if (table === undefined) continue;
    for (const path of paths) table.digest = sum(table.digest, numbersOf(path).said);
  }
  for (const [instance, table] of anew) added.set(instance, table);
  return new Map(all.map(({ instance }) => [instance, added.get(instance)?.digest ?? 0]));
}

/** What an instance is by configuration. A target that it has been given by number, not by name, is like another's. */
export function settingsText(instance: Instance): string {
  const { name, created, automatic, ownImports, exports, links } = instance;
  const targets = automatic ? 'automatic' : [[...ownImports].sort(), [...exports].sort()];
  return JSON.stringify([name, created, targets, [...links].sort()]);
}

/** All tables with their configuration. One that agents have only named, and where nothing is, is none. */
export function wholeDigest(tables: RouteTables): number {
  let whole = 0;
  for (const [instance, digest] of tableDigests(tables)) {
    if (!instance.created && digest === 0) continue;
    const text = `${settingsText(instance)}${digestText(digest)}`;
    whole = sum(whole, numberAt(hashed(text), 0));
  }
  return whole;
}
