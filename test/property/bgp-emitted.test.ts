/**
 * What is never sent, whatever is said or passed on: what ends a session of a peer that is known to us. The bytes are
 * walked here by themselves, not by our reader, which would forgive what a peer does not.
 */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Attributes, WireOptions } from '../../src/bgp/wire/attributes.ts';
import { HEADER_BYTES, updateMessages } from '../../src/bgp/wire/message.ts';
import type { Tunnel } from '../../src/bgp/wire/tunnel.ts';
import { readUpdate, type Update } from '../../src/bgp/wire/update.ts';
import { announcement } from '../support/bgp-arbitrary.ts';
import { INTERNAL, messageBody } from '../support/bgp-messages.ts';

/** A list without members is an error to read; these may be empty. */
const MAY_BE_EMPTY: ReadonlySet<number> = new Set([2, 6]);
const TUNNELS = 23;
/** Carried as it came: what is in it is nobody's business but its maker's. */
const KNOWN: ReadonlySet<number> = new Set([
  ...[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 14, 15, 16, 17, 18, 22, 23, 25, 26, 32, 40],
]);

interface Attribute {
  readonly code: number;
  readonly value: Buffer;
}

function attributesOf(message: Uint8Array): Attribute[] {
  const body = Buffer.from(message.subarray(HEADER_BYTES));
  const from = 4 + body.readUInt16BE(0);
  const end = from + body.readUInt16BE(from - 2);
  const found: Attribute[] = [];
  for (let at = from; at < end; ) {
    const long = ((body[at] as number) & 0x10) !== 0;
    const code = body[at + 1] as number;
    const length = long ? body.readUInt16BE(at + 2) : (body[at + 2] as number);
    at += long ? 4 : 3;
    found.push({ code, value: body.subarray(at, at + length) });
    at += length;
    assert(at <= end);
  }
  return found;
}

function checkTunnels(value: Buffer): void {
  for (let at = 0; at < value.length; ) {
    const length = value.readUInt16BE(at + 2);
    // FRR 8.4: "not long enough to contain outer T,L", and the session is gone.
    assert(length > 0, `a tunnel of type ${value.readUInt16BE(at)} has no value`);
    at += 4 + length;
    assert(at <= value.length);
  }
}

function check(messages: readonly Uint8Array[], options: WireOptions): void {
  for (const message of messages) {
    assert(message.length <= options.maxMessage);
    const found = attributesOf(message);
    const codes = found.map(({ code }) => code);
    assert.equal(new Set(codes).size, codes.length);
    for (const { code, value } of found) {
      if (KNOWN.has(code) && !MAY_BE_EMPTY.has(code)) assert(value.length > 0, `${code} is empty`);
      if (code === TUNNELS) checkTunnels(value);
    }
  }
}

const bits = (count: number) => fc.integer({ min: 0, max: 2 ** count - 1 });
/** Of which some say nothing. */
const tunnels: fc.Arbitrary<Tunnel[]> = fc.array(
  fc.oneof(
    fc.record({ type: bits(16), others: fc.constant([]) }),
    fc.record(
      { type: bits(16), endpoint: fc.constant('next-hop' as const), udpPort: bits(16) },
      { requiredKeys: ['type'] },
    ),
  ),
  { maxLength: 4 },
);
const saysNothing = ({ endpoint, udpPort, others = [] }: Tunnel) =>
  endpoint === undefined && udpPort === undefined && others.length === 0;
const nothing: fc.Arbitrary<Attributes> = fc.record(
  {
    ...{ tunnels, communities: fc.constant([]), extendedCommunities: fc.constant([]) },
    ...{ largeCommunities: fc.constant([]), clusterList: fc.constant([]) },
  },
  { requiredKeys: [] },
);

test('no tunnel without a value, no list without a member, nothing twice', () => {
  let empty = 0;
  fc.assert(
    fc.property(announcement, nothing, (update, more) => {
      const attributes = { ...update.attributes, ...more };
      if (more.tunnels?.some(saysNothing)) empty += 1;
      for (const options of [INTERNAL, { ...INTERNAL, as4: false }]) {
        check(updateMessages({ ...update, attributes }, options), options);
      }
    }),
    { numRuns: 1000 },
  );
  expect(empty).toBeGreaterThan(50);
});

test('a tunnel without a value that came in does not go out', () => {
  const { update } = readUpdate(messageBody('vpn4-tea'), INTERNAL);
  expect(update.announced.length).toBe(1);
  const messages = updateMessages(update, INTERNAL);
  check(messages, INTERNAL);
  expect(attributesOf(messages[0] as Uint8Array).map(({ code }) => code)).not.toContain(TUNNELS);
});

test('routes of one kind a message, MP_REACH first', () => {
  fc.assert(
    fc.property(announcement, announcement, (one, other) => {
      const both: Update = { ...one, withdrawn: other.announced };
      for (const message of updateMessages(both, INTERNAL)) {
        const codes = attributesOf(message).map(({ code }) => code);
        assert(!(codes.includes(14) && codes.includes(15)));
        if (codes.includes(14)) assert.equal(codes[0], 14);
      }
    }),
    { numRuns: 200 },
  );
});
