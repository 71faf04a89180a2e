/**
 * `vrouter control` and agents that are nothing but sockets and strings (support/scripted-agent.ts), over TCP on
 * loopback: what they are told, and what their sessions are closed for.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Client } from '../../src/cli/client.ts';
import type { ControlRouteView, SessionView } from '../../src/cli/control-views.ts';
import { run } from '../../src/cli/main.ts';
import { type RunningControl, startControl } from '../../src/program/control.ts';
import { hopsIn, ScriptedAgent } from '../support/scripted-agent.ts';

const BLUE = 'default-domain:k8s-default:vn-blue:vn-blue';
const RED = 'default-domain:k8s-default:vn-red:vn-red';
const VIP = '10.96.0.10/32';

let directory: string;
let control: RunningControl;
const agents: ScriptedAgent[] = [];

async function start(more = '', xmpp = ''): Promise<void> {
  const file = join(directory, 'control.yaml');
  writeFileSync(
    file,
    `name: cent111
socket: ${directory}/exchange
cli: ${directory}/cli
log: { level: silent }
xmpp:
  listen: 127.0.0.1:0
${xmpp}
instances:
  - { name: '${BLUE}', import: ['64512:1'], export: ['64512:1'] }
  - { name: '${RED}', import: ['64512:2'], export: ['64512:2'] }
${more}`,
  );
  control = await startControl(file);
}

async function agent(name: string, options: Parameters<typeof ScriptedAgent.connect>[2] = {}) {
  const connected = await ScriptedAgent.connect(name, control.xmppPort as number, options);
  agents.push(connected);
  return connected;
}

async function ask<T>(method: string, params?: unknown): Promise<T> {
  const client = await Client.connect(`${directory}/cli`);
  try {
    return await client.call<T>(method, params);
  } finally {
    client.close();
  }
}

async function routes(instance: string): Promise<readonly ControlRouteView[]> {
  return (await ask<{ items: ControlRouteView[] }>('table.routes', { instance })).items;
}

/** What the command line prints. */
async function vrouter(...argv: string[]): Promise<string> {
  let text = '';
  const io = {
    out: (more: string) => {
      text += more;
    },
    err: (more: string) => {
      text += more;
    },
    env: {},
    fail: () => {},
  };
  await run([...argv, '--sock', `${directory}/cli`], io);
  return text;
}

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'vrouter-control-'));
});
afterEach(async () => {
  for (const a of agents.splice(0)) a.destroy();
  await control?.stop();
  rmSync(directory, { recursive: true, force: true });
});

describe('one life', () => {
  beforeEach(() => start());

  test('the header is answered as the ancestor answers it', async () => {
    const a = await agent('compute-1');
    expect(a.header).toMatch(
      /^<\?xml version='1.0'\?><stream:stream from='network-control@contrailsystems.com' to='compute-1' id='\+\+\d+' version='1.0' xml:lang='en' xmlns='jabber:client' xmlns:stream='http:\/\/etherx.jabber.org\/streams' >$/,
    );
  });

  test('subscribe, publish, ECMP, withdraw', async () => {
    const [a, b, c] = [
      await agent('compute-1'),
      await agent('compute-2'),
      await agent('compute-3'),
    ];
    for (const [i, each] of [a, b, c].entries()) each.subscribe(BLUE, i + 1);
    await c.until(() => c.endsOfRib() === 2, 'both forms of an end of rib');

    a.inet(BLUE, {
      address: VIP,
      label: 25,
      more: '<security-group-list><security-group>8000001</security-group></security-group-list><local-preference>200</local-preference><mobility seqno="3" sticky="false"/>',
    });
    const first = await c.next(`<items node="1/1/${BLUE}"`, `<item id="${VIP}"`);
    expect(hopsIn(first)).toEqual(['192.0.2.11:25']);
    expect(first).toContain('from="network-control@contrailsystems.com" to="compute-3/bgp-peer"');
    for (const part of [
      '<local-preference>200</local-preference>',
      '<med>100</med>', // follows from the local preference
      '<virtual-network>default-domain:k8s-default:vn-blue</virtual-network>',
      '<mobility seqno="3" sticky="false" />',
      '<sequence-number>3</sequence-number>',
      '<security-group>8000001</security-group>',
      '<tunnel-encapsulation>udp</tunnel-encapsulation>',
    ]) {
      expect(first).toContain(part);
    }
    expect(hopsIn(await a.next(VIP)), 'its own comes back').toEqual(['192.0.2.11:25']);
    await b.next(VIP);

    b.inet(BLUE, {
      address: VIP,
      label: 31,
      hop: '192.0.2.12',
      more: '<local-preference>200</local-preference><sequence-number>3</sequence-number>',
    });
    for (const each of [a, b, c]) {
      expect(hopsIn(await each.next(VIP))).toEqual(['192.0.2.11:25', '192.0.2.12:31']);
    }
    a.inet(BLUE, { address: VIP, label: 25 }, false);
    for (const each of [a, b, c]) expect(hopsIn(await each.next(VIP))).toEqual(['192.0.2.12:31']);
    b.inet(BLUE, { address: VIP, label: 31 }, false);
    for (const each of [a, b, c]) {
      expect(await each.next(VIP)).toContain(
        `<items node="1/1/${BLUE}"><retract id="${VIP}" /></items>`,
      );
    }
    await c.silent();
  });

  test('a higher sequence takes all the traffic, a path that lost comes back', async () => {
    const [a, b] = [await agent('compute-1'), await agent('compute-2')];
    b.subscribe(BLUE, 2);
    a.subscribe(BLUE, 1);
    a.inet(BLUE, { address: VIP, label: 25, more: '<sequence-number>1</sequence-number>' });
    expect(hopsIn(await b.next(VIP))).toEqual(['192.0.2.11:25']);
    b.inet(BLUE, { address: VIP, label: 31, hop: '192.0.2.12' });
    await b.silent();
    const [row] = await routes(BLUE);
    expect(row?.paths.map(({ peer, why, used, rd }) => [peer, why, used, rd])).toEqual([
      ['compute-1', 'best', true, '127.0.0.1:1'],
      ['compute-2', 'sequence', false, '127.0.0.1:2'],
    ]);
    a.destroy();
    expect(hopsIn(await b.next(VIP)), 'an agent that is lost takes its routes with it').toEqual([
      '192.0.2.12:31',
    ]);
  });

  test('a table that is there is told to a late subscriber, 32 items a message; 256 retracts', async () => {
    const [a, b] = [await agent('compute-1'), await agent('compute-2')];
    a.subscribe(BLUE, 1);
    for (let i = 0; i < 300; i++)
      a.inet(BLUE, { address: `10.1.${i >> 8}.${i & 255}/32`, label: 100 + i });
    await a.until(() => a.messages.join('').split('<item ').length > 300, '300 items');
    b.subscribe(BLUE, 2);
    await b.until(() => b.endsOfRib() > 0, 'end of rib');
    const events = b.messages.filter((m) => m.includes('<item '));
    expect(events.map((m) => m.split('<item ').length - 1)).toEqual([...Array(9).fill(32), 12]);
    b.messages.splice(0);
    a.unsubscribe(BLUE);
    await b.until(() => b.messages.join('').split('<retract').length > 300, '300 retracts');
    expect(b.messages.map((m) => m.split('<retract').length - 1)).toEqual([256, 44]);
    expect(b.messages.some((m) => m.includes('<item '))).toBe(false);
  });

  test('a publish alone, and one that is no path, have no effect; the session stays', async () => {
    const a = await agent('compute-1');
    a.subscribe(BLUE, 1);
    a.announce(
      `1/1/${BLUE}/10.0.0.1/32`,
      '<nlri><af>1</af><safi>1</safi><address>10.0.0.1/32</address></nlri><next-hops><next-hop><af>1</af><address>192.0.2.11</address><label>20</label></next-hop></next-hops>',
    );
    a.inet(BLUE, { address: '10.0.0.2/32', label: 0 });
    a.inet(BLUE, { address: 'nonsense', label: 17 });
    a.inet(BLUE, { address: '10.0.0.3/32', label: 17, hop: 'nowhere' });
    a.inet(BLUE, { address: '10.0.0.4/32', label: 17, more: '<med>many</med>' });
    a.collect(BLUE, `1/1/${BLUE}/10.0.0.99/32`);
    await a.silent();
    a.inet(BLUE, { address: '10.0.0.5/32', label: 17, encaps: ['carrier-pigeon'] });
    await a.silent();
    const [row] = await routes(BLUE);
    expect(row?.paths[0]).toMatchObject({ used: false, why: 'no-tunnel-encap' });
    a.collect(BLUE, `1/1/${BLUE}/10.0.0.1/32`);
    expect(await a.next('10.0.0.1/32'), 'a label without a tunnel is gre').toContain(
      '<tunnel-encapsulation>gre<',
    );
    const [session] = await ask<SessionView[]>('session.list');
    expect(session?.counters.refused).toBe(5);
  });

  test('items of families that are not carried are refused by name, and the session stays', async () => {
    const a = await agent('compute-1');
    a.subscribe(BLUE, 1);
    const hop =
      '<next-hops><next-hop><af>1</af><address>192.0.2.11</address><label>20</label></next-hop></next-hops>';
    const uncarried: [string, string][] = [
      [
        `1/4/${BLUE}/10.0.0.1/32`,
        `<nlri><af>1</af><safi>4</safi><address>10.0.0.1/32</address></nlri>${hop}`,
      ],
      [
        `1/241/${BLUE}/255.255.255.255`,
        `<nlri><af>1</af><safi>241</safi><group>255.255.255.255</group><source>0.0.0.0</source></nlri>${hop}`,
      ],
      [
        `1/5/${BLUE}/224.0.0.9`,
        `<nlri><af>1</af><safi>5</safi><group>224.0.0.9</group></nlri>${hop}`,
      ],
      [
        '25/242/02:aa:bb:cc:dd:05,0.0.0.0/32,224.0.0.9,0.0.0.0',
        `<nlri><af>25</af><safi>242</safi><mac>02:aa:bb:cc:dd:05</mac><address>0.0.0.0/32</address><group>224.0.0.9</group><source>0.0.0.0</source></nlri>${hop}`,
      ],
    ];
    for (const [node, entry] of uncarried) {
      a.announce(node, entry);
      a.collect(BLUE, node);
    }
    a.inet(BLUE, { address: VIP, label: 25 });
    await a.next(VIP);
    const [session] = await ask<SessionView[]>('session.list');
    expect(session?.counters).toMatchObject({ refused: uncarried.length, publishes: 1 });
    expect((await routes(BLUE)).map(({ prefix }) => prefix)).toEqual([VIP]);
  });

  test('subscribed without routes: publishes, hears nothing', async () => {
    const [a, b] = [await agent('compute-1'), await agent('compute-2')];
    a.subscribe(BLUE, 1, '<no-ribout>true</no-ribout>');
    b.subscribe(BLUE, 2);
    a.inet(BLUE, { address: VIP, label: 25 });
    await b.next(VIP);
    await a.silent();
  });

  test('an instance that is configured later: subscription and routes wait for it', async () => {
    const [a, b] = [await agent('compute-1'), await agent('compute-2')];
    for (const [i, each] of [a, b].entries()) each.subscribe('a:b:late:late', i + 1);
    a.inet('a:b:late:late', { address: VIP, label: 25 });
    await b.until(() => b.endsOfRib() > 0, 'end of rib: there is nothing');
    await b.silent();
    await ask('instance.add', { name: 'a:b:late:late' });
    await b.next('1/1/a:b:late:late', VIP);
    await a.next(VIP);
    await ask('instance.remove', { name: 'a:b:late:late' });
    await b.next(`<retract id="${VIP}"`);
    await ask('instance.add', { name: 'a:b:late:late' });
    expect(hopsIn(await b.next(VIP))).toEqual(['192.0.2.11:25']);
  });

  test('a target added to a live network: its routes come, and nothing else moves', async () => {
    const [a, b] = [await agent('compute-1'), await agent('compute-2')];
    a.subscribe(RED, 1);
    b.subscribe(BLUE, 2);
    a.inet(RED, { address: VIP, label: 25 });
    b.inet(BLUE, { address: '10.32.0.5/32', label: 31, hop: '192.0.2.12' });
    await a.next(VIP);
    await b.next('10.32.0.5/32');
    await ask('instance.update', {
      name: BLUE,
      import: ['64512:1', '64512:2'],
      export: ['64512:1'],
    });
    const told = await b.next(`<items node="1/1/${BLUE}"`, VIP);
    expect(told, 'of where it comes from').toContain(
      '<virtual-network>default-domain:k8s-default:vn-red</virtual-network>',
    );
    await a.silent();
    await b.silent();
    await ask('instance.update', {
      name: BLUE,
      import: ['64512:1'],
      export: ['64512:1', '64512:7'],
    });
    await b.next(`<retract id="${VIP}"`);
    await b.silent();
    await a.silent();
  });
});

describe('control show', () => {
  beforeEach(() => start());

  test('sessions, tables and routes, as text and as JSON', async () => {
    expect(await vrouter('control', 'show', 'sessions')).toBe('no agent is connected\n');
    const [a, b] = [await agent('compute-1'), await agent('compute-2')];
    a.subscribe(BLUE, 7);
    b.subscribe(BLUE, 8);
    b.subscribe('nowhere', 9);
    a.inet(BLUE, { address: VIP, label: 25, more: '<local-preference>200</local-preference>' });
    b.inet(BLUE, { address: VIP, label: 31, hop: '192.0.2.12' });
    await b.next(VIP);
    const sessions = await vrouter('control', 'show', 'sessions');
    expect(sessions).toMatch(/^compute-1 +127\.0\.0\.1 +established +no +\d+s +1 +1 +0 +0$/m);
    expect(sessions).toMatch(/^compute-2 +127\.0\.0\.1 +established +no +\d+s +2 +1 +0 +0$/m);
    const tables = await vrouter('control', 'show', 'tables');
    expect(tables).toMatch(
      new RegExp(`^${BLUE} +1 +0 +0 +2 +2 +64512:1 +64512:1 +[0-9a-f]{12}$`, 'm'),
    );
    expect(tables).toMatch(/^nowhere \(not configured\) +0 +0 +0 +0 +1 +- +- +0{12}$/m);
    expect(await vrouter('control', 'show', 'routes', BLUE)).toBe(
      `inet ${VIP}\n` +
        '  * best                   compute-1 127.0.0.1:7 192.0.2.11 label 25 (udp) lp 200 med 100 vn default-domain:k8s-default:vn-blue\n' +
        '    lost: local-preference compute-2 127.0.0.1:8 192.0.2.12 label 31 (udp) lp 100 med 200 vn default-domain:k8s-default:vn-blue\n',
    );
    const json = JSON.parse(await vrouter('control', 'show', 'routes', BLUE, '--json'));
    expect(json).toMatchObject([
      { prefix: VIP, id: VIP, paths: [{ why: 'best' }, { why: 'local-preference' }] },
    ]);
    expect(await vrouter('control', 'show', 'routes', 'nobody')).toContain("no instance 'nobody'");
  });

  test('a long table comes in pages', async () => {
    const a = await agent('compute-1');
    a.subscribe(BLUE, 1);
    for (let i = 0; i < 600; i++)
      a.inet(BLUE, { address: `10.1.${i >> 8}.${i & 255}/32`, label: 100 + i });
    await a.until(() => a.messages.join('').split('<item ').length > 600, '600 items');
    expect(await routes(BLUE)).toHaveLength(512);
    const text = await vrouter('control', 'show', 'routes', BLUE);
    expect(text.match(/^inet /gm)).toHaveLength(600);
  });
});

describe('hub and spokes', () => {
  test('spokes reach the hub and not each other', async () => {
    await start(`  - { name: hub, import: ['64512:12'], export: ['64512:11'] }
  - { name: spoke-1, import: ['64512:11'], export: ['64512:12'] }
  - { name: spoke-2, import: ['64512:11'], export: ['64512:12'] }
`);
    const [hub, one, two] = [await agent('hub'), await agent('one'), await agent('two')];
    hub.subscribe('hub', 1);
    one.subscribe('spoke-1', 1);
    two.subscribe('spoke-2', 1);
    one.inet('spoke-1', { address: '10.1.0.1/32', label: 21 });
    expect(await hub.next('1/1/hub"', '10.1.0.1/32')).toContain(
      '<virtual-network>spoke-1</virtual-network>',
    );
    await one.next('10.1.0.1/32');
    const quiet = async () => {
      for (const each of [hub, one, two]) await each.silent();
    };
    await quiet();
    hub.inet('hub', { address: '10.9.0.1/32', label: 22 });
    for (const each of [hub, one, two]) await each.next('10.9.0.1/32');
    await quiet();

    const spoke = (imports: string[], exports = ['64512:12']) =>
      ask('instance.update', { name: 'spoke-2', import: imports, export: exports });
    await spoke(['64512:11', '64512:12']);
    expect(await two.next('1/1/spoke-2"', '10.1.0.1/32')).toContain(
      '<virtual-network>spoke-1</virtual-network>',
    );
    await quiet();
    two.inet('spoke-2', { address: '10.2.0.1/32', label: 23 });
    await hub.next('10.2.0.1/32');
    await two.next('10.2.0.1/32');
    await quiet();
    // Back to a spoke: the other's route goes there, and nowhere else does anything move.
    await spoke(['64512:11']);
    await two.next('1/1/spoke-2"', '<retract id="10.1.0.1/32"');
    await quiet();
    // No target that the hub takes in: its own stays with it.
    await spoke(['64512:11'], ['64512:99']);
    await hub.next('1/1/hub"', '<retract id="10.2.0.1/32"');
    await quiet();
    expect((await routes('spoke-2')).map(({ prefix }) => prefix)).toEqual([
      '10.2.0.1/32',
      '10.9.0.1/32',
    ]);
  });
});

describe('what a session is closed for', () => {
  beforeEach(() => start('metrics: { port: 0 }'));

  const offences: [string, string, (a: ScriptedAgent) => void][] = [
    ['subscribing twice', 'XMPP_SUBSCRIBED_TWICE', (a) => a.subscribe(BLUE, 1)],
    [
      'unsubscribing from what it has not subscribed to',
      'XMPP_NOT_SUBSCRIBED',
      (a) => a.unsubscribe(RED),
    ],
    [
      'publishing where it has never subscribed',
      'XMPP_NOT_SUBSCRIBED',
      (a) => a.inet(RED, { address: VIP, label: 25 }),
    ],
    [
      'publishing after an unsubscribe',
      'XMPP_NOT_SUBSCRIBED',
      (a) => {
        a.unsubscribe(BLUE);
        a.inet(BLUE, { address: VIP, label: 25 });
      },
    ],
    ['what is not XML', 'XMPP_NOT_XML', (a) => a.send('<iq><</iq>')],
    ['a document type', 'XMPP_NOT_XML', (a) => a.send('<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">]>')],
    ['text between stanzas', 'XMPP_NOT_FILLER', (a) => a.send('hello')],
    ['a second header', 'XMPP_NOT_XML', (a) => a.open()],
    ['the end of the stream', 'XMPP_LOST', (a) => a.send('</stream:stream>')],
  ];
  test.each(offences)('%s', async (_what, code, offend) => {
    const [a, other] = [await agent('compute-1'), await agent('compute-2')];
    a.subscribe(BLUE, 1);
    other.subscribe(BLUE, 2);
    a.inet(BLUE, { address: '10.0.0.1/32', label: 25 });
    await other.next('10.0.0.1/32');
    offend(a);
    await a.gone();
    expect(a.rest).toContain('</stream:stream>');
    const page = await fetch(`http://127.0.0.1:${control.metricsPort}/metrics`);
    expect(await page.text()).toContain(`vrouter_control_sessions_ended_total{code="${code}"`);
    await other.next('<retract id="10.0.0.1/32"');
    other.inet(BLUE, { address: '10.0.0.2/32', label: 25 });
    await other.next('10.0.0.2/32');
    expect(other.closed, 'the other session is untouched').toBe(false);
    // And the name is free.
    const back = await agent('compute-1');
    back.subscribe(BLUE, 1);
    await back.next('10.0.0.2/32');
  });

  test('a name that is taken: from another address the newcomer goes, from the same both do', async () => {
    const a = await agent('compute-1');
    const thief = await agent('compute-1', { localAddress: '127.0.0.2' });
    await thief.gone();
    await a.silent();
    expect(a.closed).toBe(false);
    const again = await agent('compute-1');
    await again.gone();
    await a.gone();
    const third = await agent('compute-1');
    third.subscribe(BLUE, 1);
    await third.until(() => third.endsOfRib() > 0, 'end of rib');
  });

  test('filler between stanzas is none of it', async () => {
    const a = await agent('compute-1');
    a.send(' \n\r\t\u0200\u0200');
    a.subscribe(BLUE, 1);
    await a.until(() => a.endsOfRib() > 0, 'end of rib');
  });
});

describe('times', () => {
  test('keepalives come, and a silent agent is lost', async () => {
    await start('', '  hold_seconds: 1');
    const a = await agent('compute-1');
    await a.until(() => a.keepalives >= 2, 'two keepalives');
    await a.gone();
    expect(await ask('session.list')).toEqual([]);
  });

  test('an agent that is lost is waited for: its routes stay, and what it does not say again goes', async () => {
    await start('', '  restart_seconds: 2\n  end_of_rib_seconds: 300');
    const [a, b] = [await agent('compute-1'), await agent('compute-2')];
    a.subscribe(BLUE, 1);
    a.subscribe(RED, 2);
    b.subscribe(BLUE, 1);
    b.subscribe(RED, 2);
    a.inet(BLUE, { address: '10.0.0.1/32', label: 25 });
    a.inet(BLUE, { address: '10.0.0.2/32', label: 26 });
    a.inet(RED, { address: '10.0.0.3/32', label: 27 });
    await b.until(() => b.messages.join('').split('<item ').length === 4, 'three routes');
    b.messages.splice(0);
    a.destroy();
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(await ask<SessionView[]>('session.list')).toMatchObject([
      { name: 'compute-1', state: 'awaited', routes: 3 },
      { name: 'compute-2' },
    ]);
    const back = await agent('compute-1');
    back.subscribe(BLUE, 1);
    back.inet(BLUE, { address: '10.0.0.1/32', label: 25 });
    await back.until(
      () => back.messages.join('').includes('10.0.0.2/32'),
      'what is stale is told, too',
    );
    expect(b.messages, 'and nobody else has heard a word').toEqual([]);
    back.endOfRib();
    await b.until(() => b.messages.join('').split('<retract').length === 3, 'two retracts');
    expect(b.messages.join('')).toContain('<retract id="10.0.0.2/32"');
    expect(b.messages.join('')).toContain('<retract id="10.0.0.3/32"');
    expect(b.messages.join('')).not.toContain('10.0.0.1/32');
  });

  test('one that does not come back in time is gone', async () => {
    await start('', '  restart_seconds: 1');
    const [a, b] = [await agent('compute-1'), await agent('compute-2')];
    for (const each of [a, b]) each.subscribe(BLUE, 1);
    a.inet(BLUE, { address: VIP, label: 25 });
    await b.next(VIP);
    a.destroy();
    await b.silent(500);
    await b.next('<retract');
    expect(await ask<SessionView[]>('session.list')).toHaveLength(1);
  });
});

describe('EVPN and inet6', () => {
  beforeEach(() => start());

  test('MAC and address, under the name that its VNI gives it', async () => {
    const [a, b] = [await agent('compute-1'), await agent('compute-2')];
    for (const each of [a, b]) each.subscribe(BLUE, 1);
    const mac = '02:aa:bb:cc:dd:05';
    a.evpn(BLUE, { mac, address: '10.32.0.5/32', label: 27 });
    await b.next(
      `<items node="25/242/${BLUE}"`,
      `<item id="${mac},10.32.0.5/32"`,
      '<l3-label>0</l3-label>',
    );
    a.evpn(BLUE, { mac, address: '10.32.0.5/32', label: 5001, tag: 5001, encaps: 'vxlan' });
    await b.next(`<retract id="${mac},10.32.0.5/32"`);
    await b.next(`<item id="5001-${mac},10.32.0.5/32"`, '<ethernet-tag>5001</ethernet-tag>');
    a.evpn(BLUE, {
      mac: '00:00:00:00:00:00',
      address: '10.40.0.0/16',
      label: 5002,
      tag: 5002,
      encaps: 'vxlan',
    });
    await b.next('<item id="5002-00:00:00:00:00:00,10.40.0.0/16"');
    a.evpn(BLUE, { mac, address: '0.0.0.0/0', label: 28 });
    await b.next(`<item id="${mac},0.0.0.0/32"`);
    a.inet(BLUE, { address: 'FD00:0::5/128', label: 29 });
    await b.next(`<items node="2/1/${BLUE}"`, '<item id="fd00::5/128"', '<af>2</af>');
  });

  test('broadcasts: each who takes part is told of the others', async () => {
    const all = [await agent('compute-1'), await agent('compute-2'), await agent('compute-3')];
    const listener = await agent('compute-4');
    for (const each of [...all, listener]) each.subscribe(BLUE, 1);
    const [a, b, c] = all as [ScriptedAgent, ScriptedAgent, ScriptedAgent];
    const join = (of: ScriptedAgent, n: number, add = true) =>
      of.evpn(
        BLUE,
        { mac: 'ff:ff:ff:ff:ff:ff', address: '0.0.0.0/32', label: 40 + n, hop: `192.0.2.${n}` },
        add,
      );
    join(a, 1);
    await a.silent();
    join(b, 2);
    const toA = await a.next('<item id="ff:ff:ff:ff:ff:ff,0.0.0.0/32"', '<olist>');
    expect(toA).not.toContain('<next-hops>');
    expect(hopsIn(toA)).toEqual(['192.0.2.2:42']);
    expect(hopsIn(await b.next('<olist>'))).toEqual(['192.0.2.1:41']);
    join(c, 3);
    expect(hopsIn(await a.next('<olist>'))).toEqual(['192.0.2.2:42', '192.0.2.3:43']);
    expect(hopsIn(await b.next('<olist>'))).toEqual(['192.0.2.1:41', '192.0.2.3:43']);
    expect(hopsIn(await c.next('<olist>'))).toEqual(['192.0.2.1:41', '192.0.2.2:42']);
    join(b, 2, false);
    expect(hopsIn(await a.next('<olist>'))).toEqual(['192.0.2.3:43']);
    await b.next('<retract id="ff:ff:ff:ff:ff:ff,0.0.0.0/32"');
    c.destroy();
    await a.next('<retract id="ff:ff:ff:ff:ff:ff,0.0.0.0/32"');
    await listener.silent();
  });
});

describe('a message trace', () => {
  type Traced = { number: number; way: string; text: string };
  const traced = async (agent: string, after = 0) =>
    (await ask<{ messages: Traced[] }>('session.trace', { agent, after })).messages;

  test('has both ways from the first question on, over sessions, and of no other agent', async () => {
    await start();
    const [a, b] = [await agent('compute-1'), await agent('compute-2')];
    a.subscribe(BLUE, 1);
    await a.until(() => a.endsOfRib() === 2, 'ends of rib');
    expect(await traced('compute-1')).toEqual([]); // nobody looked until now
    await expect(traced('compute-9')).rejects.toMatchObject({ code: 'NOT_FOUND' });

    b.subscribe(BLUE, 2);
    b.inet(BLUE, { address: VIP, label: 31, hop: '192.0.2.12' });
    await a.next(VIP);
    a.unsubscribe(BLUE);
    await expect.poll(async () => (await traced('compute-1')).length).toBeGreaterThan(1);
    const first = await traced('compute-1');
    expect(first[0]).toMatchObject({ number: 1, way: 'out' });
    expect(first[0]?.text).toContain('to="compute-1/bgp-peer"');
    expect(first[0]?.text).toContain('<label>31</label>');
    const unsubscribe = first.find(({ way }) => way === 'in');
    expect(unsubscribe?.text).toContain(`<unsubscribe node='${BLUE}'`);
    expect(await traced('compute-1', first.at(-1)?.number)).toEqual([]);

    a.destroy();
    await expect.poll(async () => (await ask<SessionView[]>('session.list')).length).toBe(1);
    const again = await agent('compute-1');
    again.subscribe(RED, 7);
    await expect
      .poll(async () => (await traced('compute-1')).some(({ text }) => text.includes(RED)))
      .toBe(true);

    again.inet(RED, { address: VIP, label: 25 });
    const printed = await vrouter('control', 'trace', 'compute-1', '--count', '2');
    expect(printed).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z > .*<label>31<\/label>/);
    expect(printed.trimEnd().split('\n')).toHaveLength(2);
  });
});

describe('metrics', () => {
  const page = async (path: string) => {
    const answer = await fetch(`http://127.0.0.1:${control.metricsPort}${path}`);
    return { status: answer.status, text: await answer.text() };
  };
  /** The value of a series, or undefined where there is none. */
  const value = async (name: string, ...labels: string[]) => {
    const lines = (await page('/metrics')).text.split('\n');
    const line = lines.find(
      (each) => each.startsWith(`${name}{`) && labels.every((label) => each.includes(label)),
    );
    return line === undefined ? undefined : Number(line.split(' ').at(-1));
  };

  test('say what agents have published and how sessions ended, and nothing of an agent that is gone', async () => {
    await start('metrics: { port: 0 }');
    expect((await page('/readyz')).text).toBe('ready\n');
    expect((await page('/elsewhere')).status).toBe(404);
    expect(await value('vrouter_control_instances')).toBe(2);
    const [a, b] = [await agent('compute-1'), await agent('compute-2')];
    for (const each of [a, b]) each.subscribe(BLUE, 1);
    a.inet(BLUE, { address: VIP, label: 25 });
    await b.next(VIP);
    b.inet(BLUE, { address: VIP, label: 0, hop: '192.0.2.12' }); // no label is 0
    await expect.poll(() => value('vrouter_control_items_refused_total')).toBe(1);

    expect(await value('vrouter_control_sessions', 'state="established"')).toBe(2);
    expect(await value('vrouter_control_agent_up', 'agent="compute-1"')).toBe(1);
    expect(await value('vrouter_control_agent_paths', 'agent="compute-1"')).toBe(1);
    expect(await value('vrouter_control_agent_paths', 'agent="compute-2"')).toBe(0);
    expect(await value('vrouter_control_prefixes', 'family="inet"')).toBe(1);
    expect(await value('vrouter_control_paths')).toBe(1);
    const subscribes = ['agent="compute-2"', 'kind="subscribes"'];
    expect(await value('vrouter_control_agent_said_total', ...subscribes)).toBe(1);

    a.destroy();
    await expect
      .poll(() => value('vrouter_control_sessions_ended_total', 'code="XMPP_LOST"'))
      .toBe(1);
    expect(await value('vrouter_control_agent_up', 'agent="compute-1"')).toBeUndefined();
    expect(await value('vrouter_control_paths')).toBe(0);
  });
});
