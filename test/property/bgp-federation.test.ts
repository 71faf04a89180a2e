/**
 * Clusters joined by BGP against one flat recomputation: whatever agents say and unsay, targets and sessions do, in
 * whatever order, at the end each instance of each cluster shows what the model has, which knows no RIB, no session and
 * no order. Within one AS nothing is changed on the way; to another one a preference is not told, and the way counts.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Clusters } from '../support/federation-lab.ts';
import {
  type ModelInstance,
  type ModelPath,
  modelBest,
  modelRank,
} from '../support/route-model.ts';

const SIZE = 3;
const INSTANCES = ['red', 'blue'] as const;
const PREFIXES = ['10.0.0.1/32', '10.0.0.0/24', 'fd00::1/128', '02:00:00:00:00:01'] as const;
/** Of a cluster: an agent is in one instance only, its RD has its name. */
const AGENTS = ['red', 'red', 'blue'] as const;

type Step =
  | {
      do: 'say';
      cluster: number;
      agent: number;
      prefix: string;
      label: number;
      preference?: number | undefined;
      sequence?: number | undefined;
      med?: number | undefined;
    }
  | { do: 'unsay'; cluster: number; agent: number; prefix: string }
  | { do: 'lose'; cluster: number; agent: number }
  | { do: 'targets'; cluster: number; instance: string; import: string[]; export: string[] }
  | { do: 'shut' | 'open'; cluster: number; other: number }
  | { do: 'settle'; ms: number };

const cluster = fc.integer({ min: 0, max: SIZE - 1 });
const agent = fc.integer({ min: 0, max: AGENTS.length - 1 });
const prefix = fc.constantFrom(...PREFIXES);
const targets = fc.uniqueArray(fc.constantFrom('1:1', '1:2', '1:3'), { maxLength: 2 });
const optional = (...values: number[]) =>
  fc.option(fc.constantFrom(...values), { nil: undefined, freq: 2 });
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({
      ...{ do: fc.constant('say' as const), cluster, agent, prefix },
      label: fc.integer({ min: 16, max: 18 }),
      preference: optional(100, 200, 50),
      sequence: optional(1),
      med: optional(200, 5),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({ do: fc.constant('unsay' as const), cluster, agent, prefix }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('lose' as const), cluster, agent }) },
  {
    weight: 4,
    arbitrary: fc.record({
      ...{ do: fc.constant('targets' as const), cluster, instance: fc.constantFrom(...INSTANCES) },
      ...{ import: targets, export: targets },
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constantFrom('shut' as const, 'open' as const),
      cluster,
      other: cluster,
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('settle' as const),
      ms: fc.constantFrom(0, 1, 3, 2000),
    }),
  },
);

const addressOf = (at: number, who: number): string => `192.0.2.${at * 10 + who + 1}`;
/** An instance of a cluster, as the model calls it. */
const nameOf = (at: number, instance: string): string => `${at} ${instance}`;

type Said = ModelPath & { hop: string };

/** Higher is better; as it is seen in an instance of whichever cluster. */
function rankAt(path: Said, instance: string): number[] {
  const [preference, sequence, med] = modelRank(path);
  const own = path.instance[0] === instance[0];
  return own ? [preference, sequence, 0, med] : [100, sequence, -1, med];
}

function beats(a: Said, b: Said, instance: string): boolean {
  const [ra, rb] = [rankAt(a, instance), rankAt(b, instance)];
  const at = ra.findIndex((value, i) => value !== rb[i]);
  return at >= 0 && (ra[at] as number) > (rb[at] as number);
}

/** modelBest of clusters that are ASes. */
function bestBetween(
  paths: readonly Said[],
  instances: ReadonlyMap<string, ModelInstance>,
  instance: string,
  prefix: string,
): Said[] {
  const all = paths.filter((path) => path.prefix === prefix);
  const takes = (name: string, from: string) =>
    instances.get(from)?.export.some((target) => instances.get(name)?.import.includes(target)) ===
    true;
  const arrives = (path: Said, name: string): boolean =>
    path.instance === name ||
    (takes(name, path.instance) &&
      !all.some((other) => beats(other, path, path.instance) && arrives(other, path.instance)));
  const there = all.filter((path) => arrives(path, instance));
  return there.filter((path) => !there.some((other) => beats(other, path, instance)));
}

class Run {
  readonly clusters = new Clusters();
  readonly instances = new Map<string, ModelInstance>();
  readonly said = new Map<string, Said>();
  readonly #best: typeof bestBetween;
  readonly #lowest: number;

  constructor(rtc: boolean, external: boolean) {
    this.#best = external ? bestBetween : modelBest;
    // Where it is not told, two below the default would prefer each other's.
    this.#lowest = external ? 100 : 0;
    for (let at = 0; at < SIZE; at++) {
      const made = this.clusters.add(external ? 64512 + at : 64512);
      for (const name of INSTANCES) {
        made.tables.createInstance({ name, import: ['1:1'], export: ['1:1'] });
        this.instances.set(nameOf(at, name), { import: ['1:1'], export: ['1:1'], links: [] });
      }
    }
    const families = (['vpnv4', 'vpnv6', 'evpn'] as const).map((family) => ({ family }));
    this.clusters.mesh(rtc ? {} : { families });
    this.clusters.settle();
  }

  take(s: Step): void {
    if (s.do === 'settle') {
      this.clusters.settle(s.ms / 1000);
      return;
    }
    const at = this.clusters.all[s.cluster] as (typeof this.clusters.all)[number];
    if (s.do === 'targets') {
      at.tables.updateInstance({ name: s.instance, import: s.import, export: s.export });
      this.instances.set(nameOf(s.cluster, s.instance), {
        import: s.import,
        export: s.export,
        links: [],
      });
    } else if ('other' in s) {
      const other = this.clusters.all[s.other]?.address ?? '';
      if (s.do === 'shut') at.speaker.shutdown(other);
      else at.speaker.enable(other);
    } else {
      this.#speak(s, at);
    }
  }

  #speak(
    s: Extract<Step, { do: 'say' | 'unsay' | 'lose' }>,
    at: (typeof this.clusters.all)[number],
  ): void {
    const address = addressOf(s.cluster, s.agent);
    const instance = AGENTS[s.agent] as string;
    if (s.do === 'lose') {
      at.lose(address);
      for (const key of [...this.said.keys()])
        if (key.startsWith(`${address} `)) this.said.delete(key);
      return;
    }
    const key = `${address} ${s.prefix}`;
    if (s.do === 'unsay') {
      at.unsay(address, instance, s.prefix);
      this.said.delete(key);
      return;
    }
    const { preference, sequence, med } = s;
    const localPreference = preference && Math.max(preference, this.#lowest);
    at.say(address, instance, s.prefix, s.label, {
      ...(localPreference !== undefined && { localPreference }),
      ...(sequence !== undefined && { sequence }),
      ...(med !== undefined && { med }),
    });
    this.said.set(key, {
      ...{ agent: address, instance: nameOf(s.cluster, instance), prefix: s.prefix },
      ...{ localPreference, sequence, med, hop: `${address} ${s.label}` },
    });
  }

  /** Returns how many prefixes are shown from elsewhere. */
  check(): number {
    for (const one of this.clusters.all)
      for (const other of this.clusters.all) one.speaker.enable(other.address);
    this.clusters.settle(30);
    let elsewhere = 0;
    const paths = [...this.said.values()];
    for (const [at, of] of this.clusters.all.entries()) {
      for (const name of INSTANCES) {
        const expected = new Map<string, string[]>();
        for (const each of PREFIXES) {
          const best = this.#best(paths, this.instances, nameOf(at, name), each);
          if (best.length > 0) expected.set(each, [...new Set(best.map(({ hop }) => hop))].sort());
          elsewhere += Number(best.some(({ instance }) => !instance.startsWith(`${at} `)));
        }
        const sorted = (table: Map<string, string[]>) =>
          [...table].sort(([a], [b]) => (a < b ? -1 : 1));
        expect(sorted(of.shows(name)), `${name} of cluster ${at}`).toEqual(sorted(expected));
      }
    }
    return elsewhere;
  }
}

test.each([
  ['within an AS', true, false],
  ['within an AS, everything to everyone', false, false],
  ['between ASes', true, true],
])('any history ends as if all were one: %s', (_name, rtc, external) => {
  let elsewhere = 0;
  fc.assert(
    fc.property(fc.array(step, { minLength: 10, maxLength: 80 }), (steps) => {
      const run = new Run(rtc, external);
      for (const s of steps) run.take(s);
      elsewhere += run.check();
    }),
    { numRuns: 50 },
  );
  expect(elsewhere, 'and these are not histories of nothing').toBeGreaterThan(100);
});
