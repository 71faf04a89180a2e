/** Which fault a demonstration is asked to put in. Refused with the list of what there is, so that asking for `list` shows it. */
import { UsageError } from '../cli/io.ts';
import { nearest } from '../config/nearest.ts';

export function sabotageOf<T extends { readonly what: string }>(
  demo: string,
  known: Readonly<Record<string, T>>,
  name: string,
): T {
  const found = Object.hasOwn(known, name) ? known[name] : undefined;
  if (found !== undefined) return found;
  const names = Object.keys(known);
  const list = names.map((each) => `\n  ${each.padEnd(18)}${known[each]?.what}`);
  const near = nearest(name, names);
  const meant = near === undefined ? '' : ` (did you mean "${near}"?)`;
  const what = name === 'list' ? 'a name is needed' : `unknown "${name}"${meant}`;
  throw new UsageError(`demo ${demo}: --sabotage: ${what}; known:${list.join('')}`);
}
