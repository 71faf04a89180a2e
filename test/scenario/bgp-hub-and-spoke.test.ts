/**
 * Hub and spokes by import and export targets, each in a cluster of its own: spokes reach the hub and the hub reaches
 * spokes, and no spoke hears of another but by a route that the hub says itself.
 */
import { beforeEach, describe, expect, test } from 'vitest';
import { type Cluster, Clusters } from '../support/federation-lab.ts';

const TO_HUB = '64512:11';
const TO_SPOKES = '64512:12';
const HUB = { name: 'hub', import: [TO_HUB], export: [TO_SPOKES] };
const SPOKE = { name: 'spoke', import: [TO_SPOKES], export: [TO_HUB] };
const [SERVICE, ONE, OTHER] = ['10.1.0.1/32', '10.2.0.1/32', '10.3.0.1/32'];

describe.each([
  ['within one AS', [64512, 64512, 64512]],
  ['between three', [64512, 64513, 64514]],
])('%s', (_name, ases) => {
  let clusters: Clusters;
  let hub: Cluster;
  let one: Cluster;
  let other: Cluster;

  beforeEach(() => {
    clusters = new Clusters();
    [hub, one, other] = ases.map((as) => clusters.add(as)) as [Cluster, Cluster, Cluster];
    clusters.mesh();
    hub.tables.createInstance(HUB);
    one.tables.createInstance(SPOKE);
    other.tables.createInstance(SPOKE);
    hub.say('192.0.2.1', 'hub', SERVICE, 21);
    one.say('192.0.2.2', 'spoke', ONE, 22);
    other.say('192.0.2.3', 'spoke', OTHER, 23);
    clusters.settle();
  });

  const prefixes = (cluster: Cluster, instance: string) => [...cluster.shows(instance).keys()];

  test('the hub has all, a spoke the hub and itself', () => {
    expect(prefixes(hub, 'hub')).toEqual([SERVICE, ONE, OTHER]);
    expect(prefixes(one, 'spoke')).toEqual([SERVICE, ONE]);
    expect(prefixes(other, 'spoke')).toEqual([SERVICE, OTHER]);
    expect(one.shows('spoke').get(SERVICE)).toEqual(['192.0.2.1 21']);
  });

  test('what the hub says of all spokes leads to the hub', () => {
    hub.say('192.0.2.1', 'hub', '10.0.0.0/8', 21);
    clusters.settle(1);
    expect(one.shows('spoke').get('10.0.0.0/8')).toEqual(['192.0.2.1 21']);
  });

  test('a spoke that becomes a full member hears of the others, and is heard', () => {
    other.tables.updateInstance({
      name: 'spoke',
      import: [TO_SPOKES, TO_HUB],
      export: [TO_HUB, TO_SPOKES],
    });
    clusters.settle();
    expect(prefixes(other, 'spoke')).toEqual([SERVICE, ONE, OTHER]);
    expect(prefixes(one, 'spoke')).toEqual([SERVICE, ONE, OTHER]);
    other.tables.updateInstance(SPOKE);
    clusters.settle();
    expect(prefixes(one, 'spoke')).toEqual([SERVICE, ONE]);
    expect(prefixes(other, 'spoke')).toEqual([SERVICE, OTHER]);
  });

  test('a policy of the session lets nothing of a target in', () => {
    const terms = [
      { name: 't', match: { routeTargets: [TO_SPOKES as never] }, action: 'reject' as const },
    ];
    for (const far of [hub, other]) {
      const near = one.speaker.ribPeer(far.address)?.neighbour;
      if (near === undefined) throw new Error('no neighbour');
      one.speaker.setNeighbour({ ...near, import: { name: 'p', terms } });
    }
    clusters.settle();
    expect(prefixes(one, 'spoke')).toEqual([ONE]);
    for (const far of [hub, other]) {
      const near = one.speaker.ribPeer(far.address)?.neighbour;
      if (near === undefined) throw new Error('no neighbour');
      const { import: _, ...without } = near;
      one.speaker.setNeighbour(without);
    }
    clusters.settle();
    expect(prefixes(one, 'spoke')).toEqual([SERVICE, ONE]);
    expect(one.speaker.neighbour(hub.address)?.flaps, 'and no session went down for it').toBe(0);
  });
});
