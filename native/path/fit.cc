// Does the packet still fit: hops left, and size for the next hop it got. Stands in front of
// translate, for the errors sent from here quote the packet as its sender made it. RFC 1812 §5.3.1
// (TTL), RFC 1191 and RFC 8201 (too big).
#include "offload/segment_size.h"
#include "path/rooms.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"

namespace vrouter {
namespace {

void fit_one(Context& context, Packet& packet) {
  PacketMeta& meta = packet.meta;
  const NextHop* out = context.router.next_hop(meta.next_hop);
  if (out == nullptr) return packet.drop(DropReason::InvalidNh);
  if (meta.family == Family::None || out->kind == NextHopKind::Receive) return;
  if (!meta.l2 && !meta.generated && !meta.routed) {
    if (meta.ttl <= 1) {
      send_time_exceeded(context, packet);
      return packet.drop(DropReason::TtlExceeded);
    }
    uint8_t* l3 = packet.data() + meta.l3;
    if (meta.family == Family::V4) {
      ipv4::decrement_ttl(l3);
    } else {
      ipv6::set_hop_limit(l3, static_cast<uint8_t>(meta.ttl - 1));
    }
    --meta.ttl;
    meta.routed = true;
  }
  if (out->kind == NextHopKind::Replicate || out->mtu == 0) return;
  const uint32_t frame = meta.l2 && out->kind == NextHopKind::Tunnel ? meta.l2_length : 0;
  const uint32_t most = out->mtu > frame ? out->mtu - frame : 0;
  const bool super = packet.offload.segmentation != Segmentation::None;
  const uint32_t length = super ? wire_length(packet) - meta.l3 : meta.l3_length;
  if (length <= most) return;
  const bool may_split = meta.family == Family::V4 && most >= ipv4::kMinMtu &&
                         !ipv4::dont_fragment(packet.data() + meta.l3);
  if (may_split && !super) {
    meta.split_to = static_cast<uint16_t>(most);
    return;
  }
  // TCP does not mind smaller segments than it asked for; datagrams are not ours to cut.
  const uint32_t repeated = super ? repeated_bytes(packet) - meta.l3 : 0;
  if (may_split && packet.offload.segmentation == Segmentation::TcpV4 && most > repeated) {
    packet.offload.segment = static_cast<uint16_t>(most - repeated);
    return;
  }
  send_too_big(context, packet, most);
  packet.drop(DropReason::FragmentationNeeded);
}

}  // namespace

void check_fit(Context& context, Burst& burst) {
  for (uint32_t i = 0; i < burst.count; ++i) {
    Packet& packet = *burst.packets[i];
    if (!packet.alive()) continue;
    fit_one(context, packet);
    if (context.trace != nullptr && !packet.alive()) {
      context.trace->note("fit", "%s (TTL %u, %u bytes)", drop_name(packet.meta.drop),
                          packet.meta.ttl, packet.meta.l3_length);
    }
  }
}

}  // namespace vrouter
