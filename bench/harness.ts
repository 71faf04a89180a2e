/**
 * One trial of one benchmark in this process, by `benchmark`: warm-up and sampling are its own. A line of
 * JSON per figure goes to standard output, for scripts/bench.mjs, which starts a fresh process for each
 * trial and makes the table.
 */
import Benchmark from 'benchmark';

export interface Figure {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
}

const SECONDS = 0.5;

/** A figure that somebody has measured. */
export function report(figure: Figure): void {
  console.log(JSON.stringify(figure));
}

/** Runs `work` as often as fits and reports how many `unit` it did a second; one call does `per`. */
export function measure(name: string, unit: string, per: number, work: () => unknown): void {
  let failure: unknown;
  const bench = new Benchmark(name, work, {
    maxTime: SECONDS,
    onError: (event: { target: { error?: unknown } }) => {
      failure = event.target.error;
    },
  });
  bench.run();
  if (failure !== undefined) throw failure;
  report({ name, value: bench.hz * per, unit: `${unit}/s` });
}
