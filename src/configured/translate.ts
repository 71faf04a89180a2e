/**
 * A configuration and the ports of this host -> what is to be: VRFs, policies, vifs, and ports that wait, each with the
 * first thing it lacks. Pure, and of the whole: whatever the order in which objects came, the same graph says the same.
 */
import type { ConfigGraph } from '../ifmap/graph.ts';
import { groupsOf, policyOf } from './access-lists.ts';
import {
  byText,
  type ConfiguredPort,
  type ConfiguredVif,
  type DesiredState,
  type Note,
  type WaitingPort,
} from './desired.ts';
import type { GroupMembers } from './group-members.ts';
import { describeInterface, interfacesByName, type Used } from './interfaces.ts';
import { Instances } from './networks.ts';

export function missing(vmi: string): string {
  return `no virtual-machine-interface ${vmi} in the configuration`;
}

/** members: without, rules about groups cannot be said. */
export function desiredState(
  graph: ConfigGraph,
  ports: Iterable<ConfiguredPort>,
  members?: GroupMembers,
): DesiredState {
  const notes: Note[] = [];
  const used: Used = {
    graph,
    instances: new Instances(graph),
    lists: new Map(),
    closed: new Set(),
    notes,
  };
  const find = interfacesByName(graph);
  const vifs: ConfiguredVif[] = [];
  const waiting: WaitingPort[] = [];
  const taken = new Map<string, string>();
  for (const { name: port, vmi } of [...ports].sort((a, b) => byText(a.name, b.name))) {
    const wait = (reason: string) => waiting.push({ port, reason });
    const found = find(vmi);
    if (found === undefined) {
      wait(missing(vmi));
      continue;
    }
    const other = taken.get(found.name);
    if (other !== undefined) {
      wait(`virtual-machine-interface ${found.name} is port ${other}'s`);
      continue;
    }
    taken.set(found.name, port);
    const described = describeInterface(used, port, found);
    if ('lacks' in described) wait(described.lacks);
    else vifs.push(described.vif);
  }
  const policies = [
    ...[...used.lists].map(([name, { list, instance }]) =>
      policyOf({ graph, members: inInstance(members, instance) }, list, name, notes),
    ),
    ...[...used.closed].map((name) => ({ name, rules: [] })),
  ].sort((a, b) => byText(a.name, b.name));
  return {
    vrfs: used.instances.vrfs(notes),
    policies,
    vifs,
    waiting,
    notes: onceEach(notes),
    groups: new Set([...used.lists.values()].flatMap(({ list }) => groupsOf(list))),
  };
}

function inInstance(members: GroupMembers | undefined, instance: string | undefined) {
  if (members === undefined || instance === undefined) return undefined;
  return (group: number) => members.of(instance, group);
}

/** Several interfaces say the same of a group. */
function onceEach(notes: readonly Note[]): Note[] {
  const texts = new Map(notes.map((note) => [`${note.object}\0${note.what}`, note]));
  return [...texts].sort(([a], [b]) => byText(a, b)).map(([, note]) => note);
}
