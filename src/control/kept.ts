/**
 * Equal values kept once: agents say the same few hundred texts and lists over and over, and a text that was cut
 * out of a stanza would keep the whole stanza. Bounded: of two generations of `most`, the older is let go.
 */

/** A text that keeps nothing but itself. */
export const ownText = (text: string): string => Buffer.from(text).toString();

export class Kept<T> {
  readonly #most: number;
  #young = new Map<string, T>();
  #old = new Map<string, T>();

  constructor(most = 1 << 14) {
    this.#most = most;
  }

  /** `make` is given a text of its own. */
  get(text: string, make: (text: string) => T): T {
    const young = this.#young.get(text);
    if (young !== undefined) return young;
    const key = ownText(text);
    const value = this.#old.get(text) ?? make(key);
    if (this.#young.size >= this.#most) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#young.set(key, value);
    return value;
  }
}
