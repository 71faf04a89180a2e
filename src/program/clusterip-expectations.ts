/**
 * What must be seen of `clusterip`: from observations to expectations with a verdict each. Pure, and from
 * plain values and views only, so that a run on real kernels is judged by the same sentences.
 */
import type { FlowView, NextHopView, VifView } from '../cli/views.ts';
import {
  BACKENDS,
  CLIENT,
  MULTI_PORT,
  NODES,
  type PodPlan,
  WEB,
  WEB_PORT,
} from '../sim/clusterip-plan.ts';
import type { Hairpin, PortLoad, Scale, Unmapped } from '../sim/clusterip-traffic.ts';
import type { Load } from '../sim/connections.ts';
import { ENTROPY_PORTS, type FabricAudit } from '../sim/fabric-audit.ts';
import type { Expectation } from './demo-report.ts';

const NOTHING = 'nothing of the kind';
const GATEWAY_MAC = '00:00:5e:00:01:00';
/** IPv4 and TCP headers, and what MPLS over UDP adds outside: IPv4, UDP, one label. */
const TENANT_HEADERS = 40;
const TUNNEL_HEADERS = 20 + 8 + 4;
const FABRIC_MTU = 1500;

const percent = (part: number, whole: number) =>
  whole === 0 ? '0.0 %' : `${((100 * part) / whole).toFixed(1)} %`;
const shares = (counts: ReadonlyMap<string, number>, whole: number) =>
  counts.size === 0
    ? 'no backend answered'
    : [...counts].map(([name, n]) => `${name} ${percent(n, whole)} (${n})`).join(', ');
export const countsText = (counts: ReadonlyMap<string, number>) =>
  counts.size === 0 ? 'none' : [...counts].map(([name, n]) => `${name} ${n}`).join(', ');

// --- the tables --------------------------------------------------------------------------------

export function gatewayAnswers(mac: string | undefined): Expectation {
  return {
    id: 'gateway',
    expected: `the vRouter answers ARP for the pod network's gateway, with ${GATEWAY_MAC}`,
    observed: mac ?? 'no answer',
    ok: mac === GATEWAY_MAC,
  };
}

export function vifShowsPod(vif: VifView | undefined, vrf: number, pod: PodPlan): Expectation {
  return {
    id: 'vif',
    expected: `vif --get on ${pod.node} shows the ${pod.name} pod: ${pod.ipv4} in VRF ${vrf}, with policy`,
    observed:
      vif === undefined
        ? NOTHING
        : `vif0/${vif.id} ${vif.name}, ${vif.ipv4 ?? 'no address'}, VRF ${vif.vrf}, flags ${vif.flags.join('')}`,
    ok: vif?.ipv4 === pod.ipv4 && vif.vrf === vrf && vif.flags.includes('P'),
  };
}

function memberText(nextHop: NextHopView | undefined, label: number | null): string {
  const suffix = label === null ? '' : ` label ${label}`;
  if (nextHop === undefined) return 'a next hop that is not there';
  if (nextHop.type === 'tunnel') {
    const kind = nextHop.flags.find((flag) => flag !== 'Valid') ?? 'tunnel';
    return `${kind} ${nextHop.source} -> ${nextHop.destination}${suffix}`;
  }
  if (nextHop.type === 'interface') return `vif0/${nextHop.vif}${suffix}`;
  return nextHop.type;
}

/**
 * The service's route on the client's node: `tree` as `nh --get` gives it, `label` that of the remote
 * backend on its own node, `vif` that of the local one.
 */
export function compositeOfTwo(
  tree: readonly NextHopView[],
  remoteLabel: number | undefined,
  localVif: number | undefined,
): Expectation {
  const [composite] = tree;
  const members = (composite?.slots ?? []).map((slot) => ({
    label: slot?.label ?? null,
    nextHop: tree.find((nextHop) => nextHop.id === slot?.nextHop),
  }));
  const tunnel = members.filter(
    ({ nextHop, label }) =>
      nextHop?.type === 'tunnel' &&
      nextHop.flags.includes('MPLSoUDP') &&
      nextHop.source === NODES.client.ipv4 &&
      nextHop.destination === NODES.remote.ipv4 &&
      label !== null &&
      label === remoteLabel,
  );
  const local = members.filter(
    ({ nextHop }) => nextHop?.type === 'interface' && nextHop.vif === localVif,
  );
  const isEcmp = composite?.type === 'ecmp' && composite.flags.includes('Ecmp');
  return {
    id: 'composite',
    expected:
      `${NODES.client.name} reaches ${WEB.ipv4}/32 by a composite of two: MPLSoUDP ` +
      `${NODES.client.ipv4} -> ${NODES.remote.ipv4} with the label that ${NODES.remote.name} published ` +
      `(${remoteLabel ?? 'none'}), and vif0/${localVif ?? '?'} of ${BACKENDS[0].name}`,
    observed: isEcmp
      ? members.map(({ nextHop, label }) => memberText(nextHop, label)).join(', ')
      : (composite?.type ?? 'no route'),
    ok: isEcmp && members.length === 2 && tunnel.length === 1 && local.length === 1,
  };
}

// --- one connection to the other node ----------------------------------------------------------

const ends = (flow: FlowView) =>
  `${flow.source}:${flow.sourcePort} > ${flow.destination}:${flow.destinationPort}`;
const action = (flow: FlowView) =>
  flow.action === 'N' ? `N(${flow.nat})` : flow.action === 'D' ? `D(${flow.drop})` : flow.action;
const flowText = (flow: FlowView) => `${ends(flow)} Action:${action(flow)}`;
const flowsText = (flows: readonly FlowView[]) =>
  flows.length === 0 ? 'no flow' : flows.map(flowText).join('; ');

/** Both halves of the connection's flow on the client's node, then on the backend's. */
export function flowsOfConnection(
  onClient: readonly FlowView[],
  onBackend: readonly FlowView[],
  backend: PodPlan,
): Expectation[] {
  const [there, back] = onBackend;
  const mentionsBackend = onClient.some((f) =>
    [f.source, f.destination, f.natSource, f.natDestination].includes(backend.ipv4),
  );
  const all = [...onClient, ...onBackend];
  return [
    {
      id: 'client-flow',
      expected: `${NODES.client.name} only forwards (Action:F both ways) and knows ${WEB.ipv4}, not ${backend.ipv4}`,
      observed: flowsText(onClient),
      ok: onClient.length === 2 && onClient.every((f) => f.action === 'F') && !mentionsBackend,
    },
    {
      id: 'backend-flow',
      expected: `${backend.node} translates: N(DPd) towards ${backend.ipv4}, N(SPs) back`,
      observed: flowsText(onBackend),
      ok:
        onBackend.length === 2 &&
        there?.action === 'N' &&
        there.nat === 'DPd' &&
        there.natDestination === backend.ipv4 &&
        back?.action === 'N' &&
        back.nat === 'SPs' &&
        back.natSource === WEB.ipv4,
    },
    {
      id: 'tcp-state',
      expected: 'the established session is SSrEEr on both nodes',
      observed: all.length === 0 ? 'no flow' : all.map((f) => f.tcp || '-').join(', '),
      ok: all.length === 4 && all.every((f) => f.tcp === 'SSrEEr'),
    },
  ];
}

export function addressesSeen(
  heard: ReadonlySet<string>,
  callers: ReadonlySet<string>,
): Expectation[] {
  const services = [WEB, MULTI_PORT].flatMap(({ ipv4, ports }) =>
    ports.map(({ port }) => `${ipv4}:${port}`),
  );
  const own = [CLIENT.ipv4, WEB.ipv4, ...BACKENDS.map(({ ipv4 }) => ipv4)];
  return [
    {
      id: 'client-sees-service',
      expected: 'the client hears from service addresses and ports only, never from a pod',
      observed: heard.size === 0 ? 'nothing' : [...heard].sort().join(', '),
      ok: heard.size > 0 && [...heard].every((end) => services.includes(end)),
    },
    {
      id: 'backend-sees-client',
      expected: `backends see the client's own address, ${CLIENT.ipv4}`,
      observed: callers.size === 0 ? 'nobody' : [...callers].sort().join(', '),
      ok: callers.has(CLIENT.ipv4) && [...callers].every((caller) => own.includes(caller)),
    },
  ];
}

// --- many connections --------------------------------------------------------------------------

/** 5 points either way for 1,000 connections and more; chance spreads fewer further. */
export function tolerance(connections: number): number {
  return 5 * Math.max(1, Math.sqrt(1000 / Math.max(1, connections)));
}

export function loadIsSpread(load: Load, backends: number): Expectation {
  const fair = 100 / backends;
  const points = tolerance(load.connections);
  const low = Math.max(0, fair - points);
  const high = Math.min(100, fair + points);
  const within = [...load.perBackend.values()].every((n) => {
    const share = (100 * n) / load.connections;
    return share >= low && share <= high;
  });
  // Of very few connections, all may go to one.
  const everyone = low > 0 ? backends : 1;
  return {
    id: 'spread',
    expected: `each of ${backends} backends gets ${low.toFixed(0)} to ${high.toFixed(0)} % of ${load.connections} new connections`,
    observed: shares(load.perBackend, load.connections),
    ok: load.perBackend.size >= everyone && load.perBackend.size <= backends && within,
  };
}

export function loadIsServed(load: Load): Expectation[] {
  return [
    {
      id: 'pinned',
      expected: 'all packets of a connection stay with one backend',
      observed: `${load.changed} of ${load.connections} connections changed backend`,
      ok: load.changed === 0 && load.answers > 0,
    },
    {
      id: 'answered',
      expected: 'every request is answered',
      observed: `${load.answers} answers to ${load.requests} requests`,
      ok: load.requests > 0 && load.answers === load.requests,
    },
    {
      id: 'closed',
      expected: 'every connection is closed in good order',
      observed: `${load.closed} of ${load.connections}`,
      ok: load.closed === load.connections,
    },
  ];
}

export function portsAreServed(loads: readonly PortLoad[]): Expectation[] {
  return loads.map((load) => ({
    id: `multi-port-${load.port}`,
    expected: `${MULTI_PORT.ipv4}:${load.port} is answered from port ${load.toPort}, by both backends`,
    observed:
      `${load.answers} of ${load.requests} requests answered, on port ${load.servedOn.join(', ') || '-'}: ` +
      countsText(load.perBackend),
    ok:
      load.answers === load.requests &&
      load.servedOn.length === 1 &&
      load.servedOn[0] === load.toPort &&
      load.perBackend.size === 2,
  }));
}

export function unmappedIsRefused(seen: Unmapped, port: number): Expectation {
  const actions = new Map<string, number>();
  for (const { node, action } of seen.refused) {
    const text = `${action} on ${node}`;
    actions.set(text, (actions.get(text) ?? 0) + 1);
  }
  return {
    id: 'unmapped',
    expected: `${WEB.ipv4}:${port} is refused by name: D(NoFipPortMap), Flow Action Drop, nothing delivered`,
    observed:
      `${seen.tries} tries: ${countsText(actions)}; ${seen.dropped} Flow Action Drop, ` +
      `${seen.delivered} segments delivered, ${seen.answered} answered`,
    ok:
      seen.refused.length === seen.tries &&
      seen.refused.every((r) => r.action === 'D(NoFipPortMap)') &&
      seen.dropped === seen.tries &&
      seen.delivered === 0 &&
      seen.answered === 0,
  };
}

export function hairpinWorks(seen: Hairpin): Expectation {
  return {
    id: 'hairpin',
    expected: `${seen.backend} reaches itself through ${WEB.ipv4}, and sees the service as its client`,
    observed: seen.reached
      ? `after ${seen.tries} connections, seen from ${seen.seenFrom.join(', ') || 'nowhere'}; ` +
        `${seen.answers} of ${seen.requests} requests answered`
      : `not in ${seen.tries} connections; ${seen.answers} of ${seen.requests} requests answered`,
    ok:
      seen.reached &&
      seen.answers === seen.requests &&
      seen.seenFrom.length === 1 &&
      seen.seenFrom[0] === WEB.ipv4,
  };
}

// --- scaling -----------------------------------------------------------------------------------

export function scalingWorks(seen: Scale): Expectation[] {
  const { surviving, removed, phases, survivor } = seen;
  const numbers = phases.map(({ backends }) => backends.length).join(' -> ');
  return [
    {
      id: 'scale-spread',
      expected: `while the service scales ${numbers}, new connections go to every backend there is, and to no other`,
      observed: phases.map(({ opened }) => countsText(opened)).join(' | '),
      ok: phases.every(
        ({ backends, opened }) =>
          opened.size === backends.length && backends.every((name) => opened.has(name)),
      ),
    },
    {
      id: 'scale-survivors',
      expected: `no packet of a connection on ${survivor}, which stays, is lost or moved`,
      observed:
        `${surviving.connections} connections, ${surviving.requests} requests 10 ms apart, ` +
        `${surviving.answers} answers, ${surviving.changed} changed backend, ${surviving.open} open until ` +
        `the end, ${surviving.closed} closed in good order`,
      ok:
        surviving.connections > 0 &&
        surviving.answers === surviving.requests &&
        surviving.changed === 0 &&
        surviving.open === surviving.connections &&
        surviving.closed === surviving.connections &&
        seen.neverServed === 0,
    },
    {
      id: 'scale-removed',
      expected:
        'connections of backends that are taken away end at once, by a reset or without an answer',
      observed:
        `${removed.connections} connections: ${removed.reset} reset, ${removed.silent} unanswered, ` +
        `${removed.alive} still served, ${removed.changed} answered by another backend`,
      ok:
        removed.connections > 0 &&
        removed.reset + removed.silent === removed.connections &&
        removed.changed === 0,
    },
  ];
}

// --- the wires ---------------------------------------------------------------------------------

/** What a capture of the fabric showed; a FabricAudit is one. */
export type FabricSeen = Pick<
  FabricAudit,
  'frames' | 'malformed' | 'faults' | 'sourcePorts' | 'directions' | 'portsInRange'
>;

/** `beside`: what else may be there. */
export function fabricIsSound(audit: FabricSeen, beside = ''): Expectation[] {
  const wanted = [
    `${NODES.client.ipv4} -> ${NODES.remote.ipv4}`,
    `${NODES.remote.ipv4} -> ${NODES.client.ipv4}`,
  ];
  const directions = [...audit.directions.keys()];
  const { low, high } = ENTROPY_PORTS;
  const ports = [...audit.sourcePorts];
  return [
    {
      id: 'fabric',
      expected: `everything on the fabric${beside} is MPLS over UDP to port 6635, between the two nodes; nothing malformed`,
      observed:
        `${audit.frames} frames (${[...audit.directions].map(([d, n]) => `${d}: ${n}`).join(', ') || 'none'}), ` +
        `${audit.malformed} malformed${audit.faults.size > 0 ? ` (${[...audit.faults].join(', ')})` : ''}`,
      ok:
        audit.frames > 0 &&
        audit.malformed === 0 &&
        directions.length === 2 &&
        directions.every((direction) => wanted.includes(direction)),
    },
    {
      id: 'entropy',
      expected: `more than one UDP source port, all in ${low}..${high}`,
      observed:
        ports.length === 0
          ? 'none'
          : `${ports.length} ports, ${Math.min(...ports)} to ${Math.max(...ports)}`,
      ok: ports.length > 1 && audit.portsInRange,
    },
  ];
}

export function tenantsAreContent(
  bad: ReadonlyMap<string, number>,
  mss: number | undefined,
): Expectation[] {
  const fits = FABRIC_MTU - TUNNEL_HEADERS - TENANT_HEADERS;
  const total = [...bad.values()].reduce((sum, n) => sum + n, 0);
  return [
    {
      id: 'checksums',
      expected: 'no pod gets a frame that is not for it, or with a wrong checksum or length',
      observed: countsText(bad),
      ok: bad.size > 0 && total === 0,
    },
    {
      id: 'mss',
      expected: `the segment size asked for is clamped to what fits the tunnel, ${fits} or less`,
      observed: mss === undefined ? 'none arrived' : `${mss}`,
      ok: mss !== undefined && mss <= fits && mss >= fits - 128,
    },
  ];
}

export interface NodeAccount {
  readonly node: string;
  /** Frames put on its ports, and frames its data plane says it received. */
  readonly entered: number;
  readonly totals: Readonly<Record<string, number | string>>;
  readonly dropped: readonly { readonly name: string; readonly packets: number | string }[];
}

const WAYS_OUT = ['forwarded', 'replied', 'punted', 'dropped', 'consumed', 'held'] as const;

export function everyPacketAccounted(account: NodeAccount): Expectation {
  const value = (name: string) => BigInt(account.totals[name] ?? 0);
  const sum = WAYS_OUT.reduce((n, name) => n + value(name), 0n);
  const named = account.dropped.reduce((n, { packets }) => n + BigInt(packets), 0n);
  const ways = WAYS_OUT.filter((name) => value(name) > 0n).map((name) => `${name} ${value(name)}`);
  const reasons = account.dropped.map(({ name, packets }) => `${name} ${packets}`).join(', ');
  return {
    id: `accounted-${account.node}`,
    expected: `every packet into ${account.node} is accounted for, every drop has a name`,
    observed:
      `${account.entered} entered, received ${value('received')} = ${ways.join(' + ') || '0'}` +
      (reasons === '' ? '' : ` (${reasons})`),
    ok:
      value('received') === sum &&
      BigInt(account.entered) === value('received') &&
      named === value('dropped') &&
      sum > 0n,
  };
}

/** The first connection, whatever else fails. */
export function firstIsServed(backend: string | undefined): Expectation {
  return {
    id: 'first-connection',
    expected: `a connection to ${WEB.ipv4}:${WEB_PORT} that goes to the other node is answered`,
    observed: backend === undefined ? 'no answer' : `by ${backend}`,
    ok:
      backend !== undefined &&
      BACKENDS.some((pod) => pod.name === backend && pod.node === NODES.remote.name),
  };
}
