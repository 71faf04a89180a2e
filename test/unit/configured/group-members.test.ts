/** Members of security groups as routes say them, and the policies that are made of them. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { policyName } from '../../../src/configured/desired.ts';
import {
  type GroupMembers,
  LearnedGroups,
  withGroups,
} from '../../../src/configured/group-members.ts';
import { desiredState } from '../../../src/configured/translate.ts';
import type { Route, RouteSource, RouteUpdate } from '../../../src/rib/route.ts';
import { graphOf } from '../../support/config-graph.ts';
import { BLUE_RI, CONFIGURATION, configIqs, GROUP, VMI_UUID } from '../../support/config-text.ts';

const MINE = 8_000_001;
const route = (prefix: string, groups: readonly number[], instance = 'red'): Route => ({
  instance,
  family: prefix.includes(':') ? 'inet6' : 'inet',
  prefix,
  hops: [],
  ...(groups.length > 0 && { securityGroups: groups }),
});
const announce = (...rest: Parameters<typeof route>): RouteUpdate => ({
  type: 'announce',
  route: route(...rest),
});

test('members come, change and go, each in its instance; what is no host has none', () => {
  const groups = new LearnedGroups();
  const changes: number[][] = [];
  groups.onChange((changed) => changes.push([...changed].sort()));
  groups.take([announce('10.0.0.2/32', [1, 2]), announce('10.0.0.1/32', [1])]);
  groups.take([announce('10.0.0.9/32', [1], 'blue'), announce('fd00::1/128', [2])]);
  groups.take([announce('0.0.0.0/0', [1]), announce('10.0.0.0/24', [1]), announce('::/0', [1])]);
  expect(groups.of('red', 1)).toEqual(['10.0.0.1/32', '10.0.0.2/32']);
  expect(groups.of('red', 2)).toEqual(['10.0.0.2/32', 'fd00::1/128']);
  expect(groups.of('blue', 1)).toEqual(['10.0.0.9/32']);
  groups.take([announce('10.0.0.2/32', [2])]);
  expect(groups.of('red', 1)).toEqual(['10.0.0.1/32']);
  groups.take([announce('10.0.0.2/32', [2])]);
  groups.take([{ type: 'withdraw', key: route('10.0.0.1/32', []) }]);
  expect(groups.of('red', 1)).toEqual([]);
  groups.leave('red');
  expect(groups.of('red', 2)).toEqual([]);
  expect(groups.of('blue', 1)).toEqual(['10.0.0.9/32']);
  expect(changes).toEqual([[1, 2], [1, 2], [1], [1], [2]]);
});

test('any history leaves what a naive look at the routes that are left says', () => {
  const prefix = fc.nat(5).map((n) => `10.0.0.${n}/32`);
  const instance = fc.constantFrom('red', 'blue');
  const step = fc.oneof(
    { weight: 6, arbitrary: fc.tuple(fc.constant('a'), instance, prefix, fc.subarray([1, 2, 3])) },
    {
      weight: 3,
      arbitrary: fc.tuple(fc.constant('w'), instance, prefix, fc.constant([] as number[])),
    },
    {
      weight: 1,
      arbitrary: fc.tuple(fc.constant('l'), instance, prefix, fc.constant([] as number[])),
    },
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const groups = new LearnedGroups();
      const left = new Map<string, Route>();
      for (const [what, where, which, ids] of steps) {
        if (what === 'l') {
          groups.leave(where);
          for (const key of left.keys()) if (key.startsWith(where)) left.delete(key);
          continue;
        }
        const one = route(which, ids, where);
        if (what === 'a') left.set(`${where} ${which}`, one);
        else left.delete(`${where} ${which}`);
        groups.take([
          what === 'a' ? { type: 'announce', route: one } : { type: 'withdraw', key: one },
        ]);
      }
      for (const where of ['red', 'blue']) {
        for (const group of [1, 2, 3]) {
          const naive = [...left.values()]
            .filter((r) => r.instance === where && r.securityGroups?.includes(group))
            .map((r) => r.prefix)
            .sort();
          expect(groups.of(where, group)).toEqual(naive);
        }
      }
    }),
  );
});

test('a source is itself, and groups are known when its listener hears', () => {
  const groups = new LearnedGroups();
  const calls: string[] = [];
  let say: (updates: readonly RouteUpdate[]) => void = () => {};
  const source: RouteSource = {
    name: 'source',
    onUpdates: (listener) => {
      say = listener;
    },
    subscribe: (instance, id) => calls.push(`subscribe ${instance} ${id}`),
    unsubscribe: (instance) => calls.push(`unsubscribe ${instance}`),
    publish: ({ prefix }) => calls.push(`publish ${prefix}`),
    withdraw: ({ prefix }) => calls.push(`withdraw ${prefix}`),
    close: () => calls.push('close'),
  };
  const tapped = withGroups(source, groups);
  const known: (readonly string[])[] = [];
  tapped.onUpdates(() => known.push(groups.of('red', 1)));
  say([announce('10.0.0.1/32', [1])]);
  expect(known).toEqual([['10.0.0.1/32']]);
  tapped.subscribe('red', 7);
  tapped.publish(route('10.0.0.7/32', []));
  tapped.withdraw(route('10.0.0.7/32', []));
  tapped.unsubscribe('red');
  tapped.close();
  expect(calls).toEqual([
    'subscribe red 7',
    'publish 10.0.0.7/32',
    'withdraw 10.0.0.7/32',
    'unsubscribe red',
    'close',
  ]);
  expect(groups.of('red', 1)).toEqual([]);
});

test('a rule about a group passes its members, of the instance of the interface alone', () => {
  const name = policyName(`${GROUP}:ingress-access-control-list in ${BLUE_RI}`);
  const rules = (members: Record<string, readonly string[]>) => {
    const of: GroupMembers['of'] = (instance, group) =>
      group === MINE ? (members[instance] ?? []) : [];
    const graph = graphOf(configIqs(CONFIGURATION));
    const found = desiredState(graph, [{ name: 'pod1', vmi: VMI_UUID }], { of });
    expect(found.notes.filter(({ what }) => what.includes('group'))).toEqual([]);
    expect(found.vifs[0]?.ingress_groups).toEqual([name]);
    return found.policies.find((policy) => policy.name === name)?.rules;
  };
  const none = rules({ elsewhere: ['10.32.0.66/32'] });
  expect(JSON.stringify(none)).not.toContain('10.32.0.66');
  const some = rules({ [BLUE_RI]: ['10.32.0.7/32', '10.32.0.8/32'] });
  expect(some).toHaveLength((none?.length ?? 0) + 2);
  expect(some).toContainEqual({ action: 'pass', source: '10.32.0.7/32' });
});
