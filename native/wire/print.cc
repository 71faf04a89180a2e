// One function per layer: prints its line and hands what is behind it to the next. Bytes are looked
// at only after the layer's check(); the depth of layers is bounded, so hostile nesting ends.
#include "wire/print.h"

#include <cstdarg>
#include <cstdio>

#include "base/address.h"
#include "wire/arp.h"
#include "wire/ethernet.h"
#include "wire/gre.h"
#include "wire/icmp.h"
#include "wire/ip.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"
#include "wire/mpls.h"
#include "wire/sctp.h"
#include "wire/tcp.h"
#include "wire/udp.h"
#include "wire/vxlan.h"

namespace vrouter {

namespace {

constexpr uint32_t kMaxLayers = 24;

struct Bytes {
  const uint8_t* p;
  size_t n;
  Bytes from(size_t offset) const { return {p + offset, n - offset}; }  // offset <= n
  Bytes first(size_t count) const { return {p, count < n ? count : n}; }
};

struct Printer {
  std::string text;
  uint32_t layers = 0;
  const uint8_t* known = nullptr;  // end of the bytes that are the frame's own

  __attribute__((format(printf, 2, 3))) void line(const char* format, ...) {
    char buffer[320];
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(buffer, sizeof buffer, format, arguments);
    va_end(arguments);
    text += buffer;
    text += '\n';
  }
  bool enter() {
    if (++layers <= kMaxLayers) return true;
    line("… more layers than %u", kMaxLayers);
    return false;
  }

  bool known_to(Bytes b, size_t length) const { return length <= b.n && b.p + length <= known; }

  void frame(Bytes b);
  void by_ether_type(uint16_t type, Bytes b);
  void arp(Bytes b);
  void ip_packet(Bytes b, bool quoted);
  void ipv4(Bytes b, bool quoted);
  void ipv6(Bytes b, bool quoted);
  void upper(uint8_t protocol, Bytes b, uint32_t pseudo, bool whole, bool quoted);
  void tcp(Bytes b, uint32_t pseudo, bool whole, bool quoted);
  void udp(Bytes b, uint32_t pseudo, bool whole, bool quoted);
  void sctp(Bytes b);
  void icmp(Bytes b, bool whole, bool quoted);
  void icmp6(Bytes b, uint32_t pseudo, bool whole, bool quoted);
  void gre(Bytes b);
  void mpls(Bytes b);
  void vxlan(Bytes b);
  void payload(const char* what, Bytes b);
};

// " bad checksum" where the whole message is there to be summed and does not come out right.
const char* checksum_note(Bytes b, uint32_t pseudo, bool whole) {
  return whole && checksum_fold(checksum_add(pseudo, b.p, b.n)) != 0xffff ? " bad checksum" : "";
}

void Printer::payload(const char* what, Bytes b) {
  if (b.n > 0) line("%s %zu bytes", what, b.n);
}

void Printer::frame(Bytes b) {
  if (!enter()) return;
  if (!ethernet::check(b.p, b.n)) {
    line("Ethernet truncated: %zu bytes", b.n);
    return;
  }
  line("Ethernet %s > %s type 0x%04x length %zu", ethernet::source(b.p).text().c_str(),
       ethernet::destination(b.p).text().c_str(), ethernet::ether_type(b.p), b.n);
  size_t at = ethernet::kHeaderLength;
  uint16_t type = ethernet::ether_type(b.p);
  for (uint32_t tags = 0; ethernet::is_tag(type); ++tags) {
    if (tags == ethernet::kMaxTags) {
      line("VLAN: more than %u tags", ethernet::kMaxTags);
      return;
    }
    if (b.n - at < ethernet::kTagLength) {
      line("VLAN truncated");
      return;
    }
    const uint16_t control = load_be16(b.p + at);
    type = load_be16(b.p + at + 2);
    line("VLAN %u priority %u type 0x%04x", control & 0xfff, control >> 13, type);
    at += ethernet::kTagLength;
  }
  by_ether_type(type, b.from(at));
}

void Printer::by_ether_type(uint16_t type, Bytes b) {
  switch (type) {
    case ethernet::kTypeArp:
      return arp(b);
    case ethernet::kTypeIpv4:
      return ipv4(b, false);
    case ethernet::kTypeIpv6:
      return ipv6(b, false);
    case ethernet::kTypeMpls:
      return mpls(b);
    case ethernet::kTypeBridged:
      return frame(b);
    default:
      return payload(type < ethernet::kMinType ? "802.3 payload" : "Payload", b);
  }
}

void Printer::arp(Bytes b) {
  if (!arp::check(b.p, b.n)) {
    line("ARP malformed: %zu bytes", b.n);
    return;
  }
  const auto ip = [](const uint8_t* p) { return Address::from_bytes(Family::V4, p).text(); };
  const uint16_t operation = arp::operation(b.p);
  if (operation == arp::kRequest) {
    line("ARP request who has %s tell %s (%s)", ip(arp::target_ip(b.p)).c_str(),
         ip(arp::sender_ip(b.p)).c_str(), arp::sender_mac(b.p).text().c_str());
  } else if (operation == arp::kReply) {
    line("ARP reply %s is at %s, to %s (%s)", ip(arp::sender_ip(b.p)).c_str(),
         arp::sender_mac(b.p).text().c_str(), ip(arp::target_ip(b.p)).c_str(),
         arp::target_mac(b.p).text().c_str());
  } else {
    line("ARP operation %u", operation);
  }
}

void Printer::ip_packet(Bytes b, bool quoted) {
  if (b.n > 0 && ip::version(b.p) == 4) return ipv4(b, quoted);
  if (b.n > 0 && ip::version(b.p) == 6) return ipv6(b, quoted);
  payload("Payload (neither IPv4 nor IPv6)", b);
}

void Printer::ipv4(Bytes b, bool quoted) {
  if (!enter()) return;
  if (!(quoted ? ipv4::check_header(b.p, b.n) : ipv4::check(b.p, b.n))) {
    line("IPv4 malformed: %zu bytes", b.n);
    return;
  }
  const uint32_t header = ipv4::header_length(b.p);
  char fragment[64] = "";
  if (ipv4::is_fragment(b.p)) {
    std::snprintf(fragment, sizeof fragment, " fragment %u%s", ipv4::fragment_offset(b.p),
                  ipv4::more_fragments(b.p) ? "+" : "");
  }
  line("IPv4 %s > %s protocol %u ttl %u tos 0x%02x id %u length %u%s%s%s%s",
       Address::from_bytes(Family::V4, ipv4::source(b.p)).text().c_str(),
       Address::from_bytes(Family::V4, ipv4::destination(b.p)).text().c_str(), ipv4::protocol(b.p),
       ipv4::ttl(b.p), ipv4::tos(b.p), ipv4::identification(b.p), ipv4::total_length(b.p),
       ipv4::dont_fragment(b.p) ? " DF" : "", fragment,
       ipv4::options_length(b.p) > 0 ? " options" : "",
       ipv4::checksum_ok(b.p) ? "" : " bad checksum");
  const Bytes rest = b.first(ipv4::total_length(b.p)).from(header);
  if (ipv4::fragment_offset(b.p) != 0) return payload("Fragment", rest);
  const bool whole = !ipv4::is_fragment(b.p) && known_to(b, ipv4::total_length(b.p)) && !quoted;
  const uint32_t pseudo = pseudo_sum_v4(ipv4::source(b.p), ipv4::destination(b.p),
                                        ipv4::protocol(b.p), static_cast<uint32_t>(rest.n));
  upper(ipv4::protocol(b.p), rest, pseudo, whole, quoted || ipv4::is_fragment(b.p));
}

void Printer::ipv6(Bytes b, bool quoted) {
  if (!enter()) return;
  if (!(quoted ? ipv6::check_header(b.p, b.n) : ipv6::check(b.p, b.n))) {
    line("IPv6 malformed: %zu bytes", b.n);
    return;
  }
  line("IPv6 %s > %s next header %u hop limit %u class 0x%02x label 0x%05x length %u",
       Address::from_bytes(Family::V6, ipv6::source(b.p)).text().c_str(),
       Address::from_bytes(Family::V6, ipv6::destination(b.p)).text().c_str(),
       ipv6::next_header(b.p), ipv6::hop_limit(b.p), ipv6::traffic_class(b.p),
       ipv6::flow_label(b.p), ipv6::payload_length(b.p));
  const Bytes packet = b.first(ipv6::total_length(b.p));
  ipv6::Upper found;
  if (!ipv6::walk(packet.p, packet.n, found)) {
    line("IPv6 extension headers malformed");
    return;
  }
  if (found.extensions > 0) {
    line("IPv6 extensions %u, then protocol %u", found.extensions, found.protocol);
  }
  if (found.fragment) {
    line("IPv6 fragment %u%s id %u", found.fragment_offset, found.more ? "+" : "",
         found.identification);
  }
  const Bytes rest = packet.from(found.offset);
  if (found.later_fragment()) return payload("Fragment", rest);
  const bool whole = !found.more && known_to(b, ipv6::total_length(b.p)) && !quoted;
  const uint32_t pseudo = pseudo_sum_v6(ipv6::source(b.p), ipv6::destination(b.p), found.protocol,
                                        static_cast<uint32_t>(rest.n));
  upper(found.protocol, rest, pseudo, whole, quoted || found.more);
}

// pseudo: sum of the pseudo header; whole: all of the message is there; quoted: it may end early.
void Printer::upper(uint8_t protocol, Bytes b, uint32_t pseudo, bool whole, bool quoted) {
  if (!enter()) return;
  switch (protocol) {
    case ip::kTcp:
      return tcp(b, pseudo, whole, quoted);
    case ip::kUdp:
      return udp(b, pseudo, whole, quoted);
    case ip::kSctp:
      return sctp(b);
    case ip::kIcmp:
      return icmp(b, whole, quoted);
    case ip::kIcmpv6:
      return icmp6(b, pseudo, whole, quoted);
    case ip::kGre:
      return quoted ? payload("GRE, not whole,", b) : gre(b);
    case ip::kIpv4:
      return ipv4(b, quoted);
    case ip::kIpv6:
      return ipv6(b, quoted);
    default:
      return payload("Payload", b);
  }
}

void Printer::tcp(Bytes b, uint32_t pseudo, bool whole, bool quoted) {
  if (quoted && tcp::check_quoted(b.p, b.n) && !tcp::check(b.p, b.n)) {
    line("TCP %u > %u seq %u (cut short)", tcp::source_port(b.p), tcp::destination_port(b.p),
         tcp::sequence(b.p));
    return;
  }
  if (!tcp::check(b.p, b.n)) {
    line("TCP malformed: %zu bytes", b.n);
    return;
  }
  std::string flags;
  constexpr char kLetters[] = "FSRPAUEC";  // from bit 0
  for (int bit = 0; bit < 8; ++bit) {
    if ((tcp::flags(b.p) >> bit & 1) != 0) flags += kLetters[bit];
  }
  const uint32_t mss = tcp::mss_at(b.p);
  char option[16] = "";
  if (mss != 0) std::snprintf(option, sizeof option, " mss %u", load_be16(b.p + mss));
  line("TCP %u > %u flags %s seq %u ack %u window %u%s payload %zu%s", tcp::source_port(b.p),
       tcp::destination_port(b.p), flags.empty() ? "-" : flags.c_str(), tcp::sequence(b.p),
       tcp::ack(b.p), tcp::window(b.p), option, b.n - tcp::header_length(b.p),
       checksum_note(b, pseudo, whole));
}

void Printer::udp(Bytes b, uint32_t pseudo, bool whole, bool quoted) {
  const bool fits = udp::check(b.p, b.n);
  if (!fits && !(quoted && udp::check_quoted(b.p, b.n))) {
    line("UDP malformed: %zu bytes", b.n);
    return;
  }
  const bool summed = udp::checksum(b.p) != 0;
  line("UDP %u > %u length %u%s%s", udp::source_port(b.p), udp::destination_port(b.p),
       udp::length(b.p), summed ? "" : " no checksum",
       summed && fits && udp::length(b.p) == b.n ? checksum_note(b, pseudo, whole) : "");
  if (!fits || quoted) return;
  const Bytes inner = b.first(udp::length(b.p)).from(udp::kHeaderLength);
  switch (udp::destination_port(b.p)) {
    case udp::kPortMpls:
    case udp::kPortMplsOld:
      return mpls(inner);
    case udp::kPortVxlan:
      return vxlan(inner);
    default:
      return payload("Payload", inner);
  }
}

void Printer::sctp(Bytes b) {
  if (!sctp::check(b.p, b.n)) {
    line("SCTP malformed: %zu bytes", b.n);
    return;
  }
  line("SCTP %u > %u tag 0x%08x", sctp::source_port(b.p), sctp::destination_port(b.p),
       sctp::verification_tag(b.p));
}

void Printer::icmp(Bytes b, bool whole, bool quoted) {
  if (!icmp::check(b.p, b.n)) {
    line("ICMP malformed: %zu bytes", b.n);
    return;
  }
  const uint8_t type = icmp::type(b.p);
  const char* note = checksum_note(b, 0, whole);
  if (icmp::is_echo(type)) {
    line("ICMP echo %s id %u seq %u payload %zu%s", type == icmp::kEcho ? "request" : "reply",
         icmp::identifier(b.p), icmp::sequence(b.p), b.n - icmp::kHeaderLength, note);
    return;
  }
  if (!icmp::is_error(type)) {
    line("ICMP type %u code %u%s", type, icmp::code(b.p), note);
    return;
  }
  const bool too_big =
      type == icmp::kUnreachable && icmp::code(b.p) == icmp::kCodeFragmentationNeeded;
  char mtu[16] = "";
  if (too_big) std::snprintf(mtu, sizeof mtu, " mtu %u", icmp::mtu(b.p));
  line("ICMP error type %u code %u%s%s, about:", type, icmp::code(b.p), mtu, note);
  if (!quoted) ip_packet(b.from(icmp::kHeaderLength), true);
}

void Printer::icmp6(Bytes b, uint32_t pseudo, bool whole, bool quoted) {
  if (!icmp6::check(b.p, b.n)) {
    line("ICMPv6 malformed: %zu bytes", b.n);
    return;
  }
  const uint8_t type = icmp::type(b.p);
  const char* note = checksum_note(b, pseudo, whole);
  if (icmp6::is_echo(type)) {
    line("ICMPv6 echo %s id %u seq %u payload %zu%s", type == icmp6::kEcho ? "request" : "reply",
         icmp::identifier(b.p), icmp::sequence(b.p), b.n - icmp6::kHeaderLength, note);
    return;
  }
  if (type == icmp6::kNeighbourSolicitation || type == icmp6::kNeighbourAdvertisement) {
    const bool solicitation = type == icmp6::kNeighbourSolicitation;
    const char* what = solicitation ? "solicitation" : "advertisement";
    if (!ndp::check(b.p, b.n)) {
      line("ND neighbour %s malformed: %zu bytes", what, b.n);
      return;
    }
    const uint32_t at = ndp::link_layer_at(
        b.p, b.n, solicitation ? ndp::kOptionSourceLinkLayer : ndp::kOptionTargetLinkLayer);
    const std::string mac = at != 0 ? ethernet::load_mac(b.p + at).text() : "-";
    line("ND neighbour %s target %s link layer %s%s", what,
         Address::from_bytes(Family::V6, ndp::target(b.p)).text().c_str(), mac.c_str(), note);
    return;
  }
  if (!icmp6::is_error(type)) {
    line("ICMPv6 type %u code %u%s", type, icmp::code(b.p), note);
    return;
  }
  char mtu[24] = "";
  if (type == icmp6::kPacketTooBig) std::snprintf(mtu, sizeof mtu, " mtu %u", icmp6::mtu(b.p));
  line("ICMPv6 error type %u code %u%s%s, about:", type, icmp::code(b.p), mtu, note);
  if (!quoted) ip_packet(b.from(icmp6::kHeaderLength), true);
}

void Printer::gre(Bytes b) {
  if (!gre::check(b.p, b.n)) {
    line("GRE malformed: %zu bytes", b.n);
    return;
  }
  char key[24] = "";
  if (gre::has_key(b.p)) std::snprintf(key, sizeof key, " key 0x%08x", gre::key(b.p));
  line("GRE protocol 0x%04x%s", gre::protocol(b.p), key);
  by_ether_type(gre::protocol(b.p), b.from(gre::header_length(b.p)));
}

void Printer::mpls(Bytes b) {
  for (;;) {
    if (!enter()) return;
    if (!mpls::check(b.p, b.n)) {
      line("MPLS truncated: %zu bytes", b.n);
      return;
    }
    const mpls::Entry entry = mpls::decode(b.p);
    line("MPLS label %u class %u%s ttl %u", entry.label, entry.traffic_class,
         entry.bottom ? " bottom" : "", entry.ttl);
    b = b.from(mpls::kEntryLength);
    if (entry.bottom) break;
  }
  // A label does not say what it carries; the nibble tells IP from a frame well enough to read.
  if (b.n > 0 && (ip::version(b.p) == 4 ? ipv4::check(b.p, b.n) : ipv6::check(b.p, b.n))) {
    return ip_packet(b, false);
  }
  frame(b);
}

void Printer::vxlan(Bytes b) {
  if (!vxlan::check(b.p, b.n)) {
    line("VXLAN malformed: %zu bytes", b.n);
    return;
  }
  line("VXLAN vni %u", vxlan::vni(b.p));
  frame(b.from(vxlan::kHeaderLength));
}

}  // namespace

std::string print_frame(const uint8_t* p, size_t n) { return print_frame(p, n, n); }

std::string print_frame(const uint8_t* p, size_t n, size_t kept) {
  Printer printer;
  printer.known = p + (kept < n ? kept : n);
  printer.frame({p, n});
  return printer.text;
}

std::string print_packet(const uint8_t* p, size_t n) {
  Printer printer;
  printer.known = p + n;
  printer.ip_packet({p, n}, false);
  return printer.text;
}

}  // namespace vrouter
