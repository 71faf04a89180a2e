/**
 * Nodes and control nodes of a scenario on real kernels, as they are asked: over their own sockets, and
 * by their namespaces.
 */
import type { BgpNeighboursView } from '../cli/bgp-views.ts';
import type { Client } from '../cli/client.ts';
import type { SessionView } from '../cli/control-views.ts';
import type {
  FlowListing,
  FlowTableView,
  FlowView,
  LabelView,
  NextHopView,
  RouteDump,
  RouteView,
  StatusView,
  VifView,
  VrfStatsView,
} from '../cli/views.ts';
import type { InstanceSpec } from '../control/instances.ts';
import type { Route } from '../rib/route.ts';
import { LabError, type Service } from './lab.ts';
import type { NetworkNamespace } from './netns.ts';

const NEXT_HOP_TRIES = 5;

export class NetnsNode {
  readonly name: string;
  readonly namespace: NetworkNamespace;
  readonly socket: string;
  readonly #client: () => Client;
  service: Service | undefined;
  /** Frames that came in by interfaces that are gone. */
  entered = 0;

  constructor(name: string, namespace: NetworkNamespace, socket: string, client: () => Client) {
    this.name = name;
    this.namespace = namespace;
    this.socket = socket;
    this.#client = client;
  }

  call<T>(method: string, params: unknown = {}): Promise<T> {
    return this.#client().call<T>(method, params);
  }

  #all<T>(method: string, params: Record<string, unknown> = {}): Promise<T[]> {
    return this.#client().all<T>(method, params);
  }

  status(): Promise<StatusView> {
    return this.call('status');
  }

  async vrf(name: string): Promise<number> {
    const rows = await this.call<VrfStatsView[]>('vrfstats.dump');
    const found = rows.find((row) => row.name === name);
    if (found === undefined) throw new LabError(`${this.name}: no VRF ${name}`);
    return found.vrf;
  }

  async vif(name: string): Promise<VifView | undefined> {
    return (await this.#all<VifView>('vif.list')).find((view) => view.name === name);
  }

  async routes(vrf: number): Promise<RouteDump> {
    return { vrf, family: 'inet', routes: await this.#all<RouteView>('rt.dump', { vrf }) };
  }

  labels(): Promise<LabelView[]> {
    return this.#all('mpls.dump');
  }

  /** Label that leads to a vif. */
  async labelOf(vif: number): Promise<number | undefined> {
    const nextHops = await this.#all<NextHopView>('nh.list');
    const own = new Set(
      nextHops.filter((nh) => nh.type === 'interface' && nh.vif === vif).map(({ id }) => id),
    );
    return (await this.labels()).find(({ nextHop }) => own.has(nextHop))?.label;
  }

  /** What an address's route leads to, and what that is composed of. */
  async nextHopsTo(vrf: number, address: string): Promise<NextHopView[]> {
    const prefix = `${address}/32`;
    for (let tries = 1; ; tries += 1) {
      const route = (await this.routes(vrf)).routes.find((r) => r.prefix === prefix);
      if (route === undefined) return [];
      try {
        return await this.call('nh.get', { id: route.nextHop });
      } catch (error) {
        // It may have changed between the two questions.
        if (tries === NEXT_HOP_TRIES) throw error;
      }
    }
  }

  /** Both halves of a connection, the initiator's first. */
  async flows(match: string): Promise<FlowListing> {
    const flows = await this.#all<FlowView>('flow.list', { match });
    const table = await this.call<FlowTableView>('flow.table');
    const sorted = flows.toSorted(
      (a, b) => Number(b.initiator) - Number(a.initiator) || a.index - b.index,
    );
    return { table, flows: sorted };
  }

  async drops(): Promise<{ name: string; packets: number | string }[]> {
    const all = await this.call<{ name: string; packets: number | string }[]>('dropstats.get');
    return all.filter(({ packets }) => packets !== 0);
  }
}

export class NetnsControl {
  readonly name: string;
  readonly ipv4: string;
  readonly namespace: NetworkNamespace;
  readonly #client: () => Client;
  service: Service | undefined;

  constructor(
    plan: { readonly name: string; readonly ipv4: string },
    namespace: NetworkNamespace,
    client: () => Client,
  ) {
    this.name = plan.name;
    this.ipv4 = plan.ipv4;
    this.namespace = namespace;
    this.#client = client;
  }

  sessions(): Promise<SessionView[]> {
    return this.#client().call('session.list');
  }

  routes(instance: string): Promise<Route[]> {
    return this.#client().call('instance.routes', { instance });
  }

  neighbours(): Promise<BgpNeighboursView> {
    return this.#client().call('bgp.neighbors');
  }

  /** Other targets than before. */
  updateInstance(spec: InstanceSpec): Promise<unknown> {
    return this.#client().call('instance.update', spec);
  }

  /** As kill -9. */
  async kill(): Promise<void> {
    if (this.service === undefined) throw new LabError(`${this.name} is not running`);
    await this.service.kill();
    this.service = undefined;
  }
}
