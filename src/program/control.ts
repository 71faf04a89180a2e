/**
 * `vrouter control`: a RouteExchange as a process: agents connect to one Unix socket (rib/wire.ts), the
 * CLI and orchestrators to another. Instances, targets and links can change while it runs.
 */
import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { pino } from 'pino';
import type { z } from 'zod';
import { DEFAULT_DIRECTORY } from '../cli/protocol.ts';
import { VERSION } from '../cli/version.ts';
import { instanceSchema, linkSchema } from '../config/control.ts';
import { mapping, name } from '../config/fields.ts';
import { checkParams, loadControl } from '../config/load.ts';
import { type InstanceSpec, RouteExchange } from '../control/exchange.ts';
import { type ExchangeServer, serveExchange } from '../rib/serve.ts';
import type { RunningProcess } from './node.ts';
import { clearStale, type Methods, RpcServer } from './rpc-server.ts';

const schemas = {
  none: mapping({}),
  name: mapping({ name }),
  instance: mapping({ instance: name }),
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
  own: { readonly name: string; readonly started: number; readonly sessions: () => string[] },
): Methods {
  /** Delivered before it is answered. */
  const done = (change: () => void) => {
    change();
    return { delivered: exchange.flush() };
  };
  return {
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

export async function startControl(configFile: string): Promise<RunningProcess> {
  const { value: file } = loadControl(configFile);
  const log = pino(
    { name: file.name, level: file.log?.level ?? 'info' },
    pino.destination({ fd: 2, sync: true }),
  );
  const exchange = new RouteExchange({
    schedule: setImmediate,
    ...(file.autonomous_system === undefined ? {} : { autonomousSystem: file.autonomous_system }),
  });
  for (const instance of file.instances) exchange.createInstance(specOf(instance));
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
  const own = { name: file.name, started: Date.now(), sessions: () => agents.sessions() };
  let server: RpcServer;
  try {
    server = await RpcServer.listen(socket, methods(exchange, own), (method, error) =>
      log.error({ err: error, method }, 'method failed'),
    );
  } catch (error) {
    await agents.close();
    throw error;
  }
  log.info({ socket, agents: path }, 'ready');
  return {
    socket,
    async stop() {
      log.info('stopping');
      await server.close();
      await agents.close();
    },
  };
}
