/**
 * Prometheus metrics of BGP: series by neighbour and family, for both are few; routes are counted. A neighbour that is
 * gone has no series.
 */
import { Counter, Gauge, type Registry } from 'prom-client';
import type { NeighbourStatus } from '../bgp/session/status.ts';
import { VRouterError } from '../errors.ts';
import type { ServedBgp } from './control-bgp.ts';
import type { SpeakerView } from './control-bgp-views.ts';

const STATES = ['idle', 'connect', 'active', 'open-sent', 'open-confirm', 'established'] as const;
const ROUTES = ['received', 'accepted', 'advertised'] as const;

/** By neighbour: name, help, further labels, and what they have. */
interface Series {
  readonly name: string;
  readonly help: string;
  readonly labels: readonly string[];
  values(of: NeighbourStatus): readonly (readonly [Readonly<Record<string, string>>, number])[];
}

const one = (value: number): ReturnType<Series['values']> => [[{}, value]];
const each = (label: string, values: Readonly<Record<string, number>>) =>
  Object.entries(values).map(([key, value]) => [{ [label]: key }, value] as const);

const SERIES: readonly Series[] = [
  {
    ...{ name: 'up', help: '1: the session is established', labels: [] },
    values: ({ state }) => one(state === 'established' ? 1 : 0),
  },
  {
    ...{ name: 'state', help: `0 to 5: ${STATES.join(', ')}`, labels: [] },
    values: ({ state }) => one(STATES.indexOf(state)),
  },
  {
    ...{ name: 'age_seconds', help: 'It has been established, or has not', labels: [] },
    values: ({ ageMs }) => one(ageMs / 1000),
  },
  {
    ...{ name: 'flaps_total', help: 'Sessions that were established and lost', labels: [] },
    values: ({ flaps }) => one(flaps),
  },
  {
    ...{ name: 'waiting_bytes', help: 'Written to it and not taken yet', labels: [] },
    values: ({ waiting }) => one(waiting),
  },
  {
    ...{ name: 'messages_total', help: 'By kind', labels: ['direction', 'kind'] },
    values: ({ messagesIn, messagesOut }) => [
      ...each('kind', messagesIn).map(([l, n]) => [{ ...l, direction: 'in' }, n] as const),
      ...each('kind', messagesOut).map(([l, n]) => [{ ...l, direction: 'out' }, n] as const),
    ],
  },
  {
    ...{ name: 'bytes_total', help: 'Of messages', labels: ['direction'] },
    values: ({ bytesIn, bytesOut }) => each('direction', { in: bytesIn, out: bytesOut }),
  },
  {
    ...{ name: 'errors_total', help: 'Of its updates, by what followed (RFC 7606)' },
    labels: ['consequence'],
    values: ({ findings }) => each('consequence', findings),
  },
  {
    ...{ name: 'unsendable_total', help: 'Routes that fit into no message', labels: [] },
    values: ({ unsendable }) => one(unsendable),
  },
  {
    ...{ name: 'routes', help: 'Of a family: received, accepted, advertised' },
    labels: ['family', 'what'],
    values: ({ families }) =>
      families.flatMap((of) =>
        ROUTES.map((what) => [{ family: of.family, what }, of[what]] as const),
      ),
  },
  {
    ...{ name: 'family_disabled', help: '1: an error has ended it (RFC 7606)', labels: ['family'] },
    values: ({ families }) =>
      families.map(({ family, disabled }) => [{ family }, disabled ? 1 : 0] as const),
  },
];

export class BgpMetrics {
  readonly #series: readonly { readonly gauge: Gauge; readonly values: Series['values'] }[];
  readonly #speaker: Gauge;
  readonly #refused: Gauge;
  readonly #bridged: Gauge;
  readonly #leftOut: Gauge;
  readonly #sessions: Counter;

  constructor(registry: Registry) {
    const gauge = (name: string, help: string, labelNames: readonly string[]) =>
      new Gauge({
        ...{ name: `vrouter_control_bgp_${name}`, help, labelNames: [...labelNames] },
        registers: [registry],
      });
    this.#series = SERIES.map(({ name, help, labels, values }) => ({
      gauge: gauge(name, help, ['neighbour', ...labels]),
      values,
    }));
    this.#speaker = gauge('speaker_up', '1: the speaker answers', []);
    this.#refused = gauge('refused_total', 'Connections of nobody we know, or of too many', [
      'why',
    ]);
    const routes = 'Routes between tables and BGP; infeasible: learned, and not usable';
    this.#bridged = gauge('bridged_routes', routes, ['what']);
    this.#leftOut = gauge('left_out', 'Paths of agents that no route can be made of', ['why']);
    this.#sessions = new Counter({
      name: 'vrouter_control_bgp_sessions_total',
      help: 'Sessions that came up, and that went down',
      labelNames: ['state'],
      registers: [registry],
    });
  }

  session(state: 'up' | 'down'): void {
    this.#sessions.inc({ state });
  }

  async read({ call, federation }: ServedBgp): Promise<void> {
    const view = await viewOf(call);
    this.#speaker.set(view === undefined ? 0 : 1);
    const { neighbours = [], refused = 0, refusedByLimit = 0 } = view ?? {};
    for (const { gauge, values } of this.#series) {
      gauge.reset();
      for (const neighbour of neighbours) {
        for (const [labels, value] of values(neighbour))
          gauge.set({ neighbour: neighbour.name, ...labels }, value);
      }
    }
    this.#refused.set({ why: 'unknown' }, refused);
    this.#refused.set({ why: 'limit' }, refusedByLimit);
    const { originated, learned, infeasible, leftOut } = federation.counts();
    for (const [labels, value] of each('what', { originated, learned, infeasible }))
      this.#bridged.set(labels, value);
    for (const [why, count] of leftOut) this.#leftOut.set({ why }, count);
  }
}

/** Undefined: it is away. */
async function viewOf(call: ServedBgp['call']): Promise<SpeakerView | undefined> {
  try {
    return (await call('bgp.neighbors', {})) as SpeakerView;
  } catch (error) {
    if (error instanceof VRouterError && error.code === 'NO_SPEAKER') return undefined;
    throw error;
  }
}
