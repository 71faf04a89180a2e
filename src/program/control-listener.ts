/**
 * Where agents of `vrouter control` connect by XMPP: a listening socket, certificates from files, times from the
 * control file. What is said over it is control/agents.ts's.
 */
import { readFileSync } from 'node:fs';
import type { z } from 'zod';
import type { xmppSchema } from '../config/control.ts';
import type { tlsFiles } from '../config/fields.ts';
import { listenAddress } from '../config/listen.ts';
import { ControlAgents, type ControlAgentsOptions } from '../control/agents.ts';
import type { RouteTables } from '../control/tables.ts';
import { ConfigError } from '../errors.ts';
import { type ListenOptions, listenStreams, type TlsMaterial } from '../xmpp/transport/sockets.ts';

function pem(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    const why = error instanceof Error ? error.message : 'cannot be read';
    throw new ConfigError(file, [{ line: 1, key: '(file)', message: why }]);
  }
}

export function tlsMaterial(files: z.infer<typeof tlsFiles>): TlsMaterial {
  return {
    certificate: pem(files.certificate),
    key: pem(files.key),
    authority: pem(files.authority),
  };
}

export interface ServedAgents {
  readonly agents: ControlAgents;
  readonly port: number;
  /** Sessions, then the socket. */
  close(): Promise<void>;
}

/** As the control file says. */
export async function serveAgents(
  tables: RouteTables,
  file: z.infer<typeof xmppSchema>,
  events: Pick<ControlAgentsOptions, 'onSession' | 'onStranger' | 'onRefused' | 'config'> &
    Pick<ListenOptions, 'onError'>,
): Promise<ServedAgents> {
  const { hold_seconds, sub_cluster, tls, restart_seconds, end_of_rib_seconds } = file;
  const agents = new ControlAgents(tables, {
    ...events,
    session: {
      tls: tls === undefined ? 'off' : 'required',
      ...(hold_seconds !== undefined && { holdMs: hold_seconds * 1000 }),
      ...(sub_cluster !== undefined && { subCluster: sub_cluster }),
    },
    ...(restart_seconds !== undefined && { restartMs: restart_seconds * 1000 }),
    ...(end_of_rib_seconds !== undefined && { endOfRibMs: end_of_rib_seconds * 1000 }),
  });
  const material = tls && tlsMaterial(tls);
  const listening = await listenStreams({
    ...listenAddress(file.listen),
    ...(material !== undefined && { tls: material }),
    accept: (stream) => agents.accept(stream),
    ...(events.onError !== undefined && { onError: events.onError }),
  });
  return {
    agents,
    port: listening.port,
    close() {
      const closed = listening.close();
      agents.close();
      return closed;
    },
  };
}
