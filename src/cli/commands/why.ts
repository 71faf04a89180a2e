/** `why`: what is in the way between two ends, walked through every node that is asked. */
import { type Command, Option } from 'commander';
import { canonicalIp, parseIp } from '../../addr/ip.ts';
import { suggestion } from '../../config/nearest.ts';
import { wholeNumber } from '../arguments.ts';
import { Client, findSockets } from '../client.ts';
import { FRAME_PROTOCOLS } from '../frame.ts';
import { type Io, show, UsageError } from '../io.ts';
import { renderWhy } from '../render/why.ts';
import { type Asked, readProcesses } from '../why/nodes.ts';
import { findSender, type WhyView, why } from '../why/walk.ts';

interface WhyOptions {
  readonly sock?: readonly string[];
  readonly sport?: number;
  readonly size: number;
  readonly from?: string;
  readonly verbose?: boolean;
  readonly json?: boolean;
}

const EXIT = { works: 0, broken: 1, unknown: 2 } as const;

async function withClients<T>(
  paths: readonly string[],
  run: (clients: readonly Client[]) => Promise<T>,
): Promise<T> {
  const clients: Client[] = [];
  try {
    for (const path of paths) clients.push(await Client.connect(path));
    return await run(clients);
  } finally {
    for (const client of clients) client.close();
  }
}

function sender(asked: Asked, text: string) {
  const places = findSender(asked, text);
  const [place] = places;
  if (place === undefined) {
    const waiting = asked.nodes.flatMap((node) =>
      node.waiting.filter(({ port }) => port === text).map(({ reason }) => ({ node, reason })),
    );
    for (const { node, reason } of waiting)
      throw new UsageError(`why: ${text} on ${node.name} waits for its configuration: ${reason}`);
    const names = asked.nodes.flatMap((node) =>
      node.vifs.filter(({ type }) => type === 'Virtual').map(({ name }) => name),
    );
    throw new UsageError(
      `why: no node that was asked has an interface or address ${text}${suggestion(text, names)}`,
    );
  }
  if (places.length > 1) {
    const list = places.map(({ node, vif }) => `${node.name}:${vif.name}`).join(', ');
    throw new UsageError(`why: ${text} is ${list}; name one of these`);
  }
  return place;
}

/** An address, or an interface's name: its address of the sender's family. */
function receiverAddress(asked: Asked, text: string, six: boolean | undefined): string {
  try {
    return canonicalIp(text);
  } catch {
    const [place] = findSender(asked, text);
    const address = six === true ? place?.vif.ipv6 : (place?.vif.ipv4 ?? place?.vif.ipv6);
    if (address === undefined || address === null)
      throw new UsageError(`why: ${text} is no address, and no interface with one`);
    return address;
  }
}

async function ask(
  asked: Asked,
  source: string,
  destination: string,
  protocol: string | undefined,
  port: number | undefined,
  options: WhyOptions,
): Promise<WhyView> {
  const from = sender(asked, source);
  const given = /^[\d.]+$|^[\da-f]*:[\da-f:.]*$/i.test(source) ? canonicalIp(source) : undefined;
  const to = receiverAddress(asked, destination, given?.includes(':'));
  const six = parseIp(to).family === 6;
  const own = options.from ?? given ?? (six ? from.vif.ipv6 : from.vif.ipv4);
  if (own === null || own.includes(':') !== six)
    throw new UsageError(
      `why: ${from.vif.name} has no IPv${six ? 6 : 4} address; name one with --from`,
    );
  const named = protocol ?? (port === undefined ? 'icmp' : 'tcp');
  const question = {
    source: canonicalIp(own),
    destination: to,
    protocol: named === 'icmp' && six ? 'icmp6' : named,
    port: port ?? (named.startsWith('icmp') ? 1 : 80),
    sourcePort: options.sport,
    size: options.size,
  };
  return why(asked, question, from);
}

export function registerWhy(program: Command, io: Io): void {
  const port = wholeNumber(65535);
  program
    .command('why')
    .description('the first thing in the way between two ends, both directions; nothing is sent')
    .argument('<source>', "an interface's name or its address; node:name where several have it")
    .argument('<destination>', "an address, or an interface's name")
    .argument('[protocol]', `${FRAME_PROTOCOLS.join(', ')}; default icmp`)
    .argument('[port]', "the receiver's port; default 80", port)
    .addOption(
      new Option(
        '--sock <paths...>',
        'sockets of nodes, and of route exchanges; default all in /run/vrouter, or VROUTER_SOCK',
      ),
    )
    .option('--sport <port>', "the sender's port; default as many as there are paths", port)
    .option('--size <bytes>', 'of an IP packet that may not be split', wholeNumber(65_535), 0)
    .option('--from <ip>', "source address, when it is not the interface's own")
    .option('--verbose', 'what each room did')
    .option('--json', 'print JSON instead of text')
    .addHelpText(
      'after',
      '\nExit status: 0 it works, 1 it does not, 2 it cannot be known from here (a node was not asked).\n' +
        'The causes it can name are in docs/why.md.\n' +
        '\nExamples:\n  vrouter why client 10.105.139.153 tcp 8888\n' +
        '  vrouter why 10.1.0.4 10.1.0.5 icmp --size 1500 --sock a.sock b.sock control.sock\n',
    )
    .action(
      async (
        source: string,
        destination: string,
        protocol: string | undefined,
        toPort: number | undefined,
        options: WhyOptions,
      ) => {
        if (protocol !== undefined && !FRAME_PROTOCOLS.some((known) => known === protocol)) {
          throw new UsageError(
            `why: unknown protocol "${protocol}"${suggestion(protocol, FRAME_PROTOCOLS)}`,
          );
        }
        const view = await withClients(findSockets(options.sock, io.env), async (clients) =>
          ask(await readProcesses(clients), source, destination, protocol, toPort, options),
        );
        const { json = false, verbose = false } = options;
        show(io, { json }, view, (value) => renderWhy(value, verbose));
        if (view.verdict !== 'works') io.fail(EXIT[view.verdict]);
      },
    );
}
