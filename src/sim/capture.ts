/** All wires of a simulated cluster to pcap files, one a wire. Virtual time 0 is 1970. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PcapWriter } from '../codec/pcap.ts';
import type { SeenFrame } from './cluster.ts';

export class Capture {
  readonly #wires = new Map<string, PcapWriter>();

  see({ wire, timeNs, frame }: SeenFrame): void {
    let writer = this.#wires.get(wire);
    if (writer === undefined) {
      writer = new PcapWriter();
      this.#wires.set(wire, writer);
    }
    writer.add(timeNs, frame);
  }

  /** Returns names of the files and how many frames each holds. */
  write(directory: string): { readonly file: string; readonly frames: number }[] {
    mkdirSync(directory, { recursive: true });
    return [...this.#wires].map(([wire, writer]) => {
      const file = `${wire}.pcap`;
      writeFileSync(join(directory, file), writer.bytes());
      return { file, frames: writer.records };
    });
  }
}
