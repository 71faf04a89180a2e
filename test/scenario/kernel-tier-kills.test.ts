/**
 * What stays of the kernel tier when its process is killed, and when a pod goes: nothing that forwards, nothing that is
 * in anybody's way. What runs meanwhile goes on.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { whyNot } from '../support/lab.ts';
import { addressOf, IDS, type Id, type Plan, type Tenant, TierLab } from '../support/tier-lab.ts';

const why = whyNot('python3', 'tc', 'ping');

describe.skipIf(why !== undefined)('kernel tier whose process is killed', () => {
  let lab: TierLab | undefined;
  const open = async (plan: Plan) => {
    lab = await TierLab.open(plan);
    return lab;
  };
  const close = async () => {
    const open = lab;
    lab = undefined;
    await open?.close();
  };
  afterEach(close);
  afterAll(close);

  /** Devices of this node and its pod that have programs: how many, in and out. */
  async function programs(lab: TierLab, id: Id): Promise<string[]> {
    const found: string[] = [];
    for (const namespace of [lab.node(id), lab.pod(id)]) {
      const { out, err } = await (await lab.ends(namespace, false, 'programs')).ended;
      if (err !== '') throw new Error(err);
      found.push(...out.split('\n').filter((line) => line !== ''));
    }
    return found.toSorted();
  }
  const links = async (lab: TierLab, id: Id) => {
    const text = await lab.node(id).ip('-j', 'link');
    return JSON.parse(text) as { readonly ifname: string; readonly ifindex: number }[];
  };
  const linkIndex = async (lab: TierLab, id: Id, name: string) =>
    (await links(lab, id)).find(({ ifname }) => ifname === name)?.ifindex;
  const namesOfLinks = async (lab: TierLab, id: Id) =>
    (await links(lab, id)).map(({ ifname }) => ifname);
  const companion = async (lab: TierLab, id: Id, tenant: Tenant = 'red') => {
    const { devices } = await lab.tier(id);
    const taps = devices.filter(({ way }) => way === 'tenant tap');
    // Ports are numbered as vifs are declared.
    return `vrt${taps[lab.tenants.indexOf(tenant)]?.port}`;
  };
  for (const pods of ['tap', 'veth'] as const) {
    it(`all in one, ${pods} pods: no program stays, the host goes on, the next node works`, async () => {
      const lab = await open({ pods });
      const before = await lab.stream(2000);
      for (const id of IDS) await lab.untilCarried(id, before);
      const name = pods === 'tap' ? await companion(lab, 1) : undefined;
      const was = name === undefined ? undefined : await linkIndex(lab, 1, name);
      expect(await programs(lab, 1)).toEqual(
        pods === 'tap'
          ? ['eth0 0 1', 'up0 1 0', `${name} 1 0`, `${name} 1 0`]
          : ['p-red 1 0', 'up0 1 0'],
      );
      await lab.services.get(1)?.kill();
      expect(await programs(lab, 1)).toEqual([]);
      const came = before.arrivals().length;
      const ping = ['ping', '-c', '10', '-i', '0.05', '-W', '1', '10.9.0.2'];
      expect((await lab.inNode(1, ...ping)).out).toContain(' 0% packet loss');
      await sleep(100);
      expect(before.arrivals().length - came, 'nobody forwards').toBeLessThan(50);
      await before.end().catch(() => {}); // its socket may be told that the TAP has gone
      await lab.start(1);
      if (pods === 'tap') await lab.setUp(1, 'red');
      await lab.untilReached();
      const after = await lab.stream(2000, { port: 12 });
      for (const id of IDS) await lab.untilCarried(id, after);
      expect((await after.end()).missing).toEqual([]);
      if (name !== undefined) {
        const now = await companion(lab, 1);
        expect(await linkIndex(lab, 1, now)).not.toBe(was);
        expect((await namesOfLinks(lab, 1)).filter((one) => one.startsWith('vrt'))).toEqual([now]);
      }
      // Told to end, it leaves nothing at all.
      await lab.services.get(1)?.stop();
      expect(await programs(lab, 1)).toEqual([]);
      expect((await namesOfLinks(lab, 1)).filter((one) => one.startsWith('vrt'))).toEqual([]);
    }, 60_000);

    it(`a pod that goes, ${pods} pods: what the other one sends is not lost`, async () => {
      const lab = await open({ pods, second: 'guest' });
      const [red, guest] = [
        await lab.stream(1000),
        await lab.stream(1000, { tenant: 'guest', port: 11 }),
      ];
      for (const id of IDS) await lab.untilCarried(id, guest, 1.6);
      const names =
        pods === 'tap' ? [await companion(lab, 2), await companion(lab, 2, 'guest')] : [];
      if (pods === 'tap') {
        expect(new Set(names).size).toBe(2);
        for (const name of names) expect(await namesOfLinks(lab, 2)).toContain(name);
      }
      await lab.call(2, 'vif.remove', { name: 'red' });
      const gone = Date.now();
      await sleep(500);
      expect(red.arrivals().filter(({ at }) => at > gone + 50)).toEqual([]);
      for (const id of IDS) await lab.untilCarried(id, guest);
      const { missing, sent, arrivals } = await guest.end();
      expect(missing).toEqual([]);
      expect(arrivals).toHaveLength(sent);
      if (pods === 'tap') {
        const links = await namesOfLinks(lab, 2);
        expect(links.includes(names[0] as string)).toBe(false);
        expect(links.includes(names[1] as string)).toBe(true);
        const { devices } = await lab.tier(2);
        expect(devices.filter(({ way }) => way === 'tenant tap')).toHaveLength(1);
      }
      expect(await lab.inPod(1, 'ping', '-c', '1', '-W', '1', addressOf(2))).toMatchObject({
        status: 1,
      });
      await red.end().catch(() => {});
    }, 60_000);
  }
});
