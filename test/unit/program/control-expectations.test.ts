/** What must be seen of control nodes in `clusterip`: each sentence can come out either way; and the audit of their frames. */
import { describe, expect, it } from 'vitest';
import type { SessionView } from '../../../src/cli/control-views.ts';
import type { ControlNodeView } from '../../../src/cli/views.ts';
import {
  type ControlKilled,
  fabricCarriedSessions,
  killedControlCostsNothing,
  publishedLabel,
  routesCameOverXmpp,
  type SessionEnds,
} from '../../../src/program/clusterip-control-expectations.ts';
import { tsharkAgrees } from '../../../src/program/clusterip-netns-expectations.ts';
import { ControlAudit } from '../../../src/program/control-audit.ts';
import type { WireOpinion } from '../../../src/program/tshark.ts';
import { NODES, WEB } from '../../../src/sim/clusterip-plan.ts';
import {
  ETHERTYPE,
  encodeArp,
  encodeFrame,
  encodeIpv4,
  encodeSegment,
  ipv4Number,
  macBytes,
  PROTOCOL,
  TCP,
} from '../../../src/sim/wire.ts';

const atNode = (more: Partial<ControlNodeView> = {}): ControlNodeView => ({
  name: 'c',
  state: 'established',
  standing: 'settled',
  secure: false,
  upSeconds: 1,
  subscribed: 2,
  published: 4,
  received: 10,
  stale: 0,
  swept: 0,
  refused: 0,
  ...more,
});
const atControl = (counters: Partial<SessionView['counters']> = {}, state = 'established') =>
  ({
    state,
    counters: {
      subscribes: 2,
      publishes: 4,
      withdrawals: 0,
      refused: 0,
      ignored: 0,
      messages: 6,
      ...counters,
    },
  }) as SessionView;
const ends = (more: Partial<SessionEnds> = {}): SessionEnds => ({
  node: 'n',
  control: 'c',
  atNode: atNode(),
  atControl: atControl(),
  ...more,
});

describe('routes come over XMPP', () => {
  it('if both ends of every session say so', () => {
    expect(routesCameOverXmpp([ends(), ends({ control: 'd' })]).ok).toBe(true);
    expect(routesCameOverXmpp([ends()]).observed).toBe(
      'n - c: established, 4 routes published, 10 heard in 6 messages',
    );
  });
  const bad: [string, SessionEnds[]][] = [
    ['there is none', []],
    ['a control node does not know of it', [ends(), ends({ atControl: undefined })]],
    ['a node does not know of it', [ends(), ends({ atNode: undefined })]],
    ['it is not up', [ends({ atNode: atNode({ state: 'waiting' }) })]],
    ['it is waited for', [ends({ atControl: atControl({}, 'awaited') })]],
    ['nothing is published', [ends({ atNode: atNode({ published: 0 }) })]],
    ['less arrived than was published', [ends({ atControl: atControl({ publishes: 3 }) })]],
    ['nothing is heard', [ends({ atNode: atNode({ received: 0 }) })]],
    ['what is heard was not said there', [ends({ atControl: atControl({ messages: 0 }) })]],
  ];
  for (const [what, sessions] of bad) {
    it(`not if ${what}`, () => expect(routesCameOverXmpp(sessions).ok).toBe(false));
  }
});

it('the label of a service is the one that its node has published', () => {
  const hop = (address: string, label: number) => ({ address, label, encaps: ['udp'] as const });
  const routes = [
    { prefix: '10.0.0.1/32', hops: [hop(NODES.remote.ipv4, 1)] },
    { prefix: `${WEB.ipv4}/32`, hops: [hop(NODES.client.ipv4, 2), hop(NODES.remote.ipv4, 3)] },
  ];
  expect(publishedLabel(routes, WEB, NODES.remote.ipv4)).toBe(3);
  expect(publishedLabel(routes, WEB, '10.0.0.9')).toBeUndefined();
  expect(publishedLabel([], WEB, NODES.remote.ipv4)).toBeUndefined();
});

describe('a control node that is killed', () => {
  const node = { node: 'n', commits: 0, killed: atNode({ state: 'waiting' }), others: [atNode()] };
  const good: ControlKilled = {
    control: 'c',
    left: 1,
    load: { connections: 80, closed: 80 },
    doneBefore: 20,
    nodes: [node, { ...node, node: 'm' }],
  };
  const bad: [string, Partial<ControlKilled>][] = [
    ['a curl failed', { load: { connections: 80, closed: 79 } }],
    ['it was killed before all curls', { doneBefore: 0 }],
    ['it was killed after all curls', { doneBefore: 80 }],
    ['a table has changed', { nodes: [node, { ...node, commits: 1 }] }],
    ['it still has a session', { nodes: [{ ...node, killed: atNode() }] }],
    ['nobody knows of it', { nodes: [{ ...node, killed: undefined }] }],
    ['the other session is lost', { nodes: [{ ...node, others: [atNode({ state: 'waiting' })] }] }],
    ['the other one is not known', { nodes: [{ ...node, others: [undefined] }] }],
    ['there should be none left', { left: 0 }],
    ['there is no node', { nodes: [] }],
  ];
  it('costs nothing', () =>
    expect(killedControlCostsNothing(good)).toMatchObject({ id: 'control-killed', ok: true }));
  it('costs nothing even if it was the last one', () => {
    const others = [atNode({ state: 'connecting' })];
    const headless = { ...good, left: 0, nodes: [{ ...node, others }] };
    expect(killedControlCostsNothing(headless)).toMatchObject({ id: 'headless', ok: true });
  });
  for (const [what, more] of bad) {
    it(`costs something if ${what}`, () =>
      expect(killedControlCostsNothing({ ...good, ...more }).ok).toBe(false));
  }
});

describe('the audit of control on the fabric', () => {
  const NODE = NODES.client.ipv4;
  const CONTROL = '10.169.25.19';
  const frame = (etherType: number, payload: Buffer) =>
    encodeFrame({
      destination: macBytes('52:54:00:00:00:01'),
      source: macBytes('52:54:00:00:00:02'),
      etherType,
      payload,
    });
  function tcp(from: string, to: string, ports: readonly [number, number], text: string): Buffer {
    const [source, destination] = [ipv4Number(from), ipv4Number(to)];
    const payload = encodeSegment(source, destination, {
      sourcePort: ports[0],
      destinationPort: ports[1],
      sequence: 1,
      acknowledgement: 1,
      flags: TCP.ack,
      data: Buffer.from(text),
    });
    const packet = { source, destination, protocol: PROTOCOL.tcp, ttl: 64, payload };
    return frame(ETHERTYPE.ipv4, encodeIpv4(packet));
  }
  const says = tcp(NODE, CONTROL, [40_000, 5269], '<publish node="x"/><publish node="y"/>');
  const hears = tcp(CONTROL, NODE, [5269, 40_000], '<event xmlns="z"></event>');
  const pairs = [{ node: NODE, control: CONTROL }];

  it('takes XMPP and ARP, and leaves what is not theirs', () => {
    const audit = new ControlAudit();
    const arp = encodeArp({
      operation: 1,
      senderMac: macBytes('52:54:00:00:00:02'),
      senderIp: 1,
      targetMac: Buffer.alloc(6),
      targetIp: 2,
    });
    expect([says, hears, frame(ETHERTYPE.arp, arp)].map((f) => audit.takes(f))).toEqual(
      Array(3).fill(true),
    );
    const others = [
      tcp(NODE, CONTROL, [40_000, 80], 'x'),
      frame(0x86dd, Buffer.alloc(60)),
      Buffer.alloc(5),
    ];
    expect(others.map((f) => audit.takes(f))).toEqual(Array(3).fill(false));
    expect(audit).toMatchObject({ xmpp: 2, arp: 1, malformed: 0 });
    expect(audit.sessions).toEqual([
      { node: NODE, control: CONTROL, toControl: 38, toNode: 25, publishes: 2, events: 1 },
    ]);
    expect(fabricCarriedSessions(audit, pairs).ok).toBe(true);
  });

  const audited = (...frames: Buffer[]) => {
    const audit = new ControlAudit();
    for (const each of frames) audit.takes(each);
    return audit;
  };
  it('finds damage, silence, strangers, and a session that is missing', () => {
    const damaged = Buffer.from(says);
    damaged[damaged.length - 1] = 0;
    const stranger = tcp('10.169.25.99', CONTROL, [40_000, 5269], 'x');
    const ok = (audit: ControlAudit, all = pairs) => fabricCarriedSessions(audit, all).ok;
    expect(audited(damaged).malformed).toBe(1);
    expect(ok(audited(says, hears, damaged))).toBe(false);
    expect(ok(audited(says))).toBe(false);
    expect(ok(audited(hears))).toBe(false);
    expect(ok(audited(says, hears, stranger))).toBe(false);
    expect(ok(audited(says, hears), [...pairs, { node: NODE, control: '10.169.25.18' }])).toBe(
      false,
    );
    expect(ok(audited(), [])).toBe(false);
  });

  it('tshark must know every frame as one of theirs', () => {
    const good: WireOpinion = {
      frames: 13,
      mplsOverUdp: 8,
      sourcePorts: new Set([50_000, 50_001]),
      xmpp: 4,
      malformed: [],
      others: new Map([['eth:ethertype:arp', 1]]),
    };
    const ok = (more: Partial<WireOpinion>) => tsharkAgrees({ ...good, ...more }).ok;
    expect(ok({})).toBe(true);
    expect(ok({ frames: 14 })).toBe(false);
    expect(ok({ xmpp: 0, frames: 9 })).toBe(false);
    expect(ok({ mplsOverUdp: 0, frames: 5 })).toBe(false);
    expect(ok({ malformed: ['frame 1: malformed'] })).toBe(false);
    expect(ok({ sourcePorts: new Set([50_000]) })).toBe(false);
  });
});
