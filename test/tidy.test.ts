/**
 * Structure is held here, taste by reading: direction of dependencies (layers.json), one list of native sources,
 * files nobody reaches, words and paths that do not belong into the tree, an install that names no registry.
 */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, normalize, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');
const read = (path: string): string => readFileSync(join(root, path), 'utf8');
const here = relative(root, fileURLToPath(import.meta.url));

function walk(folder: string, accept: RegExp): string[] {
  const found: string[] = [];
  for (const entry of readdirSync(join(root, folder), { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) found.push(...walk(path, accept));
    else if (accept.test(entry.name)) found.push(path);
  }
  return found.sort();
}

interface Layers {
  cpp: Record<string, string[]>;
  ts: Record<string, string[] | '*'>;
  /** Who may start a program with `await import()`, and otherwise does not know it. */
  starts: Record<string, string[]>;
}
const layers = JSON.parse(read('layers.json')) as Layers;

const native = walk('native', /\.(h|cc|def)$/);
const source = walk('src', /\.ts$/);
const tests = walk('test', /\.ts$/);
const benches = existsSync(join(root, 'bench')) ? walk('bench', /\.(ts|cc|h)$/) : [];
const scripts = walk('scripts', /\.mjs$/);
const documents = ['README.md', 'CONTRIBUTING.md', ...walk('docs', /\.md$/)].filter((path) =>
  existsSync(join(root, path)),
);
const isNativeTest = (path: string) => /_test\.cc$|^native\/fuzz\//.test(path);

/** Layers allowed to `from`, itself included, and what those are allowed to. */
function reach(graph: Record<string, string[] | '*'>, from: string): Set<string> {
  const seen = new Set([from]);
  for (const layer of seen) {
    const below = graph[layer];
    for (const next of below === '*' ? Object.keys(graph) : (below ?? [])) seen.add(next);
  }
  return seen;
}

function includes(path: string): { system: string[]; own: string[] } {
  const text = read(path);
  const all = (pattern: RegExp) => [...text.matchAll(pattern)].map((match) => match[1]!);
  return {
    system: all(/^\s*#\s*include\s*<([^>]+)>/gm),
    own: all(/^\s*#\s*include\s*"([^"]+)"/gm),
  };
}

/** Relative imports of a module: static ones, type-only and re-exports included; dynamic ones and files by URL. */
function importsOf(path: string): { linked: string[]; started: string[] } {
  const text = read(path).replace(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, '');
  const find = (pattern: RegExp) =>
    [...text.matchAll(pattern)]
      .map((match) => normalize(join(dirname(path), match[1]!)))
      .filter((target) => target.endsWith('.ts') || target.endsWith('.js'));
  return {
    linked: find(/(?:\bfrom\s*|\bimport\s+)['"](\.{1,2}\/[^'"]+)['"]/g),
    started: find(/(?:\bimport\s*\(\s*|\bnew URL\(\s*)['"](\.{1,2}\/[^'"]+)['"]/g),
  };
}

const imports = (path: string): string[] => {
  const { linked, started } = importsOf(path);
  return [...linked, ...started];
};

const layerOf = (path: string): string => {
  const part = path.split('/')[1] ?? '';
  return part.replace(/\.ts$/, '');
};

describe('layers', () => {
  test('layers.json has no cycle and names exactly the folders there are', () => {
    for (const graph of [layers.cpp, layers.ts]) {
      for (const [layer, below] of Object.entries(graph)) {
        if (below === '*') continue;
        for (const next of below) {
          expect(Object.keys(graph), `${layer} names ${next}`).toContain(next);
          const other = graph[next];
          if (other === '*') throw new Error(`${layer} may use ${next}, which may use everything`);
          expect([...reach(graph, next)], `${next} reaches ${layer}, which uses it`).not.toContain(
            layer,
          );
        }
      }
    }
    const folders = new Set(native.map(layerOf));
    folders.delete('fuzz');
    expect([...folders].sort()).toEqual(Object.keys(layers.cpp).sort());
    expect([...new Set(source.map(layerOf))].sort()).toEqual(Object.keys(layers.ts).sort());
  });

  test('C++ includes go down only, relative to native/', () => {
    const wrong: string[] = [];
    for (const path of native.filter((name) => !isNativeTest(name))) {
      const allowed = reach(layers.cpp, layerOf(path));
      for (const target of includes(path).own) {
        if (target === 'napi.h') continue;
        if (!existsSync(join(root, 'native', target)))
          wrong.push(`${path}: no file native/${target}`);
        else if (!allowed.has(target.split('/')[0]!)) wrong.push(`${path} includes ${target}`);
      }
    }
    expect(wrong).toEqual([]);
  });

  test('Node headers in native/binding only, kernel headers in native/port and native/tier only', () => {
    const wrong: string[] = [];
    for (const path of native) {
      const { system, own } = includes(path);
      for (const header of [...system, ...own]) {
        if (
          /^(napi|node_api|js_native_api|node|v8|uv)\.h$/.test(header) &&
          layerOf(path) !== 'binding'
        ) {
          wrong.push(`${path}: ${header}`);
        }
        if (
          /^(linux|net|netinet|netpacket)\//.test(header) &&
          !['port', 'tier'].includes(layerOf(path))
        ) {
          wrong.push(`${path}: ${header}`);
        }
        if (/^(iostream|regex)$/.test(header)) wrong.push(`${path}: ${header}`);
      }
    }
    expect(wrong).toEqual([]);
  });

  test('TypeScript imports go down only, with the .ts extension', () => {
    const wrong: string[] = [];
    for (const path of source) {
      const below = layers.ts[layerOf(path)];
      if (below === undefined) continue; // the first test says so
      const allowed = reach(layers.ts, layerOf(path));
      const mayStart = new Set(layers.starts[layerOf(path)] ?? []);
      const { linked, started } = importsOf(path);
      for (const target of [...linked, ...started]) {
        const layer = layerOf(target);
        const fine = below === '*' || allowed.has(layer);
        if (!existsSync(join(root, target))) wrong.push(`${path}: no file ${target}`);
        else if (!target.startsWith('src/')) wrong.push(`${path} imports ${target}`);
        else if (!fine && (linked.includes(target) || !mayStart.has(layer))) {
          wrong.push(`${path} imports ${target}`);
        }
      }
    }
    expect(wrong).toEqual([]);
  });
});

describe('files', () => {
  test('binding.gyp lists every native source, once, and nothing else', () => {
    const gyp = JSON.parse(read('binding.gyp')) as {
      variables: { core_sources: string[]; addon_sources: string[] };
    };
    const { core_sources: core, addon_sources: addon } = gyp.variables;
    const there = native.filter((path) => path.endsWith('.cc') && !isNativeTest(path));
    const isAddon = (path: string) => layerOf(path) === 'binding';
    expect([...core].sort()).toEqual(there.filter((path) => !isAddon(path)));
    expect([...addon].sort()).toEqual(there.filter(isAddon));
  });

  test('every native header is included by someone', () => {
    const used = new Set([...native, ...benches].flatMap((path) => includes(path).own));
    const dead = native
      .filter((path) => /\.(h|def)$/.test(path))
      .filter((path) => !used.has(relative('native', path)));
    expect(dead).toEqual([]);
  });

  test('every module is reached from the API, a program, the command line or a test', () => {
    const start = source.filter((path) =>
      /^src\/(index\.ts|cli\/main\.ts|program\/[^/]+\.ts)$/.test(path),
    );
    const roots = tests.filter(
      (path) => /\.test\.ts$/.test(path) || path.startsWith('test/support/verdict'),
    );
    const seen = new Set([
      ...start,
      ...roots,
      ...benches.filter((path) => path.endsWith('.bench.ts')),
    ]);
    for (const path of seen) {
      for (const target of imports(path)) {
        if (target.endsWith('.ts') && existsSync(join(root, target))) seen.add(target);
      }
    }
    const modules = [...source, ...tests, ...benches.filter((path) => path.endsWith('.ts'))];
    expect(modules.filter((path) => !seen.has(path))).toEqual([]);
  });

  test('no folder is a drawer', () => {
    const drawers = /(^|\/)(utils?|common|helpers?|misc|shared|lib)\//;
    expect([...native, ...source, ...tests].filter((path) => drawers.test(path))).toEqual([]);
  });

  test('longer files open by saying what they are', () => {
    // What a header has said, its .cc and its tests need not say again.
    const told = (path: string) =>
      /_test\.cc$/.test(path) || existsSync(join(root, path.replace(/\.cc$/, '.h')));
    const files = [...native, ...benches].filter((path) => path.endsWith('.h') || !told(path));
    const silent = [...files, ...source].filter((path) => {
      const text = read(path).replace(/^#!.*\n/, '');
      return text.split('\n').length > 60 && !/^\s*(\/\/|\/\*)/.test(text);
    });
    expect(silent).toEqual([]);
  });

  test('links between documents lead somewhere', () => {
    const broken: string[] = [];
    for (const path of documents) {
      for (const [, target] of read(path).matchAll(/\]\((?!https?:|#)([^)#\s]+)[^)]*\)/g)) {
        if (!existsSync(join(root, dirname(path), target!))) broken.push(`${path}: ${target}`);
      }
    }
    expect(broken).toEqual([]);
  });

  test('npm scripts that documents name exist', () => {
    const known = new Set(
      Object.keys((JSON.parse(read('package.json')) as { scripts: object }).scripts),
    );
    const unknown = documents.flatMap((path) =>
      [...read(path).matchAll(/npm run ([a-z:-]+)/g)]
        .filter((match) => !known.has(match[1]!))
        .map((match) => `${path}: ${match[0]}`),
    );
    expect(unknown).toEqual([]);
  });
});

describe('words', () => {
  const texts = [
    ...native,
    ...source,
    ...tests,
    ...benches,
    ...scripts,
    ...documents,
    ...['package.json', 'binding.gyp', 'CMakeLists.txt', '.ci/run'].filter((path) =>
      existsSync(join(root, path)),
    ),
  ].filter((path) => path !== here);

  const find = (pattern: RegExp) =>
    texts.flatMap((path) =>
      read(path)
        .split('\n')
        .flatMap((line, index) =>
          pattern.test(line) ? [`${path}:${index + 1}: ${line.trim()}`] : [],
        ),
    );

  test('nothing is left for later', () => {
    expect(find(/\b(TODO|FIXME|XXX|HACK)\b/)).toEqual([]);
  });

  test('prefetches go by prefetch(), which no compiler leaves out', () => {
    const found = find(/__builtin_prefetch\(/).filter((line) => !line.startsWith('test/'));
    expect(found.map((line) => line.split(':')[0])).toEqual([
      'native/base/prefetch.h',
      'native/base/prefetch.h',
    ]);
  });

  test('no path of one machine, no registry', () => {
    expect(find(/(^|[\s'"`(=:])\/(work|tmp|home|root)\//)).toEqual([]);
    expect(find(/registry\.[a-z]+\.(org|com)|artifactory/)).toEqual([]);
  });
});

describe('packages', () => {
  interface Package {
    dependencies: Record<string, string>;
    devDependencies: Record<string, string>;
    optionalDependencies: Record<string, string>;
  }
  const manifest = JSON.parse(read('package.json')) as Package;

  test('versions are exact', () => {
    const all = {
      ...manifest.dependencies,
      ...manifest.devDependencies,
      ...manifest.optionalDependencies,
    };
    for (const [name, version] of Object.entries(all))
      expect(version, name).toMatch(/^\d+\.\d+\.\d+$/);
  });

  test('the lock file names no registry', () => {
    const lock = JSON.parse(read('package-lock.json')) as { packages: Record<string, object> };
    const resolved = Object.entries(lock.packages).filter(([, entry]) => 'resolved' in entry);
    expect(resolved.map(([name]) => name)).toEqual([]);
  });

  test('every package is imported somewhere', () => {
    const text = [
      ...source,
      ...tests,
      ...benches,
      ...scripts,
      'binding.gyp',
      'package.json',
      'biome.json',
    ]
      .filter((path) => statSync(join(root, path), { throwIfNoEntry: false }))
      .map((path) =>
        path === 'package.json'
          ? JSON.stringify((JSON.parse(read(path)) as { scripts: object }).scripts)
          : read(path),
      )
      .join('\n');
    const unused = [
      ...Object.keys(manifest.dependencies),
      ...Object.keys(manifest.optionalDependencies),
      ...Object.keys(manifest.devDependencies),
    ].filter((name) => {
      if (name.startsWith('@types/')) return false;
      const command = name === 'typescript' ? 'tsc' : name;
      return !new RegExp(`['"\`/ ]${command}(['"\`/ ]|$)`, 'm').test(text);
    });
    expect(unused).toEqual([]);
  });
});
