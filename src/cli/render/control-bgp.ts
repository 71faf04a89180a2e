/** Text of `vrouter control bgp`. Pure. */
import type {
  BgpNeighboursView,
  BgpNeighbourView,
  BgpPathView,
  BgpPolicyView,
  BgpRouteView,
} from '../bgp-views.ts';
import { columns } from './columns.ts';

/** `3d04h`, `02:17:09`. */
export function ageText(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  const two = (value: number) => String(value).padStart(2, '0');
  const [days, hours] = [Math.floor(seconds / 86_400), Math.floor(seconds / 3600) % 24];
  if (days > 0) return `${days}d${two(hours)}h`;
  return `${two(hours)}:${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;
}

const sum = (values: Readonly<Record<string, number>>): number =>
  Object.values(values).reduce((all, each) => all + each, 0);

const stateText = ({ state, enabled }: BgpNeighbourView): string => (enabled ? state : 'disabled');

export function renderNeighbours(view: BgpNeighboursView): string {
  const { as, routerId, neighbours, originated, learned, infeasible, leftOut } = view;
  const left = Object.entries(leftOut).map(([why, count]) => `${count} ${why}`);
  const head =
    `AS ${as}, router id ${routerId}: ${originated} routes of ours, ${learned} learned, ${infeasible} of them not usable` +
    `${left.length === 0 ? '' : `; left out: ${left.join(', ')}`}\n`;
  if (neighbours.length === 0) return `${head}no neighbour\n`;
  const heads = [
    ...['Neighbor', 'AS', 'State', 'Up/Down', 'MsgIn', 'MsgOut'],
    ...['Received', 'Accepted', 'Advertised', 'Flaps', 'Description'],
  ];
  return `${head}${columns([
    heads,
    ...neighbours.map((each) => {
      const count = (what: 'received' | 'accepted' | 'advertised') =>
        String(each.families.reduce((all, family) => all + family[what], 0));
      return [
        each.name,
        String(each.peer?.as ?? each.as ?? '-'),
        stateText(each),
        ageText(each.ageMs),
        String(sum(each.messagesIn)),
        String(sum(each.messagesOut)),
        ...[count('received'), count('accepted'), count('advertised')],
        String(each.flaps),
        each.description ?? '-',
      ];
    }),
  ])}`;
}

const listOf = (texts: readonly string[]): string => (texts.length === 0 ? '-' : texts.join(', '));

function flagsOf({ agreed }: BgpNeighbourView): string {
  if (agreed === undefined) return '-';
  const { extendedNextHop, ...flags } = agreed;
  const names = Object.entries(flags).flatMap(([flag, on]) => (on ? [flag] : []));
  if (extendedNextHop.length > 0) names.push(`extendedNextHop (${extendedNextHop.join(' ')})`);
  return listOf(names);
}

/** One neighbour, with all that is known. */
export function renderNeighbour(each: BgpNeighbourView): string {
  const { address, port, local, remote, peer } = each;
  const end = (of: typeof local) => (of === undefined ? '-' : `${of.address} port ${of.port}`);
  const kinds = [each.dynamic ? 'of a range' : '', each.passive ? 'passive' : ''].filter(Boolean);
  const lines: [string, string | undefined][] = [
    ['Description', each.description],
    ['Address', `${address} port ${port}${kinds.map((kind) => `, ${kind}`).join('')}`],
    ['AS', peer === undefined ? String(each.as ?? 'any') : String(peer.as)],
    ['Router id', peer?.id],
    ['State', `${stateText(each)} for ${ageText(each.ageMs)}, flaps ${each.flaps}`],
    ['Connection', local === undefined ? undefined : `${end(local)} to ${end(remote)}`],
    [
      'Hold, keepalive',
      each.holdTime === undefined ? undefined : `${each.holdTime} s, ${each.keepaliveTime} s`,
    ],
    ['Agreed on', peer === undefined ? undefined : flagsOf(each)],
    ['Bytes in, out, waiting', `${each.bytesIn}, ${each.bytesOut}, ${each.waiting}`],
    ['Last notification in', each.lastErrorIn?.text],
    ['Last notification out', each.lastErrorOut?.text],
    ['Last end', each.lastEnd?.text],
    ['Routes too long to send', each.unsendable === 0 ? undefined : String(each.unsendable)],
  ];
  const width = Math.max(...lines.map(([head]) => head.length));
  const text = lines.flatMap(([head, value]) =>
    value === undefined ? [] : [`  ${head.padEnd(width)}  ${value}\n`],
  );
  const families = [
    ['Family', 'State', 'Received', 'Accepted', 'Advertised', 'Add-path'],
    ...each.families.map(
      ({ family, agreed, disabled, received, accepted, advertised, addPath }) => [
        family,
        disabled ? 'disabled' : agreed ? 'agreed' : '-',
        ...[received, accepted, advertised].map(String),
        listOf(Object.entries(addPath ?? {}).flatMap(([way, on]) => (on ? [way] : []))),
      ],
    ),
  ];
  const kindsOf = Object.keys(each.messagesIn) as (keyof typeof each.messagesIn)[];
  const messages = [
    ['Messages', 'In', 'Out'],
    ...kindsOf.map((kind) => [kind, String(each.messagesIn[kind]), String(each.messagesOut[kind])]),
  ];
  const errors = Object.entries(each.findings).flatMap(([what, count]) =>
    count === 0 ? [] : [`  ${count} ${what}\n`],
  );
  const found = each.lastFindings.map(
    ({ consequence, text: what }) => `    ${consequence}: ${what}\n`,
  );
  const tables = [families, messages].map((rows) => indented(columns(rows))).join('');
  const trouble =
    errors.length === 0 ? '' : `  Errors in updates:\n${errors.join('')}${found.join('')}`;
  return `${each.name}\n${text.join('')}${tables}${trouble}`;
}

const indented = (text: string): string => text.replace(/^(?=.)/gm, '  ');

function bgpPathText(path: BgpPathView): string {
  const { nextHop, label, localPreference, med, origin, asPath, stale } = path;
  const words = [
    (path.used ? path.why : `lost: ${path.why}`).padEnd(20),
    path.from,
    `next-hop ${nextHop}`,
    ...(label === undefined ? [] : [`label ${label}`]),
    ...(path.encapsulations.length === 0 ? [] : [`(${path.encapsulations.join(',')})`]),
    ...(localPreference === undefined ? [] : [`lp ${localPreference}`]),
    ...(med === undefined ? [] : [`med ${med}`]),
    `as-path ${asPath === '' ? '-' : asPath}`,
    origin,
    `rt ${path.routeTargets.join(',') || '-'}`,
    ...(path.communities.length === 0 ? [] : [`community ${path.communities.join(',')}`]),
    ...(stale === undefined ? [] : [stale === 'long' ? 'long-lived stale' : 'stale']),
  ];
  return words.join(' ');
}

export function renderBgpRoutes(routes: readonly BgpRouteView[]): string {
  if (routes.length === 0) return 'no route\n';
  return routes
    .map(({ family, route, paths }) => {
      const lines = paths.map((path) => `  ${path.used ? '*' : ' '} ${bgpPathText(path)}\n`);
      return `${family} ${route}\n${lines.join('')}`;
    })
    .join('');
}

function matchText(match: BgpPolicyView['policy']['terms'][number]['match']): string {
  const { families, prefixes, communities, route_targets } = match ?? {};
  const parts = [
    ...(families === undefined ? [] : [`family ${families.join(',')}`]),
    ...(prefixes === undefined
      ? []
      : [`prefix ${prefixes.map((p) => `${p.prefix}${p.or_longer ? '+' : ''}`).join(',')}`]),
    ...(communities === undefined ? [] : [`community ${communities.join(',')}`]),
    ...(route_targets === undefined ? [] : [`rt ${route_targets.join(',')}`]),
  ];
  return parts.length === 0 ? 'all' : parts.join(' and ');
}

export function renderPolicies(policies: readonly BgpPolicyView[]): string {
  if (policies.length === 0) return 'no policy\n';
  return policies
    .map(({ policy, importOf, exportOf }) => {
      const terms = policy.terms.map(({ name, match, action, set }) => {
        const changes = Object.entries(set ?? {}).map(([key, value]) => `${key} ${value}`);
        const setting = changes.length === 0 ? '' : `, set ${changes.join(', ')}`;
        return `  ${name}: ${matchText(match)} -> ${action}${setting}\n`;
      });
      return `${policy.name}  import of ${listOf(importOf)}  export of ${listOf(exportOf)}\n${terms.join('')}`;
    })
    .join('');
}
