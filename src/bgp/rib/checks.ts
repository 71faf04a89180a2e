/**
 * What a path that comes in must be, one row each: a path that fails one is not used, and counts as refused (RFC 4271
 * §9.1.2, RFC 4456 §8, RFC 7606 §7.2). Nothing here depends on the route, so an Update is checked once.
 */
import type { IpText } from '../../addr/ip.ts';
import type { Said } from './said.ts';

export interface CheckContext {
  readonly as: number;
  readonly id: IpText;
  readonly clusterId: IpText;
  readonly external: boolean;
  readonly peerAs: number;
  readonly allowAsIn: number;
  /** Our addresses, as this peer may know them. */
  readonly ours: ReadonlySet<IpText>;
}

interface CheckRow {
  readonly name: string;
  fails(said: Said, context: CheckContext): boolean;
}

const CHECKS: readonly CheckRow[] = [
  {
    name: 'as-loop',
    fails({ attributes: { asPath = [] } }, { as, allowAsIn }) {
      let found = 0;
      for (const { asns } of asPath) for (const each of asns) if (each === as) found++;
      return found > allowAsIn;
    },
  },
  // RFC 4271 §6.3: an external peer puts itself in front.
  {
    name: 'first-as',
    fails: ({ attributes: { asPath = [] } }, { external, peerAs }) =>
      external && (asPath[0]?.kind !== 'sequence' || asPath[0].asns[0] !== peerAs),
  },
  {
    name: 'originator-loop',
    fails: ({ attributes: { originatorId } }, { id }) => originatorId === id,
  },
  {
    name: 'cluster-loop',
    fails: ({ attributes: { clusterList = [] } }, { clusterId }) => clusterList.includes(clusterId),
  },
  {
    name: 'own-next-hop',
    fails: ({ nextHop }, { ours }) => ours.has(nextHop.address),
  },
];

/** The first row that fails, by name. */
export function refusedBy(said: Said, context: CheckContext): string | undefined {
  return CHECKS.find((row) => row.fails(said, context))?.name;
}
