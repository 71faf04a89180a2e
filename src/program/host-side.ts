/**
 * The interface by which tenants meet the host's own stack (`services.host`): a TAP in the node's network
 * namespace that is a vif in a VRF of its own. The metadata proxy and the link-local services listen on it;
 * health checks by HTTP go out of it. agent/link-local.ts says who can reach what.
 *
 * Invariants
 *  * Tenants reach the servers made here and nothing else of the host: (address, port) pairs of services are
 *    the port map of a floating IP, the ports behind it the kernel's choice.
 *  * The interface has its MAC, its address and the route whenever it is there; a new data plane makes it anew.
 *  * The host's own 169.254.169.254, where it has one, stays its own.
 */
import type { Logger } from 'pino';
import { canonicalIp, formatIp } from '../addr/ip.ts';
import type { FloatingIpIntent, VifIntent, VrfIntent } from '../agent/intents.ts';
import { HOST_VRF, LINK_LOCAL_VRF, LinkLocalNetwork } from '../agent/link-local.ts';
import type { NodeFile, PortFile, ServicesFile } from '../config/node.ts';
import { VRouterError } from '../errors.ts';
import {
  AF_INET,
  RT_SCOPE_UNIVERSE,
  RTN_UNICAST,
  RTNH_F_ONLINK,
  RTPROT_STATIC,
} from '../kernel/rtnetlink.ts';
import { KernelTables } from '../kernel/tables.ts';
import type { HealthCheck } from '../services/health-checker.ts';
import { probeHttp } from '../services/http-probe.ts';
import type { PeerOf } from '../services/link-local-peers.ts';
import { MetadataProxy } from '../services/metadata-proxy.ts';
import type { Tenant } from '../services/service.ts';
import { TcpProxy } from '../services/tcp-proxy.ts';
import { hasHostSide } from './node-intents.ts';
import type { NodeContext } from './node-part.ts';

const METADATA = { name: 'metadata', address: '169.254.169.254', port: 80 };
const DEFAULT_INTERFACE = 'vrsvc0';
const DEFAULT_NETWORK = '169.254.64.0/18';
const MAC = '02:00:00:00:a9:fe';
const MAIN_TABLE = 254;

export interface HostSide {
  /** By name: what each has counted. */
  readonly services: ReadonlyMap<string, { readonly counters: Readonly<Record<string, number>> }>;
  probe(tenant: Tenant, check: HealthCheck): Promise<boolean>;
  close(): void;
}

/** Undefined: the node file asks for nothing that needs it. */
export function hostNetwork({ services }: NodeFile): LinkLocalNetwork | undefined {
  if (!hasHostSide(services)) return undefined;
  const network = new LinkLocalNetwork(services?.host?.network ?? DEFAULT_NETWORK);
  for (const address of linkLocalAddresses(services)) {
    if (!network.uses(address)) continue;
    const message = `services.link_local: ${address} is in services.host.network`;
    throw new VRouterError('CONFLICT', message);
  }
  return network;
}

/** What tenants find services at. */
export function linkLocalAddresses(services: ServicesFile | undefined): string[] {
  const { metadata, link_local: listed = [] } = services ?? {};
  const all = [...(metadata === undefined ? [] : [METADATA]), ...listed];
  return [...new Set(all.map(({ address }) => canonicalIp(address)))];
}

const interfaceOf = ({ services }: NodeFile) => services?.host?.interface ?? DEFAULT_INTERFACE;

/** To be declared before the vifs of tenants. */
export function hostSideObjects(file: NodeFile):
  | {
      readonly vrfs: readonly VrfIntent[];
      readonly name: string;
      readonly port: PortFile;
      vif(port: number): VifIntent;
    }
  | undefined {
  const network = hostNetwork(file);
  if (network === undefined) return undefined;
  const name = interfaceOf(file);
  return {
    vrfs: [LINK_LOCAL_VRF, HOST_VRF].map((vrf) => ({ name: vrf, local: true })),
    name,
    port: { kind: 'tap', name },
    vif: (port) => ({
      name,
      port,
      vrf: HOST_VRF,
      service: true,
      tenantMac: MAC,
      ipv4: network.host,
      gateway4: network.gateway,
    }),
  };
}

/** The TAP as an interface of the host's; undefined: it is not there now. */
function dress(tables: KernelTables, name: string, network: LinkLocalNetwork): number | undefined {
  const link = tables.linkByName(name);
  if (link === undefined) return undefined;
  tables.setLink(link.index, { mac: MAC, up: true });
  tables.addAddress({
    family: AF_INET,
    prefixLength: 32,
    flags: 0,
    scope: RT_SCOPE_UNIVERSE,
    index: link.index,
    local: network.host,
    address: network.host,
  });
  const { bytes, length } = network.prefix;
  const added = tables.addRoute({
    family: AF_INET,
    destination: formatIp(4, bytes),
    destinationLength: length,
    sourceLength: 0,
    tos: 0,
    shortTable: MAIN_TABLE,
    protocol: RTPROT_STATIC,
    scope: RT_SCOPE_UNIVERSE,
    kind: RTN_UNICAST,
    flags: RTNH_F_ONLINK,
    output: link.index,
    gateway: network.gateway,
  });
  if (!added) {
    throw new VRouterError('BAD_VALUE', `services.host: the kernel wants no route by ${name}`);
  }
  return link.index;
}

/** Dressed now, and whenever it comes anew. */
function keepDressed(name: string, network: LinkLocalNetwork, said: Logger): KernelTables {
  const tables = new KernelTables();
  try {
    let index = dress(tables, name, network);
    if (index === undefined) {
      const message = `services.host: there is no interface ${name} in this network namespace`;
      throw new VRouterError('NOT_FOUND', message);
    }
    tables.onChange(() => {
      if (tables.linkByName(name)?.index === index) return;
      try {
        index = dress(tables, name, network);
      } catch (error) {
        said.error({ err: error, interface: name }, 'services.host');
      }
    });
    return tables;
  } catch (error) {
    tables.close();
    throw error;
  }
}

function peersOf({ agent }: NodeContext, network: LinkLocalNetwork): PeerOf {
  return (text) => {
    const vif = network.vifOf(text);
    const intent = vif === undefined ? undefined : agent.vifOf(vif);
    if (vif === undefined || intent?.linkLocal?.includes('client') !== true) return undefined;
    const { name, vrf, ipv4, instanceId, tenantId } = intent;
    const address = canonicalIp(ipv4 as string);
    return { vif, name, address, instanceId: instanceId ?? name, tenantId: tenantId ?? vrf };
  };
}

interface Listener {
  readonly name: string;
  /** Where tenants find it. */
  readonly address: string;
  readonly port: number;
  readonly server: MetadataProxy | TcpProxy;
}

function listeners({ file }: NodeContext, peerOf: PeerOf): Listener[] {
  const { metadata, link_local: listed = [] } = file.services ?? {};
  const out: Listener[] = listed.map(({ to, ...rest }) => ({
    ...rest,
    server: new TcpProxy(to, peerOf),
  }));
  if (metadata !== undefined) {
    const { url, socket, shared_secret: sharedSecret } = metadata;
    const to = socket === undefined ? { url: url as string } : { socket };
    out.push({ ...METADATA, server: new MetadataProxy({ peerOf, to, sharedSecret }) });
  }
  return out;
}

/** One for each address, with its ports. */
function floatingIps(open: readonly (Listener & { readonly at: number })[]): FloatingIpIntent[] {
  const addresses = [...new Set(open.map(({ address }) => canonicalIp(address)))];
  return addresses.map((address) => ({
    address,
    vrf: LINK_LOCAL_VRF,
    direction: 'ingress',
    ports: open
      .filter((one) => canonicalIp(one.address) === address)
      .map(({ port, at }) => ({ protocol: 'tcp', port, toPort: at })),
  }));
}

export async function openHostSide(node: NodeContext, said: Logger): Promise<HostSide | undefined> {
  const { file, agent } = node;
  const network = hostNetwork(file);
  if (network === undefined) return undefined;
  const name = interfaceOf(file);
  const tables = keepDressed(name, network, said);
  const all = listeners(node, peersOf(node, network));
  const close = () => {
    for (const { server } of all) server.close();
    tables.close();
  };
  try {
    const open: (Listener & { readonly at: number })[] = [];
    for (const one of all) open.push({ ...one, at: await one.server.listen(network.host) });
    const vif = agent.vif(name) as VifIntent;
    node.commit(() => agent.updateVif({ ...vif, floatingIps: floatingIps(open) }));
    said.info({ interface: name, services: all.map((one) => one.name) }, 'link-local services');
  } catch (error) {
    close();
    throw error;
  }
  return {
    services: new Map(all.map((one) => [one.name, one.server])),
    probe: ({ vif, ipv4 }, { port = 80, path = '/', timeoutMs }) =>
      probeHttp({
        from: network.host,
        to: network.server(vif),
        port,
        path,
        host: ipv4 ?? '',
        timeoutMs,
      }),
    close,
  };
}
