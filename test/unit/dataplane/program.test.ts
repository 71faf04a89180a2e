import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Op } from '../../../src/dataplane/api.ts';
import { layout } from '../../../src/dataplane/layout.ts';
import {
  decodeOps,
  decodeProgram,
  encodeProgram,
  programOf,
} from '../../../src/dataplane/program.ts';
import { VRouterError } from '../../../src/errors.ts';
import { arbitraryOp, naiveEncode } from './arbitrary.ts';

function problemOf(run: () => unknown): VRouterError {
  try {
    run();
  } catch (error) {
    if (error instanceof VRouterError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

const arbitraryProgram = fc.array(arbitraryOp, { maxLength: 8 });

describe('encodeProgram', () => {
  it('writes the bytes of program.h: magic, count, then code, zero, length and body of each op', () => {
    const bytes = encodeProgram([{ op: 'label_set', label: 0x12345, nextHop: 7 }]);
    expect(Buffer.from(bytes).toString('hex')).toBe(
      ['56525031', '01000000', '3400', '0000', '08000000', '45230100', '07000000'].join(''),
    );
  });

  it('writes addresses as family and 16 bytes, prefixes with their length between', () => {
    const bytes = encodeProgram([
      { op: 'route_delete', vrf: 1, prefix: '10.32.0.0/12' },
      { op: 'route_delete', vrf: 2, prefix: 'fd00::/8' },
    ]);
    expect(Buffer.from(bytes.subarray(8)).toString('hex')).toBe(
      ['3100', '0000', '16000000', '01000000', '04', '0c', '0a200000', '00'.repeat(12)].join('') +
        ['3100', '0000', '16000000', '02000000', '06', '08', 'fd', '00'.repeat(15)].join(''),
    );
  });

  it('says the same as the naive encoder', () => {
    fc.assert(
      fc.property(arbitraryProgram, (ops) => {
        expect(Buffer.from(encodeProgram(ops))).toEqual(Buffer.from(naiveEncode(ops)));
      }),
      { numRuns: 500 },
    );
  });

  it('is undone by decodeProgram', () => {
    fc.assert(
      fc.property(arbitraryProgram, (ops) => {
        expect(decodeProgram(encodeProgram(ops))).toEqual(ops);
      }),
      { numRuns: 500 },
    );
  });

  it('fills in what may be left out', () => {
    const [route, ecmp, policy, vif] = decodeProgram(
      encodeProgram([
        { op: 'route_set', vrf: 1, prefix: '0.0.0.0/0', nextHop: 9 },
        { op: 'nh_ecmp_set', nextHop: 9, vrf: 1, members: [{ member: 1, nextHop: 2 }] },
        { op: 'policy_set', policy: 1, rules: [{ action: 1 }] },
        { op: 'vif_set', vif: 1, type: 3, vrf: 1, mac: '00:00:5e:00:01:00' },
      ]),
    );
    expect(route).toMatchObject({ label: 0xfffff, flags: 0, hashFields: 0, mac: '' });
    expect(ecmp).toMatchObject({ members: [{ label: 0xfffff, weight: 1 }], hashFields: 0 });
    expect(policy).toMatchObject({
      name: '',
      rules: [
        {
          protocol: 0,
          source: '',
          sourcePortLow: 0,
          sourcePortHigh: 65535,
          destination: '',
          destinationPortLow: 0,
          destinationPortHigh: 65535,
        },
      ],
    });
    expect(vif).toMatchObject({ port: 0xffffffff, mtu: 1500, gateway6: '', networkPolicies: [] });
  });

  it.each<[string, unknown, string, string]>([
    ['a field that is missing', { op: 'label_set', label: 1 }, 'next_hop', 'is missing'],
    ['a number as text', { op: 'label_set', label: '1', nextHop: 0 }, 'label', '"1"'],
    ['a fraction', { op: 'label_set', label: 1.5, nextHop: 0 }, 'label', '1.5'],
    ['a negative number', { op: 'label_set', label: -1, nextHop: 0 }, 'label', '-1'],
    ['not a number', { op: 'label_set', label: Number.NaN, nextHop: 0 }, 'label', 'NaN'],
    ['33 bits', { op: 'label_set', label: 2 ** 32, nextHop: 0 }, 'label', '4294967296'],
    ['a field there is not', { op: 'vrf_delete', vrf: 1, vfr: 2 }, 'vfr', 'no such field'],
    [
      'bits behind a prefix',
      { op: 'route_delete', vrf: 1, prefix: '10.0.0.1/8' },
      'prefix',
      '10.0.0.0/8',
    ],
    ['a bad MAC', { op: 'mac_delete', vrf: 1, mac: '02:00' }, 'mac', '02:00'],
    ['a name too long', { op: 'vrf_set', vrf: 1, name: 'n'.repeat(129) }, 'name', '128'],
    ['no list', { op: 'nh_ecmp_set', nextHop: 1, vrf: 1, members: 7 }, 'members', '7'],
    [
      'a field of an element',
      {
        op: 'nh_ecmp_set',
        nextHop: 1,
        vrf: 1,
        members: [
          { member: 1, nextHop: 1 },
          { member: 70000, nextHop: 1 },
        ],
      },
      'members[1].member',
      '70000',
    ],
    [
      'an address of an element',
      { op: 'policy_set', policy: 1, rules: [{ action: 1, source: '10.0.0.0' }] },
      'rules[0].source',
      '10.0.0.0',
    ],
  ])('refuses %s by op index, op and field', (_, op, field, said) => {
    const error = problemOf(() => encodeProgram([{ op: 'vrf_delete', vrf: 1 }, op as Op]));
    expect(error).toMatchObject({ code: 'BAD_VALUE', opIndex: 1, field });
    expect(error.message).toContain(`op 1 (${(op as Op).op}): ${field}: `);
    expect(error.message).toContain(said);
  });

  it.each([{ op: 'route_sett' }, {}, null, { op: 'toString' }])(
    'refuses the unknown op %j',
    (op) => {
      const error = problemOf(() => encodeProgram([op as unknown as Op]));
      expect(error).toMatchObject({ code: 'UNKNOWN_OP', opIndex: 0 });
    },
  );
});

describe('decodeProgram', () => {
  const good = encodeProgram([
    { op: 'vrf_set', vrf: 1, name: 'red' },
    { op: 'nh_ecmp_set', nextHop: 1, vrf: 1, members: [{ member: 1, nextHop: 2 }] },
  ]);

  it('refuses every proper prefix of a program', () => {
    for (let length = 0; length < good.length; length++) {
      const error = problemOf(() => decodeProgram(good.subarray(0, length)));
      expect(error.code, `${length} bytes`).toBe('TRUNCATED');
    }
  });

  it('refuses bytes behind the last op, an unknown code, a length that does not fit, another magic', () => {
    const changed = (at: number, value: number) => {
      const bytes = Uint8Array.from(good);
      bytes[at] = value;
      return bytes;
    };
    const codeOf = (bytes: Uint8Array) => problemOf(() => decodeProgram(bytes)).code;
    expect(codeOf(Uint8Array.from([...good, 0]))).toBe('BAD_LENGTH');
    expect(codeOf(changed(8, 0xfe))).toBe('UNKNOWN_OP');
    expect(codeOf(changed(0, 0x58))).toBe('BAD_MAGIC');
    // One byte more than vrf_set has: its last field is not its end.
    const longer = Uint8Array.from([...good.subarray(0, 8), ...good.subarray(8)]);
    longer[12] = longer[12]! + 1;
    expect(codeOf(longer)).toBe('BAD_LENGTH');
  });

  it('never throws anything but VRouterError on arbitrary bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(), (bytes, seed) => {
        const mutated = Uint8Array.from(good);
        bytes.forEach((byte, i) => {
          mutated[(seed + i * 31) % mutated.length] = byte;
        });
        for (const input of [bytes, mutated]) {
          try {
            decodeProgram(input);
          } catch (error) {
            expect(error).toBeInstanceOf(VRouterError);
          }
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe('programOf', () => {
  it('joins encoded ops to the Program that has them all', () => {
    fc.assert(
      fc.property(arbitraryProgram, arbitraryProgram, (first, second) => {
        const parts = [first, second].map((ops) => encodeProgram(ops).slice(8));
        expect(programOf(parts)).toEqual(encodeProgram([...first, ...second]));
        expect(decodeOps(parts[0]!)).toEqual(first);
      }),
      { numRuns: 50 },
    );
  });
});

describe('layout.ts', () => {
  it('gives every op a code of its own', () => {
    const ops = Object.values(layout.ops);
    expect(new Set(ops.map((op) => op.code)).size).toBe(ops.length);
    expect(ops.length).toBeGreaterThan(25);
  });
});
