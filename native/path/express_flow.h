// The express room's way of flows: a TCP or UDP packet whose flow is known, decided, and past its
// handshake. Its flow names the way out: no route, policy or ECMP member is looked up.
// See express.cc.
#pragma once
#include "path/express_parts.h"
#include "path/push.h"
#include "path/together.h"
#include "wire/ip.h"
#include "wire/tcp.h"
#include "wire/udp.h"

namespace vrouter {

// The packet that has the flow, at parcel.l3; scope, vrf and the rest are known.
inline void recognise_flow(const FlowTable& flows, const Packet& packet, const Entrance& entrance,
                           Parcel& parcel, FlowKey4& key) {
  const uint8_t* p = packet.data() + parcel.l3;
  const size_t n = parcel.end - parcel.l3;
  if (n == 0 || ip::version(p) != 4) {
    parcel.look = n != 0 && ip::version(p) == 6 ? Look::Apart : Look::Unknown;
    return;
  }
  if (!plain_ipv4(p, n)) return;
  parcel.l3_length = ipv4::total_length(p);
  const uint8_t* l4 = p + ipv4::kHeaderLength;
  const size_t rest = parcel.l3_length - ipv4::kHeaderLength;
  const uint8_t protocol = ipv4::protocol(p);
  bool special = packet.offload.checksum;
  if (protocol == ip::kTcp) {
    constexpr uint8_t kOpensOrEnds = tcp::kSyn | tcp::kFin | tcp::kRst;
    if (!tcp::check(l4, rest)) return;
    special |= (tcp::flags(l4) & kOpensOrEnds) != 0;
  } else if (protocol == ip::kUdp) {
    if (!udp::check(l4, rest)) return;
    special |= entrance.dhcp_trap;
  } else {
    return;
  }
  const uint8_t* to = ipv4::destination(p);
  if ((to[0] & 0xe0) == 0xe0) return;  // multicast, broadcast
  if (entrance.gateway_trap && load_native<uint32_t>(to) == entrance.gateway) return;
  key = FlowKey4(ipv4::source(p), load_be16(l4), load_be16(l4 + 2), protocol, parcel.scope);
  parcel.hash = flows.hash(key);
  parcel.look = special ? Look::Special : Look::Plain;
  flows.prefetch_bucket(parcel.hash);
}

// Whether an acknowledgement changes nothing but the number acknowledged (flow.cc, saw_ack()).
inline bool settled(const Flow& flow) {
  const uint16_t tcp = flow.tcp;
  const bool handshake = (tcp & kTcpSynR) == 0 || (tcp & kTcpEstablishedR) != 0;
  return (tcp & kTcpAck) != 0 && (tcp & (kTcpFinR | kTcpDead)) == 0 && handshake;
}

// TTL, and addresses and ports where the flow has others; checksums by what that changes (RFC
// 1624).
inline void rewrite_packet(uint8_t* p, const Flow& flow) {
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
    uint8_t* l4 = p + ipv4::kHeaderLength;
    store_be32(l4, uint32_t{flow.nat_source_port} << 16 | flow.nat_destination_port);
    if (flow.protocol == ip::kTcp) {
      store_be16(l4 + tcp::kChecksumAt, checksum_apply(tcp::checksum(l4), flow.l4_delta));
    } else if (udp::checksum(l4) != 0) {
      store_be16(l4 + udp::kChecksumAt,
                 udp_checksum_nonzero(checksum_apply(udp::checksum(l4), flow.l4_delta)));
    }
  }
  const uint32_t sum = static_cast<uint16_t>(~ipv4::checksum(p)) + delta;
  ipv4::set_checksum(p, checksum_finish(sum));
}

// Does all there is to do for a packet, or nothing (false). kTogether: other workers may write the
// entry meanwhile, so what is done is done by a copy of it that was whole.
template <bool kTogether>
inline bool carry_flow(Context& context, Packet& packet, const Parcel& parcel, const FlowKey4& key,
                       uint32_t now_ms, Exit* exits) {
  const Router& router = context.router;
  const FlowId id = context.flows.find(key, parcel.hash, parcel.slot);
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
      parcel.l3_length > exit.most || packet.offset + parcel.l3 < exit.rewrite->length) {
    return false;
  }
  const uint32_t rpf = flow.rpf_next_hop();
  if (parcel.outer_source != 0 && rpf != kDiscard.value) {
    const NextHop* from = router.next_hop(NextHopId{rpf});
    if (from == nullptr || from->kind != NextHopKind::Tunnel ||
        from->destination4 != parcel.outer_source) {
      return false;
    }
  }
  uint8_t* p = packet.data() + parcel.l3;
  if (ipv4::ttl(p) <= 1) return false;
  if (flow.protocol == ip::kTcp) {
    const uint8_t* l4 = p + ipv4::kHeaderLength;
    if ((tcp::flags(l4) & tcp::kAck) != 0) {
      if (!settled(flow)) return false;
      live.tcp_ack = tcp::ack(l4);
    } else if ((flow.tcp & kTcpDead) != 0) {
      return false;
    }
  }
  if constexpr (!kTogether) {
    count_packet(context.flows.half(id), parcel.l3_length);
  } else if (!count_recent(live, parcel.l3_length)) {
    const InRooms in_rooms(context);
    count_packet(context.flows.half(id), parcel.l3_length);
  }
  live.last_seen = now_ms;

  rewrite_packet(p, flow);
  PacketMeta& meta = packet.meta;
  meta.vrf = parcel.vrf;
  meta.flow = id;
  meta.next_hop = NextHopId{next_hop};
  meta.label = label;
  meta.hash = parcel.hash;
  meta.ttl = ipv4::ttl(p);
  meta.ether_type = ethernet::kTypeIpv4;
  meta.out_vif = exit.vif;
  meta.out_port = exit.port;
  meta.verdict = Verdict::Transmit;
  packet.trim(uint32_t{parcel.l3} + parcel.l3_length);
  packet.pull(parcel.l3);
  push_rewrite(context, packet, *exit.rewrite, packet.offset);
  return true;
}

}  // namespace vrouter
