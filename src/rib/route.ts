/**
 * RouteUpdate: the only type that static configuration, the in-process exchange, XMPP and BGP share. Past
 * this line nothing knows which protocol a route came by.
 * Modelled on the items of Contrail's XMPP exchange: a route lives in a routing instance (a VRF by name),
 * has a list of next hops (ECMP), and each next hop has a tunnel end, a label and the encapsulations the
 * far end takes.
 */

/** Encapsulations in Contrail's order of preference names: `gre` = MPLSoGRE, `udp` = MPLSoUDP. */
export type EncapName = 'gre' | 'udp' | 'vxlan';

/** One way to reach a prefix. */
export interface PathHop {
  /** Tunnel end: the underlay address of the vRouter that has it. */
  readonly address: string;
  /** MPLS label, or VNI for vxlan, at that vRouter. */
  readonly label: number;
  /** What the far end can decapsulate, most preferred first. */
  readonly encaps: readonly EncapName[];
  /**
   * Stable id of the ECMP member, if the source knows one; else the agent derives it from what
   * identifies the member (address, label), whatever order hops arrive in.
   */
  readonly member?: number;
  readonly weight?: number; // default 1; 0 = draining: keeps its flows, gets no new ones
  /** Router MAC of the far end, for routed VXLAN with an inner Ethernet header (RFC 9135). */
  readonly mac?: string;
}

export type RouteFamily = 'inet' | 'inet6' | 'evpn';

export interface RouteKey {
  /** Routing instance (VRF) name. */
  readonly instance: string;
  readonly family: RouteFamily;
  /** `10.47.255.236/32`, `fd00::/64`; for evpn `mac,address/len` with address optional. */
  readonly prefix: string;
}

export interface Route extends RouteKey {
  readonly hops: readonly PathHop[];
  readonly localPreference?: number; // default 100
  readonly med?: number;
  /** Route targets it carries, `64512:8000001`. */
  readonly routeTargets?: readonly string[];
  readonly originVn?: string;
  readonly securityGroups?: readonly number[];
  /** MAC mobility sequence (RFC 7432 §7.7). */
  readonly sequence?: number;
  /** Names of hash fields for ECMP; empty or absent = all five. */
  readonly loadBalance?: readonly (
    | 'source'
    | 'destination'
    | 'source-port'
    | 'destination-port'
    | 'protocol'
  )[];
}

export type RouteUpdate =
  | { readonly type: 'announce'; readonly route: Route }
  | { readonly type: 'withdraw'; readonly key: RouteKey }
  /** All of this source's routes of the instance have been sent (RFC 4724). */
  | { readonly type: 'end-of-rib'; readonly instance: string }
  /**
   * The source lost what it learned from: its routes of the instance stay in use, but those that are
   * not announced again before the next end-of-rib are gone (mark and sweep).
   */
  | { readonly type: 'stale'; readonly instance: string };

/** A key as one text, for maps. Instance names hold no line breaks (check.ts). */
export function routeKeyText(key: RouteKey): string {
  return `${key.instance}\n${key.family} ${key.prefix}`;
}

/** The same prefix in whatever instance. */
export function prefixKeyText(key: RouteKey): string {
  return `${key.family} ${key.prefix}`;
}

export function keyOf(key: RouteKey): RouteKey {
  return { instance: key.instance, family: key.family, prefix: key.prefix };
}

/**
 * What an agent speaks to: static configuration, the in-process exchange, later an XMPP session. One
 * compliance suite (test/compliance/route-source.ts) for all.
 */
export interface RouteSource {
  readonly name: string;
  /** Updates for subscribed instances; delivered in order, never during a call into the source. */
  onUpdates(listener: (updates: readonly RouteUpdate[]) => void): void;
  /** Wants the routes of an instance; existing ones follow, then end-of-rib. */
  subscribe(instance: string, instanceId: number): void;
  unsubscribe(instance: string): void;
  publish(route: Route): void;
  withdraw(key: RouteKey): void;
  close(): void;
}
