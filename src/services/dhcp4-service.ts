/** DHCPv4 on tenants' links: datagrams to port 67 in, answers of dhcp4-server.ts out as frames. */

import { parseIp } from '../addr/ip.ts';
import { MAC_GATEWAY } from '../addr/mac.ts';
import { contains, type Prefix, parsePrefix } from '../addr/prefix.ts';
import { decodeDhcp4, encodeDhcp4 } from './dhcp4-message.ts';
import type { ClasslessRoute } from './dhcp4-options.ts';
import { answerDhcp4, type Dhcp4Lease } from './dhcp4-server.ts';
import { buildDatagram, type Packet, PROTOCOL, parseDatagram } from './frame.ts';
import type { Send, Service, Tenant } from './service.ts';

const SERVER_PORT = 67;
const CLIENT_PORT = 68;
const HOST_LENGTH = 32;

export interface Dhcp4Settings {
  readonly leaseSeconds: number;
  readonly subnets: readonly string[];
  /** Undefined: the tenant's gateway. */
  readonly dnsServers: readonly string[] | undefined;
  readonly ntpServers: readonly string[];
  readonly domain: string | undefined;
  /** No tenant is told of more than its vif takes. */
  readonly mtu: number;
  readonly routes: readonly { readonly prefix: string; readonly gateway?: string | undefined }[];
}

export class Dhcp4Service implements Service {
  readonly counters = { offers: 0, acks: 0, naks: 0, noted: 0, ignored: 0, unserved: 0, unsent: 0 };
  readonly #settings: Dhcp4Settings;
  readonly #subnets: readonly Prefix[];
  readonly #send: Send;

  constructor(settings: Dhcp4Settings, send: Send) {
    this.#settings = settings;
    this.#subnets = settings.subnets.map(parsePrefix).filter(({ family }) => family === 4);
    this.#send = send;
  }

  take(packet: Packet, tenant: Tenant): boolean {
    if (packet.protocol !== PROTOCOL.udp || packet.family !== 4) return false;
    const { destinationPort, data } = parseDatagram(packet);
    if (destinationPort !== SERVER_PORT) return false;
    const lease = this.leaseOf(tenant);
    if (lease === undefined) {
      this.counters.unserved++;
      return true;
    }
    const answer = answerDhcp4(decodeDhcp4(data), lease);
    if (answer.kind === 'noted' || answer.kind === 'ignored') {
      this.counters[answer.kind]++;
      return true;
    }
    const frame = buildDatagram(
      {
        sourceMac: MAC_GATEWAY,
        destinationMac: answer.toMac,
        source: lease.gateway,
        destination: answer.to,
        sourcePort: SERVER_PORT,
        destinationPort: CLIENT_PORT,
      },
      encodeDhcp4(answer.message, Math.min(answer.mostBytes, lease.mtu - 28)),
    );
    this.counters[this.#send(tenant.vif, frame) ? (`${answer.kind}s` as const) : 'unsent']++;
    return true;
  }

  /** Undefined: it has no address, or no gateway that could be the server. */
  leaseOf(tenant: Tenant): Dhcp4Lease | undefined {
    const { ipv4, gateway4: gateway, hostname } = tenant;
    if (ipv4 === undefined || gateway === undefined) return undefined;
    const { leaseSeconds, dnsServers, ntpServers, domain, mtu, routes } = this.#settings;
    return {
      mac: tenant.mac,
      address: ipv4,
      prefixLength: this.#lengthFor(ipv4),
      gateway,
      leaseSeconds,
      mtu: Math.min(mtu, tenant.mtu),
      dnsServers: dnsServers ?? [gateway],
      ntpServers,
      ...(hostname === undefined ? {} : { hostname }),
      ...(domain === undefined ? {} : { domain }),
      routes: routes.map(
        (route): ClasslessRoute => ({ prefix: route.prefix, gateway: route.gateway ?? gateway }),
      ),
    };
  }

  #lengthFor(address: string): number {
    const host: Prefix = { family: 4, bytes: parseIp(address).bytes, length: HOST_LENGTH };
    const lengths = this.#subnets.filter((subnet) => contains(subnet, host)).map((s) => s.length);
    return Math.max(...(lengths.length === 0 ? [HOST_LENGTH] : lengths));
  }
}
