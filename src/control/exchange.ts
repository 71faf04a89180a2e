/**
 * RouteExchange: the control node's tables for peers that speak in routes: agents of this process, and those
 * on the Unix socket of rib/serve.ts. Agents attach by name; instances and agents may come in any order, and
 * an instance that is only named by agents has no targets: its subscribers see what is published in it.
 * What it promises beyond the tables: one call of a listener a flush, and never during a call into it.
 */
import { VRouterError } from '../errors.ts';
import { checkKey, checkName, checkRoute } from '../rib/check.ts';
import {
  keyOf,
  type Route,
  type RouteKey,
  type RouteSource,
  type RouteUpdate,
} from '../rib/route.ts';
import type { TableChange } from './entry.ts';
import type { Instance, InstanceSpec, InstanceView } from './instances.ts';
import { routeOf, saidOf, updatesOf } from './routes.ts';
import { type Peer, type PeerSink, RouteTables, type TablesOptions } from './tables.ts';

export type { InstanceSpec } from './instances.ts';
export type RouteExchangeOptions = TablesOptions;

type Listener = (updates: readonly RouteUpdate[]) => void;

export class RouteExchange {
  readonly tables: RouteTables;

  constructor(options: RouteExchangeOptions | RouteTables = {}) {
    this.tables = options instanceof RouteTables ? options : new RouteTables(options);
  }

  createInstance(spec: InstanceSpec): void {
    this.tables.createInstance(spec);
  }

  /** Replaces the targets of an instance. */
  updateInstance(spec: InstanceSpec): void {
    this.tables.updateInstance(spec);
  }

  /** Its routes stay with those who published and subscribed; it exports and imports no more. */
  deleteInstance(name: string): void {
    this.tables.deleteInstance(name);
  }

  /** Policy between two networks: each imports what the other exports. */
  connect(a: string, b: string): void {
    this.tables.connect(a, b);
  }

  disconnect(a: string, b: string): void {
    this.tables.disconnect(a, b);
  }

  /** A name is one session; the routes of a closed one are gone. `address`: whom its routes are said to be of. */
  attach(name: string, address?: string): RouteSource {
    return new Attachment(this.tables, checkName(name, 'name'), address);
  }

  /** Delivers what is waiting; returns how many updates. */
  flush(): number {
    return this.tables.flush();
  }

  /** What subscribers of an instance see, in order of prefix text. */
  routes(instance: string): Route[] {
    return this.tables.entries(instance).flatMap((entry) => routeOf(entry) ?? []);
  }

  instances(): InstanceView[] {
    return this.tables.instances();
  }
}

/** An agent's end: the tables' calls under its name, refused once closed. */
class Attachment implements RouteSource, PeerSink {
  readonly name: string;
  readonly #tables: RouteTables;
  readonly #peer: Peer;
  readonly #address: string | undefined;
  readonly #ids = new Map<string, number>();
  #listener: Listener | undefined;
  #outbox: RouteUpdate[] = [];
  #closed = false;

  constructor(tables: RouteTables, name: string, address: string | undefined) {
    this.name = name;
    this.#tables = tables;
    this.#address = address;
    const known = address === undefined ? {} : { address };
    this.#peer = tables.attach({ name, waits: false, ...known }, this);
  }

  onUpdates(listener: Listener): void {
    this.#listener = listener;
  }

  subscribe(instance: string, instanceId: number): void {
    this.#open().subscribe(this.#peer, checkName(instance, 'instance'), instanceId);
    this.#ids.set(instance, instanceId);
  }

  unsubscribe(instance: string): void {
    this.#open().unsubscribe(this.#peer, instance);
  }

  publish(given: Route): void {
    const tables = this.#open();
    const route = checkRoute(given);
    tables.publish(this.#peer, route.instance, saidOf(route, this.#rd(route.instance)));
  }

  withdraw(given: RouteKey): void {
    const tables = this.#open();
    const key = checkKey(keyOf(given));
    tables.withdraw(this.#peer, key.instance, { ...key, rd: '' });
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#tables.detach(this.#peer);
  }

  /** Where there is no address to have, the name stands for it. */
  #rd(instance: string): string {
    return `${this.#address ?? this.name}:${this.#ids.get(instance) ?? 0}`;
  }

  #open(): RouteTables {
    if (this.#closed) throw new VRouterError('BUSY', `route source '${this.name}' is closed`);
    return this.#tables;
  }

  blocked(): boolean {
    return false;
  }

  change(change: TableChange): void {
    this.#outbox.push(...updatesOf(change));
  }

  complete(instance: Instance): void {
    this.#outbox.push({ type: 'end-of-rib', instance: instance.name });
  }

  flushed(): number {
    const updates = this.#outbox;
    this.#outbox = [];
    if (updates.length === 0 || this.#closed || this.#listener === undefined) return 0;
    this.#listener(updates);
    return updates.length;
  }
}
