/** What we say of ourselves, to whom; and that two neighbours are compared by it. */
import { describe, expect, test } from 'vitest';
import type { Neighbour } from '../../../src/bgp/neighbour.ts';
import { hopsOf } from '../../../src/bgp/session/hops.ts';
import { type Circumstances, ourOpen, sessionText } from '../../../src/bgp/session/our-open.ts';
import type { Capability } from '../../../src/bgp/wire/capabilities.ts';
import { FAMILY_NAMES } from '../../../src/bgp/wire/family-names.ts';
import { openMessage, readMessage } from '../../../src/bgp/wire/message.ts';
import { INTERNAL } from '../../support/bgp-messages.ts';
import { ip, neighbour } from '../../support/bgp-speakers.ts';

const SPEAKER = { as: 4_200_000_001, id: ip('10.0.0.1') };
const AROUND: Circumstances = { restarting: false, forwardingKept: false };
const said = (more: Partial<Neighbour>, around = AROUND, address = '10.0.0.2') =>
  ourOpen(SPEAKER, neighbour(address, more), around);
const kinds = (capabilities: readonly Capability[]) => capabilities.map(({ kind }) => kind);
const find = (kind: Capability['kind'], more: Partial<Neighbour>, around?: Circumstances) =>
  said(more, around).capabilities.find((capability) => capability.kind === kind);

describe('our OPEN', () => {
  test('the least there is', () => {
    const { capabilities, ...rest } = said({ families: [{ family: 'evpn' }] });
    expect(rest).toEqual({ as: SPEAKER.as, id: '10.0.0.1', holdTime: 90 });
    expect(capabilities).toEqual([
      { kind: 'multiprotocol', family: 'evpn' },
      { kind: 'route-refresh' },
      { kind: 'extended-message' },
      { kind: 'as4', as: SPEAKER.as },
      { kind: 'enhanced-refresh' },
    ]);
  });

  test('next hops of IPv6: of VPNs, and of IPv4 where the session is over IPv6', () => {
    const families = [
      { family: 'vpnv4' },
      { family: 'ipv4-unicast' },
      { family: 'vpnv6' },
    ] as const;
    expect(find('extended-next-hop', { families })).toMatchObject({
      families: [{ family: 'vpnv4', afi: 2 }],
    });
    const { capabilities } = said({ families }, AROUND, '2001:db8::2');
    expect(capabilities).toContainEqual({
      kind: 'extended-next-hop',
      families: [
        { family: 'vpnv4', afi: 2 },
        { family: 'ipv4-unicast', afi: 2 },
      ],
    });
  });

  test('restarts, path ids, a name', () => {
    const more: Partial<Neighbour> = {
      families: [{ family: 'vpnv4', addPath: 'both' }, { family: 'evpn' }],
      ...{ restartTime: 60, longLivedTime: 3600 },
    };
    const around = {
      ...{ restarting: true, forwardingKept: true },
      host: { name: 'cn1', domain: 'example.net' },
    };
    const families = ['vpnv4', 'evpn'].map((family) => ({ family, forwarding: true }));
    expect(find('graceful-restart', more, around)).toEqual({
      ...{ kind: 'graceful-restart', restarting: true, notification: true, seconds: 60, families },
    });
    expect(find('long-lived-restart', more, around)).toMatchObject({
      families: families.map((entry) => ({ ...entry, seconds: 3600 })),
    });
    expect(find('add-path', more, around)).toMatchObject({
      families: [{ family: 'vpnv4', mode: 'both' }],
    });
    expect(find('fqdn', more, around)).toMatchObject({ host: 'cn1', domain: 'example.net' });
    expect(
      kinds(said({ ...more, restartTime: undefined } as never, around).capabilities),
    ).not.toContain('long-lived-restart');
  });

  test('all there is, read again; our name is left out before the long form is needed', () => {
    const more: Partial<Neighbour> = {
      families: FAMILY_NAMES.map((family) => ({ family, addPath: 'both' })),
      ...{ restartTime: 60, longLivedTime: 3600 },
    };
    for (const [name, there] of [
      ['cn1', true],
      ['n'.repeat(64), false],
    ] as const) {
      const host = { name, domain: name };
      const open = said(more, { ...AROUND, host });
      expect(kinds(open.capabilities).includes('fqdn')).toBe(there);
      const bytes = openMessage(open);
      // Length of the parameters, and the type of the first: capabilities.
      expect([(bytes[28] as number) < 255, bytes[29]]).toEqual([true, 2]);
      expect(readMessage(bytes, INTERNAL)).toEqual({ kind: 'open', open });
    }
  });
});

describe('a session can stay', () => {
  const text = (more: Partial<Neighbour>) => sessionText(SPEAKER, neighbour('10.0.0.2', more));

  test.each<Partial<Neighbour>>([
    { client: true },
    { allowAsIn: 3 },
    { nextHop: 'self' },
    { encapsulation: ['udp'] },
    { import: { name: 'p', terms: [] } },
    { families: [{ family: 'vpnv4', maxRoutes: 10, sendPaths: 2 }] },
  ])('with %j', (more) => expect(text(more)).toBe(text({})));

  test.each<Partial<Neighbour>>([
    { as: 65001 },
    { port: 1179 },
    { password: 'secret' },
    { localAddress: ip('10.0.0.1') },
    { ttlSecurity: 1 },
    { passive: true },
    { longLivedTime: 60, restartTime: 60 },
    { families: [{ family: 'evpn' }] },
  ])('not with %j', (more) => expect(text(more)).not.toBe(text({})));
});

describe('hops', () => {
  test.each<[string, Partial<Neighbour>, object]>([
    ['within the AS', { as: SPEAKER.as }, { ttl: 255 }],
    ['another AS', { as: 65001 }, { ttl: 1 }],
    ['another AS, some hops away', { as: 65001, ttl: 3 }, { ttl: 3 }],
    ['next to us, and nobody else', { as: 65001, ttlSecurity: 1 }, { ttl: 255, minTtl: 255 }],
    ['four hops at most', { ttlSecurity: 4 }, { ttl: 255, minTtl: 252 }],
  ])('%s', (_, more, hops) => {
    expect(hopsOf(neighbour('10.0.0.2', more), SPEAKER)).toEqual(hops);
  });

  test('an AS that is not known', () => {
    expect(hopsOf({}, SPEAKER)).toEqual({});
  });
});
