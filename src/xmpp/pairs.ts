/**
 * Publishes and collections joined by node: what an agent has published counts when its collection says so.
 * Holds at most MAX_UNPAIRED publishes; a peer that leaves more of them alone is not one of this exchange.
 */
import type { Item } from './families.ts';
import { xmppFault } from './faults.ts';
import { MAX_UNPAIRED } from './limits.ts';
import type { Collection, Publish, RefusedItem } from './stanza.ts';

export type Joined =
  | {
      readonly type: 'add' | 'remove';
      readonly instance: string;
      readonly node: string;
      readonly item: Item;
    }
  | { readonly type: 'refused'; readonly instance: string; readonly refused: RefusedItem }
  | { readonly type: 'end-of-rib' };

export class PublishPairs {
  readonly #waiting = new Map<string, Publish>();

  get unpaired(): number {
    return this.#waiting.size;
  }

  /** The latest under a name is the one that counts. */
  publish(publish: Publish): void {
    if (this.#waiting.size >= MAX_UNPAIRED && !this.#waiting.has(publish.node)) {
      throw xmppFault('XMPP_TOO_MANY_UNPAIRED', `more than ${MAX_UNPAIRED}`);
    }
    this.#waiting.set(publish.node, publish);
  }

  collection({ instance, members }: Collection): Joined[] {
    return members.map(({ node, add }) => {
      const publish = this.#waiting.get(node);
      this.#waiting.delete(node);
      if (publish === undefined) {
        const refused = { name: node, reason: 'collection: nothing was published by this name' };
        return { type: 'refused', instance, refused };
      }
      if (publish.refused !== undefined) {
        return { type: 'refused', instance, refused: publish.refused };
      }
      if (publish.item === undefined) return { type: 'end-of-rib' };
      return { type: add ? 'add' : 'remove', instance, node, item: publish.item };
    });
  }
}
