// A run as one SVG: a bar a row, all to one scale, which is their floor's. So one line stands for every floor; the
// target and what others reach are marks on the bar's way. Rows without a floor have no scale and are left out.
// No dependency, no script, no font of its own; colours follow the reader's light or dark mode.
import { shown } from './table.mjs';

const WIDTH = 960;
const LABELS = 360; // wide
const BARS = 420;
const ROW = 24;
const MOST = 2; // times the floor: what is longer is cut, and says so
const TOP = 74;

const STYLE = `
svg { background: #fff; font: 13px system-ui, sans-serif; }
text { fill: #24292f; } .quiet { fill: #57606a; font-size: 11px; } .head { font-weight: 600; }
.met { fill: #2da44e; } .floor-met { fill: #54aeff; } .not-met { fill: #cf222e; } .quoted { fill: #8250df; }
.line { stroke: #24292f; stroke-width: 1.5; } .aim { stroke: #2da44e; stroke-width: 2; }
.spread { stroke: #24292f; stroke-width: 1; } .track { fill: #f6f8fa; }
@media (prefers-color-scheme: dark) {
svg { background: #0d1117; } text { fill: #e6edf3; } .quiet { fill: #8d96a0; }
.line, .spread { stroke: #e6edf3; } .track { fill: #161b22; } .not-met { fill: #f85149; } .quoted { fill: #a371f7; }
}`;

const CLASSES = { 'target met': 'met', 'floor met': 'floor-met', 'not met': 'not-met' };

export const escaped = (text) =>
  String(text).replace(
    /[&<>"']/g,
    (c) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&apos;' })[c],
  );

const number = (value) => Number(value.toFixed(1));

/** Where a value of this row stands, in pixels from the left; the edge if it is past it. */
export function place(value, floor) {
  return number(LABELS + BARS * Math.min(Math.max(value / floor, 0) / MOST, 1));
}

const text = (x, y, content, kind = '', anchor = 'start') =>
  `<text x="${x}" y="${y}"${kind ? ` class="${kind}"` : ''} text-anchor="${anchor}">${escaped(content)}</text>`;
const line = (x1, y1, x2, y2, kind) =>
  `<line x1="${x1}" y1="${y1}" x2="${x2}" y2="${y2}" class="${kind}"/>`;

function bar(row, y) {
  const at = (value) => place(value, row.floor);
  const end = at(row.median);
  const cut = row.median > MOST * row.floor;
  const parts = [
    text(LABELS - 10, y + 15, row.title.trim(), '', 'end'),
    `<rect x="${LABELS}" y="${y + 2}" width="${BARS}" height="${ROW - 5}" class="track"/>`,
    `<rect x="${LABELS}" y="${y + 4}" width="${number(Math.max(end - LABELS, 1))}" height="${ROW - 9}" ` +
      `class="${CLASSES[row.verdict.word] ?? 'floor-met'}"/>`,
    line(at(row.min), y + ROW / 2 - 1, at(row.max), y + ROW / 2 - 1, 'spread'),
  ];
  if (row.target !== undefined)
    parts.push(line(at(row.target), y + 1, at(row.target), y + ROW - 3, 'aim'));
  if (row.quoted !== undefined) {
    const x = at(row.quoted.here);
    const middle = y + ROW / 2;
    parts.push(
      `<path d="M${x} ${middle - 6}l5 5l-5 5l-5 -5z" class="quoted"><title>${escaped(
        `${row.quoted.who} ${shown(row.quoted.here)} ${row.unit}`,
      )}</title></path>`,
    );
  }
  const told = `${cut ? '> ' : ''}${shown(row.median)} ${row.unit}`;
  const quoted = row.quoted === undefined ? '' : `${row.quoted.who} ${shown(row.quoted.here)}`;
  parts.push(text(LABELS + BARS + 8, y + 15, told));
  if (quoted !== '') parts.push(text(WIDTH - 8, y + 15, quoted, 'quiet', 'end'));
  return parts;
}

function section(title, rows, y) {
  if (rows.length === 0) return { parts: [], y };
  const parts = [text(8, y + 16, title, 'head')];
  let at = y + ROW;
  const first = at;
  for (const row of rows) {
    parts.push(...bar(row, at));
    at += ROW;
  }
  const floor = place(1, 1);
  parts.push(line(floor, first, floor, at - 3, 'line'));
  return { parts, y: at + 10 };
}

export function picture(document) {
  const { machine, trials, calibration } = document;
  const rows = document.rows.filter((row) => row.median !== undefined && row.floor !== undefined);
  const shorter = section(
    'shorter is better',
    rows.filter((row) => row.less),
    TOP,
  );
  const longer = section(
    'longer is better',
    rows.filter((row) => !row.less),
    shorter.y,
  );
  const height = longer.y + 8;
  const core = calibration.coreGhz;
  const floor = place(1, 1);
  const about =
    `${machine.cpu}, ${machine.cores} cores${core ? ` at ${shown(core.median)} GHz` : ''}; ` +
    `${trials} interleaved trials; ${machine.date}, commit ${machine.commit}`;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img">`,
    '<title>vrouter: what was measured, and what was asked</title>',
    `<style>${STYLE}</style>`,
    text(8, 22, 'vrouter: measured on one core, against floor and target', 'head'),
    text(8, 40, about, 'quiet'),
    text(
      8,
      56,
      'Bars: medians, to the scale of their floor. Thin lines: from least to most. Green marks: targets. Diamonds: quoted, not measured.',
      'quiet',
    ),
    text(floor, TOP + 14, 'floor', 'quiet', 'middle'),
    ...shorter.parts,
    ...longer.parts,
    '</svg>',
    '',
  ].join('\n');
}
