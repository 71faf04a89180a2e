/** `trace`: packets of a running vRouter on their way, live: for each, room by room, what it meets. */
import type { Command } from 'commander';
import { wholeNumber } from '../arguments.ts';
import { parseFlowMatch } from '../flow-match.ts';
import { frameLine } from '../frame-text.ts';
import { type Io, type SocketOptions, socketOptions, withClient } from '../io.ts';
import { live, liveSummary, timeText } from '../live.ts';
import { renderExplain } from '../render/explain.ts';
import type { CapturedView, VifView } from '../views.ts';

const MAX_SECONDS = 86_400;

interface TraceOptions extends SocketOptions {
  readonly vif?: string;
  readonly match?: string;
  readonly sample?: number;
  readonly count?: number;
  readonly seconds?: number;
}

function textOf(packet: CapturedView, name: string, json: boolean): string {
  const bytes = Buffer.from(packet.packet, 'base64');
  const time = timeText(packet.timeNs);
  const { number, vif, length, lines } = packet;
  if (!json) return `${time} ${name} ${frameLine(bytes)}\n${renderExplain(lines)}\n`;
  const text = frameLine(bytes);
  return `${JSON.stringify({ number, time, vif, name, length, text, packet: bytes.toString('hex'), lines })}\n`;
}

export function registerTrace(program: Command, io: Io): void {
  const command = socketOptions(
    program.command('trace').description('packets on their way, live: each room by room'),
  );
  command
    .option('--vif <vif>', 'packets that come in on this vif, by name or number; default any')
    .option('--match <filter>', 'of flows with these ends: "ip:port,ip:port & proto tcp"')
    .option('--sample <n>', 'the first of every n of them', wholeNumber(0xffffffff))
    .option('--count <n>', 'stop after n packets', wholeNumber(0xffffffff))
    .option('--seconds <n>', 'stop after n seconds', wholeNumber(MAX_SECONDS))
    .addHelpText(
      'after',
      '\nThe rooms are run for a copy, immediately before the packet itself goes through them and by the same\n' +
        'tables: what is said is what it meets. ICMP errors are not rationed in the copy. 100 packets a second\n' +
        'are traced, others are counted. A match looks into tunnels, and at both directions.\n' +
        '\nExamples:\n  vrouter trace --vif client --count 3\n' +
        '  vrouter trace --match "10.47.255.237,10.105.139.153:8888 & proto tcp" --json\n',
    )
    .action(async (options: TraceOptions) => {
      if (options.match !== undefined) parseFlowMatch(options.match);
      await withClient(io, options, async (client) => {
        const vifs = await client.all<VifView>('vif.list');
        const names = new Map(vifs.map(({ id, name }) => [id, name]));
        const { vif, match, sample } = options;
        const found = vifs.find(({ name, id }) => name === vif || `${id}` === vif);
        const totals = await live(
          client,
          {
            trace: true,
            ...(vif === undefined ? {} : { vif: found?.id ?? vif }),
            ...(match === undefined ? {} : { match }),
            ...(sample === undefined ? {} : { sample: Math.max(1, sample) }),
          },
          { ...options, started: () => io.err('tracing; Ctrl-C ends it\n') },
          (packet) => {
            const name = names.get(packet.vif) ?? `vif0/${packet.vif}`;
            io.out(textOf(packet, name, options.json === true));
          },
        );
        io.err(liveSummary(totals, 'traced'));
      });
    });
}
