/** What one connection reads, holds and tells, with a stream and turns of the test's own. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ALL_TURNS_MS, MAX_UNREAD_BYTES, READ_BYTES_A_TURN } from '../../../src/bgp/limits.ts';
import { Connection } from '../../../src/bgp/session/connection.ts';
import { Framer } from '../../../src/bgp/session/framer.ts';
import { Tally } from '../../../src/bgp/session/status.ts';
import type { PeerStream } from '../../../src/bgp/session/transport.ts';
import { Turns } from '../../../src/bgp/session/turns.ts';
import { agree } from '../../../src/bgp/wire/agree.ts';
import {
  keepaliveMessage,
  MAX_MESSAGE,
  notificationMessage,
  openMessage,
  refreshMessage,
} from '../../../src/bgp/wire/message.ts';
import type { Open } from '../../../src/bgp/wire/open.ts';
import type { StreamListener } from '../../../src/codec/byte-stream.ts';
import { VirtualClock } from '../../../src/sim/clock.ts';
import { ip } from '../../support/bgp-speakers.ts';

const OPEN: Open = {
  ...{ as: 65000, holdTime: 90, id: ip('10.0.0.2') },
  capabilities: [
    { kind: 'as4', as: 65000 },
    { kind: 'multiprotocol', family: 'vpnv4' },
  ],
};
const refresh = () => refreshMessage({ family: 'vpnv4', kind: 'request' });
const repeated = (bytes: Uint8Array, times: number) =>
  Buffer.concat(Array.from({ length: times }, () => bytes));

function connection() {
  const clock = new VirtualClock();
  const turns: (() => void)[] = [];
  const told: string[] = [];
  let listener: StreamListener | undefined;
  let reading = true;
  const written: Uint8Array[] = [];
  const stream: PeerStream = {
    ...{ address: '10.0.0.2', waiting: 0 },
    local: { address: ip('10.0.0.1'), port: 179 },
    remote: { address: ip('10.0.0.2'), port: 9 },
    listen: (given) => {
      listener = given;
    },
    write: (parts) => void written.push(...(parts as Uint8Array[])),
    pause: () => {
      reading = false;
    },
    resume: () => {
      reading = true;
    },
    end: () => void told.push('(end)'),
    destroy: () => {},
  };
  const one = new Connection(
    stream,
    {
      message: ({ kind }) => void told.push(kind),
      unreadable: ({ code, subcode }) => {
        told.push(`unreadable ${code}/${subcode}`);
        one.end();
      },
      drained: () => {},
      closed: (why) => void told.push(`closed: ${why}`),
    },
    { clock, soon: (run) => void turns.push(run), tally: new Tally() },
  );
  one.listen();
  return {
    ...{ one, told, turns },
    data: (...parts: Uint8Array[]) => {
      for (const bytes of parts) listener?.data(bytes);
    },
    close: () => listener?.closed('gone'),
    /** Until nobody wants one any more; how many. */
    run: (most = Number.POSITIVE_INFINITY) => {
      let count = 0;
      while (turns.length > 0 && count < most) {
        count += 1;
        turns.shift()?.();
      }
      return count;
    },
    reading: () => reading,
  };
}

describe('framer', () => {
  test('however bytes are cut, the messages are the same', () => {
    const messages = [openMessage(OPEN), keepaliveMessage(), refresh(), keepaliveMessage()];
    const all = Buffer.concat(messages);
    fc.assert(
      fc.property(fc.array(fc.nat(all.length), { maxLength: 40 }), (cuts) => {
        const framer = new Framer();
        const got: string[] = [];
        const places = [0, ...cuts.sort((a, b) => a - b), all.length];
        for (const [at, place] of places.entries()) {
          framer.push(Uint8Array.from(all.subarray(places[at - 1] ?? 0, place)));
          for (let next = framer.next(MAX_MESSAGE); next; next = framer.next(MAX_MESSAGE)) {
            got.push(Buffer.from(next).toString('hex'));
          }
        }
        expect(got).toEqual(messages.map((message) => Buffer.from(message).toString('hex')));
        expect(framer.held).toBe(0);
      }),
    );
  });

  test('a length that was not agreed on is refused by its head alone', () => {
    const framer = new Framer();
    const head = Buffer.from(keepaliveMessage());
    head.writeUInt16BE(MAX_MESSAGE + 1, 16);
    head[18] = 2;
    framer.push(head);
    expect(() => framer.next(MAX_MESSAGE)).toThrow('bad message length (1/2)');
  });
});

describe('a connection', () => {
  test('reads nothing inside a call, and a bounded number of bytes a turn', () => {
    const { told, data, run } = connection();
    const keepalive = keepaliveMessage();
    data(repeated(keepalive, 10_000));
    expect(told).toEqual([]);
    run(1);
    const aTurn = told.length * keepalive.length;
    expect(aTurn).toBeGreaterThan(READ_BYTES_A_TURN / 2);
    expect(aTurn).toBeLessThan(READ_BYTES_A_TURN + 2 * keepalive.length);
    run();
    expect(told.length).toBe(10_000);
  });

  test('is not read while too much waits for its turn', () => {
    const { told, data, run, reading } = connection();
    const keepalive = keepaliveMessage();
    const chunk = repeated(keepalive, 3_000);
    let chunks = 0;
    while (reading() && chunks < 100) {
      data(chunk);
      chunks += 1;
    }
    expect(chunks * chunk.length).toBeGreaterThan(MAX_UNREAD_BYTES);
    expect(chunks * chunk.length).toBeLessThan(MAX_UNREAD_BYTES + 2 * chunk.length);
    expect(reading()).toBe(false);
    run(1);
    expect(reading()).toBe(true);
    run();
    expect(told.length).toBe(3_000 * chunks);
  });

  test('updates of a peer that has confirmed wait until this connection is the one', () => {
    const { one, told, data, run } = connection();
    data(openMessage(OPEN), keepaliveMessage(), refresh(), keepaliveMessage());
    run();
    expect(told).toEqual(['open', 'keepalive']);
    data(keepaliveMessage());
    run();
    expect(told).toEqual(['open', 'keepalive']);
    one.establish(agree(OPEN, OPEN));
    run();
    expect(told).toEqual(['open', 'keepalive', 'route-refresh', 'keepalive', 'keepalive']);
  });

  test('before that they are as wrong as they are', () => {
    const { told, data, run } = connection();
    data(openMessage(OPEN), refresh());
    run();
    expect(told).toEqual(['open', 'route-refresh']);
  });

  test('what came before the end is heard before it, and nothing after', () => {
    const { told, data, run, close } = connection();
    data(openMessage(OPEN), notificationMessage({ code: 6, subcode: 2, data: '' }));
    close();
    expect(told).toEqual(['open', 'notification', 'closed: gone']);
    data(keepaliveMessage());
    run();
    close();
    expect(told.length).toBe(3);
  });

  test('garbage is said once, and then nothing is heard', () => {
    const { told, data, run, close } = connection();
    data(keepaliveMessage(), new Uint8Array(64), keepaliveMessage());
    run();
    close();
    expect(told).toEqual(['keepalive', 'unreadable 1/1', '(end)']);
  });
});

describe('turns', () => {
  test('who asks again stands behind the others', () => {
    const clock = new VirtualClock();
    const later: (() => void)[] = [];
    const turns = new Turns(clock, (run) => void later.push(run));
    const done: string[] = [];
    const busy = (name: string, times: number) => () => {
      done.push(name);
      if (times > 1) turns.soon(busy(name, times - 1));
    };
    turns.soon(busy('a', 3));
    turns.soon(busy('b', 2));
    while (later.length > 0) later.shift()?.();
    expect(done.join('')).toBe('ababa');
  });

  test('sockets and timers are looked at in between, and nobody loses his place', () => {
    const clock = new VirtualClock();
    const later: (() => void)[] = [];
    const turns = new Turns(clock, (run) => void later.push(run));
    const done: string[] = [];
    const slow = (name: string, times: number) => () => {
      done.push(name);
      clock.advanceTo(clock.nowNs + BigInt(ALL_TURNS_MS * 6e5));
      if (times > 1) turns.soon(slow(name, times - 1));
    };
    for (const name of ['a', 'b', 'c', 'd']) turns.soon(slow(name, 2));
    later.shift()?.();
    expect(done.join('')).toBe('ab');
    while (later.length > 0) later.shift()?.();
    expect(done.join('')).toBe('abcdabcd');
  });

  test('one that throws keeps nobody from his', () => {
    const clock = new VirtualClock();
    const later: (() => void)[] = [];
    const turns = new Turns(clock, (run) => void later.push(run));
    const done: string[] = [];
    turns.soon(() => {
      throw new Error('a bug');
    });
    turns.soon(() => void done.push('b'));
    expect(() => later.shift()?.()).toThrow('a bug');
    later.shift()?.();
    expect(done).toEqual(['b']);
  });
});
