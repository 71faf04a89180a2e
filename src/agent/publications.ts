/**
 * What this node tells others: routes by key, each made of what the node's own objects (vifs, floating
 * IPs, …) contribute to it; two local backends of a service give one route with two hops.
 * Invariant: takeChanges() reports each key at most once, with the route as it now is, and only if it
 * differs from what was last reported.
 */
import { byText, mergeRoutes, sameRoute } from '../rib/best-path.ts';
import { checkRoute } from '../rib/check.ts';
import { getOrCreate } from '../rib/map-entry.ts';
import { keyOf, type Route, type RouteKey, routeKeyText } from '../rib/route.ts';

interface Entry {
  readonly key: RouteKey;
  readonly byOwner: Map<string, Route>;
}

export interface Publication {
  readonly key: RouteKey;
  /** Undefined: withdrawn. */
  readonly route: Route | undefined;
}

export class Publications {
  readonly #entries = new Map<string, Entry>();
  readonly #keysOf = new Map<string, Set<string>>();
  /** Merged routes as last taken. */
  readonly #taken = new Map<string, Route>();
  readonly #dirty = new Map<string, RouteKey>();

  /** An owner now contributes these routes and no others. Routes that are not sound are refused. */
  replace(owner: string, given: readonly Route[]): void {
    const routes = given.map((route) => checkRoute(route, owner));
    const before = this.#keysOf.get(owner) ?? new Set();
    const now = new Set<string>();
    for (const route of routes) {
      const text = routeKeyText(route);
      const entry = getOrCreate(this.#entries, text, () => ({
        key: keyOf(route),
        byOwner: new Map(),
      }));
      entry.byOwner.set(owner, route);
      this.#dirty.set(text, entry.key);
      now.add(text);
    }
    for (const text of before) {
      if (now.has(text)) continue;
      const entry = this.#entries.get(text);
      if (entry === undefined) continue;
      entry.byOwner.delete(owner);
      this.#dirty.set(text, entry.key);
      if (entry.byOwner.size === 0) this.#entries.delete(text);
    }
    if (now.size > 0) this.#keysOf.set(owner, now);
    else this.#keysOf.delete(owner);
  }

  get changed(): boolean {
    return this.#dirty.size > 0;
  }

  takeChanges(): Publication[] {
    const changes: Publication[] = [];
    for (const [text, key] of this.#dirty) {
      const route = this.#merged(text);
      if (sameRoute(this.#taken.get(text), route)) continue;
      if (route === undefined) this.#taken.delete(text);
      else this.#taken.set(text, route);
      changes.push({ key, route });
    }
    this.#dirty.clear();
    return changes;
  }

  /** All routes published, in order of their keys. */
  all(): Route[] {
    return [...this.#taken.keys()].sort(byText).map((k) => this.#taken.get(k) as Route);
  }

  #merged(text: string): Route | undefined {
    const entry = this.#entries.get(text);
    if (entry === undefined) return undefined;
    const owners = [...entry.byOwner.keys()].sort(byText);
    return mergeRoutes(
      entry.key,
      owners.map((owner) => entry.byOwner.get(owner) as Route),
    );
  }
}
