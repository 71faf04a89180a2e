import { beforeEach, describe, expect, test } from 'vitest';
import { DesiredTables, type SetOp, sameOp } from '../../../src/agent/tables.ts';
import { RecordingDataplane } from '../../support/recording-dataplane.ts';

const vrf = (id: number): SetOp => ({ op: 'vrf_set', vrf: id, name: `v${id}`, flowQuota: 0 });
const vif = (id: number, nextHop: number, policy?: number): SetOp => ({
  op: 'vif_set',
  vif: id,
  name: `t${id}`,
  type: 3,
  port: id,
  mac: '00:00:5e:00:01:00',
  vrf: 1,
  flags: 0,
  mtu: 1500,
  nextHop,
  ipv4: '',
  ipv6: '',
  gateway4: '',
  gateway6: '',
  flowQuota: 0,
  networkPolicies: policy === undefined ? [] : [{ policy }],
  ingressGroups: [],
  egressGroups: [],
});
const face = (id: number, vifId: number): SetOp => ({
  op: 'nh_interface_set',
  nextHop: id,
  vrf: 1,
  vif: vifId,
  flags: 0,
  destinationMac: '',
  sourceMac: '',
});
const route = (last: number, nextHop: number): SetOp => ({
  op: 'route_set',
  vrf: 1,
  prefix: `10.0.0.${last}/32`,
  nextHop,
  label: 0xfffff,
  flags: 0,
  hashFields: 0,
  mac: '',
});
const ecmp = (id: number, ...members: number[]): SetOp => ({
  op: 'nh_ecmp_set',
  nextHop: id,
  vrf: 1,
  flags: 0,
  hashFields: 0,
  members: members.map((nextHop, member) => ({ member, nextHop, label: 0xfffff, weight: 1 })),
});

let tables: DesiredTables;
let dataplane: RecordingDataplane;
beforeEach(() => {
  tables = new DesiredTables();
  dataplane = new RecordingDataplane();
});

function commit(): string[] {
  for (const program of tables.plan()) {
    dataplane.commit(program.map((p) => p.op));
    tables.settle(program);
  }
  tables.settled();
  return dataplane.sent();
}
const put = (...ops: SetOp[]) => {
  for (const op of ops) tables.put(op, 'test');
};

test('make before break, whatever order things were asked for in', () => {
  put(route(1, 9), ecmp(9, 7), face(7, 3), vif(3, 7), vrf(1));
  expect(commit()).toEqual([
    'vrf_set 1',
    'vif_set 3',
    'nh_interface_set 7',
    'nh_ecmp_set 9',
    'route_set 1 10.0.0.1/32',
  ]);
  put(vif(4, 8), face(8, 4), ecmp(10, 8), route(1, 10));
  for (const key of ['vif 3', 'nh 7', 'nh 9']) tables.drop(key);
  expect(commit()).toEqual([
    'vif_set 4',
    'nh_interface_set 8',
    'nh_ecmp_set 10',
    'route_set 1 10.0.0.1/32',
    'nh_delete 9',
    'nh_delete 7',
    'vif_delete 3',
  ]);
});

describe('one op per object and commit', () => {
  test('many changes are one', () => {
    put(vrf(1), vif(3, 7), face(7, 3));
    commit();
    for (let i = 0; i < 100; i++) put(route(1, i % 2 === 0 ? 0 : 7));
    expect(commit()).toEqual(['route_set 1 10.0.0.1/32']);
  });

  test('there and back is none, made and dropped is none', () => {
    put(vrf(1), route(1, 0));
    commit();
    put(route(2, 0));
    tables.drop('route 1 10.0.0.2/32');
    tables.drop('route 1 10.0.0.1/32');
    put(route(1, 0));
    expect(tables.pending).toBe(true);
    expect(commit()).toEqual([]);
    expect(tables.pending).toBe(false);
  });
});

test('a refused commit changes nothing: the same is planned again, and more', () => {
  put(vrf(1));
  commit();
  put(route(1, 99)); // leads nowhere
  expect(() => commit()).toThrow('needs next_hops 99');
  expect(dataplane.rows('route_set')).toEqual([]);
  put(vif(3, 99), face(99, 3));
  expect(commit()).toEqual(['vif_set 3', 'nh_interface_set 99', 'route_set 1 10.0.0.1/32']);
});

test('more than fits one Program is cut, and no Program has loose ends', () => {
  put(vrf(1));
  const many = 40_000;
  for (let i = 0; i < many; i++) put(vif(3 + i, 1 + i), face(1 + i, 3 + i));
  const programs = tables.plan();
  expect(programs.length).toBeGreaterThan(1);
  expect(Math.max(...programs.map((p) => p.length))).toBeLessThanOrEqual(65_536);
  expect(commit()).toHaveLength(2 * many + 1);
  for (let i = 0; i < many; i++)
    for (const key of [`vif ${3 + i}`, `nh ${1 + i}`]) tables.drop(key);
  expect(commit()).toHaveLength(2 * many);
});

test('resume: what was found is compared, not remembered', () => {
  put(vrf(1), route(1, 0), route(2, 0));
  commit();
  dataplane.commit([{ op: 'route_delete', vrf: 1, prefix: '10.0.0.1/32' }, vrf(9)]);
  dataplane.sent();
  tables.resume([...dataplane.rows('vrf_set'), ...dataplane.rows('route_set')]);
  expect(commit()).toEqual(['route_set 1 10.0.0.1/32', 'vrf_delete 9']);
});

test('sameOp looks at fields, not at their order', () => {
  expect(sameOp({ a: 1, b: [{ c: 2 }] }, { b: [{ c: 2 }], a: 1 })).toBe(true);
  expect(sameOp({ a: 1 }, { a: 1, b: undefined })).toBe(false);
  expect(sameOp({ a: [1, 2] }, { a: [2, 1] })).toBe(false);
});
