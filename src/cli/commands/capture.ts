/**
 * `capture`: what is crossing an interface, live. Needs the optional package `cap`; where it is missing, only
 * this command is.
 */
import type { Command } from 'commander';
import { wholeNumber } from '../arguments.ts';
import type { Io } from '../io.ts';

interface CaptureOptions {
  readonly interface: string;
  readonly write?: string;
  readonly count?: number;
  readonly seconds?: number;
}

export function registerCapture(program: Command, io: Io): void {
  program
    .command('capture')
    .description('packets of an interface, live, as text or into a pcap file')
    .requiredOption('--interface <name>', 'where to listen')
    .option('--write <file>', 'write a pcap file instead of text')
    .option('--count <n>', 'stop after n packets', wholeNumber(0xffffffff))
    .option('--seconds <n>', 'stop after n seconds', wholeNumber(86_400))
    .argument('[filter...]', "which packets, in libpcap's language", [])
    .addHelpText(
      'after',
      '\nExamples:\n  vrouter capture --interface eth1 udp port 6635\n' +
        '  vrouter capture --interface eth1 --write fabric.pcap --count 100\n',
    )
    .action(async (filter: string[], options: CaptureOptions) => {
      const { capture } = await import('../../program/capture.ts');
      await capture(io, filter.join(' '), options);
    });
}
