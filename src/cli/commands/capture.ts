/**
 * `capture`: packets live, as text, JSON or a file: of a vif of a running vRouter, as they come in and as they
 * leave; or of an interface of this machine, which needs the optional package `cap`.
 */
import { type Command, Option } from 'commander';
import { wholeNumber } from '../arguments.ts';
import { captureFile } from '../capture-file.ts';
import type { Client } from '../client.ts';
import { frameLine } from '../frame-text.ts';
import { type Io, type SocketOptions, socketOptions, UsageError, withClient } from '../io.ts';
import { live, liveSummary, timeText } from '../live.ts';
import type { CapturedView, CaptureRequest, VifView } from '../views.ts';

const MAX_SNAP = 262_144;
const MAX_SECONDS = 86_400;
/** Every vif, unless one has this name. */
const ANY = 'any';

interface CaptureOptions extends SocketOptions {
  readonly interface?: string;
  readonly write?: string;
  readonly count?: number;
  readonly seconds?: number;
  readonly direction?: 'in' | 'out' | 'both';
  readonly snap?: number;
}

/** Of an interface; options that only a vif has are refused. */
async function ofInterface(io: Io, words: readonly string[], options: CaptureOptions) {
  const { interface: name = '', write, count, seconds } = options;
  for (const only of ['direction', 'snap', 'json'] as const) {
    if (options[only] !== undefined)
      throw new UsageError(`capture: --${only} is for a vif, not for --interface`);
  }
  const { capture } = await import('../../program/capture.ts');
  await capture(io, words.join(' '), {
    interface: name,
    ...(write === undefined ? {} : { write }),
    ...(count === undefined ? {} : { count }),
    ...(seconds === undefined ? {} : { seconds }),
  });
}

async function requestOf(
  vif: VifView | undefined,
  words: readonly string[],
  options: CaptureOptions,
): Promise<CaptureRequest> {
  const { direction, snap } = options;
  const base: CaptureRequest = {
    ...(vif === undefined ? {} : { vif: vif.id }),
    ...(direction === undefined ? {} : { direction }),
    ...(snap === undefined ? {} : { snap }),
  };
  if (words.length === 0) return base;
  const { filterProgram } = await import('../../program/filter.ts');
  return { ...base, filter: filterProgram(words.join(' ')) };
}

/** One line each. */
function lineOf(packet: CapturedView, name: string, json: boolean): string {
  const bytes = Buffer.from(packet.packet, 'base64');
  const text = frameLine(bytes);
  const time = timeText(packet.timeNs);
  if (!json) {
    const cut = bytes.length < packet.length ? ` [${bytes.length} of ${packet.length} bytes]` : '';
    return `${time} ${name} ${packet.direction.padEnd(3)} ${text}${cut}\n`;
  }
  const { number, timeNs, vif, direction, length, super: isSuper } = packet;
  const rest = { number, time, timeNs, vif, name, direction, length, super: isSuper };
  return `${JSON.stringify({ ...rest, text, packet: bytes.toString('hex') })}\n`;
}

async function ofVif(
  client: Client,
  io: Io,
  wanted: string,
  words: string[],
  options: CaptureOptions,
) {
  const vifs = await client.all<VifView>('vif.list');
  const found = vifs.find(({ name, id }) => name === wanted || `${id}` === wanted);
  // A vif that is not there is the vrouter's to refuse: it knows which name is near.
  if (found === undefined && wanted !== ANY) await client.call('capture.start', { vif: wanted });
  const names = new Map(vifs.map(({ id, name }) => [id, name]));
  const nameOf = (packet: CapturedView) => names.get(packet.vif) ?? `vif0/${packet.vif}`;
  const request = await requestOf(found, words, options);
  const file = options.write === undefined ? undefined : captureFile(options.write);
  const started = () => io.err(`capturing on ${wanted}; Ctrl-C ends it\n`);
  try {
    const totals = await live(client, request, { ...options, started }, async (packet) => {
      if (file !== undefined) await file.add(packet, nameOf(packet));
      else io.out(lineOf(packet, nameOf(packet), options.json === true));
    });
    await file?.end(totals);
    io.err(liveSummary(totals, `captured on ${wanted}`));
  } finally {
    file?.close();
  }
}

export function registerCapture(program: Command, io: Io): void {
  const command = socketOptions(
    program
      .command('capture')
      .description('packets of a vif, live: as they come in and as they leave; or of an interface'),
  );
  command
    .argument('[vif]', 'a vif of a running vrouter, by name or number, or any')
    .argument('[filter...]', "which packets, in libpcap's language", [])
    .option('--interface <name>', 'listen on an interface of this machine instead')
    .option('-w, --write <file>', 'into a file: pcapng, or pcap if it is called .pcap; - is stdout')
    .option('--count <n>', 'stop after n packets', wholeNumber(0xffffffff))
    .option('--seconds <n>', 'stop after n seconds', wholeNumber(MAX_SECONDS))
    .addOption(
      new Option(
        '--direction <way>',
        'in: as they come, before any room; out: as they leave, translated and encapsulated',
      ).choices(['in', 'out', 'both']),
    )
    .option('--snap <bytes>', 'of each packet only so much', wholeNumber(MAX_SNAP))
    .addHelpText(
      'after',
      '\nA super-packet is one packet here, and checksums that are left to a port are finished. A filter\n' +
        'sees what is on that side: of the fabric, outer headers.\n' +
        '\nExamples:\n  vrouter capture client icmp\n' +
        '  vrouter capture uplink -w fabric.pcapng --direction out udp port 6635\n' +
        '  vrouter capture any -w - | wireshark -k -i -\n' +
        '  vrouter capture --interface eth1 --write fabric.pcap --count 100\n',
    )
    .action(async (vif: string | undefined, filter: string[], options: CaptureOptions) => {
      if (options.interface !== undefined) {
        await ofInterface(io, vif === undefined ? [] : [vif, ...filter], options);
        return;
      }
      if (vif === undefined) throw new UsageError('capture: a vif, or --interface, is needed');
      if (options.write !== undefined && options.json === true)
        throw new UsageError('capture: --write and --json exclude each other');
      await withClient(io, options, (client) => ofVif(client, io, vif, filter, options));
    });
}
