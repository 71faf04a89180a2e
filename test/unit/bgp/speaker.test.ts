/** Speakers against each other, over streams in memory and on a clock of the test's own. */
import { describe, expect, test } from 'vitest';
import {
  MAX_WAITING_BYTES,
  OVERFLOW_RETRY_MS,
  SEND_HOLD_MS,
  WRITE_BYTES_A_TURN,
} from '../../../src/bgp/limits.ts';
import type { Neighbour, NeighbourRange } from '../../../src/bgp/neighbour.ts';
import { wireText, writtenOf } from '../../../src/bgp/session/outgoing.ts';
import type { BgpSpeakerOptions } from '../../../src/bgp/session/speaker.ts';
import type { PeerStream } from '../../../src/bgp/session/transport.ts';
import {
  keepaliveMessage,
  MAX_EXTENDED_MESSAGE,
  openMessage,
} from '../../../src/bgp/wire/message.ts';
import type { Update } from '../../../src/bgp/wire/update.ts';
import type { Clock } from '../../../src/codec/byte-stream.ts';
import { BgpNetwork } from '../../../src/sim/bgp-network.ts';
import { INTERNAL } from '../../support/bgp-messages.ts';
import { ip, Lab, neighbour, type RecordingPeer, route } from '../../support/bgp-speakers.ts';

type Options = Partial<BgpSpeakerOptions>;

/** 10.0.0.1 and 10.0.0.2, which know each other. */
function pair(more: Partial<Neighbour> = {}, options: readonly [Options, Options] = [{}, {}]) {
  const lab = new Lab();
  const network = new BgpNetwork();
  const a = lab.speaker(network, 1, options[0]);
  const b = lab.speaker(network, 2, options[1]);
  a.speaker.setNeighbour(neighbour(b.address, more));
  b.speaker.setNeighbour(neighbour(a.address, more));
  const logs = () => [a.rib.peers[0]?.log, b.rib.peers[0]?.log];
  return {
    ...{ lab, network, a, b, logs, clock: lab.clock },
    get atA() {
      return a.rib.peers[0] as RecordingPeer;
    },
    get atB() {
      return b.rib.peers[0] as RecordingPeer;
    },
    seenByA: () => a.speaker.neighbour(b.address),
    seenByB: () => b.speaker.neighbour(a.address),
  };
}

/** The clock of a process that has no turn for a while: what is due then comes when it is let go. */
class HeldClock implements Clock {
  held = false;
  #waiting: (() => void)[] = [];
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  now(): number {
    return this.#clock.now();
  }

  after(ms: number, run: () => void): () => void {
    return this.#clock.after(ms, () => (this.held ? this.#waiting.push(run) : run()));
  }

  release(): void {
    for (const run of this.#waiting.splice(0)) run();
  }
}

/** At 10.0.0.2: calls 10.0.0.1, and says every 4 s that it lives. */
function rawPeer(lab: Lab, network: BgpNetwork, holdTime: number): void {
  const { clock } = lab;
  const target = { remote: { address: ip('10.0.0.1'), port: 179 } };
  const connected = (stream: PeerStream) => {
    const capabilities = [{ kind: 'as4', as: 65000 }] as const;
    stream.write([openMessage({ as: 65000, holdTime, id: ip('10.0.0.2'), capabilities })]);
    const say = () => {
      stream.write([keepaliveMessage()]);
      clock.after(4000, say);
    };
    say();
  };
  network.transport(ip('10.0.0.2'), clock).connect(target, { connected, failed: () => {} });
}

const prefixes = ({ updates }: RecordingPeer) =>
  updates.flatMap(({ announced }) =>
    announced.flatMap(({ nlri }) => (nlri as readonly { prefix?: string }[]).map((n) => n.prefix)),
  );

describe('a session', () => {
  test('comes up, though both call, and stays', () => {
    const { lab, logs, seenByA, a } = pair();
    lab.pass(60_000);
    expect(logs()).toEqual([['up'], ['up']]);
    lab.pass(3_600_000);
    expect(logs()).toEqual([['up'], ['up']]);
    const status = seenByA();
    expect(status).toMatchObject({
      ...{ state: 'established', flaps: 0, holdTime: 90, keepaliveTime: 30, dynamic: false },
      peer: { as: 65000, id: '10.0.0.2' },
      families: [{ family: 'vpnv4', agreed: true, disabled: false }],
      agreed: { as4: true, refresh: true, enhancedRefresh: true, extendedMessage: true },
      remote: { address: '10.0.0.2' },
    });
    // One each 30 s or a little earlier; and nobody has to hear of the connection that lost.
    expect(status?.messagesIn.keepalive).toBeGreaterThanOrEqual(120);
    expect(status?.messagesIn.keepalive).toBeLessThan(170);
    expect([status?.lastErrorIn, status?.lastErrorOut]).toEqual([undefined, undefined]);
    expect(a.speaker.status().refused).toBe(0);
  });

  test('carries updates both ways, in order', () => {
    const { lab, a, b, atA, atB, seenByA, seenByB } = pair();
    lab.pass(5_000);
    const before = { out: seenByA()?.bytesOut ?? 0, in: seenByB()?.bytesIn ?? 0 };
    a.rib.say(atA, ...[1, 2, 3].map(route));
    b.rib.say(atB, route(4));
    lab.pass(10);
    expect(prefixes(atB)).toEqual(['10.0.1.0/24', '10.0.2.0/24', '10.0.3.0/24']);
    expect(prefixes(atA)).toEqual(['10.0.4.0/24']);
    expect(seenByA()?.messagesOut.update).toBe(3);
    expect(seenByB()?.messagesIn.update).toBe(3);
    expect((seenByA()?.bytesOut ?? 0) - before.out).toBe((seenByB()?.bytesIn ?? 0) - before.in);
    expect((seenByA()?.bytesOut ?? 0) - before.out).toBeGreaterThan(200);
  });

  test('ends by its hold time where the other side is cut off, and comes back', () => {
    const { lab, network, logs, seenByA, clock } = pair({ holdTime: 9 });
    lab.pass(5_000);
    const before = clock.now();
    for (const { bytes } of network.connections) {
      bytes.reading = false;
      bytes.far.reading = false;
    }
    network.mayConnect = () => false;
    lab.pass(5_000);
    expect(logs()).toEqual([['up'], ['up']]);
    lab.pass(10_000);
    expect(logs()).toEqual([
      ['up', 'down'],
      ['up', 'down'],
    ]);
    expect(seenByA()?.lastErrorOut?.text).toBe('hold timer expired (4/0)');
    expect((seenByA()?.lastErrorOut?.at ?? 0) - before).toBeLessThanOrEqual(9_100);
    network.mayConnect = () => true;
    lab.pass(15_000);
    expect(seenByA()?.state).toBe('established');
  });

  test('what has arrived while we were held up counts before the hold time does', () => {
    const lab = new Lab();
    const network = new BgpNetwork();
    const clock = new HeldClock(lab.clock);
    const later = (run: () => void) => void clock.after(0, run);
    const transport = network.transport(ip('10.0.0.1'), clock);
    const a = lab.speaker(network, 1, { clock, later, transport });
    a.speaker.setNeighbour(neighbour('10.0.0.2', { passive: true, holdTime: 9 }));
    rawPeer(lab, network, 9);
    lab.pass(5_000);
    clock.held = true;
    lab.pass(20_000);
    clock.held = false;
    clock.release();
    lab.pass(5_000);
    expect(a.rib.peers[0]?.log).toEqual(['up']);
  });

  test('is not there with one of another AS', () => {
    const { lab, logs, seenByA } = pair({ as: 65001 });
    lab.pass(30_000);
    expect(logs()).toEqual([[], []]);
    expect(seenByA()?.lastErrorOut?.text).toBe('OPEN message error: bad peer AS (2/2)');
  });

  test('needs the same password', () => {
    const { lab, a, b, logs } = pair({ password: 'one' });
    lab.pass(5_000);
    expect(logs()).toEqual([['up'], ['up']]);
    a.speaker.setNeighbour(neighbour(b.address, { password: 'two' }));
    lab.pass(60_000);
    expect(logs()).toEqual([[], ['up', 'down']]);
  });
});

describe('what an operator says', () => {
  test('shutdown with a text, and enable', () => {
    const { lab, a, b, logs, seenByA, seenByB } = pair();
    lab.pass(5_000);
    expect(a.speaker.shutdown('nobody')).toBe(false);
    expect(a.speaker.shutdown(b.address, 'maintenance until noon')).toBe(true);
    lab.pass(600_000);
    expect(logs()).toEqual([
      ['up', 'down'],
      ['up', 'down'],
    ]);
    expect(seenByA()).toMatchObject({ state: 'idle', enabled: false, ageMs: 600_000 });
    const said = 'cease: administrative shutdown (6/2): "maintenance until noon"';
    expect(seenByB()?.lastErrorIn?.text).toBe(said);
    expect(a.speaker.status().refused).toBeGreaterThan(10);
    a.speaker.enable(b.address);
    lab.pass(15_000);
    expect(seenByA()).toMatchObject({ state: 'established', enabled: true, flaps: 1 });
  });

  test('a change of one that is shut down leaves it so', () => {
    const { lab, a, b, seenByA } = pair();
    lab.pass(5_000);
    a.speaker.shutdown(b.address);
    a.speaker.setNeighbour(neighbour(b.address, { holdTime: 30 }));
    lab.pass(60_000);
    expect(seenByA()).toMatchObject({ state: 'idle', enabled: false });
  });

  test('clear: hard by a new connection, soft in this one', () => {
    const { lab, a, b, atA, atB, logs, seenByB } = pair();
    expect(a.speaker.clear(b.address, 'in')).toBe(false);
    lab.pass(5_000);
    expect(a.speaker.clear(b.address, 'in')).toBe(true);
    expect(a.speaker.clear(b.address, 'out')).toBe(true);
    lab.pass(10);
    expect(atB.refreshes).toEqual([{ family: 'vpnv4', kind: 'request' }]);
    expect(atA.refreshes).toEqual([{ family: 'vpnv4', kind: 'request' }]);
    expect(logs()).toEqual([['up'], ['up']]);
    a.speaker.clear(b.address, 'hard', 'again, please');
    lab.pass(5_000);
    expect(logs()).toEqual([
      ['up', 'down', 'up'],
      ['up', 'down', 'up'],
    ]);
    expect(seenByB()?.lastErrorIn?.text).toContain('administrative reset (6/4): "again, please"');
  });

  test('where a session survives notifications, they are a hard reset', () => {
    const { lab, a, b, logs, seenByB } = pair({ restartTime: 120 });
    lab.pass(5_000);
    a.speaker.clear(b.address, 'hard');
    lab.pass(5_000);
    expect(logs()).toEqual([
      ['up', 'down', 'up'],
      ['up', 'down', 'up'],
    ]);
    expect(seenByB()?.lastErrorIn?.text).toBe(
      'cease: hard reset (6/9): cease: administrative reset (6/4)',
    );
  });
});

describe('changes while it runs', () => {
  test('policies, limits and reflection: the session stays', () => {
    const { lab, a, b, logs } = pair();
    lab.pass(5_000);
    const changed = neighbour(b.address, {
      ...{ client: true, allowAsIn: 2, families: [{ family: 'vpnv4', maxRoutes: 9 }] },
      import: { name: 'none', terms: [{ name: 'all', match: {}, action: 'reject' }] },
    });
    a.speaker.setNeighbour(changed);
    lab.pass(5_000);
    expect(logs()).toEqual([['up'], ['up']]);
    expect(a.rib.changed).toEqual([changed]);
  });

  test.each<[string, Partial<Neighbour>]>([
    ['another hold time', { holdTime: 30 }],
    ['another family', { families: [{ family: 'vpnv4' }, { family: 'evpn' }] }],
    ['path ids', { families: [{ family: 'vpnv4', addPath: 'both' }] }],
    ['graceful restart', { restartTime: 60 }],
    ['another TTL', { ttl: 3 }],
  ])('%s: the session starts anew', (_, more) => {
    const { lab, a, b, logs, seenByA, seenByB } = pair();
    lab.pass(5_000);
    a.speaker.setNeighbour(neighbour(b.address, more));
    lab.pass(5_000);
    expect(logs()).toEqual([['up'], ['up', 'down', 'up']]);
    expect(a.rib.peers.length).toBe(1);
    expect(seenByB()?.lastErrorIn?.text).toBe('cease: other configuration change (6/6)');
    expect(seenByA()?.state).toBe('established');
  });

  test('a neighbour that is removed is told so, and known no more', () => {
    const { lab, a, b, logs, seenByA, seenByB } = pair();
    lab.pass(5_000);
    expect(a.speaker.removeNeighbour(b.address)).toBe(true);
    expect(a.speaker.removeNeighbour(b.address)).toBe(false);
    lab.pass(5_000);
    expect(logs()).toEqual([undefined, ['up', 'down']]);
    expect(seenByA()).toBeUndefined();
    expect(seenByB()?.lastErrorIn?.text).toBe('cease: peer de-configured (6/3)');
    expect(a.speaker.status().refused).toBeGreaterThan(0);
  });

  test('a password that no kernel takes is refused, and nothing is changed', () => {
    const { lab, a, b, logs } = pair();
    lab.pass(5_000);
    const password = 'é'.repeat(41);
    expect(() => a.speaker.setNeighbour(neighbour(b.address, { password }))).toThrow('80 bytes');
    lab.pass(5_000);
    expect(logs()).toEqual([['up'], ['up']]);
  });

  test('two neighbours cannot have one address, unless we have two', () => {
    const { a, b } = pair();
    const twice = (more: Partial<Neighbour>) => () =>
      a.speaker.setNeighbour(neighbour(b.address, { name: 'twice', ...more }));
    expect(twice({})).toThrow('twice has the address of 10.0.0.2');
    expect(twice({ localAddress: ip('10.0.0.1') })).not.toThrow();
  });
});

describe('dynamic neighbours', () => {
  const range = (more: Partial<NeighbourRange> = {}): NeighbourRange => {
    const { name: _, address: __, passive: ___, ...template } = neighbour('0.0.0.0');
    return { name: 'pods', prefix: '10.0.0.0/24' as never, limit: 2, template, ...more };
  };
  function hub(limit = 2) {
    const lab = new Lab();
    const network = new BgpNetwork();
    const a = lab.speaker(network, 1);
    a.speaker.setRange(range({ limit }));
    const callers = [2, 3, 4].map((n) => lab.speaker(network, n));
    for (const { speaker } of callers) speaker.setNeighbour(neighbour('10.0.0.1'));
    const names = () => a.speaker.status().neighbours.map(({ name }) => name);
    return { lab, network, a, callers, names };
  }

  test('as many as there may be; one that goes makes room', () => {
    const { lab, a, callers, names } = hub();
    lab.pass(30_000);
    expect(names()).toEqual(['pods/10.0.0.2', 'pods/10.0.0.3']);
    expect(a.speaker.status().refusedByLimit).toBeGreaterThan(3);
    callers[0]?.speaker.removeNeighbour('10.0.0.1');
    lab.pass(30_000);
    expect(names()).toEqual(['pods/10.0.0.3', 'pods/10.0.0.4']);
    expect(a.rib.peers.map(({ neighbour: { name } }) => name)).toEqual(names());
    expect(a.speaker.neighbour('pods/10.0.0.3')).toMatchObject({ dynamic: true, passive: true });
  });

  test('who says nothing keeps a place for half a minute', () => {
    const { lab, network, a, callers, names } = hub(1);
    for (const { speaker } of callers) speaker.close();
    lab.pass(5_000);
    expect(names()).toEqual([]);
    const target = { remote: { address: ip('10.0.0.1'), port: 179 } };
    const silent = { connected: () => {}, failed: () => {} };
    network.transport(ip('10.0.0.9'), lab.clock).connect(target, silent);
    lab.pass(29_000);
    expect(names()).toEqual(['pods/10.0.0.9']);
    lab.pass(2_000);
    expect(names()).toEqual([]);
    expect(a.rib.peers).toEqual([]);
  });

  test('one that restarts gracefully is kept for so long', () => {
    const { lab, network, a, callers, names } = hub(3);
    const { template } = range();
    a.speaker.setRange(range({ limit: 3, template: { ...template, restartTime: 60 } }));
    callers[0]?.speaker.setNeighbour(neighbour('10.0.0.1', { restartTime: 60 }));
    lab.pass(10_000);
    network.mayConnect = (from) => from !== '10.0.0.2';
    callers[0]?.speaker.close({ restart: true });
    lab.pass(50_000);
    expect(names()).toContain('pods/10.0.0.2');
    const kept = a.rib.peers.find(({ neighbour: { address } }) => address === '10.0.0.2');
    expect(kept?.log).toEqual(['up', 'down, graceful']);
    lab.pass(20_000);
    expect(names()).not.toContain('pods/10.0.0.2');
  });

  test('change with their range, and go with it', () => {
    const { lab, a, names } = hub(3);
    lab.pass(10_000);
    const logs = () => a.rib.peers.map(({ log }) => log.join());
    a.speaker.setRange(range({ limit: 3, template: { ...range().template, client: true } }));
    expect(a.rib.changed.length).toBe(3);
    expect(logs()).toEqual(['up', 'up', 'up']);
    a.speaker.setRange(range({ limit: 3, prefix: '10.0.0.2/31' as never }));
    lab.pass(10_000);
    expect(names()).toEqual(['pods/10.0.0.2', 'pods/10.0.0.3']);
    a.speaker.setRange(range({ limit: 1, prefix: '10.0.0.2/31' as never }));
    expect(names().length).toBe(1);
    a.speaker.removeRange('pods');
    expect(names()).toEqual([]);
  });

  test('a neighbour by its address goes before a range, the narrower one before the wider', () => {
    const { lab, a, names } = hub(3);
    a.speaker.setRange(range({ name: 'few', prefix: '10.0.0.4/31' as never, limit: 9 }));
    lab.pass(10_000);
    expect(names()).toEqual(['few/10.0.0.4', 'pods/10.0.0.2', 'pods/10.0.0.3']);
    a.speaker.setNeighbour(neighbour('10.0.0.2'));
    lab.pass(10_000);
    expect(names()).toEqual(['10.0.0.2', 'few/10.0.0.4', 'pods/10.0.0.3']);
    expect(a.speaker.neighbour('10.0.0.2')?.state).toBe('established');
  });
});

describe('a peer that does not read', () => {
  const many = (count: number) => Array.from({ length: count }, (_, n) => route(n));
  function blocked() {
    const all = pair();
    all.lab.pass(5_000);
    // What a writes to b.
    for (const { bytes } of all.network.connections) {
      for (const end of [bytes, bytes.far]) if (end.address === '10.0.0.1') end.reading = false;
    }
    return all;
  }

  test('has a bounded number of bytes waiting; the rest is not even asked for', () => {
    const { lab, a, atA, atB, seenByA, network } = blocked();
    a.rib.say(atA, ...many(20_000));
    lab.pass(1_000);
    const { waiting } = seenByA() ?? { waiting: 0 };
    expect(waiting).toBeGreaterThan(MAX_WAITING_BYTES / 2);
    expect(waiting).toBeLessThan(MAX_WAITING_BYTES + WRITE_BYTES_A_TURN + MAX_EXTENDED_MESSAGE);
    const left = atA.queued;
    expect(left).toBeGreaterThan(15_000);
    lab.pass(20_000);
    expect(atA.queued).toBe(left);

    for (const { bytes } of network.connections) {
      for (const end of [bytes, bytes.far]) {
        end.reading = true;
        end.wake();
      }
    }
    lab.pass(2_000);
    expect(atA.queued).toBe(0);
    expect(atB.updates.length).toBe(20_000);
  });

  test('is closed after the send hold time, though it says that it lives', () => {
    const { lab, a, atA, logs, seenByA } = blocked();
    // Its own hold time is over soon, and it says so, but stays connected: only ours can end it.
    a.rib.say(atA, ...many(20_000));
    lab.pass(60_000);
    expect(logs()[0]).toEqual(['up']);
    lab.pass(SEND_HOLD_MS);
    expect(logs()[0]?.slice(0, 2)).toEqual(['up', 'down']);
    expect(seenByA()?.flaps).toBeGreaterThan(0);
  });
});

describe('what goes wrong', () => {
  test('too many routes: it ends, and is tried again much later or when somebody says so', () => {
    const { lab, a, b, atA, logs, seenByA, seenByB } = pair();
    lab.pass(5_000);
    atA.answer = { code: 6, subcode: 1, data: '' };
    b.rib.say(b.rib.peers[0] as RecordingPeer, route(1));
    lab.pass(OVERFLOW_RETRY_MS / 2);
    expect(logs()).toEqual([
      ['up', 'down'],
      ['up', 'down'],
    ]);
    expect(seenByA()).toMatchObject({ state: 'idle', enabled: true });
    expect(seenByA()?.restartAt).toBe(OVERFLOW_RETRY_MS + (seenByA()?.lastErrorOut?.at ?? 0));
    expect(seenByB()?.lastErrorIn?.text).toBe('cease: maximum number of prefixes reached (6/1)');
    atA.answer = undefined;
    a.speaker.clear(b.address, 'hard');
    lab.pass(10_000);
    expect(seenByA()?.state).toBe('established');

    atA.answer = { code: 6, subcode: 1, data: '' };
    b.rib.say(b.rib.peers[0] as RecordingPeer, route(1));
    lab.pass(10_000);
    atA.answer = undefined;
    lab.pass(OVERFLOW_RETRY_MS);
    expect(seenByA()?.state).toBe('established');
  });

  test('another reason of the RIB: it ends, and is tried again at once', () => {
    const { lab, b, atA, seenByB, seenByA } = pair();
    lab.pass(5_000);
    atA.answer = { code: 6, subcode: 8, data: '' };
    b.rib.say(b.rib.peers[0] as RecordingPeer, route(1));
    lab.pass(100);
    expect(seenByB()?.lastErrorIn?.text).toBe('cease: out of resources (6/8)');
    lab.pass(10_000);
    expect(seenByA()?.state).toBe('established');
  });

  test('an error of ours in what a peer said ends its session alone', () => {
    const faults: unknown[] = [];
    const { lab, network, a, b, atA, logs } = pair({}, [{ onFault: (e) => faults.push(e) }, {}]);
    const c = lab.speaker(network, 3);
    a.speaker.setNeighbour(neighbour(c.address));
    c.speaker.setNeighbour(neighbour(a.address));
    lab.pass(5_000);
    atA.fault = new Error('a bug');
    b.rib.say(b.rib.peers[0] as RecordingPeer, route(1));
    lab.pass(100);
    expect(faults).toEqual([atA.fault]);
    expect(logs()[1]).toEqual(['up', 'down']);
    expect(c.rib.peers[0]?.log).toEqual(['up']);
  });

  test('an update that two are told is written once, and once for each way of writing it', () => {
    const outgoing = route(1);
    const wire = { ...INTERNAL, families: new Set(['vpnv4'] as const) };
    const paths = { ...wire, addPath: new Set(['vpnv4'] as const) };
    const one = (options: typeof wire) =>
      writtenOf(outgoing, options, wireText(options)).messages[0];
    expect(one({ ...wire })).toBe(one({ ...wire }));
    expect(one(paths as never)).not.toBe(one(wire));
    expect(one(paths as never)?.length).toBe((one(wire)?.length ?? 0) + 4);
  });

  test('a route that fits into no message is withdrawn, and the others of its update are said', () => {
    const { lab, a, atA, atB, seenByA } = pair();
    lab.pass(5_000);
    const [one] = [1].map(route);
    const update = (one as { update: Update }).update;
    const large = Array.from({ length: 20_000 }, (_, n) => n);
    const tooLarge = { ...update, attributes: { ...update.attributes, communities: large } };
    a.rib.say(atA, { kind: 'update', update: tooLarge }, route(2));
    lab.pass(100);
    expect(atB.updates.map(({ withdrawn }) => withdrawn.length)).toEqual([1, 0]);
    expect(prefixes(atB)).toEqual(['10.0.2.0/24']);
    expect(seenByA()).toMatchObject({ unsendable: 1, state: 'established' });
  });
});

describe('restarts', () => {
  test('what is lost without a word may come back; who was there before says so', () => {
    const { lab, network, a, b, logs } = pair({ restartTime: 60 }, [{}, { forwardingKept: true }]);
    lab.pass(5_000);
    b.speaker.close({ restart: true });
    lab.pass(1_000);
    expect(logs()[0]).toEqual(['up', 'down, graceful']);
    const again = lab.speaker(network, 2, { restarted: true, forwardingKept: true });
    again.speaker.setNeighbour(neighbour(a.address, { restartTime: 60 }));
    lab.pass(10_000);
    expect(logs()[0]).toEqual(['up', 'down, graceful', 'up']);
    const said = a.rib.peers[0]?.open?.capabilities.find(({ kind }) => kind === 'graceful-restart');
    expect(said).toMatchObject({
      ...{ restarting: true, notification: true, seconds: 60 },
      families: [{ family: 'vpnv4', forwarding: true }],
    });
    // Later OPENs are of one who has been there for long.
    lab.pass(60_000);
    a.speaker.clear(b.address, 'hard');
    lab.pass(10_000);
    const later = a.rib.peers[0]?.open?.capabilities.find(
      ({ kind }) => kind === 'graceful-restart',
    );
    expect(later).toMatchObject({ restarting: false });
  });

  test('who keeps no routes is told that we go', () => {
    const { lab, b, logs, seenByA } = pair();
    lab.pass(5_000);
    b.speaker.close({ restart: true, text: 'back soon' });
    lab.pass(1_000);
    expect(logs()[0]).toEqual(['up', 'down']);
    expect(seenByA()?.lastErrorIn?.text).toContain('(6/2): "back soon"');
  });

  test('the RIB is called when something of it is due', () => {
    const { lab, a, clock } = pair();
    a.rib.due = 20_000;
    lab.pass(10_000);
    expect(a.rib.due).toBe(20_000);
    lab.pass(10_001);
    expect(a.rib.due).toBeUndefined();
    expect(clock.now()).toBe(20_001);
  });
});
