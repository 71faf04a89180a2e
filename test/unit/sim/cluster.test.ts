/** The stage itself: time, order, and that routes and frames really move in turns. */
import { afterEach, describe, expect, it } from 'vitest';
import { FABRIC_WIRE, type SeenFrame, SimulatedCluster } from '../../../src/sim/cluster.ts';

const NET = 'net';
const NODES = [
  { name: 'one', ipv4: '10.169.25.20', mac: '52:54:00:00:00:01' },
  { name: 'two', ipv4: '10.169.25.21', mac: '52:54:00:00:00:02' },
];
const POD = { vrf: NET, gateway: '10.47.255.254' };
const CLIENT = {
  ...POD,
  name: 'client',
  node: 'one',
  mac: '02:00:00:00:00:01',
  ipv4: '10.47.255.1',
};
const SERVER = {
  ...POD,
  name: 'server',
  node: 'two',
  mac: '02:00:00:00:00:02',
  ipv4: '10.47.255.2',
  listen: [80],
};

const clusters: SimulatedCluster[] = [];
afterEach(() => {
  for (const cluster of clusters.splice(0)) cluster.close();
});

function cluster(seed = 1n): SimulatedCluster {
  const made = new SimulatedCluster({ seed, flowEntries: 1024 });
  clusters.push(made);
  made.createInstance({ name: NET });
  made.addNodes(NODES);
  for (const node of made.nodes.values()) node.agent.addVrf({ name: NET });
  return made;
}

function running(seed = 1n) {
  const made = cluster(seed);
  const client = made.place(CLIENT).tenant;
  const server = made.place(SERVER).tenant;
  made.settle();
  return { made, client, server };
}

describe('simulated cluster', () => {
  it('carries a connection from node to node, over the fabric', () => {
    const { made, client, server } = running();
    const seen: SeenFrame[] = [];
    const stop = made.tap((frame) => seen.push(frame));
    const connection = client.connect(SERVER.ipv4, 80, 1000);
    made.settle();
    client.request(connection);
    expect(made.settle()).toBeGreaterThan(0);
    expect(connection.answers).toEqual([{ backend: 'server', port: 80 }]);
    expect([client.bad, server.bad]).toEqual([0, 0]);
    const fabric = seen.filter((s) => s.wire === FABRIC_WIRE);
    expect(fabric.map((s) => `${s.from} ${s.to}`)).toContain('two one');
    expect(seen.map((s) => s.timeNs)).toEqual(
      [...seen.map((s) => s.timeNs)].sort((a, b) => Number(a - b)),
    );
    const count = seen.length;
    stop();
    client.request(connection);
    made.settle();
    expect(seen).toHaveLength(count);
  });

  it('stands still when nothing happens, and counts what enters', () => {
    const { made, client } = running();
    const before = made.nowNs;
    expect(made.settle()).toBe(0);
    expect(made.nowNs).toBe(before);
    made.advance(2.5);
    expect(made.nowNs).toBe(before + 2_500_000n);
    client.connect(SERVER.ipv4, 80, 1000);
    made.settle();
    for (const node of made.nodes.values()) {
      expect(node.entered).toBeGreaterThan(0);
      expect(node.dataplane.readCounters().totals.received).toBe(BigInt(node.entered));
    }
  });

  it('gives the same run for the same seed', () => {
    const record = (seed: bigint) => {
      const { made, client } = running(seed);
      const frames: string[] = [];
      made.tap(({ timeNs, wire, frame }) =>
        frames.push(`${timeNs} ${wire} ${frame.toString('hex')}`),
      );
      client.connect(SERVER.ipv4, 80, 1000);
      made.settle();
      return frames;
    };
    expect(record(3n)).toEqual(record(3n));
    expect(record(4n)).not.toEqual(record(3n));
  });

  it('moves frames while routes are on their way: early ones meet a router that does not know yet', () => {
    const made = cluster();
    const client = made.place(CLIENT).tenant;
    made.settle();
    const connection = client.connect(SERVER.ipv4, 80, 1000);
    const server = made.place(SERVER).tenant;
    made.settle();
    expect(connection.state).toBe('syn-sent');
    expect(server.segments).toBe(0);
    const later = client.connect(SERVER.ipv4, 80, 1001);
    made.settle();
    expect(later.state).toBe('open');
  });

  it('takes a tenant away with its port, and its routes with it', () => {
    const { made, client } = running();
    const two = made.node('two');
    const { port } = made.placed('server');
    expect(
      made
        .control('control')
        .exchange.routes(NET)
        .map((r) => r.prefix),
    ).toContain('10.47.255.2/32');
    made.remove('server');
    made.settle();
    expect(
      made
        .control('control')
        .exchange.routes(NET)
        .map((r) => r.prefix),
    ).not.toContain('10.47.255.2/32');
    expect(() => two.dataplane.portInfo(port)).toThrow();
    expect(() => made.remove('server')).toThrow('no tenant server');
    expect(() => made.node('three')).toThrow('no node three');
    const connection = client.connect(SERVER.ipv4, 80, 1000);
    made.settle();
    expect(connection.state).toBe('syn-sent');
  });

  it('loses nothing silently: more frames than a port holds are an error', () => {
    const { made, client } = running();
    client.connect(SERVER.ipv4, 80, 1000);
    made.settle();
    for (let port = 2000; port < 22_000; port += 1) client.connect(SERVER.ipv4, 80, port);
    expect(() => made.settle()).toThrow(/one: port \d+ took \d+ of 20000 frames/);
  });
});
