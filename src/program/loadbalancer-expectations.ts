/** What must be seen of `loadbalancer`. Pure: from observations to expectations with a verdict each. */
import type { NextHopView } from '../cli/views.ts';
import type { Load } from '../sim/connections.ts';
import {
  BACKENDS,
  EXTERNAL_TARGET,
  GATEWAY,
  INTERNET_HOST,
  NODES,
  SERVICE,
  SERVICE_PREFIX,
} from '../sim/loadbalancer-plan.ts';
import { countsText } from './clusterip-expectations.ts';
import type { Expectation } from './demo-report.ts';

export interface BgpRoute {
  readonly nextHop: string;
  readonly label: number;
  readonly targets: readonly string[];
  readonly encapsulations: readonly number[];
  /** What the compute node says itself. */
  readonly published: number | undefined;
}

const listed = (all: Iterable<string>) => [...all].join(', ') || 'none';
const sorted = (all: Iterable<string>) => [...all].sort().join(', ');
const ENDS = [NODES.first.ipv4, NODES.second.ipv4];
const tunnelTo = (end: string) => `gre ${GATEWAY.ipv4} -> ${end}`;
/** MPLS over GRE, as our nodes say it and as Contrail's do; and over UDP. */
const ENCAPSULATIONS = [2, 11, 13];

export function routesAtGateway(routes: readonly BgpRoute[]): Expectation {
  const text = ({ nextHop, label, targets, encapsulations }: BgpRoute) =>
    `${nextHop} label ${label} target ${listed(targets)} encapsulations ${encapsulations.join(' ')}`;
  return {
    id: 'bgp-routes',
    expected:
      `the gateway has ${SERVICE_PREFIX} by BGP from both compute nodes: each the next hop, with its label, ` +
      `target ${EXTERNAL_TARGET}, and what it takes`,
    observed: listed(routes.map(text)),
    ok:
      sorted(routes.map(({ nextHop }) => nextHop)) === sorted(ENDS) &&
      routes.every(
        ({ label, published, targets, encapsulations }) =>
          label === published &&
          listed(targets) === EXTERNAL_TARGET &&
          [...encapsulations].sort((a, b) => a - b).join() === ENCAPSULATIONS.join(),
      ),
  };
}

export function tunnelsFollow(tree: readonly NextHopView[]): Expectation {
  const tunnels = tree.filter(({ type }) => type === 'tunnel');
  const text = ({ flags, destination }: NextHopView) =>
    `${flags.find((flag) => flag.startsWith('MPLSo')) ?? 'tunnel'} to ${destination}`;
  return {
    id: 'tunnels',
    expected:
      'its next hop there is an ECMP set of two tunnels, MPLS over GRE, that nobody configured',
    observed: `${tree[0]?.type ?? 'no route'}: ${listed(tunnels.map(text))}`,
    ok:
      tree[0]?.type === 'ecmp' &&
      sorted(tunnels.map(text)) === sorted(ENDS.map((end) => `MPLSoGRE to ${end}`)),
  };
}

/** ends: of the tunnels that are to be used, and no others. */
export function carried(
  id: string,
  when: string,
  used: ReadonlyMap<string, number>,
  ends: readonly string[] = ENDS,
): Expectation {
  const outward = new Map([...used].filter(([tunnel]) => tunnel.includes(`${GATEWAY.ipv4} ->`)));
  return {
    id,
    expected: `${when}: ${ends.length === 1 ? 'one tunnel carries' : 'both tunnels carry'} what goes in`,
    observed: countsText(outward),
    ok: sorted(outward.keys()) === sorted(ends.map(tunnelTo)),
  };
}

/** backends: who is to serve, and nobody else. */
export function served(
  id: string,
  when: string,
  load: Load,
  backends: readonly string[] = BACKENDS.map(({ name }) => name),
): Expectation {
  const { connections, closed, changed, perBackend, answers, requests } = load;
  return {
    id,
    expected: `${when}: every connection is served whole, by ${backends.join(' and ')}`,
    observed: `${closed} of ${connections} closed, ${answers} of ${requests} requests answered (${countsText(perBackend)})`,
    ok:
      closed === connections &&
      answers === requests &&
      changed === 0 &&
      sorted(perBackend.keys()) === sorted(backends),
  };
}

export function addressesPass(
  callers: ReadonlySet<string>,
  heard: ReadonlySet<string>,
): Expectation[] {
  const service = `${SERVICE.ipv4}:${SERVICE.port}`;
  return [
    {
      id: 'caller',
      expected: `the pods are called by ${INTERNET_HOST.ipv4} and nobody else`,
      observed: listed(callers),
      ok: listed(callers) === INTERNET_HOST.ipv4,
    },
    {
      id: 'answers',
      expected: `the Internet host hears ${service} and nobody else`,
      observed: listed(heard),
      ok: listed(heard) === service,
    },
  ];
}

export interface Held {
  readonly open: number;
  /** Asked, and answered by the same pod as before, after what has happened. */
  readonly alive: number;
}

export function staysOpen(id: string, when: string, { open, alive }: Held): Expectation {
  return {
    id,
    expected: `${when}: connections of pods that are there stay with them`,
    observed: `${alive} of ${open} answered as before`,
    ok: open > 0 && alive === open,
  };
}

export function leaves(hops: readonly string[]): Expectation {
  return {
    id: 'withdrawn',
    expected: `with its last pod ${NODES.second.name} is no next hop any more`,
    observed: listed(hops),
    ok: listed(hops) === NODES.first.ipv4,
  };
}

export function keptAsStale(stale: readonly boolean[], commits: number): Expectation {
  const count = stale.filter((each) => each).length;
  return {
    id: 'stale',
    expected:
      'the session lost, its routes are kept as stale, and nothing changes in the data plane',
    observed: `${count} of ${stale.length} routes stale, ${commits} commits`,
    ok: stale.length > 0 && count === stale.length && commits === 0,
  };
}
