/** What becomes of `bgp:` of control.yaml: who we are, neighbours and ranges as bgp/neighbour.ts has them. Pure. */
import { canonicalIp } from '../addr/ip.ts';
import { canonicalPrefix } from '../addr/prefix.ts';
import type { Neighbour, NeighbourFamily, NeighbourRange, Speaker } from '../bgp/neighbour.ts';
import type { Policy } from '../bgp/rib/policy.ts';
import {
  BGP_PORT,
  type BgpFile,
  DEFAULT_FAMILIES,
  DEFAULT_HOLD_SECONDS,
  DEFAULT_RANGE_LIMIT,
  type NeighbourFile,
  neighbourName,
  type RangeFile,
  type SharedFile,
} from './bgp.ts';

export function speakerOf({ as, router_id, cluster_id }: BgpFile): Speaker {
  return {
    ...{ as, id: canonicalIp(router_id) },
    ...(cluster_id !== undefined && { clusterId: canonicalIp(cluster_id) }),
  };
}

function familiesOf(file: SharedFile): NeighbourFamily[] {
  const { max_routes, add_path, send_paths, default_route_target } = file;
  return (file.families ?? DEFAULT_FAMILIES).map((family) => ({
    family,
    ...(max_routes !== undefined && { maxRoutes: max_routes }),
    // Memberships are of a speaker, not of one path or another.
    ...(add_path !== undefined && family !== 'rtc' && { addPath: add_path }),
    ...(send_paths !== undefined && family !== 'rtc' && { sendPaths: send_paths }),
    ...(family === 'rtc' && default_route_target === true && { defaultRoute: true }),
  }));
}

/** `password`: from its file. */
function sharedOf(
  file: SharedFile,
  policies: ReadonlyMap<string, Policy>,
  password: string | undefined,
): NeighbourRange['template'] {
  const { as, local_address, ttl = file.multihop, ttl_security, next_hop, encapsulation } = file;
  const { graceful_restart_seconds: restart, long_lived_seconds: longLived } = file;
  const policy = (of: string | undefined) => (of === undefined ? undefined : policies.get(of));
  const [imports, exports] = [policy(file.import), policy(file.export)];
  const key = file.password ?? password;
  return {
    port: BGP_PORT,
    holdTime: file.hold_seconds ?? DEFAULT_HOLD_SECONDS,
    families: familiesOf(file),
    client: file.route_reflector_client ?? false,
    allowAsIn: file.allow_as_in ?? 0,
    ...(as !== undefined && { as }),
    ...(local_address !== undefined && { localAddress: canonicalIp(local_address) }),
    ...(ttl !== undefined && { ttl }),
    ...(ttl_security !== undefined && { ttlSecurity: ttl_security }),
    ...(key !== undefined && { password: key }),
    ...(restart !== undefined && { restartTime: restart }),
    ...(longLived !== undefined && { longLivedTime: longLived }),
    ...(next_hop !== undefined && { nextHop: next_hop }),
    ...(encapsulation !== undefined && { encapsulation }),
    ...(imports !== undefined && { import: imports }),
    ...(exports !== undefined && { export: exports }),
  };
}

export function neighbourOf(
  file: NeighbourFile,
  policies: ReadonlyMap<string, Policy>,
  password?: string,
): Neighbour {
  return {
    ...sharedOf(file, policies, password),
    name: neighbourName(file),
    address: canonicalIp(file.address),
    ...(file.interface !== undefined && { interface: file.interface }),
    port: file.port ?? BGP_PORT,
    passive: file.passive ?? false,
  };
}

export function rangeOf(
  file: RangeFile,
  policies: ReadonlyMap<string, Policy>,
  password?: string,
): NeighbourRange {
  return {
    name: file.name,
    prefix: canonicalPrefix(file.prefix),
    limit: file.limit ?? DEFAULT_RANGE_LIMIT,
    template: sharedOf(file, policies, password),
  };
}
