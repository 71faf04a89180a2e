// What the flow table promises to workers that read it while another one writes.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "base/lock.h"
#include "state/flow.h"

namespace vrouter {
namespace {

FlowKey key_of(uint16_t port, uint32_t scope) {
  FlowKey key{};
  key.source[0] = 10;
  key.destination[0] = 11;
  key.source_port = port;
  key.destination_port = 80;
  key.scope = scope;
  key.protocol = 17;
  key.family = Family::V4;
  return key;
}

FlowId find(const FlowTable& table, const FlowKey& key) { return table.find(key, table.hash(key)); }

TEST(FlowTableShared, ASlotIsNotTakenWhileItMayBeRead) {
  Quiescence readers;
  FlowTable table(1024, 3);
  ASSERT_TRUE(table.share(&readers));
  const FlowTable::Pair pair = table.insert(key_of(1, 5), key_of(1, 6), 0);
  ASSERT_EQ(pair.result, FlowInsert::Ok);
  store_release(table[pair.forward].generation, 7u);

  readers.begin(3);
  Flow copy;
  ASSERT_TRUE(table.read(pair.forward, copy));
  table.erase(pair.forward);
  EXPECT_FALSE(find(table, key_of(1, 5)).valid());
  EXPECT_FALSE(table.read(pair.forward, copy)) << "it is gone";
  EXPECT_FALSE(table.valid(pair.forward));
  // The same keys have the same places, but these are still looked at.
  const FlowTable::Pair again = table.insert(key_of(1, 5), key_of(1, 6), 0);
  ASSERT_EQ(again.result, FlowInsert::Ok);
  EXPECT_NE(again.forward, pair.forward);
  EXPECT_NE(again.reverse, pair.reverse);
  EXPECT_EQ(table[pair.forward].source_port, 1) << "as it was";
  readers.end(3);
  table.erase(again.forward);
  const FlowTable::Pair third = table.insert(key_of(1, 5), key_of(1, 6), 0);
  EXPECT_TRUE(third.forward == pair.forward || third.forward == again.forward);
  EXPECT_EQ(table.used(), 2u);
}

TEST(FlowTableShared, IsFullOnlyWhileSomebodyReads) {
  Quiescence readers;
  FlowTable table(1024, 3);
  ASSERT_TRUE(table.share(&readers));
  uint32_t now = 0;
  readers.begin(0);
  uint32_t full = 0;
  for (uint16_t port = 0; port < 3000; ++port) {
    now += 2 * kMinIdleMs;  // whoever is there may be evicted
    full += table.insert(key_of(port, 5), key_of(port, 6), now).result == FlowInsert::Full;
  }
  EXPECT_GT(full, 1000u) << "nothing leaves limbo";
  EXPECT_LE(table.used(), 1024u);
  readers.end(0);
  for (uint16_t port = 3000; port < 6000; ++port) {
    now += 2 * kMinIdleMs;
    ASSERT_EQ(table.insert(key_of(port, 5), key_of(port, 6), now).result, FlowInsert::Ok) << port;
  }
  EXPECT_EQ(table.used(), table.created() - table.deleted());
}

// One decides again and again, all fields by the generation; the other must never see two of them.
TEST(FlowTableShared, IsReadWholeOrNotAtAll) {
  Quiescence readers;
  FlowTable table(1024, 3);
  ASSERT_TRUE(table.share(&readers));
  const FlowId id = table.insert(key_of(1, 5), key_of(1, 6), 0).forward;
  std::atomic<bool> done{false};
  std::thread writer([&] {
    Flow& flow = table[id];
    for (uint32_t g = 1; g < 200'000'000 && !done.load(std::memory_order_relaxed); ++g) {
      store_first(flow.generation, kDeciding);
      flow.vrf = static_cast<uint16_t>(g);
      flow.l3_delta = static_cast<uint16_t>(g);
      flow.set_path(g & 0xffff, 0, 0, false);
      flow.nat_source_port = static_cast<uint16_t>(g);
      flow.l4_delta = static_cast<uint16_t>(g);
      store_release(flow.generation, g);
      for (uint32_t pause = g % 32; pause != 0; --pause) pause_processor();
    }
  });
  uint32_t whole = 0;
  uint32_t torn = 0;
  uint32_t changed = 0;  // what was read is not what was read before: both have been running
  uint32_t last = 0;
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(5);
  for (uint32_t i = 0; changed < 20'000; ++i) {
    if (i % 1024 == 0 && std::chrono::steady_clock::now() > until) break;
    Flow copy;
    if (!table.read(id, copy)) continue;
    changed += copy.generation != last;
    last = copy.generation;
    const uint16_t g = static_cast<uint16_t>(copy.generation);
    ++(copy.vrf == g && copy.l3_delta == g && copy.next_hop() == g && copy.nat_source_port == g &&
               copy.l4_delta == g
           ? whole
           : torn);
  }
  done.store(true);
  writer.join();
  EXPECT_EQ(torn, 0u);
  EXPECT_GT(whole, 100u);
  EXPECT_GT(changed, 100u);
}

}  // namespace
}  // namespace vrouter
