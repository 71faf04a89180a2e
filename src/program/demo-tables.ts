/** Views of a node as tables of a demonstration's report: the command, its text, the values. Pure. */
import { flowMatchText, parseFlowMatch } from '../cli/flow-match.ts';
import { renderExplain } from '../cli/render/explain.ts';
import { renderFlows } from '../cli/render/flow.ts';
import { renderLabels } from '../cli/render/labels.ts';
import { renderNextHopGet } from '../cli/render/nh.ts';
import { renderRoutes } from '../cli/render/rt.ts';
import { renderVif, VIF_HEADER } from '../cli/render/vif.ts';
import type {
  ExplainView,
  FlowListing,
  LabelView,
  NextHopView,
  RouteDump,
  VifView,
} from '../cli/views.ts';
import type { DemoTable } from './demo-report.ts';

/** `legend`: with the explanation of the flag letters, once is enough for a reader. */
export function vifTable(node: string, view: VifView, legend: boolean): DemoTable {
  const text = (legend ? VIF_HEADER : '') + renderVif(view);
  return { node, command: `vrouter vif --get ${view.id}`, view, text };
}

export function routeTable(node: string, dump: RouteDump): DemoTable {
  return { node, command: `vrouter rt --dump ${dump.vrf}`, view: dump, text: renderRoutes(dump) };
}

/** The next hop asked for comes first, then those it is composed of. */
export function nextHopTable(node: string, tree: readonly NextHopView[]): DemoTable {
  const id = tree[0]?.id ?? 0;
  return { node, command: `vrouter nh --get ${id}`, view: tree, text: renderNextHopGet(tree) };
}

export function labelTable(node: string, labels: readonly LabelView[]): DemoTable {
  return { node, command: 'vrouter mpls --dump', view: labels, text: renderLabels(labels) };
}

/** `listing` holds the flows that match. */
export function flowTable(node: string, match: string, listing: FlowListing): DemoTable {
  const text = renderFlows(listing, flowMatchText(parseFlowMatch(match)));
  return { node, command: `vrouter flow --match "${match}"`, view: listing, text };
}

export function explainTable(node: string, what: string, view: ExplainView): DemoTable {
  return { node, command: `vrouter explain (${what})`, view, text: renderExplain(view.lines) };
}
