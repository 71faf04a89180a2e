// Builders of outer headers. One cursor writes the bytes front to back and records where the
// fix-ups are; each tunnel kind is the sum of its layers, so no layer knows what stands around it.
#include "state/rewrite.h"

#include "wire/ethernet.h"
#include "wire/ip.h"
#include "wire/mpls.h"
#include "wire/udp.h"
#include "wire/vxlan.h"

namespace vrouter {
namespace {

constexpr uint8_t kOuterTtl = 64;

class Builder {
 public:
  Rewrite r = build_bare();

  void u8(uint8_t v) { r.bytes[r.length++] = v; }
  void u16(uint16_t v) {
    u8(static_cast<uint8_t>(v >> 8));
    u8(static_cast<uint8_t>(v));
  }
  void zeros(uint32_t count) { r.length = static_cast<uint8_t>(r.length + count); }
  void raw(const uint8_t* bytes, uint32_t count) {
    std::memcpy(r.bytes + r.length, bytes, count);
    r.length = static_cast<uint8_t>(r.length + count);
  }

  void ethernet(const Mac& destination, const Mac& source, uint16_t ether_type) {
    raw(destination.bytes.data(), 6);
    raw(source.bytes.data(), 6);
    u16(ether_type);
  }

  // Ethernet whose type is that of the packet behind it.
  void ethernet(const Mac& destination, const Mac& source) {
    ethernet(destination, source, 0);
    r.inner_ether_type_at = static_cast<uint8_t>(r.length - 2);
  }

  void ip(const Address& source, const Address& destination, uint8_t protocol) {
    r.l3 = r.length;
    r.family = static_cast<uint8_t>(destination.family);
    if (destination.family == Family::V4) {
      u8(0x45);
      u8(0);  // traffic class
      r.total_length_at = r.length;
      u16(0);
      r.identification_at = r.length;
      u16(0);
      u16(0);  // DF clear: the underlay may fragment rather than lose
      u8(kOuterTtl);
      u8(protocol);
      r.checksum_at = r.length;
      u16(0);
      raw(source.bytes.data(), 4);
      raw(destination.bytes.data(), 4);
      for (uint32_t i = r.l3; i < r.length; i += 2) {
        r.checksum_base += uint32_t{r.bytes[i]} << 8 | r.bytes[i + 1];
      }
    } else {
      u8(0x60);
      zeros(3);  // traffic class and flow label; entropy is in the UDP source port
      r.total_length_at = r.length;
      u16(0);
      u8(protocol);
      u8(kOuterTtl);
      raw(source.bytes.data(), 16);
      raw(destination.bytes.data(), 16);
    }
  }

  void udp(uint16_t destination_port) {
    r.source_port_at = r.length;
    u16(0);
    u16(destination_port);
    r.udp_length_at = r.length;
    u16(0);
    u16(0);  // no checksum, over IPv6 too (RFC 6935, RFC 7510 §3.1): the inner packet has its own
  }

  void gre() {
    u16(0);  // no checksum, key or sequence number
    u16(ethernet::kTypeMpls);
  }

  void label() {
    r.label_at = r.length;
    r.label_shift = 12;
    r.label_low = mpls::kBottomBit;
    r.ttl_in_label = 1;
    zeros(2);
    u8(mpls::kBottomBit >> 8);
    u8(0);
  }

  void vxlan() {
    u8(vxlan::kFlagVni);
    zeros(3);
    r.label_at = r.length;
    r.label_shift = 8;
    zeros(4);
  }

  // Length fields count from the outer header to the end of the packet; IPv6 leaves out its own.
  Rewrite finish() {
    const uint32_t ip_counts_from = r.family == 6 ? r.l3 + 40u : r.l3;
    r.l3_adjust = static_cast<uint16_t>(r.length - ip_counts_from);
    if (r.source_port_at != Rewrite::kNone) {
      r.udp_adjust = static_cast<uint16_t>(r.length - r.source_port_at);
    }
    return r;
  }
};

}  // namespace

Rewrite build_bare() {
  Rewrite r;
  std::memset(&r, 0, sizeof r);
  r.total_length_at = r.checksum_at = r.identification_at = Rewrite::kNone;
  r.source_port_at = r.udp_length_at = Rewrite::kNone;
  r.label_at = r.inner_ether_type_at = Rewrite::kNone;
  return r;
}

Rewrite build_interface(const InterfaceSpec& spec) {
  Builder b;
  b.ethernet(spec.destination_mac, spec.source_mac);
  b.r.l3 = b.r.length;
  return b.r;
}

Rewrite build_tunnel(const TunnelSpec& spec, Payload payload) {
  const bool v6 = spec.destination.family == Family::V6;
  const Encap encap = static_cast<Encap>(spec.encap);
  static_assert(ethernet::kHeaderLength + 40 + 8 + 8 + ethernet::kHeaderLength <=
                sizeof(Rewrite::bytes));

  Builder b;
  b.ethernet(spec.destination_mac, spec.source_mac, v6 ? ethernet::kTypeIpv6 : ethernet::kTypeIpv4);
  b.ip(spec.source, spec.destination, encap == Encap::MplsOverGre ? ip::kGre : ip::kUdp);
  switch (encap) {
    case Encap::None:
      break;
    case Encap::MplsOverGre:
      b.gre();
      b.label();
      break;
    case Encap::MplsOverUdp:
      b.udp(udp::kPortMpls);
      b.label();
      break;
    case Encap::Vxlan:
      b.udp(udp::kPortVxlan);
      b.vxlan();
      if (payload == Payload::Routed && !spec.l3_vxlan_mac.is_zero()) {
        b.ethernet(spec.l3_vxlan_mac, spec.source_mac);
      }
      break;
  }
  return b.finish();
}

uint32_t tunnel_overhead(const Rewrite& rewrite) { return rewrite.length - rewrite.l3; }

}  // namespace vrouter
