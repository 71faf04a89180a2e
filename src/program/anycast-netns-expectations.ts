/** What must be seen of `anycast` on real kernels, beside what anycast-expectations.ts says of every setting. Pure. */
import type { AnycastPlan } from '../sim/anycast-plan.ts';
import type { ControlAudit } from './control-audit.ts';
import type { Expectation } from './demo-report.ts';
import type { WireOpinion } from './tshark.ts';

export function federationOnTheWire(
  { bgp, bgpPairs }: Pick<ControlAudit, 'bgp' | 'bgpPairs'>,
  { clusters }: AnycastPlan,
): Expectation {
  const ends = clusters.flatMap(({ controls }) => controls.map(({ ipv4 }) => ipv4)).sort();
  const wanted = ends.flatMap((one, i) => ends.slice(i + 1).map((other) => `${one} ${other}`));
  const missing = wanted.filter((pair) => !bgpPairs.has(pair));
  const strange = [...bgpPairs].filter((pair) => !wanted.includes(pair));
  return {
    id: 'bgp-wire',
    expected: `the fabric carried BGP, TCP to port 179, between all ${wanted.length} pairs of control nodes and nobody else`,
    observed:
      `${bgp} frames, ${bgpPairs.size} pairs` +
      (missing.length > 0 ? `; not: ${missing.join(', ')}` : '') +
      (strange.length > 0 ? `; also: ${strange.join(', ')}` : ''),
    ok: bgp > 0 && missing.length === 0 && strange.length === 0,
  };
}

const ARP = 'eth:ethertype:arp';
const BGP = /^eth:ethertype:ip:tcp(:bgp)*$/;

/** Frames of BGP without data are plain TCP to it. */
export function tsharkKnows({
  frames,
  mplsOverUdp,
  xmpp,
  malformed,
  others,
}: WireOpinion): Expectation {
  const strange = [...others].filter(([protocols]) => protocols !== ARP && !BGP.test(protocols));
  const messages = [...others].reduce(
    (n, [protocols, count]) => (protocols.endsWith(':bgp') ? n + count : n),
    0,
  );
  return {
    id: 'tshark',
    expected:
      'tshark takes every captured frame for MPLS over UDP to 6635, XMPP, BGP or ARP; none malformed, no wrong checksum',
    observed:
      `${mplsOverUdp} of ${frames} frames MPLS over UDP, ${xmpp} of port 5269, ${messages} with BGP messages, ` +
      `${malformed.length} malformed${malformed
        .slice(0, 3)
        .map((each) => `; ${each}`)
        .join('')}` +
      strange.map(([protocols, n]) => `; ${protocols} ${n}`).join(''),
    ok:
      mplsOverUdp > 0 && xmpp > 0 && messages > 0 && malformed.length === 0 && strange.length === 0,
  };
}
