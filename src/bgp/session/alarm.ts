/**
 * One timer, set for the earliest of what it is asked for. It is not moved when that is put off: whoever it wakes early looks
 * what is due and sets it again. So it costs nothing that a hold time moves with every message.
 */
import type { Clock } from '../../codec/byte-stream.ts';

const NEVER = Number.POSITIVE_INFINITY;

export class Alarm {
  readonly #clock: Clock;
  readonly #run: () => void;
  #at = NEVER;
  #cancel: () => void = () => {};

  constructor(clock: Clock, run: () => void) {
    this.#clock = clock;
    this.#run = run;
  }

  /** Not later than that. */
  set(at: number): void {
    if (at >= this.#at) return;
    this.#cancel();
    this.#at = at;
    this.#cancel = this.#clock.after(Math.max(0, Math.ceil(at - this.#clock.now())), () => {
      this.#at = NEVER;
      this.#run();
    });
  }

  cancel(): void {
    this.#cancel();
    this.#at = NEVER;
  }
}
