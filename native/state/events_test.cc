#include "state/events.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace vrouter {
namespace {

Event event(uint32_t n) {
  Event e{};
  e.time_ns = n;
  e.kind = static_cast<uint32_t>(EventKind::FlowCreated);
  e.flow = n;
  e.reverse = ~n;
  e.bytes = uint64_t{n} * 3;
  return e;
}

TEST(EventRing, OrderAndPartialDrains) {
  EventRing ring(8);
  Event out[8];
  EXPECT_EQ(ring.drain(out, 8), 0u);
  uint32_t next_in = 0;
  uint32_t next_out = 0;
  for (int round = 0; round < 100; ++round) {  // goes around many times, at every position
    for (int i = 0; i < 5; ++i) ASSERT_TRUE(ring.push(event(next_in++)));
    for (uint32_t max : {2u, 0u, 8u}) {
      const uint32_t count = ring.drain(out, max);
      EXPECT_LE(count, max);
      for (uint32_t i = 0; i < count; ++i) EXPECT_EQ(out[i].flow, next_out++);
    }
  }
  EXPECT_EQ(next_in, next_out);
  EXPECT_EQ(ring.lost(), 0u);
}

TEST(EventRing, FullIsCountedAndKeepsTheOldest) {
  EventRing ring(5);  // rounded up to 8
  for (uint32_t i = 0; i < 8; ++i) EXPECT_TRUE(ring.push(event(i)));
  for (uint32_t i = 8; i < 11; ++i) EXPECT_FALSE(ring.push(event(i)));
  EXPECT_EQ(ring.lost(), 3u);
  Event out[16];
  ASSERT_EQ(ring.drain(out, 16), 8u);
  for (uint32_t i = 0; i < 8; ++i) {
    EXPECT_EQ(out[i].flow, i);
    EXPECT_EQ(out[i].bytes, i * 3u);
  }
  EXPECT_TRUE(ring.push(event(11)));
  EXPECT_EQ(ring.lost(), 3u);
}

TEST(EventRing, TwoThreadsLoseNothingUncounted) {
  EventRing ring(64);
  constexpr uint32_t kEvents = 300000;
  std::atomic<bool> done{false};
  std::thread producer([&] {
    for (uint32_t i = 0; i < kEvents; ++i) {
      ring.push(event(i));
      if (i % 97 == 0) std::this_thread::yield();
    }
    done.store(true, std::memory_order_release);
  });
  uint32_t seen = 0;
  uint32_t previous = 0;
  Event out[48];
  for (;;) {
    const bool last = done.load(std::memory_order_acquire);
    const uint32_t count = ring.drain(out, 48);
    for (uint32_t i = 0; i < count; ++i) {
      ASSERT_TRUE(seen == 0 || out[i].flow > previous);
      ASSERT_EQ(out[i].reverse, ~out[i].flow) << "torn";
      ASSERT_EQ(out[i].bytes, uint64_t{out[i].flow} * 3) << "torn";
      previous = out[i].flow;
      ++seen;
    }
    if (last && count == 0) break;
  }
  producer.join();
  EXPECT_EQ(seen + ring.lost(), kEvents);
  EXPECT_GT(seen, 0u);
}

}  // namespace
}  // namespace vrouter
