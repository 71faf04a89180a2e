/**
 * Sessions against each other over a wire of the test's own: everything they send is written and read by the codec, time is
 * a number, and the order of what is under way is drawn from a seed.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { IpText } from '../../../src/addr/ip.ts';
import {
  CONNECT_MS,
  OPEN_HOLD_MS,
  RETRY_MS,
  SETTLE_MS,
  Session,
  type SessionAction,
  type SessionConfig,
  type SessionEvent,
} from '../../../src/bgp/fsm.ts';
import { agree } from '../../../src/bgp/wire/agree.ts';
import type { Capability } from '../../../src/bgp/wire/capabilities.ts';
import {
  keepaliveMessage,
  notificationMessage,
  openMessage,
  readMessage,
} from '../../../src/bgp/wire/message.ts';
import type { Open } from '../../../src/bgp/wire/open.ts';
import { INTERNAL } from '../../support/bgp-messages.ts';

const open = (last: number, more: readonly Capability[] = [], as = 65000): Open => ({
  ...{ as, holdTime: 90, id: `10.0.0.${last}` as IpText },
  capabilities: [{ kind: 'as4', as }, { kind: 'multiprotocol', family: 'vpnv4' }, ...more],
});
const config = (last: number, more: Partial<SessionConfig> = {}): SessionConfig => ({
  ...{ open: open(last), peerAs: 65000, passive: false },
  ...more,
});
const half = () => 0.5;
const kinds = (actions: readonly SessionAction[]) => actions.map(({ kind }) => kind);
const notifications = (actions: readonly SessionAction[]) =>
  actions.flatMap((action) =>
    action.kind === 'send-notification'
      ? [`${action.notification.code}/${action.notification.subcode}`]
      : [],
  );

/** Brought to a state by hand: connection 1, opened by us. */
function session(state: string, peer = open(9), own: Partial<SessionConfig> = {}): Session {
  const one = new Session(config(5, own), half);
  one.handle({ kind: 'start' }, 0);
  one.handle({ kind: 'connected', connection: 1 }, 0);
  if (state === 'open-sent') return one;
  one.handle({ kind: 'message', connection: 1, message: { kind: 'open', open: peer } }, 0);
  if (state === 'open-confirm') return one;
  one.handle({ kind: 'message', connection: 1, message: { kind: 'keepalive' } }, 0);
  return one;
}
const says = (message: Extract<SessionEvent, { kind: 'message' }>['message']): SessionEvent => ({
  ...{ kind: 'message', connection: 1, message },
});

describe('one session', () => {
  test('comes up', () => {
    const one = new Session(config(5), half);
    expect(one.state).toBe('idle');
    expect(kinds(one.handle({ kind: 'start' }, 0))).toEqual(['connect']);
    expect(one.state).toBe('connect');
    expect(kinds(one.handle({ kind: 'connected', connection: 1 }, 5))).toEqual(['send-open']);
    expect(one.state).toBe('open-sent');
    expect(kinds(one.handle(says({ kind: 'open', open: open(9) }), 9))).toEqual(['send-keepalive']);
    expect(one.state).toBe('open-confirm');
    const up = one.handle(says({ kind: 'keepalive' }), 9);
    expect(up).toMatchObject([{ kind: 'established', peer: { id: '10.0.0.9' } }]);
    expect(one.state).toBe('established');
  });

  test.each<[string, SessionEvent, string]>([
    ['open-sent', says({ kind: 'keepalive' }), '5/1'],
    ['open-confirm', says({ kind: 'open', open: open(9) }), '5/2'],
    ['established', says({ kind: 'open', open: open(9) }), '5/3'],
    ['open-sent', says({ kind: 'open', open: open(9, [], 65001) }), '2/2'],
    ['open-sent', says({ kind: 'open', open: open(5) }), '2/3'],
    ['established', { kind: 'stop' }, '6/2'],
  ])('in %s, something that ends it (%#)', (state, event, expected) => {
    const one = session(state);
    expect(one.state).toBe(state);
    const actions = one.handle(event, 1);
    expect(notifications(actions)).toEqual([expected]);
    expect(kinds(actions)).toContain('close');
    expect(kinds(actions).includes('down')).toBe(state === 'established');
    expect(['active', 'idle']).toContain(one.state);
  });

  test('an update that resets the session, and one that does not', () => {
    const one = session('established');
    const update = { withdrawn: [], announced: [], attributes: {} };
    const good = says({ kind: 'update', read: { update, findings: [] } });
    expect(kinds(one.handle(good, 1))).toEqual(['update']);
    const notification = { code: 3, subcode: 1, data: '' };
    const bad = says({ kind: 'update', read: { update, findings: [], notification } });
    expect(kinds(one.handle(bad, 1))).toEqual(['send-notification', 'close', 'down']);
  });

  test('a peer that falls silent, and keepalives in time', () => {
    const one = session('established');
    expect(one.deadline).toBe(26_250);
    expect(kinds(one.tick(26_250))).toEqual(['send-keepalive']);
    one.handle(says({ kind: 'keepalive' }), 30_000);
    expect(notifications(one.tick(119_999))).toEqual([]);
    expect(notifications(one.tick(120_000))).toEqual(['4/0']);
    expect(one.state).toBe('active');
  });

  test('without a hold time nobody waits', () => {
    const one = session('established', { ...open(9), holdTime: 0 });
    expect(one.deadline).toBeUndefined();
  });

  test('a peer that takes the connection and says nothing', () => {
    const one = session('open-sent');
    expect(one.deadline).toBe(OPEN_HOLD_MS);
    expect(notifications(one.tick(OPEN_HOLD_MS))).toEqual(['4/0']);
  });

  test('is tried again soon, then less often, and not in time with others', () => {
    const one = new Session(config(5), half);
    one.handle({ kind: 'start' }, 0);
    const waits: number[] = [];
    let now = 0;
    for (let i = 0; i < 6; i++) {
      one.handle({ kind: 'connect-failed' }, now);
      const at = one.deadline ?? 0;
      waits.push((at - now) / RETRY_MS);
      now = at;
      expect(kinds(one.tick(now))).toEqual(['connect']);
    }
    expect(waits).toEqual([0.875, 1.75, 3.5, 7, 7, 7]);
    expect(kinds(one.tick(now + CONNECT_MS))).toEqual(['abort-connect']);
  });

  test('a passive one never calls', () => {
    const one = new Session(config(5, { passive: true }), half);
    expect(one.handle({ kind: 'start' }, 0)).toEqual([]);
    expect(one.state).toBe('active');
    expect(one.deadline).toBeUndefined();
    expect(kinds(one.handle({ kind: 'accepted', connection: 1 }, 0))).toEqual(['send-open']);
    one.handle({ kind: 'closed', connection: 1 }, 0);
    expect(one.deadline).toBeUndefined();
  });

  const restart = (notification: boolean): Capability => ({
    ...{ kind: 'graceful-restart', restarting: false, notification, seconds: 120 },
    families: [{ family: 'vpnv4', forwarding: true }],
  });
  test.each<[string, boolean, SessionEvent, boolean]>([
    ['closes', false, { kind: 'closed', connection: 1 }, true],
    [
      'says why',
      false,
      says({ kind: 'notification', notification: { code: 6, subcode: 4, data: '' } }),
      false,
    ],
    [
      'says why, RFC 8538',
      true,
      says({ kind: 'notification', notification: { code: 6, subcode: 4, data: '' } }),
      true,
    ],
    [
      'resets hard',
      true,
      says({ kind: 'notification', notification: { code: 6, subcode: 9, data: '' } }),
      false,
    ],
  ])('a restarting peer %s', (_, eight538, event, graceful) => {
    const capabilities = [restart(eight538)];
    const one = session('established', open(9, capabilities), { open: open(5, capabilities) });
    expect(one.handle(event, 1).filter(({ kind }) => kind === 'down')).toMatchObject([
      { graceful },
    ]);
  });

  test.each<[string, Open, string[]]>([
    ['who restarted gracefully', open(3, [restart(false)]), []],
    ['whose connections win, so that it cannot have the old one', open(9), []],
    ['whose connections lose', open(3), ['6/7']],
  ])('a second call, on an established session, of a peer %s', (_, peer, refused) => {
    const one = session('established', peer, { open: open(5, [restart(false)]) });
    one.handle({ kind: 'accepted', connection: 2 }, 1);
    const message = { kind: 'open', open: peer } as const;
    const actions = one.handle({ kind: 'message', connection: 2, message }, 1);
    const closed = actions.flatMap((a) => (a.kind === 'close' ? [a.connection] : []));
    expect(closed).toEqual(refused.length > 0 ? [2] : [1]);
    expect(notifications(actions).filter((text) => refused.includes(text))).toEqual(refused);
    expect(kinds(actions).includes('down')).toBe(refused.length === 0);
    expect(one.state).toBe(refused.length > 0 ? 'established' : 'open-confirm');
  });

  test('a confirmed connection waits for a better one, and not for ever', () => {
    const one = new Session(config(5), half);
    one.handle({ kind: 'start' }, 0);
    one.handle({ kind: 'connected', connection: 1 }, 0);
    one.handle({ kind: 'accepted', connection: 2 }, 0);
    one.handle(says({ kind: 'open', open: open(9) }), 0);
    one.handle(says({ kind: 'keepalive' }), 0);
    expect(one.state).toBe('open-confirm');
    expect(one.deadline).toBe(SETTLE_MS);
    expect(kinds(one.tick(SETTLE_MS))).toContain('established');
  });
});

/** Two who call each other; every order of what is under way is possible, but within one connection. */
class Wire {
  readonly sessions: readonly [Session, Session];
  readonly up: [number | undefined, number | undefined] = [undefined, undefined];
  readonly problems: string[] = [];
  downs = 0;
  #queues = new Map<string, { side: 0 | 1; event: () => SessionEvent }[]>();
  #connections = 0;
  #calls = 0;

  constructor(a: SessionConfig, b: SessionConfig) {
    this.sessions = [new Session(a, half), new Session(b, half)];
  }

  #put(queue: string, side: 0 | 1, event: () => SessionEvent): void {
    this.#queues.set(queue, [...(this.#queues.get(queue) ?? []), { side, event }]);
  }

  run(side: 0 | 1, event: SessionEvent, now: number): void {
    this.act(side, this.sessions[side].handle(event, now));
  }

  act(side: 0 | 1, actions: readonly SessionAction[]): void {
    const peer = side === 0 ? 1 : 0;
    for (const action of actions) {
      if (action.kind === 'connect') {
        const connection = ++this.#connections;
        this.#calls += 1;
        // The caller knows first; then the other one, before anything that is said.
        this.#put(`call ${this.#calls}`, side, () => {
          this.#put(`${connection} to ${peer}`, peer, () => ({ kind: 'accepted', connection }));
          return { kind: 'connected', connection };
        });
      }
      if (action.kind === 'established') {
        if (this.up[side] !== undefined) this.problems.push('established twice');
        this.up[side] = action.connection;
      }
      if (action.kind === 'down') {
        if (this.up[side] !== action.connection) this.problems.push('down, and was not up');
        this.up[side] = undefined;
        this.downs += 1;
      }
      if (!('connection' in action)) continue;
      const { connection } = action;
      const say = (bytes: Uint8Array) =>
        this.#put(`${connection} to ${peer}`, peer, () => ({
          ...{ kind: 'message', connection, message: readMessage(bytes, INTERNAL) },
        }));
      if (action.kind === 'send-open') say(openMessage(action.open));
      if (action.kind === 'send-keepalive') say(keepaliveMessage());
      if (action.kind === 'send-notification') say(notificationMessage(action.notification));
      if (action.kind === 'close') {
        this.#put(`${connection} to ${peer}`, peer, () => ({ kind: 'closed', connection }));
      }
    }
  }

  /** Delivers one thing of those under way; false: there is none. */
  step(choose: (count: number) => number, now: number): boolean {
    const open = [...this.#queues].filter(([, queue]) => queue.length > 0);
    if (open.length === 0) return false;
    const [name, queue] = open[choose(open.length)] as (typeof open)[number];
    const [first, ...rest] = queue;
    this.#queues.set(name, rest);
    if (first !== undefined) this.run(first.side, first.event(), now);
    return true;
  }
}

describe('two sessions that call each other', () => {
  test.each([
    ['told apart by identifier', config(5), config(9)],
    [
      'of one identifier, told apart by AS',
      config(5, { open: open(5, [], 65001) }),
      config(5, { peerAs: 65001 }),
    ],
  ])('end with one connection, the same on both sides: %s', (_, a, b) => {
    fc.assert(
      fc.property(fc.infiniteStream(fc.nat(0xffff)), (stream) => {
        const draws = stream[Symbol.iterator]();
        const choose = (count: number) => (draws.next().value as number) % count;
        const wire = new Wire(a, b);
        wire.run(0, { kind: 'start' }, 0);
        wire.run(1, { kind: 'start' }, 0);
        let now = 0;
        for (let steps = 0; steps < 2000; steps++) {
          if (wire.step(choose, now)) continue;
          // Nothing under way: up on both sides, or time must pass.
          if (wire.up[0] !== undefined && wire.up[0] === wire.up[1]) break;
          now += 500;
          wire.act(0, wire.sessions[0].tick(now));
          wire.act(1, wire.sessions[1].tick(now));
        }
        expect(wire.problems).toEqual([]);
        expect(wire.sessions.map(({ state }) => state)).toEqual(['established', 'established']);
        expect(wire.up[0]).toBe(wire.up[1]);
        // At once: never were both lost. One side may have been up before the other's call got through.
        expect(now).toBe(0);
        expect(wire.downs).toBeLessThanOrEqual(1);
      }),
      { numRuns: 500 },
    );
  });
});

describe('what two agree on', () => {
  test('only what both said', () => {
    const path = (mode: 'receive' | 'send' | 'both'): Capability => ({
      ...{
        kind: 'add-path',
        families: [
          { family: 'vpnv4', mode },
          { family: 'evpn', mode },
        ],
      },
    });
    const ours = open(5, [path('both'), { kind: 'extended-message' }, { kind: 'route-refresh' }]);
    const theirs = open(9, [
      ...[path('receive'), { kind: 'route-refresh-old' } as const],
      { kind: 'multiprotocol', family: 'evpn' },
    ]);
    const agreed = agree(ours, theirs);
    // EVPN is theirs alone.
    expect([...agreed.send.families]).toEqual(['vpnv4']);
    expect([...agreed.send.addPath]).toEqual(['vpnv4']);
    expect([...agreed.receive.addPath]).toEqual([]);
    expect(agreed.send).toMatchObject({ as4: true, external: false, maxMessage: 4096 });
    expect(agreed).toMatchObject({ holdTime: 90, refresh: true, enhancedRefresh: false });
  });

  test('one who says nothing of families speaks IPv4, with short AS numbers', () => {
    const plain: Open = { as: 65001, holdTime: 30, id: '10.0.0.9' as IpText, capabilities: [] };
    const agreed = agree(open(5, [{ kind: 'multiprotocol', family: 'ipv4-unicast' }]), plain);
    expect([...agreed.receive.families]).toEqual(['ipv4-unicast']);
    expect(agreed.receive).toMatchObject({ as4: false, external: true });
    expect(agreed.holdTime).toBe(30);
  });
});
