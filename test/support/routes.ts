/** Routes for tests, written short. */
import type { PathHop, Route, RouteFamily } from '../../src/rib/route.ts';

/** `10.0.0.1 17`, with udp unless said otherwise. */
export function hop(address: string, label: number, more: Partial<PathHop> = {}): PathHop {
  return { address, label, encaps: ['udp'], ...more };
}

export function route(
  instance: string,
  prefix: string,
  hops: readonly PathHop[],
  more: Partial<Route> = {},
): Route {
  const family: RouteFamily = /^..:..:/.test(prefix)
    ? 'evpn'
    : prefix.includes(':')
      ? 'inet6'
      : 'inet';
  return { instance, family, prefix, hops, ...more };
}
