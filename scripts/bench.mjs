// npm run bench [-- --gate] [--trials N] [--only TEXT] [--json] [--save NAME]
//   builds, runs each benchmark N times (5), each time in a fresh process, and prints median, min and max.
//   --only  those whose file name contains TEXT        --json  one document instead of the table
//   --save  also into bench/results/NAME.json          --gate  exit status 1 below a floor (FLOORS)
// Native: bench/native/*.cc by CMake, -O3, no sanitizer. TypeScript: bench/*.bench.ts by tsc.
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { cpus, release } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { have, jobs, modified, root, run, SetupError, step } from './machine.mjs';
import { ADDONS, setup } from './setup.mjs';

const ESTABLISHED = '100,000 established flows, NAT, MPLSoUDP, 64 bytes';

/** What --gate holds: by name of the figure. */
const FLOORS = { [ESTABLISHED]: { least: 3e6, unit: 'packets/s' } };

/** What pipeline_bench runs: workload, flows (or destinations), bytes a frame, and what it is called. */
const PIPELINE = [
  ['forward', 1_000, 64, '1,000 established flows, policy passed, MPLSoUDP, 64 bytes'],
  ['forward', 100_000, 64, '100,000 established flows, policy passed, MPLSoUDP, 64 bytes'],
  ['forward', 1_000_000, 64, '1,000,000 established flows, policy passed, MPLSoUDP, 64 bytes'],
  ['nat', 1_000, 64, '1,000 established flows, NAT, MPLSoUDP, 64 bytes'],
  ['nat', 100_000, 64, ESTABLISHED],
  ['nat', 1_000_000, 64, '1,000,000 established flows, NAT, MPLSoUDP, 64 bytes'],
  ['nat', 100_000, 1514, '100,000 established flows, NAT, MPLSoUDP, 1,514 bytes'],
  ['nat-gre', 100_000, 64, '100,000 established flows, NAT, MPLSoGRE, 64 bytes'],
  ['nat-vxlan', 100_000, 64, '100,000 established flows, NAT, VXLAN routed, 64 bytes'],
  ['deliver', 100_000, 64, '100,000 established flows, MPLSoUDP ends, NAT, local vif, 64 bytes'],
  ['bridge', 100_000, 64, '100,000 MACs, VXLAN bridged, no flow, 64 bytes'],
  ['flowless', 100_000, 64, '100,000 destinations, ECMP of 4, MPLSoUDP, no flow, 64 bytes'],
  ['new-flows', 100_000, 64, 'new flows: policy, NAT, ECMP of 4, MPLSoUDP, 64 bytes'],
];
const PIPELINE_PACKETS = 2_000_000; // a round, where flows are not new

const { values: options } = parseArgs({
  options: {
    gate: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    trials: { type: 'string', default: '5' },
    only: { type: 'string', default: '' },
    save: { type: 'string' },
  },
});
const trials = Number(options.trials);
if (!Number.isInteger(trials) || trials < 1) {
  console.error(`--trials takes a whole number from 1, not ${options.trials}`);
  process.exit(2);
}
const say = options.json ? console.error : console.log;

async function must(command, args, settings) {
  const result = await run(command, args, settings);
  if (result.status !== 0) {
    throw new SetupError(`${result.output}\n${command} failed (exit status ${result.status}).`);
  }
  return result.output;
}

async function buildNative() {
  if (!have('cmake')) {
    say('No native benchmarks: cmake is not installed.');
    return [];
  }
  const names = readdirSync(join(root, 'bench/native'))
    .filter((name) => name.endsWith('_bench.cc') && name.includes(options.only))
    .map((name) => name.replace(/\.cc$/, ''));
  await must('cmake', ['-S', '.', '-B', 'out/bench', '-DCMAKE_BUILD_TYPE=RelWithDebInfo']);
  const known = await must('cmake', ['--build', 'out/bench', '--target', 'help']);
  const built = names.filter((name) => new RegExp(`\\b${name}\\b`).test(known));
  for (const name of names.filter((one) => !built.includes(one))) {
    say(`Without ${name}: Google Benchmark (libbenchmark-dev) is not installed.`);
  }
  if (built.length > 0) {
    await must('cmake', ['--build', 'out/bench', '-j', String(jobs), '--target', ...built]);
  }
  return built;
}

async function buildTypeScript() {
  const names = readdirSync(join(root, 'bench'))
    .filter((name) => name.endsWith('.bench.ts') && name.includes(options.only))
    .map((name) => name.replace(/\.ts$/, ''));
  if (names.length > 0) {
    await must(process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.bench.json']);
  }
  return names;
}

const lines = (output) =>
  output
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line));

/** Figures of one trial: { name, value, unit }. */
async function nativeTrial(name) {
  if (name === 'pipeline_bench') {
    const figures = [];
    for (const [workload, flows, bytes, called] of PIPELINE) {
      const args = [workload, flows, PIPELINE_PACKETS, bytes].map(String);
      const [told] = lines(await must(`out/bench/${name}`, args));
      figures.push({ name: called, value: told.packetsPerSecond.median, unit: 'packets/s' });
      const clocks = told.tscClocksPerPacket?.median;
      if (clocks !== undefined) {
        figures.push({ name: `${called}: a packet`, value: clocks, unit: 'TSC clocks' });
      }
    }
    return figures;
  }
  const { benchmarks } = JSON.parse(
    (
      await must(`out/bench/${name}`, ['--benchmark_format=json', '--benchmark_min_time=0.2'])
    ).replace(/^[^{]*/, ''),
  );
  return benchmarks.map((one) =>
    one.items_per_second === undefined
      ? { name: one.name, value: one.real_time, unit: one.time_unit }
      : { name: one.name, value: one.items_per_second, unit: 'items/s' },
  );
}

async function typeScriptTrial(name) {
  const newest = ADDONS.reduce((a, b) => (modified(a) >= modified(b) ? a : b));
  const env = { VROUTER_ADDON: process.env.VROUTER_ADDON ?? join(root, newest) };
  return lines(await must(process.execPath, [`out/bench/js/bench/${name}.js`], { env }));
}

function median(sorted) {
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

async function measure(file, trial) {
  const figures = new Map();
  for (let i = 0; i < trials; i++) {
    for (const { name, value, unit } of await trial(file)) {
      const figure = figures.get(name) ?? { file, name, unit, values: [] };
      figure.values.push(value);
      figures.set(name, figure);
    }
  }
  return [...figures.values()].map(({ values, ...rest }) => {
    values.sort((a, b) => a - b);
    return { ...rest, median: median(values), min: values[0], max: values.at(-1), trials };
  });
}

function shown(value) {
  if (value >= 1e6) return `${(value / 1e6).toFixed(2)} M`;
  if (value >= 1e4) return `${(value / 1e3).toFixed(1)} k`;
  return value.toFixed(2);
}

async function machine() {
  const commit = await run('git', ['rev-parse', '--short', 'HEAD']);
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: jobs,
    kernel: release(),
    node: process.versions.node,
    commit: commit.status === 0 ? commit.output.trim() : 'unknown',
    date: new Date().toISOString().slice(0, 10),
  };
}

async function main() {
  const log = console.log;
  if (options.json) console.log = console.error;
  await setup();
  const native = await step('Building native benchmarks', buildNative);
  const typeScript = await step('Building TypeScript benchmarks', buildTypeScript);
  const results = [];
  for (const name of native) {
    results.push(...(await step(`Running ${name}`, () => measure(name, nativeTrial))));
  }
  for (const name of typeScript) {
    results.push(...(await step(`Running ${name}`, () => measure(name, typeScriptTrial))));
  }
  console.log = log;

  const about = await machine();
  const document = JSON.stringify({ machine: about, results }, undefined, 2);
  if (options.json) console.log(document);
  else {
    const wide = Math.max(...results.map((one) => one.name.length), 4);
    console.log(`\n${about.cpu}, ${about.cores} cores, Linux ${about.kernel}, Node ${about.node}`);
    console.log(
      `  ${'name'.padEnd(wide)}  ${'median'.padStart(10)} ${'min'.padStart(10)} ${'max'.padStart(10)}`,
    );
    for (const [i, { file, name, unit, ...figure }] of results.entries()) {
      if (file !== results[i - 1]?.file) console.log(file);
      const numbers = [figure.median, figure.min, figure.max].map((v) => shown(v).padStart(10));
      console.log(`  ${name.padEnd(wide)}  ${numbers.join(' ')}  ${unit}`);
    }
  }
  if (options.save !== undefined) {
    mkdirSync(join(root, 'bench/results'), { recursive: true });
    writeFileSync(join(root, 'bench/results', `${options.save}.json`), `${document}\n`);
  }
  if (!options.gate) return;
  for (const [name, { least, unit }] of Object.entries(FLOORS)) {
    const figure = results.find((one) => one.name === name);
    if (figure === undefined || figure.median < least) {
      console.error(
        `Below the floor: ${name}: ${figure?.median ?? 'not measured'}, at least ${least} ${unit}`,
      );
      process.exitCode = 1;
    }
  }
}

try {
  await main();
} catch (error) {
  if (!(error instanceof SetupError)) throw error;
  console.error(error.message);
  process.exitCode = 1;
}
