/** DHCPv6 on tenants' links: datagrams to port 547 in, answers of dhcp6-server.ts out as frames. */
import { MAC_GATEWAY } from '../addr/mac.ts';
import { decodeDhcp6, encodeDhcp6 } from './dhcp6-message.ts';
import { answerDhcp6, type Dhcp6Lease } from './dhcp6-server.ts';
import { buildDatagram, type Packet, PROTOCOL, parseDatagram } from './frame.ts';
import { isLinkLocal, ROUTER_LINK_LOCAL } from './link-local.ts';
import type { Send, Service, Tenant } from './service.ts';

const SERVER_PORT = 547;
const CLIENT_PORT = 546;

export interface Dhcp6Settings {
  readonly leaseSeconds: number;
  /** Undefined: the tenant's gateway. */
  readonly dnsServers: readonly string[] | undefined;
  readonly domain: string | undefined;
}

export class Dhcp6Service implements Service {
  readonly counters = { advertises: 0, replies: 0, ignored: 0, unserved: 0, unsent: 0 };
  readonly #settings: Dhcp6Settings;
  readonly #send: Send;

  constructor(settings: Dhcp6Settings, send: Send) {
    this.#settings = settings;
    this.#send = send;
  }

  take(packet: Packet, tenant: Tenant): boolean {
    if (packet.protocol !== PROTOCOL.udp || packet.family !== 6) return false;
    const { destinationPort, data, source, sourceMac } = parseDatagram(packet);
    if (destinationPort !== SERVER_PORT) return false;
    const lease = this.#leaseOf(tenant);
    if (lease === undefined) {
      this.counters.unserved++;
      return true;
    }
    // A client has nothing but its link-local address to ask from.
    const own = isLinkLocal(source) && sourceMac === tenant.mac;
    const answer = own ? answerDhcp6(decodeDhcp6(data), lease) : undefined;
    if (answer === undefined || answer.kind === 'ignored') {
      this.counters.ignored++;
      return true;
    }
    const frame = buildDatagram(
      {
        sourceMac: MAC_GATEWAY,
        destinationMac: tenant.mac,
        source: ROUTER_LINK_LOCAL,
        destination: source,
        sourcePort: SERVER_PORT,
        destinationPort: CLIENT_PORT,
      },
      encodeDhcp6(answer.message),
    );
    const what = answer.kind === 'reply' ? 'replies' : 'advertises';
    this.counters[this.#send(tenant.vif, frame) ? what : 'unsent']++;
    return true;
  }

  #leaseOf({ ipv6, gateway6 }: Tenant): Dhcp6Lease | undefined {
    if (ipv6 === undefined || gateway6 === undefined) return undefined;
    const { leaseSeconds, dnsServers, domain } = this.#settings;
    return {
      address: ipv6,
      leaseSeconds,
      dnsServers: dnsServers ?? [gateway6],
      ...(domain === undefined ? {} : { domain }),
    };
  }
}
