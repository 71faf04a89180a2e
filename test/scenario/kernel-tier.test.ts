/**
 * What the kernel tier carries, and how it is counted: TCP both ways at once, UDP, and datagrams in fragments, of pods
 * behind TAPs and behind veths, over an underlay with its offloads and over a plain wire.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { StatusView } from '../../src/cli/views.ts';
import { whyNot } from '../support/lab.ts';
import { addressOf, IDS, type Id, type Plan, TierLab } from '../support/tier-lab.ts';

const why = whyNot('python3', 'tc', 'ethtool', 'ping');
/** Datagrams of a super-packet. */
const BATCH = 8;

interface Variant extends Plan {
  readonly name: string;
  /** Each way: with offloads a packet is up to 64 KiB, and the first 256 of a half are not carried. */
  readonly bytes: number;
}
const VARIANTS: readonly Variant[] = [
  {
    name: 'TAPs, offloads, nothing merged',
    pods: 'tap',
    uplink: 'shared',
    coalesce: false,
    bytes: 80 << 20,
  },
  { name: 'TAPs, a plain wire', pods: 'tap', uplink: 'joined', wire: true, bytes: 8 << 20 },
  { name: 'veths, offloads', pods: 'veth', uplink: 'joined', bytes: 80 << 20 },
  {
    name: 'veths, a plain wire, nothing merged',
    pods: 'veth',
    uplink: 'shared',
    wire: true,
    coalesce: false,
    bytes: 8 << 20,
  },
];

interface Seen {
  /** As the pod's own kernel has it: the companion's are the pod's too. */
  readonly pod: { readonly sent: number; readonly got: number };
  readonly vif: { readonly rx: number; readonly tx: number };
  readonly bytes: { readonly rx: number; readonly tx: number };
  readonly fabric: { readonly rx: number; readonly tx: number };
  readonly totals: Readonly<Record<string, number>>;
  readonly carried: number;
}

async function look(lab: TierLab, id: Id): Promise<Seen> {
  const links = JSON.parse(await lab.pod(id).ip('-s', '-j', 'link')) as {
    readonly ifname: string;
    readonly stats64: Record<'rx' | 'tx', { readonly packets: number }>;
  }[];
  const own = links.filter(({ ifname }) => ifname !== 'lo');
  const sum = (way: 'rx' | 'tx') => own.reduce((n, { stats64 }) => n + stats64[way].packets, 0);
  const [vif, fabric] = [await lab.vif(id, 'red'), await lab.vif(id, 'fabric')];
  const { totals, kernelTier } = await lab.call<StatusView>(id, 'status');
  return {
    pod: { sent: sum('tx'), got: sum('rx') },
    vif: { rx: Number(vif.rx.packets), tx: Number(vif.tx.packets) },
    bytes: { rx: Number(vif.rx.bytes), tx: Number(vif.tx.bytes) },
    fabric: { rx: Number(fabric.rx.packets), tx: Number(fabric.tx.packets) },
    totals: Object.fromEntries(Object.entries(totals).map(([key, n]) => [key, Number(n)])),
    carried: Number(kernelTier.packets),
  };
}

for (const variant of VARIANTS) {
  describe.skipIf(why !== undefined)(`kernel tier: ${variant.name}`, () => {
    let lab: TierLab;
    beforeAll(async () => {
      lab = await TierLab.open(variant);
    });
    afterAll(() => lab?.close());

    /** By this process, of what is not carried: fewer packets reach the pod than its vif has sent. */
    const merged = variant.coalesce !== false;

    /** Between two looks: what its pod, its fabric and its flows say of a vif. */
    function agree(before: Seen, after: Seen, tcp: boolean): void {
      const more = (of: (seen: Seen) => number) => of(after) - of(before);
      const { rx, tx } = {
        rx: more(({ vif }) => vif.rx),
        tx: more(({ vif }) => vif.tx),
      };
      expect(rx, 'what the pod sent').toBe(more(({ pod }) => pod.sent));
      const got = more(({ pod }) => pod.got);
      if (merged && tcp) {
        expect(got).toBeGreaterThan(0);
        expect(got).toBeLessThanOrEqual(tx);
      } else {
        expect(got, 'what the pod got').toBe(tx);
      }
      expect(more(({ fabric }) => fabric.tx)).toBe(rx);
      expect(more(({ fabric }) => fabric.rx)).toBe(tx);
      const { received, forwarded } = after.totals as Record<string, number>;
      expect(received).toBe(forwarded! + settled(after));
      expect(more(({ totals }) => totals['received'] ?? 0)).toBe(rx + tx);
    }
    const settled = ({ totals }: Seen) =>
      ['replied', 'punted', 'dropped', 'consumed', 'held'].reduce(
        (n, key) => n + (totals[key] ?? Number.NaN),
        0,
      );
    const lookAtBoth = async () => ({ 1: await look(lab, 1), 2: await look(lab, 2) });

    it('is on, at the NIC and at the pod', async () => {
      for (const id of IDS) {
        const { on, reason, devices } = (await lab.call<StatusView>(id, 'status')).kernelTier;
        expect({ on, reason }).toEqual({ on: true, reason: '' });
        expect(devices.map(({ device, way }) => `${device}: ${way}`).sort()).toEqual(
          variant.pods === 'tap'
            ? ['eth0: tenant tap', 'up0: fabric']
            : ['p-red: tenant', 'up0: fabric'],
        );
      }
    });

    it('carries TCP both ways at once, byte for byte, and counts what it carried', async () => {
      const before = await lookAtBoth();
      const { near, far } = await lab.transfer(variant.bytes);
      expect(near).toEqual([far[1], far[0], `${variant.bytes}`]);
      await sleep(300); // carried packets are counted every 100 ms
      const after = await lookAtBoth();
      for (const id of IDS) {
        const [was, is] = [before[id], after[id]];
        expect(is.carried - was.carried, `carried by node ${id}`).toBeGreaterThan(
          (is.totals['received']! - was.totals['received']!) / 3,
        );
        agree(was, is, true);
        const flows = await lab.flows(id, '*:8080 & proto tcp');
        expect(flows).toHaveLength(2);
        for (const flow of flows) {
          const way = flow.source === addressOf(id) ? 'rx' : 'tx';
          const packets = is.vif[way] - was.vif[way];
          expect(flow.packets).toBe(packets);
          // An Ethernet header each.
          expect(flow.bytes).toBe(is.bytes[way] - was.bytes[way] - 14 * packets);
          expect(flow.bytes).toBeGreaterThan(variant.bytes);
        }
      }
    });

    it('carries UDP, and loses and invents none', async () => {
      const before = await lookAtBoth();
      const stream = await lab.stream(2000);
      for (const id of IDS) await lab.untilCarried(id, stream);
      const { sent, missing, arrivals } = await stream.end();
      expect(missing).toEqual([]);
      expect(arrivals).toHaveLength(sent);
      const after = await lookAtBoth();
      for (const id of IDS) agree(before[id], after[id], false);
      const [flow] = (await lab.flows(1, '*:9 & proto udp')).filter((one) => one.initiator);
      expect(flow).toMatchObject({ packets: sent, bytes: sent * (64 + 28) });
    });

    it('carries datagrams that are sent as super-packets, each as it was', async () => {
      const before = await lookAtBoth();
      const stream = await lab.stream(8000, { sizes: [1000], batch: BATCH, port: 11 });
      await lab.lab.until(
        'some thousands of them',
        async () => (stream.arrivals().length > 6000 ? true : undefined),
        10_000,
      );
      const { sent, missing, arrivals } = await stream.end();
      expect(missing).toEqual([]);
      expect(arrivals).toHaveLength(sent);
      expect(new Set(arrivals.map(({ size }) => size))).toEqual(new Set([1000]));
      const after = await lookAtBoth();
      for (const id of IDS) agree(before[id], after[id], false);
      expect(after[1].carried - before[1].carried).toBeGreaterThan(6000 / BATCH / 4);
    });

    it('leaves datagrams above the MTU to the process: their fragments arrive, among others', async () => {
      const big = 4000;
      const small = Array.from({ length: 299 }, () => 64);
      const stream = await lab.stream(1500, { sizes: [...small, big], port: 10 });
      // Carried between two of them.
      await lab.untilCarried(1, stream, 0.05);
      await lab.lab.until(
        'three of them',
        async () => (stream.arrivals().length > 900 ? true : undefined),
        5_000,
      );
      const { sent, missing, arrivals } = await stream.end();
      expect(missing).toEqual([]);
      expect(arrivals).toHaveLength(sent);
      const sizes = new Set(arrivals.map(({ size }) => size));
      expect([...sizes].sort()).toEqual([big, 64]);
      for (const { number, size } of arrivals) expect(size).toBe(number % 300 === 299 ? big : 64);
    });
  });
}
