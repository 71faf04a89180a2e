// Bridged packets: by destination MAC inside their network. Group addresses and, where the vif
// allows it, unknown unicast go to the network's broadcast next hop; frames from a tunnel never go
// back into one (split horizon), and unknown ones are not flooded on.
#include "path/rooms.h"
#include "wire/ethernet.h"

namespace vrouter {
namespace {

void flood(Context& context, Packet& packet, const Mac& group) {
  PacketMeta& meta = packet.meta;
  MacEntry* entry = context.router.mac(meta.vrf, group);
  if (entry == nullptr) entry = context.router.mac(meta.vrf, kBroadcastMac);
  if (entry == nullptr) return packet.drop(DropReason::L2NoRoute);
  entry->packets += context.trace == nullptr ? 1 : 0;
  meta.next_hop = entry->next_hop;
  meta.label = entry->label;
}

void bridge_one(Context& context, Packet& packet) {
  PacketMeta& meta = packet.meta;
  if (meta.from_fabric) {
    const NextHop* entry = context.router.next_hop(meta.entry);
    if (entry->kind == NextHopKind::Interface || entry->kind == NextHopKind::Replicate) {
      meta.next_hop = meta.entry;
      return;
    }
  }
  const Mac destination = ethernet::destination(packet.data());
  if (destination.is_group()) return flood(context, packet, destination);
  MacEntry* entry = context.router.mac(meta.vrf, destination);
  if (entry == nullptr) {
    const Vif* vif = context.router.vif(meta.vif);
    const bool may_flood =
        !meta.from_fabric && vif != nullptr && (vif->spec.flags & kVifUnknownFlood) != 0;
    if (!may_flood) return packet.drop(DropReason::L2NoRoute);
    return flood(context, packet, kBroadcastMac);
  }
  entry->packets += context.trace == nullptr ? 1 : 0;
  const Resolved r =
      resolve_next_hop(context, entry->next_hop, entry->label, 0, meta.key, ResolveOptions{});
  if (r.next_hop == kDiscard) return packet.drop(r.drop);
  const NextHop* out = context.router.next_hop(r.next_hop);
  if (meta.from_fabric && out->kind == NextHopKind::Tunnel) {
    return packet.drop(DropReason::InvalidSource);
  }
  if (out->kind == NextHopKind::Interface && !meta.from_fabric && out->vif == meta.vif) {
    return packet.drop(DropReason::PktLoop);
  }
  meta.next_hop = r.next_hop;
  meta.label = r.label;
  // A receiver with policy, a sender without: the flow is made here.
  if (!meta.wants_flow && !meta.generated && !meta.no_flow && meta.family != Family::None &&
      out->kind == NextHopKind::Interface && out->policy()) {
    scope_to_receiver(context, meta, *out);
    if (meta.fragment) borrow_ports(context, packet);
    if (packet.alive()) flow_for_packet(context, packet);
  }
}

}  // namespace

void look_up_macs(Context& context, Burst& burst) {
  for (uint32_t i = 0; i < burst.count; ++i) {
    Packet& packet = *burst.packets[i];
    if (!packet.alive() || !packet.meta.l2 || packet.meta.next_hop.valid()) continue;
    bridge_one(context, packet);
    if (context.trace != nullptr) {
      context.trace->note("bridge", "VRF %u: %s, next hop %d", packet.meta.vrf.value,
                          packet.alive() ? "match" : drop_name(packet.meta.drop),
                          static_cast<int>(packet.meta.next_hop.value));
    }
  }
}

}  // namespace vrouter
