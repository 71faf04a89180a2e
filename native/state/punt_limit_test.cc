#include "state/punt_limit.h"

#include <gtest/gtest.h>

namespace vrouter {
namespace {

constexpr uint64_t kSecond = 1'000'000'000;

uint32_t take_all(PuntLimit& limit, uint32_t vif, uint64_t now, uint32_t tries) {
  uint32_t given = 0;
  for (uint32_t i = 0; i < tries; ++i) given += limit.take(VifId{vif}, now);
  return given;
}

TEST(PuntLimit, ASecondsWorthAtOnceAndThenByTheClock) {
  TokenBucket bucket;
  uint32_t taken = 0;
  for (int i = 0; i < 1000; ++i) taken += bucket.take(0, 100);
  EXPECT_EQ(taken, 100u);
  EXPECT_FALSE(bucket.take(9'999'999, 100));
  EXPECT_TRUE(bucket.take(10'000'000, 100));
  EXPECT_FALSE(bucket.take(10'000'000, 100));
  // Asked again and again: what is left of a token is not lost.
  taken = 0;
  for (uint64_t now = 10'000'000; now < 10'000'000 + kSecond; now += 3'000'000) {
    taken += bucket.take(now, 100);
  }
  EXPECT_GE(taken, 99u);
  EXPECT_LE(taken, 100u);
  // A long silence earns no more than a second's worth.
  taken = 0;
  for (int i = 0; i < 1000; ++i) taken += bucket.take(100 * kSecond, 100);
  EXPECT_EQ(taken, 100u);
}

TEST(PuntLimit, AFloodingVifLeavesTheOthersTheirs) {
  PuntLimit limit;
  EXPECT_EQ(take_all(limit, 3, 1, 100'000), kPuntsPerVif);
  EXPECT_EQ(take_all(limit, 4, 1, 10), 10u);
}

TEST(PuntLimit, AllTogetherAreBounded) {
  PuntLimit limit;
  uint64_t given = 0;
  for (uint32_t vif = 0; vif < 1000; ++vif) given += take_all(limit, vif, 1, kPuntsPerVif);
  EXPECT_EQ(given, kPunts);
  EXPECT_EQ(take_all(limit, 4000, 1, 1), 0u);
  EXPECT_EQ(take_all(limit, ~0u, kSecond + 1, 1), 1u) << "of no vif: by the sum alone";
}

}  // namespace
}  // namespace vrouter
