/**
 * What the tests say to a BGP speaker and ask of it, whoever wrote it: one interface, and one shape of a route, which
 * each peer's file makes of what that peer itself shows.
 *
 * Invariant: what `routes` answers is the peer's own view, read from its own command; nothing is remembered here of
 * what was announced to it.
 */
import type { FamilyName } from '../../../src/bgp/wire/family-names.ts';
import type { Host } from './lab.ts';

export interface PeerNeighbour {
  readonly address: string;
  /** Of a link-local address. */
  readonly interface?: string;
  readonly as: number;
  readonly families: readonly FamilyName[];
  /** It is reflected to and from. */
  readonly client?: boolean;
}

export interface PeerConfig {
  readonly as: number;
  readonly neighbours: readonly PeerNeighbour[];
  /** Seconds; offered to all neighbours, for all families. */
  readonly restartTime?: number;
  readonly holdTime?: number;
}

interface Common {
  readonly nextHop: string;
  /** Sorted by `normalised`. */
  readonly targets: readonly string[];
  /** `as:number`, sorted by `normalised`. */
  readonly communities?: readonly string[];
}

export interface VpnRoute extends Common {
  readonly family: 'vpnv4' | 'vpnv6';
  readonly rd: string;
  readonly prefix: string;
  readonly label: number;
}

export interface MacRoute extends Common {
  readonly family: 'evpn';
  readonly type: 'mac-ip';
  readonly rd: string;
  readonly mac: string;
  readonly ip?: string;
  readonly vni: number;
}

export interface MulticastRoute extends Common {
  readonly family: 'evpn';
  readonly type: 'multicast';
  readonly rd: string;
  readonly originator: string;
  readonly vni: number;
}

export interface PrefixRoute extends Common {
  readonly family: 'evpn';
  readonly type: 'ip-prefix';
  readonly rd: string;
  readonly prefix: string;
  readonly vni: number;
  readonly routerMac?: string;
}

/** Tests announce these, ethernet tag 0, no segment, VXLAN where EVPN. */
export type PeerRoute = VpnRoute | MacRoute | MulticastRoute | PrefixRoute;

export interface SeenRoute {
  /** RD and what follows: `65000:101 10.1.0.0/24`, `2 RD MAC [IP]`, `3 RD ORIGINATOR`, `5 RD PREFIX`; `1 RD` and `4 RD`. */
  readonly key: string;
  readonly nextHop: string;
  /** The label, or the VNI of EVPN; undefined where the peer does not show it. */
  readonly label?: number;
  readonly targets: readonly string[];
  readonly communities: readonly string[];
  /** Kept for a peer that is away. */
  readonly stale: boolean;
  /** Address of the neighbour it came from; undefined: the peer's own. */
  readonly from?: string;
}

export interface BgpPeer {
  readonly name: string;
  readonly host: Host;
  /** Neighbours with which a session is established. */
  established(): Promise<readonly string[]>;
  routes(family: FamilyName): Promise<readonly SeenRoute[]>;
  announce(route: PeerRoute): Promise<void>;
  withdraw(route: PeerRoute): Promise<void>;
  /** As it ends when it is told to. */
  stop(): Promise<void>;
  /** SIGKILL. */
  kill(): Promise<void>;
  /** The last of what its processes have said. */
  log(): string;
}

export function keyOf(route: PeerRoute): string {
  if (route.family !== 'evpn') return `${route.rd} ${route.prefix}`;
  switch (route.type) {
    case 'mac-ip':
      return `2 ${route.rd} ${route.mac}${route.ip === undefined ? '' : ` ${route.ip}`}`;
    case 'multicast':
      return `3 ${route.rd} ${route.originator}`;
    case 'ip-prefix':
      return `5 ${route.rd} ${route.prefix}`;
  }
}

/** As a peer that was sent it should see it. */
export function seenOf(route: PeerRoute, from: string): SeenRoute {
  return {
    key: keyOf(route),
    nextHop: route.nextHop,
    label: route.family === 'evpn' ? route.vni : route.label,
    targets: route.targets.toSorted(),
    communities: (route.communities ?? []).toSorted(),
    stale: false,
    from,
  };
}

export const communityText = (community: number): string =>
  `${community >>> 16}:${community & 0xffff}`;

/** An IPv4 address that stands in an IPv6 one, in either spelling, as itself. */
export function plainAddress(text: string): string {
  const hex = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(text);
  if (hex === null) return text.replace(/^::ffff:(?=\d+\.)/, '');
  const numbers = hex.slice(1).flatMap((part) => {
    const value = Number.parseInt(part, 16);
    return [value >> 8, value & 0xff];
  });
  return numbers.join('.');
}

export const byKey = (a: SeenRoute, b: SeenRoute): number => a.key.localeCompare(b.key);
