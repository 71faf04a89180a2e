/**
 * Hostile streams into a control node with other agents on it: whatever comes, a session stays or is closed with a
 * code of the exchange, the others are told what they should be, and nothing else is thrown. Streams are of this
 * process; big ones go over TCP, in test/scenario/control-hostile.test.ts.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ControlAgents } from '../../src/control/agents.ts';
import { VIRTUAL_ROUTERS } from '../../src/control/config-agent.ts';
import { ConfigTables } from '../../src/control/config-tables.ts';
import { RouteTables } from '../../src/control/tables.ts';
import { type MemoryStream, streamPair } from '../../src/sim/streams.ts';
import { XMPP_FAULTS } from '../../src/xmpp/faults.ts';
import { STANZA_MS } from '../../src/xmpp/limits.ts';
import { CONTROL_NAME, writeClientHeader } from '../../src/xmpp/stream.ts';
import { PatientClock } from '../support/virtual-time.ts';
import {
  CONFIG,
  collection,
  EMPTY_PUBLISH,
  EVENTS,
  PUBLISHES,
  SUBSCRIPTIONS,
  VRF,
} from '../unit/xmpp/messages.ts';

const HEADER = writeClientHeader({ from: 'hostile', to: CONTROL_NAME });
const subscribe = `<iq type="set" from="a" to="${CONTROL_NAME}/bgp-peer"><pubsub><subscribe node="${VRF}"/></pubsub></iq>`;
const associate = (node: string) =>
  `<iq type="set" from="a" to="${CONTROL_NAME}/bgp-peer"><pubsub><collection node="${VRF}"><associate node="${node}"/></collection></pubsub></iq>`;
const nodeIn = (text: string): string => /publish node="([^"]*)"/.exec(text)?.[1] ?? '';
const configure = (node: string, what = 'subscribe') =>
  `<iq type="set" from="a" to="${CONTROL_NAME}/config"><pubsub><${what} node="${node}"/></pubsub></iq>`;
const OWN = `virtual-router:${VIRTUAL_ROUTERS}hostile`;
const PARTS = [
  configure(OWN),
  configure(OWN, 'unsubscribe'),
  configure('virtual-machine:m'),
  configure('virtual-machine:', 'unsubscribe'),
  configure(`virtual-router:${VIRTUAL_ROUTERS}good`),
  HEADER,
  subscribe,
  ...PUBLISHES.map(([, text]) => text + associate(nodeIn(text))),
  ...[...SUBSCRIPTIONS, ...EVENTS].map(([, text]) => text),
  EMPTY_PUBLISH,
  collection('0/0/EndOfRib', 'associate'),
  CONFIG,
  '</stream:stream>',
  "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
  '\u0200 \n',
  '<iq/>',
  '<message to="x/bgp-peer"><event/></message>',
  '<!-- a comment -->',
  '<![CDATA[x]]>',
  '&lol;',
];

interface Stage {
  readonly clock: PatientClock;
  readonly config: ConfigTables;
  readonly agents: ControlAgents;
  readonly log: string[];
  readonly good: { readonly near: MemoryStream; text: string };
}

async function stage(): Promise<Stage> {
  const clock = new PatientClock();
  const tables = new RouteTables({ schedule: (run) => clock.after(0, run) });
  tables.createInstance({ name: VRF });
  const log: string[] = [];
  const config = new ConfigTables({ schedule: (run) => clock.after(0, run) });
  config.apply([
    {
      kind: 'node',
      node: { type: 'virtual-router', name: `${VIRTUAL_ROUTERS}hostile`, properties: {} },
    },
  ]);
  const agents = new ControlAgents(tables, {
    clock,
    config,
    onSession: (name, _address, state, error) => {
      if (state === 'down') log.push(`${name} ${error?.code}`);
    },
    onStranger: (_address, error) => log.push(`? ${error.code}`),
  });
  const [near, far] = streamPair(clock);
  const good = { near, text: '' };
  near.listen({
    data: (bytes) => {
      good.text += Buffer.from(bytes).toString();
    },
    drained() {},
    closed() {},
  });
  agents.accept(far);
  near.write([HEADER.replace('hostile', 'good'), subscribe]);
  await clock.settle();
  return { clock, config, agents, log, good };
}

/** A hostile stream of these bytes, then the good agent's route. */
async function play(bytes: Uint8Array, sizes: readonly number[]): Promise<void> {
  const { clock, config, agents, log, good } = await stage();
  const [near, far] = streamPair(clock, ['192.0.2.66', '192.0.2.1']);
  near.listen({ data() {}, drained() {}, closed() {} });
  agents.accept(far);
  for (let from = 0, i = 0; from < bytes.length; i++) {
    const size = sizes[i % sizes.length] as number;
    near.write([bytes.subarray(from, from + size)]);
    from += size;
    if (i % 7 === 0) await clock.settle();
  }
  await clock.settle();
  for (const line of log) {
    const [who, code = ''] = line.split(' ');
    expect(who, line).not.toBe('good');
    expect(Object.keys(XMPP_FAULTS), line).toContain(code);
  }
  good.near.write([
    `<iq to="${CONTROL_NAME}/bgp-peer"><pubsub><publish node="1/1/${VRF}/10.99.0.1/32"><item><entry><nlri><af>1</af><safi>1</safi><address>10.99.0.1/32</address></nlri><next-hops><next-hop><af>1</af><address>192.0.2.9</address><label>99</label></next-hop></next-hops></entry></item></publish></pubsub></iq>`,
    associate(`1/1/${VRF}/10.99.0.1/32`),
  ]);
  await clock.settle();
  expect(good.text).toContain('<item id="10.99.0.1/32">');
  // The hostile one is gone, or may go on; either way its end takes what it said.
  near.cut();
  await clock.settle();
  expect(agents.sessions().map(({ name }) => name)).toEqual(['good']);
  expect(config.readers().map(({ name }) => name)).toEqual(['good']);
  expect(good.text, 'it has not asked').not.toContain('<config');
  agents.close();
}

test('one that drips bytes is closed with a code, and the others are served meanwhile', async () => {
  const { clock, agents, log, good } = await stage();
  const [near, far] = streamPair(clock, ['192.0.2.66', '192.0.2.1']);
  near.listen({ data() {}, drained() {}, closed() {} });
  agents.accept(far);
  near.write([HEADER, subscribe]);
  await clock.settle();
  const drip = `<iq to="${CONTROL_NAME}/bgp-peer"><pubsub>${'<a/>'.repeat(1000)}`;
  for (let second = 0; log.length === 0; second++) {
    expect(second).toBeLessThanOrEqual(STANZA_MS / 1000);
    near.write([drip.slice(second, second + 1)]);
    const prefix = `10.99.0.${second}/32`;
    good.near.write([
      `<iq to="${CONTROL_NAME}/bgp-peer"><pubsub><publish node="1/1/${VRF}/${prefix}"><item><entry><nlri><af>1</af><safi>1</safi><address>${prefix}</address></nlri><next-hops><next-hop><af>1</af><address>192.0.2.9</address><label>99</label></next-hop></next-hops></entry></item></publish></pubsub></iq>`,
      associate(`1/1/${VRF}/${prefix}`),
    ]);
    await clock.pass(1000);
    expect(good.text).toContain(`<item id="${prefix}">`);
  }
  expect(log).toEqual(['hostile XMPP_STANZA_TIME']);
  expect(agents.sessions().map(({ name }) => name)).toEqual(['good']);
  await agents.close();
});

const sizes = fc.array(fc.integer({ min: 1, max: 3000 }), { minLength: 1, maxLength: 5 });

test('parts of streams in any order, cut anywhere', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.constantFrom(...PARTS), { maxLength: 12 }),
      fc.boolean(),
      sizes,
      async (parts, open, cuts) => {
        const text = (open ? HEADER + subscribe : '') + parts.join('');
        await play(Buffer.from(text), cuts);
      },
    ),
    { numRuns: 150 },
  );
});

test('mutated and truncated streams', async () => {
  const mutation = fc.record({
    at: fc.nat(1 << 16),
    byte: fc.integer({ min: 0, max: 255 }),
    kind: fc.constantFrom('set', 'insert', 'delete'),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.constantFrom(...PARTS), { minLength: 1, maxLength: 8 }),
      fc.array(mutation, { minLength: 1, maxLength: 6 }),
      fc.nat(1 << 16),
      sizes,
      async (parts, mutations, end, cuts) => {
        const bytes = [...Buffer.from(HEADER + subscribe + parts.join(''))];
        for (const { at, byte, kind } of mutations) {
          const place = at % bytes.length;
          if (kind === 'set') bytes[place] = byte;
          else bytes.splice(place, kind === 'delete' ? 1 : 0, ...(kind === 'delete' ? [] : [byte]));
        }
        await play(
          Uint8Array.from(end % 3 === 0 ? bytes.slice(0, end % bytes.length) : bytes),
          cuts,
        );
      },
    ),
    { numRuns: 200 },
  );
});
