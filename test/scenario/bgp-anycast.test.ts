/**
 * The same external address from two clusters, and its clients in a third: with real sessions over streams in memory,
 * within an AS and between ASes.
 */
import { beforeEach, describe, expect, test } from 'vitest';
import { BGP_PEER } from '../../src/control/bgp-federation.ts';
import { wholeDigest } from '../../src/control/digest.ts';
import { type Cluster, Clusters } from '../support/federation-lab.ts';

const VIP = '203.0.113.10/32';
const TARGET = '64512:900';
const PUBLIC = 'dom:proj:public:public';
const CLIENTS = 'dom:proj:clients:clients';
/** Two a cluster. */
const BACKENDS = [
  ['192.0.2.11', '192.0.2.12'],
  ['192.0.2.21', '192.0.2.22'],
] as const;
const CLIENT = '192.0.2.31';
const ALL = BACKENDS.flat().map((address) => `${address} 25`);

describe.each([
  ['within one AS', [64512, 64512, 64512]],
  ['between three', [64512, 64513, 4_200_000_000]],
])('%s', (_name, ases) => {
  let clusters: Clusters;
  let a: Cluster;
  let b: Cluster;
  let c: Cluster;

  beforeEach(() => {
    clusters = new Clusters();
    [a, b, c] = ases.map((as) => clusters.add(as)) as [Cluster, Cluster, Cluster];
    clusters.mesh();
    for (const [at, cluster] of [a, b].entries()) {
      cluster.tables.createInstance({ name: PUBLIC, import: [TARGET], export: [TARGET] });
      for (const backend of BACKENDS[at] ?? []) cluster.say(backend, PUBLIC, VIP, 25);
    }
    c.tables.createInstance({ name: CLIENTS, import: ['64512:31'], export: ['64512:31'] });
    c.subscribe(CLIENT, CLIENTS);
    clusters.settle();
  });

  const take = () => {
    c.tables.updateInstance({ name: CLIENTS, import: ['64512:31', TARGET], export: ['64512:31'] });
    clusters.settle();
  };

  test('nobody is told what he does not take in; who takes it in at run time has all four backends', () => {
    expect(c.told(CLIENT, CLIENTS, VIP)).toEqual([]);
    expect(c.speaker.neighbour(a.address)?.state).toBe('established');
    // By targets it is not even sent; between ASes who is in between wants what his neighbours want.
    expect(c.federation.counts().learned).toBe(ases[0] === ases[1] ? 0 : 4);
    take();
    expect(c.told(CLIENT, CLIENTS, VIP)).toEqual(ALL);
    c.tables.updateInstance({ name: CLIENTS, import: ['64512:31'], export: ['64512:31'] });
    clusters.settle();
    expect(c.told(CLIENT, CLIENTS, VIP)).toEqual([]);
  });

  test('a backend that goes, a cluster that goes, and both are back', () => {
    take();
    a.lose(BACKENDS[0][0]);
    clusters.settle(1);
    expect(c.told(CLIENT, CLIENTS, VIP)).toEqual(ALL.slice(1));
    for (const backend of BACKENDS[1]) b.unsay(backend, PUBLIC, VIP);
    clusters.settle(1);
    expect(c.told(CLIENT, CLIENTS, VIP)).toEqual([`${BACKENDS[0][1]} 25`]);
    a.say(BACKENDS[0][0], PUBLIC, VIP, 25);
    for (const backend of BACKENDS[1]) b.say(backend, PUBLIC, VIP, 26);
    clusters.settle(1);
    expect(c.told(CLIENT, CLIENTS, VIP)).toEqual(
      [...BACKENDS[0].map((x) => `${x} 25`), ...BACKENDS[1].map((x) => `${x} 26`)].sort(),
    );
  });

  test('a session that is cut takes its routes along, and brings them back', () => {
    take();
    c.speaker.shutdown(b.address);
    clusters.settle(1);
    expect(c.told(CLIENT, CLIENTS, VIP)).toEqual(ALL.slice(0, 2));
    c.speaker.enable(b.address);
    clusters.settle(30);
    expect(c.told(CLIENT, CLIENTS, VIP)).toEqual(ALL);
  });

  test('the clusters that have it see each other, and neither says on what the other has said', () => {
    const own = (cluster: Cluster) =>
      cluster.tables.entries(PUBLIC)[0]?.paths.map((p) => p.peer) ?? [];
    const equal = ases[0] === ases[1];
    // To another AS the way is longer: what one has oneself is better.
    expect(own(a).filter((peer) => peer === BGP_PEER)).toHaveLength(equal ? 2 : 0);
    expect(a.federation.counts()).toMatchObject({ originated: 2, learned: 2 });
    expect(b.federation.counts()).toMatchObject({ originated: 2, learned: 2 });
    const told = [...a.speaker.rib.advertised(a.speaker.ribPeer(c.address) as never, 'vpnv4')];
    take();
    const after = [...a.speaker.rib.advertised(a.speaker.ribPeer(c.address) as never, 'vpnv4')];
    expect(told).toHaveLength(equal ? 0 : 4);
    // Within an AS nobody says on what he has from there; between ASes the routers in between do.
    expect(after.length).toBe(equal ? 2 : 4);
    expect(after.every(({ nextHop }) => nextHop.address.startsWith('192.0.2.'))).toBe(true);
  });

  test('what agents said of preference and mobility counts there, too', () => {
    take();
    b.say(BACKENDS[1][0], PUBLIC, VIP, 25, { sequence: 1 });
    clusters.settle(1);
    expect(c.told(CLIENT, CLIENTS, VIP), 'a higher sequence takes all').toEqual([
      `${BACKENDS[1][0]} 25`,
    ]);
    b.say(BACKENDS[1][0], PUBLIC, VIP, 25, { localPreference: 200 });
    clusters.settle(1);
    // To another AS the preference is not told, and its MED stands for it.
    expect(c.told(CLIENT, CLIENTS, VIP)).toEqual([`${BACKENDS[1][0]} 25`]);
  });
});

describe('two control nodes of one cluster, with BGP between them and to a third', () => {
  let clusters: Clusters;
  let a1: Cluster;
  let a2: Cluster;
  let far: Cluster;
  const [ONE, TWO] = BACKENDS[0];

  beforeEach(() => {
    clusters = new Clusters();
    [a1, a2] = [clusters.add(64512), clusters.add(64512)];
    far = clusters.add(64513);
    clusters.mesh();
    for (const cluster of [a1, a2]) {
      cluster.tables.createInstance({ name: PUBLIC, import: [TARGET], export: [TARGET] });
      for (const backend of BACKENDS[0]) cluster.say(backend, PUBLIC, VIP, 25);
    }
    far.tables.createInstance({ name: CLIENTS, import: [TARGET], export: [TARGET] });
    far.say('192.0.2.99', CLIENTS, '203.0.113.99/32', 40);
    clusters.settle();
  });

  test('each has its agents from themselves, once; the far one has each once', () => {
    for (const cluster of [a1, a2]) {
      const entry = cluster.tables.entries(PUBLIC).find(({ prefix }) => prefix.prefix === VIP);
      expect(entry?.paths.map(({ peer }) => peer)).toEqual([`agent-${ONE}`, `agent-${TWO}`]);
    }
    const [entry] = far.tables.entries(CLIENTS);
    expect(entry?.paths.flatMap((path) => path.hops)).toHaveLength(2);
    expect(wholeDigest(a1.tables), 'and they are in step').toBe(wholeDigest(a2.tables));
  });

  test('an agent that one of them loses goes on by BGP, there and at the far one', () => {
    a1.lose(ONE);
    clusters.settle(1);
    expect(a1.shows(PUBLIC).get(VIP)).toEqual([`${ONE} 25`, `${TWO} 25`]);
    const entry = a1.tables.entries(PUBLIC).find(({ prefix }) => prefix.prefix === VIP);
    expect(entry?.paths.map(({ peer }) => peer).sort()).toEqual([`agent-${TWO}`, BGP_PEER]);
    expect(far.shows(CLIENTS).get(VIP)).toEqual([`${ONE} 25`, `${TWO} 25`]);
    expect(wholeDigest(a1.tables), 'one has it by the other').not.toBe(wholeDigest(a2.tables));
    a2.lose(ONE);
    clusters.settle(1);
    expect(a1.shows(PUBLIC).get(VIP)).toEqual([`${TWO} 25`]);
    expect(far.shows(CLIENTS).get(VIP)).toEqual([`${TWO} 25`]);
    for (const cluster of [a2, a1]) cluster.say(ONE, PUBLIC, VIP, 27);
    clusters.settle(1);
    expect(far.shows(CLIENTS).get(VIP)).toEqual([`${ONE} 27`, `${TWO} 25`]);
    expect(wholeDigest(a1.tables)).toBe(wholeDigest(a2.tables));
  });

  test('while an agent has told one of them and not yet the other, nothing goes back and forth', () => {
    const updates = () => a1.speaker.neighbour(a2.address)?.messagesOut.update ?? 0;
    a2.say(ONE, PUBLIC, VIP, 25, { localPreference: 300 });
    clusters.settle(5);
    const before = updates();
    expect(
      a1.tables.entries(PUBLIC).find(({ prefix }) => prefix.prefix === VIP)?.paths[0]?.attributes
        .localPreference,
    ).toBeUndefined();
    clusters.settle(60);
    expect(updates(), 'in a minute').toBe(before);
    a1.say(ONE, PUBLIC, VIP, 25, { localPreference: 300 });
    clusters.settle(5);
    expect(a1.shows(PUBLIC).get(VIP)).toEqual([`${ONE} 25`]);
    expect(wholeDigest(a1.tables)).toBe(wholeDigest(a2.tables));
  });
});
