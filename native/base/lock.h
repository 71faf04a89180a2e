// Lock: for sections of some hundred nanoseconds that few threads want: looks a while, then sleeps
// on a futex. Free or taken without a rival it costs one locked instruction each way and no system
// call. It is not fair, and the same thread must not take it twice.
#pragma once
#include <atomic>

namespace vrouter {

inline void pause_processor() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

class Lock {
 public:
  void lock() {
    for (int i = 0; i < kSpins; ++i) {
      int free = kFree;
      if (state_.load(std::memory_order_relaxed) == kFree &&
          state_.compare_exchange_weak(free, kTaken, std::memory_order_acquire)) {
        return;
      }
      pause_processor();
    }
    while (state_.exchange(kWanted, std::memory_order_acquire) != kFree) state_.wait(kWanted);
  }
  void unlock() {
    if (state_.exchange(kFree, std::memory_order_release) == kWanted) state_.notify_one();
  }

 private:
  static constexpr int kSpins = 200;  // a few microseconds
  enum : int { kFree, kTaken, kWanted };
  // int: waiting on an int is a futex on the object itself.
  alignas(64) std::atomic<int> state_{kFree};
};

}  // namespace vrouter
