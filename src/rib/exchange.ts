/**
 * RouteExchange: route exchange inside one process, modelled on Contrail's control node. Agents attach
 * by name and publish routes into routing instances; instances import by route target; several agents
 * that publish one prefix make one announce with their hops merged (ECMP).
 *
 * Invariants
 *  * What an instance's subscribers have been told is `Instance.table`, and after a flush that is a
 *    function of what is published and of the instances' targets, not of the order of calls.
 *  * Nothing is delivered inside a call: publish(), subscribe(), connect() … only mark what is dirty;
 *    flush() computes and delivers. It is never re-entered: what listeners cause waits for the next.
 *  * An agent's own routes come back to it merged with the others' (the ancestor's echo).
 * An instance that is only named by agents, and never created, has no targets: its subscribers see what
 * is published in it. So agents and instances may come in any order.
 */
import { canonicalRouteTarget, type RouteTarget } from '../addr/route-target.ts';
import { VRouterError } from '../errors.ts';
import { byText, mergeRoutes, sameRoute } from './best-path.ts';
import { checkKey, checkName, checkRoute } from './check.ts';
import { getOrCreate } from './map-entry.ts';
import {
  keyOf,
  prefixKeyText,
  type Route,
  type RouteKey,
  type RouteSource,
  type RouteUpdate,
} from './route.ts';

export interface InstanceSpec {
  readonly name: string;
  /** Both absent: one automatic target, imported and exported. */
  readonly import?: readonly string[];
  readonly export?: readonly string[];
}

export interface RouteExchangeOptions {
  /** Called once when there is something to deliver; must call `run` later, not at once. */
  readonly schedule?: (run: () => void) => void;
  /** Of automatic route targets, `AS:8000001` on. Default 64512. */
  readonly autonomousSystem?: number;
}

type Listener = (updates: readonly RouteUpdate[]) => void;

/** One agent's route in one instance. */
interface Contribution {
  readonly agent: string;
  readonly route: Route;
}

interface Instance {
  readonly name: string;
  created: boolean;
  ownImports: ReadonlySet<RouteTarget>;
  exports: ReadonlySet<RouteTarget>;
  /** Instances whose exports it imports by policy. */
  readonly links: Set<string>;
  /** ownImports and the exports of links. */
  imports: ReadonlySet<RouteTarget>;
  /** What subscribers have been told, by prefix. */
  readonly table: Map<string, Route>;
  readonly subscribers: Set<Attachment>;
}

const FIRST_AUTOMATIC_TARGET = 8_000_001;
const NO_TARGETS: ReadonlySet<RouteTarget> = new Set();

export class RouteExchange {
  readonly #schedule: ((run: () => void) => void) | undefined;
  readonly #autonomousSystem: number;
  #nextTarget = FIRST_AUTOMATIC_TARGET;
  readonly #instances = new Map<string, Instance>();
  readonly #attachments = new Map<string, Attachment>();
  /** By prefix, then by publisher and instance. */
  readonly #published = new Map<string, Map<string, Contribution>>();
  /** Which instances import a target: the index of Instance.imports. */
  readonly #importers = new Map<RouteTarget, Set<string>>();
  /** Prefixes to merge again, by instance. */
  #dirty = new Map<string, Set<string>>();
  #newSubscriptions: { attachment: Attachment; instance: string }[] = [];
  #scheduled = false;
  #flushing = false;

  constructor(options: RouteExchangeOptions = {}) {
    this.#schedule = options.schedule;
    this.#autonomousSystem = options.autonomousSystem ?? 64512;
  }

  createInstance(spec: InstanceSpec): void {
    const name = checkName(spec.name, 'instance');
    if (this.#instances.get(name)?.created === true) {
      throw new VRouterError('CONFLICT', `instance '${name}' exists already`);
    }
    const instance = this.#instance(name);
    instance.created = true;
    this.#setTargets(instance, spec);
  }

  /** Replaces the targets of an instance. */
  updateInstance(spec: InstanceSpec): void {
    this.#setTargets(this.#created(spec.name), spec);
  }

  /** Its routes stay with those who published and subscribed; it exports and imports no more. */
  deleteInstance(name: string): void {
    const instance = this.#created(name);
    for (const other of [...instance.links]) this.disconnect(name, other);
    instance.created = false;
    this.#setExports(instance, NO_TARGETS);
    instance.ownImports = NO_TARGETS;
    this.#refreshImports(instance);
  }

  /** Policy between two networks: each imports what the other exports. */
  connect(a: string, b: string): void {
    const [first, second] = [this.#created(a), this.#created(b)];
    if (first === second) throw new VRouterError('CONFLICT', `instance '${a}' cannot meet itself`);
    first.links.add(b);
    second.links.add(a);
    this.#refreshImports(first);
    this.#refreshImports(second);
  }

  disconnect(a: string, b: string): void {
    const [first, second] = [this.#created(a), this.#created(b)];
    if (!first.links.delete(b)) {
      throw new VRouterError('NOT_FOUND', `instances '${a}' and '${b}' are not connected`);
    }
    second.links.delete(a);
    this.#refreshImports(first);
    this.#refreshImports(second);
  }

  /** A name is one session; the routes of a closed one are gone. */
  attach(name: string): RouteSource {
    checkName(name, 'name');
    if (this.#attachments.has(name)) {
      throw new VRouterError('CONFLICT', `'${name}' is attached already`);
    }
    const attachment = new Attachment(name, {
      subscribe: (instance) => this.#subscribe(attachment, instance),
      unsubscribe: (instance) => this.#unsubscribe(attachment, instance),
      publish: (route) => this.#publish(attachment, route),
      withdraw: (key) => this.#withdraw(attachment, key),
      close: () => this.#detach(attachment),
    });
    this.#attachments.set(name, attachment);
    return attachment;
  }

  /** Delivers what is waiting; returns how many updates. */
  flush(): number {
    if (this.#flushing) return 0;
    this.#flushing = true;
    try {
      const outbox = new Map<Attachment, RouteUpdate[]>();
      this.#mergeDirty(outbox);
      this.#sendTables(outbox);
      return deliver(outbox);
    } finally {
      this.#flushing = false;
      if (this.#waiting()) this.#wake();
    }
  }

  /** What subscribers of an instance see, in order of prefix text. */
  routes(instance: string): Route[] {
    const table = this.#instances.get(instance)?.table;
    if (table === undefined) return [];
    return [...table.keys()].sort(byText).map((k) => table.get(k) as Route);
  }

  instances(): {
    readonly name: string;
    readonly import: readonly string[];
    readonly export: readonly string[];
    readonly connected: readonly string[];
  }[] {
    return [...this.#instances.values()]
      .filter((i) => i.created)
      .sort((a, b) => byText(a.name, b.name))
      .map((i) => ({
        name: i.name,
        import: [...i.ownImports].sort(byText),
        export: [...i.exports].sort(byText),
        connected: [...i.links].sort(byText),
      }));
  }

  // --- instances and targets ---------------------------------------------------------------------

  #instance(name: string): Instance {
    let instance = this.#instances.get(name);
    if (instance === undefined) {
      instance = {
        name,
        created: false,
        ownImports: NO_TARGETS,
        exports: NO_TARGETS,
        links: new Set(),
        imports: NO_TARGETS,
        table: new Map(),
        subscribers: new Set(),
      };
      this.#instances.set(name, instance);
    }
    return instance;
  }

  #created(name: string): Instance {
    const instance = this.#instances.get(name);
    if (instance?.created !== true) throw new VRouterError('NOT_FOUND', `no instance '${name}'`);
    return instance;
  }

  #setTargets(instance: Instance, spec: InstanceSpec): void {
    let imports = new Set(spec.import?.map(canonicalRouteTarget));
    let exports = new Set(spec.export?.map(canonicalRouteTarget));
    if (spec.import === undefined && spec.export === undefined) {
      const automatic = canonicalRouteTarget(`${this.#autonomousSystem}:${this.#nextTarget++}`);
      imports = new Set([automatic]);
      exports = new Set([automatic]);
    }
    this.#setExports(instance, exports);
    instance.ownImports = imports;
    this.#refreshImports(instance);
  }

  #setExports(instance: Instance, exports: ReadonlySet<RouteTarget>): void {
    const publishedIn = [...this.#contributions()].filter(
      ([, c]) => c.route.instance === instance.name,
    );
    for (const [prefix, contribution] of publishedIn) this.#touch(prefix, contribution);
    instance.exports = exports;
    for (const other of instance.links) this.#refreshImports(this.#instance(other));
    for (const [prefix, contribution] of publishedIn) this.#touch(prefix, contribution);
  }

  #refreshImports(instance: Instance): void {
    const imports = new Set(instance.ownImports);
    for (const link of instance.links) {
      for (const target of this.#instance(link).exports) imports.add(target);
    }
    const changed = new Set<RouteTarget>();
    for (const target of imports) {
      if (instance.imports.has(target)) continue;
      changed.add(target);
      this.#importersOf(target).add(instance.name);
    }
    for (const target of instance.imports) {
      if (imports.has(target)) continue;
      changed.add(target);
      this.#importersOf(target).delete(instance.name);
    }
    instance.imports = imports;
    if (changed.size === 0) return;
    for (const [prefix, contribution] of this.#contributions()) {
      if (meets(changed, this.#targetsOf(contribution))) this.#markDirty(instance.name, prefix);
    }
  }

  #importersOf(target: RouteTarget): Set<string> {
    const importers = getOrCreate(this.#importers, target, () => new Set());
    return importers;
  }

  *#contributions(): Generator<[string, Contribution]> {
    for (const [prefix, byPublisher] of this.#published) {
      for (const contribution of byPublisher.values()) yield [prefix, contribution];
    }
  }

  /** Route targets a route leaves with: its instance's exports and its own. */
  #targetsOf({ route }: Contribution): ReadonlySet<RouteTarget> {
    const exports = this.#instances.get(route.instance)?.exports ?? NO_TARGETS;
    if (route.routeTargets === undefined || route.routeTargets.length === 0) return exports;
    return new Set([...exports, ...(route.routeTargets as readonly RouteTarget[])]);
  }

  #reaches(
    instance: Instance,
    contribution: Contribution,
    targets: ReadonlySet<RouteTarget>,
  ): boolean {
    return instance.name === contribution.route.instance || meets(instance.imports, targets);
  }

  // --- publishing ----------------------------------------------------------------------------------

  #publish(attachment: Attachment, given: Route): void {
    const route = checkRoute(given);
    this.#instance(route.instance);
    const prefix = prefixKeyText(route);
    const byPublisher = getOrCreate(this.#published, prefix, () => new Map());
    const id = `${attachment.name}\n${route.instance}`;
    const before = byPublisher.get(id);
    const contribution: Contribution = { agent: attachment.name, route };
    if (before !== undefined) this.#touch(prefix, before);
    byPublisher.set(id, contribution);
    this.#touch(prefix, contribution);
  }

  #withdraw(attachment: Attachment, given: RouteKey): void {
    const key = checkKey(keyOf(given));
    this.#remove(prefixKeyText(key), `${attachment.name}\n${key.instance}`);
  }

  #remove(prefix: string, id: string): void {
    const byPublisher = this.#published.get(prefix);
    const before = byPublisher?.get(id);
    if (byPublisher === undefined || before === undefined) return;
    this.#touch(prefix, before);
    byPublisher.delete(id);
    if (byPublisher.size === 0) this.#published.delete(prefix);
  }

  /** Every instance the contribution reaches has to look at the prefix again. */
  #touch(prefix: string, contribution: Contribution): void {
    this.#markDirty(contribution.route.instance, prefix);
    for (const target of this.#targetsOf(contribution)) {
      for (const instance of this.#importersOf(target)) this.#markDirty(instance, prefix);
    }
  }

  #markDirty(instance: string, prefix: string): void {
    const prefixes = getOrCreate(this.#dirty, instance, () => new Set());
    prefixes.add(prefix);
    this.#wake();
  }

  #subscribe(attachment: Attachment, name: string): void {
    const instance = this.#instance(checkName(name, 'instance'));
    const waiting = this.#newSubscriptions.some(
      (s) => s.attachment === attachment && s.instance === name,
    );
    if (waiting || instance.subscribers.has(attachment)) {
      throw new VRouterError('CONFLICT', `'${attachment.name}' is subscribed to '${name}' already`);
    }
    this.#newSubscriptions.push({ attachment, instance: name });
    this.#wake();
  }

  #unsubscribe(attachment: Attachment, name: string): void {
    this.#instances.get(name)?.subscribers.delete(attachment);
    this.#newSubscriptions = this.#newSubscriptions.filter(
      (s) => s.attachment !== attachment || s.instance !== name,
    );
  }

  #detach(attachment: Attachment): void {
    this.#attachments.delete(attachment.name);
    for (const instance of this.#instances.values()) instance.subscribers.delete(attachment);
    this.#newSubscriptions = this.#newSubscriptions.filter((s) => s.attachment !== attachment);
    for (const [prefix, byPublisher] of [...this.#published]) {
      for (const [id, contribution] of [...byPublisher]) {
        if (contribution.agent === attachment.name) this.#remove(prefix, id);
      }
    }
  }

  // --- delivery ------------------------------------------------------------------------------------

  #mergeDirty(outbox: Map<Attachment, RouteUpdate[]>): void {
    const dirty = this.#dirty;
    this.#dirty = new Map();
    for (const [name, prefixes] of dirty) {
      const instance = this.#instance(name);
      for (const prefix of prefixes) {
        const update = this.#merge(instance, prefix);
        if (update === undefined) continue;
        for (const subscriber of instance.subscribers) push(outbox, subscriber, update);
      }
    }
  }

  /** Brings one prefix of an instance's table up to date; the update that says so, if it changed. */
  #merge(instance: Instance, prefix: string): RouteUpdate | undefined {
    const routes: { readonly id: string; readonly route: Route }[] = [];
    for (const [id, contribution] of this.#published.get(prefix) ?? []) {
      const targets = this.#targetsOf(contribution);
      if (!this.#reaches(instance, contribution, targets)) continue;
      const { route } = contribution;
      routes.push({
        id,
        route: {
          ...route,
          instance: instance.name,
          originVn: route.originVn ?? route.instance,
          ...(targets.size > 0 && { routeTargets: [...targets].sort(byText) }),
        },
      });
    }
    routes.sort((a, b) => byText(a.id, b.id));
    const before = instance.table.get(prefix);
    const [first] = routes;
    if (first === undefined) {
      if (before === undefined) return undefined;
      instance.table.delete(prefix);
      return { type: 'withdraw', key: keyOf(before) };
    }
    const route = mergeRoutes(
      first.route,
      routes.map((r) => r.route),
    ) as Route;
    if (sameRoute(before, route)) return undefined;
    instance.table.set(prefix, route);
    return { type: 'announce', route };
  }

  #sendTables(outbox: Map<Attachment, RouteUpdate[]>): void {
    const subscriptions = this.#newSubscriptions;
    this.#newSubscriptions = [];
    for (const { attachment, instance: name } of subscriptions) {
      const instance = this.#instance(name);
      instance.subscribers.add(attachment);
      for (const route of this.routes(name)) push(outbox, attachment, { type: 'announce', route });
      push(outbox, attachment, { type: 'end-of-rib', instance: name });
    }
  }

  #waiting(): boolean {
    return this.#dirty.size > 0 || this.#newSubscriptions.length > 0;
  }

  #wake(): void {
    if (this.#flushing || this.#scheduled || this.#schedule === undefined) return;
    this.#scheduled = true;
    this.#schedule(() => {
      this.#scheduled = false;
      this.flush();
    });
  }
}

function push(outbox: Map<Attachment, RouteUpdate[]>, to: Attachment, update: RouteUpdate): void {
  const updates = outbox.get(to);
  if (updates === undefined) outbox.set(to, [update]);
  else updates.push(update);
}

/** One listener's error does not keep the others' updates from them. */
function deliver(outbox: Map<Attachment, RouteUpdate[]>): number {
  let delivered = 0;
  const errors: unknown[] = [];
  for (const [attachment, updates] of outbox) {
    try {
      if (attachment.deliver(updates)) delivered += updates.length;
    } catch (error) {
      errors.push(error);
    }
  }
  if (errors.length > 0) throw errors[0];
  return delivered;
}

function meets(a: ReadonlySet<RouteTarget>, b: ReadonlySet<RouteTarget>): boolean {
  for (const target of b) if (a.has(target)) return true;
  return false;
}

interface Calls {
  subscribe(instance: string): void;
  unsubscribe(instance: string): void;
  publish(route: Route): void;
  withdraw(key: RouteKey): void;
  close(): void;
}

/** An agent's end: the exchange's calls under its name, refused once closed. */
class Attachment implements RouteSource {
  readonly name: string;
  readonly #calls: Calls;
  #listener: Listener | undefined;
  #closed = false;

  constructor(name: string, calls: Calls) {
    this.name = name;
    this.#calls = calls;
  }

  onUpdates(listener: Listener): void {
    this.#listener = listener;
  }

  subscribe(instance: string, _instanceId: number): void {
    this.#open().subscribe(instance);
  }

  unsubscribe(instance: string): void {
    this.#open().unsubscribe(instance);
  }

  publish(route: Route): void {
    this.#open().publish(route);
  }

  withdraw(key: RouteKey): void {
    this.#open().withdraw(key);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#calls.close();
  }

  deliver(updates: readonly RouteUpdate[]): boolean {
    if (this.#closed || this.#listener === undefined) return false;
    this.#listener(updates);
    return true;
  }

  #open(): Calls {
    if (this.#closed) throw new VRouterError('BUSY', `route source '${this.name}' is closed`);
    return this.#calls;
  }
}
