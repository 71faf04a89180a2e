/**
 * JoinedRouteSource: several route sources as one, for a node that has static routes and an exchange.
 *
 * Invariants
 *  * Where two sources have a route of the same key, the earlier in the list wins; when it withdraws, the
 *    later one's route takes its place at once.
 *  * end-of-rib of an instance is passed on when every source has sent it.
 *  * What is published goes to all.
 */
import {
  keyOf,
  type Route,
  type RouteKey,
  type RouteSource,
  type RouteUpdate,
  routeKeyText,
} from '../rib/route.ts';

type Listener = (updates: readonly RouteUpdate[]) => void;

export class JoinedRouteSource implements RouteSource {
  readonly name: string;
  readonly #sources: readonly RouteSource[];
  /** By source, then by key. */
  readonly #routes: Map<string, Route>[];
  readonly #ended: Set<string>[];
  /** Keys a source had before it was lost and has not announced again. */
  readonly #stale: Set<string>[];
  #listener: Listener | undefined;

  constructor(name: string, sources: readonly RouteSource[]) {
    this.name = name;
    this.#sources = sources;
    this.#routes = sources.map(() => new Map());
    this.#ended = sources.map(() => new Set());
    this.#stale = sources.map(() => new Set());
    sources.forEach((source, i) => {
      source.onUpdates((updates) => {
        const out = updates.flatMap((update) => this.#take(i, update));
        if (out.length > 0) this.#listener?.(out);
      });
    });
  }

  onUpdates(listener: Listener): void {
    this.#listener = listener;
  }

  subscribe(instance: string, instanceId: number): void {
    for (const source of this.#sources) source.subscribe(instance, instanceId);
  }

  unsubscribe(instance: string): void {
    for (const source of this.#sources) source.unsubscribe(instance);
    this.#sources.forEach((_, i) => {
      this.#ended[i]?.delete(instance);
      for (const text of this.#of(i, instance)) {
        this.#routes[i]?.delete(text);
        this.#stale[i]?.delete(text);
      }
    });
  }

  publish(route: Route): void {
    for (const source of this.#sources) source.publish(route);
  }

  withdraw(key: RouteKey): void {
    for (const source of this.#sources) source.withdraw(key);
  }

  close(): void {
    for (const source of this.#sources) source.close();
  }

  #best(text: string): Route | undefined {
    for (const routes of this.#routes) {
      const route = routes.get(text);
      if (route !== undefined) return route;
    }
    return undefined;
  }

  #take(from: number, update: RouteUpdate): RouteUpdate[] {
    switch (update.type) {
      case 'announce':
      case 'withdraw': {
        const text = routeKeyText(update.type === 'announce' ? update.route : update.key);
        const before = this.#best(text);
        this.#stale[from]?.delete(text);
        if (update.type === 'announce') this.#routes[from]?.set(text, update.route);
        else this.#routes[from]?.delete(text);
        const after = this.#best(text);
        if (after === before) return [];
        if (after !== undefined) return [{ type: 'announce', route: after }];
        return before === undefined ? [] : [{ type: 'withdraw', key: keyOf(before) }];
      }
      case 'end-of-rib':
        this.#ended[from]?.add(update.instance);
        for (const text of this.#of(from, update.instance)) {
          if (this.#stale[from]?.delete(text)) this.#routes[from]?.delete(text);
        }
        // After a stream was lost and came back: what is stale is swept, so what still holds (the other
        // sources' routes) is said again first.
        if (!this.#ended.every((ended) => ended.has(update.instance))) return [];
        return [...this.#again(update.instance), update];
      default:
        this.#ended[from]?.delete(update.instance);
        for (const text of this.#of(from, update.instance)) this.#stale[from]?.add(text);
        return [update];
    }
  }

  /** Keys a source has in an instance. */
  #of(source: number, instance: string): string[] {
    const routes = this.#routes[source] ?? new Map<string, Route>();
    return [...routes].filter(([, route]) => route.instance === instance).map(([text]) => text);
  }

  #again(instance: string): RouteUpdate[] {
    const texts = new Set(this.#sources.flatMap((_, i) => this.#of(i, instance)));
    return [...texts].map((text) => ({ type: 'announce', route: this.#best(text) as Route }));
  }
}

/** The same source, and which of the instances subscribed to have not yet had their end-of-rib. */
export function awaitingEnds(source: RouteSource): {
  readonly source: RouteSource;
  readonly awaited: ReadonlySet<string>;
} {
  const awaited = new Set<string>();
  return {
    awaited,
    source: {
      name: source.name,
      onUpdates: (listener) =>
        source.onUpdates((updates) => {
          listener(updates);
          for (const update of updates) {
            if (update.type === 'end-of-rib') awaited.delete(update.instance);
          }
        }),
      subscribe: (instance, id) => {
        awaited.add(instance);
        source.subscribe(instance, id);
      },
      unsubscribe: (instance) => {
        awaited.delete(instance);
        source.unsubscribe(instance);
      },
      publish: (route) => source.publish(route),
      withdraw: (key) => source.withdraw(key),
      close: () => source.close(),
    },
  };
}
