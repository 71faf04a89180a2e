/**
 * Whether two control nodes have the same, and by name what they do not: settings of instances, and paths. Tables
 * whose digests are equal are not read; those of others are read side by side, page by page, in the order both have.
 *
 * Invariant: what is held is a page of each side and `limit` differences; more are counted.
 * Agents tell both control nodes everything, but not at the same instant, and a table may change between its pages: a
 * difference counts that is found twice, some time apart.
 */
import type { Client } from './client.ts';
import type { ControlRouteView, PathView, TableView } from './control-views.ts';
import { type Page, RpcError } from './protocol.ts';

export interface SettingDifference {
  readonly instance: string;
  readonly setting: 'configured' | 'import' | 'export' | 'connected';
  readonly a: readonly string[];
  readonly b: readonly string[];
}

export interface PathDifference {
  readonly instance: string;
  readonly family: string;
  readonly prefix: string;
  /** Null: that side has no path of this agent from there. */
  readonly a: PathView | null;
  readonly b: PathView | null;
}

export type Difference = SettingDifference | PathDifference;

export interface Comparison {
  readonly inStep: boolean;
  readonly a: string;
  readonly b: string;
  /** That one or the other has, and paths published at the first. */
  readonly instances: number;
  readonly paths: number;
  readonly differences: readonly Difference[];
  /** Beyond these. */
  readonly more: number;
}

type Side = 'a' | 'b';
type Both<T> = Readonly<Record<Side, T>>;

/** Of one reading. */
interface Found {
  readonly differences: Difference[];
  total: number;
  readonly limit: number;
}

function add(found: Found, difference: Difference): void {
  found.total++;
  if (found.differences.length < found.limit) found.differences.push(difference);
}

const same = (a: readonly string[], b: readonly string[]): boolean => a.join(' ') === b.join(' ');

/** An instance that agents have only named, and where there is nothing, is none. */
const counts = (view: TableView): boolean => view.created || view.published > 0;

const SETTINGS: readonly {
  readonly name: SettingDifference['setting'];
  of(view: TableView | undefined): readonly string[];
}[] = [
  { name: 'configured', of: (view) => [view?.created === true ? 'yes' : 'no'] },
  { name: 'import', of: (view) => (view?.automatic ? ['automatic'] : (view?.ownImport ?? [])) },
  { name: 'export', of: (view) => (view?.automatic ? ['automatic'] : (view?.export ?? [])) },
  { name: 'connected', of: (view) => view?.connected ?? [] },
];

export function settingDifferences(
  instance: string,
  a: TableView | undefined,
  b: TableView | undefined,
): SettingDifference[] {
  const all = SETTINGS.map(({ name, of }) => ({ instance, setting: name, a: of(a), b: of(b) }));
  const differing = all.filter((each) => !same(each.a, each.b));
  // One that is not there has no settings either.
  return differing[0]?.setting === 'configured' ? differing.slice(0, 1) : differing;
}

function* pathDifferences(
  instance: string,
  a: ControlRouteView | undefined,
  b: ControlRouteView | undefined,
): Generator<PathDifference> {
  const { family, prefix } = (a ?? b) as ControlRouteView;
  // An agent has one path there, and in the master instance one an RD.
  const keyed = (row: ControlRouteView | undefined) =>
    new Map((row?.paths ?? []).map((p) => [`${p.peer} ${p.rd} ${p.from ?? ''}`, p]));
  const [left, right] = [keyed(a), keyed(b)];
  for (const key of new Set([...left.keys(), ...right.keys()])) {
    const [one, other] = [left.get(key), right.get(key)];
    if (one?.digest === other?.digest && one?.used === other?.used) continue;
    yield { instance, family, prefix, a: one ?? null, b: other ?? null };
  }
}

function goneMeanwhile(error: unknown): Page<ControlRouteView> {
  if (error instanceof RpcError && error.code === 'NOT_FOUND') return { items: [], next: null };
  throw error;
}

async function* rowsOf(client: Client, instance: string): AsyncGenerator<ControlRouteView> {
  for (let after: number | null = 0; after !== null; ) {
    const page: Page<ControlRouteView> = await client
      .call<Page<ControlRouteView>>('table.routes', { instance, after })
      .catch(goneMeanwhile);
    yield* page.items;
    after = page.next;
  }
}

const keyOf = ({ family, prefix }: ControlRouteView): string => `${family} ${prefix}`;

/** Two tables, each in order of key, as one walk over both. */
export async function* pairs(
  a: AsyncIterator<ControlRouteView>,
  b: AsyncIterator<ControlRouteView>,
): AsyncGenerator<readonly [ControlRouteView | undefined, ControlRouteView | undefined]> {
  const next = async (rows: AsyncIterator<ControlRouteView>) => {
    const { value, done } = await rows.next();
    return done === true ? undefined : (value as ControlRouteView);
  };
  let [left, right] = [await next(a), await next(b)];
  while (left !== undefined || right !== undefined) {
    const order =
      left === undefined
        ? 1
        : right === undefined
          ? -1
          : Number(keyOf(left) > keyOf(right)) - Number(keyOf(left) < keyOf(right));
    yield [order <= 0 ? left : undefined, order >= 0 ? right : undefined];
    const [took, tookOther] = [order <= 0, order >= 0];
    if (took) left = await next(a);
    if (tookOther) right = await next(b);
  }
}

/** Of an instance that this side does not know, nothing. */
const noRows = async function* (): AsyncGenerator<ControlRouteView> {};

async function read(clients: Both<Client>, limit: number) {
  const tablesOf = async (side: Side) => {
    const views = await clients[side].call<TableView[]>('table.list');
    return new Map(views.filter(counts).map((view) => [view.instance, view]));
  };
  const [a, b] = [await tablesOf('a'), await tablesOf('b')];
  const found: Found = { differences: [], total: 0, limit };
  const names = [...new Set([...a.keys(), ...b.keys()])].sort();
  for (const name of names) {
    const [left, right] = [a.get(name), b.get(name)];
    for (const difference of settingDifferences(name, left, right)) add(found, difference);
    if (left?.digest === right?.digest) continue;
    const rows = (side: Side, view: TableView | undefined) =>
      view === undefined ? noRows() : rowsOf(clients[side], name);
    for await (const [one, other] of pairs(rows('a', left), rows('b', right))) {
      for (const difference of pathDifferences(name, one, other)) add(found, difference);
    }
  }
  const paths = [...a.values()].reduce((sum, { published }) => sum + published, 0);
  return { found, instances: names.length, paths };
}

/** `again`: waits before it is asked a second time. */
export async function compare(
  clients: Both<Client>,
  names: Both<string>,
  limit: number,
  again: () => Promise<void>,
): Promise<Comparison> {
  const first = await read(clients, limit);
  if (first.found.total === 0) {
    const { instances, paths } = first;
    return { inStep: true, ...names, instances, paths, differences: [], more: 0 };
  }
  await again();
  const second = await read(clients, limit);
  const known = new Set(first.found.differences.map((each) => JSON.stringify(each)));
  const differences = second.found.differences.filter((each) => known.has(JSON.stringify(each)));
  const more = Math.max(0, Math.min(first.found.total, second.found.total) - limit);
  const { instances, paths } = second;
  return { inStep: differences.length + more === 0, ...names, instances, paths, differences, more };
}
