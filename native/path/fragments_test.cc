#include "path/fragments.h"

#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <random>
#include <vector>

#include "base/limits.h"

namespace vrouter {
namespace {

constexpr uint64_t kMs = 1'000'000;

FragmentKey key(uint32_t n) {
  FragmentKey k{};
  k.source[0] = 10;
  k.destination[0] = 11;
  k.identification = n;
  k.protocol = 17;
  k.family = Family::V4;
  return k;
}

// The table never looks inside a packet, so marks are enough.
struct Marks {
  std::vector<Packet> packets{4096};
  Packet* operator[](size_t i) { return &packets[i]; }
};

struct Ports {
  bool found;
  uint16_t source = 0;
  uint16_t destination = 0;
  bool operator==(const Ports&) const = default;
};
Ports find(FragmentTable& table, const FragmentKey& k, uint64_t now) {
  Ports ports{};
  ports.found = table.find(k, now, &ports.source, &ports.destination);
  return ports;
}

TEST(FragmentTable, LearnsForALimitedTime) {
  FragmentTable table(1);
  EXPECT_FALSE(find(table, key(1), 0).found);
  table.learn(key(1), 1000, 53, 5 * kMs);
  EXPECT_EQ(find(table, key(1), 5 * kMs), (Ports{true, 1000, 53}));
  EXPECT_FALSE(find(table, key(2), 5 * kMs).found);
  FragmentKey other_scope = key(1);
  other_scope.scope = 1;
  EXPECT_FALSE(find(table, other_scope, 5 * kMs).found);
  EXPECT_TRUE(find(table, key(1), 5 * kMs + kFragmentNs - 1).found);
  EXPECT_FALSE(find(table, key(1), 5 * kMs + kFragmentNs).found);
  EXPECT_TRUE(find(table, key(1), 0).found) << "a clock that went back a little expires nothing";
}

TEST(FragmentTable, LearningAgainReplacesAndRenews) {
  FragmentTable table(1);
  table.learn(key(1), 1, 2, 0);
  table.learn(key(1), 3, 4, kFragmentNs - 1);
  EXPECT_EQ(find(table, key(1), kFragmentNs), (Ports{true, 3, 4}));
}

TEST(FragmentTable, TheOldestLearnedMakesRoom) {
  FragmentTable table(7);
  for (uint32_t i = 0; i < kFragmentEntries; ++i) {
    table.learn(key(i), static_cast<uint16_t>(i), 9, i);
  }
  for (uint32_t i = 0; i < kFragmentEntries; ++i) {
    ASSERT_EQ(find(table, key(i), 10000), (Ports{true, static_cast<uint16_t>(i), 9})) << i;
  }
  table.learn(key(0), 5, 9, 10000);  // renewed: no longer the oldest
  for (uint32_t i = 0; i < 100; ++i) table.learn(key(1000000 + i), 1, 9, 10001);
  EXPECT_TRUE(find(table, key(0), 10001).found);
  for (uint32_t i = 1; i < kFragmentEntries; ++i) {
    ASSERT_EQ(find(table, key(i), 10001).found, i > 100) << i;
  }
}

TEST(FragmentTable, HeldComeBackInOrderOfArrival) {
  FragmentTable table(1);
  Marks marks;
  for (uint32_t i = 0; i < 30; ++i) ASSERT_TRUE(table.hold(key(i % 3), marks[i], i));
  EXPECT_EQ(table.held(), 30u);
  EXPECT_EQ(table.take_held(key(9)), nullptr);
  for (uint32_t k : {1u, 2u, 0u}) {
    for (uint32_t i = k; i < 30; i += 3) EXPECT_EQ(table.take_held(key(k)), marks[i]);
    EXPECT_EQ(table.take_held(key(k)), nullptr);
  }
  EXPECT_EQ(table.held(), 0u);
}

TEST(FragmentTable, HoldsNoMoreThanItsLimit) {
  for (const bool one_key : {true, false}) {
    FragmentTable table(1);
    Marks marks;
    const auto name = [&](uint32_t i) { return key(one_key ? 1 : i); };
    for (uint32_t i = 0; i < kFragmentHold; ++i) ASSERT_TRUE(table.hold(name(i), marks[i], i));
    EXPECT_FALSE(table.hold(name(5000), marks[0], 5000));
    EXPECT_EQ(table.held(), kFragmentHold);
    EXPECT_EQ(table.take_held(name(0)), marks[0]);
    EXPECT_TRUE(table.hold(name(5000), marks[2000], 5000));
    EXPECT_FALSE(table.hold(name(5001), marks[0], 5000));
  }
}

TEST(FragmentTable, ExpiredComeOldestFirst) {
  FragmentTable table(1);
  Marks marks;
  for (uint32_t i = 0; i < 10; ++i) ASSERT_TRUE(table.hold(key(i % 2), marks[i], i * kMs));
  EXPECT_EQ(table.take_expired(kFragmentNs - 1), nullptr);
  EXPECT_EQ(table.take_held(key(0)), marks[0]);
  const uint64_t now = kFragmentNs + 4 * kMs;
  for (uint32_t i : {1u, 2u, 3u, 4u}) EXPECT_EQ(table.take_expired(now), marks[i]);
  EXPECT_EQ(table.take_expired(now), nullptr);
  EXPECT_EQ(table.take_held(key(0)), marks[6]);
  EXPECT_EQ(table.take_held(key(1)), marks[5]);
  EXPECT_EQ(table.held(), 3u);
}

// The same rules without any bound on time or chains: maps and deques.
class NaiveTable {
 public:
  void learn(uint32_t k, uint16_t s, uint16_t d, uint64_t now) {
    for (auto i = learned_.begin(); i != learned_.end(); ++i) {
      if (i->key == k) {
        learned_.erase(i);
        break;
      }
    }
    if (learned_.size() == kFragmentEntries) learned_.pop_front();
    learned_.push_back({k, s, d, now});
  }
  Ports find(uint32_t k, uint64_t now) const {
    for (const Learned& l : learned_) {
      if (l.key == k && now - l.time < kFragmentNs) return {true, l.source, l.destination};
    }
    return {false, 0, 0};
  }
  bool hold(uint32_t k, Packet* p, uint64_t now) {
    if (held_.size() == kFragmentHold) return false;
    held_.push_back({k, p, now});
    return true;
  }
  Packet* take_held(uint32_t k) {
    for (auto i = held_.begin(); i != held_.end(); ++i) {
      if (i->key != k) continue;
      Packet* p = i->packet;
      held_.erase(i);
      return p;
    }
    return nullptr;
  }
  Packet* take_expired(uint64_t now) {
    if (held_.empty() || now - held_.front().time < kFragmentNs) return nullptr;
    Packet* p = held_.front().packet;
    held_.pop_front();
    return p;
  }
  size_t held() const { return held_.size(); }

 private:
  struct Learned {
    uint32_t key;
    uint16_t source;
    uint16_t destination;
    uint64_t time;
  };
  struct Held {
    uint32_t key;
    Packet* packet;
    uint64_t time;
  };
  std::deque<Learned> learned_;
  std::deque<Held> held_;
};

TEST(FragmentTable, EqualsNaive) {
  for (uint64_t seed : {1, 2, 3}) {
    FragmentTable table(seed);
    NaiveTable naive;
    Marks marks;
    std::mt19937_64 random(seed);
    uint64_t now = 0;
    int expired = 0;
    int refused = 0;
    for (int round = 0; round < 60000; ++round) {
      now += random() % (2 * kMs);
      const auto k = static_cast<uint32_t>(random() % 600);
      Packet* p = marks[random() % marks.packets.size()];
      switch (random() % 8) {
        case 0: {
          const auto ports = static_cast<uint16_t>(random());
          table.learn(key(k), ports, 1, now);
          naive.learn(k, ports, 1, now);
          break;
        }
        case 1:
          ASSERT_EQ(find(table, key(k), now), naive.find(k, now));
          break;
        case 2: {
          Packet* taken = table.take_expired(now);
          ASSERT_EQ(taken, naive.take_expired(now));
          expired += taken != nullptr ? 1 : 0;
          break;
        }
        case 3:
          ASSERT_EQ(table.take_held(key(k)), naive.take_held(k));
          break;
        default: {
          const bool held = table.hold(key(k), p, now);
          ASSERT_EQ(held, naive.hold(k, p, now));
          refused += held ? 0 : 1;
        }
      }
      ASSERT_EQ(table.held(), naive.held());
    }
    EXPECT_GT(expired, 100);
    EXPECT_GT(refused, 100);
  }
}

}  // namespace
}  // namespace vrouter
