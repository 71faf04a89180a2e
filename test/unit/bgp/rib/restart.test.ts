/** Neighbours that restart (RFC 4724, RFC 8538), for long (RFC 9494), and paths with ids (RFC 7911). */
import { describe, expect, test } from 'vitest';
import { COMMUNITIES } from '../../../../src/bgp/wire/communities.ts';
import {
  ENHANCED,
  type Far,
  inet,
  neighbourOf,
  RibLab,
  restart,
} from '../../../support/rib-lab.ts';

const NETS = ['10.1.0.0/16', '10.2.0.0/16', '10.3.0.0/16'].map(inet);
const [ONE, TWO, THREE] = NETS.map(({ prefix }) => prefix);

function restarting(seconds: number, longLived?: number): [RibLab, Far, Far] {
  const lab = new RibLab();
  const capabilities = [...ENHANCED, ...restart(['ipv4-unicast'], seconds, longLived)];
  const times = { restartTime: 100, ...(longLived === undefined ? {} : { longLivedTime: 1000 }) };
  const options = { families: ['ipv4-unicast'] as const, capabilities, neighbour: times };
  const a = lab.far({ ...options, name: 'a', as: 65001 }).up();
  const b = lab.far({ ...options, name: 'b', address: '10.0.0.3' }).up();
  a.announce('ipv4-unicast', NETS);
  return [lab.settle(), a, b];
}

const stale = (lab: RibLab) =>
  [...lab.rib.routes('ipv4-unicast')].map(({ paths }) => paths[0]?.stale);

describe('a restart', () => {
  test('RFC 4724 §4.2: routes stay, are told on, and go with End-of-RIB unless they are said again', () => {
    const [lab, a, b] = restarting(120);
    const told = b.updates.length;
    a.down(true);
    lab.settle();
    expect(stale(lab)).toEqual(['short', 'short', 'short']);
    a.up();
    a.announce('ipv4-unicast', NETS.slice(1));
    lab.settle();
    expect(stale(lab)).toEqual(['short', undefined, undefined]);
    expect(b.updates.length).toBe(told);
    a.say({ endOfRib: 'ipv4-unicast' });
    lab.settle();
    expect(b.keys('ipv4-unicast')).toEqual([TWO, THREE]);
    expect(lab.rib.due).toBeUndefined();
  });

  test('RFC 4724 §4.2: not for longer than the neighbour said, or than is set', () => {
    for (const [said, kept] of [
      [30, 30],
      [300, 100],
    ] as const) {
      const [lab, a, b] = restarting(said);
      a.down(true);
      lab.pass(kept * 1000 - 1);
      expect(b.keys('ipv4-unicast').length).toBe(3);
      lab.pass(1);
      expect(b.keys('ipv4-unicast')).toEqual([]);
    }
  });

  test('RFC 4724 §4.2: one that comes back and never ends its table', () => {
    const [lab, a, b] = restarting(30);
    a.down(true);
    a.up();
    a.announce('ipv4-unicast', NETS.slice(0, 1));
    lab.pass(100_000);
    expect(b.keys('ipv4-unicast')).toEqual([ONE]);
  });

  test('RFC 4724 §4.2: what was stale when it is lost again goes', () => {
    const [lab, a, b] = restarting(120);
    a.down(true);
    a.up();
    a.announce('ipv4-unicast', NETS.slice(0, 1));
    a.down(true);
    lab.settle();
    expect(b.keys('ipv4-unicast')).toEqual([ONE]);
  });

  test('RFC 4724 §4.2: one whose forwarding was not kept', () => {
    const [lab, a, b] = restarting(120);
    a.down(true);
    a.up(['graceful-restart', 'long-lived-restart']);
    lab.settle();
    expect(b.keys('ipv4-unicast')).toEqual([]);
    expect(lab.rib.due).toBeUndefined();
  });

  test('a loss that is not graceful, or not offered', () => {
    for (const graceful of [false, true]) {
      const [lab, a, b] = restarting(120);
      if (graceful) {
        a.down();
        a.up(['graceful-restart']);
        a.announce('ipv4-unicast', NETS);
        lab.settle();
      }
      a.down(graceful);
      lab.settle();
      expect(b.keys('ipv4-unicast')).toEqual([]);
    }
  });

  test('another policy meanwhile: stale ones are judged and stay stale', () => {
    const [lab, a] = restarting(120);
    a.down(true);
    const set = {
      name: 's',
      terms: [{ name: 't', match: {}, action: 'accept' as const, set: { localPref: 7 } }],
    };
    const { options } = a;
    const neighbour = { ...options.neighbour, import: set };
    lab.rib.changePolicies(a.peer, neighbourOf({ ...options, neighbour }));
    lab.settle();
    expect(stale(lab)).toEqual(['short', 'short', 'short']);
    a.up();
    a.say({ endOfRib: 'ipv4-unicast' });
    lab.settle();
    expect(stale(lab)).toEqual([]);
  });
});

describe('RFC 9494: a long restart', () => {
  test('§4.2, 4.3: marked, least preferred, without those that ask for it not, and not for ever', () => {
    const [lab, a, b] = restarting(30, 500);
    a.announce('ipv4-unicast', NETS[2] as never, { communities: [COMMUNITIES.noLlgr] });
    a.announce('ipv4-unicast', NETS[1] as never, { communities: [5] });
    lab.settle();
    a.down(true);
    lab.pass(30_000);
    expect(stale(lab)).toEqual(['long', 'long']);
    expect(
      [...b.of('ipv4-unicast').values()].map(({ attributes }) => attributes.communities),
    ).toEqual([[COMMUNITIES.llgrStale], [5, COMMUNITIES.llgrStale]]);
    const other = lab.far({ name: 'c', address: '10.0.0.4', families: ['ipv4-unicast'] }).up();
    other.announce('ipv4-unicast', NETS[0] as never, { localPref: 1 });
    lab.settle();
    const [first] = lab.rib.routes('ipv4-unicast');
    expect(first?.paths.map(({ from }) => from)).toEqual(['c', 'a']);
    expect(lab.rib.lostBy(first!.paths[0]!, first!.paths[1]!)).toBe('llgr-stale');
    lab.pass(499_999);
    expect(lab.rib.held.entries).toBe(2);
    lab.pass(1);
    expect([...lab.rib.routes('ipv4-unicast')].map(({ key }) => key)).toEqual([ONE]);
  });

  test('§4.3: not to those who do not know what it is', () => {
    const [lab, a] = restarting(30, 500);
    const plain = lab.far({ name: 'c', address: '10.0.0.4', families: ['ipv4-unicast'] }).up();
    lab.settle();
    expect(plain.keys('ipv4-unicast').length).toBe(3);
    a.down(true);
    lab.pass(30_000);
    expect(plain.keys('ipv4-unicast')).toEqual([]);
  });

  test('a restart time of 0 is long at once; back again the marks go', () => {
    const [lab, a, b] = restarting(0, 500);
    a.down(true);
    lab.settle();
    expect(stale(lab)).toEqual(['long', 'long', 'long']);
    a.up();
    a.announce('ipv4-unicast', NETS.slice(0, 2));
    a.say({ endOfRib: 'ipv4-unicast' });
    lab.settle();
    expect(stale(lab)).toEqual([undefined, undefined]);
    expect(
      [...b.of('ipv4-unicast').values()].map(({ attributes }) => attributes.communities),
    ).toEqual([undefined, undefined]);
  });
});

describe('RFC 7911: paths with ids', () => {
  const several = (sendPaths: number) =>
    [{ family: 'ipv4-unicast', addPath: 'both', sendPaths }] as const;
  const capabilities = [
    ...ENHANCED,
    {
      kind: 'add-path' as const,
      families: [{ family: 'ipv4-unicast' as const, mode: 'both' as const }],
    },
  ];
  const ids = (far: Far) =>
    Object.fromEntries(
      [...far.of('ipv4-unicast').values()].map(({ nlri, attributes }) => [
        attributes.originatorId,
        nlri.pathId,
      ]),
    );

  test('the best few, each with an id that stays its own', () => {
    const lab = new RibLab();
    const options = { name: 'x', address: '10.0.0.200', families: several(2), capabilities };
    const to = lab.far(options).up();
    const fars = ['a', 'b', 'c'].map((name, at) => {
      const far = lab.far({ name, address: `10.0.0.${at + 2}`, client: true }).up();
      far.announce('ipv4-unicast', NETS[0] as never);
      return far;
    });
    lab.settle();
    const before = ids(to);
    expect(before).toEqual({ '10.0.0.2': 1, '10.0.0.3': 2 });
    fars[0]?.withdraw('ipv4-unicast', NETS[0] as never);
    lab.settle();
    // Not the first one's, which it still has when this one comes.
    expect(ids(to)).toEqual({ '10.0.0.3': 2, '10.0.0.4': 3 });
    // Another policy is another group: ids are the paths', not the group's.
    const policy = {
      name: 'p',
      terms: [{ name: 't', match: {}, action: 'accept' as const, set: { med: 4 } }],
    };
    lab.rib.changePolicies(to.peer, neighbourOf({ ...options, neighbour: { export: policy } }));
    const sent = to.updates.length;
    lab.settle();
    expect(ids(to)).toEqual({ '10.0.0.3': 2, '10.0.0.4': 3 });
    expect(to.updates.slice(sent).every(({ withdrawn }) => withdrawn.length === 0)).toBe(true);
  });

  test('several paths of one neighbour are several, and go one by one', () => {
    const lab = new RibLab();
    const from = lab
      .far({ name: 'f', address: '10.0.0.2', client: true, families: several(8), capabilities })
      .up();
    const to = lab.far({ name: 't', address: '10.0.0.3', families: several(8), capabilities }).up();
    const plain = lab.far({ name: 'p', address: '10.0.0.4', families: ['ipv4-unicast'] }).up();
    for (const pathId of [7, 8]) {
      from.announce('ipv4-unicast', { ...NETS[0], pathId } as never, { med: pathId });
    }
    lab.settle();
    expect([...lab.rib.routes('ipv4-unicast')][0]?.paths.length).toBe(2);
    expect(to.keys('ipv4-unicast')).toEqual([`${ONE} #1`, `${ONE} #2`]);
    expect(plain.keys('ipv4-unicast')).toEqual([ONE]);
    from.withdraw('ipv4-unicast', { ...NETS[0], pathId: 7 } as never);
    lab.settle();
    expect(to.keys('ipv4-unicast')).toEqual([`${ONE} #2`]);
    expect(plain.of('ipv4-unicast').get(ONE as string)?.attributes.med).toBe(8);
  });
});
