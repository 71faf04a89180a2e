/**
 * `capture`: packets of an interface, live, as text or into a pcap file, by the `cap` package (libpcap).
 * The package is optional: where it could not be built, or libpcap is missing, only this command is.
 */
import { closeSync, openSync, writeSync } from 'node:fs';
import type { Command } from 'commander';
import { PcapWriter } from '../../codec/pcap.ts';
import { wholeNumber } from '../arguments.ts';
import { frameLine } from '../frame-text.ts';
import { type Io, UsageError } from '../io.ts';

/** What we use of `cap`, which has no types of its own. */
interface Capture {
  open(device: string, filter: string, bufferBytes: number, buffer: Buffer): string;
  close(): void;
  setMinBytes?(bytes: number): void;
  on(event: 'packet', listener: (bytes: number, truncated: boolean) => void): void;
}
interface CapModule {
  readonly Cap: (new () => Capture) & { deviceList(): { name: string }[] };
}

interface CaptureOptions {
  readonly interface: string;
  readonly write?: string;
  readonly count?: number;
  readonly seconds?: number;
}

const SNAP = 65_535;
const RING_BYTES = 8 << 20;

export async function loadCap(
  load: () => Promise<unknown> = () => import(CAP),
): Promise<CapModule> {
  try {
    const module = (await load()) as { default?: CapModule } & CapModule;
    return module.default ?? module;
  } catch (error) {
    const why = error instanceof Error ? error.message.split('\n')[0] : String(error);
    throw new UsageError(
      `capture: the optional package "cap" cannot be loaded (${why}); ` +
        'it needs libpcap and its headers (Debian: libpcap-dev), then run npm install again',
    );
  }
}

/** A name, not a literal, for the package need not be there to build. */
const CAP: string = 'cap';

function openDevice(
  capture: Capture,
  options: CaptureOptions,
  filter: string,
  buffer: Buffer,
): void {
  let link: string;
  try {
    link = capture.open(options.interface, filter, RING_BYTES, buffer);
  } catch (error) {
    throw new UsageError(`capture: ${options.interface}: ${(error as Error).message}`);
  }
  if (link !== 'ETHERNET') {
    capture.close();
    throw new UsageError(
      `capture: ${options.interface}: link type ${link}, only Ethernet is captured`,
    );
  }
  // Deliver each packet when it comes, not when a buffer is full.
  capture.setMinBytes?.(0);
}

const nowNs = () => BigInt(Math.round((performance.timeOrigin + performance.now()) * 1e6));

async function run(io: Io, filter: string, options: CaptureOptions): Promise<void> {
  const { Cap } = await loadCap();
  const capture = new Cap();
  const buffer = Buffer.alloc(SNAP);
  openDevice(capture, options, filter, buffer);
  const file = options.write === undefined ? undefined : openSync(options.write, 'w');
  let packets = 0;
  await new Promise<void>((resolve) => {
    const stop = () => {
      capture.close();
      process.off('SIGINT', stop);
      process.off('SIGTERM', stop);
      clearTimeout(timer);
      resolve();
    };
    const timer =
      options.seconds === undefined ? undefined : setTimeout(stop, options.seconds * 1000);
    process.once('SIGINT', stop);
    process.once('SIGTERM', stop);
    if (file !== undefined) writeSync(file, new PcapWriter().bytes());
    capture.on('packet', (bytes) => {
      if (options.count !== undefined && packets >= options.count) return;
      packets++;
      const frame = buffer.subarray(0, bytes);
      if (file === undefined) io.out(`${new Date().toISOString()} ${frameLine(frame)}\n`);
      else writeSync(file, PcapWriter.record(nowNs(), frame));
      if (packets === options.count) stop();
    });
  });
  if (file !== undefined) closeSync(file);
  io.err(`${packets} packets captured on ${options.interface}\n`);
}

export function registerCapture(program: Command, io: Io): void {
  program
    .command('capture')
    .description('packets of an interface, live, as text or into a pcap file')
    .requiredOption('--interface <name>', 'where to listen')
    .option('--write <file>', 'write a pcap file instead of text')
    .option('--count <n>', 'stop after n packets', wholeNumber(0xffffffff))
    .option('--seconds <n>', 'stop after n seconds', wholeNumber(86_400))
    .argument('[filter...]', "which packets, in libpcap's language", [])
    .addHelpText(
      'after',
      '\nExamples:\n  vrouter capture --interface eth1 udp port 6635\n' +
        '  vrouter capture --interface eth1 --write fabric.pcap --count 100\n',
    )
    .action((filter: string[], options: CaptureOptions) => run(io, filter.join(' '), options));
}
