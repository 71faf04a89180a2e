/**
 * Open vSwitch in its userspace datapath as far end: VXLAN in the same virtual network, over both families, and
 * MPLSoGRE, which it speaks when its flows push and pop the label themselves. It has a database, a run directory and
 * processes of its own; the system's service is neither used nor touched. It has no MPLSoUDP; what its plain GRE
 * carries (Ethernet, protocol 0x6558) is no tunnel of ours.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { DropLogView } from '../../src/cli/views.ts';
import { FAR, FAR_TOOLS, FarLab, GATEWAY, NODE, TENANT_MTU } from '../support/far-lab.ts';
import { whyNot } from '../support/lab.ts';

const VNI = 42;
const FAMILIES = ['ipv4', 'ipv6'] as const;
type Family = (typeof FAMILIES)[number];
/** One pod, and one host of each kind, for each family of the underlay. */
const PODS = {
  ipv4: { name: 'pod4', mac: '02:00:00:00:00:01', ipv4: '10.8.1.1', ipv6: 'fd00:8::1' },
  ipv6: { name: 'pod6', mac: '02:00:00:00:00:02', ipv4: '10.8.1.2', ipv6: 'fd00:8::2' },
} as const;
const BRIDGED = {
  ipv4: { bridge: 'br-vx4', port: 'vx4', ipv4: '10.8.1.24', mac: '02:bb:00:00:00:24' },
  ipv6: { bridge: 'br-vx6', port: 'vx6', ipv4: '10.8.1.26', mac: '02:bb:00:00:00:26' },
} as const;
const LABELLED = {
  ipv4: {
    bridge: 'br-gre4',
    port: 'gre4',
    mac: '02:cc:00:00:00:24',
    ipv4: '10.8.2.24',
    ipv6: 'fd00:8:2::24',
    labels: { ipv4: 244, ipv6: 246 },
  },
  ipv6: {
    bridge: 'br-gre6',
    port: 'gre6',
    mac: '02:cc:00:00:00:26',
    ipv4: '10.8.2.26',
    ipv6: 'fd00:8:2::26',
    labels: { ipv4: 264, ipv6: 266 },
  },
} as const;
const SCHEMA = '/usr/share/openvswitch/vswitch.ovsschema';
const why = whyNot(
  ...FAR_TOOLS,
  'ovsdb-tool',
  'ovsdb-server',
  'ovs-vswitchd',
  'ovs-vsctl',
  'ovs-ofctl',
  'ovs-appctl',
);

describe.skipIf(why !== undefined)('Open vSwitch as a far end', () => {
  let at: FarLab;
  const vsctl = (...argv: string[]) =>
    at.far$('ovs-vsctl', `--db=unix:${at.lab.path('ovsdb.sock')}`, '--timeout=10', ...argv);
  const ofctl = (verb: string, bridge: string, flow: string) =>
    at.far$('ovs-ofctl', '-O', 'OpenFlow13', verb, `unix:${at.lab.path(`${bridge}.mgmt`)}`, flow);
  const appctl = (...argv: string[]) =>
    at.far$('ovs-appctl', '-t', at.lab.path('vswitchd.ctl'), ...argv);

  async function startOvs(): Promise<void> {
    const { lab, far } = at;
    const env = {
      OVS_RUNDIR: lab.directory,
      OVS_LOGDIR: lab.directory,
      OVS_DBDIR: lab.directory,
      OVS_SYSCONFDIR: lab.directory,
    };
    const [conf, socket] = [lab.path('conf.db'), `unix:${lab.path('ovsdb.sock')}`];
    await at.far$('ovsdb-tool', 'create', conf, SCHEMA);
    const database = lab.start(
      'ovsdb-server',
      ['ovsdb-server', conf, `--remote=p${socket}`, `--unixctl=${lab.path('ovsdb.ctl')}`],
      { namespace: far, env },
    );
    await at.ready(database, 'ovsdb-server (Open vSwitch)');
    await vsctl('--no-wait', 'init');
    lab.start(
      'ovs-vswitchd',
      ['ovs-vswitchd', socket, `--unixctl=${lab.path('vswitchd.ctl')}`, '--disable-system'],
      { namespace: far, env },
    );
    await lab.until('ovs-vswitchd', () => appctl('version'), 10_000);
  }

  /** The switch has the wire, and the underlay addresses are its bridge's. */
  async function takeWire(): Promise<void> {
    const { far } = at;
    await far.ip('addr', 'flush', 'dev', 'up0');
    // The kernel sees all frames of up0 as well: none may look like its own.
    await far.ip('link', 'set', 'up0', 'address', '02:00:0a:09:00:ee');
    await far.set('net/ipv4/conf/up0/arp_ignore', '1');
    await far.set('net/ipv6/conf/up0/disable_ipv6', '1');
    await vsctl(
      ...['add-br', 'br-phy', '--', 'set', 'bridge', 'br-phy', 'datapath_type=netdev'],
      ...[`other-config:hwaddr="${FAR.mac}"`, '--', 'add-port', 'br-phy', 'up0'],
    );
    await far.set('net/ipv6/conf/br-phy/disable_ipv6', '0');
    await far.ip('link', 'set', 'br-phy', 'up');
    await far.ip('addr', 'add', `${FAR.ipv4}/24`, 'dev', 'br-phy');
    await far.ip('addr', 'add', `${FAR.ipv6}/64`, 'dev', 'br-phy', 'nodad');
  }

  /** Frames for the pods' network: a switch that learns, a VXLAN port to the node, a host behind it. */
  async function addBridged(outer: Family): Promise<void> {
    const { bridge, port, ipv4, mac } = BRIDGED[outer];
    await vsctl(
      ...['add-br', bridge, '--', 'set', 'bridge', bridge, 'datapath_type=netdev'],
      ...[`other-config:hwaddr="${mac}"`, '--', 'add-port', bridge, port, '--'],
      ...['set', 'interface', port, 'type=vxlan', `options:remote_ip="${NODE[outer]}"`],
      ...[`options:local_ip="${FAR[outer]}"`, `options:key=${VNI}`],
    );
    await addHost(bridge, outer, { ipv4 });
  }

  /** The bridge's own port as a host; it reaches the pod of that family. */
  async function addHost(
    bridge: string,
    outer: Family,
    addresses: { ipv4: string; ipv6?: string },
  ): Promise<void> {
    const { far } = at;
    await far.set(`net/ipv4/conf/${bridge}/arp_ignore`, '1');
    if (addresses.ipv6 !== undefined) await far.set(`net/ipv6/conf/${bridge}/disable_ipv6`, '0');
    await far.ip('link', 'set', bridge, 'mtu', `${TENANT_MTU}`, 'up');
    for (const family of FAMILIES) {
      const address = addresses[family];
      if (address === undefined) continue;
      await far.ip('addr', 'replace', address, 'dev', bridge, 'nodad');
      await far.ip('route', 'replace', PODS[outer][family], 'dev', bridge, 'src', address);
    }
  }

  /** A label for each family, pushed and popped by the switch's flows: legacy_l3 ports carry no Ethernet. */
  async function addMplsOverGre(outer: Family): Promise<void> {
    const { bridge, port, mac, labels, ...addresses } = LABELLED[outer];
    await vsctl(
      ...['add-br', bridge, '--', 'set', 'bridge', bridge, 'datapath_type=netdev'],
      ...['fail-mode=secure', `other-config:hwaddr="${mac}"`, '--', 'add-port', bridge, port, '--'],
      ...['set', 'interface', port, 'type=gre', `options:remote_ip="${NODE[outer]}"`],
      ...[`options:local_ip="${FAR[outer]}"`, 'options:packet_type=legacy_l3'],
    );
    const label = await at.label(PODS[outer].name);
    for (const [family, type] of [
      ['ip', '0x0800'],
      ['ipv6', '0x86dd'],
    ] as const) {
      const push = `push_mpls:0x8847,set_field:${label}->mpls_label,output:${port}`;
      const pop = `pop_mpls:${type},set_field:${mac}->eth_dst,set_field:${GATEWAY.mac}->eth_src,LOCAL`;
      const theirs = labels[family === 'ip' ? 'ipv4' : 'ipv6'];
      await ofctl('add-flow', bridge, `in_port=LOCAL,${family},actions=${push}`);
      await ofctl('add-flow', bridge, `in_port=${port},mpls,mpls_label=${theirs},actions=${pop}`);
    }
    await addHost(bridge, outer, addresses);
    for (const family of FAMILIES) {
      const to = PODS[outer][family];
      await at.far.ip('neigh', 'add', to, 'lladdr', GATEWAY.mac, 'dev', bridge, 'nud', 'permanent');
    }
  }

  beforeAll(async () => {
    const hop = (outer: Family) => ({ address: FAR[outer], label: VNI, encaps: ['vxlan'] });
    const labelled = FAMILIES.flatMap((outer) =>
      FAMILIES.map((inner) => ({
        instance: 'red',
        prefix: LABELLED[outer][inner],
        hops: [{ address: FAR[outer], label: LABELLED[outer].labels[inner], encaps: ['gre'] }],
      })),
    );
    at = await FarLab.make({
      pods: Object.values(PODS),
      onLink: true,
      vrf: { name: 'red', vni: VNI },
      routes: [
        ...FAMILIES.map((outer) => ({
          instance: 'red',
          mac: BRIDGED[outer].mac,
          hops: [hop(outer)],
        })),
        { instance: 'red', mac: 'ff:ff:ff:ff:ff:ff', hops: FAMILIES.map(hop) },
        ...labelled,
      ],
    });
    await startOvs();
    await takeWire();
    for (const outer of FAMILIES) await addBridged(outer);
  });
  afterAll(() => at?.close());

  for (const outer of FAMILIES) {
    it(`VXLAN over ${outer}, bridged: ARP, echo and a page, both ways`, async () => {
      const [pod, there] = [PODS[outer], BRIDGED[outer]];
      const inside = at.pod(pod.name);
      expect(await at.ping(inside, there.ipv4)).toContain(' 0% packet loss');
      expect(await inside.neighbour(there.ipv4)).toBe(there.mac);
      expect(await at.ping(at.far, pod.ipv4)).toContain(' 0% packet loss');
      expect(await at.page(at.far, there.ipv4, inside)).toBe('whole');
      expect(await at.page(inside, pod.ipv4, at.far)).toBe('whole');
    });
  }

  for (const outer of FAMILIES) {
    describe(`MPLSoGRE over ${outer}`, () => {
      // From now on the pod is reached by label.
      beforeAll(() => addMplsOverGre(outer));

      it.each(FAMILIES)('%s inside: echo and a page, both ways', async (inner) => {
        const [pod, there] = [PODS[outer], LABELLED[outer]];
        const inside = at.pod(pod.name);
        expect(await at.ping(inside, there[inner])).toContain(' 0% packet loss');
        expect(await at.ping(at.far, pod[inner])).toContain(' 0% packet loss');
        expect(await at.page(at.far, there[inner], inside)).toBe('whole');
        expect(await at.page(inside, pod[inner], at.far)).toBe('whole');
      });
    });
  }

  it('plain GRE, with Ethernet inside, is no tunnel of ours', async () => {
    const port = ['set', 'interface', 'teb', 'type=gre', `options:remote_ip=${NODE.ipv4}`];
    await vsctl('add-port', BRIDGED.ipv4.bridge, 'teb', '--', ...port, 'options:key=7');
    await vsctl('del-port', BRIDGED.ipv4.bridge, BRIDGED.ipv4.port);
    await addHost(BRIDGED.ipv4.bridge, 'ipv4', { ipv4: BRIDGED.ipv4.ipv4 });
    const before = (await at.call<DropLogView[]>('dropstats.log', {})).at(-1)?.number ?? 0;
    expect(await at.ping(at.far, PODS.ipv4.ipv4)).toContain('100% packet loss');
    const drops = await at.call<DropLogView[]>('dropstats.log', { after: before });
    expect(drops.map(({ text }) => text)).toContainEqual(expect.stringContaining('GRE'));
  });

  it('tshark finds nothing wrong, and each kind in both directions', async () => {
    const { malformed } = await at.verdict();
    expect(malformed).toEqual([]);
    const kinds = await at.kinds();
    for (const way of ['in', 'out']) {
      for (const outer of ['ip', 'ipv6']) {
        for (const inside of [
          'udp:vxlan:eth:ethertype:arp',
          'udp:vxlan:eth:ethertype:ip:icmp',
          'udp:vxlan:eth:ethertype:ip:tcp',
          'gre:mpls:ip:icmp',
          'gre:mpls:ip:tcp',
          'gre:mpls:ipv6:icmpv6',
          'gre:mpls:ipv6:tcp',
        ]) {
          const kind = `${way} eth:ethertype:${outer}:${inside}`;
          const there = [...kinds].filter(([name]) => name.startsWith(kind));
          expect(there, kind).not.toEqual([]);
        }
      }
    }
  });
});
