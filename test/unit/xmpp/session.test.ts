import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { VRouterError } from '../../../src/errors.ts';
import { judgeDuplicate } from '../../../src/xmpp/duplicate.ts';
import { KEEPALIVE, XmlReader } from '../../../src/xmpp/reader.ts';
import {
  agentSession,
  backoffMs,
  controlSession,
  GIVE_WAY_AFTER,
  HOLD_MS,
  MAX_BACKOFF_MS,
  OFFER_MS,
  OPEN_MS,
  type SessionAction,
  type SessionEvent,
  type SessionOptions,
  type SessionState,
  stepSession,
  type TlsWish,
} from '../../../src/xmpp/session.ts';
import {
  CONTROL_NAME,
  FEATURES_TLS,
  PROCEED,
  readHeader,
  readNegotiation,
  START_TLS,
  STREAM_END,
  writeClientHeader,
  writeServerHeader,
} from '../../../src/xmpp/stream.ts';
import type { XmlElement } from '../../../src/xmpp/xml.ts';
import { tree } from './messages.ts';

/** A session with its reader, as whoever has the socket drives it. */
class Side {
  now = 0;
  state: SessionState;
  readonly actions: SessionAction[] = [];
  #reader: XmlReader;

  constructor(state: SessionState) {
    this.state = state;
    this.#reader = this.#read();
  }

  step(event: SessionEvent): readonly SessionAction[] {
    const around = { now: this.now, random: () => 0, streamId: '++1' };
    const [state, actions] = stepSession(this.state, event, around);
    this.state = state;
    this.actions.push(...actions);
    return actions;
  }

  receive(text: string): void {
    this.step({ type: 'received' });
    const bytes = Buffer.from(text);
    try {
      for (let i = 0; i < bytes.length; i += 5) this.#reader.push(bytes.subarray(i, i + 5));
    } catch (error) {
      this.step({ type: 'fault', error: error as VRouterError });
    }
  }

  secured(): void {
    this.#reader = this.#read();
    this.step({ type: 'secured' });
  }

  connected(): void {
    this.#reader = this.#read();
    this.step({ type: 'connected' });
  }

  at(now: number): readonly SessionAction[] {
    this.now = now;
    return this.step({ type: 'tick' });
  }

  /** What has been sent since the last call. */
  sent(): string {
    const texts = this.actions.splice(0).flatMap((a) => {
      if (a.type === 'send') return [a.text];
      this.rest.push(a);
      return [];
    });
    return texts.join('');
  }
  readonly rest: SessionAction[] = [];
  kinds = () => [...this.rest, ...this.actions].map(({ type }) => type);

  #read(): XmlReader {
    return new XmlReader({
      opened: (header) => {
        this.step({ type: 'header', header: readHeader(header) });
      },
      stanza: (stanza: XmlElement) => {
        const negotiation = readNegotiation(stanza);
        this.step(negotiation ? { type: 'negotiation', negotiation } : { type: 'stanza' });
      },
      closed: () => {
        this.step({ type: 'stream-end' });
      },
    });
  }
}

const agentOptions = (
  tls: TlsWish = 'off',
  more: Partial<SessionOptions> = {},
): SessionOptions => ({
  name: 'compute-1',
  peer: CONTROL_NAME,
  tls,
  ...more,
});
const controlOptions = (tls: TlsWish = 'off', more: Partial<SessionOptions> = {}) => ({
  name: CONTROL_NAME,
  tls,
  ...more,
});

function pair(
  agentTls: TlsWish,
  controlTls: TlsWish,
  more: { agent?: object; control?: object } = {},
) {
  const agent = new Side(agentSession(agentOptions(agentTls, more.agent)));
  const control = new Side(controlSession(controlOptions(controlTls, more.control), 0));
  agent.step({ type: 'start' });
  agent.connected();
  return { agent, control };
}

/** Everything that either has to say, until there is nothing; TLS comes up as soon as both ask for it. */
function talk({ agent, control }: { agent: Side; control: Side }): void {
  for (;;) {
    const up = agent.sent();
    if (up !== '') control.receive(up);
    const down = control.sent();
    if (down !== '') agent.receive(down);
    if (agent.state.phase === 'handshake' && control.state.phase === 'handshake') {
      control.secured();
      agent.secured();
      continue;
    }
    if (up === '' && down === '') return;
  }
}

const phases = ({ agent, control }: { agent: Side; control: Side }) => [
  agent.state.phase,
  control.state.phase,
];

function established(more: Partial<SessionOptions> = {}): Side {
  const sides = pair('off', 'off', { agent: more });
  talk(sides);
  sides.agent.rest.length = 0;
  return sides.agent;
}

describe('headers', () => {
  const CLIENT =
    "<?xml version='1.0'?><stream:stream from='compute-1' to='network-control@contrailsystems.com' version='1.0' xml:lang='en' xmlns='' xmlns:stream='http://etherx.jabber.org/streams' >";
  const SERVER =
    "<?xml version='1.0'?><stream:stream from='network-control@contrailsystems.com' to='compute-1' id='++123' version='1.0' xml:lang='en' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' >";
  const header = (text: string): XmlElement => {
    let found: XmlElement | undefined;
    const reader = new XmlReader({
      opened: (h) => {
        found = h;
      },
      stanza() {},
      closed() {},
    });
    reader.push(Buffer.from(text));
    return found!;
  };

  test('are written to the byte as the ancestor writes them', () => {
    expect(writeClientHeader({ from: 'compute-1', to: CONTROL_NAME })).toBe(CLIENT);
    expect(writeServerHeader({ from: CONTROL_NAME, to: 'compute-1', id: '++123' })).toBe(SERVER);
  });

  test('are read', () => {
    expect(readHeader(header(CLIENT))).toEqual({ from: 'compute-1', to: CONTROL_NAME });
    expect(readHeader(header(SERVER))).toEqual({
      from: CONTROL_NAME,
      to: 'compute-1',
      id: '++123',
    });
    const east = { from: 'a', to: 'b', subCluster: 'east' };
    expect(readHeader(header(writeClientHeader(east)))).toEqual(east);
    expect(readHeader(header("<stream from='a'>"))).toEqual({ from: 'a', to: '' });
  });

  test.each([
    "<stream:stream to='b' xmlns:stream='x'>",
    "<html from='a'>",
    `<stream from='${'x'.repeat(600)}'>`,
  ])('%s is none', (text) => {
    expect(() => readHeader(header(text))).toThrow(
      expect.objectContaining({ code: 'XMPP_BAD_HEADER' }),
    );
  });

  test('what secures a stream', () => {
    const features =
      "<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls></stream:features>";
    expect(tree(FEATURES_TLS)).toEqual(tree(features));
    expect(tree(START_TLS)).toEqual(tree("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"));
    expect(tree(PROCEED)).toEqual(tree("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"));
    expect(readNegotiation(tree(features))).toEqual({ type: 'features', startTls: true });
    expect(readNegotiation(tree('<stream:features/>'))).toEqual({
      type: 'features',
      startTls: false,
    });
    expect(readNegotiation(tree('<iq/>'))).toBeUndefined();
  });
});

describe('opening', () => {
  test('plain: header, header, up', () => {
    const sides = pair('off', 'off');
    talk(sides);
    expect(phases(sides)).toEqual(['established', 'established']);
    expect(sides.agent.kinds()).toEqual(['connect', 'up']);
    expect(sides.control.rest).toEqual([
      { type: 'up', secure: false, header: { from: 'compute-1', to: CONTROL_NAME } },
    ]);
  });

  test.each<readonly [TlsWish, TlsWish]>([
    ['offered', 'required'],
    ['required', 'required'],
    ['required', 'offered'],
  ])('TLS: agent %s, control node %s', (agentTls, controlTls) => {
    const sides = pair(agentTls, controlTls);
    talk(sides);
    expect(phases(sides)).toEqual(['established', 'established']);
    expect(sides.agent.kinds()).toEqual(['connect', 'start-tls', 'up']);
    expect(sides.control.kinds()).toEqual(['start-tls', 'up']);
    expect(sides.agent.rest.at(-1)).toMatchObject({ secure: true });
    expect(sides.control.rest.at(-1)).toMatchObject({ secure: true });
  });

  test('the control node wants TLS, the agent does not: down', () => {
    const sides = pair('off', 'required');
    talk(sides);
    expect(phases(sides)).toEqual(['waiting', 'ended']);
    expect(sides.control.kinds()).not.toContain('up');
    expect(sides.agent.rest).toContainEqual({
      type: 'close',
      error: expect.objectContaining({ code: 'XMPP_TLS_WANTED' }),
    });
    // Again and again, but not at once: a session that is up for a moment is a failure, too.
    expect(sides.agent.state.failures).toBe(1);
    sides.agent.at(60_000);
    sides.agent.connected();
    sides.agent.receive(writeServerHeader({ from: 'b', to: 'a' }) + FEATURES_TLS);
    expect(sides.agent.state).toMatchObject({ phase: 'waiting', failures: 2 });
  });

  test('the control node has no TLS: an agent goes without, unless it must not', () => {
    for (const [tls, phase] of [
      ['offered', 'established'],
      ['required', 'waiting'],
    ] as const) {
      const sides = pair(tls, 'off');
      talk(sides);
      expect(sides.agent.state.phase).toBe('opening');
      sides.agent.at(OFFER_MS - 1);
      expect(sides.agent.state.phase).toBe('opening');
      sides.agent.at(OFFER_MS);
      expect(sides.agent.state.phase).toBe(phase);
    }
  });

  test('a route says as much as features without TLS do', () => {
    for (const text of ['<message/>', '<stream:features/>']) {
      const sides = pair('offered', 'off');
      talk(sides);
      sides.agent.receive(text);
      expect(sides.agent.state).toMatchObject({ phase: 'established', secure: false });
    }
  });

  test.each([
    ['starttls', '<starttls/><starttls/>'],
    ['a stanza', '<starttls/><iq/>'],
    ['a stanza instead', '<iq/>'],
    ['nonsense', '<proceed/>'],
  ])('nothing but one starttls is taken before TLS: %s', (_what, text) => {
    const { control } = pair('required', 'required');
    control.receive(writeClientHeader({ from: 'a', to: 'b' }) + text);
    expect(control.state.phase).toBe('ended');
    expect(control.kinds()).not.toContain('up');
    expect(control.actions.at(-1)).toMatchObject({
      type: 'close',
      error: { code: 'XMPP_BAD_STANZA' },
    });
  });

  test('text slipped in behind proceed ends the agent’s session', () => {
    const { agent } = pair('required', 'required');
    agent.receive(
      `${writeServerHeader({ from: 'b', to: 'a' }) + FEATURES_TLS + PROCEED}<message/>`,
    );
    expect(agent.state.phase).toBe('waiting');
    expect(agent.kinds()).not.toContain('up');
  });

  test('a sub-cluster that is not the control node’s is refused', () => {
    const both = pair('off', 'off', {
      agent: { subCluster: 'east' },
      control: { subCluster: 'east' },
    });
    talk(both);
    expect(phases(both)).toEqual(['established', 'established']);
    for (const agent of [{ subCluster: 'west' }, {}]) {
      const sides = pair('off', 'off', { agent, control: { subCluster: 'east' } });
      talk(sides);
      expect(phases(sides)).toEqual(['waiting', 'ended']);
      expect(sides.control.rest).toMatchObject([
        { type: 'close', error: { code: 'XMPP_OTHER_CLUSTER' } },
      ]);
    }
  });

  test('each step has its time', () => {
    const agent = new Side(agentSession(agentOptions()));
    agent.step({ type: 'start' });
    expect(agent.at(OPEN_MS - 1)).toEqual([]);
    expect(agent.at(OPEN_MS)).toMatchObject([{ type: 'close', error: { code: 'XMPP_OPEN_TIME' } }]);
    const control = new Side(controlSession(controlOptions('required'), 0));
    expect(control.at(OPEN_MS - 1)).toEqual([]);
    control.receive(writeClientHeader({ from: 'a', to: 'b' }));
    expect(control.state).toMatchObject({ phase: 'securing', due: 2 * OPEN_MS - 1 });
    control.at(2 * OPEN_MS);
    expect(control.state).toMatchObject({ phase: 'ended' });
    expect(control.state.due).toBeUndefined();
  });
});

describe('established', () => {
  test('a keepalive every third of the hold time, whoever else speaks', () => {
    const agent = established();
    expect(agent.at(29_999)).toEqual([]);
    expect(agent.at(30_000)).toEqual([{ type: 'send', text: KEEPALIVE }]);
    agent.now = 45_000;
    agent.receive('<message/>');
    expect(agent.at(59_999)).toEqual([]);
    expect(agent.at(60_000)).toEqual([{ type: 'send', text: KEEPALIVE }]);
    expect(Buffer.from(KEEPALIVE)).toEqual(Buffer.from([0xc8, 0x80]));
  });

  test('any byte holds it; without, it is down after the hold time', () => {
    const agent = established();
    for (const now of [30_000, 60_000, 89_999]) agent.at(now);
    agent.receive('<');
    expect(agent.state.phase).toBe('established');
    for (const now of [90_000, 120_000, 150_000, 179_998]) agent.at(now);
    expect(agent.state.phase).toBe('established');
    expect(agent.at(89_999 + HOLD_MS)).toMatchObject([
      { type: 'down', error: { code: 'XMPP_HOLD_TIME' } },
      { type: 'send', text: STREAM_END },
      { type: 'close' },
    ]);
    expect(agent.state).toMatchObject({ phase: 'waiting', failures: 1 });
  });

  test('the hold time is from 1 to 90 s', () => {
    for (const [holdMs, due] of [
      [3_000, 1_000],
      [1, 1_000 / 3],
      [1e9, 30_000],
    ] as const) {
      expect(established({ holdMs }).state.due).toBe(due);
    }
  });

  test('a lost connection: down, nothing to close; a stopped one does not come back', () => {
    const agent = established();
    expect(agent.step({ type: 'disconnected', why: 'reset' })).toMatchObject([
      { type: 'down', error: { code: 'XMPP_LOST' } },
    ]);
    expect(agent.state.phase).toBe('waiting');
    const stopped = established();
    expect(stopped.step({ type: 'stop' }).map(({ type }) => type)).toEqual([
      'down',
      'send',
      'close',
    ]);
    expect(stopped.step({ type: 'start' })).toEqual([]);
    expect(stopped.state).toMatchObject({ phase: 'ended' });
  });

  test.each([
    ['bad XML', '<iq></message>', 'XMPP_NOT_XML'],
    ['the end of the stream', STREAM_END, 'XMPP_LOST'],
    ['starttls', '<starttls/>', 'XMPP_BAD_STANZA'],
  ])('%s ends it', (_what, text, code) => {
    const agent = established();
    agent.receive(text);
    expect(agent.kinds()).toEqual(['down', 'send', 'close']);
    expect(agent.actions[0]).toMatchObject({ error: { code } });
  });
});

describe('back-off', () => {
  test('1, 2, 4, … 30 s, less up to a quarter', () => {
    const most = [1, 2, 3, 4, 5, 6, 7, 100].map((n) => backoffMs(n, () => 0));
    expect(most).toEqual([1e3, 2e3, 4e3, 8e3, 16e3, 30e3, 30e3, 30e3]);
    expect(backoffMs(6, () => 0.999999)).toBeCloseTo(22_500, 0);
    expect(MAX_BACKOFF_MS).toBe(30_000);
  });

  test('four in a row give way, once; a session that lasts starts anew', () => {
    const agent = new Side(agentSession(agentOptions()));
    agent.step({ type: 'start' });
    const kinds: string[][] = [];
    for (let i = 1; i <= 6; i++) {
      kinds.push(agent.step({ type: 'disconnected', why: 'refused' }).map(({ type }) => type));
      expect(agent.state).toMatchObject({
        phase: 'waiting',
        due: agent.now + backoffMs(i, () => 0),
      });
      expect(agent.at(agent.state.due!)).toEqual([{ type: 'connect' }]);
    }
    expect(kinds.map((k) => k.includes('give-way'))).toEqual([
      false,
      false,
      false,
      true,
      false,
      false,
    ]);
    expect(GIVE_WAY_AFTER).toBe(4);
    agent.connected();
    agent.receive(writeServerHeader({ from: 'b', to: 'a' }));
    expect(agent.state).toMatchObject({ phase: 'established', failures: 6 });
    agent.at(agent.state.due!);
    expect(agent.state.failures).toBe(0);
  });
});

test('two of one name', () => {
  const judge = (sameAddress: boolean, helper: boolean, old: 'ready' | 'awaited') => {
    const verdict = judgeDuplicate({ sameAddress, helper, old });
    return `${verdict.old}, ${verdict.new}`;
  };
  for (const helper of [false, true]) {
    for (const old of ['ready', 'awaited'] as const) {
      expect(judge(false, helper, old)).toBe('keep, close');
    }
  }
  expect(judge(true, false, 'ready')).toBe('close, close');
  expect(judge(true, true, 'ready')).toBe('restart, close');
  expect(judge(true, true, 'awaited')).toBe('keep, resume');
});

describe('whatever happens, in whatever order', () => {
  const header = { from: 'a', to: 'b' };
  const events = fc.constantFrom<SessionEvent>(
    { type: 'start' },
    { type: 'tick' },
    { type: 'connected' },
    { type: 'disconnected', why: 'x' },
    { type: 'received' },
    { type: 'header', header },
    { type: 'negotiation', negotiation: { type: 'features', startTls: true } },
    { type: 'negotiation', negotiation: { type: 'features', startTls: false } },
    { type: 'negotiation', negotiation: { type: 'starttls' } },
    { type: 'negotiation', negotiation: { type: 'proceed' } },
    { type: 'stanza' },
    { type: 'secured' },
    { type: 'stream-end' },
    { type: 'fault', error: new VRouterError('XMPP_NOT_XML', 'x') },
  );
  const steps = fc.array(fc.tuple(events, fc.constantFrom(0, 1, 500, 1_000, 15_000, 45_000)), {
    maxLength: 60,
  });
  const wish = fc.constantFrom<TlsWish>('off', 'offered', 'required');

  test('up and down alternate, what is required is secure, a close is one, a timer is ahead', () => {
    fc.assert(
      fc.property(steps, wish, fc.constantFrom('agent', 'control'), (list, tls, role) => {
        const side = new Side(
          role === 'agent'
            ? agentSession(agentOptions(tls))
            : controlSession(controlOptions(tls), 0),
        );
        let up = false;
        let open = role === 'control';
        for (const [event, later] of list) {
          side.now += later;
          if (event.type === 'connected' && side.state.phase === 'connecting') open = true;
          const before = side.state;
          for (const action of side.step(event)) {
            if (action.type === 'up') {
              expect(up).toBe(false);
              up = true;
              if (tls === 'required') expect(action.secure).toBe(true);
            } else if (action.type === 'down') {
              expect(up).toBe(true);
              up = false;
            } else if (action.type === 'connect') {
              expect(open).toBe(false);
            } else if (action.type === 'close') {
              expect(open || before.phase === 'connecting').toBe(true);
              open = false;
            } else if (action.type === 'send') {
              expect(open).toBe(true);
            }
          }
          if (event.type === 'disconnected' && before !== side.state) open = false;
          expect(side.state.phase === 'established').toBe(up);
          const timed = !['idle', 'ended'].includes(side.state.phase);
          expect(side.state.due !== undefined).toBe(timed);
          if (event.type === 'tick' && timed) expect(side.state.due).toBeGreaterThan(side.now);
        }
      }),
      { numRuns: 3000 },
    );
  });
});
