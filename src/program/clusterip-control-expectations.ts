/**
 * What must be seen of the control nodes in `clusterip`, simulated or real: that routes came over XMPP, and which label
 * they brought. Pure: from both ends' views of the sessions to expectations with a verdict each.
 */
import type { SessionView } from '../cli/control-views.ts';
import type { ControlNodeView } from '../cli/views.ts';
import type { Route } from '../rib/route.ts';
import type { ServicePlan } from '../sim/clusterip-plan.ts';
import type { Load } from '../sim/connections.ts';
import type { ControlAudit } from './control-audit.ts';
import type { Expectation } from './demo-report.ts';

/** One session as its two ends see it; nothing where an end does not know of it. */
export interface SessionEnds {
  readonly node: string;
  readonly control: string;
  readonly atNode: ControlNodeView | undefined;
  readonly atControl: SessionView | undefined;
}

function sessionText({ node, control, atNode, atControl }: SessionEnds): string {
  const state = atNode?.state ?? 'unknown';
  if (atControl === undefined) return `${node} - ${control}: ${state}, unknown to ${control}`;
  const { publishes, messages } = atControl.counters;
  return (
    `${node} - ${control}: ${state}, ${publishes} routes published, ` +
    `${atNode?.received ?? 0} heard in ${messages} messages`
  );
}

/** A route counts as heard where the node holds it from that session, and the other end says it sent messages. */
function carries({ atNode, atControl }: SessionEnds): boolean {
  return (
    atNode?.state === 'established' &&
    atControl?.state === 'established' &&
    atNode.published > 0 &&
    atControl.counters.publishes >= atNode.published &&
    atNode.received > 0 &&
    atControl.counters.messages > 0
  );
}

export function routesCameOverXmpp(sessions: readonly SessionEnds[]): Expectation {
  const controls = [...new Set(sessions.map(({ control }) => control))].join(' and ');
  return {
    id: 'xmpp',
    expected: `routes travel over XMPP: each node publishes to ${controls || 'a control node'} and hears all from it`,
    observed: sessions.map(sessionText).join('; ') || 'no session',
    ok: sessions.length > 0 && sessions.every(carries),
  };
}

/** The label under which a node has published a service, as a control node has it. */
export function publishedLabel(
  routes: readonly Pick<Route, 'prefix' | 'hops'>[],
  service: ServicePlan,
  address: string,
): number | undefined {
  const route = routes.find(({ prefix }) => prefix === `${service.ipv4}/32`);
  return route?.hops.find((hop) => hop.address === address)?.label;
}

/** What crossed the fabric: `ends` are the addresses of each node and each control node. */
export function fabricCarriedSessions(
  audit: Pick<ControlAudit, 'xmpp' | 'malformed' | 'sessions'>,
  ends: readonly { readonly node: string; readonly control: string }[],
): Expectation {
  const found = ends.map(({ node, control }) =>
    audit.sessions.find((seen) => seen.node === node && seen.control === control),
  );
  const text = audit.sessions.map(
    ({ node, control, publishes, events, toControl, toNode }) =>
      `${node} - ${control}: ${publishes} publishes in ${toControl} bytes, ${events} events in ${toNode}`,
  );
  return {
    id: 'xmpp-wire',
    expected:
      'the fabric carried these sessions and no others: TCP to port 5269, publishes one way, events the other',
    observed: `${audit.xmpp} frames, ${audit.malformed} malformed; ${text.join('; ') || 'no session'}`,
    ok:
      ends.length > 0 &&
      audit.malformed === 0 &&
      audit.sessions.length === ends.length &&
      found.every((seen) => seen !== undefined && seen.publishes > 0 && seen.events > 0),
  };
}

export interface ControlKilled {
  readonly control: string;
  /** Control nodes that are there after it. */
  readonly left: number;
  readonly load: Pick<Load, 'connections' | 'closed'>;
  /** Connections that had ended when it was killed. */
  readonly doneBefore: number;
  /** Of each node: commits to its data plane meanwhile, and what it then says of its sessions. */
  readonly nodes: readonly {
    readonly node: string;
    readonly commits: number;
    readonly killed: ControlNodeView | undefined;
    readonly others: readonly (ControlNodeView | undefined)[];
  }[];
}

/** The last one, too: a node without control nodes is headless, and forwards. */
export function killedControlCostsNothing(seen: ControlKilled): Expectation {
  const { control, left, load, doneBefore, nodes } = seen;
  const stateOf = (view: ControlNodeView | undefined) => view?.state ?? 'unknown';
  const text = nodes.map(
    ({ node, commits, killed, others }) =>
      `${node}: ${commits} commits, sessions ${[killed, ...others].map(stateOf).join(' and ')}`,
  );
  const which = left > 0 ? `${control} is` : `${control}, the last one, is`;
  const then = left > 0 ? ', the other session stays' : '';
  return {
    id: left > 0 ? 'control-killed' : 'headless',
    expected: `${which} killed with -9 under load: no connection fails, no table changes${then}`,
    observed: `${load.closed} of ${load.connections}, ${doneBefore} of them before it; ${text.join('; ')}`,
    ok:
      doneBefore > 0 &&
      doneBefore < load.connections &&
      load.closed === load.connections &&
      nodes.length > 0 &&
      nodes.every(
        ({ commits, killed, others }) =>
          commits === 0 &&
          killed !== undefined &&
          killed.state !== 'established' &&
          others.filter((view) => view?.state === 'established').length === left,
      ),
  };
}
