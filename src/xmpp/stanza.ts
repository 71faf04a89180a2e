/**
 * Stanzas of the route exchange: trees <-> typed messages, and the texts that are sent.
 *
 *   agent -> control node   iq: subscribe, unsubscribe; publish, then collection, which makes it count
 *   control node -> agent   message: items of one table, or retracts; iq: config
 *
 * Liberal in what is accepted: what is unknown is `other`, to be skipped; an item that is not what its table
 * says is given out as refused, with the reason, and the rest counts. A stanza without what it is about (a
 * node, an entry's family) is a fault of the session.
 */
import { decimal } from '../addr/text.ts';
import { ParseError } from '../errors.ts';
import { FAMILIES, familyOf, type Item, itemElement, nodeOf, parseNode } from './families.ts';
import { xmppFault } from './faults.ts';
import {
  MAX_FQ_NAME_BYTES,
  MAX_HEAD_NAME_BYTES,
  MAX_ITEMS_A_MESSAGE,
  MAX_RETRACTS_A_MESSAGE,
} from './limits.ts';
import { attributeText, childOf, element, writeXml, type XmlElement } from './xml.ts';

const PUBSUB = 'http://jabber.org/protocol/pubsub';
/** End of rib: not of a table, of everything this session has. */
export const END_OF_RIB_NODE = '0/0/EndOfRib';

/** Which part of a peer a stanza is for; found in `to` wherever it stands, as the ancestor does. */
export type Channel = 'bgp-peer' | 'config' | 'dns-peer' | 'other-peer';
const CHANNELS: readonly Channel[] = ['bgp-peer', 'config', 'dns-peer', 'other-peer'];

export interface Head {
  readonly from: string;
  readonly to: string;
  readonly channel?: Channel;
}

export interface RefusedItem {
  /** Node or item id. */
  readonly name: string;
  readonly reason: string;
}

export interface Subscription {
  readonly type: 'subscribe' | 'unsubscribe';
  readonly node: string;
  readonly instanceId?: number;
  /** Routes are taken and none are sent. */
  readonly noRibout: boolean;
}

export interface Publish {
  readonly type: 'publish';
  readonly node: string;
  /** Absent: end of rib, once its collection is there; or refused. */
  readonly item?: Item;
  readonly refused?: RefusedItem;
}

export interface Collection {
  readonly type: 'collection';
  readonly instance: string;
  readonly members: readonly { readonly node: string; readonly add: boolean }[];
}

export interface Items {
  readonly type: 'items';
  readonly family: Item['family'];
  readonly instance: string;
  readonly items: readonly { readonly id: string; readonly item: Item }[];
  /** Ids. */
  readonly retracts: readonly string[];
  readonly refused: readonly RefusedItem[];
}

export type Content =
  | Subscription
  | Publish
  | Collection
  | Items
  | { readonly type: 'end-of-rib' }
  /** Nodes and links of the configuration graph, as they came. */
  | { readonly type: 'config'; readonly config: XmlElement }
  /** To be skipped. */
  | { readonly type: 'other'; readonly what: string };

export interface Stanza {
  readonly head: Head;
  readonly content: Content;
}

function bad(why: string): never {
  throw xmppFault('XMPP_BAD_STANZA', why);
}

function headOf(stanza: XmlElement): Head {
  const { from = '', to = '' } = stanza.attributes;
  for (const name of [from, to]) {
    if (Buffer.byteLength(name) > MAX_HEAD_NAME_BYTES) bad('a name is too long');
  }
  const channel = CHANNELS.find((c) => to.includes(c));
  return { from, to, ...(channel !== undefined && { channel }) };
}

function nodeAttribute(of: XmlElement): string {
  const node = of.attributes.node?.trim();
  if (node === undefined || node === '') bad(`${of.name}: no node`);
  // AFI, SAFI, a name, an address or two: what is longer is no node of ours.
  if (Buffer.byteLength(node) > MAX_FQ_NAME_BYTES + 256) bad(`${of.name}: the node is too long`);
  return node;
}

/** The value, or why there is none. */
function tried<T>(name: string, read: () => T): T | RefusedItem {
  try {
    return read();
  } catch (error) {
    if (error instanceof ParseError) return { name, reason: error.message };
    throw error;
  }
}

function readItem(item: XmlElement, node: string): Item {
  const entry = childOf(item, 'entry');
  if (entry === undefined) throw new ParseError('item: no entry');
  const numbers = parseNode(node);
  const family = numbers && familyOf(numbers.afi, numbers.safi);
  if (family === undefined) throw new ParseError(`no family ${node.slice(0, 16)} is carried`);
  const read = FAMILIES[family].read(entry);
  const { af, safi } = read.entry.nlri;
  // Left out is fine; another family's item under this name is not.
  if ((af !== 0 || safi !== 0) && familyOf(af, safi) !== family) {
    throw new ParseError(`entry.nlri: family ${af}/${safi} under node ${node.slice(0, 64)}`);
  }
  return read;
}

const isRefused = (value: Item | RefusedItem): value is RefusedItem => 'reason' in value;

function readPublish(publish: XmlElement): Publish {
  const node = nodeAttribute(publish);
  const items = publish.children.filter((child) => child.name === 'item');
  if (items.length === 0) return { type: 'publish', node };
  const read = tried(node, () => {
    if (items.length > 1) throw new ParseError('more than one item');
    const item = readItem(items[0] as XmlElement, node);
    const hops = item.entry.hops.length;
    if (hops > 1) throw new ParseError(`entry.next-hops: ${hops} next hops, one is allowed`);
    return item;
  });
  return isRefused(read)
    ? { type: 'publish', node, refused: read }
    : { type: 'publish', node, item: read };
}

function readSubscription(of: XmlElement, type: Subscription['type']): Subscription {
  const options = childOf(of, 'options');
  const option = (name: string) => (options && childOf(options, name)?.text.trim()) || undefined;
  const text = option('instance-id');
  const instanceId = text === undefined ? undefined : decimal(text, 0xffffffff);
  if (text !== undefined && instanceId === undefined) bad(`${type}: instance-id is no number`);
  return {
    type,
    node: nodeAttribute(of),
    ...(instanceId !== undefined && { instanceId }),
    noRibout: option('no-ribout') === 'true',
  };
}

function readCollection(collection: XmlElement): Collection {
  const members = collection.children
    .filter((child) => child.name === 'associate' || child.name === 'dissociate')
    .map((child) => ({ node: nodeAttribute(child), add: child.name === 'associate' }));
  return { type: 'collection', instance: nodeAttribute(collection), members };
}

const PUBSUB_CONTENT: Readonly<Record<string, (of: XmlElement) => Content>> = {
  subscribe: (of) => readSubscription(of, 'subscribe'),
  unsubscribe: (of) => readSubscription(of, 'unsubscribe'),
  publish: readPublish,
  collection: readCollection,
};

function readIq(iq: XmlElement): Content {
  const config = childOf(iq, 'config');
  if (config !== undefined) return { type: 'config', config };
  const pubsub = childOf(iq, 'pubsub');
  for (const child of pubsub?.children ?? []) {
    if (Object.hasOwn(PUBSUB_CONTENT, child.name)) {
      return (PUBSUB_CONTENT[child.name] as (of: XmlElement) => Content)(child);
    }
  }
  return { type: 'other', what: `iq ${pubsub?.children[0]?.name ?? iq.children[0]?.name ?? ''}` };
}

function readEvent(message: XmlElement): Content {
  const event = childOf(message, 'event');
  if (event === undefined) return { type: 'other', what: `message ${message.children[0]?.name}` };
  const items = childOf(event, 'items');
  // A message of routes without any: what the ancestor's agent takes for the end of them.
  if (items === undefined) return { type: 'end-of-rib' };
  const node = nodeAttribute(items);
  if (node === END_OF_RIB_NODE) return { type: 'end-of-rib' };
  const name = parseNode(node);
  const family = name && familyOf(name.afi, name.safi);
  if (name === undefined || family === undefined) return { type: 'other', what: `items ${node}` };
  return { type: 'items', family, instance: name.rest, ...readItems(items, node) };
}

function readItems(of: XmlElement, node: string): Pick<Items, 'items' | 'retracts' | 'refused'> {
  const items: { id: string; item: Item }[] = [];
  const retracts: string[] = [];
  const refused: RefusedItem[] = [];
  for (const child of of.children) {
    const id = child.attributes.id ?? '';
    if (child.name === 'retract') {
      if (id === '') refused.push({ name: id, reason: 'retract: no id' });
      else retracts.push(id);
    } else if (child.name === 'item') {
      const read = tried(id, () => readItem(child, node));
      if (isRefused(read)) refused.push(read);
      else items.push({ id, item: read });
    }
  }
  return { items, retracts, refused };
}

export function readStanza(stanza: XmlElement): Stanza {
  const head = headOf(stanza);
  if (stanza.name === 'iq') return { head, content: readIq(stanza) };
  if (stanza.name === 'message') return { head, content: readEvent(stanza) };
  return { head, content: { type: 'other', what: stanza.name } };
}

// What is sent.

function iq(head: Head, id: string | undefined, content: XmlElement): string {
  return writeXml(
    element('iq', { type: 'set', from: head.from, to: head.to, ...(id !== undefined && { id }) }, [
      element('pubsub', { xmlns: PUBSUB }, [content]),
    ]),
  );
}

export function writeSubscription(head: Head, id: string | undefined, of: Subscription): string {
  const options = [
    ...(of.instanceId === undefined ? [] : [element('instance-id', {}, String(of.instanceId))]),
    ...(of.noRibout ? [element('no-ribout', {}, 'true')] : []),
  ];
  const content = options.length === 0 ? [] : [element('options', {}, options)];
  return iq(head, id, element(of.type, { node: of.node }, content));
}

/** Where labels are 0: routes of the underlay itself. */
export const MASTER_INSTANCE = 'default-domain:default-project:ip-fabric:__default__';

/** What the far end's strict reader would refuse, with the item or with the session. */
function checkSendable(instance: string, item: Item): void {
  const { hops } = item.entry;
  const [hop] = hops;
  if (hops.length !== 1 || hop === undefined) cannotSend(`${hops.length} next hops, not one`);
  if (hop.address === '') cannotSend('a next hop without address');
  const label = typeof hop.label === 'number' ? hop.label : hop.label.low;
  const master = instance === MASTER_INSTANCE && item.family !== 'inet-labelled';
  if (master && label !== 0) cannotSend(`label ${label} in the master instance, which has none`);
  if (!master && label === 0) cannotSend('label 0');
}

function cannotSend(why: string): never {
  throw xmppFault('XMPP_CANNOT_SEND', why);
}

/** The name a publish and its collection share. */
export function publishNode(instance: string, item: Item, primaryInstance?: number): string {
  const node = nodeOf(item.family, FAMILIES[item.family].node(instance, item));
  return primaryInstance === undefined ? node : `${node}/${primaryInstance}`;
}

/** An announce or a withdrawal: two stanzas, the first of which has no effect alone. */
export function writePublish(
  head: Head,
  ids: { readonly publish: string; readonly collection: string },
  instance: string,
  item: Item,
  add: boolean,
  primaryInstance?: number,
): string {
  checkSendable(instance, item);
  const node = publishNode(instance, item, primaryInstance);
  return (
    iq(head, ids.publish, element('publish', { node }, [itemElement(item)])) +
    writeCollection(head, ids.collection, instance, node, add)
  );
}

function writeCollection(head: Head, id: string, instance: string, node: string, add: boolean) {
  const member = element(add ? 'associate' : 'dissociate', { node });
  return iq(head, id, element('collection', { node: instance }, [member]));
}

/**
 * End of rib as an agent says it: the marker, which the ancestor's control node does not look at, and a
 * publish of nothing, which it does.
 */
export function writeAgentEndOfRib(
  head: Head,
  ids: { readonly publish: string; readonly collection: string },
): string {
  return (
    writeMessage(head, END_OF_RIB_BODY) +
    iq(head, ids.publish, element('publish', { node: END_OF_RIB_NODE })) +
    writeCollection(head, ids.collection, END_OF_RIB_NODE, END_OF_RIB_NODE, true)
  );
}

function eventBody(content: readonly XmlElement[]): string {
  return `${writeXml(element('event', { xmlns: PUBSUB }, content))}</message>\n`;
}

/**
 * Bodies of messages: everything but the head, so that they are made once for all who subscribe. At most 32
 * items or 256 retracts each.
 */
export function eventBodies(
  family: Item['family'],
  instance: string,
  changes: {
    readonly items?: readonly { readonly id?: string; readonly item: Item }[];
    readonly retracts?: readonly string[];
  },
): string[] {
  const node = nodeOf(family, instance);
  const items = (changes.items ?? []).map(({ id, item }) => {
    if (item.family !== family) {
      cannotSend(`an item of ${item.family} among ${family}`);
    }
    return itemElement(item, { id: id ?? FAMILIES[family].id(item) });
  });
  const retracts = (changes.retracts ?? []).map((id) => element('retract', { id }));
  const bodies: string[] = [];
  for (const [all, most] of [
    [retracts, MAX_RETRACTS_A_MESSAGE],
    [items, MAX_ITEMS_A_MESSAGE],
  ] as const) {
    for (let from = 0; from < all.length; from += most) {
      bodies.push(eventBody([element('items', { node }, all.slice(from, from + most))]));
    }
  }
  return bodies;
}

export const END_OF_RIB_BODY = eventBody([element('items', { node: END_OF_RIB_NODE })]);

/**
 * End of rib as a control node says it: the marker, which the ancestor's agent does not understand, and an
 * event without items, which it does.
 */
export const CONTROL_END_OF_RIB_BODIES: readonly string[] = [END_OF_RIB_BODY, eventBody([])];

export function writeMessage(head: Head, body: string): string {
  return `<message from="${attributeText(head.from)}" to="${attributeText(head.to)}">${body}`;
}
