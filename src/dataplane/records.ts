/**
 * Records: fixed-size structs of the core read in place from bytes, by the offsets in layout.ts.
 */
import { formatIp } from '../addr/ip.ts';

interface RecordLayout {
  readonly size: number;
  readonly fields: readonly { readonly name: string; readonly offset: number }[];
}

/** Offset of each field, by name: looked up once, when a module is loaded. */
export function offsetsOf<L extends RecordLayout>(
  record: L,
): Readonly<Record<L['fields'][number]['name'], number>> {
  const entries = record.fields.map((field) => [field.name, field.offset]);
  return Object.fromEntries(entries) as Record<L['fields'][number]['name'], number>;
}

/** The address in a 16-byte field; '' for family 0. */
export function addressAt(bytes: Uint8Array, at: number, family: number): string {
  if (family === 4) return formatIp(4, bytes.subarray(at, at + 4));
  if (family === 6) return formatIp(6, bytes.subarray(at, at + 16));
  return '';
}

export const ACTIONS = ['D', 'H', 'F', 'N'] as const;

/** One record after the other. */
export function* records(
  bytes: Uint8Array,
  size: number,
): Generator<{ bytes: Uint8Array; view: DataView }> {
  for (let at = 0; at + size <= bytes.length; at += size) {
    const record = bytes.subarray(at, at + size);
    yield { bytes: record, view: new DataView(bytes.buffer, bytes.byteOffset + at, size) };
  }
}
