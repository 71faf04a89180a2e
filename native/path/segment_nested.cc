// Cuts a super-packet that a tenant's kernel has left in a tunnel of its own (a veth says that it takes them), before
// our tunnel's header is pushed: each segment travels on its own, as if the tenant's kernel had cut it.
#include "offload/segment.h"
#include "path/rooms.h"

namespace vrouter {

void send_segments(Context& context, Packet& packet) {
  Segmenter segments(packet);
  if (!segments.ok()) return packet.drop(DropReason::InvalidPacket);
  while (!segments.done()) {
    Burst burst;
    burst.count = segments.next(context.pool, burst.packets, kBurst);
    if (burst.count == 0) {
      ++context.counters.drops[static_cast<uint32_t>(DropReason::HeadAllocFail)];
      break;
    }
    for (uint32_t i = 0; i < burst.count; ++i) {
      Packet& segment = *burst.packets[i];
      segment.meta.l3_length = static_cast<uint16_t>(segment.length - segment.meta.l3);
      segment.meta.verdict = Verdict::Continue;
    }
    encapsulate(context, burst);
    finish(context, burst);
  }
  packet.drop(DropReason::ClonedOriginal);
}

}  // namespace vrouter
