// npm run deb: dist-deb/vrouter_<version>_<arch>.deb from this tree: the command with its compiled core, what it
// needs of npm, units, man pages, completions, an example. Built with dpkg-deb from a staged folder.
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { have, modified, root, run } from './machine.mjs';
import { ADDONS, setup } from './setup.mjs';

if (!have('dpkg-deb')) throw new Error('dpkg-deb is not installed: this is no Debian');
await setup();
const { version, description, dependencies } = JSON.parse(
  readFileSync(join(root, 'package.json'), 'utf8'),
);
const { output: arch } = await run('dpkg', ['--print-architecture']);
const stage = join(root, 'dist-deb/stage');
rmSync(stage, { recursive: true, force: true });
const lib = join(stage, 'usr/lib/vrouter');
for (const folder of [
  'DEBIAN',
  'usr/lib/vrouter',
  'usr/bin',
  'usr/lib/systemd/system',
  'etc/vrouter',
  'usr/share/man/man1',
  'usr/share/bash-completion/completions',
  'usr/share/zsh/vendor-completions',
  'usr/share/fish/vendor_completions.d',
  'usr/share/doc/vrouter',
]) {
  mkdirSync(join(stage, folder), { recursive: true });
}
cpSync(join(root, 'dist'), join(lib, 'dist'), { recursive: true });
cpSync(join(root, 'package.json'), join(lib, 'package.json'));
const addon = ADDONS.toSorted((a, b) => modified(b) - modified(a))[0];
mkdirSync(join(lib, 'build/Release'), { recursive: true });
cpSync(join(root, addon), join(lib, 'build/Release/vrouter.node'));
// What dist/ needs when it runs, and what that needs in turn.
const wanted = Object.keys(dependencies).filter((name) => name !== 'node-addon-api');
for (const name of wanted) {
  const from = join(root, 'node_modules', name);
  cpSync(from, join(lib, 'node_modules', name), { recursive: true });
  const own = JSON.parse(readFileSync(join(from, 'package.json'), 'utf8')).dependencies ?? {};
  for (const next of Object.keys(own)) if (!wanted.includes(next)) wanted.push(next);
}
chmodSync(join(lib, 'dist/cli/main.js'), 0o755);
symlinkSync('../lib/vrouter/dist/cli/main.js', join(stage, 'usr/bin/vrouter'));
cpSync(join(root, 'packaging/systemd'), join(stage, 'usr/lib/systemd/system'), { recursive: true });
cpSync(join(root, 'examples/node/cent222.yaml'), join(stage, 'etc/vrouter/example.yaml'));
cpSync(join(root, 'LICENSE'), join(stage, 'usr/share/doc/vrouter/copyright'));
const pages = join(root, 'dist-deb/pages');
const made = await run(process.execPath, [join(root, 'scripts/man.mjs'), '--out', pages]);
if (made.status !== 0) throw new Error(made.output);
for (const [from, to] of [
  ['man', 'usr/share/man/man1'],
  ['completion/bash', 'usr/share/bash-completion/completions'],
  ['completion/zsh', 'usr/share/zsh/vendor-completions'],
  ['completion/fish', 'usr/share/fish/vendor_completions.d'],
]) {
  if (existsSync(join(pages, from)))
    cpSync(join(pages, from), join(stage, to), { recursive: true });
}
writeFileSync(
  join(stage, 'DEBIAN/control'),
  `Package: vrouter
Version: ${version}
Architecture: ${arch.trim()}
Maintainer: the vrouter maintainers <maintainers@vrouter.invalid>
Depends: nodejs (>= 20.17), libc6 (>= 2.36), libstdc++6 (>= 12)
Recommends: iproute2, nftables
Suggests: libpcap0.8, tshark
Section: net
Priority: optional
Description: ${description}
`,
);
writeFileSync(join(stage, 'DEBIAN/conffiles'), '/etc/vrouter/example.yaml\n');
const file = join(root, `dist-deb/vrouter_${version}_${arch.trim()}.deb`);
const built = await run('dpkg-deb', ['--root-owner-group', '--build', stage, file]);
if (built.status !== 0) throw new Error(built.output);
console.log(file.slice(root.length + 1));
