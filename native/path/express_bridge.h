// The express room's way of MACs: a TCP or UDP packet of either family in a unicast frame that a
// tenant sends to another host of its network, or that a VXLAN tunnel brings to the network, where
// no flow is asked for. The network's MAC table names the way out: a tunnel, as long as the frame
// did not come out of one (split horizon), or a tenant of this node without policy.
//
// What the rooms do with other frames they do with these too, so those are left to them: ARP,
// neighbour discovery and whatever else is no TCP or UDP; DHCP where it is trapped; MACs that
// nobody knows (flooded or dropped), or that are the router's own; next hops to be resolved
// further. See express.cc.
#pragma once
#include "path/express_parts.h"
#include "path/push.h"
#include "wire/ip.h"
#include "wire/ipv6.h"
#include "wire/tcp.h"
#include "wire/udp.h"

namespace vrouter {

// The frame to be bridged in parcel.vrf, at parcel.l3 - 14 and up to parcel.end.
inline void recognise_bridge(const Context& context, const Packet& packet, const MacTable& macs,
                             bool dhcp_trap, Parcel& parcel) {
  const uint8_t* p = packet.data() + parcel.l3;
  const uint8_t* frame = p - ethernet::kHeaderLength;
  const size_t n = parcel.end - parcel.l3;
  const uint16_t ether_type = ethernet::ether_type(frame);
  uint32_t length;
  uint32_t header;
  uint8_t protocol;
  if (ether_type == ethernet::kTypeIpv4) {
    if (!plain_ipv4(p, n)) return;
    length = ipv4::total_length(p);
    header = ipv4::kHeaderLength;
    protocol = ipv4::protocol(p);
  } else if (ether_type == ethernet::kTypeIpv6) {
    if (n == 0 || ip::version(p) != 6 || !ipv6::check(p, n) || ipv6::total_length(p) > 65535) {
      return;
    }
    length = static_cast<uint32_t>(ipv6::total_length(p));
    header = ipv6::kHeaderLength;
    protocol = ipv6::next_header(p);
  } else {
    parcel.look = Look::Apart;  // no flow of TCP or UDP can be in it
    return;
  }
  const uint8_t* l4 = p + header;
  bool special = packet.offload.checksum;
  if (protocol == ip::kTcp) {
    if (!tcp::check(l4, length - header)) return;
    if ((tcp::flags(l4) & tcp::kSyn) != 0) parcel.syn = static_cast<uint8_t>(header);
  } else if (protocol == ip::kUdp) {
    if (!udp::check(l4, length - header)) return;
    const uint16_t client =
        header == ipv4::kHeaderLength ? udp::kPortDhcpClient : udp::kPortDhcpv6Client;
    special |= dhcp_trap && udp::source_port(l4) == client;
  } else {
    if (protocol == ip::kIcmp || protocol == ip::kIcmpv6) parcel.look = Look::Apart;
    return;
  }
  parcel.by = By::Mac;
  parcel.hash = packet_hash(p, header == ipv4::kHeaderLength, l4, protocol, context.seed);
  parcel.l3_length = static_cast<uint16_t>(length);
  parcel.look = special ? Look::Special : Look::Plain;
  parcel.macs = &macs;
  parcel.mac_hash = macs.hash(MacTable::word_of(frame));
  macs.prefetch(parcel.mac_hash);
}

// A tenant's frame, whose Ethernet header is in view. False: it is not to be bridged.
inline bool recognise_bridged_tenant(const Context& context, const Packet& packet,
                                     const Entrance& entrance, Parcel& parcel) {
  const uint8_t* frame = packet.data();
  if (entrance.macs == nullptr || ethernet::is_group(frame)) return false;
  const Mac to = ethernet::destination(frame);
  if (to == entrance.mac || to == kGatewayMac) return false;
  parcel.l3 = ethernet::kHeaderLength;
  parcel.end = packet.length;
  parcel.vrf = entrance.vrf;
  recognise_bridge(context, packet, *entrance.macs, entrance.dhcp_trap, parcel);
  return true;
}

// The way out of a bridged frame; beside those of routed packets among the exits, told apart by a
// bit that no id has.
constexpr uint32_t kBridged = 1u << 31;
static_assert(kMaxNextHops < kBridged);

inline Exit bridge_exit_by(const Router& router, NextHopId id) {
  Exit e = exit_by(router, id);
  e.id = NextHopId{id.value | kBridged};
  const NextHop* out = router.next_hop(id);
  if (e.rewrite == nullptr) return e;
  const bool tunnel = out->kind == NextHopKind::Tunnel;
  e.rewrite = &router.rewrite(out->rewrite_l2);
  if ((e.rewrite->length != 0 && e.rewrite->length < 8) || (!tunnel && out->policy())) {
    e.rewrite = nullptr;  // copy_header(); a receiver with flows of its own
  }
  constexpr uint32_t kFrame = ethernet::kHeaderLength;
  if (tunnel && out->mtu != 0) e.most = out->mtu > kFrame ? out->mtu - kFrame : 0;
  return e;
}

// Does all there is to do for a frame, or nothing (false).
inline bool carry_bridge(Context& context, Packet& packet, const Parcel& parcel, Exit* exits) {
  const uint8_t* frame = packet.data() + parcel.l3 - ethernet::kHeaderLength;
  MacEntry* entry = parcel.macs->find(ethernet::destination(frame), parcel.mac_hash);
  if (entry == nullptr) return false;
  Exit& exit = exits[entry->next_hop.value % kExits];
  if (exit.id.value != (entry->next_hop.value | kBridged)) {
    exit = bridge_exit_by(context.router, entry->next_hop);
  }
  if (exit.rewrite == nullptr || entry->label - kNoLabel < exit.unfit ||
      parcel.l3_length > exit.most ||
      packet.offset + parcel.l3 - ethernet::kHeaderLength < exit.rewrite->length ||
      exit.vif == packet.meta.vif || (parcel.from_fabric() && exit.tunnel)) {
    return false;
  }
  if (parcel.syn != 0 && exit.tunnel && exit.most != ~0u) {
    clamp_syn(context.router, packet.data() + parcel.l3 + parcel.syn,
              exit.most + ethernet::kHeaderLength, parcel.syn);
  }
  entry->packets += 1;
  PacketMeta& meta = packet.meta;
  meta.vrf = parcel.vrf;
  meta.l2 = true;
  meta.next_hop = entry->next_hop;
  meta.label = entry->label;
  meta.hash = parcel.hash;
  meta.out_vif = exit.vif;
  meta.out_port = exit.port;
  meta.verdict = Verdict::Transmit;
  packet.trim(uint32_t{parcel.l3} + parcel.l3_length);
  packet.pull(parcel.l3 - ethernet::kHeaderLength);
  if (exit.rewrite->length != 0) push_rewrite(context, packet, *exit.rewrite, packet.offset);
  return true;
}

}  // namespace vrouter
