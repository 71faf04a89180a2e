/**
 * Turns: work that is cut into small pieces, done in the order in which it was asked for, a bounded time of it between two
 * looks of the process at its sockets and timers. Whoever has more to do asks again and stands behind the others.
 */
import type { Clock } from '../../codec/byte-stream.ts';
import { ALL_TURNS_MS } from '../limits.ts';

export class Turns {
  readonly #clock: Clock;
  readonly #later: (run: () => void) => void;
  #waiting: (() => void)[] = [];
  #asked = false;

  /** `later` runs it after sockets and timers have been looked at. */
  constructor(clock: Clock, later: (run: () => void) => void) {
    this.#clock = clock;
    this.#later = later;
  }

  readonly soon = (run: () => void): void => {
    this.#waiting.push(run);
    this.#ask();
  };

  #ask(): void {
    if (this.#asked) return;
    this.#asked = true;
    this.#later(() => this.#run());
  }

  #run(): void {
    this.#asked = false;
    const turns = this.#waiting;
    this.#waiting = [];
    const until = this.#clock.now() + ALL_TURNS_MS;
    let done = 0;
    try {
      while (done < turns.length) {
        (turns[done++] as () => void)();
        if (this.#clock.now() >= until) break;
      }
    } finally {
      // Those that have not had their turn stand before those that ask for another.
      if (done < turns.length) this.#waiting = [...turns.slice(done), ...this.#waiting];
      if (this.#waiting.length > 0) this.#ask();
    }
  }
}
