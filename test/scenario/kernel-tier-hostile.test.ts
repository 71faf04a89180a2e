/**
 * A tenant who writes into our companion device in its namespace: whatever it says there that is not its carried flow
 * ends there. And a node that asks for a kernel tier and may not have one: it says why, and forwards by itself.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { NetworkNamespace } from '../../src/program/netns.ts';
import { whyNot } from '../support/lab.ts';
import { addressOf, IDS, TierLab } from '../support/tier-lab.ts';

const why = whyNot('python3', 'tc', 'ping');
const MARK = 'intruder';

describe.skipIf(why !== undefined)('a tenant at the companion device', () => {
  let lab: TierLab;
  let device: string;
  beforeAll(async () => {
    lab = await TierLab.open({ pods: 'tap', second: 'guest' });
    const links = JSON.parse(await lab.pod(1).ip('-j', 'link')) as { ifname: string }[];
    device = links.map(({ ifname }) => ifname).find((name) => name.startsWith('vrt')) ?? '';
  });
  afterAll(() => lab?.close());

  const watch = (namespace: NetworkNamespace, at: string) =>
    lab.ends(namespace, true, 'watch', at, MARK);

  it('reaches nobody, and disturbs nobody, not even itself', async () => {
    const [red, guest] = [
      await lab.stream(500),
      await lab.stream(500, { tenant: 'guest', port: 11 }),
    ];
    for (const id of IDS) await lab.untilCarried(id, guest, 1.6);
    const watchers = [
      await watch(lab.node(1), 'up0'),
      await watch(lab.node(1), 'uplink'),
      await watch(lab.pod(1), 'eth0'),
      await watch(lab.pod(1, 'guest'), 'eth0'),
      await watch(lab.pod(2), 'eth0'),
      await watch(lab.pod(2, 'guest'), 'eth0'),
    ];
    const host = await lab.ends(lab.node(1), true, 'hear', '7777', lab.lab.path('host'));
    const [end] = JSON.parse(await lab.node(1).ip('-j', 'link', 'show', device)) as [
      { readonly address: string; readonly ifindex: number },
    ];
    const before = await counters(lab, device);
    const argv = [
      ...['intrude', device, MARK, end.address],
      `${addressOf(1)}:40009:${addressOf(2)}:9`,
      `${addressOf(1, 'guest')}:40011:${addressOf(2, 'guest')}:11`,
      '10',
    ];
    const { out, err } = await (await lab.ends(lab.pod(1), false, ...argv)).ended;
    expect(err).toBe('');
    await sleep(200);
    // They did come as far as our end of it.
    expect(Number(out)).toBeGreaterThan(500);
    expect((await counters(lab, device)) - before).toBeGreaterThanOrEqual(Number(out));
    for (const id of IDS) await lab.untilCarried(id, guest, 1.6);
    for (const stream of [red, guest]) {
      const { missing, sent, arrivals } = await stream.end();
      expect(missing).toEqual([]);
      expect(arrivals).toHaveLength(sent);
    }
    for (const watcher of watchers) {
      const heard = await watcher.stop();
      expect(heard.out.replace('ready', '').trim()).toBe('0');
    }
    expect((await host.stop()).err).toBe('');
    expect(await lab.lab.run(['stat', '-c', '%s', lab.lab.path('host')])).toMatchObject({
      out: '0\n',
    });
    const neighbours = await lab.node(1).ip('neigh', 'show', 'dev', device);
    expect(neighbours.trim()).toBe('');
  });

  it('would have been seen: by eth0 what is allowed goes its way', async () => {
    const watcher = await watch(lab.node(1), 'up0');
    const say = `import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'${MARK}', ('${addressOf(2)}', 4242))`;
    expect((await lab.inPod(1, 'python3', '-c', say)).err).toBe('');
    await sleep(300);
    // The datagram, and the answer that quotes it.
    expect(Number((await watcher.stop()).out.replace('ready', ''))).toBeGreaterThanOrEqual(1);
  });
});

/** Frames that our end of the companion device got. */
async function counters(lab: TierLab, device: string): Promise<number> {
  return (await lab.node(1).counters(device)).rxPackets;
}

describe.skipIf(why !== undefined)('a node that may not have its kernel tier', () => {
  it('says why, and forwards by itself', async () => {
    const before = ['setpriv', '--bounding-set', '-bpf,-sys_admin', '--inh-caps', '-all'];
    const lab = await TierLab.open({ pods: 'veth', before });
    try {
      for (const id of IDS) {
        const { on, reason, devices } = await lab.tier(id);
        expect({ on, reason, devices }).toEqual({
          on: false,
          reason: 'CAP_BPF and CAP_NET_ADMIN are needed',
          devices: [],
        });
        expect(lab.services.get(id)?.err()).toContain('kernel tier asked for, but off');
        expect(await lab.vrouter(id, 'info')).toContain('CAP_BPF');
      }
      const stream = await lab.stream(2000);
      await sleep(700);
      const { missing, sent } = await stream.end();
      expect(missing).toEqual([]);
      expect(sent).toBeGreaterThan(500);
      const bytes = 8 << 20;
      const { near, far } = await lab.transfer(bytes);
      expect(near).toEqual([far[1], far[0], `${bytes}`]);
      expect(await lab.carried(1)).toBe(0);
    } finally {
      await lab.close();
    }
  }, 60_000);
});
