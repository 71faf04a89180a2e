/**
 * CapPort: a network interface seen and spoken to through libpcap, by the optional package `cap`. For
 * frames at a human's pace: observers in tests and labs, not the data plane's own ports.
 *
 * Invariants
 *  * `cap` hands every frame over in one buffer; listeners get copies, in batches, one a turn of the event
 *    loop. What comes before there is a listener is kept for it.
 *  * Nothing is lost without a number: a frame longer than the buffer is handed over cut, and counted.
 */
import { VRouterError } from '../errors.ts';
import { loadOptional } from './optional.ts';

/** What we use of `cap`, which has no types of its own. */
interface Handle {
  open(device: string, filter: string, bufferBytes: number, buffer: Buffer): string;
  close(): void;
  send(frame: Buffer, bytes: number): void;
  on(event: 'packet', listener: (bytes: number, truncated: boolean) => void): void;
}
interface CapModule {
  readonly Cap: new () => Handle;
}

const PACKAGE = {
  name: 'cap',
  needs: "libpcap's headers (Debian: libpcap-dev) and a C++ compiler",
};
const SNAP_BYTES = 65_535;
/** Frames the kernel holds while we are busy. */
const RING_BYTES = 8 << 20;

export interface CapOptions {
  readonly interface: string;
  /** In libpcap's language; default everything. */
  readonly filter?: string;
}

export interface CapturedFrame {
  /** Nanoseconds since 1970, when it was handed over. */
  readonly timeNs: bigint;
  readonly frame: Uint8Array;
}

type Listener = (frames: readonly CapturedFrame[]) => void;

const nowNs = () => BigInt(Math.round((performance.timeOrigin + performance.now()) * 1e6));

export class CapPort {
  readonly interface: string;
  /** Frames that were longer than the buffer. */
  truncated = 0;
  readonly #handle: Handle;
  readonly #buffer: Buffer;
  #waiting: CapturedFrame[] = [];
  #listener: Listener | undefined;
  #scheduled = false;
  #closed = false;

  private constructor(name: string, handle: Handle, buffer: Buffer) {
    this.interface = name;
    this.#handle = handle;
    this.#buffer = buffer;
    handle.on('packet', (bytes, truncated) => this.#take(bytes, truncated));
  }

  /** Throws NO_PACKAGE where `cap` cannot be loaded. */
  static async available(load?: (name: string) => Promise<unknown>): Promise<void> {
    await loadOptional<CapModule>(PACKAGE, load);
  }

  /** NO_PACKAGE without `cap`; PORT_FAILED, with libpcap's words, when the interface cannot be opened. */
  static async open(
    options: CapOptions,
    load?: (name: string) => Promise<unknown>,
  ): Promise<CapPort> {
    const { Cap } = await loadOptional<CapModule>(PACKAGE, load);
    const handle = new Cap();
    const buffer = Buffer.alloc(SNAP_BYTES);
    let link: string;
    try {
      link = handle.open(options.interface, options.filter ?? '', RING_BYTES, buffer);
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      throw new VRouterError('PORT_FAILED', `${options.interface}: ${why}`);
    }
    if (link !== 'ETHERNET') {
      handle.close();
      throw new VRouterError(
        'PORT_FAILED',
        `${options.interface}: link type ${link}, not Ethernet`,
      );
    }
    return new CapPort(options.interface, handle, buffer);
  }

  onFrames(listener: Listener): void {
    this.#listener = listener;
    this.#schedule();
  }

  /** Puts a frame on the wire. */
  send(frame: Uint8Array): void {
    if (this.#closed) throw new VRouterError('CLOSED', `${this.interface}: the port is closed`);
    const bytes = Buffer.from(frame.buffer, frame.byteOffset, frame.byteLength);
    this.#handle.send(bytes, bytes.length);
  }

  /** Frames seen until now are still handed over. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#handle.close();
    this.#deliver();
  }

  #take(bytes: number, truncated: boolean): void {
    if (this.#closed) return;
    if (truncated) this.truncated += 1;
    this.#waiting.push({
      timeNs: nowNs(),
      frame: Uint8Array.from(this.#buffer.subarray(0, bytes)),
    });
    this.#schedule();
  }

  #schedule(): void {
    if (this.#scheduled || this.#listener === undefined || this.#waiting.length === 0) return;
    this.#scheduled = true;
    setImmediate(() => this.#deliver());
  }

  #deliver(): void {
    this.#scheduled = false;
    if (this.#listener === undefined || this.#waiting.length === 0) return;
    const frames = this.#waiting;
    this.#waiting = [];
    this.#listener(frames);
  }
}
