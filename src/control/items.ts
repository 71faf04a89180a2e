/**
 * Paths <-> items of the exchange. An item that cannot be a path is a ParseError: it is refused, and the session
 * stays. What an event carries is what subscribers see of an entry; sub-protocol is for policies here and is not
 * among it, nor are lists of assisted-replication leaves.
 */
import { canonicalIp, isIpv4 } from '../addr/ip.ts';
import { canonicalMac, MAC_ZERO } from '../addr/mac.ts';
import { canonicalPrefix } from '../addr/prefix.ts';
import { ParseError } from '../errors.ts';
import { parseEvpnPrefix } from '../rib/check.ts';
import type { EvpnEntry, TreeHop, UnicastEntry } from '../xmpp/entries.ts';
import { FAMILIES, type Item } from '../xmpp/families.ts';
import { toKey } from '../xmpp/routes.ts';
import { type Entry, shown } from './entry.ts';
import { Kept } from './kept.ts';
import { type Attributes, type Hop, localPreference, med, type Path, type Said } from './path.ts';
import { HASH_FIELDS } from './routes.ts';

/** Of the encapsulation community; others are not passed on. */
const ENCAPS = new Set([
  'gre',
  'udp',
  'vxlan',
  'nvgre',
  'mpls',
  'mpls-o-gre',
  'vxlan-gpe',
  'native',
]);
const DEFAULT_DECISION = 'field-hash';
const NO_ADDRESS = '0.0.0.0/32';

const texts = new Kept<string>(1 << 16);
/** By how they were spelt. */
const addresses = new Kept<string>();
const macs = new Kept<string>();
const lists = new Kept<readonly string[]>();
const attributeSets = new Kept<Attributes>();

const text = (given: string): string => texts.get(given, (own) => own);

/** Where it was published, and by whom. */
export interface Whereabouts {
  /** Agent's address : instance-id. */
  readonly rd: string;
  /** The master instance, whose routes have no labels, except labelled ones. */
  readonly master: boolean;
  readonly apart?: boolean;
}

/** What an item is about, whatever else is in it; for withdrawals. */
export function keyOfItem(item: Item): Pick<Said, 'family' | 'prefix'> {
  if (item.family === 'inet' || item.family === 'inet6') {
    const prefix = canonicalPrefix(item.entry.nlri.address);
    if (prefix.includes(':') !== (item.family === 'inet6')) {
      throw new ParseError(`entry.nlri.address: ${prefix} is not of family ${item.family}`);
    }
    return { family: item.family, prefix: text(prefix) };
  }
  const { family, prefix } = toKey('-', item); // the instance is its collection's
  return { family, prefix: text(prefix) };
}

export function saidOfItem(item: Item, where: Whereabouts): Said {
  const key = keyOfItem(item);
  const entry = item.entry as UnicastEntry | EvpnEntry; // or there would be no key
  const hop = entry.hops[0];
  if (hop === undefined) throw new ParseError('entry.next-hops: there is none');
  if (where.master && hop.label !== 0)
    throw new ParseError(`label ${hop.label} in the master instance`);
  if (!where.master && hop.label === 0) throw new ParseError('entry.next-hops[0].label: is 0');
  const encaps = hop.encaps.filter((name) => ENCAPS.has(name));
  const mac = hop.mac === '' ? MAC_ZERO : macs.get(hop.mac, canonicalMac);
  const vni = 'vni' in hop ? hop.vni : 0;
  const l3Label = 'l3Label' in hop ? hop.l3Label : 0;
  const said: Hop = {
    address: addresses.get(hop.address, canonicalIp),
    label: hop.label,
    encaps: lists.get(encaps.join(), (own) => (own === '' ? [] : own.split(','))),
    ...(mac !== MAC_ZERO && { mac }),
    ...(vni !== 0 && { vni }),
    ...(l3Label !== 0 && { l3Label }),
    ...(hop.tags.length > 0 && { tags: hop.tags }),
    ...(hop.localSequence !== 0 && { localSequence: hop.localSequence }),
  };
  return {
    ...key,
    rd: text(where.rd),
    hops: [said],
    attributes: attributesOf(item),
    ...(hop.encaps.length > 0 && encaps.length === 0 && { infeasible: 'no-tunnel-encap' }),
    ...(where.apart === true && { apart: true }),
  };
}

function attributesOf({ family, entry }: Item): Attributes {
  const { mobility, sequence, securityGroups, localPreference, med } = entry as
    | UnicastEntry
    | EvpnEntry;
  const seqno = mobility.seqno || sequence;
  const shared: Attributes = {
    ...(localPreference !== 0 && { localPreference }),
    ...(med !== 0 && { med }),
    ...(seqno !== 0 && { sequence: seqno }),
    ...(mobility.sticky && { sticky: true }),
    ...(securityGroups.length > 0 && { securityGroups }),
  };
  const own = family === 'evpn' ? evpnAttributes(entry) : unicastAttributes(entry as UnicastEntry);
  // Made anew from its text, so that nothing of the stanza is kept.
  return attributeSets.get(JSON.stringify({ ...shared, ...own }), (json) => JSON.parse(json));
}

function unicastAttributes({ communities, loadBalance, subProtocol }: UnicastEntry): Attributes {
  const { fields, decision } = loadBalance;
  const all =
    HASH_FIELDS.every(([word]) => fields.includes(word)) && fields.length === HASH_FIELDS.length;
  return {
    ...(communities.length > 0 && { communities }),
    ...(fields.length > 0 && !all && { hashFields: fields }),
    ...(decision !== '' && decision !== DEFAULT_DECISION && { hashDecision: decision }),
    ...(subProtocol !== '' && { subProtocol }),
  };
}

function evpnAttributes(entry: EvpnEntry): Attributes {
  return {
    ...(entry.nlri.ethernetTag !== 0 && { ethernetTag: entry.nlri.ethernetTag }),
    ...(entry.etreeLeaf && { etreeLeaf: true }),
    ...(entry.edgeReplicationNotSupported && { noEdgeReplication: true }),
    ...(entry.assistedReplicationSupported && { assistedReplication: true }),
    ...(entry.replicatorAddress !== '' && { replicator: entry.replicatorAddress }),
  };
}

// What agents are sent.

/** A label and no word of a tunnel: gre, as the ancestor takes it. */
function encapsOf({ encaps, label }: Hop): readonly string[] {
  return encaps.length === 0 && label !== 0 ? ['gre'] : encaps;
}

const afi = (address: string): number => (isIpv4(address) ? 1 : 2);

/** The item's name in events. */
export function itemId({ prefix: { family, prefix }, paths }: Entry): string {
  if (family !== 'evpn') return prefix;
  const { mac, ip = NO_ADDRESS } = parseEvpnPrefix(prefix);
  const tag = (paths[0] as Path).attributes.ethernetTag ?? 0;
  return tag === 0 ? `${mac},${ip}` : `${tag}-${mac},${ip}`;
}

export function itemOf(entry: Entry): Item {
  return entry.prefix.family === 'evpn' ? evpnItem(entry) : unicastItem(entry, entry.prefix.family);
}

function sharedEntry(entry: Entry) {
  const { attributes, originVn, securityGroups } = shown(entry);
  const best = entry.paths[0] as Path;
  const sequence = attributes.sequence ?? 0;
  return {
    virtualNetwork: originVn,
    mobility: { seqno: sequence, sticky: attributes.sticky ?? false },
    sequence,
    securityGroups,
    localPreference: localPreference(best),
    med: med(best),
  };
}

function unicastItem(entry: Entry, family: 'inet' | 'inet6'): Item {
  const { hops, attributes } = shown(entry);
  return {
    family,
    entry: {
      nlri: { af: FAMILIES[family].afi, safi: FAMILIES[family].safi, address: entry.prefix.prefix },
      hops: hops.map(({ hop, path }) => ({
        af: afi(hop.address),
        address: hop.address,
        mac: hop.mac ?? '',
        label: hop.label,
        vni: hop.vni ?? 0,
        encaps: encapsOf(hop),
        virtualNetwork: path.originVn,
        tags: hop.tags ?? [],
        localSequence: hop.localSequence ?? 0,
      })),
      version: 1,
      ...sharedEntry(entry),
      communities: attributes.communities ?? [],
      loadBalance: {
        fields: attributes.hashFields ?? HASH_FIELDS.map(([word]) => word),
        decision: attributes.hashDecision ?? DEFAULT_DECISION,
      },
      subProtocol: '',
    },
  };
}

function evpnEntry(entry: Entry, tag: number): EvpnEntry {
  const { hops, attributes } = shown(entry);
  const { mac, ip = NO_ADDRESS } = parseEvpnPrefix(entry.prefix.prefix);
  const { afi: af, safi } = FAMILIES.evpn;
  return {
    nlri: { af, safi, ethernetTag: tag, mac, address: ip, group: '', source: '', flags: 0 },
    hops: hops.map(({ hop }) => ({
      af: afi(hop.address),
      address: hop.address,
      mac: hop.mac ?? '',
      label: hop.label,
      l3Label: hop.l3Label ?? 0,
      encaps: encapsOf(hop),
      tags: hop.tags ?? [],
      localSequence: hop.localSequence ?? 0,
    })),
    olist: [],
    leafOlist: [],
    ...sharedEntry(entry),
    edgeReplicationNotSupported: attributes.noEdgeReplication ?? false,
    assistedReplicationSupported: attributes.assistedReplication ?? false,
    replicatorAddress: attributes.replicator ?? '',
    etreeLeaf: attributes.etreeLeaf ?? false,
  };
}

function evpnItem(entry: Entry): Item {
  const tag = (entry.paths[0] as Path).attributes.ethernetTag ?? 0;
  return { family: 'evpn', entry: evpnEntry(entry, tag) };
}

/**
 * Where `own`'s agent sends a broadcast: everybody else who takes part, or undefined if nobody does. Made for
 * each agent, and only for one that takes part itself, as in the ancestor.
 */
export function broadcastItem(entry: Entry, own: Path): Item | undefined {
  const ownAddresses = new Set(own.hops.map(({ address }) => address));
  const { hops } = shown(entry);
  const olist = hops
    .filter(({ hop, path }) => path.peer !== own.peer && !ownAddresses.has(hop.address))
    .map(
      ({ hop }): TreeHop => ({
        af: afi(hop.address),
        address: hop.address,
        label: { low: hop.label, high: hop.label },
        encaps: encapsOf(hop),
      }),
    );
  if (olist.length === 0) return undefined;
  const tag = own.attributes.ethernetTag ?? 0;
  return { family: 'evpn', entry: { ...evpnEntry(entry, tag), hops: [], olist } };
}
