/** The plug API as a part of a node: `plug:` in the node file; docs/plug-api.md. */
import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { VERSION } from '../cli/version.ts';
import { checkParams } from '../config/load.ts';
import {
  type ConfiguredPortFile,
  configuredPortSchema,
  type PluggedVif,
  pluggedSchema,
  pluggedVifSchema,
  type VifFile,
} from '../config/node.ts';
import { VRouterError } from '../errors.ts';
import { Ports, type PortsBackend } from '../plug/ports.ts';
import { servePlug } from '../plug/server.ts';
import { PortStore } from '../plug/store.ts';
import { vifIntent } from './node-intents.ts';
import type { NodeContext, StartPart } from './node-part.ts';
import { clearStale } from './rpc-server.ts';

/** A whole vif, or one of which a control node's configuration says what it is. */
type PluggedPort = PluggedVif | ConfiguredPortFile;

const isConfigured = (port: PluggedPort): port is ConfiguredPortFile => 'vmi' in port;

/** By which of the two it is meant to be, so that problems name its keys. */
function checkPort(what: string, body: unknown): PluggedPort {
  const configured = typeof body === 'object' && body !== null && 'vmi' in body;
  return checkParams(configured ? configuredPortSchema : pluggedVifSchema, what, body);
}

function wholeVifs({
  file,
  agent,
  addVif,
  removeVif,
  commit,
}: NodeContext): PortsBackend<PluggedVif> {
  const whole = (id: string, port: PluggedVif): VifFile => ({ name: id, ...port }) as VifFile;
  const places = new Map<string, number>();
  return {
    exists: (id) => agent.vif(id) !== undefined,
    add(id, port) {
      const done = addVif(whole(id, port));
      places.set(id, done.port);
      return done.generation;
    },
    change(id, before, port) {
      const at = places.get(id) as number;
      const change = (to: PluggedVif) =>
        agent.updateVif(vifIntent(whole(id, to), at, file.services));
      return commit(
        () => change(port),
        () => change(before),
      ).generation;
    },
    remove(id) {
      removeVif(id);
      places.delete(id);
    },
  };
}

function otherPort(id: string, what: string): VRouterError {
  return new VRouterError('CONFLICT', `port ${id}: ${what} is another port: remove it first`);
}

function backendOf(node: NodeContext): PortsBackend<PluggedPort> {
  const vifs = wholeVifs(node);
  const configured = () => {
    if (node.configured !== undefined) return node.configured;
    const message = 'vmi: the node file has no control.configuration ({} is enough)';
    throw new VRouterError('BAD_VALUE', message);
  };
  /** Of whose kind each is. */
  const kinds = new Map<string, 'vif' | 'configured'>();
  return {
    exists: (id) => vifs.exists(id) || node.configured?.has(id) === true,
    add(id, port) {
      const standing = isConfigured(port) ? configured().add(id, port) : vifs.add(id, port);
      kinds.set(id, isConfigured(port) ? 'configured' : 'vif');
      return standing;
    },
    change(id, before, port) {
      if (!isDeepStrictEqual(before.port, port.port)) throw otherPort(id, 'another device');
      if (isConfigured(before) && isConfigured(port)) return configured().change(id, port);
      if (isConfigured(before) || isConfigured(port)) throw otherPort(id, 'one with vmi');
      return vifs.change(id, before, port);
    },
    remove(id) {
      if (kinds.get(id) === 'configured') configured().remove(id);
      else vifs.remove(id);
      kinds.delete(id);
    },
  };
}

export const startPlug: StartPart = async (node) => {
  const { file, log } = node;
  const { plug } = file;
  if (plug === undefined) return undefined;
  const said = log.child({ part: 'plug' });
  const socket = plug.socket ?? `/run/vrouter/${file.name}.plug`;
  const directory = plug.state_dir ?? `/var/lib/vrouter/${file.name}/ports`;
  const ports = new Ports<PluggedPort>(
    backendOf(node),
    new PortStore(
      directory,
      (id, text) => checkPort(id, JSON.parse(text)),
      (broken, error) => said.error({ err: error, file: broken }, 'no port; moved aside'),
    ),
  );
  node.configured?.onStanding((id, standing) => ports.settle(id, standing));
  for (const { id, error } of ports.restore())
    said.error({ port: id, error }, 'not plugged in again');
  mkdirSync(dirname(socket), { recursive: true });
  await clearStale(socket);
  const server = await servePlug({
    socket,
    ports,
    schema: pluggedSchema,
    check: (body) => checkPort('port', body),
    version: VERSION,
    onFault: (error) => said.error({ err: error }, 'request failed'),
  });
  said.info({ socket, ports: ports.list().length }, 'plug API');
  return { stop: () => server.close() };
};
