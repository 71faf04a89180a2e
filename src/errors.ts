/**
 * Every error class of the project. `code` is stable and for programs; the message is for people.
 * Messages name what is at fault: file, line and key (configuration), code and op index (Programs).
 */

/** Refused by the native core: `code` from native/base/status.def. Nothing was applied. */
export class VRouterError extends Error {
  override readonly name = 'VRouterError';
  readonly code: string;
  /** Position of the op at fault in the Program, where there is one. */
  readonly opIndex: number | undefined;
  /** Field at fault, in the core's spelling. */
  readonly field: string | undefined;

  constructor(code: string, message: string, opIndex?: number, field?: string) {
    super(message);
    this.code = code;
    this.opIndex = opIndex;
    this.field = field;
  }
}

export interface ConfigProblem {
  /** From 1. */
  readonly line: number;
  readonly column?: number;
  /** Path of the key, e.g. `vifs[2].mac`. */
  readonly key: string;
  readonly message: string;
}

/** A configuration or state file that is not what it should be. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  readonly code = 'BAD_CONFIG';
  readonly file: string;
  readonly problems: readonly ConfigProblem[];

  constructor(file: string, problems: readonly ConfigProblem[]) {
    super(problems.map((p) => `${file}:${p.line}: ${p.key}: ${p.message}`).join('\n'));
    this.file = file;
    this.problems = problems;
  }
}

/** Text that is not the address, prefix, MAC, route target, … it should be. */
export class ParseError extends Error {
  override readonly name = 'ParseError';
  readonly code = 'BAD_TEXT';
}
