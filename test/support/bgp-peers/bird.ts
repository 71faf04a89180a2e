/**
 * BIRD 2 in a host of the tests. It shows text only, and is told routes by its file: static ones, read again.
 * Their next hop must be on its link and nobody that it speaks with: it does not send a route to its own next hop.
 */
import { writeFileSync } from 'node:fs';
import type { FamilyName } from '../../../src/bgp/wire/family-names.ts';
import { command } from '../../../src/program/netns.ts';
import { eventually, type Host } from './lab.ts';
import {
  type BgpPeer,
  keyOf,
  type PeerConfig,
  type PeerRoute,
  plainAddress,
  type SeenRoute,
  type VpnRoute,
} from './peer.ts';

export const BIRD_COMMANDS = ['bird', 'birdc'];

const TABLES = { vpnv4: 'vpntab4', vpnv6: 'vpntab6' } as const;
const isVpn = (family: FamilyName): family is 'vpnv4' | 'vpnv6' => family in TABLES;
const pair = (text: string) => text.replace(':', ', ');

function staticText({ rd, prefix, nextHop, label, targets, communities = [] }: VpnRoute): string {
  const sets = [
    ...targets.map((target) => `bgp_ext_community.add((rt, ${pair(target)}));`),
    ...communities.map((community) => `bgp_community.add((${pair(community)}));`),
  ];
  return `  route ${rd} ${prefix} via ${nextHop} mpls ${label} { ${sets.join(' ')} };`;
}

function configText(host: Host, config: PeerConfig, routes: readonly VpnRoute[]): string {
  const lines = [
    `router id ${host.address};`,
    'vpn4 table vpntab4; vpn6 table vpntab6;',
    'protocol device { scan time 1; }',
  ];
  // A protocol has its routes or its channel changed by the file; one that says nothing is there all the same.
  for (const [family, name] of [
    ['vpnv4', 'vpn4'],
    ['vpnv6', 'vpn6'],
  ] as const) {
    lines.push(`protocol static static_${name} { ${name} { table ${TABLES[family]}; };`);
    lines.push(...routes.filter((route) => route.family === family).map(staticText), '}');
  }
  config.neighbours.forEach(({ address, as, families, client }, at) => {
    const local = address.includes(':') ? host.address6 : host.address;
    lines.push(
      `protocol bgp peer${at} { local ${local} as ${config.as}; neighbor ${address} as ${as};`,
      '  connect delay time 1; connect retry time 1; error wait time 1, 2;',
      ...(client === true ? ['  rr client;'] : []),
      ...(config.holdTime === undefined ? [] : [`  hold time ${config.holdTime};`]),
      config.restartTime === undefined
        ? '  graceful restart off;'
        : `  graceful restart on; graceful restart time ${config.restartTime};`,
    );
    for (const family of families) {
      if (!isVpn(family)) throw new Error(`BIRD has no ${family}`);
      const channel = family === 'vpnv4' ? 'vpn4' : 'vpn6';
      // Without it a next hop of IPv4 in IPv6 is a reason to withdraw the route.
      const hop = family === 'vpnv6' ? ' extended next hop on;' : '';
      lines.push(`  ${channel} mpls { table ${TABLES[family]}; import all; export all;${hop} };`);
    }
    lines.push('}');
  });
  return `${lines.join('\n')}\n`;
}

/** `(65000,55) (65000,56)`, `(rt, 65000, 101)`. */
const tuples = (text: string) =>
  [...text.matchAll(/\(([^)]*)\)/g)].map(([, inner]) =>
    (inner as string).split(',').map((word) => word.trim()),
  );

/** A route is a line at the margin (or one that leaves out what the line before said), its attributes the ones after it. */
export function parseRoutes(text: string, neighbours: ReadonlyMap<string, string>): SeenRoute[] {
  const found: SeenRoute[] = [];
  let net = '';
  for (const block of text.split(/\n(?=\S|\s{10,})/)) {
    const head = /^(\S+ \S+)?\s+(?:unreachable|unicast|blackhole) \[(\S+) /.exec(block);
    if (head === null) continue;
    net = head[1] ?? net;
    const attribute = (name: string) =>
      new RegExp(`^\\tBGP\\.${name}: (.*)$`, 'm').exec(block)?.[1] ?? '';
    const from = neighbours.get(head[2] as string);
    const via = /^\tvia (\S+) on \S+ mpls (\d+)/m.exec(block);
    const label = attribute('mpls_label_stack') || via?.[2];
    found.push({
      key: net,
      nextHop: plainAddress(attribute('next_hop').split(' ')[0] || (via?.[1] ?? '')),
      ...(label === undefined ? {} : { label: Number(label) }),
      targets: tuples(attribute('ext_community'))
        .filter(([kind]) => kind === 'rt')
        .map(([, as, number]) => `${as}:${number}`)
        .toSorted(),
      communities: tuples(attribute('community'))
        .map((words) => words.join(':'))
        .toSorted(),
      // Behind the preference.
      stale: /^[^\n]*\(\d+-?s/.test(block),
      ...(from === undefined ? {} : { from }),
    });
  }
  return found;
}

export class Bird implements BgpPeer {
  readonly name: string;
  readonly host: Host;
  readonly #config: PeerConfig;
  readonly #routes = new Map<string, VpnRoute>();
  #service: ReturnType<Host['lab']['start']> | undefined;

  private constructor(host: Host, config: PeerConfig) {
    this.name = `BIRD ${host.name}`;
    this.host = host;
    this.#config = config;
  }

  static async start(host: Host, config: PeerConfig): Promise<Bird> {
    const bird = new Bird(host, config);
    bird.#write();
    const files = ['-c', bird.#file('conf'), '-s', bird.#file('ctl'), '-P', bird.#file('pid')];
    bird.#service = host.lab.start(`bird of ${host.name}`, ['bird', '-f', ...files], {
      namespace: host.namespace,
      mayEnd: true,
    });
    await eventually(
      bird,
      'an answer',
      () => bird.established(),
      () => true,
    );
    return bird;
  }

  async established(): Promise<readonly string[]> {
    const text = await this.#birdc('show protocols');
    const up = [...text.matchAll(/^peer(\d+)\s+BGP\s.*\bEstablished\b/gm)];
    return up.map(([, at]) => this.#config.neighbours[Number(at)]?.address ?? '');
  }

  async routes(family: FamilyName): Promise<readonly SeenRoute[]> {
    if (!isVpn(family)) throw new Error(`BIRD has no ${family}`);
    const names = this.#config.neighbours.map(({ address }, at) => [`peer${at}`, address] as const);
    return parseRoutes(await this.#birdc(`show route table ${TABLES[family]} all`), new Map(names));
  }

  async announce(route: PeerRoute): Promise<void> {
    if (route.family === 'evpn') throw new Error('BIRD has no EVPN');
    this.#routes.set(keyOf(route), route);
    await this.#again();
  }

  async withdraw(route: PeerRoute): Promise<void> {
    this.#routes.delete(keyOf(route));
    await this.#again();
  }

  async stop(): Promise<void> {
    await this.#service?.stop();
  }

  async kill(): Promise<void> {
    await this.#service?.kill();
  }

  log(): string {
    return (this.#service?.out() ?? '') + (this.#service?.err() ?? '');
  }

  #file(kind: string): string {
    return `${this.host.directory}/bird.${kind}`;
  }

  #write(): void {
    const routes = [...this.#routes.values()];
    writeFileSync(this.#file('conf'), configText(this.host, this.#config, routes));
  }

  async #again(): Promise<void> {
    this.#write();
    const said = await this.#birdc('configure');
    if (!/Reconfigured|Reconfiguration in progress/.test(said)) throw new Error(`BIRD: ${said}`);
  }

  #birdc(text: string): Promise<string> {
    return command(['birdc', '-s', this.#file('ctl'), text]);
  }
}
