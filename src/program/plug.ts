/** The plug API as a part of a node: `plug:` in the node file; docs/plug-api.md. */
import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { VERSION } from '../cli/version.ts';
import { checkParams } from '../config/load.ts';
import { type PluggedVif, pluggedVifSchema, type VifFile } from '../config/node.ts';
import { VRouterError } from '../errors.ts';
import { Ports } from '../plug/ports.ts';
import { servePlug } from '../plug/server.ts';
import { PortStore } from '../plug/store.ts';
import { vifIntent } from './node-intents.ts';
import type { StartPart } from './node-part.ts';
import { clearStale } from './rpc-server.ts';

export const startPlug: StartPart = async ({ file, log, agent, addVif, removeVif, commit }) => {
  const { plug } = file;
  if (plug === undefined) return undefined;
  const said = log.child({ part: 'plug' });
  const socket = plug.socket ?? `/run/vrouter/${file.name}.plug`;
  const directory = plug.state_dir ?? `/var/lib/vrouter/${file.name}/ports`;
  const whole = (id: string, port: PluggedVif): VifFile => ({ name: id, ...port }) as VifFile;
  const places = new Map<string, number>();
  const ports = new Ports<PluggedVif>(
    {
      exists: (id) => agent.vif(id) !== undefined,
      add(id, port) {
        const done = addVif(whole(id, port));
        places.set(id, done.port);
        return done.generation;
      },
      change(id, before, port) {
        if (!isDeepStrictEqual(before.port, port.port)) {
          throw new VRouterError(
            'CONFLICT',
            `port ${id}: another device is another port: remove it first`,
          );
        }
        const at = places.get(id) as number;
        const change = (to: PluggedVif) =>
          agent.updateVif(vifIntent(whole(id, to), at, file.services));
        return commit(
          () => change(port),
          () => change(before),
        ).generation;
      },
      remove(id) {
        const { generation } = removeVif(id);
        places.delete(id);
        return generation;
      },
    },
    new PortStore(
      directory,
      (id, text) => checkParams(pluggedVifSchema, id, JSON.parse(text)),
      (broken, error) => said.error({ err: error, file: broken }, 'no port; moved aside'),
    ),
  );
  for (const { id, error } of ports.restore())
    said.error({ port: id, error }, 'not plugged in again');
  mkdirSync(dirname(socket), { recursive: true });
  await clearStale(socket);
  const server = await servePlug({
    socket,
    ports,
    schema: pluggedVifSchema,
    version: VERSION,
    onFault: (error) => said.error({ err: error }, 'request failed'),
  });
  said.info({ socket, ports: ports.list().length }, 'plug API');
  return { stop: () => server.close() };
};
