// Quiescence: when nobody can still be reading what has been taken out of a table. Each worker says
// when it begins and when it ends a burst of reading without the lock; who takes something out asks
// later whether every worker has been outside since.
//
// Invariant: what a worker finds after begin() was in the table at begin() or later. A worker that
// the asker saw outside has, when it begins, everything that was taken out before the asking: both
// sides write their own word before they read the other's, with a full fence between.
// A worker that sleeps, waits for a lock or does not run is outside.
// Each worker writes its own word; whoever changes the table reads them all.
#pragma once
#include <atomic>
#include <cstdint>

#include "base/limits.h"

namespace vrouter {

// The thread sanitizer knows no fences; under it the exchanges in here are fences enough.
inline void full_fence() {
#if !defined(__SANITIZE_THREAD__)
  std::atomic_thread_fence(std::memory_order_seq_cst);
#endif
}

class Quiescence {
 public:
  // What was seen of each worker.
  struct Ticket {
    uint64_t seen[kMaxWorkers] = {};
  };

  void begin(uint32_t worker) {
    std::atomic<uint64_t>& word = words_[worker].bursts;
#if defined(__SANITIZE_THREAD__)
    word.exchange(word.load(std::memory_order_relaxed) + 1);
#else
    word.store(word.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    full_fence();
#endif
  }
  void end(uint32_t worker) {
    std::atomic<uint64_t>& word = words_[worker].bursts;
    word.store(word.load(std::memory_order_relaxed) + 1, std::memory_order_release);
  }

  // After the last of what is asked about was taken out.
  Ticket ticket() const {
    Ticket out;
    full_fence();
    for (uint32_t i = 0; i < kMaxWorkers; ++i) out.seen[i] = words_[i].bursts.load();
    return out;
  }
  // Every worker was outside then, or has been since.
  bool passed(const Ticket& ticket) const {
    for (uint32_t i = 0; i < kMaxWorkers; ++i) {
      const bool inside = (ticket.seen[i] & 1) != 0;
      if (inside && words_[i].bursts.load(std::memory_order_acquire) == ticket.seen[i])
        return false;
    }
    return true;
  }

 private:
  struct alignas(64) Word {
    std::atomic<uint64_t> bursts{0};  // odd: inside
  };
  Word words_[kMaxWorkers];
};

}  // namespace vrouter
