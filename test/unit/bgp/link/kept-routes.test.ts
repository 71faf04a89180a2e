/** Both ends of the link without a socket: what a control node says, what a speaker keeps of it, what it tells. */
import fc from 'fast-check';
import { beforeEach, describe, expect, test } from 'vitest';
import { BATCH_BYTES } from '../../../../src/bgp/limits.ts';
import { FRAME, FrameReader } from '../../../../src/bgp/link/frame.ts';
import { KeptRoutes } from '../../../../src/bgp/link/kept-routes.ts';
import { readToControl, readToSpeaker } from '../../../../src/bgp/link/messages.ts';
import {
  type Route,
  readChangeBatch,
  readRouteBatch,
} from '../../../../src/bgp/link/route-batch.ts';
import { Untold } from '../../../../src/bgp/link/untold.ts';
import type { BestChange, BgpPath } from '../../../../src/bgp/rib/contract.ts';
import { nlriKey } from '../../../../src/bgp/wire/family.ts';
import { RemoteRib } from '../../../../src/control/bgp-remote.ts';
import { RecordingRib } from '../../../support/recording-rib.ts';

const PREFIXES = ['10.0.0.1/32', '10.0.0.2/32', '10.0.0.3/32'];

function route(prefix: string, label = 20): Route {
  return {
    ...{ family: 'vpnv4', nlri: { rd: '192.0.2.1:1', prefix, label } as never },
    nextHop: { address: '192.0.2.1' as never },
    attributes: { origin: 'igp', asPath: [], localPref: 100 },
  };
}

const keyOf = (prefix: string) => `vpnv4 192.0.2.1:1 ${prefix}`;

/** Takes frames to a speaker as the process does. */
function deliver(rib: RemoteRib, kept: KeptRoutes, frames = Number.POSITIVE_INFINITY): number {
  let count = 0;
  for (; count < frames; count++) {
    const bytes = rib.next();
    if (bytes === undefined) break;
    for (const { kind, body } of new FrameReader().push(bytes)) {
      if (kind === FRAME.routes) {
        kept.take(readRouteBatch(body));
        continue;
      }
      const message = readToSpeaker(body);
      if (message.type === 'want') kept.want(message.targets);
      else if (message.type === 'end-of-rib') kept.end();
    }
  }
  return count;
}

describe('what a control node says', () => {
  let house: RecordingRib;
  let kept: KeptRoutes;
  let rib: RemoteRib;
  let woken: number;

  const control = () =>
    new RemoteRib(
      () => woken++,
      () => {},
    );

  beforeEach(() => {
    woken = 0;
    house = new RecordingRib();
    kept = new KeptRoutes(house.rib);
    rib = control();
    rib.want(new Set(['1:1', '1:2']));
    for (const prefix of PREFIXES) rib.originate(route(prefix));
    kept.begin();
    rib.begin();
    rib.end();
    deliver(rib, kept);
    house.take();
  });

  test('is in the RIB, and waits once for each time that nothing did', () => {
    expect([...house.said.keys()]).toEqual(PREFIXES.map(keyOf));
    expect(house.wanted).toEqual(['1:1', '1:2']);
    woken = 0;
    rib.originate(route('10.0.0.9/32'));
    rib.withdraw('vpnv4', route('10.0.0.9/32').nlri);
    rib.originate(route('10.0.0.9/32', 21));
    expect(woken).toBe(1);
    deliver(rib, kept);
    expect(house.take(), 'a key, as it is by now').toEqual([`+${keyOf('10.0.0.9/32')}`]);
    rib.withdraw('vpnv4', route('10.0.0.8/32').nlri);
    expect(rib.next(), 'what was not said is not taken back').toBeUndefined();
  });

  test('another control node: nothing is missing before its end, and nothing too many after it', () => {
    const next = control();
    next.want(new Set(['1:2', '1:3']));
    next.originate(route(PREFIXES[0] as string));
    next.originate(route('10.0.0.7/32'));
    kept.begin();
    next.begin();
    expect(kept.old).toBe(3);
    deliver(next, kept);
    expect([...house.said.keys()]).toEqual([...PREFIXES, '10.0.0.7/32'].map(keyOf));
    expect(house.wanted).toEqual(['1:1', '1:2', '1:3']);
    expect(kept.old).toBe(2);
    next.end();
    deliver(next, kept);
    expect([...house.said.keys()].sort()).toEqual(
      [PREFIXES[0] as string, '10.0.0.7/32'].map(keyOf),
    );
    expect(house.wanted).toEqual(['1:2', '1:3']);
    expect(kept.old).toBe(0);
  });

  test('that goes in the middle of it takes nothing along; who never comes takes all', () => {
    const next = control();
    next.originate(route(PREFIXES[0] as string));
    next.want(new Set(['1:3']));
    kept.begin();
    next.begin();
    deliver(next, kept);
    kept.begin();
    kept.want([]);
    expect(house.said.size).toBe(3);
    expect(house.wanted).toEqual(['1:1', '1:2', '1:3']);
    expect(kept.expire()).toBe(3);
    expect(house.said.size).toBe(0);
    expect(house.wanted).toEqual([]);
    expect(kept.size).toBe(0);
  });

  test('by batches, none much longer than it should be', () => {
    for (let at = 0; at < 3000; at++) rib.originate(route(`10.1.${at >> 8}.${at & 255}/32`));
    const lengths: number[] = [];
    for (let bytes = rib.next(); bytes !== undefined; bytes = rib.next())
      lengths.push(bytes.length);
    expect(lengths.length).toBeGreaterThan(2);
    expect(Math.max(...lengths)).toBeLessThan(BATCH_BYTES + 1000);
  });

  test('any history, over any number of control nodes: the RIB has what the last one has', () => {
    const act = fc.record({
      what: fc.constantFrom('say', 'unsay', 'deliver', 'end', 'die', 'lose'),
      prefix: fc.constantFrom(...PREFIXES),
      label: fc.integer({ min: 20, max: 22 }),
      frames: fc.nat(3),
    });
    fc.assert(
      fc.property(fc.array(act, { maxLength: 40 }), (acts) => {
        const there = new RecordingRib();
        const keeps = new KeptRoutes(there.rib);
        let [now, has] = [control(), new Map<string, number>()];
        const attach = () => {
          keeps.begin();
          now.begin();
        };
        attach();
        for (const { what, prefix, label, frames } of acts) {
          if (what === 'say') now.originate(route(prefix, label));
          if (what === 'say') has.set(keyOf(prefix), label);
          if (what === 'unsay') now.withdraw('vpnv4', route(prefix).nlri);
          if (what === 'unsay') has.delete(keyOf(prefix));
          if (what === 'deliver') deliver(now, keeps, frames);
          if (what === 'end') now.end();
          if (what === 'die') [now, has] = [control(), new Map()];
          if (what === 'die' || what === 'lose') attach();
        }
        now.end();
        deliver(now, keeps);
        const labels = [...there.said].map(([key, { nlri }]) => [
          key,
          (nlri as { label?: number }).label,
        ]);
        expect(new Map(labels as [string, number][])).toEqual(has);
        expect(keeps.size).toBe(has.size);
      }),
    );
  });
});

describe('what a control node is told', () => {
  const heard = (prefix: string, from = 'far', more: Partial<BgpPath> = {}): BestChange => {
    const path = { ...route(prefix), from, ...more } as BgpPath;
    return { family: path.family, key: nlriKey(path.family, path.nlri as never), paths: [path] };
  };
  const without = (change: BestChange): BestChange => ({ ...change, paths: [] });
  const ours = (change: BestChange): BestChange => {
    const [{ from: _, ...path }] = change.paths as [BgpPath];
    return { ...change, paths: [path] };
  };
  let senders: Map<string, string>;
  let tooLong: string[];
  let untold: Untold;

  const take = (limit = Number.POSITIVE_INFINITY): string[] => {
    const told: string[] = [];
    for (let count = 0; count < limit; count++) {
      const frames = untold.next();
      if (frames.length === 0) break;
      for (const frame of frames) {
        for (const { kind, body } of new FrameReader().push(frame)) {
          if (kind === FRAME.changes) {
            told.push(...readChangeBatch(body).map(({ key, paths }) => `${paths.length} ${key}`));
          } else {
            const message = readToControl(body);
            told.push(
              message.type === 'sender' ? `sender ${message.name} ${message.id}` : message.type,
            );
          }
        }
      }
    }
    return told;
  };

  beforeEach(() => {
    senders = new Map();
    tooLong = [];
    untold = new Untold({
      families: new Set(['vpnv4']),
      sender: (name) => ({ external: false, id: senders.get(name) ?? '192.0.2.9' }),
      onUnsendable: ({ key }) => tooLong.push(key),
    });
  });

  const key = (prefix: string) => `192.0.2.1:1 ${prefix}`;
  const [a, b, c] = PREFIXES as [string, string, string];

  test('all there is, whose it is before it, and the end; and then what changes, once as it is', () => {
    untold.begin([heard(a), heard(b, 'other'), ours(heard(c)), { ...heard(a), family: 'rtc' }]);
    untold.changed(heard('10.0.0.9/32'));
    expect(take()).toEqual([
      ...['sender far 192.0.2.9', 'sender other 192.0.2.9'],
      ...[`1 ${key(a)}`, `1 ${key(b)}`, 'end-of-rib', `1 ${key('10.0.0.9/32')}`],
    ]);
    for (let times = 0; times < 1000; times++)
      untold.changed(heard(a, times % 2 ? 'far' : 'other'));
    expect(untold.size).toBe(1);
    expect(take()).toEqual([`1 ${key(a)}`]);
  });

  test('what is gone, and what we say ourselves by now, if it was told of it', () => {
    untold.begin([heard(a), heard(b)]);
    take();
    untold.changed(without(heard(a)));
    untold.changed(ours(heard(b)));
    untold.changed(ours(heard(c)));
    untold.changed(heard('10.0.0.9/32'));
    untold.changed(without(heard('10.0.0.9/32')));
    expect(take()).toEqual([`0 ${key(a)}`, `0 ${key(b)}`]);
    untold.changed(without(heard(a)));
    expect(take()).toEqual([]);
    expect(untold.size).toBe(0);
  });

  test('a sender that is another now; a control node that is another now', () => {
    untold.begin([heard(a)]);
    take();
    senders.set('far', '192.0.2.10');
    untold.changed(heard(a));
    expect(take()).toEqual(['sender far 192.0.2.10', `1 ${key(a)}`]);
    untold.begin([heard(a)]);
    expect(take()).toEqual(['sender far 192.0.2.10', `1 ${key(a)}`, 'end-of-rib']);
  });

  test('a route too long to be told is as if it were gone', () => {
    const communities = Array.from({ length: 20_000 }, (_, at) => at);
    untold.begin([heard(a)]);
    take();
    untold.changed(heard(a, 'far', { attributes: { origin: 'igp', asPath: [], communities } }));
    expect(take()).toEqual([`0 ${key(a)}`]);
    expect(tooLong).toEqual([key(a)]);
  });

  test('one who reads slowly is told by batches, the end after all that was there', () => {
    const many = Array.from({ length: 3000 }, (_, at) => heard(`10.1.${at >> 8}.${at & 255}/32`));
    untold.begin(many);
    const first = take(1);
    expect(first.length).toBeGreaterThan(100);
    expect(first.length).toBeLessThan(1500);
    untold.changed(heard(a));
    const rest = take();
    expect(rest.slice(-2)).toEqual(['end-of-rib', `1 ${key(a)}`]);
    expect(first.length + rest.length).toBe(3000 + 1 + 1 + 1);
  });
});
