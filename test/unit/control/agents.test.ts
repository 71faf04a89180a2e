/**
 * What agents are told, to the letter: messages of the exchange as its description has them, written here by hand,
 * against what the control node makes of publishes written by hand. And agents of both kinds in one set of tables.
 */
import { beforeEach, describe, expect, test } from 'vitest';
import type { AgentLink } from '../../../src/control/agent.ts';
import type { Prefix } from '../../../src/control/entry.ts';
import { RouteExchange } from '../../../src/control/exchange.ts';
import { keyOfItem } from '../../../src/control/items.ts';
import { ControlNode } from '../../../src/control/node.ts';
import { RouteTables } from '../../../src/control/tables.ts';
import type { RouteUpdate } from '../../../src/rib/route.ts';
import { readStanza } from '../../../src/xmpp/stanza.ts';
import { CONTROL_NAME } from '../../../src/xmpp/stream.ts';
import { hop, route } from '../../support/routes.ts';
import { PUBLISHES, tree, trees } from '../xmpp/messages.ts';

const BLUE = 'default-domain:k8s-default:vn-blue:vn-blue';
const SVC = 'default-domain:k8s-default:vn-svc:vn-svc';

let tables: RouteTables;
let node: ControlNode;
beforeEach(() => {
  tables = new RouteTables();
  node = new ControlNode(tables, { name: CONTROL_NAME });
});

class Wire implements AgentLink {
  readonly address: string;
  readonly texts: string[] = [];
  full = false;
  readonly agent;

  constructor(name: string, address: string) {
    this.address = address;
    this.agent = node.up(name, this, 0);
  }
  send(head: string, body: Uint8Array): void {
    this.texts.push(head + Buffer.from(body).toString());
  }
  blocked(): boolean {
    return this.full;
  }
  close(): void {}

  say(text: string): void {
    for (const stanza of trees(text)) node.take(this.agent, readStanza(stanza));
  }
  subscribe(instance: string, id: number): void {
    this.say(
      `<iq type="set" from="x" to="${CONTROL_NAME}/bgp-peer"><pubsub><subscribe node="${instance}"><options><instance-id>${id}</instance-id></options></subscribe></pubsub></iq>`,
    );
  }
  publish(instance: string, node: string, entry: string, add = true): void {
    const to = `to="${CONTROL_NAME}/bgp-peer"`;
    this.say(
      `<iq type="set" from="x" ${to}><pubsub><publish node="${node}"><item><entry>${entry}</entry></item></publish></pubsub></iq>` +
        `<iq type="set" from="x" ${to}><pubsub><collection node="${instance}"><${add ? 'associate' : 'dissociate'} node="${node}"/></collection></pubsub></iq>`,
    );
  }
  /** What has come, without ends of rib. */
  take(): string[] {
    tables.flush();
    return this.texts
      .splice(0)
      .filter((text) => text.includes('<items node="') && !text.includes('EndOfRib'));
  }
}

const encaps = (...names: string[]) =>
  `<tunnel-encapsulation-list>${names.map((n) => `<tunnel-encapsulation>${n}</tunnel-encapsulation>`).join('')}</tunnel-encapsulation-list>`;
const FIVE =
  '<load-balance><load-balance-fields><load-balance-field-list>l3-source-address</load-balance-field-list><load-balance-field-list>l3-destination-address</load-balance-field-list><load-balance-field-list>l4-protocol</load-balance-field-list><load-balance-field-list>l4-source-port</load-balance-field-list><load-balance-field-list>l4-destination-port</load-balance-field-list></load-balance-fields><load-balance-decision>field-hash</load-balance-decision></load-balance>';

describe('to the letter', () => {
  test('an ECMP event, as the description has it', () => {
    for (const name of [BLUE, SVC]) tables.createInstance({ name });
    tables.connect(BLUE, SVC);
    const one = new Wire('compute-1', '192.0.2.11');
    const two = new Wire('compute-2', '192.0.2.12');
    one.subscribe(SVC, 7);
    two.subscribe(SVC, 3);
    two.subscribe(BLUE, 4);
    for (const [wire, label] of [
      [one, 25],
      [two, 31],
    ] as const) {
      wire.publish(
        SVC,
        `1/1/${SVC}/10.96.0.10/32`,
        `<nlri><af>1</af><safi>1</safi><address>10.96.0.10/32</address></nlri>
         <next-hops><next-hop><af>1</af><address>${wire.address}</address><mac /><label>${label}</label><vni>0</vni>${encaps('udp', 'gre')}
         <virtual-network>default-domain:somebody:else</virtual-network><tag-list><tag>65537</tag></tag-list><local-sequence-number>0</local-sequence-number></next-hop></next-hops>
         <version>1</version><virtual-network /><mobility seqno="3" sticky="false" /><sequence-number>3</sequence-number>
         <security-group-list><security-group>${8000000 + label}</security-group></security-group-list>
         <community-tag-list><community-tag>64512:55</community-tag></community-tag-list>
         <local-preference>200</local-preference><med>0</med>${FIVE}<sub-protocol>interface</sub-protocol>`,
      );
    }
    const nextHop = (address: string, label: number) =>
      `<next-hop><af>1</af><address>${address}</address><mac /><label>${label}</label><vni>0</vni>${encaps('udp', 'gre')}
       <virtual-network>default-domain:k8s-default:vn-svc</virtual-network><tag-list><tag>65537</tag></tag-list><local-sequence-number>0</local-sequence-number></next-hop>`;
    const event = (
      instance: string,
    ) => `<message from="network-control@contrailsystems.com" to="compute-2/bgp-peer">
	<event xmlns="http://jabber.org/protocol/pubsub">
		<items node="1/1/${instance}"><item id="10.96.0.10/32"><entry>
		<nlri><af>1</af><safi>1</safi><address>10.96.0.10/32</address></nlri>
		<next-hops>${nextHop('192.0.2.11', 25)}${nextHop('192.0.2.12', 31)}</next-hops>
		<version>1</version><virtual-network>default-domain:k8s-default:vn-svc</virtual-network>
		<mobility seqno="3" sticky="false" /><sequence-number>3</sequence-number>
		<security-group-list><security-group>8000025</security-group><security-group>8000031</security-group></security-group-list>
		<community-tag-list><community-tag>64512:55</community-tag></community-tag-list>
		<local-preference>200</local-preference><med>100</med>${FIVE}<sub-protocol />
		</entry></item></items></event></message>`;
    const told = two.take();
    expect(told.map(tree)).toEqual([tree(event(SVC)), tree(event(BLUE))]);
  });

  test('every form that is published comes back as what it is', () => {
    tables.createInstance({ name: BLUE });
    const one = new Wire('compute-1', '192.0.2.11');
    one.subscribe(BLUE, 7);
    for (const [name, text] of PUBLISHES) {
      // The same again, in another instance or spelling; and what is not carried.
      if (/master instance|address '|type 6/.test(name)) continue;
      const [stanza] = trees(text);
      const { content } = readStanza(stanza as NonNullable<typeof stanza>);
      if (content.type !== 'publish' || content.item === undefined) throw new Error(name);
      if (content.item.family === 'multicast' || content.item.family === 'inet-labelled') continue;
      const published = stanza?.children[0]?.children[0]?.children[0]?.children[0];
      one.say(
        `${text}<iq to="${CONTROL_NAME}/bgp-peer"><pubsub><collection node="${BLUE}"><associate node="${content.node}"/></collection></pubsub></iq>`,
      );
      const [told] = one.take();
      if (
        published?.children.some(
          ({ name, children }) =>
            name === 'nlri' && children.some(({ text }) => text === 'ff:ff:ff:ff:ff:ff'),
        )
      ) {
        expect(told, 'alone in a broadcast').toBeUndefined();
        continue;
      }
      expect(told, name).toBeDefined();
      const { content: event } = readStanza(tree(told as string));
      if (event.type !== 'items') throw new Error(name);
      const [{ item }] = event.items as [(typeof event.items)[number]];
      // What the control node has a say in: origin, MED from the preference, one sequence, no sub-protocol.
      const same = (value: unknown): unknown =>
        JSON.parse(
          JSON.stringify(value, (key, v) =>
            ['virtualNetwork', 'med', 'sequence', 'mobility', 'subProtocol', 'version'].includes(
              key,
            )
              ? undefined
              : v,
          ),
        );
      const wanted = structuredClone(content.item) as { entry: { nlri: { address: string } } };
      if (wanted.entry.nlri.address === '0.0.0.0/0') wanted.entry.nlri.address = '0.0.0.0/32';
      expect(same(item), name).toEqual(same(wanted));
    }
  });

  test('a MAC without an address is one route, however that is spelt', () => {
    const spellings = PUBLISHES.filter(([name]) => /MAC only/.test(name));
    const keys = spellings.map(([, text]) => {
      const { content } = readStanza(tree(text));
      if (content.type !== 'publish' || content.item === undefined) throw new Error(text);
      return keyOfItem(content.item);
    });
    expect(spellings).toHaveLength(4);
    expect(new Set(keys.map((key) => JSON.stringify(key)))).toEqual(
      new Set([JSON.stringify({ family: 'evpn', prefix: '02:aa:bb:cc:dd:05' })]),
    );
  });

  test('end of rib, in both forms, once for all that was subscribed to', () => {
    for (const name of [BLUE, SVC]) tables.createInstance({ name });
    const one = new Wire('compute-1', '192.0.2.11');
    one.subscribe(BLUE, 1);
    one.subscribe(SVC, 2);
    one.subscribe('not:there', 3);
    tables.flush();
    const head = '<message from="network-control@contrailsystems.com" to="compute-1/bgp-peer">';
    expect(one.texts).toEqual([
      `${head}<event xmlns="http://jabber.org/protocol/pubsub"><items node="0/0/EndOfRib"></items></event></message>\n`,
      `${head}<event xmlns="http://jabber.org/protocol/pubsub" /></message>\n`,
    ]);
  });

  test('what the master instance has: no label, and one prefix of several instances', () => {
    const MASTER = 'default-domain:default-project:ip-fabric:__default__';
    tables.createInstance({ name: MASTER });
    const one = new Wire('compute-1', '192.0.2.11');
    one.subscribe(MASTER, 0);
    const entry = (label: number) =>
      `<nlri><af>1</af><safi>1</safi><address>10.0.0.5/32</address></nlri><next-hops><next-hop><af>1</af><address>192.0.2.11</address><label>${label}</label>${encaps('native')}</next-hop></next-hops>`;
    one.publish(MASTER, `1/1/${MASTER}/10.0.0.5/32/7`, entry(0));
    one.publish(MASTER, `1/1/${MASTER}/10.0.0.5/32/8`, entry(0));
    one.publish(MASTER, `1/1/${MASTER}/10.0.0.5/32/9`, entry(17));
    expect(one.take()[0]).toContain('<tunnel-encapsulation>native<');
    const prefix = tables.prefixes(MASTER)?.[0]?.prefix as Prefix;
    expect(tables.paths(prefix, MASTER).map(({ rd }) => rd)).toEqual([
      '192.0.2.11:7',
      '192.0.2.11:8',
    ]);
    one.publish(MASTER, `1/1/${MASTER}/10.0.0.5/32/7`, entry(0), false);
    expect(one.take(), 'the other one says the same').toEqual([]);
    one.publish(MASTER, `1/1/${MASTER}/10.0.0.5/32/8`, entry(0), false);
    expect(one.take()[0]).toContain('<retract id="10.0.0.5/32" />');
  });
});

describe('one set of tables', () => {
  test('a change is written once for all who hear of it', () => {
    tables.createInstance({ name: BLUE });
    const bodies: Uint8Array[] = [];
    const wires = Array.from({ length: 5 }, (_, i) => new Wire(`compute-${i}`, `192.0.2.${i}`));
    for (const wire of wires) {
      wire.send = (_head, body) => bodies.push(body);
      wire.subscribe(BLUE, 1);
    }
    tables.flush();
    bodies.splice(0);
    wires[0]?.publish(
      BLUE,
      `1/1/${BLUE}/10.0.0.1/32`,
      '<nlri><af>1</af><safi>1</safi><address>10.0.0.1/32</address></nlri><next-hops><next-hop><af>1</af><address>192.0.2.1</address><label>20</label></next-hop></next-hops>',
    );
    tables.flush();
    expect([bodies.length, new Set(bodies).size]).toEqual([5, 1]);
  });

  test('agents of both kinds hear each other; where nothing is configured, only one kind does', () => {
    const exchange = new RouteExchange(tables);
    const source = exchange.attach('local');
    const heard: RouteUpdate[] = [];
    source.onUpdates((updates) => heard.push(...updates));
    const one = new Wire('compute-1', '192.0.2.11');
    expect(() => exchange.attach('compute-1')).toThrow('attached already');
    one.subscribe(BLUE, 1);
    source.subscribe(BLUE, 1);
    source.publish(route(BLUE, '10.0.0.9/32', [hop('192.0.2.9', 90, { encaps: ['vxlan'] })]));
    one.publish(
      BLUE,
      `1/1/${BLUE}/10.0.0.1/32`,
      `<nlri><af>1</af><safi>1</safi><address>10.0.0.1/32</address></nlri><next-hops><next-hop><af>1</af><address>192.0.2.11</address><label>20</label>${encaps('nvgre')}</next-hop></next-hops>`,
    );
    expect(one.take(), 'waits for its instance').toEqual([]);
    expect(heard.splice(0).map(({ type }) => type)).toEqual(['announce', 'end-of-rib']);

    tables.createInstance({ name: BLUE });
    const told = one.take().join('');
    expect(told).toContain('<item id="10.0.0.9/32">');
    expect(told).toContain('<vni>90</vni>');
    expect(told).toContain('<item id="10.0.0.1/32">');
    expect(
      heard.splice(0).map((u) => (u.type === 'announce' ? u.route.prefix : u.type)),
      'of a tunnel that it does not know it is not told; of its own, whose targets are new, it is',
    ).toEqual(['10.0.0.9/32']);

    // Blocked, and deleted meanwhile: all that it was told is taken back, though it is still there for the other.
    one.full = true;
    tables.deleteInstance(BLUE);
    expect(one.take()).toEqual([]);
    one.full = false;
    tables.resume(one.agent.peer);
    const gone = one.take().join('');
    expect(gone).toContain('<retract id="10.0.0.9/32" />');
    expect(gone).toContain('<retract id="10.0.0.1/32" />');
    expect(exchange.routes(BLUE)).toHaveLength(1);
  });

  test('what XML cannot hold keeps nothing else from being told, and no peer from what is its own', () => {
    tables.createInstance({ name: BLUE });
    const exchange = new RouteExchange(tables);
    const source = exchange.attach('local');
    const one = new Wire('compute-1', '192.0.2.11');
    const broken = new Wire('compute-2', '192.0.2.12');
    for (const wire of [broken, one]) wire.subscribe(BLUE, 1);
    tables.flush();
    one.take();
    source.publish(route(BLUE, '10.0.0.1/32', [hop('192.0.2.9', 90)], { originVn: 'a\ufffeb' }));
    source.publish(route(BLUE, '10.0.0.2/32', [hop('192.0.2.9', 91)]));
    broken.send = () => {
      throw new Error('ours');
    };
    expect(() => tables.flush()).toThrow('ours');
    const told = one.take().join('');
    expect(told).toContain('10.0.0.2/32');
    expect(told).not.toContain('10.0.0.1/32');
  });

  test('a name that nobody uses any more is forgotten', () => {
    const one = new Wire('compute-1', '192.0.2.11');
    one.subscribe('a:b:lost:lost', 1);
    one.publish(
      'a:b:lost:lost',
      '1/1/a:b:lost:lost/10.0.0.1/32',
      '<nlri><af>1</af><safi>1</safi><address>10.0.0.1/32</address></nlri><next-hops><next-hop><af>1</af><address>192.0.2.1</address><label>20</label></next-hop></next-hops>',
    );
    tables.flush();
    expect(tables.tables()).toHaveLength(1);
    one.say(
      `<iq to="${CONTROL_NAME}/bgp-peer"><pubsub><unsubscribe node="a:b:lost:lost"/></pubsub></iq>`,
    );
    tables.flush();
    expect(tables.tables()).toEqual([]);
  });

  test('a peer that is behind is told what there is by then, once', () => {
    tables.createInstance({ name: BLUE });
    const one = new Wire('compute-1', '192.0.2.11');
    const two = new Wire('compute-2', '192.0.2.12');
    for (const wire of [one, two]) wire.subscribe(BLUE, 1);
    tables.flush();
    one.take();
    two.full = true;
    const say = (label: number, add = true) =>
      one.publish(
        BLUE,
        `1/1/${BLUE}/10.0.0.${add ? 1 : 2}/32`,
        `<nlri><af>1</af><safi>1</safi><address>10.0.0.${add ? 1 : 2}/32</address></nlri><next-hops><next-hop><af>1</af><address>192.0.2.11</address><label>${label}</label></next-hop></next-hops>`,
      );
    for (let label = 20; label < 40; label++) {
      say(label);
      say(label, false);
      expect(one.take()).toHaveLength(1);
    }
    two.texts.splice(0);
    two.full = false;
    tables.resume(two.agent.peer);
    const told = two.take();
    expect(told).toHaveLength(1);
    expect(told[0]?.match(/<item /g)).toHaveLength(2);
    expect(told[0]).toContain('<label>39</label>');
  });
});
