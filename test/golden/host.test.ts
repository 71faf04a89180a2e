/** The host's own stack behind vif0/1, the underlay's address on it: what of the fabric is the host's, and what ours. */
import { describe } from 'vitest';
import type { Op } from '../../src/dataplane/api.ts';
import {
  arp,
  ether,
  filler,
  icmpEcho,
  ipv4,
  ipv6,
  type Layer,
  neighbour,
  raw,
  udp,
} from '../support/packet.ts';
import {
  BROADCAST,
  carol,
  FABRIC_MAC,
  fromThere,
  GATEWAY_MAC,
  HERE,
  NEIGHBOUR_MAC,
  play,
  remote,
  type Sent,
  THERE,
} from './network.ts';

/** On the port that is the agent's elsewhere. */
const HOST: readonly Op[] = [
  {
    op: 'vif_set',
    vif: 4,
    name: 'vhost0',
    type: 0,
    port: 4,
    mac: FABRIC_MAC,
    vrf: 0,
    mtu: 1500,
  },
  { op: 'nh_receive_set', nextHop: 1, vrf: 0, vif: 4 },
];
const at = (port: Sent['port'], ...layers: Layer[]): Sent => ({ port, layers });
const toUs = ether({ dst: FABRIC_MAC, src: NEIGHBOUR_MAC });
const toAll = ether({ dst: BROADCAST, src: NEIGHBOUR_MAC });
const LINK_LOCAL = 'fe80::aff:fe09:1';

/** Frames of the fabric that are the host's, if there is one. */
const theirs: readonly (readonly [string, readonly Layer[]])[] = [
  [
    'the answer to its ARP request',
    [
      toUs,
      arp({
        op: 'reply',
        senderMac: NEIGHBOUR_MAC,
        senderIp: THERE.ipv4,
        targetMac: FABRIC_MAC,
        targetIp: HERE.ipv4,
      }),
    ],
  ],
  [
    'an announcement of a neighbour',
    [
      toAll,
      arp({
        op: 'request',
        senderMac: NEIGHBOUR_MAC,
        senderIp: THERE.ipv4,
        targetIp: THERE.ipv4,
      }),
    ],
  ],
  [
    'a solicitation for its link-local address',
    [
      ether({ dst: '33:33:ff:09:00:01', src: NEIGHBOUR_MAC }),
      ipv6({ src: THERE.ipv6, dst: 'ff02::1:ff09:1', hopLimit: 255 }),
      neighbour({ kind: 'solicitation', mac: NEIGHBOUR_MAC, target: LINK_LOCAL }),
    ],
  ],
  [
    'UDP to its address that is no tunnel',
    [toUs, ipv4({ src: THERE.ipv4, dst: HERE.ipv4 }), udp({ sport: 53, dport: 40_000 }), filler(9)],
  ],
  [
    'a packet to its link-local address',
    [toUs, ipv6({ src: 'fe80::1', dst: LINK_LOCAL }), udp({ sport: 547, dport: 546 }), filler(9)],
  ],
  [
    'broadcast',
    [
      toAll,
      ipv4({ src: THERE.ipv4, dst: '255.255.255.255' }),
      udp({ sport: 67, dport: 68 }),
      filler(9),
    ],
  ],
  [
    'multicast',
    [
      ether({ dst: '01:00:5e:00:00:12', src: NEIGHBOUR_MAC }),
      ipv4({ src: THERE.ipv4, dst: '224.0.0.18' }),
      udp({ sport: 1, dport: 2 }),
    ],
  ],
  [
    'what is not IP',
    [ether({ dst: '01:80:c2:00:00:0e', src: NEIGHBOUR_MAC, type: 0x88cc }), raw('a bridge')],
  ],
];

describe('with a host vif', () => {
  for (const [name, frame] of theirs) {
    play({
      name: `${name} is the host's`,
      state: HOST,
      in: [at('fabric', ...frame)],
      out: [at('agent', ...frame)],
      verdict: { forwarded: 1n },
    });
  }

  play({
    name: 'frames of the host leave as they are',
    state: HOST,
    in: theirs.map(([, frame]) => at('agent', ...frame)),
    out: theirs.map(([, frame]) => at('fabric', ...frame)),
    verdict: { forwarded: BigInt(theirs.length) },
  });

  play({
    name: 'the ARP answer to another node is nobody’s here',
    state: HOST,
    in: [
      at(
        'fabric',
        ether({ dst: '02:00:00:00:00:99', src: NEIGHBOUR_MAC }),
        arp({
          op: 'reply',
          senderMac: NEIGHBOUR_MAC,
          senderIp: THERE.ipv4,
          targetMac: '02:00:00:00:00:99',
          targetIp: '10.169.25.99',
        }),
      ),
    ],
    out: [],
    verdict: { dropped: 1n },
    drops: { Discards: 1 },
  });

  const inside = [ipv4({ src: remote.ipv4, dst: carol.ipv4, ttl: 64 }), icmpEcho(7, 1)];
  play({
    name: 'tunnels still end here',
    state: HOST,
    in: [at('fabric', ...fromThere('udp', 4, carol.label), ...inside)],
    out: [
      at(
        'carol',
        ether({ dst: carol.mac, src: GATEWAY_MAC }),
        ipv4({ src: remote.ipv4, dst: carol.ipv4, ttl: 63 }),
        icmpEcho(7, 1),
      ),
    ],
    verdict: { forwarded: 1n },
  });
  play({
    name: 'its address is answered for here, up or not',
    state: HOST,
    in: [
      at(
        'fabric',
        toAll,
        arp({
          op: 'request',
          senderMac: NEIGHBOUR_MAC,
          senderIp: THERE.ipv4,
          targetIp: HERE.ipv4,
        }),
      ),
    ],
    out: [
      at(
        'fabric',
        ether({ dst: NEIGHBOUR_MAC, src: FABRIC_MAC }),
        arp({
          op: 'reply',
          senderMac: FABRIC_MAC,
          senderIp: HERE.ipv4,
          targetMac: NEIGHBOUR_MAC,
          targetIp: THERE.ipv4,
        }),
      ),
    ],
    verdict: { replied: 1n },
  });
});

describe('without a host vif', () => {
  for (const [name, frame, reason] of [
    ['an ARP answer', theirs[0]?.[1], 'Discards'],
    ['broadcast', theirs[5]?.[1], 'Nowhere to go'],
    ['what is not IP', theirs[7]?.[1], 'Invalid Protocol'],
  ] as const) {
    play({
      name: `${name} is dropped`,
      in: [at('fabric', ...(frame ?? []))],
      out: [],
      verdict: { dropped: 1n },
      drops: { [reason]: 1 },
    });
  }
});
