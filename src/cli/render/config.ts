/** Text of `vrouter config`. Pure. */
import type { ConfigObjectView, ConfigurationView } from '../views.ts';

const STATES: Readonly<Record<string, string>> = {
  none: 'no control node has been heard',
  learning: 'it is still being told',
  settled: 'it has been told in full',
  headless: 'no control node: all is as it was',
};

function source({ control, state, version }: ConfigurationView): string {
  const who = control === null ? '' : `from ${control}: `;
  const at = version === null ? '' : `, version ${version}`;
  return `Configuration ${who}${STATES[state] ?? state}${at}\n`;
}

export function renderConfiguration(view: ConfigurationView): string {
  const counts = Object.entries(view.objects).map(([type, n]) => `  ${type.padEnd(44)} ${n}\n`);
  const counters = Object.entries(view.counters).map(([name, n]) => `${n} ${name}`);
  const width = Math.max(0, ...view.ports.map(({ port }) => port.length));
  const ports = view.ports.map(({ port, vmi, vrf, addresses, waiting }) =>
    waiting === null
      ? `  ${port.padEnd(width)}  ${vrf} ${addresses.join(' ')} (${vmi})\n`
      : `  ${port.padEnd(width)}  waits: ${waiting}\n`,
  );
  const notes = view.notes.map(({ object, what }) => `  ${object}\n    ${what}\n`);
  return (
    source(view) +
    `Messages: ${counters.join(', ')}\n` +
    `Objects${counts.length === 0 ? ': none' : ''}\n${counts.join('')}` +
    `Links: ${view.links}\n` +
    `Ports${ports.length === 0 ? ': none' : ''}\n${ports.join('')}` +
    (notes.length === 0 ? '' : `Not as it says\n${notes.join('')}`)
  );
}

export function renderObjects(objects: readonly ConfigObjectView[]): string {
  if (objects.length === 0) return 'no object\n';
  return objects
    .map(({ type, name, properties, links }) => {
      const said = Object.entries(properties).map(
        ([key, value]) =>
          `    ${key}: ${typeof value === 'string' ? value : JSON.stringify(value)}\n`,
      );
      const to = links.map((link) => `    -> ${link.type} ${link.name}\n`);
      return `${type} ${name}\n${said.join('')}${to.join('')}`;
    })
    .join('');
}
