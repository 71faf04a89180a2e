// What the router answers itself: ARP (RFC 826) and neighbour solicitations (RFC 4861) for the
// gateway and by proxy, ICMP echo to the gateway and to its own underlay address. The question is
// turned round in its own buffer and leaves by the vif it came in on.
#include "base/checksum.h"
#include "path/rooms.h"
#include "wire/arp.h"
#include "wire/ethernet.h"
#include "wire/icmp.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"

namespace vrouter {
namespace {

bool same(const Address& a, Family family, const uint8_t* b) {
  return a.family == family && std::memcmp(a.bytes.data(), b, a.size()) == 0;
}

bool is_tenant(const Vif& vif) { return vif.spec.type == static_cast<uint8_t>(VifType::Virtual); }

bool bridges(const Vif& vif) {
  return is_tenant(vif) && ((vif.spec.flags & (kVifL2 | kVifL3)) == 0 || (vif.spec.flags & kVifL2));
}

bool is_underlay(Context& context, const Vif& vif, Family family, const uint8_t* address) {
  if (vif.spec.type != static_cast<uint8_t>(VifType::Physical)) return false;
  const RouterSpec& spec = context.router.spec();
  return same(spec.ipv4, family, address) || same(spec.ipv6, family, address) ||
         same(vif.spec.ipv4, family, address) || same(vif.spec.ipv6, family, address);
}

// What to do with a question for `target`; the ancestor's order of rules (gateway, proxy, flood).
enum class Answer { Ours, Proxy, Flood, Drop, Trap };
struct Answering {
  Answer answer = Answer::Drop;
  Mac mac;
};

Answering answering(Context& context, const Packet& packet, const Vif& vif, Family family,
                    const uint8_t* target, bool announcement) {
  const VifSpec& spec = vif.spec;
  if (!is_tenant(vif)) {
    if (is_underlay(context, vif, family, target) && !announcement) {
      return {Answer::Ours, spec.mac};
    }
    return {};
  }
  const Answering flood{bridges(vif) ? Answer::Flood : Answer::Drop, {}};
  if (announcement) return (spec.flags & kVifProxy) != 0 ? Answering{} : flood;
  if (is_gateway(vif, family, target)) return {Answer::Ours, spec.mac};
  const Route* route = context.router.route(VrfId{spec.vrf}, family, target);
  if (route != nullptr) {
    const NextHop* next_hop = context.router.next_hop(route->next_hop);
    // Its own address: duplicate address detection must hear nothing.
    if (next_hop != nullptr && next_hop->kind == NextHopKind::Interface &&
        next_hop->vif == packet.meta.vif) {
      return {};
    }
  }
  if ((spec.flags & kVifProxy) != 0) return {Answer::Proxy, spec.mac};
  if (route == nullptr) return flood;
  if ((route->flags & kRouteTrap) != 0) return {Answer::Trap, {}};
  if ((route->flags & kRouteProxy) != 0 && (spec.flags & kVifNoProxy) == 0) {
    const bool stitched = bridges(vif) && !route->mac.is_zero();
    return {Answer::Proxy, stitched ? route->mac : spec.mac};
  }
  return flood;
}

void finish_reply(Context& context, Packet& packet, const Vif& vif) {
  packet.meta.out_vif = packet.meta.vif;
  packet.meta.out_port = PortId{vif.spec.port};
  packet.meta.verdict = Verdict::Reply;
  if (context.trace != nullptr) context.trace->note("reply", "answered by the router");
}

// Not answered here: flooded in the network, given to the agent or the host, or dropped.
void leave_unanswered(Context& context, Packet& packet, Answer answer) {
  switch (answer) {
    case Answer::Flood:
      packet.meta.l2 = true;
      packet.meta.wants_flow = false;
      return;
    case Answer::Trap:
      return punt(context, packet, TrapReason::Arp);
    default:  // of the fabric: a neighbour's answer to the host, an announcement, another's address
      if (!give_to_host(context, packet)) packet.drop(DropReason::Discards);
  }
}

}  // namespace

// The gateway's address, or the link-local one that follows from the router's MAC here (EUI-64, RFC
// 4291 App. A): tenants that take router advertisements have that one for their default route.
bool is_gateway(const Vif& vif, Family family, const uint8_t* address) {
  if (same(vif.spec.gateway4, family, address) || same(vif.spec.gateway6, family, address)) {
    return true;
  }
  if (family != Family::V6 || address[0] != 0xfe || address[1] != 0x80) return false;
  const auto& mac = vif.spec.mac.bytes;
  const uint8_t own[16] = {
      0xfe,   0x80,   0,    0,    0,      0,      0,     0, uint8_t(mac[0] ^ 2),
      mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]};
  return is_tenant(vif) && vif.spec.gateway6.is_set() && std::memcmp(own, address, 16) == 0;
}

void answer_arp(Context& context, Packet& packet) {
  const Vif& vif = *context.router.vif(packet.meta.vif);
  uint8_t* p = packet.data();
  uint8_t* a = p + ethernet::kHeaderLength;
  if (!arp::check(a, packet.length - ethernet::kHeaderLength)) {
    return packet.drop(DropReason::InvalidArp);
  }
  if (arp::operation(a) != arp::kRequest) {
    // A tenant's answer to another tenant is bridged; there is nothing else to learn from it here.
    const bool bridged = bridges(vif) && ethernet::destination(p) != vif.spec.mac;
    if (arp::operation(a) != arp::kReply) return packet.drop(DropReason::InvalidArp);
    return leave_unanswered(context, packet, bridged ? Answer::Flood : Answer::Drop);
  }
  const bool announcement = std::memcmp(arp::sender_ip(a), arp::target_ip(a), 4) == 0;
  const Answering how =
      answering(context, packet, vif, Family::V4, arp::target_ip(a), announcement);
  if (how.answer != Answer::Ours && how.answer != Answer::Proxy) {
    return leave_unanswered(context, packet, how.answer);
  }
  const Mac asker = arp::sender_mac(a);
  arp::turn_into_reply(a, how.mac);
  ethernet::write(p, asker, how.mac, ethernet::kTypeArp);
  packet.trim(ethernet::kHeaderLength + arp::kHeaderLength);
  finish_reply(context, packet, vif);
}

void answer_neighbour_solicitation(Context& context, Packet& packet) {
  const Vif& vif = *context.router.vif(packet.meta.vif);
  PacketMeta& meta = packet.meta;
  uint8_t* p = packet.data();
  uint8_t* l3 = p + meta.l3;
  uint8_t* n = p + meta.l4;
  const uint32_t length = meta.l3_length - (uint32_t{meta.l4} - meta.l3);
  const uint32_t sum = pseudo_sum_v6(ipv6::source(l3), ipv6::destination(l3), ip::kIcmpv6, length);
  if (ipv6::hop_limit(l3) != ndp::kHopLimit || !ndp::check(n, length) || icmp::code(n) != 0 ||
      checksum_finish(checksum_add(sum, n, length)) != 0 || ndp::target(n)[0] == 0xff ||
      meta.l4 != meta.l3 + ipv6::kHeaderLength) {
    return packet.drop(DropReason::InvalidArp);
  }
  static constexpr uint8_t kUnspecified[16] = {};
  static constexpr uint8_t kAllNodes[16] = {0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
  const bool probe = std::memcmp(ipv6::source(l3), kUnspecified, 16) == 0;
  const Answering how = answering(context, packet, vif, Family::V6, ndp::target(n), false);
  // A probe for an address answered by proxy would look like a duplicate.
  if ((how.answer != Answer::Ours && how.answer != Answer::Proxy) ||
      (probe && how.answer == Answer::Proxy)) {
    return leave_unanswered(context, packet,
                            how.answer == Answer::Proxy ? Answer::Drop : how.answer);
  }
  uint8_t target[16];
  uint8_t asker[16];
  std::memcpy(target, ndp::target(n), 16);
  std::memcpy(asker, probe ? kAllNodes : ipv6::source(l3), 16);
  const Mac asker_mac = probe ? Mac{{0x33, 0x33, 0, 0, 0, 1}} : ethernet::source(p);
  const uint32_t total = meta.l3 + ipv6::kHeaderLength + ndp::kAdvertisementLength;
  if (total > packet.length) {
    if (packet.tailroom() < total - packet.length) return packet.drop(DropReason::Push);
    packet.append(total - packet.length);
  }
  packet.trim(total);
  ethernet::write(p, asker_mac, how.mac, ethernet::kTypeIpv6);
  ipv6::write(l3, 0, 0, ndp::kAdvertisementLength, ip::kIcmpv6, ndp::kHopLimit, target, asker);
  ndp::write_advertisement(n,
                           ndp::kFlagRouter * (how.answer == Answer::Ours) |
                               ndp::kFlagSolicited * !probe | ndp::kFlagOverride,
                           target, how.mac);
  const uint32_t reply_sum = pseudo_sum_v6(target, asker, ip::kIcmpv6, ndp::kAdvertisementLength);
  icmp::set_checksum(n, checksum_finish(checksum_add(reply_sum, n, ndp::kAdvertisementLength)));
  finish_reply(context, packet, vif);
}

bool answer_echo(Context& context, Packet& packet) {
  PacketMeta& meta = packet.meta;
  const Vif& vif = *context.router.vif(meta.vif);
  if (meta.fragment) return false;
  uint8_t* p = packet.data();
  uint8_t* l3 = p + meta.l3;
  uint8_t* icmp = p + meta.l4;
  const bool v4 = meta.family == Family::V4;
  const uint8_t* to = v4 ? ipv4::destination(l3) : ipv6::destination(l3);
  if (meta.protocol != (v4 ? ip::kIcmp : ip::kIcmpv6)) return false;  // nearly all packets
  if (!is_gateway(vif, meta.family, to) && !is_underlay(context, vif, meta.family, to))
    return false;
  if (icmp::type(icmp) != (v4 ? icmp::kEcho : icmp6::kEcho)) return false;
  if (!v4 && (ipv6::source(l3)[0] == 0xff || meta.l4 != meta.l3 + ipv6::kHeaderLength))
    return false;
  const uint32_t length = meta.l3_length - (uint32_t{meta.l4} - meta.l3);
  const uint32_t sum = v4 ? 0 : pseudo_sum_v6(ipv6::source(l3), to, ip::kIcmpv6, length);
  if (checksum_finish(checksum_add(sum, icmp, length)) != 0) {  // a host would say nothing either
    packet.drop(DropReason::CksumErr);
    return true;
  }
  uint8_t asker[16];
  const uint32_t size = v4 ? 4 : 16;
  std::memcpy(asker, v4 ? ipv4::source(l3) : ipv6::source(l3), size);
  const Mac asker_mac = ethernet::source(p);
  ethernet::write(p, asker_mac, vif.spec.mac, meta.ether_type);
  const uint16_t old = load_be16(icmp);
  icmp::set_type(icmp, v4 ? icmp::kEchoReply : icmp6::kEchoReply);
  icmp::set_checksum(icmp,
                     checksum_apply(icmp::checksum(icmp), checksum_delta16(old, load_be16(icmp))));
  if (v4) {
    ipv4::set_source(l3, to);
    ipv4::set_destination(l3, asker);
    ipv4::set_ttl(l3, 64);
    ipv4::write_checksum(l3);
  } else {
    ipv6::set_source(l3, to);
    ipv6::set_destination(l3, asker);
    ipv6::set_hop_limit(l3, 64);
  }
  finish_reply(context, packet, vif);
  return true;
}

}  // namespace vrouter
