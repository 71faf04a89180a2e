/**
 * The configuration channel's messages: the ancestor's own text read and written again, random graphs through both
 * directions, and objects that are not what they should be.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { ConfigChange, ConfigNode } from '../../../src/ifmap/graph.ts';
import {
  type ConfigMessage,
  configBodies,
  parseConfigNode,
  readConfig,
  writeConfigIq,
  writeConfigSubscription,
} from '../../../src/xmpp/config-message.ts';
import { MAX_OBJECTS_A_MESSAGE } from '../../../src/xmpp/limits.ts';
import { XmlReader } from '../../../src/xmpp/reader.ts';
import { readStanza } from '../../../src/xmpp/stanza.ts';
import { writeClientHeader } from '../../../src/xmpp/stream.ts';
import type { XmlElement } from '../../../src/xmpp/xml.ts';
import { linkArbitrary, nodeArbitrary } from '../../support/config-arbitrary.ts';

const HEAD = {
  from: 'network-control@contrailsystems.com',
  to: 'default-global-system-config:compute-1/config',
};

/** As the ancestor's control node writes it, white space and all. */
const GOLDEN = `<iq type="set" from="network-control@contrailsystems.com" to="default-global-system-config:compute-1/config">
 <config>
  <update>
   <node type="virtual-machine-interface">
    <name>2d308482-c7b3-4e05-af14-e732b7b50117:ef1e9828-05b6-44a2-a410-d1b662594fc3</name>
    <virtual-machine-interface-mac-addresses><mac-address>02:ef:1e:98:28:05</mac-address></virtual-machine-interface-mac-addresses>
    <id-perms>
     <permissions><owner>cloud-admin</owner><owner-access>7</owner-access><group>cloud-admin-group</group><group-access>7</group-access><other-access>7</other-access></permissions>
     <uuid><uuid-mslong>17230376522028041378</uuid-mslong><uuid-lslong>11822179603111825347</uuid-lslong></uuid>
     <enable>true</enable><created>1970-01-01T00:00:00</created><last-modified>1970-01-01T00:00:00</last-modified><description />
    </id-perms>
   </node>
   <node type="instance-ip"><name>52abcdf0</name><instance-ip-address>27.1.1.252</instance-ip-address></node>
   <node type="virtual-network-network-ipam">
    <name>attr(default-domain:demo:default-network-ipam,default-domain:demo:vn27)</name>
    <value><ipam-subnets><subnet><ip-prefix>27.1.1.0</ip-prefix><ip-prefix-len>24</ip-prefix-len></subnet><default-gateway>27.1.1.254</default-gateway></ipam-subnets></value>
   </node>
   <link>
    <node type="instance-ip"><name>52abcdf0</name></node>
    <node type="virtual-machine-interface"><name>2d308482-c7b3-4e05-af14-e732b7b50117:ef1e9828-05b6-44a2-a410-d1b662594fc3</name></node>
    <metadata type="instance-ip-virtual-machine-interface" />
   </link>
  </update>
  <delete><node type="virtual-machine"><name>2d308482</name></node></delete>
 </config>
</iq>`;

function stanzas(text: string): XmlElement[] {
  const found: XmlElement[] = [];
  const reader = new XmlReader({
    opened() {},
    stanza: (stanza) => found.push(stanza),
    closed() {},
  });
  reader.push(Buffer.from(writeClientHeader({ from: 'a', to: 'b' }) + text));
  return found;
}

function read(text: string): ConfigMessage[] {
  return stanzas(text).map((stanza) => {
    const { content, head } = readStanza(stanza);
    if (content.type !== 'config') throw new Error(content.type);
    expect(head.channel).toBe('config');
    return readConfig(content.config);
  });
}

const config = (content: string, attributes = '') =>
  read(writeConfigIq(HEAD, `<config${attributes}>${content}</config></iq>`))[0] as ConfigMessage;

const update = (content: string) => config(`<update>${content}</update>`);

test("the ancestor's own message is read, and written again as an equal tree", () => {
  const [message] = read(GOLDEN) as [ConfigMessage];
  expect(message).toMatchObject({ refused: [], skipped: 0, endOfSnapshot: false });
  expect(message).not.toHaveProperty('version');
  expect(message.changes).toHaveLength(5);
  expect(message.changes[2]).toEqual({
    kind: 'node',
    node: {
      type: 'virtual-network-network-ipam',
      name: 'attr(default-domain:demo:default-network-ipam,default-domain:demo:vn27)',
      properties: {
        value: { subnets: [{ subnet: { prefix: '27.1.1.0', length: 24 }, gateway: '27.1.1.254' }] },
      },
    },
  });
  const [body] = configBodies(message.changes) as [string];
  expect(stanzas(writeConfigIq(HEAD, body))).toEqual(stanzas(GOLDEN));
});

describe('what is not known', () => {
  test('types, links, elements and sections are skipped and counted', () => {
    const message = config(
      `<update><node type="tag"><name>x</name></node><thing/>
       <node type="virtual-machine"><name>m</name><perms2><owner>a</owner></perms2></node>
       <link><node type="tag"><name>x</name></node><node type="virtual-machine"><name>m</name></node><metadata type="virtual-machine-tag"/></link>
       <link><node type="virtual-network"><name>x</name></node><node type="virtual-machine"><name>m</name></node><metadata type="constructor"/></link>
       </update><constructor/>`,
    );
    expect(message.skipped).toBe(6);
    expect(message.refused).toEqual([]);
    expect(message.changes).toEqual([
      { kind: 'node', node: { type: 'virtual-machine', name: 'm', properties: {} } },
    ]);
  });

  test('a second element where one is meant counts for nothing', () => {
    const message = update(
      '<node type="instance-ip"><name>i</name><instance-ip-address>10.0.0.1</instance-ip-address><instance-ip-address>x</instance-ip-address></node>',
    );
    expect(message.skipped).toBe(1);
    expect(message.changes).toMatchObject([{ node: { properties: { address: '10.0.0.1' } } }]);
  });
});

describe('hostile objects', () => {
  const fine = '<node type="virtual-machine"><name>fine</name></node>';
  const rules = '<acl-rule><rule-uuid>u</rule-uuid></acl-rule>';
  test.each([
    [
      'a number',
      '<node type="security-group"><name>s</name><security-group-id>8e6</security-group-id></node>',
      /^security-group s$/,
      /^security-group-id: "8e6" is not a whole number/,
    ],
    [
      'a port',
      '<node type="floating-ip"><name>f</name><floating-ip-port-mappings><port-mappings><protocol>TCP</protocol><src-port>65536</src-port></port-mappings></floating-ip-port-mappings></node>',
      /^floating-ip f$/,
      /^floating-ip-port-mappings\.port-mappings\.src-port: /,
    ],
    [
      'an address',
      '<node type="instance-ip"><name>i</name><instance-ip-address>10.0.0.256</instance-ip-address></node>',
      /^instance-ip i$/,
      /^instance-ip-address: .* is not an IP address/,
    ],
    [
      'a 65-bit number',
      '<node type="virtual-machine"><name>v</name><id-perms><uuid><uuid-mslong>18446744073709551616</uuid-mslong></uuid></id-perms></node>',
      /^virtual-machine v$/,
      /uuid-mslong/,
    ],
    [
      'too many rules',
      `<node type="access-control-list"><name>a</name><access-control-list-entries>${rules.repeat(4097)}</access-control-list-entries></node>`,
      /^access-control-list a$/,
      /acl-rule: more than 4096/,
    ],
    ['no name', '<node type="virtual-machine"/>', /^virtual-machine $/, /no name/],
    [
      'a long name',
      `<node type="virtual-machine"><name>${'n'.repeat(2305)}</name></node>`,
      /^virtual-machine n{400}/,
      /more than 2304 bytes/,
    ],
    [
      'a long text',
      `<node type="virtual-machine"><name>v</name><display-name>${'n'.repeat(1025)}</display-name></node>`,
      /^virtual-machine v$/,
      /display-name: more than 1024 bytes/,
    ],
    [
      'a link with one end',
      '<link><node type="virtual-machine"><name>a</name></node><metadata type="x"/></link>',
      /^x virtual-machine a$/,
      /1 nodes, not two/,
    ],
  ])('%s: refused by name, and the rest is taken', (_, text, name, reason) => {
    const message = update(text + fine);
    expect(message.refused).toHaveLength(1);
    expect(message.refused[0]?.name).toMatch(name);
    expect(message.refused[0]?.reason).toMatch(reason);
    expect(message.changes).toMatchObject([{ node: { name: 'fine' } }]);
  });

  test('elements too deep, and too many, end the stream before anything is read of them', () => {
    const deep = `${'<value>'.repeat(40)}${'</value>'.repeat(40)}`;
    expect(() =>
      update(`<node type="virtual-network-network-ipam"><name>a</name>${deep}</node>`),
    ).toThrow(expect.objectContaining({ code: 'XMPP_TOO_DEEP' }));
    expect(() => update('<node/>'.repeat(70_000))).toThrow(
      expect.objectContaining({ code: 'XMPP_TOO_MANY_ELEMENTS' }),
    );
  });
});

describe('writing', () => {
  const change = fc.oneof(
    nodeArbitrary.map((node): ConfigChange => ({ kind: 'node', node })),
    nodeArbitrary.map(
      ({ type, name }): ConfigChange => ({
        kind: 'node',
        remove: true,
        key: { type, name },
      }),
    ),
    linkArbitrary.map((link): ConfigChange => ({ kind: 'link', link })),
    linkArbitrary.map((link): ConfigChange => ({ kind: 'link', remove: true, link })),
  );
  const phase = ({ kind, remove }: ConfigChange) =>
    remove === true ? (kind === 'link' ? 2 : 3) : kind === 'node' ? 0 : 1;

  test('random graphs are read as they were: nodes, links, deleted links, deleted nodes, 16 a message', () => {
    fc.assert(
      fc.property(fc.array(change, { maxLength: 70 }), (changes) => {
        const bodies = configBodies(changes, { version: 9, before: 4, endOfSnapshot: true });
        const messages = read(bodies.map((body) => writeConfigIq(HEAD, body)).join(''));
        expect(messages).toHaveLength(
          Math.max(1, Math.ceil(changes.length / MAX_OBJECTS_A_MESSAGE)),
        );
        expect(messages.flatMap((message) => message.changes)).toEqual(
          [...changes].sort((a, b) => phase(a) - phase(b)),
        );
        expect(messages.every(({ refused, skipped }) => refused.length + skipped === 0)).toBe(true);
        messages.forEach((message, i) => {
          const isLast = i === messages.length - 1;
          expect([message.version, message.endOfSnapshot]).toEqual([isLast ? 9 : 4, isLast]);
        });
      }),
    );
  });

  test('nothing is written for nothing', () => {
    expect(configBodies([], { version: 3 })).toEqual([]);
    expect(configBodies([], { version: 3, endOfSnapshot: true })).toEqual([
      '<config version="3" end-of-snapshot="true"></config></iq>\n',
    ]);
  });

  test('without marks it is what the ancestor writes', () => {
    const node: ConfigNode = { type: 'virtual-machine', name: 'm<', properties: {} };
    expect(configBodies([{ kind: 'node', node }])).toEqual([
      '<config><update><node type="virtual-machine"><name>m&lt;</name></node></update></config></iq>\n',
    ]);
  });
});

describe('subscriptions', () => {
  test('are read with the version they carry', () => {
    const head = { from: 'compute-1', to: 'network-control@contrailsystems.com/config' };
    const key = { type: 'virtual-router', name: 'default-global-system-config:compute-1' } as const;
    const [bare, ours] = stanzas(
      writeConfigSubscription(head, 'subscribe', key) +
        writeConfigSubscription(head, 'unsubscribe', key, 1_764_486_000_123),
    ).map(readStanza);
    expect(bare?.content).toEqual({
      type: 'subscribe',
      node: 'virtual-router:default-global-system-config:compute-1',
      noRibout: false,
    });
    expect(bare?.head.channel).toBe('config');
    expect(ours?.content).toMatchObject({ type: 'unsubscribe', version: 1_764_486_000_123 });
    expect(parseConfigNode('virtual-router:default-global-system-config:compute-1')).toEqual(key);
  });

  test.each(['', 'virtual-router:', 'virtual-network:a', 'compute-1', 'virtual-router'])(
    '%j is nothing to subscribe to',
    (node) => {
      expect(parseConfigNode(node)).toBeUndefined();
    },
  );
});
