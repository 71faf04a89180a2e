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
import type { Naming, Sender } from './bgp-routes.ts';
import type { RouteTables } from './tables.ts';

/** forwardingKept: default true, for packets are the nodes', who go on without us. */
export interface FederateOptions extends Omit<BgpSpeakerOptions, 'speaker' | 'makeRib'> {
  readonly naming?: Omit<Naming, 'as'>;
}

export interface Federated {
  readonly speaker: BgpSpeaker;
  readonly federation: Federation;
}

const UNKNOWN: Sender = { external: false, id: '' };

export function federate(tables: RouteTables, own: Speaker, options: FederateOptions): Federated {
  const { naming, onSession, ...others } = options;
  /** Of neighbours that are up or have been. */
  const senders = new Map<string, Sender>();
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
    forwardingKept: true,
    ...others,
    speaker: own,
    makeRib: (rib) =>
      createRib(own, {
        ...rib,
        onChanges: (changes) => federation.changed(changes),
        // As the tables do: an order within one neighbour AS only would be none.
        alwaysCompareMed: true,
      }),
    onSession: (name, state) => {
      const peer = state === 'up' ? speaker.neighbour(name)?.peer : undefined;
      if (peer !== undefined) senders.set(name, { external: peer.as !== own.as, id: peer.id });
      onSession?.(name, state);
    },
  });
  federation.connect(speaker.rib);
  return { speaker, federation };
}
