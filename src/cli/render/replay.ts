/** Text of a replay's summary. Pure. */
import type { Count } from '../views.ts';

export interface ReplayText {
  readonly records: number;
  readonly unusable: number;
  readonly durationNs: string;
  readonly totals: Readonly<Record<string, Count>>;
  readonly vifs: readonly { readonly vif: string; readonly input: Count; readonly output: Count }[];
  readonly flows: number;
  readonly dropped: readonly { readonly name: string; readonly packets: Count }[];
  readonly accounted: boolean;
  readonly discrepancies: readonly string[];
}

const OUTCOMES = ['forwarded', 'replied', 'punted', 'dropped', 'consumed', 'held'] as const;

export function renderReplay(summary: ReplayText, out: string): string {
  const width = Math.max(3, ...summary.vifs.map((row) => row.vif.length));
  const seconds = (Number(summary.durationNs) / 1e9).toFixed(3);
  const lines = [
    `${summary.records} packets in ${seconds} s of their time, ${summary.flows} flow entries at the end`,
    '',
    `${'Vif'.padEnd(width)}  ${'In'.padStart(10)}  ${'Out'.padStart(10)}`,
    ...summary.vifs.map(
      (row) =>
        `${row.vif.padEnd(width)}  ${String(row.input).padStart(10)}  ${String(row.output).padStart(10)}`,
    ),
    '',
    ...OUTCOMES.map((name) => `${name.padEnd(28)}  ${summary.totals[name] ?? 0}`),
    ...(summary.unusable > 0 ? [`${'records no port takes'.padEnd(28)}  ${summary.unusable}`] : []),
    '',
    ...(summary.dropped.length > 0
      ? ['Dropped:', ...summary.dropped.map((d) => `  ${d.name.padEnd(26)}  ${d.packets}`), '']
      : []),
    summary.accounted
      ? 'Every packet is accounted for.'
      : `NOT accounted for: ${summary.discrepancies.join('; ')}`,
    `Written to ${out}`,
  ];
  return `${lines.join('\n')}\n`;
}
