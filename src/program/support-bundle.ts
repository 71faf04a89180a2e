/**
 * `vrouter support-bundle`: what someone who helps wants to see, in one file: every table of each vRouter as
 * JSON and as the tools print it, and what the host's kernel says of links, addresses, neighbours, filters.
 *
 * Invariants
 *  * Nothing is changed, and nothing is left out silently: what could not be had is in errors.txt with why.
 *  * No packet payloads: drops are in it by their headers only. No configuration file, so no secrets.
 *  * Bounded: MAX_ROWS of a table, MAX_BYTES of a command's output.
 */
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { Client } from '../cli/client.ts';
import type { Page } from '../cli/protocol.ts';
import { renderConfiguration } from '../cli/render/config.ts';
import { renderFlows } from '../cli/render/flow.ts';
import { renderLabels, renderVnis } from '../cli/render/labels.ts';
import { renderNextHopList } from '../cli/render/nh.ts';
import { renderMacs, renderRoutes } from '../cli/render/rt.ts';
import { renderDropLog, renderDrops, renderVrfStats } from '../cli/render/stats.ts';
import { renderStatus } from '../cli/render/status.ts';
import { renderVifs } from '../cli/render/vif.ts';
import { VERSION } from '../cli/version.ts';
import type { FlowTableView, FlowView, VrfStatsView } from '../cli/views.ts';
import { VRouterError } from '../errors.ts';

const MAX_ROWS = 20_000;
const MAX_BYTES = 4 << 20;
const COMMAND_MS = 10_000;

interface Item {
  readonly file: string;
  readonly method: string;
  readonly params?: Record<string, unknown>;
  /** A list that comes in pages: the first MAX_ROWS. */
  readonly paged?: boolean;
  readonly text?: (value: never) => string;
}

/** What a node answers; a route exchange knows but a few of these, and that is said. */
const NODE_ITEMS: readonly Item[] = [
  { file: 'status', method: 'status', text: renderStatus },
  { file: 'vif', method: 'vif.list', paged: true, text: renderVifs },
  { file: 'nh', method: 'nh.list', paged: true, text: renderNextHopList },
  { file: 'mpls', method: 'mpls.dump', paged: true, text: renderLabels },
  { file: 'vxlan', method: 'vxlan.dump', paged: true, text: renderVnis },
  { file: 'vrfstats', method: 'vrfstats.dump', text: renderVrfStats },
  {
    file: 'dropstats',
    method: 'dropstats.get',
    text: (drops) => renderDrops(drops, true),
  },
  { file: 'dropstats-log', method: 'dropstats.log', params: {}, text: renderDropLog },
  { file: 'unresolved', method: 'route.unresolved' },
  { file: 'services', method: 'services.status' },
  { file: 'configuration', method: 'config.show', text: renderConfiguration },
];

const EXCHANGE_ITEMS: readonly Item[] = [
  { file: 'status', method: 'status', text: renderStatus },
  { file: 'instances', method: 'instance.list' },
];

/** Of the namespace this runs in. */
const HOST_COMMANDS: readonly (readonly string[])[] = [
  ['uname', '-a'],
  ['ip', '-d', '-s', 'link'],
  ['ip', 'addr'],
  ['ip', 'route', 'show', 'table', 'all'],
  ['ip', '-6', 'route', 'show', 'table', 'all'],
  ['ip', 'neigh'],
  ['ip', 'netns'],
  ['tc', '-s', 'qdisc'],
  ['nft', 'list', 'ruleset'],
  ['ss', '-s'],
  ['lscpu'],
  ['free', '-m'],
  ['journalctl', '-u', 'vrouter*', '-n', '2000', '--no-pager'],
];

const execute = promisify(execFile);

class Bundle {
  readonly directory: string;
  readonly errors: string[] = [];

  constructor(directory: string) {
    this.directory = directory;
  }

  write(folder: string, file: string, text: string): void {
    mkdirSync(join(this.directory, folder), { recursive: true });
    writeFileSync(join(this.directory, folder, file), text);
  }

  /** What fails is noted, and the rest goes on. */
  async attempt(what: string, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.errors.push(`${what}: ${(error as Error).message.split('\n')[0]}`);
    }
  }
}

async function rows(client: Client, item: Item): Promise<unknown> {
  if (item.paged !== true) return client.call(item.method, item.params ?? {});
  const page = await client.call<Page<unknown>>(item.method, { ...item.params, limit: MAX_ROWS });
  return page.items;
}

async function collect(bundle: Bundle, client: Client, folder: string, item: Item): Promise<void> {
  await bundle.attempt(`${folder}: ${item.method}`, async () => {
    const value = await rows(client, item);
    bundle.write(folder, `${item.file}.json`, `${JSON.stringify(value, null, 1)}\n`);
    if (item.text !== undefined)
      bundle.write(folder, `${item.file}.txt`, item.text(value as never));
  });
}

async function collectRoutes(bundle: Bundle, client: Client, folder: string): Promise<void> {
  const vrfs = await client.call<VrfStatsView[]>('vrfstats.dump');
  for (const { vrf } of vrfs) {
    for (const family of ['inet', 'inet6'] as const) {
      await collect(bundle, client, folder, {
        file: `rt-${vrf}-${family}`,
        method: 'rt.dump',
        params: { vrf, family },
        paged: true,
        text: (routes) => renderRoutes({ vrf, family, routes }),
      });
    }
    await collect(bundle, client, folder, {
      file: `rt-${vrf}-bridge`,
      method: 'rt.dump',
      params: { vrf, family: 'bridge' },
      paged: true,
      text: (macs) => renderMacs({ vrf, family: 'bridge', macs }),
    });
  }
}

async function collectFlows(bundle: Bundle, client: Client, folder: string): Promise<void> {
  const table = await client.call<FlowTableView>('flow.table');
  const { items } = await client.call<Page<FlowView>>('flow.list', { limit: MAX_ROWS });
  bundle.write(folder, 'flow.json', `${JSON.stringify({ table, flows: items }, null, 1)}\n`);
  bundle.write(folder, 'flow.txt', renderFlows({ table, flows: items }));
}

async function collectProcess(bundle: Bundle, path: string): Promise<void> {
  const client = await Client.connect(path);
  try {
    const status = await client.call<{ name: string; generation?: number }>('status');
    const folder = status.name;
    const node = status.generation !== undefined;
    for (const item of node ? NODE_ITEMS : EXCHANGE_ITEMS)
      await collect(bundle, client, folder, item);
    if (node) {
      await bundle.attempt(`${folder}: routes`, () => collectRoutes(bundle, client, folder));
      await bundle.attempt(`${folder}: flows`, () => collectFlows(bundle, client, folder));
      return;
    }
    const instances = await client.call<{ name: string }[]>('instance.list');
    for (const { name } of instances) {
      const params = { instance: name };
      await collect(bundle, client, folder, {
        file: `rt-${name}`,
        method: 'instance.routes',
        params,
      });
    }
  } finally {
    client.close();
  }
}

async function collectHost(bundle: Bundle): Promise<void> {
  for (const argv of HOST_COMMANDS) {
    const [command, ...rest] = argv as [string, ...string[]];
    const file = `${argv.join(' ').replace(/[^\w.-]+/g, '_')}.txt`;
    await bundle.attempt(`host: ${argv.join(' ')}`, async () => {
      const { stdout } = await execute(command, rest, {
        maxBuffer: MAX_BYTES,
        timeout: COMMAND_MS,
      });
      bundle.write('host', file, stdout);
    });
  }
}

/** Returns where it is and what is missing in it. */
export async function supportBundle(
  sockets: readonly string[],
  out: string | undefined,
): Promise<{ readonly file: string; readonly errors: readonly string[] }> {
  const name = `vrouter-${hostname()}-${new Date().toISOString().replace(/[:.]/g, '-')}`;
  const file = resolve(out ?? `${name}.tar.gz`);
  const scratch = mkdtempSync(join(tmpdir(), 'vrouter-bundle-'));
  try {
    const bundle = new Bundle(join(scratch, name));
    bundle.write('', 'version.txt', `vrouter ${VERSION}, Node.js ${process.version}\n`);
    for (const path of sockets) await bundle.attempt(path, () => collectProcess(bundle, path));
    await collectHost(bundle);
    bundle.write('', 'errors.txt', bundle.errors.map((line) => `${line}\n`).join(''));
    try {
      await execute('tar', ['-czf', file, '-C', scratch, name]);
    } catch (error) {
      throw new VRouterError(
        'WRITE_FAILED',
        `${file}: ${(error as Error).message.split('\n')[1] ?? error}`,
      );
    }
    return { file, errors: bundle.errors };
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}
