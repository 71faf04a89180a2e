/** The simulator's clock, for tests that have promises on their way as well. */
import { VirtualClock } from '../../src/sim/clock.ts';

export class PatientClock extends VirtualClock {
  /** What is due now, and promises that are settled. */
  async settle(): Promise<void> {
    for (let idle = 0; idle < 3; idle++) {
      await Promise.resolve();
      while (this.runOne()) {
        idle = 0;
        await Promise.resolve();
      }
    }
  }

  async pass(ms: number): Promise<void> {
    const end = this.nowNs + BigInt(Math.round(ms * 1e6));
    await this.settle();
    while (this.dueNs !== undefined && this.dueNs <= end) {
      this.advanceTo(this.dueNs);
      await this.settle();
    }
    this.advanceTo(end);
    await this.settle();
  }
}
