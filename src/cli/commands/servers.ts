/** `node`, `forwarder`, `control` and `speaker`: the long-running processes. They end on SIGTERM or SIGINT. */
import { cpus } from 'node:os';
import type { Command } from 'commander';
import { id32, seed, wholeNumber } from '../arguments.ts';
import type { Io } from '../io.ts';
import { registerControl } from './control.ts';

/** As the command line gives them; program/forwarder.ts. */
interface ForwarderOptions {
  readonly socket: string;
  readonly flowFile?: string;
  readonly flowEntries?: number;
  readonly buffers?: number;
  readonly bufferBytes?: number;
  readonly seed?: bigint;
  readonly workers?: number;
  readonly kernelTier?: boolean;
  readonly cpu?: number;
}

/** Runs `start`, waits for a signal, then stops it; a second signal does not wait. */
async function untilSignal(start: () => Promise<{ stop: () => Promise<void> }>): Promise<void> {
  const running = await start();
  await new Promise<void>((resolve) => {
    process.once('SIGTERM', () => resolve());
    process.once('SIGINT', () => resolve());
  });
  await running.stop();
}

export function registerServers(program: Command, io: Io): void {
  program
    .command('node')
    .description('a compute node: data plane, agent, and a socket for this command line')
    .requiredOption('--config <file>', 'node file (vrouter schema node)')
    .option('--leave-forwarder', 'when told to end, leave its forwarder forwarding')
    .addHelpText(
      'after',
      '\nWith the key `forwarder` in its file the data plane is a process of its own, which this starts,\n' +
        'watches and restarts, and which goes on when this is killed.\n' +
        '\nExample:\n  vrouter node --config cent222.yaml\n',
    )
    .action(async (options: { config: string; leaveForwarder?: boolean }) => {
      const { startNode } = await import('../../program/node.ts');
      await untilSignal(() => startNode(options.config, options));
    });
  program
    .command('forwarder')
    .description('a data plane as a process of its own, for `vrouter node` to program')
    .requiredOption('--socket <path>', 'where it serves its agent')
    .option('--flow-file <path>', 'flows live in this file and are taken over from it; on a tmpfs')
    .option('--flow-entries <n>', 'both directions counted; 1024 to 16777216', id32)
    .option('--buffers <n>', 'packet buffers', id32)
    .option('--buffer-bytes <n>', 'bytes of each', id32)
    .option('--seed <n>', 'of every hash; flows of another seed are not taken over', seed)
    .option('--workers <n>', 'threads that forward; 1 to 16', id32)
    .option('--kernel-tier', 'established flows are forwarded in the kernel, by tc BPF programs')
    .option(
      '--cpu <n>',
      'the first worker runs on this CPU only, others on those behind it',
      wholeNumber(cpus().length - 1),
    )
    .addHelpText(
      'after',
      '\n`vrouter node` starts one by itself where its file has the key `forwarder`. By hand, so that it\n' +
        'is under a supervisor of its own:\n' +
        '  vrouter forwarder --socket /run/vrouter/cent222.forwarder --flow-file /run/vrouter/cent222.flows\n' +
        '\nIt forwards nothing before an agent has programmed it, goes on when the agent dies, and drains and\n' +
        'ends on SIGTERM.\n',
    )
    .action(async (options: ForwarderOptions) => {
      const { runForwarder } = await import('../../program/forwarder-main.ts');
      await runForwarder(options);
    });
  registerControl(program, io, untilSignal);
  program
    .command('speaker')
    .description('BGP as a process of its own, for `vrouter control` to configure')
    .requiredOption('--socket <path>', 'where it serves its control node')
    .option('--log-level <level>', 'as in a control file; default info')
    .addHelpText(
      'after',
      '\n`vrouter control` starts one by itself where its file has the key `bgp.speaker`. By hand, so that it\n' +
        'is under a supervisor of its own:\n' +
        '  vrouter speaker --socket /run/vrouter/cent111.speaker\n' +
        '\nIt speaks to nobody before a control node has said to whom, keeps its sessions when the control node\n' +
        'dies, and ends them and itself on SIGTERM.\n',
    )
    .action(async (options: { socket: string; logLevel?: string }) => {
      const { runSpeaker } = await import('../../program/speaker.ts');
      await runSpeaker(options);
    });
}
