/**
 * What users and orchestrators ask an agent for: typed, by name, no ids. The agent turns these into ops
 * and routes and owns every id and label.
 */
import type { LinkLocalRole } from './link-local.ts';

export interface UplinkIntent {
  /** Name of the uplink's vif. Default `fabric`, then `fabric-2`, … */
  readonly name?: string;
  readonly port: number; // data plane port of the uplink
  readonly mac: string;
  readonly mtu?: number; // IP bytes on the wire, default 1500
  /**
   * Next-hop MACs of the fabric by underlay address (static until the kernel's table is followed); a
   * prefix stands for all far ends in it that are not named themselves (a gateway).
   */
  readonly neighbours: Readonly<Record<string, string>>;
}

/** The first uplink and what holds for all. */
export interface UnderlayIntent extends UplinkIntent {
  readonly ipv4?: string;
  readonly ipv6?: string;
  /** The second and third: every far end may be reached by each. */
  readonly moreUplinks?: readonly UplinkIntent[];
  /** Encapsulations this vRouter takes, most preferred first. Default udp, gre, vxlan. */
  readonly encaps?: readonly ('gre' | 'udp' | 'vxlan')[];
}

/** The host's own stack behind vif0/1. */
export interface HostVifIntent {
  readonly name?: string; // default vhost0
  readonly port: number;
  readonly mac?: string; // default the uplink's
}

/** The control side behind vif0/2 (pkt0): packets that are its to answer, in the agent's header. */
export interface AgentVifIntent {
  readonly name?: string; // default pkt0
  readonly port: number;
}

/** Settings of the router as a whole. */
export interface RouterIntent {
  /** ICMP errors the router may generate, all vifs together. Default 1000; 0 = none. */
  readonly icmpErrorsPerSecond?: number;
  /** RouterFlag bits. */
  readonly flags?: number;
  /** Idle times of flows where they differ from the core's defaults. */
  readonly timeouts?: readonly {
    readonly protocol: number;
    readonly state: number;
    readonly seconds: number;
  }[];
}

export interface VrfIntent {
  readonly name: string;
  /** Virtual network id (VNI) for bridging and routed VXLAN. */
  readonly vni?: number;
  readonly flowQuota?: number;
  /** The virtual network that its routes are said to come from. Default: its name. */
  readonly network?: string;
  /** Of this node alone: its routes are neither learned nor told. Default false. */
  readonly local?: boolean;
}

export interface FloatingIpIntent {
  readonly address: string;
  readonly vrf: string; // instance it is reachable in
  readonly direction?: 'both' | 'ingress' | 'egress';
  /** Present: only these ports, translated (a service). */
  readonly ports?: readonly { protocol: 'tcp' | 'udp' | 'sctp'; port: number; toPort: number }[];
  /** Also published into these instances (policy between networks), e.g. the pod network. */
  readonly leakTo?: readonly string[];
  /**
   * Local vifs with this address are published behind one label that leads to an ECMP set of them, as
   * the ancestor's agent does; default: each with its own label.
   */
  readonly sharedLabel?: boolean;
}

export interface PolicyRuleIntent {
  readonly action: 'pass' | 'deny';
  readonly protocol?: 'any' | 'tcp' | 'udp' | 'icmp' | 'icmp6' | 'sctp' | number;
  readonly source?: string; // prefix; absent = any
  readonly destination?: string;
  readonly sourcePorts?: readonly [number, number];
  readonly destinationPorts?: readonly [number, number];
}

export interface PolicyIntent {
  readonly name: string;
  readonly rules: readonly PolicyRuleIntent[];
}

export interface HealthCheckIntent {
  readonly type: 'ping' | 'tcp' | 'http';
  readonly port?: number;
  /** Of http. */
  readonly path?: string;
  readonly intervalMs?: number;
  readonly timeoutMs?: number;
  readonly failures?: number;
  readonly successes?: number;
}

export interface VifIntent {
  readonly name: string;
  readonly port: number;
  readonly vrf: string;
  readonly tenantMac: string; // the tenant's own MAC
  readonly ipv4?: string;
  readonly ipv6?: string;
  readonly gateway4?: string;
  readonly gateway6?: string;
  /** What is behind the tenant, beside its own addresses: led to it, and published like them. */
  readonly prefixes?: readonly string[];
  readonly mtu?: number; // default 1500
  /** Flow table for its packets. Default true. */
  readonly policy?: boolean;
  readonly flowQuota?: number;
  readonly floatingIps?: readonly FloatingIpIntent[];
  /** Security groups it is in, by number: its routes say so, and rules elsewhere go by it. */
  readonly securityGroups?: readonly number[];
  /** Mobility sequence its routes are published with (RFC 7432 §7.7); higher wins. */
  readonly sequence?: number;
  readonly networkPolicies?: readonly string[];
  readonly ingressGroups?: readonly string[];
  readonly egressGroups?: readonly string[];
  /** What the tenant's DHCP client asks goes to the agent vif. Default false. */
  readonly trapDhcp?: boolean;
  /** What is for its gateways' own addresses goes to the agent vif. Default false. */
  readonly trapGateway?: boolean;
  /** How it is asked whether it is well; what came of it: Agent.setVifHealth. Nothing in the data plane. */
  readonly healthChecks?: readonly HealthCheckIntent[];
  /** What the tenant is told to be called; nothing in the data plane. */
  readonly hostname?: string;
  /** Behind it are the node's own services: what they are asked, and ask, goes past tenants' policy. */
  readonly service?: boolean;
  /** Parts it takes in the node's link-local network, beside its own floating IPs, however ill it is. */
  readonly linkLocal?: readonly LinkLocalRole[];
  /** Who it is to the metadata server; nothing in the data plane. Default: its name, its VRF. */
  readonly instanceId?: string;
  readonly tenantId?: string;
}

export interface SourceNatIntent {
  readonly name: string;
  readonly vrf: string;
  readonly toVrf: string;
  readonly source?: string;
  readonly address: string;
  readonly ports: readonly [number, number];
}
