/**
 * Which route targets a peer wants, from the RT constraint routes it has said (RFC 4684 §4): a membership counts as
 * many leading bits of origin AS and target; the origin AS is not a route's, so a route is compared with the rest.
 */
import { bytesOf, type Hex } from '../wire/bytes.ts';
import type { RtcNlri } from '../wire/nlri.ts';

const AS_BITS = 32;
const WHOLE = 96;
const TARGET_BYTES = 8;

export class Memberships {
  /** Whole targets, by how many origin ASes (and paths) ask for them. */
  readonly #whole = new Map<Hex, number>();
  /** Prefixes of targets: `bits/target`. */
  readonly #parts = new Map<string, number>();
  #all = 0;
  /** Another one with each change. */
  version = 0;

  add(nlri: RtcNlri, by: 1 | -1): void {
    this.version++;
    if (nlri.bits <= AS_BITS) this.#all += by;
    else if (nlri.bits === WHOLE) count(this.#whole, nlri.target, by);
    else count(this.#parts, `${nlri.bits - AS_BITS}/${nlri.target}`, by);
  }

  wants(targets: readonly Hex[]): boolean {
    if (this.#all > 0) return true;
    if (targets.some((target) => this.#whole.has(target))) return true;
    if (this.#parts.size === 0) return false;
    return targets.some((target) => {
      const bytes = bytesOf(target);
      return [...this.#parts.keys()].some((part) => {
        const slash = part.indexOf('/');
        return startsWith(bytes, bytesOf(part.slice(slash + 1)), Number(part.slice(0, slash)));
      });
    });
  }
}

function count(map: Map<string, number>, key: string, by: number): void {
  const left = (map.get(key) ?? 0) + by;
  if (left === 0) map.delete(key);
  else map.set(key, left);
}

function startsWith(bytes: Uint8Array, prefix: Uint8Array, bits: number): boolean {
  for (let at = 0; at < TARGET_BYTES && at * 8 < bits; at++) {
    const left = bits - at * 8;
    const mask = left >= 8 ? 0xff : (0xff00 >> left) & 0xff;
    if ((((bytes[at] as number) ^ (prefix[at] as number)) & mask) !== 0) return false;
  }
  return true;
}
