/**
 * FRR, which drops EVPN routes with the session they came by, beside a control node whose speaker is a process of its own:
 * the control node is killed and comes back, and FRR has every route all the while.
 */
import { existsSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { messageFrame } from '../../src/bgp/link/messages.ts';
import { connectExchange } from '../../src/rib/connect.ts';
import type { Route, RouteSource } from '../../src/rib/route.ts';
import { FRR_COMMANDS, Frr } from '../support/bgp-peers/frr.ts';
import { eventually, type Host, whyNoPeers, within, withLab } from '../support/bgp-peers/lab.ts';

const MAIN = resolve(import.meta.dirname, '../../dist/cli/main.js');
const AS = 64512;
const MACS = ['02:00:00:00:00:01', '02:00:00:00:00:02', '02:00:00:00:00:03'];
const SETTLE_SECONDS = 3;

const route = (mac: string): Route => ({
  ...{ instance: 'red', family: 'evpn', prefix: mac },
  hops: [{ address: '192.0.2.11', label: 5001, encaps: ['vxlan'] }],
});

function configure(host: Host, far: Host): string {
  const file = join(host.directory, 'control.yaml');
  const path = (name: string) => join(host.directory, name);
  const text = stringify({
    ...{ name: 'ours', socket: path('exchange'), cli: path('cli') },
    bgp: {
      ...{ as: AS, router_id: host.address, settle_seconds: SETTLE_SECONDS },
      speaker: { socket: path('speaker') },
      neighbors: [{ address: far.address, as: AS, families: ['evpn'] }],
    },
    instances: [{ name: 'red', import: ['64512:900'], export: ['64512:900'] }],
  });
  writeFileSync(file, text);
  return file;
}

/** Its end is that of the process: its speaker has its standard error still. */
async function kill(pid: number): Promise<void> {
  try {
    process.kill(pid, 'SIGKILL');
    for (;;) {
      process.kill(pid, 0);
      await sleep(10);
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

interface Summary {
  readonly peers: Record<
    string,
    { readonly state: string; readonly peerUptimeMsec: number; readonly connectionsDropped: number }
  >;
}

const reason = whyNoPeers(FRR_COMMANDS);

describe.skipIf(reason !== undefined)('FRR', { timeout: 90_000 }, () => {
  test('loses no EVPN route when the control node is killed, and none when it is back', () =>
    withLab(async (lab) => {
      const [host, far] = [await lab.host('ours'), await lab.host('frr')];
      const frr = await Frr.start(far, within(AS, ['evpn'], [host]));
      const file = configure(host, far);
      const start = () =>
        lab.lab.start('control', [process.execPath, MAIN, 'control', '--config', file], {
          ...{ namespace: host.namespace, mayEnd: true },
        });
      let control = start();
      const agent: RouteSource = connectExchange({
        ...{ path: join(host.directory, 'exchange'), name: 'compute-1' },
      });
      agent.subscribe('red', 1);
      const macs = async () =>
        [...new Set((await frr.routes('evpn')).map(({ key }) => key.split(' ')[2]))].sort();
      const sessions = async () => {
        const { peers } = await frr.show<Summary>('show bgp l2vpn evpn summary json');
        return peers[host.address];
      };
      const has = (wanted: readonly string[]) =>
        eventually(frr, `MACs ${wanted}`, macs, (all) => all.join() === wanted.join(), 40_000);
      let [looks, watching] = [0, true];
      try {
        for (const mac of MACS) agent.publish(route(mac));
        await has(MACS);
        const before = await sessions();
        const missing = new Set<string>();
        const looking = (async () => {
          while (watching) {
            const all = await macs().catch(() => MACS);
            for (const mac of MACS.slice(0, 2)) if (!all.includes(mac)) missing.add(mac);
            looks++;
            await sleep(50);
          }
        })();
        await kill(control.pid);
        agent.withdraw(route(MACS[2] as string));
        await sleep(1000);
        expect(await macs(), 'while it is away').toEqual(MACS);
        control = start();
        await has(MACS.slice(0, 2));
        watching = false;
        await looking;
        expect(looks).toBeGreaterThan(10);
        expect([...missing]).toEqual([]);
        const after = await sessions();
        expect(after?.state).toBe('Established');
        expect(after?.connectionsDropped).toBe(before?.connectionsDropped);
        expect(after?.peerUptimeMsec).toBeGreaterThan((before?.peerUptimeMsec ?? 0) + 1000);
      } finally {
        watching = false;
        agent.close();
        await kill(control.pid);
        // Nobody's child any more: it is told to end.
        for (let tries = 0; tries < 100 && existsSync(join(host.directory, 'speaker')); tries++) {
          const socket = connect(join(host.directory, 'speaker'));
          socket.on('error', () => socket.destroy());
          socket.end(messageFrame({ type: 'quit' }));
          await sleep(50);
        }
        await frr.stop();
      }
    }));
});
