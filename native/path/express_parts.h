// What the express room is made of: a packet as far as it has been recognised, and what is found
// out once a burst and not once a packet: where its packets come in, where a label leads, the way
// out by a next hop. Within a burst no table changes, so what was found stays true to its end.
// Written by express.cc and express_*.h, one after the other; nobody else reads it.
#pragma once
#include <bit>
#include <cstddef>

#include "path/rooms.h"
#include "wire/ethernet.h"
#include "wire/ipv4.h"

namespace vrouter {

// What a packet looks like from outside.
enum class Look : uint8_t {
  Plain,    // may be carried
  Special,  // of a known flow, for the rooms: it opens or ends the connection, or leaves something
            // undone
  Apart,    // for the rooms, and of no flow that a plain packet could be of
  Unknown,  // for the rooms, and of whatever flow
};

// What names its way out.
enum class By : uint8_t { Flow, Route, Mac };

// A packet as far as it has been recognised. l3: of the packet that has the flow, from data().
struct Parcel {
  Look look = Look::Unknown;
  By by = By::Flow;
  uint8_t syn = 0;  // by MAC: bytes of the IP header in front of a SYN
  uint16_t l3 = 0;
  uint16_t l3_length = 0;
  uint32_t end = 0;    // of what may belong to it; behind that is the wire's padding
  uint32_t label = 0;  // it came with; from_fabric
  uint32_t scope = 0;
  uint32_t outer_source = 0;  // as it stands in the header; 0: from a tenant
  VrfId vrf;
  uint32_t slot = FlowTable::kNoSlot;
  uint64_t hash = 0;
  uint64_t mac_hash = 0;  // by MAC: of the destination
  const MacTable* macs = nullptr;
};

// Where packets of a vif come from, as far as all of them have it in common.
struct Entrance {
  VifId id;  // invalid: none known yet
  enum : uint8_t { Other, Tenant, Fabric } kind = Other;
  Mac mac;
  VrfId vrf;
  uint32_t scope = 0;
  bool dhcp_trap = false;
  bool gateway_trap = false;
  uint32_t gateway = 0;            // with gateway_trap
  const MacTable* macs = nullptr;  // a tenant's, whose bridged frames need no flow
};

// The way out by a next hop, as far as all packets that take it have it in common.
struct Exit {
  NextHopId id;
  const Rewrite* rewrite = nullptr;  // nullptr: not by this room
  VifId vif;
  PortId port;
  uint32_t most = 0;   // bytes of a packet that fits
  uint32_t unfit = 0;  // so many labels from kNoLabel on are none for it; 0: it is no tunnel
};
constexpr uint32_t kExits = 16;  // remembered; by the low bits of their ids

// Where a label or a VNI leads; and an address of the underlay, to us or not. The last of each is
// remembered: within a burst no table changes.
struct Memory {
  Entrance entrance;
  uint32_t label = ~0u;
  bool label_plain = false;
  uint32_t scope = 0;
  VrfId vrf;
  uint32_t vni = ~0u;
  VrfId vni_vrf;
  const MacTable* vni_macs = nullptr;  // nullptr: not for this room
  uint32_t underlay = 0;
  bool own = false;
};

inline Exit exit_by(const Router& router, NextHopId id) {
  Exit e;
  e.id = id;
  const NextHop* out = router.next_hop(id);
  if (out == nullptr) return e;
  const bool tunnel = out->kind == NextHopKind::Tunnel;
  if (!tunnel && out->kind != NextHopKind::Interface) return e;
  const Vif* vif = router.vif(out->vif);
  if (vif == nullptr || !PortId{vif->spec.port}.valid()) return e;
  const Rewrite& rewrite = router.rewrite(out->rewrite);
  if (rewrite.length < 8) return e;  // copy_header()
  e.rewrite = &rewrite;
  e.vif = out->vif;
  e.port = PortId{vif->spec.port};
  e.most = out->mtu != 0 ? out->mtu : ~0u;
  if (tunnel) e.unfit = out->encap == Encap::Vxlan ? 1 : 0u - kNoLabel;
  return e;
}

// The header of a whole IPv4 packet without options, of which n bytes are in view.
inline bool plain_ipv4(const uint8_t* p, size_t n) {
  constexpr uint16_t kSplit = ipv4::kMoreFragments | ipv4::kOffsetMask;
  if (n < ipv4::kHeaderLength || p[ipv4::kVersionAt] != 0x45) return false;
  const uint32_t total = ipv4::total_length(p);
  // One's complement sum in wide words: halves are added with their carry by adding the rotated
  // whole.
  const uint64_t middle = load_native<uint64_t>(p + 8);
  const uint64_t last = load_native<uint32_t>(p + 16);
  uint64_t sum = load_native<uint64_t>(p) + middle;
  sum += sum < middle ? 1 : 0;
  sum += last;
  sum += sum < last ? 1 : 0;
  sum += std::rotl(sum, 32);
  uint32_t half = static_cast<uint32_t>(sum >> 32);
  half += std::rotl(half, 16);
  return total >= ipv4::kHeaderLength && total <= n && (ipv4::fragment_word(p) & kSplit) == 0 &&
         half >> 16 == 0xffff;
}

}  // namespace vrouter
