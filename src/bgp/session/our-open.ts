/**
 * What we say of ourselves to a neighbour: all that we can and it may want, for what only one side says does not hold.
 * Equal configuration gives an equal OPEN, so whoever compares two of them knows whether the session must start again.
 */
import { isIpv6 } from '../../addr/ip.ts';
import type { Neighbour, Speaker } from '../neighbour.ts';
import { written } from '../wire/bytes.ts';
import { type Capability, type ExtendedNextHop, writeCapability } from '../wire/capabilities.ts';
import type { Open } from '../wire/open.ts';

export interface Host {
  readonly name: string;
  readonly domain: string;
}

/** What is so for a while, or on this host, and is no neighbour's. */
export interface Circumstances {
  /** We were there before, and routes of before may still be kept for us (RFC 4724). */
  readonly restarting: boolean;
  /** Packets go on while we are away. */
  readonly forwardingKept: boolean;
  readonly host?: Host;
}

const AFI_IPV6 = 2;

function extendedNextHops({ address, families }: Neighbour): ExtendedNextHop[] {
  return families
    .filter(({ family }) => family === 'vpnv4' || (family === 'ipv4-unicast' && isIpv6(address)))
    .map(({ family }) => ({ family, afi: AFI_IPV6 }));
}

function addPaths({ families }: Neighbour): Capability[] {
  const entries = families.flatMap(({ family, addPath }) =>
    addPath === undefined ? [] : [{ family, mode: addPath }],
  );
  return entries.length === 0 ? [] : [{ kind: 'add-path', families: entries }];
}

function restarts(neighbour: Neighbour, around: Circumstances): Capability[] {
  const { restartTime, longLivedTime, families } = neighbour;
  if (restartTime === undefined) return [];
  const { restarting, forwardingKept: forwarding } = around;
  const named = families.map(({ family }) => ({ family, forwarding }));
  const short: Capability = {
    ...{ kind: 'graceful-restart', restarting, notification: true },
    ...{ seconds: restartTime, families: named },
  };
  if (longLivedTime === undefined) return [short];
  const long = named.map((entry) => ({ ...entry, seconds: longLivedTime }));
  return [short, { kind: 'long-lived-restart', families: long }];
}

export function ourOpen(speaker: Speaker, neighbour: Neighbour, around: Circumstances): Open {
  const { as, id } = speaker;
  const nextHops = extendedNextHops(neighbour);
  const { host } = around;
  const all: Capability[] = [
    ...neighbour.families.map(({ family }): Capability => ({ kind: 'multiprotocol', family })),
    { kind: 'route-refresh' },
    ...(nextHops.length === 0
      ? []
      : [{ kind: 'extended-next-hop', families: nextHops } satisfies Capability]),
    { kind: 'extended-message' },
    ...restarts(neighbour, around),
    { kind: 'as4', as },
    ...addPaths(neighbour),
    { kind: 'enhanced-refresh' },
    ...(host === undefined
      ? []
      : [{ kind: 'fqdn', host: host.name, domain: host.domain } satisfies Capability]),
  ];
  // Not everybody reads the long form of RFC 9072, and nobody needs our name.
  const capabilities = isShort(all) ? all : all.filter(({ kind }) => kind !== 'fqdn');
  return { as, holdTime: neighbour.holdTime, id, capabilities };
}

/** All in one parameter, which has a head of two bytes. */
const MAX_SHORT = 0xff - 2;

function isShort(capabilities: readonly Capability[]): boolean {
  const value = written((writer) => {
    for (const capability of capabilities) writeCapability(writer, capability);
  });
  return value.length <= MAX_SHORT;
}

const NOWHERE: Circumstances = { restarting: false, forwardingKept: false };

/** Two neighbours with the same text can have the same session. */
export function sessionText(speaker: Speaker, neighbour: Neighbour): string {
  const { address, interface: on, port, as, localAddress, passive } = neighbour;
  const { ttl, ttlSecurity, password } = neighbour;
  return JSON.stringify([
    ...[address, on, port, as, localAddress, passive, ttl, ttlSecurity, password],
    ourOpen(speaker, neighbour, NOWHERE),
  ]);
}
