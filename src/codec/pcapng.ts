/**
 * pcapng (draft-ietf-opsawg-pcapng), written block by block as packets come: little-endian, nanoseconds,
 * Ethernet. It says what classic pcap cannot: which interface, which way, how many were lost.
 * Invariant: an interface is described before its first packet.
 */
import { LINK_ETHERNET, MAX_FRAME } from './pcap.ts';

const SECTION = 0x0a0d0d0a;
const INTERFACE = 1;
const STATISTICS = 5;
const PACKET = 6;
const BYTE_ORDER = 0x1a2b3c4d;
/** Type and length in front, length again behind. */
const FRAMING = 12;
const OPTION = { end: 0, name: 2, flags: 2, received: 4, dropped: 5, resolution: 9 } as const;
const NANOSECONDS = 9;
const DIRECTION = { in: 1, out: 2 } as const;

const padded = (length: number) => (length + 3) & ~3;

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

function words(...values: readonly number[]): Uint8Array {
  const out = new Uint8Array(values.length * 4);
  const view = new DataView(out.buffer);
  values.forEach((value, i) => {
    view.setUint32(i * 4, value, true);
  });
  return out;
}

function option(code: number, value: Uint8Array): Uint8Array {
  const out = new Uint8Array(4 + padded(value.length));
  const view = new DataView(out.buffer);
  view.setUint16(0, code, true);
  view.setUint16(2, value.length, true);
  out.set(value, 4);
  return out;
}

function block(type: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const body = joined(parts);
  const length = FRAMING + padded(body.length);
  const out = new Uint8Array(length);
  const view = new DataView(out.buffer);
  view.setUint32(0, type, true);
  view.setUint32(4, length, true);
  out.set(body, 8);
  view.setUint32(length - 4, length, true);
  return out;
}

const low = (value: bigint) => Number(value & 0xffff_ffffn);
const high = (value: bigint) => Number(value >> 32n);
const END = words(OPTION.end);

function described(name: string): Uint8Array {
  return block(
    INTERFACE,
    words(LINK_ETHERNET, MAX_FRAME),
    option(OPTION.name, new TextEncoder().encode(name)),
    option(OPTION.resolution, Uint8Array.of(NANOSECONDS)),
    END,
  );
}

export class PcapngWriter {
  readonly #interfaces = new Map<string, number>();

  /** The beginning of the file. */
  begin(): Uint8Array {
    // Version 1.0; the section's length is not known (-1).
    return block(SECTION, words(BYTE_ORDER, 1, 0xffff_ffff, 0xffff_ffff));
  }

  /** Times are nanoseconds since 1970. */
  packet(packet: {
    readonly interface: string;
    readonly timeNs: bigint;
    readonly frame: Uint8Array;
    readonly wireLength: number;
    readonly way: 'in' | 'out';
  }): Uint8Array {
    const known = this.#interfaces.get(packet.interface);
    const number = known ?? this.#interfaces.size;
    const { timeNs, frame, wireLength } = packet;
    const data = new Uint8Array(padded(frame.length));
    data.set(frame);
    const entry = block(
      PACKET,
      words(number, high(timeNs), low(timeNs), frame.length, wireLength),
      data,
      option(OPTION.flags, words(DIRECTION[packet.way])),
      END,
    );
    if (known !== undefined) return entry;
    this.#interfaces.set(packet.interface, number);
    return joined([described(packet.interface), entry]);
  }

  /** The end: packets caught, and those of them that are not in here. Nothing where several interfaces share them. */
  statistics(timeNs: bigint, received: bigint, lost: bigint): Uint8Array {
    if (this.#interfaces.size !== 1) return new Uint8Array(0);
    const count = (code: number, value: bigint) => option(code, words(low(value), high(value)));
    return block(
      STATISTICS,
      words(0, high(timeNs), low(timeNs)),
      count(OPTION.received, received),
      count(OPTION.dropped, lost),
      END,
    );
  }
}
