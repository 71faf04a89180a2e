#include "worker/pace.h"

#include <gtest/gtest.h>

namespace vrouter {
namespace {

using Next = Pace::Next;
constexpr uint64_t kUs = 1000;

TEST(Pace, LooksAWhileAndSleepsThen) {
  Pace pace({100});
  EXPECT_EQ(pace.after(500 * kUs, 8), Next::Again);
  EXPECT_EQ(pace.after(501 * kUs, 0), Next::Yield);
  EXPECT_EQ(pace.after(599 * kUs, 0), Next::Yield);
  EXPECT_EQ(pace.after(600 * kUs, 0), Next::Sleep);
  EXPECT_EQ(pace.after(601 * kUs, 0), Next::Sleep);
}

TEST(Pace, AFewFramesGiveTheProcessorAwayAFloodDoesNot) {
  Pace pace({100});
  EXPECT_EQ(pace.after(500 * kUs, 1), Next::Yield);
  EXPECT_EQ(pace.after(501 * kUs, 3), Next::Yield);
  EXPECT_EQ(pace.after(502 * kUs, 4), Next::Again);
  EXPECT_EQ(pace.after(503 * kUs, 256), Next::Again);
  EXPECT_EQ(pace.after(602 * kUs, 0), Next::Yield);  // the last frame counts, however few
  EXPECT_EQ(pace.after(604 * kUs, 0), Next::Sleep);
}

TEST(Pace, WithoutALookItSleepsAtOnce) {
  Pace pace({0});
  EXPECT_EQ(pace.after(500 * kUs, 1), Next::Yield);
  EXPECT_EQ(pace.after(500 * kUs, 0), Next::Sleep);
}

}  // namespace
}  // namespace vrouter
