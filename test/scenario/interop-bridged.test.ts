/**
 * The Linux kernel's VXLAN, bridged: a bridge with a VXLAN device in the same virtual network as two pods, the
 * node told of its MAC and of where broadcasts go, the kernel learning ours. ARP is flooded, nobody routes.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FAR, FAR_TOOLS, FarLab, GATEWAY, NODE, TENANT_MTU } from '../support/far-lab.ts';
import { whyNot } from '../support/lab.ts';

const VNI = 42;
const FAR_HOST = { ipv4: '10.8.1.20', ipv6: 'fd00:8::20', mac: '02:bb:00:00:00:20' };
const POD = { name: 'pod', mac: '02:00:00:00:00:01', ipv4: '10.8.1.1', ipv6: 'fd00:8::1' };
const OTHER = { name: 'other', mac: '02:00:00:00:00:02', ipv4: '10.8.1.2', ipv6: 'fd00:8::2' };
const BROADCAST = 'ff:ff:ff:ff:ff:ff';
const why = whyNot(...FAR_TOOLS);

describe.skipIf(why !== undefined)('the kernel as a far end of layer 2', () => {
  let at: FarLab;
  const hops = [{ address: FAR.ipv4, label: VNI, encaps: ['vxlan'] }];

  beforeAll(async () => {
    at = await FarLab.make({
      pods: [POD, OTHER],
      onLink: true,
      vrf: { name: 'red', vni: VNI },
      routes: [
        { instance: 'red', mac: FAR_HOST.mac, hops },
        { instance: 'red', mac: BROADCAST, hops },
      ],
    });
    const { far } = at;
    await far.ip(
      ...['link', 'add', 'vx0', 'type', 'vxlan', 'id', `${VNI}`, 'local', FAR.ipv4],
      ...['dstport', '4789', 'dev', 'up0'],
    );
    await far.ip('link', 'add', 'br0', 'address', FAR_HOST.mac, 'type', 'bridge', 'stp_state', '0');
    for (const link of ['vx0', 'br0']) await far.ip('link', 'set', link, 'mtu', `${TENANT_MTU}`);
    await far.ip('link', 'set', 'vx0', 'master', 'br0');
    // Where the kernel floods to; who is behind it is learned.
    await at.far$('bridge', 'fdb', 'append', '00:00:00:00:00:00', 'dev', 'vx0', 'dst', NODE.ipv4);
    await far.set('net/ipv6/conf/br0/disable_ipv6', '0');
    await far.ip('link', 'set', 'vx0', 'up');
    await far.ip('link', 'set', 'br0', 'up');
    await far.ip('addr', 'add', `${FAR_HOST.ipv4}/24`, 'dev', 'br0');
    await far.ip('addr', 'add', `${FAR_HOST.ipv6}/64`, 'dev', 'br0', 'nodad');
  });
  afterAll(() => at?.close());

  it('a pod finds the far host by ARP, and the far host the pod', async () => {
    expect(await at.ping(at.pod('pod'), FAR_HOST.ipv4)).toContain(' 0% packet loss');
    expect(await at.pod('pod').neighbour(FAR_HOST.ipv4)).toBe(FAR_HOST.mac);
    await at.far.ip('neigh', 'flush', 'all');
    expect(await at.ping(at.far, OTHER.ipv4)).toContain(' 0% packet loss');
    expect(await at.far.neighbour(OTHER.ipv4)).toBe(OTHER.mac);
    const learned = await at.far$('bridge', 'fdb', 'show', 'dev', 'vx0');
    expect(learned).toMatch(new RegExp(`${POD.mac}.*dst ${NODE.ipv4}`));
    expect(learned, 'nothing is the gateway’s').not.toContain(GATEWAY.mac);
  });

  it('the same by neighbour discovery', async () => {
    expect(await at.ping(at.pod('pod'), FAR_HOST.ipv6)).toContain(' 0% packet loss');
    expect(await at.pod('pod').neighbour(FAR_HOST.ipv6)).toBe(FAR_HOST.mac);
    await at.far.ip('neigh', 'flush', 'all');
    expect(await at.ping(at.far, OTHER.ipv6)).toContain(' 0% packet loss');
    expect(await at.far.neighbour(OTHER.ipv6)).toBe(OTHER.mac);
  });

  it('a page each way, and between the pods', async () => {
    expect(await at.page(at.far, FAR_HOST.ipv4, at.pod('pod'))).toBe('whole');
    expect(await at.page(at.pod('pod'), POD.ipv4, at.far)).toBe('whole');
    expect(await at.page(at.pod('other'), OTHER.ipv4, at.pod('pod'))).toBe('whole');
  });

  it('a broadcast of the far end reaches both pods, none goes back; one of a pod reaches the rest', async () => {
    const heard = ['pod', 'other'].map((name) =>
      at.lab.start(`tcpdump ${name}`, ['tcpdump', '-ln', '-i', 'eth0', 'arp'], {
        namespace: at.pod(name),
        mayEnd: true,
      }),
    );
    for (const service of heard) await at.ready(service, 'listening');
    // An address nobody has: asked for three times, flooded each time.
    await at.inFar('ping', '-c', '1', '-W', '2', '10.8.1.77');
    await at.inPod('pod', 'ping', '-c', '1', '-W', '2', '10.8.1.78');
    const [pod = '', other = ''] = await Promise.all(heard.map(async (s) => (await s.stop()).out));
    const times = (text: string, address: string) => text.split(`who-has ${address} `).length - 1;
    expect(times(pod, '10.8.1.77')).toBeGreaterThan(0);
    expect(times(other, '10.8.1.77')).toBe(times(pod, '10.8.1.77'));
    expect(times(other, '10.8.1.78'), 'asked once, heard once').toBe(times(pod, '10.8.1.78'));
  });

  it('tshark finds nothing wrong, and each kind in both directions', async () => {
    const { malformed, frames } = await at.verdict();
    expect(malformed).toEqual([]);
    expect(frames).toBeGreaterThan(100);
    const kinds = await at.kinds();
    const tunnelled = (way: string, what: string) =>
      [...kinds]
        .filter(([kind]) =>
          kind.startsWith(`${way} eth:ethertype:ip:udp:vxlan:eth:ethertype:${what}`),
        )
        .reduce((sum, [, n]) => sum + n, 0);
    for (const way of ['in', 'out']) {
      expect(tunnelled(way, 'arp'), `ARP ${way}`).toBeGreaterThan(1);
      expect(tunnelled(way, 'ip:icmp'), `echo ${way}`).toBeGreaterThanOrEqual(10);
      expect(tunnelled(way, 'ipv6:icmpv6'), `echo ${way}`).toBeGreaterThanOrEqual(12);
      expect(tunnelled(way, 'ip:tcp'), `TCP ${way}`).toBeGreaterThan(100);
    }
    const back = `ip.src == ${NODE.ipv4} && arp.dst.proto_ipv4 == 10.8.1.77`;
    expect(await at.count(back), 'split horizon').toBe(0);
  });

  it('routes of MACs come and go at run time', async () => {
    const key = { instance: 'red', mac: FAR_HOST.mac.toUpperCase() };
    await at.call('route.remove', key);
    expect(await at.ping(at.pod('pod'), FAR_HOST.ipv4)).toContain('100% packet loss');
    await at.call('route.set', { ...key, hops });
    expect(await at.ping(at.pod('pod'), FAR_HOST.ipv4)).toContain(' 0% packet loss');
  });
});
