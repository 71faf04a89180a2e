/**
 * What must be seen of `clusterip` on real kernels, beside what clusterip-expectations.ts says of every
 * setting. Pure: from observations to expectations with a verdict each.
 */
import { NODES, type PodPlan, UNMAPPED_PORT, WEB, WEB_PORT } from '../sim/clusterip-plan.ts';
import type { CurlLoad, Echo, UnmappedCurls } from './clusterip-curls.ts';
import { loadIsServed } from './clusterip-expectations.ts';
import type { Expectation } from './demo-report.ts';
import type { WireOpinion } from './tshark.ts';

const countsText = (counts: ReadonlyMap<string, number>) =>
  counts.size === 0 ? 'none' : [...counts].map(([name, n]) => `${name} ${n}`).join(', ');

export function echoesReturn(id: string, what: string, echo: Echo): Expectation {
  return {
    id,
    expected: `ping from the client: ${what}`,
    observed: `${echo.received} of ${echo.sent} echo requests answered`,
    ok: echo.sent > 0 && echo.received === echo.sent,
  };
}

const ARP = 'eth:ethertype:arp';

/** Five standard deviations below its share: chance alone goes there once in millions of runs. */
function leastOf(connections: number, backends: number): number {
  const share = 1 / backends;
  const deviation = Math.sqrt(connections * share * (1 - share));
  return Math.max(1, Math.floor(connections * share - 5 * deviation));
}

export function curlsAreServed(load: CurlLoad, backends: readonly PodPlan[]): Expectation[] {
  const { connections, closed, perBackend, errors } = load;
  const least = leastOf(connections, backends.length);
  const nodes = [...new Set(backends.map(({ node }) => node))];
  const failed = errors.length === 0 ? '' : `: ${errors.join('; ')}`;
  return [
    {
      id: 'curls',
      expected: `every curl to ${WEB.ipv4}:${WEB_PORT} gets its pages whole, and ends with status 0`,
      observed: `${closed} of ${connections}${failed}`,
      ok: connections > 0 && closed === connections,
    },
    {
      id: 'both-nodes',
      expected: `both nodes serve: ${nodes.join(' and ')}, no backend fewer than ${least}`,
      observed: countsText(perBackend),
      ok:
        perBackend.size === backends.length &&
        backends.every(({ name }) => (perBackend.get(name) ?? 0) >= least),
    },
    ...loadIsServed(load).filter(({ id }) => id !== 'closed'),
  ];
}

export function unmappedFails(seen: UnmappedCurls): Expectation {
  const { tries, statuses, answered, refused, dropped } = seen;
  const byName = new Map<string, number>();
  for (const { node, drop } of refused) {
    const text = `D(${drop}) on ${node}`;
    byName.set(text, (byName.get(text) ?? 0) + 1);
  }
  const ended = [...statuses].map(([status, n]) => `${n} with status ${status}`).join(', ');
  return {
    id: 'unmapped',
    expected: `curl to ${WEB.ipv4}:${UNMAPPED_PORT} fails, refused by name: D(NoFipPortMap), Flow Action Drop`,
    observed: `${tries} curls: ${ended}; ${countsText(byName)}; ${dropped} Flow Action Drop`,
    ok:
      answered === 0 &&
      refused.length === tries &&
      refused.every(({ drop }) => drop === 'NoFipPortMap') &&
      dropped >= tries,
  };
}

export interface ThirdBackend {
  readonly pod: PodPlan;
  /** Members of the service's next hop on the client's node: with it, and without it again. */
  readonly membersWith: number;
  readonly membersAfter: number;
  readonly with: CurlLoad;
  readonly after: CurlLoad;
}

export function thirdComesAndGoes(seen: ThirdBackend): Expectation {
  const { pod, membersWith, membersAfter } = seen;
  const served = ({ closed, connections }: CurlLoad) => closed === connections;
  const text = ({ closed, connections, perBackend }: CurlLoad) =>
    `${closed} of ${connections} (${countsText(perBackend)})`;
  return {
    id: 'third-backend',
    expected: `${pod.name} joins on ${pod.node} over the node's socket and serves; gone again, nothing goes to it`,
    observed:
      `${membersWith} members, ${text(seen.with)}; then ${membersAfter} members, ` +
      `${text(seen.after)}`,
    ok:
      membersWith === 3 &&
      membersAfter === 2 &&
      served(seen.with) &&
      served(seen.after) &&
      (seen.with.perBackend.get(pod.name) ?? 0) > 0 &&
      !seen.after.perBackend.has(pod.name),
  };
}

export function tsharkAgrees(opinion: WireOpinion): Expectation {
  const { frames, mplsOverUdp, sourcePorts, xmpp, malformed, others } = opinion;
  const arp = others.get(ARP) ?? 0;
  const wrong = malformed.length === 0 ? '' : ` (${malformed.slice(0, 3).join('; ')})`;
  return {
    id: 'tshark',
    expected:
      'tshark takes every captured frame for MPLS over UDP to 6635 with IPv4 inside, from more than one ' +
      'source port, for TCP of port 5269 (XMPP), or for ARP; none malformed, no wrong checksum',
    observed:
      `${mplsOverUdp} of ${frames} frames MPLS over UDP, ${sourcePorts.size} source ports, ` +
      `${xmpp} of port 5269, ${malformed.length} malformed${wrong}, ` +
      `others: ${countsText(others)}`,
    ok:
      mplsOverUdp > 0 &&
      xmpp > 0 &&
      mplsOverUdp + xmpp + arp === frames &&
      sourcePorts.size > 1 &&
      malformed.length === 0,
  };
}

export interface CaptureSeen {
  /** Of what the nodes sent; control nodes' frames are not among them. */
  readonly captured: number;
  /** What the two data planes say they sent to the fabric. */
  readonly sent: number;
}

/** What an observer misses on a busy machine is told, and is not the nodes' fault. */
export function captureIsTheirs({ captured, sent }: CaptureSeen): Expectation {
  return {
    id: 'captured',
    expected: `what the fabric carried from ${NODES.client.name} and ${NODES.remote.name} is what they say they sent`,
    observed: `${sent} frames sent, ${captured} captured`,
    ok: captured > 0 && captured <= sent,
  };
}
