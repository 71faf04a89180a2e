/**
 * What one agent has been told of the configuration, and what it is to be told next: the difference between that and its
 * reach. Messages are made when they can be sent: for an agent that does not read, nothing waits but the mark that its
 * reach is to be walked and the names of objects that have changed in it.
 *
 * Invariants: of what has been told, a link's ends have been told before it, and it goes before they do; what has been told
 * is the reach, when there is nothing left to tell.
 */
import {
  type ConfigChange,
  type ConfigGraph,
  type ConfigLink,
  type ConfigNode,
  keyText,
  type ObjectKey,
} from '../ifmap/graph.ts';
import { type Reach, reach } from '../ifmap/reach.ts';
import { configBodies } from '../xmpp/config-message.ts';
import { MAX_OBJECTS_A_MESSAGE } from '../xmpp/limits.ts';

/** Where messages go. */
export interface ConfigSink {
  /** Does not take more for now; says `resume` to the tables when it does again. */
  blocked(): boolean;
  send(body: Uint8Array): void;
}

interface Due {
  readonly text: string;
  readonly change: ConfigChange;
}

/** So much before the sink is asked again. */
const SLICE = 16 * MAX_OBJECTS_A_MESSAGE;

export class ConfigReader {
  readonly name: string;
  readonly sink: ConfigSink;
  /** What it has subscribed to, by text. */
  readonly roots = new Map<string, ObjectKey>();
  /** Texts of its roots and of what was reached when it was last told. */
  readonly interest = new Set<string>();
  readonly counters = { messages: 0, updates: 0, deletes: 0 };
  readonly #nodes = new Map<string, ConfigNode>();
  readonly #links = new Map<string, ConfigLink>();
  /** Its reach may be another than what it has been told. */
  #walk = false;
  /** What has been replaced, of what it has been told. */
  readonly #replaced = new Set<string>();
  #owesEnd = false;
  #version = 0;

  constructor(name: string, sink: ConfigSink) {
    this.name = name;
    this.sink = sink;
  }

  /** What it has once it has read what was sent. */
  get version(): number {
    return this.#version;
  }

  get isBehind(): boolean {
    return this.#walk || this.#owesEnd || this.#replaced.size > 0;
  }

  get nodes(): ReadonlyMap<string, ConfigNode> {
    return this.#nodes;
  }

  get links(): ReadonlyMap<string, ConfigLink> {
    return this.#links;
  }

  walk(): void {
    this.#walk = true;
  }

  replaced(text: string): void {
    this.#replaced.add(text);
  }

  /** It will be told all of it, and where it ends. */
  startSnapshot(): void {
    this.#nodes.clear();
    this.#links.clear();
    this.owe();
  }

  /** An end of a snapshot, when all has been told. */
  owe(): void {
    this.#walk = true;
    this.#owesEnd = true;
  }

  /** Nothing was told, and nothing is owed. */
  forget(): void {
    this.roots.clear();
    this.#nodes.clear();
    this.#links.clear();
    this.#replaced.clear();
    this.#walk = false;
    this.#owesEnd = false;
    this.#version = 0;
  }

  /** Returns how many objects and links; `moved` is told of another reach. */
  tell(graph: ConfigGraph, version: number, moved: (reach: Reach) => void): number {
    if (this.sink.blocked()) return 0;
    let due: readonly Due[];
    if (this.#walk) {
      const wanted = reach(graph, this.#openRoots(graph));
      moved(wanted);
      due = this.#difference(wanted);
    } else {
      due = this.#replacements(graph);
    }
    let told = 0;
    for (;;) {
      const slice = due.slice(told, told + SLICE);
      told += slice.length;
      const isLast = told === due.length;
      this.#send(slice, isLast ? version : undefined);
      if (isLast) break;
      // What is left is what differs from what has been told by then.
      if (this.sink.blocked()) return told;
    }
    this.#walk = false;
    this.#owesEnd = false;
    this.#replaced.clear();
    return told;
  }

  #send(due: readonly Due[], version: number | undefined): void {
    const bodies = configBodies(
      due.map(({ change }) => change),
      {
        before: this.#version,
        version: version ?? this.#version,
        endOfSnapshot: version !== undefined && this.#owesEnd,
      },
    );
    for (const body of bodies) this.sink.send(Buffer.from(body));
    this.counters.messages += bodies.length;
    if (bodies.length > 0 && version !== undefined) this.#version = version;
    for (const { text, change } of due) {
      if (change.remove === true) this.counters.deletes++;
      else this.counters.updates++;
      if (change.remove === true) (change.kind === 'node' ? this.#nodes : this.#links).delete(text);
      else if (change.kind === 'node') this.#nodes.set(text, change.node);
      else this.#links.set(text, change.link);
    }
  }

  #replacements(graph: ConfigGraph): Due[] {
    const due: Due[] = [];
    for (const text of this.#replaced) {
      const before = this.#nodes.get(text);
      const node = before && graph.node(before.type, before.name);
      if (node !== undefined && node !== before) due.push({ text, change: { kind: 'node', node } });
    }
    return due;
  }

  /** In an order in which any part may be told alone: nodes, links, links that go, nodes that go. */
  #difference({ nodes, links }: Reach): Due[] {
    const due: Due[] = [];
    for (const [text, node] of nodes) {
      if (this.#nodes.get(text) !== node) due.push({ text, change: { kind: 'node', node } });
    }
    for (const [text, link] of links) {
      if (!this.#links.has(text)) due.push({ text, change: { kind: 'link', link } });
    }
    for (const [text, link] of this.#links) {
      if (!links.has(text)) due.push({ text, change: { kind: 'link', remove: true, link } });
    }
    for (const [text, { type, name }] of this.#nodes) {
      if (nodes.has(text)) continue;
      due.push({ text, change: { kind: 'node', remove: true, key: { type, name } } });
    }
    return due;
  }

  /**
   * Not a virtual machine that another virtual router has: one is asked for before the configuration says who hosts it,
   * and whose it is then is the configuration's word.
   */
  #openRoots(graph: ConfigGraph): ObjectKey[] {
    return [...this.roots.values()].filter((root) => {
      if (root.type !== 'virtual-machine') return true;
      const hosts = graph.neighbours(root, 'virtual-router');
      return hosts.length === 0 || hosts.some((host) => this.roots.has(keyText(host)));
    });
  }
}
