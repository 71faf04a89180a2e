/**
 * Router solicitations and advertisements (RFC 4861 §4.1, 4.2; RFC 8106 for name servers): codec, and the
 * advertisement a tenant is due. Pure.
 */
import { parseIp } from '../addr/ip.ts';
import { MAC_GATEWAY, parseMac } from '../addr/mac.ts';
import { type Prefix, parsePrefix } from '../addr/prefix.ts';
import { encodeName } from './domain-name.ts';
import { bad, type Packet, view } from './frame.ts';
import { eui64 } from './link-local.ts';

export const ROUTER_SOLICITATION = 133;
export const ROUTER_ADVERTISEMENT = 134;
const OPTION = { sourceLinkLayer: 1, prefix: 3, mtu: 5, rdnss: 25, dnssl: 31 } as const;
const MANAGED = 0x80;
const OTHER = 0x40;
const AUTONOMOUS = 0x40;
const HOPS = 255;
const SLAAC_LENGTH = 64;

/** Throws BAD_PACKET for what RFC 4861 §6.1.1 says is to be discarded. */
export function checkSolicitation({ hopLimit, payload, source }: Packet): void {
  if (hopLimit !== HOPS) bad(`router solicitation: a hop limit of ${hopLimit}`);
  if (payload.length < 8 || payload[1] !== 0) bad('router solicitation: malformed');
  for (let at = 8; at < payload.length; ) {
    const [type, units] = [payload[at], payload[at + 1] ?? 0];
    if (units === 0 || at + units * 8 > payload.length) bad('router solicitation: an option');
    if (type === OPTION.sourceLinkLayer && source === '::') bad('router solicitation: from nobody');
    at += units * 8;
  }
}

export interface Advertisement {
  readonly lifetimeSeconds: number;
  /** Addresses are to be had by DHCPv6; false: neither they nor anything else. */
  readonly managed: boolean;
  readonly mtu: number;
  readonly dnsServers: readonly string[];
  readonly domain: string | undefined;
  /** From which hosts make their address. */
  readonly prefix: string | undefined;
}

/**
 * The prefix of which the tenant makes just the address that is its own: 64 bits, and its MAC's EUI-64. Any
 * other it would only make an address of that nothing is delivered to.
 */
export function ownPrefix(
  subnets: readonly Prefix[],
  address: string,
  mac: string,
): Prefix | undefined {
  return subnets.find(
    ({ family, length, bytes }) =>
      family === 6 && length === SLAAC_LENGTH && eui64(bytes, mac) === address,
  );
}

/** An ICMPv6 message without its checksum. */
export function encodeAdvertisement(advertisement: Advertisement): Uint8Array {
  const { lifetimeSeconds, managed, mtu, dnsServers, domain, prefix } = advertisement;
  const fixed = new Uint8Array(16);
  const at = view(fixed);
  fixed[0] = ROUTER_ADVERTISEMENT;
  fixed[4] = 64;
  fixed[5] = managed ? MANAGED | OTHER : 0;
  at.setUint16(6, lifetimeSeconds);
  const parts = [
    fixed,
    option(OPTION.sourceLinkLayer, parseMac(MAC_GATEWAY)),
    option(OPTION.mtu, Uint8Array.of(0, 0, ...be32(mtu))),
  ];
  if (prefix !== undefined) {
    const { bytes, length } = parsePrefix(prefix);
    // Not on the link (L): what is for a neighbour goes by the router too.
    const life = be32(0xffffffff);
    const body = [length, AUTONOMOUS, ...life, ...life, 0, 0, 0, 0, ...bytes];
    parts.push(option(OPTION.prefix, Uint8Array.from(body)));
  }
  const servers = dnsServers.flatMap((address) => [...parseIp(address).bytes]);
  const life = be32(lifetimeSeconds);
  if (servers.length > 0)
    parts.push(option(OPTION.rdnss, Uint8Array.of(0, 0, ...life, ...servers)));
  if (domain !== undefined) {
    parts.push(option(OPTION.dnssl, Uint8Array.of(0, 0, ...life, ...encodeName(domain))));
  }
  return Buffer.concat(parts);
}

/** Type, length in units of 8 bytes, padded. */
function option(type: number, body: Uint8Array): Uint8Array {
  const units = Math.ceil((2 + body.length) / 8);
  const bytes = new Uint8Array(units * 8);
  bytes[0] = type;
  bytes[1] = units;
  bytes.set(body, 2);
  return bytes;
}

function be32(value: number): number[] {
  return [value >>> 24, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff];
}
