/**
 * Completion scripts for bash, zsh and fish. They hold the words themselves: a key press starts no Node.
 * A word that no option or command explains is completed as a file name. Pure.
 */
import { allCommands, type CommandEntry } from './command-tree.ts';

export const SHELLS = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof SHELLS)[number];

/** In single quotes, for sh. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** In single quotes, for fish, where a backslash counts inside them. */
function fishQuoted(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}

function words(entry: CommandEntry): string[] {
  return [
    ...entry.commands.map((command) => command.path.at(-1) as string),
    ...entry.options.flatMap((option) => option.names),
  ];
}

function bash(root: CommandEntry): string {
  const entries = allCommands(root);
  const paths = entries.slice(1).map((entry) => `${quoted(entry.path.join(' '))}) path=$next;;`);
  const lists = entries.map(
    (entry) => `${quoted(entry.path.join(' '))}) words=${quoted(words(entry).join(' '))};;`,
  );
  const values = entries.flatMap((entry) =>
    entry.options
      .filter((option) => option.takesValue)
      .flatMap((option) =>
        option.names.map(
          (name) =>
            `${quoted(`${entry.path.join(' ')}:${name}`)}) words=${quoted(option.choices.join(' '))}; value=1;;`,
        ),
      ),
  );
  return `# bash completion for vrouter
_vrouter() {
  local path= next word i words= value= current=\${COMP_WORDS[COMP_CWORD]}
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=\${COMP_WORDS[i]}
    next="\${path:+$path }$word"
    case "$next" in
      ${paths.join('\n      ')}
    esac
  done
  case "$path:\${COMP_WORDS[COMP_CWORD-1]}" in
    ${values.join('\n    ')}
  esac
  if [ -z "$value" ]; then
    case "$path" in
      ${lists.join('\n      ')}
    esac
  fi
  if [ -n "$words" ]; then
    COMPREPLY=($(compgen -W "$words" -- "$current"))
  fi
}
complete -o default -F _vrouter vrouter
`;
}

/** zsh runs bash's function through its own bashcompinit: one function to keep right. */
function zsh(root: CommandEntry): string {
  return `#compdef vrouter\nautoload -U +X bashcompinit && bashcompinit\n${bash(root)}`;
}

function fish(root: CommandEntry): string {
  const lines = ['# fish completion for vrouter'];
  for (const entry of allCommands(root)) {
    const here = entry.path.map((word) => `__fish_seen_subcommand_from ${word}`);
    const below = entry.commands.map((command) => command.path.at(-1) as string);
    if (below.length > 0) {
      here.push(`not __fish_seen_subcommand_from ${below.join(' ')}`);
    }
    const condition = here.length === 0 ? '' : ` -n ${fishQuoted(here.join('; and '))}`;
    for (const command of entry.commands) {
      const name = command.path.at(-1) as string;
      lines.push(
        `complete -c vrouter${condition} -f -a ${name} -d ${fishQuoted(command.description)}`,
      );
    }
    for (const option of entry.options) {
      const names = option.names.map((name) =>
        name.startsWith('--') ? `-l ${name.slice(2)}` : `-s ${name.slice(1)}`,
      );
      const choices =
        option.choices.length > 0 ? ` -f -a ${fishQuoted(option.choices.join(' '))}` : '';
      const value = option.takesValue ? ` -r${choices}` : '';
      lines.push(
        `complete -c vrouter${condition} ${names.join(' ')}${value} -d ${fishQuoted(option.description)}`,
      );
    }
  }
  return `${lines.join('\n')}\n`;
}

const WRITERS: Readonly<Record<Shell, (root: CommandEntry) => string>> = { bash, zsh, fish };

export function completionScript(shell: Shell, root: CommandEntry): string {
  return WRITERS[shell](root);
}
