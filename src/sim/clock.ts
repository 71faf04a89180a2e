/**
 * VirtualClock: the time of a simulation, and what is to happen in it.
 *
 * Invariant: nothing happens by itself. `advance` moves time and runs nothing; `runOne` runs one thing that is due, the
 * earliest, and of the same moment the one that was asked for first. So the same calls give the same run.
 */
import type { Clock } from '../xmpp/transport/byte-stream.ts';

interface Timer {
  readonly atNs: bigint;
  readonly run: () => void;
}

export class VirtualClock implements Clock {
  #nowNs = 0n;
  /** In the order in which they run. */
  readonly #timers: Timer[] = [];

  get nowNs(): bigint {
    return this.#nowNs;
  }

  now(): number {
    return Number(this.#nowNs) / 1e6;
  }

  after(ms: number, run: () => void): () => void {
    const timer = { atNs: this.#nowNs + BigInt(Math.ceil(Math.max(0, ms) * 1e6)), run };
    let place = this.#timers.length;
    while (place > 0 && (this.#timers[place - 1] as Timer).atNs > timer.atNs) place--;
    this.#timers.splice(place, 0, timer);
    return () => {
      const at = this.#timers.indexOf(timer);
      if (at >= 0) this.#timers.splice(at, 1);
    };
  }

  /** When something is due next. */
  get dueNs(): bigint | undefined {
    return this.#timers[0]?.atNs;
  }

  /** Time does not go back. */
  advanceTo(ns: bigint): void {
    if (ns > this.#nowNs) this.#nowNs = ns;
  }

  /** False: nothing is due now. */
  runOne(): boolean {
    const [first] = this.#timers;
    if (first === undefined || first.atNs > this.#nowNs) return false;
    this.#timers.shift();
    first.run();
    return true;
  }
}

/** The clock as one process has it: once the process is killed, nothing that it meant to do happens. */
export class ProcessClock implements Clock {
  readonly #clock: Clock;
  readonly #cancels = new Set<() => void>();
  #killed = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  now(): number {
    return this.#clock.now();
  }

  after(ms: number, run: () => void): () => void {
    if (this.#killed) return () => {};
    const cancel = this.#clock.after(ms, () => {
      this.#cancels.delete(cancel);
      run();
    });
    this.#cancels.add(cancel);
    return () => {
      this.#cancels.delete(cancel);
      cancel();
    };
  }

  kill(): void {
    this.#killed = true;
    for (const cancel of this.#cancels) cancel();
    this.#cancels.clear();
  }
}
