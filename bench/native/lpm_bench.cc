// Longest-prefix match: random hits in tables shaped like the Internet's (most prefixes are /24 or
// near it), one at a time and in bursts; small VRFs; updates of a full table.
// `tsc` is time-stamp counter ticks an address.
#include <benchmark/benchmark.h>

#include <memory>
#include <random>
#include <vector>

#include "base/address.h"
#include "base/limits.h"
#include "table/lpm.h"

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

namespace vrouter {
namespace {

uint64_t ticks() {
#if defined(__x86_64__)
  return __rdtsc();
#else
  return 0;
#endif
}

// Shares of lengths 16…32 in hundredths; about those of a full BGP table.
constexpr uint32_t kShares[17] = {150, 100, 150, 250, 450, 500, 1150, 1050, 5900,
                                  20,  20,  20,  20,  40,  40,  10,   130};

struct Table {
  explicit Table(Family family) : lpm(family) {}
  Lpm lpm;
  std::vector<Prefix> prefixes;
  std::vector<Address> hits;
};

Prefix random_prefix(std::mt19937_64& random, Family family) {
  uint32_t pick = static_cast<uint32_t>(random() % 10000);
  uint32_t length = 16;
  while (length < 32 && pick >= kShares[length - 16]) pick -= kShares[length++ - 16];
  Prefix p;
  if (family == Family::V4) {
    p.address = Address::from_v4(static_cast<uint32_t>(random()) & ~0u << (32 - length));
    p.length = static_cast<uint8_t>(length);
  } else {  // twice as long, in 2000::/8
    p.address.family = Family::V6;
    p.length = static_cast<uint8_t>(2 * length);
    p.address.bytes[0] = 0x20;
    for (uint32_t i = 1; i < length / 4; ++i) p.address.bytes[i] = static_cast<uint8_t>(random());
  }
  return p;
}

const Table& table(Family family, uint32_t size) {
  static std::vector<std::pair<std::pair<Family, uint32_t>, std::unique_ptr<Table>>> known;
  for (const auto& k : known) {
    if (k.first == std::pair(family, size)) return *k.second;
  }
  auto t = std::make_unique<Table>(family);
  std::mt19937_64 random(size);
  while (t->lpm.size() < size) {
    const Prefix p = random_prefix(random, family);
    if (t->lpm.set(p, static_cast<uint32_t>(random() % 1000000)) == Lpm::kNoValue) {
      t->prefixes.push_back(p);
    }
  }
  for (uint32_t i = 0; i < (1u << 20); ++i) {
    const Prefix& p = t->prefixes[random() % t->prefixes.size()];
    Address a = p.address;
    for (uint32_t n = p.length; n < a.size() * 8; ++n) {
      if (random() & 1) a.bytes[n / 8] |= static_cast<uint8_t>(0x80u >> n % 8);
    }
    t->hits.push_back(a);
  }
  known.emplace_back(std::pair(family, size), std::move(t));
  return *known.back().second;
}

void report(benchmark::State& state, const Table& t, uint64_t spent, uint64_t addresses) {
  state.SetItemsProcessed(static_cast<int64_t>(addresses));
  state.counters["tsc"] = static_cast<double>(spent) / static_cast<double>(addresses);
  state.counters["bytes/prefix"] =
      static_cast<double>(t.lpm.bytes()) / static_cast<double>(t.lpm.size());
}

void lookup(benchmark::State& state, Family family) {
  const Table& t = table(family, static_cast<uint32_t>(state.range(0)));
  uint64_t addresses = 0;
  uint32_t at = 0;
  const uint64_t start = ticks();
  for (auto _ : state) {
    for (uint32_t i = 0; i < kBurst; ++i) {
      benchmark::DoNotOptimize(t.lpm.lookup(t.hits[at++ & 0xfffff].bytes.data()));
    }
    addresses += kBurst;
  }
  report(state, t, ticks() - start, addresses);
}

void lookup_burst(benchmark::State& state, Family family) {
  const Table& t = table(family, static_cast<uint32_t>(state.range(0)));
  uint64_t addresses = 0;
  uint32_t at = 0;
  const uint8_t* pointers[kBurst];
  uint32_t found[kBurst];
  const uint64_t start = ticks();
  for (auto _ : state) {
    for (uint32_t i = 0; i < kBurst; ++i) pointers[i] = t.hits[at++ & 0xfffff].bytes.data();
    t.lpm.lookup_burst(pointers, found, kBurst);
    benchmark::DoNotOptimize(found);
    addresses += kBurst;
  }
  report(state, t, ticks() - start, addresses);
}

// One prefix goes and comes back; `worst` is the longest pair seen, in ticks.
void update(benchmark::State& state, Family family) {
  Table& t = const_cast<Table&>(table(family, static_cast<uint32_t>(state.range(0))));
  std::mt19937_64 random(1);
  uint64_t worst = 0;
  for (auto _ : state) {
    const Prefix& p = t.prefixes[random() % t.prefixes.size()];
    const uint64_t start = ticks();
    const uint32_t value = t.lpm.remove(p);
    t.lpm.set(p, value);
    worst = std::max(worst, ticks() - start);
  }
  state.counters["worst"] = static_cast<double>(worst);
}

void sizes(benchmark::internal::Benchmark* b) { b->Arg(10)->Arg(1000)->Arg(100000)->Arg(1000000); }

BENCHMARK_CAPTURE(lookup, v4, Family::V4)->Apply(sizes);
BENCHMARK_CAPTURE(lookup, v6, Family::V6)->Apply(sizes);
BENCHMARK_CAPTURE(lookup_burst, v4, Family::V4)->Apply(sizes);
BENCHMARK_CAPTURE(lookup_burst, v6, Family::V6)->Apply(sizes);
BENCHMARK_CAPTURE(update, v4, Family::V4)->Arg(1000)->Arg(1000000);
BENCHMARK_CAPTURE(update, v6, Family::V6)->Arg(1000)->Arg(1000000);

}  // namespace
}  // namespace vrouter
