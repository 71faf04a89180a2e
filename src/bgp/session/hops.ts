/** How far packets of a session go and come, as its neighbour is configured. */
import type { Neighbour, Speaker } from '../neighbour.ts';
import type { Hops } from './transport.ts';

export const MAX_TTL = 255;

/** RFC 5082 has its packets sent with 255. Of whom it is not known in which AS it is: left as it is. */
export function hopsOf(
  { ttl, ttlSecurity, as }: Pick<Neighbour, 'ttl' | 'ttlSecurity' | 'as'>,
  speaker: Speaker,
): Hops {
  if (ttlSecurity !== undefined) return { ttl: MAX_TTL, minTtl: MAX_TTL + 1 - ttlSecurity };
  if (ttl !== undefined) return { ttl };
  if (as === undefined) return {};
  return { ttl: as === speaker.as ? MAX_TTL : 1 };
}
