/** Speakers against each other, over streams in memory and on a clock of the test's own. */
import { describe, expect, test } from 'vitest';
import type { Outgoing } from '../../../src/bgp/rib/contract.ts';
import { BgpNetwork } from '../../../src/sim/bgp-network.ts';
import { ip, Lab, neighbour, type RecordingPeer } from '../../support/bgp-speakers.ts';

const route = (n: number): Outgoing => ({
  kind: 'update',
  update: {
    withdrawn: [],
    announced: [
      {
        family: 'vpnv4',
        nextHop: { address: ip('10.255.0.1') },
        nlri: [{ rd: '65000:1', prefix: `10.${(n >> 8) & 255}.${n & 255}.0/24`, label: 16 }],
      },
    ] as never,
    attributes: { origin: 'igp', asPath: [], localPref: 100 },
  },
});

function pair(lab: Lab, more = {}) {
  const network = new BgpNetwork();
  const a = lab.speaker(network, 1);
  const b = lab.speaker(network, 2);
  a.speaker.setNeighbour(neighbour(b.address, more));
  b.speaker.setNeighbour(neighbour(a.address, more));
  const of = (one: typeof a) => one.rib.peers[0] as RecordingPeer;
  return { network, a, b, atA: of(a), atB: of(b) };
}

describe('a session', () => {
  test('comes up, though both call, and stays', () => {
    const lab = new Lab();
    const { a, b, atA, atB } = pair(lab);
    lab.pass(60_000);
    expect([atA.log, atB.log]).toEqual([['up'], ['up']]);
    expect(a.speaker.neighbour(b.address)).toMatchObject({ state: 'established', flaps: 0 });
    lab.pass(3_600_000);
    expect([atA.log, atB.log]).toEqual([['up'], ['up']]);
  });

  test('carries updates both ways, in order', () => {
    const lab = new Lab();
    const { a, b, atA, atB } = pair(lab);
    lab.pass(5_000);
    a.rib.say(atA, ...[1, 2, 3].map(route));
    b.rib.say(atB, route(4));
    lab.pass(10);
    const prefixes = (peer: RecordingPeer) =>
      peer.updates.flatMap(({ announced }) =>
        announced.flatMap(({ nlri }) => [...nlri] as object[]),
      );
    expect(prefixes(atB)).toMatchObject([1, 2, 3].map((n) => ({ prefix: `10.0.${n}.0/24` })));
    expect(prefixes(atA)).toMatchObject([{ prefix: '10.0.4.0/24' }]);
  });
});
