/** `dropstats`, `vrfstats`, `services` and `status` of a running vRouter. */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Command, Option } from 'commander';
import { vrfId } from '../arguments.ts';
import {
  exactlyOne,
  type Io,
  type SocketOptions,
  show,
  socketOptions,
  UsageError,
  withClient,
} from '../io.ts';
import { renderServices } from '../render/services.ts';
import { renderDropLog, renderDrops, renderVrfStats } from '../render/stats.ts';
import { renderStatus } from '../render/status.ts';
import type { DropLogView, DropView, ServicesView, StatusView, VrfStatsView } from '../views.ts';

interface DropOptions extends SocketOptions {
  readonly debug?: boolean;
  readonly clear?: boolean;
  readonly log?: boolean;
  readonly vif?: string;
  readonly reason?: string;
  readonly watch?: number;
}

interface VrfOptions extends SocketOptions {
  readonly get?: number;
  readonly dump?: boolean;
}

/** Once, or every `seconds` until the command is ended; `look` gets what it returned last. */
async function watched(
  seconds: number | undefined,
  look: (previous: number) => Promise<number>,
): Promise<void> {
  let last = await look(0);
  while (seconds !== undefined) {
    if (!(seconds > 0)) throw new UsageError('--watch takes a number of seconds above 0');
    await sleep(seconds * 1000);
    last = await look(last);
  }
}

export function registerStats(program: Command, io: Io): void {
  const dropstats = socketOptions(
    program.command('dropstats').description('packets dropped by a running vrouter, by name'),
  );
  dropstats
    .option('--debug', 'also what is no loss: the original of a replicated packet')
    .option('--clear', 'set all counters to zero')
    .option('--log', 'the last drops: when, why, in which room, what the packet was')
    .option('--vif <vif>', 'with --log: of this vif, by name or number')
    .option('--reason <name>', 'with --log: of this reason, as dropstats prints it')
    .addOption(
      new Option('--watch [seconds]', 'again and again, every so often')
        .argParser(Number)
        .preset(1),
    )
    .addHelpText(
      'after',
      '\nExamples:\n  vrouter dropstats\n  vrouter dropstats --json\n  vrouter dropstats --clear\n  vrouter dropstats --log --reason "Invalid Label" --watch\n',
    )
    .action((options: DropOptions) =>
      withClient(io, options, async (client) => {
        if (options.log === true) {
          await watched(options.watch, async (previous: number) => {
            const { vif, reason } = options;
            const drops = await client.call<DropLogView[]>('dropstats.log', {
              after: previous,
              ...(vif === undefined ? {} : { vif }),
              ...(reason === undefined ? {} : { reason }),
            });
            if (options.watch === undefined || drops.length > 0)
              show(io, options, drops, renderDropLog);
            return drops.at(-1)?.number ?? previous;
          });
        } else if (options.clear === true) {
          await client.call('dropstats.clear');
          show(io, options, { cleared: true }, () => '');
        } else {
          await watched(options.watch, async () => {
            const drops = await client.call<DropView[]>('dropstats.get');
            show(io, options, drops, (value) => renderDrops(value, options.debug === true));
            return 0;
          });
        }
      }),
    );

  const vrfstats = socketOptions(
    program.command('vrfstats').description('what became of packets, VRF by VRF'),
  );
  vrfstats
    .option('--get <vrf>', 'one VRF', vrfId)
    .option('--dump', 'all VRFs')
    .addHelpText('after', '\nExamples:\n  vrouter vrfstats --dump\n  vrouter vrfstats --get 2\n')
    .action((options: VrfOptions) => {
      const what = exactlyOne(vrfstats, { get: options.get, dump: options.dump }, ['get', 'dump']);
      return withClient(io, options, async (client) => {
        const rows =
          what === 'dump'
            ? await client.call<VrfStatsView[]>('vrfstats.dump')
            : [await client.call<VrfStatsView>('vrfstats.get', { id: options.get })];
        show(io, options, rows, renderVrfStats);
      });
    });

  const services = socketOptions(
    program
      .command('services')
      .description('DHCP, DNS and other services for tenants: what they did, who is well'),
  );
  services
    .addHelpText(
      'after',
      '\nThere are some where the node file has the key `services`.\n' +
        '\nExamples:\n  vrouter services\n  vrouter services --json\n',
    )
    .action((options: SocketOptions) =>
      withClient(io, options, async (client) => {
        show(io, options, await client.call<ServicesView>('services.status'), renderServices);
      }),
    );

  const status = socketOptions(
    program.command('status').description('is it well: sizes, totals, version'),
  );
  status
    .addHelpText(
      'after',
      '\nExamples:\n  vrouter status\n  vrouter status --sock /run/vrouter/cent222.sock --json\n',
    )
    .action((options: SocketOptions) =>
      withClient(io, options, async (client) => {
        show(io, options, await client.call<StatusView>('status'), renderStatus);
      }),
    );
}
