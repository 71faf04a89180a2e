/**
 * The data plane as api.ts has it, over the addon's methods. Batches are packed and unpacked here; decisions
 * are the core's. After close() every method throws CLOSED.
 */
import { VRouterError } from '../errors.ts';
import type {
  ArrivingFrame,
  CaptureReading,
  CaptureSpec,
  Counters,
  Dataplane,
  DataplaneInfo,
  DataplaneOptions,
  DropRecord,
  DumpTable,
  Explained,
  FlowEvent,
  FlowRecord,
  FullOp,
  Op,
  PortInfo,
  PortSpec,
} from './api.ts';
import { loadAddon, type NativeDataplane } from './binding.ts';
import { decodeCaptured, nativeCapture } from './captures.ts';
import { CounterReader } from './counters.ts';
import { decodeEvents, EVENT_SIZE } from './events.ts';
import { decodeFlows } from './flows.ts';
import { layout } from './layout.ts';
import { explainLines } from './notes.ts';
import { decodeOps, encodeProgram, programOf } from './program.ts';

const DUMP_BYTES = 1 << 20;
const FLOWS_A_CALL = 16384;
const EVENTS_A_CALL = 4096;
const ALL_VRFS = -1;

export function openDataplane(options: DataplaneOptions = {}): Dataplane {
  const { addon, path } = loadAddon();
  return overNative(new addon.Dataplane(options), path);
}

/** The same over whatever has the addon's methods: the addon in another process too (remote.ts). */
export function overNative(native: NativeDataplane, addonPath: string): Dataplane {
  return new NativeBackedDataplane(native, addonPath);
}

/** Frames as the addon takes them: u32 length, bytes, one after the other. */
export function packFrames(frames: readonly Uint8Array[]): Uint8Array {
  const packed = new Uint8Array(frames.reduce((sum, frame) => sum + 4 + frame.length, 0));
  const view = new DataView(packed.buffer);
  let at = 0;
  for (const frame of frames) {
    view.setUint32(at, frame.length, true);
    packed.set(frame, at + 4);
    at += 4 + frame.length;
  }
  return packed;
}

export function unpackFrames(packed: Uint8Array): Uint8Array[] {
  const view = new DataView(packed.buffer, packed.byteOffset, packed.byteLength);
  const frames: Uint8Array[] = [];
  for (let at = 0; at < packed.length; ) {
    const length = view.getUint32(at, true);
    frames.push(packed.slice(at + 4, at + 4 + length));
    at += 4 + length;
  }
  return frames;
}

class NativeBackedDataplane implements Dataplane {
  readonly #native: NativeDataplane;
  readonly #addonPath: string;
  readonly #counters = new CounterReader();
  readonly #events = new Uint8Array(EVENTS_A_CALL * EVENT_SIZE);

  constructor(native: NativeDataplane, addonPath: string) {
    this.#native = native;
    this.#addonPath = addonPath;
  }

  addPort(spec: PortSpec, fd?: number): number {
    return this.#native.addPort(spec, undefined, fd);
  }

  removePort(port: number): void {
    this.#native.removePort(port);
  }

  portInfo(port: number): PortInfo {
    return this.#native.portInfo(port);
  }

  start(): void {
    this.#native.start();
  }

  stop(): void {
    this.#native.stop();
  }

  step(nowNs: bigint): number {
    return this.#native.step(nowNs);
  }

  commit(ops: readonly Op[]): number {
    try {
      return this.commitBytes(encodeProgram(ops));
    } catch (error) {
      throw named(error, ops);
    }
  }

  commitBytes(program: Uint8Array): number {
    return this.#native.commit(program);
  }

  dump(table: DumpTable, vrf?: number): FullOp[] {
    return this.#dumpBytes(table, vrf ?? ALL_VRFS).flatMap(decodeOps);
  }

  snapshot(): Uint8Array {
    return programOf(layout.tables.flatMap((table) => this.#dumpBytes(table, ALL_VRFS)));
  }

  #dumpBytes(table: DumpTable, vrf: number): Uint8Array[] {
    const index = layout.tables.indexOf(table);
    if (index < 0) throw new VRouterError('BAD_ARGUMENT', `there is no table ${table}`);
    const parts: Uint8Array[] = [];
    let cursor = '';
    do {
      const part = this.#native.dump(index, vrf, cursor, DUMP_BYTES);
      parts.push(part.bytes);
      cursor = part.cursor;
    } while (cursor !== '');
    return parts;
  }

  flows(): FlowRecord[] {
    const parts: FlowRecord[][] = [];
    let next = 0;
    do {
      const part = this.#native.dumpFlows(next, FLOWS_A_CALL);
      parts.push(decodeFlows(part.bytes));
      next = part.next;
    } while (next !== 0);
    return parts.flat();
  }

  deleteFlow(index: number): boolean {
    return this.#native.deleteFlow(index);
  }

  readCounters(): Counters {
    return this.#counters.read(this.#native);
  }

  clearCounters(): void {
    this.#native.clearCounters();
  }

  dropLog(after = 0n): DropRecord[] {
    return this.#native.dropLog(after);
  }

  startCapture(id: number, spec: CaptureSpec): bigint {
    return this.#native.startCapture(id, nativeCapture(spec)).epochNs;
  }

  readCapture(id: number, bytes: number): CaptureReading {
    const { records, ...reading } = this.#native.readCapture(id, bytes);
    return { ...reading, packets: decodeCaptured(records) };
  }

  stopCapture(id: number): boolean {
    return this.#native.stopCapture(id);
  }

  drainEvents(): { events: FlowEvent[]; lost: bigint } {
    const { count, lost } = this.#native.drainEvents(this.#events);
    return { events: decodeEvents(this.#events.subarray(0, count * EVENT_SIZE)), lost };
  }

  inject(port: number, frames: readonly Uint8Array[]): number {
    return this.#native.inject(port, packFrames(frames));
  }

  collect(port: number): Uint8Array[] {
    return unpackFrames(this.#native.collect(port));
  }

  explain(frame: Uint8Array, vif: number, before: readonly ArrivingFrame[] = []): Explained {
    const { notes, ends } = this.#native.explain(frame, vif, before);
    return { lines: explainLines(notes), ends };
  }

  info(): DataplaneInfo {
    const { nextHopReferences: pairs, ...rest } = this.#native.info();
    const nextHopReferences = new Map<number, number>();
    for (let i = 0; i + 1 < pairs.length; i += 2) {
      nextHopReferences.set(pairs[i] as number, pairs[i + 1] as number);
    }
    return { addon: this.#addonPath, ...rest, nextHopReferences };
  }

  close(): void {
    this.#native.close();
  }
}

/** The core knows an op's index only; people want its name too. */
function named(error: unknown, ops: readonly Op[]): unknown {
  if (!(error instanceof VRouterError) || error.opIndex === undefined) return error;
  const name = ops[error.opIndex]?.op;
  const prefix = `op ${error.opIndex}: `;
  if (name === undefined || !error.message.startsWith(prefix)) return error;
  const message = `op ${error.opIndex} (${name}): ${error.message.slice(prefix.length)}`;
  return new VRouterError(error.code, message, error.opIndex, error.field);
}
