/**
 * Every form of message of the exchange, as a Contrail agent or control node writes it (sources in
 * docs/wire-notes.md), and an encoder in template strings that shares nothing with ours.
 */
import { XmlReader } from '../../../src/xmpp/reader.ts';
import type { XmlElement } from '../../../src/xmpp/xml.ts';

export const PUBSUB = 'http://jabber.org/protocol/pubsub';
export const CONTROL = 'network-control@contrailsystems.com';
export const VRF = 'default-domain:k8s-default:vn-blue:vn-blue';

/** One stanza, read by itself. */
export function tree(text: string): XmlElement {
  return trees(text)[0] as XmlElement;
}

export function trees(text: string): XmlElement[] {
  const stanzas: XmlElement[] = [];
  const reader = new XmlReader({
    opened() {},
    stanza: (stanza) => stanzas.push(stanza),
    closed() {},
  });
  reader.push(Buffer.from(`<stream:stream xmlns:stream="x">${text}`));
  return stanzas;
}

const fromAgent = (id: string, content: string, channel = 'bgp-peer') =>
  `<iq type="set" from="compute-1" to="${CONTROL}/${channel}"${id === '' ? '' : ` id="${id}"`}>
     <pubsub xmlns="${PUBSUB}">${content}</pubsub>
   </iq>`;

const event = (content: string) =>
  `<message from="${CONTROL}" to="compute-2/bgp-peer">
	<event xmlns="${PUBSUB}">${content}</event>
</message>`;

const encaps = (...names: string[]) =>
  `<tunnel-encapsulation-list>${names.map((n) => `<tunnel-encapsulation>${n}</tunnel-encapsulation>`).join('')}</tunnel-encapsulation-list>`;

const FIVE_FIELDS = [
  'l3-source-address',
  'l3-destination-address',
  'l4-protocol',
  'l4-source-port',
  'l4-destination-port',
];

const loadBalance = (fields: readonly string[], decision = 'field-hash') => `<load-balance>
  <load-balance-fields>${fields.map((f) => `<load-balance-field-list>${f}</load-balance-field-list>`).join('')}</load-balance-fields>
  <load-balance-decision>${decision}</load-balance-decision></load-balance>`;

const INET_ENTRY = `<entry>
    <nlri><af>1</af><safi>1</safi><address>10.32.0.5/32</address></nlri>
    <next-hops>
     <next-hop>
      <af>1</af><address>192.0.2.11</address><mac>02:00:00:00:00:01</mac><label>25</label><vni>0</vni>
      ${encaps('gre', 'udp')}
      <virtual-network>default-domain:k8s-default:vn-blue</virtual-network>
      <tag-list><tag>65537</tag></tag-list>
      <local-sequence-number>0</local-sequence-number>
     </next-hop>
    </next-hops>
    <version>1</version>
    <virtual-network />
    <mobility seqno="0" sticky="false" />
    <sequence-number>3</sequence-number>
    <security-group-list><security-group>8000001</security-group></security-group-list>
    <community-tag-list><community-tag>64512:55</community-tag></community-tag-list>
    <local-preference>200</local-preference>
    <med>0</med>
    ${loadBalance(FIVE_FIELDS)}
    <sub-protocol>interface</sub-protocol>
   </entry>`;

const INET6_ENTRY = `<entry>
    <nlri><af>2</af><safi>1</safi><address>fd00::5/128</address></nlri>
    <next-hops><next-hop>
      <af>1</af><address>192.0.2.11</address><mac /><label>25</label><vni>0</vni>${encaps('udp')}
      <virtual-network>default-domain:k8s-default:vn-blue</virtual-network>
      <local-sequence-number>7</local-sequence-number>
    </next-hop></next-hops>
    <version>1</version><virtual-network /><mobility seqno="4" sticky="true" /><sequence-number>4</sequence-number>
    <local-preference>100</local-preference><med>50</med>
    ${loadBalance(['l3-source-address'], 'source-bias')}<sub-protocol />
   </entry>`;

interface EvpnText {
  readonly tag?: number;
  readonly mac: string;
  readonly address: string;
  readonly hops: string;
}

const evpnHop = (mac: string, label: number, tunnels: string, l3 = 0) =>
  `<next-hops><next-hop><af>1</af><address>192.0.2.11</address><mac>${mac}</mac><label>${label}</label><l3-label>${l3}</l3-label>${tunnels}<tag-list/><local-sequence-number>0</local-sequence-number></next-hop></next-hops>`;

const evpnEntry = ({ tag = 0, mac, address, hops }: EvpnText) => `<entry>
    <nlri><af>25</af><safi>242</safi><ethernet-tag>${tag}</ethernet-tag><mac>${mac}</mac>
          <address>${address}</address><group /><source /><flags>0</flags></nlri>
    ${hops}
    <virtual-network /><mobility seqno="0" sticky="false" /><sequence-number>0</sequence-number>
    <security-group-list><security-group>8000001</security-group></security-group-list>
    <local-preference>100</local-preference><med>0</med>
    <edge-replication-not-supported>false</edge-replication-not-supported>
    <assisted-replication-supported>false</assisted-replication-supported>
    <replicator-address /><etree-leaf>false</etree-leaf>
   </entry>`;

const treeHop = (address: string, label: string | number) =>
  `<next-hop><af>1</af><address>${address}</address><label>${label}</label>${encaps('gre', 'udp')}</next-hop>`;

const MAC_IP = evpnEntry({
  mac: '02:aa:bb:cc:dd:05',
  address: '10.32.0.5/32',
  hops: evpnHop('', 27, encaps('gre', 'udp')),
});
const MAC_IP_VXLAN = evpnEntry({
  tag: 4097,
  mac: '02:aa:bb:cc:dd:05',
  address: '0.0.0.0/32',
  hops: evpnHop('', 4097, encaps('vxlan')),
});
const BROADCAST = evpnEntry({
  mac: 'ff:ff:ff:ff:ff:ff',
  address: '0.0.0.0/32',
  hops: evpnHop('', 30, encaps('gre', 'udp')),
});
const BROADCAST_TREE = evpnEntry({
  mac: 'ff:ff:ff:ff:ff:ff',
  address: '0.0.0.0/32',
  hops: `<olist>${treeHop('192.0.2.12', 31)}${treeHop('192.0.2.13', 32)}</olist><leaf-olist>${treeHop('192.0.2.14', 33)}</leaf-olist>`,
});
const PREFIX_ROUTE = evpnEntry({
  mac: '00:00:00:00:00:00',
  address: '10.40.0.0/16',
  hops: evpnHop('02:00:00:00:00:01', 5001, encaps('vxlan'), 5001),
});
/** Without an address, in the other spellings there are. */
const macOnly = (address: string) =>
  evpnEntry({ mac: '02:aa:bb:cc:dd:05', address, hops: evpnHop('', 27, encaps('udp')) });
const GROUPS = MAC_IP.replace(
  /<mac>.*?<\/mac>\s*<address>.*?<\/address><group \/><source \/>/,
  '<mac>02:aa:bb:cc:dd:05</mac><address>0.0.0.0/32</address><group>224.0.0.9</group><source>0.0.0.0</source>',
);
const GROUPS_NAME = '02:aa:bb:cc:dd:05,0.0.0.0/32,224.0.0.9,0.0.0.0';
const LABELLED = INET_ENTRY.replace('<safi>1<', '<safi>4<');
const JOIN = `<entry>
  <nlri><af>1</af><safi>241</safi><group>255.255.255.255</group><source>0.0.0.0</source><source-label>0</source-label><source-address /></nlri>
  <next-hops>${treeHop('192.0.2.11', '4100-4611')}</next-hops>
 </entry>`;
const TREE = `<entry>
  <nlri><af>1</af><safi>241</safi><group>255.255.255.255</group><source>0.0.0.0</source><source-label>4100</source-label><source-address>192.0.2.11</source-address></nlri>
  <olist>${treeHop('192.0.2.12', 4200)}${treeHop('192.0.2.13', 4300)}</olist>
 </entry>`;
const ECMP = `<entry>
  <nlri><af>1</af><safi>1</safi><address>10.96.0.10/32</address></nlri>
  <next-hops>
   <next-hop><af>1</af><address>192.0.2.11</address><mac /><label>25</label><vni>0</vni>${encaps('udp', 'gre')}
     <virtual-network>default-domain:k8s-default:vn-svc</virtual-network><tag-list><tag>65537</tag></tag-list><local-sequence-number>0</local-sequence-number></next-hop>
   <next-hop><af>1</af><address>192.0.2.12</address><mac /><label>31</label><vni>0</vni>${encaps('udp', 'gre')}
     <virtual-network>unresolved</virtual-network><local-sequence-number>0</local-sequence-number></next-hop>
  </next-hops>
  <version>1</version>
  <virtual-network>default-domain:k8s-default:vn-svc</virtual-network>
  <mobility seqno="3" sticky="false" /><sequence-number>3</sequence-number>
  <security-group-list><security-group>8000001</security-group></security-group-list>
  <community-tag-list><community-tag>no-export</community-tag></community-tag-list>
  <local-preference>200</local-preference><med>100</med>
  ${loadBalance(FIVE_FIELDS)}<sub-protocol />
 </entry>`;

const publish = (node: string, entry: string) =>
  fromAgent('pubsub12', `<publish node="${node}"><item>${entry}</item></publish>`);

/** name, text */
export const PUBLISHES: readonly (readonly [string, string])[] = [
  ['inet', publish(`1/1/${VRF}/10.32.0.5/32`, INET_ENTRY)],
  ['inet in the master instance', publish(`1/1/${VRF}/10.32.0.5/32/7`, INET_ENTRY)],
  ['labelled inet', publish(`1/4/${VRF}/10.32.0.5/32`, LABELLED)],
  ['inet6', publish(`2/1/${VRF}/fd00::5/128`, INET6_ENTRY)],
  ['EVPN type 2', publish('25/242/02:aa:bb:cc:dd:05,10.32.0.5/32', MAC_IP)],
  ['EVPN type 2, MAC only, VXLAN', publish('25/242/02:aa:bb:cc:dd:05,0.0.0.0/32', MAC_IP_VXLAN)],
  [
    'EVPN type 3',
    publish('25/242/ff:ff:ff:ff:ff:ff,0.0.0.0/32,255.255.255.255,0.0.0.0', BROADCAST),
  ],
  ['EVPN type 5', publish('25/242/00:00:00:00:00:00,10.40.0.0/16', PREFIX_ROUTE)],
  ['multicast', publish(`1/241/${VRF}/255.255.255.255`, JOIN)],
  ...['0.0.0.0/0', '::/0', ''].map(
    (address) =>
      [
        `EVPN type 2, MAC only, address '${address}'`,
        publish(`25/242/02:aa:bb:cc:dd:05,${address}`, macOnly(address)),
      ] as const,
  ),
  ['EVPN type 6', publish(`25/242/${GROUPS_NAME}`, GROUPS)],
];

export const EVENTS: readonly (readonly [string, string])[] = [
  [
    'inet, two next hops',
    event(`<items node="1/1/${VRF}"><item id="10.96.0.10/32">${ECMP}</item></items>`),
  ],
  ['inet6', event(`<items node="2/1/${VRF}"><item id="fd00::5/128">${INET6_ENTRY}</item></items>`)],
  [
    'EVPN types 2, 3 and 5',
    event(`<items node="25/242/${VRF}">
      <item id="02:aa:bb:cc:dd:05,10.32.0.5/32">${MAC_IP}</item>
      <item id="4097-02:aa:bb:cc:dd:05,0.0.0.0/32">${MAC_IP_VXLAN}</item>
      <item id="ff:ff:ff:ff:ff:ff,0.0.0.0/32">${BROADCAST_TREE}</item>
      <item id="00:00:00:00:00:00,10.40.0.0/16">${PREFIX_ROUTE}</item></items>`),
  ],
  [
    'multicast',
    event(
      `<items node="1/241/${VRF}"><item id="192.0.2.11:7:255.255.255.255,0.0.0.0">${TREE}</item></items>`,
    ),
  ],
  ['retract, inet', event(`<items node="1/1/${VRF}"><retract id="10.96.0.10/32" /></items>`)],
  [
    'retracts, EVPN',
    event(`<items node="25/242/${VRF}"><retract id="02:aa:bb:cc:dd:05,10.32.0.5/32" />
      <retract id="4097-02:aa:bb:cc:dd:05,0.0.0.0/32" /></items>`),
  ],
  [
    'labelled inet',
    event(`<items node="1/4/${VRF}"><item id="10.32.0.5/32">${LABELLED}</item></items>`),
  ],
  [
    'EVPN type 6',
    event(`<items node="25/242/${VRF}"><item id="${GROUPS_NAME}">${GROUPS}</item></items>`),
  ],
  [
    'retract, multicast',
    event(
      `<items node="1/241/${VRF}"><retract id="192.0.2.11:7:255.255.255.255,0.0.0.0" /></items>`,
    ),
  ],
  ['end of rib', event('\n<items node="0/0/EndOfRib"></items>')],
  ['end of rib, no items', event('')],
];

export const SUBSCRIPTIONS: readonly (readonly [string, string])[] = [
  [
    'subscribe',
    fromAgent(
      'subscribe0',
      `<subscribe node="${VRF}"><options><instance-id>7</instance-id></options></subscribe>`,
    ),
  ],
  [
    'subscribe, sends only',
    fromAgent(
      'subscribe1',
      `<subscribe node="${VRF}"><options><instance-id>0</instance-id><no-ribout>true</no-ribout></options></subscribe>`,
    ),
  ],
  [
    'unsubscribe',
    fromAgent(
      'subscribe2',
      `<unsubscribe node="${VRF}"><options><instance-id>7</instance-id></options></unsubscribe>`,
    ),
  ],
  [
    'subscribe to configuration',
    fromAgent(
      '',
      '<subscribe node="virtual-router:default-global-system-config:compute-1" />',
      'config',
    ),
  ],
];

export const collection = (node: string, member: 'associate' | 'dissociate', vrf = VRF) =>
  fromAgent('collection12', `<collection node="${vrf}"><${member} node="${node}" /></collection>`);

export const EMPTY_PUBLISH = fromAgent('pubsub1', '<publish node="0/0/EndOfRib" />');

export const CONFIG = `<iq type="set" from="${CONTROL}" to="default-global-system-config:compute-1/config">
 <config><update>
   <node type="instance-ip"><name>52abcdf0</name><instance-ip-address>27.1.1.252</instance-ip-address></node>
   <link><node type="instance-ip"><name>52abcdf0</name></node><metadata type="x" /></link>
  </update><delete><node type="virtual-machine"><name>a</name></node></delete></config>
</iq>`;

// The second encoder: values to text, by template strings.

export interface PlainHop {
  readonly address: string;
  readonly label: number;
  readonly encaps: readonly string[];
  readonly mac?: string;
}

export interface PlainRoute {
  readonly prefix: string;
  readonly hops: readonly PlainHop[];
  readonly vn: string;
  readonly sequence: number;
  readonly groups: readonly number[];
  readonly localPreference: number;
  readonly med: number;
}

const escaped = (text: string) =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
const each = <T>(values: readonly T[], one: (value: T) => string) => values.map(one).join('');
const unlessEmpty = (name: string, content: string) =>
  content === '' ? '' : `<${name}>${content}</${name}>`;

export function plainInet(route: PlainRoute, af: 1 | 2, safi = 1): string {
  return `<entry><nlri><af>${af}</af><safi>${safi}</safi><address>${route.prefix}</address></nlri>${unlessEmpty(
    'next-hops',
    each(
      route.hops,
      (h) =>
        `<next-hop><af>${h.address.includes(':') ? 2 : 1}</af><address>${h.address}</address><mac>${h.mac ?? ''}</mac><label>${h.label}</label><vni>${h.encaps.join() === 'vxlan' ? h.label : 0}</vni>${encaps(...h.encaps)}<virtual-network>${escaped(route.vn)}</virtual-network><local-sequence-number>0</local-sequence-number></next-hop>`,
    ),
  )}<version>1</version><virtual-network>${escaped(route.vn)}</virtual-network><mobility seqno="${route.sequence}" sticky="false"/><sequence-number>${route.sequence}</sequence-number>${unlessEmpty(
    'security-group-list',
    each(route.groups, (g) => `<security-group>${g}</security-group>`),
  )}<local-preference>${route.localPreference}</local-preference><med>${route.med}</med>${loadBalance(FIVE_FIELDS)}<sub-protocol/></entry>`;
}

export function plainEvpn(route: PlainRoute): string {
  const [mac, address = '0.0.0.0/32'] = route.prefix.split(',');
  const tag = route.hops.every((h) => h.encaps.join() === 'vxlan') ? route.hops[0]?.label : 0;
  return `<entry><nlri><af>25</af><safi>242</safi><ethernet-tag>${tag}</ethernet-tag><mac>${mac}</mac><address>${address}</address><group/><source/><flags>0</flags></nlri>${unlessEmpty(
    'next-hops',
    each(
      route.hops,
      (h) =>
        `<next-hop><af>${h.address.includes(':') ? 2 : 1}</af><address>${h.address}</address><mac>${h.mac ?? ''}</mac><label>${h.label}</label><l3-label>0</l3-label>${encaps(...h.encaps)}<local-sequence-number>0</local-sequence-number></next-hop>`,
    ),
  )}<virtual-network>${escaped(route.vn)}</virtual-network><mobility seqno="${route.sequence}" sticky="false"/><sequence-number>${route.sequence}</sequence-number>${unlessEmpty(
    'security-group-list',
    each(route.groups, (g) => `<security-group>${g}</security-group>`),
  )}<local-preference>${route.localPreference}</local-preference><med>${route.med}</med><edge-replication-not-supported>false</edge-replication-not-supported><assisted-replication-supported>false</assisted-replication-supported><replicator-address/><etree-leaf>false</etree-leaf></entry>`;
}

export interface PlainTree {
  readonly group: string;
  readonly source: string;
  readonly label: number;
  readonly from: string;
  readonly neighbours: readonly {
    readonly address: string;
    readonly low: number;
    readonly high: number;
    readonly encaps: readonly string[];
  }[];
}

/** A join has next hops, a tree neighbours. */
export function plainMulticast(of: PlainTree, list: 'next-hops' | 'olist'): string {
  const hops = each(
    of.neighbours,
    (n) =>
      `<next-hop><af>${n.address.includes(':') ? 2 : 1}</af><address>${n.address}</address><label>${n.low === n.high ? n.low : `${n.low}-${n.high}`}</label>${encaps(...n.encaps)}</next-hop>`,
  );
  return `<entry><nlri><af>1</af><safi>241</safi><group>${of.group}</group><source>${of.source}</source><source-label>${of.label}</source-label><source-address>${of.from}</source-address></nlri>${unlessEmpty(list, hops)}</entry>`;
}

export const plainPublish = (node: string, entry: string) => publish(node, entry);
export const plainEvent = (node: string, items: readonly (readonly [string, string])[]) =>
  event(
    `<items node="${node}">${each(items, ([id, entry]) => `<item id="${id}">${entry}</item>`)}</items>`,
  );
