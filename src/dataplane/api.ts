/**
 * The data plane as TypeScript sees it: batch-shaped, synchronous, one call per batch.
 * Two implementations, one compliance suite: the addon in this process (`dataplane.ts`), and a forwarder
 * process behind a Unix socket (`remote.ts`). Callers hold this interface, never the addon.
 */
import type { FullLayoutOp, LayoutOp, OpName } from './layout.ts';

export interface DataplaneOptions {
  /** Flow entries, both directions counted; 1,024 … 16 Mi. Default 1 Mi. */
  readonly flowEntries?: number;
  readonly buffers?: number;
  readonly bufferBytes?: number;
  /** After the last frame the worker looks for more this long … (native/worker/pace.h) */
  readonly lookUs?: number;
  /** … then in naps of so long each, … */
  readonly napUs?: number;
  /** … until this long after the last frame: then it sleeps. */
  readonly patienceUs?: number;
  /** Seed of every hash and choice; the same seed and inputs give the same run. */
  readonly seed?: bigint;
  /** Flows live in this file, and are taken over from it; normally on a tmpfs. */
  readonly flowFile?: string;
  /** The worker runs on this CPU only. */
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

export interface DataplaneInfo {
  readonly addon: string; // which build was loaded
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
  /** Flow events since last time, bounded; `lost` counts, since the start, what did not fit the ring. */
  drainEvents(): { events: FlowEvent[]; lost: bigint };
  /** Frames into a memory port, as if they had been received; returns how many fitted. */
  inject(port: number, frames: readonly Uint8Array[]): number;
  /** Frames a memory port has sent since last time. */
  collect(port: number): Uint8Array[];
  /** What would happen to this frame on this vif; changes nothing. */
  explain(frame: Uint8Array, vif: number): ExplainLine[];
  info(): DataplaneInfo;
  close(): void;
}
