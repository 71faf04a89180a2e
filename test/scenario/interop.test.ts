/**
 * Far ends that are not ours, both families outside and inside: the Linux kernel's VXLAN, routed, and MPLSoUDP and
 * MPLSoGRE as scapy reads the RFCs. What crossed is read by tshark.
 */
import { resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FAR, FAR_TOOLS, FarLab, GATEWAY, NODE, TENANT_MTU } from '../support/far-lab.ts';
import { whyNot } from '../support/lab.ts';

const SCRIPT = resolve(import.meta.dirname, '../support/far-end.py');
const VNI = 42;
/** One pod for each family of the underlay: the kernel routes to it by the device of that family. */
const PODS = {
  ipv4: { name: 'pod4', mac: '02:00:00:00:00:01', ipv4: '10.8.1.1', ipv6: 'fd00:8::1' },
  ipv6: { name: 'pod6', mac: '02:00:00:00:00:02', ipv4: '10.8.1.2', ipv6: 'fd00:8::2' },
} as const;
/** The kernel as a router behind its VNI. */
const KERNEL = {
  ipv4: { link: 'vx4', mac: '02:aa:00:00:00:04', ipv4: '10.8.2.4', ipv6: 'fd00:8:2::4' },
  ipv6: { link: 'vx6', mac: '02:aa:00:00:00:06', ipv4: '10.8.2.6', ipv6: 'fd00:8:2::6' },
} as const;
const FAMILIES = ['ipv4', 'ipv6'] as const;
type Family = (typeof FAMILIES)[number];

interface ScapyEnd {
  readonly name: string;
  readonly encap: 'udp' | 'gre';
  readonly far: string;
  readonly node: string;
  readonly tenant: string;
  readonly pod: string;
  readonly far_label: number;
}
const ENDS: readonly ScapyEnd[] = (['udp', 'gre'] as const).flatMap((encap) =>
  FAMILIES.flatMap((outer) =>
    FAMILIES.map((inner) => {
      const n =
        10 + (encap === 'udp' ? 0 : 4) + (outer === 'ipv4' ? 0 : 2) + (inner === 'ipv4' ? 0 : 1);
      return {
        name: `${encap} over ${outer}, ${inner} inside`,
        encap,
        far: outer === 'ipv4' ? `10.9.0.${n}` : `fd00:9::${n}`,
        node: NODE[outer],
        tenant: inner === 'ipv4' ? `10.8.3.${n}` : `fd00:8:3::${n}`,
        pod: PODS.ipv4[inner],
        far_label: 100 + n,
      };
    }),
  ),
);
const ROUNDS = 20;
const ASKED = 5;
const why = whyNot(...FAR_TOOLS, 'python3');

describe.skipIf(why !== undefined)('far ends that are not ours', () => {
  let at: FarLab;

  /** The kernel's VXLAN over one family; `more`: of `ip link add`. */
  async function addVxlan(outer: Family, ...more: string[]): Promise<void> {
    const { link, mac, ipv4, ipv6 } = KERNEL[outer];
    const pod = PODS[outer];
    const { far } = at;
    await far.ip(
      ...['link', 'add', link, 'address', mac, 'mtu', `${TENANT_MTU}`, 'type', 'vxlan'],
      ...['id', `${VNI}`, 'local', FAR[outer], 'dstport', '4789', 'dev', 'up0', ...more],
    );
    await far.set(`net/ipv6/conf/${link}/disable_ipv6`, '0');
    await far.ip('link', 'set', link, 'up');
    await far.ip('addr', 'add', `${ipv4}/32`, 'dev', link);
    await far.ip('addr', 'add', `${ipv6}/128`, 'dev', link, 'nodad');
    for (const [source, to] of [
      [ipv4, pod.ipv4],
      [ipv6, pod.ipv6],
    ]) {
      await far.ip('route', 'add', `${to}`, 'dev', link, 'src', `${source}`);
      await far.ip(
        ...['neigh', 'add', `${to}`, 'lladdr', GATEWAY.mac, 'dev', link, 'nud', 'permanent'],
      );
    }
    await at.far$('bridge', 'fdb', 'append', GATEWAY.mac, 'dev', link, 'dst', NODE[outer]);
  }

  beforeAll(async () => {
    const viaKernel = FAMILIES.flatMap((outer) => {
      const { mac, ipv4, ipv6 } = KERNEL[outer];
      const hops = [{ address: FAR[outer], label: VNI, encaps: ['vxlan'], mac }];
      return [ipv4, ipv6].map((prefix) => ({ instance: 'red', prefix, hops }));
    });
    const viaScapy = ENDS.map(({ tenant, far, far_label, encap }) => ({
      instance: 'red',
      prefix: tenant,
      hops: [{ address: far, label: far_label, encaps: [encap] }],
    }));
    at = await FarLab.make({
      pods: Object.values(PODS),
      vrf: { name: 'red', vni: VNI },
      routes: [...viaKernel, ...viaScapy],
    });
    await addVxlan('ipv4');
    await addVxlan('ipv6', 'udp6zerocsumrx');
  });
  afterAll(() => at?.close());

  for (const outer of FAMILIES) {
    for (const inner of FAMILIES) {
      it(`Linux VXLAN over ${outer}, ${inner} inside: echo and a page, both ways`, async () => {
        const [pod, there] = [PODS[outer], KERNEL[outer]];
        const inside = at.pod(pod.name);
        expect(await at.ping(inside, there[inner])).toContain(' 0% packet loss');
        expect(await at.ping(at.far, pod[inner])).toContain(' 0% packet loss');
        expect(await at.page(at.far, there[inner], inside)).toBe('whole');
        expect(await at.page(inside, pod[inner], at.far)).toBe('whole');
      });
    }
  }

  it('scapy as MPLSoUDP and MPLSoGRE far end: asks and is asked, and finds nothing wrong', async () => {
    const label = await at.label(PODS.ipv4.name);
    const ends = ENDS.map((end) => ({ ...end, label }));
    const plan = { mac: FAR.mac, node_mac: NODE.mac, rounds: ROUNDS, ends };
    const script = at.lab.start(
      'scapy',
      ['/usr/bin/python3', '-u', SCRIPT, 'up0', JSON.stringify(plan)],
      { namespace: at.far, mayEnd: true },
    );
    await at.ready(script);
    const pings = await Promise.all(
      ENDS.map(({ tenant }) => at.ping(at.pod(PODS.ipv4.name), tenant)),
    );
    for (const [i, said] of pings.entries())
      expect(said, ENDS[i]?.name).toContain(' 0% packet loss');
    await at.lab.poll(async () => undefined, 1000);
    const { out } = await script.stop();
    const seen = JSON.parse(out.trim().split('\n').at(-1) as string);
    for (const { name, encap } of ENDS) {
      const { ports, ...rest } = seen[name];
      expect(rest, name).toEqual({ requests: ASKED, answers: ROUNDS, wrong: [] });
      // Two connections: two source ports, so that the underlay's ECMP can tell them apart.
      expect(ports, name).toHaveLength(encap === 'udp' ? 2 : 0);
    }
  });

  it('the kernel over IPv6 takes no datagrams without a checksum unless told to', async () => {
    await at.far.ip('link', 'del', 'vx6');
    await addVxlan('ipv6');
    expect(await at.ping(at.pod('pod6'), KERNEL.ipv6.ipv4)).toContain('100% packet loss');
    await at.far.ip('link', 'del', 'vx6');
    await addVxlan('ipv6', 'udp6zerocsumrx', 'udp6zerocsumtx');
    expect(await at.ping(at.pod('pod6'), KERNEL.ipv6.ipv4)).toContain(' 0% packet loss');
    await at.far.ip('link', 'del', 'vx4');
    await addVxlan('ipv4', 'udpcsum');
    expect(await at.ping(at.pod('pod4'), KERNEL.ipv4.ipv4)).toContain(' 0% packet loss');
  });

  it('tshark finds nothing wrong, and each of them in both directions', async () => {
    const { malformed } = await at.verdict();
    expect(malformed).toEqual([]);
    const kinds = await at.kinds();
    const word = { ipv4: 'ip', ipv6: 'ipv6' } as const;
    const echo = { ipv4: 'ip:icmp', ipv6: 'ipv6:icmpv6' } as const;
    for (const way of ['in', 'out']) {
      for (const outer of FAMILIES) {
        for (const inner of FAMILIES) {
          const frames = (rest: string) =>
            [...kinds]
              .filter(([kind]) => kind.startsWith(`${way} eth:ethertype:${word[outer]}:${rest}`))
              .reduce((sum, [, n]) => sum + n, 0);
          const what = `${way}, ${inner} over ${outer}`;
          const page = `udp:vxlan:eth:ethertype:${word[inner]}:tcp`;
          expect(frames(page), `VXLAN ${what}`).toBeGreaterThan(100);
          for (const encap of ['udp', 'gre']) {
            const there = frames(`${encap}:mpls:${echo[inner]}`);
            expect(there, `${encap} ${what}`).toBeGreaterThanOrEqual(ASKED + ROUNDS);
          }
        }
      }
    }
  });
});
