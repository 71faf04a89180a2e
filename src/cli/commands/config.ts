/** `config`: what control nodes have said of a node's ports, and what has become of it (control.configuration). */
import type { Command } from 'commander';
import { type Io, type SocketOptions, show, socketOptions, withClient } from '../io.ts';
import { renderConfiguration, renderObjects } from '../render/config.ts';
import type { ConfigObjectView, ConfigurationView } from '../views.ts';

export function registerConfig(program: Command, io: Io): void {
  const config = program
    .command('config')
    .description('configuration that a node has from its control nodes');
  socketOptions(
    config
      .command('show')
      .description('who says it, how much of it there is, ports that wait, what is not taken over'),
  )
    .addHelpText('after', '\nExample:\n  vrouter config show --sock /run/vrouter/compute-1.sock\n')
    .action((options: SocketOptions) =>
      withClient(io, options, async (client) =>
        show(io, options, await client.call<ConfigurationView>('config.show'), renderConfiguration),
      ),
    );
  socketOptions(config.command('objects').description('every object, as it was received'))
    .argument('[type]', 'of this type only, e.g. virtual-machine-interface')
    .addHelpText('after', '\nExample:\n  vrouter config objects floating-ip --json\n')
    .action((type: string | undefined, options: SocketOptions) =>
      withClient(io, options, async (client) =>
        show(
          io,
          options,
          await client.all<ConfigObjectView>('config.objects', type === undefined ? {} : { type }),
          renderObjects,
        ),
      ),
    );
}
