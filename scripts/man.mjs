// node scripts/man.mjs [--out DIR]: writes DIR/man/*.1 and DIR/completion/*, from the commands themselves.
// DIR is dist/ unless told otherwise.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { root } from './machine.mjs';
import { setup } from './setup.mjs';

const { values } = parseArgs({ options: { out: { type: 'string', default: join(root, 'dist') } } });
await setup();
const { buildCommand } = await import('../dist/cli/main.js');
const { commandTree } = await import('../dist/cli/command-tree.js');
const { completionScript } = await import('../dist/cli/completion.js');
const { manPages } = await import('../dist/cli/man.js');
const { VERSION } = await import('../dist/cli/version.js');

const nothing = () => {};
const io = { out: nothing, err: nothing, env: {}, fail: nothing };
const tree = commandTree(await buildCommand(io));
const files = [...manPages(tree, VERSION)].map(([name, text]) => [join('man', name), text]);
// The names under which each shell looks for a completion of `vrouter`.
for (const [shell, name] of Object.entries({
  bash: 'vrouter',
  zsh: '_vrouter',
  fish: 'vrouter.fish',
})) {
  files.push([join('completion', shell, name), completionScript(shell, tree)]);
}
for (const [name, text] of files) {
  const file = join(values.out, name);
  mkdirSync(join(file, '..'), { recursive: true });
  writeFileSync(file, text);
}
console.log(`${files.length} files in ${values.out}`);
