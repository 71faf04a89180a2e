#include "state/ecmp.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <random>
#include <string>
#include <vector>

namespace vrouter {
namespace {

constexpr uint32_t kFlows = 100000;

struct Weighted {
  uint16_t member;
  uint16_t weight;
};

EcmpSet make_set(const std::vector<Weighted>& members) {
  EcmpSet set;
  uint16_t first = 0;
  for (const Weighted& w : members) {
    EcmpMember m;
    m.member = w.member;
    m.weight = w.weight;
    m.next_hop = 1000u + w.member;
    set.members.push_back(m);
    if (w.weight == 0) continue;
    if (first == 0) first = w.weight;
    if (w.weight != first) set.equal_weights = false;
  }
  render_choices(set);
  return set;
}

bool any(int) { return true; }

// Both ways of choosing, in every test.
uint16_t choose(const EcmpSet& set, uint64_t hash) {
  const int i = choose_member(set, hash, any);
  EXPECT_EQ(choose_among_all(set, hash), i) << "hash " << hash;
  return i < 0 ? kNoMember : set.members[static_cast<size_t>(i)].member;
}

std::map<uint16_t, uint32_t> shares(const EcmpSet& set, bool consecutive) {
  std::map<uint16_t, uint32_t> count;
  std::mt19937_64 random(7);
  for (uint32_t i = 0; i < kFlows; ++i) ++count[choose(set, consecutive ? i : random())];
  return count;
}

TEST(Ecmp, RemovalMovesOnlyTheFlowsOfTheRemoved) {
  for (const bool equal : {true, false}) {
    std::vector<Weighted> members;
    for (uint16_t i = 0; i < 12; ++i) {
      members.push_back(
          {static_cast<uint16_t>(i * 37 + 5), static_cast<uint16_t>(equal ? 3 : 1 + i * i)});
    }
    const EcmpSet before = make_set(members);
    ASSERT_EQ(before.equal_weights, equal);
    for (size_t gone = 0; gone < members.size(); ++gone) {
      std::vector<Weighted> left = members;
      left.erase(left.begin() + static_cast<long>(gone));
      const EcmpSet after = make_set(left);
      std::mt19937_64 random(gone);
      uint32_t moved = 0;
      for (uint32_t i = 0; i < kFlows / 5; ++i) {
        const uint64_t hash = random();
        const uint16_t was = choose(before, hash);
        const uint16_t is = choose(after, hash);
        if (was == members[gone].member) {
          ++moved;
          ASSERT_NE(is, was);
        } else {
          ASSERT_EQ(is, was);
        }
        // Seen backwards this is an addition: whatever moves, moves to the new one.
        if (is != was) {
          ASSERT_EQ(was, members[gone].member);
        }
      }
      EXPECT_GT(moved, 0u);
    }
  }
}

// The last odd weight leaves and the set is chosen from in the other way: still nothing else moves.
TEST(Ecmp, EqualAndUnequalWeightsAgree) {
  std::vector<Weighted> members;
  for (uint16_t i = 0; i < 9; ++i) members.push_back({i, 10});
  const EcmpSet equal = make_set(members);
  members.push_back({9, 11});
  const EcmpSet unequal = make_set(members);
  ASSERT_TRUE(equal.equal_weights);
  ASSERT_FALSE(unequal.equal_weights);
  std::mt19937_64 random(3);
  for (uint32_t i = 0; i < kFlows; ++i) {
    const uint64_t hash = random();
    const uint16_t was = choose(unequal, hash);
    if (was != 9) {
      ASSERT_EQ(choose(equal, hash), was);
    }
  }
  EcmpSet forced = equal;  // the same members, by score
  forced.equal_weights = false;
  for (uint32_t i = 0; i < kFlows; ++i) {
    const uint64_t hash = random();
    ASSERT_EQ(choose(equal, hash), choose(forced, hash));
  }
}

TEST(Ecmp, RaisingAWeightMovesFlowsOnlyToThatMember) {
  const EcmpSet before = make_set({{1, 10}, {2, 20}, {3, 30}});
  const EcmpSet after = make_set({{1, 25}, {2, 20}, {3, 30}});
  std::mt19937_64 random(4);
  uint32_t moved = 0;
  for (uint32_t i = 0; i < kFlows; ++i) {
    const uint64_t hash = random();
    const uint16_t was = choose(before, hash);
    const uint16_t is = choose(after, hash);
    if (is == was) continue;
    ASSERT_EQ(is, 1);
    ++moved;
  }
  // From 10/60 to 25/75.
  EXPECT_NEAR(moved, kFlows / 6.0, kFlows * 0.01);
}

TEST(Ecmp, SharesFollowWeights) {
  const std::vector<std::vector<Weighted>> sets = {
      {{1, 1}, {2, 1}},
      {{0, 1}, {1, 1}, {2, 1}, {3, 1}, {4, 1}, {5, 1}, {6, 1}, {7, 1}},
      {{1, 1}, {2, 2}},
      {{10, 1}, {20, 2}, {30, 3}, {40, 4}},
      {{1, 1}, {2, 9}},
      {{1, 65535}, {2, 65535}, {3, 32768}},
      {{0, 100}, {65534, 300}, {7, 600}},
  };
  for (const auto& members : sets) {
    const EcmpSet set = make_set(members);
    double sum = 0;
    for (const Weighted& w : members) sum += w.weight;
    for (const bool consecutive : {true, false}) {
      auto count = shares(set, consecutive);
      for (const Weighted& w : members) {
        const double expected = w.weight / sum * kFlows;
        // 2 % of all flows is the promise; four standard deviations are what a fair dice allows.
        const double deviation = std::sqrt(expected * (1 - w.weight / sum));
        EXPECT_NEAR(count[w.member], expected, std::min(kFlows * 0.02, 4 * deviation))
            << "member " << w.member << " of " << members.size();
      }
    }
  }
}

TEST(Ecmp, ManyMembersGetTheirShare) {
  std::vector<Weighted> members;
  double sum = 0;
  for (uint16_t i = 0; i < 256; ++i) {
    members.push_back({i, static_cast<uint16_t>(1 + i % 4)});
    sum += members.back().weight;
  }
  auto count = shares(make_set(members), true);
  for (const Weighted& w : members) {
    const double expected = w.weight / sum * kFlows;
    EXPECT_NEAR(count[w.member], expected, 5 * std::sqrt(expected));
  }
}

TEST(Ecmp, WeightZeroGetsNothing) {
  const EcmpSet set = make_set({{1, 0}, {2, 5}, {3, 5}});
  EXPECT_TRUE(set.equal_weights);
  auto count = shares(set, false);
  EXPECT_EQ(count[1], 0u);
  EXPECT_GT(count[2], 0u);
  EXPECT_EQ(choose(make_set({{1, 0}, {2, 0}}), 99), kNoMember);
  EXPECT_EQ(choose(EcmpSet{}, 99), kNoMember);
}

TEST(Ecmp, DrainingMovesOnlyTheFlowsOfTheDrained) {
  const EcmpSet before = make_set({{1, 4}, {2, 5}, {3, 6}});
  const EcmpSet after = make_set({{1, 4}, {2, 0}, {3, 6}});
  std::mt19937_64 random(5);
  for (uint32_t i = 0; i < kFlows / 5; ++i) {
    const uint64_t hash = random();
    const uint16_t was = choose(before, hash);
    if (was != 2) {
      ASSERT_EQ(choose(after, hash), was);
    }
  }
}

TEST(Ecmp, OrderDoesNotMatter) {
  for (const bool equal : {true, false}) {
    std::vector<Weighted> members;
    for (uint16_t i = 0; i < 20; ++i) {
      members.push_back({i, static_cast<uint16_t>(equal ? 1 : 1 + i % 5)});
    }
    const EcmpSet sorted = make_set(members);
    std::mt19937_64 random(6);
    for (uint32_t round = 0; round < 5; ++round) {
      std::shuffle(members.begin(), members.end(), random);
      const EcmpSet shuffled = make_set(members);
      for (uint32_t i = 0; i < 5000; ++i) {
        const uint64_t hash = random();
        ASSERT_EQ(choose(sorted, hash), choose(shuffled, hash));
      }
    }
  }
}

TEST(Ecmp, UnusableMembersArePassedOverAndOnlyTheirFlowsMove) {
  const EcmpSet set = make_set({{1, 1}, {2, 2}, {3, 3}});
  std::mt19937_64 random(8);
  for (uint32_t i = 0; i < kFlows / 5; ++i) {
    const uint64_t hash = random();
    const int was = choose_member(set, hash, any);
    const int is = choose_member(set, hash, [](int position) { return position != 1; });
    ASSERT_NE(is, 1);
    if (was != 1) {
      ASSERT_EQ(is, was);
    }
  }
  EXPECT_EQ(choose_member(set, 1, [](int) { return false; }), -1);
}

TEST(Ecmp, ScoreNeverFallsWithTheHash) {
  std::mt19937_64 random(9);
  std::vector<uint64_t> hashes = {0, 1, 2, 3, ~0ull, ~0ull - 1, 1ull << 63, (1ull << 63) - 1};
  for (uint32_t shift = 0; shift < 64; ++shift) {
    for (uint32_t i = 0; i < 200; ++i) {
      const uint64_t h = random() >> shift;
      hashes.insert(hashes.end(), {h, h + 1, h - 1, h + (1ull << 40)});
    }
  }
  std::sort(hashes.begin(), hashes.end());
  for (const uint16_t weight : {1, 2, 1000, 65535}) {
    for (size_t i = 1; i < hashes.size(); ++i) {
      ASSERT_LE(member_score(hashes[i - 1], weight), member_score(hashes[i], weight));
    }
  }
}

// Against the real logarithm.
TEST(Ecmp, ScoreIsWeightOverLogarithm) {
  std::mt19937_64 random(10);
  for (uint32_t i = 0; i < kFlows; ++i) {
    const uint64_t hash = random();
    const uint16_t weight = static_cast<uint16_t>(1 + random() % 1000);
    const double time = 64 - std::log2(static_cast<double>(hash));
    if (time < 0.001) continue;  // there the table's absolute error is no longer small beside it
    const double expected = weight / time * std::ldexp(1.0, 22);
    ASSERT_NEAR(static_cast<double>(member_score(hash, weight)) / expected, 1.0, 0.005);
  }
}

// Replays and other machines must choose the same.
TEST(Ecmp, GoldenValues) {
  EXPECT_EQ(member_score(1ull << 63, 1), 1ull << 22);
  EXPECT_EQ(member_score(1ull << 62, 3), 3ull << 21);
  EXPECT_EQ(member_score(~0ull, 65535), 65535ull << 48);
  const EcmpSet set = make_set({{1, 1}, {2, 2}, {3, 3}});
  std::string chosen;
  for (uint64_t hash = 0; hash < 32; ++hash) chosen += static_cast<char>('0' + choose(set, hash));
  EXPECT_EQ(chosen, "22233321333331133333333231233223");
}

TEST(Ecmp, FindsMembersById) {
  const EcmpSet set = make_set({{7, 1}, {3, 0}, {kNoMember - 1, 2}});
  EXPECT_EQ(find_member(set, 7), 0);
  EXPECT_EQ(find_member(set, 3), 1);
  EXPECT_EQ(find_member(set, kNoMember - 1), 2);
  EXPECT_EQ(find_member(set, 4), -1);
  EXPECT_EQ(find_member(set, kNoMember), -1);
}

}  // namespace
}  // namespace vrouter
