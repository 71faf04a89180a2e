// Packets that go by address and have no flow to tell them the way: flowless vifs, transit, and
// packets the router made. Reads routes; a destination vif with policy still gets its flow here.
#include "path/rooms.h"

namespace vrouter {
namespace {

bool needs_flow(Context& context, const Packet& packet, NextHopId next_hop_id) {
  const PacketMeta& meta = packet.meta;
  if (meta.generated || meta.no_flow || meta.flow.valid()) return false;
  const NextHop* next_hop = context.router.next_hop(next_hop_id);
  return next_hop != nullptr && next_hop->kind == NextHopKind::Interface && next_hop->policy();
}

void route_one(Context& context, Packet& packet) {
  PacketMeta& meta = packet.meta;
  ResolveOptions options;
  Resolved r;
  if (meta.entry.valid()) {
    const NextHop* entry = context.router.next_hop(meta.entry);
    options.local_only = entry != nullptr && entry->kind == NextHopKind::Ecmp;
    r = resolve_next_hop(context, meta.entry, kNoLabel, 0, meta.key, options);
  } else {
    // The outer key, not the quoted one, for ICMP errors.
    const uint8_t* l3 = packet.data() + meta.l3;
    const uint8_t* destination = meta.family == Family::V4 ? l3 + 16 : l3 + 24;
    FlowKey key = meta.key;
    std::memcpy(key.destination, destination, meta.family == Family::V4 ? 4 : 16);
    r = resolve_address(context, meta.vrf, meta.family, destination, key, options);
  }
  if (r.next_hop == kDiscard) {
    if (!r.found && !meta.generated) send_unreachable(context, packet);
    return packet.drop(r.drop);
  }
  if (meta.from_fabric && source_matches(context, r.next_hop, VifId{}, meta.outer_source)) {
    const NextHop* out = context.router.next_hop(r.next_hop);
    if (out->kind == NextHopKind::Tunnel) return packet.drop(DropReason::PktLoop);
  }
  if (needs_flow(context, packet, r.next_hop)) {
    scope_to_receiver(context, meta, *context.router.next_hop(r.next_hop));
    if (meta.fragment) borrow_ports(context, packet);
    if (packet.alive()) flow_for_packet(context, packet);
    return;
  }
  meta.next_hop = r.next_hop;
  meta.label = r.label;
}

}  // namespace

void look_up_routes(Context& context, Burst& burst) {
  for (uint32_t i = 0; i < burst.count; ++i) {
    Packet& packet = *burst.packets[i];
    const PacketMeta& meta = packet.meta;
    if (!packet.alive() || meta.l2 || meta.flow.valid() || meta.next_hop.valid()) continue;
    route_one(context, packet);
  }
}

}  // namespace vrouter
