/**
 * A tunnel of the tenants' own, VXLAN between two pods, by real kernels: what a pod's kernel leaves uncut in it arrives
 * as it was sent, at another node and on the same one. A veth says that it takes such super-packets, a TAP does not.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Page } from '../../src/cli/protocol.ts';
import type { DropView, VifView } from '../../src/cli/views.ts';
import { whyNot } from '../support/lab.ts';
import { addressOf, type Id, type Tenant, TierLab } from '../support/tier-lab.ts';

const why = whyNot('python3', 'tc', 'ping');
const BYTES = 16 << 20;
/** Of the pods' links 1,450, less VXLAN's headers over IPv4. */
const INNER_MTU = 1400;

interface Far {
  readonly to: readonly [Id, Tenant];
  readonly vni: number;
  readonly net: number;
  /** Whether the outer datagrams have checksums. */
  readonly sum: 'udpcsum' | 'noudpcsum';
}
/** Who speaks with red's pod of node 1, in tunnels of their own. */
const FAR: Readonly<Record<string, Far>> = {
  'at the other node': { to: [2, 'red'], vni: 7, net: 9, sum: 'noudpcsum' },
  'at the other node, summed up': { to: [2, 'guest'], vni: 8, net: 10, sum: 'udpcsum' },
  'at the same node': { to: [1, 'guest'], vni: 9, net: 11, sum: 'udpcsum' },
};
const INNER = {
  IPv4: (net: number, end: 1 | 2) => `192.168.${net}.${end}`,
  IPv6: (net: number, end: 1 | 2) => `fd00:${net}::${end}`,
} as const;

for (const { pods, tier, wire } of [
  { pods: 'veth', tier: false, wire: false },
  { pods: 'veth', tier: false, wire: true },
  { pods: 'veth', tier: true, wire: false },
  { pods: 'tap', tier: false, wire: false },
] as const) {
  const title = `a tenant's own VXLAN over ${pods} pods${wire ? ', plain wire' : ''}${tier ? ', kernel tier' : ''}`;
  describe.skipIf(why !== undefined)(title, () => {
    let lab: TierLab;
    const podVif = async () => {
      const { items } = await lab.call<Page<VifView>>(1, 'vif.list');
      return items.find(({ name }) => name === 'red') as VifView;
    };
    const invalid = async (id: Id) => {
      const drops = await lab.call<DropView[]>(id, 'dropstats.get');
      return Number(drops.find(({ name }) => name === 'Invalid Packets')?.packets);
    };

    beforeAll(async () => {
      lab = await TierLab.open({ pods, tier, wire, second: 'guest' });
      for (const { to, vni, net, sum } of Object.values(FAR)) {
        const [far, near] = [lab.pod(...to), lab.pod(1)];
        const [farAddress, nearAddress] = [addressOf(...to), addressOf(1)];
        for (const [end, namespace, local, remote] of [
          [1, near, nearAddress, farAddress],
          [2, far, farAddress, nearAddress],
        ] as const) {
          const name = `own${vni}`;
          await namespace.ip(
            ...['link', 'add', name, 'type', 'vxlan', 'id', `${vni}`, 'local', local],
            ...['remote', remote, 'dstport', '4789', sum],
          );
          await namespace.set(`net/ipv6/conf/${name}/disable_ipv6`, '0');
          await namespace.ip('addr', 'add', `${INNER.IPv4(net, end)}/24`, 'dev', name);
          await namespace.ip('addr', 'add', `${INNER.IPv6(net, end)}/64`, 'dev', name, 'nodad');
          await namespace.ip('link', 'set', name, 'mtu', `${INNER_MTU}`, 'up');
        }
      }
    });
    afterAll(() => lab?.close());

    for (const [where, { to, net }] of Object.entries(FAR)) {
      for (const family of ['IPv4', 'IPv6'] as const) {
        it(`carries TCP over ${family} in it, ${where}`, async () => {
          const [before, refused] = [await podVif(), await invalid(1)];
          const address = INNER[family](net, 2);
          const { near, far } = await lab.transfer(BYTES, { to, address });
          expect(near).toEqual([far[1], far[0], `${BYTES}`]);
          expect((await invalid(1)) - refused).toBe(0);
          // Of a veth, not all of it came by the segment.
          const came = Number((await podVif()).rx.packets) - Number(before.rx.packets);
          if (pods === 'veth' && !tier) expect(came).toBeLessThan(BYTES / INNER_MTU);
        });
      }
    }
  });
}
