#include "wire/tcp.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace vrouter {
namespace {

using Bytes = std::vector<uint8_t>;

// A SYN with these options, padded with zeros to a whole number of words.
Bytes syn(std::initializer_list<uint8_t> options) {
  Bytes b = {0xc3, 0x50, 0x00, 0x50, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06,
             0x07, 0x08, 0x00, 0x02, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00};
  b.insert(b.end(), options);
  b.resize((b.size() + 3) / 4 * 4);
  b[12] = static_cast<uint8_t>(b.size() / 4 << 4);
  tcp::set_checksum(b.data(), checksum(b.data(), b.size()));
  return b;
}

TEST(Tcp, Read) {
  const Bytes b = syn({});
  const uint8_t* p = b.data();
  EXPECT_TRUE(tcp::check(p, 20));
  EXPECT_FALSE(tcp::check(p, 19));
  EXPECT_EQ(tcp::source_port(p), 50000);
  EXPECT_EQ(tcp::destination_port(p), 80);
  EXPECT_EQ(tcp::sequence(p), 0x01020304u);
  EXPECT_EQ(tcp::ack(p), 0x05060708u);
  EXPECT_EQ(tcp::header_length(p), 20u);
  EXPECT_EQ(tcp::flags(p), tcp::kSyn);
  EXPECT_EQ(tcp::window(p), 0xffff);
  EXPECT_EQ(tcp::mss_at(p), 0u);
  EXPECT_TRUE(tcp::check_quoted(p, 8));
  EXPECT_FALSE(tcp::check_quoted(p, 7));
}

TEST(Tcp, DataOffsetThatLies) {
  Bytes b = syn({});
  b[12] = 0x40;
  EXPECT_FALSE(tcp::check(b.data(), b.size())) << "16 bytes";
  b[12] = 0x60;
  EXPECT_FALSE(tcp::check(b.data(), b.size())) << "24 bytes of 20";
  b[12] = 0xf0;
  EXPECT_FALSE(tcp::check(b.data(), b.size()));
}

TEST(TcpMss, FoundAmongOptions) {
  const struct {
    Bytes segment;
    uint32_t at;
  } cases[] = {
      {syn({2, 4, 0x05, 0xb4}), 22},
      {syn({1, 2, 4, 0x05, 0xb4}), 23},
      {syn({3, 3, 7, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8, 4, 2, 2, 4, 0x05, 0xb4}), 37},
      {syn({2, 4, 0x05, 0xb4, 2, 4, 0, 1}), 22},  // the first
      {syn({0, 2, 4, 0x05, 0xb4}), 0},            // behind the end
      {syn({2, 3, 0x05, 0xb4}), 0},               // wrong length
      {syn({2, 6, 0x05, 0xb4, 0, 0}), 0},         // wrong length
      {syn({2, 0, 0x05, 0xb4}), 0},               // would never end
      {syn({3, 0, 0, 0}), 0},                     // would never end
      {syn({3, 1, 2, 4}), 0},                     // shorter than itself
      {syn({3, 40, 0, 0}), 0},                    // beyond the header
      {syn({1, 1, 1, 2}), 0},                     // kind without length
      {syn({1, 1, 2, 4}), 0},                     // value beyond the header
      {syn({1, 2, 4, 5}), 0},                     // half a value
  };
  for (const auto& c : cases) {
    ASSERT_TRUE(tcp::check(c.segment.data(), c.segment.size()));
    EXPECT_EQ(tcp::mss_at(c.segment.data()), c.at);
  }
}

TEST(TcpMss, ClampTakesTheChecksumAlong) {
  for (Bytes b :
       {syn({2, 4, 0x05, 0xb4}), syn({1, 2, 4, 0x05, 0xb4}), syn({3, 3, 7, 2, 4, 0xff, 0xff})}) {
    const uint32_t at = tcp::mss_at(b.data());
    EXPECT_FALSE(tcp::clamp_mss(b.data(), 0xffff));
    ASSERT_TRUE(tcp::clamp_mss(b.data(), 1372));
    EXPECT_EQ(load_be16(b.data() + at), 1372);
    EXPECT_EQ(checksum(b.data(), b.size()), 0) << "sums to zero with its checksum in it";
    EXPECT_FALSE(tcp::clamp_mss(b.data(), 1372)) << "never raised";
    EXPECT_FALSE(tcp::clamp_mss(b.data(), 1400));
    b[13] = tcp::kAck;
    EXPECT_FALSE(tcp::clamp_mss(b.data(), 500)) << "only a SYN has the option";
  }
}

TEST(TcpMss, AnyOptionsStayInside) {
  std::mt19937_64 random(1);
  int found = 0;
  for (int round = 0; round < 200000; ++round) {
    Bytes b(20 + random() % 11 * 4);
    for (uint8_t& byte : b) byte = static_cast<uint8_t>(random() % 6);
    b[12] = static_cast<uint8_t>(b.size() / 4 << 4);
    ASSERT_TRUE(tcp::check(b.data(), b.size()));
    const uint32_t at = tcp::mss_at(b.data());
    if (at == 0) continue;
    ++found;
    ASSERT_LE(at + 2, b.size());
    ASSERT_EQ(b[at - 2], tcp::kOptionMss);
    ASSERT_EQ(b[at - 1], tcp::kOptionMssLength);
  }
  EXPECT_GT(found, 1000);
}

}  // namespace
}  // namespace vrouter
