import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { WireOptions } from '../../src/bgp/wire/attributes.ts';
import { bytesOf } from '../../src/bgp/wire/bytes.ts';
import { extendedHex, readExtended } from '../../src/bgp/wire/communities.ts';
import { nlriKey } from '../../src/bgp/wire/family.ts';
import { FAMILY_NAMES, type FamilyName } from '../../src/bgp/wire/family-names.ts';
import { openMessage, readMessage, updateMessages } from '../../src/bgp/wire/message.ts';
import { NotificationError } from '../../src/bgp/wire/notification.ts';
import { type ReadUpdate, readUpdate, type Update } from '../../src/bgp/wire/update.ts';
import { announcement, extended, open } from '../support/bgp-arbitrary.ts';
import { INTERNAL, MESSAGES } from '../support/bgp-messages.ts';

function reread(update: Update, options: WireOptions): ReadUpdate[] {
  return updateMessages(update, options).map((bytes) => {
    expect(bytes.length).toBeLessThanOrEqual(options.maxMessage);
    const message = readMessage(bytes, options);
    if (message.kind !== 'update') throw new Error(`read as ${message.kind}`);
    return message.read;
  });
}

const nlriOf = (routes: readonly { readonly nlri: readonly object[] }[]) =>
  routes.flatMap(({ nlri }) => nlri);
const withIds = (update: Update): Update => ({
  ...update,
  announced: update.announced.map((routes) => ({
    ...routes,
    nlri: nlriOf([routes]).map((nlri, at) => ({ ...nlri, pathId: at * 0x01020304 })),
  })) as unknown as Update['announced'],
});
const OLD: WireOptions = { ...INTERNAL, as4: false };
const PATHS: WireOptions = { ...INTERNAL, addPath: new Set(FAMILY_NAMES) };

describe('what is written is read back', () => {
  test.each([
    ['with long AS numbers', INTERNAL, (update: Update) => update],
    // AS4_PATH and AS_TRANS: the same in the end.
    ['with short AS numbers', OLD, (update: Update) => update],
    ['with path ids', PATHS, withIds],
  ])('an announcement, %s', (_, options, prepare) => {
    fc.assert(
      fc.property(announcement, (any) => {
        const update = prepare(any);
        const read = reread(update, options);
        expect(read.flatMap(({ findings }) => findings)).toEqual([]);
        for (const { update: part } of read) {
          expect(part.attributes).toEqual(update.attributes);
          expect(part.announced[0]?.nextHop).toEqual(update.announced[0]?.nextHop);
          expect(part.announced[0]?.family).toEqual(update.announced[0]?.family);
        }
        const all = read.flatMap(({ update: { announced } }) => nlriOf(announced));
        expect(all).toEqual(nlriOf(update.announced));
      }),
      { numRuns: 300 },
    );
  });

  test('a withdrawal, by its key', () => {
    fc.assert(
      fc.property(announcement, ({ announced }) => {
        const keys = (routes: Update['withdrawn']) =>
          routes.flatMap(({ family, nlri }) =>
            (nlri as readonly never[]).map((one) => nlriKey(family as FamilyName, one)),
          );
        const read = reread({ withdrawn: announced, announced: [], attributes: {} }, INTERNAL);
        expect(read.flatMap(({ findings }) => findings)).toEqual([]);
        expect(read.flatMap(({ update }) => keys(update.withdrawn))).toEqual(keys(announced));
      }),
    );
  });

  test('the same value gives the same bytes, in whatever order its keys are', () => {
    fc.assert(
      fc.property(announcement, (update) => {
        const turned = Object.fromEntries(Object.entries(update.attributes).reverse());
        const again = updateMessages({ ...update, attributes: turned }, INTERNAL);
        expect(again).toEqual(updateMessages(update, INTERNAL));
      }),
      { numRuns: 50 },
    );
  });

  test('an OPEN', () => {
    fc.assert(
      fc.property(open, (value) => {
        expect(readMessage(openMessage(value), INTERNAL)).toEqual({ kind: 'open', open: value });
      }),
    );
  });

  test('an extended community, bit for bit', () => {
    fc.assert(
      fc.property(extended, (community) => {
        expect(readExtended(bytesOf(extendedHex(community)))).toEqual(community);
      }),
      { numRuns: 1000 },
    );
    fc.assert(
      fc.property(
        fc.constantFrom(0, 1, 2, 3, 6, 0x40),
        fc.integer({ min: 0, max: 16 }),
        fc.uint8Array({ minLength: 6, maxLength: 6 }),
        (type, subtype, rest) => {
          const bytes = Uint8Array.of(type, subtype, ...rest);
          expect(bytesOf(extendedHex(readExtended(bytes)))).toEqual(Buffer.from(bytes));
        },
      ),
      { numRuns: 1000 },
    );
  });
});

test('no bytes throw anything but what is to be sent', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 6 }), fc.uint8Array({ maxLength: 200 }), (type, body) => {
      const length = 19 + body.length;
      const head = [...new Array<number>(16).fill(0xff), 0, length, type];
      try {
        readMessage(Uint8Array.from([...head, ...body]), INTERNAL);
      } catch (error) {
        if (!(error instanceof NotificationError)) throw error;
      }
    }),
    { numRuns: 3000 },
  );
});

test('a message that is read again, or whose attributes were seen before, says what it says alone', () => {
  const bodies = MESSAGES.filter(({ kind }) => kind === 'update').map(({ body }) => body);
  const place = fc.record({
    of: fc.nat({ max: bodies.length - 1 }),
    at: fc.nat(),
    to: fc.nat(255),
  });
  // One session's options for all: what was read before may be found.
  const shared: WireOptions = { ...INTERNAL };
  fc.assert(
    fc.property(place, fc.boolean(), ({ of, at, to }, whole) => {
      const body = Uint8Array.from(bodies[of] as Uint8Array);
      if (!whole) body[at % body.length] = to;
      const alone = readUpdate(body, { ...INTERNAL });
      expect(readUpdate(body, shared)).toEqual(alone);
      expect(readUpdate(body, shared)).toEqual(alone);
    }),
    { numRuns: 1000 },
  );
});
