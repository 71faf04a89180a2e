// Golden text of frames. The bytes come from an independent builder that shares no code with wire/.
#include "wire/print.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace vrouter {
namespace {

using Bytes = std::vector<uint8_t>;

constexpr char kTcpSyn[] =
    "02000000000b02000000000a08004500002c00014000400626c90a0000010a000002c35000500000100000000000"
    "6002faf0b5920000020405b4";
constexpr char kVlanUdp[] =
    "02000000000b02000000000a8100606408004500002100014000401126c90a0000010a00000214e90035000d92e1"
    "68656c6c6f";
constexpr char kArp[] =
    "02000000000b02000000000a0806000108000604000102000000000a0a0000010000000000000a000002";
constexpr char kIpv6Fragment[] =
    "02000000000b02000000000a86dd60000000001b004020010db800000000000000000000000120010db800000000"
    "00000000000000022c0001040000000011000001deadbeef03e807d0000bd448616263";
constexpr char kNeighbourSolicitation[] =
    "02000000000b02000000000a86dd6000000000203aff20010db8000000000000000000000001ff02000000000000"
    "00000001ff00000287001c1e0000000020010db8000000000000000000000002010102000000000a";
constexpr char kFragmentationNeeded[] =
    "02000000000b02000000000a08004500003800010000400165c60a0000fe0a000001030433dc000005784500001c"
    "00014000400626d90a0000010a000002c350005000000007";
constexpr char kMplsOverUdp[] =
    "02000000000b02000000000a08004500004c000700003f11f796c0000201c0000202c35119eb0038000000019140"
    "4500002c00014000400626c90a0000010a000002c350005000001000000000006002faf0b5920000020405b4";
constexpr char kMplsOverGre[] =
    "02000000000b02000000000a08004500005000010000402ff67ac0000201c0000202000088470003e93f60000000"
    "000c3a4020010db800000000000000000000000120010db80000000000000000000000028000333e123400017069"
    "6e67";
constexpr char kVxlan[] =
    "02000000000b02000000000a08004500004e000100004011f69ac0000201c0000202c35212b5003a000008000000"
    "0030390002000000000b02000000000a0806000108000604000102000000000a0a0000010000000000000a000002";
constexpr char kBadChecksums[] =
    "02000000000b02000000000a08004500002c000140003f0626c90a0000010a000002c35000500100100000000000"
    "6002faf0b5920000020405b4";
constexpr char kSctp[] =
    "02000000000b02000000000a08004500002400014000408426530a0000010a00000203e807d0deadbeef00000000"
    "00000000";
constexpr char kLaterFragment[] =
    "02000000000b02000000000a08004500002c000120b9401146050a0000010a000002787878787878787878787878"
    "787878787878787878787878";

Bytes from_hex(std::string_view hex) {
  const auto digit = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
  Bytes b;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) {
    b.push_back(static_cast<uint8_t>(digit(hex[i]) << 4 | digit(hex[i + 1])));
  }
  return b;
}

constexpr const char* kFrames[] = {kTcpSyn,
                                   kVlanUdp,
                                   kArp,
                                   kIpv6Fragment,
                                   kNeighbourSolicitation,
                                   kFragmentationNeeded,
                                   kMplsOverUdp,
                                   kMplsOverGre,
                                   kVxlan,
                                   kBadChecksums,
                                   kSctp,
                                   kLaterFragment};

std::string text(const char* hex) {
  const Bytes b = from_hex(hex);
  return print_frame(b.data(), b.size());
}

TEST(Print, TcpSyn) {
  EXPECT_EQ(text(kTcpSyn),
            "Ethernet 02:00:00:00:00:0a > 02:00:00:00:00:0b type 0x0800 length 58\n"
            "IPv4 10.0.0.1 > 10.0.0.2 protocol 6 ttl 64 tos 0x00 id 1 length 44 DF\n"
            "TCP 50000 > 80 flags S seq 4096 ack 0 window 64240 mss 1460 payload 0\n");
}

TEST(Print, VlanUdp) {
  EXPECT_EQ(text(kVlanUdp),
            "Ethernet 02:00:00:00:00:0a > 02:00:00:00:00:0b type 0x8100 length 51\n"
            "VLAN 100 priority 3 type 0x0800\n"
            "IPv4 10.0.0.1 > 10.0.0.2 protocol 17 ttl 64 tos 0x00 id 1 length 33 DF\n"
            "UDP 5353 > 53 length 13\n"
            "Payload 5 bytes\n");
}

TEST(Print, Arp) {
  EXPECT_EQ(text(kArp),
            "Ethernet 02:00:00:00:00:0a > 02:00:00:00:00:0b type 0x0806 length 42\n"
            "ARP request who has 10.0.0.2 tell 10.0.0.1 (02:00:00:00:00:0a)\n");
}

TEST(Print, Ipv6Fragment) {
  EXPECT_EQ(text(kIpv6Fragment),
            "Ethernet 02:00:00:00:00:0a > 02:00:00:00:00:0b type 0x86dd length 81\n"
            "IPv6 2001:db8::1 > 2001:db8::2 next header 0 hop limit 64 class 0x00 label 0x00000 "
            "length 27\n"
            "IPv6 extensions 2, then protocol 17\n"
            "IPv6 fragment 0+ id 3735928559\n"
            "UDP 1000 > 2000 length 11\n");
}

TEST(Print, NeighbourSolicitation) {
  EXPECT_EQ(text(kNeighbourSolicitation),
            "Ethernet 02:00:00:00:00:0a > 02:00:00:00:00:0b type 0x86dd length 86\n"
            "IPv6 2001:db8::1 > ff02::1:ff00:2 next header 58 hop limit 255 class 0x00 label "
            "0x00000 length 32\n"
            "ND neighbour solicitation target 2001:db8::2 link layer 02:00:00:00:00:0a\n");
}

TEST(Print, ErrorQuotesWhatItIsAbout) {
  EXPECT_EQ(text(kFragmentationNeeded),
            "Ethernet 02:00:00:00:00:0a > 02:00:00:00:00:0b type 0x0800 length 70\n"
            "IPv4 10.0.0.254 > 10.0.0.1 protocol 1 ttl 64 tos 0x00 id 1 length 56\n"
            "ICMP error type 3 code 4 mtu 1400, about:\n"
            "IPv4 10.0.0.1 > 10.0.0.2 protocol 6 ttl 64 tos 0x00 id 1 length 28 DF\n"
            "TCP 50000 > 80 seq 7 (cut short)\n");
}

TEST(Print, MplsOverUdp) {
  EXPECT_EQ(text(kMplsOverUdp),
            "Ethernet 02:00:00:00:00:0a > 02:00:00:00:00:0b type 0x0800 length 90\n"
            "IPv4 192.0.2.1 > 192.0.2.2 protocol 17 ttl 63 tos 0x00 id 7 length 76\n"
            "UDP 50001 > 6635 length 56 no checksum\n"
            "MPLS label 25 class 0 bottom ttl 64\n"
            "IPv4 10.0.0.1 > 10.0.0.2 protocol 6 ttl 64 tos 0x00 id 1 length 44 DF\n"
            "TCP 50000 > 80 flags S seq 4096 ack 0 window 64240 mss 1460 payload 0\n");
}

TEST(Print, MplsOverGre) {
  EXPECT_EQ(text(kMplsOverGre),
            "Ethernet 02:00:00:00:00:0a > 02:00:00:00:00:0b type 0x0800 length 94\n"
            "IPv4 192.0.2.1 > 192.0.2.2 protocol 47 ttl 64 tos 0x00 id 1 length 80\n"
            "GRE protocol 0x8847\n"
            "MPLS label 62 class 4 bottom ttl 63\n"
            "IPv6 2001:db8::1 > 2001:db8::2 next header 58 hop limit 64 class 0x00 label 0x00000 "
            "length 12\n"
            "ICMPv6 echo request id 4660 seq 1 payload 4\n");
}

TEST(Print, Vxlan) {
  EXPECT_EQ(text(kVxlan),
            "Ethernet 02:00:00:00:00:0a > 02:00:00:00:00:0b type 0x0800 length 92\n"
            "IPv4 192.0.2.1 > 192.0.2.2 protocol 17 ttl 64 tos 0x00 id 1 length 78\n"
            "UDP 50002 > 4789 length 58 no checksum\n"
            "VXLAN vni 12345\n"
            "Ethernet 02:00:00:00:00:0a > 02:00:00:00:00:0b type 0x0806 length 42\n"
            "ARP request who has 10.0.0.2 tell 10.0.0.1 (02:00:00:00:00:0a)\n");
}

TEST(Print, BadChecksums) {
  EXPECT_EQ(text(kBadChecksums),
            "Ethernet 02:00:00:00:00:0a > 02:00:00:00:00:0b type 0x0800 length 58\n"
            "IPv4 10.0.0.1 > 10.0.0.2 protocol 6 ttl 63 tos 0x00 id 1 length 44 DF bad checksum\n"
            "TCP 50000 > 80 flags S seq 16781312 ack 0 window 64240 mss 1460 payload 0 bad "
            "checksum\n");
}

TEST(Print, NothingIsSaidOfWhatWasNotKept) {
  Bytes b = from_hex(kTcpSyn);
  b.back() ^= 0xff;
  EXPECT_NE(print_frame(b.data(), b.size()).find("bad checksum"), std::string::npos);
  const std::string cut = print_frame(b.data(), b.size(), b.size() - 1);
  EXPECT_EQ(cut.find("bad checksum"), std::string::npos);
  EXPECT_NE(cut.find("TCP 50000 > 80"), std::string::npos);
}

TEST(Print, SctpAndLaterFragment) {
  EXPECT_NE(text(kSctp).find("SCTP 1000 > 2000 tag 0xdeadbeef\n"), std::string::npos);
  EXPECT_EQ(text(kLaterFragment),
            "Ethernet 02:00:00:00:00:0a > 02:00:00:00:00:0b type 0x0800 length 58\n"
            "IPv4 10.0.0.1 > 10.0.0.2 protocol 17 ttl 64 tos 0x00 id 1 length 44 fragment 1480+\n"
            "Fragment 24 bytes\n");
}

TEST(Print, BarePacket) {
  const Bytes b = from_hex(kTcpSyn);
  EXPECT_EQ(print_packet(b.data() + 14, b.size() - 14),
            "IPv4 10.0.0.1 > 10.0.0.2 protocol 6 ttl 64 tos 0x00 id 1 length 44 DF\n"
            "TCP 50000 > 80 flags S seq 4096 ack 0 window 64240 mss 1460 payload 0\n");
  EXPECT_EQ(print_packet(nullptr, 0), "");
  EXPECT_EQ(print_frame(nullptr, 0), "Ethernet truncated: 0 bytes\n");
}

// Each copy has its own allocation, so the address sanitizer sees any read beyond its end.
TEST(Print, CutAnywhere) {
  for (const char* hex : kFrames) {
    const Bytes whole = from_hex(hex);
    for (size_t n = 0; n < whole.size(); ++n) {
      const Bytes part(whole.begin(), whole.begin() + static_cast<long>(n));
      const std::string out = print_frame(part.data(), part.size());
      EXPECT_TRUE(out.find("malformed") != std::string::npos ||
                  out.find("truncated") != std::string::npos || n == 14 || n == 18)
          << out;
    }
  }
}

TEST(Print, AnyDamageStaysInside) {
  std::mt19937_64 random(1);
  size_t longest = 0;
  for (int round = 0; round < 40000; ++round) {
    Bytes b = from_hex(kFrames[random() % std::size(kFrames)]);
    for (uint64_t n = random() % 6; n > 0; --n) {
      b[random() % b.size()] = static_cast<uint8_t>(random());
    }
    if (random() % 4 == 0) b.resize(random() % (b.size() + 1));
    const Bytes copy(b);
    longest = std::max(longest, print_frame(copy.data(), copy.size()).size());
  }
  EXPECT_LT(longest, 4000u);
}

// Layers that hold themselves: the depth is bounded, and so is the text.
TEST(Print, NestingIsBounded) {
  Bytes mpls = from_hex("02000000000b02000000000a8847");
  mpls.resize(9000, 0);  // label 0, never bottom
  const std::string labels = print_frame(mpls.data(), mpls.size());
  EXPECT_NE(labels.find("more layers"), std::string::npos);
  EXPECT_LT(labels.size(), 2000u);

  Bytes tunnel;  // IPv4 in IPv4 in …
  for (uint32_t i = 0; i < 100; ++i) {
    const auto length = static_cast<uint16_t>((100 - i) * 20);
    const Bytes header = {0x45,
                          0,
                          static_cast<uint8_t>(length >> 8),
                          static_cast<uint8_t>(length),
                          0,
                          0,
                          0,
                          0,
                          64,
                          4,
                          0,
                          0,
                          10,
                          0,
                          0,
                          1,
                          10,
                          0,
                          0,
                          2};
    tunnel.insert(tunnel.end(), header.begin(), header.end());
  }
  const std::string tunnels = print_packet(tunnel.data(), tunnel.size());
  EXPECT_NE(tunnels.find("more layers"), std::string::npos);
  EXPECT_LT(tunnels.size(), 4000u);
}

}  // namespace
}  // namespace vrouter
