// Run under TSan too: the plain variables below are what the gate protects.
#include "worker/gate.h"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

namespace vrouter {
namespace {

TEST(Gate, HoldWithoutAWorkerJustRuns) {
  Gate gate;
  int runs = 0;
  gate.hold([&] { ++runs; });
  EXPECT_EQ(runs, 1);
}

TEST(Gate, HoldInsideHoldRunsAndOnlyTheOuterOneLetsGo) {
  Gate gate;
  std::atomic<bool> stop{false};
  uint64_t breaths = 0;  // written inside the gate only
  std::thread worker([&] {
    while (!stop.load()) {
      gate.enter();
      ++breaths;
      gate.leave();
    }
  });
  for (int i = 0; i < 1000; ++i) {
    gate.lock();
    EXPECT_TRUE(gate.outermost());
    const uint64_t before = breaths;
    gate.hold([&] { EXPECT_FALSE(gate.outermost()); });
    if (i % 100 == 0) std::this_thread::sleep_for(std::chrono::microseconds(200));
    EXPECT_EQ(breaths, before) << "still held";
    gate.unlock();
  }
  stop.store(true);
  worker.join();
}

TEST(Gate, NeverBothInside) {
  Gate gate;
  std::atomic<bool> stop{false};
  uint64_t shared[4] = {};
  uint64_t torn = 0;
  std::thread worker([&] {
    while (!stop.load()) {
      gate.enter();
      for (uint64_t& s : shared) ++s;
      gate.leave();
    }
  });
  for (int i = 0; i < 10000; ++i) {
    gate.hold([&] {
      for (const uint64_t s : shared) torn += s != shared[0] ? 1 : 0;
      for (uint64_t& s : shared) s += 1000;
    });
  }
  stop.store(true);
  worker.join();
  EXPECT_EQ(torn, 0u);
}

// Commits without a pause must not stop traffic: a worker that waits gets a breath between two
// holds.
TEST(Gate, AWaitingWorkerGetsABreathBetweenTwoHolds) {
  Gate gate;
  std::atomic<bool> stop{false};
  uint64_t breaths = 0;
  std::thread worker([&] {
    while (!stop.load()) {
      gate.enter();
      ++breaths;
      gate.leave();
    }
  });
  uint32_t passed = 0;
  constexpr uint32_t kRounds = 100;
  for (uint32_t i = 0; i < kRounds; ++i) {
    uint64_t before = 0;
    gate.hold([&] {
      before = breaths;
      // Long enough for the worker to find the gate closed, even on a busy machine; one that was
      // held up on its way here is not waiting yet, and has no claim.
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    });
    gate.hold([&] { passed += breaths != before ? 1 : 0; });
  }
  stop.store(true);
  worker.join();
  EXPECT_GT(passed, kRounds / 2);
}

TEST(Gate, TwoControlThreadsTakeTurns) {
  Gate gate;
  uint64_t shared = 0;
  const auto add = [&] {
    for (int i = 0; i < 20000; ++i) gate.hold([&] { ++shared; });
  };
  std::thread other(add);
  add();
  other.join();
  EXPECT_EQ(shared, 40000u);
}

}  // namespace
}  // namespace vrouter
