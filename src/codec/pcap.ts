/**
 * Classic pcap files (draft-ietf-opsawg-pcap): reader for both byte orders and both time resolutions,
 * writer in one form only (little-endian, nanoseconds), so equal packets make equal files.
 * Reader invariant: a record is handed out only when all of it is there; anything else is refused with
 * file and offset. Link type must be Ethernet.
 */
import { VRouterError } from '../errors.ts';

export const LINK_ETHERNET = 1;
/** Larger than any frame; a record that claims more is damage, not data. */
export const MAX_FRAME = 262_144;

const FILE_HEADER = 24;
const RECORD_HEADER = 16;
const MICRO = 0xa1b2c3d4;
const NANO = 0xa1b23c4d;
const PCAPNG = 0x0a0d0d0a;

export interface PcapRecord {
  /** Nanoseconds since 1970. */
  readonly timeNs: bigint;
  readonly frame: Uint8Array;
  /** Length on the wire; more than the frame's when the capture cut it. */
  readonly wireLength: number;
  /** Where the record begins in the file. */
  readonly offset: number;
}

function refuse(file: string, offset: number, why: string): never {
  throw new VRouterError('BAD_FILE', `${file}: offset ${offset}: ${why}`);
}

interface Format {
  readonly littleEndian: boolean;
  readonly nanoseconds: boolean;
}

function formatOf(file: string, view: DataView): Format {
  if (view.byteLength < FILE_HEADER) {
    refuse(file, 0, `a pcap file begins with ${FILE_HEADER} bytes, here are ${view.byteLength}`);
  }
  for (const littleEndian of [true, false]) {
    const magic = view.getUint32(0, littleEndian);
    if (magic === MICRO || magic === NANO) return { littleEndian, nanoseconds: magic === NANO };
  }
  if (view.getUint32(0) === PCAPNG) {
    refuse(file, 0, 'a pcapng file; only classic pcap is read (editcap -F pcap converts it)');
  }
  return refuse(file, 0, 'not a pcap file: unknown magic number');
}

/** `file` is the name used in errors. Frames are views of `bytes`. */
export function* readPcap(file: string, bytes: Uint8Array): Generator<PcapRecord> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const { littleEndian, nanoseconds } = formatOf(file, view);
  const major = view.getUint16(4, littleEndian);
  if (major !== 2) refuse(file, 4, `version ${major} of the pcap format is not known`);
  // The upper bits tell of a frame check sequence, which we do not take apart.
  const link = view.getUint32(20, littleEndian) & 0x0fffffff;
  if (link !== LINK_ETHERNET) refuse(file, 20, `link type ${link}, only Ethernet (1) is read`);
  for (let offset = FILE_HEADER; offset < bytes.length; ) {
    if (bytes.length - offset < RECORD_HEADER) {
      refuse(file, offset, 'the file ends inside a record header');
    }
    const seconds = view.getUint32(offset, littleEndian);
    const fraction = view.getUint32(offset + 4, littleEndian);
    const length = view.getUint32(offset + 8, littleEndian);
    const wireLength = view.getUint32(offset + 12, littleEndian);
    if (fraction >= (nanoseconds ? 1_000_000_000 : 1_000_000)) {
      refuse(file, offset + 4, `${fraction} is more than a second`);
    }
    if (length > MAX_FRAME) refuse(file, offset + 8, `a frame of ${length} bytes`);
    const start = offset + RECORD_HEADER;
    if (bytes.length - start < length) {
      refuse(
        file,
        start,
        `${length} bytes of frame are announced, ${bytes.length - start} are left`,
      );
    }
    const timeNs =
      BigInt(seconds) * 1_000_000_000n + BigInt(nanoseconds ? fraction : fraction * 1000);
    yield { timeNs, frame: bytes.subarray(start, start + length), wireLength, offset };
    offset = start + length;
  }
}

/** Collects records and gives the file; times must lie between 1970 and 2106. */
export class PcapWriter {
  #buffer = new Uint8Array(65_536);
  #view = new DataView(this.#buffer.buffer);
  #length = FILE_HEADER;
  #records = 0;

  constructor() {
    this.#view.setUint32(0, NANO, true);
    this.#view.setUint16(4, 2, true);
    this.#view.setUint16(6, 4, true);
    this.#view.setUint32(16, MAX_FRAME, true);
    this.#view.setUint32(20, LINK_ETHERNET, true);
  }

  /** One record by itself, for a file that is written as packets come. */
  static record(timeNs: bigint, frame: Uint8Array, wireLength = frame.length): Uint8Array {
    const writer = new PcapWriter();
    writer.add(timeNs, frame, wireLength);
    return writer.bytes().slice(FILE_HEADER);
  }

  get records(): number {
    return this.#records;
  }

  /** `wireLength`: more than the frame's where the capture cut it. */
  add(timeNs: bigint, frame: Uint8Array, wireLength = frame.length): void {
    if (timeNs < 0n || timeNs >= 0x1_0000_0000n * 1_000_000_000n) {
      throw new RangeError(`time ${timeNs} does not fit a pcap file`);
    }
    const end = this.#length + RECORD_HEADER + frame.length;
    if (end > this.#buffer.length) this.#grow(end);
    const at = this.#length;
    this.#view.setUint32(at, Number(timeNs / 1_000_000_000n), true);
    this.#view.setUint32(at + 4, Number(timeNs % 1_000_000_000n), true);
    this.#view.setUint32(at + 8, frame.length, true);
    this.#view.setUint32(at + 12, wireLength, true);
    this.#buffer.set(frame, at + RECORD_HEADER);
    this.#length = end;
    this.#records++;
  }

  /** A view; the next `add` may end it. */
  bytes(): Uint8Array {
    return this.#buffer.subarray(0, this.#length);
  }

  #grow(needed: number): void {
    const larger = new Uint8Array(Math.max(needed, this.#buffer.length * 2));
    larger.set(this.#buffer);
    this.#buffer = larger;
    this.#view = new DataView(larger.buffer);
  }
}
