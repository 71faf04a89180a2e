/**
 * The node's place in the fabric: its uplinks and host interface (vif0/0 and more, vif0/1), own addresses,
 * and the tunnels it can build, each with a leg for each uplink. VRF 0 is the fabric's.
 */
import { canonicalIp, isIpv4, parseIp } from '../addr/ip.ts';
import { canonicalMac, MAC_GATEWAY } from '../addr/mac.ts';
import { contains, hostPrefix, type Prefix, parsePrefix } from '../addr/prefix.ts';
import { layout } from '../dataplane/layout.ts';
import { VRouterError } from '../errors.ts';
import type { EncapName, PathHop } from '../rib/route.ts';
import {
  NEXT_HOP_DISCARD,
  NONE,
  VIF_AGENT,
  VIF_HOST,
  VIF_PHYSICAL,
  type VifId,
  VRF_FABRIC,
} from './ids.ts';
import type {
  AgentVifIntent,
  HostVifIntent,
  RouterIntent,
  UnderlayIntent,
  UplinkIntent,
} from './intents.ts';
import type { NextHopSpec, TunnelSpec } from './next-hops.ts';
import type { SetOp } from './tables.ts';

/** Name of VRF 0, the ancestor's. */
export const FABRIC_INSTANCE = 'default-domain:default-project:ip-fabric:__default__';

const VIF_TYPE_HOST = 0;
const VIF_TYPE_AGENT = 1;
const VIF_TYPE_PHYSICAL = 2;
const VIF_L3 = 0x40;
const VIF_L2 = 0x80;
const ENCAP_NUMBERS: Readonly<Record<EncapName, number>> = { gre: 1, udp: 2, vxlan: 3 };
const DEFAULT_ENCAPS: readonly EncapName[] = ['udp', 'gre', 'vxlan'];
const DEFAULT_ICMP_ERRORS_PER_SECOND = 1000;
const DEFAULT_MTU = 1500;

/** What of an uplink changes while the node runs. */
export interface UplinkState {
  readonly up?: boolean;
  readonly mtu?: number;
}

/** What the kernel knows of a far end by one uplink. */
export interface Way {
  /** Where its frames go; '': not known yet. */
  readonly mac: string;
  /** The kernel would send by it now. */
  readonly up: boolean;
}

/** A far end's ways, one for each uplink; what is not known is asked for. */
export type NeighbourSource = (farEnd: string) => readonly (Way | undefined)[];

/** By which uplinks a tunnel goes: fields of its op that change while its id and its flows stay. */
export type Legs = Pick<
  TunnelSpec,
  'vif' | 'destinationMac' | 'sourceMac' | 'legsDown' | 'moreLegs'
>;

class Uplink {
  readonly name: string;
  readonly port: number;
  readonly mac: string;
  vif: VifId = VIF_PHYSICAL;
  mtu: number;
  /** Its port can send. */
  up = true;
  readonly #neighbours = new Map<string, string>();
  /** Neighbours given as prefixes (a gateway for all behind it), longest first. */
  #gateways: { readonly prefix: Prefix; readonly mac: string }[] = [];

  constructor(intent: UplinkIntent, at: number) {
    this.name = intent.name ?? (at === 0 ? 'fabric' : `fabric-${at + 1}`);
    this.port = intent.port;
    this.mac = canonicalMac(intent.mac);
    this.mtu = intent.mtu ?? DEFAULT_MTU;
    this.setNeighbours(intent.neighbours);
  }

  setNeighbours(neighbours: UplinkIntent['neighbours']): void {
    this.#neighbours.clear();
    this.#gateways = [];
    for (const [where, mac] of Object.entries(neighbours)) {
      if (where.includes('/'))
        this.#gateways.push({ prefix: parsePrefix(where), mac: canonicalMac(mac) });
      else this.#neighbours.set(canonicalIp(where), canonicalMac(mac));
    }
    this.#gateways.sort((a, b) => b.prefix.length - a.prefix.length);
  }

  macOf(address: string): string | undefined {
    return this.#neighbours.get(address) ?? this.#gatewayMac(address);
  }

  #gatewayMac(address: string): string | undefined {
    if (this.#gateways.length === 0) return undefined;
    const { family, bytes } = parseIp(address);
    const host: Prefix = { family, bytes, length: family === 4 ? 32 : 128 };
    return this.#gateways.find((g) => contains(g.prefix, host))?.mac;
  }
}

export class Underlay {
  readonly encaps: readonly EncapName[];
  /** Own addresses; the first is what routes are published with. */
  readonly addresses: readonly string[];
  /** The first uplink's. */
  readonly mac: string;
  readonly #uplinks: readonly Uplink[];
  #host: HostVifIntent | undefined;
  /** Asked for what is not said in `neighbours`. */
  #source: NeighbourSource | undefined;

  constructor(intent: UnderlayIntent) {
    this.mac = canonicalMac(intent.mac);
    this.encaps = intent.encaps ?? DEFAULT_ENCAPS;
    if (this.encaps.length === 0) throw new VRouterError('BAD_VALUE', 'underlay: encaps is empty');
    this.addresses = [intent.ipv4, intent.ipv6].flatMap((a) =>
      a === undefined ? [] : [canonicalIp(a)],
    );
    if (this.addresses.length === 0) {
      throw new VRouterError('BAD_VALUE', 'underlay: ipv4 or ipv6 is needed');
    }
    const all: readonly UplinkIntent[] = [intent, ...(intent.moreUplinks ?? [])];
    if (all.length > layout.limits.maxTunnelLegs) {
      const message = `underlay: ${all.length} uplinks, at most ${layout.limits.maxTunnelLegs}`;
      throw new VRouterError('BAD_VALUE', message);
    }
    this.#uplinks = all.map((uplink, at) => new Uplink(uplink, at));
  }

  /** Ids for all but the first uplink, which is vif0/0. */
  open(vifOf: (name: string) => VifId): void {
    for (const uplink of this.#uplinks.slice(1)) uplink.vif = vifOf(uplink.name);
  }

  setNeighbours(neighbours: UnderlayIntent['neighbours'], uplink = 0): void {
    this.#uplink(uplink).setNeighbours(neighbours);
  }

  setSource(source: NeighbourSource): void {
    this.#source = source;
  }

  /** Whether it is different now. */
  setUplink(at: number, { up, mtu }: UplinkState): boolean {
    const uplink = this.#uplink(at);
    const before = { up: uplink.up, mtu: uplink.mtu };
    uplink.up = up ?? before.up;
    uplink.mtu = mtu ?? before.mtu;
    return uplink.up !== before.up || uplink.mtu !== before.mtu;
  }

  /** What every uplink takes: IP bytes. */
  get mtu(): number {
    return Math.min(...this.#uplinks.map(({ mtu }) => mtu));
  }

  #uplink(at: number): Uplink {
    const uplink = this.#uplinks[at];
    if (uplink === undefined) throw new VRouterError('NOT_FOUND', `there is no uplink ${at}`);
    return uplink;
  }

  setHost(host: HostVifIntent | undefined): void {
    this.#host = host;
  }

  get address(): string {
    return this.addresses[0] as string;
  }

  isOwnAddress(address: string): boolean {
    return this.addresses.includes(address);
  }

  sends(encap: EncapName): boolean {
    return this.encaps.includes(encap);
  }

  /** MPLS encapsulations in our order. */
  get mplsEncaps(): EncapName[] {
    return this.encaps.filter((e) => e !== 'vxlan');
  }

  /** Undefined: no own address of that family, or no MAC for the far end. */
  tunnel(hop: PathHop, encap: EncapName): TunnelSpec | undefined {
    const source = this.addresses.find((a) => isIpv4(a) === isIpv4(hop.address));
    const legs = this.legs(hop.address);
    if (source === undefined || legs === undefined) return undefined;
    return {
      op: 'nh_tunnel_set',
      vrf: VRF_FABRIC,
      flags: 0,
      encap: ENCAP_NUMBERS[encap],
      source,
      destination: hop.address,
      l3VxlanMac: encap === 'vxlan' ? (hop.mac ?? '') : '',
      ...legs,
    };
  }

  /**
   * Each uplink is a leg, whether it leads there now or not, so that a leg's place is its uplink's and
   * flows of the others stay where they are. A single one is never down: there is nothing to move to.
   */
  legs(farEnd: string): Legs | undefined {
    const asked = this.#uplinks.some((uplink) => uplink.macOf(farEnd) === undefined)
      ? this.#source?.(farEnd)
      : undefined;
    const legs = this.#uplinks.map((uplink, i) => {
      const said = uplink.macOf(farEnd);
      const way = said === undefined ? asked?.[i] : { mac: said, up: true };
      return {
        vif: uplink.vif,
        destinationMac: way?.mac ?? '',
        sourceMac: uplink.mac,
        up: uplink.up && way?.up === true,
      };
    });
    const [first] = legs;
    if (first === undefined || legs.every(({ destinationMac }) => destinationMac === '')) {
      return undefined;
    }
    const several = legs.length > 1;
    return {
      vif: first.vif,
      destinationMac: first.destinationMac,
      sourceMac: first.sourceMac,
      legsDown: several ? legs.reduce((bits, { up }, i) => bits | (up ? 0 : 1 << i), 0) : 0,
      moreLegs: legs.slice(1).map(({ up: _, ...leg }) => leg),
    };
  }

  /** To the host's stack where there is a host vif, else to the router itself. */
  receive(): NextHopSpec & { op: 'nh_receive_set' } {
    return {
      op: 'nh_receive_set',
      vrf: VRF_FABRIC,
      vif: this.#host === undefined ? NONE : VIF_HOST,
      flags: 0,
    };
  }

  ownPrefixes(): string[] {
    return this.addresses.map(hostPrefix);
  }

  /** Router, fabric VRF and vifs; `receive` is the id of receive(). */
  ops(router: RouterIntent, receive: number): SetOp[] {
    const ops: SetOp[] = [
      {
        op: 'router_set',
        ipv4: this.#own(4),
        ipv6: this.#own(6),
        icmpErrorsPerSecond: router.icmpErrorsPerSecond ?? DEFAULT_ICMP_ERRORS_PER_SECOND,
        flags: router.flags ?? 0,
        timeouts: router.timeouts ?? [],
      },
      { op: 'vrf_set', vrf: VRF_FABRIC, name: FABRIC_INSTANCE, flowQuota: 0 },
      ...this.#uplinks.map(
        ({ vif, name, port, mac, mtu }): SetOp => ({
          ...this.#vif(),
          vif,
          name,
          type: VIF_TYPE_PHYSICAL,
          port,
          mac,
          mtu,
          nextHop: NEXT_HOP_DISCARD,
        }),
      ),
    ];
    if (this.#host !== undefined) {
      ops.push({
        ...this.#vif(),
        vif: VIF_HOST,
        name: this.#host.name ?? 'vhost0',
        type: VIF_TYPE_HOST,
        port: this.#host.port,
        mac: this.#host.mac === undefined ? this.mac : canonicalMac(this.#host.mac),
        nextHop: receive,
      });
    }
    return ops;
  }

  agentVif({ name, port }: AgentVifIntent): SetOp {
    return {
      ...this.#vif(),
      vif: VIF_AGENT,
      name: name ?? 'pkt0',
      type: VIF_TYPE_AGENT,
      port,
      mac: MAC_GATEWAY,
      mtu: 0, // its frames are its own
      nextHop: NEXT_HOP_DISCARD,
    };
  }

  #own(family: 4 | 6): string {
    return this.addresses.find((a) => isIpv4(a) === (family === 4)) ?? '';
  }

  #vif() {
    return {
      op: 'vif_set',
      vrf: VRF_FABRIC,
      flags: VIF_L3 | VIF_L2,
      mtu: this.mtu,
      ipv4: this.#own(4),
      ipv6: this.#own(6),
      gateway4: '',
      gateway6: '',
      flowQuota: 0,
      networkPolicies: [],
      ingressGroups: [],
      egressGroups: [],
    } as const;
  }
}
