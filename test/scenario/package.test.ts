/** What is packed is what runs: the Debian package from an empty root of its own, and the units beside it. */
import { execFileSync, spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { haveCommand } from '../../src/program/lab.ts';

const root = resolve(import.meta.dirname, '../..');
const work = mkdtempSync(join(tmpdir(), 'vrouter-package-'));
afterAll(() => rmSync(work, { recursive: true, force: true }));

const without = haveCommand('dpkg-deb')
  ? undefined
  : 'dpkg-deb is not installed: this is no Debian';
if (without !== undefined) console.log(`skipped: ${without}`);

describe.skipIf(without !== undefined)('the Debian package', () => {
  it('runs from where it is unpacked, with all it needs', () => {
    const made = spawnSync(process.execPath, ['scripts/deb.mjs'], { cwd: root, encoding: 'utf8' });
    expect(made.stderr).toBe('');
    const file = made.stdout.trim().split('\n').at(-1) as string;
    const to = join(work, 'root');
    execFileSync('dpkg-deb', ['-x', join(root, file), to]);
    const env = { PATH: process.env['PATH'] ?? '', HOME: work };
    const vrouter = (...argv: string[]) =>
      execFileSync(join(to, 'usr/bin/vrouter'), argv, { cwd: work, env, encoding: 'utf8' });
    const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
      version: string;
    };
    expect(vrouter('--version').trim()).toBe(version);
    expect(vrouter('demo', 'clusterip')).toContain('VERDICT: ok');
    expect(vrouter('check-config', join(to, 'etc/vrouter/example.yaml'))).toContain(': ok');
    expect(readdirSync(join(to, 'usr/share/man/man1'))).toContain('vrouter-port.1');
    expect(existsSync(join(to, 'usr/share/bash-completion/completions/vrouter'))).toBe(true);
  }, 120_000);
});

const noUnits = haveCommand('systemd-analyze') ? undefined : 'systemd-analyze is not installed';
describe.skipIf(noUnits !== undefined)('the units', () => {
  it('are what systemd takes, and name commands and options there are', () => {
    // systemd wants the programs to exist: the units are read with one that does in their place.
    const folder = join(work, 'units');
    mkdirSync(folder);
    cpSync(join(root, 'packaging/systemd'), folder, { recursive: true });
    for (const file of readdirSync(folder)) {
      const path = join(folder, file);
      const text = readFileSync(path, 'utf8');
      writeFileSync(
        path,
        text.replaceAll('/usr/bin/vrouter', '/bin/true').replace(/^Documentation=.*$/m, ''),
      );
      for (const [, command, options] of text.matchAll(
        /^ExecStart(?:Pre)?=\/usr\/bin\/vrouter (\S+)(.*)$/gm,
      )) {
        const help = execFileSync(
          process.execPath,
          ['dist/cli/main.js', command as string, '--help'],
          { cwd: root, encoding: 'utf8' },
        );
        for (const [option] of (options as string).matchAll(/--[a-z-]+/g))
          expect(help).toContain(option);
      }
    }
    const units = readdirSync(folder).map((file) => join(folder, file.replace('@', '@cent222')));
    for (const unit of units) cpSync(unit.replace('@cent222', '@'), unit);
    const { status, stderr } = spawnSync('systemd-analyze', ['verify', ...units], {
      encoding: 'utf8',
    });
    expect(stderr.split('\n').filter((line) => line.includes('vrouter'))).toEqual([]);
    expect(status).toBe(0);
  });
});
