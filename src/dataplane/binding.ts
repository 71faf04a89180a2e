/**
 * Finds, loads and types the addon. The newer of the node-gyp and the cmake-js build is taken, or the
 * file VROUTER_ADDON names, so that a stale build never hides; one whose layout differs from layout.ts
 * is refused. Nothing else in src/ knows that there is an addon.
 */
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { VRouterError } from '../errors.ts';
import type {
  ArrivingFrame,
  CaptureSpec,
  DataplaneOptions,
  DropRecord,
  KernelTier,
  PacketEnd,
  PortInfo,
  PortSpec,
} from './api.ts';
import { layout } from './layout.ts';

/** The wrapped class; native/binding/dataplane.h. Every method may throw VRouterError. */
export interface NativeDataplane {
  /** at: the id it is to have; fd: of a tap, af_packet or socket port that is open already, taken over. */
  addPort(spec: PortSpec, at?: number, fd?: number): number;
  removePort(port: number): void;
  portInfo(port: number): PortInfo;
  /** A duplicate, the caller's to close; -1: the port has none. */
  portDescriptor(port: number): number;
  flowFile(): FlowFileReport;
  /** Says whose ids the flows are made with; flows of another's go. Whether there were none such. */
  claimFlows(owner: bigint): boolean;
  start(): void;
  stop(): void;
  step(nowNs: bigint): number;
  commit(program: Uint8Array): number;
  /** Ops with headers; `cursor` '' to begin, '' again when done. vrf -1: all. */
  dump(
    table: number,
    vrf: number,
    cursor: string,
    limit: number,
  ): { bytes: Uint8Array; cursor: string };
  /** Records of layout.flowRecord; `next` is where to go on, 0 when done. */
  dumpFlows(start: number, max: number): { bytes: Uint8Array; next: number };
  deleteFlow(index: number): boolean;
  /** The ids that have rows in readCounters, in its order. */
  counterShape(): { vifs: number[]; vrfs: number[] };
  /** Returns how many numbers there are; writes nothing if they do not fit. */
  readCounters(into: BigUint64Array): number;
  clearCounters(): void;
  dropLog(after: bigint): DropRecord[];
  startCapture(id: number, spec: NativeCaptureSpec): { epochNs: bigint };
  /** Records of layout.captureRecord, each with its frame and its text behind it. */
  readCapture(
    id: number,
    bytes: number,
  ): { records: Uint8Array; matched: bigint; lost: bigint; ended: boolean };
  stopCapture(id: number): boolean;
  /** Records of layout.eventRecord. */
  drainEvents(into: Uint8Array): { count: number; lost: bigint };
  /** Frames packed as u32 length (little-endian) and bytes, one after the other. */
  inject(port: number, frames: Uint8Array): number;
  collect(port: number): Uint8Array;
  /** notes: lines of `room\tsentence\n`. */
  explain(
    frame: Uint8Array,
    vif: number,
    before: readonly ArrivingFrame[],
  ): { notes: string; ends: PacketEnd[] };
  info(): {
    workers: number;
    kernelTier: KernelTier;
    generation: number;
    flowEntries: number;
    flowsUsed: number;
    flowsCreated: bigint;
    flowsDeleted: bigint;
    flowsEvicted: bigint;
    flowBytes: number;
    buffers: number;
    buffersFree: number;
    nextHopReferences: Uint32Array;
  };
  close(): void;
}

/** CaptureSpec with addresses as bytes. */
export interface NativeCaptureSpec extends Omit<CaptureSpec, 'ends'> {
  readonly ends?: readonly { readonly address?: Uint8Array; readonly port?: number }[];
}

/** What became of the option `flowFile`: native/worker/engine.h. */
export interface FlowFileReport {
  readonly file: boolean;
  readonly adopted: boolean;
  /** Why not. */
  readonly reason: string;
  readonly runs: bigint;
  readonly owner: bigint;
  readonly entries: number;
  readonly dropped: number;
  /** Entries dropped, by what was wrong with them. */
  readonly faults: Readonly<Record<string, number>>;
}

export interface Message {
  readonly bytes: Uint8Array;
  /** The receiver's to close. */
  readonly fds: number[];
}

/** native/binding/channel.h: messages with descriptors over a Unix socket. */
export interface NativeChannel {
  /** -1 when closed. */
  readonly fd: number;
  /** Sends and waits for the answer. CLOSED, TIMEOUT, BAD_MESSAGE: the channel is closed now. */
  call(bytes: Uint8Array, fds: readonly number[], timeoutMs: number): Message;
  /** The next message; undefined while it is not all there. */
  receive(): Message | undefined;
  send(bytes: Uint8Array, fds: readonly number[], timeoutMs: number): void;
  close(): void;
}

/** native/binding/descriptor.h: a descriptor the event loop watches; datagram-shaped. */
export interface NativeDescriptor {
  readonly fd: number;
  /** Level-triggered: called again while there is something to read. */
  onReadable(listener: () => void): void;
  /** Bytes read; 0: the other side has closed; -1: nothing there now. */
  read(into: Uint8Array): number;
  /** Bytes written; -1: no room now. */
  write(bytes: Uint8Array): number;
  close(): void;
}

export interface Addon {
  readonly Descriptor: new (fd: number) => NativeDescriptor;
  /** A netlink socket of this network namespace, bound to the groups in the mask; its descriptor. */
  openNetlink(protocol: number, groups: number): number;
  /** Unix, SOCK_SEQPACKET. */
  socketPair(): [number, number];
  /** Unix, SOCK_DGRAM: for a port of kind socket, and who is behind it. */
  framePair(): [number, number];
  /** A TCP socket to connect to the address, or, with a port, bound to both and to be listened on. */
  openTcp(address: Uint8Array, port?: number): number;
  /** 0: left as it is. */
  setTcpHops(fd: number, ttl: number, minTtl: number): void;
  /** RFC 2385, of addresses under the prefix; an empty key takes it back. */
  setTcpKey(fd: number, address: Uint8Array, length: number, key: Uint8Array): void;
  readonly Channel: new (pathOrFd: string | number) => NativeChannel;
  listenUnix(path: string): number;
  /** -1: nobody waits. */
  acceptUnix(fd: number): number;
  duplicateDescriptor(fd: number): number;
  closeDescriptor(fd: number): void;
  /** A tap or af_packet port, opened for addPort, here or in another process. */
  openPort(spec: PortSpec): { readonly fd: number; readonly mtu: number };
  /** libpcap's instructions for a filter in its language; may ask a resolver. NO_PACKAGE, BAD_VALUE. */
  compileFilter(text: string): Uint8Array;
  readonly Dataplane: new (options?: DataplaneOptions) => NativeDataplane;
  readonly version: string;
  layout(): string;
  recordLayout(): string;
  setErrorClass(errorClass: typeof VRouterError): void;
}

const HOW_TO_BUILD = 'build it with `npm run build` (or `npx node-gyp rebuild`)';

const FILE = 'vrouter.node';

/** vrouter.node files under a folder; cmake puts them in a folder per configuration. */
function findBuilt(folder: string, depth: number): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return depth > 0 ? findBuilt(path, depth - 1) : [];
    return entry.name === FILE ? [path] : [];
  });
}

/** The addon that would be loaded. Throws NO_ADDON, with what to do about it. */
export function findAddon(): string {
  const named = process.env.VROUTER_ADDON;
  if (named !== undefined && named !== '') {
    const path = resolve(named);
    if (existsSync(path)) return path;
    throw new VRouterError('NO_ADDON', `VROUTER_ADDON names ${path}, which does not exist`);
  }
  const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
  const found = [
    ...[join(root, 'build', 'Release', FILE)].filter(existsSync),
    ...findBuilt(join(root, 'out'), 2),
  ];
  const age = new Map(found.map((path) => [path, statSync(path).mtimeMs]));
  const newest = found.reduce<string | undefined>(
    (best, path) => (best === undefined || age.get(path)! > age.get(best)! ? path : best),
    undefined,
  );
  if (newest !== undefined) return newest;
  throw new VRouterError(
    'NO_ADDON',
    `the native addon is neither in ${join(root, 'build')} nor in ${join(root, 'out')}; ${HOW_TO_BUILD}`,
  );
}

export interface LoadedAddon {
  readonly path: string;
  readonly addon: Addon;
}

let loaded: LoadedAddon | undefined;

/** Loads the addon on first use. */
export function loadAddon(): LoadedAddon {
  if (loaded !== undefined) return loaded;
  const path = findAddon();
  let addon: Addon;
  try {
    addon = createRequire(import.meta.url)(path) as Addon;
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new VRouterError('NO_ADDON', `${path} cannot be loaded: ${why}; ${HOW_TO_BUILD}`);
  }
  const digest = createHash('sha256')
    .update(addon.layout())
    .update(addon.recordLayout())
    .digest('hex');
  if (digest !== layout.digest) {
    throw new VRouterError(
      'LAYOUT_MISMATCH',
      `${path} was built from other sources than src/dataplane/layout.ts was made from; ${HOW_TO_BUILD}, ` +
        'and after a change to a .def file run `npm run layout`',
    );
  }
  addon.setErrorClass(VRouterError);
  loaded = { path, addon };
  return loaded;
}
