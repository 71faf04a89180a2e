/**
 * Link-local services on real kernels: pods behind TAPs ask http://169.254.169.254/ with curl, a metadata server
 * beside the node says what it was told. Two pods have one address in two networks. With the data plane in the
 * node's process, and in a forwarder process that outlives the agent, and dies.
 */
import { spawnSync } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { existsSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import type { ServicesView, StatusView } from '../../src/cli/views.ts';
import { openRemote } from '../../src/dataplane/remote.ts';
import { Lab, type Service } from '../../src/program/lab.ts';
import type { NetworkNamespace } from '../../src/program/netns.ts';
import { callAt, whyNot } from '../support/lab.ts';

const MAIN = resolve(import.meta.dirname, '../../dist/cli/main.js');
const START_MS = 20_000;
const SECRET = 'a secret of the lab';
const METADATA = 'http://169.254.169.254';

/** Says what it was asked and by whom; everything of the host's that tenants must not reach is here too. */
const BACKEND = `
const http = require('node:http');
const net = require('node:net');
http.createServer((message, answer) => {
  const parts = [];
  message.on('data', (part) => parts.push(part));
  message.on('end', () => {
    const { method, url, rawHeaders } = message;
    const body = Buffer.concat(parts).toString();
    if (url === '/slow') return;
    answer.setHeader('x-backend', 'yes');
    if (url === '/large') return answer.end('x'.repeat(2000000));
    answer.end(JSON.stringify({ method, url, rawHeaders, length: body.length }));
  });
}).listen(8775, '127.0.0.1', () => {
  net.createServer((socket) => socket.pipe(socket)).listen(9000, '127.0.0.1', () => {
    http.createServer((_, answer) => answer.end('of the host')).listen(80, '0.0.0.0', () => console.log('ready'));
  });
});
`;
/** A tenant's own server: well, or not. */
const TENANT = `
let status = 200;
process.on('SIGUSR2', () => { status = status === 200 ? 503 : 200; });
require('node:http').createServer((message, answer) => {
  answer.statusCode = message.url === '/ready' ? status : 404;
  answer.end(message.socket.remoteAddress);
}).listen(8080, '0.0.0.0', () => console.log('ready'));
`;
const ECHO = `
const socket = require('node:net').connect(Number(process.argv[2]), process.argv[1], () => socket.end('hello'));
socket.on('data', (data) => process.stdout.write(data));
socket.on('error', (error) => console.log(error.code));
`;
/** Whatever is on its standard input's argument, as it is, to the metadata service; prints the first line. */
const RAW = `
const socket = require('node:net').connect(80, '169.254.169.254', () => socket.write(JSON.parse(process.argv[1])));
let heard = '';
socket.on('data', (data) => { heard += data; });
socket.on('error', () => {});
socket.on('close', () => { console.log(heard.split('\\r\\n')[0]); process.exit(); });
setTimeout(() => socket.destroy(), 3000);
`;

const why = whyNot('curl');

interface Asked {
  readonly method: string;
  readonly url: string;
  readonly rawHeaders: readonly string[];
  readonly length: number;
}

/** By name in lower case; several of one name are all there. */
function headersOf({ rawHeaders }: Asked): Record<string, string[]> {
  const out: Record<string, string[]> = {};
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i]!.toLowerCase();
    out[name] = [...(out[name] ?? []), rawHeaders[i + 1]!];
  }
  return out;
}

const PODS = {
  red: { mac: '02:00:00:00:00:0a', vrf: 'red', ipv4: '10.1.0.10' },
  blue: { mac: '02:00:00:00:00:0b', vrf: 'blue', ipv4: '10.1.0.10' },
  checked: { mac: '02:00:00:00:00:0c', vrf: 'red', ipv4: '10.1.0.12' },
} as const;
type Pod = keyof typeof PODS;
const NAMES = Object.keys(PODS) as Pod[];
const GATEWAY = '10.1.0.254';
const FLOATING = '10.9.9.9';

describe.skipIf(why !== undefined).each(['in the process of the node', 'in a forwarder process'])(
  'link-local services, the data plane %s',
  (where) => {
    const apart = where.includes('forwarder');
    let lab: Lab;
    let node: NetworkNamespace;
    let agent: Service;
    const pods = new Map<Pod, NetworkNamespace>();
    const left: number[] = [];
    const socket = () => lab.path('node.sock');
    const forwarder = () => lab.path('node.forwarder');

    const call = <T>(method: string, params: unknown = {}) => callAt<T>(socket(), method, params);

    function forwarderPid(): number {
      const remote = openRemote({ path: forwarder() });
      const { pid } = remote.attach();
      remote.close();
      return pid;
    }

    async function startAgent(): Promise<void> {
      const argv = [process.execPath, MAIN, 'node', '--config', lab.path('node.yaml')];
      agent = lab.start('node', argv, { namespace: node, mayEnd: true });
      await lab.until(
        'the node is there',
        async () => ((await call<StatusView>('status')).generation > 1 ? true : undefined),
        START_MS,
      );
      if (apart) left.push(forwarderPid());
    }

    const inPod = (pod: Pod, ...argv: string[]) => lab.run(argv, { namespace: pods.get(pod)! });
    const curl = (pod: Pod, url: string, ...more: string[]) =>
      inPod(pod, 'curl', '-s', '-S', '--noproxy', '*', '--max-time', '5', ...more, url);
    async function ask(pod: Pod, path: string, ...more: string[]): Promise<Asked> {
      const { out, err } = await curl(pod, METADATA + path, ...more);
      if (out === '') throw new Error(`${err}\n${agent.err()}`);
      return JSON.parse(out) as Asked;
    }
    async function serve(pod: Pod): Promise<Service> {
      const argv = [process.execPath, '-e', TENANT];
      const server = lab.start('server', argv, { namespace: pods.get(pod)!, mayEnd: true });
      const ready = async () => (server.out().includes('ready') ? true : undefined);
      await lab.until(`the server of ${pod} is there`, ready, START_MS);
      return server;
    }
    const asksAgain = (pod: Pod) => lab.until('it is answered', () => ask(pod, '/again'), START_MS);

    beforeAll(async () => {
      if (!existsSync(MAIN))
        throw new Error('dist/cli/main.js is not built: node scripts/setup.mjs');
      lab = new Lab();
      node = await lab.namespace('node');
      for (const pod of NAMES) pods.set(pod, await lab.namespace(pod));
      writeFileSync(
        lab.path('node.yaml'),
        stringify({
          name: 'node',
          socket: socket(),
          dataplane: { flow_entries: 4096, buffers: 2048, buffer_bytes: 66_048 },
          ...(apart ? { forwarder: { socket: forwarder(), flow_file: lab.path('flows') } } : {}),
          underlay: { port: { kind: 'memory' }, mac: '02:00:00:00:00:14', ipv4: '10.169.25.20' },
          services: {
            metadata: { url: 'http://127.0.0.1:8775', shared_secret: SECRET },
            link_local: [
              {
                name: 'echo',
                address: '169.254.169.253',
                port: 7,
                to: { address: '127.0.0.1', port: 9000 },
              },
            ],
          },
          vrfs: [{ name: 'red' }, { name: 'blue' }],
          // Neither the node's services nor its checks are among them; other tenants as they come there would be.
          policies: [
            {
              name: 'neighbours',
              rules: [
                { action: 'pass', source: '10.1.0.0/24', destination: '10.1.0.0/24' },
                { action: 'pass', source: '169.254.65.0/24' },
              ],
            },
          ],
          vifs: NAMES.map((pod) => ({
            name: `${pod}-vif`,
            port: { kind: 'tap', name: 'eth0', netns: pods.get(pod)!.name },
            vrf: PODS[pod].vrf,
            tenant_mac: PODS[pod].mac,
            ipv4: PODS[pod].ipv4,
            gateway4: GATEWAY,
            ...(pod === 'blue' ? { instance_id: 'b-1', tenant_id: 'blue-project' } : {}),
            ...(pod === 'checked'
              ? {
                  floating_ips: [{ address: FLOATING, vrf: 'red' }],
                  network_policies: ['neighbours'],
                  ingress_groups: ['neighbours'],
                  egress_groups: ['neighbours'],
                  health_checks: [
                    {
                      type: 'http',
                      port: 8080,
                      path: '/ready',
                      interval_ms: 300,
                      timeout_ms: 250,
                      failures: 2,
                      successes: 2,
                    },
                  ],
                }
              : {}),
          })),
        }),
      );
      const backend = lab.start('backend', [process.execPath, '-e', BACKEND], { namespace: node });
      const ready = async () => (backend.out().includes('ready') ? true : undefined);
      await lab.until('the backend is there', ready, START_MS);
      await startAgent();
      for (const pod of NAMES) {
        const space = pods.get(pod)!;
        await space.ip('link', 'set', 'eth0', 'address', PODS[pod].mac);
        await space.ip('link', 'set', 'eth0', 'up');
        await space.ip('addr', 'add', `${PODS[pod].ipv4}/24`, 'dev', 'eth0');
        await space.ip('route', 'add', 'default', 'via', GATEWAY);
      }
    });

    afterAll(async () => {
      await agent?.stop();
      for (const pid of left) spawnSync('kill', ['-9', `${pid}`]); // none, unless a test failed
      await lab?.close();
    });

    it('two pods of one address are told apart, and signed for', async () => {
      for (const [pod, instance, tenant] of [
        ['red', 'red-vif', 'red'],
        ['blue', 'b-1', 'blue-project'],
      ] as const) {
        const asked = await ask(pod, '/latest/meta-data?x=1');
        expect(asked).toMatchObject({ method: 'GET', url: '/latest/meta-data?x=1' });
        expect(headersOf(asked)).toMatchObject({
          host: ['127.0.0.1:8775'],
          'x-forwarded-for': [PODS[pod].ipv4],
          'x-instance-id': [instance],
          'x-tenant-id': [tenant],
          'x-instance-id-signature': [createHmac('sha256', SECRET).update(instance).digest('hex')],
        });
      }
    });

    it('what a tenant says of itself does not get through, however it is spelled', async () => {
      const asked = await ask(
        'red',
        '/',
        ...['-X', 'PUT', '-d', 'token', '-H', 'X-Own: kept', '-H', 'X-Forwarded-For: 1.2.3.4'],
        ...['-H', 'X-Instance-ID: b-1', '-H', 'X_Instance_Id: b-1', '-H', 'x-tenant_id: evil'],
        ...['-H', 'X-Instance-ID-Signature: 00', '-H', 'Forwarded: for=1.2.3.4', '-H', 'X-Drop: 1'],
        ...['-H', 'Connection: X-Drop, X-Instance-ID', '-H', 'Transfer-Encoding: chunked'],
      );
      expect(asked).toMatchObject({ method: 'PUT', length: 5 });
      const headers = headersOf(asked);
      expect(headers).toMatchObject({
        'x-own': ['kept'],
        'x-forwarded-for': [PODS.red.ipv4],
        'x-instance-id': ['red-vif'],
        'x-tenant-id': ['red'],
        'content-length': ['5'],
      });
      expect(
        Object.keys(headers).filter((name) => /_|forwarded$|drop|encoding/.test(name)),
      ).toEqual([]);
      expect(JSON.stringify(asked)).not.toMatch(/1\.2\.3\.4|evil|b-1/);
    });

    it('hostile requests end early', async () => {
      const raw = async (text: string) =>
        (await inPod('red', process.execPath, '-e', RAW, JSON.stringify(text))).out.trim();
      const host = 'Host: x\r\n';
      expect(await raw(`GET http://127.0.0.1:80/ HTTP/1.1\r\n${host}\r\n`)).toContain(' 400 ');
      expect(await raw(`TRACE / HTTP/1.1\r\n${host}\r\n`)).toContain(' 405 ');
      expect(await raw(`CONNECT 127.0.0.1:80 HTTP/1.1\r\n${host}\r\n`)).not.toContain(' 200 ');
      expect(await raw(`GET / HTTP/1.1\r\n${host}X: ${'y'.repeat(9000)}\r\n\r\n`)).toMatch(
        / 4\d\d /,
      );
      expect(await raw('\x00\x01\x02\r\n\r\n')).toContain(' 400 ');
      const two = `POST / HTTP/1.1\r\n${host}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`;
      expect(await raw(two)).toContain(' 400 ');
      const much = await curl(
        'red',
        `${METADATA}/`,
        '-d',
        'z'.repeat(70_000),
        '-w',
        '%{http_code}',
      );
      expect(much.out).toContain('413');
      const large = await curl(
        'red',
        `${METADATA}/large`,
        '-o',
        '/dev/null',
        '-w',
        '%{size_download}',
      );
      expect(large.out).toBe('2000000');
    });

    it('nothing else of the host, nor of other tenants, is there', async () => {
      const refused = async (pod: Pod, url: string) => {
        const { status } = await curl(pod, url, '--connect-timeout', '1');
        expect(status, `${pod} ${url}`).not.toBe(0);
      };
      const servers = await Promise.all((['blue', 'checked'] as const).map((pod) => serve(pod)));
      for (const port of [22, 8775, 9000, 8080]) await refused('red', `${METADATA}:${port}/`);
      // The host's own, the gateway of it, other vifs as clients and as servers.
      const { services } = await call<ServicesView>('services.status');
      const before = services['metadata']!['requests'];
      for (const host of [
        '64.1',
        '64.2',
        '65.3',
        '65.4',
        '65.5',
        '65.6',
        '96.3',
        '96.4',
        '96.5',
        '96.6',
      ]) {
        await refused('red', `http://169.254.${host}/`);
        await refused('red', `http://169.254.${host}:8080/`);
      }
      // Nor is one heard that says it is another, from its network or from the node's.
      const red = pods.get('red')!;
      for (const address of [PODS.checked.ipv4, '169.254.65.4', '169.254.64.1']) {
        await red.ip('addr', 'add', `${address}/32`, 'dev', 'eth0');
        const from = ['--interface', address, '--connect-timeout', '1'];
        expect((await curl('red', `${METADATA}/`, ...from)).status, address).not.toBe(0);
        await red.ip('addr', 'del', `${address}/32`, 'dev', 'eth0');
      }
      const after = (await call<ServicesView>('services.status')).services;
      expect(after['metadata']!['requests']).toBe(before);
      // A port of a service is not one of another address's.
      await refused('red', 'http://169.254.169.253/');
      for (const server of servers) await server.stop();
    });

    it('other services are joined by TCP', async () => {
      const echo = await inPod('blue', process.execPath, '-e', ECHO, '169.254.169.253', '7');
      expect(echo.out).toBe('hello');
      expect((await call<ServicesView>('services.status')).services['echo']).toMatchObject({
        connections: 1,
        failed: 0,
      });
    });

    it('a pod that answers 503 is ill, and well again', async () => {
      const server = await serve('checked');
      const becomes = (healthy: boolean) =>
        lab.until(
          `checked is ${healthy ? 'well' : 'ill'}`,
          async () => {
            const { health } = await call<ServicesView>('services.status');
            const found = await curl(
              'red',
              `http://${FLOATING}:8080/ready`,
              '--connect-timeout',
              '1',
            );
            return health[0]?.healthy === healthy && (found.status === 0) === healthy
              ? true
              : undefined;
          },
          START_MS,
        );
      await becomes(true);
      process.kill(server.pid, 'SIGUSR2');
      await becomes(false);
      // It is asked for its metadata all the same.
      expect(headersOf(await ask('checked', '/'))['x-instance-id']).toEqual(['checked-vif']);
      process.kill(server.pid, 'SIGUSR2');
      await becomes(true);
      await server.stop();
      await becomes(false);
    });

    it('goes on when the agent comes back', async () => {
      if (apart) {
        process.kill(agent.pid, 'SIGKILL');
        await sleep(300); // its end is not seen: the forwarder has its stderr
      } else await agent.stop();
      await startAgent();
      if (!apart) {
        for (const pod of NAMES) {
          const space = pods.get(pod)!;
          await space.ip('link', 'set', 'eth0', 'address', PODS[pod].mac);
          await space.ip('link', 'set', 'eth0', 'up');
          await space.ip('addr', 'add', `${PODS[pod].ipv4}/24`, 'dev', 'eth0');
          await space.ip('route', 'add', 'default', 'via', GATEWAY);
        }
      }
      if (apart) {
        const resumed = async () => /"ops":(\d+).*"resumed"/.exec(agent.err())?.[1];
        // pkt0, the ports of both services, and who was ill and is new (address and route); no more.
        expect(Number(await lab.until('it has compared', resumed, START_MS))).toBeLessThanOrEqual(
          5,
        );
      }
      for (const [pod, instance] of [
        ['red', 'red-vif'],
        ['blue', 'b-1'],
      ] as const) {
        expect(headersOf(await asksAgain(pod))['x-instance-id']).toEqual([instance]);
      }
    });

    if (!apart) return; // one process: who kills the forwarder kills the agent too
    it('goes on when the forwarder is killed', async () => {
      process.kill(forwarderPid(), 'SIGKILL');
      expect(headersOf(await asksAgain('blue'))['x-instance-id']).toEqual(['b-1']);
      left.push(forwarderPid());
    });
  },
);
