// Broadcast, multicast and unknown unicast: one copy for each leaf of a replicate next hop.
//
// Who gets a copy depends on where the packet came from (the ancestor's matrix): a tenant's goes to
// all leaves; one out of an EVPN or fabric tunnel goes to local tenants (and TOR switches) only, so
// that it cannot circle. Never back to the vif or tunnel end it came from. The original is
// consumed.
#include "path/rooms.h"

namespace vrouter {
namespace {

bool leaf_allowed(const Packet& packet, ReplicateKind kind) {
  if (!packet.meta.from_fabric) return true;
  return kind == ReplicateKind::Encap || kind == ReplicateKind::Tor || kind == ReplicateKind::Root;
}

// From a source that is no far end of the tree.
bool known_far_end(Context& context, const NextHop& root, const Address& outer, uint32_t depth) {
  if (root.replicas == nullptr || depth > kMaxNextHopDepth) return false;
  for (const Replica& leaf : root.replicas->replicas) {
    const NextHopId id{leaf.next_hop};
    const NextHop* next_hop = context.router.next_hop(id);
    if (next_hop == nullptr) continue;
    if (next_hop->kind == NextHopKind::Replicate) {
      if (known_far_end(context, *next_hop, outer, depth + 1)) return true;
    } else if (next_hop->kind == NextHopKind::Tunnel &&
               source_matches(context, id, VifId{}, outer)) {
      return true;
    }
  }
  return false;
}

void copy_to(Context& context, const Packet& packet, NextHopId id, uint32_t label) {
  Packet* copy = context.pool.copy(packet);
  if (copy == nullptr) {
    ++context.counters.drops[static_cast<uint32_t>(DropReason::McastCloneFail)];
    return;
  }
  copy->meta.copy = true;
  copy->meta.next_hop = id;
  copy->meta.label = label;
  copy->meta.verdict = Verdict::Continue;
  send(context, copy);
}

void walk(Context& context, const Packet& packet, const NextHop& tree, uint32_t depth) {
  if (tree.replicas == nullptr || depth > kMaxNextHopDepth) return;
  for (const Replica& leaf : tree.replicas->replicas) {
    const NextHopId id{leaf.next_hop};
    const NextHop* next_hop = context.router.next_hop(id);
    if (next_hop == nullptr) continue;
    if (next_hop->kind == NextHopKind::Replicate) {
      if (leaf_allowed(packet, next_hop->replicate_kind))
        walk(context, packet, *next_hop, depth + 1);
      continue;
    }
    const bool tunnel = next_hop->kind == NextHopKind::Tunnel;
    if (tunnel && packet.meta.from_fabric &&
        (tree.replicate_kind != ReplicateKind::Tor ||
         source_matches(context, id, VifId{}, packet.meta.outer_source))) {
      continue;
    }
    if (next_hop->kind == NextHopKind::Interface && !packet.meta.from_fabric &&
        next_hop->vif == packet.meta.vif) {
      continue;
    }
    copy_to(context, packet, id, leaf.label);
  }
}

}  // namespace

void replicate(Context& context, Burst& burst) {
  for (uint32_t i = 0; i < burst.count; ++i) {
    Packet& packet = *burst.packets[i];
    if (!packet.alive()) continue;
    const NextHop* tree = context.router.next_hop(packet.meta.next_hop);
    if (tree == nullptr || tree->kind != NextHopKind::Replicate) continue;
    if (packet.meta.from_fabric && (tree->flags & kNhValidateSource) != 0 &&
        !known_far_end(context, *tree, packet.meta.outer_source, 0)) {
      packet.drop(DropReason::InvalidMcastSource);
      continue;
    }
    if (context.trace != nullptr) {
      context.trace->note("replicate", "next hop %u, %zu branches", packet.meta.next_hop.value,
                          tree->replicas != nullptr ? tree->replicas->replicas.size() : size_t{0});
    }
    walk(context, packet, *tree, 0);
    packet.drop(DropReason::ClonedOriginal);
  }
}

}  // namespace vrouter
