#include "wire/ipv6.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace vrouter {
namespace {

using Bytes = std::vector<uint8_t>;

// A packet from a chain of headers, each given whole but for its next-header byte, which build()
// fills in: first byte of each extension.
struct Part {
  uint8_t protocol;
  Bytes bytes;
};

Bytes build(const std::vector<Part>& parts) {
  Bytes packet(ipv6::kHeaderLength, 0xa5);
  const uint8_t s[16] = {0xfe, 0x80, 1};
  const uint8_t d[16] = {0xff, 0x02, 2};
  size_t length = 0;
  for (const Part& part : parts) length += part.bytes.size();
  ipv6::write(packet.data(), 0xb9, 0xabcde, static_cast<uint16_t>(length),
              parts.empty() ? ip::kNoNextHeader : parts[0].protocol, 63, s, d);
  for (size_t i = 0; i < parts.size(); ++i) {
    Bytes b = parts[i].bytes;
    if (i + 1 < parts.size()) b[0] = parts[i + 1].protocol;
    packet.insert(packet.end(), b.begin(), b.end());
  }
  return packet;
}

Part options(uint8_t protocol, uint8_t units = 0) {  // hop-by-hop, routing, destination options
  Bytes b((units + 1u) * 8, 0);
  b[1] = units;
  return {protocol, b};
}
Part fragment(uint32_t offset, bool more, uint32_t id) {
  Bytes b(8, 0xa5);
  ipv6::write_fragment(b.data(), 0, offset, more, id);
  return {ip::kFragment, b};
}
Part authentication(uint8_t words_less_two) {
  Bytes b((words_less_two + 2u) * 4, 0);
  b[1] = words_less_two;
  return {ip::kAuthentication, b};
}
Part data(uint8_t protocol, size_t n = 8) { return {protocol, Bytes(n, 0x11)}; }

bool walk(const Bytes& packet, ipv6::Upper& upper) {
  EXPECT_TRUE(ipv6::check(packet.data(), packet.size()));
  return ipv6::walk(packet.data(), packet.size(), upper);
}

TEST(Ipv6, ReadAndWrite) {
  const Bytes b = build({data(ip::kUdp)});
  const Bytes start = {0x6b, 0x9a, 0xbc, 0xde, 0x00, 0x08, 17, 63, 0xfe, 0x80, 1};
  EXPECT_EQ(Bytes(b.begin(), b.begin() + 11), start);
  const uint8_t* p = b.data();
  EXPECT_EQ(ipv6::traffic_class(p), 0xb9);
  EXPECT_EQ(ipv6::flow_label(p), 0xabcdeu);
  EXPECT_EQ(ipv6::payload_length(p), 8);
  EXPECT_EQ(ipv6::total_length(p), 48u);
  EXPECT_EQ(ipv6::next_header(p), ip::kUdp);
  EXPECT_EQ(ipv6::hop_limit(p), 63);
  EXPECT_EQ(ipv6::source(p)[0], 0xfe);
  EXPECT_EQ(ipv6::destination(p)[2], 2);
  EXPECT_TRUE(ipv6::check(p, 48));
  EXPECT_TRUE(ipv6::check(p, 60)) << "padding";
  EXPECT_FALSE(ipv6::check(p, 47));
  EXPECT_TRUE(ipv6::check_header(p, 40));
  EXPECT_FALSE(ipv6::check_header(p, 39));
  Bytes four = b;
  four[0] = 0x45;
  EXPECT_FALSE(ipv6::check(four.data(), four.size()));
}

TEST(Ipv6Walk, NoExtensions) {
  ipv6::Upper u;
  ASSERT_TRUE(walk(build({data(ip::kTcp, 20)}), u));
  EXPECT_EQ(u.protocol, ip::kTcp);
  EXPECT_EQ(u.offset, 40u);
  EXPECT_EQ(u.extensions, 0);
  EXPECT_FALSE(u.fragment);
  EXPECT_EQ(u.fragment_header, 0u);
  EXPECT_EQ(u.unfragmentable, 40u);
  EXPECT_EQ(u.next_header_at, 6u);
  ASSERT_TRUE(walk(build({}), u));
  EXPECT_EQ(u.protocol, ip::kNoNextHeader);
}

TEST(Ipv6Walk, WholeChain) {
  ipv6::Upper u;
  const Bytes b = build({options(ip::kHopByHop), options(ip::kDestinationOptions, 1),
                         options(ip::kRouting, 2), fragment(0, true, 0xdeadbeef), authentication(4),
                         options(ip::kDestinationOptions), data(ip::kUdp)});
  ASSERT_TRUE(walk(b, u));
  EXPECT_EQ(u.protocol, ip::kUdp);
  EXPECT_EQ(u.extensions, 6);
  EXPECT_EQ(u.offset, 40u + 8 + 16 + 24 + 8 + 24 + 8);
  EXPECT_TRUE(u.fragment);
  EXPECT_TRUE(u.more);
  EXPECT_EQ(u.fragment_offset, 0u);
  EXPECT_FALSE(u.later_fragment());
  EXPECT_EQ(u.identification, 0xdeadbeefu);
  EXPECT_EQ(u.fragment_header, 40u + 8 + 16 + 24);
  EXPECT_EQ(u.unfragmentable, u.fragment_header);
  EXPECT_EQ(b[u.next_header_at], ip::kUdp);
}

TEST(Ipv6Walk, WhereAFragmentHeaderWouldGo) {
  ipv6::Upper u;
  ASSERT_TRUE(walk(build({options(ip::kHopByHop), options(ip::kDestinationOptions),
                          options(ip::kRouting), options(ip::kDestinationOptions), data(ip::kUdp)}),
                   u));
  EXPECT_EQ(u.unfragmentable, 40u + 24) << "behind the routing header";
  ASSERT_TRUE(walk(build({options(ip::kDestinationOptions), data(ip::kUdp)}), u));
  EXPECT_EQ(u.unfragmentable, 40u);
}

TEST(Ipv6Walk, LaterFragmentIsData) {
  ipv6::Upper u;
  // What follows looks like an endless extension header; it is payload.
  Bytes b = build({fragment(1448, true, 7), data(ip::kDestinationOptions)});
  b[49] = 0xff;
  ASSERT_TRUE(walk(b, u));
  EXPECT_TRUE(u.later_fragment());
  EXPECT_EQ(u.fragment_offset, 1448u);
  EXPECT_TRUE(u.more);
  EXPECT_EQ(u.protocol, ip::kDestinationOptions);
  EXPECT_EQ(u.offset, 48u);
  ASSERT_TRUE(walk(build({fragment(0xfff8, false, 7), data(ip::kUdp)}), u));
  EXPECT_EQ(u.fragment_offset, 65528u);
  EXPECT_FALSE(u.more);
}

TEST(Ipv6Walk, AtomicFragmentIsAWholePacket) {
  ipv6::Upper u;
  ASSERT_TRUE(walk(build({fragment(0, false, 9), data(ip::kUdp)}), u));
  EXPECT_TRUE(u.fragment);
  EXPECT_FALSE(u.more);
  EXPECT_FALSE(u.later_fragment());
  EXPECT_EQ(u.protocol, ip::kUdp);
}

TEST(Ipv6Walk, Malformed) {
  ipv6::Upper u;
  EXPECT_FALSE(
      walk(build({options(ip::kDestinationOptions), options(ip::kHopByHop), data(ip::kUdp)}), u))
      << "hop-by-hop not first";
  EXPECT_FALSE(walk(build({fragment(0, true, 1), fragment(0, true, 2), data(ip::kUdp)}), u));
  EXPECT_FALSE(walk(build({authentication(3), data(ip::kUdp)}), u)) << "20 bytes";
  Bytes beyond = build({options(ip::kRouting), data(ip::kUdp, 8)});
  beyond[41] = 2;  // 24 bytes, 16 are there
  EXPECT_FALSE(walk(beyond, u));
  beyond[41] = 1;  // all of the rest: an upper layer of no bytes
  EXPECT_TRUE(walk(beyond, u));
  EXPECT_EQ(u.offset, beyond.size());

  std::vector<Part> many(ipv6::kMaxExtensions, options(ip::kDestinationOptions));
  many.push_back(data(ip::kUdp));
  EXPECT_TRUE(walk(build(many), u));
  many.insert(many.begin(), options(ip::kDestinationOptions));
  EXPECT_FALSE(walk(build(many), u));
}

TEST(Ipv6Walk, CutAnywhere) {
  const Bytes whole = build(
      {options(ip::kHopByHop, 1), fragment(0, true, 5), authentication(4), data(ip::kTcp, 4)});
  for (size_t n = 40; n <= whole.size(); ++n) {
    const Bytes part(whole.begin(), whole.begin() + static_cast<long>(n));
    ipv6::Upper u;
    EXPECT_EQ(ipv6::walk(part.data(), part.size(), u), n >= whole.size() - 4) << n;
  }
}

TEST(Ipv6Walk, AnyBytesStayInside) {
  std::mt19937_64 random(1);
  constexpr uint8_t kLikely[] = {0, 43, 44, 51, 60, 6, 17, 58};
  int walked = 0;
  for (int round = 0; round < 200000; ++round) {
    Bytes b(40 + random() % 120);
    for (uint8_t& byte : b) {
      byte = random() % 3 == 0 ? static_cast<uint8_t>(random() % 4) : kLikely[random() % 8];
    }
    b[0] = 0x60;
    ipv6::Upper u;
    if (!ipv6::walk(b.data(), b.size(), u)) continue;
    ++walked;
    ASSERT_LE(u.offset, b.size());
    ASSERT_LE(u.unfragmentable, u.offset);
    ASSERT_EQ(b[u.next_header_at], u.protocol);
  }
  EXPECT_GT(walked, 1000);
}

}  // namespace
}  // namespace vrouter
