/**
 * The uplink beside the host's own stack (`underlay.shared` in the node file): the host keeps its address on
 * the interface, tunnels come to us and go from us by tc, and the MACs of far ends are the kernel's neighbours.
 *
 * Invariants
 *  * Only our filters are touched: those of PREFERENCES on the two interfaces. They are made anew at start, so
 *    that what a crash left does no harm, and taken away at stop, unless a forwarder goes on without us.
 *  * A far end is written into the agent's books when its MAC is known, and again when it changes; until then
 *    the kernel is asked to find it. A far end whose neighbour is lost keeps its last MAC: it may be right.
 */
import { spawnSync } from 'node:child_process';
import { VRouterError } from '../errors.ts';
import { nextHopsOf } from '../kernel/rtnetlink.ts';
import { KernelTables } from '../kernel/tables.ts';
import type { StartPart } from './node-part.ts';

/** Of our filters, one a protocol; nothing else should use them. */
const PREFERENCES = ['4980', '4981'] as const;
const TUNNEL_PORTS = ['6635', '51234', '4789'] as const;
const GRE = '47';
/** New far ends, and neighbours that did not answer. */
const LOOK_MS = 1000;
/** So that the kernel does not forget who is only used by us. */
const REFRESH_MS = 30_000;

function tc(...argv: string[]): void {
  const { status, stderr, error } = spawnSync('tc', argv, { encoding: 'utf8' });
  if (status === 0) return;
  const why = error === undefined ? stderr.trim().split('\n')[0] : 'tc (iproute2) is not installed';
  throw new VRouterError('PORT_FAILED', `tc ${argv.join(' ')}: ${why}`);
}

function attempt(...argv: string[]): void {
  spawnSync('tc', argv, { stdio: 'ignore' });
}

function part(from: string, to: string): void {
  for (const device of [from, to]) {
    for (const pref of PREFERENCES)
      attempt('filter', 'del', 'dev', device, 'ingress', 'pref', pref);
  }
}

/** What comes for our tunnels goes to `uplink`; what is written there leaves by `host`. */
function join(host: string, uplink: string, addresses: readonly string[]): void {
  part(host, uplink);
  for (const device of [host, uplink]) attempt('qdisc', 'add', 'dev', device, 'clsact');
  const redirect = (to: string) => ['action', 'mirred', 'egress', 'redirect', 'dev', to];
  for (const [i, address] of addresses.entries()) {
    const v6 = address.includes(':');
    const ip = v6 ? 'ip6' : 'ip';
    const pref = PREFERENCES[i] as string;
    const filter = ['filter', 'add', 'dev', host, 'ingress', 'pref', pref];
    const to = [...filter, 'protocol', v6 ? 'ipv6' : 'ip', 'u32', 'match', ip, 'dst', address];
    for (const port of TUNNEL_PORTS) {
      const match = ['match', ip, 'protocol', '17', '0xff', 'match', ip, 'dport', port, '0xffff'];
      tc(...to, ...match, ...redirect(uplink));
    }
    tc(...to, 'match', ip, 'protocol', GRE, '0xff', ...redirect(uplink));
  }
  const all = ['protocol', 'all', 'u32', 'match', 'u32', '0', '0'];
  tc('filter', 'add', 'dev', uplink, 'ingress', 'pref', PREFERENCES[0], ...all, ...redirect(host));
}

export const startSharedUnderlay: StartPart = ({ file, log, agent }) => {
  const { shared, port, ipv4, ipv6, neighbours: given = {} } = file.underlay;
  if (shared === undefined) return undefined;
  if (port.kind !== 'tap') {
    throw new VRouterError(
      'BAD_VALUE',
      'underlay: shared takes a port of kind tap, with offloads: uplink',
    );
  }
  const host = shared.interface;
  const said = log.child({ part: 'underlay' });
  const tables = new KernelTables();
  const link = tables.linkByName(host);
  if (link === undefined) {
    tables.close();
    throw new VRouterError('NOT_FOUND', `underlay: shared: there is no interface ${host}`);
  }
  join(
    host,
    port.name,
    [ipv4, ipv6].filter((address) => address !== undefined),
  );

  const learned = new Map<string, string>();
  function look(): void {
    let changed = false;
    for (const far of agent.farEnds()) {
      if (far in given) continue;
      const route = tables.route(far);
      const way =
        route === undefined
          ? undefined
          : nextHopsOf(route).find(({ index }) => index === link?.index);
      if (way === undefined) continue;
      const to = way.to === '' ? far : way.to;
      const neighbour = tables.neighbour(way.index, to);
      if (neighbour?.valid !== true) {
        tables.solicit(way.index, to);
        continue;
      }
      if (learned.get(far) === neighbour.mac) continue;
      said.info({ far, mac: neighbour.mac, gateway: to === far ? undefined : to }, 'far end');
      learned.set(far, neighbour.mac);
      changed = true;
    }
    if (changed) agent.setNeighbours({ ...given, ...Object.fromEntries(learned) });
  }
  function refresh(): void {
    for (const far of learned.keys()) {
      const route = tables.route(far);
      const way = route === undefined ? undefined : nextHopsOf(route)[0];
      if (way !== undefined) tables.solicit(way.index, way.to === '' ? far : way.to);
    }
  }
  const guarded = (work: () => void) => () => {
    try {
      work();
    } catch (error) {
      said.error({ err: error }, 'neighbours');
    }
  };
  tables.onChange(guarded(look));
  agent.onCommit(() => setImmediate(guarded(look)));
  const looking = setInterval(guarded(look), LOOK_MS);
  const refreshing = setInterval(guarded(refresh), REFRESH_MS);
  guarded(look)();
  said.info({ interface: host, uplink: port.name }, 'shared with the host');
  return {
    stop() {
      clearInterval(looking);
      clearInterval(refreshing);
      tables.close();
      if (file.forwarder === undefined) part(host, port.name);
    },
  };
};
