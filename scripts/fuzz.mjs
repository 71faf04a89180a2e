// npm run fuzz [-- TARGET [SECONDS]]: fuzzes one target of native/fuzz, or each in turn, for a time (60 s).
// With clang it is libFuzzer, which learns from coverage and keeps what it finds in out/fuzz/corpus; else our own
// driver (native/fuzz/standalone_main.cc). What breaks a target is kept as crash-* in out/fuzz; put it into
// native/fuzz/corpus/TARGET with the fix.
import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { have, jobs, root, run, step } from './machine.mjs';

const targets = readdirSync(join(root, 'native/fuzz'))
  .filter((name) => name.endsWith('_fuzz.cc'))
  .map((name) => name.replace(/_fuzz\.cc$/, ''));
const [wanted, seconds = '60'] = process.argv.slice(2);
if (wanted !== undefined && !targets.includes(wanted)) {
  console.error(`No fuzz target ${wanted}. There are: ${targets.join(', ')}`);
  process.exit(2);
}
if (!have('cmake')) {
  console.error('cmake is not installed.');
  process.exit(2);
}

const configure = ['-S', '.', '-B', 'out/fuzz'];
if (have('clang++') && !process.env.CXX) configure.push('-DCMAKE_CXX_COMPILER=clang++');
for (const [what, args] of [
  ['Configuring', configure],
  ['Building', ['--build', 'out/fuzz', '--target', 'fuzzers', '-j', String(jobs)]],
]) {
  const result = await step(what, () => run('cmake', args));
  if (result.status !== 0) {
    console.error(result.output);
    process.exit(1);
  }
}

for (const target of wanted === undefined ? targets : [wanted]) {
  const found = join(root, 'out/fuzz/corpus', target);
  mkdirSync(found, { recursive: true });
  const corpus = join(root, 'native/fuzz/corpus', target);
  const args = [`-max_total_time=${seconds}`, found, ...(existsSync(corpus) ? [corpus] : [])];
  const result = await step(`Fuzzing ${target} for ${seconds} s`, () =>
    run(join(root, `out/fuzz/fuzz_${target}`), args, { show: true, cwd: join(root, 'out/fuzz') }),
  );
  if (result.status !== 0) process.exitCode = 1;
}
