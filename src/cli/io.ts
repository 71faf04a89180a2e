/** What a command may touch of the world, so that commands can be run and read in tests. */
import { type Command, Option } from 'commander';
import { Client, findSocket } from './client.ts';

export interface Io {
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
  readonly env: NodeJS.ProcessEnv;
  /** Exit status when a command ran but its verdict is bad (a replay that does not add up); default 1. */
  readonly fail: (status?: number) => void;
}

export interface SocketOptions {
  readonly sock?: string;
  readonly json?: boolean;
}

/** What a person got wrong, in one line; not a fault of ours. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
  readonly code = 'USAGE';
}

/** `--sock` and `--json`, as every view has them. */
export function socketOptions(command: Command): Command {
  return command
    .addOption(new Option('--sock <path>', 'socket of the vrouter').env('VROUTER_SOCK'))
    .option('--json', 'print JSON instead of text');
}

export async function withClient<T>(
  io: Io,
  options: SocketOptions,
  run: (client: Client) => Promise<T>,
): Promise<T> {
  const client = await Client.connect(findSocket(options.sock, io.env));
  try {
    return await run(client);
  } finally {
    client.close();
  }
}

/** One document of JSON, or the text. */
export function show<T>(
  io: Io,
  options: SocketOptions,
  value: T,
  text: (value: T) => string,
): void {
  io.out(options.json === true ? `${JSON.stringify(value, null, 2)}\n` : text(value));
}

/** Exactly one of these must be asked for; returns which. */
export function exactlyOne<T extends Record<string, unknown>>(
  command: Command,
  options: T,
  names: readonly (keyof T & string)[],
): keyof T & string {
  const given = names.filter((name) => options[name] !== undefined && options[name] !== false);
  const [first] = given;
  const flags = (list: readonly string[]) =>
    list.map((name) => `--${name.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`)}`).join(', ');
  if (first !== undefined && given.length === 1) return first;
  const why = given.length === 0 ? 'one of these is needed' : 'these exclude each other';
  const list = given.length === 0 ? names : given;
  throw new UsageError(
    `${command.name()}: ${why}: ${flags(list)} (see vrouter ${command.name()} --help)`,
  );
}
