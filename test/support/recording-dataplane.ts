/**
 * The tables of a data plane without its packets: takes Programs all or nothing, refuses dangling and
 * used references, and keeps every Program for tests that look at what was sent and in what order.
 * A naive twin of native/program for references; values are the real core's to check.
 */
import type {
  Counters,
  Dataplane,
  DataplaneInfo,
  DumpTable,
  FullOp,
  Op,
} from '../../src/dataplane/api.ts';
import { VRouterError } from '../../src/errors.ts';

type Row = Extract<FullOp, { op: `${string}_set` }>;
type Bag = Record<string, unknown>;

/** Table of a row, what names it there, and how a deletion is called. */
function place(op: string): { table: DumpTable; key: string[]; deletion: string } {
  if (op.startsWith('nh_')) return { table: 'next_hops', key: ['nextHop'], deletion: 'nh_delete' };
  const rows: Record<string, { table: DumpTable; key: string[] }> = {
    router: { table: 'router', key: [] },
    vrf: { table: 'vrfs', key: ['vrf'] },
    vif: { table: 'vifs', key: ['vif'] },
    route: { table: 'routes', key: ['vrf', 'prefix'] },
    mac: { table: 'macs', key: ['vrf', 'mac'] },
    label: { table: 'labels', key: ['label'] },
    vni: { table: 'vnis', key: ['vni'] },
    floating_ip: { table: 'floating_ips', key: ['floatingIp'] },
    source_nat: { table: 'source_nats', key: ['sourceNat'] },
    policy: { table: 'policies', key: ['policy'] },
  };
  const kind = op.replace(/_(set|delete)$/, '');
  const row = rows[kind];
  if (row === undefined) throw new VRouterError('UNKNOWN_OP', `no op is called ${op}`);
  return { ...row, deletion: `${kind}_delete` };
}

const NONE = 0xffffffff;

export class RecordingDataplane implements Dataplane {
  readonly programs: Op[][] = [];
  #rows = new Map<string, Row>();
  #generation = 1;
  /** The next commit is refused with this. */
  failNext: VRouterError | undefined;

  commit(ops: readonly Op[]): number {
    if (this.failNext !== undefined) {
      const error = this.failNext;
      this.failNext = undefined;
      throw error;
    }
    const rows = new Map(this.#rows);
    const touched = new Map<string, number>();
    ops.forEach((op, index) => {
      const { table, key } = place(op.op);
      const id = `${table} ${key.map((k) => (op as Bag)[k]).join(' ')}`;
      if (touched.has(id)) throw new VRouterError('CONFLICT', `${id} twice in a Program`, index);
      touched.set(id, index);
      if (op.op.endsWith('_delete')) {
        if (!rows.delete(id)) throw new VRouterError('NOT_FOUND', `${id} is not there`, index);
      } else {
        rows.set(id, op as Row);
      }
    });
    for (const [id, row] of rows) {
      for (const [wanted, code] of references(row)) {
        if (rows.has(wanted)) continue;
        const index = touched.get(id) ?? touched.get(wanted);
        throw new VRouterError(touched.has(id) ? code : 'IN_USE', `${id} needs ${wanted}`, index);
      }
    }
    this.#rows = rows;
    this.programs.push([...ops]);
    return ++this.#generation;
  }

  /** All ops sent since last time, as `op key`. */
  sent(): string[] {
    return this.programs.splice(0).flatMap((program) =>
      program.map((op) => {
        const { key } = place(op.op);
        return [op.op, ...key.map((k) => (op as Bag)[k])].join(' ');
      }),
    );
  }

  row(table: DumpTable, ...key: (string | number)[]): Row | undefined {
    return this.#rows.get(`${table} ${key.join(' ')}`);
  }

  rows<N extends Row['op']>(op: N): Extract<Row, { op: N }>[] {
    return [...this.#rows.values()].filter((row): row is Extract<Row, { op: N }> => row.op === op);
  }

  dump(table: DumpTable, vrf?: number): FullOp[] {
    return [...this.#rows]
      .filter(([id]) => id.startsWith(`${table} `))
      .map(([, row]) => row)
      .filter((row) => vrf === undefined || (row as Bag).vrf === vrf);
  }

  info(): DataplaneInfo {
    return {
      addon: 'recording',
      generation: this.#generation,
      flowEntries: 0,
      flowsUsed: 0,
      flowsCreated: 0n,
      flowsDeleted: 0n,
      flowsEvicted: 0n,
      flowBytes: 0,
      buffersFree: 0,
      workers: 1,
      kernelTier: {
        on: false,
        reason: 'not asked for',
        flows: 0,
        packets: 0n,
        bytes: 0n,
        devices: [],
      },
      buffers: 0,
      nextHopReferences: new Map(),
    };
  }

  addPort(): number {
    return unsupported('ports');
  }
  removePort(): void {
    unsupported('ports');
  }
  portInfo(): never {
    return unsupported('ports');
  }
  start(): void {}
  stop(): void {}
  step(): number {
    return unsupported('packets');
  }
  commitBytes(): number {
    return unsupported('bytes');
  }
  snapshot(): Uint8Array {
    return unsupported('bytes');
  }
  flows(): [] {
    return [];
  }
  deleteFlow(): boolean {
    return false;
  }
  readCounters(): Counters {
    return unsupported('counters');
  }
  clearCounters(): void {}
  drainEvents(): { events: []; lost: bigint } {
    return { events: [], lost: 0n };
  }
  inject(): number {
    return unsupported('packets');
  }
  collect(): Uint8Array[] {
    return unsupported('packets');
  }
  dropLog(): [] {
    return [];
  }

  startCapture(): never {
    return unsupported('packets');
  }
  readCapture(): never {
    return unsupported('packets');
  }
  stopCapture(): boolean {
    return false;
  }
  explain(): never {
    return unsupported('packets');
  }
  close(): void {}
}

function unsupported(what: string): never {
  throw new VRouterError('BUSY', `this data plane has tables only, no ${what}`);
}

function* references(row: Row): Generator<[string, string]> {
  const nextHop = (id: number): [string, string] => [`next_hops ${id}`, 'DANGLING_NEXT_HOP'];
  const vif = (id: number): [string, string] => [`vifs ${id}`, 'DANGLING_VIF'];
  const vrf = (id: number): [string, string] => [`vrfs ${id}`, 'DANGLING_VRF'];
  if ('vrf' in row && row.op !== 'vrf_set') yield vrf(row.vrf);
  if ('toVrf' in row) yield vrf(row.toVrf);
  if ('vif' in row && row.op !== 'vif_set' && row.vif !== NONE) yield vif(row.vif);
  if ('nextHop' in row && !row.op.startsWith('nh_') && row.nextHop !== 0)
    yield nextHop(row.nextHop);
  if ('moreLegs' in row) for (const leg of row.moreLegs) yield vif(leg.vif);
  if ('members' in row) for (const member of row.members) yield nextHop(member.nextHop);
  if ('replicas' in row) for (const replica of row.replicas) yield nextHop(replica.nextHop);
  if (row.op === 'vif_set') {
    for (const list of [row.networkPolicies, row.ingressGroups, row.egressGroups]) {
      for (const { policy } of list) yield [`policies ${policy}`, 'DANGLING_POLICY'];
    }
  }
}
