/**
 * An agent's session with a control node that is nothing but a socket and strings (support/scripted-control.ts): what
 * the ancestor's would be sent, and what is made of what it sends.
 */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Agent } from '../../src/agent/agent.ts';
import { keyOf, type Route, type RouteUpdate } from '../../src/rib/route.ts';
import { ControlNodes } from '../../src/xmpp/control-nodes.ts';
import { connectStream } from '../../src/xmpp/transport/sockets.ts';
import { RecordingDataplane } from '../support/recording-dataplane.ts';
import { hop, route } from '../support/routes.ts';
import { ScriptedControl } from '../support/scripted-control.ts';

const BLUE = 'default-domain:k8s-default:vn-blue:vn-blue';
const RED = 'default-domain:k8s-default:vn-red:vn-red';
const VIP = '10.96.0.10/32';

let control: ScriptedControl;
let source: ControlNodes;
let heard: string[];
let routes: Route[];

function listen(updates: readonly RouteUpdate[]): void {
  for (const update of updates) {
    if (update.type === 'announce') {
      routes.push(update.route);
      heard.push(
        `+${update.route.prefix} ${update.route.hops.map((h) => `${h.address}:${h.label}`)}`,
      );
    } else if (update.type === 'withdraw') heard.push(`-${update.key.prefix}`);
    else heard.push(update.type);
  }
}

beforeEach(async () => {
  control = await ScriptedControl.listen();
  heard = [];
  routes = [];
  source = new ControlNodes({
    name: 'compute-1',
    ownAddresses: ['192.0.2.11'],
    settleMs: 300,
    nodes: [
      {
        name: 'c',
        connect: (attempt) => connectStream({ host: '127.0.0.1', port: control.port }, attempt),
      },
    ],
  });
});
afterEach(async () => {
  source.close();
  await control.close();
});

const count = (text: string) => control.stanzas.filter((stanza) => stanza.includes(text)).length;

test('to the letter: header, subscription, publish and collection, withdrawal, end of rib', async () => {
  source.onUpdates(listen);
  source.subscribe(BLUE, 7);
  source.publish(
    route(BLUE, '10.32.0.5/32', [hop('192.0.2.11', 25, { encaps: ['gre', 'udp'] })], {
      originVn: 'default-domain:k8s-default:vn-blue',
      localPreference: 200,
      securityGroups: [8_000_001],
    }),
  );
  source.publish(route(RED, '10.33.0.1/32', [hop('192.0.2.11', 26)])); // not subscribed to
  source.start();
  await control.until(() => count('EndOfRib') === 3, 'end of rib, in both forms');
  expect(control.header).toBe(
    "<?xml version='1.0'?><stream:stream from='compute-1' to='network-control@contrailsystems.com' version='1.0' xml:lang='en' xmlns='' xmlns:stream='http://etherx.jabber.org/streams' >",
  );
  const [blue, red, publish, collection] = control.stanzas as [string, string, string, string];
  expect(blue).toBe(
    `<iq type="set" from="compute-1" to="network-control@contrailsystems.com/bgp-peer" id="subscribe0"><pubsub xmlns="http://jabber.org/protocol/pubsub"><subscribe node="${BLUE}"><options><instance-id>7</instance-id></options></subscribe></pubsub></iq>`,
  );
  expect(red).toContain(
    `<subscribe node="${RED}"><options><instance-id>65535</instance-id><no-ribout>true</no-ribout></options></subscribe>`,
  );
  const node = `1/1/${BLUE}/10.32.0.5/32`;
  expect(publish).toContain(`<publish node="${node}"><item><entry>`);
  for (const part of [
    '<nlri><af>1</af><safi>1</safi><address>10.32.0.5/32</address></nlri>',
    '<af>1</af><address>192.0.2.11</address><mac /><label>25</label><vni>0</vni>',
    '<tunnel-encapsulation>gre</tunnel-encapsulation><tunnel-encapsulation>udp</tunnel-encapsulation>',
    '<security-group>8000001</security-group>',
    '<local-preference>200</local-preference><med>0</med>',
    '<load-balance-decision>field-hash</load-balance-decision>',
  ]) {
    expect(publish).toContain(part);
  }
  expect(collection).toContain(
    `<collection node="${BLUE}"><associate node="${node}" /></collection>`,
  );

  const before = control.stanzas.length;
  source.withdraw(keyOf(route(BLUE, '10.32.0.5/32', [])));
  source.withdraw(keyOf(route(RED, '10.33.0.1/32', [])));
  await control.until(() => control.stanzas.length === before + 3, 'withdrawals');
  const last = control.stanzas.slice(before).join('');
  expect(last).toContain(`<unsubscribe node="${RED}">`);
  expect(last).toContain(`<dissociate node="${node}" />`);
});

test('items, retracts and an end of rib; a shuffled list is no news', async () => {
  source.onUpdates(listen);
  source.subscribe(BLUE, 1);
  source.start();
  await control.until(() => count('EndOfRib') === 3, 'all of it');
  control.inet(BLUE, VIP, ['192.0.2.13:41', '192.0.2.11:25', '192.0.2.12:31']);
  control.inet(BLUE, VIP, ['192.0.2.12:31', '192.0.2.13:41', '192.0.2.11:25']);
  control.inet(BLUE, 'fd00::5/128', ['192.0.2.12:32'], true);
  control.evpn(BLUE, '02:aa:bb:cc:dd:05', '10.32.0.5/32', ['192.0.2.12:27']);
  control.evpn(BLUE, 'ff:ff:ff:ff:ff:ff', '0.0.0.0/32', ['192.0.2.12:28', '192.0.2.13:29']);
  control.endOfRib();
  control.retract(`1/1/${BLUE}`, VIP);
  await control.until(() => heard.length === 6, 'all of it');
  expect(heard).toEqual([
    `+${VIP} 192.0.2.11:25,192.0.2.12:31,192.0.2.13:41`,
    '+fd00::5/128 192.0.2.12:32',
    '+02:aa:bb:cc:dd:05,10.32.0.5/32 192.0.2.12:27',
    '+ff:ff:ff:ff:ff:ff 192.0.2.12:28,192.0.2.13:29',
    'end-of-rib',
    `-${VIP}`,
  ]);
  expect(routes[0]).toMatchObject({
    localPreference: 200,
    sequence: 3,
    securityGroups: [8_000_001],
  });

  // Cut, and without the other routes when it is back: they go with its end of rib and not before.
  heard.length = 0;
  control.kill();
  await control.until(() => control.connections === 2 && count('EndOfRib') === 6, 'a new session');
  control.inet(BLUE, 'fd00::5/128', ['192.0.2.12:32'], true);
  await new Promise((resolve) => setTimeout(resolve, 400));
  expect(heard).toEqual([]);
  control.endOfRib();
  await control.until(() => heard.length === 2, 'the sweep');
  expect(heard.sort()).toEqual(['-02:aa:bb:cc:dd:05,10.32.0.5/32', '-ff:ff:ff:ff:ff:ff']);
});

test('members of a set keep their ids whatever the order, and those that stay keep them when others go', async () => {
  const dataplane = new RecordingDataplane();
  const agent = new Agent({
    name: 'compute-1',
    dataplane,
    routes: source,
    underlay: {
      port: 0,
      mac: '02:00:00:00:00:11',
      ipv4: '192.0.2.11',
      neighbours: Object.fromEntries(
        [12, 13, 14].map((n) => [`192.0.2.${n}`, `02:00:00:00:00:${n}`]),
      ),
    },
    schedule: setImmediate,
    oneHop: true,
  });
  agent.addVrf({ name: BLUE });
  source.start();
  await control.until(() => count('EndOfRib') === 3, 'all of it');
  const members = () => {
    const set = agent.desired().find(({ op }) => op === 'nh_ecmp_set');
    return new Map(
      set?.op === 'nh_ecmp_set' ? set.members.map(({ label, member }) => [label, member]) : [],
    );
  };
  control.inet(BLUE, VIP, ['192.0.2.12:31', '192.0.2.13:41']);
  await control.until(() => members().size === 2, 'two members');
  const two = members();
  control.inet(BLUE, VIP, ['192.0.2.14:51', '192.0.2.13:41', '192.0.2.12:31']);
  await control.until(() => members().size === 3, 'three members');
  const three = members();
  for (const [label, member] of two) expect(three.get(label)).toBe(member);
  control.inet(BLUE, VIP, ['192.0.2.14:51', '192.0.2.12:31']);
  await control.until(() => members().size === 2, 'two members');
  for (const [label, member] of members()) expect(member).toBe(three.get(label));
  agent.close();
});
