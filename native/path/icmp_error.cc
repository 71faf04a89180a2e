// ICMP and ICMPv6 errors the router sends about packets it cannot forward: made as new packets,
// from the gateway's address, back to the source, by the same rooms as everything else but without
// a flow. RFC 792, RFC 1812 §4.3.2, RFC 4443. Never about an ICMP error, a later fragment, or a
// packet with a group or unset address; and no more than RouterSpec::icmp_errors_per_second.
#include "base/checksum.h"
#include "path/rooms.h"
#include "wire/ethernet.h"
#include "wire/icmp.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"

namespace vrouter {
namespace {

constexpr uint32_t kQuote4 = 576 - 28;   // RFC 1812 §4.3.2.3: as much as fits 576 bytes
constexpr uint32_t kQuote6 = 1280 - 48;  // RFC 4443 §2.4: … the minimum MTU

bool take_token(Context& context) {
  const uint32_t rate = context.router.spec().icmp_errors_per_second;
  if (rate == 0 || context.trace != nullptr) return rate != 0;  // explaining takes no token
  // A bucket of one second's worth, refilled by the clock.
  IcmpLimit& bucket = context.icmp_limit;
  const uint64_t elapsed = context.now_ns - bucket.at_ns;
  const uint64_t earned = elapsed >= 1'000'000'000 ? rate : elapsed * rate / 1'000'000'000;
  if (earned != 0 || bucket.at_ns == 0) {
    const uint64_t tokens = bucket.at_ns == 0 ? rate : bucket.tokens + earned;
    bucket.tokens = static_cast<uint32_t>(tokens > rate ? rate : tokens);
    bucket.at_ns = context.now_ns == 0 ? 1 : context.now_ns;
  }
  if (bucket.tokens == 0) return false;
  --bucket.tokens;
  return true;
}

bool unusable_source(Family family, const uint8_t* a) {
  const Address address = Address::from_bytes(family, a);
  return address.is_multicast() || address == Address::from_bytes(family, Address{}.bytes.data()) ||
         (family == Family::V4 && (address.v4() == ~0u || a[0] == 127)) ||
         (family == Family::V6 && a[0] == 0xfe && (a[1] & 0xc0) == 0x80);
}

bool may_answer(const Packet& packet) {
  const PacketMeta& meta = packet.meta;
  if (meta.family == Family::None || meta.icmp_error || meta.generated) return false;
  if (meta.fragment && !meta.first_fragment) return false;
  if (meta.l2_length >= ethernet::kHeaderLength && ethernet::is_group(packet.data())) return false;
  const uint8_t* l3 = packet.data() + meta.l3;
  const uint8_t* source = meta.family == Family::V4 ? ipv4::source(l3) : ipv6::source(l3);
  const uint8_t* to = meta.family == Family::V4 ? ipv4::destination(l3) : ipv6::destination(l3);
  if (meta.protocol == ip::kIcmp && meta.family == Family::V4 &&
      icmp::is_error(icmp::type(packet.data() + meta.l4))) {
    return false;
  }
  return !unusable_source(meta.family, source) &&
         !Address::from_bytes(meta.family, to).is_multicast();
}

// The address the error comes from: the gateway of the vif the packet came in on; for one out of a
// tunnel, of the vif it was going to. The router's underlay address is for the fabric alone: a
// tenant never sees it. None: no error is sent.
Address reporter(Context& context, const Packet& packet) {
  const PacketMeta& meta = packet.meta;
  const bool v4 = meta.family == Family::V4;
  const auto gateway = [&](const Vif* vif) {
    return vif == nullptr ? Address{} : v4 ? vif->spec.gateway4 : vif->spec.gateway6;
  };
  if (meta.from_fabric) {
    const NextHop* out = context.router.next_hop(meta.next_hop);
    const bool to_vif = out != nullptr && out->kind == NextHopKind::Interface;
    return to_vif ? gateway(context.router.vif(out->vif)) : Address{};
  }
  const Vif* in = context.router.vif(meta.vif);
  if (in != nullptr && in->spec.type == static_cast<uint8_t>(VifType::Physical)) {
    return v4 ? context.router.spec().ipv4 : context.router.spec().ipv6;
  }
  return gateway(in);
}

void send_error(Context& context, const Packet& about, uint8_t type4, uint8_t code4, uint8_t type6,
                uint8_t code6, uint32_t rest) {
  if (!may_answer(about)) return;
  const Address from = reporter(context, about);
  if (!from.is_set()) return;
  if (!take_token(context)) return;
  const PacketMeta& meta = about.meta;
  const bool v4 = meta.family == Family::V4;
  const uint32_t most = v4 ? kQuote4 : kQuote6;
  const uint32_t quoted = meta.l3_length < most ? meta.l3_length : most;
  const uint32_t header = v4 ? ipv4::kHeaderLength : ipv6::kHeaderLength;
  const uint32_t total = header + icmp::kHeaderLength + quoted;
  Packet* packet = context.pool.allocate();
  if (packet == nullptr) return;
  if (packet->tailroom() < total) {
    context.pool.free(packet);
    return;
  }
  packet->append(total);
  uint8_t* p = packet->data();
  const uint8_t* l3 = about.data() + meta.l3;
  uint8_t* message = p + header;
  message[0] = v4 ? type4 : type6;
  message[1] = v4 ? code4 : code6;
  icmp::set_checksum(message, 0);
  icmp::set_rest(message, rest);
  std::memcpy(message + icmp::kHeaderLength, l3, quoted);
  const uint32_t length = icmp::kHeaderLength + quoted;
  if (v4) {
    ipv4::write(p, 0xc0, static_cast<uint16_t>(total), ++context.ip_identification, 0, 64,
                ip::kIcmp, from.bytes.data(), ipv4::source(l3));
    icmp::set_checksum(message, checksum(message, length));
  } else {
    ipv6::write(p, 0xc0, 0, static_cast<uint16_t>(length), ip::kIcmpv6, 64, from.bytes.data(),
                ipv6::source(l3));
    const uint32_t sum = pseudo_sum_v6(ipv6::source(p), ipv6::destination(p), ip::kIcmpv6, length);
    icmp::set_checksum(message, checksum_finish(checksum_add(sum, message, length)));
  }
  packet->meta.vif = meta.vif;
  packet->meta.vrf = meta.vrf;
  packet->meta.generated = true;
  packet->meta.no_flow = true;
  parse_ip(context, *packet, 0);
  packet->meta.icmp_error = false;  // routed by its own addresses
  send(context, packet);
}

}  // namespace

void send_time_exceeded(Context& context, const Packet& packet) {
  send_error(context, packet, icmp::kTimeExceeded, icmp::kCodeTtlExceeded, icmp6::kTimeExceeded,
             icmp6::kCodeHopLimitExceeded, 0);
}

void send_unreachable(Context& context, const Packet& packet) {
  send_error(context, packet, icmp::kUnreachable, icmp::kCodeNetUnreachable, icmp6::kUnreachable,
             icmp6::kCodeNoRoute, 0);
}

void send_too_big(Context& context, const Packet& packet, uint32_t mtu) {
  // IPv4 has 16 bits for it, in the low half of the word; so has IPv6 32 in all of it.
  send_error(context, packet, icmp::kUnreachable, icmp::kCodeFragmentationNeeded,
             icmp6::kPacketTooBig, 0, mtu);
}

}  // namespace vrouter
