// MacTable against its naive twin, an unordered_map: whatever is done to both, both say the same.
#include "table/mac_table.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <unordered_map>
#include <vector>

namespace vrouter {
namespace {

Mac mac_of(uint64_t n) {
  Mac mac;
  for (uint32_t i = 0; i < 6; ++i) mac.bytes[i] = static_cast<uint8_t>(n >> 8 * i);
  return mac;
}

struct MacHash {
  size_t operator()(const Mac& mac) const { return MacTable::word_of(mac.bytes.data()); }
};
using Twin = std::unordered_map<Mac, uint64_t, MacHash>;

void expect_equal(const MacTable& table, const Twin& twin, uint64_t keys) {
  ASSERT_EQ(table.size(), twin.size());
  for (uint64_t n = 0; n < keys; ++n) {
    const MacEntry* found = table.find(mac_of(n));
    const auto it = twin.find(mac_of(n));
    ASSERT_EQ(found != nullptr, it != twin.end()) << "MAC " << n;
    if (found != nullptr) {
      ASSERT_EQ(found->packets, it->second);
      ASSERT_EQ(found->mac, mac_of(n));
    }
  }
  Twin seen;
  table.each([&](const MacEntry& entry) { seen[entry.mac] = entry.packets; });
  ASSERT_EQ(seen, twin);
}

TEST(MacTable, SaysWhatAMapSays) {
  for (const uint64_t keys : {20u, 300u, 5000u}) {
    MacTable table;
    table.use_seed(keys);
    Twin twin;
    std::mt19937_64 random(keys);
    uint64_t next = 1;
    for (uint32_t step = 0; step < 60'000; ++step) {
      // Now filling, now emptying.
      const bool grows = step / (keys * 4) % 2 == 0;
      const Mac mac = mac_of(random() % keys);
      if (random() % 4 != 0 ? grows : !grows) {
        MacEntry& entry = table.insert(mac);
        const auto it = twin.find(mac);
        ASSERT_EQ(entry.mac, mac);
        ASSERT_EQ(entry.packets, it == twin.end() ? 0 : it->second);
        entry.packets = next;
        twin[mac] = next++;
      } else {
        ASSERT_EQ(table.erase(mac), twin.erase(mac) == 1);
      }
      if (step % 5000 == 0) expect_equal(table, twin, keys);
      if (testing::Test::HasFatalFailure()) FAIL() << keys << " keys, step " << step;
    }
    expect_equal(table, twin, keys);
  }
}

TEST(MacTable, AnEmptyOneHasNoMemoryAndFindsNothing) {
  MacTable table;
  EXPECT_EQ(table.find(mac_of(1)), nullptr);
  EXPECT_FALSE(table.erase(mac_of(1)));
  table.prefetch(table.hash(mac_of(1)));
  table.candidates(table.hash(mac_of(1)));
  EXPECT_EQ(table.bytes(), 0u);
  table.insert(mac_of(1));
  EXPECT_EQ(table.bytes(), 16u * 33);
  EXPECT_TRUE(table.erase(mac_of(1)));
  EXPECT_EQ(table.bytes(), 0u);
}

TEST(MacTable, AMacHas38To76Bytes) {
  MacTable table;
  for (uint32_t n = 1; n <= 200'000; ++n) {
    table.insert(mac_of(n * 0x10001ull)).packets = n;
    if (n < 15) continue;
    const double each = static_cast<double>(table.bytes()) / n;
    ASSERT_GE(each, 33.0 * 8 / 7) << n;
    ASSERT_LE(each, 76) << n;
  }
  for (uint32_t n = 1; n <= 200'000; ++n) {
    ASSERT_EQ(table.find(mac_of(n * 0x10001ull))->packets, n);
  }
  // What leaves gives its memory back.
  for (uint32_t n = 1; n <= 199'990; ++n) ASSERT_TRUE(table.erase(mac_of(n * 0x10001ull)));
  EXPECT_LE(table.bytes(), 33u * 128);
}

TEST(MacTable, StaysItsSizeWhileMacsComeAndGo) {
  MacTable table;
  for (uint32_t n = 0; n < 1000; ++n) table.insert(mac_of(n));
  const size_t bytes = table.bytes();
  for (uint32_t n = 1000; n < 200'000; ++n) {
    ASSERT_TRUE(table.erase(mac_of(n - 1000)));
    table.insert(mac_of(n));
    ASSERT_LE(table.bytes(), bytes);
  }
}

// Who knows one seed's places knows nothing of another's.
TEST(MacTable, PlacesDependOnTheSeed) {
  MacTable one, other;
  one.use_seed(1);
  other.use_seed(2);
  std::map<uint64_t, uint32_t> groups;
  uint32_t aimed = 0;
  for (uint64_t n = 0; aimed < 1024; ++n) {
    if ((one.hash(mac_of(n)) >> 4 & 255) != 7) continue;
    ++aimed;
    ++groups[other.hash(mac_of(n)) >> 4 & 255];
  }
  EXPECT_GT(groups.size(), 230u);
  for (const auto& [group, count] : groups) EXPECT_LT(count, 20u);
}

}  // namespace
}  // namespace vrouter
