// What the scripts need of the machine: run a command, find a command, newest file of a folder, Debian packages.
// Plain Node: runs before anything is installed.
import { spawn, spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, readdirSync, statSync } from 'node:fs';
import { cpus } from 'node:os';
import { delimiter, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');
export const jobs = Math.max(1, cpus().length);

/** A step that cannot be done for a reason the user can do something about. */
export class SetupError extends Error {}

export function have(command) {
  if (command.includes('/')) return existsSync(command);
  return (process.env.PATH ?? '').split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, command), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/**
 * Runs to the end. Output is shown as it comes with `show`, else kept and returned.
 * Never throws for an exit status; a command that cannot be started has status 127.
 */
export function run(command, args, { show = false, env = {}, cwd = root } = {}) {
  return new Promise((done) => {
    const child = spawn(command, args, {
      cwd,
      env: { ...process.env, ...env },
      stdio: ['ignore', show ? 'inherit' : 'pipe', show ? 'inherit' : 'pipe'],
    });
    let output = '';
    child.stdout?.on('data', (chunk) => {
      output += chunk;
    });
    child.stderr?.on('data', (chunk) => {
      output += chunk;
    });
    child.on('error', (error) => done({ status: 127, output: String(error) }));
    child.on('close', (status, signal) =>
      done({ status: status ?? 128, output: signal ? `${output}\nended by ${signal}` : output }),
    );
  });
}

/** Runs `work` between a line that says what and a line that says how long it took. */
export async function step(what, work) {
  const start = performance.now();
  console.log(`${what} …`);
  const result = await work();
  console.log(`${what}: ${((performance.now() - start) / 1000).toFixed(1)} s`);
  return result;
}

/** Modification time of a file in ms; 0 where there is none. */
export function modified(path) {
  return statSync(join(root, path), { throwIfNoEntry: false })?.mtimeMs ?? 0;
}

/** The newest modification below these files and folders, folders themselves included (a file was removed). */
export function newest(paths, accept = () => true) {
  let latest = 0;
  const visit = (path) => {
    const stat = statSync(path, { throwIfNoEntry: false });
    if (!stat) return;
    if (stat.isDirectory()) {
      for (const name of readdirSync(path)) visit(join(path, name));
    } else if (accept(path)) {
      latest = Math.max(latest, stat.mtimeMs);
    }
  };
  for (const path of paths) visit(join(root, path));
  return latest;
}

export const onDebian = () => have('apt-get') && have('dpkg-query');
export const isRoot = () => process.getuid?.() === 0;

/** Those of `packages` that are not installed. */
export function missingPackages(packages) {
  const query = spawnSync(
    'dpkg-query',
    // biome-ignore lint/suspicious/noTemplateCurlyInString: dpkg's own placeholders
    ['-W', '-f=${binary:Package} ${db:Status-Status}\n', ...packages],
    { encoding: 'utf8' },
  );
  const installed = new Set();
  for (const line of query.stdout.split('\n')) {
    const [name, status] = line.split(' ');
    if (status === 'installed') installed.add(name.split(':')[0]);
  }
  return packages.filter((name) => !installed.has(name));
}
