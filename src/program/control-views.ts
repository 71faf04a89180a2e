/** What `vrouter control show` is answered: tables, and every path with why it is used or not. */
import type { ControlRouteView, PathView, TableView } from '../cli/control-views.ts';
import type { Page } from '../cli/protocol.ts';
import { digestText, pathDigest, tableDigests } from '../control/digest.ts';
import { isBroadcast } from '../control/entry.ts';
import { itemId } from '../control/items.ts';
import { localPreference, lostBy, med, type Path } from '../control/path.ts';
import type { RouteTables } from '../control/tables.ts';
import { VRouterError } from '../errors.ts';

/** Prefixes an answer; each may have as many paths as there are agents. */
const PAGE = 512;

export function tableViews(tables: RouteTables): TableView[] {
  const digests = tableDigests(tables);
  return tables.tables().map(({ instance, entries, paths, subscribers }) => {
    const count = { inet: 0, inet6: 0, evpn: 0 };
    for (const { prefix } of entries.values()) count[prefix.family]++;
    return {
      instance: instance.name,
      created: instance.created,
      import: [...instance.imports].sort(),
      export: [...instance.exports].sort(),
      ownImport: [...instance.ownImports].sort(),
      automatic: instance.automatic,
      connected: [...instance.links].sort(),
      subscribers,
      published: paths,
      ...count,
      digest: digestText(digests.get(instance) ?? 0),
    };
  });
}

function whyOf(path: Path, best: Path, instance: string): { used: boolean; why: string } {
  if (path.infeasible !== undefined) return { used: false, why: path.infeasible };
  // Where all of BGP's are, none is behind another.
  if (path.learned !== undefined && path.instance === instance) return { used: true, why: 'vpn' };
  if (path === best) return { used: true, why: 'best' };
  const all = isBroadcast({ key: `${path.family} ${path.prefix}` });
  const row = all ? undefined : lostBy(best, path);
  return row === undefined ? { used: true, why: 'ecmp' } : { used: false, why: row };
}

function pathView(path: Path, best: Path, instance: string): PathView {
  const { attributes } = path;
  return {
    ...whyOf(path, best, instance),
    peer: path.peer,
    rd: path.rd,
    ...(path.instance !== instance && { from: path.instance }),
    stale: path.stale,
    hops: path.hops.map(({ address, label, encaps }) => ({ address, label, encaps })),
    localPreference: localPreference(path),
    med: med(path),
    sequence: attributes.sequence ?? 0,
    originVn: path.originVn,
    securityGroups: attributes.securityGroups ?? [],
    tags: [...new Set(path.hops.flatMap((hop) => hop.tags ?? []))],
    communities: attributes.communities ?? [],
    digest: pathDigest(path),
  };
}

export function routePage(tables: RouteTables, instance: string, from = 0): Page<ControlRouteView> {
  const all = tables.prefixes(instance);
  if (all === undefined) throw new VRouterError('NOT_FOUND', `no instance '${instance}'`);
  const items = all.slice(from, from + PAGE).map(({ prefix, entry }) => {
    const paths = tables.paths(prefix, instance);
    const best = paths[0] as Path;
    return {
      family: prefix.family,
      prefix: prefix.prefix,
      ...(entry !== undefined && { id: itemId(entry) }),
      paths: paths.map((path) => pathView(path, best, instance)),
    };
  });
  return { items, next: from + PAGE < all.length ? from + PAGE : null };
}
