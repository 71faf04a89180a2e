/**
 * The same million of VPNv4 paths, from the same feeder, into our speaker and into gobgpd, each on one core: how long
 * until all are in, and how much memory the process has then. Then our speaker with 100 peers that are told of one
 * route: from its withdrawal in to its withdrawal out, at each of them.
 * VROUTER_BENCH_PATHS: other than 1,000,000.
 */
import { type ChildProcess, fork, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { announcement, type Talker, table, talk, withdrawal } from './bgp/feed.ts';
import { receive } from './bgp/receiver.ts';
import { report } from './harness.ts';

const PATHS = Number(process.env['VROUTER_BENCH_PATHS'] ?? 1_000_000);
const POLL_MS = 100;
/** Without having used more than this of a processor in a poll's time, seconds: it waits. */
const SOME_CPU = 0.02;
const IDLE_MS = 1_500;

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

/** Seconds of processor that all its threads have used: what a neighbour on the same core cannot change. */
function cpu(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /, '')
    .split(' ');
  // In hundredths: utime, stime.
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

/** A receiver has this core alone, as far as it is up to us. */
const RECEIVER_CORE = '0';

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
  const argv = ['gobgpd', '-f', file, '--api-hosts', api, '--pprof-disable', '-l', 'error'];
  const dying = ['setpriv', '--pdeathsig', 'KILL', 'taskset', '-c', RECEIVER_CORE, ...argv];
  const [command = '', ...args] = dying;
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

/** What the child says next. */
const answer = <T>(child: ChildProcess): Promise<T> =>
  new Promise((resolve, reject) => {
    const ended = (code: number | null) => reject(new Error(`the receiver ended (${code})`));
    child.once('exit', ended);
    child.once('message', (message) => {
      child.off('exit', ended);
      resolve(message as T);
    });
  });

async function ours(): Promise<Receiver> {
  // The fork is the receiver itself: taskset becomes what it starts.
  const child = fork(fileURLToPath(import.meta.url), ['receive'], {
    execPath: 'taskset',
    execArgv: ['-c', RECEIVER_CORE, process.execPath],
  });
  const { port } = await answer<{ port: number }>(child);
  return {
    pid: child.pid as number,
    port,
    count: async () => {
      child.send('count');
      return (await answer<{ accepted: number }>(child)).accepted;
    },
    stop: async () => {
      const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
      child.kill('SIGKILL');
      await ended;
    },
  };
}

/**
 * When it last had something to do. Asking it for a count while it has would take a share of its core, with some
 * receivers the larger one.
 */
async function untilIdle(pid: number): Promise<number> {
  let [busy, used] = [performance.now(), cpu(pid)];
  while (performance.now() - busy < IDLE_MS) {
    await sleep(POLL_MS);
    const now = cpu(pid);
    if (now - used > SOME_CPU) busy = performance.now();
    used = now;
  }
  return busy;
}

async function importAll(name: string, receiver: Receiver, feed: readonly Buffer[]): Promise<void> {
  try {
    const talker = await talk({
      port: receiver.port,
      from: '127.0.0.2',
      as: 65001,
      id: [10, 0, 0, 2],
    });
    const [before, idle] = [memory(receiver.pid), cpu(receiver.pid)];
    const start = performance.now();
    for (const bytes of feed) await talker.say(bytes);
    const told = performance.now();
    let busy = told;
    do {
      if (talker.closed()) throw new Error(`${name} has ended the session`);
      busy = await untilIdle(receiver.pid);
    } while ((await receiver.count()) < PATHS);
    const seconds = (busy - start) / 1000;
    const { rss, peak } = memory(receiver.pid);
    report({ name: `${name}-seconds`, value: seconds, unit: 's' });
    report({ name: `${name}-cpu-seconds`, value: cpu(receiver.pid) - idle, unit: 's' });
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

const PEERS = 100;
const ROUNDS = 300;

/** From a withdrawal's being written to its being heard by each of the peers. */
async function convergence(receiver: Receiver): Promise<void> {
  const UNREACH = 15;
  const talkers: Talker[] = [];
  try {
    let missing = 0;
    let told: () => void = () => {};
    let begun = 0;
    const took: number[] = [];
    const heard = (body: Buffer) => {
      // After two lengths: the first attribute's code.
      const withdrawn = body.length > 12 && body[5] === UNREACH;
      if (missing === 0) return;
      if (withdrawn) took.push(performance.now() - begun);
      missing -= 1;
      if (missing === 0) told();
    };
    const from = receiver.port;
    const feeder = await talk({ port: from, from: '127.0.0.2', as: 65001, id: [10, 0, 0, 2] });
    talkers.push(feeder);
    for (let n = 1; n <= PEERS; n++) {
      const call = {
        port: from,
        from: `127.0.1.${n}`,
        as: 65000,
        id: [10, 0, 1, n],
        update: heard,
      };
      talkers.push(await talk(call));
    }
    await sleep(500);
    const all = (bytes: Buffer) =>
      new Promise<void>((resolve) => {
        missing = PEERS;
        told = resolve;
        begun = performance.now();
        void feeder.say(bytes);
      });
    const path = { asPath: [65001], nextHop: 0x0afa0001, med: 0, label: 16, internal: false };
    for (let round = 0; round < ROUNDS; round++) {
      const prefix = (10 << 16) + (round % 1000);
      await all(announcement({ vrf: 1, prefixes: [prefix], ...path }));
      await all(withdrawal(1, prefix));
    }
    took.sort((a, b) => a - b);
    if (took.length !== PEERS * ROUNDS) throw new Error(`${took.length} withdrawals were heard`);
    const at = (share: number) => took[Math.floor((took.length - 1) * share)] as number;
    report({ name: `withdrawal-p50`, value: at(0.5), unit: 'ms' });
    report({ name: `withdrawal-p99`, value: at(0.99), unit: 'ms' });
    report({ name: `withdrawal-max`, value: at(1), unit: 'ms' });
  } finally {
    for (const talker of talkers) talker.close();
    await receiver.stop();
  }
}

async function all(): Promise<void> {
  await convergence(await ours());
  const feed = feedOf(PATHS);
  await importAll('ours', await ours(), feed);
  if (spawnSync('gobgpd', ['--version']).status === 0) {
    await importAll('gobgpd', await gobgpd(), feed);
  }
  process.exit(0);
}

if (process.argv[2] === 'receive') await receive();
else await all();
