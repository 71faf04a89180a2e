/**
 * The plain IP fabric of a simulated cluster: one switch between the uplinks of all vRouters. Frames go to
 * the port with their destination MAC; nothing is learnt, for every MAC is known from the start.
 * Everything that crosses is offered to taps, in order: captures and expectations read there.
 */
import { decodeFrame } from './wire.ts';

export interface CrossedFrame {
  readonly timeNs: bigint;
  readonly from: string; // node name
  readonly to: string; // node name, or '' when no uplink has the MAC
  readonly frame: Buffer;
}

export class Fabric {
  readonly #byMac = new Map<string, string>();
  readonly #queues = new Map<string, Buffer[]>();
  readonly #taps: ((crossed: CrossedFrame) => void)[] = [];

  attach(node: string, mac: string): void {
    this.#byMac.set(mac.replaceAll(':', '').toLowerCase(), node);
    this.#queues.set(node, []);
  }

  /** Called for every frame, before it is delivered. */
  tap(listener: (crossed: CrossedFrame) => void): void {
    this.#taps.push(listener);
  }

  send(from: string, frame: Buffer, timeNs: bigint): void {
    const to = this.#byMac.get(decodeFrame(frame)?.destination.toString('hex') ?? '') ?? '';
    for (const listener of this.#taps) listener({ timeNs, from, to, frame });
    this.#queues.get(to)?.push(frame);
  }

  /** Frames that wait for a node's uplink. */
  take(node: string): Buffer[] {
    const waiting = this.#queues.get(node) ?? [];
    this.#queues.set(node, []);
    return waiting;
  }
}
