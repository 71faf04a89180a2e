/** The bridge alone: what the RIB is told, and what tables make of what it says. */
import { beforeEach, describe, expect, test } from 'vitest';
import type { BgpPath } from '../../../src/bgp/rib/contract.ts';
import { nlriKey } from '../../../src/bgp/wire/family.ts';
import { BGP_INSTANCE, BGP_PEER, bestOf, Federation } from '../../../src/control/bgp-federation.ts';
import type { Sender } from '../../../src/control/bgp-paths.ts';
import { wholeDigest } from '../../../src/control/digest.ts';
import type { Said } from '../../../src/control/path.ts';
import { type Peer, RouteTables } from '../../../src/control/tables.ts';
import { RecordingRib } from '../../support/recording-rib.ts';

const P = '10.0.0.1/32';

/** A control node with its agents, as far as routes go. */
class House {
  readonly tables = new RouteTables();
  readonly rib = new RecordingRib();
  readonly federation = new Federation(this.tables, {
    as: 64512,
    sender: () => this.sender,
  });
  sender: Sender = { external: false, id: '192.0.2.250' };
  readonly #peers = new Map<string, Peer>();

  constructor() {
    this.federation.connect(this.rib.rib);
    this.tables.createInstance({ name: 'red', import: ['1:1'], export: ['1:1'] });
    this.flush();
  }

  agent(address: string): Peer {
    const known = this.#peers.get(address);
    if (known?.attached === true) return known;
    const sink = { blocked: () => false, change() {}, complete() {}, flushed: () => 0 };
    const peer = this.tables.attach({ name: `agent-${address}`, address, waits: true }, sink);
    this.#peers.set(address, peer);
    return peer;
  }

  say(address: string, instance = 'red', more: Partial<Said> = {}): void {
    this.tables.publish(this.agent(address), instance, {
      ...{ family: 'inet', prefix: P, rd: `${address}:1`, attributes: {} },
      hops: [{ address, label: 25, encaps: ['udp'] }],
      ...more,
    });
  }

  flush(): string[] {
    this.tables.flush();
    return this.rib.take();
  }

  /** What `red` sends packets to. */
  hops(instance = 'red', prefix = P): string[] {
    const found = this.tables.entries(instance).find((e) => e.prefix.prefix === prefix);
    return (found?.paths ?? []).flatMap((p) => p.hops.map((h) => `${h.address} ${h.label}`)).sort();
  }

  hear(...paths: BgpPath[]): void {
    const { family, nlri } = paths[0] as BgpPath;
    this.federation.changed([{ family, key: nlriKey(family, nlri as never), paths }]);
    this.tables.flush();
  }

  gone({ family, nlri }: BgpPath): void {
    this.federation.changed([{ family, key: nlriKey(family, nlri as never), paths: [] }]);
    this.tables.flush();
  }
}

function vpn(rd: string, target = '1:1', more: Partial<BgpPath> = {}, localPref?: number): BgpPath {
  return {
    family: 'vpnv4',
    nlri: { rd, prefix: P, label: 70 },
    nextHop: { address: rd.slice(0, rd.indexOf(':')) },
    attributes: {
      origin: 'igp',
      asPath: [],
      ...(localPref !== undefined && { localPref }),
      med: 200,
      extendedCommunities: [{ kind: 'route-target', target }],
    },
    from: 'far',
    ...more,
  } as BgpPath;
}

let house: House;
beforeEach(() => {
  house = new House();
});

describe('out', () => {
  test('one route for each agent, under its RD, while it is there', () => {
    house.say('192.0.2.1');
    house.say('192.0.2.2');
    expect(house.flush().sort()).toEqual([`+vpnv4 192.0.2.1:1 ${P}`, `+vpnv4 192.0.2.2:1 ${P}`]);
    house.say('192.0.2.1');
    expect(house.flush(), 'the same again').toEqual([]);
    house.tables.markStale(house.agent('192.0.2.1'));
    house.say('192.0.2.1');
    expect(house.flush(), 'its session was lost, and is back').toEqual([]);
    house.tables.detach(house.agent('192.0.2.1'));
    expect(house.flush()).toEqual([`-vpnv4 192.0.2.1:1 ${P}`]);
    expect(house.federation.counts()).toMatchObject({ originated: 1, learned: 0 });
  });

  test('targets are those of the instance as it is, and those of the path', () => {
    const targets = () =>
      [...house.rib.said.values()].map(({ attributes }) =>
        (attributes.extendedCommunities ?? []).flatMap((c) =>
          c.kind === 'route-target' ? [c.target] : [],
        ),
      );
    house.say('192.0.2.1', 'red', { attributes: { routeTargets: ['9:9'] } });
    house.flush();
    expect(targets()).toEqual([['1:1', '9:9']]);
    house.tables.updateInstance({ name: 'red', import: [], export: ['1:2'] });
    house.flush();
    expect(targets()).toEqual([['1:2', '9:9']]);
    house.say('192.0.2.1');
    house.tables.updateInstance({ name: 'red', import: [], export: [] });
    expect(house.flush(), 'nobody would take it').toEqual([`-vpnv4 192.0.2.1:1 ${P}`]);
  });

  test('what is there before BGP is told, too', () => {
    const late = new RouteTables();
    late.createInstance({ name: 'red', import: ['1:1'], export: ['1:1'] });
    const sink = { blocked: () => false, change() {}, complete() {}, flushed: () => 0 };
    const peer = late.attach({ name: 'a', waits: true }, sink);
    const hops = [{ address: '192.0.2.1', label: 25, encaps: ['udp'] }];
    late.publish(peer, 'red', {
      family: 'inet',
      prefix: P,
      rd: '192.0.2.1:1',
      hops,
      attributes: {},
    });
    late.flush();
    const rib = new RecordingRib();
    new Federation(late, { as: 1, sender: () => undefined }).connect(rib.rib);
    late.flush();
    expect(rib.calls).toEqual([`+vpnv4 192.0.2.1:1 ${P}`]);
    expect(rib.wanted).toEqual(['1:1']);
  });

  test('beaten at home it stays at home', () => {
    house.say('192.0.2.1');
    house.tables.createInstance({ name: 'blue', import: [], export: ['1:1'] });
    house.say('192.0.2.2', 'blue', { attributes: { localPreference: 200 } });
    expect(house.flush(), 'in red there is a better one, taken in').toEqual([
      `+vpnv4 192.0.2.2:1 ${P}`,
    ]);
    house.say('192.0.2.1', 'red', { attributes: { localPreference: 200 } });
    expect(house.flush(), 'as good as it').toEqual([`+vpnv4 192.0.2.1:1 ${P}`]);
  });

  test('of two under one RD the better one has the name', () => {
    house.say('192.0.2.1', 'red', { rd: '192.0.2.9:1', attributes: { localPreference: 50 } });
    house.tables.createInstance({ name: 'blue', import: [], export: ['2:2'] });
    house.say('192.0.2.2', 'blue', { rd: '192.0.2.9:1' });
    expect(house.flush()).toEqual([`+vpnv4 192.0.2.9:1 ${P}`]);
    const told = () => [...house.rib.said.values()].map(({ nextHop }) => nextHop.address);
    expect(told()).toEqual(['192.0.2.2']);
    house.tables.detach(house.agent('192.0.2.2'));
    house.flush();
    expect(told()).toEqual(['192.0.2.1']);
  });

  test('what a route cannot say is left out, counted, and told once it can be', () => {
    house.say('192.0.2.1', 'red', { hops: [{ address: '192.0.2.1', label: 0, encaps: ['udp'] }] });
    expect(house.flush()).toEqual([]);
    expect(house.federation.counts().leftOut.get('no-label')).toBe(1);
    house.say('192.0.2.1');
    expect(house.flush()).toEqual([`+vpnv4 192.0.2.1:1 ${P}`]);
    expect(house.federation.counts().leftOut.get('no-label')).toBe(0);
  });

  test('from vpnv4 to a prefix route in VXLAN: the old name is withdrawn', () => {
    house.say('192.0.2.1');
    house.flush();
    const vxlan = { label: 70, vni: 70, encaps: ['vxlan'], mac: '02:00:00:00:00:01' };
    house.say('192.0.2.1', 'red', { hops: [{ address: '192.0.2.1', ...vxlan }] });
    expect(house.flush()).toEqual([`-vpnv4 192.0.2.1:1 ${P}`, `+evpn 5 192.0.2.1:1 0 ${P}`]);
  });

  test('wanted: what any configured instance takes in, as it changes', () => {
    expect(house.rib.wanted).toEqual(['1:1']);
    house.tables.createInstance({ name: 'blue', import: ['1:1', '2:2'], export: [] });
    house.flush();
    expect(house.rib.wanted).toEqual(['1:1', '2:2']);
    house.tables.deleteInstance('blue');
    house.flush();
    expect(house.rib.wanted).toEqual(['1:1']);
    house.tables.createInstance({ name: 'green', import: [], export: ['3:3'] });
    house.tables.connect('red', 'green');
    house.flush();
    expect(house.rib.wanted).toEqual(['1:1', '3:3']);
  });
});

describe('in', () => {
  test('a route goes where its targets lead, beside what agents say, and never back', () => {
    house.say('192.0.2.1', 'red', { attributes: { med: 200 } });
    house.flush();
    house.hear(vpn('198.51.100.1:1'));
    expect(house.hops()).toEqual(['192.0.2.1 25', '198.51.100.1 70']);
    expect(house.rib.take()).toEqual([]);
    house.gone(vpn('198.51.100.1:1'));
    expect(house.hops()).toEqual(['192.0.2.1 25']);
    expect(house.federation.counts()).toMatchObject({ learned: 0 });
    expect(house.tables.entries(BGP_INSTANCE)).toEqual([]);
  });

  test('the same prefix of two networks: neither beats the other', () => {
    house.tables.createInstance({ name: 'blue', import: ['2:2'], export: ['2:2'] });
    house.hear(vpn('198.51.100.1:1', '1:1', {}, 50));
    house.hear(vpn('198.51.100.2:1', '2:2', {}, 300));
    expect([house.hops('red'), house.hops('blue')]).toEqual([
      ['198.51.100.1 70'],
      ['198.51.100.2 70'],
    ]);
  });

  test('a target that an instance takes in later', () => {
    house.hear(vpn('198.51.100.1:1', '5:5'));
    expect(house.hops()).toEqual([]);
    house.tables.updateInstance({ name: 'red', import: ['5:5'], export: ['1:1'] });
    house.flush();
    expect(house.hops()).toEqual(['198.51.100.1 70']);
  });

  test('it beats an agent by preference, whose route is then no longer told', () => {
    house.say('192.0.2.1');
    house.flush();
    house.hear(vpn('198.51.100.1:1', '1:1', {}, 300));
    expect(house.hops()).toEqual(['198.51.100.1 70']);
    expect(house.rib.take()).toEqual([`-vpnv4 192.0.2.1:1 ${P}`]);
    house.gone(vpn('198.51.100.1:1'));
    expect(house.rib.take()).toEqual([`+vpnv4 192.0.2.1:1 ${P}`]);
  });

  test('what cannot be used is kept, shown with its reason, and used by nobody', () => {
    const lost = vpn('198.51.100.1:1', '1:1', {
      nextHop: { address: '0.0.0.0' },
    } as Partial<BgpPath>);
    house.hear(lost);
    expect(house.hops()).toEqual([]);
    expect(house.federation.counts()).toMatchObject({ learned: 1, infeasible: 1 });
    const [row] = house.tables.prefixes(BGP_INSTANCE) ?? [];
    const paths = row === undefined ? [] : house.tables.paths(row.prefix, BGP_INSTANCE);
    expect(paths.map(({ infeasible, peer }) => [infeasible, peer])).toEqual([
      ['no-next-hop', BGP_PEER],
    ]);
    house.hear(vpn('198.51.100.1:1'));
    expect(house.federation.counts()).toMatchObject({ learned: 1, infeasible: 0 });
  });

  test('nobody who subscribes to where they are shown is told of them', () => {
    const told: number[] = [];
    const sink = {
      blocked: () => false,
      change: (c: { announced: readonly unknown[] }) => told.push(c.announced.length),
      complete() {},
      flushed: () => 0,
    };
    const peer = house.tables.attach({ name: 'curious', waits: false }, sink);
    house.tables.subscribe(peer, BGP_INSTANCE, 1);
    house.hear(vpn('198.51.100.1:1'));
    expect(told).toEqual([]);
  });

  test('its neighbour is configured to take other tunnels: what it has said is read anew', () => {
    const route = vpn('198.51.100.1:1');
    const encaps = () => house.tables.entries('red')[0]?.paths[0]?.hops[0]?.encaps;
    house.hear(route);
    expect(encaps()).toEqual(['gre', 'udp']);
    house.rib.heard.set(`198.51.100.1:1 ${P}`, [route]);
    house.sender = { ...house.sender, encapsulation: ['udp'] };
    house.federation.readAgain(bestOf(house.rib.rib));
    house.flush();
    expect(encaps()).toEqual(['udp']);
  });

  test('where they are shown may be configured: nothing of theirs changes by that', () => {
    house.tables.createInstance({ name: BGP_INSTANCE, import: ['1:1', '2:2'], export: ['7:7'] });
    house.tables.createInstance({ name: 'green', import: ['7:7'], export: [] });
    house.tables.createInstance({ name: 'blue', import: ['2:2'], export: [] });
    house.say('192.0.2.1', 'red', { attributes: { localPreference: 500 } });
    house.hear(vpn('198.51.100.2:1', '2:2'));
    expect(house.hops('blue')).toEqual(['198.51.100.2 70']);
    expect(house.hops('green')).toEqual([]);
    expect(house.tables.entries('blue')[0]?.targets).toBe('2:2');
  });

  test('two routes of one RD that differ by tag are two paths', () => {
    const mac = (tag: number): BgpPath => ({
      ...vpn('198.51.100.1:1'),
      family: 'evpn',
      nlri: {
        ...{ type: 'mac-ip', rd: '198.51.100.1:1', esi: '0'.repeat(20), tag },
        ...{ mac: '02:00:00:00:00:01', label: 100 + tag },
      } as BgpPath['nlri'],
    });
    house.hear(mac(0));
    house.hear(mac(5));
    expect(house.hops('red', '02:00:00:00:00:01')).toEqual([
      '198.51.100.1 100',
      '198.51.100.1 105',
    ]);
    house.gone(mac(0));
    expect(house.hops('red', '02:00:00:00:00:01')).toEqual(['198.51.100.1 105']);
  });
});

describe('two control nodes of one cluster, and BGP between them', () => {
  /** What this house tells, as the other one hears it. */
  const told = (of: House, rd: string): BgpPath => {
    const route = of.rib.said.get(`vpnv4 ${rd} ${P}`);
    if (route === undefined) throw new Error(`${rd} is not told`);
    return { ...route, from: 'other' };
  };

  test('an agent of ours that comes back is not there twice, and counts as ours', () => {
    const other = new House();
    for (const each of [house, other]) {
      each.say('192.0.2.1');
      each.flush();
    }
    house.hear(told(other, '192.0.2.1:1'));
    const [entry] = house.tables.entries('red');
    expect(entry?.paths.map(({ peer }) => peer)).toEqual(['agent-192.0.2.1']);
    expect(house.rib.take(), 'it is still told').toEqual([]);
  });

  test('what the other has heard before us does not push our own aside', () => {
    const other = new House();
    house.say('192.0.2.1');
    house.flush();
    other.say('192.0.2.1', 'red', { attributes: { localPreference: 300 } });
    other.flush();
    house.hear(told(other, '192.0.2.1:1'));
    expect(house.tables.entries('red')[0]?.paths[0]?.attributes.localPreference).toBeUndefined();
    expect(house.rib.take()).toEqual([]);
  });

  test('its session to us is lost: it goes on by BGP, and comes back', () => {
    const other = new House();
    for (const each of [house, other]) {
      each.say('192.0.2.1');
      each.flush();
    }
    const heard = told(other, '192.0.2.1:1');
    house.hear(heard);
    house.tables.detach(house.agent('192.0.2.1'));
    expect(house.flush()).toEqual([`-vpnv4 192.0.2.1:1 ${P}`]);
    expect(house.hops()).toEqual(['192.0.2.1 25']);
    expect(house.tables.entries('red')[0]?.paths[0]?.peer).toBe(BGP_PEER);
    house.say('192.0.2.1');
    expect(house.flush()).toEqual([`+vpnv4 192.0.2.1:1 ${P}`]);
    expect(house.tables.entries('red')[0]?.paths.map(({ peer }) => peer)).toEqual([
      'agent-192.0.2.1',
    ]);
  });

  test('where the RIB has ours and theirs, theirs is not heard', () => {
    house.hear({ ...vpn('192.0.2.1:1'), from: 'other' });
    const { from: _, ...ours } = vpn('192.0.2.1:1');
    house.hear(ours, { ...vpn('192.0.2.1:1'), from: 'other' });
    expect(house.federation.counts().learned).toBe(0);
  });

  test('the same by different ways is in step; another label is not', () => {
    const other = new House();
    for (const each of [house, other]) each.say('192.0.2.1');
    for (const each of [house, other]) each.flush();
    const far = vpn('198.51.100.1:1');
    house.hear({ ...far, from: 'gateway' });
    other.hear({
      ...far,
      from: 'cent111',
      attributes: {
        ...far.attributes,
        localPref: 100,
        originatorId: '203.0.113.9',
      } as BgpPath['attributes'],
    });
    expect(wholeDigest(house.tables)).toBe(wholeDigest(other.tables));
    other.hear({ ...far, nlri: { ...far.nlri, label: 71 } as BgpPath['nlri'] });
    expect(wholeDigest(house.tables)).not.toBe(wholeDigest(other.tables));
  });
});
