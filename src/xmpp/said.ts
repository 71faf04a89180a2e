/**
 * What one session has told its control node, brought up to what the agent wants: subscriptions, then routes, then end
 * of rib. Pure; texts go to `send`.
 *
 * Invariants
 *  * The other end closes a session that subscribes twice, that unsubscribes from what it is not subscribed to, or
 *    publishes into an instance before it has subscribed: none of these is sent.
 *  * An instance that is only published into is subscribed to without routes (`no-ribout`).
 *  * Unsubscribing takes what was published along at the other end, so it is published again if it is still wanted.
 *  * A route that the exchange cannot carry is refused by name, and the others go on.
 */
import { VRouterError } from '../errors.ts';
import { getOrCreate } from '../rib/map-entry.ts';
import type { Route } from '../rib/route.ts';
import { toItem } from './routes.ts';
import { type RefusedItem, writeAgentEndOfRib, writePublish, writeSubscription } from './stanza.ts';

/** Compared by identity: subscribing again is another one. */
export interface WantedInstance {
  readonly id: number;
  /** Routes are wanted, too. */
  readonly routes: boolean;
}

export interface Wanted {
  /** In the order in which they are to be said. */
  readonly instances: ReadonlyMap<string, WantedInstance>;
  /** By instance, then key text. */
  readonly published: ReadonlyMap<string, ReadonlyMap<string, Route>>;
}

export interface SaidOptions {
  readonly name: string;
  readonly control: string;
  readonly wanted: Wanted;
  readonly send: (text: string) => void;
  readonly blocked: () => boolean;
  readonly onSubscribed: (instance: string) => void;
  readonly onRefused: (instance: string, refused: RefusedItem) => void;
}

export class Said {
  readonly #options: SaidOptions;
  readonly #head: { readonly from: string; readonly to: string };
  readonly #instances = new Map<string, WantedInstance>();
  /** By instance, then key text. */
  readonly #routes = new Map<string, Map<string, Route>>();
  readonly #dirtyInstances = new Set<string>();
  readonly #dirtyRoutes = new Map<string, string>();
  #owesEndOfRib = true;
  #ids = 0;
  #published = 0;

  /** Everything is still to be said. */
  constructor(options: SaidOptions) {
    this.#options = options;
    this.#head = { from: options.name, to: `${options.control}/bgp-peer` };
    for (const instance of options.wanted.instances.keys()) this.instanceChanged(instance);
  }

  get published(): number {
    return this.#published;
  }

  get subscribed(): number {
    return this.#instances.size;
  }

  instanceChanged(instance: string): void {
    this.#dirtyInstances.add(instance);
  }

  routeChanged(instance: string, text: string): void {
    this.#dirtyRoutes.set(text, instance);
  }

  /** As far as the other end reads. */
  say(): void {
    const { wanted, blocked, send } = this.#options;
    for (const instance of this.#dirtyInstances) {
      if (blocked()) return;
      this.#dirtyInstances.delete(instance);
      this.#sayInstance(instance, wanted.instances.get(instance));
    }
    for (const [text, instance] of this.#dirtyRoutes) {
      if (blocked()) return;
      this.#dirtyRoutes.delete(text);
      this.#sayRoute(instance, text, wanted.published.get(instance)?.get(text));
    }
    if (!this.#owesEndOfRib) return;
    this.#owesEndOfRib = false;
    send(writeAgentEndOfRib(this.#head, this.#pair('')));
  }

  /** Everything published goes with its subscription. */
  leave(): void {
    for (const instance of [...this.#instances.keys()]) this.#sayInstance(instance, undefined);
  }

  #sayInstance(instance: string, wanted: WantedInstance | undefined): void {
    const said = this.#instances.get(instance);
    if (said === wanted) return;
    const { send, onSubscribed } = this.#options;
    const stanza = (type: 'subscribe' | 'unsubscribe', of: WantedInstance) =>
      send(
        writeSubscription(this.#head, `subscribe${this.#ids++}`, {
          type,
          node: instance,
          instanceId: of.id,
          noRibout: !of.routes,
        }),
      );
    if (said !== undefined) {
      stanza('unsubscribe', said);
      this.#instances.delete(instance);
      this.#published -= this.#routes.get(instance)?.size ?? 0;
      this.#routes.delete(instance);
    }
    if (wanted === undefined) return;
    stanza('subscribe', wanted);
    this.#instances.set(instance, wanted);
    for (const text of this.#options.wanted.published.get(instance)?.keys() ?? []) {
      this.routeChanged(instance, text);
    }
    if (wanted.routes) onSubscribed(instance);
  }

  #sayRoute(instance: string, text: string, wanted: Route | undefined): void {
    if (!this.#instances.has(instance)) return; // gone with it
    const routes = getOrCreate(this.#routes, instance, () => new Map<string, Route>());
    const said = routes.get(text);
    if (said === wanted) return;
    const publish = wanted && this.#tried(wanted, true);
    if (publish === undefined) {
      if (said === undefined) return;
      routes.delete(text);
      this.#published--;
      this.#options.send(this.#text(said, false));
      return;
    }
    this.#options.send(publish);
    if (said === undefined) this.#published++;
    routes.set(text, wanted as Route);
  }

  #tried(route: Route, add: boolean): string | undefined {
    try {
      return this.#text(route, add);
    } catch (error) {
      if (!(error instanceof VRouterError)) throw error;
      this.#options.onRefused(route.instance, { name: route.prefix, reason: error.message });
      return undefined;
    }
  }

  #text(route: Route, add: boolean): string {
    const { instance } = route;
    const item = toItem(route, 'publish');
    const pair = this.#pair(route.family === 'evpn' ? '_l2' : '');
    return writePublish(this.#head, pair, instance, item, add);
  }

  /** As the ancestor's agent numbers its stanzas. */
  #pair(kind: string): { readonly publish: string; readonly collection: string } {
    const id = this.#ids++;
    return { publish: `pubsub${kind}${id}`, collection: `collection${kind}${id}` };
  }
}
