/** `vif`, `nh`, `rt`, `mpls`, `vxlan`: the tables of a running vRouter, with the ancestor's options. */

import { setTimeout as sleep } from 'node:timers/promises';
import { type Command, Option } from 'commander';
import { parsePrefix } from '../../addr/prefix.ts';
import { id32, vrfId } from '../arguments.ts';
import type { Client } from '../client.ts';
import {
  exactlyOne,
  type Io,
  type SocketOptions,
  show,
  socketOptions,
  UsageError,
  withClient,
} from '../io.ts';
import { renderInfo, renderVrfTable } from '../render/info.ts';
import { renderLabels, renderVnis } from '../render/labels.ts';
import { renderNextHopGet, renderNextHopList } from '../render/nh.ts';
import { renderMacs, renderRouteGet, renderRoutes } from '../render/rt.ts';
import { renderVif, renderVifRates, VIF_HEADER, withVifRates } from '../render/vif.ts';
import type {
  DropView,
  InfoView,
  LabelView,
  MacView,
  NextHopView,
  RouteChangesView,
  RouteView,
  VifView,
  VniView,
  VrfStatsView,
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
  readonly monitor?: boolean;
}

const MONITOR_MS = 100;

/** A line of JSON a change, as the ancestor's; from now on, or until `count` of them. */
async function monitorRoutes(client: Client, io: Io, options: RouteOptions): Promise<void> {
  let { last } = await client.call<RouteChangesView>('rt.changes');
  const { count = Number.POSITIVE_INFINITY } = options;
  for (let told = 0; told < count; ) {
    await sleep(MONITOR_MS);
    const found = await client.call<RouteChangesView>('rt.changes', { after: last });
    if (found.lost > 0) io.err(`${found.lost} changes came too fast and are not shown\n`);
    for (const { number, ...change } of found.changes) {
      if (told++ < count) io.out(`${JSON.stringify(change)}\n`);
    }
    last = found.last;
  }
}

async function runRoutes(command: Command, io: Io, options: RouteOptions): Promise<void> {
  const { dump, get, monitor } = options;
  const what = exactlyOne(command, { dump, get, monitor }, ['dump', 'get', 'monitor']);
  await withClient(io, options, async (client) => {
    if (what === 'monitor') return monitorRoutes(client, io, options);
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
    .option('--monitor', 'route changes from now on, a line of JSON each')
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
        '\nExamples:\n  vrouter rt --dump 2\n  vrouter rt --dump 2 --family bridge\n  vrouter rt --get 10.105.139.153/32 --vrf 2\n  vrouter rt --monitor\n',
    )
    .action((options: RouteOptions) => runRoutes(command, io, options));
}

interface LabelOptions extends SocketOptions {
  readonly dump?: boolean;
  readonly get?: number;
}

function registerInfo(program: Command, io: Io): void {
  socketOptions(
    program.command('info').description('limits and use of the tables of a running vrouter'),
  )
    .addHelpText('after', '\nExample:\n  vrouter info\n')
    .action((options: SocketOptions) =>
      withClient(io, options, async (client) =>
        show(io, options, await client.call<InfoView>('info'), renderInfo),
      ),
    );
  socketOptions(
    program.command('vrftable').description('VRFs of a running vrouter, by id and name'),
  )
    .option('--dump', 'all VRFs; the default')
    .option('--get <vrf>', 'one VRF', vrfId)
    .addHelpText('after', '\nExamples:\n  vrouter vrftable --dump\n  vrouter vrftable --get 2\n')
    .action((options: SocketOptions & { readonly get?: number }) =>
      withClient(io, options, async (client) => {
        const all = (await client.call<VrfStatsView[]>('vrfstats.dump')).map(({ vrf, name }) => ({
          vrf,
          name,
        }));
        const rows = options.get === undefined ? all : all.filter(({ vrf }) => vrf === options.get);
        if (rows.length === 0) throw new UsageError(`vrftable: there is no VRF ${options.get}`);
        show(io, options, rows, renderVrfTable);
      }),
    );
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
  registerInfo(program, io);
}
