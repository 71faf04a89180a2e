// Two runs side by side: the same rows, the ratio of their medians, and whether that is more than noise. The machines'
// calibrations are compared the same way: where they differ, it is the machine that has changed, or its neighbours.
import { difference, pairedDifference } from './statistics.mjs';

const CALIBRATION = [
  { id: 'coreGhz', title: 'core clock', unit: 'GHz', less: false },
  { id: 'load.1024', title: 'load, 1 MiB', unit: 'ns', less: true },
  { id: 'load.4096', title: 'load, 4 MiB', unit: 'ns', less: true },
  { id: 'load.262144', title: 'load, 256 MiB', unit: 'ns', less: true },
  { id: 'copyGbps', title: 'memcpy()', unit: 'GB/s', less: false },
];

const measured = (row) => row?.median !== undefined;

function pairs(now, before) {
  const byId = new Map(before.map((row) => [row.id, row]));
  return now
    .filter((row) => measured(row) && measured(byId.get(row.id)))
    .map((row) => {
      const then = byId.get(row.id);
      const { id, title, unit, less } = row;
      return {
        id,
        title: title.trim(),
        unit,
        less,
        before: then.median,
        now: row.median,
        ...difference(row, row, then),
      };
    });
}

const calibrationRows = ({ calibration }) =>
  CALIBRATION.map((row) => ({ ...row, ...calibration[row.id] }));

export function compare(now, before) {
  return {
    calibration: pairs(calibrationRows(now), calibrationRows(before)),
    rows: pairs([...now.rows, ...now.peers], [...before.rows, ...before.peers]),
  };
}

/** The same row of clocks without those in which somebody else had the core, where both builds tell them. */
function onCpu(row, trials, others) {
  const better = (name) => {
    const found = `${name}OnCpu`;
    return trials[0]?.[found] !== undefined && others[0]?.[found] !== undefined ? found : name;
  };
  return { ...row, of: Array.isArray(row.of) ? row.of.map(better) : better(row.of) };
}

/** Two builds that took turns in one run: of rows that both have. */
export const comparePaired = (definitions, trials, others) => ({
  calibration: [],
  rows: definitions.flatMap((row) => {
    const found = pairedDifference(onCpu(row, trials, others), trials, others);
    const { id, title, unit, less } = row;
    return found === undefined ? [] : [{ id, title: title.trim(), unit, less, ...found }];
  }),
});
