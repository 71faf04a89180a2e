/**
 * Items that travel and are no routes here, labelled inet and multicast trees: any of them is read as it was said and
 * written as the second encoder (messages.ts) writes it.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { MulticastEntry, UnicastEntry } from '../../../src/xmpp/entries.ts';
import type { Item } from '../../../src/xmpp/families.ts';
import {
  eventBodies,
  type Items,
  type Publish,
  readStanza,
  writeMessage,
  writePublish,
} from '../../../src/xmpp/stanza.ts';
import {
  CONTROL,
  type PlainRoute,
  type PlainTree,
  plainEvent,
  plainInet,
  plainMulticast,
  plainPublish,
  tree,
  trees,
  VRF,
} from './messages.ts';

const AGENT = { from: 'compute-1', to: `${CONTROL}/bgp-peer` };
const HEAD = { from: CONTROL, to: 'compute-2/bgp-peer' };
const IDS = { publish: 'pubsub12', collection: 'collection12' };
const ALL_FIELDS = [
  'l3-source-address',
  'l3-destination-address',
  'l4-protocol',
  'l4-source-port',
  'l4-destination-port',
];

const address = fc.oneof(
  fc.nat(255).map((n) => `192.0.2.${n}`),
  fc.nat(0xfff).map((n) => `2001:db8::${(n + 1).toString(16)}`),
);
const af = (of: string): number => (of.includes(':') ? 2 : 1);
const label = fc.integer({ min: 16, max: 0xfffff });
const encaps = fc.subarray(['gre', 'udp', 'mpls'], { minLength: 1 });

const plainRoute: fc.Arbitrary<PlainRoute> = fc.record({
  prefix: fc.nat(255).map((n) => `10.0.${n}.0/24`),
  hops: fc.array(fc.record({ address, label, encaps }), { minLength: 1, maxLength: 4 }),
  vn: fc.constantFrom('a:b:c', 'a&<b>"\'', 'ünï'),
  sequence: fc.nat(0xffffffff),
  groups: fc.uniqueArray(fc.integer({ min: 1, max: 8_999_999 }), { maxLength: 3 }),
  localPreference: fc.nat(0xffffffff),
  med: fc.nat(0xffffffff),
});
const plainTree: fc.Arbitrary<PlainTree> = fc.record({
  group: fc.constantFrom('255.255.255.255', '224.0.0.9'),
  source: fc.constantFrom('0.0.0.0', '10.1.0.1'),
  label: fc.nat(0xfffff),
  from: fc.constantFrom('', '192.0.2.11'),
  neighbours: fc.array(
    fc
      .record({ address, low: label, more: fc.nat(511), encaps })
      .map(({ more, ...rest }) => ({ ...rest, high: rest.low + more })),
    { minLength: 1, maxLength: 4 },
  ),
});

function labelledItem(of: PlainRoute): Item {
  const entry: UnicastEntry = {
    nlri: { af: 1, safi: 4, address: of.prefix },
    hops: of.hops.map((hop) => ({
      af: af(hop.address),
      address: hop.address,
      mac: '',
      label: hop.label,
      vni: 0,
      encaps: hop.encaps,
      virtualNetwork: of.vn,
      tags: [],
      localSequence: 0,
    })),
    version: 1,
    virtualNetwork: of.vn,
    mobility: { seqno: of.sequence, sticky: false },
    sequence: of.sequence,
    securityGroups: of.groups,
    communities: [],
    localPreference: of.localPreference,
    med: of.med,
    loadBalance: { fields: ALL_FIELDS, decision: 'field-hash' },
    subProtocol: '',
  };
  return { family: 'inet-labelled', entry };
}

function treeItem(of: PlainTree, list: 'hops' | 'olist'): Item {
  const neighbours = of.neighbours.map(({ address: to, low, high, encaps: names }) => ({
    af: af(to),
    address: to,
    label: { low, high },
    encaps: names,
  }));
  const entry: MulticastEntry = {
    nlri: {
      af: 1,
      safi: 241,
      group: of.group,
      source: of.source,
      sourceLabel: of.label,
      sourceAddress: of.from,
    },
    hops: list === 'hops' ? neighbours : [],
    olist: list === 'olist' ? neighbours : [],
  };
  return { family: 'multicast', entry };
}

function told(item: Item, id: string, node: string, other: string): void {
  const [body] = eventBodies(item.family, VRF, { items: [{ id, item }] });
  const text = writeMessage(HEAD, body as string);
  const plain = plainEvent(`${node}/${VRF}`, [[id, other]]);
  expect(tree(text)).toEqual(tree(plain));
  for (const sent of [text, plain]) {
    const { items, refused } = readStanza(tree(sent)).content as Items;
    expect({ items, refused }).toEqual({ items: [{ id, item }], refused: [] });
  }
}

function published(item: Item, node: string, other: string): void {
  const text = writePublish(AGENT, IDS, VRF, item, true);
  const plain = plainPublish(node, other);
  expect(trees(text)[0]).toEqual(tree(plain));
  const read = readStanza(tree(plain)).content as Publish;
  expect(read).toMatchObject({ node, item });
}

describe('labelled inet', () => {
  test('as an event', () => {
    fc.assert(
      fc.property(plainRoute, (of) =>
        told(labelledItem(of), of.prefix, '1/4', plainInet(of, 1, 4)),
      ),
    );
  });

  test('as a publish, of one next hop', () => {
    fc.assert(
      fc.property(plainRoute, (all) => {
        const of = { ...all, hops: all.hops.slice(0, 1) };
        published(labelledItem(of), `1/4/${VRF}/${of.prefix}`, plainInet(of, 1, 4));
      }),
    );
  });
});

describe('a multicast tree', () => {
  test('as an event: the label each neighbour expects', () => {
    fc.assert(
      fc.property(plainTree, (of) =>
        told(
          treeItem(of, 'olist'),
          `192.0.2.11:7:${of.group},${of.source}`,
          '1/241',
          plainMulticast(of, 'olist'),
        ),
      ),
    );
  });

  test('as a publish: a range that labels may be taken from', () => {
    fc.assert(
      fc.property(plainTree, (all) => {
        const of = { ...all, neighbours: all.neighbours.slice(0, 1) };
        published(
          treeItem(of, 'hops'),
          `1/241/${VRF}/${of.group}`,
          plainMulticast(of, 'next-hops'),
        );
      }),
    );
  });
});
