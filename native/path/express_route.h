// The express room's way of routes: a TCP or UDP packet of either family that needs no flow, from a
// vif without policy or out of a tunnel by a label without. The longest match in its VRF, or its
// label alone, names the way out, of several one by rendezvous hashing, as in resolve.cc.
// A receiver with policy has flows of its own: such packets are for the rooms, and so is what goes
// from tunnel to tunnel, into another VRF, or to a set within a set. See express.cc.
#pragma once
#include <bit>

#include "base/prefetch.h"
#include "path/express_parts.h"
#include "path/push.h"
#include "wire/ip.h"
#include "wire/ipv6.h"
#include "wire/tcp.h"
#include "wire/udp.h"

namespace vrouter {

// choice_hash() with some of the fields.
inline uint64_t route_hash_of(const uint8_t* p, uint8_t fields, uint64_t seed) {
  const bool v4 = ip::version(p) == 4;
  const uint8_t* l4 = p + (v4 ? ipv4::kHeaderLength : ipv6::kHeaderLength);
  FlowKey key{};
  if (v4) {
    make_key(key, Family::V4, ipv4::source(p), ipv4::destination(p), ipv4::protocol(p),
             load_be16(l4), load_be16(l4 + 2));
  } else {
    make_key(key, Family::V6, ipv6::source(p), ipv6::destination(p), ipv6::next_header(p),
             load_be16(l4), load_be16(l4 + 2));
  }
  return choice_hash(key, fields, seed);
}

// The packet to be routed, at parcel.l3; what its label leads to is known.
inline void recognise_route(const Context& context, const Packet& packet, const Entrance& entrance,
                            Parcel& parcel) {
  const uint8_t* p = packet.data() + parcel.l3;
  const size_t n = parcel.end - parcel.l3;
  const bool v4 = parcel.family == Family::V4;
  const uint8_t* l4;
  uint8_t protocol;
  if (v4) {
    if (!plain_ipv4(p, n)) return;
    parcel.l3_length = ipv4::total_length(p);
    l4 = p + ipv4::kHeaderLength;
    protocol = ipv4::protocol(p);
  } else {
    if (!ipv6::check(p, n) || ipv6::total_length(p) > 65535) return;
    parcel.l3_length = static_cast<uint16_t>(ipv6::total_length(p));
    l4 = p + ipv6::kHeaderLength;
    protocol = ipv6::next_header(p);
  }
  const size_t rest = parcel.l3_length - static_cast<size_t>(l4 - p);
  const Offload& offload = packet.offload;
  bool special = false;
  size_t checksum_at = tcp::kChecksumAt;
  if (protocol == ip::kTcp) {
    if (!tcp::check(l4, rest)) return;
    special = offload.checksum && (tcp::flags(l4) & tcp::kSyn) != 0;  // clamp_mss()
  } else if (protocol == ip::kUdp) {
    if (!udp::check(l4, rest)) return;
    checksum_at = udp::kChecksumAt;
    const uint16_t client = v4 ? udp::kPortDhcpClient : udp::kPortDhcpv6Client;
    special = entrance.dhcp_trap && udp::source_port(l4) == client;
  } else {
    if (protocol == ip::kIcmp || protocol == ip::kIcmpv6) parcel.look = Look::Apart;
    return;
  }
  // A checksum left undone stays so, if it is this one; what is several packets is for the rooms.
  if (offload.checksum) {
    special |= offload.segmentation != Segmentation::None || offload.outer_transport != 0 ||
               offload.transport != packet.offset + static_cast<uint32_t>(l4 - packet.data()) ||
               offload.field != checksum_at;
  }
  const uint8_t* to = v4 ? ipv4::destination(p) : ipv6::destination(p);
  if (entrance.gateway_trap) {
    special |= v4 ? load_native<uint32_t>(to) == entrance.gateway
                  : is_gateway(*context.router.vif(entrance.id), Family::V6, to);
  }
  parcel.hash = packet_hash(p, v4, l4, protocol, context.seed);
  parcel.look = special ? Look::Special : Look::Plain;
  if (parcel.entry.valid()) return;
  parcel.routes = context.router.routes(parcel.vrf, v4 ? Family::V4 : Family::V6);
  if (parcel.routes == nullptr) parcel.look = Look::Special;
}

// The routes of all packets of the burst that go by one: table by table, for a tenant's burst in
// one go.
inline void find_routes(const Router& router, const Burst& burst, Parcel* parcels) {
  static_assert(kBurst <= 64);
  uint64_t wanted = 0;
  for (uint32_t i = 0; i < burst.count; ++i) {
    const Parcel& parcel = parcels[i];
    const bool wants =
        parcel.by == By::Route && parcel.look == Look::Plain && !parcel.entry.valid();
    wanted |= uint64_t{wants} << i;
  }
  while (wanted != 0) {
    const Lpm* routes = parcels[std::countr_zero(wanted)].routes;
    const uint8_t* addresses[kBurst];
    uint32_t found[kBurst];
    uint8_t whose[kBurst];
    uint32_t count = 0;
    for (uint64_t left = wanted; left != 0; left &= left - 1) {
      const uint32_t i = static_cast<uint32_t>(std::countr_zero(left));
      const Parcel& parcel = parcels[i];
      if (parcel.routes != routes) continue;
      const uint8_t* p = burst.packets[i]->data() + parcel.l3;
      addresses[count] = ip::version(p) == 4 ? ipv4::destination(p) : ipv6::destination(p);
      whose[count++] = static_cast<uint8_t>(i);
      wanted &= ~(uint64_t{1} << i);
    }
    routes->lookup_burst(addresses, found, count);
    for (uint32_t n = 0; n < count; ++n) {
      const Route* route = router.route_by_id(found[n]);
      parcels[whose[n]].route = route;
      prefetch(route);
    }
  }
}

inline Exit& exit_at(const Router& router, NextHopId id, Exit* exits) {
  Exit& exit = exits[id.value % kExits];
  if (exit.id != id) exit = exit_by(router, id);
  return exit;
}

// Does all there is to do for a packet, or nothing (false).
inline bool carry_route(Context& context, Packet& packet, const Parcel& parcel, Exit* exits) {
  const Router& router = context.router;
  uint8_t* p = packet.data() + parcel.l3;
  NextHopId id = parcel.entry;
  uint32_t label = kNoLabel;
  uint8_t fields = 0;
  if (!id.valid()) {
    const Route* route = parcel.route;
    if (route == nullptr) return false;
    id = route->next_hop;
    label = route->label;
    fields = route->hash_fields;
  }
  const Exit* exit = &exit_at(router, id, exits);
  if (exit->ecmp != nullptr) {
    const EcmpSet& set = *exit->ecmp;
    if (fields == 0) fields = exit->hash_fields;
    const bool all = fields == 0 || fields == kHashAll;
    const int i = choose_among_all(set, all ? parcel.hash : route_hash_of(p, fields, context.seed));
    if (i < 0) return false;
    const EcmpMember& member = set.members[static_cast<size_t>(i)];
    id = NextHopId{member.next_hop};
    if (member.label != kNoLabel) label = member.label;
    exit = &exit_at(router, id, exits);
  }
  if (exit->rewrite == nullptr || exit->policy || label - kNoLabel < exit->unfit ||
      parcel.l3_length > exit->most || packet.offset + parcel.l3 < exit->rewrite->length ||
      (exit->tunnel && parcel.from_fabric())) {
    return false;
  }
  PacketMeta& meta = packet.meta;
  const bool v4 = parcel.family == Family::V4;
  const uint32_t header = v4 ? ipv4::kHeaderLength : ipv6::kHeaderLength;
  if (v4) {
    if (ipv4::ttl(p) <= 1) return false;
    constexpr uint16_t kOneHopLess = 0xfeff;  // checksum_delta16(x, x - 0x0100)
    const uint32_t sum = uint32_t{static_cast<uint16_t>(~ipv4::checksum(p))} + kOneHopLess;
    ipv4::set_checksum(p, checksum_finish(sum));
    meta.ttl = --p[ipv4::kTtlAt];
    meta.ether_type = ethernet::kTypeIpv4;
  } else {
    if (ipv6::hop_limit(p) <= 1) return false;
    meta.ttl = static_cast<uint8_t>(ipv6::hop_limit(p) - 1);
    ipv6::set_hop_limit(p, meta.ttl);
    meta.ether_type = ethernet::kTypeIpv6;
  }
  const bool tcp = (v4 ? ipv4::protocol(p) : ipv6::next_header(p)) == ip::kTcp;
  if (tcp && exit->tunnel && exit->most != ~0u && (tcp::flags(p + header) & tcp::kSyn) != 0) {
    clamp_syn(router, p + header, exit->most, header);
  }
  meta.vrf = parcel.vrf;
  meta.next_hop = id;
  meta.label = label;
  meta.hash = parcel.hash;
  meta.out_vif = exit->vif;
  meta.out_port = exit->port;
  meta.verdict = Verdict::Transmit;
  packet.trim(uint32_t{parcel.l3} + parcel.l3_length);
  packet.pull(parcel.l3);
  push_rewrite(context, packet, *exit->rewrite, packet.offset);
  return true;
}

}  // namespace vrouter
