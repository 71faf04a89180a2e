/** Text of `vrouter control config`. Pure. */
import type { ConfigAppliedView, ConfigObjectView, ConfigView } from '../control-views.ts';
import { columns } from './columns.ts';

export function renderApplied({ version, changed, delivered }: ConfigAppliedView): string {
  return changed ? `version ${version}, ${delivered} told\n` : `version ${version}, as it was\n`;
}

export function renderConfig({ version, objects, nodes, links, agents }: ConfigView): string {
  const given = Object.entries(objects)
    .map(([list, count]) => `${count} ${list.replaceAll('_', ' ')}`)
    .join(', ');
  const head = `version ${version}: ${given}; ${nodes} nodes, ${links} links\n`;
  const asking = agents.filter(({ subscriptions }) => subscriptions.length > 0);
  if (asking.length === 0) return `${head}no agent has asked for it\n`;
  const heads = ['Agent', 'Sent', 'Objects', 'Links', 'Messages', 'Updates', 'Deletes', 'Behind'];
  return (
    head +
    columns([
      heads,
      ...asking.map((agent) => [
        agent.name,
        String(agent.version),
        String(agent.objects),
        String(agent.links),
        String(agent.messages),
        String(agent.updates),
        String(agent.deletes),
        agent.behind ? 'yes' : 'no',
      ]),
    ])
  );
}

function words(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(words).join(', ')}]`;
  if (typeof value !== 'object' || value === null) return String(value);
  const members = Object.entries(value).filter(([key]) => key !== 'idPerms');
  return members.map(([key, of]) => `${key} ${nested(of)}`).join(', ');
}

const nested = (value: unknown): string =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
    ? `{ ${words(value)} }`
    : words(value);

export function renderTold(objects: readonly ConfigObjectView[]): string {
  if (objects.length === 0) return 'nothing\n';
  return objects
    .map(({ type, name, properties, links }) => {
      const said = words(properties);
      const lines = links.map((to) => `  - ${to.type} ${to.name}\n`).join('');
      return `${type} ${name}\n${said === '' ? '' : `  ${said}\n`}${lines}`;
    })
    .join('');
}
