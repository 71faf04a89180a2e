/** Network policies and security groups: decided once per flow, deny where none matches, replies allowed. */
import { describe } from 'vitest';
import type { Op } from '../../src/dataplane/api.ts';
import { ether, icmpEcho, ipv4, ipv6, type Layer, tcp, udp } from '../support/packet.ts';
import {
  alice,
  bob,
  fromThere,
  GATEWAY_MAC,
  play,
  RED,
  remote,
  type Sent,
  type Tenant,
} from './network.ts';

const toGateway = (from: Tenant) => ether({ dst: GATEWAY_MAC, src: from.mac });
const fromGateway = (to: Tenant) => ether({ dst: to.mac, src: GATEWAY_MAC });
const at = (port: Sent['port'], ...layers: Layer[]): Sent => ({ port, layers });

type Lists = Partial<
  Record<'networkPolicies' | 'ingressGroups' | 'egressGroups', { policy: number }[]>
>;
/** The node's own services are behind it. */
const SERVICE = 0x20000000;
const guarded = (tenant: Tenant, port: number, lists: Lists, more = 0): Op => ({
  op: 'vif_set',
  vif: tenant.vif,
  name: tenant.port,
  type: 3,
  port,
  mac: GATEWAY_MAC,
  vrf: RED,
  flags: 0xc1 | more,
  mtu: 9000,
  nextHop: tenant.nextHop,
  ipv4: tenant.ipv4,
  ipv6: tenant.ipv6,
  ...lists,
});
const web: Op = {
  op: 'policy_set',
  policy: 1,
  name: 'web',
  rules: [
    {
      action: 0,
      protocol: 6,
      source: '10.47.255.192/26',
      destinationPortLow: 81,
      destinationPortHigh: 81,
    },
    { action: 1, protocol: 6, destinationPortLow: 80, destinationPortHigh: 89 },
    { action: 1, protocol: 1 },
  ],
};
const nothing: Op = { op: 'policy_set', policy: 2, name: 'nothing', rules: [] };
const all: Op = { op: 'policy_set', policy: 3, name: 'all', rules: [{ action: 1 }] };

const syn = (dport: number) => tcp({ sport: 1000, dport, flags: 'S' });
const fromAlice = (...body: Layer[]) =>
  at('alice', toGateway(alice), ipv4({ src: alice.ipv4, dst: bob.ipv4 }), ...body);
const toBob = (...body: Layer[]) =>
  at('bob', fromGateway(bob), ipv4({ src: alice.ipv4, dst: bob.ipv4, ttl: 63 }), ...body);

interface Judged {
  name: string;
  state: Op[];
  body: Layer[];
  /** '' passes. */
  drop: string;
}
const judged: Judged[] = [
  {
    name: 'a rule that passes',
    state: [web, guarded(bob, 2, { networkPolicies: [{ policy: 1 }] })],
    body: [syn(80)],
    drop: '',
  },
  {
    name: 'the first rule that matches wins: a denied port inside a passed range',
    state: [web, guarded(bob, 2, { networkPolicies: [{ policy: 1 }] })],
    body: [syn(81)],
    drop: 'Policy',
  },
  {
    name: 'nothing matches: the implicit deny',
    state: [web, guarded(bob, 2, { networkPolicies: [{ policy: 1 }] })],
    body: [syn(90)],
    drop: 'Policy',
  },
  {
    name: 'another protocol',
    state: [web, guarded(bob, 2, { networkPolicies: [{ policy: 1 }] })],
    body: [udp({ sport: 1000, dport: 80 })],
    drop: 'Policy',
  },
  {
    name: 'a protocol without ports by its number',
    state: [web, guarded(bob, 2, { networkPolicies: [{ policy: 1 }] })],
    body: [icmpEcho(1, 1)],
    drop: '',
  },
  {
    name: 'an empty policy denies all',
    state: [nothing, guarded(bob, 2, { networkPolicies: [{ policy: 2 }] })],
    body: [syn(80)],
    drop: 'Policy',
  },
  {
    name: 'a later policy passes what an earlier one does not know',
    state: [nothing, web, guarded(bob, 2, { networkPolicies: [{ policy: 2 }, { policy: 1 }] })],
    body: [syn(80)],
    drop: '',
  },
  {
    name: 'the sender’s policy denies on his way out',
    state: [nothing, guarded(alice, 1, { networkPolicies: [{ policy: 2 }] })],
    body: [syn(80)],
    drop: 'OutPolicy',
  },
  {
    name: 'a security group that passes',
    state: [web, guarded(bob, 2, { ingressGroups: [{ policy: 1 }] })],
    body: [syn(80)],
    drop: '',
  },
  {
    name: 'a security group that does not',
    state: [web, guarded(bob, 2, { ingressGroups: [{ policy: 1 }] })],
    body: [syn(90)],
    drop: 'SG',
  },
  {
    name: 'one of several groups passes',
    state: [nothing, web, guarded(bob, 2, { ingressGroups: [{ policy: 2 }, { policy: 1 }] })],
    body: [syn(80)],
    drop: '',
  },
  {
    name: 'the sender’s group denies',
    state: [nothing, guarded(alice, 1, { egressGroups: [{ policy: 2 }] })],
    body: [syn(80)],
    drop: 'OutSG',
  },
  {
    name: 'a receiver’s egress group does not judge what comes in',
    state: [nothing, guarded(bob, 2, { egressGroups: [{ policy: 2 }] })],
    body: [syn(80)],
    drop: '',
  },
  {
    name: 'what the node asks is not judged, whatever its tenant’s policy and groups say',
    state: [
      nothing,
      guarded(alice, 1, {}, SERVICE),
      guarded(bob, 2, { networkPolicies: [{ policy: 2 }], ingressGroups: [{ policy: 2 }] }),
    ],
    body: [syn(80)],
    drop: '',
  },
  {
    name: 'nor is what it is asked',
    state: [
      nothing,
      guarded(alice, 1, { networkPolicies: [{ policy: 2 }], egressGroups: [{ policy: 2 }] }),
      guarded(bob, 2, {}, SERVICE),
    ],
    body: [syn(80)],
    drop: '',
  },
  {
    name: 'policy and group must both pass',
    state: [
      all,
      nothing,
      guarded(bob, 2, { networkPolicies: [{ policy: 3 }], ingressGroups: [{ policy: 2 }] }),
    ],
    body: [syn(80)],
    drop: 'SG',
  },
];

describe('policy', () => {
  for (const { name, state, body, drop } of judged) {
    play({
      name: `${name}: ${drop || 'passes'}`,
      state,
      in: [fromAlice(...body)],
      out: drop === '' ? [toBob(...body)] : [],
      verdict: drop === '' ? { forwarded: 1n } : { dropped: 1n },
      drops: drop === '' ? {} : { 'Flow Action Drop': 1 },
      flows: [{ source: alice.ipv4, destination: bob.ipv4, action: drop === '' ? 'F' : 'D', drop }],
    });
  }

  play({
    name: 'replies of a passed flow pass, though no rule names them',
    state: [
      web,
      guarded(bob, 2, { networkPolicies: [{ policy: 1 }], egressGroups: [{ policy: 1 }] }),
    ],
    before: [fromAlice(syn(80))],
    in: [
      at(
        'bob',
        toGateway(bob),
        ipv4({ src: bob.ipv4, dst: alice.ipv4 }),
        tcp({ sport: 80, dport: 1000, flags: 'SA', ack: 1 }),
      ),
    ],
    out: [
      at(
        'alice',
        fromGateway(alice),
        ipv4({ src: bob.ipv4, dst: alice.ipv4, ttl: 63 }),
        tcp({ sport: 80, dport: 1000, flags: 'SA', ack: 1 }),
      ),
    ],
    verdict: { forwarded: 1n },
  });

  play({
    name: 'IPv6 is judged by the same rules, IPv4 prefixes do not match it',
    state: [web, guarded(bob, 2, { networkPolicies: [{ policy: 1 }] })],
    in: [at('alice', toGateway(alice), ipv6({ src: alice.ipv6, dst: bob.ipv6 }), syn(81))],
    out: [
      at('bob', fromGateway(bob), ipv6({ src: alice.ipv6, dst: bob.ipv6, hopLimit: 63 }), syn(81)),
    ],
    verdict: { forwarded: 1n },
  });

  play({
    name: 'out of a tunnel the receiver’s policy judges',
    state: [web, guarded(bob, 2, { networkPolicies: [{ policy: 1 }] })],
    in: [
      at(
        'fabric',
        ...fromThere('udp', 4, bob.label),
        ipv4({ src: remote.ipv4, dst: bob.ipv4 }),
        syn(443),
      ),
    ],
    out: [],
    verdict: { dropped: 1n },
    drops: { 'Flow Action Drop': 1 },
    flows: [{ source: remote.ipv4, action: 'D', drop: 'Policy', vif: -1 }],
  });

  play({
    name: 'bridged frames are judged too',
    state: [nothing, guarded(bob, 2, { networkPolicies: [{ policy: 2 }] })],
    in: [
      at(
        'alice',
        ether({ dst: bob.mac, src: alice.mac }),
        ipv4({ src: alice.ipv4, dst: bob.ipv4 }),
        syn(80),
      ),
    ],
    out: [],
    verdict: { dropped: 1n },
    drops: { 'Flow Action Drop': 1 },
  });
});
