/**
 * Large tenants on a small underlay: pods behind TAPs of MTU 9,000, a veth of MTU 1,500 between the nodes; over
 * both kinds of uplink, with the underlay's offloads and as a plain wire, both families. What arrives is what
 * was sent, whoever cuts it: the kernel (a TAP told of the tunnel) or we (AF_PACKET); who may not be cut is told.
 */
import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import type { DropView, VifView } from '../../src/cli/views.ts';
import { Lab } from '../../src/program/lab.ts';
import { connectVeth, type NetworkNamespace } from '../../src/program/netns.ts';
import { callAt, whyNot } from '../support/lab.ts';

const MAIN = resolve(import.meta.dirname, '../../dist/cli/main.js');
const MEGABYTES = 100;
/** 1,500 less IPv4, UDP and a label: what of a tenant's packet fits the tunnel. */
const INNER_MTU = 1468;
const GATEWAY = { 4: '10.8.1.254', 6: 'fd00:8::fe' } as const;
const POD = {
  1: { 4: '10.8.1.1', 6: 'fd00:8::1' },
  2: { 4: '10.8.1.2', 6: 'fd00:8::2' },
} as const;
type Id = 1 | 2;
const IDS: readonly Id[] = [1, 2];
const nodeMac = (id: Id) => `02:00:0a:09:00:0${id}`;
const podMac = (id: Id) => `02:00:00:00:00:0${id}`;

/** One megabyte that repeats nowhere in itself, again and again. */
const BLOCK = `
const { createHash } = require('node:crypto');
const block = Buffer.concat(Array.from({ length: 32768 }, (_, i) => createHash('sha256').update(String(i)).digest()));
`;
const SERVER = `${BLOCK}
require('node:http').createServer((_, response) => {
  let left = ${MEGABYTES};
  const more = () => {
    while (left > 0) if (left-- && !response.write(block)) return response.once('drain', more);
    response.end();
  };
  more();
}).listen(80, '::', () => console.log('ready'));
`;
function wantedDigest(): string {
  const parts = Array.from({ length: 32_768 }, (_, i) =>
    createHash('sha256').update(String(i)).digest(),
  );
  const block = Buffer.concat(parts);
  const all = createHash('sha256');
  for (let i = 0; i < MEGABYTES; i++) all.update(block);
  return all.digest('hex');
}

const why = whyNot('tc', 'ethtool', 'curl', 'ping', 'iperf3');

for (const uplink of ['tap', 'af_packet'] as const) {
  for (const offloads of [true, false]) {
    const title = `TAPs of 9,000 over 1,500 by ${uplink}, underlay ${offloads ? 'with' : 'without'} offloads`;
    describe.skipIf(why !== undefined)(title, () => {
      let lab: Lab;
      const nodes = new Map<Id, NetworkNamespace>();
      const pods = new Map<Id, NetworkNamespace>();
      const inPod = (id: Id, ...argv: string[]) => lab.run(argv, { namespace: pods.get(id) });
      const call = <T>(id: Id, method: string, params: unknown = {}) =>
        callAt<T>(lab.path(`${id}.sock`), method, params);

      beforeAll(async () => {
        lab = new Lab();
        for (const id of IDS) {
          nodes.set(id, await lab.namespace(`node${id}`));
          pods.set(id, await lab.namespace(`pod${id}`));
        }
        const end = (id: Id) => ({
          namespace: nodes.get(id) as NetworkNamespace,
          name: 'up0',
          mac: nodeMac(id),
        });
        await connectVeth(end(1), end(2));
        for (const id of IDS) {
          const far = id === 1 ? 2 : 1;
          const node = nodes.get(id) as NetworkNamespace;
          const pod = pods.get(id) as NetworkNamespace;
          await node.ip('link', 'set', 'up0', 'up');
          if (!offloads) {
            const off = ['tso', 'gso', 'gro', 'tx', 'rx', 'sg'].flatMap((name) => [name, 'off']);
            await lab.run(['ethtool', '-K', 'up0', ...off], { namespace: node });
          }
          const file = {
            name: `node${id}`,
            socket: lab.path(`${id}.sock`),
            log: { level: 'warn' },
            underlay: {
              port:
                uplink === 'tap'
                  ? { kind: 'tap', name: 'uplink', offloads: 'uplink', mtu: 1500 }
                  : { kind: 'af_packet', interface: 'up0' },
              mac: nodeMac(id),
              ipv4: `10.9.0.${id}`,
              neighbours: { [`10.9.0.${far}`]: nodeMac(far) },
            },
            vrfs: [{ name: 'red' }],
            routes: ([4, 6] as const).map((family) => ({
              instance: 'red',
              prefix: POD[far][family],
              hops: [{ address: `10.9.0.${far}`, label: 16, encaps: ['udp'] }],
            })),
            vifs: [
              {
                name: 'pod',
                port: { kind: 'tap', name: 'eth0', netns: pod.name, mtu: 9000 },
                vrf: 'red',
                tenant_mac: podMac(id),
                ipv4: POD[id][4],
                ipv6: POD[id][6],
                gateway4: GATEWAY[4],
                gateway6: GATEWAY[6],
                mtu: 9000,
              },
            ],
          };
          writeFileSync(lab.path(`${id}.yaml`), stringify(file));
          const config = lab.path(`${id}.yaml`);
          lab.start(`node${id}`, [process.execPath, MAIN, 'node', '--config', config], {
            namespace: node,
          });
          await lab.until(`node${id}`, () => call<unknown>(id, 'status'), 20_000);
          await pod.ip('link', 'set', 'eth0', 'address', podMac(id));
          await pod.set('net/ipv6/conf/eth0/disable_ipv6', '0');
          await pod.ip('link', 'set', 'eth0', 'up');
          await pod.ip('addr', 'add', `${POD[id][4]}/32`, 'dev', 'eth0');
          await pod.ip('-6', 'addr', 'add', `${POD[id][6]}/128`, 'dev', 'eth0', 'nodad');
          await pod.ip('route', 'add', GATEWAY[4], 'dev', 'eth0');
          await pod.ip('route', 'add', 'default', 'via', GATEWAY[4]);
          await pod.ip('-6', 'route', 'add', GATEWAY[6], 'dev', 'eth0');
          await pod.ip('-6', 'route', 'add', 'default', 'via', GATEWAY[6]);
          if (uplink === 'tap') {
            const tc = async (...argv: string[]) => {
              const { status, err } = await lab.run(['tc', ...argv], { namespace: node });
              expect(err).toBe('');
              expect(status).toBe(0);
            };
            for (const [from, to] of [
              ['up0', 'uplink'],
              ['uplink', 'up0'],
            ] as const) {
              await tc('qdisc', 'add', 'dev', from, 'clsact');
              const all = ['protocol', 'all', 'u32', 'match', 'u32', '0', '0'];
              const redirect = ['action', 'mirred', 'egress', 'redirect', 'dev', to];
              await tc('filter', 'add', 'dev', from, 'ingress', ...all, ...redirect);
            }
          }
        }
        const server = lab.start('server', [process.execPath, '-e', SERVER], {
          namespace: pods.get(2),
        });
        await lab.until(
          'the server',
          async () => (server.out().includes('ready') ? true : undefined),
          10_000,
        );
      });
      afterAll(() => lab.close());

      for (const family of [4, 6] as const) {
        const far = POD[2][family];

        it(`IPv${family}: ${MEGABYTES} MB arrive as they were sent`, async () => {
          const url = family === 4 ? `http://${far}/` : `http://[${far}]/`;
          const got = await inPod(1, 'sh', '-c', `curl -gsS -m 60 ${url} | sha256sum`);
          expect(got.err).toBe('');
          expect(got.out.split(' ')[0]).toBe(wantedDigest());
          // No frame that left was larger than the wire takes.
          const drops = await call<DropView[]>(2, 'dropstats.get');
          expect(
            drops.filter((d) => /TX Discard|Invalid Packets/.test(d.name) && Number(d.packets) > 0),
          ).toEqual([]);
        });

        it(`IPv${family}: iperf3 both ways`, async () => {
          const server = lab.start('iperf3', ['iperf3', '-s'], {
            namespace: pods.get(2),
            mayEnd: true,
          });
          try {
            for (const more of [[], ['-R']]) {
              const result = await lab.poll(async () => {
                const { out } = await inPod(1, 'iperf3', '-c', far, '-t', '1', '-J', ...more);
                const { end } = JSON.parse(out) as { end?: { sum_received?: { bytes: number } } };
                return end?.sum_received?.bytes;
              }, 10_000);
              expect(result).toBeGreaterThan(10_000_000);
            }
          } finally {
            await server.stop();
          }
        });

        it(`IPv${family}: who may not be cut is told the MTU, and heeds it`, async () => {
          // The first is too big and says so; after that the sender knows.
          const first = await inPod(
            1,
            'ping',
            `-${family}`,
            '-M',
            'do',
            '-c',
            '1',
            '-W',
            '1',
            '-s',
            '8000',
            far,
          );
          expect(first.status).not.toBe(0);
          const known = await inPod(1, 'ip', `-${family}`, 'route', 'get', far);
          expect(known.out).toContain(`mtu ${INNER_MTU}`);
          const fits = INNER_MTU - (family === 4 ? 28 : 48);
          const second = await inPod(
            1,
            'ping',
            `-${family}`,
            '-M',
            'do',
            '-c',
            '2',
            '-i',
            '0.2',
            '-W',
            '1',
            '-s',
            `${fits}`,
            far,
          );
          expect(second.out).toContain(' 0% packet loss');
        });
      }

      it('IPv4: what may be cut is cut, and put together again by the receiver', async () => {
        await inPod(1, 'ip', 'route', 'flush', 'cache');
        const ping = await inPod(
          1,
          'ping',
          '-M',
          'dont',
          '-c',
          '3',
          '-i',
          '0.2',
          '-W',
          '1',
          '-s',
          '8000',
          POD[2][4],
        );
        expect(ping.out).toContain(' 0% packet loss');
        const { items } = await call<{ items: VifView[] }>(1, 'vif.list');
        expect(items.length).toBe(2);
      });
    });
  }
}
