/**
 * The data plane as TypeScript sees it: batch-shaped, synchronous, one call per batch.
 * Two implementations, one compliance suite: the addon in this process (`dataplane.ts`), and a forwarder
 * process behind a Unix socket (`remote.ts`). Callers hold this interface, never the addon.
 */
import type { FullLayoutOp, LayoutOp, OpName } from './layout.ts';

export interface DataplaneOptions {
  /** Flow entries, both directions counted; 1,024 … 16 Mi. Default 1 Mi. */
  readonly flowEntries?: number;
  /** Of each worker. */
  readonly buffers?: number;
  readonly bufferBytes?: number;
  /** Threads that forward; 1 (default) to 16. */
  readonly workers?: number;
  /** Established flows are handed to tc BPF programs in the kernel, where it can be had. Default false. */
  readonly kernelTier?: boolean;
  /** After the last frame the worker looks for more this long, then it sleeps (native/worker/pace.h). */
  readonly lookUs?: number;
  /** Seed of every hash and choice; the same seed and inputs give the same run. */
  readonly seed?: bigint;
  /** Flows live in this file, and are taken over from it; normally on a tmpfs. */
  readonly flowFile?: string;
  /** The first worker runs on this CPU only, each further one on the next. */
  readonly cpu?: number;
}

export type PortSpec =
  | { readonly kind: 'memory'; readonly mtu?: number }
  | {
      readonly kind: 'pcap';
      readonly read?: string;
      readonly write?: string;
      /** Frames are due at their own time less this; absent: all at once. */
      readonly originNs?: bigint;
    }
  | {
      readonly kind: 'tap';
      readonly name: string;
      readonly netns?: string;
      readonly mtu?: number;
      /**
       * What the kernel may leave undone: nothing, checksums and segmentation (default), and, for the
       * fabric's side, that of packets inside a UDP tunnel. What this kernel does not have is left out.
       */
      readonly offloads?: 'none' | 'tenant' | 'uplink';
      /** Segments of a TCP connection are merged for it (GRO). Default true. */
      readonly coalesce?: boolean;
      /**
       * The network device of the forwarder's own namespace that tc joins this TAP with (an uplink's NIC).
       * With the kernel tier its flows go by that device directly.
       */
      readonly joined?: string;
    }
  | {
      readonly kind: 'af_packet';
      readonly interface: string;
      readonly promiscuous?: boolean;
      /** 'none': frames leave whole, as on a wire; default 'tenant'. */
      readonly offloads?: 'none' | 'tenant';
      readonly coalesce?: boolean;
    }
  | {
      /** One end of a pair of sockets (framePair), given to addPort; the other is the control side's. */
      readonly kind: 'socket';
      readonly mtu?: number;
    }
  | {
      /** Another port behind faults, for labs and tests: the same seed and frames give the same faults. */
      readonly kind: 'faulty';
      readonly port: PortSpec;
      readonly faults: readonly FaultPlan[];
      readonly seed?: bigint;
    };

/** A fault of native/port/faults.def, by its name there. */
export interface FaultPlan {
  readonly fault: string;
  /** How often: of frames, or, for what is no frame's, of bursts. Default always. */
  readonly perMillion?: number;
  /** In the data plane's time; default from the start, for ever. */
  readonly fromNs?: bigint;
  readonly untilNs?: bigint;
}

export interface PortInfo {
  readonly kind: PortSpec['kind'];
  readonly mtu: number;
  /** The device behind it takes frames: a kernel's interface is up. */
  readonly up: boolean;
  /** A pcap port has delivered all its input. */
  readonly done: boolean;
  readonly rxDiscards: bigint;
  readonly rxErrors: bigint;
  readonly txErrors: bigint;
  /** Of a faulty port: how often each fault was done, and what became of frames. */
  readonly faults?: {
    readonly injected: Readonly<Record<string, bigint>>;
    readonly rxLost: bigint;
    readonly rxDuplicated: bigint;
    readonly rxMade: bigint;
    readonly rxWaiting: bigint;
    readonly txLost: bigint;
    readonly txDuplicated: bigint;
    readonly txWaiting: bigint;
  };
}

/** An op as an object: `{ op: 'route_set', vrf: 1, prefix: '10.0.0.0/8', nextHop: 7, … }`. */
export type Op = { [N in OpName]: { readonly op: N } & LayoutOp<N> }[OpName];

/** An op as it is read back: every field present, defaults filled in. */
export type FullOp = { [N in OpName]: { readonly op: N } & FullLayoutOp<N> }[OpName];

export interface FlowRecord {
  readonly index: number;
  readonly reverse: number;
  readonly source: string;
  readonly destination: string;
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly protocol: number;
  readonly vrf: number;
  readonly destinationVrf: number;
  readonly keyNextHop: number;
  readonly rpfNextHop: number;
  readonly nextHop: number;
  readonly label: number;
  readonly member: number; // -1: none
  readonly vif: number; // -1: fabric
  readonly action: 'D' | 'H' | 'F' | 'N';
  readonly drop: string; // name from flow_drop_reasons.def, '' unless action is D
  readonly nat: string; // letters in the ancestor's order, e.g. 'DPd', 'SPs', ''
  readonly tcp: string; // e.g. 'SSrEEr'
  readonly flags: string; // e.g. 'M', ''
  readonly initiator: boolean;
  readonly packets: bigint;
  readonly bytes: bigint;
  readonly generationId: number;
  readonly underlayLeg: number; // of its tunnel's legs, the one its packets take; -1: it has no choice
  readonly outerSourcePort: number; // entropy port, 0 when it does not leave by a UDP tunnel
  readonly sourceInfo: string; // tunnel far end its packets come from, '0.0.0.0' if local
  readonly natSource: string; // translated addresses, '' unless NAT
  readonly natDestination: string;
  readonly natSourcePort: number;
  readonly natDestinationPort: number;
  readonly idleMs: number;
}

export type DumpTable =
  | 'router'
  | 'vrfs'
  | 'vifs'
  | 'next_hops'
  | 'routes'
  | 'macs'
  | 'labels'
  | 'vnis'
  | 'floating_ips'
  | 'source_nats'
  | 'policies';

export interface VifCounters {
  rxPackets: bigint;
  rxBytes: bigint;
  rxErrors: bigint;
  txPackets: bigint;
  txBytes: bigint;
  txErrors: bigint;
  drops: bigint;
}

export interface Counters {
  readonly totals: {
    received: bigint;
    forwarded: bigint;
    replied: bigint;
    punted: bigint;
    dropped: bigint;
    consumed: bigint;
    generated: bigint;
    held: bigint;
  };
  /** By printed name, zero ones included, in `dropstats` order. */
  readonly drops: ReadonlyMap<string, bigint>;
  readonly vifs: ReadonlyMap<number, VifCounters>;
  /** By VRF id, then by name as in native/state/counters.h (snake_case). */
  readonly vrfs: ReadonlyMap<number, ReadonlyMap<string, bigint>>;
}

/** A packet that was dropped: why, where, and the first 128 bytes of what it was then. */
export interface DropRecord {
  /** Of the drop, from 1; every one has one, also those that are no longer here. */
  readonly number: bigint;
  readonly agoNs: bigint;
  readonly reason: string;
  readonly room: string;
  readonly vif: number; // -1: none
  readonly vrf: number;
  readonly length: number;
  /** One line a layer. */
  readonly text: string;
  readonly bytes: Uint8Array;
}

/** Which packets, and how much of each. */
export interface CaptureSpec {
  /** Default: of every vif. */
  readonly vif?: number | undefined;
  /** As a port gave them, before any room; default true. */
  readonly in?: boolean | undefined;
  /** As they go to a port, translated and encapsulated; default true. */
  readonly out?: boolean | undefined;
  /** What `explain` says of each that comes in, at that moment; none that goes out. */
  readonly trace?: boolean | undefined;
  /** Bytes of each; default all. */
  readonly snap?: number | undefined;
  /** The first of so many; default 1. */
  readonly sample?: number | undefined;
  /** Ring between worker and reader, a power of two. */
  readonly bytes?: number | undefined;
  /** A program of compileFilter(). */
  readonly filter?: Uint8Array | undefined;
  /** Ends of the flow, in the packet or in a tunnel it carries: one of them, or both in either order. */
  readonly ends?: readonly { readonly address?: string; readonly port?: number }[] | undefined;
  readonly protocol?: number | undefined;
}

export interface CapturedPacket {
  /** Of the match, from 1: what lies between two is lost. */
  readonly number: number;
  /** Since the router started. */
  readonly timeNs: bigint;
  readonly vif: number;
  readonly way: 'in' | 'out';
  /** Several segments in one, as the port gave or takes it. */
  readonly super: boolean;
  /** Of the frame; more than the bytes here where it was cut. */
  readonly length: number;
  readonly frame: Uint8Array;
  /** Of a trace. */
  readonly lines: ExplainLine[];
}

export interface CaptureReading {
  readonly packets: CapturedPacket[];
  /** Since the start: packets that were caught, and those of them that nobody read in time. */
  readonly matched: bigint;
  readonly lost: bigint;
  /** Nobody read for 10 s, so it is over. */
  readonly ended: boolean;
}

export interface FlowEvent {
  readonly kind: 'created' | 'deleted';
  readonly timeNs: bigint;
  readonly flow: number;
  readonly reverse: number;
  readonly vrf: number;
  readonly vif: number; // -1: fabric
  readonly source: string;
  readonly destination: string;
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly protocol: number;
  readonly action: 'D' | 'H' | 'F' | 'N';
  readonly drop: string;
  readonly packets: bigint;
  readonly bytes: bigint;
}

/** Flows that the kernel forwards by itself. */
export interface KernelTier {
  readonly on: boolean;
  /** '' when it is on, else why not: 'not asked for', 'CAP_BPF is needed', … */
  readonly reason: string;
  /** Halves of connections that it carries now. */
  readonly flows: number;
  /** What it has carried since the start. */
  readonly packets: bigint;
  readonly bytes: bigint;
  /** Where its programs are; way: 'tenant', 'tenant tap' or 'fabric'. */
  readonly devices: readonly {
    readonly port: number;
    readonly device: string;
    readonly way: string;
  }[];
}

export interface DataplaneInfo {
  readonly addon: string; // which build was loaded
  readonly workers: number;
  readonly kernelTier: KernelTier;
  readonly generation: number;
  readonly flowEntries: number;
  readonly flowsUsed: number;
  readonly flowsCreated: bigint;
  readonly flowsDeleted: bigint;
  readonly flowsEvicted: bigint;
  readonly flowBytes: number;
  readonly buffersFree: number;
  readonly buffers: number;
  readonly nextHopReferences: ReadonlyMap<number, number>;
}

/** One room a packet went through. */
export interface ExplainLine {
  readonly room: string;
  readonly text: string;
}

export interface ArrivingFrame {
  readonly frame: Uint8Array;
  readonly vif: number;
}

/** How one packet ended: the one that came, or one that was made of it or about it. */
export interface PacketEnd {
  readonly verdict: 'transmit' | 'reply' | 'punt' | 'drop';
  /** Printed names of native/base/drop_reasons.def and flow_drop_reasons.def; '' where there is none. */
  readonly drop: string;
  readonly flowDrop: string;
  /** Where it was dropped, '' if it was not. */
  readonly room: string;
  /** Where it leaves; -1: nowhere. */
  readonly vif: number;
  /** Where its addresses were last looked up. */
  readonly vrf: number;
  /** By the router: an ICMP error. */
  readonly generated: boolean;
  /** One of several that the packet left as. */
  readonly copy: boolean;
  /** As it left, or as it was when it was dropped. */
  readonly frame: Uint8Array;
}

export interface Explained {
  readonly lines: readonly ExplainLine[];
  /** None: it is held, for its first fragment. */
  readonly ends: readonly PacketEnd[];
}

export interface Dataplane {
  /** fd: the end of a socket port; taken over, also when the port is refused. */
  addPort(spec: PortSpec, fd?: number): number;
  removePort(port: number): void;
  /** What it is, and its own error counts. */
  portInfo(port: number): PortInfo;
  /** Starts the worker thread; `step` is refused until `stop`. */
  start(): void;
  stop(): void;
  /** One breath on this thread at a virtual time (ns since start); returns frames received. */
  step(nowNs: bigint): number;
  /** Applies all ops or none; returns the new generation. Throws VRouterError with opIndex. */
  commit(ops: readonly Op[]): number;
  /** The same for bytes already encoded. */
  commitBytes(program: Uint8Array): number;
  /** Current content of a table as the ops that would make it, in canonical order. */
  dump(table: DumpTable, vrf?: number): FullOp[];
  /** All tables as one Program's bytes: equal bytes mean equal tables. */
  snapshot(): Uint8Array;
  flows(): FlowRecord[];
  deleteFlow(index: number): boolean;
  readCounters(): Counters;
  clearCounters(): void;
  /** The last drops, oldest first: those after number `after` that are still here (256 at most). */
  dropLog(after?: bigint): DropRecord[];
  /**
   * Catches packets from now on, until it is stopped or nobody reads for 10 s. `id` is the caller's choice;
   * IN_USE, or TABLE_FULL: there are 4 already. Returns when the router's time began, in ns since 1970.
   */
  startCapture(id: number, spec: CaptureSpec): bigint;
  /** What has been caught since last time, about so many bytes of it. NOT_FOUND. */
  readCapture(id: number, bytes: number): CaptureReading;
  /** Whether there was one. */
  stopCapture(id: number): boolean;
  /** Flow events since last time, bounded; `lost` counts, since the start, what did not fit the ring. */
  drainEvents(): { events: FlowEvent[]; lost: bigint };
  /** Frames into a memory port, as if they had been received; returns how many fitted. */
  inject(port: number, frames: readonly Uint8Array[]): number;
  /** Frames a memory port has sent since last time. */
  collect(port: number): Uint8Array[];
  /**
   * What would happen to this frame on this vif; changes nothing. `before` (16 at most) are frames taken as
   * having come first: the flow the last of them would have made is met, so that replies can be explained.
   */
  explain(frame: Uint8Array, vif: number, before?: readonly ArrivingFrame[]): Explained;
  info(): DataplaneInfo;
  close(): void;
}
