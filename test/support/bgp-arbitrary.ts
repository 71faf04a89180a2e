/** Values of the BGP codec that can be written and are read as the same: for properties. */
import fc from 'fast-check';
import { formatIp, type IpFamily } from '../../src/addr/ip.ts';
import { formatMac } from '../../src/addr/mac.ts';
import { maskBytes, type PrefixText } from '../../src/addr/prefix.ts';
import { formatRouteTarget } from '../../src/addr/route-target.ts';
import type { AsPath } from '../../src/bgp/wire/as-path.ts';
import type { Attributes } from '../../src/bgp/wire/attributes.ts';
import { hexOf, NetReader } from '../../src/bgp/wire/bytes.ts';
import type { Capability } from '../../src/bgp/wire/capabilities.ts';
import {
  type ExtendedCommunity,
  HASH_FIELDS,
  readExtended,
} from '../../src/bgp/wire/communities.ts';
import type { NextHop, NlriOf } from '../../src/bgp/wire/family.ts';
import { FAMILY_NAMES, type FamilyName } from '../../src/bgp/wire/family-names.ts';
import { readRd } from '../../src/bgp/wire/nlri.ts';
import { type EvpnNlri, NO_ESI } from '../../src/bgp/wire/nlri-evpn.ts';
import type { Open } from '../../src/bgp/wire/open.ts';
import type { AnnouncedRoutes, Update } from '../../src/bgp/wire/update.ts';

const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
const hex = (min: number, max: number) =>
  fc.uint8Array({ minLength: min, maxLength: max }).map(hexOf);
const u = (bits: number) => fc.integer({ min: 0, max: 2 ** bits - 1 });

const ip = (family: IpFamily) => bytes(family === 4 ? 4 : 16).map((b) => formatIp(family, b));
/** Not one that stands for an IPv4 address: as a next hop that is another text. */
const hop6 = bytes(15).map((b) => formatIp(6, Uint8Array.of(0x20, ...b)));
const hop4 = bytes(3).map((b) => formatIp(4, Uint8Array.of(10, ...b)));
const anyIp = fc.oneof(ip(4), ip(6));
const mac = bytes(6).map(formatMac);
const rd = bytes(8).map((b) => readRd(new NetReader(b)));
const knownRd = fc
  .tuple(fc.integer({ min: 0, max: 2 }), bytes(6))
  .map(([type, b]) => readRd(new NetReader(Uint8Array.of(0, type, ...b))));
const someRd = fc.oneof(rd, knownRd);

const prefix = (family: IpFamily) =>
  fc
    .tuple(bytes(family === 4 ? 4 : 16), fc.integer({ min: 0, max: family === 4 ? 32 : 128 }))
    .map(([b, bits]) => `${formatIp(family, maskBytes(b, bits))}/${bits}` as PrefixText);

const unicast = (family: IpFamily) => fc.record({ prefix: prefix(family) });
const vpn = (family: IpFamily) => fc.record({ rd: someRd, prefix: prefix(family), label: u(20) });

const l2 = { rd: someRd, esi: hex(10, 10), tag: u(32) };
const route5 = (family: IpFamily) =>
  fc.record(
    {
      ...{ type: fc.constant('ip-prefix' as const), ...l2, esi: fc.constant(NO_ESI) },
      ...{ prefix: prefix(family), label: u(24).map((label) => label || 1) },
      gateway: ip(family).filter((address) => address !== '0.0.0.0' && address !== '::'),
    },
    { requiredKeys: ['type', 'rd', 'esi', 'tag', 'prefix', 'label'] },
  );
const evpn: fc.Arbitrary<EvpnNlri> = fc.oneof(
  fc.record({ type: fc.constant('ethernet-ad' as const), ...l2, label: u(24) }),
  fc.record(
    { type: fc.constant('mac-ip' as const), ...l2, mac, ip: anyIp, label: u(24), label2: u(24) },
    { requiredKeys: ['type', 'rd', 'esi', 'tag', 'mac', 'label'] },
  ),
  fc.record({ type: fc.constant('multicast' as const), rd: l2.rd, tag: l2.tag, originator: anyIp }),
  fc.record({
    ...{ type: fc.constant('ethernet-segment' as const), rd: l2.rd, esi: l2.esi },
    originator: anyIp,
  }),
  route5(4),
  route5(6),
  fc.record({
    type: fc.constant('unknown' as const),
    code: fc.integer({ min: 6, max: 255 }),
    body: hex(0, 255),
  }),
);

const rtc = fc
  .tuple(fc.oneof(fc.constant(0), fc.integer({ min: 32, max: 96 })), bytes(12))
  .map(([bits, b]) => {
    const masked = maskBytes(b, bits);
    return {
      bits,
      originAs: new DataView(masked.buffer).getUint32(0),
      target: hexOf(masked.subarray(4)),
    };
  });

export const NLRI: { readonly [F in FamilyName]: fc.Arbitrary<NlriOf[F]> } = {
  ...{ 'ipv4-unicast': unicast(4), 'ipv6-unicast': unicast(6) },
  ...{ vpnv4: vpn(4), vpnv6: vpn(6), evpn, rtc },
};

const nextHopOf = (family: FamilyName): fc.Arbitrary<NextHop> => {
  const alone = fc.oneof(hop4, hop6).map((address) => ({ address }));
  if (family === 'evpn' || family === 'rtc') return alone;
  const both = fc.record({ address: hop6, linkLocal: hop6 });
  return fc.oneof(alone, both);
};

const asn = fc.oneof(fc.integer({ min: 1, max: 0xffff }), fc.integer({ min: 1, max: 0xffffffff }));
/** Sequences that touch are one after an old speaker: never two in a row. */
export const asPath: fc.Arbitrary<AsPath> = fc
  .array(fc.array(asn, { minLength: 1, maxLength: 6 }), { maxLength: 4 })
  .map((lists) => lists.map((asns, at) => ({ kind: at % 2 === 0 ? 'sequence' : 'set', asns })));

const flag = fc.boolean();
export const extended: fc.Arbitrary<ExtendedCommunity> = fc.oneof(
  bytes(8).map(readExtended),
  fc.tuple(fc.integer({ min: 0, max: 2 }), bytes(6)).map(([type, b]) => ({
    kind: 'route-target' as const,
    target: formatRouteTarget(Uint8Array.of(type, 2, ...b)),
  })),
  fc.record({ kind: fc.constant('encapsulation' as const), tunnel: u(16) }),
  fc.record({ kind: fc.constant('color' as const), flags: u(16), color: u(32) }),
  fc.record({ kind: fc.constant('mac-mobility' as const), sticky: flag, sequence: u(32) }),
  fc.record({ kind: fc.constant('esi-label' as const), singleActive: flag, label: u(24) }),
  fc.record({ kind: fc.constant('router-mac' as const), mac }),
  fc.record({ kind: fc.constant('security-group' as const), as: u(16), id: u(32) }),
  fc.record({ kind: fc.constant('origin-vn' as const), as: u(16), index: u(32) }),
  fc.record({
    kind: fc.constant('load-balance' as const),
    fields: fc.subarray([...HASH_FIELDS]),
    sourceBias: flag,
  }),
  fc.record({ kind: fc.constant('layer2-attributes' as const), control: u(16), mtu: u(16) }),
  fc.record({
    ...{ kind: fc.constant('arp-nd' as const), router: flag, override: flag },
    immutable: flag,
  }),
);

const list = <T>(member: fc.Arbitrary<T>) => fc.array(member, { minLength: 1, maxLength: 5 });
const tunnel = fc
  .record(
    {
      type: u(16),
      endpoint: fc.oneof(anyIp, fc.constant('next-hop' as const)),
      ...{ udpPort: u(16), color: u(32) },
      others: list(fc.record({ type: fc.integer({ min: 9, max: 255 }), value: hex(0, 300) })).map(
        (all) => all.filter(({ type, value }) => type >= 128 || value.length <= 510),
      ),
    },
    { requiredKeys: ['type', 'endpoint'] },
  )
  .map(({ others, ...rest }) =>
    others === undefined || others.length === 0 ? rest : { ...rest, others },
  );

export const attributes: fc.Arbitrary<Attributes> = fc.record(
  {
    origin: fc.constantFrom('igp' as const, 'egp' as const, 'incomplete' as const),
    ...{ asPath, med: u(32), localPref: u(32), atomicAggregate: fc.constant(true as const) },
    aggregator: fc.record({ as: asn, address: ip(4) }),
    ...{ communities: list(u(32)), originatorId: ip(4), clusterList: list(ip(4)) },
    extendedCommunities: list(extended),
    pmsi: fc.oneof(
      fc.record({ flags: u(8), type: fc.constant(6), label: u(24), endpoint: anyIp }),
      fc.record({ flags: u(8), type: fc.constantFrom(1, 2, 7), label: u(24), tunnelId: hex(1, 9) }),
    ),
    tunnels: list(tunnel),
    ipv6Communities: hex(20, 20),
    aigp: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
    largeCommunities: list(
      fc.tuple(u(32), u(32), u(32)).map(([a, b, c]) => `${a}:${b}:${c}` as const),
    ),
    prefixSid: hex(1, 40),
    unknown: fc
      .uniqueArray(fc.record({ code: fc.integer({ min: 41, max: 255 }), value: hex(0, 300) }), {
        selector: ({ code }) => code,
        ...{ minLength: 1, maxLength: 3 },
      })
      .map((all) => all.sort((a, b) => a.code - b.code)),
  },
  { requiredKeys: ['origin', 'asPath'] },
);

/** One family's announcement. */
export const announcement: fc.Arbitrary<Update> = fc.constantFrom(...FAMILY_NAMES).chain((family) =>
  fc
    .record({
      nlri: fc.array(NLRI[family] as fc.Arbitrary<NlriOf[FamilyName]>, {
        minLength: 1,
        maxLength: 20,
      }),
      nextHop: nextHopOf(family),
      attributes,
    })
    .map(({ nlri, nextHop, attributes: with_ }) => ({
      withdrawn: [],
      announced: [{ family, nlri, nextHop } as unknown as AnnouncedRoutes],
      attributes: with_,
    })),
);

const someFamily = fc.oneof(
  fc.constantFrom(...FAMILY_NAMES),
  fc.constantFrom('1/2' as const, '16388/71' as const),
);
const several = <T>(shape: { [K in keyof T]: fc.Arbitrary<T[K]> }) =>
  fc.array(fc.record({ family: someFamily, ...shape }), { maxLength: 6 });
const capability = fc.oneof(
  fc.record({ kind: fc.constant('multiprotocol'), family: someFamily }),
  fc.constantFrom(
    ...['route-refresh', 'route-refresh-old', 'extended-message', 'enhanced-refresh'].map(
      (kind) => ({ kind }),
    ),
  ),
  fc.record({ kind: fc.constant('extended-next-hop'), families: several({ afi: u(16) }) }),
  fc.record({
    ...{ kind: fc.constant('graceful-restart'), restarting: flag, notification: flag },
    ...{ seconds: u(12), families: several({ forwarding: flag }) },
  }),
  fc.record({
    kind: fc.constant('add-path'),
    families: several({ mode: fc.constantFrom('receive', 'send', 'both') }),
  }),
  fc.record({
    kind: fc.constant('long-lived-restart'),
    families: several({ forwarding: flag, seconds: u(24) }),
  }),
  fc.record({
    kind: fc.constant('fqdn'),
    host: hex(0, 16),
    domain: hex(0, 16),
  }),
  fc.record({
    kind: fc.constant('unknown'),
    code: fc.integer({ min: 130, max: 255 }),
    value: hex(0, 90),
  }),
) as fc.Arbitrary<Capability>;

export const open: fc.Arbitrary<Open> = fc
  .record({
    as: asn,
    holdTime: fc.oneof(fc.constant(0), fc.integer({ min: 3, max: 0xffff })),
    id: hop4,
    capabilities: fc.array(capability, { maxLength: 24 }),
  })
  .map((value) => ({
    ...value,
    capabilities: [...value.capabilities, { kind: 'as4' as const, as: value.as }],
  }));
