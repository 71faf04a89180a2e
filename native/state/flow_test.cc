#include "state/flow.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cstdio>
#include <functional>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "base/limits.h"

namespace vrouter {
namespace {

using Random = std::mt19937_64;

constexpr uint64_t kSeed = 0x1234;
constexpr uint8_t kFin = 0x01, kSyn = 0x02, kRst = 0x04, kPsh = 0x08, kAck = 0x10;

struct KeyOrder {
  bool operator()(const FlowKey& a, const FlowKey& b) const {
    return std::memcmp(&a, &b, sizeof a) < 0;
  }
};

FlowKey make_key(uint32_t number, Family family = Family::V4, uint8_t protocol = 17) {
  FlowKey key{};
  const uint32_t size = family == Family::V4 ? 4 : 16;
  key.source[0] = key.destination[0] = family == Family::V4 ? 10 : 0xfd;
  key.source[size - 1] = static_cast<uint8_t>(number);
  key.source[size - 2] = static_cast<uint8_t>(number >> 8);
  key.source[size - 3] = static_cast<uint8_t>(number >> 16);
  key.destination[size - 1] = 1;
  key.source_port = static_cast<uint16_t>(1024 + number % 7);
  key.destination_port = 53;
  key.scope = 9;
  key.protocol = protocol;
  key.family = family;
  return key;
}

FlowKey reversed(const FlowKey& key, uint32_t scope = 10) {
  FlowKey r = key;
  std::memcpy(r.source, key.destination, 16);
  std::memcpy(r.destination, key.source, 16);
  r.source_port = key.destination_port;
  r.destination_port = key.source_port;
  r.scope = scope;
  return r;
}

FlowTable::Pair insert(FlowTable& table, const FlowKey& key, uint32_t now) {
  const FlowTable::Pair pair = table.insert(key, reversed(key), now);
  if (pair.result == FlowInsert::Ok) {
    table[pair.forward].action = table[pair.reverse].action = FlowAction::Forward;
  }
  return pair;
}

FlowId find(const FlowTable& table, const FlowKey& key) { return table.find(key, table.hash(key)); }

// --- one entry -----------------------------------------------------------------------------------

TEST(Flow, KeyIsReconstructedAndMatchedInBothFamilies) {
  Random random(1);
  FlowTable table(1024, kSeed);
  for (const Family family : {Family::V4, Family::V6}) {
    for (uint32_t round = 0; round < 50; ++round) {
      FlowKey key{};
      const uint32_t size = family == Family::V4 ? 4 : 16;
      for (uint32_t i = 0; i < size; ++i) {
        key.source[i] = static_cast<uint8_t>(random());
        key.destination[i] = static_cast<uint8_t>(random());
      }
      key.source_port = static_cast<uint16_t>(random());
      key.destination_port = static_cast<uint16_t>(random());
      key.scope = static_cast<uint32_t>(random());
      key.protocol = static_cast<uint8_t>(random());
      key.family = family;
      const auto pair = insert(table, key, 0);
      ASSERT_EQ(pair.result, FlowInsert::Ok);
      EXPECT_TRUE(table.half(pair.forward).key() == key);
      EXPECT_TRUE(table.half(pair.reverse).key() == reversed(key));
      EXPECT_TRUE(table.half(pair.forward).matches(key));
      EXPECT_FALSE(table.half(pair.reverse).matches(key));
      // Every bit that is part of the key matters.
      for (uint32_t n = 0; n < sizeof key * 8; ++n) {
        FlowKey other = key;
        uint8_t* bytes = reinterpret_cast<uint8_t*>(&other);
        bytes[n / 8] ^= static_cast<uint8_t>(1u << n % 8);
        if (other.zero != 0) continue;
        const bool address = n / 8 < 32;
        if (address && family == Family::V4 && n / 8 % 16 >= 4) continue;  // zero by contract
        EXPECT_FALSE(table.half(pair.forward).matches(other)) << "bit " << n;
        EXPECT_NE(table.hash(other), table.hash(key)) << "bit " << n;
        EXPECT_FALSE(find(table, other).valid()) << "bit " << n;
      }
      table.erase(pair.reverse);
    }
  }
}

TEST(Flow, SameAddressBytesInTwoFamiliesAreTwoFlows) {
  FlowTable table(1024, kSeed);
  FlowKey four = make_key(5, Family::V4);
  FlowKey six = four;
  six.family = Family::V6;
  const auto a = insert(table, four, 0);
  const auto b = insert(table, six, 0);
  ASSERT_EQ(a.result, FlowInsert::Ok);
  ASSERT_EQ(b.result, FlowInsert::Ok);
  EXPECT_EQ(find(table, four), a.forward);
  EXPECT_EQ(find(table, six), b.forward);
}

// --- timeouts ------------------------------------------------------------------------------------

TEST(FlowTimeouts, DefaultsAndOverrides) {
  FlowTimeouts t;
  EXPECT_EQ(t.ms[6][0], 30000u);
  EXPECT_EQ(t.ms[6][1], 7440000u);
  EXPECT_EQ(t.ms[6][2], 5000u);
  EXPECT_EQ(t.ms[17][1], 180000u);
  EXPECT_EQ(t.ms[1][1], 60000u);
  EXPECT_EQ(t.ms[58][0], 10000u);
  EXPECT_EQ(t.ms[132][1], 7440000u);
  EXPECT_EQ(t.ms[47][0], 60000u);
  t.set(47, 0, 5);
  t.set(0, 0, 7);
  t.set(0, 3, 7);  // no such state
  EXPECT_EQ(t.ms[47][0], 5000u);
  EXPECT_EQ(t.ms[47][1], 180000u);
  EXPECT_EQ(t.ms[50][0], 7000u);
  EXPECT_EQ(t.ms[6][0], 30000u);
  t.set(6, 1, 0);
  EXPECT_EQ(t.ms[6][1], 1000u);
  t.set(6, 1, ~0u);
  EXPECT_EQ(t.ms[6][1], FlowTimeouts::kMaxSeconds * 1000u);
}

// --- insert and erase
// ------------------------------------------------------------------------------

TEST(FlowTable, RoundsItsSize) {
  EXPECT_EQ(FlowTable(0, kSeed).capacity(), 1024u);
  EXPECT_EQ(FlowTable(1025, kSeed).capacity(), 2048u);
  FlowTable table(2048, kSeed);
  EXPECT_EQ(table.capacity(), 2048u);
  EXPECT_TRUE(table.ok());
  EXPECT_EQ(table.bytes(), 2048u * 91);
}

uint64_t resident_bytes() {
  unsigned long size = 0, resident = 0;
  FILE* file = std::fopen("/proc/self/statm", "r");
  if (file == nullptr) return 0;
  if (std::fscanf(file, "%lu %lu", &size, &resident) != 2) resident = 0;
  std::fclose(file);
  return resident * 4096;
}

TEST(FlowTable, LargestTableTouchesNoMemoryUntilUsed) {
  const uint64_t before = resident_bytes();
  FlowTable table(~0u, kSeed);
  ASSERT_TRUE(table.ok());
  EXPECT_EQ(table.capacity(), kMaxFlows);
  EXPECT_EQ(insert(table, make_key(1), 0).result, FlowInsert::Ok);
  EXPECT_TRUE(find(table, make_key(1)).valid());
  EXPECT_LT(resident_bytes(), before + (64u << 20));
}

TEST(FlowTable, SaysWhenThereIsNoMemory) {
  rlimit old{};
  ASSERT_EQ(getrlimit(RLIMIT_AS, &old), 0);
  rlimit low = old;
  low.rlim_cur = 256u << 20;
  ASSERT_EQ(setrlimit(RLIMIT_AS, &low), 0);
  {
    FlowTable table(kMaxFlows, kSeed);
    EXPECT_FALSE(table.ok());
    EXPECT_EQ(table.bytes(), 0u);
    EXPECT_FALSE(table.valid(FlowId{0}));
  }
  setrlimit(RLIMIT_AS, &old);
}

TEST(FlowTable, PairsNameEachOther) {
  FlowTable table(1024, kSeed);
  const FlowKey key = make_key(1);
  const auto pair = table.insert(key, reversed(key), 77);
  ASSERT_EQ(pair.result, FlowInsert::Ok);
  const Flow& f = table[pair.forward];
  const Flow& r = table[pair.reverse];
  EXPECT_EQ(table.reverse(pair.forward), pair.reverse);
  EXPECT_EQ(table.reverse(pair.reverse), pair.forward);
  EXPECT_EQ(f.flags, kFlowInUse | kFlowInitiator);
  EXPECT_EQ(r.flags, kFlowInUse);
  EXPECT_EQ(f.last_seen, 77u);
  EXPECT_EQ(r.last_seen, 77u);
  EXPECT_EQ(table.half(pair.forward).packets(), 0u);
  EXPECT_EQ(f.generation, 0u);
  EXPECT_EQ(table.used(), 2u);
  EXPECT_EQ(find(table, key), pair.forward);
  EXPECT_EQ(find(table, reversed(key)), pair.reverse);
  table.prefetch_bucket(table.hash(key));
  table.prefetch_candidate(table.hash(key));
  table.erase(pair.reverse);
  EXPECT_FALSE(table.valid(pair.forward));
  EXPECT_FALSE(find(table, key).valid());
  EXPECT_FALSE(find(table, reversed(key)).valid());
  EXPECT_EQ(table.used(), 0u);
  EXPECT_EQ(table.created(), 2u);
  EXPECT_EQ(table.deleted(), 2u);
  EXPECT_EQ(table.evicted(), 0u);
  table.erase(pair.forward);  // gone already
  table.erase(FlowId{});
  EXPECT_EQ(table.deleted(), 2u);
}

TEST(FlowTable, RefusesKeysThatAreTaken) {
  FlowTable table(1024, kSeed);
  const FlowKey a = make_key(1);
  const FlowKey b = make_key(2);
  const auto first = table.insert(a, reversed(a), 0);
  // The same connection again, and the connection from its other end.
  const auto again = table.insert(a, reversed(b), 0);
  EXPECT_EQ(again.result, FlowInsert::Exists);
  EXPECT_EQ(again.forward, first.forward);
  EXPECT_EQ(again.reverse, first.reverse);
  const auto backwards = table.insert(reversed(a), a, 0);
  EXPECT_EQ(backwards.result, FlowInsert::Exists);
  EXPECT_EQ(backwards.forward, first.reverse);
  EXPECT_EQ(backwards.reverse, first.forward);
  // Another connection that would be answered by the same key.
  const auto clash = table.insert(b, reversed(a), 0);
  EXPECT_EQ(clash.result, FlowInsert::Exists);
  EXPECT_FALSE(clash.forward.valid());
  EXPECT_EQ(clash.reverse, first.reverse);
  EXPECT_FALSE(find(table, b).valid());
  const auto self = table.insert(b, b, 0);
  EXPECT_EQ(self.result, FlowInsert::SameKey);
  EXPECT_FALSE(self.forward.valid());
  EXPECT_FALSE(find(table, b).valid());
  EXPECT_EQ(table.used(), 2u);
}

TEST(FlowTable, CountsTheUsesOfASlotAndLeavesNothingElse) {
  FlowTable table(1024, kSeed);
  const FlowKey key = make_key(1, Family::V6);
  const auto first = table.insert(key, reversed(key), 0);
  EXPECT_EQ(table.cold(first.forward).generation_id(), 1);
  count_packet(table.half(first.forward), 60);
  table.cold(first.forward).count(5, 5);
  table[first.forward].tcp = kTcpSyn;
  table[first.forward].set_path(3, 4, 16, true);
  table.erase(first.forward);
  const auto second = table.insert(key, reversed(key), 0);
  ASSERT_EQ(second.forward, first.forward);
  EXPECT_EQ(table.cold(second.forward).generation_id(), 2);
  EXPECT_EQ(table.half(second.forward).packets(), 0u);
  EXPECT_EQ(table.half(second.forward).bytes(), 0u);
  EXPECT_EQ(table[second.forward].tcp, 0);
  EXPECT_EQ(table[second.forward].path, 0u);
}

TEST(FlowTable, FillsToNineTenthsBeforeAnyoneMustGo) {
  for (const uint64_t seed : {1u, 2u, 3u}) {
    FlowTable table(1u << 16, seed);
    uint32_t n = 0;
    while (insert(table, make_key(n), 0).result == FlowInsert::Ok) ++n;
    EXPECT_GT(table.used(), table.capacity() / 10 * 9);
    EXPECT_EQ(table.evicted(), 0u);
    EXPECT_EQ(table.used(), 2 * n);
    for (uint32_t i = 0; i < n; ++i) {
      ASSERT_TRUE(find(table, make_key(i)).valid());
      ASSERT_TRUE(find(table, reversed(make_key(i))).valid());
    }
    // Neither half of the one that did not fit.
    EXPECT_FALSE(find(table, make_key(n)).valid());
    EXPECT_FALSE(find(table, reversed(make_key(n))).valid());
  }
}

// A pair for which only one slot is left must give that slot back.
TEST(FlowTable, FillsToTheLastSlot) {
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    FlowTable table(1024, seed);
    for (uint32_t n = 0; n < 200000 && table.used() < table.capacity(); ++n) {
      insert(table, make_key(n), 0);
    }
    EXPECT_EQ(table.used(), table.capacity());
  }
}

// --- eviction ------------------------------------------------------------------------------------

struct Gone {
  FlowTable& table;
  std::vector<uint32_t> numbers;  // by make_key
  explicit Gone(FlowTable& t) : table(t) {
    table.on_erase(
        [](void* context, FlowId forward, FlowId reverse) {
          Gone& self = *static_cast<Gone*>(context);
          const Flow& f = self.table[forward];
          const Flow& r = self.table[reverse];
          ASSERT_TRUE(f.in_use() && r.in_use());
          ASSERT_NE(f.flags & kFlowInitiator, 0);
          ASSERT_EQ(r.flags & kFlowInitiator, 0);
          ASSERT_EQ(self.table.reverse(forward), reverse);
          ASSERT_EQ(self.table.reverse(reverse), forward);
          const FlowKey key = self.table.half(forward).key();
          self.numbers.push_back(uint32_t{key.source[1]} << 16 | uint32_t{key.source[2]} << 8 |
                                 key.source[3]);
        },
        this);
  }
};

// Fills a table and gives pair i the state that `shape` writes; then inserts until `wanted` pairs
// have been evicted, or nothing fits. Returns the numbers of the evicted.
std::vector<uint32_t> evicted(uint32_t wanted, uint32_t now,
                              const std::function<void(uint32_t, Flow&, Flow&)>& shape) {
  FlowTable table(2048, kSeed);
  uint32_t n = 0;
  for (uint32_t failed = 0; failed < 200; ++n) {
    if (insert(table, make_key(n), now).result != FlowInsert::Ok) ++failed;
  }
  for (uint32_t i = 0; i < n; ++i) {
    const FlowId id = find(table, make_key(i));
    if (!id.valid()) continue;
    shape(i, table[id], table[table.reverse(id)]);
  }
  Gone gone(table);
  for (uint32_t tries = 0; gone.numbers.size() < wanted && tries < 1000; ++tries, ++n) {
    const auto pair = insert(table, make_key(n), now);
    // What is new is in use now; it must not be thrown out in its turn.
    if (pair.result == FlowInsert::Ok) {
      EXPECT_TRUE(find(table, make_key(n)).valid());
    }
  }
  EXPECT_EQ(table.evicted(), 2 * gone.numbers.size());
  EXPECT_EQ(table.used(), table.created() - table.deleted());
  return gone.numbers;
}

void seen(Flow& f, Flow& r, uint32_t at) { f.last_seen = r.last_seen = at; }
void establish(Flow& f, Flow& r) {
  f.flags |= kFlowReplied;
  r.flags |= kFlowReplied;
}

TEST(FlowTable, ActiveFlowsAreNeverEvicted) {
  const uint32_t now = 1000000;
  EXPECT_TRUE(evicted(1, now, [&](uint32_t i, Flow& f, Flow& r) {
                if (i % 2 != 0) establish(f, r);
                seen(f, r, now - kMinIdleMs);
              }).empty());
  // One active half is enough.
  EXPECT_TRUE(evicted(1, now, [&](uint32_t i, Flow& f, Flow& r) {
                establish(f, r);
                seen(f, r, now - 500000);
                (i % 2 != 0 ? f : r).last_seen = now;
              }).empty());
}

TEST(FlowTable, EvictsClosedThenExpiredThenUnfinishedThenIdleEstablished) {
  const uint32_t now = 1000000;
  // Kinds of pairs in order of eviction; from each round the first kind is missing.
  enum Kind : uint32_t { kClosed, kExpired, kUnfinished, kIdle, kActive };
  for (uint32_t first = kClosed; first <= kIdle; ++first) {
    const auto kind_of = [&](uint32_t i) { return first + i % (kActive + 1 - first); };
    const auto numbers = evicted(5, now, [&](uint32_t i, Flow& f, Flow& r) {
      switch (kind_of(i)) {
        case kClosed:
          establish(f, r);
          f.flags |= kFlowEvictable;
          r.flags |= kFlowEvictable;
          seen(f, r, now);
          break;
        case kExpired:
          establish(f, r);
          seen(f, r, now - 180000);
          break;
        case kUnfinished:
          seen(f, r, now - 2000);
          break;
        case kIdle:
          establish(f, r);
          seen(f, r, now - 170000);
          break;
        default:
          establish(f, r);
          seen(f, r, now - 900);
          break;
      }
    });
    ASSERT_GE(numbers.size(), 5u);
    for (const uint32_t n : numbers) EXPECT_EQ(kind_of(n), first);
  }
}

TEST(FlowTable, EvictsTheLeastRecentlySeen) {
  const uint32_t now = 1000000;
  for (const bool established : {false, true}) {
    const auto numbers = evicted(5, now, [&](uint32_t i, Flow& f, Flow& r) {
      if (established) establish(f, r);
      seen(f, r, i % 2 != 0 ? now - 20000 : now - 5000);
      if (i % 4 == 0) f.last_seen = now - 25000;  // its other half has been seen since
    });
    ASSERT_GE(numbers.size(), 5u);
    for (const uint32_t n : numbers) EXPECT_EQ(n % 2, 1u);
  }
}

TEST(FlowTable, EvictionGoesByTheTimeoutsGiven) {
  FlowTimeouts timeouts;
  timeouts.set(17, 1, 2);
  FlowTable table(1024, kSeed);
  table.use_timeouts(&timeouts);
  uint32_t n = 0;
  for (uint32_t failed = 0; failed < 100; ++n) {
    if (insert(table, make_key(n), 0).result != FlowInsert::Ok) ++failed;
  }
  // Even ones: established and past 2 s. Odd ones: unfinished, idle longer, not past 30 s.
  for (uint32_t i = 0; i < n; ++i) {
    const FlowId id = find(table, make_key(i));
    if (!id.valid()) continue;
    Flow& f = table[id];
    Flow& r = table[table.reverse(id)];
    if (i % 2 == 0) establish(f, r);
    seen(f, r, i % 2 == 0 ? 7000 : 0);
  }
  Gone gone(table);
  for (uint32_t tries = 0; gone.numbers.size() < 5 && tries < 500; ++tries) {
    insert(table, make_key(n++), 9500);
  }
  ASSERT_GE(gone.numbers.size(), 5u);
  for (const uint32_t number : gone.numbers) EXPECT_EQ(number % 2, 0u);
}

// --- ageing --------------------------------------------------------------------------------------

TEST(FlowTable, AgesAPairWhenBothHalvesAreIdle) {
  const FlowTimeouts timeouts;
  FlowTable table(1024, kSeed);
  const auto pair = insert(table, make_key(1), 0);
  table[pair.reverse].last_seen = 10000;
  EXPECT_EQ(table.age(39999, 1024, timeouts), 0u);
  EXPECT_EQ(table.age(40000, 1024, timeouts), 1u);
  EXPECT_EQ(table.used(), 0u);

  const auto replied = insert(table, make_key(1), 0);
  table[replied.reverse].flags |= kFlowReplied;  // either half's word is enough
  EXPECT_EQ(table.age(179999, 1024, timeouts), 0u);
  EXPECT_EQ(table.age(180000, 1024, timeouts), 1u);

  const auto denied = table.insert(make_key(1), reversed(make_key(1)), 0);
  table[denied.reverse].flags |= kFlowReplied;
  ASSERT_EQ(table[denied.forward].action, FlowAction::Drop);
  EXPECT_EQ(table.age(30000, 1024, timeouts), 1u) << "what is dropped is not established";
}

TEST(FlowTable, AgesAcrossTheWrapOfTheClock) {
  const FlowTimeouts timeouts;
  const uint32_t start = 0u - 10000;
  FlowTable table(1024, kSeed);
  insert(table, make_key(1), start);
  EXPECT_EQ(table.age(start + 29999, 1024, timeouts), 0u);
  EXPECT_EQ(table.age(start + 30000, 1024, timeouts), 1u);
  // Seen a moment after the clock that ageing is told.
  insert(table, make_key(1), 5);
  EXPECT_EQ(table.age(0u - 5, 1024, timeouts), 0u);
  EXPECT_EQ(table.used(), 2u);
}

TEST(FlowTable, AgesALittleAtATime) {
  const FlowTimeouts timeouts;
  FlowTable table(1024, kSeed);
  for (uint32_t i = 0; i < 300; ++i) insert(table, make_key(i), 0);
  uint32_t erased = 0;
  uint32_t most = 0;
  for (uint32_t round = 0; round * 7 < 1024; ++round) {
    const uint32_t now = table.age(60000, 7, timeouts);
    erased += now;
    most = std::max(most, now);
  }
  EXPECT_EQ(erased, 300u);
  EXPECT_LE(most, 7u);
  EXPECT_EQ(table.used(), 0u);
  EXPECT_EQ(table.age(60000, 0, timeouts), 0u);
  EXPECT_EQ(table.age(60000, ~0u, timeouts), 0u);
}

// --- the naive twin ------------------------------------------------------------------------------

struct TwinPair {
  FlowKey forward;
  FlowKey reverse;
  uint32_t last_seen[2];
  bool replied = false;
  bool closed = false;
};

struct Twin {
  explicit Twin(FlowTable& t) : table(t) {
    table.on_erase(
        [](void* context, FlowId forward, FlowId) {
          Twin& self = *static_cast<Twin*>(context);
          const auto at = self.pairs.find(self.by_key.at(self.table.half(forward).key()));
          ASSERT_NE(at, self.pairs.end());
          ASSERT_TRUE(self.table.half(forward).key() == at->second.forward);
          if (self.evicting) {
            // Whoever made room was closed or idle.
            ASSERT_TRUE(at->second.closed || self.idle(at->second) > kMinIdleMs);
          }
          self.by_key.erase(at->second.forward);
          self.by_key.erase(at->second.reverse);
          self.pairs.erase(at);
        },
        this);
  }
  uint32_t idle(const TwinPair& p) const {
    return std::min(now - p.last_seen[0], now - p.last_seen[1]);
  }
  bool expired(const TwinPair& p, const FlowTimeouts& timeouts) const {
    return idle(p) >= timeouts.ms[p.forward.protocol][p.replied ? 1 : 0];
  }

  FlowTable& table;
  uint32_t now = 0;
  bool evicting = false;
  uint32_t next = 0;
  std::map<FlowKey, uint32_t, KeyOrder> by_key;
  std::map<uint32_t, TwinPair> pairs;
};

void against_twin(uint64_t seed, uint32_t keys, uint32_t tick, bool expect_full) {
  Random random(seed);
  FlowTimeouts timeouts;
  timeouts.set(17, 1, 60);
  FlowTable table(1024, seed);
  table.use_timeouts(&timeouts);
  Twin twin(table);
  twin.now = 0u - 50000;  // the clock wraps on the way
  uint32_t full = 0;
  const auto some_key = [&] {
    const uint32_t n = static_cast<uint32_t>(random() % keys);
    const FlowKey key = make_key(n, n % 3 == 0 ? Family::V6 : Family::V4, n % 2 == 0 ? 17 : 47);
    return random() % 4 == 0 ? reversed(key) : key;
  };
  for (uint32_t step = 0; step < 60000; ++step) {
    twin.now += static_cast<uint32_t>(random() % tick);
    const uint32_t what = static_cast<uint32_t>(random() % 16);
    const FlowKey key = some_key();
    const auto known = twin.by_key.find(key);
    const FlowId id = find(table, key);
    ASSERT_EQ(id.valid(), known != twin.by_key.end());
    if (id.valid()) {
      ASSERT_TRUE(table.half(id).key() == key);
    }
    if (what < 8) {
      // Usually the plain way back; sometimes somebody else's (translated) one.
      const FlowKey back = random() % 8 == 0 ? some_key() : reversed(key, key.scope == 9 ? 10 : 9);
      const bool clash = known != twin.by_key.end() || twin.by_key.count(back) != 0;
      const bool same = key == back;
      twin.evicting = true;
      const auto pair = table.insert(key, back, twin.now);
      twin.evicting = false;
      if (same) {
        ASSERT_EQ(pair.result, FlowInsert::SameKey);
      } else if (clash) {
        ASSERT_EQ(pair.result, FlowInsert::Exists);
        ASSERT_EQ(pair.forward, id);
      } else if (pair.result == FlowInsert::Full) {
        ++full;
        ASSERT_GT(table.used(), 512u);
      } else {
        ASSERT_EQ(pair.result, FlowInsert::Ok);
        table[pair.forward].action = table[pair.reverse].action = FlowAction::Forward;
        twin.pairs[twin.next] = {key, back, {twin.now, twin.now}};
        twin.by_key[key] = twin.next;
        twin.by_key[back] = twin.next++;
      }
    } else if (what < 13 && id.valid()) {
      TwinPair& p = twin.pairs.at(known->second);
      const bool initiator = key == p.forward;
      ASSERT_EQ((table[id].flags & kFlowInitiator) != 0, initiator);
      table[id].last_seen = p.last_seen[initiator ? 0 : 1] = twin.now;
      if (!initiator) {
        table[id].flags |= kFlowReplied;
        p.replied = true;
      }
      if (random() % 16 == 0) {
        table[id].flags |= kFlowEvictable;
        table[table.reverse(id)].flags |= kFlowEvictable;
        p.closed = true;
      }
    } else if (what == 13 && id.valid()) {
      table.erase(id);
      ASSERT_EQ(twin.by_key.count(key), 0u);
    } else if (what == 14) {
      table.age(twin.now, 16, timeouts);
    } else if (step % 50 == 0) {
      // One whole turn leaves exactly those that have not expired.
      uint32_t expired = 0;
      for (const auto& p : twin.pairs) expired += twin.expired(p.second, timeouts);
      ASSERT_EQ(table.age(twin.now, table.capacity(), timeouts), expired);
      for (const auto& p : twin.pairs) ASSERT_FALSE(twin.expired(p.second, timeouts));
    }
    ASSERT_EQ(table.used(), 2 * twin.pairs.size());
    ASSERT_EQ(table.used(), table.created() - table.deleted());
    if (testing::Test::HasFatalFailure()) FAIL() << "at step " << step;
  }
  EXPECT_EQ(full > 0, expect_full);
  EXPECT_EQ(table.evicted() > 0, keys > 1000);
  uint32_t found = 0;
  for (uint32_t i = 0; i < table.capacity(); ++i) {
    if (!table.valid(FlowId{i})) continue;
    ++found;
    ASSERT_EQ(find(table, table.half(FlowId{i}).key()), FlowId{i});
    ASSERT_EQ(table.reverse(table.reverse(FlowId{i})), FlowId{i});
  }
  EXPECT_EQ(found, table.used());
}

TEST(FlowTable, AgreesWithTwinSparse) { against_twin(1, 200, 200, false); }
TEST(FlowTable, AgreesWithTwinFullAndBusy) { against_twin(2, 5000, 2, true); }
TEST(FlowTable, AgreesWithTwinFullAndIdle) { against_twin(3, 5000, 30, false); }

// --- TCP -----------------------------------------------------------------------------------------

struct Tcp {
  FlowEntry client_entry, server_entry;
  Flow& client = client_entry.flow;
  Flow& server = server_entry.flow;
  bool any_rst = false;

  Tcp() {
    for (Flow* f : {&client, &server}) {
      f->protocol = 6;
      f->action = FlowAction::Forward;
      f->flags = kFlowInUse;
    }
  }
  bool send(uint8_t flags, uint32_t sequence, uint32_t ack, uint32_t payload = 0) {
    return track_tcp(client_entry.half(), server_entry.half(), flags, sequence, ack, payload,
                     any_rst);
  }
  bool receive(uint8_t flags, uint32_t sequence, uint32_t ack, uint32_t payload = 0) {
    return track_tcp(server_entry.half(), client_entry.half(), flags, sequence, ack, payload,
                     any_rst);
  }
  void handshake(uint32_t c, uint32_t s) {
    send(kSyn, c, 0);
    receive(kSyn | kAck, s, c + 1);
    send(kAck, c + 1, s + 1);
  }
  static std::string letters(const Flow& flow) {
    static const std::pair<uint16_t, const char*> kLetters[] = {
        {kTcpSyn, "S"},           {kTcpSynR, "Sr"}, {kTcpEstablished, "E"},
        {kTcpEstablishedR, "Er"}, {kTcpFin, "F"},   {kTcpFinR, "Fr"},
        {kTcpHalfClose, "C"},     {kTcpRst, "R"},   {kTcpDead, "D"}};
    std::string out;
    for (const auto& [bit, letter] : kLetters) {
      if ((flow.tcp & bit) != 0) out += letter;
    }
    return out;
  }
  std::string letters() const { return letters(client) + " " + letters(server); }
  FlowTimeoutState state() const { return std::max(timeout_state(client), timeout_state(server)); }
  bool dead() const {
    return (client.tcp & server.tcp & kTcpDead) != 0 &&
           (client.flags & server.flags & kFlowEvictable) != 0;
  }
};

TEST(TrackTcp, OpensAndCloses) {
  for (const uint32_t c : {1000u, ~0u, 0u - 3, 0x7fffffffu}) {  // sequences wrap at every step
    for (const uint32_t s : {500000u, ~0u, 0u - 2}) {
      Tcp tcp;
      EXPECT_TRUE(tcp.send(kSyn, c, 0));
      EXPECT_EQ(tcp.letters(), "S Sr");
      EXPECT_EQ(tcp.state(), FlowTimeoutState::New);
      EXPECT_TRUE(tcp.receive(kSyn | kAck, s, c + 1));
      EXPECT_EQ(tcp.letters(), "SSrE SSrEr");
      EXPECT_EQ(tcp.state(), FlowTimeoutState::New);
      EXPECT_TRUE(tcp.send(kAck, c + 1, s + 1));
      EXPECT_EQ(tcp.letters(), "SSrEEr SSrEEr");
      EXPECT_EQ(tcp.state(), FlowTimeoutState::Established);
      tcp.send(kAck | kPsh, c + 1, s + 1, 100);
      tcp.receive(kAck, s + 1, c + 101);
      EXPECT_EQ(tcp.letters(), "SSrEEr SSrEEr");

      tcp.send(kFin | kAck, c + 101, s + 1, 10);  // with the last ten bytes
      EXPECT_EQ(tcp.letters(), "SSrEErF SSrEErFr");
      EXPECT_EQ(tcp.state(), FlowTimeoutState::Established) << "the server may go on for hours";
      tcp.receive(kAck, s + 1, c + 111);  // the bytes, not yet the FIN
      EXPECT_EQ(tcp.letters(), "SSrEErF SSrEErFr");
      tcp.receive(kAck, s + 1, c + 112);
      EXPECT_EQ(tcp.letters(), "SSrEErFC SSrEErFr");
      EXPECT_EQ(tcp.state(), FlowTimeoutState::Established);
      tcp.receive(kAck, s + 1, c + 112, 5000);
      tcp.receive(kFin | kAck, s + 5001, c + 112);
      EXPECT_EQ(tcp.letters(), "SSrEErFFrC SSrEErFFr");
      EXPECT_EQ(tcp.state(), FlowTimeoutState::Closing);
      EXPECT_FALSE(tcp.dead());
      tcp.send(kAck, c + 112, s + 5001);
      EXPECT_FALSE(tcp.dead());
      tcp.send(kAck, c + 112, s + 5002);
      EXPECT_EQ(tcp.letters(), "SSrEErFFrCD SSrEErFFrCD");
      EXPECT_TRUE(tcp.dead());
      EXPECT_EQ(tcp.state(), FlowTimeoutState::Closing);
      // Late copies change nothing.
      tcp.receive(kFin | kAck, s + 5001, c + 112);
      EXPECT_EQ(tcp.letters(), "SSrEErFFrCD SSrEErFFrCD");
    }
  }
}

TEST(TrackTcp, ServerMayCloseFirst) {
  Tcp tcp;
  tcp.handshake(1, 2);
  tcp.receive(kFin | kAck, 3, 2);
  tcp.send(kFin | kAck, 2, 4);  // acknowledges and closes in one
  EXPECT_EQ(tcp.letters(), "SSrEErFFr SSrEErFFrC");
  tcp.receive(kAck, 4, 3);
  EXPECT_TRUE(tcp.dead());
}

TEST(TrackTcp, SimultaneousClose) {
  Tcp tcp;
  tcp.handshake(1, 2);
  tcp.send(kFin | kAck, 2, 3);
  tcp.receive(kFin | kAck, 3, 2);
  EXPECT_EQ(tcp.letters(), "SSrEErFFr SSrEErFFr");
  tcp.send(kAck, 3, 4);
  EXPECT_EQ(tcp.letters(), "SSrEErFFr SSrEErFFrC");
  tcp.receive(kAck, 4, 3);
  EXPECT_EQ(tcp.letters(), "SSrEErFFrCD SSrEErFFrCD");
  EXPECT_TRUE(tcp.dead());
}

TEST(TrackTcp, SimultaneousOpen) {
  Tcp tcp;
  tcp.send(kSyn, 100, 0);
  tcp.receive(kSyn, 200, 0);
  EXPECT_EQ(tcp.letters(), "SSr SSr");
  EXPECT_EQ(tcp.state(), FlowTimeoutState::New);
  tcp.send(kSyn | kAck, 100, 201);
  EXPECT_EQ(tcp.letters(), "SSrEr SSrE");
  tcp.receive(kSyn | kAck, 200, 101);
  EXPECT_EQ(tcp.letters(), "SSrEEr SSrEEr");
  EXPECT_EQ(tcp.state(), FlowTimeoutState::Established);
}

TEST(TrackTcp, RetransmittedSynsChangeNothing) {
  Tcp tcp;
  tcp.send(kSyn, 100, 0);
  tcp.send(kSyn, 100, 0);
  tcp.receive(kSyn | kAck, 200, 101);
  tcp.send(kSyn, 100, 0);
  tcp.receive(kSyn | kAck, 200, 101);
  EXPECT_EQ(tcp.letters(), "SSrE SSrEr");
  tcp.send(kAck, 101, 201);
  tcp.receive(kSyn | kAck, 200, 101);
  EXPECT_EQ(tcp.letters(), "SSrEEr SSrEEr");
  // A client that tries again with another sequence before it was answered.
  Tcp again;
  again.send(kSyn, 100, 0);
  again.send(kSyn, 70000000, 0);
  again.receive(kSyn | kAck, 200, 101);
  EXPECT_EQ(again.letters(), "SSr SSr");
  again.receive(kSyn | kAck, 200, 70000001);
  EXPECT_EQ(again.letters(), "SSrE SSrEr");
}

TEST(TrackTcp, SynAfterFinDoesNotForgetTheFin) {
  Tcp tcp;
  tcp.handshake(1, 2);
  tcp.send(kFin | kAck, 5000, 3);
  tcp.send(kSyn, 1, 0);
  tcp.receive(kAck, 3, 2);
  EXPECT_EQ(tcp.letters(), "SSrEErF SSrEErFr");
  tcp.receive(kAck, 3, 5001);
  EXPECT_EQ(tcp.letters(), "SSrEErFC SSrEErFr");
}

TEST(TrackTcp, AcknowledgementMustCoverTheSyn) {
  Tcp tcp;
  tcp.send(kSyn, 100, 0);
  tcp.receive(kSyn | kAck, 200, 100);
  EXPECT_EQ(tcp.letters(), "SSr SSr");
  tcp.receive(kAck, 201, 100 + 1 + 65536);
  EXPECT_EQ(tcp.letters(), "SSr SSr") << "more than a first window";
  tcp.receive(kAck, 201, 100 + 1 + 1400);  // the SYN carried data
  EXPECT_EQ(tcp.letters(), "SSrE SSrEr");
}

TEST(TrackTcp, RstIsTakenOnlyInSequence) {
  for (const bool from_client : {true, false}) {
    Tcp tcp;
    tcp.handshake(1000, 2000);
    tcp.send(kAck, 1001, 2001, 100);
    tcp.receive(kAck, 2001, 1101);
    const uint32_t expected = from_client ? 1101 : 2001;
    const auto rst = [&](uint32_t sequence) {
      return from_client ? tcp.send(kRst, sequence, 0) : tcp.receive(kRst, sequence, 0);
    };
    EXPECT_FALSE(rst(expected + 1));
    EXPECT_FALSE(rst(expected - 1));
    EXPECT_FALSE(rst(0));
    EXPECT_EQ(tcp.letters(), "SSrEEr SSrEEr");
    EXPECT_EQ(tcp.state(), FlowTimeoutState::Established);
    EXPECT_TRUE(rst(expected));
    EXPECT_EQ(tcp.letters(), from_client ? "SSrEErRD SSrEErD" : "SSrEErD SSrEErRD");
    EXPECT_TRUE(tcp.dead());
    EXPECT_EQ(tcp.state(), FlowTimeoutState::Closing);
  }
}

TEST(TrackTcp, RefusedSyn) {
  Tcp tcp;
  tcp.send(kSyn, ~0u, 0);
  EXPECT_FALSE(tcp.receive(kRst | kAck, 0, 1));
  EXPECT_FALSE(tcp.receive(kRst, 0, 0)) << "acknowledges nothing";
  EXPECT_EQ(tcp.letters(), "S Sr");
  EXPECT_TRUE(tcp.receive(kRst | kAck, 0, 0));
  EXPECT_EQ(tcp.letters(), "SD SrRD");
  EXPECT_TRUE(tcp.dead());
  // Once the client has acknowledged something, the sequence counts again.
  Tcp later;
  later.handshake(10, 20);
  EXPECT_FALSE(later.receive(kRst | kAck, 5, 11));
  EXPECT_TRUE(later.receive(kRst | kAck, 21, 11));
}

TEST(TrackTcp, RstOnUnknownGroundIsNotTaken) {
  Tcp tcp;
  EXPECT_FALSE(tcp.send(kRst, 1, 2));
  EXPECT_EQ(tcp.letters(), " ");
  tcp.send(kSyn, 1, 0);
  EXPECT_FALSE(tcp.send(kRst, 1, 2)) << "the server has said nothing yet";
}

TEST(TrackTcp, AnyRstIfSoConfigured) {
  Tcp tcp;
  tcp.any_rst = true;
  tcp.handshake(10, 20);
  EXPECT_TRUE(tcp.receive(kRst, 999999, 0));
  EXPECT_TRUE(tcp.dead());
}

TEST(TrackTcp, NewConnectionOnADeadPair) {
  Tcp tcp;
  tcp.handshake(10, 20);
  tcp.receive(kRst, 21, 0);
  ASSERT_TRUE(tcp.dead());
  tcp.receive(kSyn | kAck, 20, 11);  // a late copy is no beginning
  ASSERT_TRUE(tcp.dead());
  tcp.send(kSyn, 5000, 0);
  EXPECT_EQ(tcp.letters(), "S Sr");
  EXPECT_EQ((tcp.client.flags | tcp.server.flags) & kFlowEvictable, 0);
  EXPECT_EQ(tcp.state(), FlowTimeoutState::New);
  tcp.receive(kSyn | kAck, 7000, 5001);
  tcp.send(kAck, 5001, 7001);
  EXPECT_EQ(tcp.letters(), "SSrEEr SSrEEr");
  EXPECT_EQ(tcp.state(), FlowTimeoutState::Established);
}

TEST(TrackTcp, TakenUpInMidStream) {
  Tcp tcp;
  tcp.send(kAck, 100, 200, 10);
  EXPECT_EQ(tcp.letters(), " ");
  EXPECT_EQ(tcp.state(), FlowTimeoutState::New);
  tcp.receive(kAck, 200, 110);
  EXPECT_EQ(tcp.letters(), " ") << "no letters are made up";
  EXPECT_EQ(tcp.state(), FlowTimeoutState::Established);
  EXPECT_FALSE(tcp.receive(kRst, 199, 0));
  tcp.send(kFin | kAck, 110, 200);
  tcp.receive(kFin | kAck, 200, 111);
  EXPECT_EQ(tcp.letters(), "FFrC FFr");
  EXPECT_EQ(tcp.state(), FlowTimeoutState::Closing);
  tcp.send(kAck, 111, 201);
  EXPECT_TRUE(tcp.dead());
}

// Acknowledgements in both directions before the handshake is complete are not enough.
TEST(TrackTcp, UnacknowledgedHandshakeIsNotEstablished) {
  Tcp tcp;
  tcp.send(kSyn, 100, 0);
  tcp.receive(kSyn | kAck, 200, 101);
  tcp.send(kAck, 101, 200);  // not the server's SYN
  EXPECT_EQ(tcp.letters(), "SSrE SSrEr");
  EXPECT_EQ(tcp.state(), FlowTimeoutState::New);
}

// The acknowledgement of the SYN was lost, or went another way.
TEST(TrackTcp, FinBeforeTheSynIsAcknowledged) {
  Tcp tcp;
  tcp.send(kSyn, 100, 0);
  tcp.send(kFin | kAck, 101, 201, 10);
  tcp.receive(kAck, 201, 111);
  EXPECT_EQ(tcp.letters(), "SF SrFr");
  tcp.receive(kAck, 201, 112);
  EXPECT_EQ(tcp.letters(), "SEFC SrErFr");
}

TEST(TrackTcp, SynWithFinIsNotAnEnd) {
  Tcp tcp;
  tcp.send(kSyn | kFin, 100, 0);
  EXPECT_EQ(tcp.letters(), "S Sr");
}

TEST(TimeoutState, OthersAreEstablishedOnceAnswered) {
  Flow flow{};
  flow.action = FlowAction::Nat;
  for (const uint8_t protocol : {1, 17, 58, 132}) {
    flow.protocol = protocol;
    flow.flags = kFlowInUse;
    EXPECT_EQ(timeout_state(flow), FlowTimeoutState::New);
    flow.flags |= kFlowReplied;
    EXPECT_EQ(timeout_state(flow), FlowTimeoutState::Established);
  }
  flow.action = FlowAction::Drop;
  EXPECT_EQ(timeout_state(flow), FlowTimeoutState::New);
}

// The key in registers is the key in memory.
TEST(FlowKey4, HashesAndMatchesAsTheFlowKeyDoes) {
  FlowTable table(1024, 7);
  std::mt19937 random(5);
  for (uint32_t i = 0; i < 200; ++i) {
    uint8_t addresses[8];
    for (uint8_t& byte : addresses) byte = static_cast<uint8_t>(random());
    FlowKey key{};
    std::memcpy(key.source, addresses, 4);
    std::memcpy(key.destination, addresses + 4, 4);
    key.source_port = static_cast<uint16_t>(random());
    key.destination_port = static_cast<uint16_t>(random());
    key.scope = random();
    key.protocol = static_cast<uint8_t>(random());
    key.family = Family::V4;
    const FlowKey4 short_key(addresses, key.source_port, key.destination_port, key.protocol,
                             key.scope);
    uint8_t ports[4];
    store_be16(ports, key.source_port);
    store_be16(ports + 2, key.destination_port);
    ASSERT_EQ(FlowKey4(addresses, ports, key.protocol, key.scope).hash(1), short_key.hash(1));
    const uint64_t hash = table.hash(key);
    ASSERT_EQ(table.hash(short_key), hash);
    FlowKey reply = key;
    reply.scope = ~key.scope;
    ASSERT_EQ(table.candidate(hash) == FlowTable::kNoSlot
                  ? FlowId{}
                  : table.find(short_key, hash, table.candidate(hash)),
              table.find(key, hash));
    const FlowTable::Pair pair = table.insert(key, reply, 0);
    ASSERT_EQ(pair.result, FlowInsert::Ok);
    ASSERT_EQ(table.find(short_key, hash, table.candidate(hash)), pair.forward);
    Flow flow{};
    for (uint32_t bit = 0; bit < 18 * 8; ++bit) {
      flow = table[pair.forward];
      reinterpret_cast<uint8_t*>(&flow)[bit / 8] ^= static_cast<uint8_t>(1u << bit % 8);
      ASSERT_FALSE(short_key.is_of(flow)) << bit;
    }
  }
}

// And the IPv6 one, of which the addresses stay in the packet.
TEST(FlowKey6, HashesAndMatchesAsTheFlowKeyDoes) {
  FlowTable table(1024, 7);
  std::mt19937 random(6);
  for (uint32_t i = 0; i < 200; ++i) {
    uint8_t addresses[32];
    for (uint8_t& byte : addresses) byte = static_cast<uint8_t>(random());
    FlowKey key{};
    std::memcpy(key.source, addresses, 16);
    std::memcpy(key.destination, addresses + 16, 16);
    key.source_port = static_cast<uint16_t>(random());
    key.destination_port = static_cast<uint16_t>(random());
    key.scope = random();
    key.protocol = static_cast<uint8_t>(random());
    key.family = Family::V6;
    uint8_t ports[4];
    store_be16(ports, key.source_port);
    store_be16(ports + 2, key.destination_port);
    const FlowKey6 short_key{FlowKey6::rest_of(addresses, ports, key.protocol, key.scope),
                             addresses};
    const uint64_t hash = table.hash(key);
    ASSERT_EQ(table.hash(short_key), hash);
    FlowKey reply = key;
    reply.scope = ~key.scope;
    const FlowTable::Pair pair = table.insert(key, reply, 0);
    ASSERT_EQ(pair.result, FlowInsert::Ok);
    ASSERT_EQ(table.find(short_key, hash, table.candidate(hash)), pair.forward);
    FlowEntry entry;
    entry.copy(table.half(pair.forward));
    const auto differs = [&](void* part, uint32_t bit) {
      uint8_t& byte = static_cast<uint8_t*>(part)[bit / 8];
      const uint8_t flipped = static_cast<uint8_t>(1u << bit % 8);
      byte ^= flipped;
      const bool other = !short_key.is_of(entry.flow, entry.address6);
      byte ^= flipped;
      return other;
    };
    ASSERT_TRUE(short_key.is_of(entry.flow, entry.address6));
    uint8_t* flow = reinterpret_cast<uint8_t*>(&entry.flow);
    for (uint32_t bit = 0; bit < 18 * 8; ++bit) ASSERT_TRUE(differs(flow, bit)) << bit;
    for (uint32_t bit = 0; bit < 8 * 8; ++bit) {
      ASSERT_TRUE(differs(flow + offsetof(Flow, nat_source4), bit)) << bit;
    }
    for (uint32_t bit = 0; bit < 16 * 8; ++bit) ASSERT_TRUE(differs(&entry.address6, bit)) << bit;
  }
}

}  // namespace
}  // namespace vrouter
