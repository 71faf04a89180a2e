/** Services and floating IPs: translated once, translated back, ICMP errors inside and out. */
import { describe, expect, it } from 'vitest';
import type { Op } from '../../src/dataplane/api.ts';
import {
  ether,
  filler,
  icmp,
  icmp6,
  icmp6Echo,
  icmpEcho,
  ipv4,
  ipv6,
  type Layer,
  packet,
  raw,
  sctp,
  tcp,
  udp,
} from '../support/packet.ts';
import {
  alice,
  bob,
  FABRIC_MAC,
  fromThere,
  GATEWAY_MAC,
  HERE,
  NEIGHBOUR_MAC,
  Node,
  play,
  RED,
  remote,
  type Sent,
  type Tenant,
  THERE,
  tunnelled,
  VIF,
} from './network.ts';

const SERVICE = { ipv4: '10.105.139.153', ipv6: 'fd00:96::153' };
const [TCP, UDP, SCTP] = [6, 17, 132];
const NH_POLICY = 2;

const toGateway = (from: Tenant) => ether({ dst: GATEWAY_MAC, src: from.mac });
const fromGateway = (to: Tenant) => ether({ dst: to.mac, src: GATEWAY_MAC });

/** A service of bob's: 8888 -> 80 for TCP, UDP and SCTP, 53 -> 53 for UDP; both families. */
const service: readonly Op[] = ([4, 6] as const).flatMap((family, i): Op[] => [
  {
    op: 'floating_ip_set',
    floatingIp: 1 + i,
    vif: bob.vif,
    vrf: RED,
    address: family === 4 ? SERVICE.ipv4 : SERVICE.ipv6,
    fixed: family === 4 ? bob.ipv4 : bob.ipv6,
    portMap: 1,
    ports: [
      { protocol: TCP, port: 8888, toPort: 80 },
      { protocol: UDP, port: 8888, toPort: 80 },
      { protocol: SCTP, port: 8888, toPort: 80 },
      { protocol: UDP, port: 53, toPort: 53 },
    ],
  },
  {
    op: 'route_set',
    vrf: RED,
    prefix: family === 4 ? `${SERVICE.ipv4}/32` : `${SERVICE.ipv6}/128`,
    nextHop: bob.nextHop,
  },
]);

const at = (port: Sent['port'], ...layers: Layer[]): Sent => ({ port, layers });

describe('a service port map', () => {
  const transports: [string, (sport: number, dport: number) => Layer[]][] = [
    ['TCP', (sport, dport) => [tcp({ sport, dport, flags: 'PA', seq: 5, ack: 9 }), filler(33)]],
    ['UDP', (sport, dport) => [udp({ sport, dport }), filler(33)]],
    ['UDP without checksum', (sport, dport) => [udp({ sport, dport, checksum: 0 }), filler(33)]],
  ];
  for (const [name, body] of transports) {
    play({
      name: `${name}: the backend sees its own address and port, the client those of the service`,
      state: service,
      in: [
        at(
          'alice',
          toGateway(alice),
          ipv4({ src: alice.ipv4, dst: SERVICE.ipv4 }),
          ...body(4000, 8888),
        ),
        at('bob', toGateway(bob), ipv4({ src: bob.ipv4, dst: alice.ipv4 }), ...body(80, 4000)),
      ],
      out: [
        at(
          'bob',
          fromGateway(bob),
          ipv4({ src: alice.ipv4, dst: bob.ipv4, ttl: 63 }),
          ...body(4000, 80),
        ),
        at(
          'alice',
          fromGateway(alice),
          ipv4({ src: SERVICE.ipv4, dst: alice.ipv4, ttl: 63 }),
          ...body(8888, 4000),
        ),
      ],
      verdict: { forwarded: 2n },
      flows: [
        {
          source: alice.ipv4,
          destination: SERVICE.ipv4,
          destinationPort: 8888,
          action: 'N',
          nat: 'DPd',
          natDestination: bob.ipv4,
          natDestinationPort: 80,
          natSource: alice.ipv4,
          natSourcePort: 4000,
          packets: 1n,
        },
        {
          source: bob.ipv4,
          destination: alice.ipv4,
          sourcePort: 80,
          action: 'N',
          nat: 'SPs',
          natSource: SERVICE.ipv4,
          natSourcePort: 8888,
          packets: 1n,
        },
      ],
    });
    if (name === 'UDP without checksum') continue; // IPv6 knows no such thing
    play({
      name: `${name} over IPv6`,
      state: service,
      in: [
        at(
          'alice',
          toGateway(alice),
          ipv6({ src: alice.ipv6, dst: SERVICE.ipv6 }),
          ...body(4000, 8888),
        ),
        at('bob', toGateway(bob), ipv6({ src: bob.ipv6, dst: alice.ipv6 }), ...body(80, 4000)),
      ],
      out: [
        at(
          'bob',
          fromGateway(bob),
          ipv6({ src: alice.ipv6, dst: bob.ipv6, hopLimit: 63 }),
          ...body(4000, 80),
        ),
        at(
          'alice',
          fromGateway(alice),
          ipv6({ src: SERVICE.ipv6, dst: alice.ipv6, hopLimit: 63 }),
          ...body(8888, 4000),
        ),
      ],
      verdict: { forwarded: 2n },
      flows: [{ destination: SERVICE.ipv6, nat: 'DPd', natDestination: bob.ipv6 }],
    });
  }

  play({
    name: 'a port mapped to itself translates the address alone',
    state: service,
    in: [
      at(
        'alice',
        toGateway(alice),
        ipv4({ src: alice.ipv4, dst: SERVICE.ipv4 }),
        udp({ sport: 1, dport: 53 }),
        filler(9),
      ),
    ],
    out: [
      at(
        'bob',
        fromGateway(bob),
        ipv4({ src: alice.ipv4, dst: bob.ipv4, ttl: 63 }),
        udp({ sport: 1, dport: 53 }),
        filler(9),
      ),
    ],
    verdict: { forwarded: 1n },
    flows: [
      { destination: SERVICE.ipv4, nat: 'D' },
      { source: bob.ipv4, nat: 'S' },
    ],
  });

  const refused: [string, Layer[]][] = [
    ['a port without a mapping', [tcp({ sport: 4000, dport: 9999, flags: 'S' })]],
    ['a mapped port of another protocol', [tcp({ sport: 4000, dport: 53, flags: 'S' })]],
    ['a protocol without ports', [icmpEcho(1, 1)]],
  ];
  for (const [name, body] of refused) {
    play({
      name: `${name} is refused by name, as a short flow`,
      state: service,
      in: [
        at('alice', toGateway(alice), ipv4({ src: alice.ipv4, dst: SERVICE.ipv4 }), ...body),
        at('alice', toGateway(alice), ipv4({ src: alice.ipv4, dst: SERVICE.ipv4 }), ...body),
      ],
      out: [],
      verdict: { dropped: 2n },
      drops: { 'Flow Action Drop': 2 },
      flows: [
        {
          source: alice.ipv4,
          destination: SERVICE.ipv4,
          action: 'D',
          drop: 'NoFipPortMap',
          nat: '',
          packets: 2n,
        },
      ],
    });
  }

  play({
    name: 'from the other node by label, and back into the tunnel',
    state: service,
    in: [
      at(
        'fabric',
        ...fromThere('udp', 4, bob.label),
        ipv4({ src: remote.ipv4, dst: SERVICE.ipv4, ttl: 62 }),
        tcp({ sport: 4000, dport: 8888, flags: 'S', seq: 1 }),
      ),
      at(
        'bob',
        toGateway(bob),
        ipv4({ src: bob.ipv4, dst: remote.ipv4 }),
        tcp({ sport: 80, dport: 4000, flags: 'SA', seq: 7, ack: 2 }),
      ),
    ],
    out: [
      at(
        'bob',
        fromGateway(bob),
        ipv4({ src: remote.ipv4, dst: bob.ipv4, ttl: 61 }),
        tcp({ sport: 4000, dport: 80, flags: 'S', seq: 1 }),
      ),
      {
        port: 'fabric',
        layers: (free) => [
          ...tunnelled(remote, free, 63),
          ipv4({ src: SERVICE.ipv4, dst: remote.ipv4, ttl: 63 }),
          tcp({ sport: 8888, dport: 4000, flags: 'SA', seq: 7, ack: 2 }),
        ],
        entropy: true,
      },
    ],
    verdict: { forwarded: 2n },
    flows: [
      { source: remote.ipv4, nat: 'DPd', sourceInfo: THERE.ipv4, vif: -1, tcp: 'SSrE' },
      { source: bob.ipv4, nat: 'SPs', vif: bob.vif, nextHop: remote.nextHop, label: remote.label },
    ],
  });

  play({
    name: 'hairpin: the backend reaches itself through its own service and sees the service as the client',
    state: service,
    in: [
      at(
        'bob',
        toGateway(bob),
        ipv4({ src: bob.ipv4, dst: SERVICE.ipv4 }),
        udp({ sport: 4000, dport: 8888 }),
        filler(5),
      ),
      at(
        'bob',
        toGateway(bob),
        ipv4({ src: bob.ipv4, dst: SERVICE.ipv4 }),
        udp({ sport: 80, dport: 4000 }),
        filler(6),
      ),
    ],
    out: [
      at(
        'bob',
        fromGateway(bob),
        ipv4({ src: SERVICE.ipv4, dst: bob.ipv4, ttl: 63 }),
        udp({ sport: 4000, dport: 80 }),
        filler(5),
      ),
      at(
        'bob',
        fromGateway(bob),
        ipv4({ src: SERVICE.ipv4, dst: bob.ipv4, ttl: 63 }),
        udp({ sport: 8888, dport: 4000 }),
        filler(6),
      ),
    ],
    verdict: { forwarded: 2n },
    flows: [{ source: bob.ipv4, destination: SERVICE.ipv4, nat: 'SDPd' }],
  });

  it('ends its connections when the mapping goes, by name', () => {
    const node = new Node(service);
    try {
      const ask = at(
        'alice',
        toGateway(alice),
        ipv4({ src: alice.ipv4, dst: SERVICE.ipv4 }),
        udp({ sport: 1, dport: 8888 }),
      );
      const answer = at(
        'bob',
        toGateway(bob),
        ipv4({ src: bob.ipv4, dst: alice.ipv4 }),
        udp({ sport: 80, dport: 1 }),
      );
      expect(node.send(ask).bob).toHaveLength(1);
      expect(node.send(answer).alice).toHaveLength(1);
      node.dp.commit([
        {
          op: 'floating_ip_set',
          floatingIp: 1,
          vif: bob.vif,
          vrf: RED,
          address: SERVICE.ipv4,
          fixed: bob.ipv4,
          portMap: 1,
          ports: [{ protocol: UDP, port: 53, toPort: 53 }],
        },
      ]);
      expect(node.send(ask).bob).toEqual([]);
      const flow = node.dp.flows().find((f) => f.destination === SERVICE.ipv4 && f.initiator);
      expect(flow).toMatchObject({ action: 'D', drop: 'NoFipPortMap' });
      // The old answer must not reach the client as if it came from the service.
      expect(
        node.send(answer).alice.filter((f) => f[23] === 17 && f[26] === 10 && f[27] === 105),
      ).toEqual([]);
    } finally {
      node.close();
    }
  });
});

describe('ICMP errors in NAT', () => {
  const question = [udp({ sport: 4000, dport: 8888 }), filler(64)];
  const translated = [udp({ sport: 4000, dport: 80 }), filler(64)];
  const opened = at(
    'alice',
    toGateway(alice),
    ipv4({ src: alice.ipv4, dst: SERVICE.ipv4 }),
    ...question,
  );
  /** What bob got, as he quotes it: whole, or the 8 bytes of RFC 792. */
  const quote = (length: number) =>
    raw(packet(ipv4({ src: alice.ipv4, dst: bob.ipv4, ttl: 63 }), ...translated).slice(0, length));
  const expectedQuote = (length: number) =>
    raw(
      packet(ipv4({ src: alice.ipv4, dst: SERVICE.ipv4, ttl: 63 }), ...question).slice(0, length),
    );
  for (const [name, length] of [
    ['whole', 92],
    ['as 8 bytes of UDP', 28],
  ] as const) {
    play({
      name: `port unreachable from the backend, quoting the packet ${name}, is about the service to the client`,
      state: service,
      before: [opened],
      in: [
        at(
          'bob',
          toGateway(bob),
          ipv4({ src: bob.ipv4, dst: alice.ipv4, tos: 0xc0 }),
          icmp({ type: 3, code: 3 }),
          quote(length),
        ),
      ],
      out: [
        at(
          'alice',
          fromGateway(alice),
          ipv4({ src: SERVICE.ipv4, dst: alice.ipv4, tos: 0xc0, ttl: 63 }),
          icmp({ type: 3, code: 3 }),
          expectedQuote(length),
        ),
      ],
      verdict: { forwarded: 1n },
      flows: [{ source: alice.ipv4, destination: SERVICE.ipv4, nat: 'DPd' }],
    });
  }

  play({
    name: 'from the client towards the backend the quote is translated the other way',
    state: service,
    before: [
      opened,
      at(
        'bob',
        toGateway(bob),
        ipv4({ src: bob.ipv4, dst: alice.ipv4 }),
        udp({ sport: 80, dport: 4000 }),
        filler(20),
      ),
    ],
    in: [
      at(
        'alice',
        toGateway(alice),
        ipv4({ src: alice.ipv4, dst: SERVICE.ipv4 }),
        icmp({ type: 3, code: 3 }),
        raw(
          packet(
            ipv4({ src: SERVICE.ipv4, dst: alice.ipv4, ttl: 63 }),
            udp({ sport: 8888, dport: 4000 }),
            filler(20),
          ),
        ),
      ),
    ],
    out: [
      at(
        'bob',
        fromGateway(bob),
        ipv4({ src: alice.ipv4, dst: bob.ipv4, ttl: 63 }),
        icmp({ type: 3, code: 3 }),
        raw(
          packet(
            ipv4({ src: bob.ipv4, dst: alice.ipv4, ttl: 63 }),
            udp({ sport: 80, dport: 4000 }),
            filler(20),
          ),
        ),
      ),
    ],
    verdict: { forwarded: 1n },
  });

  play({
    name: 'ICMPv6: the same with a checksum over the pseudo header',
    state: service,
    before: [
      at('alice', toGateway(alice), ipv6({ src: alice.ipv6, dst: SERVICE.ipv6 }), ...question),
    ],
    in: [
      at(
        'bob',
        toGateway(bob),
        ipv6({ src: bob.ipv6, dst: alice.ipv6 }),
        icmp6({ type: 1, code: 4 }),
        raw(packet(ipv6({ src: alice.ipv6, dst: bob.ipv6, hopLimit: 63 }), ...translated)),
      ),
    ],
    out: [
      at(
        'alice',
        fromGateway(alice),
        ipv6({ src: SERVICE.ipv6, dst: alice.ipv6, hopLimit: 63 }),
        icmp6({ type: 1, code: 4 }),
        raw(packet(ipv6({ src: alice.ipv6, dst: SERVICE.ipv6, hopLimit: 63 }), ...question)),
      ),
    ],
    verdict: { forwarded: 1n },
  });

  play({
    name: 'time exceeded from a router beyond the tunnel reaches the client untranslated outside',
    in: [
      at(
        'fabric',
        ...fromThere('udp', 4, alice.label),
        ipv4({ src: remote.ipv4, dst: alice.ipv4 }),
        icmp({ type: 11, code: 0 }),
        raw(
          packet(
            ipv4({ src: alice.ipv4, dst: remote.ipv4, ttl: 1 }),
            udp({ sport: 4000, dport: 33434 }),
            filler(8),
          ),
        ),
      ),
    ],
    before: [
      at(
        'alice',
        toGateway(alice),
        ipv4({ src: alice.ipv4, dst: remote.ipv4 }),
        udp({ sport: 4000, dport: 33434 }),
        filler(8),
      ),
    ],
    out: [
      at(
        'alice',
        fromGateway(alice),
        ipv4({ src: remote.ipv4, dst: alice.ipv4, ttl: 63 }),
        icmp({ type: 11, code: 0 }),
        raw(
          packet(
            ipv4({ src: alice.ipv4, dst: remote.ipv4, ttl: 1 }),
            udp({ sport: 4000, dport: 33434 }),
            filler(8),
          ),
        ),
      ),
    ],
    verdict: { forwarded: 1n },
  });

  play({
    name: 'an error about a packet nobody sent is dropped by name',
    state: service,
    in: [
      at(
        'bob',
        toGateway(bob),
        ipv4({ src: bob.ipv4, dst: alice.ipv4 }),
        icmp({ type: 3, code: 3 }),
        quote(92),
      ),
    ],
    out: [],
    verdict: { dropped: 1n },
    drops: { 'ICMP errors': 1 },
  });
});

/** VRF 2 "blue": bob's floating IP 203.0.113.5 lives there; dave is behind the other node. */
const BLUE = 2;
const FLOATING = '203.0.113.5';
const dave = { ipv4: '203.0.113.77', label: 200 };
const floating = (direction: number): readonly Op[] => [
  { op: 'vrf_set', vrf: BLUE, name: 'blue' },
  {
    op: 'floating_ip_set',
    floatingIp: 9,
    vif: bob.vif,
    vrf: BLUE,
    address: FLOATING,
    fixed: bob.ipv4,
    direction,
  },
  { op: 'route_set', vrf: BLUE, prefix: `${FLOATING}/32`, nextHop: bob.nextHop },
  {
    op: 'route_set',
    vrf: BLUE,
    prefix: '203.0.113.0/24',
    nextHop: remote.nextHop,
    label: dave.label,
  },
];
/** bob seen from blue: a next hop in that VRF, so that its label's packets are judged there. */
const bobInBlue: readonly Op[] = [
  {
    op: 'nh_interface_set',
    nextHop: 50,
    vrf: BLUE,
    vif: bob.vif,
    flags: NH_POLICY,
    destinationMac: bob.mac,
    sourceMac: GATEWAY_MAC,
  },
  { op: 'label_set', label: 50, nextHop: 50 },
  { op: 'route_set', vrf: BLUE, prefix: `${FLOATING}/32`, nextHop: 50 },
];

describe('a floating IP', () => {
  const outward: Sent = at(
    'bob',
    toGateway(bob),
    ipv4({ src: bob.ipv4, dst: dave.ipv4 }),
    icmpEcho(9, 1),
    filler(30),
  );
  play({
    name: 'stands for the tenant when he connects out into its network, and back',
    state: [...floating(0), ...bobInBlue],
    in: [
      outward,
      at(
        'fabric',
        ...fromThere('udp', 4, 50),
        ipv4({ src: dave.ipv4, dst: FLOATING }),
        icmpEcho(9, 1, true),
        filler(30),
      ),
    ],
    out: [
      {
        port: 'fabric',
        layers: (free) => [
          ...tunnelled(remote, free, 63, dave.label),
          ipv4({ src: FLOATING, dst: dave.ipv4, ttl: 63 }),
          icmpEcho(9, 1),
          filler(30),
        ],
        entropy: true,
      },
      at(
        'bob',
        fromGateway(bob),
        ipv4({ src: dave.ipv4, dst: bob.ipv4, ttl: 63 }),
        icmpEcho(9, 1, true),
        filler(30),
      ),
    ],
    verdict: { forwarded: 2n },
    flows: [
      {
        source: bob.ipv4,
        destination: dave.ipv4,
        nat: 'S',
        natSource: FLOATING,
        vrf: RED,
        destinationVrf: BLUE,
      },
      { source: dave.ipv4, destination: FLOATING, nat: 'D', natDestination: bob.ipv4 },
    ],
  });
  play({
    name: 'is reached from outside, and answers as itself',
    state: [...floating(0), ...bobInBlue],
    in: [
      at(
        'fabric',
        ...fromThere('udp', 4, 50),
        ipv4({ src: dave.ipv4, dst: FLOATING }),
        tcp({ sport: 5, dport: 22, flags: 'S', seq: 1 }),
      ),
      at(
        'bob',
        toGateway(bob),
        ipv4({ src: bob.ipv4, dst: dave.ipv4 }),
        tcp({ sport: 22, dport: 5, flags: 'SA', seq: 3, ack: 2 }),
      ),
    ],
    out: [
      at(
        'bob',
        fromGateway(bob),
        ipv4({ src: dave.ipv4, dst: bob.ipv4, ttl: 63 }),
        tcp({ sport: 5, dport: 22, flags: 'S', seq: 1 }),
      ),
      {
        port: 'fabric',
        layers: (free) => [
          ...tunnelled(remote, free, 63, dave.label),
          ipv4({ src: FLOATING, dst: dave.ipv4, ttl: 63 }),
          tcp({ sport: 22, dport: 5, flags: 'SA', seq: 3, ack: 2 }),
        ],
        entropy: true,
      },
    ],
    verdict: { forwarded: 2n },
    flows: [
      { source: dave.ipv4, destination: FLOATING, nat: 'D' },
      { source: bob.ipv4, nat: 'S', natSource: FLOATING },
    ],
  });
  play({
    name: 'for ingress only does not carry its tenant out',
    state: [...floating(1), { op: 'router_set', ipv4: HERE.ipv4 }],
    in: [outward],
    out: [],
    verdict: { dropped: 1n },
    drops: { 'Flow Action Drop': 1 },
    flows: [{ source: bob.ipv4, destination: dave.ipv4, action: 'D', drop: 'NoDstRt' }],
  });
  play({
    name: 'for egress only is not reached from outside',
    state: [...floating(2), ...bobInBlue],
    in: [
      at(
        'fabric',
        ...fromThere('udp', 4, 50),
        ipv4({ src: dave.ipv4, dst: FLOATING }),
        icmpEcho(1, 1),
      ),
    ],
    // Nor told: the router's underlay address is not for tenants, and no gateway stands for it.
    out: [],
    verdict: { dropped: 1n },
    drops: { 'Flow Action Drop': 1 },
    flows: [{ destination: FLOATING, action: 'D' }],
  });
});

/** Source NAT from red into the fabric's VRF behind the router's own address. */
const OUTSIDE = '192.0.2.80';
const sourceNat = (low: number, high: number): readonly Op[] => [
  { op: 'nh_vrf_translate_set', nextHop: 60, vrf: 0 },
  { op: 'route_set', vrf: RED, prefix: '0.0.0.0/0', nextHop: 60 },
  {
    op: 'nh_interface_set',
    nextHop: 61,
    vrf: 0,
    vif: 0,
    flags: 0,
    destinationMac: NEIGHBOUR_MAC,
    sourceMac: FABRIC_MAC,
  },
  { op: 'route_set', vrf: 0, prefix: '192.0.2.0/24', nextHop: 61 },
  {
    op: 'source_nat_set',
    sourceNat: 1,
    vrf: RED,
    toVrf: 0,
    source: '10.47.0.0/16',
    address: HERE.ipv4,
    portLow: low,
    portHigh: high,
  },
];

describe('source NAT', () => {
  const ask = (sport: number) =>
    at(
      'alice',
      toGateway(alice),
      ipv4({ src: alice.ipv4, dst: OUTSIDE }),
      udp({ sport, dport: 53 }),
      filler(9),
    );
  const asked = (sport: number) =>
    at(
      'fabric',
      ether({ dst: NEIGHBOUR_MAC, src: FABRIC_MAC }),
      ipv4({ src: HERE.ipv4, dst: OUTSIDE, ttl: 63 }),
      udp({ sport, dport: 53 }),
      filler(9),
    );
  play({
    name: 'takes ports of its range in turn, and names the lack of one',
    state: sourceNat(50_000, 50_001),
    in: [ask(1), ask(2), ask(1), ask(3)],
    out: [asked(50_000), asked(50_001), asked(50_000)],
    verdict: { forwarded: 3n, dropped: 1n },
    drops: { 'NAT Ports Exhausted': 1 },
    flows: [
      {
        source: alice.ipv4,
        sourcePort: 1,
        nat: 'SPs',
        natSource: HERE.ipv4,
        natSourcePort: 50_000,
        destinationVrf: 0,
      },
      { source: alice.ipv4, sourcePort: 2, nat: 'SPs', natSourcePort: 50_001 },
    ],
  });
  play({
    name: 'refuses what has neither port nor identifier',
    state: sourceNat(50_000, 50_001),
    in: [
      at(
        'alice',
        toGateway(alice),
        ipv4({ src: alice.ipv4, dst: OUTSIDE, protocol: 89 }),
        filler(20),
      ),
    ],
    out: [],
    verdict: { dropped: 1n },
    drops: { 'Flow Invalid Protocol': 1 },
  });
  play({
    name: 'brings the answer back, for a vif whose packets pass the flow table',
    state: [
      ...sourceNat(50_000, 50_100),
      {
        op: 'vif_set',
        vif: 0,
        name: 'eth0',
        type: 2,
        port: 0,
        mac: FABRIC_MAC,
        vrf: 0,
        mtu: 1500,
        flags: VIF.policy,
        nextHop: 1,
      },
    ],
    before: [ask(7)],
    in: [
      at(
        'fabric',
        ether({ dst: FABRIC_MAC, src: NEIGHBOUR_MAC }),
        ipv4({ src: OUTSIDE, dst: HERE.ipv4 }),
        udp({ sport: 53, dport: 50_000 }),
        filler(12),
      ),
    ],
    out: [
      at(
        'alice',
        fromGateway(alice),
        ipv4({ src: OUTSIDE, dst: alice.ipv4, ttl: 63 }),
        udp({ sport: 53, dport: 7 }),
        filler(12),
      ),
    ],
    verdict: { forwarded: 1n },
  });
  play({
    name: 'translates the identifier of an echo',
    state: sourceNat(50_000, 50_100),
    in: [
      at(
        'alice',
        toGateway(alice),
        ipv4({ src: alice.ipv4, dst: OUTSIDE }),
        icmpEcho(7, 3),
        filler(12),
      ),
    ],
    out: [
      at(
        'fabric',
        ether({ dst: NEIGHBOUR_MAC, src: FABRIC_MAC }),
        ipv4({ src: HERE.ipv4, dst: OUTSIDE, ttl: 63 }),
        icmpEcho(50_000, 3),
        filler(12),
      ),
    ],
    verdict: { forwarded: 1n },
  });
});

describe('SCTP and ICMPv6 in NAT', () => {
  play({
    name: 'ICMPv6 echo to a one-to-one floating IP of the same network',
    state: [
      {
        op: 'floating_ip_set',
        floatingIp: 9,
        vif: bob.vif,
        vrf: RED,
        address: SERVICE.ipv6,
        fixed: bob.ipv6,
      },
      { op: 'route_set', vrf: RED, prefix: `${SERVICE.ipv6}/128`, nextHop: bob.nextHop },
    ],
    in: [
      at(
        'alice',
        toGateway(alice),
        ipv6({ src: alice.ipv6, dst: SERVICE.ipv6 }),
        icmp6Echo(5, 1),
        filler(20),
      ),
      at(
        'bob',
        toGateway(bob),
        ipv6({ src: bob.ipv6, dst: alice.ipv6 }),
        icmp6Echo(5, 1, true),
        filler(20),
      ),
    ],
    out: [
      at(
        'bob',
        fromGateway(bob),
        ipv6({ src: alice.ipv6, dst: bob.ipv6, hopLimit: 63 }),
        icmp6Echo(5, 1),
        filler(20),
      ),
      at(
        'alice',
        fromGateway(alice),
        ipv6({ src: SERVICE.ipv6, dst: alice.ipv6, hopLimit: 63 }),
        icmp6Echo(5, 1, true),
        filler(20),
      ),
    ],
    verdict: { forwarded: 2n },
    flows: [
      { nat: 'D', destination: SERVICE.ipv6 },
      { nat: 'S', source: bob.ipv6 },
    ],
  });
  play({
    name: 'SCTP: the CRC32c is made anew',
    state: service,
    in: [
      at(
        'alice',
        toGateway(alice),
        ipv4({ src: alice.ipv4, dst: SERVICE.ipv4 }),
        sctp({ sport: 9, dport: 8888 }),
        filler(16),
      ),
    ],
    out: [
      at(
        'bob',
        fromGateway(bob),
        ipv4({ src: alice.ipv4, dst: bob.ipv4, ttl: 63 }),
        sctp({ sport: 9, dport: 80, crc: true }),
        filler(16),
      ),
    ],
    verdict: { forwarded: 1n },
  });
});

describe('explain', () => {
  it('shows a first packet as it would leave, translated, and makes no flow', () => {
    const node = new Node(service);
    try {
      const told = node.explain(
        at(
          'alice',
          toGateway(alice),
          ipv4({ src: alice.ipv4, dst: SERVICE.ipv4 }),
          tcp({ sport: 4000, dport: 8888, flags: 'S' }),
        ),
      );
      expect(told).toMatch(/translate +10\.47\.255\.237:4000 -> 10\.47\.255\.236:80/);
      expect(told).toContain('IPv4 10.47.255.237 > 10.47.255.236');
      expect(told).toContain('TCP 4000 > 80');
      expect(told).not.toContain('bad checksum');
      expect(node.dp.flows()).toEqual([]);
    } finally {
      node.close();
    }
  });
});
