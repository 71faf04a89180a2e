/**
 * Routes written down in a configuration, as a RouteSource: subscribers get those of their instance.
 * What is published goes nowhere (there is no one to tell) but can be looked at.
 * Nothing is delivered inside a call; flush() delivers, called by `schedule` if given.
 */
import { VRouterError } from '../errors.ts';
import { sameRoute } from './best-path.ts';
import { checkKey, checkRoute } from './check.ts';
import {
  keyOf,
  type Route,
  type RouteKey,
  type RouteSource,
  type RouteUpdate,
  routeKeyText,
} from './route.ts';

export interface StaticRouteSourceOptions {
  readonly name?: string;
  readonly routes?: readonly Route[];
  readonly schedule?: (run: () => void) => void;
}

function byKey(routes: readonly Route[]): Map<string, Route> {
  const map = new Map<string, Route>();
  routes.forEach((given, i) => {
    const route = checkRoute(given, `routes[${i}]`);
    const key = routeKeyText(route);
    if (map.has(key)) {
      throw new VRouterError(
        'CONFLICT',
        `routes[${i}]: ${route.prefix} of '${route.instance}' twice`,
      );
    }
    map.set(key, route);
  });
  return map;
}

export class StaticRouteSource implements RouteSource {
  readonly name: string;
  readonly #schedule: ((run: () => void) => void) | undefined;
  #routes: Map<string, Route>;
  readonly #published = new Map<string, Route>();
  readonly #subscribed = new Set<string>();
  #queue: RouteUpdate[] = [];
  #listener: ((updates: readonly RouteUpdate[]) => void) | undefined;
  #scheduled = false;
  #flushing = false;
  #closed = false;

  constructor(options: StaticRouteSourceOptions = {}) {
    this.name = options.name ?? 'static';
    this.#schedule = options.schedule;
    this.#routes = byKey(options.routes ?? []);
  }

  /** All routes anew; subscribers are told the difference. */
  replace(routes: readonly Route[]): void {
    this.#checkOpen();
    const next = byKey(routes);
    for (const [key, route] of this.#routes) {
      if (!next.has(key)) this.#tell({ type: 'withdraw', key: keyOf(route) }, route.instance);
    }
    for (const [key, route] of next) {
      if (sameRoute(this.#routes.get(key), route)) continue;
      this.#tell({ type: 'announce', route }, route.instance);
    }
    this.#routes = next;
  }

  onUpdates(listener: (updates: readonly RouteUpdate[]) => void): void {
    this.#listener = listener;
  }

  subscribe(instance: string, _instanceId: number): void {
    this.#checkOpen();
    if (this.#subscribed.has(instance)) {
      throw new VRouterError('CONFLICT', `'${this.name}' is subscribed to '${instance}' already`);
    }
    this.#subscribed.add(instance);
    for (const route of this.#routes.values()) {
      if (route.instance === instance) this.#tell({ type: 'announce', route }, instance);
    }
    this.#tell({ type: 'end-of-rib', instance }, instance);
  }

  unsubscribe(instance: string): void {
    this.#checkOpen();
    this.#subscribed.delete(instance);
    this.#queue = this.#queue.filter((update) => instanceOf(update) !== instance);
  }

  publish(given: Route): void {
    this.#checkOpen();
    const route = checkRoute(given);
    this.#published.set(routeKeyText(route), route);
  }

  withdraw(given: RouteKey): void {
    this.#checkOpen();
    this.#published.delete(routeKeyText(checkKey(keyOf(given))));
  }

  close(): void {
    this.#closed = true;
    this.#queue = [];
  }

  /** What its user published. */
  published(): Route[] {
    return [...this.#published.values()];
  }

  /** Delivers what is waiting; returns how many updates. */
  flush(): number {
    if (this.#closed || this.#flushing || this.#listener === undefined) return 0;
    const updates = this.#queue;
    if (updates.length === 0) return 0;
    this.#queue = [];
    this.#flushing = true;
    try {
      this.#listener(updates);
    } finally {
      this.#flushing = false;
    }
    return updates.length;
  }

  #tell(update: RouteUpdate, instance: string): void {
    if (!this.#subscribed.has(instance)) return;
    this.#queue.push(update);
    if (this.#scheduled || this.#schedule === undefined) return;
    this.#scheduled = true;
    this.#schedule(() => {
      this.#scheduled = false;
      this.flush();
    });
  }

  #checkOpen(): void {
    if (this.#closed) throw new VRouterError('BUSY', `route source '${this.name}' is closed`);
  }
}

export function instanceOf(update: RouteUpdate): string {
  if (update.type === 'announce') return update.route.instance;
  if (update.type === 'withdraw') return update.key.instance;
  return update.instance;
}
