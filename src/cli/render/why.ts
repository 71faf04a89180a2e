/** Text of `vrouter why`: the way there and back, a line a node, then the verdict. Pure. */
import { CAUSES } from '../why/causes.ts';
import type { HopView, WhyView } from '../why/walk.ts';

function hopLines(hops: readonly HopView[], all: boolean): string {
  const width = (of: (hop: HopView) => string) => Math.max(0, ...hops.map((hop) => of(hop).length));
  const way = (hop: HopView) => `${hop.from} -> ${hop.to === '' ? '(dropped)' : hop.to}`;
  const [names, ways] = [width(({ node }) => node), width(way)];
  let before = '';
  return hops
    .map((hop) => {
      const direction = (hop.direction === before ? '' : hop.direction).padEnd(6);
      before = hop.direction;
      const line = `${direction}${hop.node.padEnd(names)}  ${way(hop).padEnd(ways)}  ${hop.packet}`;
      const rooms = all
        ? hop.lines.map(({ room, text }) => `\n        ${room.padEnd(12)} ${text}`)
        : [];
      return `${line.trimEnd()}${rooms.join('')}\n`;
    })
    .join('');
}

function verdict(view: WhyView): string {
  const { cause, unknown, paths } = view;
  if (cause !== null) {
    const room = cause.room === '' ? '' : `, ${cause.room}`;
    return (
      `It does not: ${CAUSES[cause.code].what} (${cause.code}).\n` +
      `  where:  ${cause.node}${room}, on the way ${cause.direction}\n` +
      `  why:    ${cause.detail}\n` +
      `  next:   ${cause.help}\n`
    );
  }
  if (unknown !== null) return `Cannot be known from here: ${unknown.detail} (${unknown.code}).\n`;
  const ways = paths.walked === 1 ? 'one path' : `${paths.walked} paths`;
  return `It works: ${ways}, there and back.\n`;
}

export function renderWhy(view: WhyView, all: boolean): string {
  const { source, destination, protocol, port } = view;
  const from = source === null ? '?' : `${source.address} (${source.vif} on ${source.node})`;
  const what = protocol.startsWith('icmp') ? protocol : `${protocol} ${port}`;
  const notes = view.notes.map((note) => `Note: ${note}\n`).join('');
  const hops = hopLines(view.hops, all);
  return `${from} to ${destination}, ${what}\n\n${hops}${hops === '' ? '' : '\n'}${verdict(view)}${notes}`;
}
