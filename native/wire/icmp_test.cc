#include "wire/icmp.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace vrouter {
namespace {

using Bytes = std::vector<uint8_t>;
constexpr Mac kMac{{0x02, 1, 2, 3, 4, 5}};

TEST(Icmp, Read) {
  const Bytes b = {8, 0, 0xab, 0xcd, 0x12, 0x34, 0x05, 0xdc};
  EXPECT_TRUE(icmp::check(b.data(), 8));
  EXPECT_FALSE(icmp::check(b.data(), 7));
  EXPECT_EQ(icmp::type(b.data()), icmp::kEcho);
  EXPECT_EQ(icmp::code(b.data()), 0);
  EXPECT_EQ(icmp::checksum(b.data()), 0xabcd);
  EXPECT_EQ(icmp::identifier(b.data()), 0x1234);
  EXPECT_EQ(icmp::sequence(b.data()), 1500);
  EXPECT_EQ(icmp::mtu(b.data()), 1500);
  EXPECT_EQ(icmp::rest(b.data()), 0x123405dcu);
  EXPECT_EQ(icmp6::mtu(b.data()), 0x123405dcu);
}

TEST(Icmp, WhichTypesAreErrors) {
  const auto errors = [](auto is_error) {
    std::vector<int> types;
    for (int type = 0; type < 256; ++type) {
      if (is_error(static_cast<uint8_t>(type))) types.push_back(type);
    }
    return types;
  };
  EXPECT_EQ(errors(icmp::is_error), (std::vector<int>{3, 4, 5, 11, 12}));
  const std::vector<int> six = errors(icmp6::is_error);
  EXPECT_EQ(six.size(), 128u);
  EXPECT_EQ(six.back(), 127);
  EXPECT_TRUE(icmp::is_echo(0) && icmp::is_echo(8) && !icmp::is_echo(128));
  EXPECT_TRUE(icmp6::is_echo(128) && icmp6::is_echo(129) && !icmp6::is_echo(8));
  EXPECT_TRUE(icmp6::is_neighbour_discovery(133) && icmp6::is_neighbour_discovery(137));
  EXPECT_FALSE(icmp6::is_neighbour_discovery(132) || icmp6::is_neighbour_discovery(138));
}

Bytes solicitation(std::initializer_list<uint8_t> options) {
  Bytes b = {135, 0, 0, 0, 0, 0, 0, 0, 0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9};
  b.insert(b.end(), options);
  return b;
}

TEST(Ndp, Options) {
  const Bytes plain = solicitation({});
  EXPECT_TRUE(ndp::check(plain.data(), 24));
  EXPECT_FALSE(ndp::check(plain.data(), 23));
  EXPECT_EQ(ndp::target(plain.data())[15], 9);
  EXPECT_EQ(ndp::link_layer_at(plain.data(), 24, ndp::kOptionSourceLinkLayer), 0u);

  // A nonce option of 8 bytes first, then the MAC.
  const Bytes b = solicitation({14, 1, 9, 9, 9, 9, 9, 9, 1, 1, 0x02, 1, 2, 3, 4, 5});
  ASSERT_TRUE(ndp::check(b.data(), b.size()));
  EXPECT_EQ(ndp::link_layer_at(b.data(), b.size(), ndp::kOptionSourceLinkLayer), 34u);
  EXPECT_EQ(ethernet::load_mac(b.data() + 34), kMac);
  EXPECT_EQ(ndp::link_layer_at(b.data(), b.size(), ndp::kOptionTargetLinkLayer), 0u);

  for (const Bytes& bad :
       {solicitation({1, 0, 0, 0, 0, 0, 0, 0}),     // zero length: discard (RFC 4861 §4.6)
        solicitation({1, 2, 0, 0, 0, 0, 0, 0}),     // beyond the end
        solicitation({1, 1, 0, 0, 0, 0, 0, 0, 1}),  // a byte left over
        solicitation({1, 1, 0, 0, 0, 0, 0}), solicitation({1, 255})}) {
    EXPECT_FALSE(ndp::check(bad.data(), bad.size()));
  }
  // A link-layer address that is not 6 bytes long is none of ours.
  const Bytes longer = solicitation({1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0});
  ASSERT_TRUE(ndp::check(longer.data(), longer.size()));
  EXPECT_EQ(ndp::link_layer_at(longer.data(), longer.size(), ndp::kOptionSourceLinkLayer), 0u);
}

TEST(Ndp, SolicitationBecomesAdvertisement) {
  Bytes b = solicitation({1, 1, 0xa5, 0xa5, 0xa5, 0xa5, 0xa5, 0xa5});
  ndp::write_advertisement(b.data(), ndp::kFlagRouter | ndp::kFlagSolicited | ndp::kFlagOverride,
                           ndp::target(b.data()), kMac);
  const Bytes expected = {136, 0, 0, 0, 0xe0, 0, 0, 0, 0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0,
                          0,   0, 0, 0, 0,    0, 0, 9, 2,    1,    0x02, 1,    2, 3, 4, 5};
  EXPECT_EQ(b, expected);
  EXPECT_EQ(b.size(), ndp::kAdvertisementLength);
  EXPECT_EQ(ndp::flags(b.data()), 0xe0000000u);
  EXPECT_TRUE(ndp::check(b.data(), b.size()));
}

TEST(Ndp, AnyBytesStayInside) {
  std::mt19937_64 random(1);
  int good = 0;
  for (int round = 0; round < 100000; ++round) {
    Bytes b(24 + random() % 6 * 8);
    for (uint8_t& byte : b) byte = static_cast<uint8_t>(random() % 4);
    if (!ndp::check(b.data(), b.size())) continue;
    ++good;
    const uint32_t at = ndp::link_layer_at(b.data(), b.size(), ndp::kOptionTargetLinkLayer);
    if (at != 0) {
      ASSERT_LE(at + 6, b.size());
      ASSERT_EQ(b[at - 2], ndp::kOptionTargetLinkLayer);
    }
  }
  EXPECT_GT(good, 1000);
}

}  // namespace
}  // namespace vrouter
