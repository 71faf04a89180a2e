/** What a service is to the part that feeds it: packets of tenants in, frames for them out, numbers. */
import type { Packet } from './frame.ts';

/** Who asks: what is known of the tenant behind a vif, however it presents itself. Canonical texts. */
export interface Tenant {
  /** Of the vif, in the data plane. */
  readonly vif: number;
  readonly name: string;
  readonly mac: string;
  readonly vrf: string;
  readonly ipv4: string | undefined;
  readonly ipv6: string | undefined;
  readonly gateway4: string | undefined;
  readonly gateway6: string | undefined;
  readonly mtu: number;
  readonly hostname: string | undefined;
}

/** Frames of the tenant's link; whether it went. */
export type Send = (vif: number, frame: Uint8Array) => boolean;

export interface Service {
  readonly counters: Readonly<Record<string, number>>;
  /** Whether the packet was this service's; throws BAD_PACKET when it was, and is wrong. */
  take(packet: Packet, tenant: Tenant): boolean;
  close?(): void;
}

const HOST_NAME = 63;

/** A vif's name as a host name: what is not a letter, digit or - becomes one; undefined: nothing is left. */
export function hostnameOf(name: string): string | undefined {
  const label = name
    .toLowerCase()
    .replaceAll(/[^a-z0-9-]+/g, '-')
    .slice(0, HOST_NAME)
    .replaceAll(/^-+|-+$/g, '');
  return label === '' ? undefined : label;
}
