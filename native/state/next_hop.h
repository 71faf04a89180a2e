// NextHop: what packets meet after a lookup; rendered from the *Spec objects, one cache line.
// Written by Router::exchange while workers are held; read by workers.
// Invariant: an entry's `incarnation` differs from that of the last object that used its id, so a
// flow scoped to a deleted next hop can never match for its successor.
#pragma once
#include <cstdint>

#include "base/ids.h"
#include "state/objects.h"

namespace vrouter {

enum class NextHopKind : uint8_t {
  None,
  Discard,
  Receive,
  L2Receive,
  Interface,
  Tunnel,
  Ecmp,
  Replicate,
  VrfTranslate,
};

struct EcmpSet;     // ecmp.h
struct ReplicaSet;  // router.h
struct LegSet;      // legs.h

struct alignas(64) NextHop {
  NextHopKind kind = NextHopKind::None;
  Encap encap = Encap::None;
  ReplicateKind replicate_kind = ReplicateKind::Root;
  uint8_t hash_fields = 0;
  uint32_t flags = 0;  // NextHopFlag
  uint32_t scope = 0;  // flow scope: id | incarnation << 20
  VrfId vrf;
  VifId vif;                // invalid for a tunnel with `legs`: each has its own
  uint32_t rewrite = 0;     // index into Router::rewrites, for routed packets
  uint32_t references = 0;  // routes, labels, composites, vifs … that name it
  uint32_t mtu = 0;         // IP bytes of an inner packet that fit; 0 = not a sending next hop
  const EcmpSet* ecmp = nullptr;
  const ReplicaSet* replicas = nullptr;
  uint32_t destination4 = 0;  // tunnel: far end, network bytes order as in Address.bytes; for RPF
  uint32_t rewrite_l2 = 0;    // the same for bridged frames; 0 (push nothing) for an Interface
  const LegSet* legs = nullptr;  // tunnel with several ways to its far end, or with none now

  bool policy() const { return (flags & kNhPolicy) != 0; }
  bool bridge() const { return (flags & kNhBridge) != 0; }
};
static_assert(sizeof(NextHop) == 64, "a worker touches one line");

inline constexpr uint32_t kScopeIdBits = 20;  // kMaxNextHops fits; 12 bits of incarnation
inline NextHopId scope_next_hop(uint32_t scope) {
  return NextHopId{scope & ((1u << kScopeIdBits) - 1)};
}

}  // namespace vrouter
