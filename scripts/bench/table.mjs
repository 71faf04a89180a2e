// A run, or two side by side, as text for a terminal. Plain ASCII, one line a row.

/** Three significant digits, and no more than are there. */
export function shown(value) {
  if (value === undefined || !Number.isFinite(value)) return '-';
  const size = Math.abs(value);
  if (size >= 1e9) return `${(value / 1e9).toFixed(2)} G`;
  if (size >= 1e6) return `${(value / 1e6).toFixed(2)} M`;
  if (size >= 1e5) return `${(value / 1e3).toFixed(0)} k`;
  if (size >= 100) return value.toFixed(0);
  if (size >= 10) return value.toFixed(1);
  return value.toFixed(2);
}

const percent = (share) => `${Math.round(share * 100)} %`;

/** Left-aligned first column and last, the rest right-aligned; as wide as their widest. */
function columns(lines) {
  const wide = [];
  for (const line of lines) {
    line.forEach((cell, i) => {
      wide[i] = Math.max(wide[i] ?? 0, cell.length);
    });
  }
  const last = wide.length - 1;
  return lines.map((line) =>
    line
      .map((cell, i) =>
        i === 0 ? cell.padEnd(wide[i]) : i === last ? cell : cell.padStart(wide[i]),
      )
      .join('  ')
      .trimEnd(),
  );
}

const asked = (value) => (value === undefined ? '' : shown(value));

function verdictText({ verdict, missing }) {
  if (missing !== undefined) return `not measured: ${missing}`;
  return verdict.word === '' ? '' : `${verdict.word}${verdict.sure ? '' : ' ~'}`;
}

function quotedText({ quoted, median, less }) {
  if (quoted === undefined) return ['', ''];
  if (median === undefined) return [shown(quoted.here), ''];
  const ahead = less ? quoted.here / median : median / quoted.here;
  return [shown(quoted.here), `${ahead.toFixed(2)} x`];
}

const quotedWho = ({ quoted }) =>
  quoted === undefined ? '' : `${quoted.who}${quoted.note === '' ? '' : `: ${quoted.note}`}`;

/** What had its core for less of the time waited for others who had it. */
const keptWaiting = (load) => load.onCpu !== undefined && load.onCpu.min < 0.95;

/** `waited`: a column for clocks without the waiting. */
function rowsText(rows, waited) {
  const lines = rows.map((row) => [
    row.title,
    shown(row.median),
    shown(row.min),
    shown(row.max),
    row.unit,
    ...(waited ? [asked(row.onCpu?.median)] : []),
    asked(row.floor),
    asked(row.target),
    ...quotedText(row),
    [verdictText(row), quotedWho(row)].filter((text) => text !== '').join('; '),
  ]);
  return columns([
    [
      '',
      'median',
      'min',
      'max',
      '',
      ...(waited ? ['on cpu'] : []),
      'floor',
      'target',
      'quoted',
      'ahead',
      '',
    ],
    ...lines,
  ]);
}

function peersText(peers) {
  const lines = peers.map((row) => [
    row.title,
    shown(row.median),
    shown(row.min),
    shown(row.max),
    row.unit,
    row.ours === undefined ? '' : shown(row.ours.median),
    row.ratio === undefined ? '' : `${row.ratio.median.toFixed(2)} x`,
    row.missing !== undefined ? `not measured: ${row.missing}` : (row.ours?.called ?? ''),
  ]);
  return columns([['peers', 'median', 'min', 'max', '', 'ours', 'ahead', ''], ...lines]);
}

export function machineText({ machine, load, trials }) {
  const { cpu, cores, kernel, node, commit, date } = machine;
  const steal =
    load.stealShare === undefined
      ? 'unknown'
      : `${load.stealTicks} ticks, ${(load.stealShare * 100).toFixed(1)} % of all CPUs' time`;
  const { first, most } = load.loadAverage;
  const kept = keptWaiting(load);
  const busy = first > cores / 4;
  return [
    `${cpu}, ${cores} cores, Linux ${kernel}, Node ${node}, commit ${commit}, ${date}`,
    `${trials} trials in ${load.seconds} s; load average ${first.toFixed(2)} at first, ` +
      `${most.toFixed(2)} at most; stolen: ${steal}`,
    ...(kept
      ? [
          `The measured process had its core ${percent(load.onCpu.median)} of the time, in the worst trial of a job ` +
            `${percent(load.onCpu.min)}: figures contain the waiting, but for "on cpu".`,
        ]
      : []),
    ...(busy
      ? ['The machine had other work when this began: figures are no better than that.']
      : []),
  ];
}

export function calibrationText({ calibration, reference }) {
  const entry = (name, title, unit, there) => {
    const figure = calibration[name];
    if (figure === undefined) return [];
    return [
      [
        title,
        shown(figure.median),
        shown(figure.min),
        shown(figure.max),
        unit,
        there === undefined ? '' : `${shown(there)} where the quoted figures come from`,
      ],
    ];
  };
  const { tscGhz, coreGhz, dramNs, copyGbps } = reference;
  return columns([
    ['calibration', 'median', 'min', 'max', '', ''],
    ...entry('tscGhz', 'TSC', 'GHz', tscGhz),
    ...entry('coreGhz', 'core clock (dependent additions)', 'GHz', coreGhz),
    ...entry('clocksPerCycle', 'TSC clocks a cycle', '', tscGhz / coreGhz),
    ...entry('load.16', 'dependent load, 16 KiB', 'ns'),
    ...entry('load.256', 'dependent load, 256 KiB', 'ns'),
    ...entry('load.1024', 'dependent load, 1 MiB', 'ns'),
    ...entry('load.4096', 'dependent load, 4 MiB', 'ns'),
    ...entry('load.262144', 'dependent load, 256 MiB', 'ns', dramNs),
    ...entry('copyGbps', 'memcpy() of 256 MiB, copied', 'GB/s', copyGbps),
  ]);
}

/** By the last word of a figure's name. What scripts report is all a second. */
const UNITS = {
  clk: 'clk',
  tsc: 'clk',
  ns: 'ns',
  seconds: 's',
  pps: 'packets/s',
  gbps: 'Gb/s',
  items: 'items/s',
  bytes: 'B/s',
  'bytes/prefix': 'B',
  bytesPerPairOfRoom: 'B',
  bytesPerPairHeld: 'B',
};
const SCRIPTS = /^(commit|program|routes)\./;

function figuresText(figures) {
  const lines = Object.entries(figures).map(([name, { median, min, max }]) => [
    name,
    shown(median),
    shown(min),
    shown(max),
    UNITS[name.split('.').at(-1)] ?? (SCRIPTS.test(name) ? '/s' : ''),
  ]);
  return columns([['all figures', 'median', 'min', 'max', ''], ...lines]);
}

/** The whole run. */
export function text(document, { figures = false } = {}) {
  const { rows, peers } = document;
  return [
    ...machineText(document),
    '',
    ...calibrationText(document),
    ...(rows.length > 0 ? ['', ...rowsText(rows, keptWaiting(document.load))] : []),
    ...(peers.length > 0 ? ['', ...peersText(peers)] : []),
    ...(figures ? ['', ...figuresText(document.figures)] : []),
    '',
    'clk: TSC clocks a packet (or look-up). ~: some trials are on the other side of the line. quoted: of others, not',
    'measured here; clocks as on a core as fast as this one. ahead: by how much ours is better.',
  ].join('\n');
}

/** What compare() found. */
export function comparisonText({ calibration, rows }, called) {
  const line = (row) => [
    row.title,
    shown(row.before),
    shown(row.now),
    row.unit,
    row.ratio.toFixed(3),
    `${row.low.toFixed(3)} - ${row.high.toFixed(3)}`,
    row.word,
  ];
  const moved = calibration.filter((row) => row.word === 'better' || row.word === 'worse');
  const count = (word) => rows.filter((row) => row.word === word).length;
  return [
    ...columns([
      [`against ${called}`, 'before', 'now', '', 'ratio', 'from - to', ''],
      ...calibration.map(line),
      ...rows.map(line),
    ]),
    '',
    `${count('better')} better, ${count('worse')} worse, ${count('same')} within the noise of both` +
      (count('too few trials') > 0
        ? `, ${count('too few trials')} with too few trials to say`
        : ''),
    ...(moved.length > 0
      ? [`The machine itself is not the same: ${moved.map((row) => row.title).join('; ')}.`]
      : []),
  ].join('\n');
}
