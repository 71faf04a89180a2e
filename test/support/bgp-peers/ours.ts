/** Our own speaker as one of the peers, in a host of the tests. Its neighbours are called by their addresses. */
import type { IpText } from '../../../src/addr/ip.ts';
import type { MacText } from '../../../src/addr/mac.ts';
import type { PrefixText } from '../../../src/addr/prefix.ts';
import type { RouteDistinguisher } from '../../../src/addr/rd.ts';
import type { RouteTarget } from '../../../src/addr/route-target.ts';
import type { Neighbour } from '../../../src/bgp/neighbour.ts';
import type { BgpPath } from '../../../src/bgp/rib/contract.ts';
import type { Attributes } from '../../../src/bgp/wire/attributes.ts';
import { TUNNEL_TYPES } from '../../../src/bgp/wire/communities.ts';
import type { FamilyName } from '../../../src/bgp/wire/family-names.ts';
import { NO_ESI } from '../../../src/bgp/wire/nlri-evpn.ts';
import { PMSI_TYPES } from '../../../src/bgp/wire/tunnel.ts';
import type { Host } from './lab.ts';
import {
  type BgpPeer,
  communityText,
  type PeerConfig,
  type PeerRoute,
  type SeenRoute,
} from './peer.ts';
import { SpeakerProcess, type SpeakerSetting } from './speaker-process.ts';

/** Beside what every peer is told. */
export interface OurConfig extends PeerConfig {
  /** Of all neighbours. */
  readonly more?: Partial<Neighbour>;
  readonly restarted?: boolean;
  readonly want?: readonly string[];
  /** Said before the first neighbour is: what a speaker that restarts must have. */
  readonly announce?: readonly PeerRoute[];
}

/** One of ours. */
export type OurPath = Omit<BgpPath, 'from' | 'stale'>;

export function pathOf(route: PeerRoute): OurPath {
  const { targets, communities = [] } = route;
  const numbers = communities.map((text) => {
    const [high = 0, low = 0] = text.split(':').map(Number);
    return ((high << 16) | low) >>> 0;
  });
  const evpn = route.family === 'evpn';
  const attributes: Attributes = {
    ...{ origin: 'igp', asPath: [] },
    ...(numbers.length === 0 ? {} : { communities: numbers }),
    extendedCommunities: [
      ...targets.map((target) => ({
        kind: 'route-target' as const,
        target: target as RouteTarget,
      })),
      ...(evpn ? [{ kind: 'encapsulation' as const, tunnel: TUNNEL_TYPES.vxlan }] : []),
      ...('routerMac' in route
        ? [{ kind: 'router-mac' as const, mac: route.routerMac as MacText }]
        : []),
    ],
    ...(evpn && route.type === 'multicast'
      ? {
          pmsi: {
            ...{ flags: 0, type: PMSI_TYPES.ingressReplication, label: route.vni },
            endpoint: route.originator as IpText,
          },
        }
      : {}),
  };
  const nextHop = { address: route.nextHop as IpText };
  return { family: route.family, nlri: nlriOf(route), attributes, nextHop };
}

function nlriOf(route: PeerRoute): BgpPath['nlri'] {
  const rd = route.rd as RouteDistinguisher;
  if (route.family !== 'evpn') {
    return { rd, prefix: route.prefix as PrefixText, label: route.label };
  }
  const head = { rd, esi: NO_ESI, tag: 0 };
  switch (route.type) {
    case 'mac-ip': {
      const ip = route.ip === undefined ? {} : { ip: route.ip as IpText };
      return { ...head, type: 'mac-ip', mac: route.mac as MacText, ...ip, label: route.vni };
    }
    case 'multicast':
      return { rd, tag: 0, type: 'multicast', originator: route.originator as IpText };
    case 'ip-prefix':
      return { ...head, type: 'ip-prefix', prefix: route.prefix as PrefixText, label: route.vni };
  }
}

function keyIn(nlri: BgpPath['nlri']): string {
  if (!('type' in nlri)) return 'rd' in nlri ? `${nlri.rd} ${nlri.prefix}` : JSON.stringify(nlri);
  switch (nlri.type) {
    case 'mac-ip':
      return `2 ${nlri.rd} ${nlri.mac}${nlri.ip === undefined ? '' : ` ${nlri.ip}`}`;
    case 'multicast':
      return `3 ${nlri.rd} ${nlri.originator}`;
    case 'ip-prefix':
      return `5 ${nlri.rd} ${nlri.prefix}`;
    case 'ethernet-ad':
      return `1 ${nlri.rd}`;
    case 'ethernet-segment':
      return `4 ${nlri.rd}`;
    default:
      return JSON.stringify(nlri);
  }
}

export function seenPath({ nlri, attributes, nextHop, from, stale }: BgpPath): SeenRoute {
  const label = 'label' in nlri ? nlri.label : attributes.pmsi?.label;
  const extended = attributes.extendedCommunities ?? [];
  return {
    key: keyIn(nlri),
    nextHop: nextHop.address,
    ...(label === undefined ? {} : { label }),
    targets: extended
      .flatMap((one) => (one.kind === 'route-target' ? [one.target] : []))
      .toSorted(),
    communities: (attributes.communities ?? []).map(communityText).toSorted(),
    stale: stale !== undefined,
    ...(from === undefined ? {} : { from }),
  };
}

/** A neighbour of ours as the tests' peers have it. */
export function neighboursOf(config: OurConfig): readonly Neighbour[] {
  return config.neighbours.map(({ address, interface: on, as, families, client }) => ({
    ...{ name: address, address: address as IpText, port: 179, as, passive: false },
    ...(on === undefined ? {} : { interface: on }),
    ...{ holdTime: config.holdTime ?? 90, client: client === true, allowAsIn: 0 },
    families: families.map((family) => ({ family })),
    ...(config.restartTime === undefined ? {} : { restartTime: config.restartTime }),
    ...config.more,
  }));
}

export class Ours implements BgpPeer {
  readonly name: string;
  readonly host: Host;
  readonly #process: SpeakerProcess;

  private constructor(host: Host, process: SpeakerProcess) {
    this.name = `our speaker ${host.name}`;
    this.host = host;
    this.#process = process;
  }

  static async start(host: Host, config: OurConfig): Promise<Ours> {
    const { lab, name, namespace, address, address6 } = host;
    const setting: SpeakerSetting = {
      speaker: { as: config.as, id: address },
      listen: [address, address6].map((one) => ({ address: one, port: 179 })),
      ...{ neighbours: neighboursOf(config), restarted: config.restarted === true },
      paths: (config.announce ?? []).map(pathOf),
    };
    const ours = new Ours(host, await SpeakerProcess.start(lab, name, setting, namespace));
    if (config.want !== undefined) await ours.want(config.want);
    return ours;
  }

  async established(): Promise<readonly string[]> {
    const { neighbours } = await this.#process.call('status');
    return neighbours.filter(({ state }) => state === 'established').map(({ address }) => address);
  }

  /** All paths, the best and the others. */
  async routes(family: FamilyName): Promise<readonly SeenRoute[]> {
    const all = await this.#process.call('routes', { family });
    return all.flatMap(({ paths }) => paths).map(seenPath);
  }

  async advertised(neighbour: string, family: FamilyName): Promise<readonly SeenRoute[]> {
    return (await this.#process.call('advertised', { neighbour, family })).map(seenPath);
  }

  /** AS numbers of sequences, by route in order of key. */
  async asPaths(family: FamilyName): Promise<readonly (readonly number[])[]> {
    const all = await this.#process.call('routes', { family });
    return all.map(({ paths }) => (paths[0]?.attributes.asPath ?? []).flatMap(({ asns }) => asns));
  }

  async announce(...routes: readonly PeerRoute[]): Promise<void> {
    await this.originate(...routes.map(pathOf));
  }

  async originate(...paths: readonly OurPath[]): Promise<void> {
    await this.#process.call('originate', { paths });
  }

  async withdraw(...routes: readonly PeerRoute[]): Promise<void> {
    await this.#process.call('withdraw', { routes: routes.map(pathOf) });
  }

  async want(targets: readonly string[]): Promise<void> {
    await this.#process.call('want', { targets });
  }

  async stop(): Promise<void> {
    await this.#process.service.stop();
  }

  async kill(): Promise<void> {
    await this.#process.service.kill();
  }

  log(): string {
    return this.#process.log();
  }
}
