/** `vrouter demo NAME`: the scenarios as commands. What they load is loaded when they run. */
import { type Command, CommanderError, Option } from 'commander';
import { seed, wholeNumber } from '../cli/arguments.ts';
import type { DemoReport } from './demo-report.ts';

interface Options {
  readonly netns?: boolean;
  readonly seed: bigint;
  readonly json?: boolean;
  readonly sabotage?: string;
  readonly connections?: number;
  readonly pcap?: string;
}

async function clusterip(options: Options, write: (text: string) => void): Promise<void> {
  const { seed, sabotage, pcap } = options;
  // A simulated connection is cheap; a real one is a curl.
  const connections = options.connections ?? (options.netns === true ? 200 : 1000);
  const text = options.json !== true;
  const run = {
    seed,
    connections,
    sabotage,
    pcap,
    narrate: text ? write : undefined,
    colour: process.stdout.isTTY === true && process.env.NO_COLOR === undefined,
  };
  let report: DemoReport;
  if (options.netns === true) {
    const { runClusteripNetns } = await import('./demo-netns.ts');
    report = await runClusteripNetns(run);
  } else {
    const { runClusterip } = await import('./demo-clusterip.ts');
    report = runClusterip(run);
  }
  if (!text) {
    const { reportJson } = await import('./demo-report.ts');
    write(reportJson(report));
  }
  // The report has said all there is to say.
  if (!report.ok) throw new CommanderError(1, 'vrouter.demoFailed', '');
}

export function registerDemo(program: Command): void {
  const write = program.configureOutput().writeOut ?? ((text) => process.stdout.write(text));
  const demo = program
    .command('demo')
    .description('scenarios that run by themselves and end with a verdict')
    .addHelpText('after', '\nExample:\n  vrouter demo clusterip\n');
  demo
    .command('clusterip')
    .description('a Kubernetes service by ECMP and NAT, from node to node in MPLS over UDP')
    .option('--netns', 'with real processes, network namespaces and curl; needs root')
    .addOption(
      new Option('--seed <n>', 'seed of hashes and choices').argParser(seed).default(1n, '1'),
    )
    .addOption(
      new Option(
        '--connections <n>',
        'connections to spread over the backends (1000; with --netns 200 curls a port, at least 20)',
      ).argParser(wholeNumber(20_000)),
    )
    .option('--pcap <directory>', 'write what crossed each wire, a pcap file a wire')
    .option('--sabotage <name>', 'put a fault in, to see the verdict turn (`list` names them)')
    .option('--json', 'print the report as one JSON document')
    .allowExcessArguments(false)
    .addHelpText(
      'after',
      '\nThe exit status is 1 when anything expected was not observed. Same seed, same run.\n' +
        '\nExamples:\n  vrouter demo clusterip\n  vrouter demo clusterip --sabotage swap-label\n' +
        '  vrouter demo clusterip --seed 7 --connections 5000 --json\n' +
        '  vrouter demo clusterip --pcap wires && tshark -r wires/fabric.pcap\n',
    )
    .action((options: Options) => clusterip(options, write));
}
