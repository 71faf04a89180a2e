// The express room: what nearly every packet is, done at once. A whole IPv4 TCP or UDP packet
// without options, from a tenant or out of an MPLS tunnel, whose flow is known, decided, and past
// its handshake, and which leaves by a tunnel or to a tenant. Its flow names the way out: no route,
// policy or ECMP member is looked up.
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
#include "path/express_flow.h"
#include "wire/gre.h"
#include "wire/mpls.h"

namespace vrouter {
namespace {

Entrance entrance_of(const Router& router, VifId id) {
  Entrance e;
  e.id = id;
  const Vif* vif = router.vif(id);
  if (vif == nullptr) return e;
  const VifSpec& spec = vif->spec;
  e.mac = spec.mac;
  e.vrf = VrfId{spec.vrf};
  if (spec.type == static_cast<uint8_t>(VifType::Physical)) e.kind = Entrance::Fabric;
  const bool routes = (spec.flags & (kVifL2 | kVifL3)) == 0 || (spec.flags & kVifL3) != 0;
  if (spec.type == static_cast<uint8_t>(VifType::Virtual) && routes &&
      (spec.flags & kVifPolicy) != 0) {
    const NextHop* own = router.next_hop(NextHopId{spec.next_hop});
    e.kind = Entrance::Tenant;
    e.scope = own != nullptr ? own->scope : 0;
    e.dhcp_trap = (spec.flags & kVifDhcpTrap) != 0;
    e.gateway_trap = (spec.flags & kVifGatewayTrap) != 0;
    if (spec.gateway4.family == Family::V4) {
      e.gateway = load_native<uint32_t>(spec.gateway4.bytes.data());
    }
  }
  return e;
}

// Whether packets with this label are routed to flows, and to those of which scope (decap.cc,
// enter()).
void look_up_label(const Router& router, uint32_t label, Memory& memory) {
  memory.label = label;
  memory.label_plain = false;
  const NextHop* entry = router.next_hop(router.label(label));
  if (entry == nullptr || entry->bridge()) return;
  memory.scope = entry->scope;
  memory.vrf = entry->vrf;
  bool policy = entry->policy();
  if (entry->kind == NextHopKind::Interface) {
    const Vif* vif = router.vif(entry->vif);
    const NextHop* own = vif != nullptr ? router.next_hop(NextHopId{vif->spec.next_hop}) : nullptr;
    if (own != nullptr && own->kind != NextHopKind::Discard) {
      memory.scope = own->scope;
      policy = policy || own->policy();
    }
  } else if (entry->kind != NextHopKind::VrfTranslate) {
    return;
  }
  memory.label_plain = policy;
}

// An MPLS tunnel that ends here, or nothing for this room.
bool recognise_tunnel(const Router& router, const Packet& packet, Memory& memory, Parcel& parcel) {
  constexpr uint32_t kOuter = ethernet::kHeaderLength;
  constexpr uint32_t kBehind = kOuter + ipv4::kHeaderLength;
  const uint8_t* p = packet.data() + kOuter;
  const size_t n = packet.length - kOuter;
  if (packet.offload.checksum || !plain_ipv4(p, n)) return false;
  const uint8_t* l4 = p + ipv4::kHeaderLength;
  const size_t rest = ipv4::total_length(p) - ipv4::kHeaderLength;
  uint32_t at = kBehind;
  if (ipv4::protocol(p) == ip::kUdp) {
    if (!udp::check(l4, rest)) return false;
    const uint16_t port = udp::destination_port(l4);
    if (port != udp::kPortMpls && port != udp::kPortMplsOld) return false;
    at += udp::kHeaderLength;
  } else if (ipv4::protocol(p) == ip::kGre) {
    if (rest < gre::kHeaderLength || load_be32(l4) != ethernet::kTypeMpls) return false;
    at += gre::kHeaderLength;
  } else {
    return false;
  }
  if (kOuter + ipv4::total_length(p) < at + mpls::kEntryLength) return false;
  const uint32_t to = load_native<uint32_t>(ipv4::destination(p));
  if (to != memory.underlay || !memory.own) {
    const Route* route = router.route(memory.entrance.vrf, Family::V4, ipv4::destination(p));
    const NextHop* own = route != nullptr ? router.next_hop(route->next_hop) : nullptr;
    memory.underlay = to;
    memory.own = own != nullptr && own->kind == NextHopKind::Receive;
    if (!memory.own) return false;
  }
  const uint8_t* entry = packet.data() + at;
  if (!mpls::bottom(entry) || mpls::ttl(entry) <= 1) return false;
  parcel.label = mpls::label(entry);
  if (parcel.label != memory.label) look_up_label(router, parcel.label, memory);
  if (!memory.label_plain) return false;
  parcel.scope = memory.scope;
  parcel.vrf = memory.vrf;
  parcel.outer_source = load_native<uint32_t>(ipv4::source(p));
  parcel.l3 = static_cast<uint16_t>(at + mpls::kEntryLength);
  parcel.end = kOuter + ipv4::total_length(p);
  return parcel.outer_source != 0;
}

void recognise(Context& context, const Packet& packet, Memory& memory, Parcel& parcel,
               FlowKey4& key) {
  const PacketMeta& meta = packet.meta;
  if (meta.vif != memory.entrance.id) {
    memory = Memory{};
    memory.entrance = entrance_of(context.router, meta.vif);
  }
  const Entrance& entrance = memory.entrance;
  if (entrance.kind == Entrance::Other || !ethernet::check(packet.data(), packet.length)) return;
  if (ethernet::ether_type(packet.data()) != ethernet::kTypeIpv4) {
    parcel.look = Look::Apart;
    return;
  }
  const Mac destination = ethernet::destination(packet.data());
  if (entrance.kind == Entrance::Tenant) {
    if (destination != entrance.mac && destination != kGatewayMac) return;
    parcel.l3 = ethernet::kHeaderLength;
    parcel.end = packet.length;
    parcel.scope = entrance.scope;
    parcel.vrf = entrance.vrf;
  } else {
    if (destination != entrance.mac) return;
    if (!recognise_tunnel(context.router, packet, memory, parcel)) return;
  }
  recognise_flow(context.flows, packet, entrance, parcel, key);
}

}  // namespace

void express(Context& context, Burst& burst, Burst& done) {
  Parcel parcels[kBurst];
  FlowKey4 keys[kBurst];
  Memory memory;
  Exit exits[kExits];
  for (uint32_t i = 0; i < burst.count; ++i) {
    recognise(context, *burst.packets[i], memory, parcels[i], keys[i]);
  }
  for (uint32_t i = 0; i < burst.count; ++i) {
    if (parcels[i].look == Look::Plain) parcels[i].slot = context.flows.candidate(parcels[i].hash);
  }
  const uint32_t now = now_ms(context);
  const bool together = context.together != nullptr;
  const auto carry = [&](Packet& packet, uint32_t i) {
    return together ? carry_flow<true>(context, packet, parcels[i], keys[i], now, exits)
                    : carry_flow<false>(context, packet, parcels[i], keys[i], now, exits);
  };
  uint64_t waiting = 0;  // a bit of the hash of each packet that is left
  uint32_t left = 0;
  for (uint32_t i = 0; i < burst.count; ++i) {
    const Parcel& parcel = parcels[i];
    const uint64_t bit = uint64_t{1} << (parcel.hash & 63);
    Packet* packet = burst.packets[i];
    if (parcel.look == Look::Plain && (waiting & bit) == 0 && carry(*packet, i)) {
      done.packets[done.count++] = packet;
      continue;
    }
    burst.packets[left++] = packet;
    if (parcel.look != Look::Apart) waiting |= parcel.look == Look::Unknown ? ~uint64_t{0} : bit;
  }
  burst.count = left;
}

}  // namespace vrouter
