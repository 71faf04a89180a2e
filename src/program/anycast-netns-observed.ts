/**
 * What is observed of `anycast` on real kernels: sessions as control nodes say them, next hops as clients' nodes say
 * them, and what becomes of TCP connections when a control node, or all backends of a cluster, are lost. The twin of
 * anycast-observed.ts; judging is not done here.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import {
  type AnycastPlan,
  type ClusterPlan,
  HUB_NETWORK,
  POD_NETWORK,
  SERVICE,
  SPOKE_NETWORKS,
} from '../sim/anycast-plan.ts';
import {
  type Attempted,
  type BgpEnd,
  type ClusterLost,
  type ControlLost,
  leadsTo,
  type Way,
  waysOf,
} from './anycast-expectations.ts';
import { LabError, type Service } from './lab.ts';
import type { NetnsControl, NetnsNode } from './netns-processes.ts';
import type { NetnsStage, PlacedPod } from './netns-stage.ts';
import {
  connectionsOf,
  endedOf,
  TCP_CLIENT,
  type TcpConnection,
  type TcpLoad,
  tcpLoadOf,
  tcpRemovedOf,
} from './netns-tcp.ts';

const REQUESTS = 2;
const HELD = 100;
const OPENED = 100;
const AROUND_KILL = 400;
const NOTICED_MS = 10_000;
/** Next hops are waited for so long; the verdict is about much less. */
const PATIENCE_MS = 5_000;
const HELD_MS = 15_000;
const SETTLED_MS = 400;
const PINGS = 3;

export interface Kernels {
  readonly stage: NetnsStage;
  readonly plan: AnycastPlan;
}

const runningControls = ({ stage }: Kernels): NetnsControl[] =>
  [...stage.controls.values()].filter(({ service }) => service !== undefined);

export async function bgpEnds(kernels: Kernels): Promise<BgpEnd[]> {
  const ends = runningControls(kernels).map(async (control) => {
    const { neighbours } = await control.neighbours();
    return neighbours.map(({ name, state, families }) => ({
      control: control.name,
      neighbour: name,
      state,
      received: families.reduce((n, { received }) => n + received, 0),
    }));
  });
  return (await Promise.all(ends)).flat();
}

/** When all sessions are up, or patience is over. */
export async function bgpEndsUp(kernels: Kernels): Promise<BgpEnd[]> {
  const up = async () => {
    const ends = await bgpEnds(kernels);
    return ends.every(({ state }) => state === 'established') ? ends : undefined;
  };
  return (await kernels.stage.lab.poll(up, 30_000)) ?? bgpEnds(kernels);
}

const clientNodes = ({ stage, plan }: Kernels): NetnsNode[] =>
  plan.clusters[2].nodes.map(({ name }) => stage.node(name));

export async function serviceTree(node: NetnsNode) {
  return node.nextHopsTo(await node.vrf(POD_NETWORK), SERVICE.ipv4);
}

export function waysOfClients(kernels: Kernels): Promise<{ node: string; ways: Way[] }[]> {
  return Promise.all(
    clientNodes(kernels).map(async (node) => ({
      node: node.name,
      ways: waysOf(await serviceTree(node)),
    })),
  );
}

/** When each client's node has so many ways, or patience is over. */
export async function waysWhen(kernels: Kernels, count: number) {
  const ask = async () => {
    const seen = await waysOfClients(kernels);
    return seen.every(({ ways }) => ways.length === count) ? seen : undefined;
  };
  return (await kernels.stage.lab.poll(ask, PATIENCE_MS)) ?? waysOfClients(kernels);
}

// --- connections -------------------------------------------------------------------------------

const callers = ({ stage, plan }: Kernels): PlacedPod[] =>
  plan.clusters[2].pods.filter(({ vrf }) => vrf === POD_NETWORK).map(({ name }) => stage.pod(name));

/** One in each client pod: together `count` connections. */
function startClients(kernels: Kernels, mode: 'load' | 'hold', count: number): Service[] {
  const pods = callers(kernels);
  const { ipv4, port } = SERVICE;
  return pods.map((pod, i) => {
    const share = Math.floor((count + i) / pods.length);
    const argv = [process.execPath, '-e', TCP_CLIENT, mode, ipv4, `${port}`, `${share}`];
    const { namespace } = pod;
    return kernels.stage.lab.start(`${mode} of ${pod.plan.name}`, argv, {
      namespace,
      mayEnd: true,
    });
  });
}

async function endOf(services: readonly Service[]): Promise<TcpConnection[]> {
  const all = await Promise.all(
    services.map(async ({ ended, name }) => {
      const { out, err, status } = await ended;
      if (status !== 0) throw new LabError(`${name}: exit status ${status}: ${err.trim()}`);
      return connectionsOf(out);
    }),
  );
  return all.flat();
}

export async function load(kernels: Kernels, count: number): Promise<TcpLoad> {
  return tcpLoadOf(await endOf(startClients(kernels, 'load', count)), REQUESTS);
}

// --- a control node is killed ------------------------------------------------------------------

export async function killControl(kernels: Kernels, control: NetnsControl): Promise<ControlLost> {
  const { stage } = kernels;
  const nodes = [...stage.nodes.values()];
  const generations = () =>
    Promise.all(nodes.map(async (node) => Number((await node.status()).generation)));
  const before = await generations();
  const clients = startClients(kernels, 'load', AROUND_KILL);
  const ended = () => clients.reduce((n, { out }) => n + endedOf(out()), 0);
  await stage.lab.poll(async () => (ended() >= AROUND_KILL / 10 ? true : undefined), HELD_MS);
  const doneBefore = ended();
  await control.kill();
  const done = tcpLoadOf(await endOf(clients), REQUESTS);
  const noticed = () => sessionsWith(kernels, control);
  const settled = await stage.lab.poll(async () => {
    const seen = await noticed();
    return seen.every(({ state }) => state !== 'established') ? seen : undefined;
  }, NOTICED_MS);
  const after = await generations();
  return {
    control: control.name,
    load: done,
    doneBefore,
    commits: nodes.map(({ name }, i) => ({
      node: name,
      commits: (after[i] ?? 0) - (before[i] ?? 0),
    })),
    noticed: settled ?? (await noticed()),
  };
}

/** As others see them. */
async function sessionsWith(kernels: Kernels, { name, ipv4 }: NetnsControl) {
  const byXmpp = [...kernels.stage.nodes.values()].map(async (node) => {
    const { control = [] } = await node.status();
    return control
      .filter((view) => view.name.includes(ipv4))
      .map(({ state }) => ({ who: node.name, state: String(state) }));
  });
  const byBgp = (await bgpEnds(kernels))
    .filter(({ neighbour }) => neighbour === name)
    .map(({ control: who, state }) => ({ who, state }));
  return [...(await Promise.all(byXmpp)).flat(), ...byBgp];
}

// --- all backends of a cluster die -------------------------------------------------------------

/** How long it took is in the capture: `withdrawalOf`. */
export async function loseCluster(
  kernels: Kernels,
  lost: ClusterPlan,
  survivor: ClusterPlan,
): Promise<Omit<ClusterLost, 'withdrawnMs'>> {
  const { stage } = kernels;
  const held = startClients(kernels, 'hold', HELD);
  const ready = async () => (held.every(({ out }) => out().includes('ready')) ? true : undefined);
  await stage.lab.poll(ready, HELD_MS);
  await sleep(SETTLED_MS);
  const backends = lost.pods.filter(({ backend }) => backend).map(({ name }) => stage.pod(name));
  for (const pod of backends) await stage.silence(pod);
  await Promise.all(backends.map((pod) => stage.unplug(pod)));
  // To be asked would keep them from what is measured.
  await sleep(SETTLED_MS);
  const left = async () => {
    const seen = await waysOfClients(kernels);
    return seen.every(({ ways }) => !leadsTo(ways, lost)) ? true : undefined;
  };
  await stage.lab.poll(left, PATIENCE_MS);
  for (const { server } of backends) await server?.kill();
  await sleep(SETTLED_MS);
  const opened = await load(kernels, OPENED);
  const reports = await Promise.all(held.map((service) => service.stop()));
  const all = reports.flatMap(({ out }) => connectionsOf(out));
  const of = ({ pods }: ClusterPlan) =>
    all.filter(({ backend }) => pods.some(({ name }) => name === backend));
  const surviving = of(survivor);
  const open = surviving.filter(({ state }) => state === 'open').length;
  return {
    cluster: lost.name,
    survivor: survivor.name,
    surviving: { ...tcpLoadOf(surviving, 1), open },
    removed: tcpRemovedOf(of(lost)),
    opened,
  };
}

// --- hub and spokes ----------------------------------------------------------------------------

/** Each of them pings each other one, all at once. */
export async function meetEachOther({ stage, plan }: Kernels): Promise<Attempted[]> {
  const networks: readonly string[] = [HUB_NETWORK, ...SPOKE_NETWORKS];
  const members = plan.clusters
    .flatMap(({ pods }) => pods)
    .filter(({ vrf }) => networks.includes(vrf))
    .map(({ name }) => stage.pod(name));
  const attempts = members.flatMap((from) =>
    members.filter((to) => to !== from).map((to) => ({ from, to })),
  );
  const hub = (pod: PlacedPod) => pod.plan.vrf === HUB_NETWORK;
  const withHub = attempts.filter(({ from, to }) => hub(from) || hub(to));
  const between = attempts.filter((each) => !withHub.includes(each));
  const ping = async (from: PlacedPod, to: PlacedPod) => {
    const argv = ['ping', '-n', '-c', `${PINGS}`, '-i', '0.2', '-W', '2', to.plan.ipv4];
    const { out } = await stage.run(from, argv);
    return Number(/(\d+) received/.exec(out)?.[1] ?? 0) === PINGS;
  };
  const round = async (pairs: typeof attempts): Promise<Attempted[]> => {
    const before = new Map<PlacedPod, number>();
    for (const pod of members) before.set(pod, await echoesIn(stage, pod));
    const reached = await Promise.all(pairs.map(({ from, to }) => ping(from, to)));
    const delivered = new Map<PlacedPod, number>();
    for (const pod of members) {
      delivered.set(pod, (await echoesIn(stage, pod)) - (before.get(pod) ?? 0));
    }
    return pairs.map(({ from, to }, i) => ({
      from: from.plan.name,
      to: to.plan.name,
      reached: reached[i] === true,
      delivered: delivered.get(to) ?? 0,
    }));
  };
  return [...(await round(withHub)), ...(await round(between))];
}

/** Echo requests that came to its kernel. */
async function echoesIn(stage: NetnsStage, pod: PlacedPod): Promise<number> {
  const { out } = await stage.run(pod, ['cat', '/proc/net/snmp']);
  const [names = '', values = ''] = out.split('\n').filter((line) => line.startsWith('Icmp: '));
  const at = names.split(' ').indexOf('InEchos');
  if (at < 0) throw new LabError(`${pod.plan.name}: no count of echo requests`);
  return Number(values.split(' ')[at]);
}
