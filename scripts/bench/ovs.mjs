// Open vSwitch's user-space data path on DPDK, in memory: a pcap file played without end into one polling thread on core
// 1, out to a null device. Its own processes, sockets and database in a folder of their own, and a network namespace
// for the devices it makes: whatever runs on the host is not touched. Ended by their process, not by name.
//
// The clocks are OVS's own: TSC clocks its thread spends a packet, taken from pmd-stats-show.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { run } from '../machine.mjs';

export const OVS = '/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk';
const SCHEMA = '/usr/share/openvswitch/vswitch.ovsschema';
const EAL = '--no-huge --legacy-mem --no-shconf --no-pci --no-telemetry -m 1024';
const WARM_MS = 3000; // sessions come into being
const SETTLE_MS = 500;
const MEASURED_MS = 2000;

/**
 * Flows of the bridge, by kind of work. A UDP connection nobody answers stays new for OVS, so sessions are committed by
 * `first` flows; in the measured ones they are found and translated, as established ones are.
 */
const CONNECTIONS = 'table=0,in_port=p0,udp,actions=ct(table=1,nat)';
const WORK = {
  port: { measured: ['in_port=p0,actions=output:p1'] },
  nat: {
    first: [
      CONNECTIONS,
      'table=1,udp,actions=ct(commit,nat(src=10.110.0.1-10.110.0.64)),output:p1',
    ],
    measured: [CONNECTIONS, 'table=1,udp,actions=output:p1'],
  },
};
const RUNS = [
  ['port', 1_000, '1k'],
  ['port', 100_000, '100k'],
  ['nat', 1_000, '1k'],
  ['nat', 100_000, '100k'],
];

const HEADER = { ethernet: 14, ipv4: 20, udp: 8, payload: 22 };
const FRAME = Object.values(HEADER).reduce((sum, one) => sum + one, 0);

function frame(flow) {
  const bytes = Buffer.alloc(FRAME);
  bytes.write('0200000000010200000000020800', 0, 'hex');
  const ip = bytes.subarray(HEADER.ethernet);
  ip.writeUInt16BE(0x4500);
  ip.writeUInt16BE(FRAME - HEADER.ethernet, 2);
  ip.writeUInt16BE(0x4011, 8); // TTL 64, UDP
  ip.writeUInt32BE(0x0a280001 + (flow % 1000), 12);
  ip.writeUInt32BE(0x0a2f0001, 16);
  let sum = 0;
  for (let at = 0; at < HEADER.ipv4; at += 2) sum += ip.readUInt16BE(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  ip.writeUInt16BE(~sum & 0xffff, 10);
  const udp = ip.subarray(HEADER.ipv4);
  udp.writeUInt16BE(1024 + Math.floor(flow / 1000));
  udp.writeUInt16BE(80, 2);
  udp.writeUInt16BE(HEADER.udp + HEADER.payload, 4);
  return bytes;
}

/** A classic pcap file of one 64-byte UDP frame a flow, in an order of its own, the same every time. */
export function pcapOf(flows) {
  const order = Array.from({ length: flows }, (_, i) => i);
  let state = 1;
  for (let i = flows - 1; i > 0; i--) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const other = state % (i + 1);
    [order[i], order[other]] = [order[other], order[i]];
  }
  const file = Buffer.alloc(24 + flows * (16 + FRAME));
  file.writeUInt32LE(0xa1b2c3d4);
  file.writeUInt16LE(2, 4);
  file.writeUInt16LE(4, 6);
  file.writeUInt32LE(65535, 16);
  file.writeUInt32LE(1, 20); // Ethernet
  let at = 24;
  for (const flow of order) {
    file.writeUInt32LE(FRAME, at + 8);
    file.writeUInt32LE(FRAME, at + 12);
    frame(flow).copy(file, at + 16);
    at += 16 + FRAME;
  }
  return file;
}

/** Of the polling thread's part of pmd-stats-show: clocks a packet, and whether every packet was worked on. */
export function pmdClocks(output) {
  const thread = output.slice(0, output.indexOf('main thread'));
  const found = /avg processing cycles per packet: ([\d.]+)/.exec(thread);
  return found === null ? undefined : Number(found[1]);
}

async function start(command, args, env, ready) {
  const child = spawn(command, args, { env: { ...process.env, ...env }, stdio: 'ignore' });
  let ended = false;
  child.on('error', () => {
    ended = true;
  });
  child.on('exit', () => {
    ended = true;
  });
  for (let i = 0; i < 100 && !ended; i++) {
    if (await ready()) return child;
    await sleep(100);
  }
  child.kill();
  throw new Error(`${args.find((one) => one.includes('ovs')) ?? command} did not start`);
}

async function stop(child) {
  if (child === undefined || child.exitCode !== null) return;
  const gone = new Promise((done) => child.once('exit', done));
  child.kill('SIGTERM');
  await Promise.race([gone, sleep(5000)]);
  if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
}

/** Clocks a packet of one kind of work; the processes live as long as this call. */
async function clocks(work, flows) {
  const folder = mkdtempSync(join(tmpdir(), 'ovs-bench-'));
  const at = (name) => join(folder, name);
  const env = { OVS_RUNDIR: folder, OVS_LOGDIR: folder, OVS_DBDIR: folder };
  const must = async (command, ...args) => {
    const result = await run(command, args, { env });
    if (result.status !== 0) throw new Error(`${command}: ${result.output.trim().split('\n')[0]}`);
    return result.output;
  };
  const vsctl = (...args) =>
    must('ovs-vsctl', `--db=unix:${at('db.sock')}`, '--timeout=20', ...args);
  const appctl = (...args) => must('ovs-appctl', '-T', '5', '-t', at('vs.ctl'), ...args);
  const answers =
    (...args) =>
    async () =>
      (await run('ovs-appctl', args, { env })).status === 0;
  let database;
  let daemon;
  try {
    writeFileSync(at('in.pcap'), pcapOf(flows));
    await must('ovsdb-tool', 'create', at('conf.db'), SCHEMA);
    database = await start(
      'ovsdb-server',
      [`--remote=punix:${at('db.sock')}`, `--unixctl=${at('db.ctl')}`, at('conf.db')],
      env,
      answers('-T', '2', '-t', at('db.ctl'), 'version'),
    );
    await vsctl('--no-wait', 'init');
    await vsctl(
      ...['--no-wait', 'set', 'Open_vSwitch', '.', 'other_config:dpdk-init=true'],
      ...[`other_config:dpdk-extra="${EAL}"`, 'other_config:dpdk-lcore-mask=0x1'],
      'other_config:pmd-cpu-mask=0x2',
    );
    daemon = await start(
      'unshare',
      ['-n', OVS, `unix:${at('db.sock')}`, `--unixctl=${at('vs.ctl')}`],
      env,
      answers('-T', '2', '-t', at('vs.ctl'), 'version'),
    );
    const input = `net_pcap0,rx_pcap=${at('in.pcap')},infinite_rx=1`;
    const port = (name, device) => [
      ...['--', 'add-port', 'br0', name, '--', 'set', 'Interface', name, 'type=dpdk'],
      `options:dpdk-devargs="${device}"`,
    ];
    await vsctl('add-br', 'br0', '--', 'set', 'bridge', 'br0', 'datapath_type=netdev');
    const bridge = `unix:${at('br0.mgmt')}`;
    const flow = async (actions) => {
      await must('ovs-ofctl', 'del-flows', bridge);
      for (const one of actions) await must('ovs-ofctl', 'add-flow', bridge, one);
    };
    await flow([]);
    await vsctl('--no-wait', 'list-br', ...port('p1', 'net_null1,no-rx=1'), ...port('p0', input));
    await vsctl('list-br'); // waits until the daemon has taken it over
    await flow(WORK[work].first ?? WORK[work].measured);
    await sleep(WARM_MS);
    await flow(WORK[work].measured);
    await sleep(SETTLE_MS);
    await appctl('dpif-netdev/pmd-stats-clear');
    await sleep(MEASURED_MS);
    const found = pmdClocks(await appctl('dpif-netdev/pmd-stats-show'));
    if (found === undefined) throw new Error('OVS forwarded nothing');
    return found;
  } finally {
    await stop(daemon);
    await stop(database);
    rmSync(folder, { recursive: true, force: true });
  }
}

export async function ovsFigures() {
  const figures = {};
  for (const [work, flows, called] of RUNS) {
    figures[`${work}-${called}.clk`] = await clocks(work, flows);
  }
  return figures;
}
