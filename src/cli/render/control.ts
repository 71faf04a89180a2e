/** Text of `vrouter control show`. Pure. */
import type {
  ControlRouteView,
  PathView,
  SessionView,
  TableView,
  TraceView,
} from '../control-views.ts';

/** Columns as wide as what is in them. */
function columns(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, i) =>
    Math.max(...rows.map((row) => (row[i] ?? '').length)),
  );
  return rows
    .map(
      (row) =>
        `${row
          .map((cell, i) => cell.padEnd(widths[i] ?? 0))
          .join('  ')
          .trimEnd()}\n`,
    )
    .join('');
}

export function renderSessions(sessions: readonly SessionView[]): string {
  if (sessions.length === 0) return 'no agent is connected\n';
  const heads = [
    'Agent',
    'Address',
    'State',
    'TLS',
    'Up',
    'Tables',
    'Routes',
    'Refused',
    'Waiting',
  ];
  return columns([
    heads,
    ...sessions.map((s) => [
      s.name,
      s.address,
      s.state,
      s.secure ? 'yes' : 'no',
      `${s.upSeconds}s`,
      String(s.subscriptions.length),
      String(s.routes),
      String(s.counters.refused),
      String(s.waitingBytes),
    ]),
  ]);
}

export function renderTables(tables: readonly TableView[]): string {
  if (tables.length === 0) return 'no instance\n';
  const heads = [
    'Instance',
    'inet',
    'inet6',
    'evpn',
    'Published',
    'Subscribers',
    'Import',
    'Export',
    'Digest',
  ];
  return columns([
    heads,
    ...tables.map((t) => [
      t.created ? t.instance : `${t.instance} (not configured)`,
      String(t.inet),
      String(t.inet6),
      String(t.evpn),
      String(t.published),
      String(t.subscribers),
      t.import.join(',') || '-',
      t.export.join(',') || '-',
      t.digest,
    ]),
  ]);
}

/** A line of its own, without what leads it. */
export function pathText(path: PathView): string {
  const hops = path.hops
    .map(({ address, label, encaps }) => `${address} label ${label} (${encaps.join(',') || '-'})`)
    .join('; ');
  const sequence = path.sequence === 0 ? '' : ` seq ${path.sequence}`;
  const groups = path.securityGroups.length === 0 ? '' : ` sg ${path.securityGroups.join(',')}`;
  const from = path.from === undefined ? '' : ` from ${path.from}`;
  return (
    `${(path.used ? path.why : `lost: ${path.why}`).padEnd(22)} ` +
    `${path.peer} ${path.rd} ${hops} lp ${path.localPreference} med ${path.med}${sequence}${groups} ` +
    `vn ${path.originVn}${from}${path.stale ? ' stale' : ''}\n`
  );
}

const line = (path: PathView): string => `  ${path.used ? '*' : ' '} ${pathText(path)}`;

export function renderRoutes(routes: readonly ControlRouteView[]): string {
  if (routes.length === 0) return 'no route\n';
  return routes
    .map(({ family, prefix, paths }) => `${family} ${prefix}\n${paths.map(line).join('')}`)
    .join('');
}

/** A keepalive is a character of its own kind, or white space. */
const KEEPALIVE = /^[\s\u0200]*$/;

/** `last`: the number of the message before it, as far as there was one. */
export function renderMessage(message: TraceView['messages'][number], last: number): string {
  const { number, at, way, text } = message;
  const lost = number - last - 1;
  const gap = lost > 0 && last > 0 ? `(${lost} messages were too many to be kept)\n` : '';
  const time = new Date(at).toISOString();
  const what = KEEPALIVE.test(text) ? '(keepalive)' : text.trim();
  return `${gap}${time} ${way === 'in' ? '<' : '>'} ${what}\n`;
}
