/**
 * What the parts of an agent share: tables, ids, routes. Each part writes its own entries only; the
 * comments say which.
 */
import type { Rib } from '../rib/rib.ts';
import type { FloatingIpId, Ids, PolicyId, SourceNatId, VifId, VrfId } from './ids.ts';
import type { VrfIntent } from './intents.ts';
import type { Labels } from './labels.ts';
import type { NextHops } from './next-hops.ts';
import type { Publications } from './publications.ts';
import type { DesiredTables } from './tables.ts';
import type { Underlay } from './underlay.ts';

export interface Vrf {
  readonly id: VrfId;
  readonly name: string;
  readonly intent: VrfIntent;
}

/** The network that its routes come from. */
export function networkOf({ name, intent }: Vrf): string {
  return intent.network ?? name;
}

export interface Books {
  readonly tables: DesiredTables;
  readonly nextHops: NextHops;
  readonly labels: Labels;
  readonly publications: Publications;
  readonly underlay: Underlay;
  /** Written by the agent's flush: learned routes and the node's own. */
  readonly rib: Rib;
  /** Written by Vrfs. */
  readonly vrfs: ReadonlyMap<string, Vrf>;
  readonly vrfIds: Ids<VrfId>;
  readonly vifIds: Ids<VifId>;
  readonly policyIds: Ids<PolicyId>;
  readonly floatingIpIds: Ids<FloatingIpId>;
  readonly sourceNatIds: Ids<SourceNatId>;
}

// Flags of the data plane's objects (native/state/objects.h).
export const NEXT_HOP_POLICY = 0x2;
export const NEXT_HOP_BRIDGE = 0x10000000;
export const ROUTE_PROXY = 0x2;
export const REPLICATE_ROOT = 0;
export const REPLICATE_ENCAP = 1;
export const REPLICATE_EVPN = 3;
