// Builds what is to be run, and runs one job once, in a fresh process. A job's figures come back as one flat object
// `{ 'nat-100k.clk': 151.2, … }`, so that a row can name any of them (rows.mjs).
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { jobs as cores, have, modified, root, run, SetupError } from '../machine.mjs';
import { ADDONS } from '../setup.mjs';

export async function must(command, args, settings) {
  const result = await run(command, args, settings);
  if (result.status !== 0) {
    throw new SetupError(
      `${result.output}\n${command} ${args.join(' ')} failed (exit status ${result.status}).`,
    );
  }
  return result.output;
}

export const BUILD = 'out/bench';

/** Builds these programs of bench/native; those that cannot be had are returned with the reason. */
export async function buildNative(programs) {
  const missing = new Map();
  const miss = (program, why) => missing.set(program, why);
  if (!have('cmake')) {
    for (const program of programs) miss(program, 'cmake is not installed');
    return missing;
  }
  const sources = readdirSync(join(root, 'bench/native'));
  await must('cmake', ['-S', '.', '-B', 'out/bench', '-DCMAKE_BUILD_TYPE=RelWithDebInfo']);
  const known = await must('cmake', ['--build', 'out/bench', '--target', 'help']);
  const targets = [];
  for (const program of programs) {
    if (!sources.includes(`${program}.cc`)) miss(program, `there is no bench/native/${program}.cc`);
    else if (new RegExp(`\\b${program}\\b`).test(known)) targets.push(program);
    else miss(program, 'Google Benchmark (libbenchmark-dev) is not installed');
  }
  if (targets.length > 0) {
    await must('cmake', ['--build', 'out/bench', '-j', String(cores), '--target', ...targets]);
  }
  return missing;
}

export async function buildTypeScript() {
  await must(process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.bench.json']);
}

/** The lines of an output that are JSON objects. */
export const jsonLines = (output) =>
  output
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line));

/** Google Benchmark's counters that are figures; the rest of its fields says how it measured. */
const COUNTERS = ['tsc', 'bytes/prefix', 'worst', 'evicted'];

/** By program: its output as figures, each under its own name. */
const READERS = {
  calibrate: ([told]) => ({
    coreGhz: told.coreGhz,
    copyGbps: told.copyGbps,
    ...(told.tscGhz === undefined
      ? {}
      : { tscGhz: told.tscGhz, clocksPerCycle: told.tscGhz / told.coreGhz }),
    ...Object.fromEntries(Object.entries(told.loadNs).map(([kib, ns]) => [`load.${kib}`, ns])),
  }),
  pipeline_bench: ([told]) => ({
    pps: told.packetsPerSecond.median,
    onCpu: told.onCpu,
    ...(told.tscClocksOnCpu === undefined ? {} : { clkOnCpu: told.tscClocksOnCpu.median }),
    gbps: (told.packetsPerSecond.median * told.frameBytes * 8) / 1e9,
    ...(told.tscClocksPerPacket === undefined ? {} : { clk: told.tscClocksPerPacket.median }),
  }),
  flow_hold_bench: ([told]) => ({
    seconds: told.seconds,
    clk: told.tscClocksPerPair,
    bytesPerPairOfRoom: told.bytesPerPairOfRoom,
    bytesPerPairHeld: told.bytesPerPairHeld,
  }),
  workers_bench: ([told]) => ({ ratio: told.ratio_median, one: told.one_mpps, two: told.two_mpps }),
};

/** Of Google Benchmark's JSON. */
export function googleFigures(document) {
  const figures = {};
  for (const one of document.benchmarks) {
    if (one.items_per_second !== undefined) figures[`${one.name}.items`] = one.items_per_second;
    else if (one.bytes_per_second !== undefined)
      figures[`${one.name}.bytes`] = one.bytes_per_second;
    else figures[`${one.name}.${one.time_unit}`] = one.real_time;
    for (const counter of COUNTERS) {
      if (one[counter] !== undefined) figures[`${one.name}.${counter}`] = one[counter];
    }
  }
  return figures;
}

async function runGoogle({ program, filter }, build) {
  const output = await must(`${build}/${program}`, [
    '--benchmark_format=json',
    '--benchmark_min_time=0.2',
    `--benchmark_filter=${filter === '' ? '.' : filter}`,
  ]);
  return googleFigures(JSON.parse(output.replace(/^[^{]*/, '')));
}

async function runScript({ script }) {
  const newest = ADDONS.reduce((a, b) => (modified(a) >= modified(b) ? a : b));
  const env = { VROUTER_ADDON: process.env.VROUTER_ADDON ?? join(root, newest) };
  const output = await must(process.execPath, [`out/bench/js/bench/${script}.js`], { env });
  return Object.fromEntries(jsonLines(output).map(({ name, value }) => [name, value]));
}

/** One trial of one job. `before`: what this trial has measured so far; `build`: where native programs are. */
export async function runJob(job, before, build = BUILD) {
  const figures =
    job.run !== undefined
      ? await job.run(before)
      : job.script !== undefined
        ? await runScript(job)
        : job.filter !== undefined
          ? await runGoogle(job, build)
          : READERS[job.program](jsonLines(await must(`${build}/${job.program}`, job.args)));
  return Object.fromEntries(
    Object.entries(figures).map(([name, value]) => [`${job.name}.${name}`, value]),
  );
}
