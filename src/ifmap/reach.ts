/**
 * What an agent is told of the graph: the objects that are reached from its virtual router, and from virtual machines it
 * has asked for, over the ways below, and the links that were walked. The ancestor's white list, for the types of
 * objects.ts.
 *
 * Invariant: every link there is has a way in at least one direction, and no way leads from what tenants share (networks,
 * groups, pools) to interfaces or addresses. So whoever hosts nothing of a tenant reaches nothing of it.
 */
import {
  type ConfigGraph,
  type ConfigLink,
  type ConfigNode,
  keyText,
  type ObjectKey,
} from './graph.ts';
import type { LinkType, ObjectType } from './objects.ts';

export const WAYS = {
  'virtual-router': [['virtual-router-virtual-machine', 'virtual-machine']],
  'virtual-machine': [['virtual-machine-interface-virtual-machine', 'virtual-machine-interface']],
  'virtual-machine-interface': [
    ['virtual-machine-interface-virtual-network', 'virtual-network'],
    ['virtual-machine-interface-security-group', 'security-group'],
    ['virtual-machine-interface-routing-instance', 'virtual-machine-interface-routing-instance'],
    ['instance-ip-virtual-machine-interface', 'instance-ip'],
    ['floating-ip-virtual-machine-interface', 'floating-ip'],
  ],
  'virtual-machine-interface-routing-instance': [
    ['virtual-machine-interface-routing-instance', 'routing-instance'],
  ],
  'virtual-network': [
    ['virtual-network-network-ipam', 'virtual-network-network-ipam'],
    ['virtual-network-access-control-list', 'access-control-list'],
    ['virtual-network-routing-instance', 'routing-instance'],
    ['virtual-network-floating-ip-pool', 'floating-ip-pool'],
  ],
  'virtual-network-network-ipam': [['virtual-network-network-ipam', 'network-ipam']],
  'security-group': [['security-group-access-control-list', 'access-control-list']],
  'instance-ip': [['instance-ip-virtual-network', 'virtual-network']],
  'floating-ip': [
    ['floating-ip-pool-floating-ip', 'floating-ip-pool'],
    ['instance-ip-floating-ip', 'instance-ip'],
  ],
  'floating-ip-pool': [['virtual-network-floating-ip-pool', 'virtual-network']],
  'network-ipam': [],
  'routing-instance': [],
  'access-control-list': [],
} as const satisfies Readonly<Record<ObjectType, readonly (readonly [LinkType, ObjectType])[]>>;

/** Whether a walk that is at the one may go on to the other. */
export function isWay(from: ObjectType, metadata: LinkType, to: ObjectType): boolean {
  return WAYS[from].some(([link, type]) => link === metadata && type === to);
}

export interface Reach {
  /** By text (keyText, linkText), nearest first. */
  readonly nodes: ReadonlyMap<string, ConfigNode>;
  readonly links: ReadonlyMap<string, ConfigLink>;
}

export function reach(graph: ConfigGraph, roots: Iterable<ObjectKey>): Reach {
  const nodes = new Map<string, ConfigNode>();
  const links = new Map<string, ConfigLink>();
  for (const { type, name } of roots) {
    const node = graph.node(type, name);
    if (node !== undefined) nodes.set(keyText(node), node);
  }
  // A map is walked in the order of insertion, what is added meanwhile included.
  for (const [from, { type }] of nodes) {
    for (const [metadata, next] of WAYS[type]) {
      graph.step(from, metadata, next, (to, text, joint) => {
        links.set(joint.text, joint.link);
        if (!nodes.has(text)) nodes.set(text, to);
      });
    }
  }
  return { nodes, links };
}
