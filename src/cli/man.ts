/** Man pages in roff (man macros), one for the program and one for each command. Pure. */
import { allCommands, type CommandEntry } from './command-tree.ts';

/** A line of text that roff prints as it is: no escapes, no requests, and hyphens that can be searched. */
function roff(text: string): string {
  return text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replaceAll('…', '...')
    .replace(/^([.'])/gm, '\\&$1');
}

export function manName(entry: CommandEntry): string {
  return ['vrouter', ...entry.path].join('-');
}

function page(entry: CommandEntry, version: string): string {
  const name = manName(entry);
  const lines = [
    `.TH ${roff(name.toUpperCase())} 1 "" "vrouter ${roff(version)}" "vrouter"`,
    '.SH NAME',
    `${roff(name)} \\- ${roff(entry.description)}`,
    '.SH SYNOPSIS',
    `.B ${roff(entry.usage)}`,
  ];
  if (entry.arguments.length > 0) lines.push('.SH ARGUMENTS');
  for (const argument of entry.arguments) {
    lines.push('.TP', `.I ${roff(argument.name)}`, roff(argument.description) || '\\&');
  }
  if (entry.commands.length > 0) lines.push('.SH COMMANDS');
  for (const command of entry.commands) {
    lines.push('.TP', `.BR ${roff(manName(command))} (1)`, roff(command.description) || '\\&');
  }
  if (entry.options.length > 0) lines.push('.SH OPTIONS');
  for (const option of entry.options) {
    lines.push('.TP', `.B ${roff(option.flags)}`, roff(option.description) || '\\&');
  }
  if (entry.after !== '') lines.push('.SH NOTES', '.nf', roff(entry.after), '.fi');
  return `${lines.join('\n')}\n`;
}

/** File name to text. */
export function manPages(root: CommandEntry, version: string): Map<string, string> {
  return new Map(
    allCommands(root).map((entry) => [`${manName(entry)}.1`, page(entry, version)] as const),
  );
}
