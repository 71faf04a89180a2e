// A flow table that its process has left: taken over whole, and never with anything that is wrong.
#include "state/flow_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "base/limits.h"
#include "state/ecmp.h"
#include "state/router.h"

namespace vrouter {
namespace {

constexpr uint32_t kEntries = 1024;
constexpr uint64_t kSeed = 7;
constexpr uint32_t kNow = 5000;

class FlowFileTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "vrouter-flows-XXXXXX";
    directory_ = mkdtemp(name.data());
    path_ = directory_ + "/flows";
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  void overwrite(size_t at, const void* bytes, size_t size) {
    std::fstream f(path_, std::ios::in | std::ios::out | std::ios::binary);
    f.seekp(static_cast<std::streamoff>(at));
    f.write(static_cast<const char*>(bytes), static_cast<std::streamsize>(size));
  }

  std::string directory_;
  std::string path_;
};

FlowKey key_of(uint32_t number, Family family = Family::V4) {
  FlowKey key{};
  key.family = family;
  key.source[0] = 10;
  std::memcpy(key.source + 1, &number, 3);
  key.destination[0] = 11;
  key.source_port = static_cast<uint16_t>(1024 + number % 5000);
  key.destination_port = 80;
  key.protocol = number % 3 == 0 ? 6 : 17;
  key.scope = 9 | (number % 4) << kScopeIdBits;
  return key;
}

FlowKey back_of(const FlowKey& key) {
  FlowKey back = key;
  std::memcpy(back.source, key.destination, 16);
  std::memcpy(back.destination, key.source, 16);
  std::swap(back.source_port, back.destination_port);
  back.scope = 10;
  return back;
}

FlowId add(FlowTable& table, uint32_t number, Family family = Family::V4) {
  const FlowKey key = key_of(number, family);
  const FlowTable::Pair pair = table.insert(key, back_of(key), kNow);
  EXPECT_EQ(pair.result, FlowInsert::Ok);
  for (const FlowId id : {pair.forward, pair.reverse}) {
    const FlowHalf half = table.half(id);
    half.flow.action = FlowAction::Forward;
    half.flow.set_path(number % 1000, number % 900, number & kMaxVni, number % 2 == 0);
    half.flow.generation = 17;
    half.cold.set(number % 2 == 0 ? static_cast<uint16_t>(number) : kNoMember, 0);
    half.cold.vif = static_cast<uint16_t>(number % kMaxVifs);
    half.cold.count(number, 0);
    count_packet(half, 1400);
  }
  return pair.forward;
}

// The table of a process that has been killed: nothing says goodbye.
struct Crashed {
  explicit Crashed(const std::string& path) : path(path) {
    file.open(path, kEntries, kSeed);
    EXPECT_TRUE(file.file()) << file.reason();
    table = std::make_unique<FlowTable>(file.flows(), kEntries, kSeed);
    if (file.kept()) adopted = table->adopt(kNow);
  }
  std::string path;
  FlowFile file;
  std::unique_ptr<FlowTable> table;
  FlowAdoption adopted;
};

using Entries = std::map<uint32_t, std::vector<uint8_t>>;
Entries entries_of(FlowTable& table) {
  Entries out;
  for (uint32_t at = 0; at < table.capacity(); ++at) {
    if (!table.valid(FlowId{at})) continue;
    FlowEntry entry;
    entry.copy(table.half(FlowId{at}));
    entry.flow.generation = 0;
    const FlowKey key = entry.half().key();  // IPv4: what else stands in address6 is nobody's
    const auto append = [&](const auto& part) {
      const auto* bytes = reinterpret_cast<const uint8_t*>(&part);
      out[at].insert(out[at].end(), bytes, bytes + sizeof part);
    };
    append(entry.flow);
    append(entry.cold);
    append(key);
  }
  return out;
}

TEST_F(FlowFileTest, EntriesKeepTheirPlacesAndContentAndDecideAgain) {
  FlowId id;
  Entries before;
  {
    Crashed first(path_);
    EXPECT_FALSE(first.file.kept());
    EXPECT_NE(first.file.reason(), "");
    id = add(*first.table, 1);
    add(*first.table, 2, Family::V6);
    before = entries_of(*first.table);
  }
  Crashed second(path_);
  EXPECT_TRUE(second.file.kept());
  EXPECT_EQ(second.file.header()->runs, 2u);
  EXPECT_EQ(second.adopted.entries, 4u);
  EXPECT_EQ(second.adopted.dropped, 0u);
  EXPECT_EQ(second.table->used(), 4u);
  EXPECT_EQ(entries_of(*second.table), before);
  EXPECT_EQ((*second.table)[id].generation, 0u);
  const FlowKey key = key_of(1);
  EXPECT_EQ(second.table->find(key, second.table->hash(key)), id);
}

// Random tables, a crash, and a table that differs in nothing, and works: inserts, erasures, ageing.
TEST_F(FlowFileTest, AnyTableIsAdoptedAsItWas) {
  std::mt19937_64 random(1);
  for (int round = 0; round < 30; ++round) {
    std::filesystem::remove(path_);
    Entries before;
    {
      Crashed first(path_);
      const uint32_t flows = static_cast<uint32_t>(random() % 400);
      std::vector<FlowId> ids;
      for (uint32_t i = 0; i < flows; ++i) {
        ids.push_back(add(*first.table, i, random() % 2 ? Family::V4 : Family::V6));
      }
      for (const FlowId id : ids) {
        if (random() % 3 == 0) first.table->erase(id);
      }
      before = entries_of(*first.table);
    }
    Crashed second(path_);
    ASSERT_EQ(entries_of(*second.table), before);
    ASSERT_EQ(second.table->used(), before.size());
    const FlowId fresh = add(*second.table, 999'999);
    second.table->erase(fresh);
    ASSERT_EQ(entries_of(*second.table), before);
    second.table->age(kNow + 10'000'000u, kEntries, FlowTimeouts());
    ASSERT_EQ(second.table->used(), 0u);
  }
}

// Each damage costs the pair it is in, under its name, and no other.
TEST_F(FlowFileTest, EveryDamageToAnEntryCostsItsPairOnly) {
  struct Damage {
    const char* what;
    FlowFault fault;
    std::function<void(FlowTable&, Flow&, Flow&, FlowCold&)> make;
  };
  const std::vector<Damage> damages = {
      {"family", FlowFault::Value,
       [](auto&, Flow& f, Flow& r, FlowCold&) { f.family = r.family = Family(5); }},
      {"action", FlowFault::Value,
       [](auto&, Flow& f, Flow&, FlowCold&) { f.action = FlowAction(4); }},
      {"drop", FlowFault::Value,
       [](auto&, Flow& f, Flow&, FlowCold& c) {
         f.action = FlowAction::Drop;
         c.set(c.member(), static_cast<uint8_t>(FlowDrop::kCount));
       }},
      {"nat", FlowFault::Value, [](auto&, Flow&, Flow&, FlowCold& c) { c.set(c.member(), 0x10); }},
      {"tcp", FlowFault::Value, [](auto&, Flow& f, Flow&, FlowCold&) { f.tcp = 0x4000; }},
      {"spare bit of the path", FlowFault::Value,
       [](auto&, Flow& f, Flow&, FlowCold&) { f.path |= uint64_t{1} << 39; }},
      {"member that is none", FlowFault::Value,
       [](auto&, Flow&, Flow&, FlowCold& c) { c.set(7, 0); }},
      {"vif", FlowFault::Value, [](auto&, Flow&, Flow&, FlowCold& c) { c.vif = kMaxVifs; }},
      {"clock", FlowFault::Value, [](auto&, Flow& f, Flow&, FlowCold&) { f.last_seen = kNow + 1; }},
      {"too long ago", FlowFault::Value,
       [](auto&, Flow& f, Flow&, FlowCold&) {
         f.last_seen = kNow - FlowTimeouts::kMaxSeconds * 1000 - 1;
       }},
      {"scope", FlowFault::Value, [](auto&, Flow& f, Flow&, FlowCold&) { f.scope = kMaxNextHops; }},
      {"reverse out of range", FlowFault::Reverse,
       [](auto&, Flow&, Flow&, FlowCold& c) { c.link(FlowId{kEntries}, 1); }},
      {"reverse itself", FlowFault::Reverse,
       [](auto& t, Flow& f, Flow&, FlowCold& c) {
         c.link(FlowId{static_cast<uint32_t>(&f - &t[FlowId{0}])}, 1);
       }},
      {"reverse another's", FlowFault::Reverse,
       [](auto& t, Flow&, Flow&, FlowCold& c) { c.link(FlowId{add(t, 77).value}, 1); }},
      {"half gone", FlowFault::Reverse, [](auto&, Flow&, Flow& r, FlowCold&) { r.flags = 0; }},
      {"two initiators", FlowFault::Initiator,
       [](auto&, Flow&, Flow& r, FlowCold&) { r.flags |= kFlowInitiator; }},
      {"no initiator", FlowFault::Initiator,
       [](auto&, Flow& f, Flow&, FlowCold&) { f.flags &= static_cast<uint8_t>(~kFlowInitiator); }},
      {"protocols differ", FlowFault::Mismatch,
       [](auto&, Flow& f, Flow&, FlowCold&) { f.protocol ^= 1; }},
      {"families differ", FlowFault::Mismatch,
       [](auto&, Flow& f, Flow&, FlowCold&) { f.family = Family::V6; }},
      {"key of elsewhere", FlowFault::Place,
       [](auto&, Flow& f, Flow&, FlowCold&) { f.source_port ^= 0x5a5a; }},
  };
  for (const Damage& damage : damages) {
    SCOPED_TRACE(damage.what);
    std::filesystem::remove(path_);
    uint32_t others = 0;
    {
      Crashed first(path_);
      const FlowId id = add(*first.table, 3);
      add(*first.table, 4);
      Flow& forward = (*first.table)[id];
      Flow& reverse = (*first.table)[first.table->reverse(id)];
      damage.make(*first.table, forward, reverse, first.table->cold(id));
      others = std::string(damage.what) == "reverse another's" ? 4 : 2;
    }
    Crashed second(path_);
    EXPECT_EQ(second.adopted.entries, others);
    EXPECT_GE(second.adopted.dropped, 1u);
    EXPECT_GE(second.adopted.faults[static_cast<uint32_t>(damage.fault)], 1u);
    EXPECT_EQ(entries_of(*second.table).size(), others);
    // The slots are fit for use again: what stands in a free one must be zeros.
    add(*second.table, 3);
  }
}

TEST_F(FlowFileTest, ACopyOfAnEntryIsNotTakenTwice) {
  {
    Crashed first(path_);
    const FlowId id = add(*first.table, 5);
    FlowTable& t = *first.table;
    // A second pair in the free places of the same buckets: right in all but that it is there twice.
    const auto copy = [&](FlowId from) {
      for (FlowId at{from.value & ~31u};; ++at.value) {
        if (t.valid(at)) continue;
        t[at] = t[from];
        t.cold(at) = t.cold(from);
        return at;
      }
    };
    const FlowId f = copy(id);
    const FlowId r = copy(t.reverse(id));
    t.cold(f).link(r, 1);
    t.cold(r).link(f, 1);
  }
  Crashed second(path_);
  EXPECT_EQ(second.adopted.entries, 2u);
  EXPECT_EQ(second.adopted.faults[static_cast<uint32_t>(FlowFault::Duplicate)], 2u);
}

// The file's word for what an IPv6 address becomes is not taken.
TEST_F(FlowFileTest, Ipv6TranslationIsThatOfTheOtherHalf) {
  const FlowKey key = key_of(3, Family::V6);
  FlowKey back = back_of(key);
  back.destination[15] ^= 1;  // a new source
  {
    Crashed first(path_);
    const FlowTable::Pair pair = first.table->insert(key, back, kNow);
    ASSERT_EQ(pair.result, FlowInsert::Ok);
    for (const FlowId id : {pair.forward, pair.reverse}) {
      const FlowHalf half = first.table->half(id);
      half.flow.action = FlowAction::Nat;
      half.cold.set(kNoMember, kNatSource);
      half.flow.l3_delta = static_cast<uint16_t>(half.flow.l3_delta ^ 3);
      half.address6.translated[0] ^= 0xff;
    }
  }
  Crashed second(path_);
  EXPECT_EQ(second.adopted.entries, 2u);
  const FlowId id = second.table->find(key, second.table->hash(key));
  ASSERT_TRUE(id.valid());
  const FlowHalf forward = second.table->half(id);
  EXPECT_EQ(forward.flow.l3_delta, kNewSource6);
  EXPECT_EQ(std::memcmp(forward.address6.translated, back.destination, 16), 0);
  const FlowHalf reverse = second.table->half(forward.reverse());
  EXPECT_EQ(reverse.flow.l3_delta, kNewDestination6);
  EXPECT_EQ(std::memcmp(reverse.address6.translated, key.source, 16), 0);
}

// Any byte of any entry may be anything: adopt() ends, and what it leaves is a table.
TEST_F(FlowFileTest, NoiseLeavesATable) {
  std::mt19937_64 random(2);
  for (int round = 0; round < 60; ++round) {
    std::filesystem::remove(path_);
    {
      Crashed first(path_);
      for (uint32_t i = 0; i < 200; ++i) add(*first.table, i);
      auto* bytes = first.file.flows().tags;  // the first of the arrays
      const size_t size = kEntries * (1 + sizeof(Flow) + sizeof(FlowCold) + sizeof(FlowAddresses6));
      const uint32_t hits = 1u << random() % 14;
      for (uint32_t i = 0; i < hits; ++i) bytes[random() % size] = static_cast<uint8_t>(random());
    }
    Crashed second(path_);
    FlowTable& table = *second.table;
    uint32_t used = 0;
    for (uint32_t at = 0; at < kEntries; ++at) {
      const FlowId id{at};
      if (!table.valid(id)) continue;
      ++used;
      ASSERT_EQ(table.reverse(table.reverse(id)), id);
      const FlowKey key = table.half(id).key();
      ASSERT_EQ(table.find(key, table.hash(key)), id);
    }
    ASSERT_EQ(used, table.used());
    ASSERT_EQ(used, second.adopted.entries);
    table.age(kNow + 10'000'000u, kEntries, FlowTimeouts());
    ASSERT_EQ(table.used(), 0u);
  }
}

TEST_F(FlowFileTest, ADamagedHeaderMeansAnEmptyTableAndSaysWhy) {
  struct Damage {
    const char* says;
    size_t at;
    uint64_t value;
  };
  const std::vector<Damage> damages = {
      {"no flow table", offsetof(FlowFileHeader, magic), 0},
      {"another build's", offsetof(FlowFileHeader, layout), 1},
      {"damaged", offsetof(FlowFileHeader, capacity), 2048},
      {"damaged", offsetof(FlowFileHeader, seed), 8},
      {"damaged", offsetof(FlowFileHeader, check), 0},
      {"clock is damaged", offsetof(FlowFileHeader, now_ns), ~uint64_t{0}},
  };
  for (const Damage& damage : damages) {
    SCOPED_TRACE(damage.says);
    std::filesystem::remove(path_);
    {
      Crashed first(path_);
      add(*first.table, 1);
    }
    overwrite(damage.at, &damage.value, sizeof damage.value);
    Crashed second(path_);
    EXPECT_FALSE(second.file.kept());
    EXPECT_NE(second.file.reason().find(damage.says), std::string::npos) << second.file.reason();
    EXPECT_EQ(entries_of(*second.table).size(), 0u);
    add(*second.table, 1);
  }
}

TEST_F(FlowFileTest, AnotherSeedOrSizeStartsEmpty) {
  {
    Crashed first(path_);
    add(*first.table, 1);
  }
  FlowFile seed;
  seed.open(path_, kEntries, kSeed + 1);
  EXPECT_FALSE(seed.kept());
  EXPECT_NE(seed.reason().find("seed"), std::string::npos);
  seed.close();
  FlowFile size;
  size.open(path_, 2 * kEntries, kSeed + 1);
  EXPECT_FALSE(size.kept());
  EXPECT_TRUE(size.file());
  size.close();
  ASSERT_EQ(truncate(path_.c_str(), 100), 0);
  Crashed cut(path_);
  EXPECT_FALSE(cut.file.kept());
}

TEST_F(FlowFileTest, IsHadByOneProcessAtATimeAndIsAFile) {
  Crashed first(path_);
  FlowFile second;
  second.open(path_, kEntries, kSeed);
  EXPECT_FALSE(second.file());
  EXPECT_NE(second.reason().find("another process"), std::string::npos);
  FlowFile directory;
  directory.open(directory_, kEntries, kSeed);
  EXPECT_FALSE(directory.file());
  FlowFile nowhere;
  nowhere.open(directory_ + "/no/flows", kEntries, kSeed);
  EXPECT_FALSE(nowhere.file());
  struct stat found {};
  ASSERT_EQ(stat(path_.c_str(), &found), 0);
  EXPECT_EQ(found.st_mode & 0777, 0600u);
}

TEST_F(FlowFileTest, IncarnationsOutliveTheRouter) {
  const NextHopId id{5};
  NextHopObject object;
  object.kind = NextHopKind::Receive;
  object.receive.next_hop = 5;
  uint32_t scope = 0;
  {
    Crashed first(path_);
    Router router;
    router.keep_incarnations_in(first.file.incarnations());
    for (int i = 0; i < 3; ++i) {
      router.exchange(id, object);
      scope = router.next_hop(id)->scope;
      if (i < 2) router.exchange(id, std::nullopt);
    }
  }
  Crashed second(path_);
  Router router;
  router.keep_incarnations_in(second.file.incarnations());
  router.exchange(id, object);
  EXPECT_EQ(router.next_hop(id)->scope, scope);
  EXPECT_EQ(scope >> kScopeIdBits, 2u);
}

}  // namespace
}  // namespace vrouter
