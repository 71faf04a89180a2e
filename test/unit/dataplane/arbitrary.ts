/** Arbitrary ops of every kind, every field given, drawn from layout.ts; and a second encoder to compare with. */
import fc from 'fast-check';
import type { FullOp } from '../../../src/dataplane/api.ts';
import { layout } from '../../../src/dataplane/layout.ts';
import { ipBytes, macBytes } from '../../support/packet.ts';

export interface FieldLike {
  readonly name: string;
  readonly type?: string;
  readonly list?: string;
}

export function camel(name: string): string {
  const [first = '', ...rest] = name.split('_');
  return first + rest.map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join('');
}

const octets = fc.uint8Array({ minLength: 4, maxLength: 4 });
const ipv4 = octets.map((bytes) => bytes.join('.'));
/** Canonical already (RFC 5952): one run of zeros at most, in the middle. */
const ipv6 = fc
  .tuple(fc.integer({ min: 0x100, max: 0xffff }), fc.integer({ min: 1, max: 0xffff }))
  .map(([a, b]) => `2001:db8:${a.toString(16)}::${b.toString(16)}`);
const mac = fc
  .uint8Array({ minLength: 6, maxLength: 6 })
  .filter((bytes) => bytes.some((b) => b !== 0))
  .map((bytes) => Array.from(bytes, (b) => b.toString(16).padStart(2, '0')).join(':'));

function arbitraryField(field: FieldLike): fc.Arbitrary<unknown> {
  if (field.list !== undefined) {
    const struct = layout.structs[field.list as keyof typeof layout.structs];
    return fc.array(arbitraryFields(struct.fields), { maxLength: 4 });
  }
  switch (field.type) {
    case 'u8':
      return fc.integer({ min: 0, max: 0xff });
    case 'u16':
      return fc.integer({ min: 0, max: 0xffff });
    case 'u32':
      return fc.integer({ min: 0, max: 0xffffffff });
    case 'u64':
      return fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
    case 'mac':
      return fc.oneof(mac, fc.constant(''));
    case 'address':
      return fc.oneof(ipv4, ipv6, fc.constant(''));
    case 'prefix':
      return fc.oneof(
        ipv4.map((address) => `${address}/32`),
        ipv6.map((address) => `${address}/128`),
        fc.constantFrom('', '0.0.0.0/0', '::/0', '10.32.0.0/12', 'fd00::/8'),
      );
    case 'name':
      return fc.string({ unit: 'grapheme', maxLength: 20 });
    default:
      throw new Error(`no arbitrary for ${field.name}`);
  }
}

function arbitraryFields(fields: readonly FieldLike[]): fc.Arbitrary<Record<string, unknown>> {
  return fc.record(Object.fromEntries(fields.map((f) => [camel(f.name), arbitraryField(f)])));
}

export const arbitraryOp: fc.Arbitrary<FullOp> = fc.oneof(
  ...Object.entries(layout.ops).map(([name, op]) =>
    arbitraryFields(op.fields).map((bag) => ({ op: name, ...bag }) as unknown as FullOp),
  ),
);

// --- the naive twin: one number at a time through a DataView, no buffers kept ------------------------

function number(size: 1 | 2 | 4, value: number): number[] {
  const view = new DataView(new ArrayBuffer(4));
  view.setUint32(0, value, true);
  return [...new Uint8Array(view.buffer, 0, size)];
}

function address(text: string): number[] {
  if (text === '') return new Array<number>(17).fill(0);
  const bytes = [...ipBytes(text)];
  const family = bytes.length === 4 ? 4 : 6;
  return [family, ...bytes, ...new Array<number>(16 - bytes.length).fill(0)];
}

function naiveField(field: FieldLike, value: unknown): number[] {
  if (field.list !== undefined) {
    const struct = layout.structs[field.list as keyof typeof layout.structs];
    const elements = value as Record<string, unknown>[];
    return [
      ...number(4, elements.length),
      ...elements.flatMap((e) => naiveFields(struct.fields, e)),
    ];
  }
  switch (field.type) {
    case 'u8':
      return number(1, value as number);
    case 'u16':
      return number(2, value as number);
    case 'u32':
      return number(4, value as number);
    case 'mac':
      return value === '' ? [0, 0, 0, 0, 0, 0] : [...macBytes(value as string)];
    case 'address':
      return address(value as string);
    case 'prefix': {
      const [host = '', length = '0'] = (value as string).split('/');
      const [family = 0, ...bytes] = address(host);
      return [family, Number(length), ...bytes];
    }
    case 'name': {
      const bytes = [...new TextEncoder().encode(value as string)];
      return [...number(2, bytes.length), ...bytes];
    }
    default:
      throw new Error(`no encoding for ${field.name}`);
  }
}

function naiveFields(fields: readonly FieldLike[], bag: Record<string, unknown>): number[] {
  return fields.flatMap((field) => naiveField(field, bag[camel(field.name)]));
}

export function naiveEncode(ops: readonly FullOp[]): Uint8Array {
  const bodies = ops.flatMap((op) => {
    const { code, fields } = layout.ops[op.op];
    const body = naiveFields(fields, op as unknown as Record<string, unknown>);
    return [...number(2, code), 0, 0, ...number(4, body.length), ...body];
  });
  return Uint8Array.from([
    ...new TextEncoder().encode('VRP1'),
    ...number(4, ops.length),
    ...bodies,
  ]);
}
