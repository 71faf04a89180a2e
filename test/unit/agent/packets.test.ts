/** What agents program, tried with packets: two real cores joined by their uplinks. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Dataplane } from '../../../src/dataplane/api.ts';
import { ether, icmpEcho, ipv4, packet, raw, tcp } from '../../support/packet.ts';
import { Cluster, DATAPLANES, type Node, POD, pod, SERVICE, SERVICE_IP, VIP } from './cluster.ts';

const core = DATAPLANES.find(([name]) => name === 'core')?.[1] as () => Dataplane;
const GATEWAY = '00:00:5e:00:01:00';

let cluster: Cluster;
let near: Node;
let far: Node;
let now: bigint;
beforeEach(() => {
  cluster = new Cluster();
  near = cluster.node('cent222', core());
  far = cluster.node('cent333', core());
  now = 1_000_000n;
  for (const { agent } of [near, far]) {
    agent.addVrf({ name: POD });
    agent.addVrf({ name: SERVICE });
  }
});
afterEach(() => cluster.close());

/** Lets frames run until the fabric is quiet; what went over it, from near to far and back. */
function run(): { out: number; back: number } {
  let [out, back] = [0, 0];
  for (let quiet = false; !quiet; ) {
    now += 1_000_000n;
    near.dataplane.step(now);
    far.dataplane.step(now);
    const [there, here] = [near.dataplane.collect(0), far.dataplane.collect(0)];
    far.dataplane.inject(0, there);
    near.dataplane.inject(0, here);
    out += there.length;
    back += here.length;
    quiet = there.length + here.length === 0;
  }
  return { out, back };
}

const port = (last: number) => last - 200;
const mac = (last: number) => pod('', last).tenantMac;
const address = (last: number) => `10.47.255.${last}`;

function syn(from: number, sport: number, dst: string, dport: number) {
  return packet(
    ether({ src: mac(from), dst: GATEWAY }),
    ipv4({ src: address(from), dst }),
    tcp({ sport, dport, flags: 'S', seq: 1 }),
  );
}

/** Addresses and ports of a plain TCP frame. */
function tuple(frame: Uint8Array): string {
  const view = Buffer.from(frame);
  const ip = (at: number) => [...view.subarray(at, at + 4)].join('.');
  return `${ip(26)}:${view.readUInt16BE(34)} > ${ip(30)}:${view.readUInt16BE(36)}`;
}

function received(node: Node, last: number): string[] {
  return node.dataplane.collect(port(last)).map(tuple);
}

describe.each([false, true])('clusterip, shared label: %s', (sharedLabel) => {
  beforeEach(() => {
    const floatingIps = [{ ...SERVICE_IP, sharedLabel }];
    near.agent.addVif(pod('client', 237));
    near.agent.addVif(pod('web-1', 236, { floatingIps }));
    far.agent.addVif(pod('web-2', 238, { floatingIps }));
    far.agent.addVif(pod('web-3', 239, { floatingIps }));
    cluster.settle();
  });

  test('connections spread over all backends of both nodes, translated there, and come back', () => {
    const sports = Array.from({ length: 120 }, (_, i) => 30_000 + i);
    const served = new Map<number, number[]>([236, 238, 239].map((last) => [last, []]));
    for (let i = 0; i < sports.length; i += 20) {
      const burst = sports.slice(i, i + 20);
      near.dataplane.inject(
        port(237),
        burst.map((sport) => syn(237, sport, VIP, 8888)),
      );
      run();
      for (const [last, list] of served) {
        const node = last === 236 ? near : far;
        for (const frame of node.dataplane.collect(port(last))) {
          const sport = Buffer.from(frame).readUInt16BE(34);
          expect(tuple(frame)).toBe(`10.47.255.237:${sport} > ${address(last)}:80`);
          list.push(sport);
          const answer = packet(
            ether({ src: mac(last), dst: GATEWAY }),
            ipv4({ src: address(last), dst: address(237) }),
            tcp({ sport: 80, dport: sport, flags: 'SA', seq: 9, ack: 2 }),
          );
          node.dataplane.inject(port(last), [answer]);
        }
      }
      run();
      expect(received(near, 237).sort()).toEqual(
        burst.map((sport) => `${VIP}:8888 > 10.47.255.237:${sport}`).sort(),
      );
    }
    expect([...served.values()].flat().sort()).toEqual(sports);
    for (const list of served.values()) expect(list.length).toBeGreaterThan(10);
    const drops = [near, far].flatMap(({ dataplane }) =>
      [...dataplane.readCounters().drops].filter(([, count]) => count > 0n),
    );
    expect(drops).toEqual([]);
  });

  test('a port without a mapping is refused by name', () => {
    near.dataplane.inject(port(237), [syn(237, 30_000, VIP, 9999)]);
    run();
    const refused = [near, far].flatMap(({ dataplane }) =>
      dataplane.flows().filter((flow) => flow.drop === 'NoFipPortMap'),
    );
    expect(refused.length).toBeGreaterThan(0);
    expect([...received(near, 236), ...received(far, 238), ...received(far, 239)]).toEqual([]);
  });

  test('a backend that goes takes only its own connections with it', () => {
    const sports = Array.from({ length: 60 }, (_, i) => 40_000 + i);
    const send = () => {
      const where = new Map<number, number>();
      for (let i = 0; i < sports.length; i += 20) {
        near.dataplane.inject(
          port(237),
          sports.slice(i, i + 20).map((sport) => syn(237, sport, VIP, 8888)),
        );
        run();
        for (const last of [236, 238, 239]) {
          const node = last === 236 ? near : far;
          for (const frame of node.dataplane.collect(port(last))) {
            where.set(Buffer.from(frame).readUInt16BE(34), last);
          }
        }
      }
      return where;
    };
    const before = send();
    expect(before.size).toBe(sports.length);
    far.agent.removeVif('web-3');
    cluster.settle();
    const after = send();
    for (const [sport, last] of before) {
      if (last === 239) continue;
      expect(after.get(sport), `connection ${sport}`).toBe(last);
    }
    expect([...after.values()]).not.toContain(239);
  });
});

test('from one backend to two: the connections of the first stay', () => {
  near.agent.addVif(pod('client', 237));
  far.agent.addVif(pod('web-2', 238, { floatingIps: [SERVICE_IP] }));
  cluster.settle();
  const sports = Array.from({ length: 20 }, (_, i) => 41_000 + i);
  const send = () => {
    near.dataplane.inject(
      port(237),
      sports.map((sport) => syn(237, sport, VIP, 8888)),
    );
    run();
    return received(far, 238).length;
  };
  expect(send()).toBe(20);
  near.agent.addVif(pod('web-1', 236, { floatingIps: [SERVICE_IP] }));
  cluster.settle();
  expect(near.members(POD, `${VIP}/32`)).toHaveLength(2);
  expect(send()).toBe(20);
});

describe.each([
  ['label', undefined],
  ['VNI', ['vxlan', 'udp'] as const],
])('a stretched network by %s', (_, encaps) => {
  const frame = (dst: string) =>
    packet(ether({ src: mac(210), dst, type: 0x88b5 }), raw('not IP at all, for the bridge'));

  beforeEach(() => {
    cluster.close();
    cluster = new Cluster();
    cluster.exchange.createInstance({ name: 'blue' });
    const more = (node: 'cent222' | 'cent333', other: 'cent222' | 'cent333') => {
      const addresses = { cent222: '10.169.25.20', cent333: '10.169.25.21' };
      const macs = { cent222: '02:00:00:00:00:20', cent333: '02:00:00:00:00:21' };
      return {
        underlay: {
          port: 0,
          mac: macs[node],
          ipv4: addresses[node],
          neighbours: { [addresses[other]]: macs[other] },
          ...(encaps && { encaps }),
        },
      };
    };
    near = cluster.node('cent222', core(), more('cent222', 'cent333'));
    far = cluster.node('cent333', core(), more('cent333', 'cent222'));
    for (const { agent } of [near, far]) agent.addVrf({ name: 'blue', vni: 5000 });
    near.agent.addVif(pod('a', 210, { vrf: 'blue' }));
    near.agent.addVif(pod('b', 211, { vrf: 'blue' }));
    far.agent.addVif(pod('c', 212, { vrf: 'blue' }));
    cluster.settle();
  });

  test('a frame to a far station arrives as it was', () => {
    near.dataplane.inject(port(210), [frame(mac(212))]);
    expect(run()).toEqual({ out: 1, back: 0 });
    expect(far.dataplane.collect(port(212))).toEqual([frame(mac(212))]);
    expect(near.dataplane.collect(port(211))).toEqual([]);
  });

  test('a broadcast arrives everywhere but where it came from', () => {
    near.dataplane.inject(port(210), [frame('ff:ff:ff:ff:ff:ff')]);
    expect(run()).toEqual({ out: 1, back: 0 });
    expect(near.dataplane.collect(port(210))).toEqual([]);
    expect(near.dataplane.collect(port(211))).toHaveLength(1);
    expect(far.dataplane.collect(port(212))).toHaveLength(1);
  });
});

test('the gateway answers, and so does the node', () => {
  near.agent.addVif(pod('client', 237));
  cluster.settle();
  near.dataplane.inject(port(237), [
    packet(
      ether({ src: mac(237), dst: GATEWAY }),
      ipv4({ src: address(237), dst: '10.47.255.254' }),
      icmpEcho(7, 1),
    ),
  ]);
  near.dataplane.inject(0, [
    packet(
      ether({ src: '02:00:00:00:00:19', dst: '02:00:00:00:00:20' }),
      ipv4({ src: '10.169.25.19', dst: '10.169.25.20' }),
      icmpEcho(8, 1),
    ),
  ]);
  near.dataplane.step(1_000_000n);
  const [fromGateway] = near.dataplane.collect(port(237));
  const [fromNode] = near.dataplane.collect(0);
  expect(Buffer.from(fromGateway as Uint8Array).readUInt8(34)).toBe(0); // echo reply
  expect(Buffer.from(fromNode as Uint8Array).readUInt8(34)).toBe(0);
});
