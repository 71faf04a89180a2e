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
#include <bit>
#include <cstddef>

#include "path/push.h"
#include "wire/ethernet.h"
#include "wire/gre.h"
#include "wire/ip.h"
#include "wire/ipv4.h"
#include "wire/mpls.h"
#include "wire/tcp.h"
#include "wire/udp.h"

namespace vrouter {
namespace {

// What a packet looks like from outside.
enum class Look : uint8_t {
  Plain,    // may be carried
  Special,  // of a known flow, for the rooms: it opens or ends the connection, or leaves something
            // undone
  Apart,    // for the rooms, and of no flow that a plain packet could be of
  Unknown,  // for the rooms, and of whatever flow
};

// A packet as far as it has been recognised. l3: of the packet that has the flow, from data().
struct Parcel {
  Look look = Look::Unknown;
  uint16_t l3 = 0;
  uint16_t l3_length = 0;
  uint32_t end = 0;    // of what may belong to it; behind that is the wire's padding
  uint32_t label = 0;  // it came with; from_fabric
  uint32_t scope = 0;
  uint32_t outer_source = 0;  // as it stands in the header; 0: from a tenant
  VrfId vrf;
  uint32_t slot = FlowTable::kNoSlot;
  uint64_t hash = 0;
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
  uint32_t gateway = 0;  // with gateway_trap
};

// The way out by a next hop, as far as all packets that take it have it in common.
struct Exit {
  NextHopId id;
  const Rewrite* rewrite = nullptr;  // nullptr: not by this room
  VifId vif;
  PortId port;
  uint32_t most = 0;   // bytes of a packet that fits
  uint32_t unfit = 0;  // so many labels from kNoLabel on are none for it
};
constexpr uint32_t kExits = 16;  // remembered; by the low bits of their ids

// Where a label leads; and an address of the underlay, to us or not. The last of each is
// remembered: within a burst no table changes.
struct Memory {
  Entrance entrance;
  uint32_t label = ~0u;
  bool label_plain = false;
  uint32_t scope = 0;
  VrfId vrf;
  uint32_t underlay = 0;
  bool own = false;
};

Exit exit_by(const Router& router, NextHopId id) {
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

// The header of a whole IPv4 packet without options, of which n bytes are in view.
bool plain_ipv4(const uint8_t* p, size_t n) {
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

// The packet that has the flow, at parcel.l3; scope, vrf and the rest are known.
void recognise_flow(const FlowTable& flows, const Packet& packet, const Entrance& entrance,
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

// Whether an acknowledgement changes nothing but the number acknowledged (flow.cc, saw_ack()).
bool settled(const Flow& flow) {
  const uint16_t tcp = flow.tcp;
  const bool handshake = (tcp & kTcpSynR) == 0 || (tcp & kTcpEstablishedR) != 0;
  return (tcp & kTcpAck) != 0 && (tcp & (kTcpFinR | kTcpDead)) == 0 && handshake;
}

// TTL, and addresses and ports where the flow has others; checksums by what that changes (RFC
// 1624).
void rewrite_packet(uint8_t* p, const Flow& flow) {
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

// Does all there is to do for a packet, or nothing (false).
bool carry(Context& context, Packet& packet, const Parcel& parcel, const FlowKey4& key,
           uint32_t now_ms, Exit* exits) {
  const Router& router = context.router;
  const FlowId id = context.flows.find(key, parcel.hash, parcel.slot);
  if (!id.valid() || parcel.hash == 0) return false;
  Flow& flow = context.flows[id];
  const bool any = (flow.flags & kFlowTranslated) != 0;
  const bool current = flow.generation == router.generation ||
                       flow.generation >= router.generation_for(flow.vrf, any);
  if (flow.action < FlowAction::Forward || !current || (flow.flags & kFlowL2) != 0 ||
      (flow.flags & (kFlowInitiator | kFlowReplied)) == 0) {
    return false;
  }
  Exit& exit = exits[flow.next_hop % kExits];
  if (exit.id.value != flow.next_hop) exit = exit_by(router, NextHopId{flow.next_hop});
  if (exit.rewrite == nullptr || flow.label - kNoLabel < exit.unfit ||
      parcel.l3_length > exit.most || packet.offset + parcel.l3 < exit.rewrite->length) {
    return false;
  }
  if (parcel.outer_source != 0 && flow.rpf_next_hop != kDiscard.value) {
    const NextHop* from = router.next_hop(NextHopId{flow.rpf_next_hop});
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
      flow.tcp_ack = tcp::ack(l4);
    } else if ((flow.tcp & kTcpDead) != 0) {
      return false;
    }
  }
  flow.packets += 1;
  flow.bytes += parcel.l3_length;
  flow.last_seen = now_ms;

  rewrite_packet(p, flow);
  PacketMeta& meta = packet.meta;
  meta.vrf = parcel.vrf;
  meta.flow = id;
  meta.next_hop = NextHopId{flow.next_hop};
  meta.label = flow.label;
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
  uint64_t waiting = 0;  // a bit of the hash of each packet that is left
  uint32_t left = 0;
  for (uint32_t i = 0; i < burst.count; ++i) {
    const Parcel& parcel = parcels[i];
    const uint64_t bit = uint64_t{1} << (parcel.hash & 63);
    Packet* packet = burst.packets[i];
    if (parcel.look == Look::Plain && (waiting & bit) == 0 &&
        carry(context, *packet, parcel, keys[i], now, exits)) {
      done.packets[done.count++] = packet;
      continue;
    }
    burst.packets[left++] = packet;
    if (parcel.look != Look::Apart) waiting |= parcel.look == Look::Unknown ? ~uint64_t{0} : bit;
  }
  burst.count = left;
}

}  // namespace vrouter
