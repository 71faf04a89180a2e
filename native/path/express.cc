// The express room: what nearly every packet is, done at once. A whole TCP or UDP packet over IPv4
// without options or IPv6 without extension headers, from a tenant or out of a tunnel, whose flow
// is known, decided, and past its handshake, and which leaves by a tunnel or to a tenant. Its flow
// names the way out: no route, policy or ECMP member is looked up. Where no policy asks for flows,
// its route does (express_route.h).
//
// Invariant: for a packet that it takes, this room does what the rooms behind it would have done,
// byte for byte, counter for counter; what it does not take it has not touched. The rooms are its
// definition, and express_test.cc holds the two against each other. It never drops, answers or
// makes a packet, and never makes or decides a flow.
//
// Order: packets of one flow leave in the order they came. One that is left to the rooms takes with
// it those behind it that may be of its flow: by a bit of the hash, or, where its flow is not
// known, all of them.
//
// Three loops over the burst, so that the memory accesses of many packets overlap: recognise
// (headers, key, hash; prefetch of tags), prefetch of entries, carry. Reads tables; writes flows,
// packets.
#include "path/express_bridge.h"
#include "path/express_flow.h"
#include "path/express_route.h"
#include "wire/gre.h"
#include "wire/mpls.h"
#include "wire/vxlan.h"

namespace vrouter {

Entrance entrance_of(const Router& router, VifId id) {
  Entrance e;
  e.id = id;
  const Vif* vif = router.vif(id);
  if (vif == nullptr) return e;
  const VifSpec& spec = vif->spec;
  e.mac = spec.mac;
  e.vrf = VrfId{spec.vrf};
  e.vif = vif;
  if (spec.type == static_cast<uint8_t>(VifType::Physical)) e.kind = Entrance::Fabric;
  const bool bridges = (spec.flags & (kVifL2 | kVifL3)) == 0 || (spec.flags & kVifL2) != 0;
  if (spec.type == static_cast<uint8_t>(VifType::Virtual) && bridges &&
      (spec.flags & kVifPolicy) == 0) {
    e.macs = router.macs(e.vrf);
    e.dhcp_trap = (spec.flags & kVifDhcpTrap) != 0;
  }
  const bool routes = (spec.flags & (kVifL2 | kVifL3)) == 0 || (spec.flags & kVifL3) != 0;
  if (spec.type == static_cast<uint8_t>(VifType::Virtual) && routes) {
    const NextHop* own = router.next_hop(NextHopId{spec.next_hop});
    e.kind = Entrance::Tenant;
    e.by = (spec.flags & kVifPolicy) != 0 ? By::Flow : By::Route;
    e.scope = own != nullptr ? own->scope : 0;
    e.dhcp_trap = (spec.flags & kVifDhcpTrap) != 0;
    e.gateway_trap = (spec.flags & kVifGatewayTrap) != 0;
    if (spec.gateway4.family == Family::V4) {
      e.gateway = load_native<uint32_t>(spec.gateway4.bytes.data());
    }
  }
  return e;
}

namespace {

// Whose flows packets with this label are of (decap.cc, enter(); where nobody says, route.cc).
void look_up_label(const Router& router, uint32_t label, Memory& memory) {
  const bool vni = (label & kIsVni) != 0;
  memory.label = label;
  memory.owner = Owner::None;
  memory.receiver = Family::None;
  const NextHop* entry = router.next_hop(vni ? router.vni(label & ~kIsVni) : router.label(label));
  if (entry == nullptr) return;
  memory.bridges = entry->bridge();
  memory.macs = nullptr;
  memory.scope = entry->scope;
  memory.vrf = entry->vrf;
  bool policy = entry->policy();
  if (entry->kind == NextHopKind::Interface) {
    if (entry->bridge()) return;
    const Vif* vif = router.vif(entry->vif);
    const NextHop* own = vif != nullptr ? router.next_hop(NextHopId{vif->spec.next_hop}) : nullptr;
    if (own != nullptr && own->kind != NextHopKind::Discard) {
      memory.scope = own->scope;
      policy = policy || own->policy();
    }
    if (policy) {
      memory.owner = Owner::Label;
    } else if (!vni) {
      memory.owner = Owner::Nobody;
      memory.entry = router.label(label);
    }
  } else if (entry->kind == NextHopKind::VrfTranslate && (vni || !entry->bridge())) {
    memory.owner = policy ? Owner::Label : Owner::Receiver;
    if (vni && entry->bridge() && !policy) memory.macs = router.macs(entry->vrf);
  }
}

// The scope of the tenant that has this address in the label's network; false: no tenant with
// flows.
template <class Ip>
bool find_receiver(Context& context, const uint8_t* address, Memory& memory) {
  if (memory.receiver != Ip::kFamily ||
      std::memcmp(memory.receiver_address, address, Ip::kAddress) != 0) {
    memory.receiver = Ip::kFamily;
    std::memcpy(memory.receiver_address, address, Ip::kAddress);
    const Route* route = context.router.route(memory.vrf, Ip::kFamily, address);
    const NextHop* out = route != nullptr ? context.router.next_hop(route->next_hop) : nullptr;
    const Vif* vif = out != nullptr && out->kind == NextHopKind::Interface && out->policy()
                         ? context.router.vif(out->vif)
                         : nullptr;
    memory.receiver_known = vif != nullptr;
    if (vif != nullptr) memory.receiver_scope = vif_scope(context, *vif, out->scope);
  }
  return memory.receiver_known;
}

}  // namespace

uint32_t scope_behind(Context& context, uint32_t label, const uint8_t* destination4) {
  Memory memory;
  look_up_label(context.router, label, memory);
  if (memory.owner == Owner::Label) return memory.scope;
  const bool known =
      memory.owner == Owner::Receiver && find_receiver<Ip4>(context, destination4, memory);
  return known ? memory.receiver_scope : 0;
}

namespace {

template <class Ip>
bool is_own(const Router& router, const uint8_t* address, Memory& memory) {
  if (memory.underlay != Ip::kFamily ||
      std::memcmp(memory.underlay_address, address, Ip::kAddress) != 0) {
    const Route* route = router.route(memory.entrance.vrf, Ip::kFamily, address);
    const NextHop* own = route != nullptr ? router.next_hop(route->next_hop) : nullptr;
    memory.underlay = Ip::kFamily;
    std::memcpy(memory.underlay_address, address, Ip::kAddress);
    memory.own = own != nullptr && own->kind == NextHopKind::Receive;
  }
  return memory.own;
}

Family family_of(uint16_t ether_type) {
  return ether_type == ethernet::kTypeIpv4   ? Family::V4
         : ether_type == ethernet::kTypeIpv6 ? Family::V6
                                             : Family::None;
}

// The scope of the packet inside, where its label or VNI does not say.
template <class Ip>
bool scope_to_receiver(Context& context, const uint8_t* p, Memory& memory, Parcel& parcel) {
  if (parcel.end - parcel.l3 < Ip::kHeaderLength) return false;
  if (!find_receiver<Ip>(context, p + Ip::kDestinationAt, memory)) return false;
  parcel.scope = memory.receiver_scope;
  return true;
}

// The packet inside, at `at`.
inline bool recognise_inside(Context& context, const Packet& packet, uint32_t at, Memory& memory,
                             Parcel& parcel) {
  if (parcel.end <= at) return false;
  const uint8_t* p = packet.data() + at;
  if (parcel.family == Family::None) parcel.family = static_cast<Family>(ip::version(p));
  if (parcel.family != Family::V4 && parcel.family != Family::V6) return false;
  parcel.l3 = static_cast<uint16_t>(at);
  parcel.vrf = memory.vrf;
  parcel.scope = memory.scope;
  if (memory.owner == Owner::Label) [[likely]]
    return true;
  if (memory.owner == Owner::Receiver &&
      (parcel.family == Family::V4 ? scope_to_receiver<Ip4>(context, p, memory, parcel)
                                   : scope_to_receiver<Ip6>(context, p, memory, parcel))) {
    return true;
  }
  if ((memory.label & kIsVni) != 0) return false;
  parcel.by = By::Route;
  if (memory.owner == Owner::Nobody) parcel.entry = memory.entry;
  return true;
}

// Behind a VNI: as it is, or in a frame to the router itself (decap.cc, parse_routed_vxlan()).
bool recognise_behind_vni(Context& context, const Packet& packet, uint32_t at, Memory& memory,
                          Parcel& parcel) {
  const uint8_t* p = packet.data() + at;
  const Mac to = parcel.end > at + ethernet::kHeaderLength ? ethernet::destination(p) : Mac{};
  if (to == kGatewayMac || (to == memory.entrance.mac && !to.is_group() && !to.is_zero())) {
    parcel.family = family_of(ethernet::ether_type(p));
    if (parcel.family == Family::None) return false;
    at += ethernet::kHeaderLength;
  } else if (memory.bridges) {
    if (memory.macs == nullptr || parcel.end < at + ethernet::kHeaderLength || to.is_group()) {
      return false;
    }
    parcel.l3 = static_cast<uint16_t>(at + ethernet::kHeaderLength);
    parcel.vrf = memory.vrf;
    recognise_bridge(context, packet, *memory.macs, false, parcel);
    return parcel.by == By::Mac;
  }
  return recognise_inside(context, packet, at, memory, parcel);
}

// A tunnel that ends here, or nothing for this room.
template <class Ip>
bool recognise_tunnel(Context& context, const Packet& packet, Memory& memory, Parcel& parcel) {
  constexpr uint32_t kOuter = ethernet::kHeaderLength;
  constexpr uint32_t kBehind = kOuter + Ip::kHeaderLength;
  const uint8_t* p = packet.data() + kOuter;
  if (!Ip::plain(p, packet.length - kOuter)) return false;
  const uint32_t total = Ip::total_length(p);
  const size_t rest = total - Ip::kHeaderLength;
  const uint8_t* l4 = p + Ip::kHeaderLength;
  uint32_t at = kBehind;
  bool vxlan = false;
  if (Ip::protocol(p) == ip::kUdp) {
    if (!udp::check(l4, rest)) return false;
    const uint16_t port = udp::destination_port(l4);
    vxlan = port == udp::kPortVxlan;
    if (!vxlan && port != udp::kPortMpls && port != udp::kPortMplsOld) return false;
    at += udp::kHeaderLength;
  } else if (Ip::protocol(p) == ip::kGre) {
    if (rest < gre::kHeaderLength || load_be32(l4) != ethernet::kTypeMpls) return false;
    at += gre::kHeaderLength;
  } else {
    return false;
  }
  // What is undone must be undone inside (parse.cc, check_offload()).
  const Offload& offload = packet.offload;
  if (offload.checksum) {
    const uint32_t transport = packet.offset + kBehind;
    if (offload.transport <= transport ||
        (offload.outer_transport != 0 && offload.outer_transport != transport)) {
      return false;
    }
  }
  parcel.end = kOuter + total;
  const uint8_t* own = p + Ip::kDestinationAt;
  // To a link-local or multicast address: the host's (admit.cc).
  if (Ip::kFamily == Family::V6 && own[0] >= 0xfe) return false;
  if (!is_own<Ip>(context.router, own, memory)) return false;
  const uint8_t* word = packet.data() + at;
  at += vxlan ? vxlan::kHeaderLength : mpls::kEntryLength;
  if (parcel.end < at) return false;
  if (vxlan) {
    if (!vxlan::check(word, vxlan::kHeaderLength)) return false;
    parcel.label = vxlan::vni(word) | kIsVni;
  } else {
    if (!mpls::bottom(word) || mpls::ttl(word) <= 1) return false;
    parcel.label = mpls::label(word);
  }
  if (parcel.label != memory.label) look_up_label(context.router, parcel.label, memory);
  if (memory.owner == Owner::None) return false;
  if constexpr (Ip::kFamily == Family::V4) {
    parcel.outer_source = load_native<uint32_t>(ipv4::source(p));
    if (parcel.outer_source == 0) return false;
  } else {
    parcel.outer_source6 = static_cast<uint16_t>(kOuter + ipv6::kSourceAt);
  }
  return vxlan ? recognise_behind_vni(context, packet, at, memory, parcel)
               : recognise_inside(context, packet, at, memory, parcel);
}

void recognise(Context& context, const Packet& packet, Memory& memory, Parcel& parcel,
               FlowKey4& key) {
  const PacketMeta& meta = packet.meta;
  if (meta.vif != memory.entrance.id) {
    memory = Memory{};
    memory.entrance = entrance_of(context.router, meta.vif);
  }
  const Entrance& entrance = memory.entrance;
  if (!ethernet::check(packet.data(), packet.length)) return;
  if (recognise_bridged_tenant(context, packet, entrance, parcel)) return;
  if (entrance.kind == Entrance::Other) return;
  const Family family = family_of(ethernet::ether_type(packet.data()));
  if (family == Family::None) {
    parcel.look = Look::Apart;
    return;
  }
  const Mac destination = ethernet::destination(packet.data());
  if (entrance.kind == Entrance::Tenant) {
    if (destination != entrance.mac && destination != kGatewayMac) return;
    parcel.family = family;
    parcel.by = entrance.by;
    parcel.l3 = ethernet::kHeaderLength;
    parcel.end = packet.length;
    parcel.scope = entrance.scope;
    parcel.vrf = entrance.vrf;
  } else {
    if (destination != entrance.mac) return;
    if (family == Family::V4 ? !recognise_tunnel<Ip4>(context, packet, memory, parcel)
                             : !recognise_tunnel<Ip6>(context, packet, memory, parcel)) {
      return;
    }
  }
  if (parcel.by == By::Mac) return;
  if (parcel.by == By::Route) {
    recognise_route(context, packet, entrance, parcel);
  } else if (parcel.family == Family::V4) {
    recognise_flow<Ip4>(context.flows, packet, entrance, parcel, key);
  } else {
    recognise_flow<Ip6>(context.flows, packet, entrance, parcel, key);
  }
}

// Does all there is to do for a packet, or nothing (false).
template <bool kTogether>
inline bool carry(Context& context, Packet& packet, const Parcel& parcel, const FlowKey4& key,
                  uint32_t now_ms, Exit* exits) {
  switch (parcel.by) {
    case By::Route:
      return carry_route(context, packet, parcel, exits);
    case By::Mac:
      return carry_bridge(context, packet, parcel, exits);
    default:
      return carry_flow<kTogether>(context, packet, parcel, key, now_ms, exits);
  }
}

}  // namespace

void express(Context& context, Burst& burst, Burst& done) {
  Parcel parcels[kBurst];
  FlowKey4 keys[kBurst];
  Memory memory;
  Exit exits[kExits];
  for (uint32_t i = 0; i < burst.count; ++i) {
    parcels[i] = Parcel{};
    recognise(context, *burst.packets[i], memory, parcels[i], keys[i]);
  }
  // A loop of its own: fetching entries while packets behind are recognised has been measured, and
  // costs an eighth more at 100,000 flows.
  bool by_route = false;
  for (uint32_t i = 0; i < burst.count; ++i) {
    if (parcels[i].look != Look::Plain) continue;
    switch (parcels[i].by) {
      case By::Flow:
        seek_flow(context.flows, parcels[i]);
        break;
      case By::Route:
        by_route = true;
        break;
      case By::Mac:
        parcels[i].macs->candidates(parcels[i].mac_hash);
        break;
    }
  }
  if (by_route) find_routes(context.router, burst, parcels);
  const uint32_t now = now_ms(context);
  const bool together = context.together != nullptr;
  uint64_t waiting = 0;  // a bit of the hash of each packet that is left
  uint32_t left = 0;
  for (uint32_t i = 0; i < burst.count; ++i) {
    const Parcel& parcel = parcels[i];
    const uint64_t bit = uint64_t{1} << (parcel.hash & 63);
    Packet* packet = burst.packets[i];
    if (parcel.look == Look::Plain && (waiting & bit) == 0 &&
        (together ? carry<true>(context, *packet, parcel, keys[i], now, exits)
                  : carry<false>(context, *packet, parcel, keys[i], now, exits))) {
      done.packets[done.count++] = packet;
      continue;
    }
    burst.packets[left++] = packet;
    if (parcel.look != Look::Apart) waiting |= parcel.look == Look::Unknown ? ~uint64_t{0} : bit;
  }
  burst.count = left;
}

}  // namespace vrouter
