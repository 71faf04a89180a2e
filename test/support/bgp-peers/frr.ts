/**
 * FRR (zebra and bgpd) in a host of the tests. It runs from its own directory: configuration, sockets and process ids.
 * EVPN routes of types 2 and 3 are what its kernel has (a bridge, a VXLAN device, static MACs); of type 5 static ones,
 * whose label it writes as one of MPLS, whatever it is.
 */
import { chmodSync, chownSync, writeFileSync } from 'node:fs';
import type { FamilyName } from '../../../src/bgp/wire/family-names.ts';
import { command } from '../../../src/program/netns.ts';
import type { Host } from './lab.ts';
import {
  type BgpPeer,
  type MacRoute,
  type PeerConfig,
  type PeerRoute,
  type PrefixRoute,
  plainAddress,
  type SeenRoute,
  type VpnRoute,
} from './peer.ts';

const FAMILIES: Partial<Record<FamilyName, string>> = {
  'ipv4-unicast': 'ipv4 unicast',
  vpnv4: 'ipv4 vpn',
  vpnv6: 'ipv6 vpn',
  evpn: 'l2vpn evpn',
};
const ZEBRA = '/usr/lib/frr/zebra';
const BGPD = '/usr/lib/frr/bgpd';
/** Its daemons are no commands, and of the same package. */
export const FRR_COMMANDS = ['vtysh', 'bridge'];

const family = (name: FamilyName): string => {
  const found = FAMILIES[name];
  if (found === undefined) throw new Error(`FRR has no ${name}`);
  return found;
};

function configText(host: Host, config: PeerConfig): string {
  const lines = [
    `router bgp ${config.as}`,
    ` bgp router-id ${host.address}`,
    ' no bgp default ipv4-unicast',
    ' no bgp ebgp-requires-policy',
    ' no bgp network import-check',
    ...(config.restartTime === undefined
      ? []
      : [' bgp graceful-restart', ` bgp graceful-restart restart-time ${config.restartTime}`]),
  ];
  for (const { address, interface: on, as } of config.neighbours) {
    lines.push(` neighbor ${address} remote-as ${as}`, ` neighbor ${address} timers connect 1`);
    if (on !== undefined) lines.push(` neighbor ${address} interface ${on}`);
    if (config.holdTime !== undefined) {
      lines.push(
        ` neighbor ${address} timers ${Math.ceil(config.holdTime / 3)} ${config.holdTime}`,
      );
    }
  }
  const names = new Set(config.neighbours.flatMap(({ families }) => families));
  for (const name of names) {
    lines.push(` address-family ${family(name)}`);
    for (const { address, families, client } of config.neighbours) {
      if (!families.includes(name)) continue;
      lines.push(`  neighbor ${address} activate`);
      if (client === true) lines.push(`  neighbor ${address} route-reflector-client`);
    }
    if (name === 'evpn') lines.push('  advertise-all-vni');
    lines.push(' exit-address-family');
  }
  return `${lines.join('\n')}\n`;
}

/** `65000:101`, of `RT:65000:101 ET:8`. */
const targetsIn = (text = '') =>
  [...text.matchAll(/\bRT:(\S+)/g)].map(([, target]) => target as string).toSorted();

interface PathJson {
  readonly VNI?: string;
  readonly remoteLabel?: number;
  readonly extendedCommunity?: { readonly string: string };
  readonly community?: { readonly list: readonly string[] };
  readonly nexthops: readonly { readonly ip: string }[];
  readonly peer: { readonly peerId: string };
  readonly sourced?: boolean;
  readonly stale?: boolean;
  readonly pmsi?: { readonly label: number };
}

function seen(key: string, path: PathJson, label: number | undefined): SeenRoute {
  return {
    key,
    nextHop: plainAddress(path.nexthops[0]?.ip ?? ''),
    ...(label === undefined ? {} : { label }),
    targets: targetsIn(path.extendedCommunity?.string),
    communities: (path.community?.list ?? []).toSorted(),
    stale: path.stale === true,
    ...(path.sourced === true ? {} : { from: path.peer.peerId }),
  };
}

interface EvpnJson {
  readonly routeType: number;
  readonly mac?: string;
  readonly ip?: string;
  readonly ipLen?: number;
  readonly paths: readonly (readonly PathJson[])[];
}

function evpnKey(rd: string, { routeType, mac, ip, ipLen }: EvpnJson): string {
  if (routeType === 2) return `2 ${rd} ${mac}${ip === undefined ? '' : ` ${ip}`}`;
  if (routeType === 1 || routeType === 4) return `${routeType} ${rd}`;
  return routeType === 5 ? `5 ${rd} ${ip}/${ipLen}` : `${routeType} ${rd} ${ip}`;
}

export class Frr implements BgpPeer {
  readonly name: string;
  readonly host: Host;
  readonly #services: ReturnType<Host['lab']['start']>[] = [];
  readonly #policies = new Map<string, string>();
  readonly #as: number;

  private constructor(host: Host, config: PeerConfig) {
    this.name = `FRR ${host.name}`;
    this.host = host;
    this.#as = config.as;
  }

  static async start(host: Host, config: PeerConfig): Promise<Frr> {
    const frr = new Frr(host, config);
    const user = await frr.#ids();
    chownSync(host.directory, user.uid, user.gid);
    const file = (name: string, text: string) => {
      const path = `${host.directory}/${name}`;
      writeFileSync(path, text);
      chmodSync(path, 0o644);
      return path;
    };
    const shared = (name: string) => [
      ...['-z', `${host.directory}/zebra.api`, '-i', `${host.directory}/${name}.pid`],
      ...['--vty_socket', host.directory, '--log', 'stdout', '-A', '127.0.0.1'],
    ];
    const start = (name: string, argv: readonly string[]) => {
      const options = { namespace: host.namespace, mayEnd: true };
      frr.#services.push(host.lab.start(`${name} of ${host.name}`, argv, options));
    };
    const zebra = ['-f', file('zebra.conf', ''), ...shared('zebra'), '-s', '90000000'];
    start('zebra', [ZEBRA, ...zebra]);
    await host.lab.until('zebra answers', () => frr.#vtysh('show version'), 10_000);
    start('bgpd', [BGPD, '-f', file('bgpd.conf', configText(host, config)), ...shared('bgpd')]);
    await host.lab.until('bgpd answers', () => frr.#json('show bgp summary json'), 10_000);
    return frr;
  }

  async established(): Promise<readonly string[]> {
    type Summary = Record<string, { peers?: Record<string, { state: string }> }>;
    const summary = await this.#json<Summary>('show bgp summary json');
    const peers = Object.values(summary).flatMap((of) => Object.entries(of.peers ?? {}));
    const up = peers.filter(([, { state }]) => state === 'Established');
    return [...new Set(up.map(([address]) => address))];
  }

  async routes(name: FamilyName): Promise<readonly SeenRoute[]> {
    return name === 'evpn' ? this.#evpn() : this.#vpn(name);
  }

  async announce(route: PeerRoute): Promise<void> {
    if (route.family !== 'evpn') return this.#network(route, '');
    if (route.type === 'ip-prefix') return this.#network(route, '');
    if (route.type === 'mac-ip') return this.#mac(route, true);
    await this.#vni(route.vni);
  }

  async withdraw(route: PeerRoute): Promise<void> {
    if (route.family !== 'evpn') return this.#network(route, 'no ');
    if (route.type === 'ip-prefix') return this.#network(route, 'no ');
    if (route.type === 'mac-ip') return this.#mac(route, false);
    await this.host.namespace.ip('link', 'del', `vxlan${route.vni}`);
  }

  async stop(): Promise<void> {
    for (const service of this.#services.splice(0).toReversed()) await service.stop();
  }

  async kill(): Promise<void> {
    for (const service of this.#services.splice(0).toReversed()) await service.kill();
  }

  /** What a show command that ends in `json` says. */
  show<T>(text: string): Promise<T> {
    return this.#json<T>(text);
  }

  log(): string {
    return this.#services.map((service) => service.out() + service.err()).join('\n');
  }

  // --- its commands ----------------------------------------------------------------------------------

  async #ids(): Promise<{ uid: number; gid: number }> {
    const id = async (what: string) => Number(await command(['id', what, 'frr']));
    return { uid: await id('-u'), gid: await id('-g') };
  }

  #vtysh(...commands: readonly string[]): Promise<string> {
    const given = commands.flatMap((text) => ['-c', text]);
    return command(['vtysh', '--vty_socket', this.host.directory, ...given]);
  }

  async #json<T = unknown>(text: string): Promise<T> {
    return JSON.parse(await this.#vtysh(text)) as T;
  }

  async #configure(...lines: readonly string[]): Promise<void> {
    const out = await this.#vtysh('configure terminal', ...lines);
    if (out.trim() !== '') throw new Error(`FRR: ${lines.join(' / ')}: ${out}`);
  }

  async #vpn(name: FamilyName): Promise<readonly SeenRoute[]> {
    type Table = { routes?: { routeDistinguishers?: Record<string, Record<string, unknown>> } };
    const { routes } = await this.#json<Table>(`show bgp ${family(name)} json`);
    const all: SeenRoute[] = [];
    const prefixes = new Set(
      Object.values(routes?.routeDistinguishers ?? {}).flatMap((table) => Object.keys(table)),
    );
    for (const prefix of prefixes) {
      type Detail = Record<string, { paths: readonly PathJson[] }>;
      const detail = await this.#json<Detail>(`show bgp ${family(name)} ${prefix} json`);
      for (const [rd, { paths }] of Object.entries(detail)) {
        for (const path of paths) all.push(seen(`${rd} ${prefix}`, path, path.remoteLabel));
      }
    }
    return all;
  }

  async #evpn(): Promise<readonly SeenRoute[]> {
    type Table = Record<string, Record<string, EvpnJson | string> | number>;
    const table = await this.#json<Table>('show bgp l2vpn evpn route detail json');
    return Object.entries(table).flatMap(([rd, routes]) => {
      if (typeof routes !== 'object') return [];
      return Object.values(routes).flatMap((route) => {
        if (typeof route === 'string') return [];
        return route.paths.flat().map((path) => {
          const vni = path.VNI ?? path.pmsi?.label;
          return seen(
            evpnKey(rd, route),
            path,
            vni === undefined ? undefined : Number.parseInt(`${vni}`, 10),
          );
        });
      });
    });
  }

  /** A policy must be there before the network that names it: without, the route silently never is. */
  async #policy(route: PeerRoute): Promise<string> {
    const communities = route.communities ?? [];
    const sets = [
      ` set extcommunity rt ${route.targets.join(' ')}`,
      ...(communities.length === 0 ? [] : [` set community ${communities.join(' ')}`]),
      ...(route.nextHop.includes(':')
        ? [` set ipv6 next-hop global ${route.nextHop}`]
        : [` set ip next-hop ${route.nextHop}`]),
    ];
    const text = sets.join('\n');
    const name = this.#policies.get(text) ?? `SAY${this.#policies.size + 1}`;
    if (!this.#policies.has(text)) {
      this.#policies.set(text, name);
      await this.#configure(`route-map ${name} permit 10`, ...sets, 'exit');
    }
    return name;
  }

  async #network(route: VpnRoute | PrefixRoute, no: 'no ' | ''): Promise<void> {
    // `no network` takes no route-map.
    const policy = no === '' ? ` route-map ${await this.#policy(route)}` : '';
    const vpn = `rd ${route.rd} label ${route.family === 'evpn' ? '' : route.label}`;
    const evpn = [
      `rd ${route.rd} ethtag 0 label ${'vni' in route ? route.vni : ''}`,
      `esi ${Array(10).fill('00').join(':')} gwip 0.0.0.0`,
      `routermac ${'routerMac' in route ? route.routerMac : '00:00:00:00:00:00'}`,
    ].join(' ');
    await this.#configure(
      `router bgp ${this.#as}`,
      `address-family ${family(route.family)}`,
      `${no}network ${route.prefix} ${route.family === 'evpn' ? evpn : vpn}${policy}`,
      'end',
    );
  }

  /** A bridge with a tunnel end; from then on FRR says a multicast route of it. */
  async #vni(vni: number): Promise<void> {
    const { namespace, address } = this.host;
    const links = JSON.parse(await namespace.ip('-j', 'link', 'show')) as { ifname: string }[];
    if (links.some(({ ifname }) => ifname === `vxlan${vni}`)) return;
    const bridge = `br${vni}`;
    const tunnel = `vxlan${vni}`;
    await namespace.ip('link', 'add', bridge, 'type', 'bridge');
    const options = ['id', `${vni}`, 'dstport', '4789', 'local', address, 'nolearning'];
    await namespace.ip('link', 'add', tunnel, 'type', 'vxlan', ...options);
    // Somebody to have MACs behind: a cable whose other end nobody looks at.
    const end = ['peer', 'name', `end${vni}`];
    await namespace.ip('link', 'add', `tenant${vni}`, 'type', 'veth', ...end);
    await namespace.ip('link', 'set', tunnel, 'master', bridge);
    await namespace.ip('link', 'set', `tenant${vni}`, 'master', bridge);
    for (const link of [bridge, tunnel, `tenant${vni}`, `end${vni}`])
      await namespace.ip('link', 'set', link, 'up');
  }

  async #mac(route: MacRoute, there: boolean): Promise<void> {
    await this.#vni(route.vni);
    const device = `tenant${route.vni}`;
    const verb = there
      ? ['replace', route.mac, 'dev', device, 'master', 'static']
      : ['del', route.mac, 'dev', device, 'master'];
    const { namespace } = this.host;
    await command(['bridge', '-n', namespace.name, 'fdb', ...verb]);
    if (route.ip === undefined) return;
    const neighbour = ['dev', `br${route.vni}`];
    if (!there) await namespace.ip('neigh', 'del', route.ip, ...neighbour);
    else
      await namespace.ip(
        'neigh',
        'replace',
        route.ip,
        'lladdr',
        route.mac,
        ...neighbour,
        'nud',
        'permanent',
      );
  }
}
