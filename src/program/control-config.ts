/**
 * The configuration of `vrouter control`: objects from its file and its socket (control/config-book.ts) become what agents
 * are told (control/config-tables.ts), and networks their routing instances.
 *
 * Invariant: an instance that was configured by itself stays as it is; a network's own comes and goes with it.
 */

import { z } from 'zod';
import type {
  ConfigAgentView,
  ConfigAppliedView,
  ConfigObjectView,
  ConfigView,
} from '../cli/control-views.ts';
import type { Page } from '../cli/protocol.ts';
import { ConfigText } from '../config/document.ts';
import { mapping, name, whole } from '../config/fields.ts';
import { check, checkParams } from '../config/load.ts';
import {
  OBJECT_KINDS,
  type ObjectKind,
  type ObjectsFile,
  objectKind,
  objectsSchema,
} from '../config/objects.ts';
import { ConfigBook, type ObjectProblem, type Objects } from '../control/config-book.ts';
import { instanceName, type NetworkSpec } from '../control/config-objects.ts';
import { ConfigTables } from '../control/config-tables.ts';
import type { InstanceSpec, RouteExchange } from '../control/exchange.ts';
import { VRouterError } from '../errors.ts';
import { keyText } from '../ifmap/graph.ts';
import { MAX_PEER_NAME_BYTES } from '../xmpp/limits.ts';
import type { Methods } from './rpc-server.ts';

/** Objects an answer. */
const PAGE = 512;

const schemas = {
  none: mapping({}),
  apply: mapping({ objects: objectsSchema }),
  remove: mapping({ kind: objectKind, name }),
  told: mapping({
    agent: z.string().min(1).max(MAX_PEER_NAME_BYTES),
    after: whole(0, 0xffffffff).optional(),
  }),
};

function instanceOf(network: NetworkSpec): InstanceSpec {
  return {
    name: instanceName(network.name),
    ...(network.import === undefined ? {} : { import: network.import }),
    ...(network.export === undefined ? {} : { export: network.export }),
  };
}

const targetsOf = ({ import: taken, export: given }: InstanceSpec): string =>
  JSON.stringify([taken, given]);

export class ControlConfig {
  readonly tables: ConfigTables;
  readonly #book = new ConfigBook();
  readonly #exchange: RouteExchange;
  /** Numbers of networks that have one. */
  readonly #indices = new Map<string, number>();
  /** Of networks, and with which targets. */
  readonly #instances = new Map<string, string>();

  /** Instances that are configured by themselves are there already. */
  constructor(exchange: RouteExchange, now: number) {
    this.#exchange = exchange;
    this.tables = new ConfigTables({ schedule: setImmediate, version: now });
  }

  problems(objects: ObjectsFile): ObjectProblem[] {
    return this.#book.problems(objects);
  }

  apply(objects: Objects): ConfigAppliedView {
    const before = this.tables.version;
    const version = this.#book.put(objects, (changes) => this.tables.apply(changes));
    for (const { name: of, id } of objects.networks ?? []) {
      if (id === undefined) this.#indices.delete(of);
      else this.#indices.set(of, id);
    }
    const instances = (objects.networks ?? []).filter((of) => this.#setInstance(instanceOf(of)));
    const changed = version !== before || instances.length > 0;
    return { version, changed, delivered: this.#deliver() };
  }

  remove(kind: ObjectKind, called: string): ConfigAppliedView {
    const version = this.#book.remove(OBJECT_KINDS[kind], called, (changes) =>
      this.tables.apply(changes),
    );
    if (kind === 'network') this.#indices.delete(called);
    if (kind === 'network') this.#dropInstance(instanceName(called));
    return { version, changed: true, delivered: this.#deliver() };
  }

  /** A network's number, as routes of BGP name where they come from. */
  readonly indexOf = (network: string): number | undefined => this.#indices.get(network);

  readonly networkOf = (index: number): string | undefined => {
    for (const [network, known] of this.#indices) if (known === index) return network;
    return undefined;
  };

  /** Before it is answered. */
  #deliver(): number {
    this.#exchange.flush();
    return this.tables.flush();
  }

  /** Whether it is another than before. */
  #setInstance(spec: InstanceSpec): boolean {
    const targets = targetsOf(spec);
    const before = this.#instances.get(spec.name);
    if (before === targets) return false;
    try {
      if (before === undefined) this.#exchange.createInstance(spec);
      else this.#exchange.updateInstance(spec);
      this.#instances.set(spec.name, targets);
      return true;
    } catch (error) {
      // Configured by itself, or taken away by itself, over the socket: that stays so.
      const { code } = error as Partial<VRouterError>;
      if (code !== 'CONFLICT' && code !== 'NOT_FOUND') throw error;
      return false;
    }
  }

  #dropInstance(instance: string): void {
    if (!this.#instances.delete(instance)) return;
    try {
      this.#exchange.deleteInstance(instance);
    } catch (error) {
      // Taken away by itself, over the socket.
      if (!(error instanceof VRouterError) || error.code !== 'NOT_FOUND') throw error;
    }
  }

  view(): ConfigView {
    const agents = this.tables.readers().map(
      (reader): ConfigAgentView => ({
        name: reader.name,
        subscriptions: [...reader.roots.values()]
          .map(({ type, name: of }) => `${type}:${of}`)
          .sort(),
        version: reader.version,
        behind: reader.isBehind,
        objects: reader.nodes.size,
        links: reader.links.size,
        ...reader.counters,
      }),
    );
    return {
      version: this.tables.version,
      objects: this.#book.counts(),
      nodes: this.tables.graph.size,
      links: this.tables.graph.linkCount,
      agents: agents.sort((a, b) => (a.name < b.name ? -1 : 1)),
    };
  }

  /** What an agent has been told. */
  told(agent: string, from = 0): Page<ConfigObjectView> {
    const reader = this.tables.reader(agent);
    if (reader === undefined) throw new VRouterError('NOT_FOUND', `no agent '${agent}'`);
    const all = [...reader.nodes.values()].sort((a, b) => (keyText(a) < keyText(b) ? -1 : 1));
    const some = all.slice(from, from + PAGE);
    const links = new Map<string, { type: string; name: string }[]>(
      some.map((node) => [keyText(node), []]),
    );
    for (const { ends } of reader.links.values()) {
      for (const [a, b] of [ends, [ends[1], ends[0]] as const]) links.get(keyText(a))?.push(b);
    }
    const items = some.map(
      ({ type, name: of, properties }): ConfigObjectView => ({
        type,
        name: of,
        properties,
        links: (links.get(keyText({ type, name: of })) ?? []).sort((a, b) =>
          `${a.type} ${a.name}` < `${b.type} ${b.name}` ? -1 : 1,
        ),
      }),
    );
    return { items, next: from + PAGE < all.length ? from + PAGE : null };
  }
}

export function configMethods(config: ControlConfig): Methods {
  return {
    'config.apply': (params) => {
      const text = new ConfigText('config.apply', JSON.stringify(params ?? {}));
      const { objects } = check(schemas.apply, text);
      const problems = config.problems(objects);
      if (problems.length > 0) {
        text.refuse(problems.map(({ path, message }) => ({ path: ['objects', ...path], message })));
      }
      return config.apply(objects);
    },
    'config.remove': (params) => {
      const { kind, name: called } = checkParams(schemas.remove, 'config.remove', params);
      return config.remove(kind, called);
    },
    'config.show': (params) => {
      checkParams(schemas.none, 'config.show', params);
      return config.view();
    },
    'config.told': (params) => {
      const { agent, after } = checkParams(schemas.told, 'config.told', params);
      return config.told(agent, after);
    },
  };
}
