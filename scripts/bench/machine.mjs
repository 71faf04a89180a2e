// What the machine is, and what else it did while we measured: model, load, ticks that the hypervisor gave to others.
import { readFileSync } from 'node:fs';
import { cpus, loadavg, release } from 'node:os';
import { jobs, run } from '../machine.mjs';

/** Of all CPUs together, since boot; undefined where /proc/stat has none. In ticks of 10 ms. */
export function cpuTicks(text = readFileSync('/proc/stat', 'utf8')) {
  const fields = /^cpu\s+(.+)$/m.exec(text)?.[1]?.trim().split(/\s+/).map(Number);
  if (fields === undefined || fields.length < 8) return undefined;
  return { steal: fields[7], all: fields.slice(0, 8).reduce((sum, one) => sum + one, 0) };
}

export async function machine() {
  const commit = await run('git', ['rev-parse', '--short', 'HEAD']);
  const changed = await run('git', ['status', '--porcelain', '--untracked-files=no']);
  const dirty = changed.status === 0 && changed.output.trim() !== '';
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: jobs,
    kernel: release(),
    node: process.versions.node,
    commit: commit.status === 0 ? commit.output.trim() + (dirty ? ' and changes' : '') : 'unknown',
    date: new Date().toISOString().slice(0, 10),
  };
}

/** Notes load and stolen ticks from now on; what it returns tells what came together. */
export function watch() {
  const first = cpuTicks();
  const began = performance.now();
  const loads = [loadavg()[0] ?? 0];
  return {
    look: () => loads.push(loadavg()[0] ?? 0),
    told: () => {
      const last = cpuTicks();
      const stolen = first && last ? last.steal - first.steal : undefined;
      const all = first && last ? last.all - first.all : undefined;
      return {
        seconds: Math.round((performance.now() - began) / 1000),
        loadAverage: { first: loads[0], most: Math.max(...loads) },
        stealTicks: stolen,
        stealShare: stolen !== undefined && all ? stolen / all : undefined,
      };
    },
  };
}
