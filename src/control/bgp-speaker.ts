/**
 * A control node's BGP put together: RIB and speaker, and the bridge to its tables, which may be in another process. What
 * sockets and clocks there are is given: the program has real ones, the simulator has not.
 *
 * Invariant: who a route's sender is, is known before its first route is read, and as long as its routes may stay.
 */
import type { Speaker } from '../bgp/neighbour.ts';
import type { RibOptions } from '../bgp/rib/contract.ts';
import { createRib } from '../bgp/rib/rib.ts';
import { BgpSpeaker, type BgpSpeakerOptions } from '../bgp/session/speaker.ts';
import { Federation } from './bgp-federation.ts';
import type { Sender } from './bgp-paths.ts';
import type { Naming } from './bgp-routes.ts';
import type { RouteTables } from './tables.ts';

/** forwardingKept: default true, for packets are the nodes', who go on without us. */
type SpeakOptions = Omit<BgpSpeakerOptions, 'speaker' | 'makeRib'> &
  Required<Pick<RibOptions, 'onChanges'>>;

export interface Spoken {
  readonly speaker: BgpSpeaker;
  readonly sender: (neighbour: string) => Sender;
}

/** So many may be kept of neighbours that are gone, or as many as there are. */
const FIRST_SWEEP = 64;
const UNKNOWN: Sender = { external: false, id: '' };

export function speak(own: Speaker, options: SpeakOptions): Spoken {
  const { onChanges, onSession, ...others } = options;
  /** Of neighbours that are up or have been, and of some that are gone: of ranges there come ever new ones. */
  const senders = new Map<string, Sender>();
  let sweepAt = FIRST_SWEEP;
  const sweep = () => {
    for (const name of senders.keys()) {
      if (speaker.ribPeer(name) === undefined) senders.delete(name);
    }
    sweepAt = Math.max(FIRST_SWEEP, 2 * senders.size);
  };
  const speaker: BgpSpeaker = new BgpSpeaker({
    forwardingKept: true,
    ...others,
    speaker: own,
    makeRib: (rib) =>
      createRib(own, {
        ...rib,
        onChanges,
        // As the tables do: an order within one neighbour AS only would be none.
        alwaysCompareMed: true,
      }),
    onSession: (name, state) => {
      if (state === 'up' && senders.size >= sweepAt) sweep();
      const peer = state === 'up' ? speaker.neighbour(name)?.peer : undefined;
      if (peer !== undefined) senders.set(name, { external: peer.as !== own.as, id: peer.id });
      onSession?.(name, state);
    },
  });
  const sender = (name: string): Sender => {
    const encapsulation = speaker.ribPeer(name)?.neighbour.encapsulation;
    const known = senders.get(name) ?? UNKNOWN;
    return encapsulation === undefined ? known : { ...known, encapsulation };
  };
  return { speaker, sender };
}

export interface FederateOptions extends Omit<SpeakOptions, 'onChanges'> {
  readonly naming?: Omit<Naming, 'as'>;
}

export interface Federated extends Spoken {
  readonly federation: Federation;
}

/** All in one process. */
export function federate(tables: RouteTables, own: Speaker, options: FederateOptions): Federated {
  const { naming, ...others } = options;
  const federation = new Federation(tables, {
    ...naming,
    as: own.as,
    sender: (name) => spoken.sender(name),
  });
  const spoken: Spoken = speak(own, {
    ...others,
    onChanges: (changes) => federation.changed(changes),
  });
  federation.connect(spoken.speaker.rib);
  return { ...spoken, federation };
}
