/**
 * What must be seen of the control nodes in `clusterip`, simulated or real: that routes came over XMPP, and which label
 * they brought. Pure: from both ends' views of the sessions to expectations with a verdict each.
 */
import type { SessionView } from '../cli/control-views.ts';
import type { ControlNodeView } from '../cli/views.ts';
import type { Route } from '../rib/route.ts';
import type { ServicePlan } from '../sim/clusterip-plan.ts';
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
