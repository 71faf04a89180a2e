/** `flow`: the flow table of a running vRouter, with the ancestor's options. */

import type { Command } from 'commander';
import { id32 } from '../arguments.ts';
import type { Client } from '../client.ts';
import { flowMatchText, parseFlowMatch } from '../flow-match.ts';
import { exactlyOne, type Io, type SocketOptions, show, socketOptions, withClient } from '../io.ts';
import {
  renderFlowGet,
  renderFlowRate,
  renderFlowStatistics,
  renderFlows,
  withFlowRates,
  withSetUpRates,
} from '../render/flow.ts';
import type { FlowDetail, FlowListing, FlowStatistics, FlowTableView, FlowView } from '../views.ts';
import { type WatchOptions, watched, watchOption } from '../watch.ts';

interface FlowOptions extends SocketOptions, WatchOptions {
  readonly list?: boolean;
  readonly match?: string;
  readonly get?: number;
  readonly rate?: boolean;
  readonly stats?: boolean;
  readonly showEvicted?: boolean;
  readonly invalidate?: number;
  readonly flush?: boolean;
}

const ACTIONS = [
  'list',
  'match',
  'get',
  'rate',
  'stats',
  'showEvicted',
  'invalidate',
  'flush',
] as const;

async function list(client: Client, io: Io, options: FlowOptions): Promise<void> {
  const match = options.match === undefined ? undefined : parseFlowMatch(options.match);
  const params = options.match === undefined ? {} : { match: options.match };
  const title = match === undefined ? undefined : flowMatchText(match);
  const read = async (): Promise<FlowListing> => {
    const flows = await client.all<FlowView>('flow.list', params);
    const table = await client.call<FlowTableView>('flow.table');
    const evicted = options.showEvicted === true;
    return { table, flows: evicted ? flows.filter(({ flags }) => flags.includes('E')) : flows };
  };
  await watched(options, read, ({ table, flows }, before) => {
    const rated = withFlowRates(flows, before?.value.flows ?? [], before?.seconds ?? 0);
    show(io, options, { table, flows: rated }, (value) => renderFlows(value, title));
  });
}

/** A line each look but the first. */
async function rates(client: Client, io: Io, options: FlowOptions): Promise<void> {
  const { watch = 1, count } = options;
  await watched(
    { watch, ...(count === undefined ? {} : { count: count + 1 }) },
    () => client.call<FlowStatistics>('flow.stats'),
    (after, before) => {
      if (before === undefined) return;
      const when = new Date().toISOString();
      const { value, seconds } = before;
      if (options.json === true) io.out(`${JSON.stringify(after)}\n`);
      else io.out(renderFlowRate(value.table, after.table, seconds, after.byAction.hold, when));
    },
  );
}

async function run(command: Command, io: Io, options: FlowOptions): Promise<void> {
  const what = exactlyOne(command, options as Record<string, unknown>, ACTIONS);
  // Said before a socket is looked for: a wrong filter is wrong everywhere.
  if (options.match !== undefined) parseFlowMatch(options.match);
  await withClient(io, options, async (client) => {
    switch (what) {
      case 'get':
        return watched(
          options,
          () => client.call<FlowDetail>('flow.get', { id: options.get }),
          (detail) => show(io, options, detail, renderFlowGet),
        );
      case 'rate':
        return rates(client, io, options);
      case 'stats':
        return watched(
          options,
          () => client.call<FlowStatistics>('flow.stats'),
          (now, before) => show(io, options, withSetUpRates(now, before), renderFlowStatistics),
        );
      case 'invalidate':
        await client.call('flow.delete', { id: options.invalidate });
        show(io, options, { deleted: options.invalidate }, (v) => `Flow ${v.deleted} deleted\n`);
        return;
      case 'flush':
        await client.call('flow.flush');
        show(io, options, { flushed: true }, () => 'All flows deleted\n');
        return;
      default:
        return list(client, io, options);
    }
  });
}

export function registerFlow(program: Command, io: Io): void {
  const command = socketOptions(program.command('flow').description('flows of a running vrouter'));
  command
    .option('-l, --list', 'all flows')
    .option('--match <filter>', 'flows with these ends: "ip:port,ip:port & vrf N & proto tcp"')
    .option('--get <index>', 'one flow in words', id32)
    .option('-r, --rate', 'set-up and removal rates, a line each second')
    .addOption(watchOption())
    .option('--count <n>', 'with --rate or --watch: stop after n lines or looks', id32)
    .option('-s, --stats', 'entries by action')
    .option('--show-evicted', 'evicted flows only')
    .option('-i, --invalidate <index>', 'end a flow; its next packet is decided anew', id32)
    .option('-F, --flush', 'end all flows')
    .addHelpText(
      'after',
      '\nA filter matches both directions; a port may be *, IPv6 is written [address]:port.\n' +
        '\nExamples:\n  vrouter flow -l\n  vrouter flow --match "10.105.139.153:8888 & proto tcp"\n' +
        '  vrouter flow --match "10.47.255.237,10.105.139.153 & vrf 2"\n  vrouter flow --get 338668\n' +
        '  vrouter flow -l --watch 5\n',
    )
    .action((options: FlowOptions) => run(command, io, options));
}
