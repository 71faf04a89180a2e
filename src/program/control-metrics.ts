/**
 * Prometheus metrics of a control node: `metrics:` in the control file. Cardinality is bounded by agents, not by
 * instances or routes: those are counted, and `vrouter control show` names them.
 */
import type { Logger } from 'pino';
import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client';
import type { ControlFile } from '../config/control.ts';
import type { ControlAgents } from '../control/agents.ts';
import { wholeDigest } from '../control/digest.ts';
import type { RouteTables } from '../control/tables.ts';
import type { ServedBgp } from './control-bgp.ts';
import { BgpMetrics } from './control-bgp-metrics.ts';
import type { ControlConfig } from './control-config.ts';
import { tableViews } from './control-views.ts';
import { type MetricsServer, serveMetrics } from './metrics-server.ts';

const FAMILIES = ['inet', 'inet6', 'evpn'] as const;

export class ControlMetrics {
  readonly #registry = new Registry();
  readonly #sessions = this.#gauge('vrouter_control_sessions', 'Sessions by state', ['state']);
  readonly #instances = this.#gauge('vrouter_control_instances', 'Routing instances');
  readonly #prefixes = this.#gauge('vrouter_control_prefixes', 'Prefixes in all tables', [
    'family',
  ]);
  readonly #paths = this.#gauge(
    'vrouter_control_paths',
    'Paths that agents have published, and that came by BGP',
  );
  readonly #digest = this.#gauge(
    'vrouter_control_digest',
    'Of all tables and their configuration: equal at two control nodes that are in step',
  );
  readonly #up = this.#gauge('vrouter_control_agent_up', '1: it has a session; 0: awaited', [
    'agent',
  ]);
  readonly #routes = this.#gauge('vrouter_control_agent_paths', 'Paths it has published', [
    'agent',
  ]);
  readonly #waiting = this.#gauge(
    'vrouter_control_agent_waiting_bytes',
    'Sent to it and not taken yet',
    ['agent'],
  );
  readonly #said = this.#gauge(
    'vrouter_control_agent_said_total',
    'What it has said, by kind; messages: what it was told',
    ['agent', 'kind'],
  );
  readonly #ended = new Counter({
    name: 'vrouter_control_sessions_ended_total',
    help: 'Sessions that ended, by code',
    labelNames: ['code'],
    registers: [this.#registry],
  });
  readonly #refused = new Counter({
    name: 'vrouter_control_items_refused_total',
    help: 'Items of agents that were refused',
    registers: [this.#registry],
  });

  readonly #configVersion = this.#gauge('vrouter_control_config_version', 'Of the configuration');
  readonly #configObjects = this.#gauge(
    'vrouter_control_config_objects',
    'Of the configuration, by what they were given as',
    ['list'],
  );
  readonly #configSent = this.#gauge(
    'vrouter_control_agent_config_version',
    'Of the configuration it was last sent any of',
    ['agent'],
  );
  readonly #configTold = this.#gauge(
    'vrouter_control_agent_config_objects',
    'Objects of the configuration it has been told of',
    ['agent'],
  );
  readonly #configBehind = this.#gauge(
    'vrouter_control_agent_config_behind',
    '1: there is some that it does not take yet',
    ['agent'],
  );

  /** Its series are there from the first session, or reading, on. */
  #bgp: BgpMetrics | undefined;

  constructor(name: string) {
    this.#registry.setDefaultLabels({ control: name });
    collectDefaultMetrics({ register: this.#registry });
  }

  #gauge(name: string, help: string, labelNames: readonly string[] = []): Gauge {
    return new Gauge({ name, help, labelNames: [...labelNames], registers: [this.#registry] });
  }

  ended(code: string): void {
    this.#ended.inc({ code });
  }

  bgpSession(state: 'up' | 'down'): void {
    this.#ofBgp().session(state);
  }

  #ofBgp(): BgpMetrics {
    this.#bgp ??= new BgpMetrics(this.#registry);
    return this.#bgp;
  }

  refused(): void {
    this.#refused.inc();
  }

  #readConfig(config: ControlConfig): void {
    const { version, objects, agents } = config.view();
    this.#configVersion.set(version);
    for (const [list, count] of Object.entries(objects)) this.#configObjects.set({ list }, count);
    for (const gauge of [this.#configSent, this.#configTold, this.#configBehind]) gauge.reset();
    for (const { name: agent, version: sent, objects: told, behind, subscriptions } of agents) {
      if (subscriptions.length === 0) continue;
      this.#configSent.set({ agent }, sent);
      this.#configTold.set({ agent }, told);
      this.#configBehind.set({ agent }, behind ? 1 : 0);
    }
  }

  #read(tables: RouteTables, agents: ControlAgents | undefined): void {
    const views = tableViews(tables);
    this.#instances.set(views.length);
    const sum = (of: (view: (typeof views)[number]) => number) =>
      views.reduce((all, view) => all + of(view), 0);
    for (const family of FAMILIES)
      this.#prefixes.set(
        { family },
        sum((view) => view[family]),
      );
    this.#digest.set(wholeDigest(tables));
    this.#paths.set(sum((view) => view.published));
    const sessions = agents?.sessions() ?? [];
    for (const state of ['established', 'awaited'] as const) {
      this.#sessions.set({ state }, sessions.filter((session) => session.state === state).length);
    }
    // Agents come and go for good: one that is gone has no series.
    for (const gauge of [this.#up, this.#routes, this.#waiting, this.#said]) gauge.reset();
    for (const { name: agent, state, routes, waitingBytes, counters } of sessions) {
      this.#up.set({ agent }, state === 'established' ? 1 : 0);
      this.#routes.set({ agent }, routes);
      this.#waiting.set({ agent }, waitingBytes);
      for (const [kind, count] of Object.entries(counters)) this.#said.set({ agent, kind }, count);
    }
  }

  serve(
    at: NonNullable<ControlFile['metrics']>,
    tables: RouteTables,
    {
      agents,
      config,
      bgp,
    }: {
      readonly agents: ControlAgents | undefined;
      readonly config: ControlConfig;
      readonly bgp: ServedBgp | undefined;
    },
    log: Logger,
  ): Promise<MetricsServer> {
    return serveMetrics(at, this.#registry, log, {
      read: () => {
        this.#read(tables, agents);
        this.#readConfig(config);
        if (bgp !== undefined) this.#ofBgp().read(bgp);
      },
      notReady: async () => undefined,
    });
  }
}
