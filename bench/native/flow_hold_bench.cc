// What it takes to hold many flows: memory of a pair, and the time until a table that was empty,
// its pages untouched, holds PAIRS of them. One table, one run, one JSON line.
//
//   flow_hold_bench [PAIRS]      default 4000000
//
// The keys are random, so that every insertion meets memory that no cache has; nothing is idle, so
// that nothing is evicted. What is checked: all are in, and each is found again by its key.
#include <bit>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

#include "base/limits.h"
#include "state/flow.h"

namespace vrouter {
namespace {

uint64_t ticks() {
#if defined(__x86_64__)
  return __rdtsc();
#else
  return 0;
#endif
}

FlowKey random_key(std::mt19937_64& random) {
  const uint64_t a = random();
  FlowKey key{};
  std::memcpy(key.source, &a, 4);
  key.destination[0] = 10;
  key.destination[3] = static_cast<uint8_t>(a >> 32);
  key.source_port = static_cast<uint16_t>(a >> 48);
  key.destination_port = 80;
  key.scope = 9;
  key.protocol = 6;
  key.family = Family::V4;
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

[[noreturn]] void fail(const char* what) {
  std::fprintf(stderr, "flow_hold_bench: %s\n", what);
  std::exit(1);
}

// Null: the table has no room for one of them.
std::unique_ptr<FlowTable> fill(const std::vector<FlowKey>& keys, uint32_t entries) {
  auto table = std::make_unique<FlowTable>(entries, 1);
  if (!table->ok()) fail("no memory");
  for (const FlowKey& key : keys) {
    if (table->insert(key, reversed(key), 1).result == FlowInsert::Full) return nullptr;
  }
  return table;
}

void run(uint32_t pairs) {
  std::mt19937_64 random(1);
  std::vector<FlowKey> keys;
  keys.reserve(pairs);
  for (uint32_t i = 0; i < pairs; ++i) keys.push_back(random_key(random));

  // Of the smallest table that takes them all; one that does not is not counted.
  std::unique_ptr<FlowTable> table;
  double seconds = 0;
  uint64_t spent = 0;
  for (uint32_t entries = std::bit_ceil(2 * pairs); table == nullptr; entries *= 2) {
    if (entries > kMaxFlows) fail("more pairs than a table may have");
    const auto start = std::chrono::steady_clock::now();
    const uint64_t first = ticks();
    table = fill(keys, entries);
    spent = ticks() - first;
    seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }
  if (table->evicted() != 0) fail("pairs were evicted");
  for (const FlowKey& key : keys) {
    if (!table->find(key, table->hash(key)).valid()) fail("a pair is not found");
  }
  const double held = table->used() / 2;  // a key drawn twice is one pair
  const double bytes = static_cast<double>(table->bytes());
  std::printf(
      "{\"bench\":\"flow_hold\",\"pairs\":%.0f,\"room\":%u,\"seconds\":%.4f,"
      "\"tscClocksPerPair\":%.1f,\"bytesPerPairOfRoom\":%.2f,\"bytesPerPairHeld\":%.2f}\n",
      held, table->capacity() / 2, seconds, static_cast<double>(spent) / held,
      bytes / (table->capacity() / 2), bytes / held);
}

}  // namespace
}  // namespace vrouter

int main(int argc, char** argv) {
  const char* text = argc > 1 ? argv[1] : "4000000";
  char* end = nullptr;
  const unsigned long pairs = std::strtoul(text, &end, 10);
  if (argc > 2 || *end != '\0' || pairs < 1 || pairs > vrouter::kMaxFlows / 2) {
    vrouter::fail("usage: flow_hold_bench [PAIRS]");
  }
  vrouter::run(static_cast<uint32_t>(pairs));
}
