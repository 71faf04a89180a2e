/**
 * Families of routes on the wire, a row each: numbers, entry table, and how an item is named: as the node of
 * a publish and as the id in events. AFI first, then XMPP's SAFI.
 */
import { decimal } from '../addr/text.ts';
import {
  EVPN,
  type EvpnEntry,
  MULTICAST,
  type MulticastEntry,
  UNICAST,
  type UnicastEntry,
} from './entries.ts';
import { readRows, writeRows } from './rows.ts';
import { element, type XmlElement } from './xml.ts';

export type UnicastFamily = 'inet' | 'inet-labelled' | 'inet6';

export type Item =
  | { readonly family: UnicastFamily; readonly entry: UnicastEntry }
  | { readonly family: 'evpn'; readonly entry: EvpnEntry }
  | { readonly family: 'multicast'; readonly entry: MulticastEntry };

export type ItemFamily = Item['family'];

interface Family {
  readonly afi: number;
  readonly safi: number;
  read(entry: XmlElement): Item;
  write(item: Item): XmlElement[];
  /** Node of a publish, without AFI and SAFI. */
  node(instance: string, item: Item): string;
  /** Id of an item in events. */
  id(item: Item): string;
}

function unicast(family: UnicastFamily, afi: number, safi: number): Family {
  const entry = (item: Item) => item.entry as UnicastEntry;
  return {
    afi,
    safi,
    read: (from) => ({ family, entry: readRows(UNICAST, from, 'entry.') }),
    write: (item) => writeRows(UNICAST, entry(item)),
    node: (instance, item) => `${instance}/${entry(item).nlri.address}`,
    id: (item) => entry(item).nlri.address,
  };
}

function evpnName({ nlri }: EvpnEntry): string {
  const { mac, address, group, source } = nlri;
  return group === '' ? `${mac},${address}` : `${mac},${address},${group},${source}`;
}

/** Broadcasts are published with the group and source they stand for, in the node's name only. */
function evpnNode(entry: EvpnEntry): string {
  const name = evpnName(entry);
  const broadcast = entry.nlri.mac === 'ff:ff:ff:ff:ff:ff' && entry.nlri.group === '';
  return broadcast ? `${name},255.255.255.255,0.0.0.0` : name;
}

export const FAMILIES: { readonly [F in ItemFamily]: Family } = {
  inet: unicast('inet', 1, 1),
  'inet-labelled': unicast('inet-labelled', 1, 4),
  inet6: unicast('inet6', 2, 1),
  evpn: {
    afi: 25,
    safi: 242,
    read: (from) => ({ family: 'evpn', entry: readRows(EVPN, from, 'entry.') }),
    write: (item) => writeRows(EVPN, item.entry as EvpnEntry),
    node: (_instance, item) => evpnNode(item.entry as EvpnEntry),
    id(item) {
      const entry = item.entry as EvpnEntry;
      const tag = entry.nlri.ethernetTag;
      return tag === 0 ? evpnName(entry) : `${tag}-${evpnName(entry)}`;
    },
  },
  multicast: {
    afi: 1,
    safi: 241,
    read: (from) => ({ family: 'multicast', entry: readRows(MULTICAST, from, 'entry.') }),
    write: (item) => writeRows(MULTICAST, item.entry as MulticastEntry),
    node: (instance, item) => `${instance}/${(item.entry as MulticastEntry).nlri.group}`,
    id(item) {
      const { group, source } = (item.entry as MulticastEntry).nlri;
      return `${group},${source}`; // the control node puts its RD in front
    },
  },
};

export function familyOf(afi: number, safi: number): ItemFamily | undefined {
  const names = Object.keys(FAMILIES) as ItemFamily[];
  return names.find((name) => FAMILIES[name].afi === afi && FAMILIES[name].safi === safi);
}

/** `AFI/SAFI/rest` of a node; without the two numbers undefined. */
export interface NodeName {
  readonly afi: number;
  readonly safi: number;
  readonly rest: string;
}

export function parseNode(node: string): NodeName | undefined {
  const [first = '', second = ''] = node.split('/', 2);
  const afi = decimal(first, 0xffff);
  const safi = decimal(second, 0xff);
  if (afi === undefined || safi === undefined) return undefined;
  return { afi, safi, rest: node.slice(first.length + second.length + 2) };
}

export function nodeOf(family: ItemFamily, rest: string): string {
  return `${FAMILIES[family].afi}/${FAMILIES[family].safi}/${rest}`;
}

/** Routes published into the master instance carry the instance they belong to: `…/addr/len/id`. */
export function primaryInstanceId(node: string): number | undefined {
  const match = /\/[^/]+\/\d+\/(\d+)$/.exec(node);
  const before = match && parseNode(node.slice(0, -(match[1] as string).length - 1));
  // The address is the last token but one: without the id, what is left must still end in addr/len.
  if (!before || !/[.:][^/]*\/\d+$/.test(before.rest)) return undefined;
  return decimal(match[1] as string, 0xffffffff);
}

/** As the ancestor tells EVPN's route types apart. */
export type EvpnType = 2 | 3 | 5 | 6;

export function evpnType({ nlri }: EvpnEntry): EvpnType {
  if (nlri.group !== '') return 6;
  if (nlri.mac === '00:00:00:00:00:00') return 5;
  return nlri.mac.toLowerCase() === 'ff:ff:ff:ff:ff:ff' ? 3 : 2;
}

export function itemElement(item: Item, attributes: Readonly<Record<string, string>> = {}) {
  return element('item', attributes, [element('entry', {}, FAMILIES[item.family].write(item))]);
}
