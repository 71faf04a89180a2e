/**
 * What a running vRouter answers to the CLI, as JSON: one type per view. The text forms (render/*.ts) are
 * made from exactly these values, so `--json` shows everything the text does, and more.
 * Written by program/views.ts, read by render/ and by anyone's scripts. 64-bit counters are numbers while
 * they are exact in a double, decimal strings past 2^53.
 */

export type Count = number | string;

export const NEXT_HOP_TYPES = [
  'discard',
  'receive',
  'l2_receive',
  'interface',
  'tunnel',
  'ecmp',
  'replicate',
  'vrf_translate',
] as const;
export type NextHopType = (typeof NEXT_HOP_TYPES)[number];

export type Family = 'inet' | 'inet6' | 'bridge' | 'unspec';

export interface NextHopSlot {
  readonly nextHop: number;
  /** MPLS label or VNI; null: none. */
  readonly label: number | null;
  /** Stable member id and weight of an ECMP member. */
  readonly member?: number;
  readonly weight?: number;
}

export interface NextHopView {
  readonly id: number;
  readonly type: NextHopType;
  readonly family: Family;
  readonly references: number;
  readonly vrf: number;
  /** The ancestor's words, in its order: `Valid`, `Policy`, `MPLSoUDP`, `Ecmp`, … */
  readonly flags: readonly string[];
  /** Interface it leaves by; receive, interface and tunnel. */
  readonly vif?: number;
  /** Rewrite of the Ethernet header, hex; interface and tunnel. */
  readonly data?: string;
  /** A tunnel with several: instead of vif and data. */
  readonly legs?: readonly LegView[];
  readonly encapFamily?: number;
  readonly source?: string;
  readonly destination?: string;
  readonly l3VxlanMac?: string;
  /** ECMP: the fields hashed, empty when the default (all five) was not asked for by name. */
  readonly hashFields?: readonly HashFieldName[];
  /** Composite: its members; null: a slot whose member was removed. */
  readonly slots?: readonly (NextHopSlot | null)[];
}

export interface LegView {
  readonly vif: number;
  readonly data: string;
  readonly valid: boolean;
}

export const HASH_FIELD_NAMES = ['Proto', 'SrcIP', 'SrcPort', 'DstIp', 'DstPort'] as const;
export type HashFieldName = (typeof HASH_FIELD_NAMES)[number];

export interface PortCounters {
  readonly packets: Count;
  readonly errors: Count;
  readonly syscalls?: Count;
}

export interface VifView {
  readonly id: number;
  readonly name: string;
  /** Ethernet (AF_PACKET), Virtual (TAP, memory), PMD, Socket; null: no port. */
  readonly transport: 'Ethernet' | 'Virtual' | 'PMD' | 'Socket' | null;
  readonly type: 'Host' | 'Agent' | 'Physical' | 'Virtual';
  readonly nextHop: number;
  readonly mac: string;
  readonly ipv4: string | null;
  readonly ipv6: string | null;
  readonly gateway4?: string | null;
  readonly gateway6?: string | null;
  readonly vrf: number;
  readonly multicastVrf: number;
  /** Letters in the ancestor's order: `P`, `L3`, `L2`, `D`, … */
  readonly flags: readonly string[];
  readonly references: number;
  readonly mtu?: number;
  readonly flowQuota?: number;
  /** Of its port: frames are taken, and their largest payload. */
  readonly portUp?: boolean;
  readonly portMtu?: number;
  readonly rxPort?: PortCounters;
  readonly rxQueue?: PortCounters;
  readonly rxQueueErrors?: readonly number[];
  readonly txPort?: PortCounters;
  readonly rx: { readonly packets: Count; readonly bytes: Count; readonly errors: Count };
  readonly tx: { readonly packets: Count; readonly bytes: Count; readonly errors: Count };
  readonly drops: Count;
}

export interface RouteView {
  readonly prefix: string;
  /** Length of the route behind it; differs from the prefix's only in an answer to `--get`. */
  readonly length: number;
  /** L label valid, P proxy, T trap, F flood. */
  readonly flags: string;
  readonly label: number | null;
  readonly nextHop: number;
  readonly mac: string | null;
  /** Place of the MAC in the bridge table of the VRF; -1: it is not there. */
  readonly macIndex?: number;
}

export interface MacView {
  readonly index: number;
  readonly mac: string;
  readonly flags: string;
  readonly label: number | null;
  readonly nextHop: number;
  readonly packets: Count;
}

export interface RouteDump {
  readonly vrf: number;
  readonly family: 'inet' | 'inet6';
  readonly routes: readonly RouteView[];
}

/** A line of `rt --monitor`: the ancestor's words. */
export interface RouteChangeView {
  /** Of the change, from 1 since the agent started. */
  readonly number: number;
  readonly operation: 'add' | 'delete';
  readonly family: 'AF_INET' | 'AF_INET6';
  readonly vrf_id: number;
  readonly prefix: number;
  readonly address: string;
  readonly nh_id?: number;
  readonly flags?: Readonly<
    Record<'label_valid' | 'arp_proxy' | 'arp_trap' | 'arp_flood' | 'macip_learnt', boolean>
  >;
  readonly label?: number;
  readonly mac_address?: string;
}

export interface RouteChangesView {
  readonly changes: readonly RouteChangeView[];
  readonly last: number;
  /** Asked for, and no longer here. */
  readonly lost: number;
}

export interface MacDump {
  readonly vrf: number;
  readonly family: 'bridge';
  readonly macs: readonly MacView[];
}

export interface FlowView {
  readonly index: number;
  readonly reverse: number;
  readonly source: string;
  readonly sourcePort: number;
  readonly destination: string;
  readonly destinationPort: number;
  readonly protocol: number;
  readonly vrf: number;
  readonly destinationVrf: number;
  readonly generationId: number;
  readonly keyNextHop: number;
  readonly rpfNextHop: number;
  readonly nextHop: number;
  readonly label: number | null;
  /** -1: none. */
  readonly member: number;
  /** -1: fabric. */
  readonly vif: number;
  readonly action: 'D' | 'H' | 'F' | 'N';
  readonly drop: string;
  readonly nat: string;
  readonly tcp: string;
  readonly flags: string;
  readonly initiator: boolean;
  readonly packets: Count;
  readonly bytes: Count;
  /** Uplink its packets take now; -1: there is no choice. */
  readonly underlayLeg: number;
  readonly outerSourcePort: number;
  readonly sourceInfo: string;
  readonly natSource: string;
  readonly natSourcePort: number;
  readonly natDestination: string;
  readonly natDestinationPort: number;
  readonly idleMs: number;
}

export interface FlowTableView {
  readonly bytes: number;
  readonly entries: number;
  readonly used: number;
  readonly created: Count;
  readonly added: Count;
  readonly deleted: Count;
  readonly changed: Count;
  readonly processed: Count;
  readonly evicted: Count;
  readonly overflow: number;
  readonly createdPerCpu: readonly Count[];
}

export interface FlowListing {
  readonly table: FlowTableView;
  readonly flows: readonly FlowView[];
}

export interface FlowDetail {
  readonly flow: FlowView;
  readonly rpf: {
    readonly nextHop: number;
    readonly vrf: number;
    readonly type: NextHopType;
  } | null;
  readonly vif: { readonly id: number; readonly vrf: number; readonly name: string } | null;
  readonly systemDrops: Count;
}

export interface FlowStatistics {
  readonly table: FlowTableView;
  readonly byAction: {
    readonly forward: number;
    readonly drop: number;
    readonly nat: number;
    readonly hold: number;
  };
}

export interface LabelView {
  readonly label: number;
  readonly nextHop: number;
}

export interface VniView {
  readonly vni: number;
  readonly nextHop: number;
}

/** Flows that the kernel forwards by itself. */
export interface KernelTierView {
  readonly on: boolean;
  /** Why not; '' when it is on. */
  readonly reason: string;
  /** Halves of connections that it carries now. */
  readonly flows: number;
  /** What it has carried since the start. */
  readonly packets: Count;
  readonly bytes: Count;
  /** Where its programs are; way: tenant, tenant tap or fabric. */
  readonly devices: readonly {
    readonly port: number;
    readonly device: string;
    readonly way: string;
  }[];
}

/** Sizes of a running vRouter: `vrouter info`. */
export interface InfoView {
  readonly version: string;
  readonly limits: Readonly<Record<string, number>>;
  readonly used: Readonly<Record<string, number>>;
  readonly kernelTier: KernelTierView;
}

export interface VrfTableView {
  readonly vrf: number;
  readonly name: string;
}

export interface DropLogView {
  readonly number: number;
  readonly time: string;
  readonly reason: string;
  readonly room: string;
  readonly vif: number;
  readonly vrf: number;
  readonly length: number;
  readonly text: string;
  readonly packet: string;
}

/** `capture.start`; without `vif`, of every one. */
export interface CaptureRequest {
  readonly vif?: string | number;
  readonly direction?: 'in' | 'out' | 'both';
  /** With what `explain` says of each; only packets that come in. */
  readonly trace?: boolean;
  /** As `flow --match` has it, without `vrf`. */
  readonly match?: string;
  /** libpcap's instructions, base64. */
  readonly filter?: string;
  readonly snap?: number;
  /** The first of so many. */
  readonly sample?: number;
}

export interface CapturedView {
  /** Of the match, from 1: what lies between two is lost. */
  readonly number: number;
  /** Nanoseconds since 1970, decimal. */
  readonly timeNs: string;
  readonly vif: number;
  readonly direction: 'in' | 'out';
  readonly super: boolean;
  /** On the wire; more than the bytes here where the capture cut it. */
  readonly length: number;
  /** base64 */
  readonly packet: string;
  readonly lines: ExplainView['lines'];
}

/** `capture.read` */
export interface CaptureView {
  readonly packets: readonly CapturedView[];
  readonly matched: Count;
  readonly lost: Count;
  /** Nobody read in time; there is no more. */
  readonly ended: boolean;
}

export interface DropView {
  readonly name: string;
  readonly packets: Count;
}

export interface VrfStatsView {
  readonly vrf: number;
  readonly name: string;
  /** By the names of native/state/counters.h. */
  readonly counters: Readonly<Record<string, Count>>;
}

/** How one packet ended; dataplane/api.ts has what the fields mean. */
export interface PacketEndView {
  readonly verdict: 'transmit' | 'reply' | 'punt' | 'drop';
  readonly drop: string;
  readonly flowDrop: string;
  readonly room: string;
  readonly vif: number;
  readonly vrf: number;
  readonly generated: boolean;
  readonly copy: boolean;
  /** Hex digits, Ethernet header first. */
  readonly packet: string;
}

export interface ExplainView {
  readonly lines: readonly { readonly room: string; readonly text: string }[];
  readonly ends: readonly PacketEndView[];
}

/** What control nodes have said of this node's ports (`vrouter config show`). */
export interface ConfigurationView {
  readonly control: string | null;
  /** none, learning, settled, headless. */
  readonly state: string;
  /** Of a control node of this house. */
  readonly version: number | null;
  /** By type. */
  readonly objects: Readonly<Record<string, number>>;
  readonly links: number;
  readonly counters: Readonly<
    Record<'messages' | 'refused' | 'skipped' | 'ignored' | 'swept', number>
  >;
  readonly ports: readonly {
    readonly port: string;
    readonly vmi: string;
    readonly vm: string | null;
    readonly vrf: string | null;
    readonly addresses: readonly string[];
    /** Why it has no vif yet; null: it has. */
    readonly waiting: string | null;
  }[];
  readonly notes: readonly { readonly object: string; readonly what: string }[];
}

export interface ConfigurationStatus
  extends Pick<ConfigurationView, 'control' | 'state' | 'version'> {
  readonly ports: number;
  /** Matters that are not as it says. */
  readonly notes: number;
  readonly waiting: readonly { readonly port: string; readonly reason: string }[];
}

/** `vrouter config objects`. */
export interface ConfigObjectView {
  readonly type: string;
  readonly name: string;
  readonly properties: Readonly<Record<string, unknown>>;
  /** Types and names of what it is linked to. */
  readonly links: readonly { readonly type: string; readonly name: string }[];
}

/** A control node, as the agent that has it sees it. */
export interface ControlNodeView {
  readonly name: string;
  /** Of the session: established, waiting, connecting, …; `spare`: not tried now. */
  readonly state: string;
  /** What its routes count for: settled, learning, lost. */
  readonly standing: string;
  readonly secure: boolean;
  readonly upSeconds: number;
  readonly subscribed: number;
  readonly published: number;
  readonly received: number;
  /** Of a session that was lost, and still in use. */
  readonly stale: number;
  readonly swept: number;
  readonly refused: number;
  readonly lastError?: string;
}

export interface StatusView {
  readonly name: string;
  readonly version: string;
  readonly pid: number;
  readonly uptimeSeconds: number;
  readonly addon: string;
  readonly workers: number;
  readonly kernelTier: KernelTierView;
  readonly generation: number;
  readonly vrfs: number;
  readonly vifs: number;
  readonly flows: { readonly used: number; readonly entries: number };
  readonly buffers: { readonly free: number; readonly total: number };
  readonly totals: Readonly<Record<string, Count>>;
  readonly exchange: string;
  readonly control?: readonly ControlNodeView[];
  /** BGP neighbours of a gateway; all of them: `vrouter bgp neighbors`. */
  readonly bgp?: readonly { readonly name: string; readonly state: string }[];
  readonly configuration?: ConfigurationStatus;
  /** Routes with hops that cannot be used now. */
  readonly unresolved: number;
  /** What is not well, in words; none: all is. */
  readonly problems: readonly string[];
}

export function count(value: bigint): Count {
  return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : value.toString();
}

export interface ServicesView {
  readonly agent_vif: Readonly<Record<string, number>>;
  /** By service, then by what is counted. */
  readonly services: Readonly<Record<string, Readonly<Record<string, number>>>>;
  readonly health: readonly {
    readonly vif: string;
    readonly type: string;
    readonly port?: number;
    readonly healthy: boolean;
    /** Answers in a row; negative: failures. */
    readonly run: number;
  }[];
}
