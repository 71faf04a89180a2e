/**
 * What follows from what is wrong: RFC 7606 for updates, attribute by attribute; notifications for headers, OPEN
 * and ROUTE-REFRESH (RFC 4271 §6). Bytes are written out here, our encoder has no part in them.
 */
import { describe, expect, test } from 'vitest';
import type { WireOptions } from '../../../src/bgp/wire/attributes.ts';
import { extendedHex } from '../../../src/bgp/wire/communities.ts';
import { messageLength, readMessage, updateMessages } from '../../../src/bgp/wire/message.ts';
import { NotificationError } from '../../../src/bgp/wire/notification.ts';
import { readUpdate } from '../../../src/bgp/wire/update.ts';
import { INTERNAL, messageBody } from '../../support/bgp-messages.ts';

const EXTERNAL: WireOptions = { ...INTERNAL, external: true };
const SHORT: WireOptions = { ...INTERNAL, as4: false };

const u16 = (value: number) => [value >> 8, value & 0xff];
const attribute = (flags: number, code: number, ...value: number[]) => [
  ...[flags, code, value.length],
  ...value,
];
const ORIGIN = attribute(0x40, 1, 0);
const AS_PATH = attribute(0x40, 2, 2, 1, 0, 0, 0xfd, 0xe8);
const NEXT_HOP = attribute(0x40, 3, 10, 0, 0, 1);
const GOOD = [...ORIGIN, ...AS_PATH, ...NEXT_HOP];
/** 10.1.0.0/16 */
const ROUTE = [16, 10, 1];
const ZEROS = (count: number) => new Array<number>(count).fill(0);

function body(attributes: readonly number[], routes = ROUTE, withdrawn: number[] = []): Uint8Array {
  const [w, a] = [u16(withdrawn.length), u16(attributes.length)];
  return Uint8Array.from([...w, ...withdrawn, ...a, ...attributes, ...routes]);
}

const lost = [{ family: 'ipv4-unicast', nlri: [{ prefix: '10.1.0.0/16' }] }];

describe('an update', () => {
  test('that is right', () => {
    expect(readUpdate(body(GOOD), INTERNAL)).toEqual({
      update: {
        withdrawn: [],
        announced: [{ ...lost[0], nextHop: { address: '10.0.0.1' } }],
        attributes: { origin: 'igp', asPath: [{ kind: 'sequence', asns: [65000] }] },
      },
      findings: [],
    });
  });

  const path = (...value: number[]) => [...ORIGIN, ...attribute(0x40, 2, ...value), ...NEXT_HOP];
  test.each<[string, number[], WireOptions?]>([
    ['ORIGIN of two bytes', [...attribute(0x40, 1, 0, 0), ...AS_PATH, ...NEXT_HOP]],
    ['ORIGIN 3', [...attribute(0x40, 1, 3), ...AS_PATH, ...NEXT_HOP]],
    ['ORIGIN that is optional', [...attribute(0xc0, 1, 0), ...AS_PATH, ...NEXT_HOP]],
    ['no ORIGIN', [...AS_PATH, ...NEXT_HOP]],
    ['no AS_PATH', [...ORIGIN, ...NEXT_HOP]],
    ['no NEXT_HOP', [...ORIGIN, ...AS_PATH]],
    ['AS_PATH: segment of type 9', path(9, 1, 0, 0, 0, 1)],
    ['AS_PATH: segment of no AS', path(2, 0)],
    ['AS_PATH: segment cut off', path(2, 2, 0, 0, 0, 1)],
    ['AS_PATH: one byte left', path(2, 1, 0, 0, 0, 1, 2)],
    ['AS_PATH: AS 0', path(2, 1, 0, 0, 0, 0)],
    ['AS_PATH: confederation from outside', path(3, 1, 0, 0, 0, 1), EXTERNAL],
    ['NEXT_HOP of three bytes', [...ORIGIN, ...AS_PATH, ...attribute(0x40, 3, 10, 0, 0)]],
    ['NEXT_HOP 224.0.0.1', [...ORIGIN, ...AS_PATH, ...attribute(0x40, 3, 224, 0, 0, 1)]],
    ['MULTI_EXIT_DISC of three bytes', [...GOOD, ...attribute(0x80, 4, 0, 0, 1)]],
    ['LOCAL_PREF of five bytes', [...GOOD, ...attribute(0x40, 5, ...ZEROS(5))]],
    ['COMMUNITIES of six bytes', [...GOOD, ...attribute(0xc0, 8, ...ZEROS(6))]],
    ['COMMUNITIES of none', [...GOOD, ...attribute(0xc0, 8)]],
    ['ORIGINATOR_ID of five bytes', [...GOOD, ...attribute(0x80, 9, ...ZEROS(5))]],
    ['CLUSTER_LIST of none', [...GOOD, ...attribute(0x80, 10)]],
    ['extended communities of twelve bytes', [...GOOD, ...attribute(0xc0, 16, ...ZEROS(12))]],
    ['IPv6 communities of nineteen bytes', [...GOOD, ...attribute(0xc0, 25, ...ZEROS(19))]],
    ['large communities of eleven bytes', [...GOOD, ...attribute(0xc0, 32, ...ZEROS(11))]],
    ['PMSI tunnel without an id', [...GOOD, ...attribute(0xc0, 22, 0, 6, 0, 0, 1)]],
    ['a tunnel TLV that is cut off', [...GOOD, ...attribute(0xc0, 23, 0, 13, 0, 9, 6)]],
    ['a tunnel sub-TLV that is cut off', [...GOOD, ...attribute(0xc0, 23, 0, 13, 0, 2, 6, 9)]],
    ['an attribute longer than the rest', [...GOOD, 0xc0, 8, 8, 0, 0, 0, 1]],
    ['two bytes that are no attribute', [...GOOD, 0xc0, 8]],
  ])('%s: its routes are treated as withdrawn', (_, attributes, options = INTERNAL) => {
    const read = readUpdate(body(attributes), options);
    expect(read.consequence).toBe('treat-as-withdraw');
    expect(read.update).toEqual({ withdrawn: lost, announced: [], attributes: {} });
  });

  test.each<[string, number[], WireOptions?]>([
    ['ATOMIC_AGGREGATE of one byte', attribute(0x40, 6, 0)],
    ['AGGREGATOR of six bytes', attribute(0xc0, 7, ...ZEROS(6))],
    ['AGGREGATOR of AS 0', attribute(0xc0, 7, 0, 0, 0, 0, 10, 0, 0, 1)],
    ['LOCAL_PREF from outside', attribute(0x40, 5, 0, 0, 0, 1), EXTERNAL],
    ['ORIGINATOR_ID from outside', attribute(0x80, 9, 10, 0, 0, 1), EXTERNAL],
    ['CLUSTER_LIST from outside', attribute(0x80, 10, 10, 0, 0, 1), EXTERNAL],
    ['AS4_PATH from one who has four bytes', attribute(0xc0, 17, 2, 1, 0, 1, 0, 0)],
    ['AS4_PATH that is cut off', attribute(0xc0, 17, 2, 2, 0, 1, 0, 0), SHORT],
    ['AS4_AGGREGATOR of six bytes', attribute(0xc0, 18, ...ZEROS(6)), SHORT],
    ['tunnels without a value', attribute(0xc0, 23, 0, 13, 0, 0)],
    ['tunnels that are not transitive', attribute(0x80, 23, 0, 13, 0, 2, 200, 0, 0)],
    ['AIGP without a metric', attribute(0x80, 26, 2, 0, 3)],
    ['prefix SID of no bytes', attribute(0xc0, 40)],
    ['a second ORIGIN', attribute(0x40, 1, 2)],
  ])('%s: that attribute is discarded', (_, attributes, options = INTERNAL) => {
    const short = options === SHORT ? attribute(0x40, 2, 2, 1, 0xfd, 0xe8) : AS_PATH;
    const read = readUpdate(body([...ORIGIN, ...short, ...NEXT_HOP, ...attributes]), options);
    expect(read.consequence).toBe('attribute-discard');
    expect(read.update.announced).toEqual([{ ...lost[0], nextHop: { address: '10.0.0.1' } }]);
    expect(Object.keys(read.update.attributes)).toEqual(['origin', 'asPath']);
    expect(read.update.attributes.origin).toBe('igp');
  });

  const mp = (code: number, ...value: number[]) => attribute(0x80, code, ...value);
  test.each<[string, number[], string]>([
    ['next hop of five bytes', mp(14, 0, 25, 70, 5, ...ZEROS(6)), 'evpn'],
    ['next hop cut off', mp(14, 0, 25, 70, 9, 1), 'evpn'],
    ['prefix of 129 bits', mp(14, 0, 2, 1, 16, ...ZEROS(17), 129, ...ZEROS(17)), 'ipv6-unicast'],
    ['prefix cut off', mp(15, 0, 2, 1, 64, 0, 1), 'ipv6-unicast'],
    ['VPN route of 80 bits', mp(15, 0, 1, 128, 80, ...ZEROS(10)), 'vpnv4'],
    ['VPN prefix of 40 bits', mp(15, 0, 1, 128, 128, ...ZEROS(16)), 'vpnv4'],
    ['EVPN type 2 of 30 bytes', mp(15, 0, 25, 70, 2, 30, ...ZEROS(30)), 'evpn'],
    ['EVPN type 3 with an address of 33 bits', mp(15, 0, 25, 70, 3, 13, ...ZEROS(12), 33), 'evpn'],
    ['EVPN type 5 of 35 bytes', mp(15, 0, 25, 70, 5, 35, ...ZEROS(35)), 'evpn'],
    ['membership of 31 bits', mp(15, 0, 1, 132, 31, 0, 0, 0, 0), 'rtc'],
    ['a family that nobody knows', mp(14, 0, 99, 9, 4, ...ZEROS(5)), '99/9'],
  ])('%s: no more of that family', (_, attributes, family) => {
    const read = readUpdate(body([...GOOD, ...attributes]), INTERNAL);
    expect(read.findings).toMatchObject([{ consequence: 'afi-safi-disable', family }]);
    // The routes of the other family stand.
    expect(read.update.announced).toEqual([{ ...lost[0], nextHop: { address: '10.0.0.1' } }]);
  });

  test('a family that was not agreed on', () => {
    const options = { ...INTERNAL, families: new Set(['vpnv4'] as const) };
    const read = readUpdate(messageBody('t3'), options);
    expect(read.findings).toMatchObject([{ consequence: 'afi-safi-disable', family: 'evpn' }]);
    expect(read.update.announced).toEqual([]);
  });

  const END = mp(15, 0, 25, 70);
  test.each<[string, Uint8Array, number]>([
    ['withdrawn routes longer than the message', Uint8Array.of(0, 9, 0, 0), 1],
    ['attributes longer than the message', Uint8Array.of(0, 0, 0, 9), 1],
    ['a prefix of 33 bits', body(GOOD, [33, 1, 2, 3, 4, 5]), 10],
    ['a prefix that is cut off', body(GOOD, [24, 1, 2]), 10],
    ['a withdrawn prefix of 33 bits', body([], [], [33, 1, 2, 3, 4, 5]), 10],
    ['MP_UNREACH_NLRI twice', body([...END, ...END], []), 1],
    ['MP_UNREACH_NLRI of two bytes', body(mp(15, 0, 25), []), 9],
    ['MP_UNREACH_NLRI that is transitive', body(attribute(0xc0, 15, 0, 25, 70), []), 4],
    ['an attribute that should be well known', body([...GOOD, ...attribute(0x40, 99, 1)]), 2],
    ['attributes in error and no routes', body([...GOOD, ...attribute(0xc0, 8, 1)], []), 1],
  ])('%s: the session is reset', (_, bytes, subcode) => {
    const read = readUpdate(bytes, INTERNAL);
    expect(read.consequence).toBe('session-reset');
    expect(read.notification).toMatchObject({ code: 3, subcode });
    expect(read.update).toEqual({ withdrawn: [], announced: [], attributes: {} });
  });

  test('a prefix route that has two overlay indices, or nothing to go by, beside a good one', () => {
    const route = (esi: number, gateway: number, label: number) => [
      ...[5, 34, 0, 0, 0, 1, 0, 0, 0, 1, esi, ...ZEROS(9), ...ZEROS(4), 8, 10, 0, 0, 0],
      ...[gateway, 0, 0, 0, 0, 0, label],
    ];
    const routes = [...route(0, 0, 7), ...route(1, 10, 7), ...route(0, 0, 0)];
    const value = [0, 25, 70, 4, 10, 0, 0, 1, 0, ...routes];
    const read = readUpdate(body([...ORIGIN, ...AS_PATH, ...mp(14, ...value)], []), INTERNAL);
    expect(read.consequence).toBe('treat-as-withdraw');
    expect(read.update.announced[0]?.nlri).toMatchObject([{ label: 7 }]);
    expect(read.update.withdrawn[0]?.nlri).toMatchObject([{ gateway: '10.0.0.0' }, { label: 0 }]);
  });
});

describe('what is kept', () => {
  const attributesOf = (...more: number[]) =>
    readUpdate(body([...GOOD, ...more]), INTERNAL).update.attributes;

  test('an optional transitive attribute nobody knows; a non-transitive one is not', () => {
    expect(attributesOf(...attribute(0xc0, 99, 1, 2)).unknown).toEqual([
      { code: 99, value: '0102' },
    ]);
    expect(attributesOf(...attribute(0x80, 99, 1, 2)).unknown).toBeUndefined();
  });

  test('and goes on marked as not known by everyone, as what came so marked does', () => {
    const more = [...attribute(0xc0, 99, 1, 2), ...attribute(0xe0, 8, 0, 0, 0, 1)];
    const { update } = readUpdate(body([...GOOD, ...more]), INTERNAL);
    const [message] = updateMessages(update, INTERNAL);
    const hex = Buffer.from(message as Uint8Array).toString('hex');
    expect(hex).toContain('e063020102');
    expect(hex).toContain('e0080400000001');
  });

  test('that somebody did not know an attribute which we know', () => {
    const { partial, communities } = attributesOf(...attribute(0xe0, 8, 0, 0, 0, 1));
    expect({ partial, communities }).toEqual({ partial: [8], communities: [1] });
  });

  test('bits of a community that we do not read, until it says something else', () => {
    const bytes = [6, 0, 0x81, 7, 0, 0, 0, 3];
    const { extendedCommunities } = attributesOf(...attribute(0xc0, 16, ...bytes));
    const [community] = extendedCommunities ?? [];
    expect(community).toMatchObject({ kind: 'mac-mobility', sticky: true, sequence: 3 });
    if (community?.kind !== 'mac-mobility') throw new Error('not read');
    expect(extendedHex(community)).toBe('0600810700000003');
    expect(extendedHex({ ...community, sequence: 4 })).toBe('0600010000000004');
  });

  test('an EVPN route of a type nobody knows', () => {
    const value = [0, 25, 70, 4, 10, 0, 0, 1, 0, 9, 2, 0xaa, 0xbb];
    const bytes = body([...ORIGIN, ...AS_PATH, ...attribute(0x80, 14, ...value)], []);
    const { update, findings } = readUpdate(bytes, INTERNAL);
    expect(findings).toEqual([]);
    expect(update.announced[0]?.nlri).toEqual([{ type: 'unknown', code: 9, body: 'aabb' }]);
  });
});

describe('the end of a table', () => {
  test('of IPv4 is an update of nothing', () => {
    expect(readUpdate(Uint8Array.of(0, 0, 0, 0), INTERNAL).update.endOfRib).toBe('ipv4-unicast');
  });
  test('of others is a withdrawal of nothing', () => {
    const bytes = body(attribute(0x80, 15, 0, 25, 70), []);
    expect(readUpdate(bytes, INTERNAL).update.endOfRib).toBe('evpn');
  });
});

describe('long AS numbers by way of one who has short ones', () => {
  const sequence = (code: number, flags: number, wide: boolean, ...asns: number[]) =>
    attribute(
      ...[flags, code, 2, asns.length],
      ...asns.flatMap((as) => (wide ? [...u16(as >>> 16), ...u16(as & 0xffff)] : u16(as))),
    );
  const pathOf = (...attributes: number[]) =>
    readUpdate(body([...ORIGIN, ...NEXT_HOP, ...attributes]), SHORT).update.attributes.asPath;

  test('what he put in front, then the path as it was', () => {
    const path = pathOf(
      ...sequence(2, 0x40, false, 100, 23456, 200),
      ...sequence(17, 0xc0, true, 4_200_000_000, 200),
    );
    expect(path).toEqual([{ kind: 'sequence', asns: [100, 4_200_000_000, 200] }]);
  });

  test('a long path that is longer than the short one is not believed', () => {
    const path = pathOf(...sequence(2, 0x40, false, 100), ...sequence(17, 0xc0, true, 1, 2));
    expect(path).toEqual([{ kind: 'sequence', asns: [100] }]);
  });

  test('nor anything beside an aggregator who has a short number', () => {
    const path = pathOf(
      ...sequence(2, 0x40, false, 100, 23456),
      ...attribute(0xc0, 7, ...u16(100), 10, 0, 0, 1),
      ...sequence(17, 0xc0, true, 4_200_000_000),
      ...attribute(0xc0, 18, 0, 1, 0, 0, 10, 0, 0, 1),
    );
    expect(path).toEqual([{ kind: 'sequence', asns: [100, 23456] }]);
  });
});

function notificationOf(bytes: readonly number[]): unknown {
  try {
    const whole = Uint8Array.from(bytes);
    const length = messageLength(whole, INTERNAL.maxMessage);
    if (length !== undefined) readMessage(whole, INTERNAL);
  } catch (error) {
    if (error instanceof NotificationError) return error.notification;
    throw error;
  }
  return undefined;
}

const header = (type: number, length: number) => [
  ...new Array(16).fill(0xff),
  ...u16(length),
  type,
];
const whole = (type: number, ...bytes: number[]) => [...header(type, 19 + bytes.length), ...bytes];

describe('a header', () => {
  test.each<[string, number[], object | undefined]>([
    ['not all there', header(4, 19).slice(0, 18), undefined],
    ['without marker', [0, ...header(4, 19).slice(1)], { code: 1, subcode: 1, data: '' }],
    ['of 18 bytes', header(4, 18), { code: 1, subcode: 2, data: '0012' }],
    ['longer than agreed on', header(2, 4097), { code: 1, subcode: 2, data: '1001' }],
    ['KEEPALIVE of 20 bytes', header(4, 20), { code: 1, subcode: 2, data: '0014' }],
    ['UPDATE of 22 bytes', header(2, 22), { code: 1, subcode: 2, data: '0016' }],
    ['type 6', header(6, 19), { code: 1, subcode: 3, data: '06' }],
  ])('%s', (_, bytes, expected) => {
    expect(notificationOf(bytes)).toEqual(expected);
  });

  test('long messages where they were agreed on, OPEN never', () => {
    expect(messageLength(Uint8Array.from(header(2, 65_535)), 65_535)).toBe(65_535);
    expect(() => messageLength(Uint8Array.from(header(1, 4097)), 65_535)).toThrow('(1/2)');
  });
});

describe('an OPEN', () => {
  const open = (
    fields: { version?: number; as?: number; hold?: number; id?: number[] },
    ...parameters: number[]
  ) => {
    const { version = 4, as = 65000, hold = 90, id = [10, 0, 0, 1] } = fields;
    const fixed = [version, ...u16(as), ...u16(hold), ...id, parameters.length];
    return whole(1, ...fixed, ...parameters);
  };
  test.each<[string, number[], number | undefined, string?]>([
    ['that is right', open({}), undefined],
    ['version 3', open({ version: 3 }), 1, '0004'],
    ['AS 0', open({ as: 0 }), 2],
    ['AS 0 of four bytes', open({}, 2, 6, 65, 4, 0, 0, 0, 0), 2],
    ['identifier 0.0.0.0', open({ id: [0, 0, 0, 0] }), 3],
    ['a parameter that is no capability', open({}, 1, 2, 0, 0), 4],
    ['hold time 2', open({ hold: 2 }), 6],
    ['a capability that is cut off', open({}, 2, 3, 65, 4, 0), 0],
    ['four-byte AS of three bytes', open({}, 2, 5, 65, 3, 0, 0, 1), 0],
    ['multiprotocol of three bytes', open({}, 2, 5, 1, 3, 0, 1, 0), 0],
    ['a restart capability of one byte is kept unread', open({}, 2, 3, 64, 1, 0), undefined],
    ['bytes behind the parameters', [...open({}).slice(0, 16), 0, 30, ...open({}).slice(18), 0], 0],
  ])('%s', (_, bytes, subcode, data = '') => {
    const expected = subcode === undefined ? undefined : { code: 2, subcode, data };
    expect(notificationOf(bytes)).toEqual(expected);
  });
});

test('an enhanced refresh of another length; a plain one may have filters', () => {
  expect(notificationOf(whole(5, 0, 1, 1, 128, 0))).toMatchObject({ code: 7, subcode: 1 });
  expect(notificationOf(whole(5, 0, 1, 0, 128, 0))).toBeUndefined();
});
