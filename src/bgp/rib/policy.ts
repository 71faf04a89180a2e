/**
 * Policies: what is let in from a neighbour or out to it, and what is changed on the way. Terms in order, the first
 * that matches decides; without a match the route is accepted. A value; `policy-apply.ts` runs it.
 */
import type { PrefixText } from '../../addr/prefix.ts';
import type { RouteTarget } from '../../addr/route-target.ts';
import type { FamilyName } from '../wire/family-names.ts';

export interface Term {
  readonly name: string;
  /** All that are given must hold; of a list, one must. None: every route. */
  readonly match: {
    readonly families?: readonly FamilyName[];
    /** `orLonger`: also what is inside. EVPN: by the address in the route; routes without one do not match. */
    readonly prefixes?: readonly { readonly prefix: PrefixText; readonly orLonger: boolean }[];
    /** Standard communities. */
    readonly communities?: readonly number[];
    readonly routeTargets?: readonly RouteTarget[];
  };
  readonly action: 'accept' | 'reject';
  readonly set?: {
    readonly localPref?: number;
    readonly med?: number;
    readonly addCommunities?: readonly number[];
    readonly removeCommunities?: readonly number[];
  };
}

export interface Policy {
  readonly name: string;
  readonly terms: readonly Term[];
}
