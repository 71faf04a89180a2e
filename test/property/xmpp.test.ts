/**
 * Hostile streams through everything: bytes, stanzas, pairs, routes. Each ends in stanzas, refused items or
 * a fault with a code; nothing else is thrown, and what got through can be sent again.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { VRouterError } from '../../src/errors.ts';
import { checkRoute } from '../../src/rib/check.ts';
import { XMPP_FAULTS } from '../../src/xmpp/faults.ts';
import { PublishPairs } from '../../src/xmpp/pairs.ts';
import { XmlReader } from '../../src/xmpp/reader.ts';
import { toItem, updatesOf } from '../../src/xmpp/routes.ts';
import { eventBodies, readStanza } from '../../src/xmpp/stanza.ts';
import { readHeader, writeClientHeader } from '../../src/xmpp/stream.ts';
import {
  CONFIG,
  collection,
  EMPTY_PUBLISH,
  EVENTS,
  PUBLISHES,
  SUBSCRIPTIONS,
} from '../unit/xmpp/messages.ts';

const HEADER = writeClientHeader({ from: 'compute-1', to: 'network-control@contrailsystems.com' });
const ALL = [
  ...[...SUBSCRIPTIONS, ...PUBLISHES, ...EVENTS].map(([, text]) => text),
  EMPTY_PUBLISH,
  collection('0/0/EndOfRib', 'associate'),
  CONFIG,
];

interface Outcome {
  readonly log: string[];
  routes: number;
}

/** What a peer of ours would do with the bytes. */
function take(chunks: Iterable<Uint8Array>): Outcome {
  const outcome: Outcome = { log: [], routes: 0 };
  const pairs = new PublishPairs();
  const reader = new XmlReader({
    opened: (header) => outcome.log.push(JSON.stringify(readHeader(header))),
    stanza(stanza) {
      const { content } = readStanza(stanza);
      outcome.log.push(JSON.stringify(content));
      if (content.type === 'publish') pairs.publish(content);
      if (content.type === 'collection') pairs.collection(content);
      if (content.type !== 'items') return;
      const { updates, refused } = updatesOf(content);
      const named = content.items.length + content.retracts.length + content.refused.length;
      expect(updates.length + refused.length).toBe(named);
      for (const update of updates) {
        if (update.type !== 'announce') continue;
        outcome.routes++;
        expect(checkRoute(update.route)).toEqual(update.route);
        const item = toItem(update.route, 'event');
        expect(eventBodies(item.family, update.route.instance, { items: [{ item }] })).toHaveLength(
          1,
        );
      }
    },
    closed: () => outcome.log.push('closed'),
  });
  try {
    for (const chunk of chunks) reader.push(chunk);
  } catch (error) {
    if (!(error instanceof VRouterError) || !(error.code in XMPP_FAULTS)) throw error;
    outcome.log.push(error.code);
  }
  return outcome;
}

function* cut(bytes: Uint8Array, sizes: readonly number[]): Generator<Uint8Array> {
  let from = 0;
  for (let i = 0; from < bytes.length; i++) {
    const size = sizes[i % sizes.length] as number;
    yield bytes.subarray(from, from + size);
    from += size;
  }
}

const stream = fc
  .array(fc.constantFrom(...ALL), { minLength: 1, maxLength: 4 })
  .map((stanzas) => HEADER + stanzas.join('\u0200\n'));
const sizes = fc.array(fc.integer({ min: 1, max: 700 }), { minLength: 1, maxLength: 6 });

/** Places where a change is likely to be one of meaning: values and names, not just any byte. */
const replacement = fc.tuple(
  fc.constantFrom(/>[^<>]+</, /="[^"]*"/, /<\/?[a-z-]+/, /\d+/, /[\d.]+\/\d+/),
  fc.nat(200),
  fc.constantFrom(
    '',
    '>0<',
    '>-1<',
    '>4294967296<',
    '>0x10<',
    '=""',
    '<a',
    '</a',
    '9',
    '/33',
    '::/0',
    '>NaN<',
    '>&amp;<',
    '>\u0200<',
  ),
);

function replaceNth(text: string, pattern: RegExp, n: number, by: string): string {
  const found = [...text.matchAll(new RegExp(pattern, 'g'))];
  if (found.length === 0) return text;
  const match = found[n % found.length]!;
  return text.slice(0, match.index) + by + text.slice(match.index + match[0].length);
}

describe('streams', () => {
  test('that are whole are taken, all of them', () => {
    const { log, routes } = take(cut(Buffer.from(HEADER + ALL.join('')), [333]));
    expect(log).toHaveLength(1 + ALL.length);
    expect(routes).toBe(6);
  });

  test('with values and names replaced', () => {
    fc.assert(
      fc.property(
        stream,
        fc.array(replacement, { minLength: 1, maxLength: 4 }),
        sizes,
        (text, list, at) => {
          let changed = text;
          for (const [pattern, n, by] of list) changed = replaceNth(changed, pattern, n, by);
          const bytes = Buffer.from(changed);
          expect(take(cut(bytes, at))).toEqual(take([bytes]));
        },
      ),
      { numRuns: 1500 },
    );
  });

  test('with bytes changed, and cut off', () => {
    const flips = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 5 });
    fc.assert(
      fc.property(stream, flips, fc.nat(), sizes, (text, list, end, at) => {
        const bytes = Buffer.from(text);
        for (const [where, value] of list) bytes[where % bytes.length] = value;
        const some = bytes.subarray(0, end % (bytes.length + 1));
        expect(take(cut(some, at))).toEqual(take([some]));
      }),
      { numRuns: 1500 },
    );
  });

  test('of any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), sizes, (bytes, at) => {
        expect(take(cut(bytes, at))).toEqual(take([bytes]));
      }),
    );
  });
});
