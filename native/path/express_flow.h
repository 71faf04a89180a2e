// The express room's way of flows: a TCP or UDP packet whose flow is known, decided, and past its
// handshake. Its flow names the way out: no route, policy or ECMP member is looked up.
// See express.cc.
#pragma once
#include "offload/segment_size.h"
#include "path/express_parts.h"
#include "path/push.h"
#include "path/together.h"
#include "wire/icmp.h"
#include "wire/ip.h"
#include "wire/tcp.h"
#include "wire/udp.h"

namespace vrouter {

// Whether what a frame leaves undone is about this packet's transport header (parse.cc,
// check_offload()).
inline bool plain_offload(const Packet& packet, const Parcel& parcel, const uint8_t* l4,
                          uint8_t protocol) {
  const Offload& offload = packet.offload;
  const bool v4 = parcel.family == Family::V4;
  const bool tcp = protocol == ip::kTcp && offload.field == tcp::kChecksumAt;
  const bool udp = protocol == ip::kUdp && offload.field == udp::kChecksumAt;
  const bool right_kind = offload.segmentation == Segmentation::None    ? tcp || udp
                          : offload.segmentation == Segmentation::Udp   ? udp
                          : offload.segmentation == Segmentation::TcpV4 ? tcp && v4
                                                                        : tcp && !v4;
  // Of a tunnel's packet recognise_tunnel() has seen to outer_transport: that header goes.
  return right_kind && packet.base + offload.transport == l4 &&
         (offload.outer_transport == 0 || parcel.from_fabric());
}

// Of a protocol without ports: an ICMP error is of the flow that it quotes.
template <class Ip>
bool is_apart(const uint8_t* l4, size_t n, uint8_t protocol) {
  constexpr bool v4 = Ip::kFamily == Family::V4;
  if (protocol != (v4 ? ip::kIcmp : ip::kIcmpv6) || !icmp::check(l4, n)) return false;
  return v4 ? !icmp::is_error(icmp::type(l4)) : !icmp6::is_error(icmp::type(l4));
}

// Whether packets to this address are anything but a flow's (admit.cc).
template <class Ip>
bool to_others(const Entrance& entrance, const uint8_t* to) {
  if constexpr (Ip::kFamily == Family::V4) {
    return (to[0] & 0xe0) == 0xe0 ||  // multicast, broadcast
           (entrance.gateway_trap && load_native<uint32_t>(to) == entrance.gateway);
  } else {
    return to[0] == 0xff || (entrance.gateway_trap && is_gateway(*entrance.vif, Family::V6, to));
  }
}

// The packet that has the flow, at parcel.l3; family, scope, vrf and the rest are known.
template <class Ip>
[[gnu::always_inline]] inline void recognise_flow(const FlowTable& flows, const Packet& packet,
                                                  const Entrance& entrance, Parcel& parcel,
                                                  FlowKey4& key) {
  constexpr bool v4 = Ip::kFamily == Family::V4;
  const uint8_t* p = packet.data() + parcel.l3;
  if (!Ip::plain(p, parcel.end - parcel.l3)) return;
  const uint32_t length = Ip::total_length(p);
  parcel.l3_length = static_cast<uint16_t>(length);
  const uint8_t* l4 = p + Ip::kHeaderLength;
  const size_t rest = length - Ip::kHeaderLength;
  const uint8_t protocol = Ip::protocol(p);
  bool special;
  if (protocol == ip::kTcp) {
    constexpr uint8_t kOpensOrEnds = tcp::kSyn | tcp::kFin | tcp::kRst;
    if (!tcp::check(l4, rest)) return;
    special = (tcp::flags(l4) & kOpensOrEnds) != 0;
  } else if (protocol == ip::kUdp) {
    constexpr uint16_t kDhcp = v4 ? udp::kPortDhcpClient : udp::kPortDhcpv6Client;
    if (!udp::check(l4, rest)) return;
    special = entrance.dhcp_trap && udp::source_port(l4) == kDhcp;
  } else {
    if (is_apart<Ip>(l4, rest, protocol)) parcel.look = Look::Apart;
    return;
  }
  if (packet.offload.checksum && !plain_offload(packet, parcel, l4, protocol)) special = true;
  if (to_others<Ip>(entrance, p + Ip::kDestinationAt)) return;
  // Hashed in registers, then stored: a copy of what has just been stored in words, taken in wider
  // ones, waits for the store.
  if constexpr (v4) {
    const FlowKey4 made(ipv4::source(p), l4, protocol, parcel.scope);
    parcel.hash = flows.hash(made);
    key = made;
  } else {
    const FlowKey4 made = FlowKey6::rest_of(ipv6::source(p), l4, protocol, parcel.scope);
    parcel.hash = flows.hash(FlowKey6{made, ipv6::source(p)});
    key = made;
  }
  parcel.look = special ? Look::Special : Look::Plain;
  flows.prefetch_bucket(parcel.hash);
}

// Where the packet's flow may be; its entry is fetched.
inline void seek_flow(const FlowTable& flows, Parcel& parcel) {
  parcel.slot = flows.candidate(parcel.hash);
  if (parcel.family == Family::V6 && parcel.slot != FlowTable::kNoSlot) {
    flows.prefetch_addresses6(FlowId{parcel.slot});
  }
}

// Whether an acknowledgement changes nothing but the number acknowledged (flow.cc, saw_ack()).
inline bool settled(const Flow& flow) {
  const uint16_t tcp = flow.tcp;
  const bool handshake = (tcp & kTcpSynR) == 0 || (tcp & kTcpEstablishedR) != 0;
  return (tcp & kTcpAck) != 0 && (tcp & (kTcpFinR | kTcpDead)) == 0 && handshake;
}

// A checksum left undone is the sum of the pseudo header: of what a flow changes, addresses are in
// it, ports are not, and it has no complement (translate.cc).
[[gnu::noinline]] inline void translate_undone(uint8_t* field, const Flow& flow) {
  const uint16_t ports =
      delta_add(checksum_delta16(flow.source_port, flow.nat_source_port),
                checksum_delta16(flow.destination_port, flow.nat_destination_port));
  const uint16_t addresses = delta_add(flow.l4_delta, static_cast<uint16_t>(~ports));
  store_be16(field, checksum_fold(uint32_t{load_be16(field)} + addresses));
}

// A flow's ports in a transport header, and what they and its addresses change in the checksum (RFC
// 1624).
[[gnu::always_inline]] inline void translate_ports(uint8_t* l4, const Offload& offload,
                                                   const Flow& flow) {
  store_be32(l4, uint32_t{flow.nat_source_port} << 16 | flow.nat_destination_port);
  if (offload.checksum) [[unlikely]] {
    translate_undone(l4 + offload.field, flow);
  } else if (flow.protocol == ip::kTcp) {
    store_be16(l4 + tcp::kChecksumAt, checksum_apply(tcp::checksum(l4), flow.l4_delta));
  } else if (udp::checksum(l4) != 0 || flow.family == Family::V6) {
    store_be16(l4 + udp::kChecksumAt,
               udp_checksum_nonzero(checksum_apply(udp::checksum(l4), flow.l4_delta)));
  }
}

// TTL, and addresses and ports where the flow has others.
inline void rewrite_ip(Ip4, uint8_t* p, const Offload& offload, const Flow& flow, FlowId /*id*/,
                       const FlowTable& /*flows*/) {
  constexpr uint16_t kOneHopLess = 0xfeff;  // checksum_delta16(x, x - 0x0100)
  uint32_t delta = kOneHopLess;
  p[ipv4::kTtlAt] = static_cast<uint8_t>(p[ipv4::kTtlAt] - 1);
  if (flow.action == FlowAction::Nat) {
    static_assert(offsetof(Flow, nat_destination4) == offsetof(Flow, nat_source4) + 4);
    static_assert(ipv4::kDestinationAt == ipv4::kSourceAt + 4);
    const uint8_t* addresses =
        reinterpret_cast<const uint8_t*>(&flow) + offsetof(Flow, nat_source4);
    std::memcpy(p + ipv4::kSourceAt, addresses, 8);
    delta += flow.l3_delta;
    translate_ports(p + ipv4::kHeaderLength, offload, flow);
  }
  const uint32_t sum = static_cast<uint16_t>(~ipv4::checksum(p)) + delta;
  ipv4::set_checksum(p, checksum_finish(sum));
}

inline void rewrite_ip(Ip6, uint8_t* p, const Offload& offload, const Flow& flow, FlowId id,
                       const FlowTable& flows) {
  p[ipv6::kHopLimitAt] = static_cast<uint8_t>(p[ipv6::kHopLimitAt] - 1);
  if (flow.action != FlowAction::Nat) return;
  const uint16_t changes = flow.l3_delta;
  if (changes == (kNewSource6 | kNewDestination6)) [[unlikely]] {
    const FlowId other = flows.reverse(id);
    const uint8_t* reverse = reinterpret_cast<const uint8_t*>(&flows[other]);
    std::memcpy(p + ipv6::kSourceAt, flows.address6(other).destination, 16);
    std::memcpy(p + ipv6::kDestinationAt, reverse + offsetof(Flow, source4), 8);
    std::memcpy(p + ipv6::kDestinationAt + 8, reverse + offsetof(Flow, nat_source4), 8);
  } else if (changes != 0) {
    const uint32_t at = changes == kNewSource6 ? ipv6::kSourceAt : ipv6::kDestinationAt;
    std::memcpy(p + at, flows.address6(id).translated, 16);
  }
  translate_ports(p + ipv6::kHeaderLength, offload, flow);
}

// Whether the segments that a super-packet will be cut into fit (fit.cc).
inline bool segments_fit(const Packet& packet, const Parcel& parcel, uint32_t most) {
  if (packet.offload.segmentation == Segmentation::None) return false;
  return repeated_bytes(packet) - parcel.l3 + packet.offload.segment <= most;
}

// Whether the far end of the tunnel it came out of is where its flow's packets come from
// (flows.cc).
inline bool arrives_right(const Router& router, const Packet& packet, const Parcel& parcel,
                          const Flow& flow) {
  const NextHopId id{flow.rpf_next_hop()};
  if (id == kDiscard) return true;
  const NextHop* from = router.next_hop(id);
  if (from == nullptr || from->kind != NextHopKind::Tunnel) return false;
  if (parcel.outer_source6 == 0) return from->destination4 == parcel.outer_source;
  const NextHopObject* object = router.next_hop_object(id);
  return object != nullptr &&
         object->tunnel.destination ==
             Address::from_bytes(Family::V6, packet.data() + parcel.outer_source6);
}

inline FlowId find_flow(Ip4, const FlowTable& flows, const FlowKey4& key, const Parcel& parcel,
                        const uint8_t* /*p*/) {
  return flows.find(key, parcel.hash, parcel.slot);
}
inline FlowId find_flow(Ip6, const FlowTable& flows, const FlowKey4& rest, const Parcel& parcel,
                        const uint8_t* p) {
  return flows.find(FlowKey6{rest, p + ipv6::kSourceAt}, parcel.hash, parcel.slot);
}

// A flow that has had another 256 packets: others may carry it from now on.
[[gnu::noinline]] inline void offer_flow(Context& context, const Packet& packet,
                                         const Parcel& parcel, FlowId id) {
  if (context.tier == nullptr || context.offers == kMaxOffered || parcel.outer_source6 != 0) return;
  const uint8_t* outer = packet.data() + ethernet::kHeaderLength;
  const uint32_t to =
      parcel.outer_source != 0 ? load_native<uint32_t>(ipv4::destination(outer)) : 0;
  context.offered[context.offers++] = {id, packet.meta.vif, parcel.label, to};
}

// Does all there is to do for a packet, or nothing (false). kTogether: other workers may write the
// entry meanwhile, so what is done is done by a copy of it that was whole. Addresses of IPv6, of
// either half, are read where they stand: they are the keys, which stay from before a pair can be
// found until nobody can be reading it (state/flow.h).
template <class Ip, bool kTogether>
[[gnu::always_inline]] inline bool carry_flow(Context& context, Packet& packet,
                                              const Parcel& parcel, const FlowKey4& key,
                                              uint32_t now_ms, Exit* exits) {
  const Router& router = context.router;
  uint8_t* p = packet.data() + parcel.l3;
  const FlowId id = find_flow(Ip{}, context.flows, key, parcel, p);
  if (!id.valid() || parcel.hash == 0) return false;
  Flow& live = context.flows[id];
  Flow copy;
  if constexpr (kTogether) {
    if (!context.flows.read(id, copy)) return false;
  }
  const Flow& flow = kTogether ? copy : live;
  const bool any = (flow.flags & kFlowTranslated) != 0;
  const bool current = flow.generation == router.generation ||
                       flow.generation >= router.generation_for(flow.vrf, any);
  if (flow.action < FlowAction::Forward || !current || (flow.flags & kFlowL2) != 0 ||
      (flow.flags & (kFlowInitiator | kFlowReplied)) == 0) {
    return false;
  }
  const uint32_t next_hop = flow.next_hop();
  const uint32_t label = flow.label();
  Exit& exit = exits[next_hop % kExits];
  if (exit.id.value != next_hop) exit = exit_by(router, NextHopId{next_hop});
  if (exit.rewrite == nullptr || label - kNoLabel < exit.unfit ||
      packet.offset + parcel.l3 < exit.rewrite->length) {
    return false;
  }
  if (parcel.l3_length > exit.most && !segments_fit(packet, parcel, exit.most)) return false;
  if (parcel.from_fabric() && !arrives_right(router, packet, parcel, flow)) return false;
  if (p[Ip::kTtlAt] <= 1) return false;
  if (flow.protocol == ip::kTcp) {
    const uint8_t* l4 = p + Ip::kHeaderLength;
    if ((tcp::flags(l4) & tcp::kAck) != 0) {
      if (!settled(flow)) return false;
      live.tcp_ack = tcp::ack(l4);
    } else if ((flow.tcp & kTcpDead) != 0) {
      return false;
    }
  }
  if constexpr (!kTogether) {
    if (count_packet(context.flows.half(id), parcel.l3_length)) [[unlikely]] {
      offer_flow(context, packet, parcel, id);
    }
  } else if (!count_recent(live, parcel.l3_length)) {
    const InRooms in_rooms(context);
    count_packet(context.flows.half(id), parcel.l3_length);
    offer_flow(context, packet, parcel, id);
  }
  live.last_seen = now_ms;

  rewrite_ip(Ip{}, p, packet.offload, flow, id, context.flows);
  PacketMeta& meta = packet.meta;
  meta.vrf = parcel.vrf;
  meta.flow = id;
  meta.next_hop = NextHopId{next_hop};
  meta.label = label;
  meta.hash = parcel.hash;
  meta.ttl = p[Ip::kTtlAt];
  meta.ether_type = Ip::kEtherType;
  meta.out_vif = exit.vif;
  meta.out_port = exit.port;
  meta.verdict = Verdict::Transmit;
  if (parcel.from_fabric()) packet.offload.outer_transport = packet.offload.inner_network = 0;
  packet.trim(uint32_t{parcel.l3} + parcel.l3_length);
  packet.pull(parcel.l3);
  push_rewrite(context, packet, *exit.rewrite, packet.offset);
  return true;
}

template <bool kTogether>
[[gnu::noinline]] inline bool carry_flow6(Context& context, Packet& packet, const Parcel& parcel,
                                          const FlowKey4& key, uint32_t now_ms, Exit* exits) {
  return carry_flow<Ip6, kTogether>(context, packet, parcel, key, now_ms, exits);
}

template <bool kTogether>
[[gnu::always_inline]] inline bool carry_flow(Context& context, Packet& packet,
                                              const Parcel& parcel, const FlowKey4& key,
                                              uint32_t now_ms, Exit* exits) {
  return parcel.family == Family::V4
             ? carry_flow<Ip4, kTogether>(context, packet, parcel, key, now_ms, exits)
             : carry_flow6<kTogether>(context, packet, parcel, key, now_ms, exits);
}

}  // namespace vrouter
