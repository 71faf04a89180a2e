/** An agent's end of the configuration channel: whom it asks, what it asks for, and when what is known changes. */
import { beforeEach, describe, expect, test } from 'vitest';
import { ConfigClient } from '../../../src/xmpp/config-client.ts';
import { configElements } from '../../support/config-graph.ts';
import { CONFIGURATION, configIqs, link, name, VM, VMI } from '../../support/config-text.ts';
import { PatientClock } from '../../support/virtual-time.ts';

const QUIET = 15_000;
let clock: PatientClock;
let client: ConfigClient;
let sent: string[];
let changes: number;
let refused: string[];

beforeEach(() => {
  clock = new PatientClock();
  [sent, refused, changes] = [[], [], 0];
  client = new ConfigClient({
    name: 'compute-1',
    control: 'network-control@contrailsystems.com',
    clock,
    send: (control, text) => sent.push(`${control} ${text}`),
    onRefused: (_, item) => refused.push(`${item.name}: ${item.reason}`),
  });
  client.onChange(() => changes++);
});

function say(
  control: string,
  updates: readonly string[],
  deletes: readonly string[] = [],
  marks = '',
) {
  for (const iq of configIqs(updates, deletes, marks))
    for (const config of configElements(iq)) client.take(control, config);
}
const END = ' version="7" end-of-snapshot="true"';
const objects = () => client.graph.nodes().map((node) => `${node.type} ${node.name}`);

test('to the letter: itself, then machines, once each; again in the next session', () => {
  client.wantMachine(VM);
  client.wantMachine(VM);
  client.up('a');
  const subscribe = (node: string, what = 'subscribe') =>
    `a <iq type="set" from="compute-1" to="network-control@contrailsystems.com/config"><pubsub xmlns="http://jabber.org/protocol/pubsub"><${what} node="${node}" /></pubsub></iq>`;
  const first = [
    subscribe('virtual-router:default-global-system-config:compute-1'),
    subscribe(`virtual-machine:${VM}`),
  ];
  expect(sent).toEqual(first);
  client.wantMachine('other');
  client.leaveMachine(VM);
  expect(sent.slice(2)).toEqual([subscribe('virtual-machine:other')]);
  client.leaveMachine(VM);
  expect(sent.slice(3)).toEqual([subscribe(`virtual-machine:${VM}`, 'unsubscribe')]);
  client.down('a');
  client.leaveMachine('other'); // nobody to be told
  sent.length = 0;
  client.up('a');
  expect(sent).toEqual(first.slice(0, 1));
});

test('the first that has a session is asked; on its loss the other; what the other says before is not taken', () => {
  client.up('a');
  client.up('b');
  expect(sent).toHaveLength(1);
  say('b', [name('virtual-machine', 'x')]);
  expect(client.standing()).toMatchObject({ control: 'a', state: 'learning', ignored: 1 });
  expect(objects()).toEqual([]);
  client.down('a');
  expect(sent).toHaveLength(2);
  expect(sent[1]).toMatch(/^b /);
  client.up('a'); // back, and the other one goes on
  expect(client.standing().control).toBe('b');
  client.down('b');
  expect(client.standing().control).toBe('a');
});

describe("a control node of the ancestor's kind", () => {
  test('what it says counts at once; the end is 15 s after its last word', async () => {
    client.up('a');
    say('a', CONFIGURATION.slice(0, 3));
    expect(objects()).toHaveLength(3);
    await clock.pass(QUIET - 1);
    say('a', [name('virtual-machine', 'late')]);
    await clock.pass(QUIET - 1);
    expect(client.standing().state).toBe('learning');
    const before = changes;
    await clock.pass(1);
    expect(client.standing()).toMatchObject({ state: 'settled', version: undefined });
    expect(changes).toBe(before + 1);
  });

  test('a new session: what is not said again goes at the end and not before', async () => {
    client.up('a');
    say('a', [name('virtual-machine', 'x'), name('virtual-machine', 'y')]);
    await clock.pass(QUIET);
    client.down('a');
    expect(client.standing()).toMatchObject({ control: undefined, state: 'headless' });
    expect(objects()).toHaveLength(2);
    client.up('a');
    say('a', [name('virtual-machine', 'y')]);
    await clock.pass(QUIET - 1);
    expect(objects()).toEqual(['virtual-machine x', 'virtual-machine y']);
    await clock.pass(1);
    expect(objects()).toEqual(['virtual-machine y']);
    expect(client.standing().swept).toBe(1);
  });

  test('one that says nothing has said so after 100 s, one that never stops after 900 s', async () => {
    client.up('a');
    say('a', [name('virtual-machine', 'x')]);
    await clock.pass(QUIET);
    client.down('a');
    client.up('a');
    await clock.pass(99_999);
    expect(objects()).toHaveLength(1);
    await clock.pass(1);
    expect(objects()).toHaveLength(0);
    client.down('a');
    client.up('a');
    for (let s = 0; s < 890; s += 10) {
      say('a', [name('virtual-machine', 'z')]);
      await clock.pass(10_000);
    }
    expect(client.standing().state).toBe('learning');
    await clock.pass(10_000);
    expect(client.standing().state).toBe('settled');
  });

  test('what it takes back while it tells is gone, old or new', async () => {
    client.up('a');
    say('a', [name('virtual-machine', 'x')]);
    await clock.pass(QUIET);
    client.down('a');
    client.up('a');
    say(
      'a',
      [name('virtual-machine', 'y')],
      [name('virtual-machine', 'x'), name('virtual-machine', 'y')],
    );
    expect(objects()).toEqual([]);
    await clock.pass(QUIET);
    expect(objects()).toEqual([]);
  });
});

describe('a control node of this house', () => {
  test('nothing counts before the end of its snapshot, and then all of it at once', () => {
    client.up('a');
    say('a', CONFIGURATION.slice(0, 16), [], ' version="6"');
    expect(objects()).toEqual([]);
    say('a', CONFIGURATION.slice(16), [], END);
    expect(client.graph.size).toBe(14);
    expect(client.graph.linkCount).toBe(14);
    expect(client.standing()).toMatchObject({ state: 'settled', version: 7 });
    say('a', [], [name('virtual-machine', VM)], ' version="8"');
    expect(client.standing()).toMatchObject({ state: 'settled', version: 8 });
    expect(client.graph.size).toBe(13);
  });

  test('its silence is no end', async () => {
    client.up('a');
    say('a', [name('virtual-machine', 'x')], [], ' version="1"');
    await clock.pass(QUIET * 2);
    expect(client.standing().state).toBe('learning');
  });

  test('one that is lost before its end has said nothing', () => {
    client.up('a');
    say('a', [name('virtual-machine', 'x')], [], END);
    client.down('a');
    client.up('a');
    say('a', [name('virtual-machine', 'y')], [], ' version="9"');
    client.down('a');
    expect(objects()).toEqual(['virtual-machine x']);
  });

  test('an end without a word takes everything', () => {
    client.up('a');
    say('a', [name('virtual-machine', 'x')], [], END);
    client.down('a');
    client.up('a');
    for (const config of configElements(`<iq><config${END}></config></iq>`))
      client.take('a', config);
    expect(objects()).toEqual([]);
  });
});

test('a list that cannot be read lets nothing pass; it is named', () => {
  client.up('a');
  const list = (action: string) =>
    name(
      'access-control-list',
      'acl',
      `<access-control-list-entries><acl-rule><action-list><simple-action>${action}</simple-action></action-list></acl-rule></access-control-list-entries>`,
    );
  const joined = link(
    'virtual-network-access-control-list',
    ['virtual-network', 'vn'],
    ['access-control-list', 'acl'],
  );
  say('a', [name('virtual-network', 'vn'), list('pass'), joined]);
  expect(client.graph.node('access-control-list', 'acl')?.properties.entries?.rules).toHaveLength(
    1,
  );
  say('a', [list('perhaps')]);
  expect(client.graph.node('access-control-list', 'acl')?.properties).toEqual({});
  expect(client.graph.neighbours({ type: 'virtual-network', name: 'vn' })).toHaveLength(1);
  expect(refused).toEqual([expect.stringContaining('access-control-list acl: ')]);
  expect(client.standing().refused).toBe(1);
});

test('one that goes on and on is refused by name; what fits stays, and the session, too', () => {
  client = new ConfigClient({
    name: 'compute-1',
    control: 'c',
    clock,
    send: () => {},
    limits: { objects: 2, links: 1 },
    onRefused: (_, item) => refused.push(item.name),
  });
  client.up('a');
  say('a', CONFIGURATION);
  expect(client.graph.size).toBe(2);
  expect(client.graph.linkCount).toBe(1);
  expect(refused).toHaveLength(CONFIGURATION.length - 3);
  expect(refused[0]).toBe(`virtual-machine-interface ${VMI}`);
  expect(refused.at(-1)).toMatch(
    /^security-group-access-control-list access-control-list .* security-group /,
  );
  expect(client.standing().control).toBe('a');
});

test('nothing is told to nobody: after close', async () => {
  client.up('a');
  say('a', [name('virtual-machine', 'x')]);
  const before = changes;
  client.close();
  client.down('a');
  await clock.pass(1_000_000);
  expect(changes).toBe(before);
});
