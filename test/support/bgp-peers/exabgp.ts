/**
 * exabgp in a host of the tests: it keeps no table, so its routes are those of its own record of what it has read,
 * with what was withdrawn taken out. It has no word for announcing EVPN.
 */
import { appendFileSync, chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { parseRouteTarget, type RouteTarget } from '../../../src/addr/route-target.ts';
import type { FamilyName } from '../../../src/bgp/wire/family-names.ts';
import type { Host } from './lab.ts';
import {
  type BgpPeer,
  type PeerConfig,
  type PeerRoute,
  plainAddress,
  type SeenRoute,
  type VpnRoute,
} from './peer.ts';

const FAMILIES: Partial<Record<FamilyName, string>> = {
  'ipv4-unicast': 'ipv4 unicast',
  vpnv4: 'ipv4 mpls-vpn',
  vpnv6: 'ipv6 mpls-vpn',
  evpn: 'l2vpn evpn',
};
export const EXABGP_COMMANDS = ['exabgp', 'tail'];

const family = (name: FamilyName): string => {
  const found = FAMILIES[name];
  if (found === undefined) throw new Error(`exabgp has no ${name}`);
  return found;
};

/** Its output must stay open, or exabgp ends; so it reads and writes lines until there are none. */
const RECORDER = `#!/bin/sh
while read -r line; do printf '%s\\n' "$line" >> "$1"; done
`;

function configText(host: Host, config: PeerConfig): string {
  const recorder = `${host.directory}/record.sh ${host.directory}/record`;
  const lines = [
    `process record { run ${recorder}; encoder json; }`,
    `process told { run /usr/bin/tail -n +1 -f ${host.directory}/told; encoder text; }`,
  ];
  for (const { address, as, families } of config.neighbours) {
    const local = address.includes(':') ? host.address6 : host.address;
    const restart = config.restartTime;
    lines.push(
      `neighbor ${address} {`,
      ` router-id ${host.address}; local-address ${local}; local-as ${config.as}; peer-as ${as};`,
      ` hold-time ${config.holdTime ?? 90};`,
      ` family { ${families.map((name) => `${family(name)};`).join(' ')} }`,
      ` capability { asn4; route-refresh; ${restart === undefined ? '' : `graceful-restart ${restart};`} }`,
      ' api { processes [ record, told ]; neighbor-changes; receive { parsed; update; } }',
      '}',
    );
  }
  return `${lines.join('\n')}\n`;
}

/** It writes a target of an address as one of a number, so it is told the bytes of those. */
function targetText(target: string): string {
  if (!target.includes('.')) return `target:${target}`;
  return `0x${Buffer.from(parseRouteTarget(target as RouteTarget)).toString('hex')}`;
}

function routeText({ prefix, nextHop, rd, label, targets, communities = [] }: VpnRoute): string {
  const extended = targets.map(targetText).join(' ');
  const standard = communities.length === 0 ? '' : ` community [ ${communities.join(' ')} ]`;
  const mapped = prefix.includes(':') && !nextHop.includes(':');
  const hop = mapped ? `::ffff:${nextHop}` : nextHop;
  return `route ${prefix} next-hop ${hop} rd ${rd} label ${label} extended-community [ ${extended} ]${standard}`;
}

interface NlriJson {
  readonly nlri?: string;
  readonly rd: string;
  readonly label?: readonly (readonly number[])[];
  readonly code?: number;
  readonly mac?: string;
  readonly ip?: string;
  readonly iplen?: number;
}

interface UpdateJson {
  readonly attribute?: {
    readonly community?: readonly (readonly number[])[];
    readonly 'extended-community'?: readonly { readonly string: string }[];
    readonly pmsi?: string;
  };
  readonly announce?: Record<string, Record<string, readonly NlriJson[]>>;
  readonly withdraw?: Record<string, readonly NlriJson[]>;
}

interface LineJson {
  readonly type: 'state' | 'update';
  readonly neighbor: {
    readonly address: { readonly peer: string };
    readonly state?: string;
    readonly message?: { readonly update?: UpdateJson };
  };
}

function keyIn({ nlri, rd, code, mac, ip, iplen }: NlriJson): string {
  if (code === undefined) return `${rd} ${nlri}`;
  if (code === 2) return `2 ${rd} ${mac}${ip === undefined ? '' : ` ${ip}`}`;
  return code === 5 ? `5 ${rd} ${ip}/${iplen}` : `${code} ${rd} ${ip}`;
}

function seen(nlri: NlriJson, nextHop: string, update: UpdateJson, from: string): SeenRoute {
  const { attribute = {} } = update;
  // Of EVPN: as a label, and as it is on the wire.
  const label = nlri.label?.[0]?.at(-1) ?? /\((\d+)\)/.exec(attribute.pmsi ?? '')?.[1];
  const extended = (attribute['extended-community'] ?? []).map(({ string }) => string);
  return {
    key: keyIn(nlri),
    nextHop: plainAddress(nextHop),
    ...(label === undefined ? {} : { label: Number(label) }),
    targets: extended
      .filter((text) => text.startsWith('target:'))
      .map((text) => text.slice('target:'.length))
      .toSorted(),
    communities: (attribute.community ?? []).map((words) => words.join(':')).toSorted(),
    stale: false,
    from,
  };
}

export class Exabgp implements BgpPeer {
  readonly name: string;
  readonly host: Host;
  #service: ReturnType<Host['lab']['start']>;

  private constructor(host: Host, service: ReturnType<Host['lab']['start']>) {
    this.name = `exabgp ${host.name}`;
    this.host = host;
    this.#service = service;
  }

  static async start(host: Host, config: PeerConfig): Promise<Exabgp> {
    const file = (name: string, text: string, mode = 0o644) => {
      writeFileSync(`${host.directory}/${name}`, text);
      chmodSync(`${host.directory}/${name}`, mode);
      return `${host.directory}/${name}`;
    };
    file('told', '');
    file('record', '');
    file('record.sh', RECORDER, 0o755);
    const env = {
      'exabgp.daemon.user': 'root',
      'exabgp.log.all': 'false',
      'exabgp.api.ack': 'false',
    };
    const argv = ['exabgp', file('exabgp.conf', configText(host, config))];
    const service = host.lab.start(`exabgp of ${host.name}`, argv, {
      namespace: host.namespace,
      mayEnd: true,
      env,
    });
    return new Exabgp(host, service);
  }

  async established(): Promise<readonly string[]> {
    const up = new Set<string>();
    for (const { neighbor } of this.#record()) {
      if (neighbor.state === 'up') up.add(neighbor.address.peer);
      if (neighbor.state === 'down') up.delete(neighbor.address.peer);
    }
    return [...up];
  }

  async routes(name: FamilyName): Promise<readonly SeenRoute[]> {
    const of = family(name);
    const routes = new Map<string, SeenRoute>();
    const at = (from: string, nlri: NlriJson) => `${from} ${keyIn(nlri)}`;
    for (const { neighbor } of this.#record()) {
      const from = neighbor.address.peer;
      if (neighbor.state === 'down') {
        for (const [key, route] of routes) if (route.from === from) routes.delete(key);
      }
      const update = neighbor.message?.update;
      if (update === undefined) continue;
      for (const nlri of update.withdraw?.[of] ?? []) routes.delete(at(from, nlri));
      for (const [nextHop, all] of Object.entries(update.announce?.[of] ?? {})) {
        for (const nlri of all) routes.set(at(from, nlri), seen(nlri, nextHop, update, from));
      }
    }
    return [...routes.values()];
  }

  async announce(route: PeerRoute): Promise<void> {
    this.#tell(route, 'announce');
  }

  async withdraw(route: PeerRoute): Promise<void> {
    this.#tell(route, 'withdraw');
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

  #tell(route: PeerRoute, verb: 'announce' | 'withdraw'): void {
    if (route.family === 'evpn') throw new Error('exabgp announces no EVPN');
    appendFileSync(`${this.host.directory}/told`, `${verb} ${routeText(route)}\n`);
  }

  /** The last line may not be whole yet. */
  #record(): LineJson[] {
    const text = readFileSync(`${this.host.directory}/record`, 'utf8');
    const whole = text.slice(0, text.lastIndexOf('\n') + 1).split('\n');
    return whole.filter((line) => line !== '').map((line) => JSON.parse(line) as LineJson);
  }
}
