/** A gateway's tables between its agent and BGP: what BGP is told of the one, and what the one hears of the other. */
import { beforeEach, describe, expect, test } from 'vitest';
import type { BgpPath } from '../../../src/bgp/rib/contract.ts';
import { nlriKey } from '../../../src/bgp/wire/family.ts';
import { Federation } from '../../../src/control/bgp-federation.ts';
import { Gateway, type GatewayOptions } from '../../../src/control/gateway.ts';
import type { PathHop, Route, RouteUpdate } from '../../../src/rib/route.ts';
import { RecordingRib } from '../../support/recording-rib.ts';

const OWN = '192.168.0.204';
const VIP = '101.101.101.252/32';
const RT = '64512:1';
const OTHER = '64512:2';

class House {
  readonly gateway: Gateway;
  readonly rib = new RecordingRib();
  readonly federation: Federation;
  readonly heard: RouteUpdate[] = [];

  constructor(options: Partial<GatewayOptions> = {}) {
    const encaps = ['gre', 'udp'] as const;
    this.gateway = new Gateway({ name: 'gw', addresses: [OWN], encaps, ...options });
    const sender = () => ({ external: false, id: '10.169.25.19' });
    this.federation = new Federation(this.gateway.tables, { as: 64512, sender });
    this.federation.connect(this.rib.rib);
    this.gateway.source.onUpdates((updates) => this.heard.push(...updates));
    this.vrf('internet');
  }

  vrf(name: string, more: object = { import: [RT], export: [RT] }): void {
    this.gateway.source.subscribe(name, 1);
    this.gateway.addVrf({ name, ...more });
    this.flush();
  }

  flush(): void {
    while (this.gateway.tables.flush() > 0);
  }

  say(prefix: string, hop: Partial<PathHop> = {}, instance = 'internet'): void {
    this.gateway.source.publish({
      ...{ instance, family: prefix.includes(':') ? 'inet6' : 'inet', prefix },
      hops: [{ address: OWN, label: 17, encaps: ['udp', 'gre'], ...hop }],
    });
    this.flush();
  }

  /** From a compute node. */
  hear(node: string, label: number, target = RT, tunnels: readonly number[] = [13, 2, 11]): void {
    this.#change(node, [
      {
        ...{ family: 'vpnv4', nlri: { rd: `${node}:1`, prefix: VIP, label }, from: 'rr' },
        nextHop: { address: node },
        attributes: {
          ...{ origin: 'igp', asPath: [], localPref: 100, med: 200 },
          extendedCommunities: [
            { kind: 'route-target', target },
            ...tunnels.map((tunnel) => ({ kind: 'encapsulation' as const, tunnel })),
          ],
        },
      } as never,
    ]);
  }

  gone(node: string): void {
    this.#change(node, []);
  }

  #change(node: string, paths: readonly BgpPath[]): void {
    const key = nlriKey('vpnv4', { rd: `${node}:1`, prefix: VIP, label: 0 } as never);
    this.federation.changed([{ family: 'vpnv4', key, paths }]);
    this.flush();
  }

  /** As it was told last. */
  hops(prefix = VIP, instance = 'internet'): readonly PathHop[] {
    let route: Route | undefined;
    for (const update of this.heard) {
      const key =
        update.type === 'announce' ? update.route : 'key' in update ? update.key : undefined;
      if (key?.prefix !== prefix || key.instance !== instance) continue;
      route = update.type === 'announce' ? update.route : undefined;
    }
    return route?.hops ?? [];
  }

  labels(instance = 'internet'): number[] {
    return this.hops(VIP, instance).map(({ label }) => label);
  }
}

let house: House;
beforeEach(() => {
  house = new House();
});

describe('what BGP is told', () => {
  test('own routes: RD of the underlay address, it as next hop, targets, what it takes', () => {
    house.say('0.0.0.0/0');
    const [route] = [...house.rib.said.values()];
    expect(route).toMatchObject({
      ...{ family: 'vpnv4', nlri: { rd: `${OWN}:1`, prefix: '0.0.0.0/0', label: 17 } },
      nextHop: { address: OWN },
    });
    expect(route?.attributes.extendedCommunities).toEqual([
      { kind: 'route-target', target: RT },
      ...[13, 2, 11].map((tunnel) => ({ kind: 'encapsulation', tunnel })),
    ]);
    expect(house.rib.wanted).toEqual([RT]);
  });

  test('over an IPv6 underlay: its address as next hop, and an RD that stands for it', () => {
    const six = new House({ addresses: ['2001:db8::204'] });
    six.say('0.0.0.0/0', { address: '2001:db8::204' });
    const [route] = [...six.rib.said.values()];
    expect(route?.nextHop.address).toBe('2001:db8::204');
    expect((route?.nlri as { rd: string } | undefined)?.rd).toMatch(/^\d+\.\d+\.\d+\.\d+:1$/);
  });

  test('nothing of a VRF without targets, which hears nothing either', () => {
    house.vrf('bare', {});
    house.say('192.0.2.0/24', {}, 'bare');
    expect([...house.rib.said.values()]).toEqual([]);
    house.hear('10.169.25.20', 16);
    expect(house.labels('bare')).toEqual([]);
    expect(house.labels()).toEqual([16]);
  });

  test('nothing any more of a VRF that is gone', () => {
    house.say('0.0.0.0/0');
    house.gateway.removeVrf('internet');
    house.flush();
    expect([...house.rib.said.values()]).toEqual([]);
    expect(house.rib.wanted).toEqual([]);
  });
});

describe('what its agent hears', () => {
  test('routes with its targets: all that are equally good, in order of tunnel end', () => {
    house.hear('10.169.25.21', 21);
    house.hear('10.169.25.20', 20);
    house.hear('10.169.25.22', 22, OTHER);
    expect(house.hops().map(({ address, label }) => `${address} ${label}`)).toEqual([
      '10.169.25.20 20',
      '10.169.25.21 21',
    ]);
    house.gone('10.169.25.20');
    expect(house.labels()).toEqual([21]);
    house.gone('10.169.25.21');
    expect(house.hops()).toEqual([]);
  });

  test('encapsulations in its own order, whatever order they came in, and those it does not send last', () => {
    const orders = [
      [13, 2, 11],
      [2, 11, 13],
    ];
    for (const tunnels of orders) {
      house.hear('10.169.25.20', 20, RT, tunnels);
      expect(house.hops()[0]?.encaps).toEqual(['gre', 'udp']);
    }
    const sender = new House({ encaps: ['udp'] });
    sender.hear('10.169.25.20', 20, RT, [2, 11, 13]);
    expect(sender.hops()[0]?.encaps).toEqual(['udp', 'gre']);
  });

  test('of unequal ends each as it is', () => {
    house.hear('10.169.25.20', 20, RT, [2]);
    house.hear('10.169.25.21', 999, RT, [13]);
    expect(house.hops()).toMatchObject([
      { label: 20, encaps: ['gre'] },
      { label: 999, encaps: ['udp'] },
    ]);
  });

  test('ends of RIB when the neighbours have said all, and at once from then on', () => {
    const ends = () => house.heard.filter(({ type }) => type === 'end-of-rib');
    house.hear('10.169.25.20', 20);
    expect(ends()).toEqual([]);
    house.gateway.learned();
    expect(ends()).toEqual([{ type: 'end-of-rib', instance: 'internet' }]);
    house.vrf('late');
    expect(ends().at(-1)).toEqual({ type: 'end-of-rib', instance: 'late' });
    house.gateway.learned();
    expect(ends()).toHaveLength(2);
  });
});

describe('with fewer paths allowed', () => {
  const ALL = [20, 21, 22].map((last) => [`10.169.25.${last}`, last] as const);

  test('the same ones, whatever order they came in', () => {
    for (const order of [ALL, ALL.toReversed()]) {
      for (const [most, expected] of [
        [1, [20]],
        [2, [20, 21]],
        [256, [20, 21, 22]],
      ] as const) {
        const some = new House({ maximumPaths: most });
        for (const [node, label] of order) some.hear(node, label);
        expect(some.labels()).toEqual(expected);
      }
    }
  });

  test('the next takes the place of one that goes', () => {
    const one = new House({ maximumPaths: 1 });
    for (const [node, label] of ALL) one.hear(node, label);
    one.gone('10.169.25.20');
    expect(one.labels()).toEqual([21]);
  });

  test('a VRF says so for itself, more or fewer', () => {
    const some = new House({ maximumPaths: 2 });
    some.vrf('one', { import: [RT], maximumPaths: 1 });
    some.vrf('three', { import: [RT], maximumPaths: 3 });
    for (const [node, label] of ALL) some.hear(node, label);
    expect(['internet', 'one', 'three'].map((name) => some.labels(name).length)).toEqual([2, 1, 3]);
  });

  test('its own path comes first, and one that drains last', () => {
    const one = new House({ maximumPaths: 1 });
    one.hear('10.169.25.20', 20);
    one.say(VIP);
    expect(one.hops()).toMatchObject([{ address: OWN, label: 17 }]);
    one.say(VIP, { weight: 0 });
    expect(one.labels()).toEqual([20]);
  });
});
