/** What the rooms noted of a packet (native/path/explain.h), as lines. */
import type { ExplainLine } from './api.ts';

/** Lines are `room\ttext`; one without a tab goes on with what the room before it says. */
export function explainLines(notes: string): ExplainLine[] {
  let room = '';
  return notes
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const tab = line.indexOf('\t');
      if (tab >= 0) room = line.slice(0, tab);
      return { room, text: line.slice(tab + 1) };
    });
}
