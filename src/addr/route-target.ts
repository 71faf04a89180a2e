/**
 * Route targets: `64512:8000001`, also accepted with Contrail's `target:` before it; printed without.
 * A `RouteTarget` text is canonical and serves as a map key.
 */
import { ParseError } from '../errors.ts';
import { formatAdministered, parseAdministered } from './administered.ts';

declare const routeTargetText: unique symbol;
export type RouteTarget = string & { readonly [routeTargetText]: true };

const SUBTYPE = 0x02;

/** The eight bytes of the extended community. */
export function parseRouteTarget(text: string): Uint8Array {
  const { type, value } = parseAdministered(
    'a route target',
    text.startsWith('target:') ? text.slice(7) : text,
  );
  const bytes = new Uint8Array(8);
  bytes[0] = type;
  bytes[1] = SUBTYPE;
  bytes.set(value, 2);
  return bytes;
}

export function formatRouteTarget(bytes: Uint8Array): RouteTarget {
  const type = bytes[0];
  if (bytes.length !== 8 || bytes[1] !== SUBTYPE || (type !== 0 && type !== 1 && type !== 2)) {
    throw new ParseError('these bytes are not a route target');
  }
  return formatAdministered({ type, value: bytes.subarray(2) }) as RouteTarget;
}

export function canonicalRouteTarget(text: string): RouteTarget {
  return formatRouteTarget(parseRouteTarget(text));
}
