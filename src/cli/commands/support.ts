/** `support-bundle`: everything someone who helps wants to see, in one file. */
import { type Command, Option } from 'commander';
import { findSockets } from '../client.ts';
import type { Io } from '../io.ts';

export function registerSupportBundle(program: Command, io: Io): void {
  program
    .command('support-bundle')
    .description("tables, drops and the host's network state in one .tar.gz, for whoever helps")
    .addOption(
      new Option(
        '--sock <paths...>',
        'sockets of vrouters; default all in /run/vrouter, or VROUTER_SOCK',
      ),
    )
    .option('-o, --out <file>', 'where to write it; default ./vrouter-HOST-TIME.tar.gz')
    .addHelpText(
      'after',
      '\nNo packet payloads and no configuration files are in it; errors.txt in it names what could not be had.\n' +
        '\nExample:\n  vrouter support-bundle -o bundle.tar.gz\n',
    )
    .action(async ({ sock, out }: { sock?: readonly string[]; out?: string }) => {
      const { supportBundle } = await import('../../program/support-bundle.ts');
      const { file, errors } = await supportBundle(findSockets(sock, io.env), out);
      for (const error of errors) io.err(`not in it: ${error}\n`);
      io.out(`${file}\n`);
    });
}
