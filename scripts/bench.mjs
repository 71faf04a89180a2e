// npm run bench [-- options]
//   The table of what the data plane must show, measured on this machine: rows, floors and targets are in
//   scripts/bench/rows.mjs, how to read it in docs/benchmark.md. Every job runs in a fresh process; trials are
//   interleaved (A B C, A B C), each behind a calibration of the machine.
//   --trials N      how many (5)                 --only TEXT     jobs and rows whose name contains TEXT
//   --json          one document, no table       --save NAME     also into bench/results/NAME.json
//   --svg FILE      a picture                    --against FILE  compared with a saved run
//   --from FILE     measures nothing: shows a saved run
//   --beside DIR    native jobs run from this build too, by turns (DIR is another tree's out/bench)
//   --peers         DPDK and OVS beside it       --all           every figure there is, not the table's only
//   --gate          exit status 1 below GATE, or if it was not measured
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { compare, comparePaired } from './bench/compare.mjs';
import { documentOf, readDocument } from './bench/document.mjs';
import { buildNative, buildTypeScript, runJob } from './bench/jobs.mjs';
import { machine, watch } from './bench/machine.mjs';
import { PEER_JOBS, preparePeers } from './bench/peers.mjs';
import { picture } from './bench/picture.mjs';
import { GATE, JOBS, PEERS, ROWS } from './bench/rows.mjs';
import { comparisonText, text } from './bench/table.mjs';
import { root, SetupError, step } from './machine.mjs';
import { setup } from './setup.mjs';

const CALIBRATE = { name: 'calibration', program: 'calibrate', args: [] };

const OPTIONS = {
  options: {
    all: { type: 'boolean', default: false },
    against: { type: 'string' },
    beside: { type: 'string' },
    from: { type: 'string' },
    gate: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    only: { type: 'string', default: '' },
    peers: { type: 'boolean', default: false },
    save: { type: 'string' },
    svg: { type: 'string' },
    trials: { type: 'string', default: '5' },
  },
};
const options = (() => {
  try {
    return parseArgs(OPTIONS).values;
  } catch (error) {
    console.error(error.message);
    return process.exit(2);
  }
})();
const trials = Number(options.trials);
if (!Number.isInteger(trials) || trials < 1) {
  console.error(`--trials takes a whole number from 1, not ${options.trials}`);
  process.exit(2);
}

/** Figures that a row is made of: names of jobs, each up to its first point. */
const jobsOf = ({ of, ours }) => [of, ours ?? []].flat().map((figure) => figure.split('.')[0]);

/** Those asked for: by their own name, their program's or script's, or that of a row they are needed for. */
function chosenJobs() {
  const rows = [...ROWS, ...(options.peers ? PEERS : [])];
  const named = new Set(rows.filter(({ id }) => id.includes(options.only)).flatMap(jobsOf));
  return [...JOBS, ...(options.peers ? PEER_JOBS : [])].filter((job) => {
    if (options.only === '') return options.all || !job.extra;
    const own = [job.name, job.program ?? '', job.script ?? ''].some((name) =>
      name.includes(options.only),
    );
    return own || (named.has(job.name) && !job.extra);
  });
}

/** Builds what the jobs need; jobs that cannot run are left out, and why is told. */
async function prepare(jobs, why) {
  const programs = [...new Set([CALIBRATE, ...jobs].map(({ program }) => program))];
  const missing = await step('Building native benchmarks', () =>
    buildNative(programs.filter((program) => program !== undefined)),
  );
  if (missing.has(CALIBRATE.program)) throw new SetupError(missing.get(CALIBRATE.program));
  if (jobs.some(({ script }) => script !== undefined)) {
    await step('Building TypeScript benchmarks', buildTypeScript);
  }
  const wanted = jobs.filter(({ peer }) => peer !== undefined);
  const peers = wanted.length > 0 ? await step('Preparing peers', () => preparePeers(wanted)) : {};
  return jobs.filter((job) => {
    const reason = missing.get(job.program) ?? peers[job.name];
    if (reason !== undefined) {
      why.set(job.name, reason);
      console.log(`Without ${job.name}: ${reason}`);
    }
    return reason === undefined;
  });
}

/** A peer that fails is told of and left out; one of our own that fails ends the run. */
async function tryJob(job, before, why) {
  try {
    return await runJob(job, before);
  } catch (error) {
    if (job.peer === undefined) throw error;
    const reason = error.message.trim().split('\n').at(-1);
    why.set(job.name, reason);
    console.log(`  Without ${job.name}: ${reason}`);
    return {};
  }
}

async function measure() {
  if (options.beside !== undefined && !existsSync(join(options.beside, 'pipeline_bench'))) {
    throw new SetupError(`There is no pipeline_bench in ${options.beside}: build it there first.`);
  }
  await setup();
  const why = new Map();
  const jobs = await prepare(chosenJobs(), why);
  const about = await machine();
  const watched = watch();
  const measured = [];
  const others = [];
  const other = options.beside === undefined ? undefined : resolve(options.beside);
  for (let trial = 1; trial <= trials; trial++) {
    await step(`Trial ${trial} of ${trials}`, async () => {
      const figures = await runJob(CALIBRATE, {});
      const besides = { ...figures };
      const ours = async (job) => Object.assign(figures, await tryJob(job, figures, why));
      const theirs = async (job) =>
        other !== undefined && existsSync(join(other, job.program ?? '-'))
          ? Object.assign(besides, await runJob(job, besides, other))
          : undefined;
      const due = ({ name, trials: most = trials }) => !why.has(name) && trial <= most;
      for (const job of jobs.filter(due)) {
        for (const turn of trial % 2 === 1 ? [ours, theirs] : [theirs, ours]) await turn(job);
        watched.look();
      }
      measured.push(figures);
      others.push(besides);
    });
  }
  const ran = new Set(jobs.map(({ name }) => name));
  const shownRow = (row) => options.only === '' || jobsOf(row).some((name) => ran.has(name));
  const missing = (row) => {
    const job = jobsOf(row).find((name) => why.has(name));
    return job === undefined ? 'not asked for' : why.get(job);
  };
  return documentOf({
    machine: about,
    load: watched.told(),
    trials: measured,
    rows: ROWS.filter(shownRow),
    peers: options.peers ? PEERS.filter(shownRow) : [],
    missing,
    ...(other === undefined
      ? {}
      : {
          beside: {
            build: options.beside,
            ...comparePaired(ROWS.filter(shownRow), measured, others),
          },
        }),
  });
}

/** A file, or the name of one in bench/results. */
function load(name) {
  const saved = join(root, 'bench/results', `${name}.json`);
  const path = existsSync(resolve(name)) || !existsSync(saved) ? resolve(name) : saved;
  try {
    return readDocument(readFileSync(path, 'utf8'), name);
  } catch (error) {
    throw new SetupError(error.message);
  }
}

function gate({ figures }) {
  for (const { of, least, called } of GATE) {
    const value = figures[of]?.median;
    if (value !== undefined && value >= least) continue;
    const told = value === undefined ? 'not measured' : value.toExponential(3);
    console.error(`Below the gate: ${called}: ${told}, at least ${least} packets/s`);
    process.exitCode = 1;
  }
}

async function main() {
  const before = options.against === undefined ? undefined : load(options.against);
  const log = console.log;
  if (options.json) console.log = console.error;
  const document = options.from === undefined ? await measure() : load(options.from);
  console.log = log;

  const comparison = before === undefined ? undefined : compare(document, before);
  const printed = JSON.stringify(document, undefined, 2);
  if (options.json) {
    console.log(
      comparison === undefined
        ? printed
        : JSON.stringify({ ...document, comparison }, undefined, 2),
    );
  } else {
    console.log(`\n${text(document, { figures: options.all || options.only !== '' })}`);
    if (document.beside !== undefined) {
      console.log(`\n${comparisonText(document.beside, `${document.beside.build}, by turns`)}`);
    }
    if (comparison !== undefined) console.log(`\n${comparisonText(comparison, options.against)}`);
  }
  if (options.save !== undefined) {
    mkdirSync(join(root, 'bench/results'), { recursive: true });
    writeFileSync(join(root, 'bench/results', `${options.save}.json`), `${printed}\n`);
  }
  if (options.svg !== undefined) writeFileSync(options.svg, picture(document));
  if (options.gate) gate(document);
}

try {
  await main();
} catch (error) {
  if (!(error instanceof SetupError)) throw error;
  console.error(error.message);
  process.exitCode = 1;
}
