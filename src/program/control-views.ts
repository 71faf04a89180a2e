/** What `vrouter control show` is answered: sessions, tables, and every path with why it is used or not. */
import { itemId } from '../control/items.ts';
import { localPreference, lostBy, med } from '../control/path.ts';
import type { PathView, RouteTables } from '../control/tables.ts';
import { VRouterError } from '../errors.ts';

export interface TableRow {
  readonly instance: string;
  readonly created: boolean;
  readonly import: readonly string[];
  readonly export: readonly string[];
  readonly subscribers: number;
  readonly published: number;
  readonly inet: number;
  readonly inet6: number;
  readonly evpn: number;
}

export function tableRows(tables: RouteTables): TableRow[] {
  return tables.tables().map(({ instance, entries, paths, subscribers }) => {
    const count = { inet: 0, inet6: 0, evpn: 0 };
    for (const { prefix } of entries.values()) count[prefix.family]++;
    return {
      instance: instance.name,
      created: instance.created,
      import: [...instance.imports].sort(),
      export: [...instance.exports].sort(),
      subscribers,
      published: paths,
      ...count,
    };
  });
}

export interface RouteRow {
  readonly family: string;
  readonly prefix: string;
  /** Its name in messages, where it is told. */
  readonly id?: string;
  readonly paths: readonly PathRow[];
}

export interface PathRow {
  readonly used: boolean;
  /** `best`, `ecmp`, or the row of the order by which it is behind. */
  readonly why: string;
  readonly peer: string;
  readonly rd: string;
  /** Where it was published, if not here. */
  readonly from?: string;
  readonly stale: boolean;
  readonly hops: readonly {
    readonly address: string;
    readonly label: number;
    readonly encaps: readonly string[];
  }[];
  readonly localPreference: number;
  readonly med: number;
  readonly sequence: number;
  readonly originVn: string;
  readonly securityGroups: readonly number[];
  readonly tags: readonly number[];
  readonly communities: readonly string[];
}

function whyOf({ path, best }: PathView): { used: boolean; why: string } {
  if (path.infeasible !== undefined) return { used: false, why: path.infeasible };
  if (path === best) return { used: true, why: 'best' };
  const row = path.prefix.startsWith('ff:ff:ff:ff:ff:ff') ? undefined : lostBy(best, path);
  return row === undefined ? { used: true, why: 'ecmp' } : { used: false, why: row };
}

function pathRow(view: PathView): PathRow {
  const { path, imported } = view;
  const { attributes } = path;
  return {
    ...whyOf(view),
    peer: path.peer,
    rd: path.rd,
    ...(imported && { from: path.instance }),
    stale: path.stale,
    hops: path.hops.map(({ address, label, encaps }) => ({ address, label, encaps })),
    localPreference: localPreference(path),
    med: med(path),
    sequence: attributes.sequence ?? 0,
    originVn: path.originVn,
    securityGroups: attributes.securityGroups ?? [],
    tags: [...new Set(path.hops.flatMap((hop) => hop.tags ?? []))],
    communities: attributes.communities ?? [],
  };
}

export function routeRows(tables: RouteTables, instance: string): RouteRow[] {
  if (!tables.tables().some((table) => table.instance.name === instance)) {
    throw new VRouterError('NOT_FOUND', `no instance '${instance}'`);
  }
  const ids = new Map(tables.entries(instance).map((entry) => [entry.prefix.key, itemId(entry)]));
  const rows = new Map<string, { family: string; prefix: string; id?: string; paths: PathRow[] }>();
  for (const view of tables.paths(instance)) {
    const { family, prefix } = view.path;
    const key = `${family} ${prefix}`;
    let row = rows.get(key);
    if (row === undefined) {
      const id = ids.get(key);
      row = { family, prefix, ...(id !== undefined && { id }), paths: [] };
      rows.set(key, row);
    }
    row.paths.push(pathRow(view));
  }
  return [...rows.values()];
}
