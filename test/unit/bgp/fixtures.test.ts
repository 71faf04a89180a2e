/** Messages of other speakers, and ours that others took: what they say, and that we say the same again. */
import { describe, expect, test } from 'vitest';
import { NetReader } from '../../../src/bgp/wire/bytes.ts';
import {
  HEADER_BYTES,
  openMessage,
  readMessage,
  updateMessages,
} from '../../../src/bgp/wire/message.ts';
import { readOpen } from '../../../src/bgp/wire/open.ts';
import { readUpdate } from '../../../src/bgp/wire/update.ts';
import { INTERNAL, MESSAGES, messageBody } from '../../support/bgp-messages.ts';

const L2 = { rd: '10.255.0.5:2', tag: 0 };
const NO_ESI = '00'.repeat(10);
const ESI = '00112233445566778899';
const mac = (last: string) => ({
  ...{ ...L2, type: 'mac-ip', esi: NO_ESI, label: 1000 },
  mac: `02:bb:00:00:00:${last}`,
});
const prefix = { ...L2, type: 'ip-prefix', esi: NO_ESI, label: 5000 };
const target = (text: string) => ({ kind: 'route-target', target: text });
const encapsulation = (tunnel: number) => ({ kind: 'encapsulation', tunnel });
const routerMac = { kind: 'router-mac', mac: '02:00:00:00:ff:05' };
const BRIDGED = [target('65000:1000'), encapsulation(8)];
const ROUTED = [target('65000:5000'), encapsulation(8)];
const VPN = { rd: '65000:501' };

interface Said {
  readonly family: string;
  readonly nlri: object;
  readonly communities: readonly object[];
  readonly more?: object;
}

const SAID: Record<string, Said> = {
  vpn4: {
    family: 'vpnv4',
    nlri: { ...VPN, prefix: '10.5.1.0/24', label: 505 },
    communities: [target('65000:101')],
  },
  'vpn4-udp': {
    family: 'vpnv4',
    nlri: { ...VPN, prefix: '10.5.2.0/24', label: 506 },
    communities: [target('65000:101'), encapsulation(13)],
  },
  'vpn4-tea': {
    family: 'vpnv4',
    nlri: { ...VPN, prefix: '10.5.3.0/24', label: 507 },
    communities: [target('65000:101')],
  },
  'vpn4-tea2': {
    family: 'vpnv4',
    nlri: { ...VPN, prefix: '10.5.4.0/24', label: 508 },
    communities: [target('65000:101'), { kind: 'color', flags: 0, color: 100 }],
    more: { tunnels: [{ type: 13, endpoint: '10.255.0.5', udpPort: 6635, color: 100 }] },
  },
  vpn6: {
    family: 'vpnv6',
    nlri: { ...VPN, prefix: '2001:db8:55::/48', label: 505 },
    communities: [target('65000:101')],
  },
  t3: {
    family: 'evpn',
    nlri: { ...L2, type: 'multicast', originator: '10.255.0.5' },
    communities: BRIDGED,
    more: { pmsi: { flags: 0, type: 6, label: 1000, endpoint: '10.255.0.5' } },
  },
  t2mac: { family: 'evpn', nlri: mac('01'), communities: BRIDGED },
  t2macip: {
    family: 'evpn',
    nlri: { ...mac('02'), ip: '10.77.0.52' },
    communities: [...BRIDGED, { kind: 'mac-mobility', sticky: false, sequence: 3 }],
  },
  t2irb: {
    family: 'evpn',
    nlri: { ...mac('03'), ip: '10.77.0.53', label2: 5000 },
    communities: [
      ...[target('65000:1000'), target('65000:5000'), encapsulation(8)],
      ...[{ kind: 'mac-mobility', sticky: true, sequence: 0 }, routerMac],
    ],
  },
  t2v6: { family: 'evpn', nlri: { ...mac('03'), ip: '2001:db8:77::53' }, communities: BRIDGED },
  t5: {
    family: 'evpn',
    nlri: { ...prefix, prefix: '10.55.0.0/24' },
    communities: [...ROUTED, routerMac],
  },
  t5v6: {
    family: 'evpn',
    nlri: { ...prefix, prefix: '2001:db8:55::/48' },
    communities: [...ROUTED, routerMac],
  },
  t5gw: {
    family: 'evpn',
    nlri: { ...prefix, prefix: '10.56.0.0/24', gateway: '10.77.0.53' },
    communities: ROUTED,
  },
  t1ad: {
    family: 'evpn',
    nlri: { ...L2, type: 'ethernet-ad', esi: ESI, tag: 0xffffffff, label: 0 },
    communities: [...BRIDGED, { kind: 'esi-label', singleActive: true, label: 0 }],
  },
  t4es: {
    family: 'evpn',
    nlri: { rd: L2.rd, type: 'ethernet-segment', esi: ESI, originator: '10.255.0.5' },
    communities: [{ kind: 'es-import', mac: '11:22:33:44:55:66' }],
  },
};

const updates = MESSAGES.filter(({ kind }) => kind === 'update');
const opens = MESSAGES.filter(({ kind }) => kind === 'open');

describe('updates', () => {
  test('there is one expectation a fixture', () => {
    expect(Object.keys(SAID)).toEqual(updates.map(({ name }) => name));
  });

  test.each(updates)('$name says what it is to say', ({ name, body }) => {
    const { family, nlri, communities, more } = SAID[name] as Said;
    const { update, findings } = readUpdate(body, INTERNAL);
    expect(update).toEqual({
      withdrawn: [],
      announced: [{ family, nlri: [nlri], nextHop: { address: '10.255.0.5' } }],
      attributes: {
        ...{ origin: 'igp', asPath: [], localPref: 100, extendedCommunities: communities },
        ...more,
      },
    });
    // The one with an empty TLV: as if it had no tunnel attribute, and nothing worse.
    const discards = name === 'vpn4-tea' ? ['attribute-discard'] : [];
    expect(findings.map(({ consequence }) => consequence)).toEqual(discards);
  });

  test.each(updates)('$name is said again', ({ body }) => {
    const { update } = readUpdate(body, INTERNAL);
    const [message, ...others] = updateMessages(update, INTERNAL);
    expect(others).toEqual([]);
    const again = readMessage(message as Uint8Array, INTERNAL);
    expect(again).toEqual({ kind: 'update', read: { update, findings: [] } });
    // Of the same length but for the attribute that nobody is sent: the same bytes in another order.
    const sorted = (bytes: Uint8Array) => [...bytes].sort((a, b) => a - b);
    if (body !== messageBody('vpn4-tea')) {
      expect(sorted((message as Uint8Array).subarray(HEADER_BYTES))).toEqual(sorted(body));
    }
  });
});

test('tunnels are written byte by byte as others took them', () => {
  const [message] = updateMessages(readUpdate(messageBody('vpn4-tea2'), INTERNAL).update, INTERNAL);
  const attribute = 'c0171e000d001a060a0000000000010aff0005080219eb0408030b000000000064';
  expect(Buffer.from(messageBody('vpn4-tea2')).toString('hex')).toContain(attribute);
  expect(Buffer.from(message as Uint8Array).toString('hex')).toContain(attribute);
});

describe('opens', () => {
  const families = (...names: string[]) =>
    names.map((family) => ({ kind: 'multiprotocol', family }));
  const read = (name: string) => readOpen(new NetReader(messageBody(name)));

  test('all capabilities in one parameter', () => {
    const open = read('open-sent');
    expect(open).toMatchObject({ as: 65000, holdTime: 90, id: '10.255.0.5' });
    expect(open.capabilities).toEqual([
      ...families('vpnv4', 'vpnv6', 'evpn'),
      ...[{ kind: 'route-refresh' }, { kind: 'as4', as: 65000 }, { kind: 'extended-message' }],
      {
        ...{ kind: 'graceful-restart', restarting: false, notification: false, seconds: 120 },
        families: ['vpnv4', 'vpnv6', 'evpn'].map((family) => ({ family, forwarding: false })),
      },
    ]);
  });

  test('a capability a parameter', () => {
    const open = read('open-each');
    const three = ['vpnv4', 'vpnv6', 'evpn'] as const;
    expect(open).toMatchObject({ as: 65000, holdTime: 9, id: '10.255.0.1' });
    expect(open.capabilities).toEqual([
      ...families(...three),
      ...['route-refresh-old', 'route-refresh', 'enhanced-refresh'].map((kind) => ({ kind })),
      ...[{ kind: 'as4', as: 65000 }, { kind: 'extended-message' }],
      { kind: 'add-path', families: three.map((family) => ({ family, mode: 'receive' })) },
      { kind: 'fqdn', host: 'vm', domain: '' },
      {
        ...{ kind: 'graceful-restart', restarting: false, notification: true, seconds: 120 },
        families: [],
      },
      {
        kind: 'long-lived-restart',
        families: three.map((family) => ({ family, forwarding: true, seconds: 0 })),
      },
    ]);
  });

  test('one that offers all there is', () => {
    const open = read('open-rcvd');
    const five = ['ipv4-unicast', 'vpnv4', 'vpnv6', 'evpn', 'rtc'] as const;
    expect(open.capabilities).toEqual([
      ...[{ kind: 'route-refresh' }, { kind: 'fqdn', host: 'vm', domain: '' }],
      ...families(...five),
      { kind: 'as4', as: 65000 },
      {
        ...{ kind: 'graceful-restart', restarting: false, notification: false, seconds: 120 },
        families: five.map((family) => ({ family, forwarding: false })),
      },
      {
        kind: 'long-lived-restart',
        families: five.map((family) => ({ family, forwarding: false, seconds: 600 })),
      },
      { kind: 'extended-next-hop', families: five.map((family) => ({ family, afi: 2 })) },
      { kind: 'add-path', families: five.map((family) => ({ family, mode: 'both' })) },
    ]);
  });

  test.each(opens)('$name is said again', ({ body }) => {
    const open = readOpen(new NetReader(body));
    const again = readMessage(openMessage(open), INTERNAL);
    expect(again).toEqual({ kind: 'open', open });
  });
});
