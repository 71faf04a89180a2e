/** `node` and `control`: the long-running processes. They end on SIGTERM or SIGINT. */
import type { Command } from 'commander';
import type { Io } from '../io.ts';

/** Runs `start`, waits for a signal, then stops it; a second signal does not wait. */
async function untilSignal(start: () => Promise<{ stop: () => Promise<void> }>): Promise<void> {
  const running = await start();
  await new Promise<void>((resolve) => {
    process.once('SIGTERM', () => resolve());
    process.once('SIGINT', () => resolve());
  });
  await running.stop();
}

export function registerServers(program: Command, _io: Io): void {
  program
    .command('node')
    .description('a compute node: data plane, agent, and a socket for this command line')
    .requiredOption('--config <file>', 'node file (vrouter schema node)')
    .addHelpText('after', '\nExample:\n  vrouter node --config cent222.yaml\n')
    .action(async ({ config }: { config: string }) => {
      const { startNode } = await import('../../program/node.ts');
      await untilSignal(() => startNode(config));
    });
  program
    .command('control')
    .description('a route exchange that agents connect to')
    .requiredOption('--config <file>', 'control file (vrouter schema control)')
    .addHelpText('after', '\nExample:\n  vrouter control --config cent111.yaml\n')
    .action(async ({ config }: { config: string }) => {
      const { startControl } = await import('../../program/control.ts');
      await untilSignal(() => startControl(config));
    });
}
