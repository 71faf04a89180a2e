/** The drop log: why, where, and what the packet was; bounded, numbered, nothing told twice. */
import { afterEach, describe, expect, it } from 'vitest';
import { ether, filler, ipv4, packet, udp } from '../support/packet.ts';
import { alice, bob, GATEWAY_MAC, Node } from './network.ts';

const to = (dst: string, ttl = 64) =>
  packet(
    ether({ dst: GATEWAY_MAC, src: alice.mac }),
    ipv4({ src: alice.ipv4, dst, ttl }),
    udp({ sport: 1000, dport: 9 }),
    filler(200),
  );

let node: Node;
afterEach(() => node.close());
const ALICE = 1;

describe('drop log', () => {
  it('names reason, room and vif, and keeps the first 128 bytes', () => {
    node = new Node();
    node.dp.inject(ALICE, [to('203.0.113.9'), to(bob.ipv4, 1), new Uint8Array(9)]);
    node.run();
    const log = node.dp.dropLog();
    const told = log.map(({ reason, room, vif }) => `${reason} in ${room} vif ${vif}`);
    expect(told).toContain('TTL Exceeded in check_fit vif 1');
    expect(told).toContain('Pull Fails in parse vif 1');
    const ttl = log.find(({ reason }) => reason === 'TTL Exceeded');
    expect(ttl).toMatchObject({ length: 14 + 28 + 200, vrf: 1 });
    expect(Buffer.from(ttl!.bytes)).toEqual(Buffer.from(to(bob.ipv4, 1).subarray(0, 128)));
    expect(ttl?.text).toContain(bob.ipv4);
    // Each drop that is counted is told.
    const { totals } = node.dp.readCounters();
    expect(BigInt(log.length)).toBe(totals.dropped);
  });

  it('holds the last 256; who asks again hears only what is new', () => {
    node = new Node();
    for (let i = 0; i < 10; i++) {
      node.dp.inject(
        ALICE,
        Array.from({ length: 30 }, () => new Uint8Array(5)),
      );
      node.run();
    }
    const log = node.dp.dropLog();
    expect(log.map(({ number }) => Number(number))).toEqual(
      Array.from({ length: 256 }, (_, i) => 45 + i),
    );
    expect(node.dp.dropLog(300n)).toEqual([]);
    node.dp.inject(ALICE, [new Uint8Array(5)]);
    node.run();
    expect(node.dp.dropLog(300n).map(({ number }) => number)).toEqual([301n]);
  });

  it('is not written by explain', () => {
    node = new Node();
    node.dp.explain(to(bob.ipv4, 1), ALICE);
    expect(node.dp.dropLog()).toEqual([]);
  });
});
