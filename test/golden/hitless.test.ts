/**
 * Changes under traffic: what did not depend on a change does not notice it, what did is decided again. One
 * part steps a data plane by hand, where each packet's fate can be named; one runs the worker thread and
 * commits against it as fast as it can.
 */
import { afterEach, describe, expect, it } from 'vitest';
import type { Op } from '../../src/dataplane/api.ts';
import { decodeFrame, decodeIpv4 } from '../../src/sim/wire.ts';
import { ether, ipv4, packet, tcp, udp } from '../support/packet.ts';
import { alice, bob, GATEWAY_MAC, Node, RED, REMOTES, remote, VIF } from './network.ts';

const SERVICE = '10.96.0.9';
const tunnels = REMOTES.filter((r) => r.encap === 'udp' || r.encap === 'gre').slice(0, 4);

const ecmp = (members: readonly number[]): Op => ({
  op: 'nh_ecmp_set',
  nextHop: 70,
  vrf: RED,
  flags: 0x2,
  members: members.map((m) => {
    const r = tunnels[m]!;
    return { member: m, nextHop: r.nextHop, label: r.label, weight: 1 };
  }),
});
const service: Op[] = [
  ecmp([0, 1, 2]),
  { op: 'route_set', vrf: RED, prefix: `${SERVICE}/32`, nextHop: 70 },
];

const segment = (sport: number, flags: 'S' | 'A') =>
  packet(
    ether({ dst: GATEWAY_MAC, src: alice.mac }),
    ipv4({ src: alice.ipv4, dst: SERVICE }),
    tcp({ sport, dport: 80, flags, seq: 1, ack: flags === 'A' ? 1 : 0 }),
  );
const datagram = (sport: number) =>
  packet(
    ether({ dst: GATEWAY_MAC, src: alice.mac }),
    ipv4({ src: alice.ipv4, dst: remote.ipv4 }),
    udp({ sport, dport: 9 }),
  );

let node: Node;
afterEach(() => node.close());

/** Member each flow to the service is pinned to, by source port. */
function members(): Map<number, number> {
  const flows = node.dp.flows().filter((f) => f.initiator && f.destination === SERVICE);
  return new Map(flows.map((f) => [f.sourcePort, f.member]));
}

function send(ports: readonly number[], flags: 'S' | 'A'): number {
  node.dp.inject(
    alice.port === 'alice' ? 1 : 0,
    ports.map((p) => segment(p, flags)),
  );
  node.run();
  return node.collect().fabric.length;
}

const PORTS = Array.from({ length: 300 }, (_, i) => 10_000 + i);

describe('an ECMP set that changes under its flows', () => {
  it('takes a member away: its flows move, the others stay', () => {
    node = new Node(service);
    expect(send(PORTS, 'S')).toBe(PORTS.length);
    const before = members();
    expect(new Set(before.values())).toEqual(new Set([0, 1, 2]));
    node.dp.commit([ecmp([0, 2])]);
    expect(send(PORTS, 'A')).toBe(PORTS.length);
    const after = members();
    for (const port of PORTS) {
      if (before.get(port) !== 1) expect(after.get(port)).toBe(before.get(port));
      else expect([0, 2]).toContain(after.get(port));
    }
  });

  it('adds a member, in any order of the list: no flow moves, new ones use it', () => {
    node = new Node(service);
    send(PORTS, 'S');
    const before = members();
    node.dp.commit([ecmp([3, 2, 1, 0])]);
    expect(send(PORTS, 'A')).toBe(PORTS.length);
    expect(members()).toEqual(before);
    send(
      PORTS.map((p) => p + 1000),
      'S',
    );
    expect([...members().values()].filter((m) => m === 3).length).toBeGreaterThan(30);
  });

  it('keeps the flows of a route that had one next hop and gets more', () => {
    const first = tunnels[1]!;
    node = new Node([
      {
        op: 'route_set',
        vrf: RED,
        prefix: `${SERVICE}/32`,
        nextHop: first.nextHop,
        label: first.label,
      },
    ]);
    send(PORTS, 'S');
    node.dp.commit(service);
    send(PORTS, 'A');
    expect(new Set(members().values())).toEqual(new Set([1]));
    const more = PORTS.map((p) => p + 1000);
    send(more, 'S');
    expect(new Set(more.map((p) => members().get(p)))).toEqual(new Set([0, 1, 2]));
  });

  it('drains a member with weight 0: it keeps its flows and gets no new ones', () => {
    node = new Node(service);
    send(PORTS, 'S');
    const before = members();
    const set = ecmp([0, 1, 2]) as Extract<Op, { op: 'nh_ecmp_set' }>;
    node.dp.commit([
      { ...set, members: set.members!.map((m) => (m.member === 1 ? { ...m, weight: 0 } : m)) },
    ]);
    send(PORTS, 'A');
    expect(members()).toEqual(before);
    const more = PORTS.map((p) => p + 1000);
    send(more, 'S');
    expect(more.filter((p) => members().get(p) === 1)).toEqual([]);
  });

  it('loses its last member: dropped by name, and back when one returns', () => {
    node = new Node(service);
    send([5], 'S');
    node.dp.commit([ecmp([])]);
    node.dp.clearCounters();
    expect(send([5], 'A')).toBe(0);
    expect(node.dp.readCounters().totals.dropped).toBe(1n);
    node.dp.commit([ecmp([2])]);
    expect(send([5], 'A')).toBe(1);
    expect(members().get(5)).toBe(2);
  });
});

describe('a flow is decided again', () => {
  const udpToBob = packet(
    ether({ dst: GATEWAY_MAC, src: alice.mac }),
    ipv4({ src: alice.ipv4, dst: bob.ipv4 }),
    udp({ sport: 7, dport: 9 }),
  );
  const vif = (policies: readonly number[]): Op => ({
    op: 'vif_set',
    vif: bob.vif,
    name: 'tap-bob',
    type: 3,
    port: 2,
    mac: GATEWAY_MAC,
    vrf: RED,
    flags: VIF.policy | VIF.l3,
    mtu: 9000,
    nextHop: bob.nextHop,
    ingressGroups: policies.map((policy) => ({ policy })),
  });
  const group = (action: 0 | 1): Op => ({
    op: 'policy_set',
    policy: 1,
    name: 'g',
    rules: [{ action, protocol: 17, source: '', destination: '' }],
  });

  it('when a policy is put on its receiver, changed, and taken off', () => {
    node = new Node([group(0)]);
    const bobSees = () => node.sendFrames('alice', [udpToBob]).bob.length;
    expect(bobSees()).toBe(1);
    node.dp.commit([vif([1])]);
    expect(bobSees()).toBe(0);
    expect(node.dp.flows().map((f) => f.drop)).toContain('SG');
    node.dp.commit([group(1)]);
    expect(bobSees()).toBe(1);
    node.dp.commit([vif([])]);
    expect(bobSees()).toBe(1);
    expect(node.dp.flows()).toHaveLength(2); // the same pair all the time
  });

  it('when its route goes and comes back', () => {
    node = new Node();
    const out = () => node.sendFrames('alice', [datagram(1)]).fabric.length;
    expect(out()).toBe(1);
    node.dp.commit([{ op: 'route_delete', vrf: RED, prefix: `${remote.ipv4}/32` }]);
    expect(out()).toBe(0);
    node.dp.commit([
      {
        op: 'route_set',
        vrf: RED,
        prefix: `${remote.ipv4}/32`,
        nextHop: remote.nextHop,
        label: 77,
      },
    ]);
    expect(out()).toBe(1);
    expect(node.dp.flows().find((f) => f.initiator)?.label).toBe(77);
  });

  it('never under the successor of a deleted next hop', () => {
    node = new Node();
    node.sendFrames('alice', [udpToBob]);
    const old = node.dp.flows().length;
    // The vif and its next hop go and come back under the same ids: another tenant, for all we know.
    const [vifOp] = node.dp.dump('vifs').filter((op) => op.op === 'vif_set' && op.vif === bob.vif);
    const all = node.dp
      .dump('next_hops')
      .filter((op) => op.op === 'nh_interface_set' && op.nextHop === bob.nextHop);
    node.dp.commit([
      { op: 'route_delete', vrf: RED, prefix: `${bob.ipv4}/32` },
      { op: 'route_delete', vrf: RED, prefix: `${bob.ipv6}/128` },
      { op: 'label_delete', label: bob.label },
      { op: 'mac_delete', vrf: RED, mac: bob.mac },
      {
        op: 'nh_replicate_set',
        nextHop: 41,
        vrf: RED,
        kind: 1,
        replicas: [{ nextHop: alice.nextHop }],
      },
      { op: 'vif_delete', vif: bob.vif },
      { op: 'nh_delete', nextHop: bob.nextHop },
    ]);
    node.dp.commit([vifOp!, ...all]);
    const reply = packet(
      ether({ dst: GATEWAY_MAC, src: bob.mac }),
      ipv4({ src: bob.ipv4, dst: alice.ipv4 }),
      udp({ sport: 9, dport: 7 }),
    );
    // No route to the new tenant's address: reverse path check, not the old flow, decides.
    expect(node.sendFrames('bob', [reply]).alice).toHaveLength(0);
    expect(node.dp.readCounters().drops.get('Invalid Source')).toBe(1n);
    expect(node.dp.flows().length).toBe(old);
  });
});

describe('a port used again', () => {
  // Two services with bob behind both: translated, connections to them from one port look the same.
  const services = ['10.96.0.1', '10.96.0.2'];
  const behind: Op[] = services.flatMap((address, i): Op[] => [
    { op: 'route_set', vrf: RED, prefix: `${address}/32`, nextHop: bob.nextHop },
    {
      op: 'floating_ip_set',
      floatingIp: 10 + i,
      vif: bob.vif,
      vrf: RED,
      address,
      fixed: bob.ipv4,
      portMap: 1,
      ports: [{ protocol: 6, port: 80, toPort: 8080 }],
    },
  ]);
  const toService = (i: number, flags: 'S' | 'A' | 'R', seq: number, ack = 0) =>
    packet(
      ether({ dst: GATEWAY_MAC, src: alice.mac }),
      ipv4({ src: alice.ipv4, dst: services[i]! }),
      tcp({ sport: 4000, dport: 80, flags, seq, ack }),
    );
  const bobSees = (frame: Uint8Array) => node.sendFrames('alice', [frame]).bob.length;

  it('goes to the new service once the old connection is dead', () => {
    node = new Node(behind);
    expect(bobSees(toService(0, 'S', 1))).toBe(1);
    // Still alive: bob could not tell the two apart.
    expect(bobSees(toService(1, 'S', 100))).toBe(0);
    expect(node.dp.readCounters().drops.get('Flow Unusable')).toBe(1n);
    // Bob refuses the first, as a kernel does; that ends it.
    const refusal = packet(
      ether({ dst: GATEWAY_MAC, src: bob.mac }),
      ipv4({ src: bob.ipv4, dst: alice.ipv4 }),
      tcp({ sport: 8080, dport: 4000, flags: 'RA', seq: 0, ack: 2 }),
    );
    expect(node.sendFrames('bob', [refusal]).alice).toHaveLength(1);
    expect(bobSees(toService(1, 'S', 100))).toBe(1);
    expect(node.dp.flows().find((f) => f.initiator)?.destination).toBe(services[1]);
    expect(node.dp.flows()).toHaveLength(2);
  });
});

describe('the worker thread under commits', () => {
  it('loses nothing while next hops, routes and policies are replaced', async () => {
    node = new Node(service);
    const { dp } = node;
    const flows = 64;
    const frames = Array.from({ length: flows }, (_, i) => datagram(20_000 + i));
    const [udpTunnel] = dp
      .dump('next_hops')
      .filter((op) => op.op === 'nh_tunnel_set' && op.nextHop === remote.nextHop);
    if (udpTunnel?.op !== 'nh_tunnel_set') throw new Error('no tunnel');
    dp.start();
    let sent = 0;
    let received = 0;
    let misdirected = 0;
    const drain = () => {
      for (const frame of dp.collect(0)) {
        received += 1;
        const outer = decodeIpv4(Buffer.from(decodeFrame(Buffer.from(frame))!.payload));
        if (outer === undefined) misdirected += 1;
      }
    };
    const until = Date.now() + 1500;
    let round = 0;
    while (Date.now() < until) {
      sent += dp.inject(1, frames);
      const last = round & 0xff;
      dp.commit([
        // The very next hop the flows use gets another neighbour MAC, and back.
        { ...udpTunnel, destinationMac: round % 2 ? '00:1b:21:bb:f9:48' : '00:1b:21:bb:f9:49' },
        {
          op: 'route_set',
          vrf: RED,
          prefix: `10.250.${last}.0/24`,
          nextHop: remote.nextHop,
          label: 3000,
        },
        {
          op: 'route_set',
          vrf: RED,
          prefix: `${remote.ipv4}/32`,
          nextHop: remote.nextHop,
          label: 1000 + last,
        },
        ecmp(round % 2 ? [0, 1] : [1, 2]),
      ]);
      drain();
      round += 1;
      if (round % 16 === 0) await new Promise((done) => setTimeout(done, 1));
    }
    for (let i = 0; i < 200 && received < sent; i += 1) {
      await new Promise((done) => setTimeout(done, 5));
      drain();
    }
    dp.stop();
    const losses = [...dp.readCounters().drops].filter(([, n]) => n !== 0n);
    expect(losses).toEqual([]);
    expect(received).toBe(sent);
    expect(misdirected).toBe(0);
    expect(round).toBeGreaterThan(100);
    expect(sent).toBeGreaterThan(1000);
  });
});
