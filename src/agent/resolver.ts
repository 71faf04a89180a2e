/**
 * From a route's hops to next hops of this node: hops at our own address become what our labels stand
 * for, hops elsewhere become tunnels by the first encapsulation both ends take.
 * Pure: reads the view it is given, writes nothing. Members come out in order of what identifies them
 * (address, label), whatever order the hops came in, so equal routes give equal next hops.
 */
import { layout } from '../dataplane/layout.ts';
import { compareHops } from '../rib/best-path.ts';
import type { EncapName, PathHop, Route } from '../rib/route.ts';
import { type NextHopId, NO_LABEL } from './ids.ts';
import type { LocalMember } from './labels.ts';
import type { TunnelSpec } from './next-hops.ts';

export interface ResolverView {
  isOwnAddress(address: string): boolean;
  /** What is behind a label of ours; undefined: we gave out no such label, or no route can use it. */
  local(label: number): readonly LocalMember[] | undefined;
  /** A tunnel to that far end, if the underlay knows the way. */
  tunnel(hop: PathHop, encap: EncapName): TunnelSpec | undefined;
  /** Encapsulations this node sends. */
  sends(encap: EncapName): boolean;
}

export type ResolvedHop = {
  /** Same text, same member of an ECMP set. */
  readonly identity: string;
  /** Member id the source chose. */
  readonly given: number | undefined;
  readonly label: number;
  readonly weight: number;
} & (
  | { readonly kind: 'local'; readonly nextHop: NextHopId }
  | { readonly kind: 'tunnel'; readonly spec: TunnelSpec }
);

/** Hops that cannot be used now are left out, and those past what a set can hold; `onUnusable` hears why. */
export function resolveHops(
  route: Route,
  view: ResolverView,
  onUnusable: (hop: PathHop, why: string) => void = () => {},
): ResolvedHop[] {
  const resolved = new Map<string, ResolvedHop>();
  const add = (hop: ResolvedHop) => {
    if (!resolved.has(hop.identity)) resolved.set(hop.identity, hop);
  };
  for (const hop of [...route.hops].sort(compareHops)) {
    if (view.isOwnAddress(hop.address)) {
      for (const member of resolveLocal(hop, view, onUnusable)) add(member);
      continue;
    }
    const tunnel = resolveRemote(hop, view, onUnusable);
    if (tunnel !== undefined) add(tunnel);
  }
  const all = [...resolved.values()];
  if (all.length > layout.limits.maxEcmpMembers) {
    const [first] = route.hops;
    const beyond = `${all.length - layout.limits.maxEcmpMembers} of ${all.length} do not fit the set`;
    if (first !== undefined) onUnusable(first, beyond);
  }
  return all.slice(0, layout.limits.maxEcmpMembers);
}

function resolveLocal(
  hop: PathHop,
  view: ResolverView,
  onUnusable: (hop: PathHop, why: string) => void,
): ResolvedHop[] {
  const members = view.local(hop.label);
  if (members === undefined || members.length === 0) {
    onUnusable(hop, 'no such label on this node');
    return [];
  }
  return members.map((member) => ({
    kind: 'local',
    nextHop: member.nextHop,
    identity: `${hop.address} ${member.label}`,
    // The id names the hop; members behind it have ids of their own.
    given: members.length === 1 && member.label === hop.label ? hop.member : undefined,
    label: member.label,
    weight: members.length === 1 ? (hop.weight ?? 1) : hop.weight === 0 ? 0 : 1,
  }));
}

function resolveRemote(
  hop: PathHop,
  view: ResolverView,
  onUnusable: (hop: PathHop, why: string) => void,
): ResolvedHop | undefined {
  const encap = encapOf(hop, view);
  if (encap === undefined) {
    onUnusable(hop, `this node sends none of ${hop.encaps.join(', ')} with that label`);
    return undefined;
  }
  const spec = view.tunnel(hop, encap);
  if (spec === undefined) {
    onUnusable(hop, 'the underlay does not know the way');
    return undefined;
  }
  return {
    kind: 'tunnel',
    spec,
    identity: `${hop.address} ${hop.label}`,
    given: hop.member,
    label: hop.label,
    weight: hop.weight ?? 1,
  };
}

/** The first encapsulation both ends take, in the far end's order; an MPLS label must fit its 20 bits. */
export function encapOf(hop: PathHop, view: Pick<ResolverView, 'sends'>): EncapName | undefined {
  return hop.encaps.find((e) => view.sends(e) && (e === 'vxlan' || hop.label < NO_LABEL));
}

const HASH_BITS = {
  protocol: 0x1,
  source: 0x2,
  'source-port': 0x4,
  destination: 0x8,
  'destination-port': 0x10,
} as const;

/** HashField bits of a route; 0 = all five, not spelled out. */
export function hashFields(loadBalance: Route['loadBalance']): number {
  return (loadBalance ?? []).reduce((bits, field) => bits | HASH_BITS[field], 0);
}
