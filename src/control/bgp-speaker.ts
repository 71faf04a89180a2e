/**
 * A control node's BGP put together: RIB, speaker, and the bridge to its tables. What sockets and clocks there are is
 * given: the program has real ones, the simulator has not.
 *
 * Invariant: who a route's sender is, is known before its first route is read, and as long as its routes may stay.
 */
import type { Speaker } from '../bgp/neighbour.ts';
import { createRib } from '../bgp/rib/rib.ts';
import { BgpSpeaker, type BgpSpeakerOptions } from '../bgp/session/speaker.ts';
import { Federation } from './bgp-federation.ts';
import type { Sender } from './bgp-paths.ts';
import type { Naming } from './bgp-routes.ts';
import type { RouteTables } from './tables.ts';

export interface FederateOptions
  extends Omit<BgpSpeakerOptions, 'speaker' | 'makeRib' | 'forwardingKept'> {
  readonly naming?: Omit<Naming, 'as'>;
}

export interface Federated {
  readonly speaker: BgpSpeaker;
  readonly federation: Federation;
}

/** So many may be kept of neighbours that are gone, or as many as there are. */
const FIRST_SWEEP = 64;
const UNKNOWN: Sender = { external: false, id: '' };

export function federate(tables: RouteTables, own: Speaker, options: FederateOptions): Federated {
  const { naming, onSession, ...others } = options;
  /** Of neighbours that are up or have been, and of some that are gone: of ranges there come ever new ones. */
  const senders = new Map<string, Sender>();
  let sweepAt = FIRST_SWEEP;
  const sweep = () => {
    for (const name of senders.keys()) {
      if (speaker.ribPeer(name) === undefined) senders.delete(name);
    }
    sweepAt = Math.max(FIRST_SWEEP, 2 * senders.size);
  };
  const federation = new Federation(tables, {
    ...naming,
    as: own.as,
    sender: (name) => {
      const encapsulation = speaker.ribPeer(name)?.neighbour.encapsulation;
      const sender = senders.get(name) ?? UNKNOWN;
      return encapsulation === undefined ? sender : { ...sender, encapsulation };
    },
  });
  const speaker: BgpSpeaker = new BgpSpeaker({
    ...others,
    speaker: own,
    forwardingKept: true, // packets are the nodes', who go on without us
    makeRib: (rib) =>
      createRib(own, {
        ...rib,
        onChanges: (changes) => federation.changed(changes),
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
  federation.connect(speaker.rib);
  return { speaker, federation };
}
