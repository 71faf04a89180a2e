/**
 * The objects a control node was given, and the nodes and links they make. Objects come and go by name; what results are
 * changes of the graph, no more than differ.
 *
 * Invariants: what an object names is there, or the object is not taken; what others name does not go. Given objects are
 * taken all or none. A node or link that several objects make is there while one of them is, and is the same from each.
 */
import { isDeepStrictEqual } from 'node:util';
import { contains, hostPrefix, parsePrefix } from '../addr/prefix.ts';
import { VRouterError } from '../errors.ts';
import {
  type ConfigChange,
  type ConfigLink,
  type ConfigNode,
  keyText,
  linkText,
} from '../ifmap/graph.ts';
import { getOrCreate } from '../rib/map-entry.ts';
import { KINDS, type List, type Made, type NetworkSpec, type Specs } from './config-objects.ts';

/** What may be given at once: lists as in the file. */
export type Objects = { readonly [L in List]?: readonly Specs[L][] | undefined };

export interface ObjectProblem {
  /** Of the value in question: `ports`, 2, `network`. */
  readonly path: readonly (string | number)[];
  readonly message: string;
}

const LISTS = Object.keys(KINDS) as readonly List[];

/** By what people call one of a list. */
const ONE: Readonly<Record<List, string>> = {
  networks: 'network',
  security_groups: 'security group',
  policies: 'policy',
  ports: 'port',
  floating_ips: 'floating IP',
  virtual_routers: 'virtual router',
};

interface Held {
  readonly list: List;
  readonly spec: Specs[List];
  readonly made: Made;
}

/** A node or link, and how many objects make it. */
interface Counted<T> {
  readonly value: T;
  readonly text: string;
  readonly count: number;
}

const heldKey = (list: List, name: string): string => `${list} ${name}`;

interface Given {
  readonly list: List;
  readonly index: number;
  readonly spec: Specs[List];
}

export class ConfigBook {
  readonly #held = new Map<string, Held>();
  /** Who names an object. */
  readonly #users = new Map<string, Set<string>>();
  readonly #hosts = new Map<string, string>();
  readonly #groupIds = new Map<number, string>();
  readonly #nodes = new Map<string, Counted<ConfigNode>>();
  readonly #links = new Map<string, Counted<ConfigLink>>();

  counts(): Readonly<Record<List, number>> {
    const counts = Object.fromEntries(LISTS.map((list) => [list, 0])) as Record<List, number>;
    for (const { list } of this.#held.values()) counts[list]++;
    return counts;
  }

  find<L extends List>(list: L, name: string): Specs[L] | undefined {
    return this.#held.get(heldKey(list, name))?.spec as Specs[L] | undefined;
  }

  /** Why these cannot be taken; none: they can. */
  problems(objects: Objects): ObjectProblem[] {
    const given = listed(objects);
    const problems: ObjectProblem[] = [];
    const now = new Map<string, Given>();
    for (const one of given) {
      const key = heldKey(one.list, one.spec.name);
      if (now.has(key)) {
        const message = `"${one.spec.name}" is there already`;
        problems.push({ path: [one.list, one.index, 'name'], message });
      }
      now.set(key, one);
    }
    const find = <L extends List>(list: L, name: string) =>
      (now.get(heldKey(list, name))?.spec ?? this.find(list, name)) as Specs[L] | undefined;
    for (const { list, index, spec } of given) {
      for (const { path, list: of, name } of referencesOf(list, spec)) {
        if (find(of, name) === undefined) {
          problems.push({
            path: [list, index, ...path],
            message: `there is no ${ONE[of]} "${name}"`,
          });
        }
      }
    }
    this.#checkHosts(objects, problems);
    this.#checkGroups(objects, problems);
    this.#checkAddresses(given, find, problems);
    return problems;
  }

  /**
   * Of objects without problems. Throws, and has changed nothing, if two make the same thing differently, or if `take` does
   * not take the changes.
   */
  put<T>(objects: Objects, take: (changes: readonly ConfigChange[]) => T): T {
    const given = listed(objects);
    const touched = new Map<string, { readonly list: List; readonly spec: Specs[List] }>();
    for (const { list, spec } of given) {
      const key = heldKey(list, spec.name);
      touched.set(key, { list, spec });
      const before = this.#held.get(key)?.spec as Specs['security_groups'] | undefined;
      if (list !== 'security_groups' || before?.id === (spec as Specs['security_groups']).id)
        continue;
      // Rules say the ids of groups.
      for (const user of this.#users.get(key) ?? []) {
        const { list: of, spec: with_ } = this.#held.get(user) as Held;
        if (!touched.has(user)) touched.set(user, { list: of, spec: with_ });
      }
    }
    const groups = new Map((objects.security_groups ?? []).map(({ name, id }) => [name, id]));
    const groupIds = (name: string) => groups.get(name) ?? this.find('security_groups', name)?.id;
    const held = new Map<string, Held>();
    for (const [key, { list, spec }] of touched) {
      held.set(key, { list, spec, made: madeOf(list, spec, groupIds) });
    }
    const taken = this.#exchange(
      [...held.keys()].flatMap((key) => this.#held.get(key)?.made ?? []),
      [...held.values()].map(({ made }) => made),
      take,
    );
    for (const [key, one] of held) {
      this.#forget(key);
      this.#hold(key, one);
    }
    return taken;
  }

  remove<T>(list: List, name: string, take: (changes: readonly ConfigChange[]) => T): T {
    const key = heldKey(list, name);
    const held = this.#held.get(key);
    if (held === undefined) throw new VRouterError('NOT_FOUND', `no ${ONE[list]} '${name}'`);
    const [user] = [...(this.#users.get(key) ?? [])].filter((text) => text !== key);
    if (user !== undefined) {
      const { list: of, spec } = this.#held.get(user) as Held;
      throw new VRouterError('IN_USE', `${ONE[of]} '${spec.name}' names ${ONE[list]} '${name}'`);
    }
    const taken = this.#exchange([held.made], [], take);
    this.#forget(key);
    return taken;
  }

  // --- what they make --------------------------------------------------------------------------------

  /** What these made goes, what those make comes; each that is in both, or made by others, stays. */
  #exchange<T>(
    before: readonly Made[],
    after: readonly Made[],
    take: (changes: readonly ConfigChange[]) => T,
  ): T {
    const nodes = exchanged(
      this.#nodes,
      before.flatMap(({ nodes: all }) => all),
      after.flatMap(({ nodes: all }) => all),
      keyText,
    );
    const links = exchanged(
      this.#links,
      before.flatMap(({ links: all }) => all),
      after.flatMap(({ links: all }) => all),
      linkText,
    );
    const changes: ConfigChange[] = [];
    for (const { now, was } of nodes) {
      if (now.count === 0) continue;
      if (now.value !== was?.value) changes.push({ kind: 'node', node: now.value });
    }
    for (const { now, was } of links) {
      if (now.count > 0 && was === undefined) changes.push({ kind: 'link', link: now.value });
      if (now.count === 0) changes.push({ kind: 'link', remove: true, link: now.value });
    }
    for (const { now } of nodes) {
      if (now.count > 0) continue;
      const { type, name } = now.value;
      changes.push({ kind: 'node', remove: true, key: { type, name } });
    }
    const taken = take(changes);
    for (const { now } of nodes) settle(this.#nodes, now);
    for (const { now } of links) settle(this.#links, now);
    return taken;
  }

  // --- who names whom --------------------------------------------------------------------------------

  #hold(key: string, held: Held): void {
    this.#held.set(key, held);
    for (const { list, name } of referencesOf(held.list, held.spec)) {
      getOrCreate(this.#users, heldKey(list, name), () => new Set<string>()).add(key);
    }
    if (held.list === 'virtual_routers') {
      const { name, virtual_machines } = held.spec as Specs['virtual_routers'];
      for (const machine of virtual_machines) this.#hosts.set(machine, name);
    }
    if (held.list === 'security_groups') {
      const { id, name } = held.spec as Specs['security_groups'];
      this.#groupIds.set(id, name);
    }
  }

  #forget(key: string): void {
    const held = this.#held.get(key);
    if (held === undefined) return;
    this.#held.delete(key);
    for (const { list, name } of referencesOf(held.list, held.spec)) {
      const users = this.#users.get(heldKey(list, name));
      users?.delete(key);
      if (users?.size === 0) this.#users.delete(heldKey(list, name));
    }
    if (held.list === 'virtual_routers') {
      const { name, virtual_machines } = held.spec as Specs['virtual_routers'];
      for (const machine of virtual_machines) {
        if (this.#hosts.get(machine) === name) this.#hosts.delete(machine);
      }
    }
    if (held.list === 'security_groups') {
      const { id, name } = held.spec as Specs['security_groups'];
      if (this.#groupIds.get(id) === name) this.#groupIds.delete(id);
    }
  }

  // --- what they say of each other -------------------------------------------------------------------

  /** A virtual machine is on one virtual router. */
  #checkHosts({ virtual_routers: routers = [] }: Objects, problems: ObjectProblem[]): void {
    const given = new Set(routers.map(({ name }) => name));
    const hosts = new Map<string, string>();
    for (const [index, { name, virtual_machines }] of routers.entries()) {
      for (const [i, machine] of virtual_machines.entries()) {
        const held = this.#hosts.get(machine);
        const other =
          hosts.get(machine) ?? (held !== undefined && !given.has(held) ? held : undefined);
        if (other !== undefined) {
          problems.push({
            path: ['virtual_routers', index, 'virtual_machines', i],
            message: `"${machine}" is on virtual router "${other}" already`,
          });
        }
        hosts.set(machine, name);
      }
    }
  }

  #checkGroups({ security_groups: groups = [] }: Objects, problems: ObjectProblem[]): void {
    const given = new Set(groups.map(({ name }) => name));
    const ids = new Map<number, string>();
    for (const [index, { name, id }] of groups.entries()) {
      const held = this.#groupIds.get(id);
      const other = ids.get(id) ?? (held !== undefined && !given.has(held) ? held : undefined);
      if (other !== undefined && other !== name) {
        problems.push({
          path: ['security_groups', index, 'id'],
          message: `${id} is security group "${other}" already`,
        });
      }
      ids.set(id, name);
    }
  }

  /** A port's addresses are in its network's subnets, if the network has any, also after the network has changed. */
  #checkAddresses(
    given: readonly Given[],
    find: <L extends List>(list: L, name: string) => Specs[L] | undefined,
    problems: ObjectProblem[],
  ): void {
    const outside = (network: NetworkSpec | undefined, address: string) =>
      (network?.subnets ?? []).length > 0 &&
      !network?.subnets?.some(({ prefix }) =>
        contains(parsePrefix(prefix), parsePrefix(hostPrefix(address))),
      );
    for (const { list, index, spec } of given) {
      if (list === 'ports') {
        const { network, addresses = [] } = spec as Specs['ports'];
        for (const [i, address] of addresses.entries()) {
          if (!outside(find('networks', network), address)) continue;
          const message = `in no subnet of network "${network}"`;
          problems.push({ path: [list, index, 'addresses', i], message });
        }
      }
      if (list !== 'networks') continue;
      for (const user of this.#users.get(heldKey(list, spec.name)) ?? []) {
        const held = this.#held.get(user) as Held;
        if (held.list !== 'ports') continue;
        const port = find('ports', held.spec.name) as Specs['ports'];
        if (port.network !== spec.name) continue;
        const lost = port.addresses?.find((one) => outside(spec as NetworkSpec, one));
        if (lost === undefined) continue;
        const message = `port "${port.name}" has ${lost}, which would be in none of them`;
        problems.push({ path: [list, index, 'subnets'], message });
      }
    }
  }
}

function listed(objects: Objects): Given[] {
  return LISTS.flatMap((list) =>
    (objects[list] ?? []).map((spec, index): Given => ({ list, index, spec })),
  );
}

function referencesOf<L extends List>(list: L, spec: Specs[L]) {
  return KINDS[list].references(spec);
}

function madeOf<L extends List>(
  list: L,
  spec: Specs[L],
  groupIds: (name: string) => number | undefined,
): Made {
  return KINDS[list].make(spec, groupIds);
}

interface Exchanged<T> {
  now: Counted<T>;
  readonly was: Counted<T> | undefined;
}

function exchanged<T extends ConfigNode | ConfigLink>(
  held: ReadonlyMap<string, Counted<T>>,
  before: readonly T[],
  after: readonly T[],
  textOf: (value: T) => string,
): Exchanged<T>[] {
  const all = new Map<string, Exchanged<T>>();
  for (const value of before) {
    const text = textOf(value);
    const was = held.get(text) as Counted<T>;
    const one = getOrCreate(all, text, () => ({ now: was, was }));
    one.now = { ...one.now, count: one.now.count - 1 };
  }
  for (const value of after) {
    const text = textOf(value);
    const was = held.get(text);
    const one = getOrCreate(all, text, () => ({ now: was ?? { value, text, count: 0 }, was }));
    // Equal ones stay the very same: nobody need be told.
    const same = isDeepStrictEqual(one.now.value, value);
    if (!same && one.now.count > 0) {
      throw new VRouterError('CONFLICT', `two objects make different ones of ${text}`);
    }
    one.now = { value: same ? one.now.value : value, text, count: one.now.count + 1 };
  }
  return [...all.values()];
}

function settle<T>(held: Map<string, Counted<T>>, now: Counted<T>): void {
  if (now.count === 0) held.delete(now.text);
  else held.set(now.text, now);
}
