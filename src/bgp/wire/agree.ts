/**
 * What two OPENs agree on: only what both sides said holds, for each direction what its sender may send
 * and its receiver can read (RFC 5492, 4760, 6793, 7911, 8654, 8950).
 */
import type { WireOptions } from './attributes.ts';
import type { Capability } from './capabilities.ts';
import { FAMILY_NAMES, type FamilyName, isFamily } from './family-names.ts';
import { MAX_EXTENDED_MESSAGE, MAX_MESSAGE } from './message.ts';
import type { Open } from './open.ts';

export interface Agreed {
  readonly send: WireOptions;
  readonly receive: WireOptions;
  /** Seconds; 0: nobody watches. */
  readonly holdTime: number;
  readonly refresh: boolean;
  readonly enhancedRefresh: boolean;
  /** IPv4 families that may have next hops of IPv6. */
  readonly extendedNextHop: ReadonlySet<FamilyName>;
  /** The peer's; undefined where one of us does not restart gracefully. */
  readonly gracefulRestart?: Extract<Capability, { kind: 'graceful-restart' }>;
  /** RFC 8538. */
  readonly notificationRestart: boolean;
  readonly longLivedRestart?: Extract<Capability, { kind: 'long-lived-restart' }>;
}

type Kind = Capability['kind'];
type Of<K extends Kind> = Extract<Capability, { kind: K }>;

function all<K extends Kind>({ capabilities }: Open, kind: K): Of<K>[] {
  return capabilities.filter((capability): capability is Of<K> => capability.kind === kind);
}

function has(open: Open, ...kinds: readonly Kind[]): boolean {
  return kinds.some((kind) => all(open, kind).length > 0);
}

/** Who says nothing of families speaks IPv4 unicast (RFC 4760 §8). */
function familiesOf(open: Open): ReadonlySet<string> {
  const said = all(open, 'multiprotocol').map(({ family }) => family);
  return new Set<string>(said.length === 0 ? ['ipv4-unicast'] : said);
}

function addPathOf(open: Open, mode: 'receive' | 'send'): ReadonlySet<string> {
  const entries = all(open, 'add-path').flatMap(({ families }) => families);
  return new Set(entries.filter((e) => e.mode === mode || e.mode === 'both').map((e) => e.family));
}

function nextHop6Of(open: Open): ReadonlySet<string> {
  const entries = all(open, 'extended-next-hop').flatMap(({ families }) => families);
  return new Set(entries.filter(({ afi }) => afi === AFI_IPV6).map(({ family }) => family));
}

const AFI_IPV6 = 2;

function both(a: ReadonlySet<string>, b: ReadonlySet<string>): ReadonlySet<FamilyName> {
  return new Set(
    FAMILY_NAMES.filter((family) => isFamily(family) && a.has(family) && b.has(family)),
  );
}

export function agree(ours: Open, theirs: Open): Agreed {
  const families = both(familiesOf(ours), familiesOf(theirs));
  const extended = has(ours, 'extended-message') && has(theirs, 'extended-message');
  const shared = {
    as4: has(ours, 'as4') && has(theirs, 'as4'),
    external: ours.as !== theirs.as,
    families,
    maxMessage: extended ? MAX_EXTENDED_MESSAGE : MAX_MESSAGE,
  };
  const within = (set: ReadonlySet<FamilyName>) =>
    new Set([...set].filter((family) => families.has(family)));
  const restart = has(ours, 'graceful-restart') ? all(theirs, 'graceful-restart')[0] : undefined;
  const longLived =
    restart !== undefined && has(ours, 'long-lived-restart')
      ? all(theirs, 'long-lived-restart')[0]
      : undefined;
  return {
    send: {
      ...shared,
      addPath: within(both(addPathOf(ours, 'send'), addPathOf(theirs, 'receive'))),
    },
    receive: {
      ...shared,
      addPath: within(both(addPathOf(ours, 'receive'), addPathOf(theirs, 'send'))),
    },
    holdTime: Math.min(ours.holdTime, theirs.holdTime),
    refresh:
      has(ours, 'route-refresh', 'route-refresh-old') &&
      has(theirs, 'route-refresh', 'route-refresh-old'),
    enhancedRefresh: has(ours, 'enhanced-refresh') && has(theirs, 'enhanced-refresh'),
    extendedNextHop: within(both(nextHop6Of(ours), nextHop6Of(theirs))),
    ...(restart === undefined ? {} : { gracefulRestart: restart }),
    notificationRestart:
      restart?.notification === true &&
      all(ours, 'graceful-restart').some(({ notification }) => notification),
    ...(longLived === undefined ? {} : { longLivedRestart: longLived }),
  };
}
