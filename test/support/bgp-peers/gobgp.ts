/**
 * gobgpd in a host of the tests, told and asked by the gobgp command beside it.
 * Not to be done to it (3.10): a default route target membership kills it, and so may the end of a peer with graceful
 * restart that has said type-2 routes while it has some of its own.
 */
import { writeFileSync } from 'node:fs';
import type { FamilyName } from '../../../src/bgp/wire/family-names.ts';
import { command } from '../../../src/program/netns.ts';
import { eventually, type Host } from './lab.ts';
import {
  type BgpPeer,
  communityText,
  keyOf,
  type PeerConfig,
  type PeerNeighbour,
  type PeerRoute,
  plainAddress,
  type SeenRoute,
} from './peer.ts';

/** In its configuration, and on its command line. */
const FAMILIES: Record<FamilyName, readonly [string, string]> = {
  'ipv4-unicast': ['ipv4-unicast', 'ipv4'],
  'ipv6-unicast': ['ipv6-unicast', 'ipv6'],
  vpnv4: ['l3vpn-ipv4-unicast', 'vpnv4'],
  vpnv6: ['l3vpn-ipv6-unicast', 'vpnv6'],
  evpn: ['l2vpn-evpn', 'evpn'],
  rtc: ['rtc', 'rtc'],
};
export const GOBGP_COMMANDS = ['gobgpd', 'gobgp'];

function neighbourText(neighbour: PeerNeighbour, host: Host, config: PeerConfig): string {
  const { address, as, families, client } = neighbour;
  const restart = config.restartTime;
  const sections = [
    '[[neighbors]]',
    '[neighbors.config]',
    `neighbor-address = "${address}"`,
    `peer-as = ${as}`,
    '[neighbors.transport.config]',
    `local-address = "${address.includes(':') ? host.address6 : host.address}"`,
    '[neighbors.timers.config]',
    // It takes one second for itself, and refuses connections for five after one has ended.
    'connect-retry = 1',
    `hold-time = ${config.holdTime ?? 90}`,
    ...(client === true
      ? [
          '[neighbors.route-reflector.config]',
          'route-reflector-client = true',
          `route-reflector-cluster-id = "${host.address}"`,
        ]
      : []),
    ...(restart === undefined
      ? []
      : [
          '[neighbors.graceful-restart.config]',
          'enabled = true',
          `restart-time = ${restart}`,
          'notification-enabled = true',
        ]),
    ...families.flatMap((family) => [
      '[[neighbors.afi-safis]]',
      '[neighbors.afi-safis.config]',
      `afi-safi-name = "${FAMILIES[family][0]}"`,
      ...(restart === undefined
        ? []
        : ['[neighbors.afi-safis.mp-graceful-restart.config]', 'enabled = true']),
    ]),
  ];
  return sections.join('\n');
}

function configText(host: Host, config: PeerConfig): string {
  const addresses = `local-address-list = ["${host.address}", "${host.address6}"]`;
  return [
    '[global.config]',
    `as = ${config.as}`,
    `router-id = "${host.address}"`,
    addresses,
    ...config.neighbours.map((neighbour) => neighbourText(neighbour, host, config)),
  ].join('\n');
}

/** It takes and shows AS numbers of four bytes in two halves; one written whole it cuts down to 65535. */
function dotted(target: string): string {
  const [as = '', number] = target.split(':');
  const value = Number(as);
  if (!(value > 0xffff)) return target;
  return `${value >>> 16}.${value & 0xffff}:${number}`;
}

const undotted = (target: string) =>
  target.replace(/^(\d+)\.(\d+):/, (_, high, low) => `${Number(high) * 0x10000 + Number(low)}:`);

/** After `rib add -a FAMILY` or `rib del -a FAMILY`. */
function ribWords(route: PeerRoute): string[] {
  const { rd, nextHop } = route;
  const communities = route.communities ?? [];
  const tail = [
    ...['rt', ...route.targets.map(dotted)],
    ...(route.family === 'evpn' ? ['encap', 'vxlan'] : []),
    ...(communities.length === 0 ? [] : ['community', communities.join(',')]),
    ...['nexthop', nextHop],
  ];
  if (route.family !== 'evpn') {
    return [route.prefix, 'label', `${route.label}`, 'rd', rd, ...tail];
  }
  switch (route.type) {
    case 'mac-ip': {
      const ip = route.ip ?? '0.0.0.0';
      return ['macadv', route.mac, ip, 'etag', '0', 'label', `${route.vni}`, 'rd', rd, ...tail];
    }
    case 'multicast': {
      const pmsi = ['pmsi', 'ingress-repl', `${route.vni}`, route.originator];
      // The tunnel is the last of its words but the next hop.
      return [
        ...['multicast', route.originator, 'etag', '0', 'rd', rd, ...tail.slice(0, -2)],
        ...[...pmsi, 'nexthop', nextHop],
      ];
    }
    case 'ip-prefix': {
      const mac = route.routerMac === undefined ? [] : ['router-mac', route.routerMac];
      return [
        ...['prefix', route.prefix, 'etag', '0', 'gw', '0.0.0.0', 'label', `${route.vni}`],
        ...['rd', rd, ...tail.slice(0, -2), ...mac, 'nexthop', nextHop],
      ];
    }
  }
}

interface RdJson {
  readonly admin: number | string;
  readonly assigned: number;
}

interface NlriJson {
  readonly prefix?: string;
  readonly labels?: readonly number[];
  readonly rd?: RdJson;
  readonly type?: number;
  readonly value?: {
    readonly rd: RdJson;
    readonly mac?: string;
    readonly ip?: string;
    readonly prefix?: string;
    readonly labels?: readonly number[];
    readonly label?: number;
  };
}

interface AttributeJson {
  readonly type: number;
  readonly nexthop?: string;
  readonly communities?: readonly number[];
  readonly as_paths?: readonly { readonly asns: readonly number[] }[];
  readonly value?: unknown;
  readonly label?: number;
}

interface PathJson {
  readonly nlri: NlriJson;
  readonly attrs: readonly AttributeJson[];
  readonly stale: boolean;
  readonly 'neighbor-ip'?: string;
}

const rdText = ({ admin, assigned }: RdJson) => `${admin}:${assigned}`;

function keyIn({ prefix, rd, type, value }: NlriJson): string {
  if (rd !== undefined) return `${rdText(rd)} ${prefix}`;
  if (value?.rd === undefined) return prefix ?? JSON.stringify({ type, value });
  const { mac, ip } = value;
  const of = `${type} ${rdText(value.rd)}`;
  if (type === 2)
    return `${of} ${mac}${ip === undefined || ip === '' || ip === '<nil>' ? '' : ` ${ip}`}`;
  if (type === 1 || type === 4) return of;
  return `${of} ${type === 5 ? value.prefix : ip}`;
}

function seen(path: PathJson): SeenRoute {
  const { nlri } = path;
  const attribute = (type: number) => path.attrs.find((one) => one.type === type);
  const label =
    nlri.labels?.[0] ?? nlri.value?.labels?.[0] ?? nlri.value?.label ?? attribute(22)?.label;
  const extended = (attribute(16)?.value ?? []) as {
    subtype: number;
    type: number;
    value: string;
  }[];
  const from = path['neighbor-ip'];
  return {
    key: keyIn(nlri),
    nextHop: plainAddress(attribute(14)?.nexthop ?? attribute(3)?.nexthop ?? ''),
    ...(label === undefined ? {} : { label }),
    targets: extended
      .filter(({ type, subtype }) => type <= 2 && subtype === 2)
      .map(({ value }) => undotted(value))
      .toSorted(),
    communities: (attribute(8)?.communities ?? []).map(communityText).toSorted(),
    stale: path.stale,
    ...(from === undefined ? {} : { from }),
  };
}

const ESTABLISHED = 6;

export class Gobgp implements BgpPeer {
  readonly name: string;
  readonly host: Host;
  #service: ReturnType<Host['lab']['start']>;

  private constructor(host: Host, service: ReturnType<Host['lab']['start']>) {
    this.name = `gobgpd ${host.name}`;
    this.host = host;
    this.#service = service;
  }

  /** `restarted`: it says so to its peers. */
  static async start(
    host: Host,
    config: PeerConfig & { readonly restarted?: boolean },
  ): Promise<Gobgp> {
    const file = `${host.directory}/gobgp.toml`;
    writeFileSync(file, configText(host, config));
    const flags = [
      ...['--api-hosts', '127.0.0.1:50051', '--pprof-disable', '-l', 'debug', '-p'],
      ...(config.restarted === true ? ['-r'] : []),
    ];
    const service = host.lab.start(`gobgpd of ${host.name}`, ['gobgpd', '-f', file, ...flags], {
      namespace: host.namespace,
      mayEnd: true,
    });
    const gobgp = new Gobgp(host, service);
    await eventually(
      gobgp,
      'an answer',
      () => gobgp.established(),
      () => true,
    );
    return gobgp;
  }

  get pid(): number {
    return this.#service.pid;
  }

  async established(): Promise<readonly string[]> {
    type Neighbours = { state: { neighbor_address: string; session_state?: number } }[];
    const all = JSON.parse(await this.#gobgp('neighbor', '-j')) as Neighbours;
    const up = all.filter(({ state }) => state.session_state === ESTABLISHED);
    return up.map(({ state }) => state.neighbor_address);
  }

  async routes(family: FamilyName): Promise<readonly SeenRoute[]> {
    const text = await this.#gobgp('global', 'rib', '-a', FAMILIES[family][1], '-j');
    const table = JSON.parse(text.trim() === '' ? '{}' : text) as Record<string, PathJson[]>;
    return Object.values(table).flat().map(seen);
  }

  /** AS numbers of the best path, by route in order of key. */
  async asPaths(family: FamilyName): Promise<readonly (readonly number[])[]> {
    const text = await this.#gobgp('global', 'rib', '-a', FAMILIES[family][1], '-j');
    const table = JSON.parse(text) as Record<string, PathJson[]>;
    return Object.values(table).map(([path]) => {
      const found = path?.attrs.find(({ type }) => type === 2);
      return (found?.as_paths ?? []).flatMap(({ asns }) => asns);
    });
  }

  async announce(route: PeerRoute): Promise<void> {
    await this.#gobgp('global', 'rib', 'add', '-a', FAMILIES[route.family][1], ...ribWords(route));
    const own = await this.routes(route.family);
    if (!own.some(({ key, from }) => from === undefined && key === keyOf(route))) {
      throw new Error(`gobgp has not taken ${keyOf(route)}`);
    }
  }

  async withdraw(route: PeerRoute): Promise<void> {
    await this.#gobgp('global', 'rib', 'del', '-a', FAMILIES[route.family][1], ...ribWords(route));
  }

  /** What it has sent to the neighbour. */
  async advertised(neighbour: string, family: FamilyName): Promise<readonly SeenRoute[]> {
    const words = ['neighbor', neighbour, 'adj-out', '-a', FAMILIES[family][1], '-j'];
    const text = await this.#gobgp(...words);
    const table = JSON.parse(text.trim() === '' ? '{}' : text) as Record<string, PathJson[]>;
    return Object.values(table).flat().map(seen);
  }

  async stop(): Promise<void> {
    await this.#service.stop();
  }

  async kill(): Promise<void> {
    await this.#service.kill();
  }

  log(): string {
    return this.#service.out() + this.#service.err();
  }

  #gobgp(...words: readonly string[]): Promise<string> {
    return command(this.host.namespace.enter(['gobgp', ...words]));
  }
}
