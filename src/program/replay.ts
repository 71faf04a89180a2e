/**
 * `vrouter replay`: a declared state and recorded input to recorded output, flows, counters and drops.
 *
 * Invariants
 *  * Time is the packets': virtual time 0 is the first packet of all inputs, and every breath happens at
 *    the time of the packets it takes in. Nothing reads a clock, so equal inputs give equal bytes.
 *  * Inputs are merged by time; at equal times the order is that of the arguments, then of the file.
 *  * Every input record is accounted for; when the sums do not meet, the result says so.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Count, count, type FlowView } from '../cli/views.ts';
import { type PcapRecord, PcapWriter, readPcap } from '../codec/pcap.ts';
import { loadState } from '../config/load.ts';
import { suggestion } from '../config/nearest.ts';
import type { Counters, Dataplane, Op } from '../dataplane/api.ts';
import { openDataplane } from '../dataplane/dataplane.ts';
import { layout } from '../dataplane/layout.ts';
import { VRouterError } from '../errors.ts';
import { type CompiledVif, compileState } from './state-ops.ts';
import { drops, flowView, vrfStats } from './views.ts';

export interface ReplayInput {
  readonly vif: string;
  readonly file: string;
}

export interface ReplayOptions {
  readonly state: string;
  readonly inputs: readonly ReplayInput[];
  readonly out: string;
  readonly seed?: bigint;
}

export interface ReplayVif {
  readonly vif: string;
  readonly id: number;
  readonly input: Count;
  readonly output: Count;
}

export interface ReplaySummary {
  readonly seed: string;
  readonly firstPacketNs: string | null;
  readonly durationNs: string;
  readonly records: number;
  /** Records no port takes: empty ones. They never enter the vRouter. */
  readonly unusable: number;
  readonly totals: Readonly<Record<string, Count>>;
  readonly vifs: readonly ReplayVif[];
  readonly flows: number;
  readonly dropped: readonly { readonly name: string; readonly packets: Count }[];
  readonly accounted: boolean;
  /** What does not add up; empty when all is accounted for. */
  readonly discrepancies: readonly string[];
}

/** Housekeeping of a quiet stretch: a tick each 100 ms of virtual time, fewer when it is long. */
const TICK_NS = 100_000_000n;
const MAX_TICKS = 600n;
/** Longer than a fragment waits for its first. */
const SETTLE_NS = 3_000_000_000n;
const MAX_OPS = layout.limits.maxProgramOps;

interface Input {
  readonly vif: string;
  readonly records: Generator<PcapRecord>;
  head: PcapRecord | undefined;
}

interface VifPort {
  readonly vif: CompiledVif;
  readonly port: number;
  readonly writer: PcapWriter;
  input: number;
}

/** Tables of many entries go last and in parts; what they refer to is in the first. */
export function commitState(dataplane: Dataplane, ops: readonly Op[]): void {
  const bulk = new Set<string>(['route_set', 'mac_set', 'label_set', 'vni_set', 'floating_ip_set']);
  const objects = ops.filter((op) => !bulk.has(op.op));
  const entries = ops.filter((op) => bulk.has(op.op));
  const room = Math.max(0, MAX_OPS - objects.length);
  dataplane.commit([...objects, ...entries.slice(0, room)]);
  for (let at = room; at < entries.length; at += MAX_OPS) {
    dataplane.commit(entries.slice(at, at + MAX_OPS));
  }
}

/** The state on memory ports, one for each vif. */
export function openState(
  file: string,
  seed: bigint,
): { dataplane: Dataplane; vifs: readonly CompiledVif[]; ports: ReadonlyMap<string, number> } {
  const loaded = loadState(file);
  // Compiled before anything is opened, so that a wrong file costs nothing.
  compileState(loaded, () => 0);
  const dataplane = openDataplane({ seed });
  try {
    const ports = new Map<string, number>();
    for (const vif of loaded.value.vifs ?? []) {
      const mtu = vif.mtu ?? 1500;
      ports.set(vif.name, dataplane.addPort({ kind: 'memory', mtu }));
    }
    const { ops, vifs } = compileState(loaded, (name) => ports.get(name) as number);
    commitState(dataplane, ops);
    return { dataplane, vifs, ports };
  } catch (error) {
    dataplane.close();
    if (error instanceof VRouterError) {
      throw new VRouterError(error.code, `${file}: ${error.message}`, error.opIndex, error.field);
    }
    throw error;
  }
}

class Replay {
  readonly #dataplane: Dataplane;
  readonly #ports = new Map<string, VifPort>();
  #start: bigint | undefined;
  #now = 0n;
  #records = 0;
  #unusable = 0;

  constructor(
    dataplane: Dataplane,
    vifs: readonly CompiledVif[],
    ports: ReadonlyMap<string, number>,
  ) {
    this.#dataplane = dataplane;
    for (const vif of vifs) {
      const port = ports.get(vif.name) as number;
      this.#ports.set(vif.name, { vif, port, writer: new PcapWriter(), input: 0 });
    }
  }

  run(inputs: Input[]): void {
    for (const input of inputs) this.#advance(input);
    for (let next = earliest(inputs); next !== undefined; next = earliest(inputs)) {
      const { timeNs } = next.head as PcapRecord;
      this.#start ??= timeNs;
      this.#idleUntil(timeNs - this.#start);
      this.#takeAll(inputs, timeNs);
      this.#breathe();
    }
    const end = this.#now + SETTLE_NS;
    while (this.#now < end && this.#dataplane.readCounters().totals.held > 0n) {
      this.#now += TICK_NS;
      this.#breathe();
    }
  }

  #advance(input: Input): void {
    const next = input.records.next();
    input.head = next.done === true ? undefined : next.value;
  }

  /** All records of one instant, in order of the arguments. */
  #takeAll(inputs: readonly Input[], timeNs: bigint): void {
    for (const input of inputs) {
      const port = this.#ports.get(input.vif) as VifPort;
      while (input.head?.timeNs === timeNs) {
        this.#inject(port, input.head.frame);
        this.#advance(input);
      }
    }
  }

  #inject(port: VifPort, frame: Uint8Array): void {
    this.#records++;
    port.input++;
    if (this.#dataplane.inject(port.port, [frame]) === 1) return;
    // The ring is full, or it takes no such frame ever: after a breath only the latter is left.
    this.#breathe();
    if (this.#dataplane.inject(port.port, [frame]) === 0) {
      port.input--;
      this.#unusable++;
    }
  }

  #idleUntil(timeNs: bigint): void {
    const gap = timeNs - this.#now;
    const tick = gap / MAX_TICKS > TICK_NS ? gap / MAX_TICKS : TICK_NS;
    while (this.#now + tick < timeNs) {
      this.#now += tick;
      this.#breathe();
    }
    if (timeNs > this.#now) this.#now = timeNs;
  }

  /** A burst is bounded, so what was injected may take several breaths. */
  #breathe(): void {
    let received: number;
    do {
      received = this.#dataplane.step(this.#now);
      for (const { port, writer } of this.#ports.values()) {
        for (const frame of this.#dataplane.collect(port)) {
          writer.add((this.#start ?? 0n) + this.#now, frame);
        }
      }
    } while (received > 0);
  }

  summary(seed: bigint): ReplaySummary {
    const counters = this.#dataplane.readCounters();
    const discrepancies = this.#discrepancies(counters);
    const totals = Object.entries(counters.totals).map(([name, n]) => [name, count(n)] as const);
    return {
      seed: seed.toString(),
      firstPacketNs: this.#start?.toString() ?? null,
      durationNs: this.#now.toString(),
      records: this.#records,
      unusable: this.#unusable,
      totals: Object.fromEntries(totals),
      vifs: [...this.#ports.values()].map(({ vif, input, writer }) => ({
        vif: vif.name,
        id: vif.id,
        input,
        output: writer.records,
      })),
      flows: this.#dataplane.flows().length,
      dropped: drops(this.#dataplane).filter((drop) => drop.packets !== 0),
      accounted: discrepancies.length === 0,
      discrepancies,
    };
  }

  #discrepancies(counters: Counters): string[] {
    const { received, forwarded, replied, punted, dropped, consumed, held } = counters.totals;
    const sum = forwarded + replied + punted + dropped + consumed + held;
    const problems: string[] = [];
    const entered = BigInt(this.#records - this.#unusable);
    if (received !== entered)
      problems.push(`${entered} records went in, ${received} were received`);
    if (received !== sum) {
      problems.push(
        `received ${received}, but forwarded ${forwarded} + replied ${replied} + punted ${punted} + ` +
          `dropped ${dropped} + consumed ${consumed} + held ${held} = ${sum}`,
      );
    }
    for (const { vif, input } of this.#ports.values()) {
      const counted = counters.vifs.get(vif.id)?.rxPackets ?? 0n;
      // Frames a port discarded never reach the vif's packet counter, but its errors.
      const errors = counters.vifs.get(vif.id)?.rxErrors ?? 0n;
      if (counted + errors !== BigInt(input)) {
        problems.push(`vif ${vif.name}: ${input} records went in, ${counted} + ${errors} counted`);
      }
    }
    return problems;
  }

  write(directory: string, summary: ReplaySummary): void {
    mkdirSync(directory, { recursive: true });
    for (const { vif, writer } of this.#ports.values()) {
      writeFileSync(join(directory, `${vif.name}.pcap`), writer.bytes());
    }
    const json = (name: string, value: unknown) =>
      writeFileSync(join(directory, name), `${JSON.stringify(value, null, 2)}\n`);
    json('flows.json', flowsOf(this.#dataplane));
    json('counters.json', {
      totals: summary.totals,
      vifs: countersOf(this.#dataplane.readCounters(), summary.vifs),
      vrfs: vrfStats(this.#dataplane),
    });
    json('drops.json', drops(this.#dataplane));
    json('summary.json', summary);
  }
}

function flowsOf(dataplane: Dataplane): FlowView[] {
  return dataplane
    .flows()
    .sort((a, b) => a.index - b.index)
    .map(flowView);
}

function countersOf(counters: Counters, vifs: readonly ReplayVif[]) {
  return vifs.map(({ vif, id }) => {
    const own = Object.entries(counters.vifs.get(id) ?? {}) as [string, bigint][];
    return { vif, id, ...Object.fromEntries(own.map(([name, n]) => [name, count(n)])) };
  });
}

function earliest(inputs: readonly Input[]): Input | undefined {
  let best: Input | undefined;
  for (const input of inputs) {
    if (input.head === undefined) continue;
    if (best?.head === undefined || input.head.timeNs < best.head.timeNs) best = input;
  }
  return best;
}

/** Runs, writes the output directory, and returns what it also wrote to summary.json. */
export function replay(options: ReplayOptions): ReplaySummary {
  const seed = options.seed ?? 1n;
  const { dataplane, vifs, ports } = openState(options.state, seed);
  try {
    const inputs = options.inputs.map(({ vif, file }): Input => {
      if (!ports.has(vif)) {
        const near = suggestion(vif, [...ports.keys()]);
        throw new VRouterError(
          'NOT_FOUND',
          `--in ${vif}=${file}: the state has no vif "${vif}"${near}`,
        );
      }
      return { vif, records: records(file), head: undefined };
    });
    const run = new Replay(dataplane, vifs, ports);
    run.run(inputs);
    const summary = run.summary(seed);
    run.write(options.out, summary);
    return summary;
  } finally {
    dataplane.close();
  }
}

function* records(file: string): Generator<PcapRecord> {
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(file);
  } catch (error) {
    throw new VRouterError('BAD_FILE', `${file}: ${(error as Error).message}`);
  }
  let last = 0n;
  for (const record of readPcap(file, bytes)) {
    // A capture of several queues may step back a little; time in here does not.
    if (record.timeNs > last) last = record.timeNs;
    yield { ...record, timeNs: last };
  }
}
