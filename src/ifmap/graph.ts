/**
 * Configuration as a graph: objects with properties, and links between them. The control node keeps all of it, an
 * agent what it has been told.
 *
 * Invariants: an object has one node, and two objects one link, whichever way round its ends were said: what it is called
 * follows from their types (LINKS). A link may come before an object at its end (one that was refused may yet come); until
 * then nothing leads over it. An object that goes takes its links with it. Memory is bounded by the limits: what is beyond
 * is refused, and nothing is changed.
 */
import { VRouterError } from '../errors.ts';
import type { LinkType, ObjectType, PropertiesOf } from './objects.ts';

export interface ObjectKey<T extends ObjectType = ObjectType> {
  readonly type: T;
  readonly name: string;
}

/** Told apart by `type`. */
export type ConfigNode<T extends ObjectType = ObjectType> = {
  readonly [K in T]: {
    readonly type: K;
    readonly name: string;
    readonly properties: PropertiesOf<K>;
  };
}[T];

export interface ConfigLink {
  readonly metadata: LinkType;
  readonly ends: readonly [ObjectKey, ObjectKey];
}

export type ConfigChange =
  | { readonly kind: 'node'; readonly remove?: false; readonly node: ConfigNode }
  | { readonly kind: 'node'; readonly remove: true; readonly key: ObjectKey }
  | { readonly kind: 'link'; readonly remove?: boolean; readonly link: ConfigLink };

export interface GraphLimits {
  readonly objects: number;
  readonly links: number;
}

/** At 1.2 kB each with what a control node keeps beside it, 1.9 GB; a port is four objects and eight links. */
export const MAX_CONFIG_OBJECTS = 1 << 19;
export const MAX_CONFIG_LINKS = 1 << 20;
/** Fully qualified names have up to 1024 bytes; the name of an object in a link's middle has two of them in it. */
export const MAX_OBJECT_NAME_BYTES = 2304;

export const CONFIG_LIMITS: GraphLimits = {
  objects: MAX_CONFIG_OBJECTS,
  links: MAX_CONFIG_LINKS,
};

/** One text an object; types have no blanks in them. */
export function keyText({ type, name }: ObjectKey): string {
  return `${type} ${name}`;
}

export function linkText({ metadata, ends: [a, b] }: ConfigLink): string {
  const [one, other] = [keyText(a), keyText(b)];
  return one < other ? `${metadata}\0${one}\0${other}` : `${metadata}\0${other}\0${one}`;
}

interface Place {
  readonly key: ObjectKey;
  /** keyText of it; the one copy. */
  readonly text: string;
  node: ConfigNode | undefined;
  /** By the type at the other end, then by its key. */
  readonly links: Map<ObjectType, Map<string, Edge>>;
}

interface Edge {
  readonly to: Place;
  readonly joint: Joint;
}

interface Joint {
  readonly text: string;
  readonly link: ConfigLink;
}

const byName = (a: ObjectKey, b: ObjectKey): number =>
  a.type < b.type ? -1 : a.type > b.type ? 1 : a.name < b.name ? -1 : a.name > b.name ? 1 : 0;

export class ConfigGraph {
  readonly #limits: GraphLimits;
  readonly #places = new Map<string, Place>();
  #nodes = 0;
  #links = 0;

  constructor(limits: GraphLimits = CONFIG_LIMITS) {
    this.#limits = limits;
  }

  /** Objects that are there. */
  get size(): number {
    return this.#nodes;
  }

  get linkCount(): number {
    return this.#links;
  }

  apply(change: ConfigChange): void {
    if (change.kind === 'link') {
      if (change.remove === true) this.#removeLink(change.link);
      else this.#addLink(change.link);
    } else if (change.remove === true) {
      this.#removeNode(change.key);
    } else {
      this.#setNode(change.node);
    }
  }

  node<T extends ObjectType>(type: T, name: string): ConfigNode<T> | undefined {
    return this.#places.get(keyText({ type, name }))?.node as ConfigNode<T> | undefined;
  }

  /** In the order of their types and names; of a type in the order of names. */
  nodes(): ConfigNode[] {
    const found: ConfigNode[] = [];
    for (const { node } of this.#places.values()) if (node !== undefined) found.push(node);
    return found.sort(byName);
  }

  /** Objects that are there and linked to this one, in the order of their types and names. */
  neighbours(key: ObjectKey): ConfigNode[];
  neighbours<T extends ObjectType>(key: ObjectKey, type: T): ConfigNode<T>[];
  neighbours(key: ObjectKey, type?: ObjectType): ConfigNode[] {
    const found: ConfigNode[] = [];
    this.#eachEdge(key, type, ({ to }) => {
      if (to.node !== undefined) found.push(to.node);
    });
    return found.sort(byName);
  }

  /** Names that it is linked to and that are not there (refused, or still to come). */
  absent(key: ObjectKey, type: ObjectType): string[] {
    const found: string[] = [];
    this.#eachEdge(key, type, ({ to }) => {
      if (to.node === undefined) found.push(to.key.name);
    });
    return found.sort();
  }

  /** Links of an object whose other end is there, in the order of that end. */
  links(
    key: ObjectKey,
    type?: ObjectType,
  ): { readonly link: ConfigLink; readonly to: ConfigNode }[] {
    const found: { readonly link: ConfigLink; readonly to: ConfigNode }[] = [];
    this.#eachEdge(key, type, ({ to, joint: { link } }) => {
      if (to.node !== undefined) found.push({ link, to: to.node });
    });
    return found.sort((a, b) => byName(a.to, b.to));
  }

  /** One step of a walk: from the object under this text, over links of one name, to objects of a type that are there. */
  step(
    from: string,
    metadata: LinkType,
    type: ObjectType,
    visit: (to: ConfigNode, text: string, joint: Joint) => void,
  ): void {
    for (const { to, joint } of this.#places.get(from)?.links.get(type)?.values() ?? []) {
      if (to.node !== undefined && joint.link.metadata === metadata) visit(to.node, to.text, joint);
    }
  }

  /** Throws if these changes would pass a limit; nothing is changed. */
  check(changes: readonly ConfigChange[]): void {
    const nodes = new Set<string>();
    const links = new Set<string>();
    for (const change of changes) {
      if (change.remove === true) continue;
      if (change.kind === 'node') {
        if (this.node(change.node.type, change.node.name) === undefined) {
          nodes.add(keyText(change.node));
        }
      } else if (!this.has(change.link)) {
        links.add(linkText(change.link));
      }
    }
    this.#most(this.#nodes + nodes.size, 'objects');
    this.#most(this.#links + links.size, 'links');
  }

  #most(count: number, what: keyof GraphLimits): void {
    if (count > this.#limits[what]) {
      throw new VRouterError('TABLE_FULL', `more than ${this.#limits[what]} ${what}`);
    }
  }

  has(link: ConfigLink): boolean {
    return this.#edge(link) !== undefined;
  }

  #eachEdge(key: ObjectKey, type: ObjectType | undefined, visit: (edge: Edge) => void): void {
    const links = this.#places.get(keyText(key))?.links;
    if (links === undefined) return;
    const rows = type === undefined ? links.values() : [links.get(type) ?? new Map<string, Edge>()];
    for (const row of rows) for (const edge of row.values()) visit(edge);
  }

  #edge({ ends: [a, b] }: ConfigLink): Edge | undefined {
    return this.#places.get(keyText(a))?.links.get(b.type)?.get(keyText(b));
  }

  #place(key: ObjectKey): Place {
    const text = keyText(key);
    let place = this.#places.get(text);
    if (place === undefined) {
      place = {
        key: { type: key.type, name: key.name },
        text,
        node: undefined,
        links: new Map(),
      };
      this.#places.set(text, place);
    }
    return place;
  }

  #setNode(node: ConfigNode): void {
    const before = this.#places.get(keyText(node));
    if (before?.node === undefined) {
      this.#most(this.#nodes + 1, 'objects');
      this.#nodes++;
    }
    this.#place(node).node = node;
  }

  #removeNode(key: ObjectKey): void {
    const place = this.#places.get(keyText(key));
    if (place === undefined) return;
    const links = [...place.links.values()].flatMap((row) =>
      [...row.values()].map(({ joint }) => joint.link),
    );
    if (place.node !== undefined) {
      place.node = undefined;
      this.#nodes--;
    }
    for (const link of links) this.#removeLink(link);
    this.#forget(place);
  }

  #addLink(link: ConfigLink): void {
    const { ends } = link;
    if (this.has(link)) return;
    this.#most(this.#links + 1, 'links');
    this.#links++;
    const [a, b] = [this.#place(ends[0]), this.#place(ends[1])];
    const joint = { text: linkText(link), link };
    for (const [from, to] of [
      [a, b],
      [b, a],
    ] as const) {
      let row = from.links.get(to.key.type);
      if (row === undefined) {
        row = new Map();
        from.links.set(to.key.type, row);
      }
      row.set(to.text, { to, joint });
    }
  }

  #removeLink(link: ConfigLink): void {
    if (!this.has(link)) return;
    this.#links--;
    const [a, b] = [this.#place(link.ends[0]), this.#place(link.ends[1])];
    for (const [from, to] of [
      [a, b],
      [b, a],
    ] as const) {
      const row = from.links.get(to.key.type);
      row?.delete(to.text);
      if (row?.size === 0) from.links.delete(to.key.type);
    }
    this.#forget(a);
    this.#forget(b);
  }

  /** A place stays while there is an object or a link in it. */
  #forget(place: Place): void {
    if (place.node === undefined && place.links.size === 0) this.#places.delete(place.text);
  }
}
