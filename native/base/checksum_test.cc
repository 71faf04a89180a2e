#include "base/checksum.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace vrouter {
namespace {

// RFC 1071 as its text has it: one word at a time.
uint16_t naive_sum(const uint8_t* p, size_t n) {
  uint64_t sum = 0;
  for (size_t i = 0; i < n; ++i) sum += i % 2 == 0 ? uint64_t{p[i]} << 8 : p[i];
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(sum);
}
uint16_t naive_checksum(const std::vector<uint8_t>& v) {
  return static_cast<uint16_t>(~naive_sum(v.data(), v.size()));
}

std::vector<uint8_t> random_bytes(std::mt19937_64& random, size_t n) {
  std::vector<uint8_t> v(n);
  // Mostly extreme bytes: carries and both zeros come up.
  const int kind = static_cast<int>(random() % 3);
  for (uint8_t& b : v) {
    b = kind == 0 ? static_cast<uint8_t>(random()) : (random() & 1) != 0 ? 0xff : 0x00;
  }
  return v;
}

TEST(Checksum, ExampleOfRfc1071) {
  const uint8_t p[] = {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};
  EXPECT_EQ(checksum_fold(checksum_add(0, p, sizeof p)), 0xddf2);
  EXPECT_EQ(checksum(p, sizeof p), 0x220d);
}

TEST(Checksum, KnownIpv4Header) {
  const uint8_t p[] = {0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11,
                       0x00, 0x00, 0xc0, 0xa8, 0x00, 0x01, 0xc0, 0xa8, 0x00, 0xc7};
  EXPECT_EQ(checksum(p, sizeof p), 0xb861);
}

TEST(Checksum, EqualsNaiveAtEveryLengthAndAlignment) {
  std::mt19937_64 random(1);
  for (size_t n = 0; n < 300; ++n) {
    for (size_t shift = 0; shift < 3; ++shift) {
      const std::vector<uint8_t> v = random_bytes(random, n + shift);
      const uint16_t expected = naive_sum(v.data() + shift, n);
      EXPECT_EQ(checksum_fold(checksum_add(0, v.data() + shift, n)), expected) << n;
    }
  }
  for (size_t n : {1499u, 9000u, 65534u, 65535u, 65536u}) {
    for (int round = 0; round < 20; ++round) {
      const std::vector<uint8_t> v = random_bytes(random, n);
      EXPECT_EQ(checksum(v.data(), n), naive_checksum(v)) << n;
    }
  }
}

TEST(Checksum, BothZeros) {
  const std::vector<uint8_t> zeros(64, 0);
  const std::vector<uint8_t> ones(64, 0xff);
  EXPECT_EQ(checksum(zeros.data(), zeros.size()), 0xffff);
  EXPECT_EQ(checksum(ones.data(), ones.size()), 0x0000);
  EXPECT_EQ(checksum(zeros.data(), 0), 0xffff);
}

TEST(Checksum, PiecesAddUpAndCarriesWrapAround) {
  std::mt19937_64 random(2);
  for (int round = 0; round < 1000; ++round) {
    const std::vector<uint8_t> v = random_bytes(random, 200);
    const size_t cut = random() % 100 * 2;
    const uint32_t sum = checksum_add(checksum_add(0, v.data(), cut), v.data() + cut, 200 - cut);
    EXPECT_EQ(checksum_finish(sum), naive_checksum(v));
  }
  const uint8_t word[] = {0x00, 0x02};
  EXPECT_EQ(checksum_fold(checksum_add(0xffffffff, word, 2)), 0x0002);
}

TEST(Checksum, PseudoHeaders) {
  std::mt19937_64 random(3);
  for (int round = 0; round < 500; ++round) {
    const std::vector<uint8_t> s = random_bytes(random, 16);
    const std::vector<uint8_t> d = random_bytes(random, 16);
    const auto protocol = static_cast<uint8_t>(random());
    const auto length = static_cast<uint32_t>(random() % 65536);
    std::vector<uint8_t> v4(s.begin(), s.begin() + 4);
    v4.insert(v4.end(), d.begin(), d.begin() + 4);
    const uint8_t tail4[] = {0, protocol, static_cast<uint8_t>(length >> 8),
                             static_cast<uint8_t>(length)};
    v4.insert(v4.end(), tail4, tail4 + 4);
    EXPECT_EQ(checksum_finish(pseudo_sum_v4(s.data(), d.data(), protocol, length)),
              naive_checksum(v4));
    std::vector<uint8_t> v6(s);
    v6.insert(v6.end(), d.begin(), d.end());
    const uint8_t tail6[] = {
        0, 0, static_cast<uint8_t>(length >> 8), static_cast<uint8_t>(length), 0, 0, 0, protocol};
    v6.insert(v6.end(), tail6, tail6 + 8);
    EXPECT_EQ(checksum_finish(pseudo_sum_v6(s.data(), d.data(), protocol, length)),
              naive_checksum(v6));
  }
}

TEST(ChecksumDelta, ExampleOfRfc1624) {
  // RFC 1624 §4: HC = 0xdd2f, m = 0x5555, m' = 0x3285 gives 0x0000, where eqn. 2 gave 0xffff.
  EXPECT_EQ(checksum_apply(0xdd2f, checksum_delta16(0x5555, 0x3285)), 0x0000);
}

// Change words of a header in place: the updated checksum is the one summed anew, bit for bit.
TEST(ChecksumDelta, EqualsSummingAnew) {
  std::mt19937_64 random(4);
  for (int round = 0; round < 20000; ++round) {
    std::vector<uint8_t> v = random_bytes(random, 40);
    v[0] = 0x45;  // never all zero, as no IP packet is
    const uint16_t before = naive_checksum(v);
    const size_t length = std::vector<size_t>{2, 4, 12, 16}[random() % 4];
    const size_t at = 2 + random() % 11 * 2;
    const std::vector<uint8_t> new_bytes = random_bytes(random, length);
    const uint16_t delta = checksum_delta(v.data() + at, new_bytes.data(), length);
    if (length == 2) {
      EXPECT_EQ(delta, checksum_delta16(load_be16(v.data() + at), load_be16(new_bytes.data())));
    }
    if (length == 4) {
      EXPECT_EQ(delta, checksum_delta32(load_be32(v.data() + at), load_be32(new_bytes.data())));
    }
    std::copy(new_bytes.begin(), new_bytes.end(), v.begin() + static_cast<long>(at));
    EXPECT_EQ(checksum_apply(before, delta), naive_checksum(v));
  }
}

TEST(ChecksumDelta, EveryChecksumAndBackAgain) {
  const uint16_t delta = checksum_delta16(0x1234, 0xfedc);
  const uint16_t back = checksum_delta16(0xfedc, 0x1234);
  EXPECT_EQ(delta_add(delta, back), 0);
  for (uint32_t c = 0; c < 0xffff; ++c) {  // 0xffff is never the checksum of a packet
    const auto checksum = static_cast<uint16_t>(c);
    EXPECT_EQ(checksum_apply(checksum, 0), checksum);
    EXPECT_EQ(checksum_apply(checksum_apply(checksum, delta), back), checksum);
  }
}

TEST(ChecksumDelta, NoChangeIsZero) {
  for (uint32_t m = 0; m <= 0xffff; ++m) {
    EXPECT_EQ(checksum_delta16(static_cast<uint16_t>(m), static_cast<uint16_t>(m)), 0);
  }
  EXPECT_EQ(checksum_delta16(0x0000, 0xffff), 0) << "both are zero";
  EXPECT_EQ(delta_add(0xffff, 0), 0);
  EXPECT_EQ(delta_add(0x8000, 0x8000), 1);
}

TEST(Checksum, UdpZero) {
  EXPECT_EQ(udp_checksum_nonzero(0), 0xffff);
  EXPECT_EQ(udp_checksum_nonzero(1), 1);
  EXPECT_EQ(udp_checksum_nonzero(0xffff), 0xffff);
}

}  // namespace
}  // namespace vrouter
