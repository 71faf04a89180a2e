import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Agent } from '../../../src/agent/agent.ts';
import { RouteExchange } from '../../../src/control/exchange.ts';
import { VRouterError } from '../../../src/errors.ts';
import { StaticRouteSource } from '../../../src/rib/static-source.ts';
import { RecordingDataplane } from '../../support/recording-dataplane.ts';
import { hop, route } from '../../support/routes.ts';
import { Cluster, DATAPLANES, macOf, Node, POD, pod, SERVICE, SERVICE_IP, VIP } from './cluster.ts';

const VIP_PREFIX = `${VIP}/32`;
const NONE = 0xffffffff;
const NO_LABEL = 0xfffff;

describe.each(DATAPLANES)('on the %s data plane', (_, makeDataplane) => {
  let cluster: Cluster;
  let near: Node; // cent222: the client's node
  let far: Node; // cent333
  beforeEach(() => {
    cluster = new Cluster();
    near = cluster.node('cent222', makeDataplane());
    far = cluster.node('cent333', makeDataplane());
    for (const { agent } of [near, far]) {
      agent.addVrf({ name: POD });
      agent.addVrf({ name: SERVICE });
    }
  });
  afterEach(() => cluster.close());

  describe('the underlay', () => {
    test('uplink, router, and the own address, which tunnels end at', () => {
      cluster.settle();
      expect(near.rows('router', 'router_set')).toMatchObject([{ ipv4: '10.169.25.20', ipv6: '' }]);
      expect(near.rows('vifs', 'vif_set')).toMatchObject([
        {
          vif: 0,
          name: 'fabric',
          type: 2,
          port: 0,
          vrf: 0,
          mac: macOf('cent222'),
          ipv4: '10.169.25.20',
        },
      ]);
      const own = near.rows('routes', 'route_set').find((r) => r.vrf === 0);
      expect(own?.prefix).toBe('10.169.25.20/32');
      expect(near.nextHop(own?.nextHop)).toMatchObject({ op: 'nh_receive_set', vrf: 0, vif: NONE });
      expect(near.rows('vrfs', 'vrf_set').map((v) => v.vrf)).toEqual([0, 1, 2]);
    });

    test('a host vif takes what is for the host; without it nothing is left of it', () => {
      near.agent.setHostVif({ port: 9 });
      cluster.settle();
      expect(near.rows('vifs', 'vif_set').find((v) => v.vif === 1)).toMatchObject({
        type: 0,
        port: 9,
      });
      const own = () => near.rows('routes', 'route_set').find((r) => r.vrf === 0);
      expect(near.nextHop(own()?.nextHop)).toMatchObject({ op: 'nh_receive_set', vif: 1 });
      near.agent.setHostVif(undefined);
      cluster.settle();
      expect(near.rows('vifs', 'vif_set').map((v) => v.vif)).toEqual([0]);
      expect(near.nextHop(own()?.nextHop)).toMatchObject({ vif: NONE });
    });

    test('an agent vif is there as long as it is wanted, and may get another port', () => {
      const row = () => near.rows('vifs', 'vif_set').find((v) => v.vif === 2);
      near.agent.setAgentVif({ port: 9 });
      cluster.settle();
      expect(row()).toMatchObject({ name: 'pkt0', type: 1, port: 9, vrf: 0 });
      near.agent.setAgentVif({ port: 10 });
      cluster.settle();
      expect(row()).toMatchObject({ port: 10 });
      near.agent.setAgentVif(undefined);
      cluster.settle();
      expect(row()).toBeUndefined();
    });
  });

  describe('a vif', () => {
    const client = pod('client', 237, { ipv6: 'fd00::237', gateway6: 'fd00::1' });
    beforeEach(() => {
      near.agent.addVif(client);
      cluster.settle();
    });

    test('vif, its two next hops, label, routes, MAC, gateway', () => {
      const vif = near.rows('vifs', 'vif_set').find((v) => v.name === 'client');
      expect(vif).toMatchObject({
        vif: 3,
        type: 3,
        mac: '00:00:5e:00:01:00',
        flags: 0xc1,
        ipv4: '10.47.255.237',
        ipv6: 'fd00::237',
        gateway4: '10.47.255.254',
        gateway6: 'fd00::1',
      });
      expect(near.nextHop(vif?.nextHop)).toMatchObject({
        op: 'nh_interface_set',
        vif: 3,
        flags: 0x2,
        destinationMac: client.tenantMac,
        sourceMac: '00:00:5e:00:01:00',
      });
      expect(near.rows('labels', 'label_set')).toEqual([
        { op: 'label_set', label: 16, nextHop: vif?.nextHop },
      ]);
      for (const prefix of ['10.47.255.237/32', 'fd00::237/128']) {
        expect(near.route(POD, prefix)).toMatchObject({
          nextHop: vif?.nextHop,
          label: NO_LABEL,
          flags: 0x2,
          mac: client.tenantMac,
        });
      }
      const bridged = near.nextHop(near.mac(POD, client.tenantMac)?.nextHop);
      expect(bridged).toMatchObject({ op: 'nh_interface_set', vif: 3, flags: 0x10000002 });
      expect(near.nextHop(near.mac(POD, '00:00:5e:00:01:00')?.nextHop)?.op).toBe(
        'nh_l2_receive_set',
      );
      for (const gateway of ['10.47.255.254/32', 'fd00::1/128']) {
        expect(near.nextHop(near.route(POD, gateway)?.nextHop)).toMatchObject({
          op: 'nh_receive_set',
          vrf: near.vrf(POD),
        });
      }
    });

    test('elsewhere it is behind a tunnel, with its label; by policy in the other network too', () => {
      for (const vrf of [POD, SERVICE]) {
        const there = far.route(vrf, '10.47.255.237/32');
        expect(there).toMatchObject({ label: 16, flags: 0x2, mac: '' });
        expect(far.nextHop(there?.nextHop)).toMatchObject({
          op: 'nh_tunnel_set',
          encap: 2,
          source: '10.169.25.21',
          destination: '10.169.25.20',
          destinationMac: macOf('cent222'),
        });
      }
      // One tunnel for everything behind that node.
      expect(far.rows('next_hops', 'nh_tunnel_set')).toHaveLength(1);
    });

    test('changed in place: ids and label stay, what was is gone', () => {
      near.agent.updateVif({ ...client, ipv4: '10.47.255.200', policy: false, mtu: 9000 });
      cluster.settle();
      expect(near.rows('vifs', 'vif_set').find((v) => v.name === 'client')).toMatchObject({
        vif: 3,
        flags: 0xc0,
        mtu: 9000,
        ipv4: '10.47.255.200',
      });
      expect(near.route(POD, '10.47.255.237/32')).toBeUndefined();
      expect(far.route(POD, '10.47.255.237/32')).toBeUndefined();
      expect(far.route(POD, '10.47.255.200/32')).toMatchObject({ label: 16 });
      const face = near.nextHop(near.route(POD, '10.47.255.200/32')?.nextHop);
      expect(face).toMatchObject({ flags: 0 });
    });

    test('moved to another network, it leaves the first', () => {
      near.agent.addVrf({ name: 'isolated' });
      near.agent.updateVif({ ...client, vrf: 'isolated' });
      cluster.settle();
      expect(near.route(POD, '10.47.255.237/32')).toBeUndefined();
      expect(near.mac(POD, client.tenantMac)).toBeUndefined();
      expect(near.route('isolated', '10.47.255.237/32')).toBeDefined();
      expect(near.mac('isolated', 'ff:ff:ff:ff:ff:ff')).toBeDefined();
      expect(near.mac(POD, 'ff:ff:ff:ff:ff:ff')).toBeUndefined();
    });

    test('its id and label rest before they are used again', () => {
      near.agent.removeVif('client');
      near.agent.addVif(pod('other', 240));
      cluster.settle();
      expect(near.agent.vifId('other')).toBe(4);
      expect(near.agent.vifLabel('other')).toBe(17);
    });
  });

  describe('a service', () => {
    const start = (node: Node, name: string, last: number) => {
      node.agent.addVif(pod(name, last, { floatingIps: [SERVICE_IP] }));
      cluster.settle();
    };

    test('one backend: a set of one, so its flows are pinned before there is a second', () => {
      start(far, 'web-2', 238);
      expect(near.members(POD, VIP_PREFIX)).toEqual(['0:10.169.25.21 label 16']);
      expect(near.nextHop(near.route(POD, VIP_PREFIX)?.nextHop)).toMatchObject({
        hashFields: 0x1f,
      });
    });

    test('scale 1 -> 2 -> 3 -> 1: the set and its members keep their ids', () => {
      near.agent.addVif(pod('client', 237));
      start(near, 'web-1', 236);
      const id = near.route(POD, VIP_PREFIX)?.nextHop;
      expect(near.members(POD, VIP_PREFIX)).toEqual(['0:local web-1']);
      start(far, 'web-2', 238);
      expect(near.members(POD, VIP_PREFIX)).toEqual(['0:local web-1', '1:10.169.25.21 label 16']);
      start(far, 'web-3', 239);
      expect(near.members(POD, VIP_PREFIX)).toEqual([
        '0:local web-1',
        '1:10.169.25.21 label 16',
        '2:10.169.25.21 label 17',
      ]);
      expect(near.members(SERVICE, VIP_PREFIX)).toHaveLength(3);
      far.agent.removeVif('web-2');
      near.agent.removeVif('web-1');
      cluster.settle();
      expect(near.members(POD, VIP_PREFIX)).toEqual(['2:10.169.25.21 label 17']);
      expect(near.route(POD, VIP_PREFIX)?.nextHop).toBe(id);
    });

    test('floating IP with its port map, in the service network', () => {
      start(near, 'web-1', 236);
      expect(near.rows('floating_ips', 'floating_ip_set')).toEqual([
        {
          op: 'floating_ip_set',
          floatingIp: 1,
          vif: 3,
          vrf: near.vrf(SERVICE),
          address: VIP,
          fixed: '10.47.255.236',
          direction: 1,
          portMap: 1,
          ports: [{ protocol: 6, port: 8888, toPort: 80 }],
        },
      ]);
      near.agent.removeFloatingIp('web-1', VIP);
      near.agent.addFloatingIp('web-1', { address: '10.101.102.27', vrf: SERVICE });
      cluster.settle();
      expect(near.rows('floating_ips', 'floating_ip_set')).toMatchObject([
        { address: '10.101.102.27', direction: 0, portMap: 0, ports: [] },
      ]);
      expect(far.route(POD, VIP_PREFIX)).toBeUndefined();
      expect(far.route(POD, '10.101.102.27/32')).toMatchObject({ label: 16 });
    });

    test('of a vif that is not well is withdrawn, here and elsewhere; its own address is not', () => {
      near.agent.addVif(pod('web-1', 236, { floatingIps: [SERVICE_IP] }));
      far.agent.addVif(pod('web-2', 238, { floatingIps: [SERVICE_IP] }));
      cluster.settle();
      expect(near.members(POD, VIP_PREFIX)).toHaveLength(2);
      near.agent.setVifHealth('web-1', false);
      cluster.settle();
      expect(near.members(POD, VIP_PREFIX)).toHaveLength(1);
      expect(far.members(POD, VIP_PREFIX)).toHaveLength(1);
      expect(near.rows('floating_ips', 'floating_ip_set')).toEqual([]);
      expect(far.route(POD, '10.47.255.236/32')).toBeDefined();
      // What is asked of it meanwhile waits.
      near.agent.addFloatingIp('web-1', { address: '10.101.102.27', vrf: SERVICE });
      cluster.settle();
      expect(near.rows('floating_ips', 'floating_ip_set')).toEqual([]);
      near.agent.setVifHealth('web-1', true);
      cluster.settle();
      expect(near.rows('floating_ips', 'floating_ip_set')).toHaveLength(2);
      expect(far.members(POD, VIP_PREFIX)).toHaveLength(2);
      expect(() => near.agent.setVifHealth('nobody', true)).toThrow(/no vif 'nobody'/);
    });

    test('without an exchange policy: published where it is leaked to', () => {
      cluster.exchange.disconnect(POD, SERVICE);
      near.agent.addVif(pod('web-1', 236, { floatingIps: [{ ...SERVICE_IP, leakTo: [POD] }] }));
      cluster.settle();
      expect(far.members(POD, VIP_PREFIX)).toEqual(['0:10.169.25.20 label 16']);
      expect(near.members(POD, VIP_PREFIX)).toEqual(['0:local web-1']);
    });

    test('what is behind a vif is led to it, here and elsewhere, and goes with it', () => {
      const behind = { prefixes: ['0.0.0.0/0', '198.51.100.0/24'] };
      near.agent.addVif(pod('router', 236, behind));
      cluster.settle();
      for (const prefix of behind.prefixes) {
        const own = near.route(POD, prefix)?.nextHop;
        expect(near.nextHop(own)).toMatchObject({
          ...{ op: 'nh_interface_set', vif: near.agent.vifId('router') },
        });
        expect(far.route(POD, prefix)).toMatchObject({ label: near.agent.vifLabel('router') });
        expect(far.nextHop(far.route(POD, prefix)?.nextHop)).toMatchObject({
          ...{ op: 'nh_tunnel_set', destination: '10.169.25.20' },
        });
      }
      near.agent.updateVif(pod('router', 236, { prefixes: ['0.0.0.0/0'] }));
      cluster.settle();
      expect(far.route(POD, '198.51.100.0/24')).toBeUndefined();
      expect(far.route(POD, '0.0.0.0/0')).toBeDefined();
      near.agent.removeVif('router');
      cluster.settle();
      expect(far.route(POD, '0.0.0.0/0')).toBeUndefined();
    });

    test('what is behind a vif is said once, and is a prefix', () => {
      const add = (...prefixes: string[]) => near.agent.addVif(pod('router', 236, { prefixes }));
      expect(() => add('0.0.0.0/0', '0.0.0.0/0')).toThrow(
        /prefixes: 0\.0\.0\.0\/0 is its own already/,
      );
      expect(() => add('10.47.255.236/32')).toThrow(/is its own already/);
      expect(() => add('10.0.0.1/8')).toThrow();
      expect(near.agent.vif('router')).toBeUndefined();
    });

    test('behind a shared label, senders who have it by a leak are looked for among the backends', () => {
      cluster.exchange.disconnect(POD, SERVICE);
      const leaked = { ...SERVICE_IP, sharedLabel: true, leakTo: [POD] };
      near.agent.addVif(pod('web-1', 236, { floatingIps: [leaked] }));
      cluster.settle();
      const label = near.rows('labels', 'label_set').find((l) => l.label === 17);
      expect(near.nextHop(label?.nextHop)).toMatchObject({ vrf: near.vrf(POD) });
    });

    test('one label for all local backends: others see one hop with their weight', () => {
      const shared = { ...SERVICE_IP, sharedLabel: true };
      for (const [name, last] of [
        ['web-1', 236],
        ['web-4', 240],
      ] as const) {
        near.agent.addVif(pod(name, last, { floatingIps: [shared] }));
      }
      cluster.settle();
      expect(far.members(POD, VIP_PREFIX)).toEqual(['0:10.169.25.20 label 17']);
      const set = far.nextHop(far.route(POD, VIP_PREFIX)?.nextHop);
      expect(set).toMatchObject({ members: [{ weight: 2 }] });
      const label = near.rows('labels', 'label_set').find((l) => l.label === 17);
      expect(near.nextHop(label?.nextHop)).toMatchObject({
        op: 'nh_ecmp_set',
        flags: 0x2,
        vrf: near.vrf(SERVICE), // where senders are looked for
        members: [{ member: 0 }, { member: 1 }],
      });
      expect(near.members(POD, VIP_PREFIX)).toEqual(['0:local web-1', '1:local web-4']);
      near.agent.updateVif(pod('web-4', 240, { floatingIps: [{ ...shared, leakTo: [POD] }] }));
      cluster.settle();
      expect(near.nextHop(label?.nextHop), 'said in their own network, too').toMatchObject({
        vrf: near.vrf(POD),
      });
      near.agent.removeVif('web-1');
      cluster.settle();
      expect(near.members(POD, VIP_PREFIX)).toEqual(['1:local web-4']);
      near.agent.removeVif('web-4');
      cluster.settle();
      expect(near.rows('labels', 'label_set')).toEqual([]);
      expect(far.route(POD, VIP_PREFIX)).toBeUndefined();
    });
  });

  describe('bridging', () => {
    beforeEach(() => {
      cluster.exchange.createInstance({ name: 'blue' });
      for (const { agent } of [near, far]) agent.addVrf({ name: 'blue', vni: 5000 });
    });
    const vm = (name: string, last: number) => pod(name, last, { vrf: 'blue' });

    test('by label: MACs and floods reach the other node', () => {
      near.agent.addVif(vm('a', 210));
      far.agent.addVif(vm('b', 211));
      cluster.settle();
      const there = near.mac('blue', vm('b', 211).tenantMac);
      expect(near.nextHop(there?.nextHop)).toMatchObject({ destination: '10.169.25.21', encap: 2 });
      const label = far.rows('labels', 'label_set').find((l) => l.label === there?.label);
      expect(far.nextHop(label?.nextHop)).toMatchObject({ flags: 0x10000002 });
      const root = near.nextHop(near.mac('blue', 'ff:ff:ff:ff:ff:ff')?.nextHop);
      if (root?.op !== 'nh_replicate_set') throw new Error('no flood tree');
      const branches = root.replicas.map((r) => near.nextHop(r.nextHop));
      expect(branches).toMatchObject([
        { kind: 1, replicas: [{ nextHop: near.mac('blue', vm('a', 210).tenantMac)?.nextHop }] },
        { kind: 3, replicas: [{ nextHop: there?.nextHop }] },
      ]);
      // Proxy ARP answers with the far tenant's own MAC.
      expect(near.route('blue', '10.47.255.211/32')?.mac).toBe(vm('b', 211).tenantMac);
      far.agent.removeVif('b');
      cluster.settle();
      expect(near.mac('blue', vm('b', 211).tenantMac)).toBeUndefined();
      expect(near.nextHop(near.mac('blue', 'ff:ff:ff:ff:ff:ff')?.nextHop)).toMatchObject({
        replicas: [{}],
      });
    });

    test('the VNI leads into the network', () => {
      cluster.settle();
      const [vni] = near.rows('vnis', 'vni_set');
      expect(vni?.vni).toBe(5000);
      expect(near.nextHop(vni?.nextHop)).toMatchObject({
        op: 'nh_vrf_translate_set',
        vrf: near.vrf('blue'),
        flags: 0x10000000,
      });
    });

    test('a MAC that moved away with a higher sequence is there, not here', () => {
      near.agent.addVif(vm('a', 210));
      far.agent.addVif({ ...vm('a', 210), sequence: 1 });
      cluster.settle();
      const mac = vm('a', 210).tenantMac;
      expect(near.nextHop(near.mac('blue', mac)?.nextHop)?.op).toBe('nh_tunnel_set');
      expect(far.nextHop(far.mac('blue', mac)?.nextHop)?.op).toBe('nh_interface_set');
      expect(near.nextHop(near.route('blue', '10.47.255.210/32')?.nextHop)?.op).toBe(
        'nh_tunnel_set',
      );
    });
  });

  test('source NAT: a way out, a way back, and both gone', () => {
    const nat = {
      name: 'out',
      vrf: POD,
      toVrf: SERVICE,
      address: '10.96.0.77',
      ports: [20000, 29999],
    } as const;
    cluster.settle();
    const before = near.agent.counts();
    near.agent.addSourceNat(nat);
    near.agent.addSourceNat({
      ...nat,
      name: 'more',
      source: '10.32.0.0/12',
      ports: [30000, 39999],
    });
    cluster.settle();
    expect(near.rows('source_nats', 'source_nat_set')).toMatchObject([
      { vrf: near.vrf(POD), toVrf: near.vrf(SERVICE), source: '', portLow: 20000, portHigh: 29999 },
      { source: '10.32.0.0/12' },
    ]);
    expect(near.nextHop(near.route(POD, '0.0.0.0/0')?.nextHop)).toMatchObject({
      op: 'nh_vrf_translate_set',
      vrf: near.vrf(SERVICE),
      flags: 0,
    });
    const reply = near.route(SERVICE, '10.96.0.77/32');
    expect(near.nextHop(reply?.nextHop)).toMatchObject({ op: 'nh_receive_set', flags: 0x2 });
    expect(far.route(SERVICE, '10.96.0.77/32')).toBeDefined();
    near.agent.removeSourceNat('out');
    cluster.settle();
    expect(far.route(SERVICE, '10.96.0.77/32')).toBeDefined();
    near.agent.removeSourceNat('more');
    cluster.settle();
    expect(near.rows('source_nats', 'source_nat_set')).toEqual([]);
    expect(near.route(POD, '0.0.0.0/0')).toBeUndefined();
    expect(far.route(SERVICE, '10.96.0.77/32')).toBeUndefined();
    expect(near.agent.counts()).toEqual(before);
  });

  test('policies by name, on the vif', () => {
    near.agent.addPolicy({
      name: 'web',
      rules: [
        { action: 'pass', protocol: 'tcp', destinationPorts: [80, 80], source: '10.32.0.0/12' },
        { action: 'deny' },
      ],
    });
    near.agent.addVif(pod('web-1', 236, { networkPolicies: ['web'], ingressGroups: ['web'] }));
    cluster.settle();
    const [policy] = near.rows('policies', 'policy_set');
    expect(policy).toMatchObject({
      name: 'web',
      rules: [
        {
          action: 1,
          protocol: 6,
          source: '10.32.0.0/12',
          destination: '',
          destinationPortLow: 80,
          destinationPortHigh: 80,
        },
        { action: 0, protocol: 0, source: '', sourcePortLow: 0, sourcePortHigh: 65535 },
      ],
    });
    expect(near.rows('vifs', 'vif_set').find((v) => v.vif === 3)).toMatchObject({
      networkPolicies: [{ policy: policy?.policy }],
      ingressGroups: [{ policy: policy?.policy }],
      egressGroups: [],
    });
    expect(() => near.agent.removePolicy('web')).toThrow("used by vif 'web-1'");
    near.agent.updateVif(pod('web-1', 236));
    near.agent.removePolicy('web');
    cluster.settle();
    expect(near.rows('policies', 'policy_set')).toEqual([]);
  });

  test('everything removed leaves nothing but the underlay', () => {
    cluster.settle();
    near.agent.removeVrf(POD);
    near.agent.removeVrf(SERVICE);
    cluster.settle();
    const empty = near.agent.counts();
    near.agent.addVrf({ name: POD });
    near.agent.addVrf({ name: SERVICE, vni: 77 });
    near.agent.addVif(pod('web-1', 236, { floatingIps: [SERVICE_IP], vrf: POD }));
    near.agent.addVif(
      pod('vm', 250, { vrf: SERVICE, floatingIps: [{ ...SERVICE_IP, sharedLabel: true }] }),
    );
    far.agent.addVif(pod('web-2', 238, { floatingIps: [SERVICE_IP] }));
    cluster.settle();
    expect(near.members(POD, VIP_PREFIX)).toHaveLength(3);
    for (const name of ['web-1', 'vm']) near.agent.removeVif(name);
    for (const name of [POD, SERVICE]) near.agent.removeVrf(name);
    cluster.settle();
    expect(near.agent.counts()).toEqual(empty);
    expect(near.rows('vifs', 'vif_set')).toHaveLength(1);
    expect(near.rows('vrfs', 'vrf_set')).toHaveLength(1);
    expect(near.rows('macs', 'mac_set')).toEqual([]);
    expect(near.rows('labels', 'label_set')).toEqual([]);
    const left = near.dataplane.dump('next_hops').filter((r) => r.op !== 'nh_discard_set');
    expect(left).toHaveLength(1);
  });

  test('restart: a new agent finds what is there, keeps every id, and sends nothing', () => {
    near.agent.addVif(pod('client', 237));
    near.agent.addVif(pod('web-1', 236, { floatingIps: [SERVICE_IP] }));
    near.agent.addVif(pod('gone', 241));
    far.agent.addVif(pod('web-2', 238, { floatingIps: [SERVICE_IP] }));
    cluster.settle();
    near.agent.removeVif('client');
    near.agent.addVif(pod('client', 237)); // ids that are not simply the lowest
    cluster.settle();
    const before = near.agent.desired();
    near.agent.close();
    cluster.nodes.shift();
    const again = cluster.node('cent222', near.dataplane, { resume: true });
    const commits: unknown[] = [];
    again.agent.onCommit(({ ops }) => commits.push(...ops));
    for (const name of [SERVICE, POD]) again.agent.addVrf({ name });
    again.agent.addVif(pod('web-1', 236, { floatingIps: [SERVICE_IP] }));
    again.agent.addVif(pod('client', 237));
    again.agent.addVif(pod('gone', 241));
    cluster.settle();
    expect(again.agent.audit()).toEqual([]);
    again.agent.flush();
    expect(commits).toEqual([]);
    expect(again.agent.desired()).toEqual(before);
  });

  test('restart: what is not wanted any more goes with the audit, not before', () => {
    near.agent.addVif(pod('client', 237));
    near.agent.addVif(pod('gone', 241));
    cluster.settle();
    near.agent.close();
    cluster.nodes.shift();
    const again = cluster.node('cent222', near.dataplane, { resume: true });
    for (const name of [POD, SERVICE]) again.agent.addVrf({ name });
    again.agent.addVif(pod('client', 237));
    cluster.settle();
    expect(again.rows('vifs', 'vif_set').map((v) => v.name)).toContain('gone');
    expect(again.agent.audit().map((op) => op.op)).toContain('vif_delete');
    again.agent.flush();
    expect(again.rows('vifs', 'vif_set').map((v) => v.name)).toEqual(['fabric', 'client']);
    expect(again.agent.audit()).toEqual([]);
  });

  test('audit repairs what someone else changed', () => {
    near.agent.addVif(pod('client', 237));
    cluster.settle();
    const pods = near.vrf(POD);
    near.dataplane.commit([
      { op: 'route_delete', vrf: pods, prefix: '10.47.255.237/32' },
      {
        op: 'route_set',
        vrf: pods,
        prefix: '9.9.9.0/24',
        nextHop: 0,
        label: NO_LABEL,
        flags: 0,
        hashFields: 0,
        mac: '',
      },
    ]);
    expect(near.agent.audit()).toMatchObject([
      { op: 'route_set', prefix: '10.47.255.237/32' },
      { op: 'route_delete', prefix: '9.9.9.0/24' },
    ]);
    near.agent.flush();
    expect(near.route(POD, '10.47.255.237/32')).toBeDefined();
    expect(near.agent.audit()).toEqual([]);
  });
});

describe('commits', () => {
  let cluster: Cluster;
  let node: ReturnType<typeof make>;
  const make = () => cluster.node('cent222', new RecordingDataplane());
  beforeEach(() => {
    cluster = new Cluster();
    node = make();
    node.agent.addVrf({ name: POD });
    node.agent.addVrf({ name: SERVICE });
    cluster.settle();
    node.dataplane.sent();
  });

  test('one Program per flush; none when nothing changed', () => {
    node.agent.addVif(pod('a', 210));
    node.agent.addVif(pod('b', 211));
    const generation = node.agent.flush();
    expect(node.dataplane.programs).toHaveLength(1);
    expect(node.agent.flush()).toBe(generation);
    expect(node.dataplane.programs).toHaveLength(1);
  });

  test('N changes of one object in a tick are one op; there and back is none', () => {
    const a = pod('a', 210);
    node.agent.addVif(a);
    cluster.settle();
    node.dataplane.sent();
    for (let mtu = 1000; mtu < 1100; mtu++) node.agent.updateVif({ ...a, mtu });
    node.agent.flush();
    expect(node.dataplane.sent()).toEqual(['vif_set 3']);
    node.agent.updateVif({ ...a, mtu: 2000 });
    node.agent.updateVif({ ...a, mtu: 1099 });
    node.agent.flush();
    expect(node.dataplane.sent()).toEqual([]);
  });

  test('routes are told to others only after the commit that makes them work', () => {
    const order: string[] = [];
    const source = new StaticRouteSource();
    const publish = source.publish.bind(source);
    source.publish = (r) => {
      order.push('publish');
      publish(r);
    };
    const agent = new Agent({
      name: 'x',
      dataplane: node.dataplane,
      routes: source,
      underlay: { port: 0, mac: macOf('cent222'), ipv4: '10.169.25.20', neighbours: {} },
    });
    agent.onCommit(() => order.push('commit'));
    agent.addVrf({ name: POD });
    agent.addVif(pod('a', 210));
    node.dataplane.failNext = new VRouterError('NO_MEMORY', 'memory could not be had');
    expect(() => agent.flush()).toThrow('memory could not be had');
    expect(order).toEqual([]);
    agent.flush();
    expect(order).toEqual(['commit', 'publish']);
  });

  test('a refused commit names the intent, and the same is sent again', () => {
    node.agent.addVif(pod('a', 210));
    node.dataplane.failNext = new VRouterError(
      'DANGLING_PORT',
      'refers to a port that does not exist',
      0,
      'port',
    );
    let caught: unknown;
    try {
      node.agent.flush();
    } catch (error) {
      caught = error;
    }
    expect(caught).toMatchObject({ code: 'DANGLING_PORT', opIndex: 0, field: 'port' });
    expect((caught as Error).message).toContain("cent222: vif 'a': vif_set: refers to a port");
    expect(node.agent.pending).toBe(true);
    node.agent.addVif(pod('b', 211));
    node.agent.flush();
    expect(
      node
        .rows('vifs', 'vif_set')
        .map((v) => v.name)
        .sort(),
    ).toEqual(['a', 'b', 'fabric']);
    cluster.settle();
    expect(node.agent.pending).toBe(false);
  });

  test('scheduled: asked for once, errors heard or thrown', () => {
    const runs: (() => void)[] = [];
    const agent = new Agent({
      name: 'x',
      dataplane: node.dataplane,
      routes: new StaticRouteSource(),
      underlay: { port: 0, mac: macOf('cent222'), ipv4: '10.169.25.20', neighbours: {} },
      schedule: (run) => runs.push(run),
    });
    agent.addVrf({ name: 'v' });
    agent.addPolicy({ name: 'p', rules: [] });
    expect(runs).toHaveLength(1);
    node.dataplane.failNext = new VRouterError('NO_MEMORY', 'memory could not be had');
    expect(() => runs.shift()?.()).toThrow('memory');
    const heard: string[] = [];
    agent.onError((error) => heard.push(error.message));
    agent.removePolicy('p');
    node.dataplane.failNext = new VRouterError('NO_MEMORY', 'memory could not be had');
    runs.shift()?.();
    expect(heard).toEqual(['memory could not be had']);
    agent.addPolicy({ name: 'q', rules: [] });
    runs.shift()?.();
    expect(agent.pending).toBe(false);
  });
});

describe('refused at the call, by name, with nothing changed', () => {
  let cluster: Cluster;
  let node: Node;
  beforeEach(() => {
    cluster = new Cluster();
    node = cluster.node('cent222', new RecordingDataplane());
    node.agent.addVrf({ name: POD });
    node.agent.addVrf({ name: SERVICE, vni: 7 });
    node.agent.addVif(pod('a', 210));
    cluster.settle();
  });

  const cases: [string, (agent: Agent) => void][] = [
    ["VRF 'k8s-default-pod-network' exists", (a) => a.addVrf({ name: POD })],
    ["VNI 7 is 'k8s-default-service-network''s", (a) => a.addVrf({ name: 'x', vni: 7 })],
    ["VRF 'x': vni", (a) => a.addVrf({ name: 'x', vni: 1 << 24 })],
    ['vrf: must have', (a) => a.addVrf({ name: '' })],
    ["VRF 'k8s-default-pod-network' is used by vif 'a'", (a) => a.removeVrf(POD)],
    ["no VRF 'x'", (a) => a.removeVrf('x')],
    [
      'VRF 0 is the fabric',
      (a) => a.removeVrf('default-domain:default-project:ip-fabric:__default__'),
    ],
    ["vif 'a' exists", (a) => a.addVif(pod('a', 211))],
    ["vif 'b': no VRF 'x'", (a) => a.addVif(pod('b', 211, { vrf: 'x' }))],
    ["vif 'b': ipv4", (a) => a.addVif(pod('b', 211, { ipv4: 'fd00::1' }))],
    ["vif 'b': gateway6", (a) => a.addVif(pod('b', 211, { gateway6: '10.0.0' }))],
    ["vif 'b': tenantMac", (a) => a.addVif(pod('b', 211, { tenantMac: '01:00:00:00:00:00' }))],
    ["vif 'b': mtu: 100", (a) => a.addVif(pod('b', 211, { mtu: 100 }))],
    ["vif 'b': no policy 'p'", (a) => a.addVif(pod('b', 211, { egressGroups: ['p'] }))],
    [
      "of vif 'b': no VRF 'x'",
      (a) => a.addVif(pod('b', 211, { floatingIps: [{ address: VIP, vrf: 'x' }] })),
    ],
    [
      "of vif 'b': the vif has no address",
      (a) => a.addVif(pod('b', 211, { floatingIps: [{ address: 'fd00::9', vrf: POD }] })),
    ],
    ['given twice', (a) => a.addVif(pod('b', 211, { floatingIps: [SERVICE_IP, SERVICE_IP] }))],
    [
      'port 1 of tcp twice',
      (a) =>
        a.addFloatingIp('a', {
          address: VIP,
          vrf: POD,
          ports: [
            { protocol: 'tcp', port: 1, toPort: 2 },
            { protocol: 'tcp', port: 1, toPort: 3 },
          ],
        }),
    ],
    ["no vif 'b'", (a) => a.updateVif(pod('b', 211))],
    ["no vif 'b'", (a) => a.removeVif('b')],
    ["vif 'a' has no floating IP", (a) => a.removeFloatingIp('a', VIP)],
    [
      "policy 'p': rules[0].source",
      (a) => a.addPolicy({ name: 'p', rules: [{ action: 'pass', source: 'x' }] }),
    ],
    [
      "policy 'p': rules[1].destinationPorts",
      (a) =>
        a.addPolicy({
          name: 'p',
          rules: [{ action: 'pass' }, { action: 'pass', destinationPorts: [9, 8] }],
        }),
    ],
    [
      'different families',
      (a) =>
        a.addPolicy({
          name: 'p',
          rules: [{ action: 'pass', source: 'fd00::/8', destination: '10.0.0.0/8' }],
        }),
    ],
    ["no policy 'p'", (a) => a.removePolicy('p')],
    [
      "source NAT 'n': vrf and toVrf",
      (a) => a.addSourceNat({ name: 'n', vrf: POD, toVrf: POD, address: '1.1.1.1', ports: [1, 2] }),
    ],
    [
      "source NAT 'n': 9 to 8",
      (a) =>
        a.addSourceNat({ name: 'n', vrf: POD, toVrf: SERVICE, address: '1.1.1.1', ports: [9, 8] }),
    ],
    ["no source NAT 'n'", (a) => a.removeSourceNat('n')],
  ];
  test.each(cases)('%s', (message, call) => {
    const before = JSON.stringify(node.agent.desired());
    expect(() => call(node.agent)).toThrow(message);
    node.agent.flush();
    expect(JSON.stringify(node.agent.desired())).toBe(before);
    expect(node.agent.audit()).toEqual([]);
  });

  test('a second way out of a network', () => {
    node.agent.addVrf({ name: 'x' });
    const nat = { name: 'n', vrf: POD, toVrf: SERVICE, address: '1.1.1.1', ports: [1, 2] } as const;
    node.agent.addSourceNat(nat);
    cluster.settle();
    const before = node.agent.counts();
    expect(() => node.agent.addSourceNat({ ...nat, name: 'm', toVrf: 'x' })).toThrow('another VRF');
    cluster.settle();
    expect(node.agent.counts()).toEqual(before);
  });

  test('after close', () => {
    node.agent.close();
    expect(() => node.agent.addVrf({ name: 'x' })).toThrow("agent 'cent222' is closed");
  });
});

describe('learned routes', () => {
  const underlay = {
    port: 0,
    mac: macOf('cent222'),
    ipv4: '10.169.25.20',
    neighbours: { '10.169.25.21': macOf('cent333') },
  };
  let source: StaticRouteSource;
  let node: Node;
  const learn = (...routes: Parameters<StaticRouteSource['replace']>[0]) => {
    source.replace(routes);
    source.flush();
    node.agent.flush();
  };
  beforeEach(() => {
    source = new StaticRouteSource();
    const dataplane = new RecordingDataplane();
    node = new Node(new Agent({ name: 'x', dataplane, routes: source, underlay }), dataplane);
    node.agent.addVrf({ name: 'v' });
    learn();
  });

  test('one way is a route, two are a set, and one again is a route', () => {
    const far = hop('10.169.25.21', 42);
    learn(route('v', '10.0.0.0/8', [far]));
    expect(node.route('v', '10.0.0.0/8')).toMatchObject({ label: 42, flags: 0 });
    learn(route('v', '10.0.0.0/8', [far, hop('10.169.25.21', 43, { weight: 5 })]));
    expect(node.members('v', '10.0.0.0/8')).toEqual([
      '0:10.169.25.21 label 42',
      '1:10.169.25.21 label 43',
    ]);
    learn(route('v', '10.0.0.0/8', [far]));
    expect(node.route('v', '10.0.0.0/8')).toMatchObject({ label: 42 });
    expect(node.rows('next_hops', 'nh_ecmp_set')).toEqual([]);
  });

  test('what cannot be reached is said, and comes when it can', () => {
    learn(route('v', '10.0.0.0/8', [hop('10.169.25.99', 42)]));
    expect(node.route('v', '10.0.0.0/8')).toBeUndefined();
    expect(node.agent.unresolved()).toMatchObject([
      {
        key: { prefix: '10.0.0.0/8' },
        reasons: [expect.stringContaining('10.169.25.99 label 42')],
      },
    ]);
    node.agent.setNeighbours({ ...underlay.neighbours, '10.169.25.99': '02:00:00:00:00:99' });
    node.agent.flush();
    expect(node.route('v', '10.0.0.0/8')).toMatchObject({ label: 42 });
    expect(node.agent.unresolved()).toEqual([]);
  });

  test('a neighbour with another MAC: its tunnel gets it, and no route or flow notices', () => {
    learn(route('v', '10.0.0.0/8', [hop('10.169.25.21', 42)]));
    (node.dataplane as RecordingDataplane).sent();
    node.agent.setNeighbours({ '10.169.25.21': '02:00:00:00:00:77' });
    node.agent.flush();
    const sent = (node.dataplane as RecordingDataplane).sent();
    expect(sent.map((op) => op.split(' ')[0])).toEqual(['nh_tunnel_set']);
  });

  test('a lost source: routes stay in use until it has spoken again', () => {
    const exchange = new RouteExchange();
    const dataplane = new RecordingDataplane();
    const attachment = exchange.attach('x');
    let listener: Parameters<typeof attachment.onUpdates>[0] = () => {};
    const onUpdates = attachment.onUpdates.bind(attachment);
    attachment.onUpdates = (heard) => {
      listener = heard;
      onUpdates(heard);
    };
    const agent = new Agent({ name: 'x', dataplane, routes: attachment, underlay });
    const lost = new Node(agent, dataplane);
    agent.addVrf({ name: 'v' });
    exchange.attach('y').publish(route('v', '10.0.0.0/8', [hop('10.169.25.21', 42)]));
    exchange.flush();
    agent.flush();
    listener([{ type: 'stale', instance: 'v' }]);
    agent.flush();
    expect(lost.route('v', '10.0.0.0/8')).toBeDefined();
    expect(agent.paths({ instance: 'v', family: 'inet', prefix: '10.0.0.0/8' })).toMatchObject([
      { stale: true },
    ]);
    listener([{ type: 'end-of-rib', instance: 'v' }]);
    agent.flush();
    expect(lost.route('v', '10.0.0.0/8')).toBeUndefined();
  });

  test('updates of a network left meanwhile do no harm', () => {
    source.replace([route('v', '10.0.0.0/8', [hop('10.169.25.21', 42)])]);
    source.flush();
    node.agent.removeVrf('v');
    node.agent.flush();
    expect(node.rows('routes', 'route_set')).toHaveLength(1);
  });
});
