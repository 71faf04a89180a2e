/**
 * What agent and forwarder say to each other: the addon's own methods, and a few about the processes.
 * One table: a method is a row, its number is what is sent.
 *
 *   request:  u8 method, then its arguments as one list (values.ts)
 *   answer:   u8 0, then the result; or u8 1, then { code, message, opIndex, field }
 *
 * Both may have descriptors with them. Invariant: a descriptor that came with a request is taken over by
 * the row that wants it, or closed. Arguments are checked where they are used, by the addon.
 */
import { VRouterError } from '../errors.ts';
import type { PortSpec } from './api.ts';
import type { NativeDataplane } from './binding.ts';
import { layout } from './layout.ts';
import { decodeValue, encodeValue, type Value } from './values.ts';

/** One more when a row changes its meaning; hello compares it, and the layout's digest. */
export const PROTOCOL = 3;

/** What a forwarder serves. */
export interface Served {
  readonly native: NativeDataplane;
  readonly addonPath: string;
  /** As they were asked for. */
  readonly ports: Map<number, PortSpec>;
  running: boolean;
  /** After the answer: drain and exit. */
  quit(): void;
}

export interface Reply {
  readonly value?: Value;
  /** Closed once they are sent. */
  readonly fds?: readonly number[];
}

type Serve = (served: Served, args: readonly Value[], fds: number[]) => Reply;

// The addon checks every argument; what is said here is only what it asks for.
type Any = never;
const value = (result: unknown): Reply => ({ value: result as Value });

/** A forwarder that listed all its ports in one answer would run into the limit on descriptors. */
export const PORTS_AN_ANSWER = 48;

export const METHODS = {
  /** → who is there, and in what state. */
  hello: (served) => {
    const report = served.native.flowFile();
    return value({
      protocol: PROTOCOL,
      layout: layout.digest,
      addon: served.addonPath,
      pid: process.pid,
      running: served.running,
      flowFile: report,
    });
  },
  claimFlows: (served, [owner]) => value(served.native.claimFlows(owner as Any)),
  /** from → up to PORTS_AN_ANSWER ports from that id on; with descriptors, in their order. */
  ports: (served, [from]) => {
    const ids = [...served.ports.keys()].filter((id) => id >= (from as number)).sort(ascending);
    const fds: number[] = [];
    const ports = ids.slice(0, PORTS_AN_ANSWER).map((port) => {
      const fd = served.native.portDescriptor(port);
      if (fd >= 0) fds.push(fd);
      return { port, spec: served.ports.get(port), descriptor: fd >= 0 };
    });
    return { value: { ports, more: ids.length > PORTS_AN_ANSWER } as Value, fds };
  },
  quit: (served) => {
    setImmediate(() => served.quit());
    return {};
  },
  addPort: (served, [spec, at], fds) => {
    // Taken over by the port, also when it is refused.
    const fd = fds.shift();
    const port = served.native.addPort(spec as Any, at as Any, fd as Any);
    served.ports.set(port, spec as unknown as PortSpec);
    return value(port);
  },
  removePort: (served, [port]) => {
    served.native.removePort(port as Any);
    served.ports.delete(port as number);
    return {};
  },
  portInfo: (served, [port]) => value(served.native.portInfo(port as Any)),
  start: (served) => {
    served.native.start();
    served.running = true;
    return {};
  },
  stop: (served) => {
    served.native.stop();
    served.running = false;
    return {};
  },
  step: (served, [nowNs]) => value(served.native.step(nowNs as Any)),
  commit: (served, [program]) => value(served.native.commit(program as Any)),
  dump: (served, [table, vrf, cursor, limit]) =>
    value(served.native.dump(table as Any, vrf as Any, cursor as Any, limit as Any)),
  dumpFlows: (served, [start, max]) => value(served.native.dumpFlows(start as Any, max as Any)),
  deleteFlow: (served, [index]) => value(served.native.deleteFlow(index as Any)),
  counterShape: (served) => value(served.native.counterShape()),
  /** room → how many numbers there are, and they, if they fit. */
  readCounters: (served, [room]) => {
    const numbers = new BigUint64Array(bounded(room, 'room', MAX_COUNTERS));
    const count = served.native.readCounters(numbers);
    const fits = count <= numbers.length ? count : 0;
    return value({ count, numbers: new Uint8Array(numbers.buffer, 0, fits * 8) });
  },
  clearCounters: (served) => value(served.native.clearCounters()),
  /** room in bytes → count, lost and the records. */
  drainEvents: (served, [room]) => {
    const into = new Uint8Array(bounded(room, 'room', MAX_EVENT_BYTES));
    const { count, lost } = served.native.drainEvents(into);
    return value({ count, lost, records: into.subarray(0, count * layout.eventRecord.size) });
  },
  dropLog: (served, [after]) => value(served.native.dropLog(after as Any)),
  startCapture: (served, [id, spec]) => value(served.native.startCapture(id as Any, spec as Any)),
  readCapture: (served, [id, bytes]) => value(served.native.readCapture(id as Any, bytes as Any)),
  stopCapture: (served, [id]) => value(served.native.stopCapture(id as Any)),
  inject: (served, [port, frames]) => value(served.native.inject(port as Any, frames as Any)),
  collect: (served, [port]) => value(served.native.collect(port as Any)),
  explain: (served, [frame, vif, before]) =>
    value(served.native.explain(frame as Any, vif as Any, before as Any)),
  info: (served) => value(served.native.info()),
} as const satisfies Record<string, Serve>;

/** Rows of vifs, VRFs and drop reasons at the core's limits: some 2 million numbers. */
const MAX_COUNTERS = 1 << 21;
const MAX_EVENT_BYTES = 16 << 20;

function bounded(given: Value, name: string, max: number): number {
  if (typeof given === 'number' && Number.isInteger(given) && given >= 0 && given <= max)
    return given;
  throw new VRouterError('BAD_ARGUMENT', `${name} must be an integer from 0 to ${max}`);
}

function ascending(a: number, b: number): number {
  return a - b;
}

export type MethodName = keyof typeof METHODS;
const NAMES = Object.keys(METHODS) as MethodName[];

export function encodeRequest(method: MethodName, args: readonly Value[]): Uint8Array {
  return prefixed(NAMES.indexOf(method), args);
}

function prefixed(first: number, body: Value): Uint8Array {
  const encoded = encodeValue(body);
  const bytes = new Uint8Array(1 + encoded.length);
  bytes[0] = first;
  bytes.set(encoded, 1);
  return bytes;
}

/** Answers one request, whatever its bytes are. Closes descriptors nobody took over. */
export function serve(
  served: Served,
  request: Uint8Array,
  fds: number[],
  closeDescriptor: (fd: number) => void,
): { readonly bytes: Uint8Array; readonly fds: readonly number[] } {
  try {
    const name = NAMES[request[0] ?? NAMES.length];
    if (name === undefined) {
      throw new VRouterError('UNKNOWN_METHOD', `there is no method ${request[0]}`);
    }
    const args = decodeValue(request.subarray(1));
    if (!Array.isArray(args)) throw new VRouterError('BAD_MESSAGE', 'arguments are no list');
    const reply = (METHODS[name] as Serve)(served, args, fds);
    return { bytes: prefixed(0, reply.value), fds: reply.fds ?? [] };
  } catch (error) {
    const known = error instanceof VRouterError ? error : undefined;
    const { code = 'INTERNAL', opIndex, field } = known ?? {};
    const message = error instanceof Error ? error.message : String(error);
    return { bytes: prefixed(1, { code, message, opIndex, field }), fds: [] };
  } finally {
    for (const fd of fds) closeDescriptor(fd);
  }
}

export function decodeAnswer(bytes: Uint8Array): Value {
  const body = decodeValue(bytes.subarray(1));
  if (bytes[0] === 0) return body;
  const { code, message, opIndex, field } = (body ?? {}) as Record<string, unknown>;
  throw new VRouterError(
    typeof code === 'string' ? code : 'BAD_MESSAGE',
    typeof message === 'string' ? message : 'the forwarder refuses without a reason',
    typeof opIndex === 'number' ? opIndex : undefined,
    typeof field === 'string' ? field : undefined,
  );
}
