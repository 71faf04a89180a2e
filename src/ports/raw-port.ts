/**
 * RawPort: a raw IPv4 or IPv6 socket, by the optional package `raw-socket`: payloads of one IP protocol, to
 * which the kernel adds the header. Injects what our own encoder did not make (GRE, ICMP) in tests and labs.
 * Needs root (CAP_NET_RAW).
 *
 * Invariants
 *  * send() resolves when the kernel has taken all of it, and else rejects with the kernel's reason.
 *  * After close() nothing is sent or received.
 */
import { VRouterError } from '../errors.ts';
import { loadOptional } from './optional.ts';

/** What we use of `raw-socket`, which has no types of its own. */
interface Socket {
  send(
    buffer: Buffer,
    offset: number,
    length: number,
    address: string,
    done: (error: Error | null, bytes: number) => void,
  ): void;
  close(): void;
  on(event: 'message', listener: (packet: Buffer, source: string) => void): void;
  on(event: 'error', listener: (error: Error) => void): void;
}
interface RawSocketModule {
  createSocket(options: { protocol: number; addressFamily: number; bufferSize: number }): Socket;
  readonly AddressFamily: { readonly IPv4: number; readonly IPv6: number };
}

const PACKAGE = { name: 'raw-socket', needs: 'python3, make and a C++ compiler' };
const MAX_PACKET_BYTES = 65_535;

export const RAW_PROTOCOL = { icmp: 1, gre: 47, icmp6: 58 } as const;

export interface RawOptions {
  /** IP protocol number; the kernel writes it into the header, and only its packets are received. */
  readonly protocol: number;
  readonly family?: 4 | 6;
}

export interface RawPacket {
  readonly source: string;
  /** IPv4: with its header. IPv6: what comes after the header. */
  readonly packet: Uint8Array;
}

export class RawPort {
  readonly protocol: number;
  readonly #socket: Socket;
  #failure: Error | undefined;
  #listener: ((packet: RawPacket) => void) | undefined;
  #closed = false;

  private constructor(protocol: number, socket: Socket) {
    this.protocol = protocol;
    this.#socket = socket;
    // It closes itself on an error; the reason is told to whoever sends next.
    socket.on('error', (error) => {
      this.#failure = error;
      this.#closed = true;
    });
    socket.on('message', (packet, source) => {
      if (!this.#closed) this.#listener?.({ source, packet: Uint8Array.from(packet) });
    });
  }

  /** Throws NO_PACKAGE where `raw-socket` cannot be loaded. */
  static async available(load?: (name: string) => Promise<unknown>): Promise<void> {
    await loadOptional<RawSocketModule>(PACKAGE, load);
  }

  /** NO_PACKAGE without `raw-socket`; PORT_FAILED, with the kernel's words, without the right to. */
  static async open(
    options: RawOptions,
    load?: (name: string) => Promise<unknown>,
  ): Promise<RawPort> {
    const { protocol, family = 4 } = options;
    if (!Number.isInteger(protocol) || protocol < 1 || protocol > 255) {
      throw new VRouterError(
        'BAD_VALUE',
        `IP protocol ${protocol}: a whole number of 1 to 255 is needed`,
      );
    }
    const { createSocket, AddressFamily } = await loadOptional<RawSocketModule>(PACKAGE, load);
    try {
      const addressFamily = family === 4 ? AddressFamily.IPv4 : AddressFamily.IPv6;
      const socket = createSocket({ protocol, addressFamily, bufferSize: MAX_PACKET_BYTES });
      return new RawPort(protocol, socket);
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      throw new VRouterError('PORT_FAILED', `raw socket of IP protocol ${protocol}: ${why}`);
    }
  }

  onPacket(listener: (packet: RawPacket) => void): void {
    this.#listener = listener;
  }

  send(payload: Uint8Array, destination: string): Promise<void> {
    const what = `IP protocol ${this.protocol} to ${destination}`;
    if (this.#closed) {
      const why = this.#failure?.message ?? 'the port is closed';
      return Promise.reject(new VRouterError('CLOSED', `${what}: ${why}`));
    }
    const bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength);
    return new Promise((resolve, reject) => {
      this.#socket.send(bytes, 0, bytes.length, destination, (error, sent) => {
        if (error === null && sent === bytes.length) return resolve();
        const why = error?.message ?? `${sent} of ${bytes.length} bytes went`;
        reject(new VRouterError('PORT_FAILED', `${what}: ${why}`));
      });
    });
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#socket.close();
  }
}
