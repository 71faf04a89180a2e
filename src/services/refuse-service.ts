/** The gateway has no TCP: who tries to connect (DNS after a cut answer, say) is told so, and need not wait. */
import { MAC_GATEWAY } from '../addr/mac.ts';
import { type Packet, PROTOCOL } from './frame.ts';
import type { Send, Service, Tenant } from './service.ts';
import { buildSegment, parseSegment, TCP_FLAG } from './tcp-segment.ts';

export class RefuseService implements Service {
  readonly counters = { refused: 0, ignored: 0, unsent: 0 };
  readonly #send: Send;

  constructor(send: Send) {
    this.#send = send;
  }

  take(packet: Packet, tenant: Tenant): boolean {
    if (packet.protocol !== PROTOCOL.tcp) return false;
    const { sourcePort, destinationPort, sequence, flags } = parseSegment(packet);
    // Nothing else can be to us: there is no connection.
    if ((flags & (TCP_FLAG.syn | TCP_FLAG.ack | TCP_FLAG.rst)) !== TCP_FLAG.syn) {
      this.counters.ignored++;
      return true;
    }
    const frame = buildSegment(
      {
        sourceMac: MAC_GATEWAY,
        destinationMac: tenant.mac,
        source: packet.destination,
        destination: packet.source,
      },
      {
        sourcePort: destinationPort,
        destinationPort: sourcePort,
        sequence: 0,
        acknowledged: (sequence + 1) >>> 0,
        flags: TCP_FLAG.rst | TCP_FLAG.ack,
      },
    );
    this.counters[this.#send(tenant.vif, frame) ? 'refused' : 'unsent']++;
    return true;
  }
}
