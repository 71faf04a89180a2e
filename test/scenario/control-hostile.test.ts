/**
 * What is too big or too slow, over TCP: a stanza of 100 MB, entities that multiply, a table for an agent that does
 * not read. The session is closed with a code, memory stays bounded, and another agent on the same control node goes
 * on being served meanwhile.
 */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ControlAgents } from '../../src/control/agents.ts';
import { RouteTables } from '../../src/control/tables.ts';
import { BLOCKED_BYTES, XML_LIMITS } from '../../src/xmpp/limits.ts';
import { listenStreams, type StreamListening } from '../../src/xmpp/transport/sockets.ts';
import { ScriptedAgent } from '../support/scripted-agent.ts';

const BLUE = 'blue';
let agents: ControlAgents;
let tables: RouteTables;
let listening: StreamListening;
let port: number;
let log: string[];
const open: ScriptedAgent[] = [];

beforeEach(async () => {
  log = [];
  tables = new RouteTables({ schedule: setImmediate });
  tables.createInstance({ name: BLUE });
  agents = new ControlAgents(tables, {
    onSession: (name, _address, state, error) => {
      if (state === 'down') log.push(`${name} ${error?.code}`);
    },
    onStranger: (_address, error) => log.push(`? ${error.code}`),
  });
  listening = await listenStreams({
    host: '127.0.0.1',
    port: 0,
    accept: (stream) => agents.accept(stream),
  });
  port = listening.port;
});
afterEach(async () => {
  for (const agent of open.splice(0)) agent.destroy();
  agents.close();
  await listening.close();
});

async function connect(name: string, options = {}): Promise<ScriptedAgent> {
  const agent = await ScriptedAgent.connect(name, port, options);
  open.push(agent);
  return agent;
}

/** Writes until it is written or the other side has closed; how much went out. */
async function pour(agent: ScriptedAgent, chunk: string, total: number): Promise<number> {
  let sent = 0;
  const { socket } = agent;
  while (sent < total && !agent.closed && socket.writable) {
    const more = socket.write(chunk);
    sent += chunk.length;
    if (!more) {
      await new Promise<void>((resolve) => {
        socket.once('drain', resolve);
        socket.once('close', () => resolve());
      });
    }
  }
  return sent;
}

/** Serves the others as if nothing were. */
async function unharmed(agent: ScriptedAgent, label: number): Promise<void> {
  agent.inet(BLUE, { address: '10.0.0.1/32', label });
  await agent.until(
    () => agent.messages.some((m) => m.includes(`<label>${label}</label>`)),
    'its route',
  );
}

test.each([
  ['text', '<iq to="x/bgp-peer"><pubsub>', 'x'.repeat(1 << 16), 'XMPP_STANZA_TOO_LONG'],
  ['elements', '<iq to="x/bgp-peer"><pubsub>', '<a/>'.repeat(1 << 14), 'XMPP_TOO_MANY_ELEMENTS'],
  ['depth', '<iq to="x/bgp-peer"><pubsub>', '<a>'.repeat(1 << 14), 'XMPP_TOO_DEEP'],
  [
    'one element after another, big',
    '<iq to="x/bgp-peer"><pubsub>',
    `<a>${'y'.repeat(60_000)}</a>`,
    'XMPP_STANZA_TOO_LONG',
  ],
  ['an attribute', '<iq to="', 'x'.repeat(1 << 16), 'XMPP_'],
  ['a comment', '<!--', 'x'.repeat(1 << 16), 'XMPP_STANZA_TOO_LONG'],
])('100 MB of %s', async (_what, start, chunk, code) => {
  const [good, bad] = [await connect('good'), await connect('bad')];
  good.subscribe(BLUE, 1);
  await unharmed(good, 20);
  const before = process.memoryUsage().rss;
  bad.send(start);
  const sent = pour(bad, chunk, 100e6);
  await unharmed(good, 21);
  expect(await sent, 'most of it is never taken').toBeLessThan(50e6);
  await bad.gone();
  await good.until(() => log.length > 0, 'a code');
  expect(log[0]).toMatch(new RegExp(`^bad ${code}`));
  // What the kernel and the sockets of this very process hold is some megabytes of it.
  expect(process.memoryUsage().rss - before).toBeLessThan(40 * XML_LIMITS.stanzaBytes);
  await unharmed(good, 22);
});

test('a billion laughs are a document type, and that is the end of it', async () => {
  const [good, bad] = [await connect('good'), await connect('bad', { open: false })];
  good.subscribe(BLUE, 1);
  const entities = Array.from(
    { length: 9 },
    (_, i) => `<!ENTITY l${i + 1} "${`&l${i};`.repeat(10)}">`,
  );
  bad.send(
    `<?xml version='1.0'?><!DOCTYPE x [<!ENTITY l0 "lol">${entities.join('')}]><stream:stream from='&l9;' to='y'>`,
  );
  await bad.gone();
  expect(log).toEqual(['? XMPP_FORBIDDEN_XML']);
  const late = await connect('late');
  late.send('<iq to="x/bgp-peer"><pubsub>&l9;</pubsub></iq>');
  await late.gone();
  expect(log[1]).toBe('late XMPP_NOT_XML');
  await unharmed(good, 20);
});

test('an agent that does not read holds keys, not texts; when it reads, it has the table as it is', async () => {
  const [good, lazy] = [await connect('good'), await connect('lazy')];
  good.subscribe(BLUE, 1);
  lazy.subscribe(BLUE, 2);
  await lazy.until(() => lazy.endsOfRib() > 0, 'end of rib');
  lazy.socket.pause();
  const ROUTES = 300;
  const communities = '<community-tag>64512:55</community-tag>'.repeat(100);
  const more = `<community-tag-list>${communities}</community-tag-list>`;
  let most = 0;
  for (let round = 0; round < 10; round++) {
    for (let i = 0; i < ROUTES; i++) {
      good.inet(BLUE, {
        address: `10.1.${i >> 8}.${i & 255}/32`,
        label: 1000 * (round + 1) + i,
        more,
      });
    }
    const last = 1000 * (round + 1) + ROUTES - 1;
    await good.until(
      () => good.messages.some((m) => m.includes(`<label>${last}</label>`)),
      `round ${round}`,
      20_000,
    );
    good.messages.splice(0);
    most = Math.max(most, agents.sessions().find(({ name }) => name === 'lazy')?.waitingBytes ?? 0);
  }
  expect(log).toEqual([]);
  expect(most, 'it was behind').toBeGreaterThan(BLOCKED_BYTES);
  expect(most).toBeLessThan(4 * BLOCKED_BYTES);
  lazy.messages.splice(0);
  lazy.socket.resume();
  const labels = new Map<string, string>();
  await lazy.until(
    () => {
      for (const message of lazy.messages.splice(0)) {
        for (const [, id, label] of message.matchAll(
          /<item id="(.*?)">.*?<label>(\d+)<\/label>/gs,
        )) {
          labels.set(id as string, label as string);
        }
      }
      return labels.size === ROUTES && [...labels.values()].every((label) => Number(label) > 9999);
    },
    'the table as it is',
    20_000,
  );
}, 60_000);
