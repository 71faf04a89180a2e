/**
 * The node's place in the fabric: its uplink and host interface (vif0/0, vif0/1), own addresses, and the
 * tunnels it can build. VRF 0 is the fabric's.
 */
import { canonicalIp, isIpv4, parseIp } from '../addr/ip.ts';
import { canonicalMac, MAC_GATEWAY } from '../addr/mac.ts';
import { contains, hostPrefix, type Prefix, parsePrefix } from '../addr/prefix.ts';
import { VRouterError } from '../errors.ts';
import type { EncapName, PathHop } from '../rib/route.ts';
import { NEXT_HOP_DISCARD, NONE, VIF_AGENT, VIF_HOST, VIF_PHYSICAL, VRF_FABRIC } from './ids.ts';
import type { AgentVifIntent, HostVifIntent, RouterIntent, UnderlayIntent } from './intents.ts';
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

/** The MAC that frames for a far end go to; undefined: not known now, asked for. */
export type NeighbourSource = (farEnd: string) => string | undefined;

export class Underlay {
  readonly encaps: readonly EncapName[];
  /** Own addresses; the first is what routes are published with. */
  readonly addresses: readonly string[];
  readonly mac: string;
  readonly #intent: UnderlayIntent;
  readonly #neighbours = new Map<string, string>();
  /** Neighbours given as prefixes (a gateway for all behind it), longest first. */
  #gateways: { readonly prefix: Prefix; readonly mac: string }[] = [];
  #host: HostVifIntent | undefined;
  /** Asked for what is not said in `neighbours`. */
  #source: NeighbourSource | undefined;

  constructor(intent: UnderlayIntent) {
    this.#intent = intent;
    this.mac = canonicalMac(intent.mac);
    this.encaps = intent.encaps ?? DEFAULT_ENCAPS;
    if (this.encaps.length === 0) throw new VRouterError('BAD_VALUE', 'underlay: encaps is empty');
    this.addresses = [intent.ipv4, intent.ipv6].flatMap((a) =>
      a === undefined ? [] : [canonicalIp(a)],
    );
    if (this.addresses.length === 0) {
      throw new VRouterError('BAD_VALUE', 'underlay: ipv4 or ipv6 is needed');
    }
    this.setNeighbours(intent.neighbours);
  }

  setNeighbours(neighbours: UnderlayIntent['neighbours']): void {
    this.#neighbours.clear();
    this.#gateways = [];
    for (const [where, mac] of Object.entries(neighbours)) {
      if (where.includes('/'))
        this.#gateways.push({ prefix: parsePrefix(where), mac: canonicalMac(mac) });
      else this.#neighbours.set(canonicalIp(where), canonicalMac(mac));
    }
    this.#gateways.sort((a, b) => b.prefix.length - a.prefix.length);
  }

  setSource(source: NeighbourSource): void {
    this.#source = source;
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
    const destinationMac = this.#macOf(hop.address);
    if (source === undefined || destinationMac === undefined) return undefined;
    return {
      op: 'nh_tunnel_set',
      vrf: VRF_FABRIC,
      vif: VIF_PHYSICAL,
      flags: 0,
      encap: ENCAP_NUMBERS[encap],
      source,
      destination: hop.address,
      destinationMac,
      sourceMac: this.mac,
      l3VxlanMac: encap === 'vxlan' ? (hop.mac ?? '') : '',
    };
  }

  #macOf(address: string): string | undefined {
    return this.#neighbours.get(address) ?? this.#gatewayMac(address) ?? this.#source?.(address);
  }

  #gatewayMac(address: string): string | undefined {
    if (this.#gateways.length === 0) return undefined;
    const { family, bytes } = parseIp(address);
    const host: Prefix = { family, bytes, length: family === 4 ? 32 : 128 };
    return this.#gateways.find((g) => contains(g.prefix, host))?.mac;
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
      {
        ...this.#vif(),
        vif: VIF_PHYSICAL,
        name: this.#intent.name ?? 'fabric',
        type: VIF_TYPE_PHYSICAL,
        port: this.#intent.port,
        mac: this.mac,
        nextHop: NEXT_HOP_DISCARD,
      },
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
      mtu: this.#intent.mtu ?? 1500,
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
