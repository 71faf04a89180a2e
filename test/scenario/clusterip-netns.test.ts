/**
 * `vrouter demo clusterip --netns` as a user runs it: the built program, as root, on this machine's kernel.
 * The report is read, what is left behind is looked for, and what should turn the verdict is tried.
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it, type TestContext } from 'vitest';
import { PcapWriter, readPcap } from '../../src/codec/pcap.ts';
import { readCurl } from '../../src/program/clusterip-curls.ts';
import { PAGE_FILLER } from '../../src/program/clusterip-netns.ts';
import type { DemoReport } from '../../src/program/demo-report.ts';
import { Lab } from '../../src/program/lab.ts';
import { missingForNetns } from '../../src/program/netns-needs.ts';
import { askTshark, opinionOf } from '../../src/program/tshark.ts';
import { decodeMplsOverUdp } from '../../src/sim/wire.ts';
import { ether, ipv4, packet, raw, tcp } from '../support/packet.ts';

const MAIN = resolve(import.meta.dirname, '../../dist/cli/main.js');
const RUN_MS = 300_000;

interface Run {
  readonly pid: number;
  readonly out: () => string;
  readonly ended: Promise<{ status: number | null; out: string; err: string }>;
  readonly kill: (signal: NodeJS.Signals) => void;
}

function demo(args: readonly string[], env: NodeJS.ProcessEnv = {}): Run {
  if (!existsSync(MAIN)) throw new Error('dist/cli/main.js is not built: node scripts/setup.mjs');
  const argv = [MAIN, 'demo', 'clusterip', '--netns', ...args];
  const child = spawn(process.execPath, argv, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...env },
  });
  let out = '';
  let err = '';
  child.stdout.on('data', (chunk) => {
    out += chunk;
  });
  child.stderr.on('data', (chunk) => {
    err += chunk;
  });
  return {
    pid: child.pid ?? 0,
    out: () => out,
    ended: new Promise((done) => child.on('close', (status) => done({ status, out, err }))),
    kill: (signal) => child.kill(signal),
  };
}

/** Whatever carries the pid of a run in its name, and its processes. */
function leftovers(pid: number): string[] {
  const named = (folder: string, start: string) =>
    existsSync(folder) ? readdirSync(folder).filter((name) => name.startsWith(start)) : [];
  const processes = readdirSync('/proc').filter((name) => {
    try {
      return (
        /^\d+$/.test(name) && readFileSync(`/proc/${name}/cmdline`, 'utf8').includes(`-${pid}-`)
      );
    } catch {
      return false; // it ended meanwhile
    }
  });
  return [
    ...named('/run/netns', `vrd${pid}-`),
    ...named(tmpdir(), `vrouter-lab-${pid}-`),
    ...processes.map((process) => `process ${process}`),
  ];
}

const observed = (report: DemoReport, id: string) =>
  report.expectations.find((expectation) => expectation.id === id)?.observed ?? '';

let missing: string[];
let wires: string;
let run: Run;
let ended: Awaited<Run['ended']>;
let report: DemoReport;

const needed = ({ skip }: TestContext) => {
  skip(missing.length > 0, `needs ${missing.join('; ')}`);
};

beforeAll(async () => {
  wires = mkdtempSync(join(tmpdir(), 'vrouter-wires-'));
  missing = await missingForNetns();
  if (missing.length > 0) return;
  run = demo(['--json', '--connections', '200', '--pcap', wires]);
  ended = await run.ended;
  if (ended.out === '') throw new Error(`no report: ${ended.err}`);
  report = JSON.parse(ended.out) as DemoReport;
}, RUN_MS);

afterAll(() => rmSync(wires, { recursive: true, force: true }));

describe('a Kubernetes service on real kernels', () => {
  it('meets every expectation', (ctx) => {
    needed(ctx);
    const failed = report.expectations.filter(({ ok }) => !ok);
    expect(failed).toEqual([]);
    expect(report).toMatchObject({ demo: 'clusterip', setting: 'netns', ok: true, failed: [] });
    expect(ended.status).toBe(0);
    expect(ended.err).toBe('');
  });

  it('looked at all there is to see', (ctx) => {
    needed(ctx);
    expect(report.expectations.map(({ id }) => id)).toEqual([
      'xmpp',
      'vif',
      'composite',
      'gateway',
      'ping-gateway',
      'ping-pod',
      'first-connection',
      'client-flow',
      'backend-flow',
      'tcp-state',
      'curls',
      'both-nodes',
      'pinned',
      'answered',
      'multi-port-8888',
      'multi-port-9999',
      'unmapped',
      'control-killed',
      'third-backend',
      'headless',
      'client-sees-service',
      'backend-sees-client',
      'fabric',
      'entropy',
      'xmpp-wire',
      'tshark',
      'captured',
      'accounted-cent222',
      'accounted-cent333',
    ]);
    expect(observed(report, 'curls')).toBe('200 of 200');
    expect(observed(report, 'multi-port-8888')).toMatch(
      /^400 of 400 requests answered, on port 80:/,
    );
    expect(observed(report, 'multi-port-9999')).toMatch(
      /^400 of 400 requests answered, on port 90:/,
    );
    expect(observed(report, 'unmapped')).toMatch(/D\(NoFipPortMap\) on cent/);
    const [tunnelled = 0, all, xmpp = 0, arp = 0] = [
      /^(\d+) of/,
      /of (\d+) frames/,
      /(\d+) of port 5269, 0 malformed/,
      /eth:ethertype:arp (\d+)/,
    ].map((pattern) => Number(pattern.exec(observed(report, 'tshark'))?.[1]));
    expect(xmpp).toBeGreaterThan(0);
    expect(tunnelled + xmpp + arp).toBe(all);
  });

  it('has its routes from two control nodes, over the fabric, and does not miss the one that was killed', (ctx) => {
    needed(ctx);
    const pairs = [
      'cent222 - cent111',
      'cent333 - cent111',
      'cent222 - cent112',
      'cent333 - cent112',
    ];
    for (const pair of pairs) {
      expect(observed(report, 'xmpp')).toMatch(
        new RegExp(`${pair}: established, [1-9]\\d* routes published, [1-9]\\d* heard in`),
      );
    }
    for (const node of ['10.169.25.20', '10.169.25.21']) {
      for (const control of ['10.169.25.18', '10.169.25.19']) {
        expect(observed(report, 'xmpp-wire')).toMatch(
          new RegExp(`${node} - ${control}: [1-9]\\d* publishes in \\d+ bytes, [1-9]\\d* events`),
        );
      }
    }
    const killed = observed(report, 'control-killed');
    const headless = observed(report, 'headless');
    for (const text of [killed, headless]) {
      expect(text).toMatch(/^60 of 60, ([1-9]|[1-5]\d) of them before it; /);
    }
    for (const node of ['cent222', 'cent333']) {
      expect(killed).toMatch(
        new RegExp(`${node}: 0 commits, sessions (waiting|connecting) and established`),
      );
      expect(headless).toMatch(
        new RegExp(`${node}: 0 commits, sessions (waiting|connecting) and (waiting|connecting)`),
      );
    }
  });

  it('shows the tables of both nodes', (ctx) => {
    needed(ctx);
    const shown = report.tables.map(({ node, command }) => `${node} ${command.split(' ')[1]}`);
    for (const node of ['cent222', 'cent333']) {
      for (const view of ['vif', 'rt', 'nh', 'mpls', 'flow'])
        expect(shown).toContain(`${node} ${view}`);
    }
  });

  it('leaves nothing behind', (ctx) => {
    needed(ctx);
    expect(leftovers(run.pid)).toEqual([]);
    expect(existsSync(join(wires, 'fabric.pcap'))).toBe(true);
  });
});

describe('the verdict', () => {
  it(
    'turns when there is no policy between the networks',
    async (ctx) => {
      needed(ctx);
      const broken = demo(['--json', '--connections', '20', '--sabotage', 'no-policy']);
      const { status, out } = await broken.ended;
      const { ok, failed } = JSON.parse(out) as DemoReport;
      expect(status).toBe(1);
      expect(ok).toBe(false);
      expect(failed).toEqual(
        expect.arrayContaining(['composite', 'curls', 'both-nodes', 'unmapped']),
      );
      // What does not depend on the service still holds.
      expect(failed).not.toContain('ping-pod');
      expect(leftovers(broken.pid)).toEqual([]);
    },
    RUN_MS,
  );

  it('is refused for what cannot be done here', async (ctx) => {
    needed(ctx);
    const refused = async (...args: string[]) => {
      const { status, err } = await demo(args).ended;
      expect(status).toBe(1);
      return err;
    };
    expect(await refused('--sabotage', 'swap-label')).toMatch(
      /swap-label: on simulated nodes only; with --netns: drop-nat, no-policy/,
    );
    expect(await refused('--sabotage', 'no-polcy')).toMatch(/did you mean "no-policy"/);
    expect(await refused('--connections', '5')).toMatch(/20 to 20000 with --netns, not 5/);
  });

  it('is not tried without what it needs; each thing is named with its Debian package', async (ctx) => {
    needed(ctx);
    const { status, err } = await demo([], { PATH: wires }).ended;
    expect(status).toBe(1);
    for (const line of [
      'the command ip (Debian: iproute2)',
      'the command curl (Debian: curl)',
      'the command tshark (Debian: tshark)',
    ]) {
      expect(err).toContain(line);
    }
  });

  it(
    'tells why, and removes everything, when it is interrupted',
    async (ctx) => {
      needed(ctx);
      const interrupted = demo(['--connections', '2000']);
      for (let i = 0; i < 600 && !interrupted.out().includes('6. '); i++) await sleep(50);
      expect(leftovers(interrupted.pid).length).toBeGreaterThan(5);
      interrupted.kill('SIGINT');
      const { status, err } = await interrupted.ended;
      expect(status).toBe(1);
      expect(err).toBe('vrouter: demo clusterip: interrupted by SIGINT\n');
      expect(leftovers(interrupted.pid)).toEqual([]);
    },
    RUN_MS,
  );
});

describe('the second opinion', () => {
  const ask = async (frames: readonly Uint8Array[], http: readonly number[] = [8888, 9999]) => {
    const lab = new Lab();
    try {
      const writer = new PcapWriter();
      frames.forEach((frame, i) => {
        writer.add(BigInt(i) * 1_000_000n, frame);
      });
      writeFileSync(lab.path('frames.pcap'), writer.bytes());
      return await askTshark((argv) => lab.run(argv), lab.path('frames.pcap'), http);
    } finally {
      await lab.close();
    }
  };
  /** The largest tunnelled frame of the real capture: a full segment of a page. */
  const segment = (): Uint8Array => {
    const records = [...readPcap('fabric.pcap', readFileSync(join(wires, 'fabric.pcap')))];
    const isTunnelled = ({ frame }: { readonly frame: Uint8Array }) =>
      typeof decodeMplsOverUdp(Buffer.from(frame)) === 'object';
    return records.filter(isTunnelled).reduce((a, b) => (b.frame.length > a.frame.length ? b : a))
      .frame;
  };
  const changed = (frame: Uint8Array, at: number) => {
    const copy = Uint8Array.from(frame);
    copy[at] = (copy[at] ?? 0) ^ 0xff;
    return copy;
  };
  const INNER_IP = 14 + 20 + 8 + 4;

  it('finds nothing wrong with a frame of the capture, and full segments in it', async (ctx) => {
    needed(ctx);
    const frame = segment();
    // MSS clamped to what fits 1,500 bytes with tunnel headers: no fragments, nothing lost.
    expect(frame.length).toBeGreaterThan(1400);
    expect(frame.length).toBeLessThanOrEqual(1514);
    expect(await ask([frame])).toMatchObject({ frames: 1, mplsOverUdp: 1, malformed: [] });
  });

  it('finds every layer that was damaged', async (ctx) => {
    needed(ctx);
    const frame = segment();
    const opinion = await ask([
      frame,
      changed(frame, 14 + 8), // outer TTL
      changed(frame, INNER_IP + 8), // inner TTL
      changed(frame, frame.length - 1), // data
      frame.subarray(0, INNER_IP + 20 + 8), // cut inside TCP
    ]);
    expect(opinion.frames).toBe(5);
    expect(opinion.malformed).toEqual([
      'frame 2: ip.checksum',
      'frame 3: ip.checksum',
      'frame 4: tcp.checksum',
      expect.stringMatching(/^frame 5: malformed/),
    ]);
  });

  it('reads no page in the middle, where it may begin with the end of a line', async (ctx) => {
    needed(ctx);
    const [near, far] = ['10.8.1.2', '10.8.2.6'];
    const head = 'HTTP/1.1 200 OK\r\n\r\n';
    const said = [
      { src: near, sport: 39666, dst: far, dport: 80, seq: 1, text: 'GET / HTTP/1.1\r\n\r\n' },
      { src: far, sport: 80, dst: near, dport: 39666, seq: 1, text: head },
      { src: far, sport: 80, dst: near, dport: 39666, seq: 1 + head.length, text: '\r\nC5X.' },
    ];
    const frames = said.map(({ src, dst, text, ...ends }) =>
      packet(
        ether({ dst: '02:00:00:00:00:01', src: '02:00:00:00:00:02' }),
        ipv4({ src, dst }),
        tcp({ ...ends, flags: 'A' }),
        raw(text),
      ),
    );
    expect((await ask(frames, [])).malformed).toEqual([]);
  });

  it('takes both zeros for right, as receivers do', async (ctx) => {
    needed(ctx);
    const frame = Buffer.from(segment());
    const tcp = INNER_IP + 20;
    // What is taken out of the checksum goes into a word of the data: the sum stays.
    const word = tcp + 40;
    const sum = frame.readUInt16BE(word) + frame.readUInt16BE(tcp + 16);
    frame.writeUInt16BE((sum & 0xffff) + (sum >> 16), word);
    frame.writeUInt16BE(0xffff, tcp + 16);
    expect((await ask([frame])).malformed).toEqual([]);
    frame.writeUInt16BE(0xfffe, tcp + 16);
    expect((await ask([frame])).malformed).toEqual(['frame 1: tcp.checksum']);
  });

  it('does not take another port, or another payload, for MPLS over UDP', async (ctx) => {
    needed(ctx);
    const frame = segment();
    const opinion = await ask([changed(frame, 14 + 20 + 3), changed(frame, INNER_IP)]);
    expect(opinion).toMatchObject({ frames: 2, mplsOverUdp: 0 });
    expect([...opinion.others.values()].reduce((a, b) => a + b, 0)).toBe(2);
  });

  it('counts by what tshark printed', () => {
    const line = (number: number, bad: string, ip: string, tcp: string, sums = '0x1234\t') =>
      [
        number,
        'eth:ethertype:ip:udp:mpls:ip:tcp',
        50_000 + number,
        6635,
        bad,
        ip,
        3,
        tcp,
        '',
        sums,
      ].join('\t');
    const plain = (number: number, from: number, to: number) =>
      [number, 'eth:ethertype:ip:tcp', ...Array(10).fill(''), from, to].join('\t');
    const opinion = opinionOf(
      `${[
        line(1, '', '1,1', '1'),
        line(2, 'Malformed Packet', '1,0', '1'),
        '3\teth:ethertype:arp\t\t\t\t\t\t\t\t\t',
        plain(7, 40000, 5269),
        plain(8, 5270, 40000),
        line(4, '', '1,1', '0', '0xffff\t0x0000'), // the other zero
        line(5, '', '1,1', '0', '0xffff\t0x0001'),
        line(6, '', '0,1', '0', '0xffff\t0x0000'),
      ].join('\n')}\n`,
    );
    expect(opinion).toEqual({
      frames: 8,
      mplsOverUdp: 5,
      sourcePorts: new Set([50_001, 50_002, 50_004, 50_005, 50_006]),
      xmpp: 1,
      malformed: [
        'frame 2: malformed, ip.checksum',
        'frame 5: tcp.checksum',
        'frame 6: ip.checksum',
      ],
      others: new Map([
        ['eth:ethertype:arp', 1],
        ['eth:ethertype:ip:tcp', 1],
      ]),
    });
  });
});

describe('what curl prints', () => {
  const page = (backend: string) =>
    `${JSON.stringify({ backend, port: 80, caller: '10.47.255.237', callerPort: 40000 })}\n`;
  const filler = `${'.'.repeat(PAGE_FILLER)}\n`;
  const mark = (code: number, connects: number) =>
    `curl: ${code} 10.105.139.153:8888 ${connects}\n`;

  it('counts as pages only what came whole, on one connection', () => {
    const two = page('web-1') + filler + mark(200, 1) + page('web-1') + filler + mark(200, 0);
    expect(readCurl(0, two, '').pages.map(({ backend }) => backend)).toEqual(['web-1', 'web-1']);
    expect(readCurl(0, two, '').heard).toEqual(['10.105.139.153:8888', '10.105.139.153:8888']);
    const reconnected =
      page('web-1') + filler + mark(200, 1) + page('web-2') + filler + mark(200, 1);
    expect(readCurl(0, reconnected, '').pages).toHaveLength(1);
    expect(readCurl(18, page('web-1') + filler.slice(0, 100), 'cut').pages).toEqual([]);
    expect(readCurl(0, page('web-1') + filler.slice(1) + mark(200, 1), '').pages).toEqual([]);
    expect(readCurl(0, page('web-1') + filler + mark(503, 1), '').pages).toEqual([]);
    expect(readCurl(28, mark(0, 0), 'timeout')).toEqual({
      status: 28,
      pages: [],
      heard: [],
      error: 'timeout',
    });
  });
});
