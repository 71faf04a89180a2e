/**
 * Every fixture with one byte changed, at every place, to sixteen values: nothing is thrown but what is
 * to be sent, a finding always has its consequence, and the work stays that of one message.
 */
import assert from 'node:assert/strict';
import { describe, expect, test } from 'vitest';
import type { WireOptions } from '../../src/bgp/wire/attributes.ts';
import { NetReader } from '../../src/bgp/wire/bytes.ts';
import { FAMILY_NAMES } from '../../src/bgp/wire/family-names.ts';
import { CONSEQUENCES, MAX_FINDINGS } from '../../src/bgp/wire/finding.ts';
import {
  HEADER_BYTES,
  type Message,
  openMessage,
  readMessage,
  updateMessages,
} from '../../src/bgp/wire/message.ts';
import { NotificationError } from '../../src/bgp/wire/notification.ts';
import { readOpen } from '../../src/bgp/wire/open.ts';
import type { ReadUpdate } from '../../src/bgp/wire/update.ts';
import { INTERNAL, MESSAGES } from '../support/bgp-messages.ts';

const TYPES: Record<string, number> = { open: 1, update: 2 };

function framed(kind: string, body: Uint8Array): Uint8Array {
  const length = HEADER_BYTES + body.length;
  const head = [...new Array<number>(16).fill(0xff), length >> 8, length & 0xff, TYPES[kind] ?? 0];
  return Uint8Array.from([...head, ...body]);
}

/** Eight bits turned, the ends, and values that mean something somewhere. */
function mutants(byte: number): number[] {
  const turned = Array.from({ length: 8 }, (_, bit) => byte ^ (1 << bit));
  const others = [0, 1, 2, 0x7f, 0x80, 0xff, byte + 1, byte - 1].map((value) => value & 0xff);
  return [...turned, ...others];
}

const NOTHING = { withdrawn: [], announced: [], attributes: {} };

/** Undefined: refused with a notification, which must be one that can be sent. */
function read(bytes: Uint8Array, options: WireOptions): Message | undefined {
  try {
    return readMessage(bytes, options);
  } catch (error) {
    // A length that is another one than the bytes' is the framing's to see, before.
    if (error instanceof RangeError && /are not one message/.test(error.message)) return undefined;
    if (!(error instanceof NotificationError)) throw error;
    assert([1, 2].includes(error.notification.code));
    return undefined;
  }
}

/** By assert: there are a hundred thousand of them, and what expect keeps for its report takes a minute. */
function checkUpdate({ update, findings, consequence, notification }: ReadUpdate): void {
  assert(findings.length <= MAX_FINDINGS);
  assert.equal(consequence === undefined, findings.length === 0);
  const strongest = Math.max(...findings.map((f) => CONSEQUENCES.indexOf(f.consequence)));
  if (consequence !== undefined) assert.equal(CONSEQUENCES.indexOf(consequence), strongest);
  assert.equal(notification !== undefined, consequence === 'session-reset');
  if (consequence === 'session-reset') assert.deepEqual(update, NOTHING);
  for (const { consequence: one, family } of findings) {
    if (one !== 'afi-safi-disable') continue;
    assert(family !== undefined);
    const families = [...update.announced, ...update.withdrawn].map((routes) => routes.family);
    assert(!families.some((other) => other === family));
  }
  if (findings.some((f) => f.consequence === 'treat-as-withdraw' && f.attribute !== undefined)) {
    assert.deepEqual(update.announced, []);
  }
}

const variants: [string, WireOptions][] = [
  ['internal', INTERNAL],
  ['external, two-byte AS numbers', { ...INTERNAL, as4: false, external: true }],
  ['with path ids', { ...INTERNAL, addPath: new Set(FAMILY_NAMES) }],
];

describe.each(variants)('%s', (_, options) => {
  test.each(MESSAGES)('$name, one byte changed', ({ kind, body }) => {
    const whole = framed(kind, body);
    let survived = 0;
    let found = 0;
    for (let at = 0; at < whole.length; at++) {
      for (const value of mutants(whole[at] as number)) {
        const bytes = whole.slice();
        bytes[at] = value;
        const message = read(bytes, options);
        if (message?.kind !== 'update') continue;
        checkUpdate(message.read);
        if (message.read.consequence !== undefined) found += 1;
        if (message.read.consequence !== 'session-reset') {
          survived += 1;
          const { update } = message.read;
          // What is left can be told to others, who then find nothing wrong with it.
          for (const again of updateMessages(update, options)) {
            const read = readMessage(again, options);
            if (read.kind === 'update') assert.deepEqual(read.read.findings, []);
          }
        }
      }
    }
    if (kind === 'update') expect(found).toBeGreaterThan(0);
    if (kind === 'update' && options === INTERNAL) expect(survived).toBeGreaterThan(found / 2);
  });
});

test('cut anywhere', () => {
  for (const { kind, body } of MESSAGES) {
    for (let length = 0; length < body.length; length++) {
      const message = read(framed(kind, body.slice(0, length)), INTERNAL);
      if (message?.kind !== 'update') continue;
      checkUpdate(message.read);
      if (length > 4) expect(message.read.consequence).toBeDefined();
    }
  }
});

test('an OPEN that was read can be written', () => {
  for (const { kind, body } of MESSAGES.filter((message) => message.kind === 'open')) {
    for (let at = 0; at < body.length; at++) {
      const bytes = body.slice();
      bytes[at] = (bytes[at] as number) ^ 0x41;
      const message = read(framed(kind, bytes), INTERNAL);
      if (message?.kind !== 'open') continue;
      const again = openMessage(message.open).subarray(HEADER_BYTES);
      expect(readOpen(new NetReader(again))).toEqual(message.open);
    }
  }
});

test('a message of the longest kind full of the shortest routes', () => {
  const options = { ...INTERNAL, maxMessage: 65_535 };
  const attributes = [0x40, 1, 1, 0, 0x40, 2, 0, 0x40, 3, 4, 10, 0, 0, 1];
  const routes = new Uint8Array(65_535 - HEADER_BYTES - 4 - attributes.length);
  const body = Uint8Array.from([0, 0, 0, attributes.length, ...attributes, ...routes]);
  const message = readMessage(framed('update', body), options);
  if (message.kind !== 'update') throw new Error('no update');
  expect(message.read.findings).toEqual([]);
  expect(message.read.update.announced[0]?.nlri.length).toBe(routes.length);
});

test('more findings than are kept', () => {
  // Type-5 routes without a label or an overlay index, each of them unfit.
  const route = [5, 34, ...new Array<number>(34).fill(0)];
  const routes = new Array<number[]>(60).fill(route).flat();
  const value = [0, 25, 70, 4, 10, 0, 0, 1, 0, ...routes];
  const mp = [0x90, 14, value.length >> 8, value.length & 0xff, ...value];
  const attributes = [...mp, 0x40, 1, 1, 0, 0x40, 2, 0];
  const body = Uint8Array.from([
    0,
    0,
    attributes.length >> 8,
    attributes.length & 0xff,
    ...attributes,
  ]);
  const message = readMessage(framed('update', body), INTERNAL);
  if (message.kind !== 'update') throw new Error('no update');
  expect(message.read.findings.length).toBe(MAX_FINDINGS);
  expect(message.read.consequence).toBe('treat-as-withdraw');
  expect(message.read.update.announced).toEqual([]);
  expect(message.read.update.withdrawn[0]?.nlri.length).toBe(60);
});
