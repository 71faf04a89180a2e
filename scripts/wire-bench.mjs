// npm run bench:wire [-- --rounds 5] [--seconds 3] [--only TEXT] [--json]
//   pod to pod across two nodes on real kernels, through MPLSoUDP, against the kernel's own VXLAN (bridge, vxlan,
//   veth pods) over the same veth underlay, in pairs, one after the other. Needs root, iperf3, sockperf, ethtool.
//
// Each lab: two nodes in namespaces of their own, joined by a veth pair (MTU 1500); on it the kernel's VXLAN
// and, beside the host stack, the vRouter's uplink: a TAP to which tc hands UDP 6635. All namespaces and
// processes are made here and end with this program. Steal is what the hypervisor took meanwhile, in ticks.
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, release, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { have, isRoot, root } from './machine.mjs';
import { setup } from './setup.mjs';

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
const directory = mkdtempSync(join(tmpdir(), 'vrouter-wire-'));
const namespaces = new Set();
const processes = new Set();

const run = (...argv) =>
  execFileSync(argv[0], argv.slice(1), { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
const ip = (text) => run('ip', ...text.split(' '));
const within = (namespace, ...argv) => run('ip', 'netns', 'exec', namespace, ...argv);
const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];

function cleanUp() {
  for (const child of processes) child.kill('SIGKILL');
  for (const name of namespaces) {
    try {
      ip(`netns del ${name}`);
    } catch {
      // It was not made.
    }
  }
  rmSync(directory, { recursive: true, force: true });
}
process.on('exit', cleanUp);
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1));

let labs = 0;
/** pods: 'tap' or 'veth'. coalesce: merge segments towards pods. wire: the underlay's offloads are off. */
async function lab({ pods, coalesce = true, wire = false }) {
  const prefix = `wb${process.pid}${String.fromCharCode(97 + labs++)}`;
  const ns = (name) => `${prefix}${name}`;
  const nodes = [
    { id: 1, w: ns('w1'), k: ns('k1'), p: ns('p1') },
    { id: 2, w: ns('w2'), k: ns('k2'), p: ns('p2') },
  ];
  const children = [];
  for (const { w, k, p } of nodes) {
    for (const name of [w, k, p]) {
      namespaces.add(name);
      ip(`netns add ${name}`);
      ip(`-n ${name} link set lo up`);
    }
  }
  ip(`link add up0 netns ${nodes[0].w} type veth peer name up0 netns ${nodes[1].w}`);
  for (const { id, w, k, p } of nodes) {
    const far = 3 - id;
    ip(`-n ${w} link set up0 address 02:00:0a:09:00:0${id} up`);
    ip(`-n ${w} addr add 10.9.0.${id}/24 dev up0`);
    // The kernel's VXLAN.
    ip(`-n ${w} link add br0 type bridge`);
    ip(
      `-n ${w} link add vx0 type vxlan id 42 remote 10.9.0.${far} local 10.9.0.${id} dstport 4789 dev up0`,
    );
    ip(`link add eth0 netns ${k} type veth peer name kpod netns ${w}`);
    for (const port of ['vx0', 'kpod']) ip(`-n ${w} link set ${port} master br0 up`);
    ip(`-n ${w} link set br0 mtu 1450 up`);
    ip(`-n ${k} link set eth0 mtu 1450 up`);
    ip(`-n ${k} addr add 10.8.0.${id}/24 dev eth0`);
    if (pods === 'veth') {
      ip(`link add eth0 netns ${p} type veth peer name pod netns ${w}`);
      ip(`-n ${w} link set pod mtu 1450 up`);
      ip(`-n ${p} link set eth0 mtu 1450 up`);
    }
    const port =
      pods === 'tap'
        ? { kind: 'tap', name: 'eth0', netns: p, mtu: 1450, coalesce }
        : { kind: 'af_packet', interface: 'pod', coalesce };
    const config = join(directory, `${w}.yaml`);
    writeFileSync(
      config,
      JSON.stringify({
        name: `node${id}`,
        socket: join(directory, `${w}.sock`),
        log: { level: 'warn' },
        underlay: {
          port: { kind: 'tap', name: 'uplink', offloads: 'uplink', mtu: 1500 },
          mac: `02:00:0a:09:00:0${id}`,
          ipv4: `10.9.0.${id}`,
          neighbours: { [`10.9.0.${far}`]: `02:00:0a:09:00:0${far}` },
        },
        vrfs: [{ name: 'red' }],
        routes: [
          {
            instance: 'red',
            prefix: `10.8.1.${far}`,
            hops: [{ address: `10.9.0.${far}`, label: 16, encaps: ['udp'] }],
          },
        ],
        vifs: [
          {
            name: 'pod',
            port,
            vrf: 'red',
            tenant_mac: `02:00:00:00:00:0${id}`,
            ipv4: `10.8.1.${id}`,
            gateway4: '10.8.1.254',
            mtu: 1450,
          },
        ],
      }),
    );
    const child = spawn(
      'ip',
      [
        'netns',
        'exec',
        w,
        process.execPath,
        join(root, 'dist/cli/main.js'),
        'node',
        '--config',
        config,
      ],
      { stdio: ['ignore', 'ignore', 'inherit'] },
    );
    processes.add(child);
    children.push(child);
  }
  for (const { id, w, p } of nodes) {
    for (let i = 0; i < 200 && !existsSync(join(directory, `${w}.sock`)); i++) await sleep(50);
    ip(`-n ${p} link set eth0 address 02:00:00:00:00:0${id}`);
    ip(`-n ${p} addr add 10.8.1.${id}/32 dev eth0`);
    ip(`-n ${p} link set eth0 up`);
    ip(`-n ${p} route add 10.8.1.254 dev eth0`);
    ip(`-n ${p} route add default via 10.8.1.254`);
    const tc = (text) => run('tc', '-n', w, ...text.split(' '));
    for (const device of ['up0', 'uplink']) tc(`qdisc add dev ${device} clsact`);
    tc(
      'filter add dev up0 ingress protocol ip u32 match ip protocol 17 0xff match ip dport 6635 0xffff action mirred egress redirect dev uplink',
    );
    tc(
      'filter add dev uplink ingress protocol all u32 match u32 0 0 action mirred egress redirect dev up0',
    );
    if (wire)
      within(
        w,
        'ethtool',
        '-K',
        'up0',
        'tso',
        'off',
        'gso',
        'off',
        'gro',
        'off',
        'tx',
        'off',
        'rx',
        'off',
        'sg',
        'off',
      );
  }
  const sides = {
    kernel: { from: nodes[0].k, to: nodes[1].k, address: '10.8.0.2' },
    vrouter: { from: nodes[0].p, to: nodes[1].p, address: '10.8.1.2' },
  };
  for (const { from, address } of Object.values(sides))
    within(from, 'ping', '-c', '3', '-i', '0.2', '-W', '2', address);
  return { sides, pids: children.map((child) => child.pid), children };
}

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
function report(name, unit, base, ours, bound, stolen, words = ['kernel VXLAN', 'vRouter']) {
  const ratio = median(ours) / median(base);
  const met = bound.least !== undefined ? ratio >= bound.least : ratio <= bound.most;
  results.push({ name, unit, base, ours, ratio, ...bound, met, stolen });
  const spread = (values) =>
    `${median(values).toFixed(2)} (${Math.min(...values).toFixed(2)} to ${Math.max(...values).toFixed(2)})`;
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
for (const row of ROWS.filter(({ name }) => name.includes(options.only))) {
  const { sides } = await labOf(row.lab);
  const [base, ours] = [[], []];
  const before = steal();
  for (let i = 0; i < rounds; i++) {
    base.push(row.measure(sides.kernel));
    ours.push(row.measure(sides.vrouter));
  }
  report(row.name, row.unit, base, ours, { least: row.least, most: row.most }, steal() - before);
}
if ('idle node'.includes(options.only) || options.only === '') {
  const { children } = await labOf({ pods: 'tap' });
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
if ('coalescing on a plain wire'.includes(options.only) || options.only === '') {
  const off = await labOf({ pods: 'tap', wire: true, coalesce: false });
  const on = await labOf({ pods: 'tap', wire: true });
  const [base, ours] = [[], []];
  const before = steal();
  for (let i = 0; i < rounds; i++) {
    base.push(tcp(off.sides.vrouter));
    ours.push(tcp(on.sides.vrouter));
  }
  report(
    'coalescing on a plain wire (TCP, TAP pods)',
    'Gb/s',
    base,
    ours,
    { least: 2 },
    steal() - before,
    ['without', 'with'],
  );
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
