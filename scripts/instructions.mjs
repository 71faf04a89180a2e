// node scripts/instructions.mjs [--write] [--cache] [--only TEXT] [--flows N] [--binary FILE]
//   counts the instructions of a packet in each workload of bench/native/pipeline_bench.cc, by valgrind's callgrind
//   with fixed inputs, and fails when one has grown by more than 3 % over bench/instructions.json. Machines differ in
//   speed, not in this: it can be held where no timed figure can. Compilers do differ: with another than the
//   baseline's nothing is held, only shown.
//   --write  makes the baseline          --cache  adds misses of the simulated caches, a packet
//   --binary counts in another build     --flows  other than the baseline's, to look at
// Simulated caches do not prefetch, neither by themselves nor when told to: a miss is a line that was touched.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { have, jobs, root, run } from './machine.mjs';

const BASELINE = join(root, 'bench/instructions.json');
const MOST_GROWTH = 0.03;
const FLOWS = 1000;
const ROUNDS = 5; // kRounds of pipeline_bench.cc
const PACKETS_PER_ROUND = 4000;
const EVENTS = { Ir: 'instructions', D1: 'D1 misses', DL: 'LL misses' };

const { values: options } = parseArgs({
  options: {
    write: { type: 'boolean', default: false },
    cache: { type: 'boolean', default: false },
    only: { type: 'string', default: '' },
    flows: { type: 'string', default: String(FLOWS) },
    binary: { type: 'string' },
  },
});

async function must(command, args) {
  const result = await run(command, args);
  if (result.status !== 0) throw new Error(`${result.output}\n${command} ${args.join(' ')} failed`);
  return result.output;
}

async function build() {
  if (options.binary !== undefined) return options.binary;
  await must('cmake', ['-S', '.', '-B', 'out/bench', '-DCMAKE_BUILD_TYPE=RelWithDebInfo']);
  await must('cmake', ['--build', 'out/bench', '-j', String(jobs), '--target', 'pipeline_bench']);
  return join(root, 'out/bench/pipeline_bench');
}

/** What the benches are compiled with, as the compiler calls itself. */
async function compiler() {
  const cache = readFileSync(join(root, 'out/bench/CMakeCache.txt'), 'utf8');
  const path = /^CMAKE_CXX_COMPILER:\w+=(.+)$/m.exec(cache)?.[1] ?? 'c++';
  return (await must(path, ['--version'])).split('\n')[0].replace(/^\S+ /, '');
}

/** Events of a packet: { instructions, 'D1 misses', … }. */
async function count(binary, workload) {
  const output = await must('valgrind', [
    '--tool=callgrind',
    '--callgrind-out-file=/dev/null',
    '--toggle-collect=*measured_rounds*',
    ...(options.cache ? ['--cache-sim=yes'] : []),
    binary,
    workload,
    options.flows,
    String(PACKETS_PER_ROUND),
  ]);
  const events = /Events\s*: (.+)/.exec(output)?.[1].trim().split(' ') ?? [];
  const totals = /Collected : (.+)/.exec(output)?.[1].trim().split(' ').map(Number) ?? [];
  const packets =
    ROUNDS * (workload.startsWith('new-flows') ? Number(options.flows) : PACKETS_PER_ROUND);
  const sum = (prefix, suffix) =>
    events.reduce((all, event, i) => {
      const wanted = event.startsWith(prefix) && event.includes(suffix);
      return wanted ? all + (totals[i] ?? 0) / packets : all;
    }, 0);
  const counts = { [EVENTS.Ir]: sum('Ir', '') };
  if (options.cache) {
    counts[EVENTS.D1] = sum('D1', 'm');
    counts[EVENTS.DL] = sum('DL', 'm');
  }
  return counts;
}

async function main() {
  for (const tool of ['valgrind', 'cmake']) {
    if (!have(tool)) return console.log(`Nothing counted: ${tool} is not installed.`);
  }
  const binary = await build();
  const built = await compiler();
  const baseline = existsSync(BASELINE) ? JSON.parse(readFileSync(BASELINE, 'utf8')) : {};
  const held = baseline.compiler === built && Number(options.flows) === FLOWS;
  const counts = {};
  for (const workload of (await must(binary, ['list'])).trim().split('\n')) {
    if (!workload.includes(options.only)) continue;
    const found = await count(binary, workload);
    const now = Number(found[EVENTS.Ir].toFixed(1));
    counts[workload] = now;
    const before = baseline.instructions?.[workload];
    const growth = before === undefined ? 0 : now / before - 1;
    const rest = Object.entries(found)
      .slice(1)
      .map(([name, value]) => `  ${value.toFixed(2)} ${name}`);
    console.log(
      `${workload.padEnd(10)} ${now.toFixed(1).padStart(8)} instructions a packet${rest.join('')}` +
        (before === undefined ? '' : `  (${(growth * 100).toFixed(1)} % over ${before})`),
    );
    if (held && !options.write && growth > MOST_GROWTH) {
      console.error(`${workload}: more than ${MOST_GROWTH * 100} % over ${before}`);
      process.exitCode = 1;
    }
  }
  if (options.write) {
    const document = { compiler: built, flows: FLOWS, instructions: counts };
    writeFileSync(BASELINE, `${JSON.stringify(document, undefined, 2)}\n`);
  } else if (!held) {
    console.log(`Not held to the baseline, which is of ${baseline.compiler ?? 'no compiler'}.`);
  }
}

try {
  await main();
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
