/** The kernel tier's programs that are committed are what is compiled from their source. */
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';

const root = join(import.meta.dirname, '../..');
const made = /\(clang ([\d.]+)\)/.exec(
  readFileSync(join(root, 'native/tier/programs.h'), 'utf8'),
)?.[1];
const clang = spawnSync('clang', ['--version'], { encoding: 'utf8' });
const here = clang.status === 0 ? /version ([\d.]+)/.exec(clang.stdout)?.[1] : undefined;
const objcopy = spawnSync('llvm-objcopy', ['--version']).status === 0;

// Another clang makes other instructions of the same source.
test.skipIf(here !== made || !objcopy)(
  `programs.h is tier.bpf.c by clang ${made} (here: ${here ?? 'none'})`,
  () => {
    expect(made).toBeDefined();
    const said = execFileSync(process.execPath, ['scripts/tier-programs.mjs', '--check'], {
      cwd: root,
      encoding: 'utf8',
    });
    expect(said).toBe('as committed\n');
  },
);
