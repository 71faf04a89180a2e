/**
 * The known word closest to an unknown one, for messages such as `unknown key "gatway4" (did you mean
 * "gateway4"?)`. Distance: optimal string alignment (insert, delete, replace, swap of neighbours).
 */

export function editDistance(a: string, b: string): number {
  const rows: number[][] = [Array.from({ length: b.length + 1 }, (_, j) => j)];
  for (let i = 1; i <= a.length; i++) {
    const above = rows[i - 1] as number[];
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      let best = Math.min(
        (above[j] as number) + 1,
        (row[j - 1] as number) + 1,
        (above[j - 1] as number) + (same ? 0 : 1),
      );
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        best = Math.min(best, ((rows[i - 2] as number[])[j - 2] as number) + 1);
      }
      row.push(best);
    }
    rows.push(row);
  }
  return (rows[a.length] as number[])[b.length] as number;
}

/** Undefined when nothing is close enough to be what was meant: more than 40 % of the word differs. */
export function nearest(word: string, known: Iterable<string>): string | undefined {
  // Longer than any name we have; the table would grow with the square of hostile input.
  if (word.length > 64) return undefined;
  const wanted = word.toLowerCase();
  let best: string | undefined;
  let bestDistance = Number.POSITIVE_INFINITY;
  for (const candidate of known) {
    const distance = editDistance(wanted, candidate.toLowerCase());
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  if (best === undefined) return undefined;
  const limit = Math.max(1, Math.floor(Math.max(word.length, best.length) * 0.4));
  return bestDistance <= limit ? best : undefined;
}

/** ` (did you mean "x"?)`, or the list of what there is when nothing is near and the list is short. */
export function suggestion(word: string, known: readonly string[]): string {
  const near = nearest(word, known);
  if (near !== undefined) return ` (did you mean "${near}"?)`;
  return known.length > 0 && known.length <= 16 ? ` (known: ${known.join(', ')})` : '';
}
