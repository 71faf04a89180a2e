/**
 * Where a prefix is: which paths are in which instance, which of them are used, and what has changed. Pure, and all
 * of it worked out anew from what is said of the prefix: a change is found by comparing with what was told.
 */
import type { RouteTarget } from '../addr/route-target.ts';
import { byText } from '../rib/best-path.ts';
import { rdOf } from './bgp-routes.ts';
import { type Entry, isBroadcast, type Prefix, shownText } from './entry.ts';
import type { Instance, Instances } from './instances.ts';
import { comparePaths, comparePreference, labelSum, type Path } from './path.ts';

export function ownTargets({ attributes }: Path): readonly RouteTarget[] {
  return (attributes.routeTargets ?? []) as readonly RouteTarget[];
}

/** All that a path carries, some perhaps twice. */
export function* targetsOf(path: Path, own: Pick<Instance, 'exports'>): Generator<RouteTarget> {
  if (path.learned === undefined) yield* own.exports;
  yield* ownTargets(path);
}

const instanceOf = (path: Path, instances: Instances): Instance => instances.named(path.instance);

export interface Reach {
  /** All paths by instance, best first. */
  readonly reached: Map<Instance, Path[]>;
  /** Those that leave their own instance, best first: what BGP neighbours are told of. */
  readonly passedOn: readonly Path[];
}

/**
 * All paths of a prefix by instance, best first. Those that are equally good go together, from the best down: what
 * has reached an instance by then is better than what is said there now, which stays at home. Paths are replicated
 * from where they were said and from nowhere else. One that came by BGP has lost nowhere: it is always replicated,
 * unless an agent here says the very same route (RD and prefix), for then it is that agent's that came back.
 */
export function reach(prefix: Prefix, instances: Instances): Reach {
  const reached = new Map<Instance, Path[]>();
  const passedOn: Path[] = [];
  const paths = withoutReturned(
    prefix.paths.filter((path) => !path.waits || instanceOf(path, instances).created),
  );
  if (paths.length > 1) paths.sort(comparePaths);
  const all = isBroadcast(prefix);
  for (let from = 0; from < paths.length; ) {
    const first = paths[from] as Path;
    let to = from + 1;
    while (to < paths.length && (all || comparePreference(first, paths[to] as Path) === 0)) to++;
    const equal = paths.slice(from, to);
    const leaving = equal.filter(
      (path) =>
        path.infeasible === undefined &&
        (path.learned !== undefined || !reached.has(instanceOf(path, instances))),
    );
    for (const path of equal) {
      if (path.learned === undefined) add(reached, instanceOf(path, instances), path);
    }
    for (const path of leaving) replicate(path, reached, instances);
    passedOn.push(...leaving);
    from = to;
  }
  // Where they can be looked at, and where they are told to nobody: `entryOf`.
  for (const path of paths)
    if (path.learned !== undefined) add(reached, instanceOf(path, instances), path);
  for (const found of reached.values()) if (found.length > 1) found.sort(comparePaths);
  return { reached, passedOn };
}

function withoutReturned(paths: Path[]): Path[] {
  if (paths.every(({ learned }) => learned === undefined)) return paths;
  const own = new Set<string | undefined>();
  for (const path of paths) {
    if (path.learned === undefined && path.infeasible === undefined) own.add(rdOf(path));
  }
  return paths.filter((path) => path.learned === undefined || !own.has(path.rd));
}

function add(reached: Map<Instance, Path[]>, instance: Instance, path: Path): void {
  const paths = reached.get(instance);
  if (paths === undefined) reached.set(instance, [path]);
  else paths.push(path);
}

function replicate(path: Path, reached: Map<Instance, Path[]>, instances: Instances): void {
  const own = instanceOf(path, instances);
  const to = new Set<Instance>();
  for (const target of targetsOf(path, own)) {
    for (const instance of instances.importersOf(target)) to.add(instance);
  }
  to.delete(own);
  for (const instance of to) add(reached, instance, path);
}

/** What subscribers are told of a prefix in an instance: nothing if no path is feasible. */
export function entryOf(
  prefix: Prefix,
  instance: Instance,
  all: readonly Path[],
  instances: Instances,
): Entry | undefined {
  const paths = all.filter((path) => path.learned === undefined || path.instance !== instance.name);
  const best = paths[0];
  if (best === undefined || best.infeasible !== undefined) return undefined;
  const used = paths.filter((path) =>
    isBroadcast(prefix) ? path.infeasible === undefined : comparePreference(best, path) === 0,
  );
  return { prefix, instance, paths: used, targets: targetsText(used, instances) };
}

function targetsText(paths: readonly Path[], instances: Instances): string {
  const targets = new Set<string>();
  for (const path of paths) {
    for (const target of targetsOf(path, instanceOf(path, instances))) targets.add(target);
  }
  return [...targets].sort(byText).join(' ');
}

/** `silent`: other paths, the same to whoever is told. */
export function difference(before: Entry, after: Entry): 'none' | 'silent' | 'targets' | 'shown' {
  const same =
    before.paths.length === after.paths.length &&
    before.paths.every((path, i) => path === after.paths[i]);
  if (!same && (plainlyOther(before, after) || shownText(before) !== shownText(after))) {
    return 'shown';
  }
  if (before.targets !== after.targets) return 'targets';
  return same ? 'none' : 'silent';
}

/** One path each, and other labels: no texts are needed to see that. */
function plainlyOther(before: Entry, after: Entry): boolean {
  const [a, b] = [before.paths[0] as Path, after.paths[0] as Path];
  if (before.paths.length + after.paths.length !== 2) return false;
  return a.hops.length === b.hops.length && labelSum(a) !== labelSum(b);
}
