/**
 * `vrouter demo loadbalancer`, simulated: a service with an external IP behind a gateway, step by step, with a report.
 * Stage is sim/'s, sentences and verdict loadbalancer-expectations.ts's. A function of its options: same seed, same report.
 */
import type { NextHopView } from '../cli/views.ts';
import { Clients, type Load, loadFrom } from '../sim/connections.ts';
import { type LoadbalancerOptions, LoadbalancerStage, tunnelsUsed } from '../sim/loadbalancer.ts';
import {
  AS,
  BACKENDS,
  CONTROL,
  GATEWAY,
  INTERNET,
  NODES,
  SERVICE,
  SERVICE_PREFIX,
  topology,
} from '../sim/loadbalancer-plan.ts';
import type { Connection } from '../sim/tenant.ts';
import { everyPacketAccounted } from './clusterip-expectations.ts';
import { DemoRecorder, type DemoRecorderOptions, type DemoReport } from './demo-report.ts';
import { sabotageOf } from './demo-sabotage.ts';
import { nextHopTable, routeTable } from './demo-tables.ts';
import {
  addressesPass,
  type BgpRoute,
  carried,
  type Held,
  keptAsStale,
  leaves,
  routesAtGateway,
  served,
  staysOpen,
  tunnelsFollow,
} from './loadbalancer-expectations.ts';
import * as views from './views.ts';

const HELD = 60;
const AWAY_MS = 30_000;
const GRACE = { graceful_restart_seconds: 120 };

export interface LoadbalancerDemoOptions extends Pick<DemoRecorderOptions, 'narrate' | 'colour'> {
  readonly seed: bigint;
  readonly connections: number;
  readonly sabotage?: string | undefined;
}

type Sabotage = { readonly what: string } & Omit<Partial<LoadbalancerOptions>, 'seed'>;

/** Each must turn the verdict. */
export const LOADBALANCER_SABOTAGE: Readonly<Record<string, Sabotage>> = {
  'no-target': {
    what: "the gateway's VRF has another route target",
    gatewayTarget: `${AS}:99999`,
  },
  'one-path': { what: 'the gateway uses one path where it is to use all', maximumPaths: 1 },
  'no-grace': { what: 'the BGP session is without graceful restart', session: {} },
  'other-tunnel': {
    what: 'the gateway prefers MPLS over UDP',
    encaps: { gateway: ['udp', 'gre'] },
  },
};

export function runLoadbalancer(options: LoadbalancerDemoOptions): DemoReport {
  const { seed, connections, sabotage: fault, narrate, colour } = options;
  const sabotage =
    fault === undefined ? undefined : sabotageOf('loadbalancer', LOADBALANCER_SABOTAGE, fault);
  const recorder = new DemoRecorder({
    ...{ demo: 'loadbalancer', setting: 'simulated', topology: topology(), narrate, colour },
    options: { seed: seed.toString(), connections, sabotage: fault ?? null },
  });
  if (sabotage !== undefined) recorder.step(`SABOTAGE: ${sabotage.what}`);
  const stage = { seed, encaps: { gateway: ['gre', 'udp'] as const }, session: GRACE };
  new Round(recorder, { ...stage, ...sabotage }, connections).withMultipath();
  new Round(recorder, { ...stage, ...sabotage, maximumPaths: 1 }, connections).withoutMultipath();
  return recorder.finish();
}

class Round {
  readonly #recorder: DemoRecorder;
  readonly #stage: LoadbalancerStage;
  readonly #clients: Clients;
  readonly #connections: number;

  constructor(recorder: DemoRecorder, options: LoadbalancerOptions, connections: number) {
    this.#recorder = recorder;
    this.#connections = connections;
    this.#stage = new LoadbalancerStage(options);
    this.#clients = new Clients(this.#stage.cluster);
    for (const pod of BACKENDS) this.#stage.addBackend(pod);
    this.#stage.meet();
  }

  withMultipath(): void {
    try {
      this.#routes();
      this.#bothTunnels();
      this.#sessionLost();
      this.#backendLeaves();
      this.#accounts();
    } finally {
      this.#stage.cluster.close();
    }
  }

  withoutMultipath(): void {
    try {
      const count = Math.min(this.#connections, 200);
      this.#recorder.step(`The same with maximum_paths: 1, ${count} connections`);
      const { load, used } = this.#load(count);
      this.#recorder.expect(
        carried('one-tunnel', 'without multipath', used, [NODES.first.ipv4]),
        served('one-served', 'without multipath', load, [BACKENDS[0].name]),
      );
    } finally {
      this.#stage.cluster.close();
    }
  }

  // --- steps -----------------------------------------------------------------------------------

  #routes(): void {
    const { cluster } = this.#stage;
    const { dataplane, agent } = this.#gateway;
    this.#recorder.step(`${GATEWAY.name} meets ${CONTROL.name} by BGP; routes travel`);
    for (const { nextHop, label, targets } of this.#bgpRoutes()) {
      this.#recorder.say(`${SERVICE_PREFIX} next hop ${nextHop} label ${label} target ${targets}`);
    }
    for (const { tenant, vif, node } of cluster.tenants.values())
      this.#recorder.say(`${node.name}: ${vif}, ${tenant.ipv4}`);
    const vrf = agent.vrfId(INTERNET) ?? 0;
    const tree = this.#tree();
    const routes = { vrf, family: 'inet' as const, routes: views.routes(dataplane, vrf, 4) };
    this.#recorder.table(routeTable(GATEWAY.name, routes));
    if (tree.length > 0) this.#recorder.table(nextHopTable(GATEWAY.name, tree));
    this.#recorder.expect(routesAtGateway(this.#bgpRoutes()), tunnelsFollow(tree));
  }

  #bothTunnels(): void {
    this.#recorder.step(`${this.#connections} connections from the Internet`);
    const { load, used } = this.#load(this.#connections);
    for (const [tunnel, frames] of used) this.#recorder.say(`${tunnel}: ${frames} frames`);
    const callers = new Set(
      BACKENDS.flatMap(({ name }) => [...this.#stage.cluster.placed(name).tenant.callers]),
    );
    this.#recorder.expect(
      carried('both-tunnels', 'with multipath', used),
      served('served', 'with multipath', load),
      ...addressesPass(callers, this.#stage.internet.heard),
    );
  }

  #sessionLost(): void {
    const { cluster } = this.#stage;
    const { bgp } = cluster;
    const { dataplane } = this.#gateway;
    this.#recorder.step(`The BGP session is cut for ${AWAY_MS / 1000} s, ${HELD} connections open`);
    const open = this.#stage.open(HELD);
    const { generation } = dataplane.info();
    bgp.mayConnect = () => false;
    for (const { bytes } of bgp.connections) bytes.cut();
    cluster.advance(AWAY_MS);
    const commits = dataplane.info().generation - generation;
    const stale = this.#bgpPaths().map((path) => path.stale !== undefined);
    this.#recorder.expect(
      keptAsStale(stale, commits),
      staysOpen('not-missed', 'while it is away', this.#asked(open)),
    );
    bgp.mayConnect = () => true;
    cluster.advance(2 * AWAY_MS);
    this.#recorder.expect(staysOpen('back', 'when it is back', this.#asked(open)));
    this.#stage.close(open);
  }

  #backendLeaves(): void {
    const [stays, goes] = BACKENDS;
    this.#recorder.step(`${goes.name} is removed, ${HELD} connections open`);
    const open = this.#stage.open(HELD);
    const kept = open.filter(({ answers }) => answers[0]?.backend === stays.name);
    this.#stage.removeBackend(goes);
    this.#stage.cluster.settle();
    const hops = this.#gateway.agent
      .paths({ instance: INTERNET, family: 'inet', prefix: SERVICE_PREFIX })
      .flatMap(({ route }) => route.hops.map(({ address }) => address));
    this.#recorder.expect(
      leaves(hops),
      staysOpen('survivors', `${goes.name} gone`, this.#asked(kept)),
    );
    const { load, used } = this.#load(HELD);
    this.#recorder.expect(
      carried('tunnel-left', `${goes.name} gone`, used, [NODES.first.ipv4]),
      served('served-on', `${goes.name} gone`, load, [stays.name]),
    );
  }

  #accounts(): void {
    for (const { name, entered, dataplane } of this.#stage.cluster.nodes.values()) {
      const totals = views.totals(dataplane);
      const dropped = views.drops(dataplane).filter(({ packets }) => packets !== 0);
      this.#recorder.expect(everyPacketAccounted({ node: name, entered, totals, dropped }));
    }
  }

  // --- what is looked at -----------------------------------------------------------------------

  get #gateway() {
    return this.#stage.cluster.node(GATEWAY.name);
  }

  #bgpPaths() {
    const rib = this.#gateway.gateway?.speaker.rib;
    return [...(rib?.routes('vpnv4') ?? [])]
      .filter(({ key }) => key.endsWith(` ${SERVICE_PREFIX}`))
      .flatMap(({ paths }) => paths);
  }

  #bgpRoutes(): BgpRoute[] {
    return this.#bgpPaths().map(({ nlri, nextHop, attributes }) => {
      const extended = attributes.extendedCommunities ?? [];
      const node = [...this.#stage.cluster.nodes.values()].find(
        ({ ipv4 }) => ipv4 === nextHop.address,
      );
      const own = node?.agent.published().find(({ prefix }) => prefix === SERVICE_PREFIX);
      return {
        nextHop: nextHop.address,
        label: 'label' in nlri ? (nlri.label ?? 0) : 0,
        targets: extended.flatMap((e) => (e.kind === 'route-target' ? [e.target] : [])),
        encapsulations: extended.flatMap((e) => (e.kind === 'encapsulation' ? [e.tunnel] : [])),
        published: own?.hops[0]?.label,
      };
    });
  }

  /** The service's next hop at the gateway, and what it is composed of. */
  #tree(): NextHopView[] {
    const { dataplane, agent } = this.#gateway;
    const vrf = agent.vrfId(INTERNET) ?? 0;
    const route = views.routes(dataplane, vrf, 4).find(({ prefix }) => prefix === SERVICE_PREFIX);
    return route === undefined ? [] : views.nextHopTree(dataplane, route.nextHop);
  }

  #load(count: number): { readonly load: Load; readonly used: ReadonlyMap<string, number> } {
    let load: Load | undefined;
    const used = tunnelsUsed(this.#stage.cluster, () => {
      load = loadFrom(this.#clients, { from: [this.#stage.internet], to: SERVICE, count });
    });
    return { load: load as Load, used };
  }

  #asked(open: readonly Connection[]): Held {
    const before = open.map(({ answers }) => answers.length);
    this.#stage.ask(open);
    const alive = open.filter(
      ({ answers }, i) =>
        answers.length === (before[i] ?? 0) + 1 && answers.at(-1)?.backend === answers[0]?.backend,
    );
    return { open: open.length, alive: alive.length };
  }
}
