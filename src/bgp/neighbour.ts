/**
 * A BGP neighbour as it is configured: a value, checked by whoever reads it (config/bgp.ts), the same for the
 * speaker (who to connect to, what to say of ourselves) and for the RIB (what may come in and go out).
 */
import type { IpText } from '../addr/ip.ts';
import type { PrefixText } from '../addr/prefix.ts';
import type { Policy } from './rib/policy.ts';
import type { FamilyName } from './wire/family-names.ts';

/** What we are in BGP, the same for all neighbours. */
export interface Speaker {
  readonly as: number;
  readonly id: IpText;
  /** Reflects between clients and others (RFC 4456); default: `id`. */
  readonly clusterId?: IpText;
}

export interface NeighbourFamily {
  readonly family: FamilyName;
  /** More routes than this and the session ends (cease, maximum number of prefixes reached). */
  readonly maxRoutes?: number;
  /** Path ids (RFC 7911), where the peer has them too. */
  readonly addPath?: 'receive' | 'send' | 'both';
  /** How many paths of a route are sent where add-path is; default 8. */
  readonly sendPaths?: number;
  /** `rtc` only: say the default (every route). Off, for it kills some versions of one peer. */
  readonly defaultRoute?: boolean;
}

export interface Neighbour {
  /** Unique; an address mostly. Dynamic ones: `name` of the range, `/`, address. */
  readonly name: string;
  readonly address: IpText;
  /** Of a link-local address: the interface that it is on. */
  readonly interface?: string;
  readonly port: number;
  /** Undefined: whatever it says. */
  readonly as?: number;
  readonly localAddress?: IpText;
  readonly passive: boolean;
  /** Seconds; 0, or at least 3. */
  readonly holdTime: number;
  /** Of our packets; default 255 within the AS, 1 else (RFC 4271 says nothing, all do). */
  readonly ttl?: number;
  /** RFC 5082: nobody farther away than so many hops is heard. Excludes `ttl`. */
  readonly ttlSecurity?: number;
  /** TCP MD5 signature (RFC 2385). */
  readonly password?: string;
  readonly families: readonly NeighbourFamily[];
  /** Seconds that a restarting peer's routes stay (RFC 4724); absent: we do not offer it. */
  readonly restartTime?: number;
  /** Seconds of long-lived staleness (RFC 9494); needs `restartTime`. */
  readonly longLivedTime?: number;
  /** We reflect to it and from it. */
  readonly client: boolean;
  /** Default: unchanged for VPN and EVPN; ourselves for unicast families to another AS. */
  readonly nextHop?: 'self' | 'unchanged';
  /** Our own AS may be this often in a path that comes in. Default 0. */
  readonly allowAsIn: number;
  /** What is tunnelled to routes that say no encapsulation. Default: MPLS over GRE, MPLS over UDP; VXLAN for EVPN. */
  readonly encapsulation?: readonly ('gre' | 'udp' | 'vxlan')[];
  readonly import?: Policy;
  readonly export?: Policy;
}

/** Whoever calls from these addresses is a neighbour like `template`. */
export interface NeighbourRange {
  readonly name: string;
  readonly prefix: PrefixText;
  /** Neighbours at once, at most. */
  readonly limit: number;
  readonly template: Omit<Neighbour, 'name' | 'address' | 'passive'>;
}
