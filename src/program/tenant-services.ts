/**
 * What a node answers its tenants itself: `services:` in the node file. The agent vif (pkt0) brings their
 * packets here; answers go out of the vif the question came in on.
 *
 * Invariants
 *  * Who asks is known by the vif, never by what the packet says.
 *  * A packet that is wrong, or that no service is there for, gets no answer and is counted.
 *  * An agent that comes back to a forwarder brings a new pair of sockets: nothing old is answered.
 */
import { randomInt } from 'node:crypto';
import { getServers } from 'node:dns';
import { canonicalIp, isIp } from '../addr/ip.ts';
import { canonicalMac } from '../addr/mac.ts';
import { hostPrefix } from '../addr/prefix.ts';
import type { VifIntent } from '../agent/intents.ts';
import { mapping } from '../config/fields.ts';
import { checkParams } from '../config/load.ts';
import { ENCAP_NAMES, type NodeFile } from '../config/node.ts';
import { framePair, openDescriptor } from '../dataplane/descriptor.ts';
import { AgentChannel, MAX_AGENT_MTU } from '../services/agent-channel.ts';
import { Dhcp4Service } from '../services/dhcp4-service.ts';
import { Dhcp6Service } from '../services/dhcp6-service.ts';
import { DnsService } from '../services/dns-service.ts';
import { UdpUpstream } from '../services/dns-upstream.ts';
import { parseFrame } from '../services/frame.ts';
import { HealthChecker, type Watched } from '../services/health-checker.ts';
import { RefuseService } from '../services/refuse-service.ts';
import { RouterService } from '../services/router-service.ts';
import { hostnameOf, type Send, type Service, type Tenant } from '../services/service.ts';
import { type HostSide, linkLocalAddresses, openHostSide } from './host-side.ts';
import type { NodeContext, StartPart } from './node-part.ts';

const NO_PARAMS = mapping({});
const DEFAULT_ROUTER_LIFETIME_SECONDS = 1800;
const DEFAULT_DNS_TIMEOUT_MS = 2000;
const DEFAULT_LEASE_SECONDS = 86_400;
const DEFAULT_MTU = 1500;
/** Option 121 has to fit into the least message there is, or none of it is told; as many as a file may name. */
const MAX_ROUTES = 16;
/** Vifs come and go between two looks; what is due is asked within a tick. */
const WATCH_MS = 1000;
const HEALTH_TICK_MS = 100;
/** In front of the inner packet, over IPv4 (docs/wire-notes.md); IPv6 has 20 bytes more. */
const OVERHEADS = { udp: 32, gre: 28, vxlan: 50 } as const;
const IPV6_MORE = 20;

/** The largest packet that no encapsulation of the node's has to cut. */
export function tunnelMtu({ mtu, encaps, ipv4 }: NodeFile['underlay']): number {
  const most = Math.max(...(encaps ?? ENCAP_NAMES).map((encap) => OVERHEADS[encap]));
  return (mtu ?? DEFAULT_MTU) - most - (ipv4 === undefined ? IPV6_MORE : 0);
}

function tenantOf(vif: number, intent: VifIntent): Tenant {
  const ip = (text: string | undefined) => (text === undefined ? undefined : canonicalIp(text));
  return {
    vif,
    name: intent.name,
    mac: canonicalMac(intent.tenantMac),
    vrf: intent.vrf,
    ipv4: ip(intent.ipv4),
    ipv6: ip(intent.ipv6),
    gateway4: ip(intent.gateway4),
    gateway6: ip(intent.gateway6),
    mtu: intent.mtu ?? DEFAULT_MTU,
    hostname: intent.hostname ?? hostnameOf(intent.name),
  };
}

const isV6 = (text: string) => text.includes(':');

/** What DHCP and router advertisements tell alike, for one family. */
export function told({ file, agent }: Pick<NodeContext, 'file' | 'agent'>, family: 4 | 6) {
  const { dhcp = {}, dns } = file.services ?? {};
  const ours = (text: string) => isV6(text) === (family === 6);
  // By the gateway: to systems that take 169.254.0.0/16 for their link's, too.
  const linkLocal = family === 4 ? linkLocalAddresses(file.services) : [];
  return {
    leaseSeconds: dhcp.lease_seconds ?? DEFAULT_LEASE_SECONDS,
    subnets: (dhcp.subnets ?? []).filter(ours),
    dnsServers:
      dhcp.dns === undefined && dns !== undefined ? undefined : (dhcp.dns ?? []).filter(ours),
    domain: dhcp.domain ?? dns?.domain,
    // Of when it is asked: an uplink's may change.
    get mtu() {
      return dhcp.mtu ?? tunnelMtu({ ...file.underlay, mtu: agent.underlayMtu });
    },
    ntpServers: dhcp.ntp ?? [],
    routes: [
      ...(dhcp.routes ?? []).filter(({ prefix }) => ours(prefix)),
      ...linkLocal.map((address) => ({ prefix: hostPrefix(address) })),
    ].slice(0, MAX_ROUTES),
  };
}

function every(ms: number, run: () => void): () => void {
  const timer = setInterval(run, ms);
  timer.unref();
  return () => clearInterval(timer);
}

function resolvers(): string[] {
  // Those with a port of their own are written [address]:port.
  return getServers().filter((server) => isIp(server));
}

function dnsService(node: NodeContext, send: Send, tenants: () => Tenant[]): DnsService {
  const { dns = {}, dhcp } = node.file.services ?? {};
  const upstream = new UdpUpstream({
    resolvers: dns.resolvers ?? resolvers(),
    timeoutMs: dns.timeout_ms ?? DEFAULT_DNS_TIMEOUT_MS,
  });
  const now = () => performance.now();
  return new DnsService({ send, upstream, tenants, now, domain: dns.domain ?? dhcp?.domain });
}

function servicesOf(node: NodeContext, send: Send): Map<string, Service> {
  const { file, agent } = node;
  const { dhcp, dns, ra } = file.services ?? {};
  const services = new Map<string, Service>();
  const tenants = () =>
    agent.vifs().map((name) => tenantOf(agent.vifId(name) as number, agent.vif(name) as VifIntent));
  if (dhcp !== undefined) {
    services.set('dhcp4', new Dhcp4Service(told(node, 4), send));
    services.set('dhcp6', new Dhcp6Service(told(node, 6), send));
  }
  if (dns !== undefined) services.set('dns', dnsService(node, send, tenants));
  if (ra !== undefined) {
    const lifetimeSeconds = ra.router_lifetime_seconds ?? DEFAULT_ROUTER_LIFETIME_SECONDS;
    const said = told(node, 6);
    const settings = {
      ...said,
      lifetimeSeconds,
      managed: dhcp !== undefined,
      get mtu() {
        return said.mtu;
      },
    };
    services.set('ra', new RouterService(settings, { send, tenants, every }));
  }
  return services;
}

const DEFAULT_CHECK = { intervalMs: 5000, timeoutMs: 1000, failures: 3, successes: 2 } as const;

function healthChecker(
  { agent, log }: NodeContext,
  send: Send,
  host: HostSide | undefined,
): HealthChecker {
  return new HealthChecker({
    send,
    now: () => performance.now(),
    random: (below) => randomInt(below),
    http: (tenant, check) => host?.probe(tenant, check),
    onChange: (vif, healthy) => {
      log.warn({ vif, healthy }, healthy ? 'tenant is well' : 'tenant is ill: withdrawn');
      // One that has gone has nothing to be withdrawn.
      if (agent.vif(vif) !== undefined) agent.setVifHealth(vif, healthy);
    },
  });
}

/** Whom to ask, and what; as it is now. */
function watched({ agent }: NodeContext): Watched[] {
  return agent.vifs().flatMap((name): Watched[] => {
    const intent = agent.vif(name) as VifIntent;
    if (intent.healthChecks === undefined) return [];
    const tenant = tenantOf(agent.vifId(name) as number, intent);
    const checks = intent.healthChecks.map((check) => ({ ...DEFAULT_CHECK, ...check }));
    const { mac, ipv4, ipv6, gateway4, gateway6 } = tenant;
    const version = JSON.stringify([checks, mac, ipv4, ipv6, gateway4, gateway6]);
    return [{ tenant, checks, version }];
  });
}

export const startTenantServices: StartPart = async (node) => {
  const { file, log, dataplane, agent } = node;
  if (file.services === undefined) return undefined;
  const said = log.child({ part: 'services' });
  const counters = { unknown_vif: 0, unclaimed: 0 };
  const [ours, theirs] = framePair();
  const channel = new AgentChannel(openDescriptor(ours), {
    onFrame: ({ vif, frame }) => {
      const intent = agent.vifOf(vif);
      if (intent === undefined) {
        counters.unknown_vif++;
        return;
      }
      const packet = parseFrame(frame);
      const tenant = tenantOf(vif, intent);
      for (const service of services.values()) if (service.take(packet, tenant)) return;
      counters.unclaimed++;
    },
    onError: (error) => said.error({ err: error }, 'agent vif'),
  });
  const send = channel.send.bind(channel);
  const services = servicesOf(node, send);
  let host: HostSide | undefined;
  try {
    host = await openHostSide(node, said);
  } catch (error) {
    channel.close();
    throw error;
  }
  const health = healthChecker(node, send, host);
  services.set('health', health);
  services.set('refuse', new RefuseService(send)); // what nobody else took
  try {
    const port = dataplane.addPort({ kind: 'socket', mtu: MAX_AGENT_MTU }, theirs);
    node.commit(() => agent.setAgentVif({ port }));
  } catch (error) {
    host?.close();
    channel.close();
    throw error;
  }
  const ends = [
    every(WATCH_MS, () => health.watch(watched(node))),
    every(HEALTH_TICK_MS, () => health.tick()),
  ];
  health.watch(watched(node));
  said.info({ services: [...services.keys()] }, 'serving tenants');
  return {
    methods: {
      'services.status': (params) => {
        checkParams(NO_PARAMS, 'services.status', params);
        const counted = [...services, ...(host?.services ?? [])];
        const each = counted.map(([name, { counters: own }]) => [name, { ...own }]);
        return {
          agent_vif: { ...channel.counters, ...counters },
          services: Object.fromEntries(each),
          health: health.view(),
        };
      },
    },
    stop() {
      for (const end of ends) end();
      for (const service of services.values()) service.close?.();
      host?.close();
      channel.close();
    },
  };
};
