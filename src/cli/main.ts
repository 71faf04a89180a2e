#!/usr/bin/env node
/**
 * `vrouter`: the command line. Each command is registered with its options and help here; what it runs is
 * loaded only when it is called, so that asking for help, or talking to a running vRouter, loads no data
 * plane. Exit status: 0 done, 1 not done or a bad verdict, with one line on stderr that names the fault;
 * `why` has 2 for what cannot be known from here.
 */
import { realpathSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Command, CommanderError } from 'commander';
import { registerCapture } from './commands/capture.ts';
import { registerCompletion } from './commands/completion.ts';
import { registerConfig } from './commands/config.ts';
import { registerBgp } from './commands/control-bgp.ts';
import { registerFlow } from './commands/flow.ts';
import {
  registerCheckConfig,
  registerExplain,
  registerReplay,
  registerSchema,
} from './commands/local.ts';
import { registerPort } from './commands/port.ts';
import { registerServers } from './commands/servers.ts';
import { registerStats } from './commands/stats.ts';
import { registerSupportBundle } from './commands/support.ts';
import { registerTables } from './commands/tables.ts';
import { registerTrace } from './commands/trace.ts';
import { registerWhy } from './commands/why.ts';
import type { Io } from './io.ts';
import { VERSION } from './version.ts';

/** `first`: the first word given; the demonstrations bring a whole cluster, so they are loaded for themselves. */
export async function buildCommand(io: Io, first?: string): Promise<Command> {
  const program = new Command('vrouter');
  program
    .description('A vRouter in user space: demonstrations, replay, and a look into a running one.')
    .version(VERSION, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print help')
    .helpCommand('help [command]', 'print help for a command')
    .showHelpAfterError('(add --help for what there is)')
    .configureOutput({ writeOut: io.out, writeErr: io.err })
    .exitOverride()
    .addHelpText(
      'after',
      '\nStart here:\n  vrouter demo clusterip                     a service, on simulated nodes, without root\n' +
        '  vrouter explain --help                     what would happen to one packet\n' +
        '  vrouter why SRC DST tcp 80                 what is in the way, of a running cluster\n' +
        '  vrouter nh --list --sock SOCKET            a table of a running vrouter\n' +
        '\nViews find the vrouter by --sock, VROUTER_SOCK, or the one socket in /run/vrouter.\n',
    );
  registerReplay(program, io);
  registerExplain(program, io);
  registerWhy(program, io);
  registerServers(program, io);
  registerTables(program, io);
  registerFlow(program, io);
  registerStats(program, io);
  registerCapture(program, io);
  registerTrace(program, io);
  registerPort(program, io);
  registerBgp(program, io);
  registerConfig(program, io);
  registerSupportBundle(program, io);
  registerCheckConfig(program, io);
  registerSchema(program, io);
  registerCompletion(program, io, () => buildCommand(io));
  if (!program.commands.some((command) => command.name() === first)) {
    const { registerDemo } = await import('../program/demo.ts');
    registerDemo(program);
  }
  // Settings of output and exit are not inherited by commands made before or elsewhere.
  for (const command of program.commands) {
    command.copyInheritedSettings(program).allowExcessArguments(false);
  }
  return program;
}

/** Returns the exit status. */
export async function run(argv: readonly string[], io: Io): Promise<number> {
  try {
    const program = await buildCommand(io, argv[0]);
    if (argv.length === 0) {
      program.outputHelp();
      return 0;
    }
    await program.parseAsync([...argv], { from: 'user' });
    return 0;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode;
    const { name, code, message } = error as { name?: string; code?: string; message?: string };
    const known = typeof code === 'string' && name !== 'Error' && name !== 'TypeError';
    if (!known) throw error;
    io.err(`vrouter: ${message}\n`);
    return 1;
  }
}

async function main(): Promise<void> {
  // `vrouter flow -l | head` closes our output early: that is no error.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
    process.exit(0);
  });
  const status = await run(process.argv.slice(2), {
    out: (text) => process.stdout.write(text),
    err: (text) => process.stderr.write(text),
    env: process.env,
    fail: (status = 1) => {
      process.exitCode = status;
    },
  });
  if (status !== 0) process.exitCode = status;
}

const started = process.argv[1];
if (started !== undefined && realpathSync(started) === fileURLToPath(import.meta.url)) await main();
