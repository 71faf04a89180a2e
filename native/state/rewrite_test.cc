// Outer headers against bytes written out by hand from the RFCs, then every shape against what its
// fix-ups promise.
#include "state/rewrite.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/bytes.h"

namespace vrouter {
namespace {

using Bytes = std::vector<uint8_t>;

Address address(const char* text) {
  Address a;
  EXPECT_TRUE(Address::parse(text, a)) << text;
  return a;
}

constexpr Mac kPeer{{0x02, 0x11, 0x11, 0x11, 0x11, 0x11}};
constexpr Mac kOwn{{0x02, 0x22, 0x22, 0x22, 0x22, 0x22}};
constexpr Mac kFarRouter{{0x02, 0x33, 0x33, 0x33, 0x33, 0x33}};

TunnelSpec tunnel(Encap encap, bool v6 = false) {
  TunnelSpec s;
  s.encap = static_cast<uint8_t>(encap);
  s.source = address(v6 ? "fd00::1" : "10.10.10.1");
  s.destination = address(v6 ? "fd00::2" : "10.10.10.2");
  s.destination_mac = kPeer;
  s.source_mac = kOwn;
  return s;
}

Bytes bytes_of(const Rewrite& r) { return {r.bytes, r.bytes + r.length}; }

TEST(Rewrite, MplsOverUdpOverIpv4) {
  const Rewrite r = build_tunnel(tunnel(Encap::MplsOverUdp));
  const Bytes expected = {
      0x02, 0x11, 0x11, 0x11, 0x11, 0x11, 0x02, 0x22, 0x22, 0x22, 0x22, 0x22, 0x08, 0x00, 0x45,
      0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 64, 17, 0x00, 0x00,  // length, id, DF 0,
                                                                     // checksum
      10, 10, 10, 1, 10, 10, 10, 2, 0x00, 0x00, 0x19, 0xeb, 0x00, 0x00, 0x00,
      0x00,                    // 6635, no checksum
      0x00, 0x00, 0x01, 0x00,  // label, S, TTL
  };
  EXPECT_EQ(bytes_of(r), expected);
  EXPECT_EQ(r.l3, 14);
  EXPECT_EQ(r.family, 4);
  EXPECT_EQ(r.total_length_at, 16);
  EXPECT_EQ(r.identification_at, 18);
  EXPECT_EQ(r.checksum_at, 24);
  EXPECT_EQ(r.source_port_at, 34);
  EXPECT_EQ(r.udp_length_at, 38);
  EXPECT_EQ(r.label_at, 42);
  EXPECT_EQ(r.label_shift, 12);
  EXPECT_EQ(r.label_low, 0x100u);
  EXPECT_EQ(r.ttl_in_label, 1);
  EXPECT_EQ(r.inner_ether_type_at, Rewrite::kNone);
  EXPECT_EQ(r.l3_adjust, 32);
  EXPECT_EQ(r.udp_adjust, 12);
  EXPECT_EQ(tunnel_overhead(r), 32u);
}

TEST(Rewrite, MplsOverGreOverIpv4) {
  const Rewrite r = build_tunnel(tunnel(Encap::MplsOverGre));
  const Bytes expected = {
      0x02,
      0x11,
      0x11,
      0x11,
      0x11,
      0x11,
      0x02,
      0x22,
      0x22,
      0x22,
      0x22,
      0x22,
      0x08,
      0x00,
      0x45,
      0x00,
      0x00,
      0x00,
      0x00,
      0x00,
      0x00,
      0x00,
      64,
      47,
      0x00,
      0x00,
      10,
      10,
      10,
      1,
      10,
      10,
      10,
      2,
      0x00,
      0x00,
      0x88,
      0x47,  // GRE without
             // options, MPLS
             // unicast
      0x00,
      0x00,
      0x01,
      0x00,
  };
  EXPECT_EQ(bytes_of(r), expected);
  EXPECT_EQ(r.source_port_at, Rewrite::kNone);
  EXPECT_EQ(r.udp_length_at, Rewrite::kNone);
  EXPECT_EQ(r.label_at, 38);
  EXPECT_EQ(r.ttl_in_label, 1);
  EXPECT_EQ(r.l3_adjust, 28);
  EXPECT_EQ(r.udp_adjust, 0);
  EXPECT_EQ(tunnel_overhead(r), 28u);
}

TEST(Rewrite, MplsOverUdpOverIpv6) {
  const Rewrite r = build_tunnel(tunnel(Encap::MplsOverUdp, true));
  const Bytes expected = {
      0x02, 0x11, 0x11, 0x11, 0x11, 0x11, 0x02, 0x22, 0x22, 0x22, 0x22, 0x22, 0x86, 0xdd,
      0x60, 0,    0,    0,    0x00, 0x00, 17,   64,   0xfd, 0,    0,    0,    0,    0,
      0,    0,    0,    0,    0,    0,    0,    0,    0,    1,    0xfd, 0,    0,    0,
      0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    2,    0x00, 0x00,
      0x19, 0xeb, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x00,
  };
  EXPECT_EQ(bytes_of(r), expected);
  EXPECT_EQ(r.family, 6);
  EXPECT_EQ(r.total_length_at, 18);
  EXPECT_EQ(r.checksum_at, Rewrite::kNone);
  EXPECT_EQ(r.identification_at, Rewrite::kNone);
  EXPECT_EQ(r.checksum_base, 0u);
  EXPECT_EQ(r.source_port_at, 54);
  EXPECT_EQ(r.udp_length_at, 58);
  EXPECT_EQ(r.label_at, 62);
  EXPECT_EQ(r.l3_adjust, 12);  // an IPv6 payload length leaves out the fixed header
  EXPECT_EQ(r.udp_adjust, 12);
  EXPECT_EQ(tunnel_overhead(r), 52u);
}

TEST(Rewrite, MplsOverGreOverIpv6) {
  const Rewrite r = build_tunnel(tunnel(Encap::MplsOverGre, true));
  EXPECT_EQ(r.bytes[20], 47);
  EXPECT_EQ(load_be32(r.bytes + 54), 0x8847u);
  EXPECT_EQ(r.label_at, 58);
  EXPECT_EQ(r.l3_adjust, 8);
  EXPECT_EQ(tunnel_overhead(r), 48u);
}

TEST(Rewrite, VxlanCarriesWhatItIsGiven) {
  const Rewrite r = build_tunnel(tunnel(Encap::Vxlan));
  const Bytes expected = {
      0x02, 0x11, 0x11, 0x11, 0x11, 0x11, 0x02, 0x22, 0x22, 0x22, 0x22, 0x22, 0x08, 0x00,
      0x45, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 64,   17,   0x00, 0x00, 10,   10,
      10,   1,    10,   10,   10,   2,    0x00, 0x00, 0x12, 0xb5, 0x00, 0x00, 0x00, 0x00,  // 4789
      0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,                                      // I, VNI
  };
  EXPECT_EQ(bytes_of(r), expected);
  EXPECT_EQ(r.label_at, 46);
  EXPECT_EQ(r.label_shift, 8);
  EXPECT_EQ(r.label_low, 0u);
  EXPECT_EQ(r.ttl_in_label, 0);
  EXPECT_EQ(r.inner_ether_type_at, Rewrite::kNone);
  EXPECT_EQ(r.l3_adjust, 36);
  EXPECT_EQ(r.udp_adjust, 16);
  EXPECT_EQ(build_tunnel(tunnel(Encap::Vxlan), Payload::Bridged), r);
}

TEST(Rewrite, RoutedVxlanBringsAnInnerEthernetHeaderToARouterMac) {
  for (bool v6 : {false, true}) {
    TunnelSpec spec = tunnel(Encap::Vxlan, v6);
    const Rewrite bridged = build_tunnel(spec);
    spec.l3_vxlan_mac = kFarRouter;
    EXPECT_EQ(build_tunnel(spec, Payload::Bridged), bridged);
    const Rewrite r = build_tunnel(spec, Payload::Routed);
    Bytes expected = bytes_of(bridged);
    expected.insert(expected.end(), kFarRouter.bytes.begin(), kFarRouter.bytes.end());
    expected.insert(expected.end(), kOwn.bytes.begin(), kOwn.bytes.end());
    expected.insert(expected.end(), {0, 0});
    EXPECT_EQ(bytes_of(r), expected);
    EXPECT_EQ(r.inner_ether_type_at, r.length - 2);
    EXPECT_EQ(r.label_at, bridged.label_at);
    EXPECT_EQ(r.l3_adjust, bridged.l3_adjust + 14);
    EXPECT_EQ(r.udp_adjust, bridged.udp_adjust + 14);
    EXPECT_EQ(tunnel_overhead(r), tunnel_overhead(bridged) + 14);
  }
}

TEST(Rewrite, ARouterMacIsOnlyForVxlan) {
  TunnelSpec spec = tunnel(Encap::MplsOverUdp);
  const Rewrite plain = build_tunnel(spec);
  spec.l3_vxlan_mac = kFarRouter;
  EXPECT_EQ(build_tunnel(spec), plain);
}

TEST(Rewrite, InterfaceIsEthernetAlone) {
  InterfaceSpec spec;
  spec.destination_mac = kPeer;
  spec.source_mac = kOwn;
  const Rewrite r = build_interface(spec);
  const Bytes expected = {0x02, 0x11, 0x11, 0x11, 0x11, 0x11, 0x02,
                          0x22, 0x22, 0x22, 0x22, 0x22, 0x00, 0x00};
  EXPECT_EQ(bytes_of(r), expected);
  EXPECT_EQ(r.family, 0);
  EXPECT_EQ(r.inner_ether_type_at, 12);
  for (uint8_t at : {r.total_length_at, r.checksum_at, r.identification_at, r.source_port_at,
                     r.udp_length_at, r.label_at}) {
    EXPECT_EQ(at, Rewrite::kNone);
  }
  EXPECT_EQ(tunnel_overhead(r), 0u);
}

TEST(Rewrite, BareIsNothing) {
  const Rewrite r = build_bare();
  EXPECT_EQ(r.length, 0);
  EXPECT_EQ(r.inner_ether_type_at, Rewrite::kNone);
  EXPECT_EQ(tunnel_overhead(r), 0u);
}

// RFC 1071, straight from the text: the checksum of a whole header is zero.
uint16_t sum_of_header(const uint8_t* p, uint32_t bytes) {
  uint32_t sum = 0;
  for (uint32_t i = 0; i < bytes; i += 2) sum += load_be16(p + i);
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(~sum);
}

TEST(Rewrite, FixUpsMakeWholePackets) {
  for (Encap encap : {Encap::MplsOverGre, Encap::MplsOverUdp, Encap::Vxlan}) {
    for (bool v6 : {false, true}) {
      for (uint32_t inner : {20u, 1400u, 9000u}) {
        const Rewrite r = build_tunnel(tunnel(encap, v6));
        Bytes packet = bytes_of(r);
        const uint16_t length = static_cast<uint16_t>(inner + r.l3_adjust);
        const uint16_t identification = 0xfedc;
        store_be16(packet.data() + r.total_length_at, length);
        if (r.family == 4) {
          store_be16(packet.data() + r.identification_at, identification);
          uint32_t sum = r.checksum_base + length + identification;
          while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
          store_be16(packet.data() + r.checksum_at, static_cast<uint16_t>(~sum));
          EXPECT_EQ(sum_of_header(packet.data() + r.l3, 20), 0);
          EXPECT_EQ(length, packet.size() - 14 + inner);
        } else {
          EXPECT_EQ(length, packet.size() - 14 - 40 + inner);
        }
        if (r.udp_length_at != Rewrite::kNone) {
          EXPECT_EQ(inner + r.udp_adjust, packet.size() - r.source_port_at + inner);
        }
        const uint32_t label = encap == Encap::Vxlan ? 0xabcdef : 0xabcde;
        store_be32(packet.data() + r.label_at, label << r.label_shift | r.label_low);
        if (encap == Encap::Vxlan) {
          EXPECT_EQ(load_be24(packet.data() + r.label_at), label);
          EXPECT_EQ(packet[r.label_at + 3], 0);
        } else {
          EXPECT_EQ(load_be32(packet.data() + r.label_at), 0xabcde100u);
        }
      }
    }
  }
}

TEST(Rewrite, EqualSpecsGiveEqualBytes) {
  EXPECT_EQ(build_tunnel(tunnel(Encap::MplsOverUdp)), build_tunnel(tunnel(Encap::MplsOverUdp)));
  EXPECT_FALSE(build_tunnel(tunnel(Encap::MplsOverUdp)) == build_tunnel(tunnel(Encap::Vxlan)));
}

}  // namespace
}  // namespace vrouter
