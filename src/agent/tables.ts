/**
 * DesiredTables: what the data plane should hold, beside what it was last told.
 *
 * Invariants
 *  * `desired` changes by put() and drop() only, `committed` by settle() only, so a commit that fails
 *    leaves both as they were and the same difference is planned again.
 *  * However often an object changed since the last commit, a plan has at most one op for it, and none
 *    if it is back to what was committed.
 *  * A plan is make before break: everything that is set comes before everything that is deleted, and
 *    what is referred to is set before, and deleted after, what refers to it. Cut into Programs anywhere
 *    between groups, each Program leaves all references whole.
 */
import type { FullOp, Op } from '../dataplane/api.ts';
import { layout } from '../dataplane/layout.ts';
import { NONE } from './ids.ts';

export type SetOp = Extract<FullOp, { op: `${string}_set` }>;

/** One object of the data plane's tables: `vif 3`, `route 1 10.0.0.0/8`. */
export type ObjectKey = string;

export function objectKey(op: SetOp): ObjectKey {
  switch (op.op) {
    case 'router_set':
      return 'router';
    case 'vrf_set':
      return `vrf ${op.vrf}`;
    case 'vif_set':
      return `vif ${op.vif}`;
    case 'route_set':
      return `route ${op.vrf} ${op.prefix}`;
    case 'mac_set':
      return `mac ${op.vrf} ${op.mac}`;
    case 'label_set':
      return `label ${op.label}`;
    case 'vni_set':
      return `vni ${op.vni}`;
    case 'floating_ip_set':
      return `floating_ip ${op.floatingIp}`;
    case 'source_nat_set':
      return `source_nat ${op.sourceNat}`;
    case 'policy_set':
      return `policy ${op.policy}`;
    default:
      return `nh ${op.nextHop}`;
  }
}

/** Undefined: the object cannot be deleted, only replaced. */
function deletion(op: SetOp): Op | undefined {
  switch (op.op) {
    case 'router_set':
      return undefined;
    case 'vrf_set':
      return { op: 'vrf_delete', vrf: op.vrf };
    case 'vif_set':
      return { op: 'vif_delete', vif: op.vif };
    case 'route_set':
      return { op: 'route_delete', vrf: op.vrf, prefix: op.prefix };
    case 'mac_set':
      return { op: 'mac_delete', vrf: op.vrf, mac: op.mac };
    case 'label_set':
      return { op: 'label_delete', label: op.label };
    case 'vni_set':
      return { op: 'vni_delete', vni: op.vni };
    case 'floating_ip_set':
      return { op: 'floating_ip_delete', floatingIp: op.floatingIp };
    case 'source_nat_set':
      return { op: 'source_nat_delete', sourceNat: op.sourceNat };
    case 'policy_set':
      return { op: 'policy_delete', policy: op.policy };
    default:
      return { op: 'nh_delete', nextHop: op.nextHop };
  }
}

const RANK_OF_VIF = 3;
/** Referred to before referring. Vifs and the next hops that name them refer to each other: one group. */
function rank(op: SetOp): number {
  switch (op.op) {
    case 'router_set':
      return 0;
    case 'vrf_set':
      return 1;
    case 'policy_set':
      return 2;
    case 'vif_set':
      return RANK_OF_VIF;
    case 'nh_interface_set':
      return RANK_OF_VIF;
    case 'nh_receive_set':
      return op.vif === NONE ? 4 : RANK_OF_VIF;
    case 'nh_ecmp_set':
      return 5;
    case 'nh_replicate_set':
      return op.kind === 0 ? 6 : 5; // a root refers to the others
    case 'label_set':
    case 'vni_set':
    case 'mac_set':
    case 'route_set':
      return 7;
    case 'floating_ip_set':
    case 'source_nat_set':
      return 8;
    default:
      return 4;
  }
}

/** Ops with one group number must not come into different Programs; -1: alone. */
function group(op: SetOp): number {
  if (rank(op) !== RANK_OF_VIF) return -1;
  return (op as { vif: number }).vif;
}

export interface PlannedOp {
  readonly key: ObjectKey;
  readonly op: Op;
  /** The object after this op; undefined: gone. */
  readonly becomes: SetOp | undefined;
  /** For whom, in words: `vif 'web-1'`. */
  readonly owner: string;
}

interface Wanted {
  readonly op: SetOp;
  readonly owner: string;
}

/** Half the core's limits: a plan cut at a group's end still fits. */
const MAX_OPS = layout.limits.maxProgramOps / 2;
const MAX_BYTES = layout.limits.maxProgramBytes / 2;

export class DesiredTables {
  readonly #desired = new Map<ObjectKey, Wanted>();
  readonly #committed = new Map<ObjectKey, SetOp>();
  /** Who last wanted an object that is to be deleted. */
  readonly #formerOwners = new Map<ObjectKey, string>();
  readonly #touched = new Set<ObjectKey>();

  put(op: SetOp, owner: string): ObjectKey {
    const key = objectKey(op);
    this.#desired.set(key, { op, owner });
    this.#touched.add(key);
    return key;
  }

  drop(key: ObjectKey): void {
    const wanted = this.#desired.get(key);
    if (wanted === undefined) return;
    this.#desired.delete(key);
    this.#formerOwners.set(key, wanted.owner);
    this.#touched.add(key);
  }

  get(key: ObjectKey): SetOp | undefined {
    return this.#desired.get(key)?.op;
  }

  /** All that is desired, in the order of a plan. */
  all(): SetOp[] {
    const planned = [...this.#desired].map(([key, { op, owner }]) => ({
      key,
      op,
      becomes: op,
      owner,
    }));
    return planned.sort(bySetOrder).map((p) => p.op);
  }

  /** The data plane was found holding this: plan from it, not from what we remember. */
  resume(found: readonly SetOp[]): void {
    this.#committed.clear();
    for (const op of found) {
      if (op.op === 'nh_discard_set') continue; // always there, nobody's
      this.#committed.set(objectKey(op), op);
      this.#touched.add(objectKey(op));
    }
    for (const key of this.#desired.keys()) this.#touched.add(key);
  }

  /** What was committed, as Programs that make it again in an empty data plane. */
  committed(): Op[][] {
    const sets = [...this.#committed].map(([key, op]) => ({ key, op, becomes: op, owner: key }));
    sets.sort(bySetOrder);
    const programs = cut(sets.map((p) => ({ planned: p, group: group(p.becomes) })));
    return programs.map((program) => program.map((planned) => planned.op));
  }

  /** What has to be sent, cut into Programs. Changes nothing. */
  plan(): PlannedOp[][] {
    const sets: (PlannedOp & { readonly becomes: SetOp })[] = [];
    const deletions: (PlannedOp & { readonly was: SetOp })[] = [];
    for (const key of this.#touched) {
      const was = this.#committed.get(key);
      const wanted = this.#desired.get(key);
      if (wanted !== undefined) {
        if (was !== undefined && sameOp(was, wanted.op)) continue;
        sets.push({ key, op: wanted.op, becomes: wanted.op, owner: wanted.owner });
      } else if (was !== undefined) {
        const op = deletion(was);
        const owner = this.#formerOwners.get(key) ?? key;
        if (op !== undefined) deletions.push({ key, op, becomes: undefined, owner, was });
      }
    }
    sets.sort(bySetOrder);
    deletions.sort((a, b) => bySetOrder({ ...b, becomes: b.was }, { ...a, becomes: a.was }));
    return cut([
      ...sets.map((p) => ({ planned: p, group: group(p.becomes) })),
      ...deletions.map(({ was, ...p }) => ({ planned: p, group: group(was) })),
    ]);
  }

  /** The data plane has taken a Program of the plan. */
  settle(program: readonly PlannedOp[]): void {
    for (const { key, becomes } of program) {
      if (becomes === undefined) this.#committed.delete(key);
      else this.#committed.set(key, becomes);
      if (this.#desired.get(key)?.op === becomes) {
        this.#touched.delete(key);
        this.#formerOwners.delete(key);
      }
    }
  }

  /** After a whole plan has been settled nothing is left to look at. */
  settled(): void {
    this.#touched.clear();
    this.#formerOwners.clear();
  }

  get pending(): boolean {
    return this.#touched.size > 0;
  }
}

function bySetOrder(
  a: { readonly key: ObjectKey; readonly becomes: SetOp },
  b: { readonly key: ObjectKey; readonly becomes: SetOp },
): number {
  return (
    rank(a.becomes) - rank(b.becomes) ||
    group(a.becomes) - group(b.becomes) ||
    Number(b.becomes.op === 'vif_set') - Number(a.becomes.op === 'vif_set') ||
    byKey(a.key, b.key)
  );
}

/** `nh 9` before `nh 10`. */
function byKey(a: ObjectKey, b: ObjectKey): number {
  const [kindA = '', idA = '', ...restA] = a.split(' ');
  const [kindB = '', idB = '', ...restB] = b.split(' ');
  if (kindA !== kindB) return kindA < kindB ? -1 : 1;
  if (idA !== idB) return Number(idA) - Number(idB);
  const [tailA, tailB] = [restA.join(' '), restB.join(' ')];
  return tailA < tailB ? -1 : tailA > tailB ? 1 : 0;
}

function cut(
  ops: readonly { readonly planned: PlannedOp; readonly group: number }[],
): PlannedOp[][] {
  const programs: PlannedOp[][] = [];
  let program: PlannedOp[] = [];
  let bytes = 0;
  let last = -1;
  for (const { planned, group: current } of ops) {
    const full = program.length >= MAX_OPS || bytes >= MAX_BYTES;
    if (full && (current < 0 || current !== last)) {
      programs.push(program);
      program = [];
      bytes = 0;
    }
    program.push(planned);
    bytes += estimatedBytes(planned.op);
    last = current;
  }
  if (program.length > 0) programs.push(program);
  return programs;
}

/** Above what the op takes on the wire: the longest op without its lists, the longest list element. */
function estimatedBytes(op: Op): number {
  let bytes = 384;
  for (const value of Object.values(op)) if (Array.isArray(value)) bytes += value.length * 48;
  return bytes;
}

/** Equal field by field, whatever order the fields were written in. */
export function sameOp(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (Array.isArray(a) || Array.isArray(b)) {
    if (!Array.isArray(a) || !Array.isArray(b) || a.length !== b.length) return false;
    return a.every((value, i) => sameOp(value, b[i]));
  }
  const keys = Object.keys(a);
  if (keys.length !== Object.keys(b).length) return false;
  return keys.every((key) =>
    sameOp((a as Record<string, unknown>)[key], (b as Record<string, unknown>)[key]),
  );
}
