/**
 * The same million of VPNv4 paths, from the same feeder, into our speaker and into gobgpd, each on one core: how long
 * until all are in, and how much memory the process has then. Then our speaker with 100 peers that are told of one
 * route: from its withdrawal in to its withdrawal out, at each of them.
 * VROUTER_BENCH_PATHS: other than 1,000,000.
 */
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { table, talk } from './bgp/feed.ts';
import { report } from './harness.ts';

const PATHS = Number(process.env['VROUTER_BENCH_PATHS'] ?? 1_000_000);
const POLL_MS = 500;

interface Receiver {
  readonly pid: number;
  readonly port: number;
  /** Routes of the feeder that it has. */
  count(): Promise<number>;
  stop(): Promise<void>;
}

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** Kilobytes: now, and at most. */
function memory(pid: number): { rss: number; peak: number } {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const of = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1]);
  return { rss: of('VmRSS'), peak: of('VmHWM') };
}

/** Both cores are there for everything, but a receiver has one of them, and the feeder the other. */
const onOneCore = (argv: readonly string[]) => ['taskset', '-c', '0', ...argv];

async function gobgpd(): Promise<Receiver> {
  const directory = mkdtempSync(join(tmpdir(), 'vrouter-bench-'));
  const file = join(directory, 'gobgp.toml');
  const port = 17_900;
  const api = '127.0.0.1:50551';
  writeFileSync(
    file,
    [
      '[global.config]',
      'as = 65000',
      'router-id = "10.255.0.1"',
      `port = ${port}`,
      'local-address-list = ["127.0.0.1"]',
      '[[neighbors]]',
      '[neighbors.config]',
      'neighbor-address = "127.0.0.2"',
      'peer-as = 65001',
      '[neighbors.transport.config]',
      'passive-mode = true',
      '[[neighbors.afi-safis]]',
      '[neighbors.afi-safis.config]',
      'afi-safi-name = "l3vpn-ipv4-unicast"',
    ].join('\n'),
  );
  const [command = '', ...args] = onOneCore([
    ...['gobgpd', '-f', file, '--api-hosts', api, '--pprof-disable', '-l', 'error'],
  ]);
  const child = spawn(command, args, { stdio: 'ignore' });
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const ask = (...words: string[]) =>
    spawnSync('gobgp', ['-p', '50551', ...words], { encoding: 'utf8' }).stdout;
  return {
    pid: child.pid as number,
    port,
    count: async () => {
      const found = /Destination: (\d+), Path: (\d+)/.exec(
        ask('global', 'rib', 'summary', '-a', 'vpnv4'),
      );
      return Number(found?.[2] ?? 0);
    },
    stop: async () => {
      child.kill('SIGKILL');
      await ended;
      rmSync(directory, { recursive: true });
    },
  };
}

async function importAll(name: string, receiver: Receiver, feed: readonly Buffer[]): Promise<void> {
  try {
    const talker = await talk({
      port: receiver.port,
      from: '127.0.0.2',
      as: 65001,
      id: [10, 0, 0, 2],
    });
    const before = memory(receiver.pid);
    const start = performance.now();
    for (const bytes of feed) await talker.say(bytes);
    const told = performance.now();
    while ((await receiver.count()) < PATHS) await sleep(POLL_MS);
    const seconds = (performance.now() - start) / 1000;
    const { rss, peak } = memory(receiver.pid);
    report({ name: `${name}-seconds`, value: seconds, unit: 's' });
    report({ name: `${name}-taken-seconds`, value: (told - start) / 1000, unit: 's' });
    report({ name: `${name}-mb`, value: (rss - before.rss) / 1024, unit: 'MB' });
    report({ name: `${name}-rss-mb`, value: rss / 1024, unit: 'MB' });
    report({ name: `${name}-peak-mb`, value: peak / 1024, unit: 'MB' });
    talker.close();
  } finally {
    await receiver.stop();
  }
}

/** In pieces that a socket takes well. */
function feedOf(paths: number): Buffer[] {
  const pieces: Buffer[] = [];
  let piece: Buffer[] = [];
  let bytes = 0;
  for (const message of table(paths, false)) {
    piece.push(message);
    bytes += message.length;
    if (bytes < 256 << 10) continue;
    pieces.push(Buffer.concat(piece));
    [piece, bytes] = [[], 0];
  }
  return [...pieces, Buffer.concat(piece)];
}

const feed = feedOf(PATHS);
await importAll('gobgpd', await gobgpd(), feed);
