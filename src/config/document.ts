/**
 * A configuration text (YAML 1.2; JSON is a subset) as a plain value, and where in the text each part of
 * it stands, so that every later complaint can name file, line, column and key.
 * Bounds: 4 MiB of text, 100 alias expansions, no tags beyond the core schema.
 */
import { type Document, isMap, isScalar, LineCounter, type Node, parseDocument } from 'yaml';
import { ConfigError, type ConfigProblem } from '../errors.ts';

export const MAX_TEXT = 4 * 1024 * 1024;

export type Path = readonly (string | number)[];

export interface Problem {
  readonly path: Path;
  readonly message: string;
  /** The complaint is about this key of the mapping at `path`, not about its value. */
  readonly key?: string;
}

/** `vifs[2].mac`; the document itself is `(document)`. */
export function pathText(path: Path): string {
  let text = '';
  for (const step of path) {
    if (typeof step === 'number') text += `[${step}]`;
    else text += text === '' ? step : `.${step}`;
  }
  return text === '' ? '(document)' : text;
}

export class ConfigText {
  readonly file: string;
  readonly value: unknown;
  private readonly document: Document;
  private readonly lines: LineCounter;

  /** Throws ConfigError when the text is not YAML. */
  constructor(file: string, text: string) {
    this.file = file;
    if (text.length > MAX_TEXT) {
      throw new ConfigError(file, [
        { line: 1, key: '(document)', message: `longer than ${MAX_TEXT} characters` },
      ]);
    }
    this.lines = new LineCounter();
    this.document = parseDocument(text, { lineCounter: this.lines, prettyErrors: false });
    if (this.document.errors.length > 0) {
      throw new ConfigError(
        file,
        this.document.errors.slice(0, 20).map((error) => ({
          ...this.position(error.pos[0]),
          key: '(document)',
          message: error.message,
        })),
      );
    }
    try {
      this.value = this.document.toJS({ maxAliasCount: 100 });
    } catch (error) {
      throw new ConfigError(file, [
        {
          line: 1,
          key: '(document)',
          message: error instanceof Error ? error.message : 'unreadable',
        },
      ]);
    }
  }

  /** Throws ConfigError with every problem placed, in the order of the text. */
  refuse(problems: readonly Problem[]): never {
    const placed = problems.map((problem): ConfigProblem => {
      const path = problem.key === undefined ? problem.path : [...problem.path, problem.key];
      return {
        ...this.locate(problem.path, problem.key),
        key: pathText(path),
        message: problem.message,
      };
    });
    placed.sort((a, b) => a.line - b.line || (a.column ?? 0) - (b.column ?? 0));
    throw new ConfigError(this.file, placed);
  }

  private position(offset: number): { line: number; column: number } {
    const { line, col } = this.lines.linePos(offset);
    return { line: Math.max(1, line), column: Math.max(1, col) };
  }

  /** Where a path stands; what is not in the text (a missing key) is placed at its nearest ancestor. */
  private locate(path: Path, key?: string): { line: number; column: number } {
    if (key !== undefined) {
      const parent = path.length === 0 ? this.document.contents : this.document.getIn(path, true);
      if (isMap(parent)) {
        for (const pair of parent.items) {
          if (isScalar(pair.key) && String(pair.key.value) === key && pair.key.range) {
            return this.position(pair.key.range[0]);
          }
        }
      }
    }
    for (let depth = path.length; depth > 0; depth--) {
      const node = this.document.getIn(path.slice(0, depth), true) as Node | undefined;
      if (node?.range) return this.position(node.range[0]);
    }
    const range = this.document.contents?.range;
    return range ? this.position(range[0]) : { line: 1, column: 1 };
  }
}
