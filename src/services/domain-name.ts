/**
 * Domain names as they are on the wire (RFC 1035 §3.1): labels with their lengths, uncompressed when written.
 * Reading follows compression pointers, backwards only and MAX_POINTERS times at most, so it always ends.
 */
import { bad } from './frame.ts';

const MAX_LABEL = 63;
const MAX_NAME = 255;
const MAX_POINTERS = 16;
const POINTER = 0xc0;

/** Without the dot at its end; '' is the root. */
export function encodeName(name: string): Uint8Array {
  const labels = name === '' ? [] : name.replace(/\.$/, '').split('.');
  const parts: number[] = [];
  for (const label of labels) {
    const bytes = Buffer.from(label, 'latin1');
    if (bytes.length === 0 || bytes.length > MAX_LABEL) bad(`a label of ${bytes.length} bytes`);
    parts.push(bytes.length, ...bytes);
  }
  parts.push(0);
  if (parts.length > MAX_NAME) bad(`a name of ${parts.length} bytes`);
  return Uint8Array.from(parts);
}

/** In lower case; `end` is where reading goes on. */
export function decodeName(
  message: Uint8Array,
  from: number,
): { readonly name: string; readonly end: number } {
  const labels: string[] = [];
  let at = from;
  let end: number | undefined;
  let length = 0;
  let pointers = 0;
  for (;;) {
    const size = message[at];
    if (size === undefined) return bad('a name is cut off');
    if (size === 0) break;
    if ((size & POINTER) === POINTER) {
      const low = message[at + 1];
      if (low === undefined) return bad('a name is cut off');
      const to = ((size & ~POINTER) << 8) | low;
      if (to >= at || ++pointers > MAX_POINTERS) bad('a name that does not end');
      end ??= at + 2;
      at = to;
      continue;
    }
    if (size > MAX_LABEL) bad(`a label of ${size} bytes`);
    const label = message.subarray(at + 1, at + 1 + size);
    if (label.length < size) bad('a name is cut off');
    length += size + 1;
    if (length >= MAX_NAME) bad('a name of more than 255 bytes');
    labels.push(Buffer.from(label).toString('latin1').toLowerCase());
    at += size + 1;
  }
  return { name: labels.join('.'), end: end ?? at + 1 };
}
