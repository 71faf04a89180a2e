/** What can be seen of a neighbour: plain values, for the command line and metrics. The session writes, all others read. */
import type { SessionState } from '../fsm.ts';
import type { FamilyName } from '../wire/family-names.ts';
import type { Consequence } from '../wire/finding.ts';
import type { MessageKind } from '../wire/message.ts';
import type { Open } from '../wire/open.ts';
import type { Endpoint } from './transport.ts';

/** Something that was said or found, and when (ms of the speaker's clock). */
export interface Said {
  readonly at: number;
  readonly text: string;
}

export interface SaidFinding extends Said {
  readonly consequence: Consequence;
}

export interface FamilyStatus {
  readonly family: FamilyName;
  /** Both sides speak it, and no error has ended it. */
  readonly agreed: boolean;
  /** An update of it could not be read: it is not listened to until the session starts anew (RFC 7606). */
  readonly disabled: boolean;
  /** It has said all it had of it, in this session. */
  readonly ended: boolean;
  readonly addPath?: { readonly send: boolean; readonly receive: boolean };
  readonly received: number;
  readonly accepted: number;
  readonly advertised: number;
}

export interface AgreedStatus {
  readonly as4: boolean;
  readonly refresh: boolean;
  readonly enhancedRefresh: boolean;
  readonly extendedMessage: boolean;
  readonly gracefulRestart: boolean;
  readonly notificationRestart: boolean;
  readonly longLivedRestart: boolean;
  readonly extendedNextHop: readonly FamilyName[];
}

export interface NeighbourStatus {
  readonly name: string;
  readonly address: string;
  readonly port: number;
  /** Called us, and is of a range. */
  readonly dynamic: boolean;
  readonly passive: boolean;
  /** False: somebody has shut it down. */
  readonly enabled: boolean;
  readonly state: SessionState;
  /** The speaker's clock, to which all times here belong. */
  readonly now: number;
  /** After too many routes: when it is tried again. */
  readonly restartAt?: number;
  /** ms in which it has been established, or has not. */
  readonly ageMs: number;
  /** Established and lost again. */
  readonly flaps: number;
  /** Of the configuration; undefined: any. */
  readonly as?: number;
  readonly peer?: Open;
  readonly agreed?: AgreedStatus;
  /** Agreed on, in seconds; 0: nobody watches. */
  readonly holdTime?: number;
  readonly keepaliveTime?: number;
  readonly local?: Endpoint;
  readonly remote?: Endpoint;
  /** Notifications. */
  readonly lastErrorIn?: Said;
  readonly lastErrorOut?: Said;
  /** Why the last connection ended, or none came about. */
  readonly lastEnd?: Said;
  readonly families: readonly FamilyStatus[];
  readonly messagesIn: Readonly<Record<MessageKind, number>>;
  readonly messagesOut: Readonly<Record<MessageKind, number>>;
  readonly bytesIn: number;
  readonly bytesOut: number;
  /** Written, and not taken by the peer. */
  readonly waiting: number;
  /** What was wrong with its updates, by what followed. */
  readonly findings: Readonly<Record<Consequence, number>>;
  readonly lastFindings: readonly SaidFinding[];
  /** Routes that fit into no message of this session, and so were withdrawn instead. */
  readonly unsendable: number;
}

export interface SpeakerStatus {
  readonly neighbours: readonly NeighbourStatus[];
  /** Connections of nobody we know. */
  readonly refused: number;
  /** Connections of a range that is full. */
  readonly refusedByLimit: number;
}

/** What a neighbour counts; from its beginning, whatever its sessions do. */
export class Tally {
  readonly messagesIn: Record<MessageKind, number> = noMessages();
  readonly messagesOut: Record<MessageKind, number> = noMessages();
  bytesIn = 0;
  bytesOut = 0;
  unsendable = 0;
  flaps = 0;
  readonly findings: Record<Consequence, number> = {
    'attribute-discard': 0,
    'treat-as-withdraw': 0,
    'afi-safi-disable': 0,
    'session-reset': 0,
  };
}

function noMessages(): Record<MessageKind, number> {
  return { open: 0, update: 0, notification: 0, keepalive: 0, 'route-refresh': 0 };
}
