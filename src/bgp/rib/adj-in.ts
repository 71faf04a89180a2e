/**
 * Adj-RIB-In of one peer and family: judges what comes in (checks.ts, the import policy), and keeps it. What is
 * refused is kept by its key, so that it is counted once; with all of it only where the peer cannot be asked again.
 * Stale paths (RFC 4724, RFC 9494) and those a refresh has left out (RFC 7313) go by their generation.
 */
import { LIMITS } from '../limits.ts';
import type { Attributes } from '../wire/attributes.ts';
import { COMMUNITIES } from '../wire/communities.ts';
import { type NextHop, nlriKey } from '../wire/family.ts';
import { familyNumbers } from '../wire/family-names.ts';
import { NOTIFICATIONS, type Notification } from '../wire/notification.ts';
import { type CheckContext, refusedBy } from './checks.ts';
import type { Nlri } from './contract.ts';
import type { Policy } from './policy.ts';
import { applySet, readyPolicy } from './policy-apply.ts';
import type { Interner, Said } from './said.ts';
import { forEachPath, type Path, type Source } from './table.ts';

export interface InContext extends CheckContext {
  readonly policy: Policy | undefined;
  readonly maxRoutes: number | undefined;
  /** The peer can be asked to say all again: what is refused need not be kept. */
  readonly canAsk: boolean;
}

interface Refused {
  generation: number;
  readonly nlri?: Nlri;
  readonly raw?: Said;
}

export class AdjIn {
  readonly source: Source;
  readonly #interner: Interner;
  readonly #refused = new Map<string, Refused>();

  constructor(source: Source, interner: Interner) {
    this.source = source;
    this.#interner = interner;
  }

  get received(): number {
    return this.source.count + this.#refused.size;
  }

  get refused(): number {
    return this.#refused.size;
  }

  /** Returns what the session ends with, if these are too many. */
  announce(
    nlri: readonly Nlri[],
    attributes: Attributes,
    nextHop: NextHop,
    context: InContext,
  ): Notification | undefined {
    const { source } = this;
    const { table } = source;
    const max = context.maxRoutes ?? LIMITS.routesOfFamily;
    const raw = this.#interner.find(attributes, nextHop);
    const byRoute = context.policy !== undefined && readyPolicy(context.policy).byRoute;
    const bad = refusedBy(raw, context) !== undefined;
    let said = bad || byRoute ? undefined : this.#judged(raw, nlri[0] as Nlri, context.policy);
    for (const each of nlri) {
      if (byRoute && !bad) said = this.#judged(raw, each, context.policy);
      if (said === undefined) this.#refuse(each, raw, context);
      else {
        if (this.#refused.size > 0) this.#release(nlriKey(table.family, each));
        table.put(source, each, raw, said);
      }
      if (this.received > max) return tooMany(this, max);
    }
    return undefined;
  }

  withdraw(nlri: readonly Nlri[]): void {
    const { table } = this.source;
    for (const each of nlri) {
      const path = table.find(this.source, each);
      if (path !== undefined) table.drop(path);
      else if (this.#refused.size > 0) this.#release(nlriKey(table.family, each));
    }
  }

  /** The policy, or what else is judged by, is another. What was refused and not kept is not judged. */
  judgeAgain(context: InContext): void {
    const { table } = this.source;
    const kept = [...this.#refused.values()];
    forEachPath(this.source, (path) => {
      const bad = refusedBy(path.raw, context) !== undefined;
      const said = bad ? undefined : this.#judged(path.raw, path.nlri, context.policy);
      if (said === undefined) this.#refuse(path.nlri, path.raw, context, path.generation);
      else this.#resay(path, said);
    });
    for (const { nlri, raw, generation } of kept) {
      if (nlri === undefined || raw === undefined || refusedBy(raw, context) !== undefined)
        continue;
      const said = this.#judged(raw, nlri, context.policy);
      if (said === undefined) continue;
      const path = table.put(this.source, nlri, raw, said);
      if (path !== undefined) {
        path.generation = generation;
        this.#resay(path, said);
      }
      this.#release(nlriKey(table.family, nlri));
    }
  }

  /** Everything goes. */
  clear(): void {
    this.source.staleBefore = 0;
    this.source.refreshBefore = 0;
    this.source.stale = undefined;
    for (const key of [...this.#refused.keys()]) this.#release(key);
    forEachPath(this.source, (path) => this.source.table.drop(path));
  }

  /** The peer begins to say all again. */
  beginRefresh(): void {
    this.source.refreshBefore = ++this.source.generation;
  }

  endRefresh(): void {
    this.#sweep(this.source.refreshBefore);
    this.source.refreshBefore = 0;
  }

  /** The peer is away and may come back. What was stale before goes: RFC 4724 §4.2. */
  becomeStale(): void {
    const { source } = this;
    if (source.staleBefore > 0) this.#sweep(source.staleBefore);
    for (const key of [...this.#refused.keys()]) this.#release(key);
    source.refreshBefore = 0;
    source.staleBefore = ++source.generation;
    source.stale = 'short';
  }

  /** It has been away for long: RFC 9494 §4.2. */
  becomeLongStale(): void {
    const { source } = this;
    source.stale = 'long';
    forEachPath(source, (path) => {
      if (path.generation >= source.staleBefore) return;
      this.#resay(path, path.said);
    });
  }

  /** What it has not said again by now it will not. */
  endStale(): void {
    const { source } = this;
    this.#sweep(source.staleBefore);
    source.staleBefore = 0;
    source.stale = undefined;
  }

  #judged(raw: Said, nlri: Nlri, policy: Policy | undefined): Said | undefined {
    if (policy === undefined) return raw;
    const term = readyPolicy(policy).decide(this.source.table.family, nlri, raw.attributes);
    if (term?.action === 'reject') return undefined;
    return term?.set === undefined
      ? raw
      : this.#interner.find(applySet(term.set, raw.attributes), raw.nextHop);
  }

  /** The same path with other words, as old as it was. */
  #resay(path: Path, said: Said): void {
    const { source } = this;
    if (path.stale === 'long' && said.facts.noLlgr) {
      source.table.drop(path);
      return;
    }
    const long = path.stale === 'long' && !said.facts.llgrStale;
    const marked = long ? { addCommunities: [COMMUNITIES.llgrStale] } : undefined;
    const words = long
      ? this.#interner.find(applySet(marked, said.attributes), said.nextHop)
      : said;
    const { generation } = path;
    const next = source.table.put(source, path.nlri, path.raw, words) ?? path;
    next.generation = generation;
  }

  /** `generation`: when it was said; a stale route that is refused, and accepted again, is no fresher for it. */
  #refuse(nlri: Nlri, raw: Said, { canAsk }: InContext, generation = this.source.generation): void {
    const { table } = this.source;
    const key = nlriKey(table.family, nlri);
    const path = table.find(this.source, nlri);
    this.#release(key);
    this.#refused.set(
      key,
      canAsk ? { generation } : { generation, nlri, raw: this.#interner.hold(raw) },
    );
    if (path !== undefined) table.drop(path);
  }

  #release(key: string): void {
    const refused = this.#refused.get(key);
    if (refused === undefined) return;
    if (refused.raw !== undefined) this.#interner.release(refused.raw);
    this.#refused.delete(key);
  }

  #sweep(before: number): void {
    forEachPath(this.source, (path) => {
      if (path.generation < before) this.source.table.drop(path);
    });
    for (const [key, { generation }] of [...this.#refused]) {
      if (generation < before) this.#release(key);
    }
  }
}

/** RFC 4486 §4: which family, and how many there may be. */
function tooMany({ source }: AdjIn, max: number): Notification {
  const [afi, safi] = familyNumbers(source.table.family);
  const hex = (value: number, digits: number) => value.toString(16).padStart(digits, '0');
  const data = hex(afi, 4) + hex(safi, 2) + hex(max, 8);
  return { code: NOTIFICATIONS.cease.code, subcode: 1, data };
}
