// Compiles the addon with nothing but a C++ compiler, for machines without the python3 and make that node-gyp
// wants. Same lists of sources, defines and flags: binding.gyp. Rebuilds everything each time.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { have, jobs, root, run, SetupError } from './machine.mjs';

const require = createRequire(import.meta.url);

function nodeHeaders() {
  const own = join(dirname(dirname(process.execPath)), 'include/node');
  if (existsSync(join(own, 'node_api.h'))) return own;
  return require('node-api-headers').include_dir; // comes with cmake-js
}

export async function compileAddon(target) {
  const { variables } = JSON.parse(readFileSync(join(root, 'binding.gyp'), 'utf8'));
  const compiler = process.env.CXX ?? ['c++', 'g++', 'clang++'].find(have);
  const include = ['native', require('node-addon-api').include_dir, nodeHeaders()];
  const flags = [
    ...variables.cxx_flags,
    ...[...variables.addon_defines, 'NODE_GYP_MODULE_NAME=vrouter', 'NDEBUG'].map(
      (name) => `-D${name}`,
    ),
    ...include.map((folder) => `-I${folder}`),
    '-fPIC',
    '-pthread',
    '-Wno-unused-parameter',
  ];
  const sources = [...variables.core_sources, ...variables.addon_sources];
  const object = (source) => `build/plain/${source.replace(/\.cc$/, '.o')}`;
  for (const source of sources) mkdirSync(dirname(join(root, object(source))), { recursive: true });

  const queue = [...sources];
  const failures = [];
  const worker = async () => {
    for (let source = queue.shift(); source && failures.length === 0; source = queue.shift()) {
      const result = await run(compiler, [...flags, '-c', source, '-o', object(source)]);
      if (result.status !== 0) failures.push(result.output);
    }
  };
  await Promise.all(Array.from({ length: jobs }, worker));
  if (failures.length > 0)
    throw new SetupError(`${failures.join('\n')}\nCompiling the addon failed.`);

  mkdirSync(dirname(join(root, target)), { recursive: true });
  const link = spawnSync(compiler, ['-shared', '-pthread', '-o', target, ...sources.map(object)], {
    cwd: root,
    encoding: 'utf8',
  });
  if (link.status !== 0) throw new SetupError(`${link.stderr}\nLinking the addon failed.`);
}
