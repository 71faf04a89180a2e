/**
 * The labels this node gave out, each with the next hop its packets go to and, for routes that lead back
 * to this node, the local members behind it.
 * Invariant: a label in use has a label_set of its own in the tables; whoever depends on one is told
 * when it changes or goes (`onChange`).
 */
import type { Ids, Label, NextHopId } from './ids.ts';
import type { DesiredTables } from './tables.ts';

/** A local way to what a label stands for. */
export interface LocalMember {
  /** Shown beside the member, as the ancestor does; identifies it with the node's address. */
  readonly label: Label;
  readonly nextHop: NextHopId;
}

export interface LabelUse {
  readonly nextHop: NextHopId;
  /** Empty: routes cannot lead here (bridging, flooding). */
  readonly members: readonly LocalMember[];
}

export class Labels {
  readonly #tables: DesiredTables;
  readonly #ids: Ids<Label>;
  readonly #uses = new Map<number, LabelUse>();
  readonly #onChange: (label: Label) => void;

  constructor(tables: DesiredTables, ids: Ids<Label>, onChange: (label: Label) => void) {
    this.#tables = tables;
    this.#ids = ids;
    this.#onChange = onChange;
  }

  /** A label for `name`; it leads nowhere until set(). */
  allocate(name: string): Label {
    return this.#ids.allocate(name);
  }

  set(label: Label, use: LabelUse, owner: string): void {
    this.#uses.set(label, use);
    this.#tables.put({ op: 'label_set', label, nextHop: use.nextHop }, owner);
    this.#onChange(label);
  }

  release(label: Label): void {
    this.#uses.delete(label);
    this.#tables.drop(`label ${label}`);
    this.#ids.release(label);
    this.#onChange(label);
  }

  use(label: number): LabelUse | undefined {
    return this.#uses.get(label);
  }

  get size(): number {
    return this.#uses.size;
  }
}
