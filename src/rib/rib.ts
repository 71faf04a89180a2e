/**
 * Rib: what a node knows of routes. Per instance and prefix a path from each source that announced
 * one; the best of them is what counts.
 *
 * Invariants
 *  * A source has at most one path per key; a new announce replaces it and makes it live.
 *  * A stale path stays in use until it is replaced, withdrawn, or its source's end-of-rib sweeps it.
 *  * apply() reports each key at most once per call, with what was best before and what is now; keys
 *    whose best route did not change are not reported.
 * Order of paths: rank of the source (lower first), live before stale, preference (best-path.ts), name
 * of the source. Written and read by the agent only.
 */
import { byText, comparePreference, sameRoute } from './best-path.ts';
import { getOrCreate } from './map-entry.ts';
import {
  keyOf,
  prefixKeyText,
  type Route,
  type RouteKey,
  type RouteUpdate,
  routeKeyText,
} from './route.ts';

export interface Path {
  readonly source: string;
  readonly route: Route;
  readonly stale: boolean;
}

export interface RouteChange {
  readonly key: RouteKey;
  readonly before: Route | undefined;
  readonly after: Route | undefined;
}

interface Entry {
  readonly key: RouteKey;
  readonly paths: Map<string, Path>;
}

export class Rib {
  readonly #instances = new Map<string, Map<string, Entry>>();
  readonly #ranks: ReadonlyMap<string, number>;

  /** ranks: by source name, 0 where absent; a lower rank wins whatever the routes say. */
  constructor(ranks: ReadonlyMap<string, number> = new Map()) {
    this.#ranks = ranks;
  }

  apply(source: string, updates: readonly RouteUpdate[]): RouteChange[] {
    const changes = new Changes(this);
    for (const update of updates) {
      switch (update.type) {
        case 'announce':
          changes.note(update.route);
          this.#entry(update.route).paths.set(source, {
            source,
            route: update.route,
            stale: false,
          });
          break;
        case 'withdraw':
          changes.note(update.key);
          this.#remove(source, update.key);
          break;
        case 'stale':
          this.#markStale(source, update.instance, changes);
          break;
        case 'end-of-rib':
          this.#sweep(source, update.instance, changes);
          break;
      }
    }
    return changes.take();
  }

  /** Forgets an instance whoever announced its routes. */
  dropInstance(instance: string): void {
    this.#instances.delete(instance);
  }

  best(key: RouteKey): Route | undefined {
    return this.paths(key)[0]?.route;
  }

  /** All paths, best first. */
  paths(key: RouteKey): Path[] {
    const entry = this.#instances.get(key.instance)?.get(prefixKeyText(key));
    if (entry === undefined) return [];
    const paths = [...entry.paths.values()];
    if (paths.length > 1) paths.sort((a, b) => this.#compare(a, b));
    return paths;
  }

  /** Keys of an instance in order of their text. */
  keys(instance: string): RouteKey[] {
    const entries = this.#instances.get(instance);
    if (entries === undefined) return [];
    return [...entries.keys()].sort(byText).map((k) => (entries.get(k) as Entry).key);
  }

  instances(): string[] {
    return [...this.#instances.keys()].sort(byText);
  }

  #compare(a: Path, b: Path): number {
    return (
      (this.#ranks.get(a.source) ?? 0) - (this.#ranks.get(b.source) ?? 0) ||
      Number(a.stale) - Number(b.stale) ||
      comparePreference(a.route, b.route) ||
      byText(a.source, b.source)
    );
  }

  #entry(key: RouteKey): Entry {
    const entries = getOrCreate(this.#instances, key.instance, () => new Map<string, Entry>());
    const text = prefixKeyText(key);
    return getOrCreate(entries, text, () => ({ key: keyOf(key), paths: new Map() }));
  }

  #remove(source: string, key: RouteKey): void {
    const entries = this.#instances.get(key.instance);
    const text = prefixKeyText(key);
    const entry = entries?.get(text);
    if (entries === undefined || entry === undefined) return;
    entry.paths.delete(source);
    if (entry.paths.size === 0) entries.delete(text);
    if (entries.size === 0) this.#instances.delete(key.instance);
  }

  #markStale(source: string, instance: string, changes: Changes): void {
    for (const { key, paths } of this.#instances.get(instance)?.values() ?? []) {
      const path = paths.get(source);
      if (path === undefined || path.stale) continue;
      changes.note(key); // another source's live path may now be better
      paths.set(source, { ...path, stale: true });
    }
  }

  #sweep(source: string, instance: string, changes: Changes): void {
    for (const { key, paths } of [...(this.#instances.get(instance)?.values() ?? [])]) {
      if (paths.get(source)?.stale !== true) continue;
      changes.note(key);
      this.#remove(source, key);
    }
  }
}

/** What was best when a key was first touched in a batch. */
class Changes {
  readonly #rib: Rib;
  readonly #before = new Map<string, { key: RouteKey; route: Route | undefined }>();

  constructor(rib: Rib) {
    this.#rib = rib;
  }

  note(key: RouteKey): void {
    const text = routeKeyText(key);
    if (this.#before.has(text)) return;
    this.#before.set(text, { key: keyOf(key), route: this.#rib.best(key) });
  }

  take(): RouteChange[] {
    const changes: RouteChange[] = [];
    for (const { key, route: before } of this.#before.values()) {
      const after = this.#rib.best(key);
      if (!sameRoute(before, after)) changes.push({ key, before, after });
    }
    return changes;
  }
}
