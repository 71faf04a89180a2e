/**
 * Looks at every frame that crosses the fabric, as a capture beside the switch would: is it MPLS over UDP
 * from node to node, is it whole and sound outside and inside, and which entropy ports were used. Decodes
 * with wire.ts, not with the data plane's own code.
 */
import { FABRIC_WIRE, type SeenFrame } from './cluster.ts';
import { decodeMplsOverUdp, decodeSegment, ipv4Text, PROTOCOL } from './wire.ts';

/** RFC 6335 dynamic ports, which entropy is taken from (RFC 7510 §3). */
export const ENTROPY_PORTS = { low: 49_152, high: 65_535 } as const;

export class FabricAudit {
  frames = 0;
  malformed = 0;
  /** What was wrong, each once. */
  readonly faults = new Set<string>();
  readonly sourcePorts = new Set<number>();
  /** `source -> destination` of the outer header, with counts. */
  readonly directions = new Map<string, number>();
  readonly labels = new Set<string>();

  see(seen: SeenFrame): void {
    if (seen.wire !== FABRIC_WIRE) return;
    this.frames += 1;
    const fault = this.#faultOf(seen);
    if (fault === undefined) return;
    this.malformed += 1;
    this.faults.add(fault);
  }

  get portsInRange(): boolean {
    return [...this.sourcePorts].every((p) => p >= ENTROPY_PORTS.low && p <= ENTROPY_PORTS.high);
  }

  #faultOf({ frame, to }: SeenFrame): string | undefined {
    if (to === '') return 'destination MAC of nobody';
    const packet = decodeMplsOverUdp(frame);
    if (typeof packet === 'string') return packet;
    const { outer, inner, sourcePort, label } = packet;
    const direction = `${ipv4Text(outer.source)} -> ${ipv4Text(outer.destination)}`;
    this.directions.set(direction, (this.directions.get(direction) ?? 0) + 1);
    this.sourcePorts.add(sourcePort);
    this.labels.add(`${ipv4Text(outer.destination)} label ${label}`);
    if (inner.protocol === PROTOCOL.tcp && decodeSegment(inner) === undefined) {
      return 'inner TCP: length or checksum';
    }
    return undefined;
  }
}
