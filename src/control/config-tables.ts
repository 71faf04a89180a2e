/**
 * ConfigTables: the configuration that agents are told: the graph, its version, and who reads which part of it.
 *
 * Invariants
 *  * Changes come whole: all of an apply() or, if it would pass a limit or cannot be written, none; each makes a version.
 *  * Nothing is delivered inside a call: calls mark who may have to be told, flush() walks and tells them.
 *  * `#interest` has every object's readers: those that had reached it, or asked for it, when they were last told. A change
 *    marks these alone, and a new link only those who have reached the end from which it leads on.
 *  * A reader that is blocked waits with marks (config-reader.ts).
 */
import { VRouterError } from '../errors.ts';
import {
  type ConfigChange,
  ConfigGraph,
  type ConfigLink,
  type GraphLimits,
  keyText,
  type ObjectKey,
} from '../ifmap/graph.ts';
import { isWay, type Reach } from '../ifmap/reach.ts';
import { getOrCreate } from '../rib/map-entry.ts';
import { checkWritable } from '../xmpp/config-message.ts';
import { ConfigReader, type ConfigSink } from './config-reader.ts';
import { attempt } from './telling.ts';

export interface ConfigTablesOptions {
  /** Called once when there is something to deliver; must call `run` later, not at once. */
  readonly schedule?: (run: () => void) => void;
  /** What versions are above: the time of the start, so that they grow over restarts. Default 0. */
  readonly version?: number;
  readonly limits?: GraphLimits;
}

export class ConfigTables {
  readonly graph: ConfigGraph;
  readonly #schedule: ConfigTablesOptions['schedule'];
  readonly #readers = new Map<string, ConfigReader>();
  readonly #interest = new Map<string, Set<ConfigReader>>();
  #unsettled = new Set<ConfigReader>();
  #version: number;
  #scheduled = false;
  #flushing = false;

  constructor({ schedule, version = 0, limits }: ConfigTablesOptions = {}) {
    this.graph = new ConfigGraph(limits);
    this.#schedule = schedule;
    this.#version = version;
  }

  get version(): number {
    return this.#version;
  }

  readers(): readonly ConfigReader[] {
    return [...this.#readers.values()];
  }

  reader(name: string): ConfigReader | undefined {
    return this.#readers.get(name);
  }

  /** Returns the version that has these changes. */
  apply(changes: readonly ConfigChange[]): number {
    if (changes.length === 0) return this.#version;
    this.graph.check(changes);
    checkWritable(changes);
    for (const change of changes) {
      if (change.kind === 'link') this.#applyLink(change.link, change);
      else if (change.remove === true) this.#removeNode(change.key, change);
      else this.#setNode(keyText(change.node), change.node, change);
    }
    return ++this.#version;
  }

  attach(name: string, sink: ConfigSink): ConfigReader {
    if (this.#readers.has(name))
      throw new VRouterError('CONFLICT', `'${name}' is attached already`);
    const reader = new ConfigReader(name, sink);
    this.#readers.set(name, reader);
    return reader;
  }

  detach(reader: ConfigReader): void {
    if (this.#readers.get(reader.name) === reader) this.#readers.delete(reader.name);
    this.leave(reader);
  }

  /** It hears nothing more until it subscribes again; what it has been told is its own. */
  leave(reader: ConfigReader): void {
    for (const text of reader.interest) this.#lose(text, reader);
    reader.interest.clear();
    reader.forget();
    this.#unsettled.delete(reader);
  }

  /** To a virtual router, it is told all there is, even if it has been before. */
  subscribe(reader: ConfigReader, root: ObjectKey): void {
    const text = keyText(root);
    reader.roots.set(text, root);
    this.#gain(text, reader);
    if (root.type === 'virtual-router') reader.startSnapshot();
    else reader.owe();
    this.#unsettle(reader);
  }

  /** From a virtual router: from everything. */
  unsubscribe(reader: ConfigReader, root: ObjectKey): void {
    if (root.type === 'virtual-router') {
      this.leave(reader);
    } else if (reader.roots.delete(keyText(root))) {
      this.#walk(reader);
    }
  }

  /** A reader that was blocked takes more. */
  resume(reader: ConfigReader): void {
    if (reader.isBehind) this.#unsettle(reader);
  }

  /** Tells what is waiting; returns how many objects and links, of all readers. */
  flush(): number {
    if (this.#flushing) return 0;
    this.#flushing = true;
    const errors: unknown[] = [];
    let told = 0;
    try {
      const unsettled = this.#unsettled;
      this.#unsettled = new Set();
      for (const reader of unsettled) {
        attempt(errors, () => {
          told += reader.tell(this.graph, this.#version, (to) => this.#moved(reader, to));
        });
      }
    } finally {
      this.#flushing = false;
    }
    if (errors.length > 0) throw errors[0];
    return told;
  }

  // --- whom a change may reach -----------------------------------------------------------------------

  #setNode(text: string, key: ObjectKey, change: ConfigChange): void {
    const isNew = this.graph.node(key.type, key.name) === undefined;
    this.graph.apply(change);
    for (const reader of this.#interest.get(text) ?? []) {
      if (isNew) reader.walk();
      else reader.replaced(text);
      this.#unsettle(reader);
    }
    if (!isNew) return;
    // Links may have waited for it.
    for (const { link } of this.graph.links(key)) this.#linkChanged(link);
  }

  #removeNode(key: ObjectKey, change: ConfigChange): void {
    const links = this.graph.links(key);
    this.graph.apply(change);
    for (const reader of this.#interest.get(keyText(key)) ?? []) this.#walk(reader);
    for (const { link } of links) this.#linkChanged(link);
  }

  #applyLink(link: ConfigLink, change: ConfigChange): void {
    this.graph.apply(change);
    this.#linkChanged(link);
  }

  #linkChanged({ metadata, ends: [a, b] }: ConfigLink): void {
    for (const [from, to] of [
      [a, b],
      [b, a],
    ] as const) {
      // A virtual machine's host says who may ask for it.
      const matters = isWay(from.type, metadata, to.type) || to.type === 'virtual-router';
      if (!matters) continue;
      for (const reader of this.#interest.get(keyText(from)) ?? []) this.#walk(reader);
    }
  }

  #walk(reader: ConfigReader): void {
    reader.walk();
    this.#unsettle(reader);
  }

  #unsettle(reader: ConfigReader): void {
    this.#unsettled.add(reader);
    if (this.#scheduled || this.#schedule === undefined) return;
    this.#scheduled = true;
    this.#schedule(() => {
      this.#scheduled = false;
      this.flush();
    });
  }

  #moved(reader: ConfigReader, { nodes }: Reach): void {
    for (const text of reader.interest) {
      if (!nodes.has(text) && !reader.roots.has(text)) this.#lose(text, reader);
    }
    for (const text of nodes.keys()) this.#gain(text, reader);
  }

  #gain(text: string, reader: ConfigReader): void {
    if (reader.interest.has(text)) return;
    reader.interest.add(text);
    getOrCreate(this.#interest, text, () => new Set<ConfigReader>()).add(reader);
  }

  #lose(text: string, reader: ConfigReader): void {
    reader.interest.delete(text);
    const readers = this.#interest.get(text);
    readers?.delete(reader);
    if (readers?.size === 0) this.#interest.delete(text);
  }
}
