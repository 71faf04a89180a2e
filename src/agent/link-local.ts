/**
 * Where tenants meet the host's own stack: an interface of the node's (`services.host` in the node file) that is
 * a vif like a tenant's, and an IPv4 network that only this node knows, with an address in it for every vif.
 *
 * Invariants
 *  * A vif's addresses follow from its id alone: whoever speaks from one is that vif, also after a restart.
 *  * Two VRFs, so that nobody comes further than meant. In LINK_LOCAL_VRF tenants have floating IPs they can
 *    only send from, and all there is to reach are the services' addresses, by port. The host's interface is in
 *    HOST_VRF, where tenants that are checked have floating IPs they can only be reached at.
 *  * Neither VRF is learned or told; node files cannot name them (a name does not begin with a dot).
 */
import { formatIp, parseIp } from '../addr/ip.ts';
import { contains, type Prefix, parsePrefix } from '../addr/prefix.ts';
import { layout } from '../dataplane/layout.ts';
import { VRouterError } from '../errors.ts';
import type { FloatingIpIntent } from './intents.ts';

export const LINK_LOCAL_VRF = '.link-local';
export const HOST_VRF = '.host';

/** In the network, from its beginning: the host, its gateway, then vifs as clients, then vifs as servers. */
const HOST_OFFSET = 1;
const GATEWAY_OFFSET = 2;
const CLIENT_OFFSET = 256;
const SERVER_OFFSET = 8192;
const LAST_OFFSET = SERVER_OFFSET + layout.limits.maxVifs;
/** Room for all of them. */
export const MAX_HOST_PREFIX_LENGTH = 18;

/** What of it a vif takes part in. */
export type LinkLocalRole = 'client' | 'server';

export class LinkLocalNetwork {
  readonly prefix: Prefix;
  readonly #base: number;

  constructor(text: string) {
    this.prefix = parsePrefix(text);
    if (this.prefix.family !== 4 || this.prefix.length > MAX_HOST_PREFIX_LENGTH) {
      const message = `${text}: an IPv4 network of /${MAX_HOST_PREFIX_LENGTH} or larger is needed`;
      throw new VRouterError('BAD_VALUE', `services.host.network: ${message}`);
    }
    this.#base = number(this.prefix.bytes);
  }

  get host(): string {
    return this.#at(HOST_OFFSET);
  }

  get gateway(): string {
    return this.#at(GATEWAY_OFFSET);
  }

  /** What a vif's connections to services come from. */
  client(vif: number): string {
    return this.#at(CLIENT_OFFSET + vif);
  }

  /** Where the host reaches a vif. */
  server(vif: number): string {
    return this.#at(SERVER_OFFSET + vif);
  }

  /** The vif whose client address it is. */
  vifOf(address: string): number | undefined {
    const { family, bytes } = parseIp(address);
    if (!contains(this.prefix, { family, bytes, length: bytes.length * 8 })) return undefined;
    const vif = number(bytes) - this.#base - CLIENT_OFFSET;
    return vif >= 0 && vif < layout.limits.maxVifs ? vif : undefined;
  }

  /** Whether it is one of the node's own in here. */
  uses(address: string): boolean {
    const { family, bytes } = parseIp(address);
    if (!contains(this.prefix, { family, bytes, length: bytes.length * 8 })) return false;
    return number(bytes) - this.#base <= LAST_OFFSET;
  }

  floatingIp(role: LinkLocalRole, vif: number): FloatingIpIntent {
    return role === 'client'
      ? { address: this.client(vif), vrf: LINK_LOCAL_VRF, direction: 'egress' }
      : { address: this.server(vif), vrf: HOST_VRF, direction: 'ingress' };
  }

  #at(offset: number): string {
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setUint32(0, this.#base + offset);
    return formatIp(4, bytes);
  }
}

function number(bytes: Uint8Array): number {
  return new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0);
}
