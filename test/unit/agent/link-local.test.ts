/** The link-local network of a node: its addresses, its VRFs that nobody else knows, the parts vifs take in it. */
import { describe, expect, it } from 'vitest';
import { HOST_VRF, LINK_LOCAL_VRF, LinkLocalNetwork } from '../../../src/agent/link-local.ts';
import { RecordingDataplane } from '../../support/recording-dataplane.ts';
import { Cluster, POD, pod } from './cluster.ts';

const network = new LinkLocalNetwork('169.254.64.0/18');

describe('addresses', () => {
  it('follow from the vif, and say which it is', () => {
    expect([network.host, network.gateway]).toEqual(['169.254.64.1', '169.254.64.2']);
    expect([network.client(3), network.client(4354)]).toEqual(['169.254.65.3', '169.254.82.2']);
    expect([network.server(3), network.server(4354)]).toEqual(['169.254.96.3', '169.254.113.2']);
    for (const vif of [0, 3, 255, 4354]) expect(network.vifOf(network.client(vif))).toBe(vif);
  });

  it.each([
    ...[network.host, network.gateway, network.server(3), '169.254.63.255', '169.254.82.3'],
    ...['169.254.169.254', '10.0.0.1', '::1', 'fe80::1', '::ffff:169.254.65.3'],
  ])('%s is no client', (address) => expect(network.vifOf(address)).toBeUndefined());

  it.each(['169.254.64.0/19', 'fd00::/18'])('%s is no network for it', (text) =>
    expect(() => new LinkLocalNetwork(text)).toThrow(/services\.host\.network/),
  );

  it('a network may be larger, and begin anywhere', () => {
    const other = new LinkLocalNetwork('240.0.0.0/8');
    expect(other.client(3)).toBe('240.0.1.3');
    expect(other.vifOf('240.0.1.3')).toBe(3);
    expect([other.uses('240.0.0.1'), other.uses('240.200.0.1')]).toEqual([true, false]);
  });
});

describe('vifs that take part', () => {
  function lab() {
    const cluster = new Cluster();
    const near = cluster.node('cent222', new RecordingDataplane(), { linkLocal: network });
    const far = cluster.node('cent333', new RecordingDataplane(), { linkLocal: network });
    for (const { agent } of [near, far]) {
      agent.addVrf({ name: POD });
      for (const name of [LINK_LOCAL_VRF, HOST_VRF]) agent.addVrf({ name, local: true });
    }
    return { cluster, near, far };
  }
  const both = ['client', 'server'] as const;

  it('have an address to send from, and one to be reached at, on their node only', () => {
    const { cluster, near, far } = lab();
    near.agent.addVif(pod('a', 201, { linkLocal: both }));
    far.agent.addVif(pod('b', 202, { linkLocal: ['client'] }));
    cluster.settle();
    const id = near.agent.vifId('a') as number;
    expect(near.rows('floating_ips', 'floating_ip_set')).toMatchObject([
      { vif: id, vrf: near.vrf(LINK_LOCAL_VRF), address: network.client(id), direction: 2 },
      { vif: id, vrf: near.vrf(HOST_VRF), address: network.server(id), direction: 1 },
    ]);
    // The far one has the same address there, and neither hears of the other.
    expect(far.rows('floating_ips', 'floating_ip_set')).toMatchObject([
      { address: network.client(id), direction: 2 },
    ]);
    for (const node of [near, far]) {
      const nextHop = node.route(LINK_LOCAL_VRF, `${network.client(id)}/32`)?.nextHop;
      expect(node.nextHop(nextHop)).toMatchObject({ op: 'nh_interface_set' });
    }
    for (const vrf of [LINK_LOCAL_VRF, HOST_VRF]) expect(cluster.exchange.routes(vrf)).toEqual([]);
    cluster.close();
  });

  it('keep them while ill, lose them with the vif; the others of theirs go', () => {
    const { cluster, near } = lab();
    const floatingIps = [{ address: '10.9.9.9', vrf: POD }];
    near.agent.addVif(pod('a', 201, { linkLocal: both, floatingIps }));
    cluster.settle();
    const addresses = () =>
      near.rows('floating_ips', 'floating_ip_set').map(({ address }) => address);
    expect(addresses()).toHaveLength(3);
    near.agent.setVifHealth('a', false);
    cluster.settle();
    expect(addresses()).toHaveLength(2);
    expect(addresses()).not.toContain('10.9.9.9');
    near.agent.updateVif(pod('a', 201, { linkLocal: ['client'], floatingIps }));
    cluster.settle();
    expect(addresses()).toHaveLength(1);
    near.agent.setVifHealth('a', true);
    near.agent.removeVif('a');
    cluster.settle();
    expect(addresses()).toEqual([]);
    cluster.close();
  });

  it('need an IPv4 address, and a node that has the network', () => {
    const { cluster, near } = lab();
    const { ipv4: _, gateway4: __, ...bare } = pod('a', 201, { linkLocal: ['client'] });
    expect(() => near.agent.addVif(bare)).toThrow(/'a'.*IPv4/);
    const none = cluster.node('cent111', new RecordingDataplane());
    none.agent.addVrf({ name: POD });
    expect(() => none.agent.addVif(pod('a', 201, { linkLocal: both }))).toThrow(/no such network/);
    cluster.close();
  });
});
