/**
 * A second opinion on what we write: a session of one of each, as tshark (Wireshark) reads it. Frames are built by the
 * tests' own packet builder.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { IpText } from '../../../src/addr/ip.ts';
import type { MacText } from '../../../src/addr/mac.ts';
import type { PrefixText } from '../../../src/addr/prefix.ts';
import type { RouteDistinguisher } from '../../../src/addr/rd.ts';
import type { RouteTarget } from '../../../src/addr/route-target.ts';
import type { Attributes, WireOptions } from '../../../src/bgp/wire/attributes.ts';
import { COMMUNITIES, TUNNEL_TYPES } from '../../../src/bgp/wire/communities.ts';
import type { NlriOf, Routes } from '../../../src/bgp/wire/family.ts';
import { FAMILY_NAMES, type FamilyName } from '../../../src/bgp/wire/family-names.ts';
import {
  keepaliveMessage,
  notificationMessage,
  openMessage,
  refreshMessage,
  updateMessages,
} from '../../../src/bgp/wire/message.ts';
import { fieldOfLabel, NO_ESI } from '../../../src/bgp/wire/nlri-evpn.ts';
import { shutdownData } from '../../../src/bgp/wire/notification.ts';
import { type AnnouncedRoutes, readUpdate } from '../../../src/bgp/wire/update.ts';
import { PcapWriter } from '../../../src/codec/pcap.ts';
import { INTERNAL, MESSAGES } from '../../support/bgp-messages.ts';
import { ether, ipv4, packet, raw, tcp } from '../../support/packet.ts';

const why = spawnSync('tshark', ['--version']).status === 0 ? undefined : 'tshark is not installed';
if (why !== undefined && process.env.CI === 'true') throw new Error(`cannot run: ${why}`);

const HOP = { address: '10.255.0.5' as IpText };
const RD = '10.255.0.5:2' as RouteDistinguisher;
const BASE: Attributes = { origin: 'igp', asPath: [], localPref: 100 };

function announce<F extends FamilyName>(
  family: F,
  nlri: readonly NlriOf[F][],
  more: Attributes = {},
  address: string = HOP.address,
  options: WireOptions = INTERNAL,
): Uint8Array[] {
  const routes = { family, nlri, nextHop: { address } } as unknown as AnnouncedRoutes;
  const update = { withdrawn: [], announced: [routes], attributes: { ...BASE, ...more } };
  return updateMessages(update, options);
}

function withdraw<F extends FamilyName>(family: F, nlri: readonly NlriOf[F][]): Uint8Array[] {
  const routes = { family, nlri } as unknown as Routes;
  return updateMessages({ withdrawn: [routes], announced: [], attributes: {} }, INTERNAL);
}

const prefix = (text: string) => text as PrefixText;
const target = { kind: 'route-target', target: '65000:5000' as RouteTarget } as const;
const mac = '02:00:00:00:ff:05' as MacText;
const ESI = '00112233445566778899';
const l2 = { rd: RD, esi: NO_ESI, tag: 0 };
const EVERY: Attributes = {
  asPath: [
    { kind: 'sequence', asns: [65001, 4_200_000_000] },
    { kind: 'set', asns: [1, 2] },
  ],
  ...{ med: 7, atomicAggregate: true, aggregator: { as: 65001, address: HOP.address } },
  communities: [COMMUNITIES.noExport, (65000 << 16) >>> 0],
  ...{ originatorId: '10.255.0.1' as IpText, clusterList: ['10.255.0.3' as IpText] },
  extendedCommunities: [
    ...[target, { kind: 'route-target', target: '10.0.0.1:7' as RouteTarget } as const],
    { kind: 'site-of-origin', origin: '65000:9' },
    { kind: 'encapsulation', tunnel: TUNNEL_TYPES.mplsInUdp },
    { kind: 'color', flags: 0, color: 100 },
    { kind: 'link-bandwidth', transitive: false, as: 65000, bytesPerSecond: 1e9 },
  ],
  // No color in them: tshark 4.0 takes four of that sub-TLV's eight bytes for all, and what follows for garbage.
  tunnels: [
    { type: 13, endpoint: HOP.address, udpPort: 6635 },
    // One that says nothing, and is not to be sent.
    { type: 8 },
    { type: 8, endpoint: '2001:db8::5' as IpText },
  ],
  aigp: 0x1_0000_0001n,
  largeCommunities: ['65000:1:2'],
  unknown: [{ code: 200, value: '0102' }],
};
const EVPN: Attributes = {
  extendedCommunities: [
    ...[target, { kind: 'encapsulation', tunnel: TUNNEL_TYPES.vxlan } as const],
    ...[{ kind: 'default-gateway' } as const, { kind: 'router-mac', mac } as const],
    { kind: 'mac-mobility', sticky: true, sequence: 9 },
    { kind: 'esi-label', singleActive: true, label: fieldOfLabel(77) },
    { kind: 'es-import', mac },
    { kind: 'df-election', algorithm: 2, capabilities: 0x4000 },
    { kind: 'layer2-attributes', control: 2, mtu: 1500 },
    { kind: 'arp-nd', router: true, override: true, immutable: false },
  ],
  pmsi: { flags: 0, type: 6, label: 1000, endpoint: HOP.address },
};
const many = Array.from({ length: 3000 }, (_, at) => ({
  ...{ rd: RD, label: 500, prefix: prefix(`10.${at >> 8}.${at & 255}.0/24`) },
}));

const SENT: readonly Uint8Array[] = [
  openMessage({
    ...{ as: 4_200_000_000, holdTime: 90, id: HOP.address },
    capabilities: [
      ...FAMILY_NAMES.map((family) => ({ kind: 'multiprotocol', family }) as const),
      ...[{ kind: 'route-refresh' } as const, { kind: 'enhanced-refresh' } as const],
      ...[{ kind: 'extended-message' } as const, { kind: 'as4', as: 4_200_000_000 } as const],
      { kind: 'extended-next-hop', families: [{ family: 'vpnv4', afi: 2 }] },
      {
        ...{ kind: 'graceful-restart', restarting: true, notification: true, seconds: 120 },
        families: [{ family: 'evpn', forwarding: true }],
      },
      { kind: 'add-path', families: [{ family: 'vpnv4', mode: 'both' }] },
      {
        kind: 'long-lived-restart',
        families: [{ family: 'evpn', forwarding: true, seconds: 600 }],
      },
      { kind: 'fqdn', host: 'node1', domain: 'example.net' },
    ],
  }),
  keepaliveMessage(),
  refreshMessage({ family: 'vpnv4', kind: 'request' }),
  refreshMessage({ family: 'vpnv4', kind: 'begin' }),
  refreshMessage({ family: 'vpnv4', kind: 'end' }),
  // Nor that one, for the same color; fixtures.test.ts compares its bytes.
  ...MESSAGES.filter(({ kind, name }) => kind === 'update' && name !== 'vpn4-tea2').flatMap(
    ({ body }) => updateMessages(readUpdate(body, INTERNAL).update, INTERNAL),
  ),
  ...announce(
    'ipv4-unicast',
    [{ prefix: prefix('192.0.2.0/24') }, { prefix: prefix('0.0.0.0/0') }],
    EVERY,
  ),
  ...announce('ipv4-unicast', [{ prefix: prefix('198.51.100.0/25') }], {}, '2001:db8::5'),
  ...announce('ipv6-unicast', [{ prefix: prefix('2001:db8:1::/48') }], {}, '2001:db8::5'),
  ...announce(
    'vpnv4',
    [{ rd: RD, prefix: prefix('203.0.113.0/24'), label: 77 }],
    EVERY,
    '2001:db8::5',
  ),
  ...announce('vpnv6', [{ rd: RD, prefix: prefix('2001:db8:2::/64'), label: 3 }], EVERY),
  ...announce(
    'evpn',
    [
      { type: 'mac-ip', ...l2, mac, ip: '2001:db8::9' as IpText, label: 1000, label2: 5000 },
      { type: 'multicast', rd: RD, tag: 0, originator: '2001:db8::5' as IpText },
      { type: 'ethernet-segment', rd: RD, esi: ESI, originator: HOP.address },
      { type: 'ethernet-ad', rd: RD, esi: ESI, tag: 0xffffffff, label: 0 },
      { type: 'ip-prefix', ...l2, prefix: prefix('2001:db8:3::/48'), label: 5000 },
    ],
    EVPN,
  ),
  ...announce('rtc', [
    { bits: 96, originAs: 65000, target: '0002fde800000065' },
    { bits: 0, originAs: 0, target: '0000000000000000' },
  ]),
  ...announce('vpnv4', many),
  ...withdraw('ipv4-unicast', [{ prefix: prefix('192.0.2.0/24') }]),
  ...withdraw('vpnv4', many),
  ...withdraw('evpn', [{ type: 'mac-ip', ...l2, mac, label: 1000 }]),
  ...FAMILY_NAMES.flatMap((endOfRib) =>
    updateMessages({ withdrawn: [], announced: [], attributes: {}, endOfRib }, INTERNAL),
  ),
  notificationMessage({ code: 6, subcode: 2, data: shutdownData('back in five minutes') }),
];

const SAID = [
  'My AS: 23456 (AS_TRANS)',
  'AS Number: 4200000000',
  'Restart Timers: 0xc078, Restart state, Graceful notification',
  'Preserve forwarding state: Yes',
  'Send/Receive: Both (3)',
  'Next hop AFI: IPv6 (2)',
  'Hostname: node1',
  'Domain Name: example.net',
  'Demarcation of the beginning of a route refresh (1)',
  'Label Stack: 505 (bottom)',
  'Label Stack=505 (bottom) RD=65000:501, IPv6=2001:db8:55::/48',
  'EVPN NLRI: Inclusive Multicast Route',
  'EVPN NLRI: MAC Advertisement Route',
  'EVPN NLRI: IP Prefix route',
  'EVPN NLRI: Ethernet AD Route',
  'EVPN NLRI: Ethernet Segment Route',
  'VNI: 1000',
  'IPv4 Gateway address: 10.77.0.53',
  'ESI: 00:11:22:33:44:55:66:77:88:99',
  'AS_PATH: 65001 4200000000 {1, 2}',
  'COMMUNITIES: NO_EXPORT 65000:0',
  'Aggregator AS: 65001',
  'Cluster ID: 10.255.0.3',
  'Route Target: 10.0.0.1:7 [Transitive IPv4-Address-Specific]',
  'Encapsulation: MPLS in UDP Encapsulation [Transitive Opaque]',
  'MAC Mobility: Sticky MAC [Transitive EVPN]',
  'ESI MPLS Label: Single-Active redundancy, Label: 77 [Transitive EVPN]',
  "EVPN Router's MAC: Router's MAC: 02:00:00:00:ff:05 [Transitive EVPN]",
  'ES Import: RT: 02:00:00:00:ff:05 [Transitive EVPN]',
  'Layer 2 Attributes: flags: 0x0002, L2 MTU: 1500 [Transitive EVPN]',
  'Community Prefix: 65000:101',
  'Value: 0000000000010aff0005',
];

describe.skipIf(why !== undefined)(`what tshark says (${why ?? 'installed'})`, () => {
  let folder = '';
  let file = '';
  const tshark = (...args: string[]) =>
    execFileSync('tshark', ['-n', '-r', file, ...args], {
      encoding: 'utf8',
      maxBuffer: 64 << 20,
      stdio: ['ignore', 'pipe', 'ignore'],
    });

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'bgp-'));
    file = join(folder, 'sent.pcap');
    const pcap = new PcapWriter();
    let seq = 1;
    SENT.forEach((message, at) => {
      const frame = packet(
        ether({ src: '02:00:00:00:00:01', dst: '02:00:00:00:00:02' }),
        ipv4({ src: '10.255.0.5', dst: '10.255.0.3' }),
        tcp({ sport: 40_000, dport: 179, flags: 'PA', seq }),
        raw(message),
      );
      seq += message.length;
      pcap.add(BigInt(at) * 1_000_000n, frame);
    });
    writeFileSync(file, pcap.bytes());
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  test('every message is one, and none malformed', () => {
    const lines = tshark(
      ...['-T', 'fields', '-e', 'bgp.type', '-e', 'bgp.length', '-e', '_ws.malformed'],
      ...['-e', '_ws.expert.message', '-e', '_ws.expert.severity'],
    ).split('\n');
    const said = lines.filter((line) => line !== '').map((line) => line.split('\t'));
    expect(said.map(([type, length]) => [Number(type), Number(length)])).toEqual(
      SENT.map((message) => [message[18], message.length]),
    );
    expect(said.map(([, , malformed]) => malformed).filter((text) => text !== '')).toEqual([]);
    // 0x00600000 is a warning, 0x00800000 an error.
    const complaints = said.filter(([, , , , severity = '']) =>
      severity.split(',').some((one) => Number(one) >= 0x600000),
    );
    expect(complaints).toEqual([]);
  });

  test('it reads what we meant', () => {
    const text = tshark('-V', '-O', 'bgp');
    for (const line of SAID) expect(text).toContain(line);
    // Of three updates: the tunnels that say something.
    expect(text.match(/MPLS in UDP Encapsulation \(\d+ bytes/g)).toHaveLength(3);
    expect(text.match(/VXLAN Encapsulation \(\d+ bytes/g)).toHaveLength(3);
  });
});
