/** The words of node.yaml and of run-time requests (snake_case) as an agent's intents (camelCase). */
import { canonicalMac } from '../addr/mac.ts';
import { canonicalPrefix, hostPrefix } from '../addr/prefix.ts';
import type {
  FloatingIpIntent,
  HealthCheckIntent,
  PolicyIntent,
  SourceNatIntent,
  UnderlayIntent,
  VifIntent,
  VrfIntent,
} from '../agent/intents.ts';
import type { LinkLocalRole } from '../agent/link-local.ts';
import { ipKey } from '../agent/routes.ts';
import {
  type FloatingIpFile,
  type HealthCheckFile,
  type NodeFile,
  type PolicyFile,
  type PortFile,
  type RouteFile,
  type RouteKeyFile,
  type ServicesFile,
  type SourceNatFile,
  type UplinkFile,
  uplinksOf,
  type VifFile,
  type VrfFile,
} from '../config/node.ts';
import type { PortSpec } from '../dataplane/api.ts';
import { VRouterError } from '../errors.ts';
import type { Route, RouteKey } from '../rib/route.ts';

/** Without the keys that were not given: optional means absent, not undefined. */
type Given<T> = { [K in keyof T]: Exclude<T[K], undefined> };
function given<T extends object>(value: T): Given<T> {
  const entries = Object.entries(value).filter(([, field]) => field !== undefined);
  return Object.fromEntries(entries) as Given<T>;
}

const prefixOf = (text: string | undefined) =>
  text === undefined || text.includes('/') ? text : hostPrefix(text);

export function portSpec(port: PortFile): PortSpec {
  return given(port) as PortSpec;
}

/** A TAP that is shared with the host is joined by tc (shared-underlay.ts) to what the key names. */
export function uplinkPort({ port, shared }: UplinkFile): PortSpec {
  const spec = portSpec(port);
  return spec.kind === 'tap' && shared !== undefined ? { ...spec, joined: shared.interface } : spec;
}

export function vrfIntent(file: VrfFile): VrfIntent {
  const { name, vni, flow_quota: flowQuota, network } = file;
  return given({ name, vni, flowQuota, network }) as VrfIntent;
}

export function floatingIpIntent(file: FloatingIpFile): FloatingIpIntent {
  return given({
    address: file.address,
    vrf: file.vrf,
    direction: file.direction,
    ports: file.ports?.map(({ protocol, port, to_port }) => ({ protocol, port, toPort: to_port })),
    leakTo: file.leak_to,
    sharedLabel: file.shared_label,
  }) as FloatingIpIntent;
}

function healthCheckIntent(file: HealthCheckFile): HealthCheckIntent {
  return given({
    type: file.type,
    port: file.type === 'ping' ? undefined : file.port,
    path: file.type === 'http' ? file.path : undefined,
    intervalMs: file.interval_ms,
    timeoutMs: file.timeout_ms,
    failures: file.failures,
    successes: file.successes,
  }) as HealthCheckIntent;
}

/** Whether there is an interface by which tenants meet the host (host-side.ts). */
export function hasHostSide(services: ServicesFile | undefined): boolean {
  const { metadata, link_local: linkLocal = [], host } = services ?? {};
  return metadata !== undefined || host !== undefined || linkLocal.length > 0;
}

/** services: the node's; undefined: it has none, and nothing of a tenant's goes to its agent. */
export function vifIntent(file: VifFile, port: number, services?: ServicesFile): VifIntent {
  const has4 = file.ipv4 !== undefined && file.gateway4 !== undefined;
  const has6 = file.ipv6 !== undefined && file.gateway6 !== undefined;
  const leased = (has4 || has6) && file.dhcp !== false;
  const checked = (file.health_checks ?? []).length > 0;
  if (checked && services === undefined) {
    const message = `vif ${file.name}: health_checks: the node file has no services ({} is enough)`;
    throw new VRouterError('BAD_VALUE', message);
  }
  if (checked && !has4 && !has6) {
    const message = `vif ${file.name}: health_checks: they come from its gateway, and there is none`;
    throw new VRouterError('BAD_VALUE', message);
  }
  const byHttp = (file.health_checks ?? []).some(({ type }) => type === 'http');
  if (byHttp && (file.ipv4 === undefined || !hasHostSide(services))) {
    const lacks =
      file.ipv4 === undefined ? 'ipv4' : 'services.host in the node file ({} is enough)';
    const message = `vif ${file.name}: health_checks: http needs ${lacks}`;
    throw new VRouterError('BAD_VALUE', message);
  }
  const served = services?.metadata !== undefined || (services?.link_local ?? []).length > 0;
  const linkLocal: LinkLocalRole[] = [
    ...(served && file.ipv4 !== undefined ? (['client'] as const) : []),
    ...(byHttp ? (['server'] as const) : []),
  ];
  const trapped = services?.dns !== undefined || checked;
  return given({
    name: file.name,
    port,
    vrf: file.vrf,
    tenantMac: file.tenant_mac,
    ipv4: file.ipv4,
    ipv6: file.ipv6,
    gateway4: file.gateway4,
    gateway6: file.gateway6,
    prefixes: file.prefixes,
    mtu: file.mtu,
    policy: file.policy,
    flowQuota: file.flow_quota,
    floatingIps: file.floating_ips?.map(floatingIpIntent),
    networkPolicies: file.network_policies,
    ingressGroups: file.ingress_groups,
    egressGroups: file.egress_groups,
    securityGroups: file.security_group_ids,
    hostname: file.hostname,
    instanceId: file.instance_id,
    tenantId: file.tenant_id,
    linkLocal: linkLocal.length > 0 ? linkLocal : undefined,
    healthChecks: file.health_checks?.map(healthCheckIntent),
    trapGateway: trapped && (has4 || has6) ? true : undefined,
    trapDhcp: services?.dhcp !== undefined && leased ? true : undefined,
  }) as VifIntent;
}

export function policyIntent(file: PolicyFile): PolicyIntent {
  return {
    name: file.name,
    rules: file.rules.map(
      (rule) =>
        given({
          action: rule.action,
          protocol: rule.protocol,
          source: prefixOf(rule.source),
          destination: prefixOf(rule.destination),
          sourcePorts: rule.source_ports,
          destinationPorts: rule.destination_ports,
        }) as PolicyIntent['rules'][number],
    ),
  };
}

export function sourceNatIntent(file: SourceNatFile): SourceNatIntent {
  const { name, vrf, to_vrf, source, address, ports } = file;
  return given({ name, vrf, toVrf: to_vrf, source, address, ports }) as SourceNatIntent;
}

/** Routed by prefix, or bridged by MAC: evpn, whose prefix is `mac` or `mac,address/len`. */
export function staticRouteKey({ instance, prefix, mac, address }: RouteKeyFile): RouteKey {
  if (mac === undefined) return ipKey(instance, canonicalPrefix(prefixOf(prefix) as string));
  const station = canonicalMac(mac);
  const at = address === undefined ? '' : `,${hostPrefix(address)}`;
  return { instance, family: 'evpn', prefix: station + at };
}

export function staticRoute(file: RouteFile): Route {
  return {
    ...staticRouteKey(file),
    hops: file.hops.map((hop) => ({
      ...given(hop),
      encaps: hop.encaps ?? ['udp', 'gre'],
    })) as Route['hops'],
  };
}

/** ports: of each uplink. */
export function underlayIntent(
  file: NodeFile['underlay'],
  ports: readonly number[],
): UnderlayIntent {
  const { ipv4, ipv6, mtu, encaps } = file;
  const [first, ...moreUplinks] = uplinksOf(file).map(({ name, mac, neighbours }, i) =>
    given({ name, port: ports[i], mac, mtu, neighbours: neighbours ?? {} }),
  );
  return given({
    ...first,
    ipv4,
    ipv6,
    encaps,
    moreUplinks: moreUplinks.length === 0 ? undefined : moreUplinks,
  }) as UnderlayIntent;
}
