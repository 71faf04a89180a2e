/** `vrouter demo NAME`: the scenarios as commands. What they load is loaded when they run. */
import { type Command, CommanderError, Option } from 'commander';
import { seed, wholeNumber } from '../cli/arguments.ts';
import { PEERINGS, type Peering } from '../sim/anycast-plan.ts';
import type { DemoRecorderOptions, DemoReport } from './demo-report.ts';

interface Options {
  readonly netns?: boolean;
  readonly seed: bigint;
  readonly json?: boolean;
  readonly sabotage?: string;
  readonly connections?: number;
  readonly pcap?: string;
}

interface AnycastOptions extends Options {
  readonly peering?: Peering;
}

/** `run`: with the report's text as it comes, or without. */
async function reported(
  { json }: Options,
  write: (text: string) => void,
  run: (how: Pick<DemoRecorderOptions, 'narrate' | 'colour'>) => Promise<DemoReport>,
): Promise<void> {
  const report = await run({
    narrate: json === true ? undefined : write,
    colour: process.stdout.isTTY === true && process.env.NO_COLOR === undefined,
  });
  if (json === true) {
    const { reportJson } = await import('./demo-report.ts');
    write(reportJson(report));
  }
  // The report has said all there is to say.
  if (!report.ok) throw new CommanderError(1, 'vrouter.demoFailed', '');
}

async function anycast(options: AnycastOptions, write: (text: string) => void): Promise<void> {
  const { seed, sabotage, peering, connections = 2000 } = options;
  await reported(options, write, async (how) => {
    const run = { ...how, seed, connections, sabotage, peering };
    if (options.netns === true) {
      const { runAnycastNetns } = await import('./demo-anycast-netns.ts');
      return runAnycastNetns(run);
    }
    const { runAnycast } = await import('./demo-anycast.ts');
    return runAnycast(run);
  });
}

async function loadbalancer(options: Options, write: (text: string) => void): Promise<void> {
  const { seed, sabotage, connections = 500 } = options;
  await reported(options, write, async (how) => {
    const { runLoadbalancer } = await import('./demo-loadbalancer.ts');
    return runLoadbalancer({ ...how, seed, connections, sabotage });
  });
}

async function clusterip(options: Options, write: (text: string) => void): Promise<void> {
  const { seed, sabotage, pcap } = options;
  // A simulated connection is cheap; a real one is a curl.
  const connections = options.connections ?? (options.netns === true ? 200 : 1000);
  await reported(options, write, async (how) => {
    const run = { ...how, seed, connections, sabotage, pcap };
    if (options.netns === true) {
      const { runClusteripNetns } = await import('./demo-netns.ts');
      return runClusteripNetns(run);
    }
    const { runClusterip } = await import('./demo-clusterip.ts');
    return runClusterip(run);
  });
}

/** Options of its own, then those that every scenario has. `connections`: what they are, and how many. */
function scenario(
  command: Command,
  connections: string,
  own: readonly Option[],
  examples: readonly string[],
): Command {
  for (const option of own) command.addOption(option);
  return command
    .addOption(
      new Option('--seed <n>', 'seed of hashes and choices').argParser(seed).default(1n, '1'),
    )
    .addOption(new Option('--connections <n>', connections).argParser(wholeNumber(20_000)))
    .option('--sabotage <name>', 'put a fault in, to see the verdict turn (`list` names them)')
    .option('--json', 'print the report as one JSON document')
    .allowExcessArguments(false)
    .addHelpText(
      'after',
      '\nThe exit status is 1 when anything expected was not observed. Same seed, same run.\n' +
        `\nExamples:\n${examples.map((each) => `  vrouter demo ${each}\n`).join('')}`,
    );
}

export function registerDemo(program: Command): void {
  const write = program.configureOutput().writeOut ?? ((text) => process.stdout.write(text));
  const demo = program
    .command('demo')
    .description('scenarios that run by themselves and end with a verdict')
    .addHelpText('after', '\nExample:\n  vrouter demo clusterip\n');
  scenario(
    demo
      .command('clusterip')
      .description('a Kubernetes service by ECMP and NAT, from node to node in MPLS over UDP'),
    'connections to spread over the backends (1000; with --netns 200 curls a port, at least 20)',
    [
      new Option('--netns', 'with real processes, network namespaces and curl; needs root'),
      new Option('--pcap <directory>', 'write what crossed each wire, a pcap file a wire'),
    ],
    [
      'clusterip',
      'clusterip --sabotage swap-label',
      'clusterip --seed 7 --connections 5000 --json',
      'clusterip --pcap wires && tshark -r wires/fabric.pcap',
    ],
  ).action((options: Options) => clusterip(options, write));
  scenario(
    demo
      .command('loadbalancer')
      .description('an external address behind a BGP gateway, reached by MPLS over GRE'),
    'connections from the Internet (500)',
    [],
    ['loadbalancer', 'loadbalancer --sabotage no-target'],
  ).action((options: Options) => loadbalancer(options, write));
  scenario(
    demo
      .command('anycast')
      .description(
        'one external address in two clusters, its clients in a third: federation by BGP',
      ),
    'connections to spread over both clusters (2000)',
    [
      new Option('--netns', 'with real processes, network namespaces, BGP over TCP; needs root'),
      new Option(
        '--peering <kind>',
        'between clusters; both, one after the other, if it is not said',
      ).choices([...PEERINGS]),
    ],
    [
      'anycast',
      'anycast --peering ebgp --seed 7 --json',
      'anycast --sabotage leaky-spoke',
      'anycast --netns --peering ibgp',
    ],
  ).action((options: AnycastOptions) => anycast(options, write));
}
