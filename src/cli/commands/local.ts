/** `replay`, `explain`, `schema`: what needs no running vRouter (`explain` can also ask one). */
import { type Command, Option } from 'commander';
import { canonicalIp } from '../../addr/ip.ts';
import { canonicalMac, MAC_GATEWAY } from '../../addr/mac.ts';
import { seed, wholeNumber } from '../arguments.ts';
import { buildFrame, FRAME_PROTOCOLS } from '../frame.ts';
import { frameOfHex } from '../frame-text.ts';
import { type Io, type SocketOptions, show, UsageError, withClient } from '../io.ts';
import { renderExplain } from '../render/explain.ts';
import { renderReplay } from '../render/replay.ts';
import type { ExplainView, VifView } from '../views.ts';

interface ReplayOptions {
  readonly state: string;
  readonly in: readonly string[];
  readonly out: string;
  readonly json?: boolean;
  readonly seed: bigint;
}

function inputOf(text: string): { vif: string; file: string } {
  const at = text.indexOf('=');
  if (at <= 0 || at === text.length - 1) {
    throw new UsageError(`replay: --in ${JSON.stringify(text)}: VIF=FILE.pcap is needed`);
  }
  return { vif: text.slice(0, at), file: text.slice(at + 1) };
}

export function registerReplay(program: Command, io: Io): void {
  program
    .command('replay')
    .description('recorded packets through a declared state, to pcaps, flows, counters and drops')
    .requiredOption('--state <file>', 'state of the router (see docs/state-file.md)')
    .requiredOption(
      '--in <vif=file...>',
      'packets that arrive on a vif, classic pcap; may be repeated',
    )
    .requiredOption('--out <directory>', 'where to write <vif>.pcap, flows.json, counters.json, …')
    .addOption(
      new Option('--seed <n>', 'seed of hashes and choices').argParser(seed).default(1n, '1'),
    )
    .option('--json', 'print the summary as JSON')
    .addHelpText(
      'after',
      '\nTime is that of the packets, so the same input gives the same bytes. The exit status is 1 when\n' +
        'some packet is not accounted for.\n' +
        '\nExample:\n  vrouter replay --state examples/clusterip/cent222.yaml --in client=in.pcap --out result\n',
    )
    .action(async (options: ReplayOptions) => {
      const inputs = options.in.map(inputOf);
      const { replay } = await import('../../program/replay.ts');
      const summary = replay({
        state: options.state,
        inputs,
        out: options.out,
        seed: options.seed,
      });
      show(io, options, summary, (value) => renderReplay(value, options.out));
      if (!summary.accounted) io.fail();
    });
}

interface ExplainOptions extends SocketOptions {
  readonly state?: string;
  readonly vif: string;
  readonly packet?: string;
  readonly src?: string;
  readonly dst?: string;
  readonly proto: string;
  readonly sport: number;
  readonly dport: number;
  readonly flags: string;
  readonly ttl: number;
  readonly smac?: string;
  readonly dmac?: string;
  readonly seed: bigint;
}

/** A tenant's MAC where none is said: any station's will do. */
const SOME_MAC = '02:00:00:00:00:01';

function frameOf(options: ExplainOptions): (routerMac: string) => Uint8Array {
  const { packet, src, dst } = options;
  if (packet !== undefined) {
    if (src !== undefined || dst !== undefined) {
      throw new UsageError('explain: --packet and --src, --dst exclude each other');
    }
    const frame = frameOfHex(packet);
    return () => frame;
  }
  if (src === undefined || dst === undefined) {
    throw new UsageError('explain: either --packet, or --src and --dst, is needed');
  }
  const fields = {
    source: canonicalIp(src),
    destination: canonicalIp(dst),
    protocol: options.proto,
    sourcePort: options.sport,
    destinationPort: options.dport,
    flags: options.flags,
    ttl: options.ttl,
    payload: new Uint8Array(0),
    sourceMac: canonicalMac(options.smac ?? SOME_MAC),
  };
  return (routerMac) =>
    buildFrame({
      ...fields,
      destinationMac: canonicalMac(options.dmac ?? (routerMac || MAC_GATEWAY)),
    });
}

async function explainRunning(io: Io, options: ExplainOptions): Promise<ExplainView> {
  const frame = frameOf(options);
  return withClient(io, options, async (client) => {
    const vifs = await client.all<VifView>('vif.list');
    const found = vifs.find((vif) => vif.name === options.vif || `${vif.id}` === options.vif);
    const packet = Buffer.from(frame(found?.mac ?? '')).toString('hex');
    return client.call<ExplainView>('explain', { vif: found?.id ?? options.vif, packet });
  });
}

async function explainDeclared(options: ExplainOptions): Promise<ExplainView> {
  const frame = frameOf(options);
  const { explainState } = await import('../../program/explain.ts');
  const { state, vif, seed: chosen } = options;
  return explainState({ state: state as string, vif, frame, seed: chosen });
}

export function registerExplain(program: Command, io: Io): void {
  const port = wholeNumber(65535);
  program
    .command('explain')
    .description('what would happen to one packet, room by room; nothing is changed')
    .option('--state <file>', 'in the router of this state file')
    .addOption(new Option('--sock <path>', 'in a running vrouter').env('VROUTER_SOCK'))
    .requiredOption('--vif <name>', 'where it arrives')
    .option('--packet <hex>', 'the frame as hex digits, Ethernet header first')
    .option('--src <ip>', 'or its fields: source address')
    .option('--dst <ip>', 'destination address')
    .addOption(
      new Option('--proto <name>', 'protocol').choices([...FRAME_PROTOCOLS]).default('tcp'),
    )
    .option('--sport <port>', 'source port, or ICMP identifier', port, 49152)
    .option('--dport <port>', 'destination port, or ICMP sequence', port, 80)
    .option('--flags <letters>', "TCP flags, scapy's letters", 'S')
    .option('--ttl <n>', 'TTL or hop limit', wholeNumber(255), 64)
    .option('--smac <mac>', `source MAC (default ${SOME_MAC})`)
    .option('--dmac <mac>', "destination MAC (default the vif's own)")
    .addOption(new Option('--seed <n>', 'with --state: seed').argParser(seed).default(1n, '1'))
    .option('--json', 'print JSON instead of text')
    .addHelpText(
      'after',
      '\nExamples:\n  vrouter explain --state examples/clusterip/cent222.yaml --vif client \\\n' +
        '      --src 10.47.255.237 --dst 10.105.139.153 --proto tcp --dport 8888 --flags S\n' +
        '  vrouter explain --sock /run/vrouter/cent222.sock --vif client --packet 00005e000100…\n',
    )
    .action(async (options: ExplainOptions) => {
      // A state file wins over VROUTER_SOCK, which may just be set in the environment.
      const view =
        options.state === undefined
          ? await explainRunning(io, options)
          : await explainDeclared(options);
      show(io, options, view, (value) => renderExplain(value.lines));
    });
}

export function registerCheckConfig(program: Command, io: Io): void {
  program
    .command('check-config')
    .description(
      'whether a configuration file is what it should be: every problem, with line and key',
    )
    .argument('<file>', 'the file')
    .option('--as <kind>', 'node, control or state', 'node')
    .addHelpText('after', '\nExample:\n  vrouter check-config /etc/vrouter/cent222.yaml\n')
    .action(async (file: string, { as }: { as: string }) => {
      const { loadControl, loadNode, loadState } = await import('../../config/load.ts');
      const checks: Readonly<Record<string, () => void>> = {
        node: () => loadNode(file),
        control: () => loadControl(file),
        state: () => loadState(file),
      };
      const check = Object.hasOwn(checks, as) ? checks[as] : undefined;
      if (check === undefined)
        throw new UsageError(`check-config: --as ${as}: node, control or state`);
      check();
      io.out(`${file}: ok\n`);
    });
}

export function registerSchema(program: Command, io: Io): void {
  program
    .command('schema')
    .description('JSON Schema of a configuration file, for editors')
    .argument('<file>', 'state, node or control')
    .addHelpText('after', '\nExample:\n  vrouter schema state > state.schema.json\n')
    .action(async (name: string) => {
      const { jsonSchemaText, SCHEMA_NAMES } = await import('../../config/json-schema.ts');
      const known = SCHEMA_NAMES.find((schema) => schema === name);
      if (known === undefined) {
        const { suggestion } = await import('../../config/nearest.ts');
        throw new UsageError(`schema: unknown file "${name}"${suggestion(name, SCHEMA_NAMES)}`);
      }
      io.out(jsonSchemaText(known));
    });
}
