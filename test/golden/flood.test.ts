/** Broadcast, multicast and unknown unicast inside a network; VXLAN bridging. */
import { describe } from 'vitest';
import type { Op } from '../../src/dataplane/api.ts';
import { arp, ether, filler, ipv4, type Layer, udp, vxlan } from '../support/packet.ts';
import {
  alice,
  BROADCAST,
  bob,
  carol,
  evpnHost,
  FABRIC_MAC,
  FLOOD,
  type Free,
  fromThere,
  GATEWAY_MAC,
  HERE,
  NEIGHBOUR_MAC,
  play,
  RED,
  type Sent,
  STRANGER,
  type Tenant,
  THERE,
  VIF,
  VNI,
} from './network.ts';

const at = (port: Sent['port'], ...layers: Layer[]): Sent => ({ port, layers });

const bridged = (free: Free): Layer[] => [
  ether({ dst: NEIGHBOUR_MAC, src: FABRIC_MAC }),
  ipv4({ src: HERE.ipv4, dst: THERE.ipv4, id: free.id }),
  udp({ sport: free.entropy, dport: 4789, checksum: 0 }),
  vxlan({ vni: VNI }),
];
const announcement = [
  ether({ dst: BROADCAST, src: alice.mac }),
  arp({ op: 'request', senderMac: alice.mac, senderIp: alice.ipv4, targetIp: alice.ipv4 }),
];
const broadcast = (from: Tenant) => [
  ether({ dst: BROADCAST, src: from.mac }),
  ipv4({ src: from.ipv4, dst: '255.255.255.255' }),
  udp({ sport: 1, dport: 2 }),
  filler(20),
];
const lost = '02:99:99:99:99:99';
const unknown = (from: Tenant) => [
  ether({ dst: lost, src: from.mac }),
  ipv4({ src: from.ipv4, dst: '10.47.255.1' }),
  udp({ sport: 1, dport: 2 }),
  filler(20),
];
const flooding = (tenant: Tenant, port: number, policy: boolean): Op => ({
  op: 'vif_set',
  vif: tenant.vif,
  name: tenant.port,
  type: 3,
  port,
  mac: GATEWAY_MAC,
  vrf: RED,
  flags: VIF.l2 | VIF.l3 | VIF.flood | (policy ? VIF.policy : 0),
  mtu: 9000,
  nextHop: tenant.nextHop,
  ipv4: tenant.ipv4,
});

describe('flooding', () => {
  for (const [name, frame] of [
    ['broadcast', broadcast(alice)],
    ['an ARP announcement', announcement],
  ] as const) {
    play({
      name: `${name} of a tenant: to the others and the other node, not back`,
      in: [at('alice', ...frame)],
      out: [
        at('bob', ...frame),
        at('carol', ...frame),
        { port: 'fabric', layers: (free) => [...bridged(free), ...frame], entropy: true },
      ],
      verdict: { consumed: 1n, generated: 3n },
    });
  }

  const theirs = [
    ether({ dst: BROADCAST, src: evpnHost.mac }),
    ipv4({ src: evpnHost.ipv4, dst: '255.255.255.255' }),
    udp({ sport: 1, dport: 2 }),
  ];
  play({
    name: 'broadcast out of a tunnel: to local tenants only',
    in: [at('fabric', ...fromThere('vxlan', 4, VNI), ...theirs)],
    out: [at('alice', ...theirs), at('bob', ...theirs), at('carol', ...theirs)],
    verdict: { consumed: 1n, generated: 3n },
  });
  play({
    name: 'broadcast from a tunnel end outside the tree is refused where sources are checked',
    state: [
      {
        op: 'nh_replicate_set',
        nextHop: FLOOD,
        vrf: RED,
        flags: 0x8000000,
        replicas: [{ nextHop: 41 }, { nextHop: 42 }],
      },
    ],
    in: [at('fabric', ...fromThere('vxlan', 4, VNI, { from: STRANGER }), ...theirs)],
    out: [],
    verdict: { dropped: 1n },
    drops: { 'Invalid Mcast Source': 1 },
  });

  for (const [name, tenant, port, policy] of [
    ['without policy', carol, 3, false],
    ['with policy', alice, 1, true],
  ] as const) {
    play({
      name: `unknown unicast of a vif that floods, ${name}`,
      state: [flooding(tenant, port, policy)],
      in: [at(tenant.port, ...unknown(tenant))],
      out: [
        ...[alice, bob, carol]
          .filter((t) => t !== tenant)
          .map((t) => at(t.port, ...unknown(tenant))),
        { port: 'fabric', layers: (free) => [...bridged(free), ...unknown(tenant)], entropy: true },
      ],
      verdict: { consumed: 1n, generated: 3n },
    });
  }
  play({
    name: 'unknown unicast out of a tunnel goes nowhere',
    in: [
      at(
        'fabric',
        ...fromThere('vxlan', 4, VNI),
        ether({ dst: lost, src: evpnHost.mac }),
        ipv4({ src: evpnHost.ipv4, dst: '10.47.255.1' }),
        udp({ sport: 1, dport: 2 }),
      ),
    ],
    out: [],
    verdict: { dropped: 1n },
    drops: { 'No L2 Route': 1 },
  });
});

describe('bridging to the other node', () => {
  const frame = [
    ether({ dst: evpnHost.mac, src: alice.mac }),
    ipv4({ src: alice.ipv4, dst: evpnHost.ipv4 }),
    udp({ sport: 1, dport: 2 }),
    filler(30),
  ];
  play({
    name: 'a frame to its MAC in VXLAN, whole and as it is',
    in: [at('alice', ...frame)],
    out: [{ port: 'fabric', layers: (free) => [...bridged(free), ...frame], entropy: true }],
    verdict: { forwarded: 1n },
    flows: [{ source: alice.ipv4, destination: evpnHost.ipv4, action: 'F' }],
  });
  const back = [
    ether({ dst: carol.mac, src: evpnHost.mac }),
    ipv4({ src: evpnHost.ipv4, dst: carol.ipv4 }),
    udp({ sport: 2, dport: 1 }),
  ];
  play({
    name: 'a frame out of VXLAN to its MAC',
    in: [at('fabric', ...fromThere('vxlan', 4, VNI), ...back)],
    out: [at('carol', ...back)],
    verdict: { forwarded: 1n },
  });
  play({
    name: 'a frame out of VXLAN for the other node again does not go back',
    in: [
      at(
        'fabric',
        ...fromThere('vxlan', 4, VNI),
        ether({ dst: evpnHost.mac, src: lost }),
        ipv4({ src: '10.47.255.1', dst: evpnHost.ipv4 }),
        udp({ sport: 2, dport: 1 }),
      ),
    ],
    out: [],
    verdict: { dropped: 1n },
    drops: { 'Invalid Source': 1 },
  });
  // The flow is the receiver's, whether its packets come out of a VNI, which names nobody, or go into it.
  const there = [
    ether({ dst: alice.mac, src: evpnHost.mac }),
    ipv4({ src: evpnHost.ipv4, dst: alice.ipv4 }),
    udp({ sport: 2, dport: 1 }),
    filler(30),
  ];
  play({
    name: 'a reply out of VXLAN finds the flow of the one who asked',
    before: [at('alice', ...frame)],
    in: [at('fabric', ...fromThere('vxlan', 4, VNI), ...there)],
    out: [at('alice', ...there)],
    verdict: { forwarded: 1n },
    flows: [
      { source: alice.ipv4, destination: evpnHost.ipv4, packets: 1n },
      { source: evpnHost.ipv4, destination: alice.ipv4, packets: 1n },
    ],
  });
  play({
    name: 'a reply into VXLAN finds the flow that was opened out of it',
    before: [at('fabric', ...fromThere('vxlan', 4, VNI), ...there)],
    in: [at('alice', ...frame)],
    out: [{ port: 'fabric', layers: (free) => [...bridged(free), ...frame], entropy: true }],
    verdict: { forwarded: 1n },
    flows: [
      { source: evpnHost.ipv4, destination: alice.ipv4, packets: 1n },
      { source: alice.ipv4, destination: evpnHost.ipv4, packets: 1n },
    ],
  });
});
