/**
 * What a control node's configuration asks of this node, in the words of the node file: types, and names.
 *
 * Invariant: all of it follows from the graph and the ports alone, in an order of its own: equal in gives equal out,
 * whatever came first.
 */
import { createHash } from 'node:crypto';
import type { ConfiguredPortFile, PolicyFile, VifFile, VrfFile } from '../config/node.ts';

/** What the host knows of a port: a device, and whose it is. */
export interface ConfiguredPort extends Pick<ConfiguredPortFile, 'vmi' | 'vm'> {
  readonly name: string;
}

/** What configuration says of a port; its device and what the host says of it is not in here. */
export type ConfiguredVif = Pick<
  VifFile,
  | 'name'
  | 'vrf'
  | 'tenant_mac'
  | 'ipv4'
  | 'ipv6'
  | 'gateway4'
  | 'gateway6'
  | 'instance_id'
  | 'floating_ips'
  | 'network_policies'
  | 'ingress_groups'
  | 'egress_groups'
  | 'security_group_ids'
>;

/** What of an object is not taken over, and what becomes of it. */
export interface Note {
  /** Type and name. */
  readonly object: string;
  readonly what: string;
}

export interface WaitingPort {
  readonly port: string;
  readonly reason: string;
}

export interface DesiredState {
  readonly vrfs: readonly VrfFile[];
  readonly policies: readonly PolicyFile[];
  readonly vifs: readonly ConfiguredVif[];
  readonly waiting: readonly WaitingPort[];
  readonly notes: readonly Note[];
  /** Security groups by whose members policies match. */
  readonly groups: ReadonlySet<number>;
}

/** kMaxNameLength. */
const MAX_NAME_BYTES = 128;

/** Names of VRFs are told to control nodes as they are, so one that is too long cannot be had. */
export function isVrfName(name: string): boolean {
  return name !== '' && Buffer.byteLength(name) <= MAX_NAME_BYTES && !/[\p{Cc}\p{Cs}]/u.test(name);
}

/**
 * Of an access control list: apart from those of the node file, and as long as a name may be. Of a long one the end
 * goes, and a hash says which it was.
 */
export function policyName(list: string): string {
  const name = `acl ${list.replace(/[\p{Cc}\p{Cs}]/gu, '?')}`;
  if (name === `acl ${list}` && Buffer.byteLength(name) <= MAX_NAME_BYTES) return name;
  const hash = createHash('sha256').update(list).digest('hex').slice(0, 16);
  // Cut by bytes: what is left of a character at the end is none.
  const kept = Buffer.from(name).subarray(0, MAX_NAME_BYTES - hash.length - 4);
  return `${kept.toString('utf8').replace(/\ufffd+$/u, '')}~${hash}`;
}

export function byText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
