/** Every sentence of `clusterip` can come out either way: true of good observations, false of each bad one. */
import { describe, expect, it } from 'vitest';
import type { FlowView, NextHopView, VifView } from '../../../src/cli/views.ts';
import * as judge from '../../../src/program/clusterip-expectations.ts';
import { DemoRecorder, reportJson, verdictText } from '../../../src/program/demo-report.ts';
import { BACKENDS, CLIENT, NODES, topology, WEB } from '../../../src/sim/clusterip-plan.ts';
import type { Scale, Unmapped } from '../../../src/sim/clusterip-traffic.ts';
import type { Load } from '../../../src/sim/connections.ts';

const [web1, web2, web3] = BACKENDS;

function load(changes: Partial<Load> = {}): Load {
  return {
    connections: 1000,
    perBackend: new Map([
      [web1.name, 480],
      [web2.name, 520],
    ]),
    changed: 0,
    requests: 2000,
    answers: 2000,
    closed: 1000,
    servedOn: [80],
    ...changes,
  };
}

describe('spread', () => {
  const shares = (...counts: number[]) =>
    new Map(counts.map((n, i) => [BACKENDS[i]?.name ?? '', n] as const));
  const cases: [string, Load, boolean][] = [
    ['480 and 520', load(), true],
    ['450 and 550, the very edge', load({ perBackend: shares(450, 550) }), true],
    ['449 and 551', load({ perBackend: shares(449, 551) }), false],
    ['all on one', load({ perBackend: shares(1000) }), false],
    ['a third backend', load({ perBackend: shares(470, 470, 60) }), false],
    ['nobody', load({ perBackend: new Map() }), false],
    ['40 and 60 of a hundred', load({ connections: 100, perBackend: shares(40, 60) }), true],
    ['30 and 70 of a hundred', load({ connections: 100, perBackend: shares(30, 70) }), false],
    ['a single connection', load({ connections: 1, perBackend: shares(1) }), true],
  ];
  for (const [what, given, ok] of cases) {
    it(`${what}: ${ok ? 'ok' : 'not'}`, () => {
      expect(judge.loadIsSpread(given, 2).ok).toBe(ok);
    });
  }

  it('is 5 points for a thousand connections and more, never less', () => {
    expect(judge.tolerance(1000)).toBe(5);
    expect(judge.tolerance(20_000)).toBe(5);
    expect(judge.tolerance(100)).toBeGreaterThan(15);
  });
});

describe('load', () => {
  const failing = (changes: Partial<Load>) =>
    judge
      .loadIsServed(load(changes))
      .filter((e) => !e.ok)
      .map((e) => e.id);
  it('is served, or says what was not', () => {
    expect(failing({})).toEqual([]);
    expect(failing({ changed: 1 })).toEqual(['pinned']);
    expect(failing({ answers: 1999 })).toEqual(['answered']);
    expect(failing({ closed: 999 })).toEqual(['closed']);
    expect(failing({ answers: 0, closed: 0 })).toEqual(['pinned', 'answered', 'closed']);
  });

  it('of a port comes from the port it maps to', () => {
    const port = { ...load({ servedOn: [90] }), port: 9999, toPort: 90 };
    expect(judge.portsAreServed([port])[0]?.ok).toBe(true);
    expect(judge.portsAreServed([{ ...port, servedOn: [80] }])[0]?.ok).toBe(false);
    expect(judge.portsAreServed([{ ...port, servedOn: [80, 90] }])[0]?.ok).toBe(false);
    expect(judge.portsAreServed([{ ...port, answers: 1 }])[0]?.ok).toBe(false);
  });
});

describe('composite', () => {
  const nextHop = (id: number, fields: Partial<NextHopView>): NextHopView => ({
    id,
    type: 'discard',
    family: 'inet',
    references: 1,
    vrf: 1,
    flags: ['Valid'],
    ...fields,
  });
  const tunnel = nextHop(13, {
    type: 'tunnel',
    flags: ['Valid', 'MPLSoUDP'],
    source: NODES.client.ipv4,
    destination: NODES.remote.ipv4,
  });
  const local = nextHop(7, { type: 'interface', vif: 4 });
  const slots = [
    { nextHop: 7, label: 17 },
    { nextHop: 13, label: 16 },
  ];
  const set = nextHop(15, { type: 'ecmp', flags: ['Valid', 'Ecmp'], slots });
  const ok = (...tree: NextHopView[]) => judge.compositeOfTwo(tree, 16, 4).ok;

  it('is a tunnel with the right label, and the interface', () => {
    expect(ok(set, local, tunnel)).toBe(true);
    expect(ok(local)).toBe(false);
    expect(ok()).toBe(false);
    expect(ok({ ...set, slots: [slots[0]!] }, local, tunnel)).toBe(false);
    expect(ok({ ...set, slots: [slots[0]!, { nextHop: 13, label: 17 }] }, local, tunnel)).toBe(
      false,
    );
    expect(ok(set, local, { ...tunnel, flags: ['Valid', 'MPLSoGRE'] })).toBe(false);
    expect(ok(set, local, { ...tunnel, destination: '10.169.25.99' })).toBe(false);
    expect(ok(set, { ...local, vif: 5 }, tunnel)).toBe(false);
    expect(ok({ ...set, slots: [...slots, { nextHop: 13, label: 18 }] }, local, tunnel)).toBe(
      false,
    );
  });
});

describe('flows of a connection', () => {
  const flow = (fields: Partial<FlowView>): FlowView => ({
    index: 1,
    reverse: 2,
    source: CLIENT.ipv4,
    sourcePort: 32768,
    destination: WEB.ipv4,
    destinationPort: 8888,
    protocol: 6,
    vrf: 1,
    destinationVrf: 1,
    generationId: 1,
    keyNextHop: 4,
    rpfNextHop: 4,
    nextHop: 13,
    label: 16,
    member: 1,
    vif: 3,
    action: 'F',
    drop: '',
    nat: '',
    tcp: 'SSrEEr',
    flags: '',
    initiator: true,
    packets: 1,
    bytes: 40,
    underlayLeg: -1,
    outerSourcePort: 50000,
    sourceInfo: '0.0.0.0',
    natSource: '',
    natSourcePort: 0,
    natDestination: '',
    natDestinationPort: 0,
    idleMs: 0,
    ...fields,
  });
  const there = flow({});
  const back = flow({ source: WEB.ipv4, destination: CLIENT.ipv4, initiator: false });
  const dnat = flow({ action: 'N', nat: 'DPd', natDestination: web2.ipv4 });
  const snat = flow({ action: 'N', nat: 'SPs', natSource: WEB.ipv4, source: web2.ipv4 });
  const failing = (client: FlowView[], backend: FlowView[]) =>
    judge
      .flowsOfConnection(client, backend, web2)
      .filter((e) => !e.ok)
      .map((e) => e.id);

  it('forward here, translate there', () => {
    expect(failing([there, back], [dnat, snat])).toEqual([]);
    expect(failing([], [])).toEqual(['client-flow', 'backend-flow', 'tcp-state']);
    expect(failing([{ ...there, action: 'N' }, back], [dnat, snat])).toEqual(['client-flow']);
    expect(failing([there, { ...back, source: web2.ipv4 }], [dnat, snat])).toEqual(['client-flow']);
    expect(failing([there, back], [{ ...dnat, nat: 'D' }, snat])).toEqual(['backend-flow']);
    expect(failing([there, back], [dnat, { ...snat, natSource: web2.ipv4 }])).toEqual([
      'backend-flow',
    ]);
    expect(failing([there, back], [dnat, { ...snat, tcp: 'SSrE' }])).toEqual(['tcp-state']);
  });
});

describe('unmapped port', () => {
  const good: Unmapped = {
    tries: 2,
    refused: [
      { node: 'cent222', action: 'D(NoFipPortMap)' },
      { node: 'cent333', action: 'D(NoFipPortMap)' },
    ],
    dropped: 2,
    delivered: 0,
    answered: 0,
  };
  const bad: Partial<Unmapped>[] = [
    { refused: good.refused.slice(1) },
    { refused: [good.refused[0]!, { node: 'cent333', action: 'D(Policy)' }] },
    { dropped: 1 },
    { delivered: 1 },
    { answered: 1 },
  ];
  it('is refused by name, counted, and reaches nobody', () => {
    expect(judge.unmappedIsRefused(good, 1234).ok).toBe(true);
    for (const change of bad)
      expect(judge.unmappedIsRefused({ ...good, ...change }, 1234).ok).toBe(false);
  });
});

describe('hairpin', () => {
  const good = {
    backend: web1.name,
    tries: 2,
    reached: true,
    seenFrom: [WEB.ipv4],
    requests: 2,
    answers: 2,
  };
  it('is seen from the service address', () => {
    expect(judge.hairpinWorks(good).ok).toBe(true);
    expect(judge.hairpinWorks({ ...good, reached: false }).ok).toBe(false);
    expect(judge.hairpinWorks({ ...good, seenFrom: [web1.ipv4] }).ok).toBe(false);
    expect(judge.hairpinWorks({ ...good, seenFrom: [] }).ok).toBe(false);
    expect(judge.hairpinWorks({ ...good, answers: 1 }).ok).toBe(false);
  });
});

describe('scaling', () => {
  const good: Scale = {
    phases: [
      { backends: [web2.name], opened: new Map([[web2.name, 100]]) },
      {
        backends: [web1.name, web2.name],
        opened: new Map([
          [web1.name, 48],
          [web2.name, 52],
        ]),
      },
    ],
    survivor: web2.name,
    surviving: { ...load(), connections: 152, open: 152, closed: 152 },
    removed: { connections: 48, reset: 40, silent: 8, alive: 0, changed: 0 },
    neverServed: 0,
  };
  const failing = (changed: Partial<Scale>) =>
    judge
      .scalingWorks({ ...good, ...changed })
      .filter((e) => !e.ok)
      .map((e) => e.id);

  it('touches only what is taken away', () => {
    expect(failing({})).toEqual([]);
    const idle = { backends: [web1.name, web3.name], opened: new Map([[web1.name, 100]]) };
    expect(failing({ phases: [...good.phases, idle] })).toEqual(['scale-spread']);
    const gone = {
      backends: [web2.name],
      opened: new Map([
        [web1.name, 1],
        [web2.name, 99],
      ]),
    };
    expect(failing({ phases: [...good.phases, gone] })).toEqual(['scale-spread']);
    const surviving = good.surviving;
    for (const change of [
      { answers: 1999 },
      { changed: 1 },
      { open: 151 },
      { closed: 151 },
      { connections: 0 },
    ]) {
      expect(failing({ surviving: { ...surviving, ...change } })).toEqual(['scale-survivors']);
    }
    expect(failing({ neverServed: 1 })).toEqual(['scale-survivors']);
    for (const change of [
      { reset: 39, alive: 1 },
      { changed: 1 },
      { connections: 0, reset: 0, silent: 0 },
    ]) {
      expect(failing({ removed: { ...good.removed, ...change } })).toEqual(['scale-removed']);
    }
  });
});

describe('addresses, wires, accounts', () => {
  const ids = (all: readonly { id: string; ok: boolean }[]) =>
    all.filter((e) => !e.ok).map((e) => e.id);

  it('the client hears services only, backends see the client', () => {
    const [heard, callers] = [new Set([`${WEB.ipv4}:8888`]), new Set([CLIENT.ipv4])];
    expect(ids(judge.addressesSeen(heard, callers))).toEqual([]);
    expect(ids(judge.addressesSeen(new Set([...heard, `${web2.ipv4}:80`]), callers))).toEqual([
      'client-sees-service',
    ]);
    expect(ids(judge.addressesSeen(new Set([`${WEB.ipv4}:80`]), callers))).toEqual([
      'client-sees-service',
    ]);
    expect(ids(judge.addressesSeen(new Set(), callers))).toEqual(['client-sees-service']);
    expect(ids(judge.addressesSeen(heard, new Set([NODES.client.ipv4])))).toEqual([
      'backend-sees-client',
    ]);
  });

  it('pods get sound frames and a clamped segment size', () => {
    expect(ids(judge.tenantsAreContent(new Map([['client', 0]]), 1428))).toEqual([]);
    expect(ids(judge.tenantsAreContent(new Map([['client', 1]]), 1428))).toEqual(['checksums']);
    expect(ids(judge.tenantsAreContent(new Map([['client', 0]]), 1460))).toEqual(['mss']);
    expect(ids(judge.tenantsAreContent(new Map([['client', 0]]), undefined))).toEqual(['mss']);
  });

  it('the gateway and the vif are what they should be', () => {
    expect(judge.gatewayAnswers('00:00:5e:00:01:00').ok).toBe(true);
    expect(judge.gatewayAnswers('02:00:00:00:00:01').ok).toBe(false);
    expect(judge.gatewayAnswers(undefined).ok).toBe(false);
    const vif = {
      id: 3,
      name: 'tap',
      ipv4: CLIENT.ipv4,
      vrf: 1,
      flags: ['P', 'L3'],
    } as unknown as VifView;
    expect(judge.vifShowsPod(vif, 1, CLIENT).ok).toBe(true);
    expect(judge.vifShowsPod(vif, 2, CLIENT).ok).toBe(false);
    expect(judge.vifShowsPod({ ...vif, flags: ['L3'] }, 1, CLIENT).ok).toBe(false);
    expect(judge.vifShowsPod(undefined, 1, CLIENT).ok).toBe(false);
    expect(judge.firstIsServed(web2.name).ok).toBe(true);
    expect(judge.firstIsServed(web1.name).ok).toBe(false);
    expect(judge.firstIsServed(undefined).ok).toBe(false);
  });

  it('packets add up, and drops have names', () => {
    const account = {
      node: 'cent222',
      entered: 10,
      totals: {
        received: 10,
        forwarded: 7,
        replied: 1,
        punted: 0,
        dropped: 2,
        consumed: 0,
        held: 0,
      },
      dropped: [{ name: 'Invalid Label', packets: 2 }],
    };
    const ok = (change: object) => judge.everyPacketAccounted({ ...account, ...change }).ok;
    expect(ok({})).toBe(true);
    expect(ok({ entered: 11 })).toBe(false);
    expect(ok({ totals: { ...account.totals, forwarded: 6 } })).toBe(false);
    expect(ok({ dropped: [{ name: 'Invalid Label', packets: 1 }] })).toBe(false);
  });
});

describe('report', () => {
  function recorder() {
    let text = '';
    const made = new DemoRecorder({
      demo: 'clusterip',
      setting: 'simulated',
      options: { seed: '1' },
      topology: topology(),
      narrate: (more) => {
        text += more;
      },
    });
    return { made, text: () => text };
  }
  const good = { id: 'a', expected: 'this', observed: 'this', ok: true };

  it('is not ok when nothing was expected', () => {
    expect(recorder().made.finish().ok).toBe(false);
  });

  it('is ok only if everything is, and says what is not', () => {
    const one = recorder().made;
    one.expect(good);
    expect(one.finish()).toMatchObject({ ok: true, failed: [] });
    const two = recorder();
    two.made.expect(good, { ...good, id: 'b', ok: false });
    const report = two.made.finish();
    expect(report).toMatchObject({ ok: false, failed: ['b'] });
    expect(verdictText(report)).toContain('FAIL');
    expect(two.text()).toMatch(/ok {4}this\n {6}-> this\nFAIL {2}this\n[\s\S]*not met: b\.\n$/);
  });

  it('tells things as they happen, wraps prose, leaves layouts alone', () => {
    const { made, text } = recorder();
    made.step('First');
    expect(text()).toContain('1. First\n--------\n');
    made.say(`a ${'long '.repeat(40)}line`);
    made.say(`${'x'.repeat(60)}  ${'y'.repeat(60)}`);
    made.table({
      node: 'cent222',
      command: 'vrouter nh --get 1',
      view: { id: 1 },
      text: 'Id:1 \n',
    });
    const lines = text().split('\n');
    expect(lines.filter((l) => l.includes('long')).every((l) => l.length <= 100)).toBe(true);
    expect(lines).toContain(`  ${'x'.repeat(60)}  ${'y'.repeat(60)}`);
    expect(text()).toContain('[cent222] vrouter nh --get 1\n\nId:1\n');
    expect(text()).not.toContain('\u001b');
    made.expect(good);
    const parsed = JSON.parse(reportJson(made.finish()));
    expect(parsed.tables).toEqual([
      { node: 'cent222', command: 'vrouter nh --get 1', view: { id: 1 } },
    ]);
    expect(parsed.steps[0].title).toBe('First');
    expect(parsed.verdict ?? parsed.ok).toBe(true);
  });

  it('has a picture with every address in it', () => {
    const picture = topology();
    const all = [CLIENT, ...BACKENDS].map((pod) => pod.ipv4);
    for (const node of Object.values(NODES)) all.push(node.ipv4, node.name);
    for (const text of all) expect(picture).toContain(text);
    expect(Math.max(...picture.split('\n').map((line) => line.length))).toBeLessThanOrEqual(100);
  });
});
