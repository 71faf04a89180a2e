/**
 * Files and request parameters through a schema: a typed value, or a ConfigError that lists every problem
 * with file, line, column and key.
 */
import { readFileSync } from 'node:fs';
import type { z } from 'zod';
import { ConfigError } from '../errors.ts';
import { bgpProblems } from './bgp.ts';
import { type ControlFile, controlSchema } from './control.ts';
import { ConfigText, type Path, type Problem } from './document.ts';
import { type NodeFile, nodeSchema } from './node.ts';
import { type ObjectsFile, objectsSchema } from './objects.ts';
import { nodeReferenceProblems } from './references.ts';
import { type StateFile, stateSchema } from './state.ts';

export interface Loaded<T> {
  readonly value: T;
  /** For what only a later stage can see (a name that nothing has): refuses with places. */
  readonly text: ConfigText;
}

/** A union that failed for want of one branch says so in one line, from the branch that came furthest. */
function flatten(issue: z.core.$ZodIssue, out: Problem[]): void {
  const path = issue.path as Path;
  if (issue.code === 'unrecognized_keys') {
    const messages = issue.message.split('; ');
    issue.keys.forEach((key, i) => {
      out.push({ path, key, message: messages[i] ?? issue.message });
    });
    return;
  }
  let message = issue.message;
  if (issue.code === 'invalid_type' && /received undefined$/.test(message)) message = 'missing';
  out.push({ path, message });
}

export function check<S extends z.ZodType>(schema: S, text: ConfigText): z.infer<S> {
  const result = schema.safeParse(text.value ?? {});
  if (result.success) return result.data;
  const problems: Problem[] = [];
  for (const issue of result.error.issues.slice(0, 50)) flatten(issue, problems);
  return text.refuse(problems);
}

export function readText(file: string): ConfigText {
  let content: string;
  try {
    content = readFileSync(file, 'utf8');
  } catch (error) {
    const why = error instanceof Error ? error.message : 'cannot be read';
    throw new ConfigError(file, [{ line: 1, key: '(file)', message: why }]);
  }
  return new ConfigText(file, content);
}

function load<S extends z.ZodType>(schema: S, file: string, content?: string): Loaded<z.infer<S>> {
  const text = content === undefined ? readText(file) : new ConfigText(file, content);
  return { value: check(schema, text), text };
}

/** `content`: the text itself, `file` is then only its name in messages. */
export const loadState = (file: string, content?: string): Loaded<StateFile> =>
  load(stateSchema, file, content);
/** Its parts agree with each other, too. */
export function loadNode(file: string, content?: string): Loaded<NodeFile> {
  const loaded = load(nodeSchema, file, content);
  const { bgp } = loaded.value;
  const problems = [
    ...nodeReferenceProblems(loaded.value),
    ...(bgp === undefined ? [] : bgpProblems(bgp, ['bgp'])),
  ];
  if (problems.length > 0) loaded.text.refuse(problems);
  return loaded;
}
/** Its neighbours and policies agree with each other, too. */
export function loadControl(file: string, content?: string): Loaded<ControlFile> {
  const loaded = load(controlSchema, file, content);
  const { bgp } = loaded.value;
  const problems = bgp === undefined ? [] : bgpProblems(bgp, ['bgp']);
  if (problems.length > 0) loaded.text.refuse(problems);
  return loaded;
}

export const loadObjects = (file: string): ObjectsFile => load(objectsSchema, file).value;

/** A value that came as JSON over a socket; problems have keys, and line 1. */
export function checkParams<S extends z.ZodType>(
  schema: S,
  method: string,
  params: unknown,
): z.infer<S> {
  return check(schema, new ConfigText(method, JSON.stringify(params ?? {})));
}
