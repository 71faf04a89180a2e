/**
 * `vrouter replay` on traffic that scapy made: every packet accounted for, the same bytes twice, and what
 * came out read by tshark.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildFrame } from '../../src/cli/frame.ts';
import type { Io } from '../../src/cli/io.ts';
import { run } from '../../src/cli/main.ts';
import { PcapWriter, readPcap } from '../../src/codec/pcap.ts';

const PACKETS = 10_000;
const state = fileURLToPath(new URL('../../examples/clusterip/cent222.yaml', import.meta.url));
const generator = fileURLToPath(new URL('../fixtures/make_traffic.py', import.meta.url));
const python = '/usr/bin/python3';

function have(command: string, ...args: string[]): boolean {
  try {
    execFileSync(command, args, { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}
const scapy = existsSync(python) && have(python, '-c', 'import scapy.all');
const tshark = have('tshark', '--version');

let work: string;
beforeAll(() => {
  work = mkdtempSync(join(tmpdir(), 'vrouter-replay-'));
});
afterAll(() => rmSync(work, { recursive: true, force: true }));

async function vrouter(...argv: string[]) {
  let out = '';
  let err = '';
  let failed = false;
  const io: Io = {
    out: (text) => {
      out += text;
    },
    err: (text) => {
      err += text;
    },
    env: {},
    fail: () => {
      failed = true;
    },
  };
  const status = await run(argv, io);
  return { status: failed ? 1 : status, out, err };
}

function contents(directory: string): Map<string, string> {
  return new Map(
    readdirSync(directory)
      .sort()
      .map((name) => [name, readFileSync(join(directory, name)).toString('base64')]),
  );
}

function records(file: string) {
  return [...readPcap(file, readFileSync(file))];
}

describe.skipIf(!scapy)('10,000 packets from scapy', () => {
  let summary: {
    records: number;
    unusable: number;
    accounted: boolean;
    discrepancies: string[];
    totals: Record<string, number>;
    dropped: { name: string; packets: number }[];
    vifs: { vif: string; input: number; output: number }[];
  };
  const arguments_ = (out: string) => [
    'replay',
    '--state',
    state,
    ...['client', 'web1', 'eth1'].flatMap((vif) => ['--in', `${vif}=${join(work, `${vif}.pcap`)}`]),
    '--out',
    join(work, out),
    '--json',
  ];

  beforeAll(async () => {
    execFileSync(python, [generator, work, String(PACKETS), '1']);
    const { status, out, err } = await vrouter(...arguments_('first'));
    expect(err).toBe('');
    summary = JSON.parse(out);
    expect(summary.discrepancies).toEqual([]);
    expect(status).toBe(0);
  }, 120_000);

  it('accounts for every one', () => {
    const { totals } = summary;
    expect(summary.records).toBe(PACKETS);
    expect(summary.unusable).toBe(0);
    expect(summary.accounted).toBe(true);
    const sum = ['forwarded', 'replied', 'punted', 'dropped', 'consumed', 'held'].reduce(
      (n, name) => n + (totals[name] ?? 0),
      0,
    );
    expect(sum).toBe(PACKETS);
    expect(totals['held']).toBe(0);
    // Not everything went one way.
    expect(totals['forwarded']).toBeGreaterThan(PACKETS / 4);
    expect(totals['replied']).toBeGreaterThan(0);
    expect(totals['dropped']).toBeGreaterThan(0);
    expect(summary.dropped.reduce((n, drop) => n + drop.packets, 0)).toBeGreaterThanOrEqual(
      totals['dropped'] as number,
    );
    expect(summary.vifs.map((vif) => vif.input).reduce((a, b) => a + b)).toBe(PACKETS);
  });

  it('gives the same bytes again', async () => {
    expect((await vrouter(...arguments_('second'))).status).toBe(0);
    const first = contents(join(work, 'first'));
    const second = contents(join(work, 'second'));
    expect([...first.keys()]).toEqual([
      'client.pcap',
      'counters.json',
      'drops.json',
      'eth1.pcap',
      'flows.json',
      'summary.json',
      'web1.pcap',
    ]);
    for (const [name, bytes] of first) expect(second.get(name) === bytes, name).toBe(true);
  }, 60_000);

  it('chooses otherwise with another seed', async () => {
    expect((await vrouter(...arguments_('seed'), '--seed', '2')).status).toBe(0);
    const one = contents(join(work, 'first')).get('eth1.pcap');
    expect(contents(join(work, 'seed')).get('eth1.pcap')).not.toBe(one);
  }, 60_000);

  it('stamps output with the time of the packets', () => {
    const input = records(join(work, 'client.pcap'));
    const output = records(join(work, 'first', 'web1.pcap'));
    expect(output.length).toBeGreaterThan(100);
    const begin = input[0]?.timeNs ?? 0n;
    let last = begin;
    for (const { timeNs } of output) {
      expect(timeNs >= last).toBe(true);
      last = timeNs;
    }
  });

  it.skipIf(!tshark)(
    'writes what tshark reads: MPLS over UDP from several ports, nothing malformed',
    () => {
      const file = join(work, 'first', 'eth1.pcap');
      const read = (filter: string, field: string) =>
        execFileSync(
          'tshark',
          ['-r', file, '-Y', filter, '-T', 'fields', '-E', 'occurrence=f', '-e', field],
          {
            encoding: 'utf8',
            stdio: ['ignore', 'pipe', 'ignore'],
            maxBuffer: 1 << 26,
          },
        )
          .split('\n')
          .filter((line) => line !== '');
      const ports = read('udp.dstport == 6635 && mpls', 'udp.srcport');
      expect(ports.length).toBeGreaterThan(100);
      expect(new Set(ports).size).toBeGreaterThan(1);
      expect(ports.every((port) => Number(port) >= 49152)).toBe(true);
      const labels = new Set(read('udp.dstport == 6635', 'mpls.label'));
      expect([...labels]).toEqual(['38']);
      expect(read('_ws.malformed && tcp', 'frame.number')).toEqual([]);
    },
  );
});

describe('replay', () => {
  const T0 = 1_700_000_000_000_000_000n;
  const frame = (fields: Partial<Parameters<typeof buildFrame>[0]>) =>
    buildFrame({
      sourceMac: '02:00:0a:2f:ff:ed',
      destinationMac: '00:00:5e:00:01:00',
      source: '10.47.255.237',
      destination: '10.47.255.236',
      protocol: 'udp',
      sourcePort: 5000,
      destinationPort: 53,
      flags: '',
      ttl: 64,
      payload: new Uint8Array(10),
      ...fields,
    });
  const pcap = (name: string, frames: [bigint, Uint8Array][]) => {
    const writer = new PcapWriter();
    for (const [at, bytes] of frames) writer.add(at, bytes);
    const file = join(work, name);
    writeFileSync(file, writer.bytes());
    return file;
  };

  it('forwards one packet, and says so', async () => {
    const file = pcap('one.pcap', [[T0 + 5n, frame({})]]);
    const out = join(work, 'one');
    const { status, out: text } = await vrouter(
      'replay',
      '--state',
      state,
      '--in',
      `client=${file}`,
      '--out',
      out,
    );
    expect(status).toBe(0);
    expect(text).toContain('1 packets in 0.000 s');
    expect(text).toContain('Every packet is accounted for.');
    const [record, ...more] = records(join(out, 'web1.pcap'));
    expect(more).toEqual([]);
    expect(record?.timeNs).toBe(T0 + 5n);
    const sent = Buffer.from(record?.frame ?? []);
    expect(sent.subarray(0, 6).toString('hex')).toBe('02000a2fffec');
    expect(sent[22]).toBe(63); // TTL
    const flows = JSON.parse(readFileSync(join(out, 'flows.json'), 'utf8'));
    expect(flows).toHaveLength(2);
    expect(flows.find((flow: { initiator: boolean }) => flow.initiator)).toMatchObject({
      source: '10.47.255.237',
      destination: '10.47.255.236',
      action: 'F',
      packets: 1,
    });
  });

  it('translates to the backend and names the port that has no mapping', async () => {
    const tcp = { protocol: 'tcp', flags: 'S', destination: '10.101.102.27' } as const;
    const frames = Array.from({ length: 20 }, (_, i): [bigint, Uint8Array] => [
      T0 + BigInt(i) * 1000n,
      frame({ ...tcp, sourcePort: 6000 + i, destinationPort: i % 2 === 0 ? 9999 : 9998 }),
    ]);
    const file = pcap('nat.pcap', frames);
    const out = join(work, 'nat');
    expect(
      (await vrouter('replay', '--state', state, '--in', `client=${file}`, '--out', out)).status,
    ).toBe(0);
    const local = records(join(out, 'web1.pcap')).map((r) => Buffer.from(r.frame));
    expect(local.length).toBeGreaterThan(0);
    for (const bytes of local) {
      expect(bytes.subarray(30, 34)).toEqual(Buffer.from([10, 47, 255, 236]));
      expect(bytes.readUInt16BE(36)).toBe(90);
    }
    const flows: { action: string; drop: string; nat: string }[] = JSON.parse(
      readFileSync(join(out, 'flows.json'), 'utf8'),
    );
    expect(flows.some((flow) => flow.action === 'N' && flow.nat === 'DPd')).toBe(true);
    expect(flows.some((flow) => flow.action === 'N' && flow.nat === 'SPs')).toBe(true);
    expect(flows.some((flow) => flow.action === 'D' && flow.drop === 'NoFipPortMap')).toBe(true);
  });

  it('merges inputs by time, whatever the order of the arguments', async () => {
    const a = pcap('a.pcap', [
      [T0, frame({})],
      [T0 + 3_000n, frame({ sourcePort: 1 })],
    ]);
    const back = frame({
      sourceMac: '02:00:0a:2f:ff:ec',
      source: '10.47.255.236',
      destination: '10.47.255.237',
      sourcePort: 53,
      destinationPort: 5000,
    });
    const b = pcap('b.pcap', [[T0 + 1_000n, back]]);
    const outputs: Map<string, string>[] = [];
    for (const order of [
      [`client=${a}`, `web1=${b}`],
      [`web1=${b}`, `client=${a}`],
    ]) {
      const out = join(work, `order${outputs.length}`);
      const inputs = order.flatMap((input) => ['--in', input]);
      expect((await vrouter('replay', '--state', state, ...inputs, '--out', out)).status).toBe(0);
      outputs.push(contents(out));
    }
    expect(outputs[0]).toEqual(outputs[1]);
    // The answer belongs to the flow the first packet made: two pairs, not three.
    const flows = JSON.parse(readFileSync(join(work, 'order0', 'flows.json'), 'utf8'));
    expect(flows).toHaveLength(4);
  });

  it('refuses what it cannot do, by name', async () => {
    const file = pcap('x.pcap', [[T0, frame({})]]);
    const out = join(work, 'refused');
    const attempt = (...inputs: string[]) =>
      vrouter('replay', '--state', state, '--out', out, ...inputs);
    expect((await attempt('--in', `clint=${file}`)).err).toContain('did you mean "client"?');
    expect((await attempt('--in', 'client')).err).toContain('VIF=FILE.pcap is needed');
    expect((await attempt('--in', 'client=/nonexistent.pcap')).err).toContain('/nonexistent.pcap');
    writeFileSync(join(work, 'bad.pcap'), 'nonsense, and more than a header of it');
    const bad = await attempt('--in', `client=${join(work, 'bad.pcap')}`);
    expect(bad.status).toBe(1);
    expect(bad.err).toMatch(/bad\.pcap: offset 0: not a pcap file/);
    expect(existsSync(out)).toBe(false);
    const wrong = join(work, 'wrong.yaml');
    writeFileSync(
      wrong,
      'vrfs: [{name: a}]\nroutes:\n  - {vrf: a, prefix: 10.0.0.0/8, next_hop: elsewhere}\n',
    );
    const said = await vrouter('replay', '--state', wrong, '--in', `x=${file}`, '--out', out);
    expect(said.err).toContain(`${wrong}:3: routes[0].next_hop: no next hop is called "elsewhere"`);
  });
});

describe('explain', () => {
  const ask = (...more: string[]) =>
    vrouter('explain', '--state', state, '--vif', 'client', '--src', '10.47.255.237', ...more);

  it('prints the rooms of a packet to the service', async () => {
    const { status, out } = await ask('--dst', '10.105.139.153', '--dport', '8888');
    expect(status).toBe(0);
    const rooms = out.split('\n').map((line) => line.split(/\s+/)[0]);
    expect(rooms.length).toBeGreaterThan(4);
    expect(rooms).toContain('parse');
    expect(out).toMatch(/NAT|MPLS|mpls|label/);
  });

  it('shows a packet as it would leave: translated, with right checksums', async () => {
    const answers = await Promise.all(
      Array.from({ length: 12 }, (_, i) =>
        ask('--dst', '10.105.139.153', '--dport', '8888', '--sport', String(50_000 + i)),
      ),
    );
    const here = answers.map(({ out }) => out).filter((out) => out.includes('with NAT'));
    expect(here.length).toBeGreaterThan(0);
    expect(here.length).toBeLessThan(12);
    for (const out of here) {
      expect(out).toContain('IPv4 10.47.255.237 > 10.47.255.236 ');
      expect(out).not.toContain('bad checksum');
    }
  });

  it('takes the frame as hex, and says it as JSON', async () => {
    const { status, out } = await vrouter(
      'explain',
      '--state',
      state,
      '--vif',
      'client',
      '--json',
      '--packet',
      Buffer.from(
        buildFrame({
          sourceMac: '02:00:0a:2f:ff:ed',
          destinationMac: '00:00:5e:00:01:00',
          source: '10.47.255.237',
          destination: '192.0.2.1',
          protocol: 'udp',
          sourcePort: 1,
          destinationPort: 2,
          flags: '',
          ttl: 64,
          payload: new Uint8Array(0),
        }),
      ).toString('hex'),
    );
    expect(status).toBe(0);
    const { lines } = JSON.parse(out) as { lines: { room: string; text: string }[] };
    expect(lines.length).toBeGreaterThan(1);
    expect(lines.every((line) => line.room !== '' && line.text !== '')).toBe(true);
  });

  it('refuses what makes no packet', async () => {
    expect((await ask()).err).toContain('--src and --dst, is needed');
    expect((await ask('--dst', 'fd00::1')).err).toContain('different families');
    expect((await ask('--dst', '10.0.0.1', '--flags', 'Q')).err).toContain(
      '"Q" is none of FSRPAUEC',
    );
    expect(
      (await vrouter('explain', '--state', state, '--vif', 'x', '--packet', 'zz')).err,
    ).toContain('pairs of hex digits');
    const misspelt = await vrouter(
      'explain',
      '--state',
      state,
      '--vif',
      'clint',
      '--src',
      '10.0.0.1',
      '--dst',
      '10.0.0.2',
    );
    expect(misspelt.err).toContain('no vif "clint" (did you mean "client"?)');
  });
});
