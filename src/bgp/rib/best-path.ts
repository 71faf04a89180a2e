/**
 * Which of several paths is better: a table, so that `lostBy` can name the row by which one lost (RFC 4271 §9.1.2.2,
 * RFC 4456 §9, RFC 7432 §7.7 and 15, RFC 9494 §4.3). Paths that are equal in all rows of USED are used together; rows
 * of FIRST only say which of these is told to others. Next hops are all equally far.
 *
 * MED counts between paths of one neighbour AS, so it is no order by itself: paths of an AS are put in order among
 * each other, and then the first of each AS compared without it. So the answer is a function of the paths, not of the
 * order they came in.
 */
import { compareIp, type IpText, parseIp } from '../../addr/ip.ts';
import type { EvpnNlri } from '../wire/nlri-evpn.ts';
import type { BgpPath } from './contract.ts';
import { Path, pathsOf } from './table.ts';

interface Row {
  readonly name: string;
  /** Negative: `a` is better. */
  compare(a: Path, b: Path): number;
}

const yes = (value: boolean): number => (value ? 1 : 0);

const isMac = ({ source, nlri }: Path): boolean =>
  source.table.family === 'evpn' && (nlri as EvpnNlri).type === 'mac-ip';
const isOurs = ({ source }: Path): boolean => source.from === undefined;

/** Between paths of one neighbour AS; or of any, as is set. */
const MED: Row = { name: 'med', compare: (a, b) => a.said.facts.med - b.said.facts.med };

const BEFORE_MED: readonly Row[] = [
  {
    name: 'llgr-stale',
    compare: (a, b) => yes(a.said.facts.llgrStale) - yes(b.said.facts.llgrStale),
  },
  {
    name: 'sticky',
    compare: (a, b) =>
      isMac(a) && isMac(b) ? yes(b.said.facts.sticky) - yes(a.said.facts.sticky) : 0,
  },
  {
    name: 'sequence',
    compare: (a, b) => (isMac(a) && isMac(b) ? b.said.facts.sequence - a.said.facts.sequence : 0),
  },
  { name: 'local-pref', compare: (a, b) => b.said.facts.localPref - a.said.facts.localPref },
  { name: 'local', compare: (a, b) => yes(isOurs(b)) - yes(isOurs(a)) },
  { name: 'as-path', compare: (a, b) => a.said.facts.pathLength - b.said.facts.pathLength },
  { name: 'origin', compare: (a, b) => a.said.facts.origin - b.said.facts.origin },
];
const AFTER_MED: readonly Row[] = [
  { name: 'external', compare: (a, b) => yes(b.source.external) - yes(a.source.external) },
];

const FIRST: readonly Row[] = [
  { name: 'router-id', compare: (a, b) => routerId(a) - routerId(b) },
  { name: 'cluster-list', compare: (a, b) => a.said.facts.clusters - b.said.facts.clusters },
  { name: 'peer-address', compare: (a, b) => comparePeers(a, b) },
  { name: 'path-id', compare: (a, b) => (a.pathId ?? 0) - (b.pathId ?? 0) },
];

function routerId({ said, source }: Path): number {
  return said.facts.originatorId ?? source.routerId;
}

function comparePeers(a: Path, b: Path): number {
  const [one, other] = [a.source, b.source];
  if (one === other) return 0;
  if (one.address !== other.address) {
    return compareIp(parseIp(one.address), parseIp(other.address as IpText));
  }
  const [name, otherName] = [one.from ?? '', other.from ?? ''];
  return name < otherName ? -1 : name > otherName ? 1 : 0;
}

const USED = (withMed: boolean): readonly Row[] => [
  ...BEFORE_MED,
  ...(withMed ? [MED] : []),
  ...AFTER_MED,
];
const USED_WITH = USED(true);
const USED_WITHOUT = USED(false);
const ALL_WITH = [...USED_WITH, ...FIRST];
const ALL_WITHOUT = [...USED_WITHOUT, ...FIRST];

function compare(rows: readonly Row[], a: Path, b: Path): number {
  for (const row of rows) {
    const order = row.compare(a, b);
    if (order !== 0) return order;
  }
  return 0;
}

const sameAs = (a: Path, b: Path): boolean => a.said.facts.neighbourAs === b.said.facts.neighbourAs;

export interface OrderOptions {
  readonly multipath: number;
  readonly alwaysCompareMed: boolean;
}

/** Puts `paths` in order; returns how many of the first are used. */
export function order(paths: Path[], options: OrderOptions): number {
  const { multipath } = options;
  if (paths.length < 2) return paths.length;
  const first = paths[0] as Path;
  const always = options.alwaysCompareMed || paths.every((path) => sameAs(path, first));
  if (always) {
    paths.sort((a, b) => compare(ALL_WITH, a, b));
    const best = paths[0] as Path;
    let used = 1;
    while (used < paths.length && used < multipath) {
      if (compare(USED_WITH, best, paths[used] as Path) !== 0) break;
      used++;
    }
    return used;
  }
  return orderByAs(paths, multipath);
}

function orderByAs(paths: Path[], multipath: number): number {
  const groups = new Map<number, Path[]>();
  for (const path of paths) {
    const as = path.said.facts.neighbourAs;
    const group = groups.get(as);
    if (group === undefined) groups.set(as, [path]);
    else group.push(path);
  }
  for (const group of groups.values()) group.sort((a, b) => compare(ALL_WITH, a, b));
  const merged = mergeHeads([...groups.values()]);
  const best = merged[0] as Path;
  const isUsed = (path: Path): boolean => {
    const head = (groups.get(path.said.facts.neighbourAs) as Path[])[0] as Path;
    return compare(USED_WITHOUT, best, path) === 0 && compare(USED_WITH, head, path) === 0;
  };
  const used = merged.filter(isUsed);
  const all = [...used, ...merged.filter((path) => !used.includes(path))];
  for (let at = 0; at < all.length; at++) paths[at] = all[at] as Path;
  return Math.min(used.length, multipath);
}

/** Of several lists in order one: again and again the best of those that are first in theirs. */
function mergeHeads(lists: readonly (readonly Path[])[]): Path[] {
  const merged: Path[] = [];
  let left = lists.map((list) => ({ list, at: 0 }));
  while (left.length > 0) {
    const first = left.reduce((a, b) => {
      return compare(ALL_WITHOUT, b.list[b.at] as Path, a.list[a.at] as Path) < 0 ? b : a;
    });
    merged.push(first.list[first.at++] as Path);
    left = left.filter(({ list, at }) => at < list.length);
  }
  return merged;
}

function firstRow(rows: readonly Row[], a: Path, b: Path): string | undefined {
  return rows.find((row) => row.compare(a, b) !== 0)?.name;
}

/** The row by which `path` is behind `best`; undefined where it is used beside it. */
export function lostBy(best: BgpPath, path: BgpPath, options: OrderOptions): string | undefined {
  if (!(best instanceof Path) || !(path instanceof Path) || best === path) return undefined;
  const all = pathsOf(path.entry);
  const at = all.indexOf(path);
  if (at >= 0 && at < path.entry.used) return undefined;
  const withMed = options.alwaysCompareMed || sameAs(best, path);
  const lost = firstRow(withMed ? USED_WITH : USED_WITHOUT, best, path);
  if (lost !== undefined) return lost;
  // As good as the best one, and behind another of its own AS; or there was no room for it.
  const ahead = all.some((other) => sameAs(other, path) && compare(USED_WITH, other, path) < 0);
  return ahead ? MED.name : firstRow(FIRST, best, path);
}
