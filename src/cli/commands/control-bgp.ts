/**
 * `control bgp` and `bgp`, the same commands: neighbours of a running control node, or of a node that is a gateway, what
 * they say and are told, and changes while it runs.
 */
import type { Command } from 'commander';
import { parse } from 'yaml';
import { FAMILY_NAMES } from '../../bgp/wire/family-names.ts';
import { suggestion } from '../../config/nearest.ts';
import type { BgpNeighboursView, BgpPolicyView, BgpRouteView } from '../bgp-views.ts';
import { type Io, type SocketOptions, show, socketOptions, UsageError, withClient } from '../io.ts';
import { RpcError } from '../protocol.ts';
import {
  renderBgpRoutes,
  renderNeighbour,
  renderNeighbours,
  renderPolicies,
} from '../render/control-bgp.ts';

interface RouteOptions extends SocketOptions {
  readonly family?: string;
}

function familyOption(command: Command): Command {
  return command.option('--family <family>', `one of ${FAMILY_NAMES.join(', ')}; default all`);
}

function familyOf({ family }: RouteOptions): { family?: string } {
  if (family === undefined) return {};
  if (FAMILY_NAMES.some((known) => known === family)) return { family };
  throw new UsageError(`unknown family "${family}"${suggestion(family, FAMILY_NAMES)}`);
}

const given = (key: string, value: string | undefined) =>
  value === undefined ? {} : { [key]: value };

export function registerControlBgp(control: Command, io: Io): void {
  const bgp = control
    .command('bgp')
    .description('federation: neighbours, routes, and what of them crosses each session');
  registerViews(bgp, io, 'vrouter control bgp');
  registerNeighbour(bgp, io, 'vrouter control bgp');
}

/** At a node's socket. */
export function registerBgp(program: Command, io: Io): void {
  const bgp = program
    .command('bgp')
    .description('BGP of a gateway: neighbours, routes, and what of them crosses each session');
  registerViews(bgp, io, 'vrouter bgp');
  registerNeighbour(bgp, io, 'vrouter bgp');
}

/** words: what is typed to come here, for examples. */
function registerViews(bgp: Command, io: Io, words: string): void {
  socketOptions(bgp.command('neighbors').description('sessions and their counters'))
    .argument('[name]', 'all that is known of one')
    .addHelpText('after', `\nExamples:\n  ${words} neighbors\n  ${words} neighbors 10.169.25.20\n`)
    .action((name: string | undefined, options: SocketOptions) =>
      withClient(io, options, async (client) => {
        const view = await client.call<BgpNeighboursView>('bgp.neighbors');
        if (name === undefined) {
          show(io, options, view, renderNeighbours);
          return;
        }
        const found = view.neighbours.find((each) => each.name === name || each.address === name);
        if (found === undefined) throw new RpcError('NOT_FOUND', `no neighbour '${name}'`);
        show(io, options, found, renderNeighbour);
      }),
    );
  familyOption(
    socketOptions(
      bgp
        .command('routes')
        .description('every route, which paths are used, and why others are not'),
    ),
  )
    .argument('[prefix]', 'a prefix, an address, or a whole route with its distinguisher')
    .addHelpText('after', `\nExample:\n  ${words} routes --family vpnv4 10.96.0.10/32\n`)
    .action((prefix: string | undefined, options: RouteOptions) =>
      withClient(io, options, async (client) =>
        show(
          io,
          options,
          await client.all<BgpRouteView>('bgp.routes', {
            ...familyOf(options),
            ...given('prefix', prefix),
          }),
          renderBgpRoutes,
        ),
      ),
    );
  for (const [which, what] of [
    ['received', 'what a neighbour has said, before its policy'],
    ['advertised', 'what a neighbour has been told, after its policy'],
  ] as const) {
    familyOption(socketOptions(bgp.command(which).description(what)))
      .argument('<neighbor>', 'its name')
      .argument('[prefix]', 'a prefix, an address, or a whole route with its distinguisher')
      .addHelpText('after', `\nExample:\n  ${words} ${which} 10.169.25.20 --family evpn\n`)
      .action((neighbor: string, prefix: string | undefined, options: RouteOptions) =>
        withClient(io, options, async (client) =>
          show(
            io,
            options,
            await client.all<BgpRouteView>(`bgp.${which}`, {
              neighbor,
              ...familyOf(options),
              ...given('prefix', prefix),
            }),
            renderBgpRoutes,
          ),
        ),
      );
  }
  socketOptions(bgp.command('policies').description('terms, and who uses them'))
    .addHelpText('after', `\nExample:\n  ${words} policies --json\n`)
    .action((options: SocketOptions) =>
      withClient(io, options, async (client) =>
        show(io, options, await client.call<BgpPolicyView[]>('bgp.policies'), renderPolicies),
      ),
    );
}

interface ClearOptions extends SocketOptions {
  readonly in?: boolean;
  readonly out?: boolean;
  readonly text?: string;
}

/** `key=value`, the value as YAML has it: a number, a word, a list in brackets. */
export function settingsOf(pairs: readonly string[]): Record<string, unknown> {
  const settings: Record<string, unknown> = {};
  for (const pair of pairs) {
    const at = pair.indexOf('=');
    if (at < 1) throw new UsageError(`"${pair}" is not key=value`);
    const key = pair.slice(0, at);
    if (Object.hasOwn(settings, key)) throw new UsageError(`${key} is given twice`);
    try {
      settings[key] = parse(pair.slice(at + 1)) as unknown;
    } catch {
      throw new UsageError(`${key}: "${pair.slice(at + 1)}" cannot be read`);
    }
  }
  return settings;
}

function registerNeighbour(bgp: Command, io: Io, words: string): void {
  const neighbour = bgp
    .command('neighbor')
    .description('add, remove, stop and start neighbours while it runs; the file stays as it is');
  /** Calls, and says in a word what has been done. */
  const run = (options: SocketOptions, method: string, params: object, done: string) =>
    withClient(io, options, async (client) => {
      await client.call(method, params);
      show(io, options, { done: true }, () => `${done}\n`);
    });
  for (const [which, what, done] of [
    ['add', 'a neighbour, by its address and keys of the control file', 'added'],
    ['update', 'replaces all that is said of a neighbour', 'updated'],
  ] as const) {
    socketOptions(neighbour.command(which).description(what))
      .argument('<address>', 'IPv4 or IPv6')
      .argument('[settings...]', 'key=value, as under `neighbors` of a control file')
      .addHelpText(
        'after',
        `\nExample:\n  ${words} neighbor ${which} 10.169.25.20 as=64513 'families=[vpnv4, evpn]'\n`,
      )
      .action((address: string, pairs: readonly string[], options: SocketOptions) =>
        run(
          options,
          `bgp.neighbor.${which}`,
          { ...settingsOf(pairs), address },
          `${address} ${done}`,
        ),
      );
  }
  const named = (which: string, what: string) =>
    socketOptions(neighbour.command(which).description(what)).argument('<name>', 'its name');
  named('remove', 'ends its session and forgets it')
    .addHelpText('after', `\nExample:\n  ${words} neighbor remove 10.169.25.20\n`)
    .action((name: string, options: SocketOptions) =>
      run(options, 'bgp.neighbor.remove', { name }, `${name} removed`),
    );
  named('enable', 'lets its session come up again')
    .addHelpText('after', `\nExample:\n  ${words} neighbor enable 10.169.25.20\n`)
    .action((name: string, options: SocketOptions) =>
      run(options, 'bgp.neighbor.enable', { name }, `${name} enabled`),
    );
  named('disable', 'ends its session until it is enabled')
    .option('--text <text>', "for the peer's operator (RFC 9003)")
    .addHelpText(
      'after',
      `\nExample:\n  ${words} neighbor disable 10.169.25.20 --text maintenance\n`,
    )
    .action((name: string, options: ClearOptions) =>
      run(
        options,
        'bgp.neighbor.disable',
        { name, ...given('text', options.text) },
        `${name} disabled`,
      ),
    );
  named('clear', 'begins its session anew; --in and --out: says all again in the one there is')
    .option('--in', 'it says all that it has again (route refresh)')
    .option('--out', 'it is told all again')
    .option('--text <text>', "for the peer's operator (RFC 9003)")
    .addHelpText('after', `\nExample:\n  ${words} neighbor clear 10.169.25.20 --in\n`)
    .action((name: string, options: ClearOptions) => {
      if (options.in === true && options.out === true)
        throw new UsageError('clear: --in and --out exclude each other');
      const how = options.in === true ? 'in' : options.out === true ? 'out' : 'hard';
      return run(
        options,
        'bgp.neighbor.clear',
        { name, how, ...given('text', options.text) },
        `${name} cleared`,
      );
    });
}
