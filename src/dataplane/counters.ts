/**
 * Counters: the flat array of the core, given names. Its order: drop reasons, totals, then a row per vif in
 * use, then a row per VRF in use (native/binding/dataplane.cc, read_counters).
 */
import type { Counters, VifCounters } from './api.ts';
import type { NativeDataplane } from './binding.ts';
import { layout } from './layout.ts';

function camel(name: string): string {
  return name.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase());
}

const VIF_NAMES = layout.vifCounters.map(camel) as readonly (keyof VifCounters)[];

export class CounterReader {
  #numbers = new BigUint64Array(4096);

  read(native: NativeDataplane): Counters {
    const shape = native.counterShape();
    const needed = native.readCounters(this.#numbers);
    if (needed > this.#numbers.length) {
      this.#numbers = new BigUint64Array(needed);
      native.readCounters(this.#numbers);
    }
    const numbers = this.#numbers;
    let at = 0;
    const next = () => numbers[at++] as bigint;
    const row = <K extends string>(names: readonly K[]) =>
      names.map((name) => [name, next()] as const);

    const drops = new Map<string, bigint>(row(layout.dropReasons.map((reason) => reason.printed)));
    const totals = Object.fromEntries(row(layout.totals)) as Counters['totals'];
    const vifs = new Map(
      shape.vifs.map((id) => [id, Object.fromEntries(row(VIF_NAMES)) as unknown as VifCounters]),
    );
    const vrfs = new Map(
      shape.vrfs.map((id) => [id, new Map<string, bigint>(row(layout.vrfCounters))]),
    );
    return { totals, drops, vifs, vrfs };
  }
}
