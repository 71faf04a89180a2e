/**
 * Anycast with packets: one external address from two clusters, two backends each, on one underlay; clients behind a node
 * of a third cluster. Control nodes are those of `vrouter control`, BGP between them runs over streams in memory, and
 * what is counted are answers that came back through the data planes of all nodes.
 */
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { IpText } from '../../src/addr/ip.ts';
import type { BgpSpeaker } from '../../src/bgp/session/speaker.ts';
import { federate } from '../../src/control/bgp-speaker.ts';
import { BgpNetwork } from '../../src/sim/bgp-network.ts';
import { SimulatedCluster } from '../../src/sim/cluster.ts';
import { randomOf } from '../../src/sim/random.ts';
import type { Connection, Tenant } from '../../src/sim/tenant.ts';
import { neighbour } from '../support/bgp-speakers.ts';

const VIP = '203.0.113.10';
const TARGET = '64512:900';
const GATEWAY = '10.47.255.254';
const CONNECTIONS = 2000;
const CLUSTERS = ['east', 'west', 'south'] as const;
type Name = (typeof CLUSTERS)[number];
const controlOf = (name: Name) => `10.169.25.${100 + CLUSTERS.indexOf(name)}` as IpText;
const NODES = [
  { name: 'east-1', cluster: 'east' },
  { name: 'east-2', cluster: 'east' },
  { name: 'west-1', cluster: 'west' },
  { name: 'west-2', cluster: 'west' },
  { name: 'south-1', cluster: 'south' },
] as const;

let stage: SimulatedCluster;
let speakers: Map<Name, BgpSpeaker>;
let client: Tenant;
let port: number;

beforeEach(() => {
  stage = new SimulatedCluster({
    seed: 7n,
    flowEntries: 16_384,
    controls: CLUSTERS.map((name) => ({ name, ipv4: controlOf(name) })),
  });
  stage.addNodes(
    NODES.map(({ name, cluster }, at) => ({
      ...{ name, ipv4: `10.169.25.${20 + at}`, mac: `52:54:00:00:00:${10 + at}` },
      controls: [cluster],
    })),
  );
  for (const cluster of ['east', 'west'] as const) {
    const control = stage.control(cluster);
    control.createInstance({ name: 'pods' });
    control.createInstance({ name: 'public', import: [TARGET], export: [TARGET] });
    // Answers of pods go out by the address that was asked.
    control.connectInstances('pods', 'public');
  }
  stage.control('south').createInstance({ name: 'clients', import: [TARGET], export: [TARGET] });
  const network = new BgpNetwork();
  const { clock } = stage;
  speakers = new Map(
    CLUSTERS.map((name, at) => {
      const own = { as: 64512 + at, id: controlOf(name) };
      const { speaker } = federate(stage.control(name).exchange.tables, own, {
        transport: network.transport(own.id, clock),
        clock,
        random: randomOf(BigInt(at)),
        later: (run) => void clock.after(0, run),
      });
      return [name, speaker];
    }),
  );
  for (const [a, one] of speakers) {
    for (const b of CLUSTERS) {
      if (a === b) continue;
      const families = (['vpnv4', 'rtc'] as const).map((family) => ({ family }));
      one.setNeighbour(neighbour(controlOf(b), { as: 64512 + CLUSTERS.indexOf(b), families }));
    }
  }
  for (const [at, { name, cluster }] of NODES.entries()) {
    const { agent } = stage.node(name);
    if (cluster === 'south') {
      agent.addVrf({ name: 'clients' });
      continue;
    }
    for (const vrf of ['pods', 'public']) agent.addVrf({ name: vrf });
    const pod = { node: name, ipv4: `10.47.255.${10 + at}`, mac: `02:ed:00:00:00:${10 + at}` };
    stage.place({
      ...{ ...pod, name: `${name}-web`, vrf: 'pods', gateway: GATEWAY, listen: [80] },
      floatingIps: [
        { address: VIP, vrf: 'public', ports: [{ protocol: 'tcp', port: 80, toPort: 80 }] },
      ],
    });
  }
  client = stage.place({
    ...{ name: 'client', node: 'south-1', ipv4: '10.60.0.2', mac: '02:ed:00:00:00:99' },
    ...{ vrf: 'clients', gateway: '10.60.0.1' },
  }).tenant;
  port = 32_768;
  stage.advance(30_000);
});

afterEach(() => {
  for (const speaker of speakers.values()) speaker.close();
  stage.close();
});

/** Opened, and one request each. */
function load(count: number): Connection[] {
  const made: Connection[] = [];
  for (let at = 0; at < count; at += 100) {
    const batch = Array.from({ length: Math.min(100, count - at) }, () =>
      client.connect(VIP, 80, port++),
    );
    stage.settle();
    for (const connection of batch) client.request(connection);
    stage.settle();
    made.push(...batch);
  }
  return made;
}

/** By the cluster of whoever answered last. */
function answersBy(connections: readonly Connection[]): Record<string, number> {
  const count: Record<string, number> = {};
  for (const { answers } of connections) {
    const cluster = answers.at(-1)?.backend.split('-')[0] ?? 'nobody';
    count[cluster] = (count[cluster] ?? 0) + 1;
  }
  return count;
}

test('two clusters share it, and where one goes the connections of the other do not notice', () => {
  const connections = load(CONNECTIONS);
  const { east = 0, west = 0, ...others } = answersBy(connections);
  expect(others).toEqual({});
  expect(east + west).toBe(CONNECTIONS);
  for (const share of [east, west]) {
    expect(share / CONNECTIONS).toBeGreaterThan(0.45);
    expect(share / CONNECTIONS).toBeLessThan(0.55);
  }
  expect(client.heard, 'answers come from the address that was asked').toEqual(
    new Set([`${VIP}:80`]),
  );

  for (const name of ['east-1', 'east-2']) stage.remove(`${name}-web`);
  stage.advance(50);
  expect(answersBy(load(200)), 'new ones, 50 ms later').toEqual({ west: 200 });
  const survivors = connections.filter(({ answers }) => answers[0]?.backend.startsWith('west'));
  for (const connection of survivors) client.request(connection);
  stage.settle();
  expect(survivors.filter(({ answers }) => answers[1]?.backend !== answers[0]?.backend)).toEqual(
    [],
  );
  expect(survivors.every(({ state }) => state === 'open')).toBe(true);
});

test('a session that is lost between control nodes takes its cluster along', () => {
  speakers.get('south')?.shutdown(controlOf('east'));
  stage.advance(1000);
  // West still says what east says, by an AS more: that way is longer, and not used beside west's own.
  expect(answersBy(load(100))).toEqual({ west: 100 });
  speakers.get('south')?.enable(controlOf('east'));
  stage.advance(30_000);
  const { east = 0 } = answersBy(load(400));
  expect(east).toBeGreaterThan(100);
});
