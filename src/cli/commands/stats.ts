/** `dropstats`, `vrfstats` and `status` of a running vRouter. */
import type { Command } from 'commander';
import { vrfId } from '../arguments.ts';
import { exactlyOne, type Io, type SocketOptions, show, socketOptions, withClient } from '../io.ts';
import { renderDrops, renderVrfStats } from '../render/stats.ts';
import { renderStatus } from '../render/status.ts';
import type { DropView, StatusView, VrfStatsView } from '../views.ts';

interface DropOptions extends SocketOptions {
  readonly debug?: boolean;
  readonly clear?: boolean;
}

interface VrfOptions extends SocketOptions {
  readonly get?: number;
  readonly dump?: boolean;
}

export function registerStats(program: Command, io: Io): void {
  const dropstats = socketOptions(
    program.command('dropstats').description('packets dropped by a running vrouter, by name'),
  );
  dropstats
    .option('--debug', 'also what is no loss: the original of a replicated packet')
    .option('--clear', 'set all counters to zero')
    .addHelpText(
      'after',
      '\nExamples:\n  vrouter dropstats\n  vrouter dropstats --json\n  vrouter dropstats --clear\n',
    )
    .action((options: DropOptions) =>
      withClient(io, options, async (client) => {
        if (options.clear === true) {
          await client.call('dropstats.clear');
          show(io, options, { cleared: true }, () => '');
        } else {
          const drops = await client.call<DropView[]>('dropstats.get');
          show(io, options, drops, (value) => renderDrops(value, options.debug === true));
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
