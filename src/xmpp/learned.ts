/**
 * LearnedPaths: what an agent has heard from its control nodes, and what of it counts. Pure; written by the source
 * (control-nodes.ts), whose clock says when a control node may be believed to have said all.
 *
 * A control node is
 *   settled    live, has sent its end of rib, and agents that lost it with us have had time to come back to it
 *   learning   live, and not settled: what it says may be a part of what it will say
 *   lost       its paths stay, as old ones
 *
 * Invariants
 *  * A settled control node's path counts before any other, a live one's before a lost one's; among equals better
 *    preference, then the order of control nodes.
 *  * Nothing old goes because of a clock or of a session that is there again: it goes when some live control node has
 *    had its say (settle, cover), or takes the very key back (withdraw).
 *  * While nobody is settled, an ECMP set keeps old members that the live path has not named yet: their agents may be
 *    on their way. A member it has named once is its to take away.
 *  * Of old paths, next hops to this node itself are what it publishes now, not what it once did: in that instance, or in
 *    the one whose routes that instance takes in.
 *  * Hops are in order of address and label, so a list that has only been shuffled is no change.
 */
import { MAC_BROADCAST } from '../addr/mac.ts';
import { compareHops, comparePreference, mergeHops, sameRoute } from '../rib/best-path.ts';
import { getOrCreate } from '../rib/map-entry.ts';
import {
  keyOf,
  type PathHop,
  prefixKeyText,
  type Route,
  type RouteKey,
  type RouteUpdate,
  routeKeyText,
} from '../rib/route.ts';

export type Standing = 'lost' | 'learning' | 'settled';

interface Path {
  /** Of the session that is up. */
  live?: Route | undefined;
  /** Of one that was lost. */
  old?: Route | undefined;
}

interface Entry {
  readonly key: RouteKey;
  readonly paths: Map<string, Path>;
  /** Next hops that live ones have named since there is something old: theirs to take away. */
  readonly named: Set<string>;
  told: Route | undefined;
}

/** This node's own part in it. */
export interface OwnRoutes {
  isOwn(address: string): boolean;
  /** What it publishes under a prefix, in whatever instance. */
  published(prefix: RouteKey): Iterable<Route>;
}

export class LearnedPaths {
  readonly #standing = new Map<string, Standing>();
  readonly #instances = new Map<string, Map<string, Entry>>();
  readonly #dirty = new Map<string, Entry>();
  readonly #own: OwnRoutes;

  /** In the order in which they are preferred. */
  constructor(names: readonly string[], own: OwnRoutes) {
    for (const name of names) this.#standing.set(name, 'lost');
    this.#own = own;
  }

  standing(name: string): Standing {
    return this.#standing.get(name) ?? 'lost';
  }

  get anySettled(): boolean {
    return [...this.#standing.values()].includes('settled');
  }

  announce(name: string, given: Route): void {
    const entry = this.#entry(given);
    const path = getOrCreate(entry.paths, name, (): Path => ({}));
    const route = { ...given, hops: [...given.hops].sort(compareHops) };
    path.live = route;
    if (this.standing(name) === 'settled') path.old = undefined;
    else if (hasOld(entry)) for (const hop of route.hops) entry.named.add(hopText(hop));
    this.#touch(entry);
  }

  /** What a live one takes back is taken back for those that cannot any more. */
  withdraw(name: string, key: RouteKey): void {
    const entry = this.#instances.get(key.instance)?.get(prefixKeyText(key));
    if (entry === undefined) return;
    entry.paths.delete(name);
    for (const path of entry.paths.values()) path.old = undefined;
    this.#touch(entry);
  }

  up(name: string): void {
    this.#standing.set(name, 'learning');
    this.#touchAll();
  }

  lost(name: string): void {
    this.#standing.set(name, 'lost');
    for (const entry of this.#all()) {
      const path = entry.paths.get(name);
      if (path === undefined) continue;
      // Lost again before all was said: what was missing then is still only missing.
      if (path.live !== undefined) path.old = this.#completed(entry, path.live, [path.old]);
      path.live = undefined;
      if (![...entry.paths.values()].some(({ live }) => live !== undefined)) entry.named.clear();
    }
    this.#touchAll();
  }

  settle(name: string): void {
    this.#standing.set(name, 'settled');
    this.#touchAll();
  }

  /** A settled one has said all it has of an instance: what is old in there is gone. */
  cover(instance: string, onSwept: (name: string) => void): void {
    for (const entry of this.#instances.get(instance)?.values() ?? []) {
      for (const [name, path] of entry.paths) {
        if (path.old === undefined) continue;
        path.old = undefined;
        if (path.live === undefined) onSwept(name);
      }
      entry.named.clear();
      this.#touch(entry);
    }
  }

  /** What this node publishes of the key has changed. */
  ownChanged(key: RouteKey): void {
    // Others may have it from there; while everybody is settled, they hear of it from those.
    const settled = [...this.#standing.values()].every((standing) => standing === 'settled');
    const own = this.#instances.get(key.instance);
    for (const entries of settled ? [own] : this.#instances.values()) {
      const entry = entries?.get(prefixKeyText(key));
      if (entry !== undefined) this.#touch(entry);
    }
  }

  /** Forgotten, and not told of. */
  drop(instance: string): void {
    for (const entry of this.#instances.get(instance)?.values() ?? []) {
      this.#dirty.delete(routeKeyText(entry.key));
    }
    this.#instances.delete(instance);
  }

  /** What is different from what was taken before, each key once. */
  take(): RouteUpdate[] {
    const updates: RouteUpdate[] = [];
    for (const [text, entry] of this.#dirty) {
      this.#dirty.delete(text);
      const route = this.#best(entry);
      if (!sameRoute(entry.told, route)) {
        if (route !== undefined) updates.push({ type: 'announce', route });
        else updates.push({ type: 'withdraw', key: entry.key });
        entry.told = route;
      }
      this.#tidy(entry);
    }
    return updates;
  }

  /** Paths of one control node. */
  counts(name: string): { readonly live: number; readonly old: number } {
    let live = 0;
    let old = 0;
    for (const entry of this.#all()) {
      const path = entry.paths.get(name);
      if (path?.live !== undefined) live++;
      else if (path?.old !== undefined) old++;
    }
    return { live, old };
  }

  hasOld(): boolean {
    for (const entry of this.#all()) if (hasOld(entry)) return true;
    return false;
  }

  *#all(): Generator<Entry> {
    for (const entries of this.#instances.values()) yield* entries.values();
  }

  #entry(key: RouteKey): Entry {
    const entries = getOrCreate(this.#instances, key.instance, () => new Map<string, Entry>());
    return getOrCreate(entries, prefixKeyText(key), () => ({
      key: keyOf(key),
      paths: new Map(),
      named: new Set(),
      told: undefined,
    }));
  }

  #touch(entry: Entry): void {
    this.#dirty.set(routeKeyText(entry.key), entry);
  }

  #touchAll(): void {
    for (const entry of this.#all()) this.#touch(entry);
  }

  #tidy(entry: Entry): void {
    for (const [name, { live, old }] of entry.paths) {
      if (live === undefined && old === undefined) entry.paths.delete(name);
    }
    if (entry.paths.size > 0) return;
    const entries = this.#instances.get(entry.key.instance);
    entries?.delete(prefixKeyText(entry.key));
    if (entries?.size === 0) this.#instances.delete(entry.key.instance);
  }

  /** In the order of control nodes. */
  #routes(entry: Entry, of: (path: Path, standing: Standing) => Route | undefined): Route[] {
    const routes: Route[] = [];
    for (const [name, standing] of this.#standing) {
      const path = entry.paths.get(name);
      const route = path && of(path, standing);
      if (route !== undefined) routes.push(route);
    }
    return routes;
  }

  #best(entry: Entry): Route | undefined {
    const settled = this.#routes(entry, ({ live }, s) => (s === 'settled' ? live : undefined));
    if (settled.length > 0) return preferred(settled);
    const live = preferred(this.#routes(entry, (path) => path.live));
    if (live !== undefined && this.anySettled) return live;
    const old = this.#routes(entry, (path) => path.old);
    if (live !== undefined) return this.#completed(entry, live, old);
    const now = old.map((route) => this.#asOfNow(route)).filter((route) => route !== undefined);
    return preferred(now);
  }

  /** A single next hop that is another now has moved; of a set, some may be still to come. */
  #completed(entry: Entry, live: Route, old: readonly (Route | undefined)[]): Route {
    const missing: Route[] = [];
    for (const route of old) {
      if (route === undefined || route.hops.length < 2 || comparePreference(route, live) !== 0)
        continue;
      const now = this.#asOfNow(route);
      if (now === undefined) continue;
      const hops = now.hops.filter((hop) => !entry.named.has(hopText(hop)));
      if (hops.length > 0) missing.push({ ...now, hops });
    }
    return missing.length === 0 ? live : { ...live, hops: mergeHops([live, ...missing]) };
  }

  /** Nobody tells us of ourselves meanwhile; of broadcasts nobody ever does. */
  #asOfNow(route: Route): Route | undefined {
    if (route.prefix === MAC_BROADCAST) return route;
    const far = route.hops.filter(({ address }) => !this.#own.isOwn(address));
    const near = route.hops.filter(({ address }) => this.#own.isOwn(address));
    const published = [...this.#own.published(route)];
    const here = published.find(({ instance }) => instance === route.instance);
    const own = here?.hops ?? takenIn(near, published);
    if (far.length === route.hops.length && own.length === 0) return route;
    const hops = [...far, ...own].sort(compareHops);
    return hops.length === 0 ? undefined : { ...route, hops };
  }
}

/** Next hops to this node that an instance has from others: those that still are, or what has taken their place. */
function takenIn(near: readonly PathHop[], published: readonly Route[]): readonly PathHop[] {
  if (near.length === 0) return [];
  const now = new Set(published.flatMap(({ hops }) => hops.map(hopText)));
  const kept = near.filter((hop) => now.has(hopText(hop)));
  if (kept.length > 0) return kept;
  // Under another label: of several instances it is not known from which one it came.
  return published.length === 1 ? (published[0] as Route).hops : [];
}

function hasOld({ paths }: Entry): boolean {
  for (const { old } of paths.values()) if (old !== undefined) return true;
  return false;
}

function preferred(routes: readonly Route[]): Route | undefined {
  const [first, ...others] = routes;
  if (first === undefined) return undefined;
  return others.reduce((a, b) => (comparePreference(b, a) < 0 ? b : a), first);
}

const hopText = ({ address, label }: PathHop): string => `${address} ${label}`;
