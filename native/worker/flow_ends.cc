#include "worker/flow_ends.h"

#include <cstring>

#include "wire/ethernet.h"
#include "wire/gre.h"
#include "wire/icmp.h"
#include "wire/ip.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"
#include "wire/mpls.h"
#include "wire/udp.h"
#include "wire/vxlan.h"

namespace vrouter {
namespace {

constexpr uint32_t kMaxTunnels = 2;  // in one another; the router itself takes off one

struct View {
  Family family = Family::None;
  const uint8_t* source = nullptr;
  const uint8_t* destination = nullptr;
  uint8_t protocol = 0;
  uint32_t source_port = kAnyPort;  // kAnyPort: it has none (a later fragment, another protocol)
  uint32_t destination_port = kAnyPort;
  const uint8_t* transport = nullptr;  // nullptr: not in this packet
  size_t left = 0;
};

bool carries_ports(uint8_t protocol) {
  return protocol == ip::kTcp || protocol == ip::kUdp || protocol == ip::kSctp;
}

bool view_ip(const uint8_t* p, size_t n, View& out) {
  if (n == 0) return false;
  if (ip::version(p) == 4) {
    if (!ipv4::check_header(p, n)) return false;
    out.family = Family::V4;
    out.source = ipv4::source(p);
    out.destination = ipv4::destination(p);
    out.protocol = ipv4::protocol(p);
    const uint32_t header = ipv4::header_length(p);
    if (ipv4::fragment_offset(p) == 0 && header < n) {
      out.transport = p + header;
      out.left = n - header;
    }
  } else {
    ipv6::Upper upper;
    if (ip::version(p) != 6 || !ipv6::check_header(p, n) || !ipv6::walk(p, n, upper)) return false;
    out.family = Family::V6;
    out.source = ipv6::source(p);
    out.destination = ipv6::destination(p);
    out.protocol = upper.protocol;
    if (!upper.later_fragment() && upper.offset < n) {
      out.transport = p + upper.offset;
      out.left = n - upper.offset;
    }
  }
  if (out.transport == nullptr || out.left < 4) return true;
  if (carries_ports(out.protocol)) {
    out.source_port = load_be16(out.transport);
    out.destination_port = load_be16(out.transport + 2);
  } else if ((out.protocol == ip::kIcmp && icmp::check(out.transport, out.left) &&
              icmp::is_echo(icmp::type(out.transport))) ||
             (out.protocol == ip::kIcmpv6 && icmp::check(out.transport, out.left) &&
              icmp6::is_echo(icmp::type(out.transport)))) {
    out.source_port = icmp::identifier(out.transport);  // as the flow's key has it
    out.destination_port = 0;
  }
  return true;
}

bool view_frame(const uint8_t* p, size_t n, View& out) {
  ethernet::Payload payload;
  if (!ethernet::find_payload(p, n, payload)) return false;
  if (payload.ether_type != ethernet::kTypeIpv4 && payload.ether_type != ethernet::kTypeIpv6) {
    return false;
  }
  return view_ip(p + payload.offset, n - payload.offset, out);
}

// IP or Ethernet: MPLS and VXLAN do not say, and only a table knows. What reads as IP is IP.
bool view_either(const uint8_t* p, size_t n, View& out) {
  View as_ip;
  if (view_ip(p, n, as_ip)) {
    out = as_ip;
    return true;
  }
  return view_frame(p, n, out);
}

bool view_labelled(const uint8_t* p, size_t n, View& out) {
  while (mpls::check(p, n)) {
    const bool bottom = mpls::bottom(p);
    p += mpls::kEntryLength;
    n -= mpls::kEntryLength;
    if (bottom) return view_either(p, n, out);
  }
  return false;
}

bool view_inside(const View& outer, View& out) {
  const uint8_t* p = outer.transport;
  const size_t n = outer.left;
  if (p == nullptr) return false;
  if (outer.protocol == ip::kUdp && n > udp::kHeaderLength) {
    const uint8_t* payload = p + udp::kHeaderLength;
    const size_t left = n - udp::kHeaderLength;
    const uint16_t port = udp::destination_port(p);
    if (port == udp::kPortMpls || port == udp::kPortMplsOld) {
      return view_labelled(payload, left, out);
    }
    if (port == udp::kPortVxlan && vxlan::check(payload, left)) {
      return view_either(payload + vxlan::kHeaderLength, left - vxlan::kHeaderLength, out);
    }
    return false;
  }
  if (outer.protocol == ip::kGre && gre::check(p, n) && gre::protocol(p) == ethernet::kTypeMpls) {
    return view_labelled(p + gre::header_length(p), n - gre::header_length(p), out);
  }
  return false;
}

bool is_end(const FlowEnd& end, Family family, const uint8_t* address, uint32_t port) {
  if (end.port != kAnyPort && end.port != port) return false;
  return !end.address.is_set() ||
         (end.address.family == family &&
          std::memcmp(end.address.bytes.data(), address, end.address.size()) == 0);
}

bool matches(const FlowEnds& wanted, const View& view) {
  if (wanted.protocol != kAnyProtocol && wanted.protocol != view.protocol) return false;
  const auto source = [&](const FlowEnd& end) {
    return is_end(end, view.family, view.source, view.source_port);
  };
  const auto destination = [&](const FlowEnd& end) {
    return is_end(end, view.family, view.destination, view.destination_port);
  };
  const FlowEnd& first = wanted.ends[0];
  const FlowEnd& second = wanted.ends[1];
  if (wanted.count == 0) return true;
  if (wanted.count == 1) return source(first) || destination(first);
  return (source(first) && destination(second)) || (source(second) && destination(first));
}

}  // namespace

bool FlowEnds::match(const uint8_t* frame, size_t length) const {
  if (everything()) return true;
  View view;
  if (!view_frame(frame, length, view)) return false;
  for (uint32_t depth = 0; !matches(*this, view); ++depth) {
    View inside;
    if (depth == kMaxTunnels || !view_inside(view, inside)) return false;
    view = inside;
  }
  return true;
}

}  // namespace vrouter
