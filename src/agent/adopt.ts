/**
 * A restarted agent and a data plane that went on without it: the ids found there, by the names the
 * agent will ask for them again (Ids.allocate), so that what is unchanged is not touched.
 * Reads a dump; writes nothing. What cannot be named gets a new id and the old one goes with the audit.
 */
import { hostPrefix } from '../addr/prefix.ts';
import type { Dataplane, DumpTable } from '../dataplane/api.ts';
import { NEXT_HOP_BRIDGE, REPLICATE_ENCAP, REPLICATE_EVPN, REPLICATE_ROOT } from './books.ts';
import { floodKey } from './bridge.ts';
import { type NextHopSpec, specText } from './next-hops.ts';
import { setKeyOf } from './routes.ts';
import { sourceNatName } from './source-nats.ts';
import type { SetOp } from './tables.ts';

const TABLES: readonly DumpTable[] = [
  'router',
  'vrfs',
  'policies',
  'vifs',
  'next_hops',
  'labels',
  'vnis',
  'macs',
  'routes',
  'floating_ips',
  'source_nats',
];

/** All that the data plane holds. */
export function readTables(dataplane: Dataplane): SetOp[] {
  return TABLES.flatMap((table) => dataplane.dump(table)).filter((op): op is SetOp =>
    op.op.endsWith('_set'),
  );
}

type Names = ReadonlyMap<string, number>;

export interface Found {
  readonly vrfs: Names;
  readonly vifs: Names;
  readonly policies: Names;
  readonly nextHops: Names;
  readonly labels: Names;
  readonly floatingIps: Names;
  readonly sourceNats: Names;
  /** Member ids by ECMP set, by what identifies the member. */
  readonly members: ReadonlyMap<string, Names>;
}

export const NOTHING_FOUND: Found = {
  vrfs: new Map(),
  vifs: new Map(),
  policies: new Map(),
  nextHops: new Map(),
  labels: new Map(),
  floatingIps: new Map(),
  sourceNats: new Map(),
  members: new Map(),
};

type Of<N extends SetOp['op']> = Extract<SetOp, { op: N }>;

function only<N extends SetOp['op']>(ops: readonly SetOp[], name: N): Of<N>[] {
  return ops.filter((op): op is Of<N> => op.op === name);
}

/** own: the node's address, with which its local members are identified. */
export function identify(ops: readonly SetOp[], own: string): Found {
  const vrfNames = new Map(only(ops, 'vrf_set').map((op) => [op.vrf, op.name]));
  const vifNames = new Map(only(ops, 'vif_set').map((op) => [op.vif, op.name]));
  const byId = new Map<number, SetOp>();
  for (const op of ops) if ('nextHop' in op && op.op.startsWith('nh_')) byId.set(op.nextHop, op);
  const nextHops = new Map<string, number>();
  const members = new Map<string, Names>();
  for (const op of byId.values()) {
    if (op.op === 'nh_interface_set' || op.op === 'nh_tunnel_set' || op.op === 'nh_receive_set') {
      nextHops.set(nameOf(op), op.nextHop);
    } else if (op.op === 'nh_l2_receive_set' || op.op === 'nh_vrf_translate_set') {
      nextHops.set(nameOf(op), op.nextHop);
    } else if (op.op === 'nh_replicate_set') {
      const branch = BRANCHES[op.kind];
      if (branch !== undefined) nextHops.set(floodKey(op.vrf, branch), op.nextHop);
    }
  }
  for (const route of only(ops, 'route_set')) {
    const set = byId.get(route.nextHop);
    if (set?.op !== 'nh_ecmp_set') continue;
    const key = setKeyOf(route.vrf, route.prefix);
    nextHops.set(key, set.nextHop);
    members.set(key, memberNames(set, byId, own));
  }
  return {
    vrfs: new Map([...vrfNames].map(([id, name]) => [name, id])),
    vifs: new Map([...vifNames].map(([id, name]) => [name, id])),
    policies: new Map(only(ops, 'policy_set').map((op) => [op.name, op.policy])),
    nextHops,
    labels: labelNames(ops, byId, vrfNames, vifNames),
    floatingIps: new Map(
      only(ops, 'floating_ip_set').map((op) => [
        `${vifNames.get(op.vif)} ${vrfNames.get(op.vrf)} ${op.address}`,
        op.floatingIp,
      ]),
    ),
    sourceNats: new Map(only(ops, 'source_nat_set').map((op) => [sourceNatName(op), op.sourceNat])),
    members,
  };
}

const BRANCHES: Readonly<Record<number, string>> = {
  [REPLICATE_ROOT]: 'root',
  [REPLICATE_ENCAP]: 'local',
  [REPLICATE_EVPN]: 'far',
};

function nameOf(op: SetOp & { nextHop: number }): string {
  const { nextHop: _, ...spec } = op;
  return specText(spec as NextHopSpec);
}

function memberNames(set: Of<'nh_ecmp_set'>, byId: ReadonlyMap<number, SetOp>, own: string): Names {
  const names = new Map<string, number>();
  for (const { member, nextHop, label } of set.members) {
    const target = byId.get(nextHop);
    if (target?.op === 'nh_tunnel_set') names.set(`${target.destination} ${label}`, member);
    else if (target?.op === 'nh_interface_set') names.set(`${own} ${label}`, member);
  }
  return names;
}

function labelNames(
  ops: readonly SetOp[],
  byId: ReadonlyMap<number, SetOp>,
  vrfNames: ReadonlyMap<number, string>,
  vifNames: ReadonlyMap<number, string>,
): Names {
  const names = new Map<string, number>();
  for (const { label, nextHop } of only(ops, 'label_set')) {
    const target = byId.get(nextHop);
    if (target?.op === 'nh_interface_set') {
      const layer = (target.flags & NEXT_HOP_BRIDGE) === 0 ? 'l3' : 'l2';
      names.set(`${layer} ${vifNames.get(target.vif)}`, label);
    } else if (target?.op === 'nh_replicate_set') {
      names.set(`flood ${vrfNames.get(target.vrf)}`, label);
    }
  }
  const translated = new Map(only(ops, 'label_set').map((op) => [op.nextHop, op.label]));
  for (const nat of only(ops, 'source_nat_set')) {
    const route = only(ops, 'route_set').find(
      (op) => op.vrf === nat.toVrf && op.prefix === hostPrefix(nat.address),
    );
    const label = route === undefined ? undefined : translated.get(route.nextHop);
    if (label !== undefined) names.set(`reply ${vrfNames.get(nat.toVrf)} ${nat.address}`, label);
  }
  return names;
}
