// What others do on the same machine, in the same run (`--peers`): DPDK's tables and its forwarder, and Open vSwitch's
// user-space data path on DPDK. All of them in memory: no huge pages, no NIC, no kernel device that outlives the run.
// A peer that cannot be had is named with the reason, and the rest runs. Each run is a process of its own, as ours are.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { jobs as cores, have, isRoot, root, run } from '../machine.mjs';
import { jsonLines, must } from './jobs.mjs';
import { OVS, ovsFigures } from './ovs.mjs';
import { median } from './statistics.mjs';

const FOLDER = 'out/bench/peers';
const MICRO = ['rte_hash', 'rte_lpm', 'rte_fib'];
const LIBRARIES = ['rte_hash', 'rte_lpm', 'rte_fib', 'rte_rib', 'rte_eal'];
const TESTPMD_SECONDS = 5;

/** Small programs of ours around a library of DPDK's: bench/peers/NAME.c, once a size. */
const micro = (name, sizes) => ({
  name,
  peer: 'micro',
  run: async () => {
    const figures = {};
    for (const size of sizes) {
      const [told] = jsonLines(await must(`${FOLDER}/${name}`, [String(size)]));
      if (told === undefined) throw new Error(`${name} said nothing`);
      figures[`${size}.clk`] = told.clk;
    }
    return figures;
  },
});

/** Packets a second of both ports together, each time testpmd shows them but the first. */
export function testpmdRates(output) {
  const rates = [...output.matchAll(/Rx-pps:\s+(\d+)/g)].map((match) => Number(match[1]));
  const sums = [];
  for (let i = 2; i + 1 < rates.length; i += 2) sums.push(rates[i] + rates[i + 1]);
  return sums;
}

/** One core polls two null devices, each frame received from one and sent to the other. */
const testpmd = (mode) => ({
  name: `testpmd-${mode}`,
  peer: 'testpmd',
  run: async (figures) => {
    const devices = ['net_null0', 'net_null1'].flatMap((name) => ['--vdev', `${name},size=64`]);
    const { output } = await run('timeout', [
      ...['-s', 'INT', String(TESTPMD_SECONDS), 'dpdk-testpmd'],
      ...['--no-huge', '--no-shconf', '--no-pci', '--no-telemetry', '-m', '512', '-l', '0,1'],
      ...devices,
      ...['--log-level=error', '--', `--forward-mode=${mode}`, '--nb-cores=1'],
      ...['--stats-period', '1', '--total-num-mbufs=8192'],
    ]);
    const rates = testpmdRates(output);
    if (rates.length === 0) throw new Error('testpmd showed no rates');
    const pps = median(rates);
    const tscGhz = figures['calibration.tscGhz'];
    return { pps, ...(tscGhz === undefined ? {} : { clk: (tscGhz * 1e9) / pps }) };
  },
});

export const PEER_JOBS = [
  {
    name: 'flow-table',
    program: 'flow_table_bench',
    filter: '^find_burst/v4/(1000|100000|1000000)$',
  },
  { name: 'lpm-peer', program: 'lpm_bench', filter: '^lookup_burst/v4/(100000|1000000)$' },
  micro('rte_hash', [1_000, 100_000, 1_000_000]),
  micro('rte_lpm', [100_000]),
  micro('rte_fib', [1_000_000]),
  testpmd('io'),
  testpmd('macswap'),
  { name: 'ovs', peer: 'ovs', run: ovsFigures },
];

async function buildMicro() {
  if ((await run('pkg-config', ['--exists', 'libdpdk'])).status !== 0) {
    return 'libdpdk-dev is not installed';
  }
  mkdirSync(join(root, FOLDER), { recursive: true });
  const flags = (await must('pkg-config', ['--cflags', 'libdpdk'])).trim().split(/\s+/);
  for (const name of MICRO) {
    const result = await run('cc', [
      ...['-std=gnu11', '-O3', '-Wall', '-Wextra', ...flags],
      ...[`bench/peers/${name}.c`, '-o', `${FOLDER}/${name}`, '-Wl,--as-needed'],
      ...LIBRARIES.map((library) => `-l${library}`),
    ]);
    if (result.status !== 0) return `${name}.c does not compile: ${result.output.split('\n')[0]}`;
  }
  return undefined;
}

/** Why a kind of peer cannot run; undefined: it can. */
const CHECKS = {
  micro: buildMicro,
  testpmd: () => {
    if (!have('dpdk-testpmd')) return 'dpdk-dev is not installed';
    return cores < 2 ? 'it takes two cores' : undefined;
  },
  ovs: () => {
    if (!have(OVS)) return 'openvswitch-switch-dpdk is not installed';
    if (!isRoot()) return 'it makes devices in a network namespace: needs root';
    return cores < 2 ? 'it takes two cores' : undefined;
  },
};

/** By name of the job: why it cannot run. */
export async function preparePeers(jobs) {
  const reasons = {};
  for (const kind of new Set(jobs.map(({ peer }) => peer))) {
    const reason = await CHECKS[kind]();
    if (reason === undefined) continue;
    for (const job of jobs) if (job.peer === kind) reasons[job.name] = reason;
  }
  return reasons;
}
