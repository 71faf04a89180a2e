/**
 * One row per address family: how its routes are written, which lengths its next hop may have and what
 * is in them. Everything that differs between families is here; `readRoutes` and `writeNlri` know none.
 */
import { formatIp, type IpText, parseIp } from '../../addr/ip.ts';
import { latin1Of, NetReader, type NetWriter } from './bytes.ts';
import type { FamilyName } from './family-names.ts';
import { Malformed } from './finding.ts';
import {
  type NlriCodec,
  type RtcNlri,
  rtc,
  type UnicastNlri,
  unicast,
  type VpnNlri,
  vpn,
  type WithPathId,
} from './nlri.ts';
import { type EvpnNlri, evpn } from './nlri-evpn.ts';

export interface NlriOf {
  'ipv4-unicast': UnicastNlri;
  'ipv6-unicast': UnicastNlri;
  vpnv4: VpnNlri;
  vpnv6: VpnNlri;
  evpn: EvpnNlri;
  rtc: RtcNlri;
}

/** Some routes of one family. */
export type Routes = {
  [F in FamilyName]: { readonly family: F; readonly nlri: readonly NlriOf[F][] };
}[FamilyName];

export interface NextHop {
  /** An IPv4-mapped address is given as the IPv4 address it stands for. */
  readonly address: IpText;
  /** RFC 2545: the address on the link, beside the global one. */
  readonly linkLocal?: IpText;
}

/** Parts of a next hop: `rd` is eight zero bytes, `mapped` an IPv6 address that may be ::ffff:a.b.c.d. */
type Part = 'rd' | 'ipv4' | 'ipv6';

interface FamilyRow<T> {
  readonly codec: NlriCodec<T>;
  /** In the order of preference for writing; RFC 8950 where an IPv4 family has IPv6 ones. */
  readonly nextHops: readonly (readonly Part[])[];
}

const PLAIN: readonly (readonly Part[])[] = [['ipv4'], ['ipv6'], ['ipv6', 'ipv6']];
const WITH_RD: readonly (readonly Part[])[] = [
  ['rd', 'ipv4'],
  ['rd', 'ipv6'],
  ['rd', 'ipv6', 'rd', 'ipv6'],
];

const FAMILIES: { readonly [F in FamilyName]: FamilyRow<NlriOf[F]> } = {
  'ipv4-unicast': { codec: unicast(4), nextHops: PLAIN },
  'ipv6-unicast': { codec: unicast(6), nextHops: PLAIN.slice(1) },
  vpnv4: { codec: vpn(4), nextHops: WITH_RD },
  vpnv6: { codec: vpn(6), nextHops: WITH_RD.slice(1) },
  evpn: { codec: evpn, nextHops: PLAIN.slice(0, 2) },
  rtc: { codec: rtc, nextHops: PLAIN.slice(0, 2) },
};

const SIZE: { readonly [P in Part]: number } = { rd: 8, ipv4: 4, ipv6: 16 };
const sizeOf = (parts: readonly Part[]): number =>
  parts.reduce((size, part) => size + SIZE[part], 0);

const MAPPED = '::ffff:';

/** Those that were read lately: there are few, and one comes with every announcement. */
const nextHops = new Map<string, NextHop>();
const MAX_NEXT_HOPS = 1024;

export function readNextHop(family: FamilyName, bytes: Uint8Array): NextHop {
  const key = `${family} ${latin1Of(bytes)}`;
  let nextHop = nextHops.get(key);
  if (nextHop === undefined) {
    nextHop = readNewNextHop(family, bytes);
    if (nextHops.size === MAX_NEXT_HOPS) nextHops.clear();
    nextHops.set(key, nextHop);
  }
  return nextHop;
}

function readNewNextHop(family: FamilyName, bytes: Uint8Array): NextHop {
  const parts = FAMILIES[family].nextHops.find((candidate) => sizeOf(candidate) === bytes.length);
  if (parts === undefined) {
    throw new Malformed(`a next hop of ${bytes.length} bytes for ${family}`);
  }
  const reader = new NetReader(bytes);
  const found = parts.flatMap((part) => {
    const field = reader.take(SIZE[part], 'next hop');
    return part === 'rd' ? [] : [formatIp(part === 'ipv4' ? 4 : 6, field)];
  });
  const [first, linkLocal] = found as [IpText, IpText?];
  const address = first.startsWith(MAPPED) ? (first.slice(MAPPED.length) as IpText) : first;
  return linkLocal === undefined ? { address } : { address, linkLocal };
}

export function writeNextHop(writer: NetWriter, family: FamilyName, nextHop: NextHop): void {
  const addresses = [nextHop.address, nextHop.linkLocal].flatMap((text) =>
    text === undefined ? [] : [parseIp(text)],
  );
  const allowed = FAMILIES[family].nextHops.filter(
    (parts) => parts.filter((part) => part !== 'rd').length === addresses.length,
  );
  // IPv4 as it is where the family allows it, mapped where it does not.
  const native = allowed.find((parts) => parts.includes(`ipv${addresses[0]?.family ?? 4}`));
  const parts = native ?? allowed[0];
  if (parts === undefined) throw new RangeError(`${family} has no link-local next hop`);
  writer.u8(sizeOf(parts));
  let at = 0;
  for (const part of parts) {
    if (part === 'rd') {
      writer.putPadded(new Uint8Array(0), SIZE.rd);
      continue;
    }
    const { family: version, bytes } = addresses[at++] as { family: 4 | 6; bytes: Uint8Array };
    if (part === 'ipv4' && version === 6) throw new RangeError(`${family} has no IPv6 next hop`);
    if (part === 'ipv6' && version === 4) writer.put(MAPPED_BYTES);
    writer.put(bytes);
  }
}

const MAPPED_BYTES = Uint8Array.from([...new Array<number>(10).fill(0), 0xff, 0xff]);

const codecOf = (family: FamilyName): NlriCodec<NlriOf[FamilyName]> =>
  FAMILIES[family].codec as unknown as NlriCodec<NlriOf[FamilyName]>;

/** Everything `reader` has. Each NLRI takes a byte at least, so the work is bounded by the message. */
export function readRoutes(
  reader: NetReader,
  family: FamilyName,
  withdrawn: boolean,
  addPath: boolean,
): Routes {
  const codec = codecOf(family);
  const nlri: NlriOf[FamilyName][] = [];
  while (reader.left > 0) {
    if (addPath) {
      const pathId = reader.u32('path id');
      nlri.push({ ...codec.read(reader, withdrawn), pathId });
    } else {
      nlri.push(codec.read(reader, withdrawn));
    }
  }
  return { family, nlri } as unknown as Routes;
}

export function writeNlri(
  writer: NetWriter,
  family: FamilyName,
  nlri: NlriOf[FamilyName],
  withdrawn: boolean,
  addPath: boolean,
): void {
  // Zero stands for a sender who has one path only (RFC 7911 §3 leaves its choice open).
  if (addPath) writer.u32((nlri as WithPathId).pathId ?? 0);
  codecOf(family).write(writer, nlri, withdrawn);
}

/** Under which a route is stored and withdrawn. */
export function nlriKey<F extends FamilyName>(family: F, nlri: NlriOf[F]): string {
  const { pathId } = nlri as WithPathId;
  const key = codecOf(family).key(nlri);
  return pathId === undefined ? key : `${key} #${pathId}`;
}

/** Of a route, whichever of its paths it is. */
export function routeKey(family: FamilyName, nlri: NlriOf[FamilyName]): string {
  return codecOf(family).key(nlri);
}

export function unfitNlri(family: FamilyName, nlri: NlriOf[FamilyName]): string | undefined {
  return codecOf(family).unfit?.(nlri);
}
