/**
 * What is observed of the control nodes of `clusterip` in the simulator: sessions as both ends see them, and one that is
 * killed under load. The twin of clusterip-netns-observed.ts; judging is not done here.
 */
import type { SimulatedCluster, SimulatedNode } from '../sim/cluster.ts';
import type { Stage } from '../sim/clusterip.ts';
import { WEB, WEB_PORT } from '../sim/clusterip-plan.ts';
import { load } from '../sim/clusterip-traffic.ts';
import { BATCH } from '../sim/connections.ts';
import type { SimulatedControl } from '../sim/control.ts';
import type { ControlKilled, SessionEnds } from './clusterip-control-expectations.ts';

/** Two batches of connections: it is killed while the SYNs of the second are on their way. */
const CONNECTIONS_AROUND_KILL = 2 * BATCH;

/** A node's view of its session with a control node. */
function sessionAt(node: SimulatedNode, control: SimulatedControl) {
  return node.source.view().find(({ name }) => name === control.name);
}

/** Of every node with every control node. */
export function sessionsOf({ nodes, controls }: SimulatedCluster): SessionEnds[] {
  return [...nodes.values()].flatMap((node) =>
    [...controls.values()].map((control) => ({
      node: node.name,
      control: control.name,
      atNode: sessionAt(node, control),
      atControl: control.sessions().find(({ name }) => name === node.name),
    })),
  );
}

export function killControl(stage: Stage, control: SimulatedControl): ControlKilled {
  const nodes = [...stage.cluster.nodes.values()];
  const others = [...stage.cluster.controls.values()].filter((other) => other !== control);
  const generations = () => nodes.map(({ dataplane }) => dataplane.info().generation);
  const before = generations();
  let doneBefore = 0;
  const done = load(stage, WEB, WEB_PORT, CONNECTIONS_AROUND_KILL, (ended) => {
    if (ended === 0) return;
    doneBefore = ended;
    control.kill();
  });
  const after = generations();
  return {
    control: control.name,
    left: others.filter(({ running }) => running).length,
    load: done,
    doneBefore,
    nodes: nodes.map((node, i) => ({
      node: node.name,
      commits: (after[i] ?? 0) - (before[i] ?? 0),
      killed: sessionAt(node, control),
      others: others.map((other) => sessionAt(node, other)),
    })),
  };
}
