#include "base/hash.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <set>
#include <vector>

namespace vrouter {
namespace {

struct Key {  // the shape of a flow key
  uint8_t bytes[44];
};

Key counting_key() {
  Key key;
  for (size_t i = 0; i < sizeof key; ++i) key.bytes[i] = static_cast<uint8_t>(i);
  return key;
}

// Written down once; a change here moves every flow, ECMP choice and recorded run.
TEST(Hash, GoldenValues) {
  EXPECT_EQ(mix64(0), 0u);
  EXPECT_EQ(mix64(1), 0x5692161d100b05e5u);
  EXPECT_EQ(hash_key(counting_key(), 1), 0x398c0fab6a1a95f1u);
  EXPECT_EQ(hash_key(counting_key(), 2), 0x02d1cab5fcc7715bu);
  EXPECT_EQ(hash_key(Key{}, 0), 0x48a38bced1f845cau);
  const uint8_t mac[6] = {0x02, 0, 0, 0, 0, 1};
  EXPECT_EQ(hash_bytes<6>(mac, 1), 0x37cbcf29cbc9f2aau);
}

// The same in plain arithmetic, one step at a time.
uint64_t naive_hash(const std::vector<uint8_t>& key, uint64_t seed) {
  std::vector<uint8_t> padded(key);
  padded.resize((key.size() + 15) / 16 * 16);
  uint64_t h = seed + key.size();
  for (size_t lane = 0; lane * 16 < key.size(); ++lane) {
    uint64_t words[2] = {0, 0};
    for (size_t i = 0; i < 16; ++i) words[i / 8] |= uint64_t{padded[lane * 16 + i]} << (i % 8 * 8);
    unsigned __int128 product = 1;
    for (size_t i = 0; i < 2; ++i) {
      product *= words[i] ^ seed ^ mix64((lane * 2 + i + 1) * 0x9e3779b97f4a7c15u);
    }
    h = (h << 29 | h >> 35) +
        (static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64));
  }
  return mix64(h);
}

template <size_t N>
void expect_equal_to_naive(std::mt19937_64& random) {
  std::vector<uint8_t> v(N);
  for (uint8_t& b : v) b = static_cast<uint8_t>(random());
  const uint64_t seed = random();
  EXPECT_EQ(hash_bytes<N>(v.data(), seed), naive_hash(v, seed)) << N;
}

TEST(Hash, EqualsNaive) {
  std::mt19937_64 random(1);
  for (int round = 0; round < 200; ++round) {
    expect_equal_to_naive<1>(random);
    expect_equal_to_naive<4>(random);
    expect_equal_to_naive<6>(random);
    expect_equal_to_naive<8>(random);
    expect_equal_to_naive<13>(random);
    expect_equal_to_naive<16>(random);
    expect_equal_to_naive<40>(random);
    expect_equal_to_naive<44>(random);
    expect_equal_to_naive<48>(random);
  }
}

TEST(Hash, EveryInputBitMovesHalfTheOutput) {
  std::mt19937_64 random(2);
  constexpr int kRounds = 400;
  for (size_t bit = 0; bit < 44 * 8; ++bit) {
    int moved[64] = {};
    for (int round = 0; round < kRounds; ++round) {
      Key key{};
      for (uint8_t& b : key.bytes) b = static_cast<uint8_t>(random());
      const uint64_t before = hash_key(key, 7);
      key.bytes[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
      const uint64_t difference = before ^ hash_key(key, 7);
      for (int i = 0; i < 64; ++i) moved[i] += static_cast<int>(difference >> i & 1);
    }
    for (int i = 0; i < 64; ++i) {  // 6 sigma of a fair coin: 60
      EXPECT_NEAR(moved[i], kRounds / 2, 66) << "input bit " << bit << " output bit " << i;
    }
  }
}

TEST(Hash, SeedMovesEverything) {
  std::mt19937_64 random(3);
  double total = 0;
  for (int round = 0; round < 2000; ++round) {
    const uint64_t seed = random();
    const uint64_t other = seed ^ uint64_t { 1 } << random() % 64;
    total += std::popcount(hash_key(counting_key(), seed) ^ hash_key(counting_key(), other));
  }
  EXPECT_NEAR(total / 2000, 32, 1);
}

// Keys as traffic makes them: few bits vary, in counters. Chi-squared over buckets taken from the
// low and from the high bits.
void expect_even(const std::vector<uint64_t>& hashes, const char* what) {
  constexpr size_t kBuckets = 1024;
  for (int shift : {0, 20, 54}) {
    std::vector<double> count(kBuckets);
    for (uint64_t h : hashes) count[(h >> shift) % kBuckets] += 1;
    const double expected = static_cast<double>(hashes.size()) / kBuckets;
    double chi = 0;
    for (double c : count) chi += (c - expected) * (c - expected) / expected;
    const double sigma = std::sqrt(2.0 * (kBuckets - 1));
    EXPECT_LT(std::abs(chi - (kBuckets - 1)), 5 * sigma) << what << " bits from " << shift;
  }
  EXPECT_EQ(std::set<uint64_t>(hashes.begin(), hashes.end()).size(), hashes.size()) << what;
}

TEST(Hash, CountersSpreadEvenly) {
  for (uint64_t seed : {uint64_t{0}, uint64_t{1}, uint64_t{0xdeadbeefcafef00d}}) {
    std::vector<uint64_t> ports;
    std::vector<uint64_t> sources;
    std::vector<uint64_t> mirrored;  // source and destination move together
    std::vector<uint64_t> sparse;    // exactly two bits set
    for (uint32_t i = 0; i < 65536; ++i) {
      Key key{};
      store_le16(key.bytes + 32, static_cast<uint16_t>(i));
      ports.push_back(hash_key(key, seed));
      key = {};
      store_be32(key.bytes, 0x0a000000 + i);
      sources.push_back(hash_key(key, seed));
      key = {};
      store_be32(key.bytes, 0x0a000000 + i);
      store_be32(key.bytes + 16, 0x0a000000 + i);
      mirrored.push_back(hash_key(key, seed));
    }
    for (size_t a = 0; a < 352; ++a) {
      for (size_t b = 0; b < a; ++b) {
        Key key{};
        key.bytes[a / 8] |= static_cast<uint8_t>(1 << a % 8);
        key.bytes[b / 8] |= static_cast<uint8_t>(1 << b % 8);
        sparse.push_back(hash_key(key, seed));
      }
    }
    expect_even(ports, "ports");
    expect_even(sources, "sources");
    expect_even(mirrored, "mirrored");
    expect_even(sparse, "sparse");
  }
}

TEST(Hash, LengthIsPartOfTheKey) {
  const uint8_t zeros[48] = {};
  std::set<uint64_t> seen{hash_bytes<1>(zeros, 9),  hash_bytes<4>(zeros, 9),
                          hash_bytes<8>(zeros, 9),  hash_bytes<16>(zeros, 9),
                          hash_bytes<44>(zeros, 9), hash_bytes<48>(zeros, 9)};
  EXPECT_EQ(seen.size(), 6u);
}

}  // namespace
}  // namespace vrouter
