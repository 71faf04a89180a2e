/** Sentences of `anycast` that the scenario itself turns by no fault: each can come out either way. */
import { describe, expect, it } from 'vitest';
import { XMPP_PORT } from '../../../src/config/node.ts';
import {
  type ClusterLost,
  hubAndSpokes,
  lostClusterIsLeft,
  lostControlCostsNothing,
  waysOf,
} from '../../../src/program/anycast-expectations.ts';
import {
  federationOnTheWire,
  tsharkKnows,
} from '../../../src/program/anycast-netns-expectations.ts';
import { withdrawalOf } from '../../../src/program/anycast-withdrawal.ts';
import { ControlAudit } from '../../../src/program/control-audit.ts';
import { AnycastStage } from '../../../src/sim/anycast.ts';
import { anycastPlan, SERVICE } from '../../../src/sim/anycast-plan.ts';
import { FABRIC_WIRE } from '../../../src/sim/cluster.ts';
import { loadFrom } from '../../../src/sim/connections.ts';
import {
  ETHERTYPE,
  encodeFrame,
  encodeIpv4,
  encodeSegment,
  ipv4Number,
  macBytes,
  PROTOCOL,
} from '../../../src/sim/wire.ts';

const plan = anycastPlan('ibgp', 'full');
const [one] = plan.clusters;

function tcp(from: string, to: string, port: number, text: string): Buffer {
  const [source, destination] = [ipv4Number(from), ipv4Number(to)];
  const segment = {
    ...{ sourcePort: 40_000, destinationPort: port, sequence: 1, acknowledgement: 1, flags: 0x18 },
    ...{ mss: undefined, data: Buffer.from(text) },
  };
  const payload = encodeSegment(source, destination, segment);
  const packet = { source, destination, protocol: PROTOCOL.tcp, ttl: 64, payload };
  const mac = macBytes('02:00:00:00:00:01');
  const frame = { destination: mac, source: mac, etherType: ETHERTYPE.ipv4 };
  return encodeFrame({ ...frame, payload: encodeIpv4(packet) });
}

describe('the time of a withdrawal, of a capture', () => {
  /** Frames of clients' nodes to the nodes of a cluster. */
  function there(cluster: 0 | 1): Buffer[] {
    const stage = new AnycastStage(1n, 'ibgp');
    try {
      stage.patch();
      stage.cluster.settle();
      const names = stage.plan.clusters[cluster].nodes.map(({ name }) => name);
      const seen: Buffer[] = [];
      stage.cluster.tap(({ wire, from, to, frame }) => {
        if (wire === FABRIC_WIRE && from.startsWith('node-3') && names.includes(to))
          seen.push(frame);
      });
      loadFrom(stage.clients, { from: stage.callers, to: SERVICE, count: 20 });
      return seen;
    } finally {
      stage.close();
    }
  }
  const retract = (address: string, from: string) =>
    tcp(from, '172.16.1.11', XMPP_PORT, `<dissociate node="1/1/ingressvn/${address}/32"/>`);
  const at = (ms: number, frame: Uint8Array) => ({ timeNs: BigInt(ms * 1e6), frame });

  it('begins with a retraction that two segments share, too', () => {
    const [first = '', rest = ''] = [`<dissociate node="1/1/ingressvn/203.`, `0.113.2/32"/>`];
    const part = (text: string) => tcp('172.16.1.21', '172.16.1.11', XMPP_PORT, text);
    const [packet] = there(0) as [Buffer];
    const frames = [at(1, part(first)), at(2, part(rest)), at(6, packet)];
    expect(withdrawalOf(frames, plan, one)).toBe(4);
    expect(withdrawalOf([frames[0], frames[2]] as typeof frames, plan, one)).toBeUndefined();
  });

  it('is from the first retraction to the last packet there', () => {
    const [gone, other] = [there(0), there(1)];
    expect(gone.length).toBeGreaterThan(1);
    const frames = [
      at(1, gone[0] as Buffer),
      at(2, retract(SERVICE.ipv4, '172.16.1.21')),
      at(3, retract(SERVICE.ipv4, '172.16.1.22')),
      at(7.5, gone[1] as Buffer),
      at(90, other[0] as Buffer),
    ];
    expect(withdrawalOf(frames, plan, one)).toBe(5.5);
    expect(withdrawalOf(frames.slice(0, 3), plan, one), 'nothing after it').toBe(0);
    const strangers = [
      at(2, retract('203.0.113.9', '172.16.1.21')),
      at(3, retract(SERVICE.ipv4, '172.16.2.21')),
    ];
    expect(withdrawalOf([...strangers, at(4, gone[0] as Buffer)], plan, one)).toBeUndefined();
    expect(withdrawalOf([at(2, retract(SERVICE.ipv4, '172.16.1.21'))], plan, one)).toBeUndefined();
  });
});

describe('BGP on the wire', () => {
  const ends = plan.clusters.flatMap(({ controls }) => controls.map(({ ipv4 }) => ipv4));
  const audit = (leaveOut: number) => {
    const made = new ControlAudit();
    const pairs = ends.flatMap((a, i) => ends.slice(i + 1).map((b) => [a, b] as const));
    for (const [a, b] of pairs.slice(leaveOut)) expect(made.takes(tcp(b, a, 179, 'x'))).toBe(true);
    return made;
  };

  it('must be between all control nodes, and nobody else', () => {
    expect(federationOnTheWire(audit(0), plan)).toMatchObject({ ok: true });
    expect(federationOnTheWire(audit(1), plan)).toMatchObject({ ok: false });
    const strange = audit(0);
    strange.takes(tcp('172.16.1.21', ends[0] as string, 179, 'x'));
    expect(federationOnTheWire(strange, plan)).toMatchObject({ ok: false });
  });

  it('must be sound, and known to tshark', () => {
    const damaged = tcp(ends[0] as string, ends[1] as string, 179, 'x');
    damaged[damaged.length - 1] = 0;
    const made = new ControlAudit();
    made.takes(damaged);
    expect([made.bgp, made.malformed]).toEqual([1, 1]);
    const good = {
      ...{ frames: 9, mplsOverUdp: 4, sourcePorts: new Set([1]), xmpp: 1, malformed: [] },
      others: new Map([
        ['eth:ethertype:arp', 1],
        ['eth:ethertype:ip:tcp', 1],
        ['eth:ethertype:ip:tcp:bgp:bgp', 2],
      ]),
    };
    expect(tsharkKnows(good).ok).toBe(true);
    expect(tsharkKnows({ ...good, malformed: ['frame 1: malformed'] }).ok).toBe(false);
    const more = (protocols: string) => new Map([...good.others, [protocols, 1] as const]);
    expect(tsharkKnows({ ...good, others: more('eth:ethertype:ip:icmp') }).ok).toBe(false);
    expect(tsharkKnows({ ...good, others: new Map([['eth:ethertype:arp', 1]]) }).ok).toBe(false);
  });
});

describe('verdicts', () => {
  const load = {
    ...{ connections: 100, changed: 0, requests: 200, answers: 200, closed: 100, servedOn: [] },
    perBackend: new Map([['web-2a', 100]]),
  };
  const lost: ClusterLost = {
    ...{ cluster: 'cluster-1', survivor: 'cluster-2', withdrawnMs: 6, opened: load },
    surviving: { ...load, open: 100 },
    removed: { connections: 50, reset: 40, silent: 10, alive: 0, changed: 0 },
  };
  const failed = (changes: Partial<ClusterLost>) =>
    lostClusterIsLeft({ ...lost, ...changes }, plan)
      .filter(({ ok }) => !ok)
      .map(({ id }) => id);

  it.each([
    [{}, []],
    [{ withdrawnMs: 50 }, ['withdrawn']],
    [{ withdrawnMs: undefined }, ['withdrawn']],
    [
      {
        opened: {
          ...load,
          perBackend: new Map([
            ['web-1a', 1],
            ['web-2a', 99],
          ]),
        },
      },
      ['moved-on'],
    ],
    [{ opened: { ...load, perBackend: new Map([['web-2a', 99]]) } }, ['moved-on']],
    [{ surviving: { ...load, open: 99 } }, ['survivors']],
    [{ surviving: { ...load, open: 100, answers: 199 } }, ['survivors']],
    [{ surviving: { ...load, open: 100, changed: 1 } }, ['survivors']],
    [{ removed: { ...lost.removed, alive: 1, reset: 39 } }, ['removed']],
    [{ removed: { ...lost.removed, changed: 1 } }, ['removed']],
  ])('of a lost cluster: %j', (changes, ids) => {
    expect(failed(changes as Partial<ClusterLost>)).toEqual(ids);
  });

  it('of a lost control node: under load, no commit, seen by all', () => {
    const seen = {
      ...{ control: 'control-1a', load, doneBefore: 40 },
      commits: [{ node: 'node-1a', commits: 0 }],
      noticed: [{ who: 'node-1a', state: 'waiting' }],
    };
    const ok = (changes: object) => lostControlCostsNothing({ ...seen, ...changes }).ok;
    expect(ok({})).toBe(true);
    for (const bad of [
      { doneBefore: 0 },
      { doneBefore: 100 },
      { load: { ...load, closed: 99 } },
      { load: { ...load, changed: 1 } },
      { commits: [{ node: 'node-1a', commits: 1 }] },
      { noticed: [{ who: 'node-1a', state: 'established' }] },
      { noticed: [] },
    ]) {
      expect(ok(bad), JSON.stringify(bad)).toBe(false);
    }
  });

  it('of hub and spokes', () => {
    const way = (from: string, to: string, reached: boolean, delivered = 0) => ({
      ...{ from, to, reached, delivered },
    });
    const verdicts = (...all: ReturnType<typeof way>[]) =>
      hubAndSpokes('hub', all).map(({ ok }) => ok);
    expect(verdicts(way('a', 'hub', true), way('a', 'b', false))).toEqual([true, true]);
    expect(verdicts(way('a', 'hub', false), way('a', 'b', false, 1))).toEqual([false, false]);
    expect(verdicts(way('a', 'hub', true), way('a', 'b', true))).toEqual([true, false]);
  });

  it('of a next hop that does not leave the node, there is no way', () => {
    expect(waysOf([])).toEqual([]);
    const local = { type: 'interface', id: 1 } as Parameters<typeof waysOf>[0][number];
    expect(waysOf([local])).toEqual([]);
  });
});
