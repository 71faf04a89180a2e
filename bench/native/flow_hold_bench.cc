// What it takes to hold many flows: memory of a pair, and the time until a table that was empty,
// its pages untouched, holds PAIRS of them. One table, one run, one JSON line.
//
//   flow_hold_bench [PAIRS [v6]]      default 4000000, IPv4
//
// The keys are random, so that every insertion meets memory that no cache has; nothing is idle, so
// that nothing is evicted: of a table as full as the 95 % of 4,000,000 pairs in 2^23 entries, some
// hundred keys find no room; `withoutRoom` says how many, and they are not counted as held. What is
// checked: no more than a thousandth, and each of the others is found again by its key.
#include <bit>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
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

FlowKey random_key(std::mt19937_64& random, Family family) {
  const uint64_t a = random();
  FlowKey key{};
  std::memcpy(key.source, &a, 4);
  key.destination[0] = 10;
  key.destination[3] = static_cast<uint8_t>(a >> 32);
  key.source_port = static_cast<uint16_t>(a >> 48);
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

[[noreturn]] void fail(const char* what) {
  std::fprintf(stderr, "flow_hold_bench: %s\n", what);
  std::exit(1);
}

void run(uint32_t pairs, Family family) {
  std::mt19937_64 random(1);
  std::vector<FlowKey> keys;
  keys.reserve(pairs);
  for (uint32_t i = 0; i < pairs; ++i) keys.push_back(random_key(random, family));

  FlowTable table(std::bit_ceil(2 * pairs), 1);
  if (!table.ok()) fail("no memory");
  std::vector<bool> refused(pairs);
  uint32_t without_room = 0;
  const auto start = std::chrono::steady_clock::now();
  const uint64_t first = ticks();
  for (uint32_t i = 0; i < pairs; ++i) {
    if (table.insert(keys[i], reversed(keys[i]), 1).result == FlowInsert::Full) {
      refused[i] = true;
      ++without_room;
    }
  }
  const uint64_t spent = ticks() - first;
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (table.evicted() != 0) fail("pairs were evicted");
  if (without_room > pairs / 1000) fail("more than a thousandth found no room");
  for (uint32_t i = 0; i < pairs; ++i) {
    if (!refused[i] && !table.find(keys[i], table.hash(keys[i])).valid()) {
      fail("a pair is not found");
    }
  }
  const double held = table.used() / 2;  // a key drawn twice is one pair
  const double bytes = static_cast<double>(table.bytes());
  std::printf(
      "{\"bench\":\"flow_hold\",\"pairs\":%.0f,\"room\":%u,\"seconds\":%.4f,"
      "\"tscClocksPerPair\":%.1f,\"withoutRoom\":%u,\"bytesPerPairOfRoom\":%.2f,"
      "\"bytesPerPairHeld\":%.2f}\n",
      held, table.capacity() / 2, seconds, static_cast<double>(spent) / held, without_room,
      bytes / (table.capacity() / 2), bytes / held);
}

}  // namespace
}  // namespace vrouter

int main(int argc, char** argv) {
  const char* text = argc > 1 ? argv[1] : "4000000";
  char* end = nullptr;
  const unsigned long pairs = std::strtoul(text, &end, 10);
  const bool v6 = argc == 3 && std::strcmp(argv[2], "v6") == 0;
  if (argc > (v6 ? 3 : 2) || *end != '\0' || pairs < 1 || pairs > vrouter::kMaxFlows / 2) {
    vrouter::fail("usage: flow_hold_bench [PAIRS [v6]]");
  }
  vrouter::run(static_cast<uint32_t>(pairs), v6 ? vrouter::Family::V6 : vrouter::Family::V4);
}
