// A run as one document: what `--json` prints, `--save` keeps, `--against` and `--from` read, and table and picture are
// made of. Everything in it was measured in that run, except what stands under `quoted`.
import { REFERENCE } from './rows.mjs';
import { rowValues, scaled, summary, verdict } from './statistics.mjs';

export const FORMAT = 'vrouter-bench-1';

/** Median, least and most of each figure that any trial has, by name. */
function summaries(trials) {
  const names = new Set(trials.flatMap((figures) => Object.keys(figures)));
  return Object.fromEntries(
    [...names].map((name) => [name, summary(rowValues({ of: name }, trials))]),
  );
}

/** Of somebody else: clocks as they would be on a core as fast as this one, anything else as it is. */
function quotedHere(quoted, unit, clocksPerCycle) {
  if (quoted === undefined) return undefined;
  const there = REFERENCE.tscGhz / REFERENCE.coreGhz;
  const here =
    unit === 'clk' && clocksPerCycle !== undefined
      ? scaled(quoted.value, clocksPerCycle, there)
      : quoted.value;
  return { who: quoted.who, value: quoted.value, here, note: quoted.note ?? '' };
}

function row(definition, trials, clocksPerCycle, missing) {
  const { id, title, unit, less, floor, target } = definition;
  const values = rowValues(definition, trials);
  const told = { id, title, unit, less, floor, target };
  const quoted = quotedHere(definition.quoted, unit, clocksPerCycle);
  if (values.length === 0) return { ...told, quoted, missing: missing(definition) };
  const figure = summary(values);
  // Of clocks, and ratios of them: without those in which others had the core.
  const names = [definition.of].flat().map((name) => `${name}OnCpu`);
  const onCpu = rowValues({ of: names }, trials);
  if (onCpu.length > 0) told.onCpu = summary(onCpu);
  return { ...told, quoted, ...figure, values, verdict: verdict(definition, figure) };
}

function peer(definition, trials, missing) {
  const { id, title, unit, less, of, ours, oursCalled } = definition;
  const values = rowValues({ of }, trials);
  if (values.length === 0) return { id, title, unit, less, missing: missing(definition) };
  const own = ours === undefined ? [] : rowValues({ of: ours }, trials);
  const over = ours === undefined ? [] : rowValues({ of: [of, ours] }, trials);
  return {
    id,
    title,
    unit,
    less,
    ...summary(values),
    values,
    ...(own.length > 0 && over.length > 0
      ? { ours: { called: oursCalled, ...summary(own) }, ratio: summary(over) }
      : {}),
  };
}

/**
 * @param {object} run
 * @param {object} run.machine who measured
 * @param {object} run.load what else there was meanwhile
 * @param {Record<string, number>[]} run.trials figures, trial by trial
 * @param {object[]} run.rows definitions
 * @param {object[]} run.peers definitions
 * @param {(definition: object) => string} run.missing why a row has no figure
 * @param {object} [run.beside] another build that took turns, compared
 */
export function documentOf({ machine, load, trials, rows, peers, missing, beside }) {
  const figures = summaries(trials);
  const clocksPerCycle = figures['calibration.clocksPerCycle']?.median;
  const onCpu = Object.keys(figures).filter((name) => name.endsWith('.onCpu'));
  const isCalibration = (name) => name.startsWith('calibration.');
  return {
    format: FORMAT,
    machine,
    load: {
      ...load,
      ...(onCpu.length > 0
        ? { onCpu: summary(onCpu.flatMap((name) => rowValues({ of: name }, trials))) }
        : {}),
    },
    trials: trials.length,
    reference: REFERENCE,
    calibration: Object.fromEntries(
      Object.entries(figures)
        .filter(([name]) => isCalibration(name))
        .map(([name, figure]) => [name.slice('calibration.'.length), figure]),
    ),
    rows: rows.map((definition) => row(definition, trials, clocksPerCycle, missing)),
    ...(beside === undefined ? {} : { beside }),
    peers: peers.map((definition) => peer(definition, trials, missing)),
    figures: Object.fromEntries(Object.entries(figures).filter(([name]) => !isCalibration(name))),
  };
}

/** A document from a file's text, or an Error that says what is wrong with it. */
export function readDocument(text, name) {
  let document;
  try {
    document = JSON.parse(text);
  } catch (error) {
    throw new Error(`${name} is not JSON: ${error.message}`);
  }
  if (document?.format !== FORMAT) {
    throw new Error(`${name} is no run of this benchmark (no format ${FORMAT}).`);
  }
  return document;
}
