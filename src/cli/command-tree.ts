/**
 * The commands, as data: what shell completion and man pages are written from. Read off the commander tree,
 * so there is no second description to keep true. Pure.
 */
import type { EventEmitter } from 'node:events';
import type { Command } from 'commander';

export interface OptionEntry {
  /** As help shows it: `-o, --out <file>`. */
  readonly flags: string;
  readonly names: readonly string[];
  readonly description: string;
  readonly takesValue: boolean;
  readonly choices: readonly string[];
}

export interface CommandEntry {
  /** Words after `vrouter`; empty for the program itself. */
  readonly path: readonly string[];
  readonly usage: string;
  readonly description: string;
  readonly arguments: readonly { readonly name: string; readonly description: string }[];
  readonly options: readonly OptionEntry[];
  /** What help says after the options: examples. */
  readonly after: string;
  readonly commands: readonly CommandEntry[];
}

function textAfterHelp(command: Command): string {
  let text = '';
  const write = (more: string) => {
    text += more;
  };
  // A commander command is an event emitter; its types do not say so.
  const emitter = command as unknown as EventEmitter;
  emitter.emit('afterHelp', { error: false, command, write });
  return text.trim();
}

export function commandTree(command: Command, path: readonly string[] = []): CommandEntry {
  const help = command.createHelp();
  const options = help.visibleOptions(command).map((option) => ({
    flags: option.flags,
    names: [option.short, option.long].filter((name) => name !== undefined),
    description: help.optionDescription(option),
    takesValue: option.required || option.optional,
    choices: option.argChoices ?? [],
  }));
  return {
    path,
    usage: ['vrouter', ...path, command.usage()].join(' '),
    description: command.description(),
    arguments: command.registeredArguments.map((argument) => ({
      name: argument.name(),
      description: argument.description,
    })),
    options,
    after: textAfterHelp(command),
    commands: command.commands.map((child) => commandTree(child, [...path, child.name()])),
  };
}

/** The entry and all below it, parents first. */
export function allCommands(entry: CommandEntry): CommandEntry[] {
  return [entry, ...entry.commands.flatMap(allCommands)];
}
