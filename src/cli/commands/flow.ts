/** `flow`: the flow table of a running vRouter, with the ancestor's options. */

import { setTimeout as sleep } from 'node:timers/promises';
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
} from '../render/flow.ts';
import type { FlowDetail, FlowListing, FlowStatistics, FlowTableView, FlowView } from '../views.ts';

interface FlowOptions extends SocketOptions {
  readonly list?: boolean;
  readonly match?: string;
  readonly get?: number;
  readonly rate?: boolean;
  readonly stats?: boolean;
  readonly showEvicted?: boolean;
  readonly invalidate?: number;
  readonly flush?: boolean;
  readonly count?: number;
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
  const flows = await client.all<FlowView>('flow.list', params);
  const table = await client.call<FlowTableView>('flow.table');
  const listing: FlowListing = {
    table,
    flows: options.showEvicted === true ? flows.filter((flow) => flow.flags.includes('E')) : flows,
  };
  const title = match === undefined ? undefined : flowMatchText(match);
  show(io, options, listing, (value) => renderFlows(value, title));
}

async function rates(client: Client, io: Io, options: FlowOptions): Promise<void> {
  let before = await client.call<FlowStatistics>('flow.stats');
  for (let i = 0; options.count === undefined || i < options.count; i++) {
    await sleep(1000);
    const after = await client.call<FlowStatistics>('flow.stats');
    if (options.json === true) io.out(`${JSON.stringify(after)}\n`);
    else {
      const when = new Date().toISOString();
      io.out(renderFlowRate(before.table, after.table, 1, after.byAction.hold, when));
    }
    before = after;
  }
}

async function run(command: Command, io: Io, options: FlowOptions): Promise<void> {
  const what = exactlyOne(command, options as Record<string, unknown>, ACTIONS);
  // Said before a socket is looked for: a wrong filter is wrong everywhere.
  if (options.match !== undefined) parseFlowMatch(options.match);
  await withClient(io, options, async (client) => {
    switch (what) {
      case 'get':
        show(
          io,
          options,
          await client.call<FlowDetail>('flow.get', { id: options.get }),
          renderFlowGet,
        );
        return;
      case 'rate':
        return rates(client, io, options);
      case 'stats':
        show(io, options, await client.call<FlowStatistics>('flow.stats'), renderFlowStatistics);
        return;
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
    .option('--count <n>', 'with --rate: stop after n lines', id32)
    .option('-s, --stats', 'entries by action')
    .option('--show-evicted', 'evicted flows only')
    .option('-i, --invalidate <index>', 'end a flow; its next packet is decided anew', id32)
    .option('-F, --flush', 'end all flows')
    .addHelpText(
      'after',
      '\nA filter matches both directions; a port may be *, IPv6 is written [address]:port.\n' +
        '\nExamples:\n  vrouter flow -l\n  vrouter flow --match "10.105.139.153:8888 & proto tcp"\n' +
        '  vrouter flow --match "10.47.255.237,10.105.139.153 & vrf 2"\n  vrouter flow --get 338668\n',
    )
    .action((options: FlowOptions) => run(command, io, options));
}
