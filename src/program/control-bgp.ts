/**
 * BGP of `vrouter control`: the bridge to the tables (control/bgp-federation.ts), and the speaker it is a bridge to: in this
 * process (speaker-part.ts), or, with `bgp.speaker`, in one of its own (speaker-link.ts).
 *
 * Invariants
 *  * After a start neighbours who keep our routes meanwhile are called once agents have had time to say theirs again: the
 *    end of the first table is the end of what is kept.
 *  * Methods, views and metrics do not know where the speaker is.
 */
import type { Logger } from 'pino';
import type { Speaker } from '../bgp/neighbour.ts';
import { type BgpFile, DEFAULT_SETTLE_SECONDS } from '../config/bgp.ts';
import { speakerOf } from '../config/bgp-neighbours.ts';
import type { ConfigText } from '../config/document.ts';
import { bestOf, Federation, type FederationOptions } from '../control/bgp-federation.ts';
import type { RouteTables } from '../control/tables.ts';
import { speakerMethods } from './control-bgp-methods.ts';
import { passwordProblems } from './control-bgp-neighbours.ts';
import type { Method } from './rpc-server.ts';
import { SpeakerLink, speakerLinkOptions } from './speaker-link.ts';
import { type BgpEvents, firstLine, type SpeakerPart, startSpeakerPart } from './speaker-part.ts';

export interface ServedBgp {
  readonly own: Speaker;
  readonly federation: Federation;
  /** In the order of `listen`. */
  readonly ports: readonly number[];
  /** A method of the speaker's (control-bgp-methods.ts). */
  call(method: string, params: unknown): unknown;
  /** leave: a speaker of its own process goes on, for the next control node. */
  close(leave?: boolean): void;
}

export interface BgpSetting {
  /** Of the control node. */
  readonly name: string;
  readonly naming: Pick<FederationOptions, 'indexOf' | 'networkOf'>;
  readonly events: BgpEvents;
  readonly log: Logger;
}

/** `text`: the control file, for what is wrong with files that it names. */
export function serveBgp(
  tables: RouteTables,
  file: BgpFile,
  text: ConfigText,
  setting: BgpSetting,
): Promise<ServedBgp> {
  const problems = passwordProblems(file, firstLine, ['bgp']);
  if (problems.length > 0) text.refuse(problems);
  return file.speaker === undefined
    ? inThisProcess(tables, file, setting)
    : inItsOwn(tables, file, setting);
}

async function inThisProcess(
  tables: RouteTables,
  file: BgpFile,
  { naming, events }: BgpSetting,
): Promise<ServedBgp> {
  const own = speakerOf(file);
  const federation: Federation = new Federation(tables, {
    ...naming,
    as: own.as,
    sender: (name) => part.sender(name),
  });
  const part: SpeakerPart = await startSpeakerPart(
    file,
    (changes) => federation.changed(changes),
    events,
  );
  const { rib } = part.speaker;
  federation.connect(rib);
  const methods = speakerMethods(() => part, {
    otherMeaning: () => federation.readAgain(bestOf(rib)),
  });
  const settle = part.restarts ? (file.settle_seconds ?? DEFAULT_SETTLE_SECONDS) : 0;
  let settled: NodeJS.Timeout | undefined;
  try {
    if (settle === 0) part.neighbours.start();
    else settled = setTimeout(() => startLate(part, events), settle * 1000);
  } catch (error) {
    part.close();
    throw error;
  }
  return {
    ...{ own, federation, ports: part.ports },
    call: (method, params) => (methods[method] as Method)(params),
    close: () => {
      clearTimeout(settled);
      part.close();
    },
  };
}

function startLate({ neighbours }: SpeakerPart, events: BgpEvents): void {
  try {
    neighbours.start();
  } catch (error) {
    events.onError(error, 'neighbours cannot be called');
  }
}

async function inItsOwn(
  tables: RouteTables,
  file: BgpFile,
  { name, naming, events, log }: BgpSetting,
): Promise<ServedBgp> {
  const own = speakerOf(file);
  const federation: Federation = new Federation(tables, {
    ...naming,
    as: own.as,
    sender: (neighbour) => link.sender(neighbour),
  });
  const link = new SpeakerLink(speakerLinkOptions(name, file, log), federation, events);
  federation.connect(link.rib);
  await link.open();
  return {
    ...{ own, federation },
    get ports() {
      return link.ports;
    },
    call: (method, params) => link.call(method, params),
    close: (leave = false) => link.close(leave),
  };
}
