/**
 * Best paths that a control node has not been told yet, in order, and the end of those that were there when it came.
 * Pure: who asks for the next message has a socket that takes it.
 *
 * Invariants
 *  * What waits for a control node that does not read is one change a route, as it is by then.
 *  * A sender is told before its first path, and again when it is another.
 *  * A route that is ours, or that it was never told of, is nothing to it: of our own it knows.
 */

import { BATCH_BYTES } from '../limits.ts';
import type { BestChange, BgpPath } from '../rib/contract.ts';
import type { FamilyName } from '../wire/family-names.ts';
import { FRAME, frameOf } from './frame.ts';
import { messageFrame, type ToControl } from './messages.ts';
import { ChangeBatch, isUnsayable } from './route-batch.ts';

type Said = ToControl & { readonly type: 'sender' };
/** What of a neighbour its routes are read by. */
export type SenderFacts = Pick<Said, 'external' | 'id'> & {
  readonly encapsulation?: Said['encapsulation'];
};

export interface UntoldOptions {
  readonly families: ReadonlySet<FamilyName>;
  readonly sender: (neighbour: string) => SenderFacts;
  /** A route that cannot be told, for it is too long. */
  readonly onUnsendable: (change: BestChange) => void;
}

const END = '';

export class Untold {
  readonly #options: UntoldOptions;
  readonly #waiting = new Map<string, BestChange | undefined>();
  /** Routes that it has. */
  readonly #told = new Set<string>();
  readonly #senders = new Map<string, string>();

  constructor(options: UntoldOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#waiting.size;
  }

  /** A control node is here, and has nothing. */
  begin(all: Iterable<BestChange>): void {
    this.#waiting.clear();
    this.#told.clear();
    this.#senders.clear();
    for (const change of all) this.changed(change);
    this.#waiting.set(END, undefined);
  }

  changed(change: BestChange): void {
    const { family, key } = change;
    if (!this.#options.families.has(family)) return;
    const name = `${family} ${key}`;
    if (isHeard(change) || this.#told.has(name)) this.#waiting.set(name, change);
    else this.#waiting.delete(name);
  }

  /** The next frames, or none: nothing waits. */
  next(): Uint8Array[] {
    const frames: Uint8Array[] = [];
    const batch = new ChangeBatch();
    for (const [name, change] of this.#waiting) {
      if (name === END) {
        if (batch.length > 0) break;
        this.#waiting.delete(END);
        frames.push(messageFrame({ type: 'end-of-rib' }));
        return frames;
      }
      this.#waiting.delete(name);
      this.#add(name, change as BestChange, batch, frames);
      if (batch.length >= BATCH_BYTES) break;
    }
    if (batch.length > 0) frames.push(frameOf(FRAME.changes, batch.bytes()));
    return frames;
  }

  #add(name: string, change: BestChange, batch: ChangeBatch, frames: Uint8Array[]): void {
    if (isHeard(change)) {
      try {
        batch.add(change);
        this.#told.add(name);
        for (const path of change.paths) this.#introduce(path, frames);
        return;
      } catch (error) {
        if (!isUnsayable(error)) throw error;
        this.#options.onUnsendable(change);
      }
    }
    if (this.#told.delete(name)) batch.add({ ...change, paths: [] });
  }

  #introduce({ from = '' }: BgpPath, frames: Uint8Array[]): void {
    const message = { type: 'sender' as const, name: from, ...this.#options.sender(from) };
    const text = JSON.stringify(message);
    if (this.#senders.get(from) === text) return;
    this.#senders.set(from, text);
    frames.push(messageFrame(message));
  }
}

/** From others alone. */
export const isHeard = ({ paths }: Pick<BestChange, 'paths'>): boolean =>
  paths.length > 0 && paths.every(({ from }) => from !== undefined);
