import { describe, expect, test } from 'vitest';
import { itemElement, nodeOf, primaryInstanceId } from '../../../src/xmpp/families.ts';
import { MAX_UNPAIRED } from '../../../src/xmpp/limits.ts';
import { PublishPairs } from '../../../src/xmpp/pairs.ts';
import {
  CONTROL_END_OF_RIB_BODIES,
  type Collection,
  eventBodies,
  type Items,
  MASTER_INSTANCE,
  type Publish,
  readStanza,
  type Stanza,
  type Subscription,
  writeAgentEndOfRib,
  writeMessage,
  writePublish,
  writeSubscription,
} from '../../../src/xmpp/stanza.ts';
import { childOf, type XmlElement } from '../../../src/xmpp/xml.ts';
import {
  CONFIG,
  CONTROL,
  collection,
  EMPTY_PUBLISH,
  EVENTS,
  PUBLISHES,
  SUBSCRIPTIONS,
  tree,
  trees,
  VRF,
} from './messages.ts';

const AGENT = { from: 'compute-1', to: `${CONTROL}/bgp-peer` };
const HEAD = { from: CONTROL, to: 'compute-2/bgp-peer' };
const IDS = { publish: 'pubsub12', collection: 'collection12' };

/** Empty lists and missing ones are the same to every reader of this exchange. */
function withoutEmptyLists(of: XmlElement): XmlElement {
  const children = of.children
    .map(withoutEmptyLists)
    .filter((c) => !(c.name.endsWith('-list') && c.children.length === 0 && c.text === ''));
  return { ...of, children };
}

const read = (text: string): Stanza => readStanza(tree(text));
const down = (from: XmlElement, ...names: string[]) =>
  names.reduce((at, name) => childOf(at, name) as XmlElement, from);

describe('read and written again, equal trees', () => {
  test.each(SUBSCRIPTIONS)('%s', (_name, text) => {
    const { head, content } = read(text);
    const again = writeSubscription(head, tree(text).attributes.id, content as Subscription);
    expect(tree(again)).toEqual(tree(text));
  });

  test.each(PUBLISHES)('publish: %s', (_name, text) => {
    const { head, content } = read(text);
    const { node, item, refused } = content as Publish;
    expect(refused).toBeUndefined();
    expect(item).toBeDefined();
    const again = writePublish(head, IDS, VRF, item!, true, primaryInstanceId(node));
    const [publish, association] = trees(again);
    expect(withoutEmptyLists(publish!)).toEqual(withoutEmptyLists(tree(text)));
    expect(association).toEqual(tree(collection(node, 'associate')));
    const withdrawn = writePublish(head, IDS, VRF, item!, false, primaryInstanceId(node));
    expect(trees(withdrawn)).toEqual([publish, tree(collection(node, 'dissociate'))]);
  });

  test.each(EVENTS.filter(([name]) => !name.startsWith('end')))('event: %s', (_name, text) => {
    const { head, content } = read(text);
    const { family, instance, items, retracts, refused } = content as Items;
    expect(refused).toEqual([]);
    expect(instance).toBe(VRF);
    const bodies = eventBodies(family, instance, { items, retracts });
    expect(bodies).toHaveLength(1);
    const again = tree(writeMessage(head, bodies[0]!));
    expect(withoutEmptyLists(again)).toEqual(withoutEmptyLists(tree(text)));
    // Ids come from the entries too; a multicast one has the control node's RD in front.
    if (family === 'multicast') return;
    const own = items.map(({ item }) => ({ item }));
    expect(eventBodies(family, instance, { items: own, retracts })).toEqual(bodies);
  });

  test.each(EVENTS.filter(([name]) => name.startsWith('end')))('event: %s', (_name, text) => {
    expect(read(text).content).toEqual({ type: 'end-of-rib' });
    const written = CONTROL_END_OF_RIB_BODIES.map((body) => tree(writeMessage(HEAD, body)));
    expect(written).toContainEqual(tree(text));
  });

  test('every form of end of rib is sent, with closing tags of their own', () => {
    const [marker] = CONTROL_END_OF_RIB_BODIES;
    expect(marker).toContain('<items node="0/0/EndOfRib"></items>');
    const [message, publish, association] = trees(writeAgentEndOfRib(AGENT, IDS));
    expect(readStanza(message!).content).toEqual({ type: 'end-of-rib' });
    const pairs = new PublishPairs();
    pairs.publish(readStanza(publish!).content as Publish);
    const joined = pairs.collection(readStanza(association!).content as Collection);
    expect(joined).toEqual([{ type: 'end-of-rib' }]);
  });

  test('configuration is handed on as it came', () => {
    const { head, content } = read(CONFIG);
    expect(head.channel).toBe('config');
    expect(content).toEqual({ type: 'config', config: down(tree(CONFIG), 'config') });
  });
});

describe('what is in them', () => {
  test('a subscription', () => {
    expect(read(SUBSCRIPTIONS[0]![1])).toEqual({
      head: { ...AGENT, channel: 'bgp-peer' },
      content: { type: 'subscribe', node: VRF, instanceId: 7, noRibout: false },
    });
    expect(read(SUBSCRIPTIONS[1]![1]).content).toMatchObject({ instanceId: 0, noRibout: true });
    expect(read(SUBSCRIPTIONS[3]![1])).toMatchObject({
      head: { channel: 'config' },
      content: { node: 'virtual-router:default-global-system-config:compute-1' },
    });
  });

  test('every member of an inet entry', () => {
    const { item } = read(PUBLISHES[0]![1]).content as Publish;
    expect(item).toEqual({
      family: 'inet',
      entry: {
        nlri: { af: 1, safi: 1, address: '10.32.0.5/32' },
        hops: [
          {
            af: 1,
            address: '192.0.2.11',
            mac: '02:00:00:00:00:01',
            label: 25,
            vni: 0,
            encaps: ['gre', 'udp'],
            virtualNetwork: 'default-domain:k8s-default:vn-blue',
            tags: [65537],
            localSequence: 0,
          },
        ],
        version: 1,
        virtualNetwork: '',
        mobility: { seqno: 0, sticky: false },
        sequence: 3,
        securityGroups: [8000001],
        communities: ['64512:55'],
        localPreference: 200,
        med: 0,
        loadBalance: {
          fields: [
            'l3-source-address',
            'l3-destination-address',
            'l4-protocol',
            'l4-source-port',
            'l4-destination-port',
          ],
          decision: 'field-hash',
        },
        subProtocol: 'interface',
      },
    });
  });

  test('a range of labels, and a tree', () => {
    const { item } = read(PUBLISHES[8]![1]).content as Publish;
    expect(item?.entry.hops[0]?.label).toEqual({ low: 4100, high: 4611 });
    const { items } = read(EVENTS[3]![1]).content as Items;
    expect(items[0]).toMatchObject({
      id: '192.0.2.11:7:255.255.255.255,0.0.0.0',
      item: { entry: { nlri: { sourceLabel: 4100 }, hops: [] } },
    });
  });

  test.each([
    [`1/1/${VRF}/10.32.0.5/32/7`, 7],
    [`2/1/${VRF}/fd00::5/128/12`, 12],
    [`1/1/${VRF}/10.32.0.5/32`, undefined],
    ['25/242/02:aa:bb:cc:dd:05,10.32.0.5/32', undefined],
    ['nonsense', undefined],
  ])('the primary instance of %s', (node, id) => {
    expect(primaryInstanceId(node)).toBe(id);
  });
});

describe('liberal', () => {
  const inet = PUBLISHES[0]![1];
  const item = (text: string) => (read(text).content as Publish).item;

  test('missing members, empty ones, unknown ones, blanks, another order', () => {
    const bare = inet.replace(/<version>[\s\S]*<\/sub-protocol>/, '<future a="b"><x/></future>');
    expect(item(bare)?.entry).toMatchObject({ version: 0, med: 0, securityGroups: [] });
    const empty = inet.replace('<med>0</med>', '<med/>').replace('>25<', '> 25 <');
    expect(item(empty)).toEqual(item(inet));
    const [, nlri] = /(<nlri>.*<\/nlri>)/.exec(inet)!;
    expect(item(inet.replace(nlri!, '').replace('</entry>', `${nlri}</entry>`))).toEqual(
      item(inet),
    );
  });

  test.each([
    ['<presence/>', 'presence'],
    ['<iq type="get"><ping/></iq>', 'iq ping'],
    [`<iq type="set"><pubsub><constructor/></pubsub></iq>`, 'iq constructor'],
    ['<message><body>hi</body></message>', 'message body'],
    [`<message><event><items node="1/5/${VRF}"/></event></message>`, `items 1/5/${VRF}`],
    ['<message><event><items node="unknown"/></event></message>', 'items unknown'],
  ])('%s is skipped', (text, what) => {
    expect(read(text).content).toEqual({ type: 'other', what });
  });
});

describe('an item that is wrong is refused, the session stays up', () => {
  const inet = PUBLISHES[0]![1];
  test.each([
    ['a number with a sign', '<med>0<', '<med>-1<', /entry\.med/],
    ['a number with a letter', '<label>25<', '<label>25x<', /next-hops\[0\]\.label/],
    ['a number too large', '<label>25<', '<label>16777216<', /next-hops\[0\]\.label/],
    ['not a truth', 'sticky="false"', 'sticky="maybe"', /mobility@sticky/],
    ['another family', '<af>1</af><safi>1<', '<af>2</af><safi>1<', /family 2\/1/],
    ['two next hops', '</next-hops>', '<next-hop/></next-hops>', /2 next hops/],
    ['a list too long', '<tag>65537</tag>', '<tag>1</tag>'.repeat(257), /tag-list/],
    ['a name too long', ':vn-blue</virt', `${':x'.repeat(600)}</virt`, /virtual-network/],
    ['a second item', '</item>', '</item><item/>', /more than one item/],
    ['no entry', /<entry>[\s\S]*<\/entry>/, '', /no entry/],
    ['a family without table', '"1/1/', '"1/5/', /no family 1\/5/],
  ])('%s', (_what, from, to, reason) => {
    const { item, refused } = read(inet.replace(from, to)).content as Publish;
    expect(item).toBeUndefined();
    expect(refused?.reason).toMatch(reason);
    expect(refused?.name).toMatch(/^1\//);
  });

  test('the others of its message count', () => {
    const text = EVENTS[2]![1].replace('<label>4097<', '<label>?<');
    const { items, refused } = read(text).content as Items;
    expect(items).toHaveLength(3);
    expect(refused).toEqual([
      {
        name: '4097-02:aa:bb:cc:dd:05,0.0.0.0/32',
        reason: expect.stringMatching(/next-hops\[0\]\.label/),
      },
    ]);
  });
});

test.each([
  ['<iq><pubsub><subscribe/></pubsub></iq>'],
  ['<iq><pubsub><publish node=""/></pubsub></iq>'],
  ['<iq><pubsub><collection node="a"><associate/></collection></pubsub></iq>'],
  [
    '<iq><pubsub><subscribe node="a"><options><instance-id>x</instance-id></options></subscribe></pubsub></iq>',
  ],
  [`<iq><pubsub><subscribe node="${'n'.repeat(2000)}"/></pubsub></iq>`],
  [`<iq from="${'n'.repeat(600)}"/>`],
])('%s is a fault of the session', (text) => {
  expect(() => read(text)).toThrow(expect.objectContaining({ code: 'XMPP_BAD_STANZA' }));
});

describe('pairs', () => {
  const publish = read(PUBLISHES[0]![1]).content as Publish;
  const join = (member: 'associate' | 'dissociate') =>
    read(collection(publish.node, member)).content as Collection;

  test('a publish counts with its collection, once', () => {
    const pairs = new PublishPairs();
    pairs.publish(publish);
    expect(pairs.collection(join('associate'))).toEqual([
      { type: 'add', instance: VRF, node: publish.node, item: publish.item },
    ]);
    expect(pairs.unpaired).toBe(0);
    expect(pairs.collection(join('associate'))).toMatchObject([{ type: 'refused' }]);
    pairs.publish(publish);
    expect(pairs.collection(join('dissociate'))).toMatchObject([{ type: 'remove' }]);
  });

  test('a refused item stays refused, an absent one is end of rib', () => {
    const pairs = new PublishPairs();
    const refused = { name: publish.node, reason: 'why' };
    pairs.publish({ type: 'publish', node: publish.node, refused });
    expect(pairs.collection(join('associate'))).toEqual([
      { type: 'refused', instance: VRF, refused },
    ]);
    const empty = read(EMPTY_PUBLISH).content as Publish;
    pairs.publish(empty);
    const end = read(collection(empty.node, 'associate', 'whatever')).content as Collection;
    expect(pairs.collection(end)).toEqual([{ type: 'end-of-rib' }]);
  });

  test('not more than so many wait', () => {
    const pairs = new PublishPairs();
    for (let i = 0; i < MAX_UNPAIRED; i++) pairs.publish({ type: 'publish', node: `1/1/a/${i}` });
    pairs.publish({ type: 'publish', node: '1/1/a/0' });
    expect(() => pairs.publish({ type: 'publish', node: '1/1/a/more' })).toThrow(
      expect.objectContaining({ code: 'XMPP_TOO_MANY_UNPAIRED' }),
    );
  });
});

describe('strict in what is sent', () => {
  const { item } = read(PUBLISHES[0]![1]).content as Publish;
  const [hop] = item!.entry.hops;
  const having = (change: object) =>
    ({ ...item!, entry: { ...item!.entry, ...change } }) as NonNullable<typeof item>;
  const publish = (change: object, instance = VRF) =>
    writePublish(AGENT, IDS, instance, having(change), true);
  const cannot = expect.objectContaining({ code: 'XMPP_CANNOT_SEND' });

  test('one next hop, with address and label', () => {
    expect(() => publish({ hops: [] })).toThrow(cannot);
    expect(() => publish({ hops: [hop, hop] })).toThrow(cannot);
    expect(() => publish({ hops: [{ ...hop, label: 0 }] })).toThrow(cannot);
    expect(() => publish({ hops: [{ ...hop, address: '' }] })).toThrow(cannot);
  });

  test('the master instance has no labels', () => {
    expect(() => publish({}, MASTER_INSTANCE)).toThrow(cannot);
    expect(publish({ hops: [{ ...hop, label: 0 }] }, MASTER_INSTANCE)).toContain(
      '<label>0</label>',
    );
  });

  test('every scalar is written, lists only with something in them', () => {
    const scalars = (of: XmlElement): string[] =>
      of.children.flatMap((c) => (c.children.length > 0 ? scalars(c) : [c.name]));
    for (const [, text] of PUBLISHES) {
      const full = (read(text).content as Publish).item!;
      const bare = text.replace(/<(version|virtual-network|nlri)[\s\S]*<\/entry>/, (t) =>
        t.startsWith('<nlri>') ? `${/<next-hops>[\s\S]*<\/next-hops>/.exec(t)![0]}</entry>` : t,
      );
      const emptied = (read(bare).content as Publish).item!;
      const lists = /^(tag|security-group|community-tag|load-balance-field-list)$/;
      const names = (i: typeof full) => scalars(itemElement(i)).filter((n) => !lists.test(n));
      expect(names(emptied)).toEqual(names(full));
      expect(withoutEmptyLists(itemElement(emptied))).toEqual(itemElement(emptied));
    }
  });

  test('at most 32 items or 256 retracts a message, and never both', () => {
    const items = Array.from({ length: 65 }, (_, i) => ({
      item: having({ nlri: { af: 1, safi: 1, address: `10.0.0.${i}/32` } }),
    }));
    const retracts = Array.from({ length: 513 }, (_, i) => `10.1.${i >> 8}.${i & 255}/32`);
    const bodies = eventBodies('inet', VRF, { items, retracts });
    const read = bodies.map((body) => readStanza(tree(writeMessage(HEAD, body))).content as Items);
    expect(read.map((r) => [r.items.length, r.retracts.length])).toEqual([
      [0, 256],
      [0, 256],
      [0, 1],
      [32, 0],
      [32, 0],
      [1, 0],
    ]);
    expect(read.flatMap((r) => r.retracts)).toEqual(retracts);
    expect(read.flatMap((r) => r.items.map(({ item }) => item))).toEqual(items.map((i) => i.item));
    expect(eventBodies('inet', VRF, {})).toEqual([]);
    expect(() => eventBodies('evpn', VRF, { items })).toThrow(cannot);
  });

  test('names are escaped', () => {
    const vrf = `a"b<c>&'d`;
    const text = writePublish({ from: vrf, to: vrf }, IDS, vrf, item!, true);
    const [publish, association] = trees(text);
    expect(publish?.attributes.from).toBe(vrf);
    expect(readStanza(association!).content).toMatchObject({ instance: vrf });
    const [body] = eventBodies('inet', vrf, { retracts: ['1.2.3.4/32'] });
    expect(readStanza(tree(writeMessage({ from: vrf, to: vrf }, body!)))).toMatchObject({
      head: { from: vrf, to: vrf },
      content: { instance: vrf },
    });
  });

  test('nodes', () => {
    expect(nodeOf('inet6', VRF)).toBe(`2/1/${VRF}`);
  });
});
