/** Fragments in both families: made, matched to their flow, held for their first, refused by name. */
import { describe } from 'vitest';
import type { Op } from '../../src/dataplane/api.ts';
import {
  ether,
  ipv4,
  ipv6,
  ipv6Fragment,
  type Layer,
  packet,
  raw,
  udp,
} from '../support/packet.ts';
import {
  alice,
  bob,
  GATEWAY_MAC,
  play,
  RED,
  remote,
  type Sent,
  type Tenant,
  tunnelled,
} from './network.ts';

const toGateway = (from: Tenant) => ether({ dst: GATEWAY_MAC, src: from.mac });
const fromGateway = (to: Tenant) => ether({ dst: to.mac, src: GATEWAY_MAC });
const at = (port: Sent['port'], ...layers: Layer[]): Sent => ({ port, layers });

const bytes = (count: number) =>
  Uint8Array.from({ length: count }, (_, i) => (i * 11 + (i >> 8)) & 0xff);

/** Transport bytes of a datagram from `src` to `dst`, checksummed whole. */
function datagram(src: string, dst: string, dport: number, size: number): Uint8Array {
  const v6 = src.includes(':');
  const ip = v6 ? ipv6({ src, dst }) : ipv4({ src, dst });
  return packet(ip, udp({ sport: 4000, dport }), raw(bytes(size))).slice(v6 ? 40 : 20);
}

const SERVICE = { ipv4: '10.105.139.153', ipv6: 'fd00:96::153' };
const service: readonly Op[] = ([4, 6] as const).flatMap((family, i): Op[] => [
  {
    op: 'floating_ip_set',
    floatingIp: 1 + i,
    vif: bob.vif,
    vrf: RED,
    address: family === 4 ? SERVICE.ipv4 : SERVICE.ipv6,
    fixed: family === 4 ? bob.ipv4 : bob.ipv6,
    portMap: 1,
    ports: [{ protocol: 17, port: 8888, toPort: 80 }],
  },
  {
    op: 'route_set',
    vrf: RED,
    prefix: family === 4 ? `${SERVICE.ipv4}/32` : `${SERVICE.ipv6}/128`,
    nextHop: bob.nextHop,
  },
]);

// A datagram of 608 transport bytes in three pieces, to the service and as its backend gets it.
const cuts = [
  [0, 304],
  [304, 504],
  [504, 608],
] as const;
const asked4 = datagram(alice.ipv4, SERVICE.ipv4, 8888, 600);
const given4 = datagram(alice.ipv4, bob.ipv4, 80, 600);
const asked6 = datagram(alice.ipv6, SERVICE.ipv6, 8888, 600);
const given6 = datagram(alice.ipv6, bob.ipv6, 80, 600);

function piece4(way: 'in' | 'out', index: 0 | 1 | 2, id = 700): Sent {
  const [from, to] = cuts[index];
  const dst = way === 'in' ? SERVICE.ipv4 : bob.ipv4;
  const all = way === 'in' ? asked4 : given4;
  return at(
    way === 'in' ? 'alice' : 'bob',
    way === 'in' ? toGateway(alice) : fromGateway(bob),
    ipv4({
      src: alice.ipv4,
      dst,
      id,
      offset: from,
      mf: to < 608,
      protocol: 17,
      ttl: way === 'in' ? 64 : 63,
    }),
    raw(all.slice(from, to)),
  );
}
function piece6(way: 'in' | 'out', index: 0 | 1 | 2): Sent {
  const [from, to] = cuts[index];
  const dst = way === 'in' ? SERVICE.ipv6 : bob.ipv6;
  const all = way === 'in' ? asked6 : given6;
  return at(
    way === 'in' ? 'alice' : 'bob',
    way === 'in' ? toGateway(alice) : fromGateway(bob),
    ipv6({ src: alice.ipv6, dst, hopLimit: way === 'in' ? 64 : 63 }),
    ipv6Fragment({ id: 0xdeadbeef, offset: from, more: to < 608, nextHeader: 17 }),
    raw(all.slice(from, to)),
  );
}

describe('fragments of a datagram to a service', () => {
  for (const [family, piece] of [
    ['IPv4', piece4],
    ['IPv6', piece6],
  ] as const) {
    play({
      name: `${family}, in order: each is translated, the first’s checksum for the whole`,
      state: service,
      in: [piece('in', 0), piece('in', 1), piece('in', 2)],
      out: [piece('out', 0), piece('out', 1), piece('out', 2)],
      verdict: { forwarded: 3n },
      flows: [
        {
          source: family === 'IPv4' ? alice.ipv4 : alice.ipv6,
          sourcePort: 4000,
          destinationPort: 8888,
          packets: 3n,
        },
      ],
    });
    play({
      name: `${family}, the first last: the others wait for it`,
      state: service,
      in: [piece('in', 2), piece('in', 1), piece('in', 0)],
      out: [piece('out', 0), piece('out', 2), piece('out', 1)],
      verdict: { forwarded: 3n },
    });
    play({
      name: `${family}, without the first: held, accounted for, and sent nowhere`,
      state: service,
      in: [piece('in', 1)],
      out: [],
      verdict: { held: 1n },
    });
  }

  play({
    name: 'a later fragment of another datagram does not borrow its ports',
    state: service,
    in: [piece4('in', 0, 700), piece4('in', 1, 701)],
    out: [piece4('out', 0, 700)],
    verdict: { forwarded: 1n, held: 1n },
  });
});

describe('malformed fragments', () => {
  const bad: [string, Layer[]][] = [
    [
      'a first fragment too short for its ports',
      [ipv4({ src: alice.ipv4, dst: bob.ipv4, mf: true, protocol: 17 }), raw(bytes(4))],
    ],
    [
      'one that ends behind 65535',
      [ipv4({ src: alice.ipv4, dst: bob.ipv4, offset: 65528, protocol: 17 }), raw(bytes(64))],
    ],
    [
      'a TCP fragment that would overwrite the flags (RFC 1858)',
      [ipv4({ src: alice.ipv4, dst: bob.ipv4, offset: 8, protocol: 6 }), raw(bytes(64))],
    ],
  ];
  for (const [name, layers] of bad) {
    play({
      name,
      in: [at('alice', toGateway(alice), ...layers)],
      out: [],
      verdict: { dropped: 1n },
      drops: { 'Fragment errors': 1 },
    });
  }
});

describe('fragmentation', () => {
  // 1468 bytes fit MPLSoUDP over IPv4; 1448 bytes of payload a piece, a multiple of 8.
  const all = datagram(alice.ipv4, remote.ipv4, 53, 3000);
  const part = (
    id: number,
    from: number,
    to: number,
    free: Parameters<typeof tunnelled>[1],
    more: boolean,
  ) => [
    ...tunnelled(remote, free, 63),
    ipv4({ src: alice.ipv4, dst: remote.ipv4, id, ttl: 63, offset: from, mf: more, protocol: 17 }),
    raw(all.slice(from, to)),
  ];
  play({
    name: 'a packet that may be split is, and each piece is tunnelled',
    in: [
      at(
        'alice',
        toGateway(alice),
        ipv4({ src: alice.ipv4, dst: remote.ipv4, id: 42, protocol: 17 }),
        raw(all),
      ),
    ],
    out: [
      { port: 'fabric', layers: (free) => part(42, 0, 1448, free, true), entropy: true },
      { port: 'fabric', layers: (free) => part(42, 1448, 2896, free, true), entropy: true },
      { port: 'fabric', layers: (free) => part(42, 2896, 3008, free, false), entropy: true },
    ],
    verdict: { consumed: 1n, generated: 3n },
  });
});
