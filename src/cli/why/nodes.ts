/**
 * The processes that `vrouter why` asks: nodes and route exchanges, each behind its socket. Reads only.
 * What does not change while one question is answered (interfaces, names of networks) is read once.
 */
import type { Client } from '../client.ts';
import { RpcError } from '../protocol.ts';
import type {
  DropLogView,
  ExplainView,
  FlowView,
  NextHopView,
  RouteView,
  StatusView,
  VifView,
  VrfStatsView,
} from '../views.ts';

export interface Arrival {
  readonly vif: number;
  /** Hex digits. */
  readonly packet: string;
}

export interface UnresolvedView {
  readonly key: { readonly instance: string; readonly prefix: string };
  readonly reasons: readonly string[];
}

/** `explain` takes so many frames as having come before. */
const MAX_BEFORE = 16;

async function ifFound<T>(asked: Promise<T>): Promise<T | undefined> {
  try {
    return await asked;
  } catch (error) {
    if (error instanceof RpcError && error.code === 'NOT_FOUND') return undefined;
    throw error;
  }
}

export class NodeView {
  readonly name: string;
  readonly exchange: string;
  readonly vifs: readonly VifView[];
  /** Ports of which it has not been told yet what they are. */
  readonly waiting: readonly { readonly port: string; readonly reason: string }[];
  readonly #vrfs: ReadonlyMap<number, string>;
  readonly #client: Client;
  /** What has been taken to arrive here, for what comes after it. */
  readonly #arrivals: Arrival[] = [];

  private constructor(
    client: Client,
    status: StatusView,
    vifs: readonly VifView[],
    vrfs: readonly VrfStatsView[],
  ) {
    this.#client = client;
    this.name = status.name;
    this.exchange = status.exchange;
    this.vifs = vifs;
    this.waiting = status.configuration?.waiting ?? [];
    this.#vrfs = new Map(vrfs.map(({ vrf, name }) => [vrf, name]));
  }

  static async read(client: Client, status: StatusView): Promise<NodeView> {
    const vifs = await client.all<VifView>('vif.list');
    return new NodeView(client, status, vifs, await client.call<VrfStatsView[]>('vrfstats.dump'));
  }

  vif(id: number): VifView | undefined {
    return this.vifs.find((vif) => vif.id === id);
  }

  vrfName(vrf: number): string {
    return this.#vrfs.get(vrf) ?? `VRF ${vrf}`;
  }

  vrfIds(): number[] {
    return [...this.#vrfs.keys()];
  }

  /** The underlay address is this node's. */
  isAt(address: string): boolean {
    return this.vifs.some(
      ({ type, ipv4, ipv6 }) => type === 'Physical' && (ipv4 === address || ipv6 === address),
    );
  }

  explain(arrival: Arrival): Promise<ExplainView> {
    const before = this.#arrivals.slice(-MAX_BEFORE);
    return this.#client.call<ExplainView>('explain', { ...arrival, before });
  }

  remember(arrival: Arrival): void {
    this.#arrivals.push(arrival);
  }

  forget(): void {
    this.#arrivals.length = 0;
  }

  nextHop(id: number): Promise<NextHopView | undefined> {
    return ifFound(this.#client.call<NextHopView[]>('nh.get', { id })).then((tree) => tree?.[0]);
  }

  /** The longest match. */
  route(vrf: number, address: string): Promise<RouteView | undefined> {
    const family = address.includes(':') ? 'inet6' : 'inet';
    return ifFound(this.#client.call<RouteView>('rt.get', { vrf, prefix: address, family }));
  }

  unresolved(): Promise<UnresolvedView[]> {
    return this.#client.call<UnresolvedView[]>('route.unresolved');
  }

  flows(match: string): Promise<FlowView[]> {
    return this.#client.all<FlowView>('flow.list', { match });
  }

  drops(): Promise<DropLogView[]> {
    return this.#client.call<DropLogView[]>('dropstats.log', {});
  }
}

/** As much of a route (rib/route.ts) as is looked at here. */
export interface ExchangeRoute {
  readonly prefix: string;
  readonly hops: readonly { readonly address: string; readonly label: number }[];
}

export interface InstanceView {
  readonly name: string;
  readonly import: readonly string[];
  readonly export: readonly string[];
  readonly connected: readonly string[];
}

export class ExchangeView {
  readonly name: string;
  readonly instances: readonly InstanceView[];
  readonly #client: Client;

  private constructor(client: Client, name: string, instances: readonly InstanceView[]) {
    this.#client = client;
    this.name = name;
    this.instances = instances;
  }

  static async read(client: Client, name: string): Promise<ExchangeView> {
    return new ExchangeView(client, name, await client.call<InstanceView[]>('instance.list'));
  }

  routes(instance: string): Promise<ExchangeRoute[]> {
    return this.#client.call<ExchangeRoute[]>('instance.routes', { instance });
  }
}

export interface Asked {
  readonly nodes: readonly NodeView[];
  readonly exchanges: readonly ExchangeView[];
}

/** A node says its data plane's generation, an exchange has none. */
export async function readProcesses(clients: readonly Client[]): Promise<Asked> {
  const nodes: NodeView[] = [];
  const exchanges: ExchangeView[] = [];
  for (const client of clients) {
    const status = await client.call<StatusView>('status');
    if (status.generation === undefined)
      exchanges.push(await ExchangeView.read(client, status.name));
    else nodes.push(await NodeView.read(client, status));
  }
  return { nodes, exchanges };
}
