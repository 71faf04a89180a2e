// npm run bench:wire [-- --rounds 5] [--seconds 3] [--only TEXT] [--json]
//   pod to pod across two nodes on real kernels, through MPLSoUDP, against the kernel's own VXLAN (bridge, vxlan,
//   veth pods) over the same veth underlay, in pairs, one after the other. Needs root, iperf3, sockperf, ethtool.
//
// The lab is wire-lab.mjs's; vRouter is a node with its kernel tier. In the same turns, for what the tier is worth and
// what a process can do here at all: the same node without it, and on rows with TAP pods a bare relay in its
// place (bench/peers/bare_relay.cc); and what one process more on the way costs at least. Steal is what the
// hypervisor took meanwhile, in ticks.
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cpus, release } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { have, isRoot, root } from './machine.mjs';
import { setup } from './setup.mjs';
import { directory, lab, processes, run, within } from './wire-lab.mjs';

const { values: options } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '3' },
    only: { type: 'string', default: '' },
    json: { type: 'boolean', default: false },
  },
});
const rounds = Number(options.rounds);
const seconds = Number(options.seconds);
const say = options.json ? console.error : console.log;
const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];

function iperf({ from, to, address }, ...more) {
  const server = spawn('ip', ['netns', 'exec', to, 'iperf3', '-s', '-1'], { stdio: 'ignore' });
  processes.add(server);
  run('sleep', '0.3');
  const { end } = JSON.parse(
    within(from, 'iperf3', '-c', address, '-t', String(seconds), '-J', ...more),
  );
  processes.delete(server);
  return end;
}
const tcp = (side) => iperf(side).sum_received.bits_per_second / 1e9;
function udp64(side) {
  const { sum } = iperf(side, '-u', '-l', '64', '-b', '0');
  return (sum.packets - sum.lost_packets) / sum.seconds / 1e3;
}
/** Round trip of 64 bytes, p50 in us; client and server on core 0, where the kernel's is at its best. */
function rtt({ from, to, address }) {
  const server = spawn(
    'ip',
    ['netns', 'exec', to, 'taskset', '-c', '0', 'sockperf', 'sr', '--ip', address, '-p', '5001'],
    { stdio: 'ignore' },
  );
  processes.add(server);
  run('sleep', '0.4');
  const text = within(
    from,
    'taskset',
    '-c',
    '0',
    'sockperf',
    'pp',
    '--ip',
    address,
    '-p',
    '5001',
    '-t',
    String(seconds),
    '--full-rtt',
    '-m',
    '64',
  );
  server.kill();
  processes.delete(server);
  return Number(/percentile 50\.000\s*=\s*([\d.]+)/.exec(text)[1]);
}
const steal = () =>
  Number(readFileSync('/proc/stat', 'utf8').split('\n')[0].trim().split(/\s+/)[8]);
const ticks = (pid) => {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ');
  return Number(fields[11]) + Number(fields[12]);
};

/** name, unit, the lab, the measure; floor of vrouter over kernel (most: at most that). */
const ROWS = [
  {
    name: 'TCP, one stream, TAP pods',
    unit: 'Gb/s',
    lab: { pods: 'tap' },
    measure: tcp,
    least: 0.6,
  },
  {
    name: 'TCP, one stream, veth pods',
    unit: 'Gb/s',
    lab: { pods: 'veth' },
    measure: tcp,
    least: 0.55,
  },
  {
    name: 'UDP of 64 bytes, received, TAP pods',
    unit: 'k packets/s',
    lab: { pods: 'tap' },
    measure: udp64,
    least: 0.7,
  },
  {
    name: 'UDP of 64 bytes, received, veth pods',
    unit: 'k packets/s',
    lab: { pods: 'veth' },
    measure: udp64,
    least: 0.7,
  },
  {
    name: 'round trip of 64 bytes, p50, TAP pods',
    unit: 'us',
    lab: { pods: 'tap' },
    measure: rtt,
    most: 2.0,
  },
  {
    name: 'round trip of 64 bytes, p50, veth pods',
    unit: 'us',
    lab: { pods: 'veth' },
    measure: rtt,
    most: 2.0,
  },
];

const results = [];
const spread = (values) =>
  `${median(values).toFixed(2)} (${Math.min(...values).toFixed(2)} to ${Math.max(...values).toFixed(2)})`;
function report(name, unit, base, ours, bound, stolen, words = ['kernel VXLAN', 'vRouter']) {
  const ratio = median(ours) / median(base);
  const met = bound.least !== undefined ? ratio >= bound.least : ratio <= bound.most;
  results.push({ name, unit, base, ours, ratio, ...bound, met, stolen });
  say(
    `${name}: ${words[0]} ${spread(base)}, ${words[1]} ${spread(ours)} ${unit}; ratio of medians ${ratio.toFixed(2)}, ${bound.least !== undefined ? `floor ${bound.least}` : `at most ${bound.most}`}: ${met ? 'met' : 'NOT MET'}; steal ${stolen} ticks`,
  );
}

if (!isRoot()) throw new Error('root is needed: network namespaces, TAPs');
for (const tool of ['iperf3', 'sockperf', 'ethtool', 'tc', 'ping'])
  if (!have(tool)) throw new Error(`${tool} is not installed`);
await setup();
say(
  `${cpus()[0].model}, ${cpus().length} cores, Linux ${release()}, Node ${process.version}; ${rounds} rounds of ${seconds} s`,
);
const made = new Map();
const labOf = async (spec) => {
  const key = JSON.stringify(spec);
  if (!made.has(key)) made.set(key, await lab(spec));
  return made.get(key);
};
const relay = join(directory, 'bare_relay');
run('g++', '-std=c++20', '-O2', '-o', relay, join(root, 'bench/peers/bare_relay.cc'));
const hopUs = Number(run(relay, '--hop')) / 1000;
results.push({ name: 'hop', unit: 'us', ours: hopUs, met: true });
say(
  `hop: ${hopUs.toFixed(1)} us from one process to the next on one core (pipe); a round trip through two nodes has four more than the kernel's`,
);
for (const row of ROWS.filter(({ name }) => name.includes(options.only))) {
  const { sides } = await labOf({ ...row.lab, tier: [1, 2] });
  const others = [['without the kernel tier', (await labOf(row.lab)).sides.vrouter]];
  if (row.lab.pods === 'tap')
    others.push(['a bare relay there', (await labOf({ ...row.lab, relay })).sides.vrouter]);
  const [base, ours] = [[], []];
  const beside = others.map(() => []);
  const before = steal();
  for (let i = 0; i < rounds; i++) {
    base.push(row.measure(sides.kernel));
    ours.push(row.measure(sides.vrouter));
    for (const [n, [, side]] of others.entries()) beside[n].push(row.measure(side));
  }
  report(row.name, row.unit, base, ours, { least: row.least, most: row.most }, steal() - before);
  for (const [n, [word]] of others.entries()) {
    const ratio = median(beside[n]) / median(base);
    results.push({
      name: `${row.name}, ${word}`,
      unit: row.unit,
      base,
      ours: beside[n],
      ratio,
      met: true,
    });
    say(`  ${word}: ${spread(beside[n])} ${row.unit}, ratio ${ratio.toFixed(2)}`);
  }
}
if ('idle node'.includes(options.only) || options.only === '') {
  const { children } = await labOf({ pods: 'tap', tier: [1, 2] });
  await sleep(1000);
  const before = children.map(({ pid }) => ticks(pid));
  await sleep(10_000);
  const shares = children.map(({ pid }, i) => (ticks(pid) - before[i]) / 10);
  results.push({
    name: 'idle node',
    unit: '% of a core',
    ours: shares,
    most: 2,
    met: Math.max(...shares) < 2,
  });
  say(
    `idle node: ${shares.map((s) => s.toFixed(1)).join(' and ')} % of a core, under 2: ${Math.max(...shares) < 2 ? 'met' : 'NOT MET'}`,
  );
}
const PLAIN_WIRE = 'coalescing: received from a plain wire (TCP, TAP pods)';
if (PLAIN_WIRE.includes(options.only)) {
  // What receives is measured: the wire's other end is the same in all, and as fast as it can be had here (it has its
  // kernel tier), as another machine would be. Merging and taking several frames a system call (decision 47) save
  // the same thing; the bare relay does neither.
  const ways = [];
  for (const [word, spec] of [
    ['a bare relay', { relay, tier: [1] }],
    ['in the process, without', { coalesce: false, tier: [1] }],
    ['in the process, with', { tier: [1] }],
    ['by the kernel tier, without', { coalesce: false, tier: [1, 2] }],
    ['by the kernel tier, with', { tier: [1, 2] }],
  ]) {
    const made = await labOf({ pods: 'tap', wire: true, ...spec });
    ways.push({ word, lab: made, rates: [], apart: [], spent: [] });
  }
  const kernel = [];
  const before = steal();
  /** TCP, and what each process used of the cores meanwhile, per Gb/s. */
  const spending = ({ lab: { sides, children }, rates, spent }) => {
    const from = children.map(({ pid }) => ticks(pid));
    const end = iperf(sides.vrouter);
    const rate = end.sum_received.bits_per_second / 1e9;
    const nodes = children.map(({ pid }, i) => (ticks(pid) - from[i]) / seconds);
    const { host_total, remote_total } = end.cpu_utilization_percent;
    spent.push([host_total, ...nodes, remote_total].map((percent) => percent / rate));
    rates.push(rate);
  };
  for (let i = 0; i < rounds; i++) {
    kernel.push(tcp(ways[0].lab.sides.kernel));
    for (const way of ways) spending(way);
  }
  const stolen = steal() - before;
  // On one machine an acknowledgement has the other end send more in the turn of who wrote it: the receiver pays. The
  // same with the other end's interrupts on core 0, whoever causes them.
  for (const {
    lab: { interrupts },
  } of ways)
    interrupts(1, '1');
  for (let i = 0; i < rounds; i++)
    for (const {
      lab: { sides },
      apart,
    } of ways)
      apart.push(tcp(sides.vrouter));
  const [bare, plain, merged, tier, tierMerged] = ways;
  report(`${PLAIN_WIRE}, in the process`, 'Gb/s', bare.rates, merged.rates, { least: 2 }, stolen, [
    'frame by frame (bare relay)',
    'coalesced',
  ]);
  const apart = "the other end's interrupts on its own core";
  for (const [where, base, ours] of [
    ['in the process, coalescing alone', plain.rates, merged.rates],
    ['by the kernel tier, coalescing alone', tier.rates, tierMerged.rates],
    [`frame by frame and in the process, ${apart}`, bare.apart, merged.apart],
    [`in the process, coalescing alone, ${apart}`, plain.apart, merged.apart],
    [`by the kernel tier, coalescing alone, ${apart}`, tier.apart, tierMerged.apart],
  ]) {
    const ratio = median(ours) / median(base);
    results.push({ name: `${PLAIN_WIRE}, ${where}`, unit: 'Gb/s', base, ours, ratio, met: true });
    say(
      `  ${where}: without ${spread(base)}, with ${spread(ours)} Gb/s; ratio of medians ${ratio.toFixed(2)}`,
    );
  }
  say(`  kernel VXLAN on that wire: ${spread(kernel)} Gb/s`);
  for (const { word, spent } of ways) {
    const [client, sender, receiver, server] = [0, 1, 2, 3].map((i) =>
      median(spent.map((row) => row[i])).toFixed(1),
    );
    say(
      `  ${word}: % of a core for each Gb/s: client ${client} (and what the kernel does up to where the far node reads), its node ${sender}, node that receives ${receiver}, server ${server}`,
    );
  }
}
if (options.json)
  console.log(
    JSON.stringify(
      { cpu: cpus()[0].model, cores: cpus().length, kernel: release(), rounds, seconds, results },
      null,
      1,
    ),
  );
process.exit(results.every(({ met }) => met) ? 0 : 1);
