/**
 * `vrouter capture` and `vrouter trace` of running nodes: two nodes, one with its forwarder as a process of its
 * own, a pod on each behind a TAP, a veth between them. The far pod has a floating IP, so that what is pinged is
 * encapsulated by one node and translated by the other. What was captured is read by tshark.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import type { CaptureView } from '../../src/cli/views.ts';
import { readPcap } from '../../src/codec/pcap.ts';
import { openRemote } from '../../src/dataplane/remote.ts';
import { Lab, type Service } from '../../src/program/lab.ts';
import { connectVeth, type NetworkNamespace } from '../../src/program/netns.ts';
import { askTshark } from '../../src/program/tshark.ts';
import { callAt, whyNot } from '../support/lab.ts';

const MAIN = resolve(import.meta.dirname, '../../dist/cli/main.js');
const GATEWAY = '10.8.1.254';
const POD = { 1: '10.8.1.1', 2: '10.8.1.2' } as const;
const FLOATING = '10.8.200.2';
const PINGS = 5;
type Id = 1 | 2;
const IDS: readonly Id[] = [1, 2];
const nodeMac = (id: Id) => `02:00:0a:09:00:0${id}`;
const podMac = (id: Id) => `02:00:00:00:00:0${id}`;

const why = whyNot('ping', 'tshark', 'tcpdump', 'python3');

describe.skipIf(why !== undefined)('capture and trace of running nodes', () => {
  let lab: Lab;
  const nodes = new Map<Id, NetworkNamespace>();
  const pods = new Map<Id, NetworkNamespace>();
  const socket = (id: Id) => lab.path(`${id}.sock`);
  const inPod = (id: Id, ...argv: string[]) => lab.run(argv, { namespace: pods.get(id) });

  const call = <T>(id: Id, method: string, params: unknown = {}) =>
    callAt<T>(socket(id), method, params);

  /** The command, from when it listens on. */
  async function vrouter(id: Id, ...argv: string[]): Promise<Service> {
    const argument = [process.execPath, MAIN, ...argv, '--sock', socket(id)];
    const service = lab.start(argv[0] as string, argument, { mayEnd: true });
    await lab.until(
      argv.join(' '),
      async () => (/Ctrl-C/.test(service.err()) ? true : undefined),
      10_000,
    );
    return service;
  }

  async function ended(service: Service): Promise<{ out: string; err: string }> {
    const { status, out, err } = await service.ended;
    if (status !== 0) throw new Error(`${service.name}: exit status ${status}: ${err}`);
    return { out, err };
  }

  async function ping(address: string, count = PINGS): Promise<void> {
    const { out } = await inPod(1, 'ping', '-c', `${count}`, '-i', '0.05', '-W', '2', address);
    expect(out).toContain(`${count} received`);
  }

  async function tshark(file: string, fields: readonly string[], filter = ''): Promise<string[][]> {
    const { status, out, err } = await lab.run([
      ...['tshark', '-n', '-r', file, '-Y', filter, '-T', 'fields', '-E', 'separator=/t'],
      ...fields.flatMap((field) => ['-e', field]),
    ]);
    if (status !== 0) throw new Error(err);
    return out
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => line.split('\t'));
  }

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
      const prefixes = id === 1 ? [POD[2], FLOATING] : [POD[1]];
      const file = {
        name: `node${id}`,
        socket: socket(id),
        log: { level: 'warn' },
        ...(id === 1
          ? { forwarder: { socket: lab.path('1.forwarder'), flow_file: lab.path('1.flows') } }
          : {}),
        underlay: {
          port: { kind: 'af_packet', interface: 'up0' },
          mac: nodeMac(id),
          ipv4: `10.9.0.${id}`,
          neighbours: { [`10.9.0.${far}`]: nodeMac(far) },
        },
        vrfs: [{ name: 'red' }],
        routes: prefixes.map((prefix) => ({
          instance: 'red',
          prefix,
          hops: [{ address: `10.9.0.${far}`, label: 16, encaps: ['udp'] }],
        })),
        vifs: [
          {
            name: 'pod',
            port: { kind: 'tap', name: 'eth0', netns: pod.name },
            vrf: 'red',
            tenant_mac: podMac(id),
            ipv4: POD[id],
            gateway4: GATEWAY,
            ...(id === 2 ? { floating_ips: [{ address: FLOATING, vrf: 'red' }] } : {}),
          },
        ],
      };
      writeFileSync(lab.path(`${id}.yaml`), stringify(file));
      lab.start(`node${id}`, [process.execPath, MAIN, 'node', '--config', lab.path(`${id}.yaml`)], {
        namespace: node,
      });
      await lab.until(`node${id}`, () => call<unknown>(id, 'status'), 20_000);
      await pod.ip('link', 'set', 'eth0', 'address', podMac(id));
      await pod.ip('link', 'set', 'eth0', 'up');
      await pod.ip('addr', 'add', `${POD[id]}/32`, 'dev', 'eth0');
      await pod.ip('route', 'add', GATEWAY, 'dev', 'eth0');
      await pod.ip('route', 'add', 'default', 'via', GATEWAY);
    }
    await lab.until(
      'a first ping',
      async () => {
        const { status } = await inPod(1, 'ping', '-c', '1', '-W', '1', FLOATING);
        return status === 0 ? true : undefined;
      },
      15_000,
    );
  });
  afterAll(() => lab.close());

  it('before and behind encapsulation: what a ping is at the pod and on the uplink', async () => {
    const [plain, tunnelled] = [lab.path('pod.pcapng'), lab.path('fabric.pcapng')];
    const both = [
      await vrouter(1, 'capture', 'pod', 'icmp', '-w', plain, '--count', `${2 * PINGS}`),
      await vrouter(
        1,
        'capture',
        'fabric',
        'udp',
        'port',
        '6635',
        '-w',
        tunnelled,
        '--count',
        `${2 * PINGS}`,
      ),
    ];
    await ping(FLOATING);
    for (const service of both) {
      expect((await ended(service)).err).toMatch(
        /10 packets captured on \w+ of \d+ that matched\n/,
      );
    }
    const opinion = await askTshark(lab.run.bind(lab), plain, []);
    expect(opinion.malformed).toEqual([]);
    expect(
      [...opinion.others.keys()].every((name) => name.startsWith('eth:ethertype:ip:icmp')),
    ).toBe(true);
    expect(opinion.frames).toBe(2 * PINGS);
    const rows = await tshark(plain, [
      'ip.dst',
      'icmp.type',
      'frame.packet_flags_direction',
      'frame.interface_name',
    ]);
    expect(rows.filter((row) => `${row}` === `${FLOATING},8,0x00000001,pod`)).toHaveLength(PINGS);
    expect(rows.filter((row) => `${row}` === `${POD[1]},0,0x00000002,pod`)).toHaveLength(PINGS);

    const fabric = await askTshark(lab.run.bind(lab), tunnelled, []);
    expect(fabric.malformed).toEqual([]);
    expect(fabric.mplsOverUdp).toBe(2 * PINGS);
    expect(fabric.frames).toBe(2 * PINGS);
  });

  it('before and behind NAT, and by what the kernel saw', async () => {
    const file = lab.path('far.pcap');
    const [pod, fabric] = [
      await vrouter(
        2,
        'capture',
        'pod',
        'icmp',
        '-w',
        file,
        '--direction',
        'out',
        '--count',
        `${PINGS}`,
      ),
      await vrouter(2, 'capture', 'fabric', '--direction', 'in', '--json', '--count', `${PINGS}`),
    ];
    const kernel = lab.path('kernel.pcap');
    const tcpdump = lab.start(
      'tcpdump',
      [
        'tcpdump',
        '-i',
        'eth0',
        '-Q',
        'in',
        '--immediate-mode',
        '-c',
        `${PINGS}`,
        '-w',
        kernel,
        'icmp',
      ],
      {
        namespace: pods.get(2),
        mayEnd: true,
      },
    );
    await lab.until(
      'tcpdump',
      async () => (/listening/.test(tcpdump.err()) ? true : undefined),
      10_000,
    );
    await ping(FLOATING);
    await ended(pod);
    const lines = (await ended(fabric)).out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { text: string });
    expect(lines).toHaveLength(PINGS);
    for (const { text } of lines) expect(text).toContain(`${POD[1]} > ${FLOATING} icmp type 8`);
    expect((await tshark(file, ['ip.dst'])).flat()).toEqual(Array(PINGS).fill(POD[2]));
    expect((await askTshark(lab.run.bind(lab), file, [])).malformed).toEqual([]);
    // To the byte what the pod's kernel got.
    await ended(tcpdump);
    const frames = (name: string) =>
      [...readPcap(name, readFileSync(name))].map(({ frame }) =>
        Buffer.from(frame).toString('hex'),
      );
    expect(frames(file)).toEqual(frames(kernel));
  });

  it('a super-packet is one packet, with its checksum, whole', async () => {
    const file = lab.path('tcp.pcapng');
    const capture = await vrouter(
      1,
      'capture',
      'pod',
      'tcp',
      '-w',
      file,
      '--direction',
      'in',
      '--seconds',
      '20',
    );
    const server = lab.start(
      'server',
      [
        'python3',
        '-c',
        `
import socket
s = socket.create_server(('', 8080))
print('ready', flush=True)
c, _ = s.accept()
n = 0
while b := c.recv(65536): n += len(b)
print(n, flush=True)`,
      ],
      { namespace: pods.get(2), mayEnd: true },
    );
    await lab.until(
      'the server',
      async () => (server.out().includes('ready') ? true : undefined),
      10_000,
    );
    const sent = await inPod(
      1,
      'python3',
      '-c',
      `
import socket
c = socket.create_connection(('${POD[2]}', 8080)); c.sendall(bytes(range(256)) * 4096); c.close()`,
    );
    expect(sent.err).toBe('');
    expect((await server.ended).out).toContain(`${1 << 20}`);
    process.kill(capture.pid, 'SIGINT');
    await ended(capture);
    const opinion = await askTshark(lab.run.bind(lab), file, []);
    expect(opinion.malformed).toEqual([]);
    const fields = ['tcp.seq', 'tcp.len', 'frame.len', 'frame.cap_len'];
    const rows = (await tshark(file, fields)).map((row) => row.map(Number));
    // Every byte of the stream is there, whatever was sent twice.
    let next = 1;
    for (const [from = 0, length = 0] of rows.toSorted(([a = 0], [b = 0]) => a - b)) {
      if (from <= next) next = Math.max(next, from + length);
    }
    expect(next).toBe(1 + (1 << 20));
    expect(Math.max(...rows.map(([, length = 0]) => length))).toBeGreaterThan(10_000);
    for (const [, , length, captured] of rows) expect(captured).toBe(length);
  });

  it('a filter leaves out; any is every vif; a snap length cuts; stdout is read along', async () => {
    const none = await vrouter(
      1,
      'capture',
      'pod',
      'icmp',
      'and',
      'host',
      '10.99.99.99',
      '--seconds',
      '2',
      '--json',
    );
    const any = await vrouter(1, 'capture', 'any', '--snap', '60', '--count', '4');
    const piped = lab.start(
      'piped',
      [
        'sh',
        '-c',
        `'${process.execPath}' '${MAIN}' capture any -w - --count 4 --sock '${socket(1)}' | tcpdump -n -r -`,
      ],
      { mayEnd: true },
    );
    await lab.until(
      'the pipe',
      async () => (/Ctrl-C/.test(piped.err()) ? true : undefined),
      10_000,
    );
    await ping(FLOATING, 1);
    const text = (await ended(any)).out;
    expect(text).toMatch(
      /Z pod in {2}10\.8\.1\.1 > 10\.8\.200\.2 icmp type 8 code 0 \[60 of 98 bytes\]\n/,
    );
    expect(text).toMatch(/Z fabric out .*mpls 16 \{/);
    expect(text).toMatch(/Z pod out .* icmp type 0/);
    expect((await ended(piped)).out).toMatch(/ICMP echo reply/);
    const nothing = await ended(none);
    expect(nothing.out).toBe('');
    expect(nothing.err).toContain('0 packets captured on pod of 0 that matched');
  });

  it('refuses by name: filters, vifs, more than there may be', async () => {
    const run = (...argv: string[]) =>
      lab.run([process.execPath, MAIN, 'capture', ...argv, '--sock', socket(1)]);
    expect((await run('pod', 'no such filter')).err).toMatch(
      /^vrouter: filter "no such filter": .*syntax/,
    );
    expect((await run('pot')).err).toMatch(/pot.*pod/s);
    const tooMany: Service[] = [];
    for (let i = 0; i < 4; i++) tooMany.push(await vrouter(1, 'capture', 'pod'));
    expect((await run('pod')).err).toMatch(/captures: the table has reached its limit/);
    for (const service of tooMany) process.kill(service.pid, 'SIGKILL');
    // Their client is gone: after a while there is room again.
    const { id } = await lab.until(
      'room for another',
      () => call<{ id: number }>(1, 'capture.start', { vif: 'pod' }),
      15_000,
    );
    await call(1, 'capture.stop', { id });
    await expect(call<CaptureView>(1, 'capture.read', { id })).rejects.toMatchObject({
      code: 'NOT_FOUND',
    });
  }, 40_000);

  it('traces: each packet with the rooms it goes through', async () => {
    const other = await vrouter(1, 'trace', '--match', '10.99.99.99', '--seconds', '2');
    const trace = await vrouter(
      1,
      'trace',
      '--vif',
      'pod',
      '--match',
      `${FLOATING} & proto icmp`,
      '--count',
      '2',
      '--json',
    );
    // The far node sees it in a tunnel.
    const far = await vrouter(
      2,
      'trace',
      '--vif',
      'fabric',
      '--match',
      `${FLOATING}`,
      '--count',
      '1',
    );
    await ping(FLOATING, 2);
    const packets = (await ended(trace)).out
      .trim()
      .split('\n')
      .map(
        (line) =>
          JSON.parse(line) as {
            name: string;
            text: string;
            lines: { room: string; text: string }[];
          },
      );
    expect(packets).toHaveLength(2);
    const rooms = (i: number) => packets[i]?.lines.map(({ room }) => room) ?? [];
    // The first opens the flow, the second meets it: the trace is of this packet, at this moment.
    expect(rooms(0)).toEqual(
      expect.arrayContaining(['parse', 'admit', 'open_flow', 'route', 'encapsulate', 'finish']),
    );
    expect(packets[1]?.lines.map(({ text }) => text).join('\n')).toMatch(/found \d+<=>\d+/);
    expect(rooms(1)).not.toContain('open_flow');
    expect(packets[0]?.name).toBe('pod');
    const text = (await ended(far)).out;
    expect(text).toMatch(/^decap +label 16 from 10\.9\.0\.1/m);
    expect(text).toMatch(/^translate .*10\.8\.1\.2/m);
    expect(text).toMatch(/^finish +out of vif0\/\d+/m);
    expect((await ended(other)).out).toBe('');
  });

  it('--watch shows the rates that there are', async () => {
    const each = 10;
    const wire = 98;
    const ping = lab.start('ping', ['ping', '-q', '-i', `${1 / each}`, FLOATING], {
      namespace: pods.get(1),
      mayEnd: true,
    });
    try {
      const watch = async (...argv: string[]) => {
        const looks = ['--watch', '2', '--count', '2', '--sock', socket(1)];
        const { status, out, err } = await lab.run([process.execPath, MAIN, ...argv, ...looks]);
        expect(err).toBe('');
        expect(status).toBe(0);
        return out;
      };
      const [vif, table, flow] = await Promise.all([
        watch('vif', '--list'),
        watch('vif', '--list', '--rate'),
        watch('flow', '--match', `${FLOATING} & proto icmp`),
      ]);
      const near = (text: string | undefined, wanted: number) => {
        expect(Number(text)).toBeGreaterThan(wanted * 0.8);
        expect(Number(text)).toBeLessThan(wanted * 1.2);
      };
      const pod = vif.slice(vif.lastIndexOf('Virtual: pod'));
      for (const way of ['RX', 'TX']) {
        const found = new RegExp(`${way} rate packets/s:(\\d+) bits/s:(\\d+)`).exec(pod);
        near(found?.[1], each);
        near(found?.[2], each * wire * 8);
      }
      // Two looks, the second with two lines of rates a vif.
      expect(vif.match(/rate packets/g)).toHaveLength(vif.match(/^vif0\//gm)?.length ?? 0);
      expect(table.match(/Interface rate statistics/g)).toHaveLength(2);
      near(/^pod +vif0\/\d+ +0 +(\d+) +0 +\d+$/m.exec(table)?.[1], each);
      const rates = [...flow.matchAll(/^ Rate packets\/s:(\d+) bits\/s:(\d+)$/gm)];
      expect(rates.some(([, packets]) => Number(packets) > 0)).toBe(true);
      near(rates.find(([, packets]) => Number(packets) > 0)?.[1], each);
    } finally {
      await ping.stop();
    }
  });

  it('goes on when the forwarder is another one', async () => {
    const pid = () => {
      const remote = openRemote({ path: lab.path('1.forwarder') });
      try {
        return remote.attach().pid;
      } finally {
        remote.close();
      }
    };
    const file = lab.path('killed.pcapng');
    const capture = await vrouter(1, 'capture', 'pod', 'icmp', '-w', file);
    await ping(FLOATING, 2);
    await sleep(200);
    const before = pid();
    process.kill(before, 'SIGKILL');
    await lab.until('another', async () => (pid() === before ? undefined : true), 15_000);
    await sleep(1000);
    await ping(FLOATING, 3);
    process.kill(capture.pid, 'SIGINT');
    await ended(capture);
    expect(await tshark(file, ['icmp.type'])).toHaveLength(10);
  });
});
