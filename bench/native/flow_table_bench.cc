// Flow table: hits and misses one at a time and as the pipeline does it (hash, prefetch, find in
// split loops over a burst); insertion with removal; insertion into a full table of idle flows;
// ageing; TCP tracking.
// `tsc` is time-stamp counter ticks an item.
#include <benchmark/benchmark.h>

#include <memory>
#include <random>
#include <vector>

#include "base/limits.h"
#include "state/flow.h"

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

FlowKey make_key(uint64_t number, Family family) {
  FlowKey key{};
  const uint32_t size = family == Family::V4 ? 4 : 16;
  std::memcpy(key.source, &number, 4);
  key.destination[0] = 10;
  key.destination[size - 1] = 1;
  key.source_port = static_cast<uint16_t>(1024 + (number >> 32));
  key.destination_port = 80;
  key.scope = 9;
  key.protocol = 6;
  key.family = family;
  return key;
}

FlowKey reversed(const FlowKey& key) {
  FlowKey r = key;
  std::memcpy(r.source, key.destination, 16);
  std::memcpy(r.destination, key.source, 16);
  r.source_port = key.destination_port;
  r.destination_port = key.source_port;
  r.scope = 10;
  return r;
}

struct Filled {
  // The default table where the pairs leave a tenth of it free, else one twice as large as they
  // are.
  Filled(uint32_t flows, Family family)
      : table(flows < kDefaultFlows / 20 * 9 ? kDefaultFlows : 4 * flows, 1) {
    std::mt19937_64 random(flows);
    while (table.used() < 2 * flows) {
      const FlowKey key = make_key(random() & 0xffffffffff, family);
      if (table.insert(key, reversed(key), 0).result == FlowInsert::Ok) keys.push_back(key);
    }
    for (uint32_t i = 0; i < (1u << 18); ++i) asked.push_back(keys[random() % keys.size()]);
  }
  FlowTable table;
  std::vector<FlowKey> keys;
  std::vector<FlowKey> asked;
};

void report(benchmark::State& state, uint64_t spent, uint64_t items) {
  state.SetItemsProcessed(static_cast<int64_t>(items));
  state.counters["tsc"] = static_cast<double>(spent) / static_cast<double>(items);
}

void find(benchmark::State& state, Family family) {
  const Filled f(static_cast<uint32_t>(state.range(0)), family);
  uint64_t items = 0;
  const uint64_t start = ticks();
  for (auto _ : state) {
    const FlowKey& key = f.asked[items++ & 0x3ffff];
    benchmark::DoNotOptimize(f.table.find(key, f.table.hash(key)));
  }
  report(state, ticks() - start, items);
}

void find_burst(benchmark::State& state, Family family) {
  const Filled f(static_cast<uint32_t>(state.range(0)), family);
  uint64_t items = 0;
  uint64_t hash[kBurst];
  const uint64_t start = ticks();
  for (auto _ : state) {
    const FlowKey* keys = &f.asked[items % f.asked.size()];  // a multiple of kBurst
    for (uint32_t i = 0; i < kBurst; ++i) {
      hash[i] = f.table.hash(keys[i]);
      f.table.prefetch_bucket(hash[i]);
    }
    for (uint32_t i = 0; i < kBurst; ++i) f.table.prefetch_candidate(hash[i]);
    for (uint32_t i = 0; i < kBurst; ++i) {
      benchmark::DoNotOptimize(f.table.find(keys[i], hash[i]));
    }
    items += kBurst;
  }
  report(state, ticks() - start, items);
}

void miss(benchmark::State& state) {
  const Filled f(static_cast<uint32_t>(state.range(0)), Family::V4);
  uint64_t items = 0;
  const uint64_t start = ticks();
  for (auto _ : state) {
    FlowKey key = f.asked[items++ & 0x3ffff];
    key.scope = 77;
    benchmark::DoNotOptimize(f.table.find(key, f.table.hash(key)));
  }
  report(state, ticks() - start, items);
}

// The oldest pair goes, a new one comes.
void turn_over(benchmark::State& state) {
  Filled f(static_cast<uint32_t>(state.range(0)), Family::V4);
  std::mt19937_64 random(5);
  uint64_t items = 0;
  const uint64_t start = ticks();
  for (auto _ : state) {
    FlowKey& key = f.keys[items++ % f.keys.size()];
    f.table.erase(f.table.find(key, f.table.hash(key)));
    do {
      key = make_key(random() & 0xffffffffff, Family::V4);
    } while (f.table.insert(key, reversed(key), 0).result != FlowInsert::Ok);
  }
  report(state, ticks() - start, items);
}

// A flood of new connections against a table full of idle ones: most insertions evict.
void insert_full(benchmark::State& state) {
  Filled f(kDefaultFlows / 100 * 47, Family::V4);
  std::mt19937_64 random(6);
  uint64_t items = 0;
  const uint64_t evicted = f.table.evicted();
  const uint64_t start = ticks();
  for (auto _ : state) {
    const FlowKey key = make_key(random() & 0xffffffffff, Family::V4);
    benchmark::DoNotOptimize(f.table.insert(key, reversed(key), 20000));
    ++items;
  }
  report(state, ticks() - start, items);
  state.counters["evicted"] =
      static_cast<double>(f.table.evicted() - evicted) / 2 / static_cast<double>(items);
}

void age(benchmark::State& state) {
  Filled f(static_cast<uint32_t>(state.range(0)), Family::V4);
  const FlowTimeouts timeouts;
  uint64_t items = 0;
  const uint64_t start = ticks();
  for (auto _ : state) {
    f.table.age(1000, 256, timeouts);
    items += 256;
  }
  report(state, ticks() - start, items);
}

void track(benchmark::State& state) {
  FlowEntry entries[2];
  const FlowHalf client = entries[0].half();
  const FlowHalf server = entries[1].half();
  track_tcp(client, server, 0x02, 1, 0, 0, false);
  track_tcp(server, client, 0x12, 1, 2, 0, false);
  uint32_t ack = 2;
  for (auto _ : state) {
    benchmark::DoNotOptimize(track_tcp(client, server, 0x10, 2, ack++, 100, false));
  }
}
BENCHMARK_CAPTURE(find, v4, Family::V4)->Arg(1000)->Arg(100000)->Arg(450000);
BENCHMARK_CAPTURE(find, v6, Family::V6)->Arg(100000);
BENCHMARK_CAPTURE(find_burst, v4, Family::V4)->Arg(1000)->Arg(100000)->Arg(450000)->Arg(1000000);
BENCHMARK_CAPTURE(find_burst, v6, Family::V6)->Arg(100000);
BENCHMARK(miss)->Arg(100000)->Arg(450000);
BENCHMARK(turn_over)->Arg(100000)->Arg(450000);
BENCHMARK(insert_full);
BENCHMARK(age)->Arg(100000);
BENCHMARK(track);

}  // namespace
}  // namespace vrouter
