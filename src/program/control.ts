/**
 * `vrouter control`: route tables as a process: agents connect to one Unix socket (rib/wire.ts), Contrail-style
 * ones over XMPP, the CLI and orchestrators to another socket. Both kinds of agents are peers of the same tables, and
 * so is BGP: other clusters and routers. Instances, targets, links and the configuration that agents are told can change while it runs.
 */
import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { type Logger, pino } from 'pino';
import { z } from 'zod';
import type { TraceView } from '../cli/control-views.ts';
import { DEFAULT_DIRECTORY } from '../cli/protocol.ts';
import { VERSION } from '../cli/version.ts';
import { instanceSchema, linkSchema } from '../config/control.ts';
import { instanceName, mapping, whole } from '../config/fields.ts';
import { checkParams, loadControl } from '../config/load.ts';
import type { ControlAgents } from '../control/agents.ts';
import { type InstanceSpec, RouteExchange } from '../control/exchange.ts';
import { VRouterError } from '../errors.ts';
import { type ExchangeServer, serveExchange } from '../rib/serve.ts';
import { MAX_PEER_NAME_BYTES } from '../xmpp/limits.ts';
import { type ServedBgp, serveBgp } from './control-bgp.ts';
import { bgpMethods } from './control-bgp-methods.ts';
import { ControlConfig, configMethods } from './control-config.ts';
import { type ServedAgents, serveAgents } from './control-listener.ts';
import { ControlMetrics } from './control-metrics.ts';
import { routePage, tableViews } from './control-views.ts';
import type { MetricsServer } from './metrics-server.ts';
import type { RunningProcess } from './node.ts';
import { clearStale, type Methods, RpcServer } from './rpc-server.ts';
import type { BgpEvents } from './speaker-part.ts';

const schemas = {
  none: mapping({}),
  name: mapping({ name: instanceName }),
  instance: mapping({ instance: instanceName }),
  trace: mapping({
    agent: z.string().min(1).max(MAX_PEER_NAME_BYTES),
    after: whole(0, Number.MAX_SAFE_INTEGER).optional(),
  }),
  table: mapping({ instance: instanceName, after: whole(0, 0xffffffff).optional() }),
};

function specOf(file: z.infer<typeof instanceSchema>): InstanceSpec {
  return {
    name: file.name,
    ...(file.import === undefined ? {} : { import: file.import }),
    ...(file.export === undefined ? {} : { export: file.export }),
  };
}

function methods(
  exchange: RouteExchange,
  own: {
    readonly name: string;
    readonly started: number;
    readonly sessions: () => string[];
    readonly agents: ControlAgents | undefined;
    readonly config: ControlConfig;
    readonly bgp: ServedBgp | undefined;
  },
): Methods {
  /** Delivered before it is answered. */
  const done = (change: () => void) => {
    change();
    return { delivered: exchange.flush() };
  };
  return {
    ...configMethods(own.config),
    ...bgpMethods(own.bgp),
    status: (params) => {
      checkParams(schemas.none, 'status', params);
      return {
        name: own.name,
        version: VERSION,
        pid: process.pid,
        uptimeSeconds: Math.floor((Date.now() - own.started) / 1000),
        instances: exchange.instances().length,
        sessions: own.sessions(),
      };
    },
    'instance.list': (params) => {
      checkParams(schemas.none, 'instance.list', params);
      return exchange.instances();
    },
    'session.list': (params) => {
      checkParams(schemas.none, 'session.list', params);
      return own.agents?.sessions() ?? [];
    },
    'session.trace': (params): TraceView => {
      const { agent, after } = checkParams(schemas.trace, 'session.trace', params);
      if (own.agents === undefined) throw new VRouterError('NOT_FOUND', 'there is no XMPP here');
      return { messages: own.agents.trace(agent, after) };
    },
    'table.list': (params) => {
      checkParams(schemas.none, 'table.list', params);
      return tableViews(exchange.tables);
    },
    'table.routes': (params) => {
      const { instance, after } = checkParams(schemas.table, 'table.routes', params);
      return routePage(exchange.tables, instance, after);
    },
    'instance.routes': (params) =>
      exchange.routes(checkParams(schemas.instance, 'instance.routes', params).instance),
    'instance.add': (params) => {
      const spec = specOf(checkParams(instanceSchema, 'instance.add', params));
      return done(() => exchange.createInstance(spec));
    },
    'instance.update': (params) => {
      const spec = specOf(checkParams(instanceSchema, 'instance.update', params));
      return done(() => exchange.updateInstance(spec));
    },
    'instance.remove': (params) => {
      const given = checkParams(schemas.name, 'instance.remove', params);
      return done(() => exchange.deleteInstance(given.name));
    },
    'link.add': (params) => {
      const [a, b] = checkParams(linkSchema, 'link.add', params).between;
      return done(() => exchange.connect(a, b));
    },
    'link.remove': (params) => {
      const [a, b] = checkParams(linkSchema, 'link.remove', params).between;
      return done(() => exchange.disconnect(a, b));
    },
  };
}

function bgpEvents(log: Logger, metrics: ControlMetrics): BgpEvents {
  return {
    onSession: (neighbour, state, why) => {
      metrics.bgpSession(state);
      log.info({ neighbour, ...(why !== undefined && { why }) }, `bgp session ${state}`);
    },
    onError: (error, what) => log.warn({ err: error }, `bgp: ${what}`),
  };
}

export interface RunningControl extends RunningProcess {
  /** Where agents connect by XMPP. */
  readonly xmppPort?: number;
  /** Where BGP neighbours call, in the order of `listen`. */
  readonly bgpPorts?: readonly number[];
  readonly metricsPort?: number;
}

export interface ControlOptions {
  /** When told to end, leave a speaker of its own process with its sessions. */
  readonly leaveSpeaker?: boolean;
}

export async function startControl(
  configFile: string,
  { leaveSpeaker = false }: ControlOptions = {},
): Promise<RunningControl> {
  const { value: file, text } = loadControl(configFile);
  const log = pino(
    { name: file.name, level: file.log?.level ?? 'info' },
    pino.destination({ fd: 2, sync: true }),
  );
  const exchange = new RouteExchange({
    schedule: setImmediate,
    ...(file.autonomous_system === undefined ? {} : { autonomousSystem: file.autonomous_system }),
  });
  for (const instance of file.instances) exchange.createInstance(specOf(instance));
  const config = new ControlConfig(exchange, Date.now());
  if (file.objects !== undefined) {
    const problems = config.problems(file.objects);
    if (problems.length > 0) {
      text.refuse(problems.map(({ path, message }) => ({ path: ['objects', ...path], message })));
    }
    config.apply(file.objects);
  }
  for (const { between } of file.connect ?? []) exchange.connect(between[0], between[1]);

  const path = file.socket ?? `${DEFAULT_DIRECTORY}/${file.name}.exchange`;
  mkdirSync(dirname(path), { recursive: true });
  await clearStale(path);
  const agents: ExchangeServer = await serveExchange(exchange, {
    path,
    onSession: (agent, state) => log.info({ agent }, `session ${state}`),
    onError: (agent, error) => log.warn({ agent, err: error }, 'session'),
  });
  const socket = file.cli ?? `${DEFAULT_DIRECTORY}/${file.name}.sock`;
  const metrics = new ControlMetrics(file.name);
  let xmpp: ServedAgents | undefined;
  let bgp: ServedBgp | undefined;
  let pages: MetricsServer | undefined;
  let server: RpcServer;
  try {
    bgp =
      file.bgp &&
      (await serveBgp(exchange.tables, file.bgp, text, {
        ...{ name: file.name, naming: config, log },
        events: bgpEvents(log, metrics),
      }));
    xmpp =
      file.xmpp &&
      (await serveAgents(exchange.tables, file.xmpp, {
        onSession: (agent, address, state, error) => {
          if (error !== undefined) metrics.ended(error.code);
          log.info(
            { agent, address, ...(error && { code: error.code, why: error.message }) },
            `session ${state}`,
          );
        },
        onStranger: (address, error) => {
          metrics.ended(error.code);
          log.info({ address, code: error.code, why: error.message }, 'not opened');
        },
        onError: (error) => log.warn({ err: error }, 'connection not accepted'),
        onRefused: (agent, instance, { name, reason }) => {
          metrics.refused();
          log.warn({ agent, instance, item: name, reason }, 'item refused');
        },
        config: config.tables,
      }));
    const own = {
      name: file.name,
      started: Date.now(),
      sessions: () =>
        [
          ...agents.sessions(),
          ...(xmpp?.agents.sessions() ?? []).map((agent) => agent.name),
        ].sort(),
      agents: xmpp?.agents,
      config,
      bgp,
    };
    pages = file.metrics && (await metrics.serve(file.metrics, exchange.tables, own, log));
    server = await RpcServer.listen(socket, methods(exchange, own), (method, error) =>
      log.error({ err: error, method }, 'method failed'),
    );
  } catch (error) {
    pages?.stop();
    bgp?.close();
    await xmpp?.close();
    await agents.close();
    throw error;
  }
  const ports = { ...(xmpp && { xmpp: xmpp.port }), ...(bgp && { bgp: bgp.ports }) };
  log.info({ socket, agents: path, ...ports }, 'ready');
  return {
    socket,
    ...(xmpp && { xmppPort: xmpp.port }),
    ...(bgp && { bgpPorts: bgp.ports }),
    ...(pages && { metricsPort: pages.port }),
    async stop() {
      log.info('stopping');
      await server.close();
      pages?.stop();
      bgp?.close(leaveSpeaker || undefined);
      await xmpp?.close();
      await agents.close();
    },
  };
}
