/**
 * The way from a command line to a forwarder, without the rest of the command line: started by an agent
 * whose forwarder has died, it has to serve within a fraction of a second. `vrouter forwarder` is the same.
 */
import { parseArgs } from 'node:util';
import { VRouterError } from '../errors.ts';
import { type ForwarderOptions, startForwarder } from './forwarder.ts';

/** Options of the command line, as `vrouter forwarder --help` has them. */
export const FORWARDER_FLAGS = {
  socket: 'socket',
  'flow-file': 'flowFile',
  'flow-entries': 'flowEntries',
  buffers: 'buffers',
  'buffer-bytes': 'bufferBytes',
  seed: 'seed',
  workers: 'workers',
  'kernel-tier': 'kernelTier',
  cpu: 'cpu',
} as const satisfies Record<string, keyof ForwarderOptions>;

type Kind = 'string' | 'bigint' | 'boolean' | 'number';

/** Of those that are no number. */
const KINDS: { readonly [K in keyof ForwarderOptions]?: Kind } = {
  socket: 'string',
  flowFile: 'string',
  seed: 'bigint',
  kernelTier: 'boolean',
};
const kindOf = (key: keyof ForwarderOptions): Kind => KINDS[key] ?? 'number';

/** The command line of these options. */
export function forwarderArguments(options: ForwarderOptions): string[] {
  return Object.entries(FORWARDER_FLAGS).flatMap(([flag, key]) => {
    const value = options[key];
    if (value === undefined) return [];
    const kind = kindOf(key);
    const given: string = typeof value;
    if (given !== kind) throw new VRouterError('BAD_ARGUMENT', `${key} must be a ${kind}`);
    if (kind === 'boolean') return value ? [`--${flag}`] : [];
    return [`--${flag}`, `${value}`];
  });
}

type Read = (given: string | true, flag: string) => string | number | bigint | boolean;

const READ: Readonly<Record<Kind, Read>> = {
  string: (text) => text,
  boolean: () => true,
  /** A whole number, or what the addon will refuse by name. */
  number: (text) => (/^[0-9]{1,15}$/.test(`${text}`) ? Number(text) : Number.NaN),
  bigint: (text, flag) => {
    if (/^[0-9]{1,20}$/.test(`${text}`)) return BigInt(text);
    throw new VRouterError('BAD_ARGUMENT', `--${flag}: "${text}" is no whole number`);
  },
};

export function forwarderOptions(argv: readonly string[]): ForwarderOptions {
  const flags = Object.entries(FORWARDER_FLAGS).map(([flag, key]) => {
    const type = kindOf(key) === 'boolean' ? ('boolean' as const) : ('string' as const);
    return [flag, { type }];
  });
  const parsed = parseArgs({ args: [...argv], options: Object.fromEntries(flags) });
  const values = parsed.values as Readonly<Record<string, unknown>>;
  const options: Record<string, ReturnType<Read>> = {};
  for (const [flag, key] of Object.entries(FORWARDER_FLAGS)) {
    const given = values[flag];
    if (typeof given === 'string' || given === true) options[key] = READ[kindOf(key)](given, flag);
  }
  if (typeof options.socket !== 'string') {
    throw new VRouterError('BAD_ARGUMENT', '--socket <path> is needed');
  }
  return options as unknown as ForwarderOptions;
}

/** Until a signal, or until an agent says so. */
export async function runForwarder(options: ForwarderOptions): Promise<void> {
  const running = startForwarder(options);
  await Promise.race([
    running.quit,
    new Promise<void>((resolve) => {
      process.once('SIGTERM', () => resolve());
      process.once('SIGINT', () => resolve());
    }),
  ]);
  await running.stop();
}

/** What is wrong goes to stderr in one line with its code, and the status is 1. */
export async function main(argv: readonly string[]): Promise<void> {
  try {
    await runForwarder(forwarderOptions(argv));
  } catch (error) {
    const { code = 'INTERNAL', message } = error as { code?: string; message?: string };
    process.stderr.write(`vrouter forwarder: ${code}: ${message}\n`);
    process.exitCode = 1;
  }
}
