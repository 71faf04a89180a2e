/**
 * The `<entry>` of an item, one table a family: what is in it, in which order, and how it is spelt. Values
 * are as on the wire (texts, numbers); what they mean is in routes.ts.
 * Multicast VPN (1/5) has no table: such items are refused by name.
 */

import { MAX_SECURITY_GROUPS } from '../rib/check.ts';
import {
  MAX_COMMUNITIES,
  MAX_ENCAPS,
  MAX_FQ_NAME_BYTES,
  MAX_HASH_FIELDS,
  MAX_ITEM_HOPS,
  MAX_TAGS,
} from './limits.ts';
import {
  attributes,
  flag,
  list,
  listOf,
  type NumberRange,
  nested,
  type Rows,
  range,
  scalar,
  text,
  whole,
} from './rows.ts';

const u8 = whole(0xff);
const u16 = whole(0xffff);
const u32 = whole(0xffffffff);
/** A label has 20 bits, a VNI 24, and VNIs travel as labels. */
const label = whole(0xffffff);
const word = text(128);
const fqName = text(MAX_FQ_NAME_BYTES);

export interface Mobility {
  readonly seqno: number;
  readonly sticky: boolean;
}

export interface LoadBalance {
  /** `l3-source-address`, …; none are all five. */
  readonly fields: readonly string[];
  readonly decision: string;
}

export interface UnicastHop {
  readonly af: number;
  readonly address: string;
  readonly mac: string;
  readonly label: number;
  readonly vni: number;
  readonly encaps: readonly string[];
  readonly virtualNetwork: string;
  readonly tags: readonly number[];
  readonly localSequence: number;
}

/** inet, inet6, and labelled inet. */
export interface UnicastEntry {
  readonly nlri: { readonly af: number; readonly safi: number; readonly address: string };
  readonly hops: readonly UnicastHop[];
  readonly version: number;
  readonly virtualNetwork: string;
  readonly mobility: Mobility;
  readonly sequence: number;
  readonly securityGroups: readonly number[];
  readonly communities: readonly string[];
  readonly localPreference: number;
  readonly med: number;
  readonly loadBalance: LoadBalance;
  readonly subProtocol: string;
}

export interface EvpnHop {
  readonly af: number;
  readonly address: string;
  readonly mac: string;
  readonly label: number;
  readonly l3Label: number;
  readonly encaps: readonly string[];
  readonly tags: readonly number[];
  readonly localSequence: number;
}

/** Neighbour in a tree, and the label it expects; published, a range that labels may be taken from. */
export interface TreeHop {
  readonly af: number;
  readonly address: string;
  readonly label: NumberRange;
  readonly encaps: readonly string[];
}

export interface EvpnEntry {
  readonly nlri: {
    readonly af: number;
    readonly safi: number;
    readonly ethernetTag: number;
    readonly mac: string;
    readonly address: string;
    readonly group: string;
    readonly source: string;
    readonly flags: number;
  };
  readonly hops: readonly EvpnHop[];
  /** In events for ff:ff:ff:ff:ff:ff, instead of hops: everyone a broadcast goes to. */
  readonly olist: readonly TreeHop[];
  readonly leafOlist: readonly TreeHop[];
  readonly virtualNetwork: string;
  readonly mobility: Mobility;
  readonly sequence: number;
  readonly securityGroups: readonly number[];
  readonly localPreference: number;
  readonly med: number;
  readonly edgeReplicationNotSupported: boolean;
  readonly assistedReplicationSupported: boolean;
  readonly replicatorAddress: string;
  readonly etreeLeaf: boolean;
}

export interface MulticastEntry {
  readonly nlri: {
    readonly af: number;
    readonly safi: number;
    readonly group: string;
    readonly source: string;
    readonly sourceLabel: number;
    readonly sourceAddress: string;
  };
  readonly hops: readonly TreeHop[];
  readonly olist: readonly TreeHop[];
}

const encaps = list(
  'tunnel-encapsulation-list',
  'tunnel-encapsulation',
  'encaps',
  word,
  MAX_ENCAPS,
);
const tags = list('tag-list', 'tag', 'tags', u32, MAX_TAGS);
const groups = list(
  'security-group-list',
  'security-group',
  'securityGroups',
  u32,
  MAX_SECURITY_GROUPS,
);
const mobility = attributes<'mobility', Mobility>('mobility', 'mobility', {
  seqno: u32,
  sticky: flag,
});

const UNICAST_HOP: Rows<UnicastHop> = [
  scalar('af', 'af', u16),
  scalar('address', 'address', word),
  scalar('mac', 'mac', word),
  scalar('label', 'label', label),
  scalar('vni', 'vni', label),
  encaps,
  scalar('virtual-network', 'virtualNetwork', fqName),
  tags,
  scalar('local-sequence-number', 'localSequence', u32),
];

const LOAD_BALANCE: Rows<LoadBalance> = [
  list('load-balance-fields', 'load-balance-field-list', 'fields', word, MAX_HASH_FIELDS),
  scalar('load-balance-decision', 'decision', word),
];

const UNICAST_NLRI: Rows<UnicastEntry['nlri']> = [
  scalar('af', 'af', u16),
  scalar('safi', 'safi', u8),
  scalar('address', 'address', word),
];

export const UNICAST: Rows<UnicastEntry> = [
  nested('nlri', 'nlri', UNICAST_NLRI),
  listOf('next-hops', 'next-hop', 'hops', UNICAST_HOP, MAX_ITEM_HOPS),
  scalar('version', 'version', u32),
  scalar('virtual-network', 'virtualNetwork', fqName),
  mobility,
  scalar('sequence-number', 'sequence', u32),
  groups,
  list('community-tag-list', 'community-tag', 'communities', word, MAX_COMMUNITIES),
  scalar('local-preference', 'localPreference', u32),
  scalar('med', 'med', u32),
  nested('load-balance', 'loadBalance', LOAD_BALANCE),
  scalar('sub-protocol', 'subProtocol', word),
];

const TREE_HOP: Rows<TreeHop> = [
  scalar('af', 'af', u16),
  scalar('address', 'address', word),
  scalar('label', 'label', range(0xffffff)),
  encaps,
];

const EVPN_NLRI: Rows<EvpnEntry['nlri']> = [
  scalar('af', 'af', u16),
  scalar('safi', 'safi', u8),
  scalar('ethernet-tag', 'ethernetTag', u32),
  scalar('mac', 'mac', word),
  scalar('address', 'address', word),
  scalar('group', 'group', word),
  scalar('source', 'source', word),
  scalar('flags', 'flags', u32),
];

const EVPN_HOP: Rows<EvpnHop> = [
  scalar('af', 'af', u16),
  scalar('address', 'address', word),
  scalar('mac', 'mac', word),
  scalar('label', 'label', label),
  scalar('l3-label', 'l3Label', label),
  encaps,
  tags,
  scalar('local-sequence-number', 'localSequence', u32),
];

export const EVPN: Rows<EvpnEntry> = [
  nested('nlri', 'nlri', EVPN_NLRI),
  listOf('next-hops', 'next-hop', 'hops', EVPN_HOP, MAX_ITEM_HOPS),
  listOf('olist', 'next-hop', 'olist', TREE_HOP, MAX_ITEM_HOPS),
  listOf('leaf-olist', 'next-hop', 'leafOlist', TREE_HOP, MAX_ITEM_HOPS),
  scalar('virtual-network', 'virtualNetwork', fqName),
  mobility,
  scalar('sequence-number', 'sequence', u32),
  groups,
  scalar('local-preference', 'localPreference', u32),
  scalar('med', 'med', u32),
  scalar('edge-replication-not-supported', 'edgeReplicationNotSupported', flag),
  scalar('assisted-replication-supported', 'assistedReplicationSupported', flag),
  scalar('replicator-address', 'replicatorAddress', word),
  scalar('etree-leaf', 'etreeLeaf', flag),
];

const MULTICAST_NLRI: Rows<MulticastEntry['nlri']> = [
  scalar('af', 'af', u16),
  scalar('safi', 'safi', u8),
  scalar('group', 'group', word),
  scalar('source', 'source', word),
  scalar('source-label', 'sourceLabel', label),
  scalar('source-address', 'sourceAddress', word),
];

export const MULTICAST: Rows<MulticastEntry> = [
  nested('nlri', 'nlri', MULTICAST_NLRI),
  listOf('next-hops', 'next-hop', 'hops', TREE_HOP, MAX_ITEM_HOPS),
  listOf('olist', 'next-hop', 'olist', TREE_HOP, MAX_ITEM_HOPS),
];
