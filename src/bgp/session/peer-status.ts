/** A neighbour as it is shown. */
import type { BgpRib } from '../rib/contract.ts';
import type { Agreed } from '../wire/agree.ts';
import { MAX_MESSAGE } from '../wire/message.ts';
import type { Peer } from './peer.ts';
import type { AgreedStatus, FamilyStatus, NeighbourStatus, Said } from './status.ts';

function agreedStatus(agreed: Agreed): AgreedStatus {
  return {
    as4: agreed.send.as4,
    refresh: agreed.refresh,
    enhancedRefresh: agreed.enhancedRefresh,
    extendedMessage: agreed.send.maxMessage > MAX_MESSAGE,
    gracefulRestart: agreed.gracefulRestart !== undefined,
    notificationRestart: agreed.notificationRestart,
    longLivedRestart: agreed.longLivedRestart !== undefined,
    extendedNextHop: [...agreed.extendedNextHop],
  };
}

/** Keepalives are sent three times in a hold time, and somewhat earlier (fsm.ts). */
const KEEPALIVES_A_HOLD = 3;

function ofSession(peer: Peer): Partial<NeighbourStatus> {
  const { up } = peer;
  if (up === undefined) return {};
  const { holdTime } = up.agreed;
  const { local, remote } = up.connection.stream;
  return {
    ...{ peer: up.peer, agreed: agreedStatus(up.agreed), holdTime, local, remote },
    keepaliveTime: holdTime / KEEPALIVES_A_HOLD,
  };
}

const NO_COUNTS = { received: 0, accepted: 0, advertised: 0 };

function familyStatus(peer: Peer, rib: BgpRib): FamilyStatus[] {
  const counts = rib.counts(peer.rib);
  return peer.neighbour.families.map(({ family }) => {
    const { agreed, disabled } = peer.up ?? {};
    const { received, accepted, advertised } = counts.get(family) ?? NO_COUNTS;
    const addPath = {
      send: agreed?.send.addPath.has(family) === true,
      receive: agreed?.receive.addPath.has(family) === true,
    };
    return {
      ...{ family, received, accepted, advertised },
      agreed: agreed?.send.families.has(family) === true && disabled?.has(family) !== true,
      disabled: disabled?.has(family) === true,
      ended: agreed !== undefined && peer.rib.ended?.has(family) === true,
      ...(addPath.send || addPath.receive ? { addPath } : {}),
    };
  });
}

function saidOf(peer: Peer): Partial<NeighbourStatus> {
  const { lastErrorIn, lastErrorOut, lastEnd } = peer.journal;
  const all: Record<string, Said | undefined> = { lastErrorIn, lastErrorOut, lastEnd };
  return Object.fromEntries(Object.entries(all).filter(([, said]) => said !== undefined));
}

export function neighbourStatus(peer: Peer, rib: BgpRib, now: number): NeighbourStatus {
  const { neighbour, tally, journal } = peer;
  const { name, address, port, passive, as } = neighbour;
  return {
    ...{ name, address, port, passive, dynamic: peer.dynamic, enabled: peer.enabled },
    ...(as === undefined ? {} : { as }),
    ...{ state: peer.state, now },
    ...(peer.restartAt === undefined ? {} : { restartAt: peer.restartAt }),
    ageMs: now - peer.since,
    flaps: tally.flaps,
    ...ofSession(peer),
    ...saidOf(peer),
    families: familyStatus(peer, rib),
    messagesIn: { ...tally.messagesIn },
    messagesOut: { ...tally.messagesOut },
    ...{ bytesIn: tally.bytesIn, bytesOut: tally.bytesOut, waiting: peer.waiting },
    findings: { ...tally.findings },
    lastFindings: [...journal.findings],
    unsendable: tally.unsendable,
  };
}
