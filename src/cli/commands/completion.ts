/** `completion`: the script a shell reads to complete vrouter's commands and options. */
import { Argument, type Command } from 'commander';
import { commandTree } from '../command-tree.ts';
import { completionScript, SHELLS, type Shell } from '../completion.ts';
import type { Io } from '../io.ts';

/** `whole` builds the tree with all commands, also those a single call does not load. */
export function registerCompletion(program: Command, io: Io, whole: () => Promise<Command>): void {
  program
    .command('completion')
    .description('shell completion: prints the script for a shell to read')
    .addArgument(new Argument('<shell>', 'which shell').choices(SHELLS))
    .addHelpText(
      'after',
      '\nExamples:\n  source <(vrouter completion bash)\n' +
        '  vrouter completion fish > ~/.config/fish/completions/vrouter.fish\n',
    )
    .action(async (shell: Shell) => {
      io.out(completionScript(shell, commandTree(await whole())));
    });
}
