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
import type { BgpSpeaker } from '../bgp/session/speaker.ts';
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
  /**
   * comesBack: neighbours that can are to keep our routes until then (default: if packets go on meanwhile), and a
   * speaker of its own process goes on for the next control node (default: not).
   */
  close(comesBack?: boolean): void;
}

export interface BgpSetting {
  /** Of the control node. */
  readonly name: string;
  readonly naming: Pick<FederationOptions, 'indexOf' | 'networkOf'>;
  readonly events: BgpEvents;
  readonly log: Logger;
}

export interface HereSetting extends Pick<BgpSetting, 'naming' | 'events'> {
  /** Packets go on while this process is away. Default true: they are the nodes'. */
  readonly forwardingKept?: boolean;
  /** For agents to be back before neighbours are told that all has been said, where the file does not say. */
  readonly settleSeconds?: number;
}

export interface ServedHere extends ServedBgp {
  readonly speaker: BgpSpeaker;
}

/** `text`: the control file, for what is wrong with files that it names. */
export function serveBgp(
  tables: RouteTables,
  file: BgpFile,
  text: ConfigText,
  setting: BgpSetting,
): Promise<ServedBgp> {
  if (file.speaker === undefined) return serveBgpHere(tables, file, text, setting);
  checkPasswords(file, text);
  return inItsOwn(tables, file, setting);
}

function checkPasswords(file: BgpFile, text: ConfigText): void {
  const problems = passwordProblems(file, firstLine, ['bgp']);
  if (problems.length > 0) text.refuse(problems);
}

/** The speaker is in this process, whatever the file says. */
export async function serveBgpHere(
  tables: RouteTables,
  file: BgpFile,
  text: ConfigText,
  { naming, events, forwardingKept = true, settleSeconds = DEFAULT_SETTLE_SECONDS }: HereSetting,
): Promise<ServedHere> {
  checkPasswords(file, text);
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
    forwardingKept,
  );
  const { speaker } = part;
  const { rib } = speaker;
  federation.connect(rib);
  const methods = speakerMethods(() => part, {
    otherMeaning: () => federation.readAgain(bestOf(rib)),
  });
  const settle = part.restarts ? (file.settle_seconds ?? settleSeconds) : 0;
  let settled: NodeJS.Timeout | undefined;
  try {
    if (settle === 0) part.neighbours.start();
    else settled = setTimeout(() => startLate(part, events), settle * 1000);
  } catch (error) {
    part.close();
    throw error;
  }
  return {
    ...{ own, federation, speaker, ports: part.ports },
    call: (method, params) => (methods[method] as Method)(params),
    close: (comesBack) => {
      clearTimeout(settled);
      part.close(comesBack);
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
    close: (comesBack = false) => link.close(comesBack),
  };
}
