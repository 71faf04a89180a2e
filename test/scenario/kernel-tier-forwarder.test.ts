/**
 * A kernel tier in a forwarder that is a process of its own: killed in the middle of a transfer that it carries, another
 * one takes over, and the transfer finishes.
 */
import { describe, expect, it } from 'vitest';
import { openRemote } from '../../src/dataplane/remote.ts';
import { whyNot } from '../support/lab.ts';
import { IDS, TierLab } from '../support/tier-lab.ts';

const why = whyNot('python3', 'tc', 'ping');

describe.skipIf(why !== undefined)('kernel tier of a forwarder that is killed', () => {
  for (const pods of ['tap', 'veth'] as const) {
    it(`${pods} pods: another takes over, and a transfer finishes`, async () => {
      const lab = await TierLab.open({ pods, forwarder: true });
      try {
        const pid = () => {
          const remote = openRemote({ path: lab.lab.path('1.fwd') });
          const { pid } = remote.attach();
          remote.close();
          return pid;
        };
        const bytes = 32 << 20;
        const before = await lab.carried(1);
        // Some seconds.
        const transfer = lab.transfer(bytes, { pause: 0.004 });
        let finished = false;
        const note = () => {
          finished = true;
        };
        transfer.then(note, note); // it is waited for below
        await lab.lab.until(
          'it is carried',
          async () => ((await lab.carried(1)) > before + 100 ? true : undefined),
          10_000,
        );
        const killed = pid();
        process.kill(killed, 'SIGKILL');
        await lab.lab.until('another', async () => (pid() === killed ? undefined : true), 10_000);
        expect(finished, 'in the middle of it').toBe(false);
        const { near, far } = await transfer;
        expect(near).toEqual([far[1], far[0], `${bytes}`]);
        const stream = await lab.stream(2000);
        for (const id of IDS) await lab.untilCarried(id, stream);
        expect((await stream.end()).missing).toEqual([]);
        const { on, devices } = await lab.tier(1);
        expect(on).toBe(true);
        expect(devices.map(({ way }) => way).sort()).toEqual(
          ['fabric', pods === 'tap' ? 'tenant tap' : 'tenant'].sort(),
        );
      } finally {
        await lab.close();
      }
    }, 60_000);
  }
});
