/**
 * The control side and the kernel tier: whatever it says is in force when it is answered, also for packets that no
 * process sees; whatever it says of others disturbs none of them. On real kernels, a stream of numbered datagrams that
 * is carried all the while.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { whyNot } from '../support/lab.ts';
import { IDS, type Id, TierLab } from '../support/tier-lab.ts';

const why = whyNot('python3', 'tc', 'ping');
/** What was on its way when the answer came. */
const ON_ITS_WAY_MS = 50;
const RATE = 2000;
const DENIED_MS = 600;

interface Command {
  readonly id: Id;
  readonly method: string;
  readonly params: unknown;
}

for (const pods of ['tap', 'veth'] as const) {
  describe.skipIf(why !== undefined)(`kernel tier under control, ${pods} pods`, () => {
    let lab: TierLab;
    beforeAll(async () => {
      lab = await TierLab.open({ pods, uplink: pods === 'tap' ? 'joined' : 'shared' });
    });
    afterAll(() => lab?.close());

    const policy = (id: Id, action: 'pass' | 'deny'): Command => ({
      id,
      method: 'policy.set',
      params: { name: 'open', rules: [{ action }] },
    });
    const label = (to: number): Command => {
      const route = lab.route(1);
      const hops = route.hops.map((hop) => ({ ...hop, label: to }));
      return { id: 1, method: 'route.set', params: { ...route, hops } };
    };
    const withdrawn = (): Command => {
      const { instance, prefix } = lab.route(1);
      return { id: 1, method: 'route.remove', params: { instance, prefix } };
    };

    const CHANGES: readonly (readonly [string, () => Command, () => Command])[] = [
      ["a policy of the sender's", () => policy(1, 'deny'), () => policy(1, 'pass')],
      ["a policy of the receiver's", () => policy(2, 'deny'), () => policy(2, 'pass')],
      ['a route that is withdrawn', withdrawn, () => label(16)],
      ['a label that nobody has', () => label(99), () => label(16)],
    ];
    for (const [what, stop, again] of CHANGES) {
      it(`${what} is in force at once, and so is its end`, async () => {
        const stream = await lab.stream(RATE);
        for (const id of IDS) await lab.untilCarried(id, stream);
        const { id, method, params } = stop();
        await lab.call(id, method, params);
        const stopped = Date.now();
        await sleep(DENIED_MS);
        const back = again();
        const asked = Date.now();
        await lab.call(back.id, back.method, back.params);
        const allowed = Date.now();
        for (const one of IDS) await lab.untilCarried(one, stream);
        const { arrivals, missing } = await stream.end();
        const late = arrivals.filter(({ at }) => at > stopped + ON_ITS_WAY_MS && at < asked);
        expect(late).toEqual([]);
        // It was denied for so long, and only for so long.
        expect(missing.length).toBeGreaterThan((DENIED_MS / 1000) * RATE * 0.2);
        const first = arrivals.find(({ at }) => at >= asked);
        expect(first!.at - allowed).toBeLessThan(200);
        const [from, to] = [Math.min(...missing), Math.max(...missing)];
        expect(missing, 'one gap').toHaveLength(to - from + 1);
        expect(arrivals.filter(({ number }) => number < from).every(({ at }) => at < asked)).toBe(
          true,
        );
      });
    }

    it('a change of something else loses no packet, and the flow is carried again', async () => {
      const stream = await lab.stream(RATE);
      for (const id of IDS) await lab.untilCarried(id, stream);
      for (let i = 0; i < 20; i++) {
        for (const id of IDS) {
          const prefix = `10.77.${i}.0/24`;
          const { instance, hops } = lab.route(id);
          await lab.call(id, 'route.set', { instance, prefix, hops });
          await lab.call(id, 'vrf.add', { name: `other${i}` });
          await lab.call(id, 'policy.set', { name: 'another', rules: [{ action: 'deny' }] });
          await lab.call(id, 'policy.remove', { name: 'another' });
          await lab.call(id, 'vrf.remove', { name: `other${i}` });
          await lab.call(id, 'route.remove', { instance, prefix });
        }
      }
      for (const id of IDS) await lab.untilCarried(id, stream);
      const { missing, arrivals, sent } = await stream.end();
      expect(missing).toEqual([]);
      expect(arrivals).toHaveLength(sent);
    });
  });
}
