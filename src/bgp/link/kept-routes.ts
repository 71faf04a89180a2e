/**
 * What a control node has said to a speaker of its own process: it outlives the control node, and the next one says it
 * again. Pure: who decides when is the process.
 *
 * Invariants
 *  * The RIB has of ours exactly what stands here, and what is said equally is not said to it as something new.
 *  * From `begin` to `end` nothing of before is missing: routes that were not said again yet, targets that are not
 *    wanted again yet. After `end` there is nothing but what has been said since `begin`.
 */
import type { BgpRib, Nlri } from '../rib/contract.ts';
import { nlriKey } from '../wire/family.ts';
import type { FamilyName } from '../wire/family-names.ts';
import type { SaidRoute } from './route-batch.ts';

interface Kept {
  readonly family: FamilyName;
  readonly nlri: Nlri;
  generation: number;
}

export class KeptRoutes {
  readonly #rib: Pick<BgpRib, 'originate' | 'withdraw' | 'want'>;
  readonly #routes = new Map<string, Kept>();
  #generation = 0;
  /** How many are of this generation. */
  #fresh = 0;
  #learning = false;
  #before: ReadonlySet<string> = new Set();
  #wanted: ReadonlySet<string> = new Set();

  constructor(rib: Pick<BgpRib, 'originate' | 'withdraw' | 'want'>) {
    this.#rib = rib;
  }

  get size(): number {
    return this.#routes.size;
  }

  /** Not said by the control node that is here now, or the last one. */
  get old(): number {
    return this.#routes.size - this.#fresh;
  }

  /** A control node is here: what there is is of another, or of its life before. */
  begin(): void {
    this.#generation++;
    this.#fresh = 0;
    this.#before = new Set([...this.#before, ...this.#wanted]);
    this.#wanted = new Set();
    this.#learning = true;
  }

  take(said: readonly SaidRoute[]): void {
    for (const each of said) {
      if (each.kind === 'announced') this.#announce(each.route);
      else this.#withdraw(each.family, each.nlri);
    }
  }

  #announce(route: (SaidRoute & { kind: 'announced' })['route']): void {
    const { family, nlri } = route;
    const key = keyOf(family, nlri);
    if (this.#routes.get(key)?.generation !== this.#generation) this.#fresh++;
    this.#routes.set(key, { family, nlri, generation: this.#generation });
    this.#rib.originate(route);
  }

  #withdraw(family: FamilyName, nlri: Nlri): void {
    const key = keyOf(family, nlri);
    const kept = this.#routes.get(key);
    if (kept === undefined) return;
    if (kept.generation === this.#generation) this.#fresh--;
    this.#routes.delete(key);
    this.#rib.withdraw(family, nlri);
  }

  want(targets: readonly string[]): void {
    this.#wanted = new Set(targets);
    const all = this.#learning ? new Set([...this.#before, ...this.#wanted]) : this.#wanted;
    this.#rib.want(all);
  }

  /** It has said all it has. Returns how many routes are gone with that. */
  end(): number {
    if (!this.#learning) return 0;
    this.#learning = false;
    this.#before = new Set();
    this.#rib.want(this.#wanted);
    return this.#sweep();
  }

  /** Nobody has come back. */
  expire(): number {
    this.begin();
    this.#before = new Set();
    return this.end();
  }

  #sweep(): number {
    let gone = 0;
    for (const [key, { family, nlri, generation }] of this.#routes) {
      if (generation === this.#generation) continue;
      this.#routes.delete(key);
      this.#rib.withdraw(family, nlri);
      gone++;
    }
    return gone;
  }
}

const keyOf = (family: FamilyName, nlri: Nlri): string =>
  `${family} ${nlriKey(family, nlri as never)}`;
