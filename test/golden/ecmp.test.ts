/** ECMP: spread, stickiness, what moves when members come and go, local members on a service label. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Op } from '../../src/dataplane/api.ts';
import { ether, ipv4, type Layer, packet, tcp } from '../support/packet.ts';
import { alice, bob, fromThere, GATEWAY_MAC, Node, RED, remote, type Sent } from './network.ts';

const SERVICE = '10.105.139.153';
const CONNECTIONS = 1000;
/** Member ids are control's choice and mean nothing but identity. */
const MEMBERS = {
  local: { member: 901, nextHop: bob.nextHop },
  far: { member: 17, nextHop: remote.nextHop, label: 21 },
  third: { member: 404, nextHop: remote.nextHop, label: 22 },
};
type Name = keyof typeof MEMBERS;

const composite = (
  names: readonly Name[],
  extra: Partial<Extract<Op, { op: 'nh_ecmp_set' }>> = {},
): Op => ({
  op: 'nh_ecmp_set',
  nextHop: 70,
  vrf: RED,
  members: names.map((name) => MEMBERS[name]),
  ...extra,
});
const service: readonly Op[] = [
  { op: 'route_set', vrf: RED, prefix: `${SERVICE}/32`, nextHop: 70 },
  {
    op: 'floating_ip_set',
    floatingIp: 1,
    vif: bob.vif,
    vrf: RED,
    address: SERVICE,
    fixed: bob.ipv4,
    portMap: 1,
    ports: [{ protocol: 6, port: 8888, toPort: 80 }],
  },
];

function syn(connection: number, flags = 'S'): Uint8Array {
  const layers: Layer[] = [
    ether({ dst: GATEWAY_MAC, src: alice.mac }),
    ipv4({ src: alice.ipv4, dst: SERVICE }),
    tcp({ sport: 10_000 + connection, dport: 8888, flags, seq: 1 }),
  ];
  return packet(...layers);
}

const be16 = (frame: Uint8Array, at: number) => frame[at]! * 256 + frame[at + 1]!;

describe('ECMP', () => {
  let node: Node;
  beforeEach(() => {
    node = new Node([...service, composite(['local', 'far'])]);
  });
  afterEach(() => node.close());

  /** Sends one packet of each connection; which member got it, read off the packet that left. */
  function spread(connections = CONNECTIONS, flags = 'S'): Map<number, Name> {
    const seen = new Map<number, Name>();
    for (let first = 0; first < connections; first += 200) {
      const count = Math.min(200, connections - first);
      const frames = Array.from({ length: count }, (_, i) => syn(first + i, flags));
      const out = node.sendFrames('alice', frames);
      for (const frame of out.bob) seen.set(be16(frame, 34) - 10_000, 'local');
      for (const frame of out.fabric) {
        const label = (be16(frame, 42) << 4) | (frame[44]! >> 4);
        seen.set(be16(frame, 46 + 20) - 10_000, label === 21 ? 'far' : 'third');
      }
    }
    return seen;
  }
  const share = (seen: Map<number, Name>, name: Name) =>
    [...seen.values()].filter((n) => n === name).length;

  it('spreads connections evenly: each of two members 45 to 55 of a hundred', () => {
    const seen = spread();
    expect(seen.size).toBe(CONNECTIONS);
    for (const name of ['local', 'far'] as const) {
      expect(share(seen, name)).toBeGreaterThan(CONNECTIONS * 0.45);
      expect(share(seen, name)).toBeLessThan(CONNECTIONS * 0.55);
    }
  });

  it('keeps every packet of a connection with its member, and says which', () => {
    const first = spread();
    expect(spread(CONNECTIONS, 'A')).toEqual(first);
    for (const flow of node.dp.flows().filter((f) => f.initiator)) {
      const name = first.get(flow.sourcePort - 10_000)!;
      expect(flow.member).toBe(MEMBERS[name].member);
      expect(flow.nat).toBe(name === 'local' ? 'DPd' : '');
      expect(flow.action).toBe(name === 'local' ? 'N' : 'F');
    }
  });

  it('keeps open connections where they are when a member is added; new ones reach it', () => {
    const first = spread();
    node.dp.commit([composite(['third', 'local', 'far'])]);
    expect(spread(CONNECTIONS, 'A')).toEqual(first);
    node.dp.commit([{ op: 'flow_flush', vrf: RED }]);
    const fresh = spread();
    for (const name of ['local', 'far', 'third'] as const) {
      expect(share(fresh, name)).toBeGreaterThan(CONNECTIONS * 0.27);
      expect(share(fresh, name)).toBeLessThan(CONNECTIONS * 0.4);
    }
    // Only what the new member wins has moved.
    for (const [connection, name] of fresh) {
      if (name !== 'third') expect(name).toBe(first.get(connection));
    }
  });

  it('moves only a removed member’s connections', () => {
    node.dp.commit([composite(['local', 'far', 'third'])]);
    const first = spread();
    node.dp.commit([composite(['third', 'local'])]);
    const after = spread(CONNECTIONS, 'A');
    for (const [connection, name] of first) {
      if (name === 'far') expect(['local', 'third', undefined]).toContain(after.get(connection));
      else expect(after.get(connection)).toBe(name);
    }
  });

  it('chooses by id and flow alone: order of members and next hop ids do not matter', () => {
    const first = spread();
    const other = new Node([...service, composite(['far', 'local'])]);
    const kept = node;
    node = other;
    try {
      expect(spread()).toEqual(first);
    } finally {
      other.close();
      node = kept;
    }
  });

  it('honours weights, and gives a draining member nothing new', () => {
    node.dp.commit([
      composite([], {
        members: [
          { ...MEMBERS.local, weight: 1 },
          { ...MEMBERS.far, weight: 3 },
        ],
      }),
    ]);
    const seen = spread();
    expect(share(seen, 'far')).toBeGreaterThan(CONNECTIONS * 0.69);
    expect(share(seen, 'far')).toBeLessThan(CONNECTIONS * 0.81);
    node.dp.commit([
      composite([], {
        members: [
          { ...MEMBERS.local, weight: 1 },
          { ...MEMBERS.far, weight: 0 },
        ],
      }),
    ]);
    expect(spread(CONNECTIONS, 'A')).toEqual(seen);
    node.dp.commit([{ op: 'flow_flush', vrf: RED }]);
    expect(share(spread(), 'local')).toBe(CONNECTIONS);
  });

  it('hashes over the fields the route names', () => {
    // Source and destination address only: one client, one member.
    node.dp.commit([
      { op: 'route_set', vrf: RED, prefix: `${SERVICE}/32`, nextHop: 70, hashFields: 0x2 | 0x8 },
    ]);
    const seen = spread(200);
    expect(new Set(seen.values()).size).toBe(1);
  });

  it('drops by name when no member is left', () => {
    node.dp.commit([composite([], { members: [] })]);
    node.sendFrames('alice', [syn(1)]);
    const { drops, totals } = node.dp.readCounters();
    expect(totals.dropped).toBe(1n);
    expect(node.dp.flows().find((f) => f.initiator)).toMatchObject({ action: 'D' });
    expect(drops.get('Flow Action Drop')! + drops.get('No Live Path')!).toBe(1n);
  });

  it('sends a packet out of a tunnel on the service’s label to local members only', () => {
    node.dp.commit([{ op: 'label_set', label: 33, nextHop: 70 }]);
    for (let i = 0; i < 100; i++) {
      const sent: Sent = {
        port: 'fabric',
        layers: [
          ...fromThere('udp', 4, 33),
          ipv4({ src: remote.ipv4, dst: SERVICE }),
          tcp({ sport: 20_000 + i, dport: 8888, flags: 'S' }),
        ],
      };
      const out = node.send(sent);
      expect(out.fabric).toEqual([]);
      expect(out.bob).toHaveLength(1);
    }
  });
});
