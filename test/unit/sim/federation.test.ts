/** Two clusters of one simulation, a node and a control node each, with BGP between them; and how that is lost. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { SimulatedCluster } from '../../../src/sim/cluster.ts';

const SPEC = { name: 'net', import: ['64512:1'], export: ['64512:1'] };
const HOLD_MS = 90_000;
const ADDRESSES = ['10.0.0.1', '10.0.0.2'] as const;

let cluster: SimulatedCluster;

beforeEach(() => {
  const [one, two] = ADDRESSES;
  const control = (name: string, own: string, other: string, as: number) => {
    const neighbors = [{ address: other, as }];
    return { name, ipv4: own, bgp: { as, router_id: own, neighbors } };
  };
  cluster = new SimulatedCluster({
    seed: 1n,
    flowEntries: 1024,
    controls: [control('c1', one, two, 64512), control('c2', two, one, 64512)],
  });
  for (const each of cluster.controls.values()) each.createInstance(SPEC);
  const nodes = [1, 2].map((n) => ({
    name: `n${n}`,
    ipv4: `10.0.1.${n}`,
    mac: `52:54:00:00:00:0${n}`,
    controls: [`c${n}`],
  }));
  cluster.addNodes(nodes);
  for (const { agent } of cluster.nodes.values()) agent.addVrf({ name: SPEC.name });
  const gateway = '10.9.0.254';
  for (const n of [1, 2]) {
    const at = { node: `n${n}`, vrf: SPEC.name, gateway, listen: [80] };
    cluster.place({ ...at, name: `p${n}`, ipv4: `10.9.0.${n}`, mac: `02:00:00:00:00:0${n}` });
  }
  cluster.advance(30_000);
});
afterEach(() => cluster.close());

const prefixes = (control: string) =>
  cluster
    .control(control)
    .exchange.routes(SPEC.name)
    .map(({ prefix }) => prefix);
const state = (control: string) => cluster.control(control).neighbours()[0]?.state;
const ALL = ['10.9.0.1/32', '10.9.0.2/32'];

test('a node has sessions with its own control node only, and routes of both', () => {
  for (const { name, source } of cluster.nodes.values()) {
    expect(source.view().map((view) => view.name)).toEqual([name.replace('n', 'c')]);
  }
  expect([prefixes('c1'), prefixes('c2')]).toEqual([ALL, ALL]);
  const from = cluster.placed('p1').tenant;
  const connection = from.connect('10.9.0.2', 80, 1000);
  cluster.settle();
  expect(connection.state).toBe('open');
});

test('a control node that is killed takes its routes along at once, and brings them back', () => {
  cluster.control('c2').kill();
  cluster.settle();
  expect(prefixes('c1')).toEqual(['10.9.0.1/32']);
  cluster.control('c2').start();
  cluster.advance(120_000);
  expect([state('c1'), prefixes('c1'), prefixes('c2')]).toEqual(['established', ALL, ALL]);
});

test('one that is unplugged is missed after the hold time; plugged in, it is back', () => {
  cluster.control('c2').unplug();
  cluster.advance(HOLD_MS / 2);
  expect([state('c1'), prefixes('c1')]).toEqual(['established', ALL]);
  cluster.advance(HOLD_MS);
  expect(state('c1')).not.toBe('established');
  expect(prefixes('c1')).toEqual(['10.9.0.1/32']);
  cluster.control('c2').plug();
  cluster.advance(2 * HOLD_MS);
  expect([state('c1'), prefixes('c1'), prefixes('c2')]).toEqual(['established', ALL, ALL]);
});

test('targets that change while it runs reach the other cluster', () => {
  cluster.control('c1').updateInstance({ ...SPEC, export: ['64512:2'] });
  cluster.settle();
  expect(prefixes('c2')).toEqual(['10.9.0.2/32']);
  cluster.control('c1').updateInstance(SPEC);
  cluster.settle();
  expect(prefixes('c2')).toEqual(ALL);
});
