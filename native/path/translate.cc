// NAT: writes a flow's translated addresses and ports into a packet, with checksums by precomputed
// deltas (RFC 1624). ICMP errors are translated outside and in the packet they quote (RFC 5508),
// whole checksums made anew: they are rare and small. A zero UDP checksum over IPv4 stays zero.
#include "base/checksum.h"
#include "path/rooms.h"
#include "wire/icmp.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"
#include "wire/sctp.h"
#include "wire/tcp.h"
#include "wire/udp.h"

namespace vrouter {
namespace {

struct Translation {
  uint8_t source[16];  // IPv4: the first four bytes
  uint8_t destination[16];
  uint16_t source_port;
  uint16_t destination_port;
};

// IPv6 addresses are those of the reverse half's key: an entry has no room for two more.
Translation translation_of(Context& context, const FlowHalf& half, FlowId id) {
  const Flow& flow = half.flow;
  Translation to;
  to.source_port = flow.nat_source_port;
  to.destination_port = flow.nat_destination_port;
  if (flow.family == Family::V4) {
    std::memcpy(to.source, flow.nat_source4, 4);
    std::memcpy(to.destination, flow.nat_destination4, 4);
  } else {
    const FlowKey back = reverse_of(context, id).key();
    std::memcpy(to.source, back.destination, 16);
    std::memcpy(to.destination, back.source, 16);
  }
  return to;
}

uint32_t crc32c(const uint8_t* p, size_t n) {  // RFC 9260 appendix A; only where ports change
  uint32_t crc = ~0u;
  for (size_t i = 0; i < n; ++i) {
    crc ^= p[i];
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ (0x82f63b78u & (0u - (crc & 1)));
  }
  return ~crc;
}

void apply_delta(uint8_t* field, uint16_t delta) {
  store_be16(field, checksum_apply(load_be16(field), delta));
}

// A checksum left undone holds the pseudo header's sum: of the delta, the addresses' part. Without
// the complement: this is a sum, not yet a checksum.
void apply_partial_delta(uint8_t* field, const Flow& flow, const Translation& to) {
  const uint16_t ports = delta_add(checksum_delta16(flow.source_port, to.source_port),
                                   checksum_delta16(flow.destination_port, to.destination_port));
  const uint16_t addresses = delta_add(flow.l4_delta, static_cast<uint16_t>(~ports));
  store_be16(field, checksum_fold(uint32_t{load_be16(field)} + addresses));
}

void translate_transport(Packet& packet, const FlowHalf& half, const Translation& to) {
  const Flow& flow = half.flow;
  const PacketMeta& meta = packet.meta;
  uint8_t* p = packet.data() + meta.l4;
  if (packet.offload.checksum) {  // TCP or UDP: parse has seen to it
    store_be16(p, to.source_port);
    store_be16(p + 2, to.destination_port);
    apply_partial_delta(p + packet.offload.field, flow, to);
    return;
  }
  switch (meta.protocol) {
    case ip::kTcp:
      tcp::set_source_port(p, to.source_port);
      tcp::set_destination_port(p, to.destination_port);
      apply_delta(p + tcp::kChecksumAt, flow.l4_delta);
      break;
    case ip::kUdp:
      udp::set_source_port(p, to.source_port);
      udp::set_destination_port(p, to.destination_port);
      if (meta.family == Family::V6 || udp::checksum(p) != 0) {
        udp::set_checksum(p, udp_checksum_nonzero(checksum_apply(udp::checksum(p), flow.l4_delta)));
      }
      break;
    case ip::kSctp:
      if (half.nat() & (kNatSourcePort | kNatDestinationPort)) {
        store_be16(p + sctp::kSourcePortAt, to.source_port);
        store_be16(p + sctp::kDestinationPortAt, to.destination_port);
        if (meta.fragment) break;  // the CRC covers what is not here; the receiver will refuse it
        const uint32_t length = meta.l3_length - (uint32_t{meta.l4} - meta.l3);
        store_be32(p + sctp::kChecksumAt, 0);
        store_le32(p + sctp::kChecksumAt, crc32c(p, length));
      }
      break;
    case ip::kIcmp:
    case ip::kIcmpv6: {
      const bool echo =
          meta.protocol == ip::kIcmp ? icmp::is_echo(icmp::type(p)) : icmp6::is_echo(icmp::type(p));
      if (echo) icmp::set_identifier(p, to.source_port);
      apply_delta(p + icmp::kChecksumAt, flow.l4_delta);
      break;
    }
    default:
      break;
  }
}

void write_addresses(uint8_t* l3, Family family, const uint8_t* source,
                     const uint8_t* destination) {
  if (family == Family::V4) {
    ipv4::set_source(l3, source);
    ipv4::set_destination(l3, destination);
  } else {
    ipv6::set_source(l3, source);
    ipv6::set_destination(l3, destination);
  }
}

// The quoted packet travelled the other way: its source is our destination. `n`: bytes from l4 in
// view.
void translate_quoted(Packet& packet, const Flow& flow, const Translation& to) {
  const PacketMeta& meta = packet.meta;
  uint8_t* l3 = packet.data() + meta.inner_l3;
  uint8_t* l4 = packet.data() + meta.inner_l4;
  const uint32_t n = packet.length - meta.inner_l4;
  write_addresses(l3, meta.family, to.destination, to.source);
  if (meta.family == Family::V4) ipv4::write_checksum(l3);
  // What the quoted transport checksum covers changed by as much as it did on the way out.
  const uint16_t delta = flow.l4_delta;
  switch (flow.protocol) {
    case ip::kTcp:
    case ip::kUdp: {
      store_be16(l4, to.destination_port);
      store_be16(l4 + 2, to.source_port);
      const uint32_t at = flow.protocol == ip::kTcp ? tcp::kChecksumAt : udp::kChecksumAt;
      const bool none = flow.protocol == ip::kUdp && n >= 8 && udp::checksum(l4) == 0;
      if (n >= at + 2 && !none) apply_delta(l4 + at, delta);
      break;
    }
    case ip::kSctp:
      store_be16(l4, to.destination_port);
      store_be16(l4 + 2, to.source_port);
      break;
    case ip::kIcmp:
    case ip::kIcmpv6:
      if (n >= icmp::kHeaderLength) {
        const bool echo = flow.protocol == ip::kIcmp ? icmp::is_echo(icmp::type(l4))
                                                     : icmp6::is_echo(icmp::type(l4));
        if (echo) icmp::set_identifier(l4, to.source_port);
        apply_delta(l4 + icmp::kChecksumAt, delta);
      }
      break;
    default:
      break;
  }
}

void translate_icmp_error(Packet& packet, const FlowHalf& half, const Translation& to) {
  PacketMeta& meta = packet.meta;
  uint8_t* l3 = packet.data() + meta.l3;
  const uint32_t size = meta.family == Family::V4 ? 4 : 16;
  // Who reports: the far end itself is hidden behind its translated address, a router between is
  // not.
  const uint8_t* reporter = meta.family == Family::V4 ? ipv4::source(l3) : ipv6::source(l3);
  const FlowKey key = half.key();
  const uint8_t* source = std::memcmp(reporter, key.source, size) == 0 ? to.source : nullptr;
  uint8_t kept[16];
  std::memcpy(kept, reporter, size);
  translate_quoted(packet, half.flow, to);
  write_addresses(l3, meta.family, source != nullptr ? source : kept, to.destination);
  uint8_t* icmp = packet.data() + meta.l4;
  const uint32_t length = meta.l3_length - (uint32_t{meta.l4} - meta.l3);
  icmp::set_checksum(icmp, 0);
  if (meta.family == Family::V4) {
    ipv4::write_checksum(l3);
    icmp::set_checksum(icmp, checksum(icmp, length));
  } else {
    const uint32_t sum =
        pseudo_sum_v6(ipv6::source(l3), ipv6::destination(l3), ip::kIcmpv6, length);
    icmp::set_checksum(icmp, checksum_finish(checksum_add(sum, icmp, length)));
  }
}

void translate_packet(Packet& packet, const FlowHalf& half, const Translation& to) {
  const PacketMeta& meta = packet.meta;
  if (meta.icmp_error) return translate_icmp_error(packet, half, to);
  uint8_t* l3 = packet.data() + meta.l3;
  write_addresses(l3, meta.family, to.source, to.destination);
  if (meta.family == Family::V4) apply_delta(l3 + ipv4::kChecksumAt, half.flow.l3_delta);
  if (!meta.fragment || meta.first_fragment) translate_transport(packet, half, to);
}

}  // namespace

void translate(Context& context, Burst& burst) {
  for (uint32_t i = 0; i < burst.count; ++i) {
    Packet& packet = *burst.packets[i];
    if (!packet.alive() || !packet.meta.flow.valid()) continue;
    if (flow_at(context, packet.meta.flow).action != FlowAction::Nat) continue;
    const FlowHalf half = half_at(context, packet.meta.flow);
    const Translation to = translation_of(context, half, packet.meta.flow);
    translate_packet(packet, half, to);
    if (context.trace != nullptr) {
      context.trace->note("translate", "%s:%u -> %s:%u",
                          Address::from_bytes(half.flow.family, to.source).text().c_str(),
                          to.source_port,
                          Address::from_bytes(half.flow.family, to.destination).text().c_str(),
                          to.destination_port);
    }
  }
}

}  // namespace vrouter
