/** What control nodes have said of this node's ports, for `vrouter config` and `vrouter status`. Reads only. */
import { PAGE, type Page } from '../cli/protocol.ts';
import type { ConfigObjectView, ConfigurationStatus, ConfigurationView } from '../cli/views.ts';
import { choice, mapping, whole } from '../config/fields.ts';
import { checkParams } from '../config/load.ts';
import { OBJECT_TYPES, type ObjectType } from '../ifmap/objects.ts';
import type { Configured } from './configured.ts';
import type { Methods } from './rpc-server.ts';

const schemas = {
  none: mapping({}),
  objects: mapping({
    type: choice(OBJECT_TYPES as readonly [ObjectType, ...ObjectType[]]).optional(),
    after: whole(0, 0xffffffff).optional(),
  }),
};

function view(configured: Configured): ConfigurationView {
  const { control, state, version, ...counters } = configured.standing;
  const objects: Record<string, number> = {};
  for (const { type } of configured.graph.nodes()) objects[type] = (objects[type] ?? 0) + 1;
  return {
    control: control ?? null,
    state,
    version: version ?? null,
    objects,
    links: configured.graph.linkCount,
    counters,
    ports: configured.ports().map(({ port, file, standing, vif }) => ({
      port,
      vmi: file.vmi,
      vm: file.vm ?? null,
      vrf: vif?.vrf ?? null,
      addresses: [vif?.ipv4, vif?.ipv6].filter((address) => address !== undefined),
      waiting: typeof standing === 'number' ? null : standing.waiting,
    })),
    notes: configured.notes,
  };
}

export function configurationStatus(configured: Configured): ConfigurationStatus {
  const { control, state, version } = configured.standing;
  const ports = configured.ports();
  return {
    control: control ?? null,
    state,
    version: version ?? null,
    ports: ports.length,
    waiting: ports.flatMap(({ port, standing }) =>
      typeof standing === 'number' ? [] : [{ port, reason: standing.waiting }],
    ),
    notes: configured.notes.length,
  };
}

function objects(
  { graph }: Configured,
  { type, after = 0 }: { type?: ObjectType | undefined; after?: number | undefined },
): Page<ConfigObjectView> {
  const all = graph.nodes().filter((node) => type === undefined || node.type === type);
  const items = all.slice(after, after + PAGE).map((node) => ({
    type: node.type,
    name: node.name,
    properties: node.properties as ConfigObjectView['properties'],
    links: graph.neighbours(node).map((to) => ({ type: to.type, name: to.name })),
  }));
  return { items, next: after + PAGE < all.length ? after + PAGE : null };
}

export function configurationMethods(configured: Configured): Methods {
  return {
    'config.show': (params) => {
      checkParams(schemas.none, 'config.show', params);
      return view(configured);
    },
    'config.objects': (params) =>
      objects(configured, checkParams(schemas.objects, 'config.objects', params)),
  };
}
