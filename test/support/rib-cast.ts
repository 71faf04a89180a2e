/** Who takes part in the RIB's histories: neighbours of every kind, routes, what these may have, policies. */
import type { IpText } from '../../src/addr/ip.ts';
import type { MacText } from '../../src/addr/mac.ts';
import type { PrefixText } from '../../src/addr/prefix.ts';
import type { RouteTarget } from '../../src/addr/route-target.ts';
import type { Nlri } from '../../src/bgp/rib/contract.ts';
import type { Policy } from '../../src/bgp/rib/policy.ts';
import type { Attributes } from '../../src/bgp/wire/attributes.ts';
import { COMMUNITIES } from '../../src/bgp/wire/communities.ts';
import type { FamilyName } from '../../src/bgp/wire/family-names.ts';
import { NO_ESI } from '../../src/bgp/wire/nlri-evpn.ts';
import {
  ENHANCED,
  type FarOptions,
  inet,
  membership,
  REFRESH,
  restart,
  targets,
  US,
  vpn,
} from './rib-lab.ts';

const ALL = ['ipv4-unicast', 'vpnv4', 'evpn'] as const;
const WITH_RTC = ['rtc', 'vpnv4', 'evpn'] as const;
const graceful = (seconds: number, longLived?: number) => ({
  capabilities: [...ENHANCED, ...restart(ALL, seconds, longLived)],
  neighbour: {
    restartTime: seconds,
    ...(longLived === undefined ? {} : { longLivedTime: longLived }),
  },
});
const many = (family: FamilyName) => ({ family, addPath: 'both' as const, sendPaths: 2 });

export const KINDS: readonly FarOptions[] = [
  { name: 'client', address: '10.0.0.2', families: ALL, client: true, capabilities: REFRESH },
  { name: 'inside', address: '10.0.0.3', families: ALL, ...graceful(60, 600) },
  { name: 'old', address: '10.0.0.4', families: ALL },
  { name: 'outside', address: '10.0.0.5', as: 65001, families: ALL, ...graceful(30) },
  { name: 'other', address: '10.0.0.6', as: 65002, families: WITH_RTC, capabilities: ENHANCED },
  { name: 'wanting', address: '10.0.0.7', families: WITH_RTC, client: true, capabilities: REFRESH },
  { name: 'second', address: '10.0.0.8', families: WITH_RTC, capabilities: REFRESH },
  {
    ...{ name: 'several', address: '10.0.0.9', client: true },
    families: [many('ipv4-unicast'), many('vpnv4')],
    capabilities: [
      ...ENHANCED,
      {
        kind: 'add-path',
        families: [
          { family: 'ipv4-unicast', mode: 'both' },
          { family: 'vpnv4', mode: 'both' },
        ],
      },
    ],
  },
  {
    ...{ name: 'default', address: '10.0.0.10', client: true, capabilities: ENHANCED },
    families: [{ family: 'rtc', defaultRoute: true }, 'vpnv4'],
  },
];

const evpnHead = { rd: '65000:9' as never, tag: 0 };
const mac = (last: number): Nlri => ({
  ...{ type: 'mac-ip' as const, ...evpnHead, esi: NO_ESI, label: 1000 },
  ...{ mac: `02:00:00:00:00:0${last}` as MacText, ip: `10.1.0.${last}` as IpText },
});
export const ROUTES: { readonly [F in FamilyName]?: readonly Nlri[] } = {
  'ipv4-unicast': ['10.1.0.0/16', '10.2.0.0/16', '10.1.1.0/24'].map(inet),
  vpnv4: [
    vpn('10.1.0.0/16'),
    vpn('10.1.0.0/16', 200),
    vpn('10.2.0.0/16'),
    vpn('10.1.0.0/16', 7, '1:1'),
  ],
  evpn: [
    mac(1),
    mac(2),
    { type: 'multicast', ...evpnHead, originator: '10.0.0.77' as IpText },
    { type: 'unknown', code: 9, body: 'abcd' },
  ],
  rtc: [
    membership('65000:1'),
    membership('65000:2'),
    membership('65000:1', 65002),
    { bits: 80, originAs: US, target: '0002fde800000000' },
    { bits: 0, originAs: 0, target: '00'.repeat(8) },
  ],
};

const community = (...communities: number[]): Attributes => ({ communities });
const moved = (sequence: number, sticky = false): Attributes => ({
  extendedCommunities: [
    { kind: 'mac-mobility', sequence, sticky },
    { kind: 'route-target', target: '65000:1' as RouteTarget },
  ],
});
/** What a route may have: two of these, the later over the earlier. */
export const TRAITS: readonly Attributes[] = [
  {},
  { med: 5 },
  { med: 10 },
  { localPref: 200 },
  { origin: 'incomplete' },
  { originatorId: '10.0.0.1' as IpText },
  { originatorId: '10.0.0.99' as IpText, clusterList: ['10.0.0.98' as IpText] },
  { asPath: [{ kind: 'sequence', asns: [65009] }] },
  { asPath: [{ kind: 'sequence', asns: [65000, 65009] }] },
  { asPath: [{ kind: 'sequence', asns: [65001, 65009] }] },
  { asPath: [{ kind: 'sequence', asns: [65002, 65009] }] },
  community(1),
  community(COMMUNITIES.noExport),
  community(COMMUNITIES.noAdvertise),
  community(COMMUNITIES.llgrStale),
  community(COMMUNITIES.noLlgr),
  targets('65000:1'),
  targets('65000:2'),
  targets('65000:3', '65000:1'),
  targets('65001:1'),
  moved(1),
  moved(2, true),
];
export const HOPS = ['10.9.0.1', '10.9.0.2', '10.0.0.1'] as const;

const term = (match: object, action: 'accept' | 'reject', set?: object) => ({
  ...{ name: 't', match, action },
  ...(set === undefined ? {} : { set }),
});
const prefixes = (prefix: string, orLonger: boolean) => ({
  prefixes: [{ prefix: prefix as PrefixText, orLonger }],
});
export const POLICIES: readonly (Policy | undefined)[] = [
  undefined,
  { name: 'none', terms: [term({}, 'reject')] },
  { name: 'some', terms: [term(prefixes('10.1.0.0/16', true), 'reject')] },
  {
    name: 'set',
    terms: [
      term({ families: ['vpnv4'] }, 'accept', { localPref: 300, addCommunities: [1, 2] }),
      term(prefixes('10.1.0.0/16', false), 'accept', { med: 77 }),
    ],
  },
  {
    name: 'communities',
    terms: [
      term({ communities: [1, 3] }, 'accept', { removeCommunities: [1, 2] }),
      term({ routeTargets: ['65000:2' as RouteTarget] }, 'reject'),
      term({}, 'accept', { addCommunities: [3] }),
    ],
  },
];
