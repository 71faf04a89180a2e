/**
 * Who is in a security group, as routes say: each carries the ids of the groups that its interface is in. A tap on a
 * route source, since nobody else needs it by group.
 *
 * Invariants
 *  * A member of an instance is none of another one: addresses are a tenant's own.
 *  * Only routes of single hosts count: what a subnet or a default route says of its groups is not what each address in
 *    it is.
 *  * What is held is a part of what the source has announced: bounded by its own limits.
 */
import type { Route, RouteKey, RouteSource, RouteUpdate } from '../rib/route.ts';
import { byText } from './desired.ts';

export interface GroupMembers {
  /** Host prefixes, in an order of their own. */
  of(instance: string, group: number): readonly string[];
}

function hostPrefix({ family, prefix }: RouteKey): string | undefined {
  if (family === 'inet') return prefix.endsWith('/32') ? prefix : undefined;
  return family === 'inet6' && prefix.endsWith('/128') ? prefix : undefined;
}

export class LearnedGroups implements GroupMembers {
  /** instance -> host prefix -> groups. */
  readonly #hosts = new Map<string, Map<string, readonly number[]>>();
  /** instance -> group -> host prefixes. */
  readonly #members = new Map<string, Map<number, Set<string>>>();
  #listener: (groups: ReadonlySet<number>) => void = () => {};

  of(instance: string, group: number): readonly string[] {
    return [...(this.#members.get(instance)?.get(group) ?? [])].sort(byText);
  }

  /** Groups of which members have come or gone, after each row of updates. */
  onChange(listener: (groups: ReadonlySet<number>) => void): void {
    this.#listener = listener;
  }

  take(updates: readonly RouteUpdate[]): void {
    const changed = new Set<number>();
    for (const update of updates) {
      if (update.type === 'announce') this.#announce(update.route, changed);
      else if (update.type === 'withdraw') this.#set(update.key, [], changed);
    }
    if (changed.size > 0) this.#listener(changed);
  }

  leave(instance: string): void {
    const gone = this.#members.get(instance);
    this.#hosts.delete(instance);
    this.#members.delete(instance);
    if (gone !== undefined && gone.size > 0) this.#listener(new Set(gone.keys()));
  }

  #announce(route: Route, changed: Set<number>): void {
    this.#set(route, route.securityGroups ?? [], changed);
  }

  #set(key: RouteKey, groups: readonly number[], changed: Set<number>): void {
    const prefix = hostPrefix(key);
    if (prefix === undefined) return;
    const before = this.#hosts.get(key.instance)?.get(prefix) ?? [];
    for (const group of before) {
      if (!groups.includes(group)) this.#drop(key.instance, group, prefix, changed);
    }
    for (const group of groups) {
      if (!before.includes(group)) this.#put(key.instance, group, prefix, changed);
    }
    if (groups.length > 0) placed(this.#hosts, key.instance).set(prefix, groups);
    else if (before.length > 0) this.#hosts.get(key.instance)?.delete(prefix);
  }

  #put(instance: string, group: number, prefix: string, changed: Set<number>): void {
    const groups = placed(this.#members, instance);
    const members = groups.get(group) ?? new Set();
    groups.set(group, members.add(prefix));
    changed.add(group);
  }

  #drop(instance: string, group: number, prefix: string, changed: Set<number>): void {
    const groups = this.#members.get(instance);
    const members = groups?.get(group);
    members?.delete(prefix);
    if (members?.size === 0) groups?.delete(group);
    changed.add(group);
  }
}

function placed<K, L, V>(maps: Map<K, Map<L, V>>, key: K): Map<L, V> {
  const map = maps.get(key) ?? new Map<L, V>();
  maps.set(key, map);
  return map;
}

/** The source as it is, with the groups looked at on the way. */
export function withGroups(source: RouteSource, groups: LearnedGroups): RouteSource {
  return {
    name: source.name,
    onUpdates: (listener) =>
      source.onUpdates((updates) => {
        // Members first: what the agent is about to program may be what a rule is about.
        groups.take(updates);
        listener(updates);
      }),
    subscribe: (instance, id) => source.subscribe(instance, id),
    unsubscribe: (instance) => {
      source.unsubscribe(instance);
      groups.leave(instance);
    },
    publish: (route) => source.publish(route),
    withdraw: (key) => source.withdraw(key),
    close: () => source.close(),
  };
}
