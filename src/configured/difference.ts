/**
 * From what is there to what is to be, as steps in an order that always works: an interface goes before the network and
 * the policies that it uses, and comes after them. Pure.
 *
 * Invariant: what is equal makes no step. A network of another VNI is another network: its interfaces go and come again.
 */
import { isDeepStrictEqual } from 'node:util';
import type { PolicyFile, VrfFile } from '../config/node.ts';
import type { ConfiguredVif, DesiredState } from './desired.ts';

/** `V`: an interface with what the host says of it. */
export interface HeldState<V extends ConfiguredVif> {
  readonly vrfs: ReadonlyMap<string, VrfFile>;
  readonly policies: ReadonlyMap<string, PolicyFile>;
  readonly vifs: ReadonlyMap<string, V>;
}

export type WantedState<V extends ConfiguredVif> = Pick<DesiredState, 'vrfs' | 'policies'> & {
  readonly vifs: readonly V[];
};

export type Step<V extends ConfiguredVif> =
  | { readonly type: 'vif.remove' | 'vrf.remove' | 'policy.remove'; readonly name: string }
  | { readonly type: 'vrf.add'; readonly vrf: VrfFile }
  | { readonly type: 'policy.set'; readonly policy: PolicyFile }
  | { readonly type: 'vif.set'; readonly vif: V };

function named<T extends { readonly name: string }>(all: readonly T[]): Map<string, T> {
  return new Map(all.map((one) => [one.name, one]));
}

function vrfsOf({ vrf, floating_ips = [] }: ConfiguredVif): string[] {
  return [vrf, ...floating_ips.map((fip) => fip.vrf)];
}

export function stepsTo<V extends ConfiguredVif>(
  held: HeldState<V>,
  desired: WantedState<V>,
): Step<V>[] {
  const vrfs = named(desired.vrfs);
  const policies = named(desired.policies);
  const vifs = named(desired.vifs);
  const others = desired.vrfs.filter(
    (vrf) => held.vrfs.has(vrf.name) && !isDeepStrictEqual(held.vrfs.get(vrf.name), vrf),
  );
  const remade = new Set(others.map(({ name }) => name));
  const gone = (vif: V) => !vifs.has(vif.name) || vrfsOf(vif).some((vrf) => remade.has(vrf));
  const steps: Step<V>[] = [];
  const leaving = new Set([...held.vifs.values()].filter(gone).map(({ name }) => name));
  for (const name of leaving) steps.push({ type: 'vif.remove', name });
  for (const { name } of others) steps.push({ type: 'vrf.remove', name });
  for (const vrf of desired.vrfs) {
    if (!held.vrfs.has(vrf.name) || remade.has(vrf.name)) steps.push({ type: 'vrf.add', vrf });
  }
  for (const policy of desired.policies) {
    if (!isDeepStrictEqual(held.policies.get(policy.name), policy))
      steps.push({ type: 'policy.set', policy });
  }
  for (const vif of desired.vifs) {
    if (leaving.has(vif.name) || !isDeepStrictEqual(held.vifs.get(vif.name), vif))
      steps.push({ type: 'vif.set', vif });
  }
  for (const name of held.policies.keys()) {
    if (!policies.has(name)) steps.push({ type: 'policy.remove', name });
  }
  for (const name of held.vrfs.keys()) {
    if (!vrfs.has(name)) steps.push({ type: 'vrf.remove', name });
  }
  return steps;
}
