/** Steps from what is there to what is to be: none for what is equal, and every one in an order that works. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { ConfiguredVif, DesiredState } from '../../../src/configured/desired.ts';
import { type HeldState, type Step, stepsTo } from '../../../src/configured/difference.ts';
import { desiredState } from '../../../src/configured/translate.ts';
import { ConfigGraph } from '../../../src/ifmap/graph.ts';
import {
  type RandomConfiguration,
  randomConfiguration,
} from '../../support/random-configuration.ts';

const vif = (name: string, vrf: string, more: Partial<ConfiguredVif> = {}): ConfiguredVif => ({
  name,
  vrf,
  tenant_mac: '02:00:00:00:00:01',
  ipv4: '10.0.0.1',
  ...more,
});
const state = (more: Partial<DesiredState>): DesiredState => ({
  vrfs: [],
  policies: [],
  vifs: [],
  waiting: [],
  notes: [],
  groups: new Set(),
  ...more,
});
const held = ({ vrfs, policies, vifs }: DesiredState) => ({
  vrfs: new Map(vrfs.map((one) => [one.name, one])),
  policies: new Map(policies.map((one) => [one.name, one])),
  vifs: new Map(vifs.map((one) => [one.name, one])),
});
const text = (step: Step<ConfiguredVif>): string => {
  const { type } = step;
  if ('vrf' in step) return `${type} ${step.vrf.name}`;
  if ('policy' in step) return `${type} ${step.policy.name}`;
  return `${type} ${'vif' in step ? step.vif.name : step.name}`;
};
const steps = (from: DesiredState, to: DesiredState) => stepsTo(held(from), to).map(text);

const red = state({ vrfs: [{ name: 'red', vni: 5 }], vifs: [vif('a', 'red'), vif('b', 'red')] });

describe('steps', () => {
  test('of what is new', () => {
    expect(steps(state({}), red)).toEqual(['vrf.add red', 'vif.set a', 'vif.set b']);
  });

  test('of one floating IP: its own interface, and nothing else', () => {
    const fip = { address: '10.96.0.1', vrf: 'red' };
    const to = state({ ...red, vifs: [vif('a', 'red'), vif('b', 'red', { floating_ips: [fip] })] });
    expect(steps(red, to)).toEqual(['vif.set b']);
  });

  test('of a network that is another by its VNI: what is in it goes and comes again', () => {
    const to = state({ ...red, vrfs: [{ name: 'red', vni: 6 }] });
    expect(steps(red, to)).toEqual([
      'vif.remove a',
      'vif.remove b',
      'vrf.remove red',
      'vrf.add red',
      'vif.set a',
      'vif.set b',
    ]);
  });

  test('of a move: the new network first, the old one last', () => {
    const to = state({ vrfs: [{ name: 'blue' }], vifs: [vif('a', 'blue'), vif('b', 'blue')] });
    expect(steps(red, to)).toEqual(['vrf.add blue', 'vif.set a', 'vif.set b', 'vrf.remove red']);
  });
});

function asked({ nodes, links, ports }: RandomConfiguration): DesiredState {
  const graph = new ConfigGraph();
  for (const node of nodes) graph.apply({ kind: 'node', node });
  for (const link of links) graph.apply({ kind: 'link', link });
  return desiredState(graph, ports);
}

/** Does the steps as an agent would, which refuses what is used or is not there. */
function done(from: DesiredState, to: DesiredState): HeldState<ConfiguredVif> {
  const now = held(from);
  const uses = (v: ConfiguredVif) => ({
    vrfs: [v.vrf, ...(v.floating_ips ?? []).map(({ vrf }) => vrf)],
    policies: [
      ...(v.network_policies ?? []),
      ...(v.ingress_groups ?? []),
      ...(v.egress_groups ?? []),
    ],
  });
  const used = (kind: 'vrfs' | 'policies', name: string) =>
    [...now.vifs.values()].some((v) => uses(v)[kind].includes(name));
  for (const step of stepsTo(now, to)) {
    if (step.type === 'vrf.add') {
      expect(now.vrfs.has(step.vrf.name)).toBe(false);
      now.vrfs.set(step.vrf.name, step.vrf);
    } else if (step.type === 'policy.set') now.policies.set(step.policy.name, step.policy);
    else if (step.type === 'vif.set') {
      for (const kind of ['vrfs', 'policies'] as const)
        for (const name of uses(step.vif)[kind]) expect(now[kind].has(name), name).toBe(true);
      now.vifs.set(step.vif.name, step.vif);
    } else if (step.type === 'vif.remove') expect(now.vifs.delete(step.name)).toBe(true);
    else {
      const kind = step.type === 'vrf.remove' ? 'vrfs' : 'policies';
      expect(used(kind, step.name), text(step)).toBe(false);
      expect(now[kind].delete(step.name)).toBe(true);
    }
  }
  return now;
}

test('from any configuration to any other: no step is refused, and the end is what is asked', () => {
  fc.assert(
    fc.property(randomConfiguration, randomConfiguration, (one, other) => {
      const [from, to] = [asked(one), asked(other)];
      expect(done(from, to)).toEqual(held(to));
      expect(stepsTo(held(to), asked(other))).toEqual([]);
    }),
    { numRuns: 200 },
  );
});
