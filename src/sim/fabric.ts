/**
 * The plain IP fabric of a simulated cluster: one switch between the uplinks of all vRouters. Frames go to
 * the port with their destination MAC; nothing is learnt, for every MAC is known from the start. What has
 * no such port is lost and counted.
 */

export class Fabric {
  readonly #byMac = new Map<string, string>();
  readonly #queues = new Map<string, Buffer[]>();
  /** Frames to a MAC that no uplink has. */
  lost = 0;

  attach(node: string, mac: string): void {
    this.#byMac.set(mac.replaceAll(':', '').toLowerCase(), node);
    this.#queues.set(node, []);
  }

  /** Returns the node it goes to, if any. */
  send(frame: Buffer): string | undefined {
    const to = this.#byMac.get(frame.toString('hex', 0, 6));
    if (to === undefined) this.lost += 1;
    else this.#queues.get(to)?.push(frame);
    return to;
  }

  /** Frames that wait for a node's uplink. */
  take(node: string): Buffer[] {
    const waiting = this.#queues.get(node) ?? [];
    if (waiting.length > 0) this.#queues.set(node, []);
    return waiting;
  }
}
