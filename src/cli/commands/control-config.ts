/** `control config`: what a running control node tells its agents of networks and ports, looked at and changed. */
import type { Command } from 'commander';
import { loadObjects } from '../../config/load.ts';
import { OBJECT_KINDS } from '../../config/objects.ts';
import type { ConfigAppliedView, ConfigObjectView, ConfigView } from '../control-views.ts';
import { type Io, type SocketOptions, show, socketOptions, withClient } from '../io.ts';
import { renderApplied, renderConfig, renderTold } from '../render/control-config.ts';

const KINDS = Object.keys(OBJECT_KINDS).join(', ');

export function registerControlConfig(control: Command, io: Io): void {
  const config = control
    .command('config')
    .description('networks, ports, groups and floating IPs that agents are told of');
  socketOptions(
    config
      .command('apply')
      .description('add the objects of a file, or replace those of the same name'),
  )
    .argument('<file>', 'YAML: the lists that `objects:` of a control file has')
    .addHelpText(
      'after',
      '\nAll of them or, if one is wrong or names what there is not, none. What the file does not name stays.\n' +
        '\nExample:\n  vrouter control config apply examples/control/floating-ip.yaml\n',
    )
    .action((file: string, options: SocketOptions) => {
      const objects = loadObjects(file);
      return withClient(io, options, async (client) =>
        show(
          io,
          options,
          await client.call<ConfigAppliedView>('config.apply', { objects }),
          renderApplied,
        ),
      );
    });
  socketOptions(config.command('remove').description('take an object away that no other one names'))
    .argument('<kind>', KINDS)
    .argument('<name>', 'its name')
    .addHelpText('after', '\nExample:\n  vrouter control config remove floating-ip web\n')
    .action((kind: string, name: string, options: SocketOptions) =>
      withClient(io, options, async (client) =>
        show(
          io,
          options,
          await client.call<ConfigAppliedView>('config.remove', { kind, name }),
          renderApplied,
        ),
      ),
    );
  socketOptions(
    config
      .command('show')
      .description(
        'versions, and what each agent has been sent; or all that an agent has been told',
      ),
  )
    .argument('[agent]', 'its name')
    .addHelpText(
      'after',
      '\nExamples:\n  vrouter control config show\n  vrouter control config show compute-1 --json\n',
    )
    .action((agent: string | undefined, options: SocketOptions) =>
      withClient(io, options, async (client) => {
        if (agent === undefined) {
          show(io, options, await client.call<ConfigView>('config.show'), renderConfig);
        } else {
          show(
            io,
            options,
            await client.all<ConfigObjectView>('config.told', { agent }),
            renderTold,
          );
        }
      }),
    );
}
