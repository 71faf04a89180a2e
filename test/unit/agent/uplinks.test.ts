/** Several uplinks as the agent has them: legs of every tunnel, which follow what is told, in place. */
import { beforeEach, describe, expect, test } from 'vitest';
import { Agent } from '../../../src/agent/agent.ts';
import { StaticRouteSource } from '../../../src/rib/static-source.ts';
import { RecordingDataplane } from '../../support/recording-dataplane.ts';
import { Node } from './cluster.ts';

const FAR = '10.169.25.21';
const uplink = (n: number, neighbours: Record<string, string> = {}) => ({
  port: n,
  mac: `02:00:00:00:0${n}:01`,
  neighbours,
});
const theirs = (n: number) => `02:00:00:00:0${n}:02`;

describe('uplinks', () => {
  let node: Node;
  let source: StaticRouteSource;
  const started = (more: Record<string, string>[]) => {
    source = new StaticRouteSource();
    const dataplane = new RecordingDataplane();
    const underlay = {
      ...uplink(0, { [FAR]: theirs(0) }),
      ipv4: '10.169.25.20',
      moreUplinks: more.map((neighbours, i) => uplink(i + 1, neighbours)),
    };
    node = new Node(new Agent({ name: 'x', dataplane, routes: source, underlay }), dataplane);
    node.agent.addVrf({ name: 'v' });
    source.replace([
      {
        instance: 'v',
        family: 'inet',
        prefix: '10.0.0.0/8',
        hops: [{ address: FAR, label: 42, encaps: ['udp'] }],
      },
    ]);
    source.flush();
    node.agent.flush();
    (node.dataplane as RecordingDataplane).sent();
  };
  const sent = () => {
    node.agent.flush();
    return (node.dataplane as RecordingDataplane).sent().map((op) => op.split(' ')[0]);
  };
  const tunnel = () => node.rows('next_hops', 'nh_tunnel_set')[0];

  describe('two', () => {
    beforeEach(() => started([{ '10.169.25.0/24': theirs(1) }]));

    test('are vifs, and legs of every tunnel in their order', () => {
      const vifs = node.rows('vifs', 'vif_set').map(({ vif, name, type }) => [vif, name, type]);
      expect(vifs).toEqual([
        [0, 'fabric', 2],
        [3, 'fabric-2', 2],
      ]);
      expect(tunnel()).toMatchObject({
        vif: 0,
        destinationMac: theirs(0),
        sourceMac: uplink(0).mac,
        legsDown: 0,
        moreLegs: [{ vif: 3, destinationMac: theirs(1), sourceMac: uplink(1).mac }],
      });
    });

    test('down, up, another MAC: one op for the tunnel, under its id', () => {
      const id = tunnel()?.nextHop;
      node.agent.setUplink(0, { up: false });
      expect(sent()).toEqual(['nh_tunnel_set']);
      expect(tunnel()).toMatchObject({ nextHop: id, legsDown: 1 });
      node.agent.setUplink(0, { up: false });
      expect(sent()).toEqual([]);
      node.agent.setUplink(0, { up: true });
      node.agent.setNeighbours({ [FAR]: theirs(7) }, 1);
      expect(sent()).toEqual(['nh_tunnel_set']);
      expect(tunnel()).toMatchObject({
        nextHop: id,
        legsDown: 0,
        moreLegs: [{ destinationMac: theirs(7) }],
      });
    });

    test('an MTU is its vif’s; what every uplink takes is the smallest', () => {
      node.agent.setUplink(1, { mtu: 1400 });
      expect(sent()).toEqual(['vif_set']);
      expect(node.agent.underlayMtu).toBe(1400);
      const mtus = node.rows('vifs', 'vif_set').map(({ vif, mtu }) => [vif, mtu]);
      expect(mtus).toEqual([
        [0, 1500],
        [3, 1400],
      ]);
    });
  });

  test('an uplink by which a far end is not known is a leg that is down', () => {
    started([{}, { [FAR]: theirs(2) }]);
    expect(tunnel()).toMatchObject({ legsDown: 0b010, moreLegs: [{ destinationMac: '' }, {}] });
    node.agent.setNeighbourSource(() => [undefined, { mac: theirs(1), up: true }, undefined]);
    node.agent.flush();
    expect(tunnel()).toMatchObject({ legsDown: 0, moreLegs: [{ destinationMac: theirs(1) }, {}] });
  });

  test('a single one is never down: there is nothing to move to', () => {
    started([]);
    node.agent.setUplink(0, { up: false });
    expect(sent()).toEqual([]);
    expect(tunnel()).toMatchObject({ legsDown: 0, moreLegs: [] });
  });

  test('four are refused', () => {
    expect(() => started([{}, {}, {}])).toThrow('4 uplinks, at most 3');
  });
});
