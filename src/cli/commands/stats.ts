/** `dropstats`, `vrfstats`, `services` and `status` of a running vRouter. */
import type { Command } from 'commander';
import { vrfId } from '../arguments.ts';
import { exactlyOne, type Io, type SocketOptions, show, socketOptions, withClient } from '../io.ts';
import { renderServices } from '../render/services.ts';
import { renderDropLog, renderDrops, renderVrfStats } from '../render/stats.ts';
import { renderStatus } from '../render/status.ts';
import type { DropLogView, DropView, ServicesView, StatusView, VrfStatsView } from '../views.ts';
import { type WatchOptions, watched, watchOptions } from '../watch.ts';

interface DropOptions extends SocketOptions, WatchOptions {
  readonly debug?: boolean;
  readonly clear?: boolean;
  readonly log?: boolean;
  readonly vif?: string;
  readonly reason?: string;
}

interface VrfOptions extends SocketOptions, WatchOptions {
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
    .option('--log', 'the last drops: when, why, in which room, what the packet was')
    .option('--vif <vif>', 'with --log: of this vif, by name or number')
    .option('--reason <name>', 'with --log: of this reason, as dropstats prints it');
  watchOptions(dropstats)
    .addHelpText(
      'after',
      '\nExamples:\n  vrouter dropstats\n  vrouter dropstats --json\n  vrouter dropstats --clear\n  vrouter dropstats --log --reason "Invalid Label" --watch\n',
    )
    .action((options: DropOptions) =>
      withClient(io, options, async (client) => {
        if (options.log === true) {
          let last = 0;
          await watched(
            options,
            async () => {
              const { vif, reason } = options;
              const drops = await client.call<DropLogView[]>('dropstats.log', {
                after: last,
                ...(vif === undefined ? {} : { vif }),
                ...(reason === undefined ? {} : { reason }),
              });
              last = drops.at(-1)?.number ?? last;
              return drops;
            },
            (drops) => {
              if (options.watch === undefined || drops.length > 0)
                show(io, options, drops, renderDropLog);
            },
          );
        } else if (options.clear === true) {
          await client.call('dropstats.clear');
          show(io, options, { cleared: true }, () => '');
        } else {
          await watched(
            options,
            () => client.call<DropView[]>('dropstats.get'),
            (drops) =>
              show(io, options, drops, (value) => renderDrops(value, options.debug === true)),
          );
        }
      }),
    );

  const vrfstats = socketOptions(
    program.command('vrfstats').description('what became of packets, VRF by VRF'),
  );
  vrfstats.option('--get <vrf>', 'one VRF', vrfId).option('--dump', 'all VRFs');
  watchOptions(vrfstats)
    .addHelpText('after', '\nExamples:\n  vrouter vrfstats --dump\n  vrouter vrfstats --get 2\n')
    .action((options: VrfOptions) => {
      const what = exactlyOne(vrfstats, { get: options.get, dump: options.dump }, ['get', 'dump']);
      return withClient(io, options, async (client) => {
        await watched(
          options,
          async () =>
            what === 'dump'
              ? await client.call<VrfStatsView[]>('vrfstats.dump')
              : [await client.call<VrfStatsView>('vrfstats.get', { id: options.get })],
          (rows) => show(io, options, rows, renderVrfStats),
        );
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
    program
      .command('status')
      .description(
        'is it well: what is not, sizes, totals, version; exit status 1 when something is not',
      ),
  );
  status
    .addHelpText(
      'after',
      '\nExamples:\n  vrouter status\n  vrouter status --sock /run/vrouter/cent222.sock --json\n',
    )
    .action((options: SocketOptions) =>
      withClient(io, options, async (client) => {
        const view = await client.call<StatusView>('status');
        show(io, options, view, renderStatus);
        // A route exchange has none.
        if ((view.problems ?? []).length > 0) io.fail();
      }),
    );
}
