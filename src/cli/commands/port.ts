/** `port`: tenants' ports, plugged into a running node over its plug API (docs/plug-api.md). */
import { readFileSync } from 'node:fs';
import { request } from 'node:http';
import { type Command, Option } from 'commander';
import { parse } from 'yaml';
import { type Io, show, UsageError } from '../io.ts';

interface PortOptions {
  readonly plug: string;
  readonly json?: boolean;
  readonly file?: string;
}
interface Answer {
  readonly status: number;
  readonly body: {
    readonly code?: string;
    readonly detail?: string;
    readonly [key: string]: unknown;
  };
}
interface Row {
  readonly id: string;
  readonly state: string;
  readonly generation: number | null;
  readonly error: string | null;
  readonly port: {
    /** Without vrf and addresses: what it is is said by a control node. */
    readonly vmi?: string;
    readonly vrf?: string;
    readonly ipv4?: string;
    readonly ipv6?: string;
    readonly port: { readonly kind: string };
  };
}

class PlugError extends Error {
  override readonly name = 'PlugError';
  readonly code: string;
  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

function ask(options: PortOptions, method: string, path: string, body?: unknown): Promise<Answer> {
  const text = body === undefined ? undefined : JSON.stringify(body);
  return new Promise((resolve, reject) => {
    const headers = text === undefined ? {} : { 'content-type': 'application/json' };
    const call = request({ socketPath: options.plug, method, path, headers }, (response) => {
      let all = '';
      response.setEncoding('utf8').on('data', (part: string) => {
        all += part;
      });
      response.on('end', () => {
        const answer = {
          status: response.statusCode ?? 0,
          body: all === '' ? {} : JSON.parse(all),
        } as Answer;
        if (answer.status < 400) return resolve(answer);
        const { code = 'HTTP', detail = `status ${answer.status}` } = answer.body;
        reject(new PlugError(code, `${path.split('/').at(-1)}: ${code}: ${detail}`));
      });
    });
    call.on('error', (error) =>
      reject(new PlugError('NO_CONNECTION', `${options.plug}: ${error.message}`)),
    );
    call.end(text);
  });
}

const line = ({ id, state, error, port }: Row) =>
  `${id.padEnd(24)} ${state.padEnd(11)} ${port.port.kind.padEnd(10)} ${(port.vrf ?? port.vmi ?? '-').padEnd(24)} ${port.ipv4 ?? port.ipv6 ?? '-'}${error === null ? '' : `  ${error}`}\n`;

export function registerPort(program: Command, io: Io): void {
  const port = program
    .command('port')
    .description('ports of tenants, plugged in and out while the node runs');
  const withSocket = (command: Command) =>
    command
      .addOption(
        new Option('--plug <path>', "socket of the node's plug API")
          .env('VROUTER_PLUG')
          .makeOptionMandatory(),
      )
      .option('--json', 'print JSON instead of text');
  withSocket(
    port.command('add').description('add a port, or change one; the same again changes nothing'),
  )
    .argument('<id>', 'a name for it, e.g. the UID of a pod')
    .requiredOption(
      '--file <file>',
      'the port as YAML or JSON (a vif of the node file, or one of its ports, without its name); - for standard input',
    )
    .addHelpText(
      'after',
      '\nExample:\n  vrouter port add pod7 --plug /run/vrouter/cent222.plug --file pod7.yaml\n',
    )
    .action(async (id: string, options: PortOptions) => {
      const text = readFileSync(options.file === '-' ? 0 : (options.file as string), 'utf8');
      const body = parse(text) as unknown;
      if (typeof body !== 'object' || body === null)
        throw new UsageError(`port add: ${options.file} holds no port`);
      const { body: done } = await ask(options, 'PUT', `/v1/ports/${encodeURIComponent(id)}`, body);
      show(io, options, done, (value) =>
        value['state'] === 'waiting'
          ? `${id} ${value['outcome']}, waiting: ${value['error']}\n`
          : `${id} ${value['outcome']}, generation ${value['generation']}\n`,
      );
    });
  withSocket(port.command('remove').description('remove a port; one that is not there is no error'))
    .argument('<id>', 'its name')
    .addHelpText(
      'after',
      '\nExample:\n  vrouter port remove pod7 --plug /run/vrouter/cent222.plug\n',
    )
    .action(async (id: string, options: PortOptions) => {
      await ask(options, 'DELETE', `/v1/ports/${encodeURIComponent(id)}`);
      show(io, options, { removed: id }, () => `${id} removed\n`);
    });
  withSocket(port.command('list').description('all plugged ports'))
    .addHelpText('after', '\nExample:\n  vrouter port list --plug /run/vrouter/cent222.plug\n')
    .action(async (options: PortOptions) => {
      const rows: Row[] = [];
      let after = '';
      do {
        const path = after === '' ? '/v1/ports' : `/v1/ports?after=${encodeURIComponent(after)}`;
        const { body } = (await ask(options, 'GET', path)) as unknown as {
          body: { items: Row[]; next: string | null };
        };
        rows.push(...body.items);
        after = body.next ?? '';
      } while (after !== '');
      show(io, options, rows, (value) => value.map(line).join(''));
    });
  withSocket(port.command('wait').description('wait until a port forwards'))
    .argument('<id>', 'its name')
    .addHelpText('after', '\nExample:\n  vrouter port wait pod7 --plug /run/vrouter/cent222.plug\n')
    .action(async (id: string, options: PortOptions) => {
      const { body } = await ask(options, 'GET', `/v1/ports/${encodeURIComponent(id)}/wait`);
      show(io, options, body, () => `${id} programmed\n`);
    });
}
