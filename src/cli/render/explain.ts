/** Text of `vrouter explain`: one line for each thing that happened, the room's name in front. Pure. */
export function renderExplain(lines: readonly { room: string; text: string }[]): string {
  const width = Math.max(0, ...lines.map((line) => line.room.length));
  return lines.map((line) => `${line.room.padEnd(width)}  ${line.text}\n`).join('');
}
