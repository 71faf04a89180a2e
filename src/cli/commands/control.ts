/** `control`: the control node as a process, and `control show`, a look into a running one. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import { wholeNumber } from '../arguments.ts';
import { Client } from '../client.ts';
import { compare } from '../control-compare.ts';
import type { ControlRouteView, SessionView, TableView, TraceView } from '../control-views.ts';
import { type Io, type SocketOptions, show, socketOptions, UsageError, withClient } from '../io.ts';
import { polled } from '../live.ts';
import { renderMessage, renderRoutes, renderSessions, renderTables } from '../render/control.ts';
import { renderComparison } from '../render/control-compare.ts';
import { registerControlBgp } from './control-bgp.ts';
import { registerControlConfig } from './control-config.ts';

export function registerControl(
  program: Command,
  io: Io,
  untilSignal: (start: () => Promise<{ stop: () => Promise<void> }>) => Promise<void>,
): void {
  const control = program
    .command('control')
    .description(
      'a control node that agents connect to; `show`, `config`, `bgp`: what a running one has',
    )
    // Not a required option: `show` would need it, too.
    .option('--config <file>', 'control file (vrouter schema control)')
    .option('--leave-speaker', 'when told to end, leave its BGP speaker with its sessions')
    .addHelpText(
      'after',
      '\nExamples:\n  vrouter control --config cent111.yaml\n' +
        '  vrouter control show routes default-domain:k8s-default:vn-blue:vn-blue\n',
    )
    .action(async ({ config, ...options }: { config?: string; leaveSpeaker?: boolean }) => {
      if (config === undefined) throw new UsageError('control: --config <file> is needed');
      const { startControl } = await import('../../program/control.ts');
      await untilSignal(() => startControl(config, options));
    });
  const shows = control
    .command('show')
    .description('sessions, tables and routes of a control node');
  socketOptions(shows.command('sessions').description('agents, and what each has said'))
    .addHelpText(
      'after',
      '\nExample:\n  vrouter control show sessions --sock /run/vrouter/cent111.sock\n',
    )
    .action((options: SocketOptions) =>
      withClient(io, options, async (client) =>
        show(io, options, await client.call<SessionView[]>('session.list'), renderSessions),
      ),
    );
  socketOptions(shows.command('tables').description('routing instances, their targets and sizes'))
    .addHelpText('after', '\nExample:\n  vrouter control show tables --json\n')
    .action((options: SocketOptions) =>
      withClient(io, options, async (client) =>
        show(io, options, await client.call<TableView[]>('table.list'), renderTables),
      ),
    );
  socketOptions(
    shows
      .command('routes')
      .description('every path of an instance, and why it is used or has lost'),
  )
    .argument('<instance>', 'its name')
    .addHelpText(
      'after',
      '\nExample:\n  vrouter control show routes blue --sock /run/vrouter/cent111.sock\n',
    )
    .action((instance: string, options: SocketOptions) =>
      withClient(io, options, async (client) =>
        show(
          io,
          options,
          await client.all<ControlRouteView>('table.routes', { instance }),
          renderRoutes,
        ),
      ),
    );
  registerCompare(control, io);
  registerControlConfig(control, io);
  registerControlBgp(control, io);
  socketOptions(control.command('trace').description('messages of an agent, live, as on the wire'))
    .argument('<agent>', 'its name')
    .option('--count <n>', 'stop after n messages', wholeNumber(0xffffffff))
    .option('--seconds <n>', 'stop after n seconds', wholeNumber(86_400))
    .addHelpText(
      'after',
      '\n< is what came from it, > what it was sent. What arrives at once is one message: a part of a\n' +
        'stanza, or several. Of a session over TLS it is what is inside.\n' +
        '\nExample:\n  vrouter control trace compute-1 --seconds 10\n',
    )
    .action((agent: string, options: TraceOptions) =>
      withClient(io, options, async (client) => {
        let after = 0;
        await polled(options, async (room) => {
          const { messages } = await client.call<TraceView>('session.trace', { agent, after });
          for (const message of messages.slice(0, room)) {
            io.out(options.json ? `${JSON.stringify(message)}\n` : renderMessage(message, after));
            after = message.number;
          }
          return Math.min(messages.length, room);
        });
      }),
    );
}

function registerCompare(control: Command, io: Io): void {
  control
    .command('compare')
    .description('whether two control nodes have the same, and what they do not; else status 1')
    .argument('<socket-a>', "one's socket")
    .argument('<socket-b>', "the other's")
    .option('--json', 'print JSON instead of text')
    .option('--limit <n>', 'differences that are named (default 1000)', wholeNumber(100_000))
    .option(
      '--again <seconds>',
      'what differs is asked again after so long (default 2), and counts if it is the same then',
      wholeNumber(3600),
    )
    .addHelpText(
      'after',
      '\nExample:\n  vrouter control compare /run/vrouter/cent111.sock /run/vrouter/cent112.sock\n',
    )
    .action(async (pathA: string, pathB: string, options: CompareOptions) => {
      if (options.limit === 0) throw new UsageError('compare: --limit must be at least 1');
      const a = await Client.connect(pathA);
      try {
        const b = await Client.connect(pathB);
        try {
          const { name: nameA } = await a.call<{ name: string }>('status');
          const { name: nameB } = await b.call<{ name: string }>('status');
          const names = nameA === nameB ? { a: pathA, b: pathB } : { a: nameA, b: nameB };
          const again = async () => {
            await sleep((options.again ?? AGAIN_SECONDS) * 1000);
          };
          const found = await compare({ a, b }, names, options.limit ?? SHOWN, again);
          show(io, options, found, renderComparison);
          if (!found.inStep) io.fail();
        } finally {
          b.close();
        }
      } finally {
        a.close();
      }
    });
}

const AGAIN_SECONDS = 2;
const SHOWN = 1000;

interface CompareOptions {
  readonly json?: boolean;
  readonly limit?: number;
  readonly again?: number;
}

interface TraceOptions extends SocketOptions {
  readonly count?: number;
  readonly seconds?: number;
}
