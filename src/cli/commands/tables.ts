/** `vif`, `nh`, `rt`, `mpls`, `vxlan`: the tables of a running vRouter, with the ancestor's options. */

import { type Command, Option } from 'commander';
import { parsePrefix } from '../../addr/prefix.ts';
import { id32, vrfId } from '../arguments.ts';
import type { Client } from '../client.ts';
import { exactlyOne, type Io, type SocketOptions, show, socketOptions, withClient } from '../io.ts';
import { renderLabels, renderVnis } from '../render/labels.ts';
import { renderNextHopGet, renderNextHopList } from '../render/nh.ts';
import { renderMacs, renderRouteGet, renderRoutes } from '../render/rt.ts';
import { renderVif, renderVifRates, VIF_HEADER, withVifRates } from '../render/vif.ts';
import type {
  DropView,
  LabelView,
  MacView,
  NextHopView,
  RouteView,
  VifView,
  VniView,
} from '../views.ts';
import { type Before, type WatchOptions, watched, watchOptions } from '../watch.ts';

interface VifOptions extends SocketOptions, WatchOptions {
  readonly list?: boolean;
  readonly get?: number;
  readonly rate?: boolean;
  readonly getDropStats?: boolean;
}

const RATE_SECONDS = 1;

/** A table each look but the first; without --watch: one. */
async function vifTable(client: Client, io: Io, options: VifOptions): Promise<void> {
  const watch = options.watch ?? RATE_SECONDS;
  const tables = options.watch === undefined ? 1 : options.count;
  await watched(
    { watch, ...(tables === undefined ? {} : { count: tables + 1 }) },
    async () =>
      (await client.all<VifView>('vif.list')).filter(
        (vif) => options.get === undefined || vif.id === options.get,
      ),
    (after, before) => {
      if (before === undefined) return;
      const { value, seconds } = before;
      show(io, options, { seconds, before: value, after }, (two) =>
        renderVifRates(two.before, two.after, two.seconds),
      );
    },
  );
}

interface VifReading {
  readonly vifs: readonly VifView[];
  readonly drops: readonly DropView[];
}

async function readVifs(client: Client, options: VifOptions): Promise<VifReading> {
  if (options.get === undefined) return { vifs: await client.all<VifView>('vif.list'), drops: [] };
  const vifs = [await client.call<VifView>('vif.get', { id: options.get })];
  const drops = options.getDropStats === true ? await client.call<DropView[]>('dropstats.get') : [];
  return { vifs, drops: drops.filter((d) => d.packets !== 0) };
}

function showVifs(
  io: Io,
  options: VifOptions,
  { vifs, drops }: VifReading,
  before: Before<VifReading> | undefined,
): void {
  const rows = withVifRates(vifs, before?.value.vifs ?? [], before?.seconds ?? 0);
  const text = () => VIF_HEADER + rows.map((vif) => renderVif(vif, drops)).join('');
  const [one] = rows;
  if (options.get === undefined) show(io, options, rows, text);
  else if (options.getDropStats === true) show(io, options, { vif: one, drops }, text);
  else show(io, options, one, text);
}

async function runVif(command: Command, io: Io, options: VifOptions): Promise<void> {
  exactlyOne(command, { list: options.list, get: options.get }, ['list', 'get']);
  await withClient(io, options, async (client) => {
    if (options.rate === true) await vifTable(client, io, options);
    else {
      await watched(
        options,
        () => readVifs(client, options),
        (now, before) => showVifs(io, options, now, before),
      );
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
    .option('--get-drop-stats', "with --get: the router's drops by name as well");
  watchOptions(command)
    .addHelpText(
      'after',
      '\nWith --watch, from the second look on, also packets and bits a second since the last one.\n' +
        '\nExamples:\n  vrouter vif --list\n  vrouter vif --get 8 --watch\n  vrouter vif --list --rate\n',
    )
    .action((options: VifOptions) => runVif(command, io, options));
}

interface NextHopOptions extends SocketOptions, WatchOptions {
  readonly list?: boolean;
  readonly get?: number;
}

function registerNextHop(program: Command, io: Io): void {
  const command = socketOptions(
    program.command('nh').description('next hops of a running vrouter'),
  );
  command
    .option('--list', 'all next hops')
    .option('--get <id>', 'one next hop, and those it is composed of', id32);
  watchOptions(command)
    .addHelpText('after', '\nExamples:\n  vrouter nh --list\n  vrouter nh --get 87 --json\n')
    .action(async (options: NextHopOptions) => {
      const what = exactlyOne(command, { list: options.list, get: options.get }, ['list', 'get']);
      await withClient(io, options, async (client) => {
        await watched(
          options,
          () =>
            what === 'list'
              ? client.all<NextHopView>('nh.list')
              : client.call<NextHopView[]>('nh.get', { id: options.get }),
          (rows) => show(io, options, rows, what === 'list' ? renderNextHopList : renderNextHopGet),
        );
      });
    });
}

interface RouteOptions extends SocketOptions, WatchOptions {
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
      await watched(
        options,
        () => client.call<RouteView>('rt.get', { prefix: text, vrf }),
        (route) => {
          const dump = {
            vrf,
            family: family === 4 ? ('inet' as const) : ('inet6' as const),
            routes: [route],
          };
          show(io, options, dump, (value) => renderRouteGet(value, route.prefix));
        },
      );
      return;
    }
    const vrf = options.dump as number;
    const family = options.family ?? 'inet';
    if (family === 'bridge') {
      await watched(
        options,
        () => client.all<MacView>('rt.dump', { vrf, family }),
        (macs) => show(io, options, { vrf, family, macs }, renderMacs),
      );
    } else {
      await watched(
        options,
        () => client.all<RouteView>('rt.dump', { vrf, family }),
        (routes) => show(io, options, { vrf, family, routes }, renderRoutes),
      );
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
    );
  watchOptions(command)
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
