/** `vif`, `nh`, `rt`, `mpls`, `vxlan`: the tables of a running vRouter, with the ancestor's options. */

import { setTimeout as sleep } from 'node:timers/promises';
import { type Command, Option } from 'commander';
import { parsePrefix } from '../../addr/prefix.ts';
import { id32, vrfId } from '../arguments.ts';
import type { Client } from '../client.ts';
import { exactlyOne, type Io, type SocketOptions, show, socketOptions, withClient } from '../io.ts';
import { renderLabels, renderVnis } from '../render/labels.ts';
import { renderNextHopGet, renderNextHopList } from '../render/nh.ts';
import { renderMacs, renderRouteGet, renderRoutes } from '../render/rt.ts';
import { renderVif, renderVifRates, renderVifs, VIF_HEADER } from '../render/vif.ts';
import type {
  DropView,
  LabelView,
  MacView,
  NextHopView,
  RouteView,
  VifView,
  VniView,
} from '../views.ts';

interface VifOptions extends SocketOptions {
  readonly list?: boolean;
  readonly get?: number;
  readonly rate?: boolean;
  readonly getDropStats?: boolean;
}

const RATE_SECONDS = 1;

async function vifRates(client: Client, io: Io, options: VifOptions): Promise<void> {
  const read = async () =>
    (await client.all<VifView>('vif.list')).filter(
      (vif) => options.get === undefined || vif.id === options.get,
    );
  const before = await read();
  await sleep(RATE_SECONDS * 1000);
  const after = await read();
  show(io, options, { seconds: RATE_SECONDS, before, after }, (two) =>
    renderVifRates(two.before, two.after, two.seconds),
  );
}

async function runVif(command: Command, io: Io, options: VifOptions): Promise<void> {
  const what = exactlyOne(command, { list: options.list, get: options.get }, ['list', 'get']);
  await withClient(io, options, async (client) => {
    if (options.rate === true) {
      await vifRates(client, io, options);
    } else if (what === 'list') {
      show(io, options, await client.all<VifView>('vif.list'), renderVifs);
    } else {
      const vif = await client.call<VifView>('vif.get', { id: options.get });
      if (options.getDropStats === true) {
        const drops = (await client.call<DropView[]>('dropstats.get')).filter(
          (d) => d.packets !== 0,
        );
        show(io, options, { vif, drops }, (both) => VIF_HEADER + renderVif(both.vif, both.drops));
      } else {
        show(io, options, vif, (view) => VIF_HEADER + renderVif(view));
      }
    }
  });
}

function registerVif(program: Command, io: Io): void {
  const command = socketOptions(
    program.command('vif').description('interfaces of a running vrouter'),
  );
  command
    .option('--list', 'all interfaces')
    .option('--get <id>', 'one interface', id32)
    .option('--rate', 'errors and packets per second, measured over one second')
    .option('--get-drop-stats', "with --get: the router's drops by name as well")
    .addHelpText(
      'after',
      '\nExamples:\n  vrouter vif --list\n  vrouter vif --get 8\n  vrouter vif --list --rate\n',
    )
    .action((options: VifOptions) => runVif(command, io, options));
}

interface NextHopOptions extends SocketOptions {
  readonly list?: boolean;
  readonly get?: number;
}

function registerNextHop(program: Command, io: Io): void {
  const command = socketOptions(
    program.command('nh').description('next hops of a running vrouter'),
  );
  command
    .option('--list', 'all next hops')
    .option('--get <id>', 'one next hop, and those it is composed of', id32)
    .addHelpText('after', '\nExamples:\n  vrouter nh --list\n  vrouter nh --get 87 --json\n')
    .action(async (options: NextHopOptions) => {
      const what = exactlyOne(command, { list: options.list, get: options.get }, ['list', 'get']);
      await withClient(io, options, async (client) => {
        if (what === 'list')
          show(io, options, await client.all<NextHopView>('nh.list'), renderNextHopList);
        else {
          const tree = await client.call<NextHopView[]>('nh.get', { id: options.get });
          show(io, options, tree, renderNextHopGet);
        }
      });
    });
}

interface RouteOptions extends SocketOptions {
  readonly dump?: number;
  readonly get?: string;
  readonly vrf?: number;
  readonly family?: 'inet' | 'inet6' | 'bridge';
}

async function runRoutes(command: Command, io: Io, options: RouteOptions): Promise<void> {
  const what = exactlyOne(command, { dump: options.dump, get: options.get }, ['dump', 'get']);
  await withClient(io, options, async (client) => {
    if (what === 'get') {
      const text = options.get as string;
      const { family } = parsePrefix(
        text.includes('/') ? text : `${text}/${text.includes(':') ? 128 : 32}`,
      );
      const vrf = options.vrf ?? 0;
      const route = await client.call<RouteView>('rt.get', { prefix: text, vrf });
      const dump = {
        vrf,
        family: family === 4 ? ('inet' as const) : ('inet6' as const),
        routes: [route],
      };
      show(io, options, dump, (value) => renderRouteGet(value, route.prefix));
      return;
    }
    const vrf = options.dump as number;
    const family = options.family ?? 'inet';
    if (family === 'bridge') {
      const macs = await client.all<MacView>('rt.dump', { vrf, family });
      show(io, options, { vrf, family, macs }, renderMacs);
    } else {
      const routes = await client.all<RouteView>('rt.dump', { vrf, family });
      show(io, options, { vrf, family, routes }, renderRoutes);
    }
  });
}

function registerRoutes(program: Command, io: Io): void {
  const command = socketOptions(
    program.command('rt').description('routes and MACs of a running vrouter'),
  );
  command
    .option('--dump <vrf>', 'a whole table', vrfId)
    .option('--get <prefix>', 'the route that covers an address or prefix')
    .option('--vrf <vrf>', 'with --get: the VRF (default 0)', vrfId)
    .addOption(
      new Option('--family <family>', 'with --dump: which table (default inet)').choices([
        'inet',
        'inet6',
        'bridge',
      ]),
    )
    .addHelpText(
      'after',
      '\nThe dump lists the prefixes that were programmed, not their expansion to byte boundaries.\n' +
        '\nExamples:\n  vrouter rt --dump 2\n  vrouter rt --dump 2 --family bridge\n  vrouter rt --get 10.105.139.153/32 --vrf 2\n',
    )
    .action((options: RouteOptions) => runRoutes(command, io, options));
}

interface LabelOptions extends SocketOptions {
  readonly dump?: boolean;
  readonly get?: number;
}

function registerLabels(program: Command, io: Io): void {
  const mpls = socketOptions(
    program.command('mpls').description('MPLS labels of a running vrouter'),
  );
  mpls
    .option('--dump', 'all labels')
    .option('--get <label>', 'one label', id32)
    .addHelpText('after', '\nExamples:\n  vrouter mpls --dump\n  vrouter mpls --get 25\n')
    .action(async (options: LabelOptions) => {
      const what = exactlyOne(mpls, { dump: options.dump, get: options.get }, ['dump', 'get']);
      await withClient(io, options, async (client) => {
        const rows =
          what === 'dump'
            ? await client.all<LabelView>('mpls.dump')
            : [await client.call<LabelView>('mpls.get', { id: options.get })];
        show(io, options, rows, renderLabels);
      });
    });
  const vxlan = socketOptions(
    program.command('vxlan').description('VXLAN networks of a running vrouter'),
  );
  vxlan
    .option('--dump', 'all VNIs')
    .option('--get <vni>', 'one VNI', id32)
    .addHelpText('after', '\nExamples:\n  vrouter vxlan --dump\n  vrouter vxlan --get 5\n')
    .action(async (options: LabelOptions) => {
      const what = exactlyOne(vxlan, { dump: options.dump, get: options.get }, ['dump', 'get']);
      await withClient(io, options, async (client) => {
        const rows =
          what === 'dump'
            ? await client.all<VniView>('vxlan.dump')
            : [await client.call<VniView>('vxlan.get', { id: options.get })];
        show(io, options, rows, renderVnis);
      });
    });
}

export function registerTables(program: Command, io: Io): void {
  registerVif(program, io);
  registerNextHop(program, io);
  registerRoutes(program, io);
  registerLabels(program, io);
}
