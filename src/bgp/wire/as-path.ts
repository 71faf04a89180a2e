/**
 * AS_PATH (RFC 4271 §4.3, RFC 5065) with AS numbers of two or four bytes (RFC 6793): who cannot carry four is
 * sent AS_TRANS in their place and the whole path beside it in AS4_PATH.
 */
import type { NetReader, NetWriter } from './bytes.ts';
import { Malformed } from './finding.ts';

export const SEGMENTS = { set: 1, sequence: 2, confedSequence: 3, confedSet: 4 } as const;
export type SegmentKind = keyof typeof SEGMENTS;

export interface AsSegment {
  readonly kind: SegmentKind;
  readonly asns: readonly number[];
}
export type AsPath = readonly AsSegment[];

export const AS_TRANS = 23456;
export const MAX_AS16 = 0xffff;
/** Its count has one byte. */
const MAX_SEGMENT = 255;

const KINDS = new Map<number, SegmentKind>(
  (Object.keys(SEGMENTS) as SegmentKind[]).map((kind): [number, SegmentKind] => [
    SEGMENTS[kind],
    kind,
  ]),
);

const isConfed = (kind: SegmentKind): boolean => kind === 'confedSequence' || kind === 'confedSet';

export function readAsPath(reader: NetReader, as4: boolean): AsPath {
  const path: AsSegment[] = [];
  while (reader.left > 0) {
    const code = reader.u8('segment type');
    const kind = KINDS.get(code);
    if (kind === undefined) throw new Malformed(`AS path segment of type ${code}`);
    const count = reader.u8('segment length');
    if (count === 0) throw new Malformed('an AS path segment has no AS');
    const segment = reader.part(count * (as4 ? 4 : 2), 'AS path segment');
    const asns: number[] = [];
    while (segment.left > 0) asns.push(as4 ? segment.u32('AS') : segment.u16('AS'));
    // RFC 7607.
    if (asns.includes(0)) throw new Malformed('AS 0 is in the path');
    path.push({ kind, asns });
  }
  return path;
}

/** Sequences longer than a segment become several; a set cannot. */
export function writeAsPath(writer: NetWriter, path: AsPath, as4: boolean): void {
  for (const { kind, asns } of path) {
    if (asns.length > MAX_SEGMENT && (kind === 'set' || kind === 'confedSet')) {
      throw new RangeError(`an AS set of ${asns.length} members`);
    }
    for (let at = 0; at < asns.length; at += MAX_SEGMENT) {
      const part = asns.slice(at, at + MAX_SEGMENT);
      writer.u8(SEGMENTS[kind]);
      writer.u8(part.length);
      for (const as of part) {
        if (as4) writer.u32(as);
        else writer.u16(as > MAX_AS16 ? AS_TRANS : as);
      }
    }
  }
}

export function needsAs4(path: AsPath): boolean {
  return path.some(({ asns }) => asns.some((as) => as > MAX_AS16));
}

/** What goes into AS4_PATH: confederations stay out of it (RFC 6793 §4.2.2). */
export function withoutConfeds(path: AsPath): AsPath {
  return path.filter(({ kind }) => !isConfed(kind));
}

export function hasConfeds(path: AsPath): boolean {
  return path.some(({ kind }) => isConfed(kind));
}

/** As best path counts: a set is one, confederations are none. */
export function pathLength(path: AsPath): number {
  return path.reduce(
    (sum, { kind, asns }) => sum + (isConfed(kind) ? 0 : kind === 'set' ? 1 : asns.length),
    0,
  );
}

/** RFC 6793 §4.2.3: the front of AS_PATH, as far as AS4_PATH is shorter, then AS4_PATH. */
export function mergeAs4Path(path: AsPath, as4Path: AsPath): AsPath {
  const tail = withoutConfeds(as4Path);
  let missing = pathLength(path) - pathLength(tail);
  if (missing < 0) return path;
  const head: AsSegment[] = [];
  for (const segment of path) {
    const counted = pathLength([segment]);
    if (isConfed(segment.kind)) {
      head.push(segment);
      continue;
    }
    if (missing === 0) break;
    if (counted <= missing) head.push(segment);
    else head.push({ kind: segment.kind, asns: segment.asns.slice(0, missing) });
    missing -= Math.min(counted, missing);
  }
  const [last, first] = [head.at(-1), tail[0]];
  // One sequence again, where it was one before an old speaker split it.
  if (last?.kind === 'sequence' && first?.kind === 'sequence') {
    const joined = { kind: 'sequence' as const, asns: [...last.asns, ...first.asns] };
    return [...head.slice(0, -1), joined, ...tail.slice(1)];
  }
  return [...head, ...tail];
}
