/**
 * Items <-> routes. Past this line a route does not know that it came by XMPP.
 *
 * Not carried by Route, so lost on the way in: tags, communities, local sequence numbers, a next hop's own
 * origin VN (the first one's is the route's), `vni` beside a label, L3 labels, ethernet tags, E-tree leaf,
 * replicators, sticky MACs, the load-balance decision, sub-protocol. Labelled inet and multicast trees have
 * no Route at all. Who needs those reads items.
 * Not carried by items, so lost on the way out: route targets (the control node has them from its
 * configuration), member ids and weights of hops.
 *
 * Types of EVPN routes and their prefix: 2 `mac` or `mac,address/len`; 3 `ff:ff:ff:ff:ff:ff`, its hops in
 * events the olist's; 5 `00:00:00:00:00:00,address/len`.
 */
import { canonicalIp, isIpv4 } from '../addr/ip.ts';
import { canonicalMac, isMac, MAC_BROADCAST, MAC_ZERO } from '../addr/mac.ts';
import { ParseError } from '../errors.ts';
import { checkKey, checkRoute, parseEvpnPrefix } from '../rib/check.ts';
import type { EncapName, PathHop, Route, RouteKey, RouteUpdate } from '../rib/route.ts';
import type { EvpnEntry, EvpnHop, TreeHop, UnicastEntry, UnicastHop } from './entries.ts';
import { evpnType, type Item } from './families.ts';
import type { Items, RefusedItem } from './stanza.ts';

/** What the ancestor writes when it does not know. */
export const UNRESOLVED_VN = 'unresolved';
/** MAC-only routes; others write `0.0.0.0/0`, `::/0` or nothing. */
const NO_ADDRESS = '0.0.0.0/32';
const NO_ADDRESSES = new Set([NO_ADDRESS, '0.0.0.0/0', '::/0', '::/128', '']);
const DEFAULT_LOCAL_PREFERENCE = 100;

type HashField = NonNullable<Route['loadBalance']>[number];
const HASH_FIELDS: readonly (readonly [string, HashField])[] = [
  ['l3-source-address', 'source'],
  ['l3-destination-address', 'destination'],
  ['l4-protocol', 'protocol'],
  ['l4-source-port', 'source-port'],
  ['l4-destination-port', 'destination-port'],
];
const ENCAPS: readonly string[] = ['gre', 'udp', 'vxlan'] satisfies EncapName[];

/** A hop's encapsulations; undefined when it names some and none that we know. */
function encapsOf(named: readonly string[]): readonly EncapName[] | undefined {
  if (named.length === 0) return ['gre'];
  const known = [...new Set(named)].filter((name): name is EncapName => ENCAPS.includes(name));
  return known.length === 0 ? undefined : known;
}

export interface AnyHop {
  readonly address: string;
  readonly label: number;
  readonly encaps: readonly string[];
  readonly vni?: number;
  readonly mac?: string;
}

/** The hop as the data plane wants it, or undefined if it leads nowhere for us. */
function toHop(hop: AnyHop): PathHop | undefined {
  const given = hop.mac ?? '';
  return pathHop({
    ...hop,
    address: canonicalIp(hop.address),
    mac: given === '' ? '' : canonicalMac(given),
  });
}

/** toHop, of one whose addresses are canonical. */
export function pathHop(hop: AnyHop): PathHop | undefined {
  let encaps = encapsOf(hop.encaps);
  if (encaps === undefined) return undefined;
  let { label } = hop;
  const vni = hop.vni ?? 0;
  // One number for all encapsulations: with a VNI of its own, either VXLAN has it or the others the label.
  if (vni !== 0 && vni !== label && encaps.includes('vxlan')) {
    if (encaps.length === 1) label = vni;
    else encaps = encaps.filter((name) => name !== 'vxlan');
  }
  if (label === 0) return undefined;
  const { mac = '' } = hop;
  return {
    address: hop.address,
    label,
    encaps,
    ...(mac !== '' && mac !== MAC_ZERO && { mac }),
  };
}

const treeHop = (hop: TreeHop): AnyHop => ({ ...hop, label: hop.label.low });

function hopsOf(hops: readonly AnyHop[]): PathHop[] {
  const usable = hops.map(toHop).filter((hop) => hop !== undefined);
  if (usable.length === 0) {
    throw new ParseError(`entry: none of ${hops.length} next hops has a label and a known tunnel`);
  }
  return usable;
}

function evpnPrefix(mac: string, address: string): string {
  return NO_ADDRESSES.has(address) && canonicalMac(mac) !== MAC_ZERO ? mac : `${mac},${address}`;
}

function shared(entry: UnicastEntry | EvpnEntry) {
  const sequence = entry.mobility.seqno || entry.sequence;
  return {
    ...(entry.localPreference !== 0 && { localPreference: entry.localPreference }),
    ...(entry.med !== 0 && { med: entry.med }),
    ...(entry.securityGroups.length > 0 && { securityGroups: entry.securityGroups }),
    ...(sequence !== 0 && { sequence }),
  };
}

function originVn(...names: readonly (string | undefined)[]): { originVn?: string } {
  const found = names.find((name) => name !== undefined && name !== '' && name !== UNRESOLVED_VN);
  return found === undefined ? {} : { originVn: found };
}

function loadBalance(names: readonly string[]): { loadBalance?: HashField[] } {
  const fields = HASH_FIELDS.filter(([name]) => names.includes(name)).map(([, field]) => field);
  const all = fields.length === 0 || fields.length === HASH_FIELDS.length;
  return all ? {} : { loadBalance: fields };
}

/** A ParseError says what the item has that no route of ours can have. */
export function toRoute(instance: string, item: Item): Route {
  if (item.family === 'inet' || item.family === 'inet6') {
    const { family, entry } = item;
    const { nlri, hops, virtualNetwork } = entry;
    return checkRoute({
      instance,
      family,
      prefix: nlri.address,
      hops: hopsOf(hops),
      ...shared(entry),
      ...originVn(hops[0]?.virtualNetwork, virtualNetwork),
      ...loadBalance(entry.loadBalance.fields),
    });
  }
  if (item.family !== 'evpn') throw new ParseError(`no route of ours is of family ${item.family}`);
  const { entry } = item;
  const type = evpnType(entry);
  if (type === 6) throw new ParseError('no route of ours is of EVPN type 6');
  const tree = [...entry.olist, ...entry.leafOlist].map(treeHop);
  return checkRoute({
    instance,
    family: 'evpn',
    prefix: evpnPrefix(entry.nlri.mac, type === 3 ? '' : entry.nlri.address),
    hops: hopsOf(tree.length > 0 ? tree : entry.hops),
    ...shared(entry),
    ...originVn(entry.virtualNetwork),
  });
}

/** The key of an item, whatever its hops; for withdrawals. */
export function toKey(instance: string, item: Item): RouteKey {
  if (item.family === 'inet' || item.family === 'inet6') {
    return checkKey({ instance, family: item.family, prefix: item.entry.nlri.address });
  }
  if (item.family !== 'evpn') throw new ParseError(`no route of ours is of family ${item.family}`);
  const type = evpnType(item.entry);
  if (type === 6) throw new ParseError('no route of ours is of EVPN type 6');
  const { mac, address } = item.entry.nlri;
  return checkKey({ instance, family: 'evpn', prefix: evpnPrefix(mac, type === 3 ? '' : address) });
}

const EVPN_ID = /^(?:\d{1,10}-)?([0-9a-fA-F:]{17}),([^,]*)(?:,([^,]*),([^,]*))?$/;

/** What a retract is about, from its id. */
export function retractedKey(instance: string, family: Item['family'], id: string): RouteKey {
  if (family === 'inet' || family === 'inet6') return checkKey({ instance, family, prefix: id });
  const match = family === 'evpn' ? EVPN_ID.exec(id) : null;
  if (match === null) throw new ParseError(`${id.slice(0, 64)}: no route of ours has this id`);
  const [, mac = '', address = '', group = ''] = match;
  const broadcast = isMac(mac) && canonicalMac(mac) === MAC_BROADCAST;
  if (group !== '' && !broadcast) throw new ParseError('no route of ours is of EVPN type 6');
  return checkKey({ instance, family, prefix: evpnPrefix(mac, broadcast ? '' : address) });
}

/** Updates of one message; refused ones, those of the stanza included, beside them. */
export function updatesOf(items: Items): {
  readonly updates: readonly RouteUpdate[];
  readonly refused: readonly RefusedItem[];
} {
  const updates: RouteUpdate[] = [];
  const refused: RefusedItem[] = [...items.refused];
  const attempt = (name: string, update: () => RouteUpdate) => {
    try {
      updates.push(update());
    } catch (error) {
      if (!(error instanceof ParseError)) throw error;
      refused.push({ name, reason: error.message });
    }
  };
  const { instance, family } = items;
  for (const id of items.retracts) {
    attempt(id, () => ({ type: 'withdraw', key: retractedKey(instance, family, id) }));
  }
  for (const { id, item } of items.items) {
    attempt(id, () => ({ type: 'announce', route: toRoute(instance, item) }));
  }
  return { updates, refused };
}

// Routes to items: every member has a value.

const afiOf = (address: string): number => (isIpv4(address) ? 1 : 2);
/** VXLAN only: what stands as label is a VNI. */
const isVxlan = (hop: PathHop): boolean => hop.encaps.every((name) => name === 'vxlan');

function unicastHop(hop: PathHop, virtualNetwork: string): UnicastHop {
  return {
    af: afiOf(hop.address),
    address: hop.address,
    mac: hop.mac ?? '',
    label: hop.label,
    vni: isVxlan(hop) ? hop.label : 0,
    encaps: hop.encaps,
    virtualNetwork,
    tags: [],
    localSequence: 0,
  };
}

function evpnHop(hop: PathHop): EvpnHop {
  return {
    af: afiOf(hop.address),
    address: hop.address,
    mac: hop.mac ?? '',
    label: hop.label,
    l3Label: 0,
    encaps: hop.encaps,
    tags: [],
    localSequence: 0,
  };
}

function sharedEntry(route: Route) {
  const sequence = route.sequence ?? 0;
  return {
    virtualNetwork: route.originVn ?? '',
    mobility: { seqno: sequence, sticky: false },
    sequence,
    securityGroups: route.securityGroups ?? [],
    localPreference: route.localPreference ?? DEFAULT_LOCAL_PREFERENCE,
    med: route.med ?? 0,
  };
}

function unicastItem(route: Route, family: 'inet' | 'inet6'): Item {
  const fields = route.loadBalance ?? [];
  const named = HASH_FIELDS.filter(([, field]) => fields.length === 0 || fields.includes(field));
  return {
    family,
    entry: {
      nlri: { af: family === 'inet' ? 1 : 2, safi: 1, address: route.prefix },
      hops: route.hops.map((hop) => unicastHop(hop, route.originVn ?? '')),
      version: 1,
      ...sharedEntry(route),
      communities: [],
      loadBalance: { fields: named.map(([name]) => name), decision: 'field-hash' },
      subProtocol: '',
    },
  };
}

/** Where the item goes: broadcasts have next hops on their way to a control node, and an olist from it. */
export type Direction = 'publish' | 'event';

function evpnItem(route: Route, direction: Direction): Item {
  const { mac, ip } = parseEvpnPrefix(route.prefix);
  const tree = direction === 'event' && mac === MAC_BROADCAST;
  const vxlan = route.hops.every(isVxlan);
  return {
    family: 'evpn',
    entry: {
      nlri: {
        af: 25,
        safi: 242,
        ethernetTag: vxlan ? (route.hops[0]?.label ?? 0) : 0,
        mac,
        address: ip ?? NO_ADDRESS,
        group: '',
        source: '',
        flags: 0,
      },
      hops: tree ? [] : route.hops.map(evpnHop),
      olist: tree
        ? route.hops.map(({ address, label, encaps }) => ({
            af: afiOf(address),
            address,
            label: { low: label, high: label },
            encaps,
          }))
        : [],
      leafOlist: [],
      ...sharedEntry(route),
      edgeReplicationNotSupported: false,
      assistedReplicationSupported: false,
      replicatorAddress: '',
      etreeLeaf: false,
    },
  };
}

export function toItem(route: Route, direction: Direction): Item {
  return route.family === 'evpn' ? evpnItem(route, direction) : unicastItem(route, route.family);
}
