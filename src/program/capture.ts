/**
 * `vrouter capture`: frames of an interface, live, as text or into a pcap file, seen by a CapPort.
 */
import { closeSync, openSync, writeSync } from 'node:fs';
import { frameLine } from '../cli/frame-text.ts';
import type { Io } from '../cli/io.ts';
import { PcapWriter } from '../codec/pcap.ts';
import { CapPort } from '../ports/cap-port.ts';

export interface CaptureOptions {
  readonly interface: string;
  readonly write?: string;
  readonly count?: number;
  readonly seconds?: number;
}

/** Ends after `count` frames or `seconds`, or by SIGINT or SIGTERM. */
export async function capture(io: Io, filter: string, options: CaptureOptions): Promise<void> {
  const port = await CapPort.open({ interface: options.interface, filter });
  const file = options.write === undefined ? undefined : openSync(options.write, 'w');
  let frames = 0;
  await new Promise<void>((resolve) => {
    const stop = () => {
      process.off('SIGINT', stop);
      process.off('SIGTERM', stop);
      clearTimeout(timer);
      port.close();
      resolve();
    };
    const timer =
      options.seconds === undefined ? undefined : setTimeout(stop, options.seconds * 1000);
    process.once('SIGINT', stop);
    process.once('SIGTERM', stop);
    if (file !== undefined) writeSync(file, new PcapWriter().bytes());
    port.onFrames((batch) => {
      for (const { timeNs, frame } of batch) {
        if (options.count !== undefined && frames >= options.count) return;
        frames++;
        if (file !== undefined) writeSync(file, PcapWriter.record(timeNs, frame));
        else {
          const time = new Date(Number(timeNs / 1_000_000n)).toISOString();
          io.out(`${time} ${frameLine(Buffer.from(frame))}\n`);
        }
        if (frames === options.count) return stop();
      }
    });
  });
  if (file !== undefined) closeSync(file);
  io.err(`${frames} packets captured on ${options.interface}\n`);
}
