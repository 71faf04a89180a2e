/**
 * Where `capture --write` writes: a file, or stdout for a program that reads along. Each packet is written
 * when it comes, so what there is is whole whenever the capture ends.
 */
import { closeSync, openSync, writeSync } from 'node:fs';
import { PcapWriter } from '../codec/pcap.ts';
import { PcapngWriter } from '../codec/pcapng.ts';
import type { LiveTotals } from './live.ts';
import type { CapturedView } from './views.ts';

const STDOUT = '-';

export interface CaptureFile {
  add(packet: CapturedView, name: string): Promise<void>;
  end(totals: LiveTotals): Promise<void>;
  /** Twice is once. */
  close(): void;
}

interface Sink {
  write(bytes: Uint8Array): Promise<void>;
  close(): void;
}

/** A reader that is slow is waited for; one that is gone ends the process (main.ts). */
function toStdout(): Sink {
  return {
    write: (bytes) =>
      new Promise((resolve, reject) => {
        process.stdout.write(bytes, (error) => (error ? reject(error) : resolve()));
      }),
    close: () => {},
  };
}

function toFile(path: string): Sink {
  let fd = openSync(path, 'w');
  return {
    write: async (bytes) => {
      for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at);
    },
    close: () => {
      if (fd >= 0) closeSync(fd);
      fd = -1;
    },
  };
}

/** By its name: `.pcap` is classic pcap, all else pcapng. */
export function captureFile(path: string): CaptureFile {
  const sink = path === STDOUT ? toStdout() : toFile(path);
  const classic = path.toLowerCase().endsWith('.pcap');
  const writer = new PcapngWriter();
  let last = 0n;
  const begun = sink.write(classic ? new PcapWriter().bytes() : writer.begin());
  return {
    async add(packet, name) {
      await begun;
      const frame = Buffer.from(packet.packet, 'base64');
      const timeNs = BigInt(packet.timeNs);
      last = timeNs;
      const { length: wireLength, direction: way } = packet;
      await sink.write(
        classic
          ? PcapWriter.record(timeNs, frame, wireLength)
          : writer.packet({ interface: name, timeNs, frame, wireLength, way }),
      );
    },
    async end(totals) {
      await begun;
      if (classic) return;
      await sink.write(writer.statistics(last, BigInt(totals.matched), BigInt(totals.lost)));
    },
    close: () => sink.close(),
  };
}
