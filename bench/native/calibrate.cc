// What the machine is like at this moment, to set figures beside: clocks, latencies, bandwidth. One
// JSON line, some two seconds.
//
//   tscGhz        time-stamp counter, by the monotonic clock
//   coreGhz       what a chain of dependent additions runs at, one a cycle
//   loadNs        a random load that depends on the last one, in working sets of KiB: within L1,
//   L2,
//                 the L3 that is ours on a shared machine, and DRAM
//   copyGbps      memcpy() of far more than any cache holds, gigabytes copied a second (not moved:
//                 each is read once and written once)
//
// Each is the best of many short tries, shorter than a scheduler's slice where they can be: what
// the machine can do, not what it was kept from. Memory is asked for with huge pages, as the
// router's tables are.
#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <random>
#include <vector>

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

namespace {

using Clock = std::chrono::steady_clock;

constexpr uint32_t kTries = 40;
constexpr uint32_t kCopies = 5;
constexpr size_t kLine = 64;
constexpr size_t kCopied = size_t{256} << 20;
constexpr size_t kWorkingSets[] = {16, 256, 1024, 4096, 262144};  // KiB

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

uint64_t tsc() {
#if defined(__x86_64__)
  return __rdtsc();
#else
  return 0;
#endif
}

char* huge_memory(size_t bytes) {
  constexpr size_t kHuge = size_t{2} << 20;
  void* memory = std::aligned_alloc(kHuge, (bytes + kHuge - 1) / kHuge * kHuge);
  if (memory == nullptr) {
    std::fprintf(stderr, "calibrate: no memory\n");
    std::exit(1);
  }
  madvise(memory, bytes, MADV_HUGEPAGE);
  std::memset(memory, 1, bytes);
  return static_cast<char*>(memory);
}

double tsc_ghz() {
  const Clock::time_point start = Clock::now();
  const uint64_t first = tsc();
  while (seconds_since(start) < 0.05) {
  }
  return static_cast<double>(tsc() - first) / seconds_since(start) / 1e9;
}

// The compiler cannot shorten what it cannot see into.
double core_ghz() {
  constexpr uint32_t kTurns = 200'000;
  constexpr uint32_t kAddsATurn = 16;
  double best = 0;
  for (uint32_t i = 0; i < kTries; ++i) {
    uint64_t value = i;
    const Clock::time_point start = Clock::now();
    for (uint32_t turn = 0; turn < kTurns; ++turn) {
#if defined(__x86_64__)
      asm volatile(
          "add $1, %0\n add $1, %0\n add $1, %0\n add $1, %0\n"
          "add $1, %0\n add $1, %0\n add $1, %0\n add $1, %0\n"
          "add $1, %0\n add $1, %0\n add $1, %0\n add $1, %0\n"
          "add $1, %0\n add $1, %0\n add $1, %0\n add $1, %0\n"
          : "+r"(value));
#else
      for (uint32_t add = 0; add < kAddsATurn; ++add) {
        value += 1;
        asm volatile("" : "+r"(value));
      }
#endif
    }
    best = std::max(best, double{kTurns} * kAddsATurn / seconds_since(start) / 1e9);
  }
  return best;
}

// One cycle through all lines of the working set, in random order (Sattolo).
double load_ns(char* memory, size_t bytes) {
  const size_t lines = bytes / kLine;
  std::vector<uint32_t> order(lines);
  std::iota(order.begin(), order.end(), 0u);
  std::mt19937 random(1);
  for (size_t i = lines - 1; i > 0; --i) std::swap(order[i], order[random() % i]);
  for (size_t i = 0; i < lines; ++i) {
    char* next = memory + order[(i + 1) % lines] * kLine;
    std::memcpy(memory + order[i] * kLine, &next, sizeof next);
  }
  constexpr uint32_t kLoads = 50'000;
  double best = 1e9;
  char* at = memory;
  for (uint32_t i = 0; i < kTries; ++i) {
    const Clock::time_point start = Clock::now();
    for (uint32_t load = 0; load < kLoads; ++load) {
      at = *reinterpret_cast<char* volatile*>(at);
    }
    best = std::min(best, seconds_since(start) / kLoads * 1e9);
  }
  return best;
}

double copy_gbps(char* from, char* to) {
  double best = 0;
  for (uint32_t i = 0; i < kCopies; ++i) {
    const Clock::time_point start = Clock::now();
    std::memcpy(to, from, kCopied);
    asm volatile("" : : "r"(to) : "memory");
    best = std::max(best, static_cast<double>(kCopied) / seconds_since(start) / 1e9);
  }
  return best;
}

}  // namespace

int main() {
  char* memory = huge_memory(kCopied);
  char* other = huge_memory(kCopied);
  std::printf("{\"bench\":\"calibrate\",\"coreGhz\":%.3f", core_ghz());
  if (tsc() != 0) std::printf(",\"tscGhz\":%.4f", tsc_ghz());
  std::printf(",\"copyGbps\":%.2f,\"loadNs\":{", copy_gbps(memory, other));
  const char* comma = "";
  for (const size_t kib : kWorkingSets) {
    std::printf("%s\"%zu\":%.2f", comma, kib, load_ns(memory, kib << 10));
    comma = ",";
  }
  std::printf("}}\n");
  std::free(memory);
  std::free(other);
}
