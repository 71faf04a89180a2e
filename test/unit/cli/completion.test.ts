/** Completion and man pages, read by the programs they are for: bash and groff. */
import { execFileSync, spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { allCommands, commandTree } from '../../../src/cli/command-tree.ts';
import { completionScript } from '../../../src/cli/completion.ts';
import { buildCommand, run } from '../../../src/cli/main.ts';
import { manPages } from '../../../src/cli/man.ts';

const io = { out: () => {}, err: () => {}, env: {}, fail: () => {} };
const tree = commandTree(await buildCommand(io));
const script = completionScript('bash', tree);

/** What bash offers for the last of the words. */
function offered(...words: string[]): string[] {
  const program = `${script}
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _vrouter; printf '%s\\n' "\${COMPREPLY[@]}"`;
  const out = execFileSync('bash', ['-c', program, 'bash', 'vrouter', ...words], {
    encoding: 'utf8',
  });
  return out.split('\n').filter((word) => word !== '');
}

describe('bash completion, run in bash', () => {
  it.each([
    [['drop'], ['dropstats']],
    [['dropstats', '--cl'], ['--clear']],
    [['dropstats', '--debug', '--j'], ['--json']],
    [['demo', 'clus'], ['clusterip']],
    [['dropstats', '--sock', ''], []],
    [['nosuch', '--clear'], []],
  ])('%j offers %j', (words, want) => {
    expect(offered(...words)).toEqual(want);
  });

  it('offers every command', () => {
    const names = tree.commands.map((command) => command.path[0]);
    expect(offered('')).toEqual(expect.arrayContaining(names));
  });
});

it('prints the script, with the commands a call does not load', async () => {
  let out = '';
  const status = await run(['completion', 'bash'], {
    ...io,
    out: (text) => {
      out += text;
    },
  });
  expect(status).toBe(0);
  expect(out).toBe(script);
  expect(await run(['completion', 'tcsh'], io)).not.toBe(0);
});

it.each(['bash', 'zsh', 'fish'] as const)('%s: names every command and long option', (shell) => {
  const text = completionScript(shell, tree);
  for (const entry of allCommands(tree)) {
    for (const option of entry.options) {
      const long = option.names.find((name) => name.startsWith('--')) as string;
      expect(text).toContain(shell === 'fish' ? `-l ${long.slice(2)}` : long);
    }
    expect(text).toContain(entry.path.at(-1) ?? 'vrouter');
  }
});

describe.each(allCommands(tree).slice(1))('vrouter $path', (entry) => {
  it('has a description, and a command that can be run an example', () => {
    expect(entry.description).not.toBe('');
    if (entry.commands.length === 0)
      expect(entry.after).toContain(`vrouter ${entry.path.join(' ')}`);
  });
});

const groff = spawnSync('groff', ['--version']).status === 0;

describe.skipIf(!groff)('man pages, read by groff', () => {
  it.each([...manPages(tree, '1.2.3')])('%s: no warning', (name, text) => {
    const read = spawnSync('groff', ['-man', '-ww', '-Tutf8', '-z'], {
      input: text,
      encoding: 'utf8',
    });
    expect({ name, status: read.status, warnings: read.stderr }).toEqual({
      name,
      status: 0,
      warnings: '',
    });
  });

  // groff does not warn of what a stray backslash or leading dot swallowed: what is printed is compared.
  it.each(allCommands(tree).slice(1))('$path: prints the notes as help does', (entry) => {
    const [text] = [...manPages({ ...entry, commands: [] }, '1.2.3').values()];
    const printed = execFileSync('groff', ['-man', '-Tutf8', '-P-c', '-rLL=300n'], {
      input: text as string,
      encoding: 'utf8',
    });
    const plain = printed.replaceAll(/.\u0008/g, '').replaceAll(/\s+/g, ' ');
    const want = entry.after.replaceAll('…', '...').replaceAll(/\s+/g, ' ');
    expect(plain).toContain(want);
  });
});
