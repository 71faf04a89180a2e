/**
 * What is observed of `clusterip` on real kernels beside the clients: the capture of the fabric, the kernels' and the
 * nodes' counts, sessions as both ends see them, and a control node that is killed. Judging is not done here.
 */
import { readFileSync } from 'node:fs';
import { readPcap } from '../codec/pcap.ts';
import { controlNodeName } from '../config/node.ts';
import { FABRIC_WIRE } from '../sim/cluster.ts';
import { FabricAudit } from '../sim/fabric-audit.ts';
import type { ControlKilled, SessionEnds } from './clusterip-control-expectations.ts';
import type { CurlLoad } from './clusterip-curls.ts';
import { everyPacketAccounted } from './clusterip-expectations.ts';
import { ControlAudit } from './control-audit.ts';
import type { Expectation } from './demo-report.ts';
import type { NetnsControl, NetnsNode } from './netns-processes.ts';
import type { NetnsStage } from './netns-stage.ts';

const QUIET_MS = 10_000;
const NOTICED_MS = 5_000;

/** Of each node, when the kernels' counts and its own agree, or patience is over. */
export async function accountsOf(stage: NetnsStage): Promise<Expectation[]> {
  const accounts: Expectation[] = [];
  for (const node of stage.nodes.values()) {
    const read = async () => {
      const entered = await stage.entered(node);
      const { totals } = await node.status();
      return { node: node.name, entered, totals, dropped: await node.drops() };
    };
    const settled = await stage.lab.poll(async () => {
      const account = await read();
      return everyPacketAccounted(account).ok ? account : undefined;
    }, QUIET_MS);
    accounts.push(everyPacketAccounted(settled ?? (await read())));
  }
  return accounts;
}

/** A node's view of its session with a control node. */
async function sessionAt(node: NetnsNode, { ipv4 }: NetnsControl) {
  const name = controlNodeName({ address: ipv4 });
  return (await node.status()).control?.find((view) => view.name === name);
}

/** Of every node with every control node. */
export async function sessionsOf({ nodes, controls }: NetnsStage): Promise<SessionEnds[]> {
  const ends: SessionEnds[] = [];
  for (const control of controls.values()) {
    const sessions = await control.sessions();
    for (const node of nodes.values()) {
      ends.push({
        node: node.name,
        control: control.name,
        atNode: await sessionAt(node, control),
        atControl: sessions.find((session) => session.name === node.name),
      });
    }
  }
  return ends;
}

interface CurlsAroundKill {
  readonly count: number;
  readonly curls: (onEnd: (ended: number) => void) => Promise<CurlLoad>;
}

/** When a quarter of the curls have ended. */
export async function killControl(
  { nodes, controls, lab }: NetnsStage,
  control: NetnsControl,
  { count, curls }: CurlsAroundKill,
): Promise<ControlKilled> {
  const all = [...nodes.values()];
  const others = [...controls.values()].filter((other) => other !== control);
  const generations = () =>
    Promise.all(all.map(async (node) => Number((await node.status()).generation)));
  const before = await generations();
  let doneBefore = 0;
  let killed: Promise<void> | undefined;
  const load = await curls((ended) => {
    if (ended < count / 4 || killed !== undefined) return;
    doneBefore = ended;
    killed = control.kill();
  });
  await killed;
  const noticed = async () => {
    const views = await Promise.all(all.map((node) => sessionAt(node, control)));
    return views.some((view) => view?.state === 'established') ? undefined : true;
  };
  if (killed !== undefined) await lab.poll(noticed, NOTICED_MS);
  const after = await generations();
  return {
    control: control.name,
    left: others.filter(({ service }) => service !== undefined).length,
    load,
    doneBefore,
    nodes: await Promise.all(
      all.map(async (node, i) => ({
        node: node.name,
        commits: (after[i] ?? 0) - (before[i] ?? 0),
        killed: await sessionAt(node, control),
        others: await Promise.all(others.map((other) => sessionAt(node, other))),
      })),
    ),
  };
}

/** Tenants' frames, and control's; and how many of all came from the nodes. */
export function auditOf({ capture, plan }: Pick<NetnsStage, 'capture' | 'plan'>): {
  readonly audit: FabricAudit;
  readonly control: ControlAudit;
  readonly fromNodes: number;
} {
  const names = new Map(plan.nodes.map(({ name, mac }) => [mac, name]));
  const audit = new FabricAudit();
  const control = new ControlAudit();
  let fromNodes = 0;
  for (const { timeNs, frame } of readPcap('fabric.pcap', readFileSync(capture))) {
    const bytes = Buffer.from(frame.buffer, frame.byteOffset, frame.byteLength);
    const mac = (at: number) => bytes.toString('hex', at, at + 6).replace(/(..)(?!$)/g, '$1:');
    const [to, from] = [names.get(mac(0)) ?? '', names.get(mac(6)) ?? ''];
    if (from !== '') fromNodes += 1;
    if (!control.takes(bytes)) audit.see({ timeNs, wire: FABRIC_WIRE, from, to, frame: bytes });
  }
  return { audit, control, fromNodes };
}
