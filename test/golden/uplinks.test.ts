/** A tunnel by several uplinks: what is picked, what moves when one goes, and what is said when none is left. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Op } from '../../src/dataplane/api.ts';
import { VRouterError } from '../../src/errors.ts';
import { ether, ipv4, packet, udp } from '../support/packet.ts';
import {
  alice,
  FABRIC_MAC,
  GATEWAY_MAC,
  HERE,
  NEIGHBOUR_MAC,
  Node,
  remote,
  THERE,
} from './network.ts';

const FLOWS = 600;
const VIFS = [0, 8, 9] as const;
const MACS = [NEIGHBOUR_MAC, '02:00:00:00:08:02', '02:00:00:00:09:02'] as const;
const OWN = [FABRIC_MAC, '02:00:00:00:08:01', '02:00:00:00:09:01'] as const;

const tunnel = (legsDown: number, legs = 3): Op => ({
  op: 'nh_tunnel_set',
  nextHop: remote.nextHop,
  vif: VIFS[0],
  encap: 2,
  source: HERE.ipv4,
  destination: THERE.ipv4,
  destinationMac: MACS[0],
  sourceMac: OWN[0],
  legsDown,
  moreLegs: [1, 2].slice(0, legs - 1).map((i) => ({
    vif: VIFS[i] as number,
    destinationMac: MACS[i] as string,
    sourceMac: OWN[i] as string,
  })),
});

const mac = (frame: Uint8Array, at: number) =>
  Buffer.from(frame.subarray(at, at + 6))
    .toString('hex')
    .replace(/(..)(?!$)/g, '$1:');

describe('uplinks', () => {
  let node: Node;
  let ports: number[];
  beforeEach(() => {
    node = new Node();
    ports = [0, ...[1, 2].map(() => node.dp.addPort({ kind: 'memory', mtu: 9000 }))];
    const vif = (i: number): Op => ({
      op: 'vif_set',
      vif: VIFS[i] as number,
      name: `eth${i}`,
      type: 2,
      port: ports[i] as number,
      mac: OWN[i] as string,
      vrf: 0,
      mtu: 1500,
    });
    node.dp.commit([vif(1), vif(2), tunnel(0)]);
  });
  afterEach(() => node.close());

  /** One packet of each flow; by which uplink it left. */
  function sent(): Map<number, number> {
    const by = new Map<number, number>();
    for (let first = 0; first < FLOWS; first += 200) {
      const frames = Array.from({ length: 200 }, (_, i) =>
        packet(
          ether({ dst: GATEWAY_MAC, src: alice.mac }),
          ipv4({ src: alice.ipv4, dst: remote.ipv4 }),
          udp({ sport: 10_000 + first + i, dport: 9 }),
        ),
      );
      node.dp.inject(1, frames);
      node.run();
      for (const [i, port] of ports.entries()) {
        for (const frame of node.dp.collect(port)) {
          expect(mac(frame, 0)).toBe(MACS[i]);
          expect(mac(frame, 6)).toBe(OWN[i]);
          by.set((frame[66] as number) * 256 + (frame[67] as number) - 10_000, i);
        }
      }
    }
    return by;
  }
  const shares = (by: Map<number, number>) =>
    VIFS.map((_, i) => [...by.values()].filter((leg) => leg === i).length / FLOWS);

  it('flows spread over all, each by one and the same, which the flow shows', () => {
    const by = sent();
    expect(by.size).toBe(FLOWS);
    for (const share of shares(by)) expect(share).toBeCloseTo(1 / 3, 1);
    expect(sent()).toEqual(by);
    for (const flow of node.dp.flows().filter((f) => f.source === alice.ipv4))
      expect(flow.underlayLeg).toBe(by.get(flow.sourcePort - 10_000));
  });

  it('one that is down is not picked: its flows move, no other does, none decides again', () => {
    const before = sent();
    const decided = () => node.dp.flows().map((flow) => [flow.index, flow.generationId]);
    const flows = decided();
    node.dp.commit([tunnel(0b010)]);
    const after = sent();
    expect(after.size).toBe(FLOWS);
    for (const [flow, leg] of after) {
      if (before.get(flow) === 1) expect(leg).not.toBe(1);
      else expect(leg).toBe(before.get(flow));
    }
    const [first, , third] = shares(after);
    expect(first).toBeCloseTo(0.5, 1);
    expect(third).toBeCloseTo(0.5, 1);
    node.dp.commit([tunnel(0)]);
    expect(sent()).toEqual(before);
    expect(decided()).toEqual(flows);
  });

  it('none up: dropped by that name', () => {
    node.dp.commit([tunnel(0b111)]);
    expect(sent().size).toBe(0);
    expect(node.dp.readCounters().drops.get('Invalid underlay ECMP')).toBe(BigInt(FLOWS));
    node.dp.commit([tunnel(0b1, 1)]);
    expect(sent().size).toBe(0);
    node.dp.commit([tunnel(0, 1)]);
    expect(shares(sent())).toEqual([1, 0, 0]);
  });

  it('is what it says when it is read back, and not what cannot be', () => {
    const read = node.dp
      .dump('next_hops')
      .find((op) => op.op === 'nh_tunnel_set' && op.nextHop === remote.nextHop);
    expect(read).toMatchObject(tunnel(0));
    const refused = (op: Op) => {
      try {
        node.dp.commit([op]);
      } catch (error) {
        return error instanceof VRouterError ? error.field : error;
      }
      return 'taken';
    };
    expect(refused(tunnel(0b1000))).toBe('legs_down');
    const twice = tunnel(0) as Extract<Op, { op: 'nh_tunnel_set' }>;
    expect(refused({ ...twice, vif: VIFS[2] })).toBe('more_legs');
    expect(
      refused({ ...twice, moreLegs: [{ ...(twice.moreLegs?.[0] as object), vif: 77 }] as never }),
    ).toBe('vif');
  });
});
