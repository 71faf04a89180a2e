/** What a neighbour's driver is given, and whom it tells: the speaker makes one of these for each. */
import type { Clock } from '../../codec/byte-stream.ts';
import type { Speaker } from '../neighbour.ts';
import type { BgpRib } from '../rib/contract.ts';
import type { Circumstances } from './our-open.ts';
import type { Transport } from './transport.ts';

export interface PeerSetting {
  readonly speaker: Speaker;
  readonly rib: BgpRib;
  readonly transport: Transport;
  readonly clock: Clock;
  readonly random: () => number;
  readonly soon: (run: () => void) => void;
  readonly circumstances: () => Circumstances;
  /** Called us, and is of a range. */
  readonly dynamic: boolean;
  /** The RIB may have something due earlier. */
  readonly ribCalled: () => void;
  /** Of a dynamic one: nothing is left of it. */
  readonly idle: () => void;
  /** It is up, or it was. */
  readonly session: (state: 'up' | 'down') => void;
  /** An error of ours; the session that met it is over. */
  readonly fault: (error: unknown) => void;
}
