/**
 * A BGP speaker as a program has it: RIB, sessions over TCP, and neighbours as the control file has them. In the process of
 * `vrouter control`, or in one of its own (speaker.ts).
 *
 * Invariant: what is told of a session is told after the speaker has done with it, so that its reason is there.
 */
import { readFileSync } from 'node:fs';
import { canonicalIp } from '../addr/ip.ts';
import type { Speaker } from '../bgp/neighbour.ts';
import type { RibOptions } from '../bgp/rib/contract.ts';
import type { NeighbourStatus } from '../bgp/session/status.ts';
import { type TcpOptionsSocket, TcpTransport } from '../bgp/session/tcp.ts';
import { type BgpFile, DEFAULT_LISTEN } from '../config/bgp.ts';
import { speakerOf } from '../config/bgp-neighbours.ts';
import { listenAddress } from '../config/listen.ts';
import { type Spoken, speak } from '../control/bgp-speaker.ts';
import { loadAddon } from '../dataplane/binding.ts';
import { VRouterError } from '../errors.ts';
import { BgpNeighbours } from './control-bgp-neighbours.ts';

export interface BgpEvents {
  /** `why`: of one that is down. */
  onSession(neighbour: string, state: 'up' | 'down', why: string | undefined): void;
  /** A connection that could not be taken; an error of ours that ended a session. */
  onError(error: unknown, what: string): void;
}

export interface SpeakerPart extends Spoken {
  readonly own: Speaker;
  readonly neighbours: BgpNeighbours;
  /** Some neighbour keeps our routes while we are away: what we have is to be there before it is called. */
  readonly restarts: boolean;
  /** In the order of `listen`. */
  readonly ports: readonly number[];
  /** comesBack: neighbours that can are to keep our routes until then. Default: if packets go on meanwhile. */
  close(comesBack?: boolean): void;
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

export const firstLine = (file: string): string =>
  readFileSync(file, 'utf8').split(/\r?\n/)[0] ?? '';

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

/** `file`: checked, with the passwords that it names. Its neighbours are not called yet: `neighbours.start`. */
export async function startSpeakerPart(
  file: BgpFile,
  onChanges: NonNullable<RibOptions['onChanges']>,
  events: BgpEvents,
  forwardingKept = true,
): Promise<SpeakerPart> {
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
  const { speaker, sender } = speak(own, {
    ...{ transport, forwardingKept, restarted: restarts, onChanges },
    onSession: (name, state) =>
      setImmediate(() => {
        const why = state === 'down' ? endOf(speaker.neighbour(name)) : undefined;
        events.onSession(name, state, why);
      }),
    onFault: (error) => events.onError(error, 'a session ended by an error of ours'),
  });
  const neighbours = new BgpNeighbours(speaker, own.as, firstLine);
  neighbours.load(file);
  return {
    ...{ own, speaker, sender, neighbours, restarts, ports: transport.ports },
    close: (comesBack = forwardingKept) =>
      speaker.close(
        restarts && comesBack ? { restart: true } : { restart: false, text: 'stopped' },
      ),
  };
}
