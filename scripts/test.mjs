// npm test: everything there is to run on this machine, then one line: N passed, N failed, N skipped.
//   C++ unit tests under ASan and UBSan, fuzz targets, instructions a packet, types, vitest (unit, golden, scenario,
//   netns).
// As root on Debian it installs what the tests' real peers need (VROUTER_NO_APT=1: it does not). Otherwise what
// cannot run is skipped, by name and with the reason. Exit status 1 when something failed, or, with CI=true,
// was skipped. Plain Node: it runs before anything is installed.
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import {
  have,
  isRoot,
  jobs,
  missingPackages,
  onDebian,
  root,
  run,
  SetupError,
  step,
} from './machine.mjs';
import { buildOptional, setup } from './setup.mjs';

const PEERS = {
  'build-essential': 'C++ compiler and make',
  python3: 'node-gyp, which compiles the optional packages',
  cmake: 'C++ tests',
  valgrind: 'instructions a packet, held to a baseline',
  'libgtest-dev': 'C++ tests (GoogleTest)',
  'libpcap-dev': 'cap, which observes the wires',
  tshark: 'a second opinion on every frame',
  tcpdump: 'capture files not made by us',
  tcpreplay: 'capture files not made by us',
  'python3-scapy': 'packets not made by our encoder',
  curl: 'clients of the services',
  iproute2: 'network namespaces',
  'iputils-ping': 'echo requests from real kernels',
  ethtool: 'offloads off on veth pairs',
  iperf3: 'throughput between pods',
  'openvswitch-switch': 'a far end that is not ours',
  nftables: 'firewalls inside the namespaces',
  frr: 'a BGP speaker that is not ours',
  gobgpd: 'another one, which has route target memberships',
  bird2: 'another one',
  exabgp: 'another one',
};
// Packages whose installation may start a daemon, which would have port 179 of the machine: the tests start their own.
const DAEMONS = { frr: 'frr', gobgpd: 'gobgpd', bird2: 'bird', exabgp: 'exabgp' };
// Inputs for each fuzz target. A packet input may be too short to be a frame: more than a million, so that a
// million frames get in (the target says how many did). A Program input is a whole Program.
const FUZZ_INPUTS = { packet: 1_200_000, print: 500_000, program: 4_000, offload: 200_000 };
const FUZZ_INPUTS_OTHERWISE = 100_000;

const passed = { count: 0 };
const failed = [];
const skipped = [];
const skip = (name, why) => skipped.push({ name, why });

async function installPeers() {
  if (!onDebian()) return;
  const missing = missingPackages(Object.keys(PEERS));
  if (missing.length === 0) return;
  console.log('Debian packages that the tests use and that are not installed:');
  for (const name of missing) console.log(`  ${name.padEnd(16)} ${PEERS[name]}`);
  if (process.env.VROUTER_NO_APT === '1') return console.log('Not installed: VROUTER_NO_APT=1.\n');
  if (!isRoot())
    return console.log(`Not installed: needs root. apt-get install ${missing.join(' ')}\n`);
  await step('Installing them (apt-get)', async () => {
    const env = { DEBIAN_FRONTEND: 'noninteractive' };
    await run('apt-get', ['update', '-qq'], { env });
    const result = await run('apt-get', ['install', '-y', '--no-install-recommends', ...missing], {
      env,
    });
    if (result.status !== 0) {
      console.log(result.output.trimEnd());
      console.log('apt-get install failed; going on with what there is.');
    }
    await stopDaemons(missing);
  });
}

/** Those of packages that were not there before, now and after the next start of the machine. */
async function stopDaemons(installed) {
  const names = installed.flatMap((name) => DAEMONS[name] ?? []);
  for (const name of names) {
    if (existsSync('/run/systemd/system')) await run('systemctl', ['disable', '--now', name]);
    else if (existsSync(`/etc/init.d/${name}`)) await run('service', [name, 'stop']);
  }
}

async function buildNative(target, directory = 'out/test', sanitizers = 'ASan, UBSan') {
  return step(`Building ${target} (${sanitizers})`, async () => {
    const result = await run('cmake', [
      '--build',
      directory,
      '--target',
      target,
      '-j',
      String(jobs),
    ]);
    if (result.status !== 0) {
      console.log(result.output.slice(-20_000));
      failed.push(`building ${target}`);
    }
    return result.status === 0;
  });
}

async function nativeTests() {
  if (!have('cmake')) return skip('C++ tests and fuzz targets', 'cmake is not installed');
  const configured = await run('cmake', ['-S', '.', '-B', 'out/test']);
  if (configured.status !== 0) {
    console.log(configured.output);
    failed.push('configuring the C++ tests');
    return;
  }
  const targets = (await run('cmake', ['--build', 'out/test', '--target', 'help'])).output;
  if (!/\bcore_tests\b/.test(targets)) skip('C++ tests', 'GoogleTest is not installed');
  else if (await buildNative('core_tests')) await runGoogleTest('out/test/core_tests', 'C++ tests');
  if (await buildNative('fuzzers')) await runFuzzers();
  if (/\bcore_tests\b/.test(targets)) await threadTests();
}

/** The tests that have several workers, under the thread sanitizer. */
async function threadTests() {
  const directory = 'out/tsan';
  await run('cmake', ['-S', '.', '-B', directory, '-DVROUTER_SANITIZE_THREAD=ON']);
  if (await buildNative('core_tests_tsan', directory, 'TSan'))
    await runGoogleTest(`${directory}/core_tests_tsan`, 'C++ tests of several workers');
}

/** A test program, as many parts of it at once as there are cores. */
async function runGoogleTest(program, what) {
  const parts = Array.from({ length: jobs }, (_, index) => ({
    report: join(root, `${program}.${index}.json`),
    env: { GTEST_TOTAL_SHARDS: String(jobs), GTEST_SHARD_INDEX: String(index) },
  }));
  for (const { report } of parts) rmSync(report, { force: true });
  const results = await step(what, () =>
    Promise.all(
      parts.map(({ report, env }) =>
        run(program, ['--gtest_color=no', `--gtest_output=json:${report}`], { env }),
      ),
    ),
  );
  for (const [index, result] of results.entries()) googleTestSaid(program, parts[index], result);
}

function googleTestSaid(program, { report }, result) {
  const counts = { passed: 0, failed: 0 };
  const reasons = skipReasons(result.output);
  if (existsSync(report)) {
    for (const suite of JSON.parse(readFileSync(report, 'utf8')).testsuites) {
      for (const test of suite.testsuite) {
        const name = `${suite.name}.${test.name}`;
        if (test.failures) failed.push(name);
        else if (test.result === 'SKIPPED') skip(name, reasons.get(name) ?? 'no reason given');
        else if (test.status === 'RUN') passed.count++;
        if (test.failures) counts.failed++;
        else counts.passed++;
      }
    }
  }
  // A sanitizer's report ends the run before the JSON is written.
  if (result.status !== 0 && counts.failed === 0)
    failed.push(`${program}, exit status ${result.status}`);
  // The runs that went well say nothing.
  const quiet = /^(\[ RUN {6}\]|\[ {7}OK \]|\[-{10}\]|\[ {2}SKIPPED \]|$)/;
  const told =
    result.status === 0 ? result.output.split('\n').slice(-12) : result.output.split('\n');
  console.log(told.filter((line) => !quiet.test(line)).join('\n'));
}

/** Why tests were skipped: GoogleTest's report does not say, its output does. */
function skipReasons(output) {
  const reasons = new Map();
  let reason;
  const lines = output.split('\n');
  for (const [i, line] of lines.entries()) {
    if (/: Skipped$/.test(line)) reason = lines[i + 1]?.trim();
    const skipped = /^\[ {2}SKIPPED \] (\S+)/.exec(line);
    if (skipped && reason) reasons.set(skipped[1].replace(/,$/, ''), reason);
    if (skipped) reason = undefined;
  }
  return reasons;
}

async function runFuzzers() {
  const sources = readdirSync(join(root, 'native/fuzz')).filter((name) =>
    name.endsWith('_fuzz.cc'),
  );
  for (const source of sources) {
    const name = source.replace(/_fuzz\.cc$/, '');
    const corpus = `native/fuzz/corpus/${name}`;
    const inputs = FUZZ_INPUTS[name] ?? FUZZ_INPUTS_OTHERWISE;
    // Each from another seed, on a core of its own.
    const share = Math.ceil(inputs / jobs);
    const seeds = Array.from({ length: jobs }, (_, i) => i + 1);
    const results = await step(`Fuzz ${name}, ${inputs.toLocaleString('en')} inputs`, () =>
      Promise.all(
        seeds.map((seed) => {
          const args = [`-runs=${share}`, `-seed=${seed}`];
          if (existsSync(join(root, corpus))) args.push(corpus);
          return run(join(root, `out/test/fuzz_${name}`), args);
        }),
      ),
    );
    if (results.every(({ status }) => status === 0)) passed.count++;
    else failed.push(`fuzz ${name}`);
    for (const { status, output } of results) {
      if (status !== 0) console.log(output.slice(-10_000));
      const told = output.split('\n').find((line) => line.startsWith('received '));
      if (status === 0 && told) console.log(`  ${told}`);
    }
  }
}

/** Instructions a packet, against bench/instructions.json; scripts/instructions.mjs does it. */
async function instructions() {
  for (const tool of ['valgrind', 'cmake']) {
    if (!have(tool)) return skip('instructions a packet', `${tool} is not installed`);
  }
  const result = await step('Instructions a packet', () =>
    run(process.execPath, ['scripts/instructions.mjs']),
  );
  console.log(result.output.trimEnd());
  if (result.status === 0) passed.count++;
  else failed.push('instructions a packet');
}

async function types() {
  const result = await step('Type check', () =>
    run(process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.json']),
  );
  if (result.status === 0) {
    passed.count++;
    return;
  }
  console.log(result.output);
  failed.push('type check');
}

async function vitest() {
  const file = join(root, 'out/test/vitest.json');
  mkdirSync(join(root, 'out/test'), { recursive: true });
  rmSync(file, { force: true });
  const reporters = ['--reporter=default', '--reporter=./test/support/verdict-reporter.ts'];
  const result = await run(
    process.execPath,
    ['node_modules/vitest/vitest.mjs', 'run', ...reporters],
    {
      show: true,
      env: { VROUTER_VERDICT: file },
    },
  );
  if (!existsSync(file)) return failed.push(`vitest, exit status ${result.status}`);
  const verdict = JSON.parse(readFileSync(file, 'utf8'));
  passed.count += verdict.passed;
  failed.push(...verdict.failed);
  skipped.push(...verdict.skipped);
  if (result.status !== 0 && verdict.failed.length === 0) {
    failed.push(`vitest, exit status ${result.status}`);
  }
}

try {
  await installPeers();
  await setup();
  await buildOptional();
  await nativeTests();
  await instructions();
  await types();
  await vitest();
} catch (error) {
  if (!(error instanceof SetupError)) throw error;
  console.log(error.message);
  failed.push('set-up');
}

const ci = process.env.CI === 'true';
if (skipped.length > 0) {
  console.log(`\nSkipped${ci ? ' (a failure, for CI=true)' : ''}:`);
  for (const { name, why } of skipped) console.log(`  ${name}: ${why}`);
}
if (failed.length > 0) {
  console.log('\nFailed:');
  for (const name of failed) console.log(`  ${name}`);
}
console.log(`\n${passed.count} passed, ${failed.length} failed, ${skipped.length} skipped`);
process.exitCode = failed.length > 0 || (ci && skipped.length > 0) ? 1 : 0;
