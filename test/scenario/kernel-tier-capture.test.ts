/**
 * Looking at a flow that the kernel tier carries: a capture gets all of its packets while it lasts, `why` and `explain`
 * answer as ever, and then it is carried again.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ExplainView } from '../../src/cli/views.ts';
import { whyNot } from '../support/lab.ts';
import { addressOf, IDS, MAIN, TierLab } from '../support/tier-lab.ts';

const why = whyNot('python3', 'tc', 'ping');
const RATE = 1000;

for (const pods of ['tap', 'veth'] as const) {
  describe.skipIf(why !== undefined)(`kernel tier looked at, ${pods} pods`, () => {
    let lab: TierLab;
    beforeAll(async () => {
      lab = await TierLab.open({ pods });
    });
    afterAll(() => lab?.close());

    it('a capture sees the packets that were carried, and then they are carried again', async () => {
      const stream = await lab.stream(RATE);
      for (const id of IDS) await lab.untilCarried(id, stream);
      for (const [id, direction] of [
        [1, 'in'],
        [2, 'out'],
      ] as const) {
        const words = ['capture', 'red', 'udp port 9', '--direction', direction, '--json'];
        const argv = [process.execPath, MAIN, ...words, '--sock', lab.socket(id)];
        const capture = lab.lab.start('capture', argv, { mayEnd: true });
        await lab.lab.until(
          'the capture',
          async () => (/Ctrl-C/.test(capture.err()) ? true : undefined),
          10_000,
        );
        const begin = stream.arrivals().at(-1)!.number;
        await sleep(1000);
        const end = stream.arrivals().at(-1)!.number;
        process.kill(capture.pid, 'SIGINT');
        const { status, out, err } = await capture.ended;
        expect(status, err).toBe(0);
        const seen = new Set(
          out
            .trim()
            .split('\n')
            .map((line) => {
              const { packet } = JSON.parse(line) as { packet: string };
              return Number(Buffer.from(packet, 'hex').readBigUInt64LE(14 + 20 + 8));
            }),
        );
        const wanted = Array.from({ length: end - begin }, (_, i) => begin + 1 + i);
        const had = wanted.filter((number) => seen.has(number)).length;
        expect(wanted.length).toBeGreaterThan(RATE / 3);
        expect(had / wanted.length).toBeGreaterThanOrEqual(0.95);
        for (const one of IDS) await lab.untilCarried(one, stream);
      }
      const { missing } = await stream.end();
      expect(missing).toEqual([]);
    });

    it('why and explain still answer while it is carried', async () => {
      const stream = await lab.stream(RATE);
      for (const id of IDS) await lab.untilCarried(id, stream);
      const ends = ['--src', addressOf(1), '--dst', addressOf(2)];
      const ports = ['--proto', 'udp', '--sport', '40009', '--dport', '9'];
      const text = await lab.vrouter(1, 'explain', '--vif', 'red', ...ends, ...ports, '--json');
      const { lines } = JSON.parse(text) as ExplainView;
      expect(JSON.stringify(lines)).toContain('10.9.0.2');
      const argv = ['why', addressOf(1), addressOf(2), 'udp', '9', '--sport', '40009', '--json'];
      const asked = [process.execPath, MAIN, ...argv, '--sock', lab.socket(1), lab.socket(2)];
      const { status, out, err } = await lab.lab.run(asked);
      expect(status, err + out).toBe(0);
      for (const id of IDS) await lab.untilCarried(id, stream);
      expect((await stream.end()).missing).toEqual([]);
    });
  });
}
