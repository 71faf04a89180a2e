/** The Internet checksum (RFC 1071), big-endian, over parts of even length but for the last. Pure. */

/** Ones' complement sum, not yet folded: those of parts can be added. */
export function sum(bytes: Uint8Array, before = 0): number {
  let total = before;
  for (let i = 0; i + 1 < bytes.length; i += 2)
    total += ((bytes[i] as number) << 8) | (bytes[i + 1] as number);
  if (bytes.length % 2 === 1) total += (bytes[bytes.length - 1] as number) << 8;
  return total;
}

/** 16 bits, complemented: as it stands in a header. */
export function folded(total: number): number {
  let left = total;
  while (left > 0xffff) left = (left & 0xffff) + Math.floor(left / 0x10000);
  return ~left & 0xffff;
}

export function checksum(...parts: readonly Uint8Array[]): number {
  return folded(parts.reduce((total, part) => sum(part, total), 0));
}
