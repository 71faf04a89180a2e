// All set-up a fresh clone needs, and nothing when it is up to date: packages, the native addon, dist/.
//   node scripts/setup.mjs
// Plain Node, no dependencies: it runs before there are any.
import { existsSync, utimesSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { compileAddon } from './compile.mjs';
import {
  have,
  isRoot,
  jobs,
  modified,
  newest,
  onDebian,
  root,
  run,
  SetupError,
  step,
} from './machine.mjs';

export const ADDONS = ['build/Release/vrouter.node', 'out/Release/vrouter.node'];
const isNativeSource = (path) => !/_test\.cc$|\/native\/fuzz\//.test(path);

function checkNode() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major < 20 || (major === 20 && minor < 17)) {
    throw new SetupError(`Node ${process.versions.node} is too old: 20.17 or newer is needed.`);
  }
}

function checkCompiler() {
  const compiler = process.env.CXX?.split(' ')[0];
  if (compiler ? have(compiler) : have('c++') || have('g++') || have('clang++')) return;
  const how = onDebian()
    ? `Install one: ${isRoot() ? '' : 'sudo '}apt-get install g++`
    : 'Install GCC 12 or Clang 14, or newer.';
  throw new SetupError(`No C++ compiler found${compiler ? ` (CXX is ${compiler})` : ''}. ${how}`);
}

/** node-gyp wants Node's headers; where this Node brought them along, nothing has to be downloaded. */
function gypEnv() {
  const prefix = dirname(dirname(process.execPath));
  const env = { JOBS: String(jobs), CXXFLAGS: process.env.CXXFLAGS ?? '' };
  if (!process.env.npm_config_nodedir && existsSync(join(prefix, 'include/node/node_api.h'))) {
    env.npm_config_nodedir = prefix;
  }
  return env;
}

const canGyp = () => have('python3') && have('make');

function failed(what, result) {
  return new SetupError(
    `${result.output.trimEnd()}\n\n${what} failed (exit status ${result.status}).`,
  );
}

async function installPackages() {
  if (modified('node_modules/.package-lock.json') >= modified('package-lock.json')) return;
  await step('Installing packages (npm ci)', async () => {
    // Scripts are left out: a package that cannot be compiled must not hide in npm's log.
    const result = await run('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund']);
    if (result.status !== 0) throw failed('npm ci', result);
  });
}

/** cap and raw-socket: optional. What needs them says so by name when they are not there. */
export async function buildOptional() {
  const wanted = [
    ['cap', 'node_modules/cap/build/Release/cap.node'],
    ['raw-socket', 'node_modules/raw-socket/build/Release/raw.node'],
  ].filter(
    ([name, file]) => existsSync(join(root, 'node_modules', name)) && !existsSync(join(root, file)),
  );
  if (wanted.length === 0) return;
  const names = wanted.map(([name]) => name);
  await step(`Compiling ${names.join(' and ')} (optional)`, async () => {
    for (const [name, file] of wanted) {
      if (canGyp()) await run('npm', ['rebuild', name], { env: gypEnv() });
      if (existsSync(join(root, file))) continue;
      const why = canGyp()
        ? name === 'cap'
          ? "libpcap's headers (Debian: libpcap-dev) seem to be missing"
          : 'see `npm rebuild raw-socket`'
        : 'python3 and make are needed';
      console.log(`  ${name} was not built: ${why}. The rest works without.`);
    }
  });
}

function addonIsCurrent() {
  const sources = Math.max(
    newest(['native'], isNativeSource),
    modified('binding.gyp'),
    modified('CMakeLists.txt'),
  );
  return Math.max(...ADDONS.map(modified)) >= sources;
}

async function buildAddon() {
  if (addonIsCurrent()) return;
  await step('Compiling the data plane (C++)', async () => {
    if (canGyp()) {
      const result = await run('npm', ['run', 'install'], { env: gypEnv() });
      if (result.status !== 0) throw failed('Compiling the addon', result);
    } else {
      await compileAddon(ADDONS[0]);
    }
    // make leaves an addon alone that did not change; say that it was looked at.
    utimesSync(join(root, ADDONS[0]), new Date(), new Date());
  });
}

async function buildTypeScript() {
  const sources = Math.max(
    newest(['src']),
    modified('tsconfig.build.json'),
    modified('tsconfig.json'),
  );
  if (modified('dist/index.js') >= sources) return;
  await step('Compiling TypeScript', async () => {
    const result = await run(process.execPath, [
      'node_modules/typescript/bin/tsc',
      '-p',
      'tsconfig.build.json',
    ]);
    if (result.status !== 0) throw failed('tsc', result);
    utimesSync(join(root, 'dist/index.js'), new Date(), new Date());
  });
}

export async function setup() {
  checkNode();
  if (!addonIsCurrent()) checkCompiler();
  const start = performance.now();
  const packagesBefore = modified('node_modules/.package-lock.json');
  await installPackages();
  if (modified('node_modules/.package-lock.json') !== packagesBefore) await buildOptional();
  await buildAddon();
  await buildTypeScript();
  const seconds = (performance.now() - start) / 1000;
  if (seconds > 1) console.log(`Ready after ${seconds.toFixed(1)} s.\n`);
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  try {
    await setup();
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    console.error(error.message);
    process.exitCode = 1;
  }
}
