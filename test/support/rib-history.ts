/**
 * Histories for the RIB (who takes part is in rib-cast.ts), and a runner that does each step to
 * the RIB and to its naive twin (rib-model.ts), and compares what is held at the ends.
 */
import { expect } from 'vitest';
import type { IpText } from '../../src/addr/ip.ts';
import type { Nlri } from '../../src/bgp/rib/contract.ts';
import type { Attributes } from '../../src/bgp/wire/attributes.ts';
import { nlriKey } from '../../src/bgp/wire/family.ts';
import type { FamilyName } from '../../src/bgp/wire/family-names.ts';
import { HOPS, KINDS, POLICIES, ROUTES, TRAITS } from './rib-cast.ts';
import { type Far, type FarOptions, membership, neighbourOf, RibLab, US } from './rib-lab.ts';
import { heldText, type ModelPeer, RibModel } from './rib-model.ts';

export type Step =
  | {
      readonly do: 'announce' | 'withdraw';
      readonly far: number;
      readonly family: number;
      readonly route: number;
      readonly pathId: number;
      readonly traits: readonly number[];
      readonly hop: number;
    }
  | {
      readonly do: 'originate' | 'retract';
      readonly family: number;
      readonly route: number;
      readonly traits: readonly number[];
    }
  | { readonly do: 'want'; readonly targets: readonly string[] }
  | { readonly do: 'import' | 'export'; readonly far: number; readonly policy: number }
  | {
      readonly do:
        | 'up'
        | 'down'
        | 'lose'
        | 'bounce'
        | 'forgetful'
        | 'end'
        | 'block'
        | 'ask'
        | 'again';
      readonly far: number;
    }
  | { readonly do: 'pass'; readonly seconds: number }
  | { readonly do: 'flush' | 'check' };

type RouteStep = Extract<Step, { route: number; far: number }>;
type SessionStep = Exclude<Extract<Step, { far: number }>, RouteStep>;

interface Pair {
  readonly far: Far;
  readonly model: ModelPeer;
  /** What it says whenever it is up, by family and key. */
  readonly says: Map<
    string,
    { family: FamilyName; nlri: Nlri; attributes: Attributes; hop: string }
  >;
  isBlocked: boolean;
  asked: number;
}

const FAMILIES: readonly FamilyName[] = ['ipv4-unicast', 'vpnv4', 'evpn', 'rtc'];

export class History {
  readonly lab: RibLab;
  model!: RibModel;
  pairs: Pair[] = [];
  readonly #multipath: number;

  constructor(multipath = 2) {
    this.#multipath = multipath;
    this.lab = new RibLab({ multipath });
    this.begin();
  }

  /** Neighbours come, none of them up; again after `end`. */
  begin(): void {
    this.model = new RibModel(this.#multipath);
    this.lab.best.clear();
    this.pairs = KINDS.map((options) => this.#add(options));
    const nlri = { bits: 0, originAs: 0, target: '00'.repeat(8) };
    this.#ours('rtc', nlri, { origin: 'igp', asPath: [] });
  }

  #add(options: FarOptions): Pair {
    const far = this.lab.far(options);
    const sends = (options.families ?? []).flatMap((each) =>
      typeof each === 'object' && each.addPath === 'both' ? [each.family] : [],
    );
    const has = (kind: string) => options.capabilities?.some((each) => each.kind === kind) === true;
    const model: ModelPeer = {
      neighbour: neighbourOf(options),
      as: options.as ?? US,
      id: far.address,
      addPath: new Set(sends),
      sendPaths: 2,
      longLived: false,
      canAsk: has('route-refresh'),
      isUp: false,
      said: new Map(),
      until: new Map(),
    };
    this.model.peers.push(model);
    return { far, model, says: new Map(), isBlocked: false, asked: 0 };
  }

  #ours(family: FamilyName, nlri: Nlri, attributes: Attributes): void {
    const said = { nlri, attributes, nextHop: '10.0.0.1', stale: 'no' as const };
    this.model.ours.set(`${family} ${nlriKey(family, nlri)}`, { family, said });
  }

  run(step: Step): void {
    const { rib } = this.lab;
    if (step.do === 'announce' || step.do === 'withdraw') this.#say(step as RouteStep);
    else if (step.do === 'originate' || step.do === 'retract') {
      const family = FAMILIES[step.family % 3] as FamilyName;
      const nlri = (ROUTES[family] as Nlri[])[step.route % 3] as Nlri;
      if (step.do === 'retract') {
        rib.withdraw(family, nlri);
        this.model.ours.delete(`${family} ${nlriKey(family, nlri)}`);
      } else {
        const attributes = this.#attributes(step.traits, US);
        rib.originate({ family, nlri, attributes, nextHop: { address: '10.0.0.1' as IpText } });
        this.#ours(family, nlri, attributes);
      }
    } else if (step.do === 'want') this.#want(step.targets);
    else if (step.do === 'pass') {
      this.#flow();
      this.#pass(step.seconds * 1000);
    } else if (step.do === 'flush') this.#flow();
    else if (step.do === 'check') this.check();
    else this.#session(step as SessionStep);
  }

  #attributes(traits: readonly number[], as: number): Attributes {
    const all = traits.map((at) => TRAITS[at % TRAITS.length] as Attributes);
    const mixed: Attributes = Object.assign({ origin: 'igp' }, ...all);
    // Those that an external peer's would lose on the way in.
    if (as === US) return { asPath: [], ...mixed };
    const { localPref: _, originatorId: __, clusterList: ___, ...rest } = mixed;
    const tail = rest.asPath?.[0]?.asns ?? [];
    return { ...rest, asPath: [{ kind: 'sequence', asns: [as, ...tail] }] };
  }

  #say(step: RouteStep): void {
    const pair = this.pairs[step.far % this.pairs.length] as Pair;
    const { model } = pair;
    if (step.do === 'withdraw') {
      this.#unsay(pair, step.route);
      return;
    }
    const families = model.neighbour.families.map(({ family }) => family);
    const family = families[step.family % families.length] as FamilyName;
    const routes = ROUTES[family] as readonly Nlri[];
    const route = routes[step.route % routes.length] as Nlri;
    const nlri = model.addPath.has(family) ? { ...route, pathId: step.pathId } : route;
    const key = `${family} ${nlriKey(family, nlri)}`;
    const attributes = this.#attributes(step.traits, model.as);
    const said = { family, nlri, attributes, hop: HOPS[step.hop % HOPS.length] as string };
    pair.says.set(key, said);
    if (model.isUp) this.#tell(pair, said);
  }

  /** One of those that it says. */
  #unsay({ far, model, says }: Pair, which: number): void {
    const all = [...says];
    const [key, said] = all[which % Math.max(1, all.length)] ?? [];
    if (key === undefined || said === undefined) return;
    says.delete(key);
    if (!model.isUp) return;
    far.withdraw(said.family, said.nlri);
    this.model.withdraw(model, said.family, said.nlri);
  }

  #tell(
    { far, model }: Pair,
    said: { family: FamilyName; nlri: Nlri; attributes: Attributes; hop: string },
  ): void {
    const { family, nlri, attributes, hop } = said;
    far.announce(family, nlri, attributes, hop);
    this.model.announce(model, family, { nlri, attributes, nextHop: hop });
  }

  #want(list: readonly string[]): void {
    this.lab.rib.want(new Set(list));
    for (const target of ['65000:1', '65000:2', '65000:5']) {
      const nlri = membership(target);
      if (list.includes(target)) this.#ours('rtc', nlri, { origin: 'igp', asPath: [] });
      else this.model.ours.delete(`rtc ${nlriKey('rtc', nlri)}`);
    }
  }

  #session(step: SessionStep): void {
    const pair = this.pairs[step.far % this.pairs.length] as Pair;
    const { far, model } = pair;
    const { rib } = this.lab;
    if (step.do === 'import' || step.do === 'export') {
      const { import: _, export: __, ...neighbour } = model.neighbour;
      const policy = POLICIES[step.policy % POLICIES.length];
      const policies = { import: model.neighbour.import, export: model.neighbour.export };
      const next = { ...policies, [step.do]: policy };
      model.neighbour = {
        ...neighbour,
        ...(next.import === undefined ? {} : { import: next.import }),
        ...(next.export === undefined ? {} : { export: next.export }),
      };
      rib.changePolicies(far.peer, model.neighbour);
      this.model.judge(model);
    } else if (step.do === 'up' || step.do === 'forgetful') {
      if (model.isUp) return;
      const keeps = step.do === 'up';
      model.longLived = keeps && model.neighbour.longLivedTime !== undefined;
      far.up(keeps ? [] : ['graceful-restart', 'long-lived-restart']);
      this.model.up(model, this.lab.now, keeps && model.neighbour.restartTime !== undefined);
      for (const said of pair.says.values()) this.#tell(pair, said);
    } else if (step.do === 'bounce') {
      // It has lost something while it was away.
      for (const each of ['lose', 'unsay', 'up'] as const) {
        if (each === 'unsay') this.#unsay(pair, step.far);
        else this.#session({ do: each, far: step.far });
      }
    } else if (step.do === 'end') this.#endsOfRib(pair);
    else if (step.do === 'block') pair.isBlocked = !pair.isBlocked;
    else if (step.do === 'down' || step.do === 'lose') {
      if (!model.isUp) return;
      // A session that was made without the capability is not kept.
      const graceful = step.do === 'lose';
      far.down(graceful);
      this.model.down(model, graceful && pair.far.keeps, this.lab.now);
    } else if (model.isUp && step.do === 'ask' && model.canAsk) {
      const { families } = model.neighbour;
      for (const { family } of families) far.peer.refresh({ family, kind: 'request' });
    } else if (model.isUp && step.do === 'again') this.#again(pair, 'ipv4-unicast', true);
  }

  #endsOfRib({ far, model }: Pair): void {
    if (!model.isUp) return;
    for (const { family } of model.neighbour.families) {
      far.say({ endOfRib: family });
      this.model.endOfRib(model, family);
    }
  }

  /** Says a family again, between marks where it has them. */
  #again(pair: Pair, family: FamilyName, marks: boolean): void {
    const { far, model } = pair;
    if (!model.neighbour.families.some((each) => each.family === family)) return;
    if (marks) far.peer.refresh({ family, kind: 'begin' });
    for (const said of pair.says.values()) if (said.family === family) this.#tell(pair, said);
    if (!marks) return;
    far.peer.refresh({ family, kind: 'end' });
    // Stale ones too have not been said between the marks.
    for (const [key, each] of model.said) {
      if (each.family === family && !pair.says.has(key)) model.said.delete(key);
    }
  }

  /** Whoever reads, reads; who is asked to say again, does. */
  #flow(): void {
    for (let quiet = false; !quiet; ) {
      quiet = true;
      this.lab.settle(this.pairs.filter(({ isBlocked }) => !isBlocked).map(({ far }) => far));
      for (const pair of this.pairs) {
        const requests = pair.far.refreshes.splice(0).filter(({ kind }) => kind === 'request');
        for (const { family } of requests) {
          if (pair.model.isUp) this.#again(pair, family as FamilyName, pair.model.canAsk);
          quiet = false;
        }
      }
    }
  }

  #pass(ms: number): void {
    const end = this.lab.now + ms;
    for (let due = this.lab.rib.due; due !== undefined && due <= end; due = this.lab.rib.due) {
      this.lab.now = Math.max(this.lab.now, due);
      this.lab.rib.tick(this.lab.now);
      this.model.pass(this.lab.now);
    }
    this.lab.now = end;
    this.model.pass(end);
    this.#flow();
  }

  /** What every neighbour holds is what the twin says it must. */
  /** Returns how many routes neighbours hold. */
  check(): number {
    let held = 0;
    for (const pair of this.pairs) pair.isBlocked = false;
    this.#flow();
    // Nobody waits for memberships any longer.
    this.#pass(60_001);
    for (const { far, model } of this.pairs) {
      for (const { family } of model.neighbour.families) {
        held += far.of(family).size;
        expect(heldBy(far, family), `${far.options.name} ${family}`).toEqual(
          Object.fromEntries([...this.model.told(model, family)].sort()),
        );
        if (model.isUp) expect(far.endsOfRib).toContain(family);
      }
    }
    this.#checkBest();
    this.#checkCounts();
    return held;
  }

  #checkBest(): void {
    for (const family of FAMILIES) {
      const expected = [...this.model.paths(family)].sort(([a], [b]) => (a < b ? -1 : 1));
      const routes = [...this.lab.rib.routes(family)];
      expect(routes.map(({ key }) => key)).toEqual(expected.map(([key]) => key));
      for (const [at, [key, all]] of expected.entries()) {
        const { paths, used } = this.model.ranked(all);
        const names = paths.map(({ from, nlri }) => [from?.neighbour.name, nlri.pathId]);
        expect(routes[at]?.paths.map(({ from, nlri }) => [from, nlri.pathId])).toEqual(names);
        expect(routes[at]?.best).toBe(used);
        const heard = this.lab.best.get(`${family} ${key}`)?.paths;
        expect(heard?.map(({ from, nlri }) => [from, nlri.pathId])).toEqual(names.slice(0, used));
        const [best] = routes[at]?.paths ?? [];
        for (const [rank, path] of (routes[at]?.paths ?? []).entries()) {
          const lost = this.lab.rib.lostBy(best as typeof path, path);
          expect(lost === undefined).toBe(rank < used);
        }
      }
    }
  }

  #checkCounts(): void {
    for (const { far, model } of this.pairs) {
      const counts = this.lab.rib.counts(far.peer);
      for (const { family } of model.neighbour.families) {
        const mine = [...model.said.values()].filter((each) => each.family === family);
        const accepted = mine.filter(({ said }) => this.model.accepted(model, family, said));
        expect(counts.get(family)?.accepted ?? 0).toBe(accepted.length);
        if (model.isUp) expect(counts.get(family)?.received ?? 0).toBe(mine.length);
        expect(counts.get(family)?.advertised ?? 0).toBe(far.of(family).size);
      }
    }
  }

  /** All neighbours go, and all of ours: nothing may be left. */
  end(): void {
    for (const { far } of this.pairs) this.lab.rib.removePeer(far.peer);
    for (const { family, said } of this.model.ours.values())
      this.lab.rib.withdraw(family, said.nlri);
    this.lab.rib.want(new Set());
    this.lab.run();
    this.lab.fars.length = 0;
    this.pairs = [];
    expect(this.lab.rib.held).toEqual({ said: 0, entries: 0, slots: 0 });
  }
}

function heldBy(far: Far, family: FamilyName): Record<string, string[]> {
  const held = new Map<string, string[]>();
  for (const { nlri, attributes, nextHop } of far.of(family).values()) {
    const { pathId: _, ...rest } = nlri;
    const key = nlriKey(family, rest as Nlri);
    held.set(key, [...(held.get(key) ?? []), heldText(nlri, attributes, nextHop.address)].sort());
  }
  return Object.fromEntries([...held].sort());
}
