import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { checkRoute } from '../../../src/rib/check.ts';
import type { EncapName, Route, RouteFamily } from '../../../src/rib/route.ts';
import { FAMILIES, type Item } from '../../../src/xmpp/families.ts';
import { retractedKey, toItem, toKey, toRoute, updatesOf } from '../../../src/xmpp/routes.ts';
import {
  eventBodies,
  type Items,
  type Publish,
  publishNode,
  readStanza,
  writeMessage,
  writePublish,
} from '../../../src/xmpp/stanza.ts';
import {
  CONTROL,
  EVENTS,
  type PlainRoute,
  PUBLISHES,
  plainEvent,
  plainEvpn,
  plainInet,
  plainPublish,
  tree,
  trees,
  VRF,
} from './messages.ts';

const eventItems = (text: string) => readStanza(tree(text)).content as Items;
const published = (text: string) => (readStanza(tree(text)).content as Publish).item as Item;

describe('events as updates', () => {
  test('ECMP', () => {
    expect(updatesOf(eventItems(EVENTS[0]![1]))).toEqual({
      refused: [],
      updates: [
        {
          type: 'announce',
          route: {
            instance: VRF,
            family: 'inet',
            prefix: '10.96.0.10/32',
            hops: [
              { address: '192.0.2.11', label: 25, encaps: ['udp', 'gre'] },
              { address: '192.0.2.12', label: 31, encaps: ['udp', 'gre'] },
            ],
            localPreference: 200,
            med: 100,
            securityGroups: [8000001],
            sequence: 3,
            originVn: 'default-domain:k8s-default:vn-svc',
          },
        },
      ],
    });
  });

  test('inet6 over IPv4, hashed by source only', () => {
    const { updates } = updatesOf(eventItems(EVENTS[1]![1]));
    expect(updates).toMatchObject([
      { route: { family: 'inet6', prefix: 'fd00::5/128', med: 50, loadBalance: ['source'] } },
    ]);
  });

  test('EVPN: a MAC with address, one without, broadcast, a prefix', () => {
    const { updates, refused } = updatesOf(eventItems(EVENTS[2]![1]));
    expect(refused).toEqual([]);
    const vxlan = ['vxlan'];
    const mpls = ['gre', 'udp'];
    expect(updates.map((u) => u.type === 'announce' && [u.route.prefix, u.route.hops])).toEqual([
      ['02:aa:bb:cc:dd:05,10.32.0.5/32', [{ address: '192.0.2.11', label: 27, encaps: mpls }]],
      ['02:aa:bb:cc:dd:05', [{ address: '192.0.2.11', label: 4097, encaps: vxlan }]],
      [
        'ff:ff:ff:ff:ff:ff',
        [
          { address: '192.0.2.12', label: 31, encaps: mpls },
          { address: '192.0.2.13', label: 32, encaps: mpls },
          { address: '192.0.2.14', label: 33, encaps: mpls },
        ],
      ],
      [
        '00:00:00:00:00:00,10.40.0.0/16',
        [{ address: '192.0.2.11', label: 5001, encaps: vxlan, mac: '02:00:00:00:00:01' }],
      ],
    ]);
  });

  test('retracts name what was announced', () => {
    for (const [, text] of EVENTS.slice(0, 3)) {
      const { family, instance, items } = eventItems(text);
      for (const { id, item } of items) {
        const { hops, ...route } = toRoute(instance, item);
        expect(hops.length).toBeGreaterThan(0);
        const key = retractedKey(instance, family, id);
        expect(route).toMatchObject(key);
        expect(toKey(instance, item)).toEqual(key);
      }
    }
    expect(updatesOf(eventItems(EVENTS[5]![1])).updates).toMatchObject([
      { type: 'withdraw', key: { prefix: '02:aa:bb:cc:dd:05,10.32.0.5/32' } },
      { type: 'withdraw', key: { prefix: '02:aa:bb:cc:dd:05' } },
    ]);
  });

  test('what no route can have is refused by id, the rest counts', () => {
    const good = EVENTS[0]![1];
    const refused = (text: string) => updatesOf(eventItems(text));
    expect(refused(EVENTS[3]![1])).toMatchObject({
      updates: [],
      refused: [
        {
          name: '192.0.2.11:7:255.255.255.255,0.0.0.0',
          reason: expect.stringMatching(/family multicast/),
        },
      ],
    });
    const broken: readonly (readonly [string | RegExp, string])[] = [
      ['>10.96.0.10/32<', '>10.96.0.10/24<'],
      ['>10.96.0.10/32<', '>fd00::/64<'],
      [/<label>\d+</g, '<label>0<'],
      [/<tunnel-encapsulation>\w+</g, '<tunnel-encapsulation>nvgre<'],
      ['>192.0.2.11<', '>192.0.2.300<'],
      ['<mac />', '<mac>02:00</mac>'],
    ];
    for (const [from, to] of broken) {
      expect(refused(good.replace(from, to))).toEqual({
        updates: [],
        refused: [{ name: '10.96.0.10/32', reason: expect.stringMatching(/\w/) }],
      });
    }
    const smet = 'x,y';
    expect(() => retractedKey(VRF, 'evpn', smet)).toThrow(/no route of ours/);
    expect(() =>
      retractedKey(VRF, 'evpn', '02:00:00:00:00:01,0.0.0.0/32,224.0.0.9,0.0.0.0'),
    ).toThrow(/type 6/);
  });

  test('a hop that leads nowhere is left out, the others stay', () => {
    const text = EVENTS[0]![1].replace('<label>31<', '<label>0<');
    expect(updatesOf(eventItems(text)).updates).toMatchObject([
      { route: { hops: [{ label: 25 }] } },
    ]);
  });

  test('no encapsulation named is MPLS over GRE', () => {
    const text = EVENTS[1]![1].replace(/<tunnel-encapsulation-list>.*?<\/tunnel-enc\S+list>/, '');
    expect(updatesOf(eventItems(text)).updates).toMatchObject([
      { route: { hops: [{ encaps: ['gre'] }] } },
    ]);
  });

  test('a VNI beside a label', () => {
    const hop = (change: string, encaps: readonly string[]) => {
      const text = EVENTS[1]![1]
        .replace('<vni>0</vni>', change)
        .replace(
          '<tunnel-encapsulation>udp<',
          `<tunnel-encapsulation>${encaps.join('</tunnel-encapsulation><tunnel-encapsulation>')}<`,
        );
      const [update] = updatesOf(eventItems(text)).updates;
      return update?.type === 'announce' ? update.route.hops[0] : undefined;
    };
    expect(hop('<vni>9</vni>', ['vxlan'])).toMatchObject({ label: 9, encaps: ['vxlan'] });
    expect(hop('<vni>9</vni>', ['vxlan', 'udp'])).toMatchObject({ label: 25, encaps: ['udp'] });
    expect(hop('<vni>25</vni>', ['udp', 'vxlan'])).toMatchObject({
      label: 25,
      encaps: ['udp', 'vxlan'],
    });
  });
});

describe('any route', () => {
  const encaps = fc.constantFrom<readonly EncapName[]>(['gre', 'udp'], ['udp'], ['gre'], ['vxlan']);
  const address = fc.oneof(
    fc.nat(255).map((n) => `192.0.2.${n}`),
    fc.nat(0xfff).map((n) => `2001:db8::${(n + 1).toString(16)}`),
  );
  const mac = fc.nat(0xff).map((n) => `02:00:00:00:00:${n.toString(16).padStart(2, '0')}`);
  const hop = fc
    .tuple(address, fc.integer({ min: 16, max: (1 << 20) - 2 }), encaps, fc.option(mac))
    .map(([a, label, e, m]) => ({
      address: a,
      label,
      encaps: e,
      ...(m !== null && { mac: m }),
    }));
  const inet = fc.nat(255).map((n) => `10.0.${n}.0/24`);
  const inet6 = fc.nat(0xff).map((n) => `fd00:${(n + 1).toString(16)}::/32`);
  const evpn = fc.oneof(
    mac,
    fc.tuple(mac, inet).map(([m, p]) => `${m},${p}`),
    fc.tuple(mac, inet6).map(([m, p]) => `${m},${p}`),
    inet.map((p) => `00:00:00:00:00:00,${p}`),
  );
  const keys = fc.oneof(
    fc.tuple(fc.constant<RouteFamily>('inet'), inet),
    fc.tuple(fc.constant<RouteFamily>('inet6'), inet6),
    fc.tuple(fc.constant<RouteFamily>('evpn'), evpn),
  );
  const route = fc
    .record({
      key: keys,
      hops: fc.array(hop, { minLength: 1, maxLength: 4 }),
      originVn: fc.constantFrom('a:b:c', 'a&<b>"\'', 'ünï'),
      sequence: fc.integer({ min: 1, max: 0xffffffff }),
      localPreference: fc.integer({ min: 1, max: 0xffffffff }),
      med: fc.integer({ min: 1, max: 0xffffffff }),
      securityGroups: fc.array(fc.nat(8_999_999), { minLength: 1, maxLength: 3 }),
    })
    .map(
      ({ key: [family, prefix], ...rest }): Route =>
        checkRoute({ instance: VRF, family, prefix, ...rest }),
    );
  const plain = (r: Route): PlainRoute => ({
    prefix: r.prefix,
    hops: r.hops,
    vn: r.originVn!,
    sequence: r.sequence!,
    groups: r.securityGroups!,
    localPreference: r.localPreference!,
    med: r.med!,
  });
  const plainEntry = (r: Route) =>
    r.family === 'evpn' ? plainEvpn(plain(r)) : plainInet(plain(r), r.family === 'inet' ? 1 : 2);

  test('comes back from an event, and is written as the second encoder writes it', () => {
    fc.assert(
      fc.property(route, (r) => {
        const item = toItem(r, 'event');
        const [body] = eventBodies(r.family, VRF, { items: [{ item }] });
        const text = writeMessage({ from: CONTROL, to: 'compute-2/bgp-peer' }, body!);
        const other = plainEvent(`${FAMILIES[r.family].afi}/${FAMILIES[r.family].safi}/${VRF}`, [
          [FAMILIES[r.family].id(item), plainEntry(r)],
        ]);
        expect(tree(text)).toEqual(tree(other));
        for (const sent of [text, other]) {
          expect(updatesOf(eventItems(sent))).toEqual({
            refused: [],
            updates: [{ type: 'announce', route: r }],
          });
        }
        expect(retractedKey(VRF, r.family, FAMILIES[r.family].id(item))).toEqual({
          instance: r.instance,
          family: r.family,
          prefix: r.prefix,
        });
      }),
      { numRuns: 500 },
    );
  });

  test('comes back from a publish with its first hop', () => {
    fc.assert(
      fc.property(route, (full) => {
        const r: Route = { ...full, hops: full.hops.slice(0, 1) };
        const item = toItem(r, 'publish');
        const head = { from: 'compute-1', to: `${CONTROL}/bgp-peer` };
        const text = writePublish(head, { publish: 'pubsub12', collection: 'c' }, VRF, item, true);
        const other = plainPublish(publishNode(VRF, item), plainEntry(r));
        const [publish] = trees(text);
        expect(publish).toEqual(tree(other));
        expect(toRoute(VRF, published(other))).toEqual(r);
      }),
      { numRuns: 500 },
    );
  });

  test('a broadcast has a next hop when published and an olist when told', () => {
    const r: Route = {
      instance: VRF,
      family: 'evpn',
      prefix: 'ff:ff:ff:ff:ff:ff',
      hops: [{ address: '192.0.2.11', label: 30, encaps: ['gre', 'udp'] }],
      localPreference: 100,
    };
    expect(toItem(r, 'publish').entry).toMatchObject({ hops: [{ label: 30 }], olist: [] });
    expect(toItem(r, 'event').entry).toMatchObject({ hops: [], olist: [{ label: { low: 30 } }] });
    for (const way of ['publish', 'event'] as const)
      expect(toRoute(VRF, toItem(r, way))).toEqual(r);
    expect(publishNode(VRF, toItem(r, 'publish'))).toBe(
      '25/242/ff:ff:ff:ff:ff:ff,0.0.0.0/32,255.255.255.255,0.0.0.0',
    );
  });

  test('a VXLAN route has its VNI as label, as ethernet tag and in its id', () => {
    const item = published(PUBLISHES[5]![1]);
    const again = toItem(toRoute(VRF, item), 'publish');
    expect(again.entry.nlri).toEqual(item.entry.nlri);
    expect(FAMILIES.evpn.id(again)).toBe('4097-02:aa:bb:cc:dd:05,0.0.0.0/32');
  });
});
