/**
 * ROUTE-REFRESH (RFC 2918): send me all of a family again; enhanced (RFC 7313): here it begins, here it ends.
 * A subtype that is not known, and lists of filters (RFC 5291), which we do not offer, are no error of the session's.
 */
import type { NetReader, NetWriter } from './bytes.ts';
import { type FamilyText, familyNumbers, familyText } from './family-names.ts';
import { NOTIFICATIONS, NotificationError } from './notification.ts';

export const REFRESH = { request: 0, begin: 1, end: 2 } as const;
export type RefreshKind = keyof typeof REFRESH | 'unknown';

export interface RouteRefresh {
  readonly family: FamilyText;
  readonly kind: RefreshKind;
}

const BODY = 4;
const KINDS: readonly RefreshKind[] = ['request', 'begin', 'end'];

export function readRefresh(reader: NetReader): RouteRefresh {
  const size = reader.left;
  const afi = reader.u16('AFI');
  const kind = KINDS[reader.u8('subtype')] ?? 'unknown';
  const family = familyText(afi, reader.u8('SAFI'));
  const extra = reader.rest('filters');
  if (extra.length > 0 && (kind === 'begin' || kind === 'end')) {
    const why = `${size} bytes, ${BODY} are needed`;
    throw new NotificationError(NOTIFICATIONS.routeRefresh.code, 1, why);
  }
  return { family, kind };
}

export function writeRefresh(writer: NetWriter, { family, kind }: RouteRefresh): void {
  if (kind === 'unknown') throw new RangeError('a refresh of no known kind');
  const [afi, safi] = familyNumbers(family);
  writer.u16(afi);
  writer.u8(REFRESH[kind]);
  writer.u8(safi);
}
