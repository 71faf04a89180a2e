/**
 * The network the golden tables are played in, and the table's form: name, state, packets in, packets and verdict out.
 *
 * One node, 10.169.25.20 / fd00:169::20, seen through its ports. VRF 1 "red" holds, behind the gateway 10.47.255.254:
 *   alice  vif 1  10.47.255.237  fd00:47::237  with policy (flows)
 *   bob    vif 2  10.47.255.236  fd00:47::236  with policy (flows)
 *   carol  vif 3  10.47.255.238  fd00:47::238  without policy (no flows of her own)
 * and, on the other node 10.169.25.21 / fd00:169::21, one host per encapsulation and underlay (REMOTES).
 */
import { expect, it } from 'vitest';
import type { Counters, Dataplane, FlowRecord, Op } from '../../src/dataplane/api.ts';
import { openDataplane } from '../../src/dataplane/dataplane.ts';
import {
  ether,
  gre,
  ipv4,
  ipv6,
  type Layer,
  mpls,
  packet,
  scapy,
  udp,
  vxlan,
} from '../support/packet.ts';

export const GATEWAY_MAC = '00:00:5e:00:01:00';
export const FABRIC_MAC = '00:1b:21:bb:f9:46';
export const NEIGHBOUR_MAC = '00:1b:21:bb:f9:48';
export const BROADCAST = 'ff:ff:ff:ff:ff:ff';
/** Inner MAC that routed VXLAN is addressed to on the other node. */
export const ROUTER_MAC = '02:aa:00:00:00:21';

export const HERE = { ipv4: '10.169.25.20', ipv6: 'fd00:169::20' };
export const THERE = { ipv4: '10.169.25.21', ipv6: 'fd00:169::21' };
export const STRANGER = { ipv4: '10.169.25.99', ipv6: 'fd00:169::99' };
export const GATEWAY = { ipv4: '10.47.255.254', ipv6: 'fd00:47::1' };

export interface Tenant {
  readonly port: PortName;
  readonly vif: number;
  readonly nextHop: number;
  readonly label: number;
  readonly mac: string;
  readonly ipv4: string;
  readonly ipv6: string;
}
export const alice: Tenant = {
  port: 'alice',
  vif: 1,
  nextHop: 11,
  label: 16,
  mac: '02:e7:03:ea:67:01',
  ipv4: '10.47.255.237',
  ipv6: 'fd00:47::237',
};
export const bob: Tenant = {
  port: 'bob',
  vif: 2,
  nextHop: 12,
  label: 17,
  mac: '02:e7:03:ea:67:02',
  ipv4: '10.47.255.236',
  ipv6: 'fd00:47::236',
};
export const carol: Tenant = {
  port: 'carol',
  vif: 3,
  nextHop: 13,
  label: 18,
  mac: '02:e7:03:ea:67:03',
  ipv4: '10.47.255.238',
  ipv6: 'fd00:47::238',
};

export type PortName = 'fabric' | 'alice' | 'bob' | 'carol' | 'agent';
const PORTS: readonly PortName[] = ['fabric', 'alice', 'bob', 'carol', 'agent'];
const PORT_ID = Object.fromEntries(PORTS.map((name, id) => [name, id])) as Record<PortName, number>;

export const RED = 1;
export const VNI = 5001; // bridged
export const L3_VNI = 5002; // routed
export const FLOOD = 40;

export const VIF = { policy: 0x1, l3: 0x40, l2: 0x80, dhcp: 0x100, flood: 0x10000, noNew: 0x40000 };
const NH_POLICY = 0x2;
const NH_BRIDGE = 0x10000000;
const ROUTE_PROXY = 0x2;

export interface Remote {
  readonly name: string;
  readonly encap: 'gre' | 'udp' | 'vxlan' | 'vxlan-frame';
  readonly underlay: 4 | 6;
  readonly nextHop: number;
  /** Label, or VNI. */
  readonly label: number;
  readonly ipv4: string;
  readonly ipv6: string;
}
const ENCAPS = ['gre', 'udp', 'vxlan', 'vxlan-frame'] as const;
export const REMOTES: readonly Remote[] = ENCAPS.flatMap((encap, e) =>
  ([4, 6] as const).map((underlay, u) => ({
    name: `${encap} over IPv${underlay}`,
    encap,
    underlay,
    nextHop: 20 + 2 * e + u,
    label: 100 + 2 * e + u,
    ipv4: `10.47.100.${1 + 2 * e + u}`,
    ipv6: `fd00:47::100:${1 + 2 * e + u}`,
  })),
);
/** The ordinary one. */
export const remote: Remote = REMOTES.find((r) => r.encap === 'udp' && r.underlay === 4)!;

function tenantOps(tenant: Tenant, policy: boolean): Op[] {
  const vif = {
    op: 'vif_set',
    vif: tenant.vif,
    name: `tap-${tenant.port}`,
    type: 3,
    port: PORT_ID[tenant.port],
    mac: GATEWAY_MAC,
    vrf: RED,
    flags: VIF.l3 | VIF.l2 | (policy ? VIF.policy : 0),
    mtu: 9000,
    nextHop: tenant.nextHop,
    ipv4: tenant.ipv4,
    ipv6: tenant.ipv6,
    gateway4: GATEWAY.ipv4,
    gateway6: GATEWAY.ipv6,
  } as const;
  return [
    vif,
    {
      op: 'nh_interface_set',
      nextHop: tenant.nextHop,
      vrf: RED,
      vif: tenant.vif,
      flags: policy ? NH_POLICY : 0,
      destinationMac: tenant.mac,
      sourceMac: GATEWAY_MAC,
    },
    {
      op: 'route_set',
      vrf: RED,
      prefix: `${tenant.ipv4}/32`,
      nextHop: tenant.nextHop,
      flags: ROUTE_PROXY,
      mac: tenant.mac,
    },
    {
      op: 'route_set',
      vrf: RED,
      prefix: `${tenant.ipv6}/128`,
      nextHop: tenant.nextHop,
      flags: ROUTE_PROXY,
      mac: tenant.mac,
    },
    { op: 'label_set', label: tenant.label, nextHop: tenant.nextHop },
    { op: 'mac_set', vrf: RED, mac: tenant.mac, nextHop: tenant.nextHop },
  ];
}

function remoteOps(r: Remote): Op[] {
  const v4 = r.underlay === 4;
  return [
    {
      op: 'nh_tunnel_set',
      nextHop: r.nextHop,
      vif: 0,
      encap: r.encap === 'gre' ? 1 : r.encap === 'udp' ? 2 : 3,
      source: v4 ? HERE.ipv4 : HERE.ipv6,
      destination: v4 ? THERE.ipv4 : THERE.ipv6,
      destinationMac: NEIGHBOUR_MAC,
      sourceMac: FABRIC_MAC,
      l3VxlanMac: r.encap === 'vxlan-frame' ? ROUTER_MAC : '',
    },
    {
      op: 'route_set',
      vrf: RED,
      prefix: `${r.ipv4}/32`,
      nextHop: r.nextHop,
      label: r.label,
      flags: ROUTE_PROXY,
    },
    {
      op: 'route_set',
      vrf: RED,
      prefix: `${r.ipv6}/128`,
      nextHop: r.nextHop,
      label: r.label,
      flags: ROUTE_PROXY,
    },
  ];
}

/** The far end for MAC-routed frames (EVPN over VXLAN). */
export const evpnHost = { mac: '02:e7:03:ea:68:01', ipv4: '10.47.200.1' };
const EVPN_TUNNEL = 30;

export const NETWORK: readonly Op[] = [
  { op: 'router_set', ipv4: HERE.ipv4, ipv6: HERE.ipv6, icmpErrorsPerSecond: 1000 },
  { op: 'vrf_set', vrf: 0, name: 'fabric' },
  { op: 'vrf_set', vrf: RED, name: 'red' },
  {
    op: 'vif_set',
    vif: 0,
    name: 'eth0',
    type: 2,
    port: PORT_ID.fabric,
    mac: FABRIC_MAC,
    vrf: 0,
    mtu: 1500,
  },
  {
    op: 'vif_set',
    vif: 4,
    name: 'pkt0',
    type: 1,
    port: PORT_ID.agent,
    mac: '00:00:5e:00:01:01',
    vrf: 0,
    mtu: 1500,
  },
  { op: 'nh_receive_set', nextHop: 1, vrf: 0, vif: 0 },
  { op: 'route_set', vrf: 0, prefix: `${HERE.ipv4}/32`, nextHop: 1 },
  { op: 'route_set', vrf: 0, prefix: `${HERE.ipv6}/128`, nextHop: 1 },
  { op: 'nh_l2_receive_set', nextHop: 2, vrf: RED },
  { op: 'mac_set', vrf: RED, mac: GATEWAY_MAC, nextHop: 2 },
  ...tenantOps(alice, true),
  ...tenantOps(bob, true),
  ...tenantOps(carol, false),
  ...REMOTES.flatMap(remoteOps),
  // Bridging: VNI 5001 leads to red's MAC table, broadcast to its tenants and the other node.
  { op: 'nh_vrf_translate_set', nextHop: 3, vrf: RED, flags: NH_BRIDGE },
  { op: 'vni_set', vni: VNI, nextHop: 3 },
  { op: 'nh_vrf_translate_set', nextHop: 4, vrf: RED },
  {
    op: 'nh_tunnel_set',
    nextHop: EVPN_TUNNEL,
    vif: 0,
    encap: 3,
    source: HERE.ipv4,
    destination: THERE.ipv4,
    destinationMac: NEIGHBOUR_MAC,
    sourceMac: FABRIC_MAC,
  },
  { op: 'mac_set', vrf: RED, mac: evpnHost.mac, nextHop: EVPN_TUNNEL, label: VNI },
  {
    op: 'nh_replicate_set',
    nextHop: 41,
    vrf: RED,
    kind: 1,
    replicas: [{ nextHop: alice.nextHop }, { nextHop: bob.nextHop }, { nextHop: carol.nextHop }],
  },
  {
    op: 'nh_replicate_set',
    nextHop: 42,
    vrf: RED,
    kind: 3,
    replicas: [{ nextHop: EVPN_TUNNEL, label: VNI }],
  },
  {
    op: 'nh_replicate_set',
    nextHop: FLOOD,
    vrf: RED,
    kind: 0,
    replicas: [{ nextHop: 41 }, { nextHop: 42 }],
  },
  { op: 'mac_set', vrf: RED, mac: BROADCAST, nextHop: FLOOD },
];

// --- packets on the underlay ------------------------------------------------------------------------

/** What of a sent packet is the router's free choice; taken from the packet seen, after a check of its range. */
export interface Free {
  /** IPv4 identification of the outermost IP header. */
  readonly id: number;
  /** Outer UDP source port. */
  readonly entropy: number;
}

export const NOTHING_FREE: Free = { id: 0, entropy: 0 };

function freeOf(frame: Uint8Array): Free {
  const be16 = (at: number) => (frame[at] ?? 0) * 256 + (frame[at + 1] ?? 0);
  if (be16(12) === 0x0800) return { id: be16(18), entropy: be16(34) };
  return { id: 0, entropy: be16(54) };
}

/** Our packet to `r`, outer headers first. `ttl` goes into the label. */
export function tunnelled(r: Remote, free: Free, ttl: number, label = r.label): Layer[] {
  const v4 = r.underlay === 4;
  const outer = v4
    ? ipv4({ src: HERE.ipv4, dst: THERE.ipv4, ttl: 64, id: free.id })
    : ipv6({ src: HERE.ipv6, dst: THERE.ipv6, hopLimit: 64 });
  const eth = ether({ dst: NEIGHBOUR_MAC, src: FABRIC_MAC });
  const sport = free.entropy;
  if (r.encap === 'gre') return [eth, outer, gre(), mpls({ label, ttl })];
  if (r.encap === 'udp') {
    return [eth, outer, udp({ sport, dport: 6635, checksum: 0 }), mpls({ label, ttl })];
  }
  const head = [eth, outer, udp({ sport, dport: 4789, checksum: 0 }), vxlan({ vni: label })];
  return r.encap === 'vxlan' ? head : [...head, ether({ dst: ROUTER_MAC, src: FABRIC_MAC })];
}

/** A packet of the other node to us. */
export function fromThere(
  encap: Remote['encap'],
  underlay: 4 | 6,
  label: number,
  options: { readonly from?: typeof THERE; readonly ttl?: number; readonly port?: number } = {},
): Layer[] {
  const { from = THERE, ttl = 63, port } = options;
  const outer =
    underlay === 4
      ? ipv4({ src: from.ipv4, dst: HERE.ipv4, id: 77 })
      : ipv6({ src: from.ipv6, dst: HERE.ipv6 });
  const eth = ether({ dst: FABRIC_MAC, src: NEIGHBOUR_MAC });
  if (encap === 'gre') return [eth, outer, gre(), mpls({ label, ttl })];
  if (encap === 'udp') {
    return [
      eth,
      outer,
      udp({ sport: 50_000, dport: port ?? 6635, checksum: 0 }),
      mpls({ label, ttl }),
    ];
  }
  return [
    eth,
    outer,
    udp({ sport: 50_000, dport: port ?? 4789, checksum: 0 }),
    vxlan({ vni: label }),
  ];
}

// --- the table's form ---------------------------------------------------------------------------------

export interface Sent {
  readonly port: PortName;
  readonly layers: readonly Layer[];
}

/** Expected: layers, or layers given what the router chose freely. */
export interface Expected {
  readonly port: PortName;
  readonly layers: readonly Layer[] | ((free: Free) => readonly Layer[]);
  /** The outer UDP source port must be one of RFC 7510's. */
  readonly entropy?: boolean;
}

export interface Case {
  readonly name: string;
  /** Ops on top of NETWORK. */
  readonly state?: readonly Op[];
  /** Sent first; what comes of it is not looked at. */
  readonly before?: readonly Sent[];
  readonly in: readonly Sent[];
  /** In the order of each port. */
  readonly out: readonly Expected[];
  /** What becomes of the packets of `in`, all of them named. */
  readonly verdict: Partial<Omit<Counters['totals'], 'received'>>;
  /** Printed name and number of each drop reason that must be counted, and no other. */
  readonly drops?: Readonly<Record<string, number>>;
  /** Flows that must be there, each matched by its fields. */
  readonly flows?: readonly Partial<FlowRecord>[];
}

export class Node {
  readonly dp: Dataplane;
  #now = 1_000_000_000n;

  constructor(state: readonly Op[] = []) {
    this.dp = openDataplane({ flowEntries: 65536, buffers: 2048, bufferBytes: 9216 });
    for (const name of PORTS) {
      const id = this.dp.addPort({ kind: 'memory', mtu: 9000 });
      if (id !== PORT_ID[name]) throw new Error(`port ${name} got number ${id}`);
    }
    this.dp.commit([...NETWORK, ...state]);
  }

  /** Advances the clock and runs breaths until nothing comes in any more. */
  run(milliseconds = 1): void {
    this.#now += BigInt(milliseconds) * 1_000_000n;
    while (this.dp.step(this.#now) > 0);
  }

  /** Packets one breath after the other; what each port has sent. */
  send(...sent: readonly Sent[]): Record<PortName, Uint8Array[]> {
    for (const one of sent) {
      this.dp.inject(PORT_ID[one.port], [packet(...one.layers)]);
      this.run();
    }
    return this.collect();
  }

  sendFrames(port: PortName, frames: readonly Uint8Array[]): Record<PortName, Uint8Array[]> {
    this.dp.inject(PORT_ID[port], frames);
    this.run();
    return this.collect();
  }

  collect(): Record<PortName, Uint8Array[]> {
    const entries = PORTS.map((name) => [name, this.dp.collect(PORT_ID[name])]);
    return Object.fromEntries(entries) as Record<PortName, Uint8Array[]>;
  }

  explain({ port, layers }: Sent): string {
    const vif = this.dp.dump('vifs').find((op) => op.op === 'vif_set' && op.port === PORT_ID[port]);
    if (vif?.op !== 'vif_set') return `no vif on ${port}`;
    const { lines } = this.dp.explain(packet(...layers), vif.vif);
    return lines.map(({ room, text }) => `  ${room.padEnd(12)} ${text}`).join('\n');
  }

  close(): void {
    this.dp.close();
  }
}

function hex(frame: Uint8Array): string {
  return Buffer.from(frame)
    .toString('hex')
    .replace(/(.{32})/g, '$1\n')
    .trimEnd();
}

function expectFrame(frame: Uint8Array, expected: Expected, story: string): void {
  const free = freeOf(frame);
  const layers = typeof expected.layers === 'function' ? expected.layers(free) : expected.layers;
  const wanted = `${story}\nout of ${expected.port}, wanted: ${scapy(...layers)}\n`;
  expect(hex(frame), wanted).toBe(hex(packet(...layers)));
  if (expected.entropy) {
    expect(free.entropy, `${wanted}entropy port`).toBeGreaterThanOrEqual(49152);
  }
}

const SETTLED = ['forwarded', 'replied', 'punted', 'dropped', 'consumed'] as const;

export function play(test: Case): void {
  it(test.name, () => {
    const node = new Node(test.state);
    try {
      node.send(...(test.before ?? []));
      node.dp.clearCounters();
      const stories = test.in.map(
        (one) => `in at ${one.port}: ${scapy(...one.layers)}\n${node.explain(one)}`,
      );
      const out = node.send(...test.in);
      const { totals, drops } = node.dp.readCounters();
      const named = Object.fromEntries(
        [...drops].filter(([, n]) => n !== 0n).map(([name, n]) => [name, Number(n)]),
      );
      const story = `${stories.join('\n')}\ndrops: ${JSON.stringify(named)}`;
      for (const port of PORTS) {
        const wanted = test.out.filter((one) => one.port === port);
        const seen = out[port].map((f) => `\n${hex(f)}`).join('');
        expect(out[port].length, `${story}\npackets out of ${port}:${seen}`).toBe(wanted.length);
        wanted.forEach((one, i) => {
          expectFrame(out[port][i]!, one, story);
        });
      }
      const wantedTotals = {
        forwarded: 0n,
        replied: 0n,
        punted: 0n,
        dropped: 0n,
        consumed: 0n,
        generated: 0n,
        held: 0n,
        ...test.verdict,
      };
      expect(totals, story).toEqual({ received: BigInt(test.in.length), ...wantedTotals });
      const settled = SETTLED.reduce((sum, name) => sum + totals[name], totals.held);
      expect(settled, `${story}\nevery packet is accounted for`).toBe(BigInt(test.in.length));
      const { 'Cloned Original': _, ...losses } = named;
      expect(losses, story).toEqual(test.drops ?? {});
      const flows = node.dp.flows();
      for (const flow of test.flows ?? []) {
        expect(flows, story).toContainEqual(expect.objectContaining(flow));
      }
    } finally {
      node.close();
    }
  });
}
