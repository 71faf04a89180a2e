/**
 * BGP of `vrouter control`: a RIB, a speaker with its sockets, neighbours as the control file has them, and the bridge
 * to the tables (control/bgp-federation.ts). What comes and goes is told to `events`, with the reason.
 *
 * Invariants
 *  * After a start neighbours who keep our routes meanwhile are called once agents have had time to say theirs again: the
 *    end of the first table is the end of what is kept.
 *  * What is told of a session is told after the speaker has done with it, so that its reason is there.
 */
import { readFileSync } from 'node:fs';
import { canonicalIp } from '../addr/ip.ts';
import type { Speaker } from '../bgp/neighbour.ts';
import type { BgpSpeaker } from '../bgp/session/speaker.ts';
import type { NeighbourStatus } from '../bgp/session/status.ts';
import { type TcpOptionsSocket, TcpTransport } from '../bgp/session/tcp.ts';
import { type BgpFile, DEFAULT_LISTEN, DEFAULT_SETTLE_SECONDS } from '../config/bgp.ts';
import { speakerOf } from '../config/bgp-neighbours.ts';
import type { ConfigText } from '../config/document.ts';
import { listenAddress } from '../config/listen.ts';
import type { Federation, FederationOptions } from '../control/bgp-federation.ts';
import { federate } from '../control/bgp-speaker.ts';
import type { RouteTables } from '../control/tables.ts';
import { loadAddon } from '../dataplane/binding.ts';
import { VRouterError } from '../errors.ts';
import { BgpNeighbours, passwordProblems } from './control-bgp-neighbours.ts';

export interface BgpEvents {
  /** `why`: of one that is down. */
  onSession(neighbour: string, state: 'up' | 'down', why: string | undefined): void;
  /** A connection that could not be taken; an error of ours that ended a session. */
  onError(error: unknown, what: string): void;
}

export interface ServedBgp {
  readonly own: Speaker;
  readonly speaker: BgpSpeaker;
  readonly federation: Federation;
  readonly neighbours: BgpNeighbours;
  /** In the order of `listen`. */
  readonly ports: readonly number[];
  close(): void;
}

/** Without the addon TTLs are the system's, and signatures cannot be had: who is configured to have them is refused. */
function sockets(): TcpOptionsSocket | undefined {
  try {
    const { addon } = loadAddon();
    return typeof addon.openTcp === 'function' ? addon : undefined;
  } catch (error) {
    if (error instanceof VRouterError) return undefined;
    throw error;
  }
}

const firstLine = (file: string): string => readFileSync(file, 'utf8').split(/\r?\n/)[0] ?? '';

/** Why the last session is over: what was said or found last. */
export function endOf(status: NeighbourStatus | undefined): string | undefined {
  const { lastErrorIn, lastErrorOut, lastEnd } = status ?? {};
  const all = [
    { said: lastEnd, head: '' },
    { said: lastErrorOut, head: 'we said: ' },
    { said: lastErrorIn, head: 'it said: ' },
  ].flatMap(({ said, head }) =>
    said === undefined ? [] : [{ at: said.at, text: `${head}${said.text}` }],
  );
  // A notification says more than that the connection was closed after it.
  return all.sort((a, b) => b.at - a.at || all.indexOf(b) - all.indexOf(a))[0]?.text;
}

/** `text`: the control file, for what is wrong with files that it names. */
export async function serveBgp(
  tables: RouteTables,
  file: BgpFile,
  text: ConfigText,
  naming: Pick<FederationOptions, 'indexOf' | 'networkOf'>,
  events: BgpEvents,
): Promise<ServedBgp> {
  const problems = passwordProblems(file, firstLine, ['bgp']);
  if (problems.length > 0) text.refuse(problems);
  const own = speakerOf(file);
  const options = sockets();
  const transport = await TcpTransport.open({
    listen: (file.listen ?? DEFAULT_LISTEN).map((each) => {
      const { host, port } = listenAddress(each);
      return { address: canonicalIp(host), port };
    }),
    ...(options !== undefined && { sockets: options }),
    onError: (error) => events.onError(error, 'connection not accepted'),
  });
  const restarts = [...(file.neighbors ?? []), ...(file.ranges ?? [])].some(
    (each) => each.graceful_restart_seconds !== undefined,
  );
  const { speaker, federation } = federate(tables, own, {
    ...{ transport, naming, restarted: restarts },
    onSession: (name, state) =>
      setImmediate(() => {
        const why = state === 'down' ? endOf(speaker.neighbour(name)) : undefined;
        events.onSession(name, state, why);
      }),
    onFault: (error) => events.onError(error, 'a session ended by an error of ours'),
  });
  const neighbours = new BgpNeighbours(speaker, own.as, firstLine);
  neighbours.load(file);
  const settle = restarts ? (file.settle_seconds ?? DEFAULT_SETTLE_SECONDS) : 0;
  let settled: NodeJS.Timeout | undefined;
  try {
    if (settle === 0) neighbours.start();
    else settled = setTimeout(() => startLate(neighbours, events), settle * 1000);
  } catch (error) {
    speaker.close();
    throw error;
  }
  return {
    ...{ own, speaker, federation, neighbours, ports: transport.ports },
    close: () => {
      clearTimeout(settled);
      speaker.close(restarts ? { restart: true } : { restart: false, text: 'stopped' });
    },
  };
}

function startLate(neighbours: BgpNeighbours, events: BgpEvents): void {
  try {
    neighbours.start();
  } catch (error) {
    events.onError(error, 'neighbours cannot be called');
  }
}
