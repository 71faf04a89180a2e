/** Addresses that follow from a MAC: EUI-64 (RFC 4291 App. A), of which the router's on a tenant's link is one. */
import { formatIp, type IpText, parseIp } from '../addr/ip.ts';
import { MAC_GATEWAY, parseMac } from '../addr/mac.ts';

/** What a host makes of a prefix of 64 bits, of which the first 8 bytes are given, by its MAC. */
export function eui64(prefix: Uint8Array, mac: string): IpText {
  const bytes = new Uint8Array(16);
  const own = parseMac(mac);
  bytes.set(prefix.subarray(0, 8));
  bytes.set([(own[0] as number) ^ 2, own[1] as number, own[2] as number, 0xff, 0xfe], 8);
  bytes.set(own.subarray(3), 13);
  return formatIp(6, bytes);
}

const LINK_LOCAL = parseIp('fe80::').bytes;

/** The core answers for it as for the gateway (native/path/reply.cc). */
export const ROUTER_LINK_LOCAL = eui64(LINK_LOCAL, MAC_GATEWAY);
export const ALL_NODES = 'ff02::1';

export function isLinkLocal(address: string): boolean {
  const [a, b] = parseIp(address).bytes;
  return a === 0xfe && ((b as number) & 0xc0) === 0x80;
}

/** RFC 2464 §7: of an IPv6 group. */
export function groupMac(address: string): string {
  const tail = [...parseIp(address).bytes.subarray(12)];
  return ['33', '33', ...tail.map((byte) => byte.toString(16).padStart(2, '0'))].join(':');
}
