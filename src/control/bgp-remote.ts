/**
 * RemoteRib: a RIB in a speaker of another process, as the bridge to the tables has it (bgp-federation.ts). It keeps what has
 * been said, for the next speaker; what a speaker has not been told yet waits as keys. Pure: who asks for the next
 * message has a socket that takes it.
 *
 * Invariant: once `next` has answered nothing, the speaker has exactly what has been said since, in whatever order.
 */

import { BATCH_BYTES } from '../bgp/limits.ts';
import { FRAME, frameOf } from '../bgp/link/frame.ts';
import { messageFrame } from '../bgp/link/messages.ts';
import { isUnsayable, type Route, RouteBatch } from '../bgp/link/route-batch.ts';
import type { Nlri } from '../bgp/rib/contract.ts';
import { nlriKey } from '../bgp/wire/family.ts';
import type { FamilyName } from '../bgp/wire/family-names.ts';
import type { FederatedRib } from './bgp-federation.ts';

interface Waiting {
  readonly family: FamilyName;
  readonly nlri: Nlri;
}

/** Keys of what is no route. */
const WANT = 'want';
const END = 'end';

export class RemoteRib implements FederatedRib {
  readonly #said = new Map<string, Route>();
  #wanted: readonly string[] = [];
  readonly #waiting = new Map<string, Waiting | undefined>();
  readonly #onWaiting: () => void;
  readonly #onUnsendable: (route: Route) => void;

  /** `onWaiting`: something does that did not. */
  constructor(onWaiting: () => void, onUnsendable: (route: Route) => void) {
    this.#onWaiting = onWaiting;
    this.#onUnsendable = onUnsendable;
  }

  get size(): number {
    return this.#said.size;
  }

  originate(route: Route): void {
    const key = keyOf(route);
    this.#said.set(key, route);
    this.#wait(key, route);
  }

  withdraw(family: FamilyName, nlri: Nlri): void {
    const key = keyOf({ family, nlri });
    if (this.#said.delete(key)) this.#wait(key, { family, nlri });
  }

  want(targets: ReadonlySet<string>): void {
    this.#wanted = [...targets].sort();
    this.#wait(WANT, undefined);
  }

  /** A speaker is here, and is told everything. */
  begin(): void {
    this.#waiting.clear();
    this.#waiting.set(WANT, undefined);
    for (const [key, route] of this.#said) this.#waiting.set(key, route);
  }

  /** What has been said by now is all there is. */
  end(): void {
    this.#waiting.delete(END);
    this.#wait(END, undefined);
  }

  #wait(key: string, waiting: Waiting | undefined): void {
    const idle = this.#waiting.size === 0;
    // Without a path's attributes: those are looked up when it is told.
    this.#waiting.set(key, waiting && { family: waiting.family, nlri: waiting.nlri });
    if (idle) this.#onWaiting();
  }

  /** Undefined: nothing waits. */
  next(): Uint8Array | undefined {
    const batch = new RouteBatch();
    for (const [key, waiting] of this.#waiting) {
      if (waiting === undefined) {
        if (batch.length > 0) break;
        this.#waiting.delete(key);
        return key === END
          ? messageFrame({ type: 'end-of-rib' })
          : messageFrame({ type: 'want', targets: this.#wanted });
      }
      this.#waiting.delete(key);
      this.#add(batch, key, waiting);
      if (batch.length >= BATCH_BYTES) break;
    }
    return batch.length === 0 ? undefined : frameOf(FRAME.routes, batch.bytes());
  }

  #add(batch: RouteBatch, key: string, { family, nlri }: Waiting): void {
    const route = this.#said.get(key);
    if (route !== undefined) {
      try {
        batch.announce(route);
        return;
      } catch (error) {
        if (!isUnsayable(error)) throw error;
        this.#onUnsendable(route);
      }
    }
    batch.withdraw(family, nlri);
  }
}

const keyOf = ({ family, nlri }: Waiting): string => `${family} ${nlriKey(family, nlri as never)}`;
