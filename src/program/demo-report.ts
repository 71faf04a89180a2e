/**
 * What a demonstration reports, and how it reads: steps as they happen, tables, expectations, verdict. The
 * same for every setting (simulated, real kernels), so that their reports can be laid side by side.
 *
 * Invariants
 *  * The verdict is computed here from the expectations, and from nothing else; no expectations: no success.
 *  * Text goes out while things happen; the report holds the same, once, for `--json`.
 *  * No clock: a report of a deterministic run is the same bytes every time.
 */

export interface Expectation {
  /** Short and stable, for programs and tests. */
  readonly id: string;
  /** A sentence: what should be seen. */
  readonly expected: string;
  readonly observed: string;
  readonly ok: boolean;
}

export interface DemoStep {
  readonly title: string;
  readonly lines: readonly string[];
}

/** One view of one node: what the command would print, and the values behind it. */
export interface DemoTable {
  readonly node: string;
  readonly command: string;
  readonly view: unknown;
  readonly text: string;
}

export interface DemoReport {
  readonly demo: string;
  readonly setting: 'simulated' | 'netns';
  /** What was asked for: seed, connections, sabotage, … */
  readonly options: Readonly<Record<string, string | number | null>>;
  readonly topology: string;
  readonly steps: readonly DemoStep[];
  readonly tables: readonly DemoTable[];
  readonly expectations: readonly Expectation[];
  readonly failed: readonly string[];
  readonly ok: boolean;
}

export interface DemoRecorderOptions {
  readonly demo: string;
  readonly setting: DemoReport['setting'];
  readonly options: DemoReport['options'];
  readonly topology: string;
  /** Takes the text as it comes; a terminal, or nothing. */
  readonly narrate?: ((text: string) => void) | undefined;
  /** Marks ok and FAIL for a terminal. */
  readonly colour?: boolean | undefined;
}

/** Width that running text is broken at. */
const WIDTH = 100;

export class DemoRecorder {
  readonly #options: DemoRecorderOptions;
  readonly #narrate: (text: string) => void;
  readonly #steps: { title: string; lines: string[] }[] = [];
  readonly #tables: DemoTable[] = [];
  readonly #expectations: Expectation[] = [];

  constructor(options: DemoRecorderOptions) {
    this.#options = options;
    this.#narrate = options.narrate ?? (() => {});
    this.#narrate(`${heading(`${options.demo} (${options.setting})`, '=')}\n${options.topology}\n`);
  }

  step(title: string): void {
    this.#steps.push({ title, lines: [] });
    this.#narrate(`\n${heading(`${this.#steps.length}. ${title}`, '-')}`);
  }

  /** A line of the step. */
  say(line: string): void {
    this.#steps.at(-1)?.lines.push(line);
    this.#narrate(`${wrap(line, '  ')}\n`);
  }

  /** A view of a node; `text` in the layout of the command. */
  table(table: DemoTable): void {
    this.#tables.push(table);
    this.#narrate(`\n[${table.node}] ${table.command}\n\n${table.text.trimEnd()}\n`);
  }

  expect(...expectations: readonly Expectation[]): void {
    this.#expectations.push(...expectations);
  }

  /** Prints expectations and verdict, and gives the report. */
  finish(): DemoReport {
    const { demo, setting, options, topology, colour } = this.#options;
    const expectations = this.#expectations;
    const failed = expectations.filter((e) => !e.ok).map((e) => e.id);
    const report: DemoReport = {
      demo,
      setting,
      options,
      topology,
      steps: this.#steps,
      tables: this.#tables,
      expectations,
      failed,
      ok: expectations.length > 0 && failed.length === 0,
    };
    this.#narrate(
      `\n${heading('Expected and observed', '-')}` +
        `${expectations.map((e) => expectationText(e, colour === true)).join('')}\n` +
        verdictText(report),
    );
    return report;
  }
}

/** Title and the line under it. */
export function heading(title: string, line: string): string {
  return `${title}\n${line.repeat(title.length)}\n`;
}

function expectationText(e: Expectation, colour: boolean): string {
  const mark = e.ok ? 'ok  ' : 'FAIL';
  const shown = colour ? `\u001b[${e.ok ? 32 : 31}m${mark}\u001b[0m` : mark;
  return `${shown}  ${wrap(e.expected, '      ').trimStart()}\n${wrap(`-> ${e.observed}`, '      ', '         ')}\n`;
}

export function verdictText(report: DemoReport): string {
  const { demo, setting, expectations, failed, ok } = report;
  const met = expectations.length - failed.length;
  const count = `${met} of ${expectations.length} expectations met`;
  if (ok) return `VERDICT: ok. ${demo} (${setting}): ${count}.\n`;
  const which = failed.length === 0 ? '' : `; not met: ${failed.join(', ')}`;
  return `VERDICT: FAIL. ${demo} (${setting}): ${count}${which}.\n`;
}

/** One document; tables as values only, for their text is made from these. */
export function reportJson(report: DemoReport): string {
  const tables = report.tables.map(({ node, command, view }) => ({ node, command, view }));
  return `${JSON.stringify({ ...report, topology: report.topology.split('\n'), tables }, null, 2)}\n`;
}

/** Breaks at blanks; lines that hold their own layout (two blanks in a row) are left alone. */
function wrap(text: string, first: string, rest: string = `${first}  `): string {
  if (text.includes('  ')) return first + text;
  const lines: string[] = [];
  let indent = first;
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && indent.length + line.length + 1 + word.length > WIDTH) {
      lines.push(indent + line);
      indent = rest;
      line = word;
    } else {
      line = line === '' ? word : `${line} ${word}`;
    }
  }
  return [...lines, indent + line].join('\n');
}
