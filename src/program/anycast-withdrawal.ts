/**
 * How long a withdrawal took, as a capture of the fabric has it: from the first frame in which a node of the lost cluster
 * retracts the service's address to the last one that a client's node sent there. Connections ask all the time, so the
 * second is when the last next hop had changed, agents and data planes included.
 */
import { XMPP_PORT } from '../config/node.ts';
import { type AnycastPlan, type ClusterPlan, SERVICE } from '../sim/anycast-plan.ts';
import {
  decodeFrame,
  decodeIpv4,
  decodeMplsOverUdp,
  decodeSegment,
  ETHERTYPE,
  ipv4Text,
  PROTOCOL,
} from '../sim/wire.ts';

interface Captured {
  readonly timeNs: bigint;
  readonly frame: Uint8Array;
}

/** As agents take back what they have said. */
const RETRACT = new RegExp(`<dissociate node="[^"]*/${SERVICE.ipv4.replaceAll('.', '\\.')}/32"`);
/** Longer than what is looked for, which may begin in the segment before. */
const CARRIED = 256;

/** Milliseconds; undefined: nobody retracted it, or nothing had gone there. */
export function withdrawalOf(
  frames: Iterable<Captured>,
  plan: AnycastPlan,
  lost: ClusterPlan,
): number | undefined {
  const lostNodes = lost.nodes.map(({ ipv4 }) => ipv4);
  const clientNodes = plan.clusters[2].nodes.map(({ ipv4 }) => ipv4);
  let retracted: bigint | undefined;
  let last: bigint | undefined;
  const carried = new Map<string, string>();
  for (const { timeNs, frame } of frames) {
    const bytes = Buffer.from(frame.buffer, frame.byteOffset, frame.byteLength);
    if (retractsService(bytes, lostNodes, carried)) retracted ??= timeNs;
    else if (goesThere(bytes, clientNodes, lostNodes)) last = timeNs;
  }
  if (retracted === undefined || last === undefined) return undefined;
  return Math.max(0, Number(last - retracted) / 1e6);
}

/** `carried`: the ends of what nodes have said to their control nodes, by connection. */
function retractsService(
  bytes: Buffer,
  from: readonly string[],
  carried: Map<string, string>,
): boolean {
  const frame = decodeFrame(bytes);
  const packet = frame?.etherType === ETHERTYPE.ipv4 ? decodeIpv4(frame.payload) : undefined;
  if (packet?.protocol !== PROTOCOL.tcp || !from.includes(ipv4Text(packet.source))) return false;
  const segment = decodeSegment(packet);
  if (segment?.destinationPort !== XMPP_PORT) return false;
  const connection = `${ipv4Text(packet.source)} ${segment.sourcePort}`;
  const text = (carried.get(connection) ?? '') + segment.data.toString('latin1');
  carried.set(connection, text.slice(-CARRIED));
  return RETRACT.test(text);
}

function goesThere(bytes: Buffer, from: readonly string[], to: readonly string[]): boolean {
  const packet = decodeMplsOverUdp(bytes);
  return (
    typeof packet === 'object' &&
    from.includes(ipv4Text(packet.outer.source)) &&
    to.includes(ipv4Text(packet.outer.destination)) &&
    ipv4Text(packet.inner.destination) === SERVICE.ipv4
  );
}
