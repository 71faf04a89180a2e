/** A whole run out of made-up trials: document, table, picture, comparison, and the command on a saved one. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { SaxesParser } from 'saxes';
import { afterAll, describe, expect, test } from 'vitest';
import { compare, comparePaired } from '../../../scripts/bench/compare.mjs';
import { documentOf, readDocument } from '../../../scripts/bench/document.mjs';
import { googleFigures } from '../../../scripts/bench/jobs.mjs';
import { cpuTicks } from '../../../scripts/bench/machine.mjs';
import { pcapOf, pmdClocks } from '../../../scripts/bench/ovs.mjs';
import { PEER_JOBS, testpmdRates } from '../../../scripts/bench/peers.mjs';
import { escaped, picture, place } from '../../../scripts/bench/picture.mjs';
import { GATE, JOBS, PEERS, REFERENCE, ROWS } from '../../../scripts/bench/rows.mjs';
import { comparisonText, shown, text } from '../../../scripts/bench/table.mjs';

const root = resolve(import.meta.dirname, '../../..');

interface Row {
  id: string;
  of: string | string[];
  ours?: string;
  less: boolean;
  floor?: number;
  target?: number;
}
const figuresOf = (row: Row): string[] => [row.of, row.ours ?? []].flat();
const everyFigure = [...(ROWS as Row[]), ...(PEERS as Row[])].flatMap(figuresOf);

/** Each figure has the value `value`, and a little more in each trial. */
function trialsOf(value: number, spread = 0.01): Record<string, number>[] {
  return [0, 1, 2].map((i) => {
    const figures: Record<string, number> = Object.fromEntries(
      everyFigure.map((name) => [name, value * (1 + spread * i)]),
    );
    figures['calibration.clocksPerCycle'] = REFERENCE.tscGhz / REFERENCE.coreGhz / 2;
    figures['calibration.coreGhz'] = 2 * REFERENCE.coreGhz;
    figures['nat-100k.pps'] = 4e6;
    return figures;
  });
}

const machine = {
  cpu: 'A <fast> & "wide" CPU',
  cores: 2,
  kernel: '6',
  node: '20',
  commit: 'abc',
  date: '2026-01-01',
};
const load = {
  seconds: 1,
  loadAverage: { first: 0.1, most: 1 },
  stealTicks: 3,
  stealShare: 0.001,
};
const runOf = (trials: Record<string, number>[]) =>
  documentOf({ machine, load, trials, rows: ROWS, peers: PEERS, missing: () => 'not asked for' });
const rowNamed = (document: { rows: { id: string }[] }, id: string): unknown =>
  document.rows.find((row) => row.id === id);

describe('rows', () => {
  test('have names of their own', () => {
    const ids = [...(ROWS as Row[]), ...(PEERS as Row[])].map(({ id }) => id);
    expect(ids.length).toBe(new Set(ids).size);
    const jobs = [...JOBS, ...PEER_JOBS].map(({ name }) => name);
    expect(jobs.length).toBe(new Set(jobs).size);
  });

  test('are made of figures of jobs there are', () => {
    const jobs = new Set([...JOBS, ...PEER_JOBS].map(({ name }) => name));
    const gate = GATE.map(({ of }) => of);
    for (const figure of [...everyFigure, ...gate]) {
      const job = figure.split('.')[0]!;
      if (job !== 'calibration') expect(jobs, figure).toContain(job);
    }
  });

  test('ask more with the target than with the floor', () => {
    for (const { id, less, floor, target } of ROWS as Row[]) {
      if (floor === undefined || target === undefined) continue;
      if (less) expect(target, id).toBeLessThan(floor);
      else expect(target, id).toBeGreaterThan(floor);
    }
  });
});

describe('a run as a document', () => {
  const document = runOf(trialsOf(150));

  test('has each row with its values, their middle and its verdict', () => {
    expect(document).toMatchObject({ format: 'vrouter-bench-1', trials: 3, machine, load });
    expect(document.rows.map(({ id }: { id: string }) => id)).toEqual(
      (ROWS as Row[]).map(({ id }) => id),
    );
    expect(rowNamed(document, 'forward-1k')).toMatchObject({
      unit: 'clk',
      floor: 180,
      target: 100,
      values: [150, 151.5, 153],
      median: 151.5,
      min: 150,
      max: 153,
      trials: 3,
      verdict: { word: 'floor met', sure: true },
    });
    expect(rowNamed(document, 'nat-gre')).toMatchObject({
      median: 1,
      verdict: { word: 'target met' },
    });
  });

  test('quotes clocks as on a core as fast as this one, and anything else as it is', () => {
    // Twice the cycles a clock: half the clocks.
    expect(rowNamed(document, 'nat-1M')).toMatchObject({
      quoted: { who: 'VPP', value: 1712, here: expect.closeTo(856) },
    });
    expect(rowNamed(document, 'routes-one')).toMatchObject({ quoted: { value: 0.27, here: 0.27 } });
  });

  test('has no figure that was not measured', () => {
    const without = trialsOf(150).map((figures) => {
      delete figures['workers-vifs.ratio'];
      return figures;
    });
    const row = rowNamed(runOf(without), 'workers-vifs');
    expect(row).toMatchObject({ missing: 'not asked for' });
    expect(row).not.toHaveProperty('median');
    expect(row).not.toHaveProperty('verdict');
    expect(text(runOf(without))).toMatch(/2 workers over 1, disjoint vifs +- .*not measured/);
  });

  test('tells how much of the time the measured process had its core', () => {
    const trials = trialsOf(150).map((figures, i) => ({ ...figures, 'nat-1k.onCpu': 1 - i / 5 }));
    const told = runOf(trials);
    expect(told.load).toMatchObject({ onCpu: { median: 0.8, min: 0.6, max: 1 } });
    expect(text(told)).toContain('had its core 80 % of the time, in the worst trial of a job 60 %');
    expect(text(document)).not.toMatch(/had its core|on cpu/);
    const without = trials.map((figures) => ({ ...figures, 'nat-1k.clkOnCpu': 111 }));
    expect(rowNamed(runOf(without), 'nat-1k')).toMatchObject({ onCpu: { median: 111 } });
    const ratios = trials.map((figures) => ({
      ...figures,
      'nat-gre-100k.clkOnCpu': 6,
      'nat-100k.clkOnCpu': 5,
    }));
    expect(rowNamed(runOf(ratios), 'nat-gre')).toMatchObject({ onCpu: { median: 1.2 } });
    expect(text(runOf(without))).toMatch(/NAT, MPLSoUDP, 1 k flows +152 +150 +153 +clk +111 +200 /);
  });

  test('survives JSON, and nothing else is taken for one', () => {
    const copy = readDocument(JSON.stringify(document), 'copy');
    expect(copy).toEqual(JSON.parse(JSON.stringify(document)));
    expect(() => readDocument('{', 'x')).toThrow(/x is not JSON/);
    expect(() => readDocument('{"results": []}', 'x')).toThrow(/x is no run/);
    expect(() => readDocument('null', 'x')).toThrow(/x is no run/);
  });

  test('sets peers beside figures of ours, in the same trial', () => {
    expect(document.peers[0]).toMatchObject({ ours: { median: 151.5 }, ratio: { median: 1 } });
  });
});

describe('the table', () => {
  test('marks a verdict that some trial contradicts', () => {
    const line = (trials: Record<string, number>[]) =>
      text(runOf(trials))
        .split('\n')
        .find((one) => one.startsWith('policy, forward, MPLSoUDP, 1 k'));
    expect(line(trialsOf(150))).toMatch(/floor met; /);
    expect(line(trialsOf(150, 0.15))).toMatch(/floor met ~; /); // 150, 172.5, 195
  });

  test.each([
    [1_234_567, '1.23 M'],
    [123_456, '123 k'],
    [1712, '1712'],
    [99.96, '100.0'],
    [1.234, '1.23'],
    [Number.NaN, '-'],
    [undefined, '-'],
  ])('shows %s as %s', (value, expected) => {
    expect(shown(value)).toBe(expected);
  });

  test('has a line for every row and says what decided', () => {
    const lines = text(runOf(trialsOf(150))).split('\n');
    for (const row of ROWS as { title: string }[]) {
      expect(
        lines.some((line) => line.startsWith(row.title)),
        row.title,
      ).toBe(true);
    }
    expect(lines.find((line) => line.startsWith('policy, forward, MPLSoUDP, 1 k'))).toMatch(
      / 152 +150 +153 +clk +180 +100 +84\.5 +0\.56 x +floor met; VPP/,
    );
  });
});

/** The names of all elements; throws where it is not well-formed. */
function elements(xml: string): string[] {
  const names: string[] = [];
  const parser = new SaxesParser();
  parser.on('error', (error) => {
    throw error;
  });
  parser.on('opentag', ({ name }) => {
    names.push(name);
  });
  parser.write(xml).close();
  return names;
}

describe('the picture', () => {
  test('is well-formed, whatever the machine is called', () => {
    const svg = picture(runOf(trialsOf(150)));
    expect(elements(svg)[0]).toBe('svg');
    expect(svg).toContain('A &lt;fast&gt; &amp; &quot;wide&quot; CPU');
    expect(svg).toContain('prefers-color-scheme: dark');
    expect(() => elements(svg.replace('&amp;', '&'))).toThrow();
  });

  test('has a bar for every measured row with a floor, and nothing that is no number', () => {
    const document = runOf(trialsOf(150));
    const bars = (ROWS as Row[]).filter(({ floor }) => floor !== undefined).length;
    const svg = picture(document);
    expect(svg.match(/<rect [^>]*class="track"/g)).toHaveLength(bars);
    expect(svg).not.toMatch(/NaN|undefined|Infinity/);
    const none = picture(runOf([{}, {}, {}]));
    expect(elements(none)).not.toContain('rect');
  });

  test('puts a floor in the middle, and cuts what is longer than it has room for', () => {
    expect(place(180, 180) - place(0, 180)).toBe(place(360, 180) - place(180, 180));
    expect(place(1800, 180)).toBe(place(360, 180));
  });

  test('escapes what XML does not let stand', () => {
    expect(escaped(`<a b="c">'&`)).toBe('&lt;a b=&quot;c&quot;&gt;&apos;&amp;');
  });
});

describe('against a saved run', () => {
  test('tells what differs by more than the noise of both, and whether the machine does', () => {
    const before = runOf(trialsOf(150));
    const noise = compare(runOf(trialsOf(151)), before);
    expect(new Set(noise.rows.map(({ word }: { word: string }) => word))).toEqual(
      new Set(['same']),
    );

    const { calibration, rows } = compare(runOf(trialsOf(200)), before);
    const word = (id: string) => rows.find((row: { id: string }) => row.id === id)?.word;
    expect(word('forward-1k')).toBe('worse');
    expect(word('nat-1514')).toBe('better');
    expect(word('nat-gre')).toBe('same'); // both halves of the ratio moved
    expect(calibration.find(({ id }: { id: string }) => id === 'coreGhz')?.word).toBe('same');

    const faster = trialsOf(150).map((figures) => ({ ...figures, 'calibration.coreGhz': 9 }));
    const told = comparisonText(compare(runOf(faster), before), 'before');
    expect(told).toContain('The machine itself is not the same: core clock.');
  });

  test('two builds that took turns are compared by the clocks in which they had their core', () => {
    const turns = (clk: number, clkOnCpu: number) =>
      [0, 1, 2].map(() => ({ 'nat-1k.clk': clk, 'nat-1k.clkOnCpu': clkOnCpu }));
    const { rows } = comparePaired(ROWS, turns(900, 110), turns(500, 100));
    expect(rows).toMatchObject([{ id: 'nat-1k', before: 100, now: 110, word: 'worse' }]);
    const old = [0, 1, 2].map(() => ({ 'nat-1k.clk': 500 }));
    expect(comparePaired(ROWS, turns(900, 110), old).rows).toMatchObject([{ now: 900 }]);
  });

  test('leaves out what only one of them has', () => {
    const before = runOf([{ 'forward-1k.clk': 1 }]);
    expect(compare(runOf(trialsOf(150)), before).rows.map(({ id }: { id: string }) => id)).toEqual([
      'forward-1k',
    ]);
  });
});

describe('what others print', () => {
  test('testpmd: both ports together, without the first showing', () => {
    const showing = (a: number, b: number) =>
      `Rx-pps:  ${a}  Rx-bps: 1\n Tx-pps: 9\nRx-pps: ${b}\n`;
    expect(testpmdRates(showing(0, 0) + showing(10, 20) + showing(30, 40))).toEqual([30, 70]);
    expect(testpmdRates('')).toEqual([]);
  });

  test('OVS: the polling thread, not the main one', () => {
    const thread = 'pmd thread:\n  avg processing cycles per packet: 195.06 (1/2)\n';
    const main = 'main thread:\n  avg processing cycles per packet: 7.00 (1/2)\n';
    expect(pmdClocks(thread + main)).toBe(195.06);
    expect(pmdClocks(main)).toBeUndefined();
  });

  test('Google Benchmark: rates, and the counters that are figures', () => {
    const one = { name: 'find/1', real_time: 5, items_per_second: 7, tsc: 3, iterations: 9 };
    const two = { name: 'age', real_time: 6, time_unit: 'ns' };
    const three = { name: 'cut', real_time: 6, time_unit: 'ns', bytes_per_second: 8 };
    expect(googleFigures({ benchmarks: [one, two, three] })).toEqual({
      'find/1.items': 7,
      'find/1.tsc': 3,
      'age.ns': 6,
      'cut.bytes': 8,
    });
  });

  test('/proc/stat: stolen ticks of all CPUs', () => {
    expect(cpuTicks('cpu  1 2 3 4 5 6 7 8 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n')).toEqual({
      steal: 8,
      all: 36,
    });
    expect(cpuTicks('intr 1\n')).toBeUndefined();
  });
});

test('the frames Open vSwitch gets: one a flow, each once, checksums right, 64 bytes', () => {
  const file = pcapOf(2500);
  const seen = new Set<string>();
  for (let at = 24; at < file.length; at += 16 + 64) {
    expect(file.readUInt32LE(at + 8)).toBe(64);
    const ip = file.subarray(at + 16 + 14);
    let sum = 0;
    for (let i = 0; i < 20; i += 2) sum += ip.readUInt16BE(i);
    while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
    expect(sum).toBe(0xffff);
    seen.add(`${ip.readUInt32BE(12)}:${ip.readUInt16BE(20)}`);
  }
  expect(seen.size).toBe(2500);
});

describe('the command', () => {
  const folder = mkdtempSync(join(tmpdir(), 'bench-'));
  afterAll(() => rmSync(folder, { recursive: true }));
  const path = (name: string) => join(folder, name);
  const bench = (...args: string[]) =>
    spawnSync(process.execPath, ['scripts/bench.mjs', ...args], { cwd: root, encoding: 'utf8' });
  writeFileSync(path('now.json'), JSON.stringify(runOf(trialsOf(200))));
  writeFileSync(path('before.json'), JSON.stringify(runOf(trialsOf(150))));

  test('shows a saved run, compares it and draws it, and measures nothing', () => {
    const args = ['--from', path('now.json'), '--against', path('before.json')];
    const { status, stdout } = bench(...args, '--svg', path('now.svg'));
    expect(status).toBe(0);
    expect(stdout).toMatch(/policy, forward, MPLSoUDP, 1 k flows +202 .* not met/);
    expect(stdout).toMatch(/policy, forward, MPLSoUDP, 1 k flows +152 +202 +clk +1\.333 .* worse/);
    expect(elements(readFileSync(path('now.svg'), 'utf8'))[0]).toBe('svg');
    const { stdout: json } = bench(...args, '--json');
    expect(JSON.parse(json)).toMatchObject({ format: 'vrouter-bench-1', comparison: {} });
  });

  test('holds its gate', () => {
    expect(bench('--from', path('now.json'), '--gate').status).toBe(0);
    const slow = trialsOf(200).map((figures) => ({ ...figures, 'nat-100k.pps': 2.9e6 }));
    writeFileSync(path('slow.json'), JSON.stringify(runOf(slow)));
    const { status, stderr } = bench('--from', path('slow.json'), '--gate');
    expect(status).toBe(1);
    expect(stderr).toContain('Below the gate');
  });

  test('refuses what is no run, by name', () => {
    writeFileSync(path('other.json'), '{}');
    const { status, stderr } = bench('--from', path('other.json'));
    expect(status).toBe(1);
    expect(stderr).toContain('other.json is no run');
    expect(bench('--trials', '0').status).toBe(2);
  });
});
