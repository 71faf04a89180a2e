#include "worker/wake.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <thread>

namespace vrouter {
namespace {

using Clock = std::chrono::steady_clock;

uint64_t milliseconds_of(const std::function<void()>& f) {
  const Clock::time_point start = Clock::now();
  f();
  return static_cast<uint64_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - start).count());
}

TEST(Wake, SleepsItsTimeWhenNothingHappens) {
  Wake wake;
  ASSERT_TRUE(wake.ok());
  EXPECT_GE(milliseconds_of([&] { EXPECT_FALSE(wake.sleep(20, false)); }), 19u);
}

TEST(Wake, AWakeBeforeTheSleepKeepsItFromStarting) {
  Wake wake;
  wake.wake();
  EXPECT_LT(milliseconds_of([&] { EXPECT_FALSE(wake.sleep(5000, false)); }), 1000u);
  EXPECT_GE(milliseconds_of([&] { wake.sleep(20, false); }), 19u) << "once";
}

TEST(Wake, AWakeEndsASleep) {
  Wake wake;
  std::thread other([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    wake.wake();
  });
  EXPECT_LT(milliseconds_of([&] { EXPECT_FALSE(wake.sleep(10000, true)); }), 5000u);
  other.join();
}

TEST(Wake, AReadyDescriptorEndsASleepUnlessOnlyAWakeMay) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  Wake wake;
  wake.watch(ends[0], 7);
  uint32_t ready[Wake::kMaxReady];
  EXPECT_EQ(wake.ready(ready), 0u);
  ASSERT_EQ(write(ends[1], "x", 1), 1);
  EXPECT_LT(milliseconds_of([&] { EXPECT_TRUE(wake.sleep(5000, false)); }), 1000u);
  EXPECT_GE(milliseconds_of([&] { EXPECT_FALSE(wake.sleep(20, true)); }), 19u);
  ASSERT_EQ(wake.ready(ready), 1u);
  EXPECT_EQ(ready[0], 7u);
  wake.forget(ends[0]);
  EXPECT_EQ(wake.ready(ready), 0u);
  EXPECT_GE(milliseconds_of([&] { EXPECT_FALSE(wake.sleep(20, false)); }), 19u);
  close(ends[0]);
  close(ends[1]);
}

// Below and above Wake::kFew, and back.
TEST(Wake, TellsOfTheRightDescriptorHoweverManyThereAre) {
  constexpr uint32_t kMany = Wake::kFew + 3;
  int ends[kMany][2];
  Wake wake;
  uint32_t ready[Wake::kMaxReady];
  const auto expect_only = [&](uint32_t i) {
    ASSERT_EQ(write(ends[i][1], "x", 1), 1);
    EXPECT_TRUE(wake.sleep(5000, false));
    ASSERT_EQ(wake.ready(ready), 1u);
    EXPECT_EQ(ready[0], 100 + i);
    char byte;
    ASSERT_EQ(read(ends[i][0], &byte, 1), 1);
    EXPECT_EQ(wake.ready(ready), 0u);
  };
  for (uint32_t i = 0; i < kMany; ++i) {
    ASSERT_EQ(pipe(ends[i]), 0);
    wake.watch(ends[i][0], 100 + i);
    expect_only(i);
    expect_only(0);
  }
  for (uint32_t i = kMany - 1; i > 0; --i) {
    wake.forget(ends[i][0]);
    ASSERT_EQ(write(ends[i][1], "x", 1), 1);
    EXPECT_EQ(wake.ready(ready), 0u) << "forgotten";
    expect_only(i - 1);
  }
  for (auto& pair : ends) {
    close(pair[0]);
    close(pair[1]);
  }
}

// Each item handed over must be seen by the sleep that follows or be there before it: no item may
// wait for the timeout.
TEST(Wake, NoWakeIsEverLost) {
  Wake wake;
  std::atomic<uint32_t> items{0};
  std::atomic<uint32_t> seen{0};
  constexpr uint32_t kItems = 20000;
  std::thread worker([&] {
    while (seen.load() < kItems) {
      const uint32_t now = items.load();
      if (now != seen.load()) {
        seen.store(now);
        continue;
      }
      wake.sleep(10000, false);
    }
  });
  const Clock::time_point start = Clock::now();
  for (uint32_t i = 1; i <= kItems; ++i) {
    items.store(i);
    wake.wake();
    while (seen.load() < i) std::this_thread::yield();
  }
  worker.join();
  EXPECT_LT(Clock::now() - start, std::chrono::seconds(9));
}

}  // namespace
}  // namespace vrouter
