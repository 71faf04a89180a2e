/** What the router says itself: ARP, neighbour discovery, echo, ICMP errors; what goes to the agent. */
import { describe } from 'vitest';
import type { Op } from '../../src/dataplane/api.ts';
import {
  arp,
  ether,
  filler,
  icmp,
  icmp6,
  icmp6Echo,
  icmpEcho,
  ipv4,
  ipv6,
  type Layer,
  neighbour,
  packet,
  raw,
  udp,
} from '../support/packet.ts';
import {
  alice,
  BROADCAST,
  bob,
  carol,
  FABRIC_MAC,
  fromThere,
  GATEWAY,
  GATEWAY_MAC,
  HERE,
  NEIGHBOUR_MAC,
  play,
  RED,
  REMOTES,
  remote,
  type Sent,
  type Tenant,
  THERE,
  tunnelled,
} from './network.ts';

const toGateway = (from: Tenant) => ether({ dst: GATEWAY_MAC, src: from.mac });
const fromGateway = (to: Tenant) => ether({ dst: to.mac, src: GATEWAY_MAC });
const at = (port: Sent['port'], ...layers: Layer[]): Sent => ({ port, layers });

describe('ARP', () => {
  const ask = (targetIp: string, senderIp = alice.ipv4) =>
    at(
      'alice',
      ether({ dst: BROADCAST, src: alice.mac }),
      arp({ op: 'request', senderMac: alice.mac, senderIp, targetIp }),
    );
  const answer = (senderIp: string, senderMac: string) =>
    at(
      'alice',
      ether({ dst: alice.mac, src: senderMac }),
      arp({ op: 'reply', senderMac, senderIp, targetMac: alice.mac, targetIp: alice.ipv4 }),
    );

  play({
    name: 'for the gateway: 00:00:5e:00:01:00',
    in: [ask(GATEWAY.ipv4)],
    out: [answer(GATEWAY.ipv4, GATEWAY_MAC)],
    verdict: { replied: 1n },
  });
  play({
    name: 'for a neighbour with a proxy route: the stitched MAC',
    in: [ask(bob.ipv4)],
    out: [answer(bob.ipv4, bob.mac)],
    verdict: { replied: 1n },
  });
  play({
    name: 'for a remote host with a proxy route and no MAC: the router’s own',
    in: [ask(remote.ipv4)],
    out: [answer(remote.ipv4, GATEWAY_MAC)],
    verdict: { replied: 1n },
  });
  play({
    name: 'for the asker’s own address (duplicate address detection): silence',
    in: [ask(alice.ipv4, '0.0.0.0')],
    out: [],
    verdict: { dropped: 1n },
    drops: { Discards: 1 },
  });
  play({
    name: 'for the underlay address on the fabric: the uplink’s MAC',
    in: [
      at(
        'fabric',
        ether({ dst: BROADCAST, src: NEIGHBOUR_MAC }),
        arp({ op: 'request', senderMac: NEIGHBOUR_MAC, senderIp: THERE.ipv4, targetIp: HERE.ipv4 }),
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

describe('neighbour discovery', () => {
  const SOLICITED = 'ff02::1:ff00:1';
  const MULTICAST_MAC = '33:33:ff:00:00:01';
  const ROUTER_SOLICITED_OVERRIDE = 7;
  const SOLICITED_OVERRIDE = 3;
  play({
    name: 'for the gateway: an advertisement by a router',
    in: [
      at(
        'alice',
        ether({ dst: MULTICAST_MAC, src: alice.mac }),
        ipv6({ src: alice.ipv6, dst: SOLICITED, hopLimit: 255 }),
        neighbour({ kind: 'solicitation', target: GATEWAY.ipv6, mac: alice.mac }),
      ),
    ],
    out: [
      at(
        'alice',
        fromGateway(alice),
        ipv6({ src: GATEWAY.ipv6, dst: alice.ipv6, hopLimit: 255 }),
        neighbour({
          kind: 'advertisement',
          target: GATEWAY.ipv6,
          mac: GATEWAY_MAC,
          flags: ROUTER_SOLICITED_OVERRIDE,
        }),
      ),
    ],
    verdict: { replied: 1n },
  });
  play({
    name: 'for a neighbour, by proxy: his MAC, and no router',
    in: [
      at(
        'alice',
        ether({ dst: MULTICAST_MAC, src: alice.mac }),
        ipv6({ src: alice.ipv6, dst: SOLICITED, hopLimit: 255 }),
        neighbour({ kind: 'solicitation', target: bob.ipv6, mac: alice.mac }),
      ),
    ],
    out: [
      at(
        'alice',
        ether({ dst: alice.mac, src: bob.mac }),
        ipv6({ src: bob.ipv6, dst: alice.ipv6, hopLimit: 255 }),
        neighbour({
          kind: 'advertisement',
          target: bob.ipv6,
          mac: bob.mac,
          flags: SOLICITED_OVERRIDE,
        }),
      ),
    ],
    verdict: { replied: 1n },
  });
  play({
    name: 'from beyond the link (hop limit below 255): refused by name',
    in: [
      at(
        'alice',
        ether({ dst: MULTICAST_MAC, src: alice.mac }),
        ipv6({ src: alice.ipv6, dst: SOLICITED, hopLimit: 254 }),
        neighbour({ kind: 'solicitation', target: GATEWAY.ipv6, mac: alice.mac }),
      ),
    ],
    out: [],
    verdict: { dropped: 1n },
    drops: { 'Invalid ARP': 1 },
  });
  play({
    name: 'with a wrong checksum: refused by name',
    in: [
      at(
        'alice',
        ether({ dst: MULTICAST_MAC, src: alice.mac }),
        ipv6({ src: alice.ipv6, dst: SOLICITED, hopLimit: 255, nextHeader: 58 }),
        raw(
          packet(
            ipv6({ src: bob.ipv6, dst: SOLICITED }),
            neighbour({ kind: 'solicitation', target: GATEWAY.ipv6, mac: alice.mac }),
          ).slice(40),
        ),
      ),
    ],
    out: [],
    verdict: { dropped: 1n },
    drops: { 'Invalid ARP': 1 },
  });
});

describe('echo', () => {
  play({
    name: 'to the gateway',
    in: [
      at(
        'alice',
        toGateway(alice),
        ipv4({ src: alice.ipv4, dst: GATEWAY.ipv4, ttl: 3, id: 99 }),
        icmpEcho(5, 6),
        filler(20),
      ),
    ],
    out: [
      at(
        'alice',
        fromGateway(alice),
        ipv4({ src: GATEWAY.ipv4, dst: alice.ipv4, ttl: 64, id: 99 }),
        icmpEcho(5, 6, true),
        filler(20),
      ),
    ],
    verdict: { replied: 1n },
  });
  play({
    name: 'to the gateway, IPv6',
    in: [
      at(
        'alice',
        toGateway(alice),
        ipv6({ src: alice.ipv6, dst: GATEWAY.ipv6 }),
        icmp6Echo(5, 6),
        filler(20),
      ),
    ],
    out: [
      at(
        'alice',
        fromGateway(alice),
        ipv6({ src: GATEWAY.ipv6, dst: alice.ipv6 }),
        icmp6Echo(5, 6, true),
        filler(20),
      ),
    ],
    verdict: { replied: 1n },
  });
  play({
    name: 'to the underlay address',
    in: [
      at(
        'fabric',
        ether({ dst: FABRIC_MAC, src: NEIGHBOUR_MAC }),
        ipv4({ src: THERE.ipv4, dst: HERE.ipv4 }),
        icmpEcho(5, 6),
        filler(20),
      ),
    ],
    out: [
      at(
        'fabric',
        ether({ dst: NEIGHBOUR_MAC, src: FABRIC_MAC }),
        ipv4({ src: HERE.ipv4, dst: THERE.ipv4 }),
        icmpEcho(5, 6, true),
        filler(20),
      ),
    ],
    verdict: { replied: 1n },
  });
});

/** An ICMP error of the gateway's to a tenant. */
function error4(to: Tenant, type: number, code: number, rest: number, ...about: Layer[]) {
  return {
    port: to.port,
    layers: (free: { id: number }) => [
      fromGateway(to),
      ipv4({ src: GATEWAY.ipv4, dst: to.ipv4, tos: 0xc0, id: free.id }),
      icmp({ type, code, rest }),
      raw(packet(...about).slice(0, 576 - 28)),
    ],
  };
}
function error6(to: Tenant, type: number, code: number, rest: number, ...about: Layer[]) {
  return {
    port: to.port,
    layers: [
      fromGateway(to),
      ipv6({ src: GATEWAY.ipv6, dst: to.ipv6, trafficClass: 0xc0 }),
      icmp6({ type, code, rest }),
      raw(packet(...about).slice(0, 1280 - 48)),
    ],
  };
}

describe('ICMP errors', () => {
  const body = [udp({ sport: 4, dport: 33434 }), filler(900)];
  play({
    name: 'time exceeded, quoting as much as fits 576 bytes',
    in: [at('alice', toGateway(alice), ipv4({ src: alice.ipv4, dst: bob.ipv4, ttl: 1 }), ...body)],
    out: [error4(alice, 11, 0, 0, ipv4({ src: alice.ipv4, dst: bob.ipv4, ttl: 1 }), ...body)],
    verdict: { dropped: 1n, generated: 1n },
    drops: { 'TTL Exceeded': 1 },
  });
  play({
    name: 'hop limit exceeded, quoting as much as fits 1280 bytes',
    in: [
      at(
        'alice',
        toGateway(alice),
        ipv6({ src: alice.ipv6, dst: remote.ipv6, hopLimit: 1 }),
        ...body,
        filler(500),
      ),
    ],
    out: [
      error6(
        alice,
        3,
        0,
        0,
        ipv6({ src: alice.ipv6, dst: remote.ipv6, hopLimit: 1 }),
        ...body,
        filler(500),
      ),
    ],
    verdict: { dropped: 1n, generated: 1n },
    drops: { 'TTL Exceeded': 1 },
  });
  play({
    name: 'none about an ICMP error',
    before: [
      at(
        'bob',
        toGateway(bob),
        ipv4({ src: bob.ipv4, dst: alice.ipv4 }),
        udp({ sport: 9, dport: 4 }),
      ),
    ],
    in: [
      at(
        'alice',
        toGateway(alice),
        ipv4({ src: alice.ipv4, dst: bob.ipv4, ttl: 1 }),
        icmp({ type: 3, code: 3 }),
        raw(packet(ipv4({ src: bob.ipv4, dst: alice.ipv4, ttl: 63 }), udp({ sport: 9, dport: 4 }))),
      ),
    ],
    out: [],
    verdict: { dropped: 1n },
    drops: { 'TTL Exceeded': 1 },
  });
  play({
    name: 'none where the rate is 0',
    state: [{ op: 'router_set', ipv4: HERE.ipv4, ipv6: HERE.ipv6, icmpErrorsPerSecond: 0 }],
    in: [at('alice', toGateway(alice), ipv4({ src: alice.ipv4, dst: bob.ipv4, ttl: 1 }), ...body)],
    out: [],
    verdict: { dropped: 1n },
    drops: { 'TTL Exceeded': 1 },
  });
  play({
    name: 'no more than the rate',
    state: [{ op: 'router_set', ipv4: HERE.ipv4, ipv6: HERE.ipv6, icmpErrorsPerSecond: 2 }],
    in: [1, 2, 3, 4].map((id) =>
      at(
        'alice',
        toGateway(alice),
        ipv4({ src: alice.ipv4, dst: bob.ipv4, ttl: 1, id }),
        udp({ sport: 1, dport: 2 }),
      ),
    ),
    out: [1, 2].map((id) =>
      error4(
        alice,
        11,
        0,
        0,
        ipv4({ src: alice.ipv4, dst: bob.ipv4, ttl: 1, id }),
        udp({ sport: 1, dport: 2 }),
      ),
    ),
    verdict: { dropped: 4n, generated: 2n },
    drops: { 'TTL Exceeded': 4 },
  });
  play({
    name: 'no route, with flow: unreachable, and the flow says NoDstRt',
    in: [
      at(
        'alice',
        toGateway(alice),
        ipv4({ src: alice.ipv4, dst: '8.8.8.8' }),
        udp({ sport: 1, dport: 2 }),
      ),
    ],
    out: [
      error4(
        alice,
        3,
        0,
        0,
        ipv4({ src: alice.ipv4, dst: '8.8.8.8' }),
        udp({ sport: 1, dport: 2 }),
      ),
    ],
    verdict: { dropped: 1n, generated: 1n },
    drops: { 'Flow Action Drop': 1 },
    flows: [{ destination: '8.8.8.8', action: 'D', drop: 'NoDstRt' }],
  });
  play({
    name: 'no route, without flow: unreachable, and Discards',
    in: [
      at(
        'carol',
        toGateway(carol),
        ipv4({ src: carol.ipv4, dst: '8.8.8.8' }),
        udp({ sport: 1, dport: 2 }),
      ),
    ],
    out: [
      error4(
        carol,
        3,
        0,
        0,
        ipv4({ src: carol.ipv4, dst: '8.8.8.8' }),
        udp({ sport: 1, dport: 2 }),
      ),
    ],
    verdict: { dropped: 1n, generated: 1n },
    drops: { Discards: 1 },
  });
  play({
    name: 'no route, IPv6',
    in: [
      at(
        'carol',
        toGateway(carol),
        ipv6({ src: carol.ipv6, dst: '2001:db8::1' }),
        udp({ sport: 1, dport: 2 }),
      ),
    ],
    out: [
      error6(
        carol,
        1,
        0,
        0,
        ipv6({ src: carol.ipv6, dst: '2001:db8::1' }),
        udp({ sport: 1, dport: 2 }),
      ),
    ],
    verdict: { dropped: 1n, generated: 1n },
    drops: { Discards: 1 },
  });
  play({
    name: 'a discard route drops in silence',
    state: [{ op: 'route_set', vrf: RED, prefix: '8.8.8.0/24', nextHop: 0 }],
    in: [
      at(
        'carol',
        toGateway(carol),
        ipv4({ src: carol.ipv4, dst: '8.8.8.8' }),
        udp({ sport: 1, dport: 2 }),
      ),
    ],
    out: [],
    verdict: { dropped: 1n },
    drops: { Discards: 1 },
  });
});

describe('too big', () => {
  /** Bytes of an inner IP packet that fit 1500 outside. */
  const overhead = { gre: 28, udp: 32, vxlan: 36, 'vxlan-frame': 50 };
  for (const r of REMOTES) {
    const fits = 1500 - overhead[r.encap] - (r.underlay === 6 ? 20 : 0);
    const of = (size: number) => [udp({ sport: 1, dport: 2 }), filler(size - 28)];
    const df = (ttl: number) => ipv4({ src: alice.ipv4, dst: r.ipv4, df: true, ttl });
    play({
      name: `${r.name}: ${fits} bytes fit`,
      in: [at('alice', toGateway(alice), df(64), ...of(fits))],
      out: [{ port: 'fabric', layers: (free) => [...tunnelled(r, free, 63), df(63), ...of(fits)] }],
      verdict: { forwarded: 1n },
    });
    play({
      name: `${r.name}: ${fits + 1} with DF are told what fits`,
      in: [at('alice', toGateway(alice), df(64), ...of(fits + 1))],
      // The quoted header is the one of the packet on its way: one hop less (RFC 1812 §4.3.2.3 allows it).
      out: [error4(alice, 3, 4, fits, df(63), ...of(fits + 1))],
      verdict: { dropped: 1n, generated: 1n },
      drops: { 'Fragmentation Needed': 1 },
    });
    play({
      name: `${r.name}: IPv6 is told what fits, DF or not`,
      in: [
        at(
          'alice',
          toGateway(alice),
          ipv6({ src: alice.ipv6, dst: r.ipv6 }),
          udp({ sport: 1, dport: 2 }),
          filler(fits - 47),
        ),
      ],
      out: [
        error6(
          alice,
          2,
          0,
          fits,
          ipv6({ src: alice.ipv6, dst: r.ipv6, hopLimit: 63 }),
          udp({ sport: 1, dport: 2 }),
          filler(fits - 47),
        ),
      ],
      verdict: { dropped: 1n, generated: 1n },
      drops: { 'Fragmentation Needed': 1 },
    });
  }

  const answering: Op = {
    op: 'vif_set',
    vif: carol.vif,
    name: 'small',
    type: 3,
    port: 3,
    mac: GATEWAY_MAC,
    vrf: RED,
    flags: 0xc0,
    mtu: 1300,
    nextHop: carol.nextHop,
    ipv4: carol.ipv4,
    gateway4: GATEWAY.ipv4,
  };
  play({
    name: 'towards a tenant with a small MTU, out of a tunnel: the far sender is told',
    state: [answering],
    in: [
      at(
        'fabric',
        ...fromThere('udp', 4, carol.label),
        ipv4({ src: remote.ipv4, dst: carol.ipv4, df: true }),
        udp({ sport: 1, dport: 2 }),
        filler(1300),
      ),
    ],
    out: [
      {
        port: 'fabric',
        layers: (free) => [
          ...tunnelled(remote, free, 64),
          ipv4({ src: GATEWAY.ipv4, dst: remote.ipv4, tos: 0xc0, id: free.id - 1 }),
          icmp({ type: 3, code: 4, rest: 1300 }),
          raw(
            packet(
              ipv4({ src: remote.ipv4, dst: carol.ipv4, df: true, ttl: 63 }),
              udp({ sport: 1, dport: 2 }),
              filler(1300),
            ).slice(0, 548),
          ),
        ],
        entropy: true,
      },
    ],
    verdict: { dropped: 1n, generated: 1n },
    drops: { 'Fragmentation Needed': 1 },
  });
});

describe('to the agent', () => {
  const wantsDhcp: Op = {
    op: 'vif_set',
    vif: alice.vif,
    name: 'a',
    type: 3,
    port: 1,
    mac: GATEWAY_MAC,
    vrf: RED,
    flags: 0x1c1,
    nextHop: alice.nextHop,
    ipv4: alice.ipv4,
  };
  const discover = [
    ether({ dst: BROADCAST, src: alice.mac }),
    ipv4({ src: '0.0.0.0', dst: '255.255.255.255' }),
    udp({ sport: 68, dport: 67 }),
    filler(240),
  ];
  /** Interface, VRF, command (7: L3 protocols), the rest 0: 30 bytes. */
  const agentHeader = raw(
    Uint8Array.of(0, alice.vif, 0, RED, 0, 7, ...new Array<number>(24).fill(0)),
  );
  play({
    name: 'DHCP of a vif that traps it, behind the 30-byte header',
    state: [wantsDhcp],
    in: [at('alice', ...discover)],
    out: [
      {
        port: 'agent',
        layers: [
          ether({ dst: '00:00:5e:00:01:01', src: GATEWAY_MAC, type: 0x0800 }),
          agentHeader,
          ...discover,
        ],
      },
    ],
    verdict: { punted: 1n },
  });
  play({
    name: 'and nothing where there is no agent',
    state: [wantsDhcp, { op: 'vif_delete', vif: 4 }],
    in: [at('alice', ...discover)],
    out: [],
    verdict: { dropped: 1n },
    drops: { 'Trap No IF': 1 },
  });
  play({
    name: 'a frame from the agent leaves by the vif it names, as it is',
    in: [
      at(
        'agent',
        ether({ dst: GATEWAY_MAC, src: '00:00:5e:00:01:01', type: 0x0800 }),
        raw(Uint8Array.of(0, bob.vif, 0, RED, ...new Array<number>(26).fill(0))),
        ether({ dst: bob.mac, src: GATEWAY_MAC }),
        ipv4({ src: GATEWAY.ipv4, dst: bob.ipv4 }),
        udp({ sport: 67, dport: 68 }),
      ),
    ],
    out: [
      at(
        'bob',
        ether({ dst: bob.mac, src: GATEWAY_MAC }),
        ipv4({ src: GATEWAY.ipv4, dst: bob.ipv4 }),
        udp({ sport: 67, dport: 68 }),
      ),
    ],
    verdict: { forwarded: 1n },
  });
});
