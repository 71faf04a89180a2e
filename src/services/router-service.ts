/**
 * The router of tenants' IPv6 links: answers solicitations, and advertises by itself before what it said
 * runs out (RFC 4861 §6.2.4), some tenants each second so that all have their turn ADVERTISED_TIMES in a
 * lifetime.
 */
import { MAC_GATEWAY } from '../addr/mac.ts';
import { formatPrefix, type Prefix, parsePrefix } from '../addr/prefix.ts';
import { buildFrame, type Packet, PROTOCOL } from './frame.ts';
import { ALL_NODES, groupMac, ROUTER_LINK_LOCAL } from './link-local.ts';
import {
  checkSolicitation,
  encodeAdvertisement,
  ownPrefix,
  ROUTER_SOLICITATION,
} from './router-advertisement.ts';
import type { Send, Service, Tenant } from './service.ts';

const ADVERTISED_TIMES = 3;
const TICK_MS = 1000;
const CHECKSUM_AT = 2;

export interface RouterSettings {
  readonly lifetimeSeconds: number;
  readonly managed: boolean;
  readonly mtu: number;
  readonly subnets: readonly string[];
  /** Undefined: the tenant's gateway. */
  readonly dnsServers: readonly string[] | undefined;
  readonly domain: string | undefined;
}

export interface RouterOptions {
  readonly send: Send;
  /** All there are. */
  readonly tenants: () => readonly Tenant[];
  /** Calls back every so many ms; returns what ends it. */
  readonly every: (ms: number, run: () => void) => () => void;
}

export class RouterService implements Service {
  readonly counters = { solicited: 0, unsolicited: 0, unserved: 0, unsent: 0 };
  readonly #settings: RouterSettings;
  readonly #subnets: readonly Prefix[];
  readonly #options: RouterOptions;
  readonly #end: () => void;
  /** Whose turn it is, and how much of a turn is left over. */
  #turn = 0;
  #due = 0;

  constructor(settings: RouterSettings, options: RouterOptions) {
    this.#settings = settings;
    this.#subnets = settings.subnets.map(parsePrefix);
    this.#options = options;
    this.#end = options.every(TICK_MS, () => this.#tick());
  }

  take(packet: Packet, tenant: Tenant): boolean {
    if (packet.protocol !== PROTOCOL.icmp6 || packet.payload[0] !== ROUTER_SOLICITATION)
      return false;
    checkSolicitation(packet);
    const all = packet.source === '::';
    const frame = this.frame(tenant, all ? ALL_NODES : packet.source, packet.sourceMac);
    this.#count('solicited', tenant, frame);
    return true;
  }

  close(): void {
    this.#end();
  }

  /** Undefined: the tenant has no IPv6, or no gateway. */
  frame(tenant: Tenant, to: string, toMac: string): Uint8Array | undefined {
    const { ipv6, gateway6, mac } = tenant;
    if (ipv6 === undefined || gateway6 === undefined) return undefined;
    const { lifetimeSeconds, managed, mtu, dnsServers, domain } = this.#settings;
    const prefix = ownPrefix(this.#subnets, ipv6, mac);
    const message = encodeAdvertisement({
      lifetimeSeconds,
      managed,
      mtu: Math.min(mtu, tenant.mtu),
      dnsServers: dnsServers ?? [gateway6],
      domain,
      prefix: prefix === undefined ? undefined : formatPrefix(prefix),
    });
    const addresses = {
      sourceMac: MAC_GATEWAY,
      destinationMac: to === ALL_NODES ? groupMac(ALL_NODES) : toMac,
      source: ROUTER_LINK_LOCAL,
      destination: to,
      hopLimit: 255,
    };
    return buildFrame(addresses, PROTOCOL.icmp6, message, CHECKSUM_AT);
  }

  #tick(): void {
    const tenants = this.#options.tenants();
    if (tenants.length === 0) return;
    const seconds = this.#settings.lifetimeSeconds / ADVERTISED_TIMES;
    this.#due += tenants.length / seconds;
    for (; this.#due >= 1; this.#due--) {
      const tenant = tenants[this.#turn++ % tenants.length] as Tenant;
      const frame = this.frame(tenant, ALL_NODES, '');
      if (frame !== undefined) this.#count('unsolicited', tenant, frame);
    }
  }

  #count(what: 'solicited' | 'unsolicited', tenant: Tenant, frame: Uint8Array | undefined): void {
    if (frame === undefined) this.counters.unserved++;
    else this.counters[this.#options.send(tenant.vif, frame) ? what : 'unsent']++;
  }
}
