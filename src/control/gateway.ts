/**
 * Gateway: the route tables of a node that has its routes by BGP and not from a control node: an instance for each of
 * its VRFs, with the route targets it imports and exports, and one agent, the node's own. BGP is joined to the tables
 * by `federate`, as a control node's is.
 *
 * Invariants
 *  * A VRF without targets exchanges nothing.
 *  * What the agent is told of a route is a function of the paths there are, whatever order they came in: with fewer
 *    allowed than there are, this node's own come first, then those with the lowest tunnel ends.
 *  * Encapsulations of a far end are in our order: on the way of a route through BGP nobody keeps theirs.
 *  * The agent's ends of RIB come when the neighbours have said all (`learned`), not when the tables have.
 */
import { compareHops } from '../rib/best-path.ts';
import {
  type EncapName,
  keyOf,
  type PathHop,
  type Route,
  type RouteKey,
  type RouteSource,
  type RouteUpdate,
} from '../rib/route.ts';
import { RouteExchange } from './exchange.ts';
import type { RouteTables, TablesOptions } from './tables.ts';

export interface GatewayVrf {
  readonly name: string;
  readonly import?: readonly string[] | undefined;
  readonly export?: readonly string[] | undefined;
  /** Default: the gateway's. */
  readonly maximumPaths?: number | undefined;
}

export interface GatewayOptions extends Pick<TablesOptions, 'schedule'> {
  readonly name: string;
  /** Of the node in the fabric; routes of the first are its next hop's. */
  readonly addresses: readonly string[];
  /** What it sends, most preferred first. */
  readonly encaps: readonly EncapName[];
  /** Of a route, side by side. Default: all there are. */
  readonly maximumPaths?: number | undefined;
}

export class Gateway {
  readonly tables: RouteTables;
  readonly source: RouteSource;
  readonly #exchange: RouteExchange;
  readonly #options: GatewayOptions;
  /** Where they are not the gateway's. */
  readonly #maximumPaths = new Map<string, number>();
  readonly #own: ReadonlySet<string>;
  readonly #ear: Ear;

  constructor(options: GatewayOptions) {
    this.#options = options;
    const { name, addresses, schedule } = options;
    this.#own = new Set(addresses);
    this.#exchange = new RouteExchange(schedule === undefined ? {} : { schedule });
    this.tables = this.#exchange.tables;
    const address = addresses.find((each) => !each.includes(':')); // an RD has no room for others
    this.#ear = new Ear(this.#exchange.attach(name, address), (route) => this.#usable(route));
    this.source = this.#ear;
  }

  addVrf({ name, import: taken = [], export: given = [], maximumPaths }: GatewayVrf): void {
    this.#exchange.createInstance({ name, import: taken, export: given });
    if (maximumPaths !== undefined) this.#maximumPaths.set(name, maximumPaths);
  }

  removeVrf(name: string): void {
    this.#exchange.deleteInstance(name);
    this.#maximumPaths.delete(name);
  }

  /** What is told from now on is all there is. */
  learned(): void {
    this.#ear.learned();
  }

  #usable(route: Route): Route {
    const { encaps, maximumPaths } = this.#options;
    const hops = route.hops.map((hop) => inOrder(hop, encaps));
    const most = this.#maximumPaths.get(route.instance) ?? maximumPaths ?? hops.length;
    if (route.family === 'evpn' || hops.length <= most) return { ...route, hops };
    return { ...route, hops: hops.sort((a, b) => this.#compare(a, b)).slice(0, most) };
  }

  #compare(a: PathHop, b: PathHop): number {
    const rank = ({ address, weight }: PathHop) =>
      weight === 0 ? 2 : this.#own.has(address) ? 0 : 1; // one that drains comes last
    return rank(a) - rank(b) || compareHops(a, b);
  }
}

function inOrder(hop: PathHop, ours: readonly EncapName[]): PathHop {
  if (hop.encaps.length < 2) return hop;
  const rank = (encap: EncapName) => {
    const at = ours.indexOf(encap);
    return at < 0 ? ours.length : at;
  };
  return { ...hop, encaps: [...hop.encaps].sort((a, b) => rank(a) - rank(b)) };
}

/** The agent's end: what the tables tell, made usable; ends of RIB wait. */
class Ear implements RouteSource {
  readonly name: string;
  readonly #source: RouteSource;
  readonly #waiting = new Set<string>();
  #learned = false;
  #listener: ((updates: readonly RouteUpdate[]) => void) | undefined;

  constructor(source: RouteSource, usable: (route: Route) => Route) {
    this.name = source.name;
    this.#source = source;
    source.onUpdates((updates) => {
      const heard = updates.flatMap((update): RouteUpdate[] => {
        if (update.type === 'announce') return [{ type: 'announce', route: usable(update.route) }];
        if (update.type !== 'end-of-rib' || this.#learned) return [update];
        this.#waiting.add(update.instance);
        return [];
      });
      if (heard.length > 0) this.#listener?.(heard);
    });
  }

  learned(): void {
    if (this.#learned) return;
    this.#learned = true;
    const ends = [...this.#waiting].map(
      (instance): RouteUpdate => ({ type: 'end-of-rib', instance }),
    );
    this.#waiting.clear();
    if (ends.length > 0) this.#listener?.(ends);
  }

  onUpdates(listener: (updates: readonly RouteUpdate[]) => void): void {
    this.#listener = listener;
  }

  subscribe(instance: string, instanceId: number): void {
    this.#source.subscribe(instance, instanceId);
  }

  unsubscribe(instance: string): void {
    this.#waiting.delete(instance);
    this.#source.unsubscribe(instance);
  }

  publish(route: Route): void {
    this.#source.publish(route);
  }

  withdraw(key: RouteKey): void {
    this.#source.withdraw(keyOf(key));
  }

  close(): void {
    this.#source.close();
  }
}
