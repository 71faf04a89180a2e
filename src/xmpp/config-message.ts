/**
 * The configuration channel (xmpp/stanza.ts has its stanzas): <config> with updates and deletes <-> changes of the
 * graph of ifmap/, and the subscriptions that ask for them.
 *
 *   agent -> control node   iq: subscribe, unsubscribe to virtual-router:NAME or virtual-machine:NAME
 *   control node -> agent   iq: config, at most MAX_OBJECTS_A_MESSAGE nodes and links
 *
 * The form of this house has two attributes more, which the ancestor's agents skip: `version`, what its reader has once
 * it has taken the message, and `end-of-snapshot`, after the last of what there was when it subscribed.
 *
 * Liberal in what is accepted: types, links and elements that have no row are counted and skipped; an object one of whose
 * properties is bad is refused by name, and the rest is taken. What is sent has nodes before the links that join them,
 * and links that go before their nodes.
 */
import { ParseError } from '../errors.ts';
import type { Field, Fields, Kind } from '../ifmap/fields.ts';
import type { ConfigChange, ConfigLink, ConfigNode, ObjectKey } from '../ifmap/graph.ts';
import { MAX_OBJECT_NAME_BYTES } from '../ifmap/graph.ts';
import { fieldsOf, isLinkType, isObjectType, type ObjectType } from '../ifmap/objects.ts';
import { MAX_OBJECTS_A_MESSAGE } from './limits.ts';
import { type Head, PUBSUB, type RefusedItem, versionAttribute } from './stanza.ts';
import { attributeText, childOf, element, writeXml, type XmlElement } from './xml.ts';

export interface ConfigMessage {
  /** In the order of the message. */
  readonly changes: readonly ConfigChange[];
  readonly refused: readonly RefusedItem[];
  /** Objects, links and elements that are not known here. */
  readonly skipped: number;
  /** Absent: of a control node of the ancestor's kind. */
  readonly version?: number;
  readonly endOfSnapshot: boolean;
}

// Properties.

type Values = Record<string, unknown>;
type Row = readonly [key: string, field: Field];

/** By element; made once a table. */
const rows = new WeakMap<Fields, ReadonlyMap<string, Row>>();

function rowsOf(fields: Fields): ReadonlyMap<string, Row> {
  let made = rows.get(fields);
  if (made === undefined) {
    made = new Map(Object.entries(fields).map(([key, field]) => [field.element, [key, field]]));
    rows.set(fields, made);
  }
  return made;
}

/** How many elements were skipped so far. */
interface Skips {
  skipped: number;
}

function parsed(kind: Kind<unknown>, from: XmlElement, at: string): unknown {
  const text = from.text.trim();
  if (text === '') return kind.empty;
  try {
    return kind.parse(text);
  } catch (error) {
    if (error instanceof ParseError) throw new ParseError(`${at}${from.name}: ${error.message}`);
    throw error;
  }
}

function readField(field: Field, found: readonly XmlElement[], at: string, skips: Skips): unknown {
  const [first] = found as [XmlElement];
  const inside = `${at}${field.element}.`;
  switch (field.form) {
    case 'leaf':
      skips.skipped += found.length - 1;
      return parsed(field.kind, first, at);
    case 'group':
      skips.skipped += found.length - 1;
      return readFields(field.fields, first, inside, skips);
    case 'leaves':
      checkCount(field, found, at);
      return found.map((one) => parsed(field.kind, one, at)).filter((value) => value !== undefined);
    case 'groups':
      checkCount(field, found, at);
      return found.map((one) => readFields(field.fields, one, inside, skips));
  }
}

function checkCount(
  { element: name, max }: { readonly element: string; readonly max: number },
  found: readonly XmlElement[],
  at: string,
): void {
  if (found.length > max) throw new ParseError(`${at}${name}: more than ${max}`);
}

function readFields(fields: Fields, from: XmlElement, at: string, skips: Skips): Values {
  const known = rowsOf(fields);
  const found = new Map<string, XmlElement[]>();
  for (const child of from.children) {
    const same = found.get(child.name);
    if (same !== undefined) same.push(child);
    else if (known.has(child.name)) found.set(child.name, [child]);
    else skips.skipped++;
  }
  const values: Values = {};
  // In the table's order, whatever the message's was: equal objects are equal texts.
  for (const [name, [key, field]] of known) {
    const elements = found.get(name);
    const value = elements && readField(field, elements, at, skips);
    if (value !== undefined) values[key] = value;
  }
  return values;
}

function writeFields(fields: Fields, values: Values): XmlElement[] {
  const written: XmlElement[] = [];
  for (const [key, field] of Object.entries(fields)) {
    const value = values[key];
    if (value === undefined) continue;
    const { element: name } = field;
    switch (field.form) {
      case 'leaf':
        written.push(element(name, {}, field.kind.format(value)));
        break;
      case 'group':
        written.push(element(name, {}, writeFields(field.fields, value as Values)));
        break;
      case 'leaves':
        for (const one of value as unknown[]) {
          written.push(element(name, {}, field.kind.format(one)));
        }
        break;
      case 'groups':
        for (const one of value as Values[]) {
          written.push(element(name, {}, writeFields(field.fields, one)));
        }
        break;
    }
  }
  return written;
}

// Objects and links.

const SKIPPED = Symbol('skipped');

/** Type and name of a <node>. */
function readKey(node: XmlElement): ObjectKey | typeof SKIPPED {
  const type = node.attributes.type ?? '';
  const name = childOf(node, 'name')?.text.trim() ?? '';
  if (!isObjectType(type)) return SKIPPED;
  if (name === '') throw new ParseError('no name');
  if (Buffer.byteLength(name) > MAX_OBJECT_NAME_BYTES) {
    throw new ParseError(`a name of more than ${MAX_OBJECT_NAME_BYTES} bytes`);
  }
  return { type, name };
}

function readNode(node: XmlElement, remove: boolean, skips: Skips): ConfigChange | typeof SKIPPED {
  const key = readKey(node);
  if (key === SKIPPED) return SKIPPED;
  if (remove) return { kind: 'node', remove: true, key };
  const children = node.children.filter(({ name }) => name !== 'name');
  const properties = readFields(fieldsOf(key.type), { ...node, children }, '', skips);
  return { kind: 'node', node: { ...key, properties } as ConfigNode };
}

function readLink(link: XmlElement, remove: boolean): ConfigChange | typeof SKIPPED {
  const ends = link.children.filter(({ name }) => name === 'node');
  if (ends.length !== 2) throw new ParseError(`${ends.length} nodes, not two`);
  const [a, b] = ends.map(readKey) as [ReturnType<typeof readKey>, ReturnType<typeof readKey>];
  const metadata = childOf(link, 'metadata')?.attributes.type ?? '';
  if (a === SKIPPED || b === SKIPPED || !isLinkType(metadata, a.type, b.type)) return SKIPPED;
  const read: ConfigLink = { metadata, ends: [a, b] };
  return remove ? { kind: 'link', remove, link: read } : { kind: 'link', link: read };
}

/** For people: what an object calls itself, even if that is wrong. */
function nameOf(of: XmlElement): string {
  if (of.name === 'link') {
    const ends = of.children.filter(({ name }) => name === 'node').map(nameOf);
    return `${childOf(of, 'metadata')?.attributes.type ?? 'link'} ${ends.join(' - ')}`.slice(
      0,
      1024,
    );
  }
  return `${of.attributes.type ?? 'node'} ${childOf(of, 'name')?.text.trim() ?? ''}`.slice(0, 512);
}

/** And whether what is in them goes. */
const SECTIONS: ReadonlyMap<string, boolean> = new Map([
  ['update', false],
  ['delete', true],
]);

/** Of `content.config` of a stanza. */
export function readConfig(config: XmlElement): ConfigMessage {
  const changes: ConfigChange[] = [];
  const refused: RefusedItem[] = [];
  const skips: Skips = { skipped: 0 };
  for (const section of config.children) {
    const remove = SECTIONS.get(section.name);
    if (remove === undefined) {
      skips.skipped++;
      continue;
    }
    for (const child of section.children) {
      try {
        const change =
          child.name === 'node'
            ? readNode(child, remove, skips)
            : child.name === 'link'
              ? readLink(child, remove)
              : SKIPPED;
        if (change === SKIPPED) skips.skipped++;
        else changes.push(change);
      } catch (error) {
        if (!(error instanceof ParseError)) throw error;
        refused.push({ name: nameOf(child), reason: error.message });
      }
    }
  }
  return {
    changes,
    refused,
    skipped: skips.skipped,
    ...versionAttribute(config),
    endOfSnapshot: config.attributes['end-of-snapshot'] === 'true',
  };
}

const keyElement = ({ type, name }: ObjectKey): XmlElement =>
  element('node', { type }, [element('name', {}, name)]);

function nodeElement(node: ConfigNode): XmlElement {
  const properties = writeFields(fieldsOf(node.type), node.properties as Values);
  return element('node', { type: node.type }, [element('name', {}, node.name), ...properties]);
}

function linkElement({ metadata, ends }: ConfigLink): XmlElement {
  return element('link', {}, [...ends.map(keyElement), element('metadata', { type: metadata })]);
}

/** An object is told to many, and is the same one until it changes. */
const nodeTexts = new WeakMap<ConfigNode, string>();

function changeText(change: ConfigChange): string {
  if (change.kind === 'link') return writeXml(linkElement(change.link));
  if (change.remove === true) return writeXml(keyElement(change.key));
  let text = nodeTexts.get(change.node);
  if (text === undefined) {
    text = writeXml(nodeElement(change.node));
    nodeTexts.set(change.node, text);
  }
  return text;
}

/** Throws for what XML cannot hold. */
export function checkWritable(changes: readonly ConfigChange[]): void {
  for (const change of changes) {
    if (change.kind === 'link') for (const { name } of change.link.ends) attributeText(name);
    else if (change.remove !== true) writeXml(nodeElement(change.node));
  }
}

const isRemoval = (change: ConfigChange): boolean => change.remove === true;

/** What is new before what goes, so nothing is without its object between two messages. */
const PHASES: readonly ((change: ConfigChange) => boolean)[] = [
  (change) => change.kind === 'node' && !isRemoval(change),
  (change) => change.kind === 'link' && !isRemoval(change),
  (change) => change.kind === 'link' && isRemoval(change),
  (change) => change.kind === 'node' && isRemoval(change),
];

export interface ConfigMarks {
  /** Of the reader once it has taken all of these. */
  readonly version?: number;
  /** Its version until then. */
  readonly before?: number;
  readonly endOfSnapshot?: boolean;
}

/** Bodies of messages, as many as are needed; one if there is only a mark to be told. */
export function configBodies(changes: readonly ConfigChange[], marks: ConfigMarks = {}): string[] {
  const ordered = PHASES.flatMap((phase) => changes.filter(phase));
  const bodies: string[] = [];
  const count = Math.max(ordered.length, marks.endOfSnapshot === true ? 1 : 0);
  for (let from = 0; from < count; from += MAX_OBJECTS_A_MESSAGE) {
    const some = ordered.slice(from, from + MAX_OBJECTS_A_MESSAGE);
    const isLast = from + MAX_OBJECTS_A_MESSAGE >= count;
    bodies.push(configBody(some, isLast ? marks : { version: marks.before ?? marks.version }));
  }
  return bodies;
}

function configBody(
  changes: readonly ConfigChange[],
  { version, endOfSnapshot = false }: { version?: number | undefined; endOfSnapshot?: boolean },
): string {
  const section = (name: string, of: readonly ConfigChange[]) =>
    of.length === 0 ? '' : `<${name}>${of.map(changeText).join('')}</${name}>`;
  const attributes =
    (version === undefined ? '' : ` version="${version}"`) +
    (endOfSnapshot ? ' end-of-snapshot="true"' : '');
  return (
    `<config${attributes}>` +
    section(
      'update',
      changes.filter((change) => !isRemoval(change)),
    ) +
    section('delete', changes.filter(isRemoval)) +
    '</config></iq>\n'
  );
}

/** A control node's; the agent's name is the last part of its object's. */
export function writeConfigIq(head: Head, body: string): string {
  return `<iq type="set" from="${attributeText(head.from)}" to="${attributeText(head.to)}">${body}`;
}

// Subscriptions.

export type SubscribedType = Extract<ObjectType, 'virtual-router' | 'virtual-machine'>;

/** Undefined: nothing that can be subscribed to. */
export function parseConfigNode(node: string): ObjectKey<SubscribedType> | undefined {
  const colon = node.indexOf(':');
  const type = node.slice(0, colon);
  const name = node.slice(colon + 1);
  if (colon < 0 || (type !== 'virtual-router' && type !== 'virtual-machine')) return undefined;
  if (name === '' || Buffer.byteLength(name) > MAX_OBJECT_NAME_BYTES) return undefined;
  return { type, name };
}

export const configNode = ({ type, name }: ObjectKey<SubscribedType>): string => `${type}:${name}`;

/** `version`: what the agent has of this control node, if anything. */
export function writeConfigSubscription(
  head: Head,
  type: 'subscribe' | 'unsubscribe',
  key: ObjectKey<SubscribedType>,
  version?: number,
): string {
  const attributes = {
    node: configNode(key),
    ...(version !== undefined && { version: String(version) }),
  };
  return writeXml(
    element('iq', { type: 'set', from: head.from, to: head.to }, [
      element('pubsub', { xmlns: PUBSUB }, [element(type, attributes)]),
    ]),
  );
}
