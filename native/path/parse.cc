// Frame -> offsets, addresses and flow key. Every length is checked here, once: the rooms behind
// rely on l3, l4 and l3_length. Runs again on what a tunnel carried (decap.cc).
//
// Keys (the ancestor's rules): TCP, UDP, SCTP by ports; ICMP echo by identifier; an ICMP error by
// the packet it quotes, reversed, so that it meets the flow of the direction it travels in; other
// ICMP by type; the rest by addresses and protocol. Later fragments have no ports yet
// (fragment_ports.cc).
#include "offload/checksum.h"
#include "path/rooms.h"
#include "wire/ethernet.h"
#include "wire/icmp.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"
#include "wire/sctp.h"
#include "wire/tcp.h"
#include "wire/udp.h"

namespace vrouter {

void make_key(FlowKey& key, Family family, const uint8_t* source, const uint8_t* destination,
              uint8_t protocol, uint16_t source_port, uint16_t destination_port) {
  const uint32_t scope = key.scope;
  key = FlowKey{};
  const size_t size = family == Family::V4 ? 4 : 16;
  std::memcpy(key.source, source, size);
  std::memcpy(key.destination, destination, size);
  key.source_port = source_port;
  key.destination_port = destination_port;
  key.scope = scope;
  key.protocol = protocol;
  key.family = family;
}

namespace {

struct Ports {
  uint16_t source = 0;
  uint16_t destination = 0;
};

// Ports, or what stands in for them, of a transport header of which n bytes are in view.
// False: not enough of it.
bool read_quoted_ports(Family family, uint8_t protocol, const uint8_t* p, size_t n, Ports& out) {
  if (has_ports(protocol)) {
    if (n < 4) return false;
    out = {load_be16(p), load_be16(p + 2)};
    return true;
  }
  if (protocol == (family == Family::V4 ? ip::kIcmp : ip::kIcmpv6)) {
    if (!icmp::check(p, n)) return false;
    const bool echo =
        family == Family::V4 ? icmp::is_echo(icmp::type(p)) : icmp6::is_echo(icmp::type(p));
    out = echo ? Ports{icmp::identifier(p), 0} : Ports{0, icmp::type(p)};
    return true;
  }
  return true;
}

// An error is keyed by the packet it quotes, seen from the other side.
void key_by_quoted(Packet& packet, uint32_t quoted, uint32_t end) {
  PacketMeta& meta = packet.meta;
  const uint8_t* p = packet.data() + quoted;
  const size_t n = end > quoted ? end - quoted : 0;
  Ports ports;
  meta.icmp_error = true;
  meta.inner_l3 = static_cast<uint16_t>(quoted);
  meta.inner_l4 = 0;
  if (meta.family == Family::V4) {
    if (!ipv4::check_header(p, n)) return;
    const uint32_t header = ipv4::header_length(p);
    if (ipv4::fragment_offset(p) != 0 ||
        !read_quoted_ports(Family::V4, ipv4::protocol(p), p + header, n - header, ports)) {
      return;
    }
    meta.inner_l4 = static_cast<uint16_t>(quoted + header);
    const bool swap = has_ports(ipv4::protocol(p));
    make_key(meta.key, Family::V4, ipv4::destination(p), ipv4::source(p), ipv4::protocol(p),
             swap ? ports.destination : ports.source, swap ? ports.source : ports.destination);
  } else {
    ipv6::Upper upper;
    if (!ipv6::check_header(p, n) || !ipv6::walk(p, n, upper) || upper.later_fragment() ||
        !read_quoted_ports(Family::V6, upper.protocol, p + upper.offset, n - upper.offset, ports)) {
      return;
    }
    meta.inner_l4 = static_cast<uint16_t>(quoted + upper.offset);
    const bool swap = has_ports(upper.protocol);
    make_key(meta.key, Family::V6, ipv6::destination(p), ipv6::source(p), upper.protocol,
             swap ? ports.destination : ports.source, swap ? ports.source : ports.destination);
  }
}

// Transport header of a whole packet or a first fragment.
void parse_transport(Packet& packet, const uint8_t* source, const uint8_t* destination) {
  PacketMeta& meta = packet.meta;
  const uint8_t* p = packet.data() + meta.l4;
  const uint32_t end = uint32_t{meta.l3} + meta.l3_length;
  const size_t n = end - meta.l4;
  // A first fragment that cuts its own transport header hides the ports (RFC 1858).
  const DropReason cut = meta.fragment ? DropReason::Fragments : DropReason::Pull;
  Ports ports;
  switch (meta.protocol) {
    case ip::kTcp:
      if (!tcp::check(p, n)) return packet.drop(cut);
      meta.tcp_flags = tcp::flags(p);
      break;
    case ip::kUdp:
      if (!(meta.fragment ? udp::check_quoted(p, n) : udp::check(p, n))) return packet.drop(cut);
      break;
    case ip::kSctp:
      if (!sctp::check(p, n)) return packet.drop(cut);
      break;
    case ip::kIcmp:
    case ip::kIcmpv6: {
      const bool mine = (meta.protocol == ip::kIcmp) == (meta.family == Family::V4);
      if (!mine) break;
      if (!icmp::check(p, n)) return packet.drop(cut);
      const bool error = meta.family == Family::V4 ? icmp::is_error(icmp::type(p))
                                                   : icmp6::is_error(icmp::type(p));
      if (error && !meta.fragment) {
        key_by_quoted(packet, meta.l4 + icmp::kHeaderLength, end);
        if (meta.inner_l4 == 0)
          make_key(meta.key, meta.family, source, destination, meta.protocol, 0, 0);
        return;
      }
      break;
    }
    default:
      break;
  }
  read_quoted_ports(meta.family, meta.protocol, p, n, ports);
  make_key(meta.key, meta.family, source, destination, meta.protocol, ports.source,
           ports.destination);
}

// What the frame leaves undone must be about the transport header it has. Of a tunnel's frame it is
// about what is inside: decap looks again, then.
void check_offload(Packet& packet) {
  const PacketMeta& meta = packet.meta;
  Offload& offload = packet.offload;
  const uint32_t here = packet.offset + meta.l4;
  const bool super = offload.segmentation != Segmentation::None;
  if (offload.transport > here && (meta.protocol == ip::kUdp || meta.protocol == ip::kGre)) {
    if (offload.outer_transport == 0) offload.outer_transport = here;
    if (offload.outer_transport != here) packet.drop(DropReason::InvalidPacket);
    return;
  }
  const bool tcp = meta.protocol == ip::kTcp && offload.field == tcp::kChecksumAt;
  const bool udp = meta.protocol == ip::kUdp && offload.field == udp::kChecksumAt;
  const bool right_kind = offload.segmentation == Segmentation::None  ? tcp || udp
                          : offload.segmentation == Segmentation::Udp ? udp
                          : offload.segmentation == Segmentation::TcpV4
                              ? tcp && meta.family == Family::V4
                              : tcp && meta.family == Family::V6;
  if (offload.transport == here && offload.outer_transport == 0 && right_kind && !meta.fragment) {
    return;
  }
  if (super || !complete_checksum(packet)) packet.drop(DropReason::InvalidPacket);
}

bool fragment_is_sane(uint32_t offset, uint32_t bytes, bool more) {
  return bytes != 0 && offset + bytes <= 65535 && (!more || bytes % 8 == 0);
}

void parse_ipv4(Packet& packet) {
  PacketMeta& meta = packet.meta;
  const uint8_t* p = packet.data() + meta.l3;
  const size_t n = packet.length - meta.l3;
  if (n < ipv4::kHeaderLength) return packet.drop(DropReason::Pull);
  if (!ipv4::check(p, n)) return packet.drop(DropReason::InvalidPacket);
  if (!ipv4::checksum_ok(p)) return packet.drop(DropReason::CksumErr);
  meta.family = Family::V4;
  meta.l3_length = ipv4::total_length(p);
  meta.l4 = static_cast<uint16_t>(meta.l3 + ipv4::header_length(p));
  meta.protocol = ipv4::protocol(p);
  meta.ttl = ipv4::ttl(p);
  meta.fragment = ipv4::is_fragment(p);
  const uint32_t offset = ipv4::fragment_offset(p);
  meta.first_fragment = meta.fragment && offset == 0;
  if (meta.fragment &&
      !fragment_is_sane(offset, meta.l3_length - ipv4::header_length(p), ipv4::more_fragments(p))) {
    return packet.drop(DropReason::Fragments);
  }
  if (meta.protocol == ip::kTcp && offset == 8) return packet.drop(DropReason::Fragments);
  if (offset != 0) {
    make_key(meta.key, Family::V4, ipv4::source(p), ipv4::destination(p), meta.protocol, 0, 0);
    return;
  }
  parse_transport(packet, ipv4::source(p), ipv4::destination(p));
}

void parse_ipv6(Packet& packet) {
  PacketMeta& meta = packet.meta;
  const uint8_t* p = packet.data() + meta.l3;
  const size_t n = packet.length - meta.l3;
  if (n < ipv6::kHeaderLength) return packet.drop(DropReason::Pull);
  if (!ipv6::check(p, n) || ipv6::total_length(p) > 65535) {
    return packet.drop(DropReason::InvalidPacket);
  }
  ipv6::Upper upper;
  if (!ipv6::walk(p, ipv6::total_length(p), upper)) return packet.drop(DropReason::InvalidPacket);
  meta.family = Family::V6;
  meta.l3_length = static_cast<uint16_t>(ipv6::total_length(p));
  meta.l4 = static_cast<uint16_t>(meta.l3 + upper.offset);
  meta.protocol = upper.protocol;
  meta.ttl = ipv6::hop_limit(p);
  // An atomic fragment is a whole packet (RFC 6946).
  meta.fragment = upper.fragment && (upper.more || upper.fragment_offset != 0);
  meta.first_fragment = meta.fragment && upper.fragment_offset == 0;
  if (meta.fragment &&
      !fragment_is_sane(upper.fragment_offset, meta.l3_length - (upper.fragment_header + 8),
                        upper.more)) {
    return packet.drop(DropReason::Fragments);
  }
  if (upper.later_fragment()) {
    make_key(meta.key, Family::V6, ipv6::source(p), ipv6::destination(p), meta.protocol, 0, 0);
    return;
  }
  parse_transport(packet, ipv6::source(p), ipv6::destination(p));
}

}  // namespace

void parse_ip(Context& context, Packet& packet, uint32_t offset) {
  PacketMeta& meta = packet.meta;
  meta.l2_length = static_cast<uint16_t>(offset);
  meta.l3 = static_cast<uint16_t>(offset);
  meta.fragment = meta.first_fragment = meta.icmp_error = false;
  meta.tcp_flags = 0;
  if (packet.length <= offset) return packet.drop(DropReason::Pull);
  const uint8_t version = ip::version(packet.data() + offset);
  if (version == 4) {
    meta.ether_type = ethernet::kTypeIpv4;
    parse_ipv4(packet);
  } else if (version == 6) {
    meta.ether_type = ethernet::kTypeIpv6;
    parse_ipv6(packet);
  } else {
    return packet.drop(DropReason::InvalidPacket);
  }
  if (packet.alive()) packet.trim(offset + meta.l3_length);  // Ethernet padding goes
  if (packet.alive() && packet.offload.checksum) check_offload(packet);
  if (context.trace != nullptr && packet.alive()) {
    context.trace->note("parse", "%s -> %s protocol %u ports %u -> %u%s%s",
                        Address::from_bytes(meta.key.family, meta.key.source).text().c_str(),
                        Address::from_bytes(meta.key.family, meta.key.destination).text().c_str(),
                        meta.key.protocol, meta.key.source_port, meta.key.destination_port,
                        meta.icmp_error ? " (quoted by an ICMP error)" : "",
                        !meta.fragment        ? ""
                        : meta.first_fragment ? " (first fragment)"
                                              : " (later fragment)");
  }
}

void parse_frame(Context& context, Packet& packet) {
  PacketMeta& meta = packet.meta;
  meta.family = Family::None;
  if (!ethernet::check(packet.data(), packet.length)) return packet.drop(DropReason::Pull);
  meta.ether_type = ethernet::ether_type(packet.data());
  meta.l2_length = meta.l3 = ethernet::kHeaderLength;
  if (meta.ether_type == ethernet::kTypeIpv4 || meta.ether_type == ethernet::kTypeIpv6) {
    const uint16_t ether_type = meta.ether_type;
    parse_ip(context, packet, ethernet::kHeaderLength);
    // The version must be what the ethertype says.
    if (packet.alive() && meta.ether_type != ether_type) packet.drop(DropReason::InvalidPacket);
  } else if (packet.offload.checksum && !complete_checksum(packet)) {
    packet.drop(DropReason::InvalidProtocol);  // a super-packet of something we cannot cut
  }
}

void parse(Context& context, Burst& burst) {
  for (uint32_t i = 0; i < burst.count; ++i) parse_frame(context, *burst.packets[i]);
}

}  // namespace vrouter
