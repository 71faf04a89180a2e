/**
 * RemoteDataplane: a Dataplane that is in a forwarder process, behind a Unix socket.
 *
 * Calls wait for the answer, because the interface is synchronous, and may: what is called is the data
 * plane, which answers in microseconds or is gone. The worker that forwards is a thread of the forwarder's
 * and waits for nobody.
 *
 * Invariants
 *  * A kernel port is opened here and its descriptor handed over, so each process keeps one: the interface
 *    outlives either of them. Here is the list of what ports there should be, by id; a port that is removed
 *    while the forwarder is away is off the list, and is not made again.
 *  * After a failed call the forwarder is away: calls throw CLOSED until attach().
 *  * Without a forwarder nothing is made up: what is asked is refused.
 */
import { VRouterError } from '../errors.ts';
import type { ArrivingFrame, Dataplane, DropRecord, PortInfo, PortSpec } from './api.ts';
import {
  type FlowFileReport,
  loadAddon,
  type NativeCaptureSpec,
  type NativeChannel,
  type NativeDataplane,
} from './binding.ts';
import { overNative } from './dataplane.ts';
import { layout } from './layout.ts';
import { decodeAnswer, encodeRequest, type MethodName, PROTOCOL } from './protocol.ts';
import type { Value } from './values.ts';

export interface RemoteOptions {
  readonly path: string;
  /** A forwarder that does not answer for so long is as good as gone. Default 10 s: a commit is bounded. */
  readonly timeoutMs?: number;
}

export interface Hello {
  readonly addon: string;
  readonly pid: number;
  readonly running: boolean;
  readonly flowFile: FlowFileReport;
}

interface RemotePort {
  readonly spec: PortSpec;
  /** Ours of a kernel port; undefined for those that are the forwarder's own. */
  readonly fd: number | undefined;
}

const DEFAULT_TIMEOUT_MS = 10_000;

/** Specs in one form, to be compared: keys in order, what is undefined left out. */
function specText(spec: PortSpec): string {
  const entries = Object.entries(spec).filter(([, v]) => v !== undefined);
  entries.sort(([a], [b]) => (a < b ? -1 : 1));
  return entries.map(([k, v]) => `${k}=${v}`).join(' ');
}

function isKernelPort(spec: PortSpec): boolean {
  return spec?.kind === 'tap' || spec?.kind === 'af_packet';
}

/** One connection: what NativeDataplane asks, as messages. */
class RemoteNative implements NativeDataplane {
  readonly #options: RemoteOptions;
  readonly ports = new Map<number, RemotePort>();
  /** Ports of an agent before us, until somebody asks for the like. */
  readonly unclaimed = new Map<number, RemotePort>();
  #channel: NativeChannel | undefined;
  #closed = false;
  #running = false;

  constructor(options: RemoteOptions) {
    this.#options = options;
  }

  attach(): Hello {
    if (this.#closed) throw new VRouterError('CLOSED', 'the data plane has been closed');
    this.detach();
    this.#channel = new (loadAddon().addon.Channel)(this.#options.path);
    const hello = this.#call('hello') as unknown as Hello & { protocol: number; layout: string };
    if (hello.protocol !== PROTOCOL || hello.layout !== layout.digest) {
      this.detach();
      throw new VRouterError(
        'LAYOUT_MISMATCH',
        `${this.#options.path}: the forwarder (process ${hello.pid}) is of another build; stop it first`,
      );
    }
    this.#running = hello.running;
    return hello;
  }

  detach(): void {
    this.#channel?.close();
    this.#channel = undefined;
  }

  /** -1: not attached. */
  get fd(): number {
    return this.#channel?.fd ?? -1;
  }

  call(method: MethodName, args: readonly Value[] = [], fds: readonly number[] = []) {
    return this.#send(method, args, fds);
  }

  #send(method: MethodName, args: readonly Value[], fds: readonly number[]) {
    const channel = this.#channel;
    if (channel === undefined || channel.fd < 0) {
      const why = this.#closed ? 'the data plane has been closed' : 'the forwarder is away';
      throw new VRouterError('CLOSED', why);
    }
    const answer = channel.call(
      encodeRequest(method, args),
      fds,
      this.#options.timeoutMs ?? DEFAULT_TIMEOUT_MS,
    );
    try {
      return { value: decodeAnswer(answer.bytes), fds: answer.fds };
    } catch (error) {
      for (const fd of answer.fds) loadAddon().addon.closeDescriptor(fd);
      throw error;
    }
  }

  #call(method: MethodName, ...args: readonly Value[]): Value {
    return this.#send(method, args, []).value;
  }

  // --- ports ---------------------------------------------------------------------------------------

  /** A port that comes with its descriptor is new: the other end of an agent before us is gone. */
  addPort(spec: PortSpec, _at?: number, given?: number): number {
    const { addon } = loadAddon();
    let fd = given;
    try {
      if (this.#closed) throw new VRouterError('CLOSED', 'the data plane has been closed');
      const claimed = given === undefined ? this.#claim(spec) : undefined;
      if (claimed !== undefined) return claimed;
      if (fd === undefined && isKernelPort(spec)) ({ fd } = addon.openPort(spec));
      const port = this.#addOpen(spec, undefined, fd);
      this.ports.set(port, { spec, fd });
      return port;
    } catch (error) {
      if (fd !== undefined) addon.closeDescriptor(fd);
      throw error;
    }
  }

  #addOpen(spec: PortSpec, at: number | undefined, fd: number | undefined): number {
    const fds = fd === undefined ? [] : [fd];
    return this.#send('addPort', [spec as Value, at], fds).value as number;
  }

  #claim(spec: PortSpec): number | undefined {
    if (this.unclaimed.size === 0) return undefined;
    const text = specText(spec);
    for (const [port, found] of this.unclaimed) {
      if (specText(found.spec) !== text) continue;
      this.unclaimed.delete(port);
      this.ports.set(port, found);
      return port;
    }
    return undefined;
  }

  removePort(port: number): void {
    const known = this.ports.get(port);
    // Away: what is not on the list does not come back.
    if (this.fd >= 0 || this.#closed || known === undefined) this.#call('removePort', port);
    this.forget(port, this.ports);
  }

  forget(port: number, from: Map<number, RemotePort>): void {
    const known = from.get(port);
    from.delete(port);
    if (known?.fd !== undefined) loadAddon().addon.closeDescriptor(known.fd);
  }

  /** What a forwarder has that went on without its agent, with descriptors of our own. */
  learnPorts(): void {
    for (let from = 0, more = true; more; ) {
      const answer = this.#send('ports', [from], []);
      const list = answer.value as unknown as {
        ports: { port: number; spec: PortSpec; descriptor: boolean }[];
        more: boolean;
      };
      for (const { port, spec, descriptor } of list.ports) {
        this.unclaimed.set(port, { spec, fd: descriptor ? answer.fds.shift() : undefined });
        from = port + 1;
      }
      ({ more } = list);
    }
  }

  /** All ports again, under their ids, in a forwarder that has none. */
  giveBackPorts(): void {
    for (const [port, { spec, fd }] of [...this.ports].sort(([a], [b]) => a - b)) {
      this.#addOpen(spec, port, fd);
    }
  }

  portInfo(port: number): PortInfo {
    return this.#call('portInfo', port) as unknown as PortInfo;
  }

  portDescriptor(port: number): number {
    const { fd } = this.ports.get(port) ?? {};
    return fd === undefined ? -1 : loadAddon().addon.duplicateDescriptor(fd);
  }

  flowFile(): FlowFileReport {
    return (this.#call('hello') as unknown as Hello).flowFile;
  }

  claimFlows(owner: bigint): boolean {
    return this.#call('claimFlows', owner) as boolean;
  }

  // --- the rest, as it is --------------------------------------------------------------------------

  start(): void {
    this.#call('start');
    this.#running = true;
  }
  stop(): void {
    this.#call('stop');
    this.#running = false;
  }
  get running(): boolean {
    return this.#running;
  }
  step(nowNs: bigint): number {
    return this.#call('step', nowNs) as number;
  }
  commit(program: Uint8Array): number {
    return this.#call('commit', unshared(program)) as number;
  }
  dump(table: number, vrf: number, cursor: string, limit: number) {
    return this.#call('dump', table, vrf, cursor, limit) as unknown as {
      bytes: Uint8Array;
      cursor: string;
    };
  }
  dumpFlows(start: number, max: number) {
    return this.#call('dumpFlows', start, max) as unknown as { bytes: Uint8Array; next: number };
  }
  deleteFlow(index: number): boolean {
    return this.#call('deleteFlow', index) as boolean;
  }
  counterShape() {
    return this.#call('counterShape') as unknown as { vifs: number[]; vrfs: number[] };
  }
  readCounters(into: BigUint64Array): number {
    const { count, numbers } = this.#call('readCounters', into.length) as unknown as {
      count: number;
      numbers: Uint8Array;
    };
    new Uint8Array(into.buffer, into.byteOffset, into.byteLength).set(numbers);
    return count;
  }
  clearCounters(): void {
    this.#call('clearCounters');
  }
  drainEvents(into: Uint8Array) {
    const { count, lost, records } = this.#call('drainEvents', into.length) as unknown as {
      count: number;
      lost: bigint;
      records: Uint8Array;
    };
    into.set(records);
    return { count, lost };
  }
  inject(port: number, frames: Uint8Array): number {
    return this.#call('inject', port, frames) as number;
  }
  collect(port: number): Uint8Array {
    return this.#call('collect', port) as Uint8Array;
  }
  dropLog(after: bigint): DropRecord[] {
    return this.#call('dropLog', after) as unknown as DropRecord[];
  }
  startCapture(id: number, spec: NativeCaptureSpec) {
    return this.#call('startCapture', id, spec as unknown as Value) as unknown as {
      epochNs: bigint;
    };
  }
  readCapture(id: number, bytes: number) {
    return this.#call('readCapture', id, bytes) as unknown as ReturnType<
      NativeDataplane['readCapture']
    >;
  }
  stopCapture(id: number): boolean {
    return this.#call('stopCapture', id) as boolean;
  }

  explain(frame: Uint8Array, vif: number, before: readonly ArrivingFrame[]) {
    const first = Array.isArray(before)
      ? before.map(({ frame: one, vif: on }) => ({ frame: unshared(one), vif: on }))
      : (before as never); // the addon says what is wrong with it
    const answer = this.#call('explain', unshared(frame), vif, first);
    return answer as unknown as ReturnType<NativeDataplane['explain']>;
  }
  info() {
    return this.#call('info') as unknown as ReturnType<NativeDataplane['info']>;
  }

  /** Leaves; the forwarder goes on. */
  close(): void {
    this.#closed = true;
    this.detach();
    for (const port of [...this.ports.keys()]) this.forget(port, this.ports);
    for (const port of [...this.unclaimed.keys()]) this.forget(port, this.unclaimed);
  }
}

/** The addon refuses memory that another thread can change; so does the way to it. */
function unshared(bytes: Uint8Array): Uint8Array {
  if (bytes instanceof Uint8Array && bytes.buffer instanceof SharedArrayBuffer) {
    throw new VRouterError('BAD_ARGUMENT', 'bytes must be a Uint8Array of unshared memory');
  }
  return bytes;
}

/** A Dataplane, and what only one in another process has. */
export interface RemoteDataplane extends Dataplane {
  /** Of the connection, for its end to be watched; -1 while the forwarder is away. */
  readonly fd: number;
  /** The worker of the forwarder runs, as far as is known. */
  readonly running: boolean;
  /** Connects again. CLOSED: nobody serves there (yet). */
  attach(): Hello;
  /** Says whose ids flows are made with; whether no flows of another's had to go. */
  claimFlows(owner: bigint): boolean;
  /** After attach() to a forwarder that went on: its ports, for addPort() of the like to take over. */
  learnPorts(): void;
  /** Closes those that nobody asked for; those a vif still has stay. Returns how many. */
  dropUnclaimedPorts(): number;
  /** After attach() to a new forwarder: our ports, under the ids they had. */
  giveBackPorts(): void;
  /** The forwarder drains and exits. */
  quit(): void;
}

export function openRemote(options: RemoteOptions): RemoteDataplane {
  const native = new RemoteNative(options);
  const hello = native.attach();
  const dataplane = overNative(native, hello.addon);
  const more = {
    attach: () => native.attach(),
    claimFlows: (owner: bigint) => native.claimFlows(owner),
    learnPorts: () => native.learnPorts(),
    giveBackPorts: () => native.giveBackPorts(),
    dropUnclaimedPorts: () => dropUnclaimed(native),
    quit: () => void native.call('quit'),
  };
  Object.defineProperties(dataplane, {
    fd: { get: () => native.fd },
    running: { get: () => native.running },
  });
  return Object.assign(dataplane, more) as RemoteDataplane;
}

function dropUnclaimed(native: RemoteNative): number {
  let dropped = 0;
  for (const port of [...native.unclaimed.keys()]) {
    try {
      native.call('removePort', [port]);
    } catch (error) {
      if (!(error instanceof VRouterError) || error.code !== 'IN_USE') throw error;
      continue;
    }
    native.forget(port, native.unclaimed);
    dropped++;
  }
  return dropped;
}
