/**
 * Connections that end while the kernel tier carries them, by FIN and by reset: their flows say what they say without
 * it, and their addresses and ports work again at once. And two tenants with the same addresses and ports, both carried.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { whyNot } from '../support/lab.ts';
import { addressOf, IDS, other, TierLab } from '../support/tier-lab.ts';

const why = whyNot('python3', 'tc', 'ping');
const END = { fin: 'done / 0 end', reset: 'done / 0 reset' } as const;
type How = keyof typeof END;
const PORT: Readonly<Record<How, number>> = { fin: 70, reset: 71 };

/** The connection, from the same port each time; its flows' TCP letters then, and how much of it was carried. */
async function connection(lab: TierLab, how: How) {
  const before = await lab.carried(1);
  const port = `${PORT[how]}`;
  const far = await lab.ends(lab.pod(2), true, 'finish', port, how);
  const near = await lab.ends(lab.pod(1), false, 'begin', port, how, addressOf(2));
  const [begun, finished] = [await near.ended, await far.ended];
  expect(begun.err + finished.err).toBe('');
  await sleep(300);
  const letters = (await lab.flows(1, `*:${port} & proto tcp`))
    .toSorted((a, b) => a.destinationPort - b.destinationPort)
    .map(({ destinationPort, tcp, action }) => `${destinationPort} ${action} ${tcp}`);
  return {
    said: `${begun.out.trim()} / ${finished.out.replace('ready', '').trim()}`,
    letters,
    carried: (await lab.carried(1)) - before,
  };
}

/** What it is without the tier, once for both kinds of pods. */
const without = new Map<How, readonly string[]>();

describe.skipIf(why !== undefined)('connections without the kernel tier', () => {
  it('end as they end', async () => {
    const lab = await TierLab.open({ pods: 'tap', tier: false });
    try {
      expect((await lab.tier(1)).reason).toBe('not asked for');
      for (const how of ['fin', 'reset'] as const) {
        const { said, letters, carried } = await connection(lab, how);
        expect(said).toBe(END[how]);
        expect(letters).toHaveLength(2);
        expect(carried).toBe(0);
        without.set(how, letters);
      }
      expect(without.get('fin')).not.toEqual(
        without.get('reset')?.map((text) => text.replace(`${PORT.reset} `, `${PORT.fin} `)),
      );
    } finally {
      await lab.close();
    }
  }, 60_000);
});

for (const pods of ['tap', 'veth'] as const) {
  describe.skipIf(why !== undefined)(`connections in the kernel tier, ${pods} pods`, () => {
    let lab: TierLab;
    beforeAll(async () => {
      lab = await TierLab.open({ pods, second: 'blue' });
    });
    afterAll(() => lab?.close());

    for (const how of ['fin', 'reset'] as const) {
      it(`ends by ${how} as without it, twice from the same port`, async () => {
        for (let i = 0; i < 2; i++) {
          const { said, letters, carried } = await connection(lab, how);
          expect(said).toBe(END[how]);
          expect(carried, 'carried').toBeGreaterThan(200);
          expect(letters).toEqual(without.get(how));
        }
      });
    }

    it('carries two tenants with the same addresses and ports, and mixes nothing', async () => {
      const [red, blue] = [
        await lab.stream(1000, { sizes: [64] }),
        await lab.stream(1000, { tenant: 'blue', sizes: [100] }),
      ];
      const begun = [red, blue].map((stream) => stream.arrivals().length);
      // More than one of them is.
      for (const id of IDS) await lab.untilCarried(id, red, 1.6);
      const ends = [await red.end(), await blue.end()];
      for (const [i, { missing, arrivals, sent }] of ends.entries()) {
        expect(missing).toEqual([]);
        expect(arrivals).toHaveLength(sent);
        expect(sent).toBeGreaterThan((begun[i] as number) + 300);
        expect(new Set(arrivals.map(({ size }) => size))).toEqual(new Set([i === 0 ? 64 : 100]));
      }
      const flows = await lab.flows(1, '*:9 & proto udp');
      const first = flows.filter((flow) => flow.initiator);
      expect(new Set(first.map(({ vrf }) => vrf)).size).toBe(2);
      expect(first.map(({ packets }) => packets).sort()).toEqual(
        ends.map(({ sent }) => sent).sort(),
      );
    });

    it("carries the packets of a tenant's own tunnel, all of them", async () => {
      for (const id of IDS) {
        const ends = ['remote', addressOf(other(id)), 'local', addressOf(id), 'dstport', '4789'];
        await lab.inPod(id, 'ip', 'link', 'add', 'own', 'type', 'vxlan', 'id', '7', ...ends);
        await lab.inPod(id, 'ip', 'addr', 'add', `192.168.9.${id}/24`, 'dev', 'own');
        await lab.inPod(id, 'ip', 'link', 'set', 'own', 'mtu', '1350', 'up');
      }
      const before = await lab.carried(1);
      await lab.inPod(1, 'ping', '-c', '3', '-i', '0.2', '-W', '2', '192.168.9.2');
      const flood = ['ping', '-q', '-f', '-c', '2000', '-w', '20', '-s', '1200', '192.168.9.2'];
      const { out } = await lab.inPod(1, ...flood);
      expect(out).toContain('2000 packets transmitted, 2000 received, 0% packet loss');
      await sleep(300);
      expect((await lab.carried(1)) - before).toBeGreaterThan(1000);
    });

    it('carries TCP of both at once, each its own bytes', async () => {
      const bytes = 24 << 20;
      const before = await lab.carried(1);
      const both = await Promise.all([
        lab.transfer(bytes, { seed: 10 }),
        lab.transfer(bytes, { tenant: 'blue', seed: 20 }),
      ]);
      for (const { near, far } of both) expect(near).toEqual([far[1], far[0], `${bytes}`]);
      expect(both[0]?.near).not.toEqual(both[1]?.near);
      await sleep(300);
      expect((await lab.carried(1)) - before).toBeGreaterThan(500);
    });
  });
}
