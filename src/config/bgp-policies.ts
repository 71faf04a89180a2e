/** Policies of control.yaml and of `bgp.policy.set`: their schema, and what becomes of them (bgp/rib/policy.ts). */
import { z } from 'zod';
import { canonicalPrefix } from '../addr/prefix.ts';
import { canonicalRouteTarget } from '../addr/route-target.ts';
import type { Policy, Term } from '../bgp/rib/policy.ts';
import { COMMUNITIES } from '../bgp/wire/communities.ts';
import { FAMILY_NAMES, type FamilyName } from '../bgp/wire/family-names.ts';
import type { Path, Problem } from './document.ts';
import { choice, mapping, name, prefix, routeTarget, whole } from './fields.ts';
import { suggestion } from './nearest.ts';

const MAX_TERMS = 1024;

export const familyName = choice(FAMILY_NAMES as readonly [FamilyName, ...FamilyName[]]);

/** RFC 1997 and who came after: as operators spell them. */
const WELL_KNOWN: Readonly<Record<string, number>> = {
  'graceful-shutdown': COMMUNITIES.gracefulShutdown,
  'accept-own': COMMUNITIES.acceptOwn,
  'llgr-stale': COMMUNITIES.llgrStale,
  'no-llgr': COMMUNITIES.noLlgr,
  blackhole: COMMUNITIES.blackhole,
  'no-export': COMMUNITIES.noExport,
  'no-advertise': COMMUNITIES.noAdvertise,
  'no-export-subconfed': COMMUNITIES.noExportSubconfed,
  'no-peer': COMMUNITIES.noPeer,
};
const COMMUNITY = /^(\d{1,5}):(\d{1,5})$/;

export function parseCommunity(text: string): number | undefined {
  if (Object.hasOwn(WELL_KNOWN, text)) return WELL_KNOWN[text];
  const [, high, low] = COMMUNITY.exec(text) ?? [];
  if (high === undefined || Number(high) > 0xffff || Number(low) > 0xffff) return undefined;
  return Number(high) * 0x10000 + Number(low);
}

export function communityText(community: number): string {
  const named = Object.entries(WELL_KNOWN).find(([, number]) => number === community);
  return named?.[0] ?? `${Math.floor(community / 0x10000)}:${community % 0x10000}`;
}

const community = z
  .string()
  .superRefine((text, context) => {
    if (parseCommunity(text) !== undefined) return;
    const known = Object.keys(WELL_KNOWN);
    const message = `a community is two numbers, as 64512:1, or a name${suggestion(text, known)}`;
    context.addIssue({ code: 'custom', message });
  })
  .describe('Community, AS:number or the name of a well-known one');
const communities = z.array(community).min(1).max(256);

const termSchema = mapping({
  name,
  match: mapping({
    families: z.array(familyName).min(1).max(FAMILY_NAMES.length).optional(),
    prefixes: z
      .array(mapping({ prefix, or_longer: z.boolean().optional() }))
      .min(1)
      .max(4096)
      .optional()
      .describe('With or_longer what is inside, too; of EVPN routes by the address in them'),
    communities: communities.optional(),
    route_targets: z.array(routeTarget).min(1).max(256).optional(),
  })
    .optional()
    .describe('All keys must hold, of each list one member; without: every route'),
  action: choice(['accept', 'reject']),
  set: mapping({
    local_preference: whole(0, 0xffffffff).optional(),
    med: whole(0, 0xffffffff).optional(),
    add_communities: communities.optional(),
    remove_communities: communities.optional(),
  }).optional(),
});

export const policySchema = mapping({
  name,
  terms: z
    .array(termSchema)
    .max(MAX_TERMS)
    .describe('In order, the first that matches decides; without one the route is accepted'),
});

export type PolicyFile = z.infer<typeof policySchema>;

export function policyProblems({ terms }: PolicyFile, path: Path): Problem[] {
  return repeated(
    terms.map((term) => term.name),
    (at) => [...path, 'terms', at, 'name'],
  );
}

/** Names that somebody before has. */
export function repeated(names: readonly string[], pathOf: (at: number) => Path): Problem[] {
  return names.flatMap((each, at) =>
    names.indexOf(each) === at ? [] : [{ path: pathOf(at), message: `"${each}" is there already` }],
  );
}

export function policyOf({ name: of, terms }: PolicyFile): Policy {
  const numbers = (texts: readonly string[]) => texts.flatMap((text) => parseCommunity(text) ?? []);
  return {
    name: of,
    terms: terms.map(({ name: term, match = {}, action, set }): Term => {
      const { families: some, prefixes, communities: any, route_targets } = match;
      const { local_preference, med, add_communities, remove_communities } = set ?? {};
      return {
        name: term,
        match: {
          ...(some !== undefined && { families: some }),
          ...(prefixes !== undefined && {
            prefixes: prefixes.map(({ prefix: text, or_longer }) => ({
              prefix: canonicalPrefix(text),
              orLonger: or_longer ?? false,
            })),
          }),
          ...(any !== undefined && { communities: numbers(any) }),
          ...(route_targets !== undefined && {
            routeTargets: route_targets.map(canonicalRouteTarget),
          }),
        },
        action,
        ...(set !== undefined && {
          set: {
            ...(local_preference !== undefined && { localPref: local_preference }),
            ...(med !== undefined && { med }),
            ...(add_communities !== undefined && { addCommunities: numbers(add_communities) }),
            ...(remove_communities !== undefined && {
              removeCommunities: numbers(remove_communities),
            }),
          },
        }),
      };
    }),
  };
}
