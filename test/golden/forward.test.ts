/** From tenant to tenant and from node to node: routed, all encapsulations, both underlays. */
import { describe } from 'vitest';
import {
  arp,
  ether,
  filler,
  gre,
  icmpEcho,
  ipv4,
  ipv6,
  type Layer,
  mpls,
  raw,
  sctp,
  tcp,
  udp,
  vxlan,
} from '../support/packet.ts';
import {
  alice,
  bob,
  carol,
  FABRIC_MAC,
  fromThere,
  GATEWAY_MAC,
  HERE,
  L3_VNI,
  NEIGHBOUR_MAC,
  play,
  REMOTES,
  ROUTER_MAC,
  remote,
  STRANGER,
  type Tenant,
  THERE,
  tunnelled,
} from './network.ts';

const toGateway = (from: Tenant) => ether({ dst: GATEWAY_MAC, src: from.mac });
const fromGateway = (to: Tenant) => ether({ dst: to.mac, src: GATEWAY_MAC });
const dns: readonly Layer[] = [udp({ sport: 3333, dport: 53 }), filler(40)];

describe('tenant to tenant', () => {
  const bodies: [string, readonly Layer[]][] = [
    ['UDP', dns],
    ['UDP without checksum', [udp({ sport: 3333, dport: 53, checksum: 0 }), filler(41)]],
    ['a TCP SYN', [tcp({ sport: 40000, dport: 80, flags: 'S', seq: 1, mss: 1460 })]],
    ['an ICMP echo', [icmpEcho(7, 1), filler(56)]],
    ['SCTP', [sctp({ sport: 1, dport: 2 }), filler(16)]],
    ['a protocol without ports', [raw('ospf, or so')]],
  ];
  for (const [what, body] of bodies) {
    const numbered = body[0]?.protocol === undefined ? { protocol: 89 } : {};
    play({
      name: `routes ${what}: TTL one less, the neighbour's MAC, the rest untouched`,
      in: [
        {
          port: 'alice',
          layers: [
            toGateway(alice),
            ipv4({ src: alice.ipv4, dst: bob.ipv4, ...numbered }),
            ...body,
          ],
        },
      ],
      out: [
        {
          port: 'bob',
          layers: [
            fromGateway(bob),
            ipv4({ src: alice.ipv4, dst: bob.ipv4, ttl: 63, ...numbered }),
            ...body,
          ],
        },
      ],
      verdict: { forwarded: 1n },
      flows: [
        {
          source: alice.ipv4,
          destination: bob.ipv4,
          action: 'F',
          initiator: true,
          packets: 1n,
          vif: alice.vif,
        },
        {
          source: bob.ipv4,
          destination: alice.ipv4,
          action: 'F',
          initiator: false,
          packets: 0n,
          vif: bob.vif,
        },
      ],
    });
  }

  play({
    name: 'routes IPv6: hop limit one less',
    in: [
      {
        port: 'alice',
        layers: [
          toGateway(alice),
          ipv6({ src: alice.ipv6, dst: bob.ipv6, flowLabel: 0x12345, trafficClass: 8 }),
          ...dns,
        ],
      },
    ],
    out: [
      {
        port: 'bob',
        layers: [
          fromGateway(bob),
          ipv6({
            src: alice.ipv6,
            dst: bob.ipv6,
            flowLabel: 0x12345,
            trafficClass: 8,
            hopLimit: 63,
          }),
          ...dns,
        ],
      },
    ],
    verdict: { forwarded: 1n },
    flows: [{ source: alice.ipv6, destination: bob.ipv6, sourcePort: 3333, destinationPort: 53 }],
  });

  play({
    name: 'keeps IPv4 options',
    in: [
      {
        port: 'alice',
        layers: [
          toGateway(alice),
          ipv4({ src: alice.ipv4, dst: bob.ipv4, options: Uint8Array.of(1, 1, 1, 0) }),
          ...dns,
        ],
      },
    ],
    out: [
      {
        port: 'bob',
        layers: [
          fromGateway(bob),
          ipv4({ src: alice.ipv4, dst: bob.ipv4, ttl: 63, options: Uint8Array.of(1, 1, 1, 0) }),
          ...dns,
        ],
      },
    ],
    verdict: { forwarded: 1n },
    flows: [{ source: alice.ipv4, destinationPort: 53 }],
  });

  play({
    name: 'makes the flow for a receiver with policy when the sender has none',
    in: [
      {
        port: 'carol',
        layers: [
          toGateway(carol),
          ipv4({ src: carol.ipv4, dst: alice.ipv4 }),
          udp({ sport: 1, dport: 2 }),
          filler(40),
        ],
      },
    ],
    out: [
      {
        port: 'alice',
        layers: [
          fromGateway(alice),
          ipv4({ src: carol.ipv4, dst: alice.ipv4, ttl: 63 }),
          udp({ sport: 1, dport: 2 }),
          filler(40),
        ],
      },
    ],
    verdict: { forwarded: 1n },
    flows: [{ source: carol.ipv4, destination: alice.ipv4, action: 'F' }],
  });

  play({
    name: 'bridges a frame to a neighbour’s MAC as it is',
    in: [
      {
        port: 'alice',
        layers: [
          ether({ dst: bob.mac, src: alice.mac }),
          ipv4({ src: alice.ipv4, dst: bob.ipv4, ttl: 9 }),
          ...dns,
        ],
      },
    ],
    out: [
      {
        port: 'bob',
        layers: [
          ether({ dst: bob.mac, src: alice.mac }),
          ipv4({ src: alice.ipv4, dst: bob.ipv4, ttl: 9 }),
          ...dns,
        ],
      },
    ],
    verdict: { forwarded: 1n },
    flows: [{ source: alice.ipv4, destination: bob.ipv4, action: 'F' }],
  });

  play({
    name: 'tracks a TCP session to SSrEEr',
    in: [
      {
        port: 'alice',
        layers: [
          toGateway(alice),
          ipv4({ src: alice.ipv4, dst: bob.ipv4 }),
          tcp({ sport: 40000, dport: 80, flags: 'S', seq: 100 }),
        ],
      },
      {
        port: 'bob',
        layers: [
          toGateway(bob),
          ipv4({ src: bob.ipv4, dst: alice.ipv4 }),
          tcp({ sport: 80, dport: 40000, flags: 'SA', seq: 900, ack: 101 }),
        ],
      },
      {
        port: 'alice',
        layers: [
          toGateway(alice),
          ipv4({ src: alice.ipv4, dst: bob.ipv4 }),
          tcp({ sport: 40000, dport: 80, flags: 'A', seq: 101, ack: 901 }),
        ],
      },
    ],
    out: [
      {
        port: 'bob',
        layers: [
          fromGateway(bob),
          ipv4({ src: alice.ipv4, dst: bob.ipv4, ttl: 63 }),
          tcp({ sport: 40000, dport: 80, flags: 'S', seq: 100 }),
        ],
      },
      {
        port: 'alice',
        layers: [
          fromGateway(alice),
          ipv4({ src: bob.ipv4, dst: alice.ipv4, ttl: 63 }),
          tcp({ sport: 80, dport: 40000, flags: 'SA', seq: 900, ack: 101 }),
        ],
      },
      {
        port: 'bob',
        layers: [
          fromGateway(bob),
          ipv4({ src: alice.ipv4, dst: bob.ipv4, ttl: 63 }),
          tcp({ sport: 40000, dport: 80, flags: 'A', seq: 101, ack: 901 }),
        ],
      },
    ],
    verdict: { forwarded: 3n },
    flows: [
      { source: alice.ipv4, tcp: 'SSrEEr', packets: 2n },
      { source: bob.ipv4, tcp: 'SSrEEr', packets: 1n },
    ],
  });
});

describe('to the other node', () => {
  for (const r of REMOTES) {
    play({
      name: `IPv4 in ${r.name}`,
      in: [
        {
          port: 'alice',
          layers: [toGateway(alice), ipv4({ src: alice.ipv4, dst: r.ipv4, ttl: 50 }), ...dns],
        },
      ],
      out: [
        {
          port: 'fabric',
          layers: (free) => [
            ...tunnelled(r, free, 49),
            ipv4({ src: alice.ipv4, dst: r.ipv4, ttl: 49 }),
            ...dns,
          ],
          entropy: r.encap !== 'gre',
        },
      ],
      verdict: { forwarded: 1n },
      flows: [
        {
          source: alice.ipv4,
          destination: r.ipv4,
          nextHop: r.nextHop,
          label: r.label,
          action: 'F',
        },
      ],
    });
    play({
      name: `IPv6 in ${r.name}`,
      in: [
        {
          port: 'alice',
          layers: [toGateway(alice), ipv6({ src: alice.ipv6, dst: r.ipv6 }), ...dns],
        },
      ],
      out: [
        {
          port: 'fabric',
          layers: (free) => [
            ...tunnelled(r, free, 63),
            ipv6({ src: alice.ipv6, dst: r.ipv6, hopLimit: 63 }),
            ...dns,
          ],
          entropy: r.encap !== 'gre',
        },
      ],
      verdict: { forwarded: 1n },
      flows: [{ source: alice.ipv6, destination: r.ipv6, nextHop: r.nextHop }],
    });
    play({
      name: `IPv4 without a flow in ${r.name}`,
      in: [
        {
          port: 'carol',
          layers: [toGateway(carol), ipv4({ src: carol.ipv4, dst: r.ipv4 }), ...dns],
        },
      ],
      out: [
        {
          port: 'fabric',
          layers: (free) => [
            ...tunnelled(r, free, 63),
            ipv4({ src: carol.ipv4, dst: r.ipv4, ttl: 63 }),
            ...dns,
          ],
          entropy: r.encap !== 'gre',
        },
      ],
      verdict: { forwarded: 1n },
    });
  }

  play({
    name: 'clamps the MSS of a SYN to what the tunnel carries',
    in: [
      {
        port: 'alice',
        layers: [
          toGateway(alice),
          ipv4({ src: alice.ipv4, dst: remote.ipv4 }),
          tcp({ sport: 1, dport: 80, flags: 'S', mss: 1460 }),
        ],
      },
    ],
    out: [
      {
        port: 'fabric',
        // 1500 less IPv4, UDP and label outside, IPv4 and TCP inside.
        layers: (free) => [
          ...tunnelled(remote, free, 63),
          ipv4({ src: alice.ipv4, dst: remote.ipv4, ttl: 63 }),
          tcp({ sport: 1, dport: 80, flags: 'S', mss: 1500 - 20 - 8 - 4 - 20 - 20 }),
        ],
        entropy: true,
      },
    ],
    verdict: { forwarded: 1n },
  });

  play({
    name: 'leaves a small MSS alone',
    in: [
      {
        port: 'alice',
        layers: [
          toGateway(alice),
          ipv4({ src: alice.ipv4, dst: remote.ipv4 }),
          tcp({ sport: 1, dport: 80, flags: 'S', mss: 536 }),
        ],
      },
    ],
    out: [
      {
        port: 'fabric',
        layers: (free) => [
          ...tunnelled(remote, free, 63),
          ipv4({ src: alice.ipv4, dst: remote.ipv4, ttl: 63 }),
          tcp({ sport: 1, dport: 80, flags: 'S', mss: 536 }),
        ],
        entropy: true,
      },
    ],
    verdict: { forwarded: 1n },
  });
});

describe('from the other node', () => {
  const ways = [
    ['gre', 4],
    ['gre', 6],
    ['udp', 4],
    ['udp', 6],
  ] as const;
  for (const [encap, underlay] of ways) {
    const r = REMOTES.find((one) => one.encap === encap && one.underlay === underlay)!;
    play({
      name: `IPv4 out of ${r.name}, by label`,
      in: [
        {
          port: 'fabric',
          layers: [
            ...fromThere(encap, underlay, bob.label),
            ipv4({ src: r.ipv4, dst: bob.ipv4, ttl: 33 }),
            ...dns,
          ],
        },
      ],
      out: [
        {
          port: 'bob',
          layers: [fromGateway(bob), ipv4({ src: r.ipv4, dst: bob.ipv4, ttl: 32 }), ...dns],
        },
      ],
      verdict: { forwarded: 1n },
      flows: [
        {
          source: r.ipv4,
          destination: bob.ipv4,
          vif: -1,
          sourceInfo: underlay === 4 ? THERE.ipv4 : THERE.ipv6,
          rpfNextHop: r.nextHop,
        },
        { source: bob.ipv4, destination: r.ipv4, nextHop: r.nextHop, label: r.label },
      ],
    });
    play({
      name: `IPv6 out of ${r.name}, by label`,
      in: [
        {
          port: 'fabric',
          layers: [
            ...fromThere(encap, underlay, bob.label),
            ipv6({ src: r.ipv6, dst: bob.ipv6 }),
            ...dns,
          ],
        },
      ],
      out: [
        {
          port: 'bob',
          layers: [fromGateway(bob), ipv6({ src: r.ipv6, dst: bob.ipv6, hopLimit: 63 }), ...dns],
        },
      ],
      verdict: { forwarded: 1n },
    });
    play({
      name: `IPv4 out of ${r.name} to a vif without policy`,
      in: [
        {
          port: 'fabric',
          layers: [
            ...fromThere(encap, underlay, carol.label),
            ipv4({ src: r.ipv4, dst: carol.ipv4 }),
            ...dns,
          ],
        },
      ],
      out: [
        {
          port: 'carol',
          layers: [fromGateway(carol), ipv4({ src: r.ipv4, dst: carol.ipv4, ttl: 63 }), ...dns],
        },
      ],
      verdict: { forwarded: 1n },
    });
  }

  const l3vni = [{ op: 'vni_set', vni: L3_VNI, nextHop: 4 }] as const;
  for (const underlay of [4, 6] as const) {
    const r = REMOTES.find((one) => one.encap === 'vxlan' && one.underlay === underlay)!;
    const routed = {
      name: r.name,
      out: [
        {
          port: 'carol',
          layers: [fromGateway(carol), ipv4({ src: r.ipv4, dst: carol.ipv4, ttl: 63 }), ...dns],
        },
      ],
    } as const;
    play({
      name: `bare IP out of ${r.name}, routed by an L3 VNI`,
      state: l3vni,
      in: [
        {
          port: 'fabric',
          layers: [
            ...fromThere('vxlan', underlay, L3_VNI),
            ipv4({ src: r.ipv4, dst: carol.ipv4 }),
            ...dns,
          ],
        },
      ],
      out: routed.out,
      verdict: { forwarded: 1n },
    });
    play({
      name: `a frame to the router out of ${r.name}, routed by an L3 VNI`,
      state: l3vni,
      in: [
        {
          port: 'fabric',
          layers: [
            ...fromThere('vxlan', underlay, L3_VNI),
            ether({ dst: FABRIC_MAC, src: ROUTER_MAC }),
            ipv4({ src: r.ipv4, dst: carol.ipv4 }),
            ...dns,
          ],
        },
      ],
      out: routed.out,
      verdict: { forwarded: 1n },
    });
  }

  play({
    name: 'takes MPLSoUDP on the old port too',
    in: [
      {
        port: 'fabric',
        layers: [
          ...fromThere('udp', 4, bob.label, { port: 51234 }),
          ipv4({ src: remote.ipv4, dst: bob.ipv4 }),
          ...dns,
        ],
      },
    ],
    out: [
      {
        port: 'bob',
        layers: [fromGateway(bob), ipv4({ src: remote.ipv4, dst: bob.ipv4, ttl: 63 }), ...dns],
      },
    ],
    verdict: { forwarded: 1n },
  });

  play({
    name: 'sends the answer back by the tunnel its question came from',
    before: [
      {
        port: 'fabric',
        layers: [
          ...fromThere('udp', 4, bob.label),
          ipv4({ src: remote.ipv4, dst: bob.ipv4 }),
          udp({ sport: 5, dport: 6 }),
        ],
      },
    ],
    in: [
      {
        port: 'bob',
        layers: [
          toGateway(bob),
          ipv4({ src: bob.ipv4, dst: remote.ipv4 }),
          udp({ sport: 6, dport: 5 }),
        ],
      },
    ],
    out: [
      {
        port: 'fabric',
        layers: (free) => [
          ...tunnelled(remote, free, 63),
          ipv4({ src: bob.ipv4, dst: remote.ipv4, ttl: 63 }),
          udp({ sport: 6, dport: 5 }),
        ],
        entropy: true,
      },
    ],
    verdict: { forwarded: 1n },
  });
});

describe('dropped by name', () => {
  const inner = [ipv4({ src: remote.ipv4, dst: bob.ipv4 }), ...dns];
  const outer = [
    ether({ dst: FABRIC_MAC, src: NEIGHBOUR_MAC }),
    ipv4({ src: THERE.ipv4, dst: HERE.ipv4 }),
  ];
  const cases: [string, 'fabric' | 'alice' | 'carol', readonly Layer[], string][] = [
    ['a label nobody has', 'fabric', [...fromThere('udp', 4, 999), ...inner], 'Invalid Label'],
    [
      'a label whose TTL ran out',
      'fabric',
      [...fromThere('udp', 4, bob.label, { ttl: 1 }), ...inner],
      'Invalid Label',
    ],
    [
      'a second label below',
      'fabric',
      [
        ...outer,
        gre(),
        mpls({ label: bob.label, ttl: 63, bottom: false }),
        mpls({ label: 3, ttl: 63 }),
        ...inner,
      ],
      'Invalid Label',
    ],
    [
      'a VNI nobody has',
      'fabric',
      [...fromThere('vxlan', 4, 999), ether({ dst: bob.mac, src: alice.mac }), ...inner],
      'Invalid VNID',
    ],
    [
      'VXLAN without the I flag',
      'fabric',
      [
        ...outer,
        udp({ sport: 1, dport: 4789, checksum: 0 }),
        vxlan({ vni: 5001, flags: 0 }),
        ether({ dst: bob.mac, src: alice.mac }),
        ...inner,
      ],
      'Invalid VNID',
    ],
    [
      'a tunnel that ends inside its label',
      'fabric',
      [...outer, udp({ sport: 1, dport: 6635, checksum: 0 }), raw(Uint8Array.of(0, 1))],
      'Pull Fails',
    ],
    [
      'a source behind another tunnel end',
      'fabric',
      [...fromThere('udp', 4, bob.label, { from: STRANGER }), ...inner],
      'Invalid Source',
    ],
    [
      'an inner packet that is no IP',
      'fabric',
      [...fromThere('udp', 4, bob.label), raw(new Uint8Array(40))],
      'Invalid Packets',
    ],
    [
      'a frame for another MAC on the fabric',
      'fabric',
      [ether({ dst: '02:99:99:99:99:99', src: NEIGHBOUR_MAC }), ...inner],
      'Invalid IF',
    ],
    [
      'a source that is not the tenant’s',
      'alice',
      [toGateway(alice), ipv4({ src: bob.ipv4, dst: remote.ipv4 }), ...dns],
      'Invalid Source',
    ],
    [
      'a source without a route',
      'alice',
      [toGateway(alice), ipv4({ src: '9.9.9.9', dst: bob.ipv4 }), ...dns],
      'Invalid Source',
    ],
    [
      'a wrong IPv4 checksum',
      'alice',
      [toGateway(alice), ipv4({ src: alice.ipv4, dst: bob.ipv4, checksum: 0x1234 }), ...dns],
      'Checksum errors',
    ],
    ['a frame shorter than Ethernet', 'alice', [raw('short')], 'Pull Fails'],
    [
      'IPv4 shorter than its length says',
      'alice',
      [toGateway(alice), ipv4({ src: alice.ipv4, dst: bob.ipv4, length: 400 }), ...dns],
      'Invalid Packets',
    ],
    [
      'IPv6 shorter than its length says',
      'alice',
      [toGateway(alice), ipv6({ src: alice.ipv6, dst: bob.ipv6, length: 400 }), ...dns],
      'Invalid Packets',
    ],
    [
      'a frame for the gateway that is not IP',
      'alice',
      [ether({ dst: GATEWAY_MAC, src: alice.mac, type: 0x88cc }), filler(40)],
      'Invalid Protocol',
    ],
    [
      'a MAC nobody has',
      'carol',
      [
        ether({ dst: '02:99:99:99:99:99', src: carol.mac }),
        ipv4({ src: carol.ipv4, dst: '10.47.0.9' }),
        ...dns,
      ],
      'No L2 Route',
    ],
    [
      'ARP cut short',
      'alice',
      [ether({ dst: 'ff:ff:ff:ff:ff:ff', src: alice.mac, type: 0x0806 }), filler(10)],
      'Invalid ARP',
    ],
  ];
  for (const [what, port, layers, reason] of cases) {
    play({
      name: what,
      in: [{ port, layers }],
      out: [],
      verdict: { dropped: 1n },
      drops: { [reason]: 1 },
    });
  }

  play({
    name: 'new flows of a vif that may make none',
    state: [
      {
        op: 'vif_set',
        vif: alice.vif,
        name: 'a',
        type: 3,
        port: 1,
        mac: GATEWAY_MAC,
        vrf: 1,
        flags: 0x400c1,
        nextHop: alice.nextHop,
        ipv4: alice.ipv4,
      },
    ],
    in: [
      {
        port: 'alice',
        layers: [toGateway(alice), ipv4({ src: alice.ipv4, dst: bob.ipv4 }), ...dns],
      },
    ],
    out: [],
    verdict: { dropped: 1n },
    drops: { 'New Flow Drops': 1 },
  });

  play({
    name: 'flows beyond the vif’s quota',
    state: [
      {
        op: 'vif_set',
        vif: alice.vif,
        name: 'a',
        type: 3,
        port: 1,
        mac: GATEWAY_MAC,
        vrf: 1,
        flags: 0xc1,
        nextHop: alice.nextHop,
        ipv4: alice.ipv4,
        flowQuota: 2,
      },
    ],
    in: [1, 2, 3].map((sport) => ({
      port: 'alice',
      layers: [
        toGateway(alice),
        ipv4({ src: alice.ipv4, dst: bob.ipv4 }),
        udp({ sport, dport: 9 }),
      ],
    })),
    out: [1, 2].map((sport) => ({
      port: 'bob',
      layers: [
        fromGateway(bob),
        ipv4({ src: alice.ipv4, dst: bob.ipv4, ttl: 63 }),
        udp({ sport, dport: 9 }),
      ],
    })),
    verdict: { forwarded: 2n, dropped: 1n },
    drops: { 'Flow Unusable': 1 },
  });

  play({
    name: 'ARP from a stranger on the fabric asking for somebody else',
    in: [
      {
        port: 'fabric',
        layers: [
          ether({ dst: 'ff:ff:ff:ff:ff:ff', src: NEIGHBOUR_MAC }),
          arp({
            op: 'request',
            senderMac: NEIGHBOUR_MAC,
            senderIp: THERE.ipv4,
            targetIp: '10.169.25.50',
          }),
        ],
      },
    ],
    out: [],
    verdict: { dropped: 1n },
    drops: { Discards: 1 },
  });
});
